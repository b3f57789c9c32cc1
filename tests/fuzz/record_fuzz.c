/* SPDX-License-Identifier: Apache-2.0 */
/* Records of coupons in the read models: a Redis may hold anything. */
#include "readmodel/campaign_record.h"
#include "readmodel/coupon_chunk.h"
#include "readmodel/coupon_state.h"
#include "readmodel/users.h"
#include "tests/fuzz/fuzz.h"

enum { RECORD_MAX = 16384, LISTS_MAX = 1 << 20 };

/* What can be read is written again as the same coupons. */
static void chunk(struct span bytes)
{
    struct chunk_reader reader;
    struct event issued;
    struct chunk_writer writer;
    if (bytes.len > CHUNK_BYTES_MAX || !chunk_open(&reader, bytes, 3, 0))
        return;
    chunk_writer_init(&writer);
    chunk_writer_begin(&writer);
    while (chunk_next(&reader, &issued))
        CHECK(issued.position >= 0 && issued.position < COUPON_CHUNK && issued.user_id.len > 0);
    chunk_writer_resume(&writer, bytes, bytes.len, 3, 0);
    chunk_writer_deinit(&writer);
}

static void state(struct span record)
{
    struct coupon coupon = {.at = {3, 5}}, again = {.at = {3, 5}};
    struct buf once;
    if (!coupon_state_decode(record, &coupon))
        return;
    buf_init(&once, RECORD_MAX);
    coupon_state_encode(&coupon, &once);
    CHECK(!once.overflow && coupon_state_decode(buf_span(&once), &again));
    CHECK(again.state == coupon.state && again.last == coupon.last);
    buf_deinit(&once);
}

static void campaign(struct span bytes)
{
    struct campaign_record record;
    struct arena lists;
    struct span entries;
    arena_init(&lists, LISTS_MAX);
    if (campaign_record_decode(SPAN("campaign"), bytes, &record))
        (void)!campaign_record_define(&record, &lists);
    (void)!users_entries(bytes, &entries);
    arena_deinit(&lists);
}

FUZZ_TARGET(record)
{
    chunk(fuzz_text(data, size));
    state(fuzz_text(data, size));
    campaign(fuzz_text(data, size));
    return 0;
}
