/* SPDX-License-Identifier: Apache-2.0 */
/* The series that was asked for, and none that only begins like it. */
#include "bench/kit/metrics_text.h"

#include "common/base/testing.h"

static const char text[] = "# HELP coupon_a one\n# TYPE coupon_a counter\ncoupon_ab 1\ncoupon_a{x=\"1\"} 2\n"
                           "coupon_a 3\ncoupon_c -4\ncoupon_d 0.5\n";

static void finds_the_series_of_that_name(void **)
{
    int64_t value = 0;
    assert_true(metrics_find(span_of(text), "coupon_a", &value));
    assert_int_equal(value, 3);
    assert_true(metrics_find(span_of(text), "coupon_a{x=\"1\"}", &value));
    assert_int_equal(value, 2);
    assert_true(metrics_find(span_of(text), "coupon_c", &value));
    assert_int_equal(value, -4);
}

static void finds_fractions(void **)
{
    int64_t value = 7;
    assert_true(metrics_find_micro(SPAN("coupon_r 0.870500\n"), "coupon_r", &value));
    assert_int_equal(value, 870500);
    assert_true(metrics_find_micro(SPAN("coupon_r 12.000001\n"), "coupon_r", &value));
    assert_int_equal(value, 12000001);
    assert_false(metrics_find_micro(SPAN("coupon_r 12\n"), "coupon_r", &value));
    assert_false(metrics_find_micro(SPAN("coupon_r 0.87\n"), "coupon_r", &value));
    assert_false(metrics_find_micro(SPAN(""), "coupon_r", &value));
    assert_int_equal(value, 12000001);
}

static void what_is_not_there_is_not_found(void **)
{
    int64_t value = 7;
    assert_false(metrics_find(span_of(text), "coupon", &value));
    assert_false(metrics_find(span_of(text), "coupon_d", &value)); /* no whole number */
    assert_false(metrics_find(SPAN(""), "coupon_a", &value));
    assert_int_equal(value, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_series_of_that_name),
        cmocka_unit_test(finds_fractions),
        cmocka_unit_test(what_is_not_there_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
