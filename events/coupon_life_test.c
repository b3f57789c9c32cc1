/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a coupon after it was issued: its fold, what it may be used for and what that takes off,
 * and how it then reads. */
#include "common/base/testing.h"
#include "events/coupon.h"
#include "events/problems.h"

enum { ISSUED_AT = 10, EXPIRES = 1000, UNTIL = 500 };

static const struct code_key code_key = {.of = {{.bytes = {1}}}};

static struct coupon issued(void)
{
    struct event event = {
        .slice = 3,
        .position = ISSUED_AT,
        .type = EVENT_CouponIssued,
        .version = 1,
        .campaign_id = SPAN("spring"),
        .user_id = SPAN("ann"),
        .recorded_at_us = 1,
        .coupon_issued = {1, 1, EXPIRES, SPAN("")},
    };
    return coupon_from_event(&event);
}

static struct event next(enum event_type type, int64_t position)
{
    struct event event = {.type = type, .position = position, .recorded_at_us = 10 * position};
    if (type == EVENT_CouponReserved)
        event.coupon_reserved = (struct coupon_reserved){SPAN("o1"), 5000, 500, UNTIL, 0};
    else if (type == EVENT_CouponRedeemed)
        event.coupon_redeemed = (struct coupon_redeemed){SPAN("o2"), 7000, 700, 0};
    else if (type == EVENT_CouponRevoked)
        event.coupon_revoked = (struct coupon_revoked){SPAN("fraud"), SPAN("admin"), 0};
    return event;
}

static struct coupon after(enum event_type type)
{
    struct coupon coupon = issued();
    struct event event = next(type, ISSUED_AT + 1);
    coupon_apply(&coupon, &event);
    return coupon;
}

static void each_event_says_all(void **)
{
    for (int before = EVENT_CouponReserved; before <= EVENT_CouponRevoked; before++) {
        for (int last = EVENT_CouponReserved; last <= EVENT_CouponRevoked; last++) {
            struct coupon both = after((enum event_type)before), one = issued();
            struct event event = next((enum event_type)last, ISSUED_AT + 2);
            assert_true(coupon_concerned(&event));
            coupon_apply(&both, &event);
            coupon_apply(&one, &event);
            assert_memory_equal(&both, &one, sizeof both);
        }
    }
    struct event other = {.type = EVENT_CouponIssued};
    assert_false(coupon_concerned(&other));
    other.type = EVENT_IssuerSuspended;
    assert_false(coupon_concerned(&other));
}

static void folds_to_its_state(void **)
{
    struct coupon coupon = after(EVENT_CouponReserved);
    assert_int_equal(coupon.state, COUPON_RESERVED);
    assert_span(coupon.order_id, "o1");
    assert_int_equal(coupon.discount_amount, 500);
    assert_int_equal(coupon.last, ISSUED_AT + 1);
    assert_int_equal(coupon.changed_at_us, 10 * (ISSUED_AT + 1));
    assert_int_equal(after(EVENT_CouponRedeemed).state, COUPON_REDEEMED);
    assert_int_equal(after(EVENT_CouponRevoked).state, COUPON_REVOKED);
    assert_span(after(EVENT_CouponRevoked).reason, "fraud");
    assert_int_equal(after(EVENT_ReservationReleased).state, COUPON_ISSUED);
    assert_int_equal(after(EVENT_ReservationExpired).state, COUPON_ISSUED);
    assert_int_equal(after(EVENT_CouponRestored).state, COUPON_ISSUED);
    assert_null(after(EVENT_CouponRestored).order_id.ptr);
}

static void apply_older(void *unused)
{
    (void)unused;
    struct coupon coupon = issued();
    struct event event = next(EVENT_CouponReserved, ISSUED_AT);
    coupon_apply(&coupon, &event);
}

static void is_folded_in_order(void **)
{
    assert_true(dies(apply_older, NULL));
}

static void status_is_of_an_instant(void **)
{
    struct coupon reserved = after(EVENT_CouponReserved), redeemed = after(EVENT_CouponRedeemed);
    assert_string_equal(coupon_status(&reserved, UNTIL - 1), "reserved");
    assert_string_equal(coupon_status(&reserved, UNTIL), "issued"); /* whether or not the log says so yet */
    assert_string_equal(coupon_status(&reserved, EXPIRES), "expired");
    assert_string_equal(coupon_status(&reserved, 0), "reserved");
    assert_string_equal(coupon_status(&redeemed, EXPIRES), "redeemed"); /* it did its work in time */
    struct coupon revoked = after(EVENT_CouponRevoked);
    assert_string_equal(coupon_status(&revoked, EXPIRES), "revoked");
}

static void a_lapsed_reservation_is_none(void **)
{
    struct coupon reserved = after(EVENT_CouponReserved);
    struct coupon before = coupon_at(&reserved, UNTIL - 1), over = coupon_at(&reserved, UNTIL);
    assert_memory_equal(&before, &reserved, sizeof before);
    assert_int_equal(over.state, COUPON_ISSUED);
    assert_null(over.order_id.ptr);
    assert_int_equal(over.reserved_until_us, 0);
    assert_int_equal(over.last, reserved.last);
    struct coupon redeemed = after(EVENT_CouponRedeemed), same = coupon_at(&redeemed, EXPIRES);
    assert_memory_equal(&same, &redeemed, sizeof same);
}

/* --- using it --- */

static const struct campaign_created spring = {.discount_value = 10, .min_order_amount = 100};

struct use_case {
    enum event_type last; /* 0: only issued */
    const char *user, *order;
    int64_t amount, now_us;
    const struct problem *expected;
};

static void may_be_used_or_not(void **)
{
    const struct use_case cases[] = {
        {0, "ann", "o1", 100, 1, NULL},
        {0, "ann", "o1", 99, 1, &problem_below_minimum},
        {0, "ann", "o1", -1, 1, NULL}, /* not known yet */
        {0, "bob", "o1", 100, 1, &problem_not_holder},
        {0, NULL, NULL, 100, 1, NULL},
        {0, "ann", "o1", 100, EXPIRES - 1, NULL},
        {0, "ann", "o1", 100, EXPIRES, &problem_expired},
        {EVENT_CouponReserved, "ann", "o1", 100, UNTIL - 1, NULL}, /* its own hold is not in its way */
        {EVENT_CouponReserved, "ann", "o2", 100, UNTIL - 1, &problem_reserved},
        {EVENT_CouponReserved, "ann", NULL, 100, UNTIL - 1, &problem_reserved},
        {EVENT_CouponReserved, "ann", "o2", 100, UNTIL, NULL},
        {EVENT_CouponReserved, "ann", "o1", 100, EXPIRES, &problem_expired},
        {EVENT_CouponReserved, "bob", "o1", 100, 1, &problem_not_holder},
        {EVENT_CouponRedeemed, "ann", "o2", 100, 1, &problem_already_redeemed},
        {EVENT_CouponRedeemed, "ann", "o3", 100, EXPIRES, &problem_already_redeemed},
        {EVENT_CouponRevoked, "ann", "o1", 100, 1, &problem_revoked},
        {EVENT_CouponRestored, "ann", "o3", 100, 1, NULL},
        {EVENT_CouponRestored, "ann", "o3", 100, EXPIRES, &problem_expired},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct use_case *is = &cases[i];
        struct coupon coupon = is->last ? after(is->last) : issued();
        struct coupon_use use = {span_of(is->user), span_of(is->order), is->amount};
        const struct problem *got = coupon_check(&coupon, &spring, &use, is->now_us);
        if (got != is->expected)
            fail_msg("case %zu: %s", i, got ? got->code : "may be used");
    }
}

static void discounts_are_whole_and_bounded(void **)
{
    struct campaign_created percent = {.discount_value = 15};
    assert_int_equal(coupon_discount(&percent, 0), 0);
    assert_int_equal(coupon_discount(&percent, 99), 14); /* 14.85: rounded down */
    assert_int_equal(coupon_discount(&percent, 100), 15);
    percent.discount_value = 100;
    assert_true(coupon_discount(&percent, MONEY_MAX) == MONEY_MAX);
    percent.discount_max = 1000;
    assert_int_equal(coupon_discount(&percent, 1000), 1000);
    assert_int_equal(coupon_discount(&percent, 1001), 1000);
    assert_int_equal(coupon_discount(&percent, MONEY_MAX), 1000);
    struct campaign_created fixed = {.discount_type = 1, .discount_value = 500};
    assert_int_equal(coupon_discount(&fixed, 499), 499); /* never more than the order */
    assert_int_equal(coupon_discount(&fixed, 500), 500);
    assert_int_equal(coupon_discount(&fixed, 501), 500);
}

/* --- JSON --- */

static void expect_in_json(const struct coupon *coupon, int64_t now_us, const char *part, bool there)
{
    struct buf out;
    buf_init(&out, 4096);
    coupon_write_json(&out, NULL, coupon, &code_key, now_us);
    if ((strstr(out.data, part) != NULL) != there)
        fail_msg("%s is %sin %s", part, there ? "not " : "", out.data);
    buf_deinit(&out);
}

static void json_says_what_became_of_it(void **)
{
    struct coupon coupon = after(EVENT_CouponReserved);
    expect_in_json(&coupon, 0,
                   "\"status\":\"reserved\",\"issued_at\":\"1970-01-01T00:00:00.000001Z\",\"expires_at\":"
                   "\"1970-01-01T00:00:00.001000Z\",\"order_id\":\"o1\",\"order_amount\":5000,"
                   "\"discount_amount\":500,\"reserved_until\":\"1970-01-01T00:00:00.000500Z\",\"position\"",
                   true);
    expect_in_json(&coupon, UNTIL, "order_id", false); /* nobody's any more */
    expect_in_json(&coupon, UNTIL, "reserved_until", false);
    coupon = after(EVENT_CouponRedeemed);
    expect_in_json(&coupon, EXPIRES,
                   "\"order_id\":\"o2\",\"order_amount\":7000,\"discount_amount\":700,"
                   "\"redeemed_at\":\"1970-01-01T00:00:00.000110Z\"",
                   true);
    coupon = after(EVENT_CouponRevoked);
    expect_in_json(
        &coupon, 0,
        "\"revoked_at\":\"1970-01-01T00:00:00.000110Z\",\"revoked_by\":\"admin\",\"reason\":\"fraud\"", true);
    coupon.actor = (struct span){NULL, 0};
    expect_in_json(&coupon, 0, "\"revoked_at\":\"1970-01-01T00:00:00.000110Z\",\"reason\":\"fraud\"", true);
    coupon = after(EVENT_CouponRestored);
    expect_in_json(&coupon, 0, "order_id", false);
}

/* The one text that a state has is written and read back without its name. */
static void a_note_is_of_its_state(void **)
{
    static char long_text[REASON_MAX + ORDER_ID_MAX + 2];
    memset(long_text, 'x', sizeof long_text - 1);
    struct coupon coupon = after(EVENT_CouponRevoked);
    assert_span(coupon_note(&coupon), "fraud");
    assert_true(coupon_take_note(&coupon, SPAN("theft")));
    assert_span(coupon.reason, "theft");
    assert_null(coupon.order_id.ptr);
    assert_true(coupon_take_note(&coupon, SPAN("")));
    assert_null(coupon.reason.ptr);
    assert_false(coupon_take_note(&coupon, (struct span){long_text, REASON_MAX + 1}));
    for (int type = EVENT_CouponReserved; type <= EVENT_CouponRedeemed; type++) {
        if (type != EVENT_CouponReserved && type != EVENT_CouponRedeemed)
            continue;
        coupon = after((enum event_type)type);
        assert_span(coupon_note(&coupon), type == EVENT_CouponReserved ? "o1" : "o2");
        assert_true(coupon_take_note(&coupon, SPAN("o3")));
        assert_span(coupon.order_id, "o3");
        assert_null(coupon.reason.ptr);
        assert_false(coupon_take_note(&coupon, SPAN("")));
        assert_true(coupon_take_note(&coupon, (struct span){long_text, ORDER_ID_MAX}));
        assert_false(coupon_take_note(&coupon, (struct span){long_text, ORDER_ID_MAX + 1}));
    }
    coupon = issued();
    assert_true(coupon_take_note(&coupon, SPAN("")));
    assert_false(coupon_take_note(&coupon, SPAN("x")));
}

static void another_currency_is_refused(void **)
{
    const struct campaign_created campaign = {.currency = SPAN("EUR")};
    struct coupon coupon = issued();
    struct coupon_use use = {.order_amount = -1, .currency = SPAN("EUR")};
    assert_null(coupon_check(&coupon, &campaign, &use, 1));
    use.currency = SPAN("KRW");
    assert_ptr_equal(coupon_check(&coupon, &campaign, &use, 1), &problem_currency_mismatch);
}

int main(void)
{
    crypto_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_says_all),
        cmocka_unit_test(folds_to_its_state),
        cmocka_unit_test(a_note_is_of_its_state),
        cmocka_unit_test(another_currency_is_refused),
        cmocka_unit_test(is_folded_in_order),
        cmocka_unit_test(status_is_of_an_instant),
        cmocka_unit_test(a_lapsed_reservation_is_none),
        cmocka_unit_test(may_be_used_or_not),
        cmocka_unit_test(discounts_are_whole_and_bounded),
        cmocka_unit_test(json_says_what_became_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
