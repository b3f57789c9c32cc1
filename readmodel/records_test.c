/* SPDX-License-Identifier: Apache-2.0 */
/* What is in Redis comes back as it was written, and what was lost is seen to be. */
#include "readmodel/campaign_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "events/coupon.h"
#include "readmodel/coupon_chunk.h"
#include "readmodel/coupon_state.h"
#include "readmodel/fold.h"

enum { AT = 1800000000, COUPONS = 40 };

static struct event issued_at(int i)
{
    static char users[COUPONS][16];
    struct event event = {.slice = 3,
                          .position = 64 + i,
                          .type = EVENT_CouponIssued,
                          .version = 1,
                          .campaign_id = i % 3 ? SPAN("hot") : SPAN("a-campaign-with-a-long-name"),
                          .recorded_at_us = (AT + i / 5) * INT64_C(1000000)};
    snprintf(users[i], sizeof users[i], "user-%d", i);
    event.user_id = span_of(users[i]);
    event.coupon_issued = (struct coupon_issued){.sequence = 1000 + i,
                                                 .nth = 1 + i % 2,
                                                 .expires_at_us = i % 4 ? (AT + 86400) * INT64_C(1000000) : 0,
                                                 .code_prefix = i % 3 ? SPAN("") : SPAN("SALE")};
    return event;
}

static void write_coupons(struct chunk_writer *writer, int from, int to)
{
    for (int i = from; i < to; i++) {
        struct event event = issued_at(i);
        chunk_writer_add(writer, &event);
    }
}

static void coupons_come_back(void **)
{
    struct chunk_writer writer;
    struct chunk_reader reader;
    struct event read;
    chunk_writer_init(&writer);
    chunk_writer_begin(&writer);
    write_coupons(&writer, 0, COUPONS);
    assert_true(writer.bytes.len < COUPONS * 25); /* next to the user's id some 10 bytes */
    assert_true(chunk_open(&reader, buf_span(&writer.bytes), 3, 64));
    assert_false(reader.has_states);
    for (int i = 0; i < COUPONS; i++) {
        struct event is = issued_at(i);
        assert_true(chunk_next(&reader, &read));
        assert_int_equal(read.position, is.position);
        assert_int_equal(read.recorded_at_us, is.recorded_at_us);
        assert_true(span_equal(read.campaign_id, is.campaign_id) && span_equal(read.user_id, is.user_id));
        assert_int_equal(read.coupon_issued.sequence, is.coupon_issued.sequence);
        assert_int_equal(read.coupon_issued.nth, is.coupon_issued.nth);
        assert_int_equal(read.coupon_issued.expires_at_us, is.coupon_issued.expires_at_us);
        assert_true(span_equal(read.coupon_issued.code_prefix, is.coupon_issued.code_prefix));
    }
    assert_false(chunk_next(&reader, &read) || reader.corrupt);
    chunk_writer_deinit(&writer);
}

/* Wherever it was interrupted, the same bytes come out (I8). */
static void a_chunk_goes_on_as_if_nothing_had_been(void **)
{
    struct chunk_writer whole, parts;
    chunk_writer_init(&whole);
    chunk_writer_init(&parts);
    chunk_writer_begin(&whole);
    write_coupons(&whole, 0, COUPONS);
    for (int cut = 1; cut < COUPONS; cut++) {
        struct buf stored;
        buf_init(&stored, CHUNK_BYTES_MAX);
        chunk_writer_begin(&parts);
        write_coupons(&parts, 0, cut);
        buf_append_span(&stored, buf_span(&parts.bytes));
        chunk_writer_resume(&parts, buf_span(&stored), stored.len, 3, 64);
        assert_false(parts.lost);
        write_coupons(&parts, cut, COUPONS);
        assert_true(span_equal(buf_span(&parts.bytes), buf_span(&whole.bytes)));
        buf_deinit(&stored);
    }
    chunk_writer_deinit(&whole);
    chunk_writer_deinit(&parts);
}

static void a_chunk_that_was_lost_is_not_taken_for_whole(void **)
{
    struct chunk_writer writer;
    struct chunk_reader reader;
    chunk_writer_init(&writer);
    chunk_writer_resume(&writer, (struct span){NULL, 0}, 100, 3, 64);
    assert_true(writer.lost);
    write_coupons(&writer, 10, 12); /* goes behind where the rest was: Redis fills that with zeros */
    assert_false(chunk_open(&reader, buf_span(&writer.bytes), 3, 64));
    chunk_writer_resume(&writer, SPAN("c not a chunk"), 13, 3, 64);
    assert_true(writer.lost);
    assert_false(chunk_open(&reader, (struct span){NULL, 0}, 3, 64));
    assert_false(
        chunk_open(&reader, SPAN("s"), 3, 64)); /* only a head: a state of a coupon that is not there */
    chunk_writer_deinit(&writer);
}

static void states_come_back_and_are_short(void **)
{
    struct coupon coupon = {.at = {3, 77},
                            .state = COUPON_REDEEMED,
                            .last = 900,
                            .changed_at_us = AT * INT64_C(1000000),
                            .order_id = SPAN("6f1c2d3e-4b5a-4978-8a9b-0c1d2e3f4a5b"),
                            .order_amount = 123456,
                            .discount_amount = 12345};
    struct coupon read = {.at = {3, 77}, .state = COUPON_ISSUED};
    struct buf bytes;
    buf_init(&bytes, 512);
    coupon_state_encode(&coupon, &bytes);
    assert_true(bytes.len <= 64); /* what Redis keeps compact */
    assert_true(coupon_state_decode(buf_span(&bytes), &read));
    assert_int_equal(read.state, COUPON_REDEEMED);
    assert_int_equal(read.last, 900);
    assert_int_equal(read.changed_at_us, coupon.changed_at_us);
    assert_int_equal(read.discount_amount, 12345);
    assert_true(span_equal(read.order_id, coupon.order_id));
    for (size_t len = 0; len < bytes.len - coupon.order_id.len; len++)
        assert_false(coupon_state_decode((struct span){bytes.data, len}, &read));
    buf_deinit(&bytes);
}

static void a_revoked_coupon_says_by_whom(void **)
{
    struct coupon coupon = {.at = {3, 77},
                            .state = COUPON_REVOKED,
                            .last = 900,
                            .changed_at_us = AT * INT64_C(1000000),
                            .reason = SPAN("fraud"),
                            .actor = SPAN("admin")};
    struct coupon read = {.at = {3, 77}, .state = COUPON_ISSUED};
    struct buf bytes;
    buf_init(&bytes, 512);
    coupon_state_encode(&coupon, &bytes);
    assert_true(coupon_state_decode(buf_span(&bytes), &read));
    assert_int_equal(read.state, COUPON_REVOKED);
    assert_true(span_is(read.reason, "fraud") && span_is(read.actor, "admin"));
    for (size_t len = 0; len < bytes.len - coupon.reason.len; len++)
        assert_false(coupon_state_decode((struct span){bytes.data, len}, &read));
    bytes.data[0] = COUPON_REVOKED; /* a former version's, which does not say it */
    assert_false(coupon_state_decode(buf_span(&bytes), &read));
    buf_deinit(&bytes);
}

static void campaigns_come_back(void **)
{
    struct campaign_record is = {
        .campaign = {
            .id = SPAN("hot"),
            .definition = {.name = SPAN("Hot"), .quantity = 100, .released = 50, .currency = SPAN("EUR")},
            .created_at_us = AT,
            .first = 5,
            .position = 90,
            .released = 60,
            .issued = 40,
            .redeemed = 2,
            .reserved = 1,
            .plan_done = 3,
            .plan_halted = true,
            .state = CAMPAIGN_PAUSED,
            .change = {AT * INT64_C(1000000), SPAN("admin"), SPAN("wrong price")}}};
    struct campaign_record read;
    struct buf bytes;
    struct arena lists;
    activity_mark(&is.counted[COUNTED_ISSUED].activity, AT * INT64_C(1000000), 0);
    is.counted[COUNTED_ISSUED].activity.count = 40;
    is.counted[COUNTED_ISSUED].reached_at_us = AT * INT64_C(1000000);
    buf_init(&bytes, 16384);
    arena_init(&lists, 1 << 20);
    campaign_record_encode(&is, &bytes);
    assert_true(campaign_record_decode(SPAN("hot"), buf_span(&bytes), &read));
    assert_true(campaign_record_define(&read, &lists));
    assert_int_equal(read.campaign.issued, 40);
    assert_int_equal(read.campaign.redeemed, 2);
    assert_int_equal(read.campaign.reserved, 1);
    assert_int_equal(read.campaign.plan_done, 3);
    assert_true(read.campaign.plan_halted && read.campaign.state == CAMPAIGN_PAUSED);
    assert_int_equal(read.campaign.change.at_us, AT * INT64_C(1000000));
    assert_true(span_is(read.campaign.change.by, "admin") &&
                span_is(read.campaign.change.reason, "wrong price"));
    assert_true(read.campaign.first == 5 && read.campaign.position == 90 && read.campaign.released == 60);
    assert_int_equal(read.counted[COUNTED_ISSUED].activity.count, 40);
    assert_int_equal(read.counted[COUNTED_REDEEMED].reached_at_us, 0);
    assert_true(span_is(read.campaign.definition.name, "Hot"));
    assert_false(campaign_record_decode(SPAN("hot"), (struct span){NULL, 0}, &read));
    assert_false(campaign_record_decode(SPAN("hot"), (struct span){bytes.data, 9}, &read));
    /* Its format and its state say the same of who changed it, or it is not used. */
    bytes.data[0] = 1;
    assert_false(campaign_record_decode(SPAN("hot"), buf_span(&bytes), &read));
    is.campaign.state = CAMPAIGN_ACTIVE;
    buf_clear(&bytes);
    campaign_record_encode(&is, &bytes);
    assert_int_equal(bytes.data[0], 1); /* as a former version writes it and reads it */
    assert_true(campaign_record_decode(SPAN("hot"), buf_span(&bytes), &read));
    assert_int_equal(read.campaign.change.at_us, 0);
    bytes.data[0] = 2;
    assert_false(campaign_record_decode(SPAN("hot"), buf_span(&bytes), &read));
    arena_deinit(&lists);
    buf_deinit(&bytes);
}

/* --- what a fold hands over --- */

static unsigned marks_removed;
static size_t written;

static void note_command(void *context, const struct redis_command *command)
{
    (void)context;
    struct span text = buf_span(&command->data), key = {text.ptr + command->lengths[0], command->lengths[1]};
    struct span member = {key.ptr + key.len, command->lengths[2]};
    bool removes = command->count == 3 && span_starts(text, SPAN("ZREM")) && span_equal(member, INDEX_MARK);
    static const char *const ends[] = {":r:issued", ":r:redeemed", ":a:issued", ":a:redeemed"};
    for (size_t i = 0; removes && i < COUNT_OF(ends); i++) {
        struct span end = span_of(ends[i]);
        if (key.len > end.len && memcmp(key.ptr + key.len - end.len, end.ptr, end.len) == 0)
            marks_removed |= 1U << i;
    }
    written++;
}

static void note_holding(void *context, uint64_t user_hash, const char entry[HOLDING_BYTES])
{
    (void)context, (void)user_hash, (void)entry;
}

/* Its count goes up and nobody can say to what: a page of a ranking that it is not on would seem right. */
static void a_lost_campaign_takes_the_marks_of_its_lists_along(void **)
{
    struct fold fold;
    struct fold_sink sink = {.command = note_command, .holding = note_holding};
    struct event event = issued_at(1);
    struct checkpoint at = {.present = true, .generation = 1, .position = event.position - 1, .buckets = 1};
    marks_removed = 0;
    fold_init(&fold);
    fold_start(&fold, (struct model){1, event.slice}, &at, (struct span){0}, AT);
    assert_false(fold_load(&fold, event.campaign_id, (struct span){NULL, 0}));
    assert_true(fold_add(&fold, &event, &sink));
    fold_flush(&fold, &sink);
    assert_true(written > 0);
    assert_int_equal(marks_removed, 15);
    fold_deinit(&fold);
}

/* Keeps the record of the campaign that a fold hands over. */
static struct buf record_bytes;

static void note_record(void *context, const struct redis_command *command)
{
    (void)context;
    struct span text = buf_span(&command->data);
    if (command->count != 3 || !span_starts(text, SPAN("SET")))
        return;
    buf_clear(&record_bytes);
    buf_append(&record_bytes, text.ptr + command->lengths[0] + command->lengths[1], command->lengths[2]);
}

/* Who paused it is in memory of the fold's own: the event is gone when the record is written. */
static void a_fold_keeps_who_paused(void **)
{
    char by[] = "admin", reason[] = "wrong price";
    struct campaign_record record = {
        .campaign = {.id = SPAN("hot"),
                     .definition = {.name = SPAN("Hot"), .quantity = 9, .currency = SPAN("EUR")},
                     .created_at_us = 1,
                     .first = 1,
                     .position = 1,
                     .state = CAMPAIGN_ACTIVE}};
    struct fold fold;
    struct fold_sink sink = {.command = note_record, .holding = note_holding};
    struct checkpoint at = {.present = true, .generation = 1, .position = 1, .buckets = 1};
    struct event paused = {.slice = 1,
                           .position = 2,
                           .type = EVENT_CampaignPaused,
                           .campaign_id = SPAN("hot"),
                           .recorded_at_us = AT * INT64_C(1000000),
                           .campaign_paused = {span_of(by), span_of(reason)}};
    struct event more = {.slice = 1,
                         .position = 3,
                         .type = EVENT_StockReleased,
                         .campaign_id = SPAN("hot"),
                         .recorded_at_us = AT * INT64_C(1000000),
                         .stock_released = {.quantity = 1}};
    struct campaign_record read;
    buf_init(&record_bytes, 16384);
    campaign_record_encode(&record, &record_bytes);
    fold_init(&fold);
    fold_start(&fold, (struct model){1, 1}, &at, (struct span){0}, AT);
    assert_true(fold_load(&fold, SPAN("hot"), buf_span(&record_bytes)));
    assert_true(fold_add(&fold, &paused, &sink));
    memset(by, 'x', sizeof by - 1);
    memset(reason, 'x', sizeof reason - 1);
    assert_true(fold_add(&fold, &more, &sink));
    fold_flush(&fold, &sink);
    assert_true(campaign_record_decode(SPAN("hot"), buf_span(&record_bytes), &read));
    assert_true(read.campaign.state == CAMPAIGN_PAUSED && span_is(read.campaign.change.by, "admin") &&
                span_is(read.campaign.change.reason, "wrong price"));
    fold_deinit(&fold);
    buf_deinit(&record_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coupons_come_back),
        cmocka_unit_test(a_chunk_goes_on_as_if_nothing_had_been),
        cmocka_unit_test(a_chunk_that_was_lost_is_not_taken_for_whole),
        cmocka_unit_test(states_come_back_and_are_short),
        cmocka_unit_test(a_revoked_coupon_says_by_whom),
        cmocka_unit_test(campaigns_come_back),
        cmocka_unit_test(a_lost_campaign_takes_the_marks_of_its_lists_along),
        cmocka_unit_test(a_fold_keeps_who_paused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
