/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a shard map, and comparing it with what databases say. */
#include "events/shards.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/service.h"

enum { FILE_BYTES_MAX = 128 * 1024, CHECK_MS = 1000 };

/* The longest that a map can have, "0,2,4,6,8,10,12,14", fits. */
void slices_write(unsigned slices, char ret[SHARD_NAME_MAX])
{
    int len = 0;
    ret[0] = '\0';
    for (int from = 0; from < SLICE_COUNT; from++) {
        int to = from;
        if (!(slices >> from & 1))
            continue;
        while (to + 1 < SLICE_COUNT && slices >> (to + 1) & 1)
            to++;
        len += snprintf(ret + len, SHARD_NAME_MAX - (size_t)len, to > from ? "%s%d-%d" : "%s%d",
                        len ? "," : "", from, to);
        from = to;
    }
}

/* "0-7,12" as bits; 0 where it is none. */
static unsigned slices_read(struct span text)
{
    unsigned slices = 0;
    while (text.ptr) {
        struct span to = span_cut(&text, ','), from = span_cut(&to, '-');
        int64_t first, last;
        if (!parse_i64(from, 0, SLICE_COUNT - 1, &first))
            return 0;
        last = first;
        if (to.ptr && !parse_i64(to, first, SLICE_COUNT - 1, &last))
            return 0;
        for (int64_t slice = first; slice <= last; slice++) {
            if (slices >> slice & 1)
                return 0;
            slices |= 1U << slice;
        }
    }
    return slices;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct span trim(struct span text)
{
    while (text.len && is_blank(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len && is_blank(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

static void add(struct shards *shards, unsigned slices, const char *url)
{
    struct shard *shard = &shards->list[shards->count];
    shard->url = url;
    shard->slices = slices;
    slices_write(slices, shard->name);
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (slices >> slice & 1)
            shards->of[slice] = (uint8_t)shards->count;
    shards->count++;
}

/* What is wrong with a line, NULL for nothing. The line is ended by a NUL in shards->text. */
static const char *line_fault(struct shards *shards, struct span line, unsigned *seen, char *room,
                              size_t room_size)
{
    struct span slices = {line.ptr, 0};
    while (slices.len < line.len && !is_blank(line.ptr[slices.len]))
        slices.len++;
    struct span url = trim((struct span){line.ptr + slices.len, line.len - slices.len});
    unsigned bits = slices_read(slices);
    if (!bits || !url.len)
        return "must be slices (0-7 or 0-3,8) and a postgresql:// URL";
    if (bits & *seen)
        return "has a slice that is in a line above";
    shards->text[url.ptr + url.len - shards->text] = '\0';
    if (!pg_url_check(url.ptr, room, room_size))
        return room;
    *seen |= bits;
    add(shards, bits, url.ptr);
    return NULL;
}

bool shards_parse(struct span text, struct shards *ret, char *reason, size_t reason_size)
{
    struct shards shards = {.text = mem_alloc(text.len + 1)};
    char room[256], missing[SHARD_NAME_MAX];
    unsigned seen = 0;
    size_t number = 0;
    memcpy(shards.text, text.ptr, text.len);
    shards.text[text.len] = '\0';
    struct span rest = {shards.text, text.len};
    while (rest.ptr) {
        struct span line = trim(span_cut(&rest, '\n'));
        number++;
        if (!line.len || line.ptr[0] == '#')
            continue;
        const char *fault = line_fault(&shards, line, &seen, room, sizeof room);
        if (fault) {
            snprintf(reason, reason_size, "line %zu: %s", number, fault);
            shards_deinit(&shards);
            return false;
        }
    }
    if (seen != SLICES_ALL) {
        slices_write(SLICES_ALL & ~seen, missing);
        snprintf(reason, reason_size, "slices %s are in no line", missing);
        shards_deinit(&shards);
        return false;
    }
    *ret = shards;
    return true;
}

static bool load_file(const char *path, struct shards *ret, char *reason, size_t reason_size)
{
    char *text = mem_alloc(FILE_BYTES_MAX);
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(text, 1, FILE_BYTES_MAX, file) : 0;
    bool read = file && !ferror(file) && len < FILE_BYTES_MAX;
    if (!read)
        snprintf(reason, reason_size, "cannot read %.100s: %s", path,
                 len == FILE_BYTES_MAX ? "it is too long" : strerror(errno));
    if (file)
        fclose(file);
    bool good = read && shards_parse((struct span){text, len}, ret, reason, reason_size);
    mem_free(text);
    return good;
}

bool shards_load(const char *file, const char *database_url, struct shards *ret, char *reason,
                 size_t reason_size)
{
    if (*file)
        return load_file(file, ret, reason, reason_size);
    if (!*database_url)
        snprintf(reason, reason_size, "must be given, or a map with --shards");
    if (!*database_url || !pg_url_check(database_url, reason, reason_size))
        return false;
    *ret = (struct shards){.count = 0};
    add(ret, SLICES_ALL, database_url);
    return true;
}

void shards_deinit(struct shards *shards)
{
    mem_free(shards->text);
    shards->text = NULL;
}

const struct shard *shards_of(const struct shards *shards, int16_t slice)
{
    return &shards->list[shards->of[slice]];
}

const struct shard *shards_find(const struct shards *shards, struct span slices)
{
    unsigned bits = slices_read(slices);
    if (slices.len == 0 && shards->count == 1)
        return &shards->list[0];
    for (size_t i = 0; i < shards->count; i++)
        if (shards->list[i].slices == bits)
            return &shards->list[i];
    return NULL;
}

bool shard_has(const struct shard *shard, int16_t slice)
{
    return shard->slices >> slice & 1;
}

/* --- what databases say --- */

void slices_arg(struct pg_args *args, unsigned slices)
{
    pg_array_begin(args, PG_INT2);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (slices >> slice & 1)
            pg_array_i16(args, slice);
    pg_array_end(args);
}

unsigned slices_of(const struct pg_rows *rows)
{
    unsigned slices = 0;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        int64_t slice = pg_i64(rows, row, 0);
        if (slice >= 0 && slice < SLICE_COUNT)
            slices |= 1U << slice;
    }
    return slices;
}

/* false: it did not say. */
static bool ask_owned(const struct shard *shard, const char *role, unsigned *ret)
{
    static const struct pg_statement statement = {"owned", "SELECT slice FROM slice ORDER BY slice"};
    struct pg_rows *rows = NULL;
    struct pg *pg = pg_create(&(struct pg_options){.url = shard->url,
                                                   .role = role,
                                                   .application = "firstcome shards",
                                                   .statement_timeout_ms = CHECK_MS,
                                                   .lock_timeout_ms = CHECK_MS,
                                                   .idle_in_transaction_timeout_ms = CHECK_MS,
                                                   .statements = &statement,
                                                   .statements_count = 1});
    int64_t deadline_us = clock_deadline_us(CHECK_MS);
    bool said = pg_connect(pg, deadline_us) == PG_OK && pg_call(pg, 0, NULL, deadline_us, &rows) == PG_OK;
    if (said)
        *ret = slices_of(rows);
    pg_rows_destroy(rows);
    pg_destroy(pg);
    return said;
}

static bool owned_as_mapped(const struct shards *shards, const char *role, char *reason, size_t reason_size)
{
    char owned_text[SHARD_NAME_MAX];
    for (size_t i = 0; i < shards->count; i++) {
        const struct shard *shard = &shards->list[i];
        unsigned owned = 0;
        if (!ask_owned(shard, role, &owned) || owned == shard->slices)
            continue;
        slices_write(owned, owned_text);
        snprintf(reason, reason_size,
                 "the map gives slices %s to a database that says it owns %s; see schema/migrate --shards",
                 shard->name, owned ? owned_text : "none");
        return false;
    }
    return true;
}

void shards_setup(struct shards *ret, const char *file, const char *database_url, const char *role)
{
    char reason[256];
    const char *option = *file ? "--shards" : "--database-url";
    if (!shards_load(file, database_url, ret, reason, sizeof reason) ||
        (*file && !owned_as_mapped(ret, role, reason, sizeof reason)))
        service_bad_option(option, reason);
}
