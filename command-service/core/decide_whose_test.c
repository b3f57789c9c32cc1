/* SPDX-License-Identifier: Apache-2.0 */
/* Which API key may undo what which other did; and what a refusal says besides its code. */
#include "command-service/core/decide.h"

#include "common/base/testing.h"
#include "events/problems.h"

enum { NOW_US = 5000000, UNTIL_US = 6000000 };

static struct campaign campaign = {
    .id = {"spring", 6},
    .first = 1,
    .position = 9,
    .released = 5,
    .issued = 5,
    .state = CAMPAIGN_ACTIVE,
    .definition = {.quantity = 8, .per_user_limit = 1, .discount_value = 10, .starts_at_us = 7000000},
};

static struct coupon coupon_in(enum coupon_state state, const char *actor)
{
    return (struct coupon){.at = {3, 2},
                           .campaign_id = campaign.id,
                           .user_id = SPAN("ann"),
                           .state = state,
                           .last = 7,
                           .order_id = SPAN("o1"),
                           .reserved_until_us = state == COUPON_RESERVED ? UNTIL_US : 0,
                           .actor = actor ? span_of(actor) : (struct span){NULL, 0}};
}

static const struct problem *refusal_of(enum command_kind kind, const char *owner, const char *actor,
                                        bool admin)
{
    struct coupon coupon = coupon_in(kind == COMMAND_FREE ? COUPON_RESERVED : COUPON_REDEEMED, owner);
    struct command command = {.kind = kind, .actor = span_of(actor), .by_admin = admin};
    struct decision decision;
    command.coupon.at = coupon.at;
    command.coupon.order_id = SPAN("o1");
    decide(&command, &(struct subject){.campaign = &campaign, .coupon = &coupon}, NOW_US, &decision);
    assert_true((decision.refusal == NULL) == decision.has_event);
    return decision.refusal;
}

static void only_who_did_it_undoes_it(void **)
{
    static const enum command_kind kinds[] = {COMMAND_FREE, COMMAND_RESTORE};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        assert_null(refusal_of(kinds[i], "till-a", "till-a", false));
        assert_ptr_equal(refusal_of(kinds[i], "till-a", "till-b", false), &problem_other_key);
        assert_ptr_equal(refusal_of(kinds[i], "till-a", "till-", false), &problem_other_key);
        assert_null(refusal_of(kinds[i], "till-a", "boss", true));
        assert_null(refusal_of(kinds[i], NULL, "till-b", false)); /* a version before did not note who */
    }
}

static void a_coupon_knows_the_key_of_its_last_event(void **)
{
    struct coupon coupon = coupon_in(COUPON_ISSUED, NULL);
    struct event event = {.type = EVENT_CouponReserved, .position = 8};
    event.coupon_reserved = (struct coupon_reserved){.order_id = SPAN("o1"), .actor = SPAN("till-a")};
    coupon_apply(&coupon, &event);
    assert_span(coupon.actor, "till-a");
    event = (struct event){.type = EVENT_ReservationReleased, .position = 9};
    event.reservation_released = (struct reservation_released){SPAN("o1"), SPAN("till-a")};
    coupon_apply(&coupon, &event);
    assert_null(coupon.actor.ptr);
    event = (struct event){.type = EVENT_CouponRedeemed, .position = 10};
    event.coupon_redeemed = (struct coupon_redeemed){.order_id = SPAN("o2"), .actor = SPAN("till-b")};
    coupon_apply(&coupon, &event);
    assert_span(coupon.actor, "till-b");
}

static void a_refusal_says_what_is_next(void **)
{
    static const struct release plan[] = {{8000000, 2}};
    struct campaign is = campaign;
    struct coupon coupon = coupon_in(COUPON_RESERVED, "till-a");
    struct subject subject = {.campaign = &is, .coupon = &coupon};
    struct refusal_next next = decide_next(&problem_not_started, &subject, NULL, NOW_US);
    assert_string_equal(next.from, "starts_at");
    assert_int_equal(next.from_us, 7000000);
    next = decide_next(&problem_sold_out, &subject, NULL, NOW_US);
    assert_int_equal(next.from_us, 0);
    assert_true(next.says_held_back && next.held_back == 3);
    is.definition.release_plan = (struct release_list){plan, 1};
    next = decide_next(&problem_sold_out, &subject, NULL, NOW_US);
    assert_string_equal(next.from, "next_release_at");
    assert_int_equal(next.from_us, 8000000);
    is.plan_halted = true;
    assert_int_equal(decide_next(&problem_sold_out, &subject, NULL, NOW_US).from_us, 0);
    is.definition.reopens_at_us = NOW_US + 1;
    next = decide_next(&problem_sold_out, &subject, NULL, NOW_US);
    assert_string_equal(next.from, "reopens_at");
    assert_int_equal(next.from_us, NOW_US + 1);
    next = decide_next(&problem_reserved, &subject, NULL, NOW_US);
    assert_string_equal(next.from, "reserved_until");
    assert_int_equal(next.from_us, UNTIL_US);
    struct command command = {.actor = SPAN("till-b")};
    assert_null(decide_next(&problem_already_redeemed, &subject, &command, NOW_US).order_id.ptr);
    command.by_admin = true;
    assert_span(decide_next(&problem_already_redeemed, &subject, &command, NOW_US).order_id, "o1");
    command = (struct command){.actor = SPAN("till-a")}; /* its own */
    assert_span(decide_next(&problem_already_redeemed, &subject, &command, NOW_US).order_id, "o1");
    coupon.actor = command.actor = SPAN(""); /* of before it was noted */
    assert_null(decide_next(&problem_already_redeemed, &subject, &command, NOW_US).order_id.ptr);
    next = decide_next(&problem_unknown_campaign, &(struct subject){0}, &command, NOW_US);
    assert_true(!next.from_us && !next.says_held_back && !next.order_id.ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_who_did_it_undoes_it),
        cmocka_unit_test(a_coupon_knows_the_key_of_its_last_event),
        cmocka_unit_test(a_refusal_says_what_is_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
