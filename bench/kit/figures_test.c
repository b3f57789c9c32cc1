/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of how figures are printed. */
#include "bench/kit/figures.h"

#include "common/base/testing.h"
#include "common/json.h"

static struct figure example(void)
{
    struct figure figure = {
        .metric = "issue", .what = "an \"example\"", .unit = "1/s", .goal = ">= 10", .baseline = "nothing"};
    series_add(&figure.series, 30);
    series_add(&figure.series, 10);
    series_add(&figure.series, 20);
    series_add(&figure.baseline_series, 5);
    return figure;
}

static void ratio_is_of_the_medians(void **)
{
    struct figure figure = example();
    assert_true(figure_ratio(&figure) > 3.999 && figure_ratio(&figure) < 4.001);
    figure.baseline_series.count = 0;
    assert_true(figure_ratio(&figure) < 0.001);
}

static void json_is_one_line_and_parses(void **)
{
    struct figure figure = example();
    struct buf out;
    struct json_fault fault;
    struct span text;
    buf_init(&out, 4096);
    figure_write_json(&figure, &out);
    assert_true(memchr(out.data, '\n', out.len) == out.data + out.len - 1);
    struct json_doc *doc = json_parse((struct span){out.data, out.len - 1}, &fault);
    assert_non_null(doc);
    assert_true(json_as_text(json_member(json_root(doc), "what"), &text));
    assert_span(text, "an \"example\"");
    assert_int_equal(json_array_length(json_member(json_member(json_root(doc), "figure"), "rounds")), 3);
    json_destroy(doc);
    buf_deinit(&out);
}

static void text_names_goal_figure_and_comparison(void **)
{
    struct figure figure = example();
    struct buf out;
    buf_init(&out, 4096);
    figure_write_text(&figure, &out);
    assert_non_null(strstr(out.data, "goal          >= 10"));
    assert_non_null(strstr(out.data, "20.0 1/s (10.0 … 30.0)"));
    assert_non_null(strstr(out.data, "nothing: 5.000 1/s"));
    assert_non_null(strstr(out.data, "ratio         4.00"));
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ratio_is_of_the_medians),
        cmocka_unit_test(json_is_one_line_and_parses),
        cmocka_unit_test(text_names_goal_figure_and_comparison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
