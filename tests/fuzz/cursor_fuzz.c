/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors. Four bytes of a sum keep a fuzzer out, so the input is tried as a cursor and as what one is made
 * of: kind, time, number, slice, id. */
#include <string.h>

#include "query-service/load/cursor.h"
#include "tests/fuzz/fuzz.h"

static const enum cursor_kind kinds[] = {CURSOR_CAMPAIGNS, CURSOR_HOLDERS, CURSOR_COUPONS};

static void parsed(struct span text)
{
    struct cursor cursor;
    struct buf out;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (!cursor_parse(text, kinds[i], SPAN("scope"), &cursor))
            continue;
        buf_init(&out, CURSOR_TEXT_MAX);
        cursor_write(&out, &cursor, SPAN("scope"));
        CHECK(!out.overflow && span_equal(buf_span(&out), text));
        buf_deinit(&out);
    }
}

static void written(const uint8_t *data, size_t size)
{
    struct cursor cursor = {.kind = kinds[data[0] % COUNT_OF(kinds)]}, back;
    struct buf out;
    uint64_t time_us, number;
    memcpy(&time_us, data + 1, sizeof time_us);
    memcpy(&number, data + 9, sizeof number);
    struct span id = fuzz_text(data + 18, size - 18);
    if (cursor.kind != CURSOR_HOLDERS)
        cursor.time_us = (int64_t)(time_us >> 1);
    if (cursor.kind != CURSOR_CAMPAIGNS)
        cursor.number = (int64_t)(number >> 1);
    if (cursor.kind == CURSOR_COUPONS)
        cursor.slice = data[17] % SLICE_COUNT;
    if (cursor.kind == CURSOR_CAMPAIGNS) {
        if (!campaign_id_valid(id))
            return;
        cursor_set_id(&cursor, id);
    }
    buf_init(&out, CURSOR_TEXT_MAX);
    cursor_write(&out, &cursor, SPAN("scope"));
    CHECK(!out.overflow);
    CHECK(!cursor_parse(buf_span(&out), cursor.kind, SPAN("other"), &back));
    /* Not every number is a cursor's; but what is read says what was written. */
    if (cursor_parse(buf_span(&out), cursor.kind, SPAN("scope"), &back))
        CHECK(back.time_us == cursor.time_us && back.number == cursor.number && back.slice == cursor.slice &&
              span_equal(cursor_id(&back), cursor_id(&cursor)));
    buf_deinit(&out);
}

FUZZ_TARGET(cursor)
{
    parsed(fuzz_text(data, size));
    if (size >= 18)
        written(data, size);
    return 0;
}
