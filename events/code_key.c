/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the file of the code key, and finds the key of a position. */
#include "events/code_key.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/bytes.h"

enum { FILE_MAX_BYTES = 4096 };

/* "100,0,7,…": as many as there are slices, none below the key before. */
static bool positions_read(struct span list, const int64_t *before, int64_t *ret)
{
    for (size_t i = 0; i < SLICE_COUNT; i++)
        if (!parse_i64(span_cut(&list, ','), before[i], INT64_MAX, &ret[i]))
            return false;
    return list.ptr == NULL;
}

static bool line_read(struct span line, size_t number, struct code_key *ret)
{
    static const int64_t start[SLICE_COUNT];
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    struct span digits = span_cut(&line, ' ');
    if (number >= CODE_KEYS_MAX || !hex_decode(digits, ret->of[number].bytes, CRYPTO_KEY_BYTES))
        return false;
    if (number == 0)
        return line.ptr == NULL;
    ret->later = number;
    return positions_read(line, number == 1 ? start : ret->of[number - 1].from, ret->of[number].from);
}

/* 0 when all of it is as it should be, otherwise the number of the line that is not. */
static size_t wrong_line(struct span text, struct code_key *ret)
{
    size_t number = 0;
    if (text.len && text.ptr[text.len - 1] == '\n')
        text.len--;
    while (text.ptr) {
        struct span line = span_cut(&text, '\n');
        if (!line_read(line, number++, ret))
            return number;
    }
    return 0;
}

bool code_key_load(const char *path, struct code_key *ret, char *reason, size_t reason_size)
{
    char text[FILE_MAX_BYTES];
    struct code_key found = {.later = 0};
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(text, 1, sizeof text, file) : 0;
    if (!file || ferror(file)) {
        snprintf(reason, reason_size, "cannot read %s: %s", path, strerror(errno));
        if (file)
            fclose(file);
        return false;
    }
    fclose(file);
    size_t wrong = len == sizeof text ? CODE_KEYS_MAX + 1 : wrong_line((struct span){text, len}, &found);
    explicit_bzero(text, sizeof text);
    if (wrong)
        snprintf(reason, reason_size, "%s:%zu: must be 64 hex digits%s", path, wrong,
                 wrong == 1 ? "" : ", and 16 positions not before those of the line above");
    else
        *ret = found;
    explicit_bzero(&found, sizeof found);
    return wrong == 0;
}

const uint8_t *code_key_at(const struct code_key *code_key, int16_t slice, int64_t position)
{
    size_t i = code_key->later;
    while (i > 0 && position < code_key->of[i].from[slice])
        i--;
    return code_key->of[i].bytes;
}
