/* SPDX-License-Identifier: Apache-2.0 */
/* Moments as text, and the fold: the same as folding every event, whatever is counted instead of folded. */
#include "query-service/pg/past.h"

#include "query-service/load/query.h"

#include "common/base/testing.h"

enum { QUANTITY = 100 };

static void moments_are_parsed(void **)
{
    struct past past;
    assert_true(past_parse(SPAN("2026-01-31T09:00:00Z"), &past));
    assert_int_equal(past.kind, PAST_INSTANT);
    assert_int_equal(past.at_us, INT64_C(1769850000000000));
    assert_true(past_parse(SPAN("2026-01-31T18:00:00.25+09:00"), &past));
    assert_int_equal(past.at_us, INT64_C(1769850000250000));
    assert_true(past_parse(SPAN("15:9223372036854775807"), &past));
    assert_int_equal(past.kind, PAST_POSITION);
    assert_int_equal(past.at.slice, 15);
    assert_int_equal(past.at.position, INT64_MAX);
}

static void what_is_no_moment_is_refused(void **)
{
    static const char *const bad[] = {
        "",
        ":",
        "1",
        "1:",
        ":1",
        "16:1",
        "-1:1",
        "0:0",
        "0:-1",
        "1:2:",
        "1:2:3",
        "1: 2",
        "+1:2",
        "2026-01-31",
        "now",
        "0x1:2",
        "1:1e3",
        "1:9223372036854775808",
        "2026-01-31T09:00:00",
        "2026-02-30T09:00:00Z",
    };
    struct past past = {.kind = PAST_NONE};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (past_parse(span_of(bad[i]), &past))
            fail_msg("%s", bad[i]);
        assert_int_equal(past.kind, PAST_NONE);
    }
}

/* A campaign's log, and its fold by every event. */
struct history {
    struct event events[64];
    size_t count;
};

static struct event *add(struct history *history, enum event_type type)
{
    assert_true(history->count < COUNT_OF(history->events));
    struct event *event = &history->events[history->count++];
    /* Others' events lie in between. */
    *event = (struct event){.type = type, .position = 10 * (int64_t)history->count, .campaign_id = SPAN("c")};
    return event;
}

static void add_coupon(struct history *history, int64_t sequence)
{
    add(history, EVENT_CouponIssued)->coupon_issued.sequence = sequence;
}

/* Every type of event that a campaign can have, but for its deletion. */
static void make_history(struct history *history)
{
    struct event *created = add(history, EVENT_CampaignCreated);
    created->recorded_at_us = 77;
    created->campaign_created = (struct campaign_created){.quantity = QUANTITY, .released = 10};
    for (int64_t sequence = 1; sequence <= 5; sequence++)
        add_coupon(history, sequence);
    add(history, EVENT_CouponReserved);
    add(history, EVENT_CouponReserved)->coupon_reserved.renewed = 1;
    add(history, EVENT_CouponRedeemed)->coupon_redeemed.was_reserved = 1;
    add(history, EVENT_CouponRedeemed);
    add(history, EVENT_StockReleased)->stock_released = (struct stock_released){30, 1, SPAN("")};
    add(history, EVENT_CampaignPaused);
    add(history, EVENT_CouponRestored);
    add(history, EVENT_CouponReserved);
    add(history, EVENT_CouponReserved);
    add(history, EVENT_CouponReserved);
    add(history, EVENT_ReservationReleased);
    add(history, EVENT_ReservationExpired);
    add(history, EVENT_CouponRevoked)->coupon_revoked.was_reserved = 1;
    add(history, EVENT_ReleasePlanHalted);
    add(history, EVENT_CampaignResumed);
    add_coupon(history, 6);
    add(history, EVENT_CouponRevoked);
    add(history, EVENT_StockReleased)->stock_released = (struct stock_released){60, 0, SPAN("")};
    add(history, EVENT_CampaignEnded);
    add(history, EVENT_CouponRedeemed);
    add(history, EVENT_CampaignClosed);
}

static void fold_past(const struct history *history, size_t count, struct campaign *ret)
{
    int64_t issued = 0, last_issued = 0;
    for (size_t i = 0; i < count; i++)
        if (history->events[i].type == EVENT_CouponIssued) {
            issued++;
            last_issued = history->events[i].position;
        }
    past_begin(ret, &history->events[0], issued);
    for (size_t i = 1; i < count; i++)
        if (history->events[i].type != EVENT_CouponIssued)
            assert_true(past_apply(ret, &history->events[i]));
    past_end(ret, last_issued);
}

static void it_is_the_fold_at_every_position(void **)
{
    struct history history = {0};
    struct campaign whole = {0}, past;
    make_history(&history);
    for (size_t count = 1; count <= history.count; count++) {
        campaign_apply(&whole, &history.events[count - 1]);
        fold_past(&history, count, &past);
        assert_int_equal(past.created_at_us, 77);
        assert_int_equal(past.first, whole.first);
        assert_int_equal(past.position, whole.position);
        assert_int_equal(past.released, whole.released);
        assert_int_equal(past.issued, whole.issued);
        assert_int_equal(past.redeemed, whole.redeemed);
        assert_int_equal(past.reserved, whole.reserved);
        assert_int_equal(past.plan_done, whole.plan_done);
        assert_int_equal(past.plan_halted, whole.plan_halted);
        assert_int_equal(past.state, whole.state);
    }
    assert_int_equal(whole.redeemed, 2); /* the history is one */
    assert_int_equal(whole.released, QUANTITY);
}

/* Each where campaign_apply would end the process. */
static void what_cannot_be_is_an_error(void **)
{
    const struct event created = {.type = EVENT_CampaignCreated,
                                  .position = 5,
                                  .campaign_id = SPAN("c"),
                                  .campaign_created = {.quantity = 10, .released = 5}};
    const struct event bad[] = {
        {.type = EVENT_CampaignPaused, .position = 5}, /* not after what came before */
        {.type = EVENT_StockReleased, .position = 6, .stock_released = {6, 0, SPAN("")}},
        {.type = EVENT_StockReleased, .position = 6, .stock_released = {1, 2, SPAN("")}},
        {.type = EVENT_CouponReserved, .position = 6},
        {.type = EVENT_CouponReserved, .position = 6, .coupon_reserved = {.renewed = 1}},
        {.type = EVENT_CouponRedeemed, .position = 6},
        {.type = EVENT_CouponRedeemed, .position = 6, .coupon_redeemed = {.was_reserved = 1}},
        {.type = EVENT_ReservationReleased, .position = 6},
        {.type = EVENT_ReservationExpired, .position = 6},
        {.type = EVENT_CouponRestored, .position = 6},
        {.type = EVENT_CouponRevoked, .position = 6, .coupon_revoked = {.was_reserved = 1}},
        {.type = EVENT_CampaignCreated, .position = 6},
        {.type = EVENT_CampaignDeleted, .position = 6},
        {.type = EVENT_CouponIssued, .position = 6, .coupon_issued = {.sequence = 1}},
        {.type = EVENT_SettingChanged, .position = 6},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct campaign campaign;
        past_begin(&campaign, &created, 0);
        if (past_apply(&campaign, &bad[i]))
            fail_msg("row %zu", i);
        assert_int_equal(campaign.position, 5);
        assert_int_equal(campaign.released, 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_parsed),
        cmocka_unit_test(what_is_no_moment_is_refused),
        cmocka_unit_test(it_is_the_fold_at_every_position),
        cmocka_unit_test(what_cannot_be_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
