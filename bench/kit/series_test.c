/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of medians and percentiles. */
#include "bench/kit/series.h"

#include "common/base/testing.h"

static bool same(double a, double b)
{
    return a - b < 1e-9 && b - a < 1e-9;
}

static void empty_is_zero(void **)
{
    struct series series = {.count = 0};
    assert_true(same(series_median(&series), 0));
    assert_true(same(series_min(&series), 0));
    assert_true(same(series_max(&series), 0));
    assert_int_equal(series_percentile_us(NULL, 0, 500), 0);
}

static void median_of_odd_and_even_counts(void **)
{
    struct series series = {.count = 0};
    series_add(&series, 30);
    assert_true(same(series_median(&series), 30));
    series_add(&series, 10);
    assert_true(same(series_median(&series), 20));
    series_add(&series, 11);
    assert_true(same(series_median(&series), 11));
    assert_true(same(series_min(&series), 10));
    assert_true(same(series_max(&series), 30));
    assert_true(same(series.values[0], 30)); /* rounds keep their order */
}

static void percentile_is_a_value_that_occurred(void **)
{
    int64_t values[1000];
    for (int i = 0; i < 1000; i++)
        values[i] = 1000 - i;
    series_sort_us(values, 1000);
    assert_int_equal(series_percentile_us(values, 1000, 500), 500);
    assert_int_equal(series_percentile_us(values, 1000, 990), 990);
    assert_int_equal(series_percentile_us(values, 1000, 1000), 1000);
    assert_int_equal(series_percentile_us(values, 1, 1), 1);
    assert_int_equal(series_percentile_us(values, 3, 500), 2);
    assert_int_equal(series_percentile_us(values, 3, 990), 3);
}

static void add_too_many(void *context)
{
    struct series *series = context;
    for (int i = 0; i <= SERIES_MAX; i++)
        series_add(series, i);
}

static void a_full_series_takes_no_more(void **)
{
    struct series series = {.count = 0};
    assert_true(dies(add_too_many, &series));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_is_zero),
        cmocka_unit_test(median_of_odd_and_even_counts),
        cmocka_unit_test(percentile_is_a_value_that_occurred),
        cmocka_unit_test(a_full_series_takes_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
