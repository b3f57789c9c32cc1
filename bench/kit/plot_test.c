/* SPDX-License-Identifier: Apache-2.0 */
/* What is drawn: one bar for each ratio, texts that are XML, goals where there are some. */
#include "bench/kit/plot.h"

#include "common/base/testing.h"

static struct figure figure_of(double value, double base, double goal)
{
    struct figure figure = {.metric = "m",
                            .what = "a < b & c",
                            .unit = "1/s",
                            .goal = "",
                            .baseline = "base",
                            .goal_ratio = goal};
    series_add(&figure.series, value);
    series_add(&figure.baseline_series, base);
    return figure;
}

static size_t times_in(const struct buf *text, const char *what)
{
    size_t count = 0;
    for (const char *at = text->data; (at = strstr(at, what)); at++)
        count++;
    return count;
}

static void bars_are_drawn(void **)
{
    struct plot plot = {.count = 0};
    struct buf out;
    struct figure figures[] = {figure_of(50, 100, 0.5), figure_of(1000000, 1, 0), figure_of(1, 0, 0)};
    buf_init(&out, 64 * 1024);
    for (size_t i = 0; i < COUNT_OF(figures); i++)
        plot_add(&plot, &figures[i]);
    assert_int_equal(plot.count, 2); /* nothing to compare with, no ratio */
    plot_write(&plot, "title", &out);
    assert_false(out.overflow);
    assert_int_equal(times_in(&out, "a &lt; b &amp; c"), 2);
    assert_int_equal(times_in(&out, "goal 0.5"), 1);
    assert_int_equal(times_in(&out, "stroke-dasharray"), 1);
    assert_int_equal(times_in(&out, "</svg>"), 1);
    buf_deinit(&out);
}

static void what_has_only_a_goal_is_drawn_against_that(void **)
{
    struct plot plot = {.count = 0};
    struct figure figure = figure_of(5, 1, 0);
    figure.baseline = "";
    plot_add(&plot, &figure);
    assert_int_equal(plot.count, 0);
    figure.goal = "<= 10";
    plot_add(&plot, &figure);
    assert_int_equal(plot.count, 1);
    assert_true(plot.bars[0].ratio > 0.49 && plot.bars[0].ratio < 0.51 && plot.bars[0].goal == 1);
}

static void no_more_bars_than_there_is_room(void **)
{
    struct plot plot = {.count = 0};
    struct figure figure = figure_of(1, 1, 1);
    for (size_t i = 0; i < 2 * PLOT_BARS_MAX; i++)
        plot_add(&plot, &figure);
    assert_int_equal(plot.count, PLOT_BARS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bars_are_drawn),
        cmocka_unit_test(what_has_only_a_goal_is_drawn_against_that),
        cmocka_unit_test(no_more_bars_than_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
