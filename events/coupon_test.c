/* SPDX-License-Identifier: Apache-2.0 */
/* A coupon from its event, its status around its expiry, and its JSON to the byte: a retry gets the same
 * bytes for ever (I4). */
#include "events/coupon.h"

#include "common/base/testing.h"

static const struct code_key code_key = {.of = {{.bytes = {1, 2, 3, 4, 5, 6, 7, 8}}}};

static struct event issued_event(void)
{
    return (struct event){
        .slice = 3,
        .position = 128,
        .type = EVENT_CouponIssued,
        .version = 1,
        .campaign_id = SPAN("spring"),
        .user_id = SPAN("u \"1\""),
        .recorded_at_us = 1790000000123456,
        .coupon_issued = {77, 2, 1795000000000000, SPAN("FRI")},
    };
}

static void comes_from_its_event(void **)
{
    struct event event = issued_event();
    struct coupon coupon = coupon_from_event(&event);
    assert_int_equal(coupon.at.slice, 3);
    assert_int_equal(coupon.at.position, 128);
    assert_span(coupon.campaign_id, "spring");
    assert_span(coupon.user_id, "u \"1\"");
    assert_span(coupon.code_prefix, "FRI");
    assert_int_equal(coupon.sequence, 77);
    assert_int_equal(coupon.nth, 2);
    assert_true(coupon.issued_at_us == event.recorded_at_us);
    assert_true(coupon.expires_at_us == 1795000000000000);
    assert_int_equal(coupon.state, COUPON_ISSUED);
}

static void from_wrong_event(void *unused)
{
    (void)unused;
    struct event event = {.type = EVENT_CampaignClosed};
    (void)coupon_from_event(&event);
}

static void comes_from_nothing_else(void **)
{
    assert_true(dies(from_wrong_event, NULL));
}

static void expires_at_its_instant(void **)
{
    struct coupon coupon = {.expires_at_us = 5000};
    assert_string_equal(coupon_status(&coupon, 4999), "issued");
    assert_string_equal(coupon_status(&coupon, 5000), "expired");
    assert_string_equal(coupon_status(&coupon, 5001), "expired");
    assert_string_equal(coupon_status(&coupon, 0), "issued");
    coupon.expires_at_us = 0;
    assert_string_equal(coupon_status(&coupon, INT64_MAX), "issued");
}

static void expect_json(const struct coupon *coupon, int64_t now_us, const char *expected)
{
    struct buf out;
    buf_init(&out, 4096);
    coupon_write_json(&out, NULL, coupon, &code_key, now_us);
    assert_string_equal(out.data, expected);
    buf_deinit(&out);
}

static void json_is_frozen(void **)
{
    struct event event = issued_event();
    struct coupon coupon = coupon_from_event(&event);
    expect_json(
        &coupon, 0,
        "{\"coupon_id\":\"c3-128\",\"code\":\"FRI-60000-0040B-RR7K2-R72P5-W17YV\","
        "\"campaign_id\":\"spring\",\"user_id\":\"u \\\"1\\\"\",\"sequence\":77,\"status\":\"issued\","
        "\"issued_at\":\"2026-09-21T14:13:20.123456Z\",\"expires_at\":\"2026-11-18T11:06:40.000000Z\","
        "\"position\":{\"slice\":3,\"position\":128}}");
    coupon.expires_at_us = 0;
    coupon.code_prefix = (struct span){NULL, 0};
    coupon.at = (struct position){15, (INT64_C(1) << 41) - 1};
    expect_json(
        &coupon, INT64_MAX,
        "{\"coupon_id\":\"c15-2199023255551\",\"code\":\"ZZZZZ-ZZZZY-BV8DA-NWR65-P27CS\","
        "\"campaign_id\":\"spring\",\"user_id\":\"u \\\"1\\\"\",\"sequence\":77,\"status\":\"issued\","
        "\"issued_at\":\"2026-09-21T14:13:20.123456Z\",\"expires_at\":null,"
        "\"position\":{\"slice\":15,\"position\":2199023255551}}");
}

/* To who may not know them: neither its code nor whose it is. */
static void code_and_user_may_be_left_out(void **)
{
    struct event event = issued_event();
    struct coupon coupon = coupon_from_event(&event);
    struct buf out;
    buf_init(&out, 4096);
    coupon.user_id = (struct span){NULL, 0};
    coupon_write_json(&out, NULL, &coupon, NULL, 0);
    assert_null(strstr(out.data, "\"code\""));
    assert_null(strstr(out.data, "\"user_id\""));
    assert_non_null(strstr(out.data, "\"campaign_id\":\"spring\""));
    buf_deinit(&out);
}

/* The answer of the write API is asked for with 0 and never changes; a read says what is so now. */
static void only_reads_see_time_pass(void **)
{
    struct event event = issued_event();
    struct coupon coupon = coupon_from_event(&event);
    struct buf out;
    buf_init(&out, 4096);
    coupon.expires_at_us = coupon.issued_at_us - 1;
    coupon_write_json(&out, "coupon", &coupon, &code_key, 0);
    assert_non_null(strstr(out.data, "\"coupon\":{"));
    assert_non_null(strstr(out.data, "\"status\":\"issued\""));
    buf_clear(&out);
    coupon_write_json(&out, NULL, &coupon, &code_key, coupon.issued_at_us);
    assert_non_null(strstr(out.data, "\"status\":\"expired\""));
    buf_deinit(&out);
}

static void percentages_have_two_decimals_and_are_rounded_down(void **)
{
    static const struct {
        int64_t whole, hundredths, most, amount, off;
    } cases[] = {
        {12, 50, 0, 1000, 125},
        {12, 50, 0, 1007, 125},
        {0, 1, 0, 10000, 1},
        {0, 1, 0, 9999, 0},
        {99, 99, 0, 10, 9},
        {33, 33, 300, 1000, 300},
        {99, 99, 0, MONEY_MAX, MONEY_MAX / 10000 * 9999},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct campaign_created campaign = {.discount_value = cases[i].whole,
                                            .discount_hundredths = cases[i].hundredths,
                                            .discount_max = cases[i].most};
        assert_int_equal(coupon_discount(&campaign, cases[i].amount), cases[i].off);
    }
}

int main(void)
{
    crypto_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_from_its_event),
        cmocka_unit_test(comes_from_nothing_else),
        cmocka_unit_test(expires_at_its_instant),
        cmocka_unit_test(json_is_frozen),
        cmocka_unit_test(code_and_user_may_be_left_out),
        cmocka_unit_test(only_reads_see_time_pass),
        cmocka_unit_test(percentages_have_two_decimals_and_are_rounded_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
