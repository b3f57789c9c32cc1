/* SPDX-License-Identifier: Apache-2.0 */
/* What may happen to a coupon, each rule broken once (I6); and the control stream. */
#include "verify/testing.h"

static struct world world;
static const struct span campaign = {"drop-1", 6}, alice = {"user-a", 6}, bob = {"user-b", 6};
static const struct span order = {"order-1", 7}, other_order = {"order-2", 7};

enum { COUPON = 2, NEVER_S = 1000 }; /* position of alice's coupon */

/* 1 created, 2 alice's coupon. Seconds are positions. */
static int set_up(void **)
{
    world_init(&world, campaign);
    world_create(&world)->campaign_created.min_order_amount = 100;
    world_issue(&world, alice, 1, 1);
    return 0;
}

static int tear_down(void **)
{
    world_deinit(&world);
    return 0;
}

static int64_t seconds(int64_t count)
{
    return count * 1000000;
}

static struct event *reserve(struct span by, int64_t until_s, int64_t renewed)
{
    struct event *event = world_use(&world, EVENT_CouponReserved, COUPON);
    event->coupon_reserved = (struct coupon_reserved){by, 1000, 100, seconds(until_s), renewed};
    return event;
}

static struct event *redeem(struct span by, int64_t was_reserved)
{
    struct event *event = world_use(&world, EVENT_CouponRedeemed, COUPON);
    event->coupon_redeemed = (struct coupon_redeemed){by, 1000, 100, was_reserved};
    return event;
}

static void release(struct span by)
{
    world_use(&world, EVENT_ReservationReleased, COUPON)->reservation_released.order_id = by;
}

static void expire(struct span by, int64_t due_s)
{
    world_use(&world, EVENT_ReservationExpired, COUPON)->reservation_expired =
        (struct reservation_expired){by, seconds(due_s)};
}

static void restore(struct span by)
{
    world_use(&world, EVENT_CouponRestored, COUPON)->coupon_restored.order_id = by;
}

static void take_away(int64_t was_reserved)
{
    world_use(&world, EVENT_CouponRevoked, COUPON)->coupon_revoked =
        (struct coupon_revoked){SPAN("fraud"), SPAN("admin"), was_reserved};
}

static void play(void)
{
    world_seal(&world);
    world_play(&world);
}

static void every_way_through_a_life(void **)
{
    reserve(order, NEVER_S, 0);       /* 3 */
    reserve(order, 7, 1);             /* 4: the same order, again */
    redeem(order, 1);                 /* 5 */
    restore(order);                   /* 6 */
    reserve(order, 8, 0);             /* 7 */
    reserve(other_order, NEVER_S, 1); /* 8: the other's time is over just then */
    release(other_order);             /* 9 */
    reserve(order, 11, 0);            /* 10 */
    expire(order, 11);                /* 11 */
    redeem(other_order, 0);           /* 12 */
    restore(other_order);             /* 13 */
    reserve(order, NEVER_S, 0);       /* 14 */
    take_away(1);                     /* 15 */
    play();
    world_expect_clean(&world);
}

static void redeemed_twice(void **)
{
    world_issue(&world, bob, 2, 1); /* so that the campaign's count has room for it */
    redeem(order, 0);
    redeem(other_order, 0);
    play();
    world_expect(&world, VERIFY_COUPON);
}

static void redeemed_by_another_holder(void **)
{
    redeem(order, 0)->user_id = bob;
    play();
    world_expect(&world, VERIFY_COUPON);
}

static void redeemed_after_it_expired(void **)
{
    world.lines[0].event.campaign_created.coupon_expires_at_us = seconds(3);
    world.lines[1].event.coupon_issued.expires_at_us = seconds(3);
    redeem(order, 0);
    play();
    world_expect(&world, VERIFY_COUPON);
}

static void redeemed_while_another_order_has_it(void **)
{
    reserve(order, NEVER_S, 0);
    redeem(other_order, 1);
    play();
    world_expect(&world, VERIFY_COUPON);
}

static void redeemed_after_it_was_revoked(void **)
{
    take_away(0);
    redeem(order, 0);
    play();
    world_expect(&world, VERIFY_COUPON);
}

static void revoked_after_it_was_redeemed(void **)
{
    redeem(order, 0);
    take_away(0);
    play();
    world_expect(&world, VERIFY_COUPON);
}

static void reserved_while_another_order_has_it(void **)
{
    reserve(order, NEVER_S, 0);
    reserve(other_order, NEVER_S, 1);
    play();
    world_expect(&world, VERIFY_COUPON);
}

static void reserved_until_the_past(void **)
{
    reserve(order, 1, 0);
    play();
    world_expect(&world, VERIFY_COUPON);
}

static void given_back_by_an_order_that_did_not_have_it(void **)
{
    reserve(order, NEVER_S, 0);
    release(other_order);
    play();
    world_expect(&world, VERIFY_COUPON);
    tear_down(NULL), set_up(NULL);
    redeem(order, 0);
    restore(other_order);
    play();
    world_expect(&world, VERIFY_COUPON);
}

static void a_reservation_that_expires_too_early(void **)
{
    reserve(order, 5, 0);
    expire(order, 5); /* at 4 */
    play();
    world_expect(&world, VERIFY_COUPON);
    tear_down(NULL), set_up(NULL);
    reserve(order, NEVER_S, 0);
    expire(order, 4);
    play();
    world_expect(&world, VERIFY_COUPON);
}

/* It was reserved, but the event says not: the campaign then counts a reservation for ever. */
static void wrong_about_having_been_reserved(void **)
{
    world_issue(&world, bob, 2, 1); /* room in the campaign's count */
    reserve(order, NEVER_S, 0);
    redeem(order, 0);
    play();
    world_expect(&world, VERIFY_COUPON);
    tear_down(NULL), set_up(NULL);
    reserve(order, NEVER_S, 0);
    take_away(0);
    play();
    world_expect(&world, VERIFY_COUPON);
}

static void more_given_back_than_used(void **)
{
    restore(order); /* of the campaign and of the coupon */
    play();
    assert_int_equal(world.report.by_rule[VERIFY_COUPON], 2);
    assert_int_equal(world.report.differences, 2);
}

static void an_amount_that_the_definition_does_not_give(void **)
{
    redeem(order, 0)->coupon_redeemed.discount_amount = 101;
    play();
    world_expect(&world, VERIFY_COUPON);
    tear_down(NULL), set_up(NULL);
    redeem(order, 0)->coupon_redeemed = (struct coupon_redeemed){order, 99, 9, 0};
    play();
    world_expect(&world, VERIFY_COUPON);
}

static void a_coupon_that_was_never_issued(void **)
{
    struct event *event = redeem(order, 0);
    line_name_coupon(&world.lines[world.count - 1], (struct position){world.slice, 1}); /* the campaign */
    assert_true(event->coupon_id.len > 0);
    play();
    world_expect(&world, VERIFY_COUPON);
}

static void a_coupon_of_the_future(void **)
{
    redeem(order, 0);
    line_name_coupon(&world.lines[world.count - 1], (struct position){world.slice, 9});
    play();
    assert_int_equal(world.report.by_rule[VERIFY_ENVELOPE], 1);
    assert_int_equal(world.report.by_rule[VERIFY_COUPON], 1);
}

static void without_a_user(void **)
{
    redeem(order, 0)->user_id = (struct span){NULL, 0};
    play();
    world_expect(&world, VERIFY_ENVELOPE);
}

/* --- control --- */

static void control_events_are_in_their_own_stream_only(void **)
{
    world_add(&world, EVENT_SettingChanged)->setting_changed.name = SPAN("profile");
    play();
    world_expect(&world, VERIFY_ENVELOPE);
}

static void the_control_stream_is_clean(void **)
{
    tear_down(NULL);
    world_init(&world, CONTROL_STREAM);
    world.slice = CONTROL_SLICE;
    world_add(&world, EVENT_SettingChanged)->setting_changed =
        (struct setting_changed){SPAN("profile"), SPAN("spike"), SPAN("admin")};
    world_add(&world, EVENT_IssuerSuspended)->issuer_suspended =
        (struct issuer_suspended){SPAN("generator"), SPAN("admin")};
    play();
    world_expect_clean(&world);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_way_through_a_life),
        TEST(redeemed_twice),
        TEST(redeemed_by_another_holder),
        TEST(redeemed_after_it_expired),
        TEST(redeemed_while_another_order_has_it),
        TEST(redeemed_after_it_was_revoked),
        TEST(revoked_after_it_was_redeemed),
        TEST(reserved_while_another_order_has_it),
        TEST(reserved_until_the_past),
        TEST(given_back_by_an_order_that_did_not_have_it),
        TEST(a_reservation_that_expires_too_early),
        TEST(wrong_about_having_been_reserved),
        TEST(more_given_back_than_used),
        TEST(an_amount_that_the_definition_does_not_give),
        TEST(a_coupon_that_was_never_issued),
        TEST(a_coupon_of_the_future),
        TEST(without_a_user),
        TEST(control_events_are_in_their_own_stream_only),
        TEST(the_control_stream_is_clean),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
