/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a copy, by the clock that the test holds: fresh, early, stale, overtaken, kept, dead;
 * positions. */
#include "query-service/cache/entry.h"

#include "common/base/testing.h"

enum { S = 1000 * 1000, MS = 1000 };

static const struct entry_life life = {1 * S, 60 * S, 600 * S};
static const struct entry_rendering rendering = {
    {"{\"a\":1}", 7}, "\"00112233445566778899aabbccddeeff\"", ENTRY_FOREVER};

static struct entry *make(int status, int64_t cost_us, double jitter, uint16_t slices,
                          const int64_t *positions)
{
    struct entry_subject subject = {
        .slices = slices, .bucket = ENTRY_NO_BUCKET, .campaign_slot = ENTRY_CAMPAIGN_SLOTS};
    struct entry_source source = {.renderings = &rendering,
                                  .renderings_count = 1,
                                  .status = (uint16_t)status,
                                  .from_models = true,
                                  .subject = &subject,
                                  .stands_on = positions,
                                  .began_us = 10 * S - cost_us,
                                  .ended_us = 10 * S};
    return entry_create(&source, jitter);
}

static struct entry *plain(int status)
{
    static const int64_t positions[SLICE_COUNT] = {[3] = 7};
    return make(status, 0, 0.5, 1 << 3, positions);
}

static enum entry_verdict at(const struct entry *entry, int64_t now_us, bool changed, bool quick)
{
    return entry_judge(
        entry, &life,
        &(struct entry_moment){.now_us = now_us, .chance = 1, .changed = changed, .quick = quick});
}

static void it_ages(void **)
{
    struct entry *entry = plain(200);
    assert_int_equal(at(entry, 10 * S, false, true), ENTRY_FRESH);
    assert_int_equal(at(entry, 11 * S - 1, false, true), ENTRY_FRESH);
    assert_int_equal(at(entry, 11 * S, false, true), ENTRY_STALE);
    assert_int_equal(at(entry, 71 * S - 1, false, false), ENTRY_STALE);
    assert_int_equal(at(entry, 71 * S, false, true), ENTRY_EXPIRED);
    assert_int_equal(at(entry, 611 * S - 1, false, true), ENTRY_EXPIRED);
    assert_int_equal(at(entry, 611 * S, false, true), ENTRY_DEAD);
    assert_int_equal(entry_age_s(entry, 9 * S), 0);
    assert_int_equal(entry_age_s(entry, 12 * S + 999 * MS), 2);
    entry_release(entry);
}

/* Of the past: hints say nothing about it, and it does not age with the present. */
static void what_is_settled_stays(void **)
{
    struct entry_subject subject = {
        .slices = 1 << 3, .bucket = ENTRY_NO_BUCKET, .campaign_slot = ENTRY_CAMPAIGN_SLOTS};
    static const int64_t positions[SLICE_COUNT] = {[3] = 7};
    struct entry_source source = {.renderings = &rendering,
                                  .renderings_count = 1,
                                  .status = 200,
                                  .settled = true,
                                  .subject = &subject,
                                  .stands_on = positions,
                                  .ended_us = 10 * S};
    struct entry *entry = entry_create(&source, 0.5);
    assert_int_equal(at(entry, 10 * S + ENTRY_SETTLED_S * S - 1, true, true), ENTRY_FRESH);
    assert_int_equal(at(entry, 10 * S + ENTRY_SETTLED_S * S, true, true), ENTRY_STALE);
    entry_release(entry);
    source.status = 404;
    entry = entry_create(&source, 0.5);
    assert_false(entry->settled);
    assert_int_equal(at(entry, 11 * S, false, true), ENTRY_DEAD);
    entry_release(entry);
}

static void what_is_not_there_is_never_stale(void **)
{
    struct entry *entry = plain(404);
    assert_int_equal(at(entry, 10 * S + ENTRY_NEGATIVE_US - 1, false, true), ENTRY_FRESH);
    assert_int_equal(at(entry, 10 * S + ENTRY_NEGATIVE_US, false, true), ENTRY_DEAD);
    entry_release(entry);
}

/* Whether a coupon may be used: as old as freshness allows, no older, not even when nothing behind answers.
 */
static void what_is_acted_upon_is_never_stale(void **)
{
    static const int64_t positions[SLICE_COUNT] = {0};
    struct entry_subject subject = {.slices = 1, .bucket = 7, .campaign_slot = ENTRY_CAMPAIGN_SLOTS};
    struct entry_source source = {.renderings = &rendering,
                                  .renderings_count = 1,
                                  .status = 200,
                                  .no_stale = true,
                                  .subject = &subject,
                                  .stands_on = positions,
                                  .began_us = 10 * S,
                                  .ended_us = 10 * S};
    struct entry *entry = entry_create(&source, 0.5);
    assert_int_equal(at(entry, 11 * S - 1, false, true), ENTRY_FRESH);
    assert_int_equal(at(entry, 11 * S, false, true), ENTRY_DEAD);
    /* Nor when it is known to be overtaken, however young it is. */
    assert_int_equal(at(entry, 10 * S + 1, true, true), ENTRY_DEAD);
    assert_int_equal(at(entry, 10 * S + 1, true, false), ENTRY_DEAD);
    entry_release(entry);
}

static void what_is_loaded_together_does_not_expire_together(void **)
{
    static const int64_t positions[SLICE_COUNT] = {0};
    struct entry *sooner = make(200, 0, 0, 1, positions), *later = make(200, 0, 1, 1, positions);
    assert_int_equal(at(sooner, 10 * S + 900 * MS - 1, false, true), ENTRY_FRESH);
    assert_int_equal(at(sooner, 10 * S + 900 * MS, false, true), ENTRY_STALE);
    assert_int_equal(at(later, 11 * S + 100 * MS - 1, false, true), ENTRY_FRESH);
    assert_int_equal(at(later, 11 * S + 100 * MS, false, true), ENTRY_STALE);
    entry_release(sooner);
    entry_release(later);
}

/* A hint makes it stale when it is 50 ms old, and not good enough when it is 100 ms old; where a load is dear
 * it lives as long as without hints. */
static void a_change_shortens_its_life(void **)
{
    struct entry *entry = plain(200);
    assert_int_equal(at(entry, 10 * S + 50 * MS - 1, true, true), ENTRY_FRESH);
    assert_int_equal(at(entry, 10 * S + 50 * MS, true, true), ENTRY_STALE);
    assert_int_equal(at(entry, 10 * S + 100 * MS - 1, true, true), ENTRY_STALE);
    assert_int_equal(at(entry, 10 * S + 100 * MS, true, true), ENTRY_CHANGED);
    assert_int_equal(at(entry, 40 * S, true, true), ENTRY_CHANGED);
    assert_int_equal(at(entry, 80 * S, true, true), ENTRY_EXPIRED);
    static const struct entry_life longer = {20 * S, 60 * S, 600 * S}; /* set while it lives */
    struct entry_moment moment = {.now_us = 11 * S - 1, .chance = 1, .changed = true};
    assert_int_equal(entry_judge(entry, &longer, &moment), ENTRY_FRESH);
    assert_int_equal(at(entry, 11 * S, true, false), ENTRY_STALE);
    assert_int_equal(at(entry, 40 * S, true, false), ENTRY_STALE);
    entry->from_models = false; /* PostgreSQL had to be asked */
    moment.quick = true;
    assert_int_equal(entry_judge(entry, &longer, &moment), ENTRY_FRESH);
    moment.now_us = 29 * S;
    assert_int_equal(entry_judge(entry, &longer, &moment), ENTRY_STALE);
    entry_release(entry);
}

/* XFetch: the chance to go early grows towards the end, and with the cost of the load. */
static void the_dearer_the_earlier(void **)
{
    static const int64_t positions[SLICE_COUNT] = {0};
    struct entry *entry = make(200, 20 * MS, 0.5, 1, positions); /* fresh until 11 s */
    struct entry_moment moment = {.now_us = 11 * S - 20 * MS, .chance = 0.36, .quick = true};
    assert_int_equal(entry_judge(entry, &life, &moment), ENTRY_EARLY); /* -ln(0.36) is just above 1 */
    moment.chance = 0.37;
    assert_int_equal(entry_judge(entry, &life, &moment), ENTRY_FRESH); /* and this just below */
    moment.chance = 1;
    assert_int_equal(entry_judge(entry, &life, &moment), ENTRY_FRESH);
    moment = (struct entry_moment){.now_us = 11 * S - 321 * MS, .chance = 1e-30, .quick = true};
    assert_int_equal(entry_judge(entry, &life, &moment), ENTRY_FRESH); /* too early for anybody */
    entry_release(entry);
}

/* I13: rendered for before and after the instants at which time alone changes it, and dead after the second.
 */
static void an_instant_ends_what_was_true_before(void **)
{
    static const int64_t positions[SLICE_COUNT] = {0};
    const struct entry_rendering two[] = {{SPAN("before"), "\"b\"", 500 * S},
                                          {SPAN("after"), "\"a\"", 700 * S}};
    struct entry_subject subject = {
        .slices = 1, .bucket = ENTRY_NO_BUCKET, .campaign_slot = ENTRY_CAMPAIGN_SLOTS};
    struct entry *entry = entry_create(&(struct entry_source){.renderings = two,
                                                              .renderings_count = 2,
                                                              .status = 200,
                                                              .subject = &subject,
                                                              .stands_on = positions,
                                                              .began_us = 10 * S,
                                                              .ended_us = 10 * S},
                                       0.5);
    assert_true(span_is(entry_at(entry, 500 * S - 1)->body, "before"));
    assert_string_equal(entry_at(entry, 500 * S - 1)->etag, "\"b\"");
    assert_true(span_is(entry_at(entry, 500 * S)->body, "after"));
    assert_true(span_is(entry_at(entry, 700 * S - 1)->body, "after"));
    assert_null(entry_at(entry, 700 * S));
    struct entry_moment moment = {.now_us = 10 * S + 200 * MS, .log_us = 699 * S + 500 * MS, .chance = 1};
    assert_int_equal(entry_judge(entry, &life, &moment), ENTRY_FRESH);
    assert_int_equal(entry_fresh_left_us(entry, &life, &moment), 500 * MS);
    moment.log_us = 700 * S; /* fresh by its age */
    assert_int_equal(entry_judge(entry, &life, &moment), ENTRY_DEAD);
    entry_release(entry);
}

/* Whatever its age and positions. */
static void an_entry_of_another_log_is_dead(void **)
{
    struct entry *entry = plain(200), *other = plain(200);
    struct entry_moment moment = {.now_us = 10 * S, .chance = 1, .log_epoch = 1};
    assert_int_equal(entry_judge(entry, &life, &moment), ENTRY_DEAD);
    moment.log_epoch = 0;
    assert_int_equal(entry_judge(entry, &life, &moment), ENTRY_FRESH);
    int64_t less[SLICE_COUNT] = {[3] = 6};
    struct entry *behind = make(200, 0, 0.5, 1 << 3, less);
    assert_true(entry_is_behind(behind, other));
    other->log_epoch = 1;
    assert_false(entry_is_behind(behind, other)); /* its positions say nothing here */
    other->log_epoch = 0;
    behind->loaded_us = other->loaded_us + ENTRY_RACE_US + 1;
    assert_false(entry_is_behind(behind, other)); /* it was not loaded beside it */
    entry_release(entry);
    entry_release(other);
    entry_release(behind);
}

static void it_knows_where_it_stands(void **)
{
    int64_t positions[SLICE_COUNT] = {[1] = 5, [9] = 50, [15] = 7}, wanted[SLICE_COUNT] = {0};
    struct entry *entry = make(200, 0, 0.5, 1 << 1 | 1 << 9, positions);
    assert_true(entry_reaches(entry, wanted));
    wanted[9] = 50;
    wanted[15] = 1000; /* not a slice of this copy */
    assert_true(entry_reaches(entry, wanted));
    wanted[9] = 51;
    assert_false(entry_reaches(entry, wanted));
    positions[9] = 51;
    struct entry *later = make(200, 0, 0.5, 1 << 1 | 1 << 9, positions);
    assert_true(entry_is_behind(entry, later));
    assert_false(entry_is_behind(later, entry));
    assert_false(entry_is_behind(entry, entry));
    positions[1] = 4;
    struct entry *both = make(200, 0, 0.5, 1 << 1 | 1 << 9, positions);
    assert_false(entry_is_behind(entry, both));
    assert_false(entry_is_behind(both, entry));
    entry_release(entry);
    entry_release(later);
    entry_release(both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_ages),
        cmocka_unit_test(what_is_settled_stays),
        cmocka_unit_test(what_is_not_there_is_never_stale),
        cmocka_unit_test(what_is_acted_upon_is_never_stale),
        cmocka_unit_test(what_is_loaded_together_does_not_expire_together),
        cmocka_unit_test(a_change_shortens_its_life),
        cmocka_unit_test(the_dearer_the_earlier),
        cmocka_unit_test(an_instant_ends_what_was_true_before),
        cmocka_unit_test(an_entry_of_another_log_is_dead),
        cmocka_unit_test(it_knows_where_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
