/* SPDX-License-Identifier: Apache-2.0 */
/* When a tranche counts as going badly: at each limit and on both sides of it. */
#include "command-service/watch.h"

#include "common/base/clock.h"
#include "common/base/testing.h"

static const struct watch_limits usual = {.min_calls = 20, .success_permille = 950, .p95_ms = 2000};
static const struct release plan[] = {{100, 1}, {200, 1}};

static struct campaign planned(const char *id, int64_t done)
{
    return (struct campaign){
        .id = span_of(id),
        .state = CAMPAIGN_ACTIVE,
        .plan_done = done,
        .definition = {.release_plan = {plan, COUNT_OF(plan)}},
    };
}

static struct watch *following(const char *id)
{
    struct watch *watch = watch_create(&usual);
    struct campaign campaign = planned(id, 0);
    watch_campaign(watch, &campaign);
    return watch;
}

static void note(struct watch *watch, const char *id, size_t times, bool failed, int64_t ms)
{
    for (size_t i = 0; i < times; i++)
        watch_note(watch, span_of(id), failed, ms * US_PER_MS);
}

static bool bad(struct watch *watch, struct watch_finding *ret)
{
    size_t cursor = 0;
    return watch_find_bad(watch, &cursor, ret);
}

static void success_below_95_percent_is_bad(void **)
{
    struct watch_finding finding;
    struct watch *watch = following("spring");
    note(watch, "spring", 95, false, 1);
    note(watch, "spring", 5, true, 1);
    assert_false(bad(watch, &finding));
    note(watch, "spring", 1, true, 1);
    assert_true(bad(watch, &finding));
    assert_int_equal(finding.figures.calls, 101);
    assert_int_equal(finding.figures.success_permille, 940);
    assert_int_equal(finding.figures.plan_step, 0);
    assert_true(span_is((struct span){finding.campaign_id, finding.campaign_id_len}, "spring"));
    watch_destroy(watch);
}

static void p95_above_two_seconds_is_bad(void **)
{
    struct watch_finding finding;
    struct watch *watch = following("spring");
    note(watch, "spring", 95, false, 1);
    note(watch, "spring", 5, false, 4000);
    assert_false(bad(watch, &finding)); /* just 5 of 100 are slow */
    note(watch, "spring", 2, false, 4000);
    assert_true(bad(watch, &finding));
    assert_true(finding.figures.p95_ms > 2000);
    watch_destroy(watch);
    watch = following("spring");
    note(watch, "spring", 100, false, 1999); /* at the limit */
    assert_false(bad(watch, &finding));
    watch_destroy(watch);
    watch = following("spring");
    note(watch, "spring", 100, false, 2001);
    assert_true(bad(watch, &finding));
    watch_destroy(watch);
    watch = following("spring");
    note(watch, "spring", 100, false, INT64_MAX / US_PER_MS); /* slower than any step */
    assert_true(bad(watch, &finding));
    watch_destroy(watch);
}

static void few_calls_say_nothing(void **)
{
    struct watch_finding finding;
    struct watch *watch = following("spring");
    note(watch, "spring", 19, true, 1);
    assert_false(bad(watch, &finding));
    note(watch, "spring", 1, true, 1);
    assert_true(bad(watch, &finding));
    watch_set_limits(watch, &(struct watch_limits){.min_calls = 21, .success_permille = 950, .p95_ms = 2000});
    assert_false(bad(watch, &finding));
    watch_destroy(watch);
}

static void a_new_tranche_has_new_figures(void **)
{
    struct watch_finding finding;
    struct watch *watch = following("spring");
    note(watch, "spring", 50, true, 1);
    struct campaign same = planned("spring", 0), next = planned("spring", 1);
    watch_campaign(watch, &same);
    assert_true(bad(watch, &finding)); /* still the same tranche */
    watch_campaign(watch, &next);
    assert_false(bad(watch, &finding));
    note(watch, "spring", 50, true, 1);
    assert_true(bad(watch, &finding));
    assert_int_equal(finding.figures.plan_step, 1);
    watch_destroy(watch);
}

static void only_plans_under_way_are_followed(void **)
{
    struct watch_finding finding;
    struct campaign over[] = {planned("spring", 2), planned("spring", 0), planned("spring", 0)};
    over[1].plan_halted = true;
    over[2].state = CAMPAIGN_CLOSED;
    for (size_t i = 0; i < COUNT_OF(over); i++) {
        struct watch *watch = following("spring");
        watch_campaign(watch, &over[i]);
        note(watch, "spring", 100, true, 1);
        assert_false(bad(watch, &finding));
        watch_destroy(watch);
    }
    struct watch *watch = watch_create(&usual);
    struct campaign without = {.id = SPAN("plain"), .state = CAMPAIGN_ACTIVE};
    watch_campaign(watch, &without);
    note(watch, "plain", 100, true, 1);
    assert_false(bad(watch, &finding));
    watch_destroy(watch);
}

static void the_longest_silent_makes_room(void **)
{
    struct watch_finding finding;
    struct watch *watch = following("first");
    char id[16];
    for (int i = 1; i < WATCH_MAX; i++) {
        snprintf(id, sizeof id, "c%d", i);
        struct campaign campaign = planned(id, 0);
        watch_campaign(watch, &campaign);
    }
    note(watch, "first", 50, true, 1); /* heard of after all the others */
    struct campaign more = planned("more", 0);
    watch_campaign(watch, &more);
    assert_true(bad(watch, &finding));
    note(watch, "c1", 50, true, 1); /* its place is gone */
    note(watch, "more", 50, true, 1);
    size_t cursor = 0, found = 0;
    while (watch_find_bad(watch, &cursor, &finding)) {
        struct span who = {finding.campaign_id, finding.campaign_id_len};
        assert_true(span_is(who, "first") || span_is(who, "more"));
        found++;
    }
    assert_int_equal(found, 2);
    watch_destroy(watch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(success_below_95_percent_is_bad),
        cmocka_unit_test(p95_above_two_seconds_is_bad),
        cmocka_unit_test(few_calls_say_nothing),
        cmocka_unit_test(a_new_tranche_has_new_figures),
        cmocka_unit_test(only_plans_under_way_are_followed),
        cmocka_unit_test(the_longest_silent_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
