/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that need no server: which campaign opens next, what a generation in Redis is for, whose key a
 * key is, how far a log limit goes, what a bar shows. */
#include "projector/run/prewarm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "projector/rebuild/generations.h"
#include "projector/rebuild/log_bounds.h"
#include "projector/rebuild/progress_bar.h"
#include "projector/run/repair.h"

static struct opening opening;

static void the_earliest_comes_first(void **)
{
    struct opening_campaign next;
    opening.count = 0;
    opening_add(&opening, SPAN("c"), 30);
    opening_add(&opening, SPAN("a"), 10);
    opening_add(&opening, SPAN("b"), 20);
    opening_add(&opening, SPAN("a"), 5); /* known already */
    assert_int_equal(opening.count, 3);
    assert_true(opening_take(&opening, 15, &next));
    assert_int_equal(next.at_us, 10);
    assert_false(opening_take(&opening, 20, &next)); /* opens at 20, not before */
    assert_true(opening_take(&opening, 21, &next));
    assert_int_equal(next.id[0], 'b');
    assert_true(opening_take(&opening, INT64_MAX, &next));
    assert_false(opening_take(&opening, INT64_MAX, &next));
}

static void the_latest_do_not_fit(void **)
{
    char id[24];
    struct opening_campaign next;
    opening.count = 0;
    for (int i = 2 * OPENING_MAX; i > 0; i--) {
        int len = snprintf(id, sizeof id, "c-%d", i);
        opening_add(&opening, (struct span){id, (size_t)len}, i);
    }
    assert_int_equal(opening.count, OPENING_MAX);
    for (int i = 1; i <= OPENING_MAX; i++) {
        assert_true(opening_take(&opening, INT64_MAX, &next));
        assert_int_equal(next.at_us, i);
    }
}

static void generations_come_back(void **)
{
    static const char *const bad[] = {"",
                                      "past",
                                      "past name",
                                      "past name ",
                                      "begun name head",
                                      "past Name head",
                                      " name head",
                                      "past name 12345678901234567890123456789012345"};
    struct generation is = {.state = GENERATION_PAST, .name = "look", .limit = "3:17"}, read;
    struct buf text;
    buf_init(&text, 128);
    generation_write(&text, &is);
    assert_string_equal(text.data, "past look 3:17");
    assert_true(generation_parse(buf_span(&text), &read));
    assert_int_equal(read.state, GENERATION_PAST);
    assert_string_equal(read.name, "look");
    assert_string_equal(read.limit, "3:17");
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(generation_parse(span_of(bad[i]), &read));
    buf_deinit(&text);
}

static void what_is_needed_is_by_slice(void **)
{
    struct generations all = {.live = {4, 9}, .count = 1, .items = {{.number = 7}}};
    assert_true(generations_need(&all, (struct model){4, 0}) && generations_need(&all, (struct model){9, 1}));
    assert_true(generations_need(&all, (struct model){7, 0}) && generations_need(&all, (struct model){7, 5}));
    assert_false(generations_need(&all, (struct model){9, 0}) ||
                 generations_need(&all, (struct model){4, 1}));
}

/* Whoever makes one, at whatever time, whatever is left of what was written down. */
static void no_two_generations_have_the_same_number(void **)
{
    struct generations all = {.live = {4, 9}, .count = 1, .items = {{.number = 7}}};
    assert_true(generations_next(&all, 0) > 9);
    for (int64_t now_us = 2 * (int64_t)US_PER_MS; now_us < 20 * (int64_t)US_PER_MS; now_us += 700)
        for (int64_t above = 0; above < 50; above++) {
            int64_t leader = generation_number(MADE_BY_LEADER, now_us, above);
            int64_t rebuild = generation_number(MADE_BY_REBUILD, now_us, above);
            assert_true(leader > above && rebuild > above);
            assert_true(leader != rebuild && leader != generation_number(MADE_BY_REBUILD, now_us + 300, 0));
            assert_true(generation_number(MADE_BY_LEADER, now_us + US_PER_MS, 0) !=
                        generation_number(MADE_BY_LEADER, now_us, 0));
        }
}

static void whose_key_a_key_is(void **)
{
    struct model model;
    assert_true(model_of_key(SPAN("fc:12:{3}:c:x"), &model));
    assert_true(model.generation == 12 && model.slice == 3);
    static const char *const others[] = {
        "fc:{3}:heartbeat", "fc:generations", "fc:{3}", "fc:0:{3}:c", "fc:x:{3}:c", "fcq:1:{3}:c",
        "fc:12:3:c",        "fc:12:",         "fc:12",  "",           "other",      "fc:12:{16}:c"};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_false(model_of_key(span_of(others[i]), &model));
}

static int64_t rest_after(struct repair_rest *rest, int64_t took_us, int64_t live, int64_t made)
{
    int64_t asked_us = rest->until_us;
    repair_rest(rest, &(struct repair_done){asked_us, asked_us, asked_us + took_us, live, made, false});
    assert_int_equal(rest->until_us, asked_us + took_us + rest->ms * US_PER_MS);
    assert_true(repair_rests(rest, rest->until_us - 1) && !repair_rests(rest, rest->until_us));
    return rest->ms;
}

/* What vanishes again and again is made again within seconds; what keeps Redis and PostgreSQL busy is not
 * made for good; and what was lost of another generation says nothing of what was made. */
static void a_slice_rests_as_its_loss_goes_on(void **)
{
    struct repair_rest rest = {0};
    static const int64_t rests[] = {1000, 2000, 4000, 8000, 10000, 10000};
    for (size_t i = 0; i < COUNT_OF(rests); i++)
        assert_int_equal(rest_after(&rest, 1000, (int64_t)i, (int64_t)i + 1), rests[i]);
    assert_int_equal(rest_after(&rest, 1000, 90, 91), 1000); /* another one was lost */
    for (int64_t i = 91; i < 110; i++) {
        rest.made = i;
        (void)rest_after(&rest, US_PER_S, i, i + 1);
    }
    assert_int_equal(rest.ms, 160 * 1000);
    rest.until_us -= 161 * (int64_t)US_PER_S; /* it was good for as long as it rested */
    repair_rest(&rest,
                &(struct repair_done){rest.until_us + 161 * (int64_t)US_PER_S, 0, 0, rest.made, 200, false});
    assert_int_equal(rest.ms, 1000);
    rest = (struct repair_rest){0};
    assert_int_equal(rest_after(&rest, 0, 5, 0), 1000); /* it could not be made */
    assert_int_equal(rest_after(&rest, 0, 5, 0), 2000);
    assert_int_equal(rest_after(&rest, 0, 6, 0), 4000);
}

static void limits_are_heads_times_or_positions(void **)
{
    struct log_limit limit;
    assert_true(log_limit_parse(SPAN("head"), &limit) && limit.kind == LOG_LIMIT_HEAD);
    assert_true(log_limit_parse(SPAN("2026-01-01T00:00:00Z"), &limit) && limit.kind == LOG_LIMIT_TIME);
    assert_true(limit.time_us == INT64_C(1767225600) * US_PER_S);
    assert_true(log_limit_parse(SPAN("15:99"), &limit) && limit.kind == LOG_LIMIT_POSITION);
    assert_true(limit.at.slice == 15 && limit.at.position == 99);
    static const char *const bad[] = {"", "16:1", "1:0", "1:", ":1", "1", "-1:1", "tail", "2026-01-01"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(log_limit_parse(span_of(bad[i]), &limit));
}

static void figures_of_a_bar(void **)
{
    struct report_figures figures = report_figures(600, 100, 1100, 2 * US_PER_S);
    assert_true(figures.rate > 249 && figures.rate < 251);
    assert_int_equal(figures.left_s, 2);
    assert_true(figures.share > 0.54 && figures.share < 0.55);
    figures = report_figures(0, 0, 0, 0);
    assert_true(figures.share == 1 && figures.rate == 0 && figures.left_s == -1);
    figures = report_figures(20, 0, 10, US_PER_S); /* the log grew meanwhile */
    assert_true(figures.share == 1 && figures.left_s == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_earliest_comes_first),
        cmocka_unit_test(the_latest_do_not_fit),
        cmocka_unit_test(generations_come_back),
        cmocka_unit_test(what_is_needed_is_by_slice),
        cmocka_unit_test(no_two_generations_have_the_same_number),
        cmocka_unit_test(whose_key_a_key_is),
        cmocka_unit_test(limits_are_heads_times_or_positions),
        cmocka_unit_test(figures_of_a_bar),
        cmocka_unit_test(a_slice_rests_as_its_loss_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
