/* SPDX-License-Identifier: Apache-2.0 */
/* Batches with commands about coupons, and look-ups: what one transaction decides, writes and answers. The
 * test fills the loaded part as the store would. */
#include "command-service/core/batch_internal.h"

#include "command-service/core/batch_testing.h"
#include "events/problems.h"

enum { FIRST_AT = 20, SECOND_AT = 30 };

/* --- commands and what is loaded for them --- */

static struct command *ask_coupon(enum command_kind kind, int64_t position, const char *order)
{
    struct command *command = ask(kind, 0);
    command->campaign_id = (struct span){NULL, 0}; /* only the coupon says which */
    command->coupon.at = (struct position){command->slice, position};
    command->coupon.user_id = SPAN("ann");
    command->coupon.order_id = span_of(order);
    command->coupon.order_amount = 5000;
    command->coupon.ttl_s = 60;
    command->reason = SPAN("fraud");
    return command;
}

static struct event issued_at(int64_t position)
{
    return (struct event){.slice = slice_of(SPAN("spring")),
                          .position = position,
                          .type = EVENT_CouponIssued,
                          .campaign_id = SPAN("spring"),
                          .user_id = SPAN("ann"),
                          .recorded_at_us = 99,
                          .coupon_issued = {.sequence = 3, .nth = 1}};
}

/* A coupon that ann holds of the first campaign. */
static struct loaded_coupon *loaded_coupon(int64_t position)
{
    struct position at = {batch->slice, position};
    struct loaded_coupon *is = map_get(&batch->coupons, batch_coupon_key(&at));
    struct event event = issued_at(position);
    assert_non_null(is);
    is->coupon = coupon_from_event(&event);
    is->exists = true;
    is->of = batch_campaign(batch, SPAN("spring"));
    if (!is->of->exists) {
        struct campaign *campaign = loaded(0);
        campaign->issued = 5;
        campaign->definition.discount_value = 10;
    }
    return is;
}

static void expect_coupon_event(size_t index, enum event_type type, int64_t position)
{
    char id[COUPON_ID_MAX + 1];
    expect_event(index, type, "spring");
    snprintf(id, sizeof id, "c%d-%lld", batch->slice, (long long)position);
    assert_span(batch->events[index].coupon_id, id);
    assert_span(batch->events[index].user_id, "ann");
}

/* Answered from the event at `index`, as the coupon was right after it, and remembered so. */
static void expect_state(size_t command, size_t index, enum coupon_state state)
{
    const struct verdict *verdict = &batch->verdicts[command];
    int64_t position = HEAD + 1 + (int64_t)index;
    assert_null(verdict->refusal);
    assert_int_equal(verdict->coupon.state, state);
    assert_int_equal(verdict->coupon.last, position);
    assert_int_equal(verdict->coupon.changed_at_us, NOW);
    assert_int_equal(verdict->token.position, position);
    assert_true(verdict->remembered); /* I4 */
    expect_kept(command, NULL);       /* no code in the database */
}

/* --- one coupon in one transaction --- */

static void the_second_order_sees_the_first(void **state)
{
    (void)state;
    ask_coupon(COMMAND_REDEEM, FIRST_AT, "o1");
    ask_coupon(COMMAND_REDEEM, FIRST_AT, "o2");
    ask_coupon(COMMAND_RESERVE, FIRST_AT, "o1");
    begin();
    assert_int_equal(batch->coupons_count, 1);
    assert_int_equal(batch->campaigns_count, 0); /* the store finds out which */
    loaded_coupon(FIRST_AT);
    batch_decide(batch);
    assert_int_equal(batch->events_count, 1);
    expect_coupon_event(0, EVENT_CouponRedeemed, FIRST_AT);
    expect_state(0, 0, COUPON_REDEEMED);
    expect_refusal(1, &problem_already_redeemed);
    expect_refusal(2, &problem_already_redeemed);
    assert_true(batch->coupon_list[0]->changed);
    assert_int_equal(outcome(0)->campaign.redeemed, 1);
    assert_true(outcome(0)->changed);
}

/* Each answer shows the coupon as it was right after its command. */
static void a_whole_life_in_one_transaction(void **state)
{
    (void)state;
    static const struct {
        enum command_kind kind;
        enum event_type event;
        enum coupon_state after;
        int64_t reserved, redeemed;
    } steps[] = {
        {COMMAND_RESERVE, EVENT_CouponReserved, COUPON_RESERVED, 1, 0},
        {COMMAND_RESERVE, EVENT_CouponReserved, COUPON_RESERVED, 1, 0},
        {COMMAND_FREE, EVENT_ReservationReleased, COUPON_ISSUED, 0, 0},
        {COMMAND_RESERVE, EVENT_CouponReserved, COUPON_RESERVED, 1, 0},
        {COMMAND_REDEEM, EVENT_CouponRedeemed, COUPON_REDEEMED, 0, 1},
        {COMMAND_RESTORE, EVENT_CouponRestored, COUPON_ISSUED, 0, 0},
        {COMMAND_REDEEM, EVENT_CouponRedeemed, COUPON_REDEEMED, 0, 1},
        {COMMAND_RESTORE, EVENT_CouponRestored, COUPON_ISSUED, 0, 0},
        {COMMAND_REVOKE, EVENT_CouponRevoked, COUPON_REVOKED, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        ask_coupon(steps[i].kind, FIRST_AT, "o1");
    begin();
    struct campaign counted = loaded_coupon(FIRST_AT)->of->campaign;
    batch_decide(batch);
    assert_int_equal(batch->events_count, COUNT_OF(steps));
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        expect_coupon_event(i, steps[i].event, FIRST_AT);
        expect_state(i, i, steps[i].after);
        campaign_apply(&counted, &batch->events[i]);
        assert_int_equal(counted.reserved, steps[i].reserved);
        assert_int_equal(counted.redeemed, steps[i].redeemed);
    }
    assert_span(batch->verdicts[0].coupon.order_id, "o1");
    assert_int_equal(batch->verdicts[0].coupon.discount_amount, 500);
    assert_span(batch->verdicts[8].coupon.reason, "fraud");
    assert_memory_equal(&outcome(0)->campaign, &counted, sizeof counted);
}

static void two_coupons_and_an_issue_share_a_campaign(void **state)
{
    (void)state;
    ask_issue(0, "bob");
    ask_coupon(COMMAND_REDEEM, FIRST_AT, "o1");
    ask_issue(0, "cyd");
    ask_coupon(COMMAND_RESERVE, SECOND_AT, "o2");
    begin();
    assert_int_equal(batch->coupons_count, 2);
    loaded(0)->issued = 5;
    loaded_coupon(FIRST_AT);
    loaded_coupon(SECOND_AT);
    batch_decide(batch);
    assert_int_equal(batch->campaigns_count, 1);
    assert_int_equal(batch->events_count, 4);
    expect_coupon(0, 0, 6);
    expect_coupon_event(1, EVENT_CouponRedeemed, FIRST_AT);
    expect_coupon(2, 2, 7);
    expect_coupon_event(3, EVENT_CouponReserved, SECOND_AT);
    const struct campaign *campaign = &outcome(0)->campaign;
    assert_int_equal(campaign->issued, 7);
    assert_int_equal(campaign->redeemed, 1);
    assert_int_equal(campaign->reserved, 1);
    assert_int_equal(campaign->position, HEAD + 4);
}

static void an_unknown_coupon_changes_nothing(void **state)
{
    (void)state;
    ask_coupon(COMMAND_REDEEM, FIRST_AT, "o1");
    ask_coupon(COMMAND_LAPSE, FIRST_AT, "o1")->keyed = false;
    begin();
    batch_decide(batch);
    expect_refusal(0, &problem_unknown_coupon);
    expect_refusal(1, &problem_unknown_coupon);
    assert_false(batch_has_writes(batch));
    assert_false(batch_promises(batch));
}

/* What changes nothing is answered and not remembered: asked again, it is decided afresh. */
static void nothing_to_do_leaves_no_row(void **state)
{
    (void)state;
    ask_coupon(COMMAND_FREE, FIRST_AT, "o1");
    ask_coupon(COMMAND_REVOKE, SECOND_AT, "o1");
    begin();
    loaded_coupon(FIRST_AT);
    struct coupon *revoked = &loaded_coupon(SECOND_AT)->coupon;
    revoked->state = COUPON_REVOKED;
    revoked->reason = SPAN("first");
    batch_decide(batch);
    for (size_t i = 0; i < 2; i++) {
        assert_null(batch->verdicts[i].refusal);
        assert_false(batch->verdicts[i].remembered);
    }
    assert_span(batch->verdicts[1].coupon.reason, "first");
    assert_int_equal(batch->events_count, 0);
    assert_false(batch_has_writes(batch));
    assert_true(batch_promises(batch));
}

/* --- replays --- */

static struct event effect_of(enum event_type type)
{
    struct event event = {.slice = batch->slice,
                          .position = 40,
                          .type = type,
                          .version = 1,
                          .campaign_id = SPAN("spring"),
                          .user_id = SPAN("ann"),
                          .recorded_at_us = 777};
    if (type == EVENT_CouponReserved)
        event.coupon_reserved = (struct coupon_reserved){SPAN("o1"), 5000, 500, NOW - 1, 0}; /* over since */
    else if (type == EVENT_CouponRedeemed)
        event.coupon_redeemed = (struct coupon_redeemed){SPAN("o1"), 5000, 500, 0};
    else if (type == EVENT_CouponRevoked)
        event.coupon_revoked.reason = SPAN("fraud");
    return event;
}

/* The answer is a function of the event that was the effect, whatever happened since. */
static void replays_are_rendered_from_the_effect(void **state)
{
    (void)state;
    static const struct {
        enum command_kind kind;
        enum event_type effect;
        const char *status;
    } cases[] = {
        {COMMAND_RESERVE, EVENT_CouponReserved, "reserved"},
        {COMMAND_REDEEM, EVENT_CouponRedeemed, "redeemed"},
        {COMMAND_FREE, EVENT_ReservationReleased, "issued"},
        {COMMAND_RESTORE, EVENT_CouponRestored, "issued"},
        {COMMAND_REVOKE, EVENT_CouponRevoked, "revoked"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        ask_coupon(cases[i].kind, FIRST_AT, "o1");
    begin();
    loaded_coupon(FIRST_AT)->coupon.state = COUPON_REVOKED; /* since */
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct request_record *record = record_for(i);
        record->position = 40;
        record->effect = effect_of(cases[i].effect);
        record->issued = issued_at(FIRST_AT);
    }
    batch_decide(batch);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct verdict *verdict = &batch->verdicts[i];
        assert_null(verdict->refusal);
        assert_true(verdict->replayed);
        assert_string_equal(coupon_status(&verdict->coupon, 0), cases[i].status);
        assert_int_equal(verdict->coupon.at.position, FIRST_AT);
        assert_int_equal(verdict->coupon.sequence, 3);
        assert_int_equal(verdict->coupon.issued_at_us, 99);
        assert_int_equal(verdict->coupon.changed_at_us, 777);
        assert_int_equal(verdict->token.position, 40);
    }
    assert_span(batch->verdicts[1].coupon.order_id, "o1");
    assert_int_equal(batch->verdicts[1].coupon.discount_amount, 500);
    assert_false(batch_has_writes(batch));
}

static void another_payload_for_a_coupon_is_refused(void **state)
{
    (void)state;
    ask_coupon(COMMAND_REDEEM, FIRST_AT, "o1");
    begin();
    loaded_coupon(FIRST_AT);
    struct request_record *record = record_for(0);
    record->fingerprint[0] ^= 1;
    record->effect = effect_of(EVENT_CouponRedeemed);
    batch_decide(batch);
    expect_refusal(0, &problem_idempotency_key_reused);
    assert_false(batch_has_writes(batch));
}

int main(void)
{
    crypto_setup();
    find_names();
    const struct CMUnitTest tests[] = {
        TEST(the_second_order_sees_the_first),
        TEST(a_whole_life_in_one_transaction),
        TEST(two_coupons_and_an_issue_share_a_campaign),
        TEST(an_unknown_coupon_changes_nothing),
        TEST(nothing_to_do_leaves_no_row),
        TEST(replays_are_rendered_from_the_effect),
        TEST(another_payload_for_a_coupon_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
