/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a copy, by the clock that the test holds: fresh, early, stale, overtaken, kept, dead;
 * positions. */
#include "query-service/cache/copy.h"

#include "common/base/testing.h"

enum { S = 1000 * 1000, MS = 1000 };

static const struct copy_life life = {1 * S, 60 * S, 600 * S, 500 * MS};

static struct copy *make(int status, int64_t cost_us, double jitter, uint16_t slices,
                         const int64_t *positions)
{
    struct copy_subject subject = {
        .slices = slices, .bucket = COPY_NO_BUCKET, .campaign_slot = COPY_CAMPAIGN_SLOTS};
    struct copy_source source = {.body = SPAN("{\"a\":1}"),
                                 .etag = "\"00112233445566778899aabbccddeeff\"",
                                 .status = (uint16_t)status,
                                 .from_models = true,
                                 .subject = &subject,
                                 .stands_on = positions,
                                 .began_us = 10 * S - cost_us,
                                 .ended_us = 10 * S};
    return copy_create(&source, &life, jitter);
}

static struct copy *plain(int status)
{
    static const int64_t positions[SLICE_COUNT] = {[3] = 7};
    return make(status, 0, 0.5, 1 << 3, positions);
}

static enum copy_verdict at(const struct copy *copy, int64_t now_us, bool changed, bool quick)
{
    return copy_judge(
        copy, &(struct copy_moment){.now_us = now_us, .chance = 1, .changed = changed, .quick = quick});
}

static void it_ages(void **state)
{
    (void)state;
    struct copy *copy = plain(200);
    assert_int_equal(at(copy, 10 * S, false, true), COPY_FRESH);
    assert_int_equal(at(copy, 11 * S - 1, false, true), COPY_FRESH);
    assert_int_equal(at(copy, 11 * S, false, true), COPY_STALE);
    assert_int_equal(at(copy, 71 * S - 1, false, false), COPY_STALE);
    assert_int_equal(at(copy, 71 * S, false, true), COPY_EXPIRED);
    assert_int_equal(at(copy, 611 * S - 1, false, true), COPY_EXPIRED);
    assert_int_equal(at(copy, 611 * S, false, true), COPY_DEAD);
    assert_int_equal(copy_age_s(copy, 9 * S), 0);
    assert_int_equal(copy_age_s(copy, 12 * S + 999 * MS), 2);
    copy_release(copy);
}

/* Of the past: hints say nothing about it, and it does not age with the present. */
static void what_is_settled_stays(void **state)
{
    (void)state;
    struct copy_subject subject = {
        .slices = 1 << 3, .bucket = COPY_NO_BUCKET, .campaign_slot = COPY_CAMPAIGN_SLOTS};
    static const int64_t positions[SLICE_COUNT] = {[3] = 7};
    struct copy_source source = {.etag = "",
                                 .status = 200,
                                 .settled = true,
                                 .subject = &subject,
                                 .stands_on = positions,
                                 .ended_us = 10 * S};
    struct copy *copy = copy_create(&source, &life, 0.5);
    assert_int_equal(at(copy, 10 * S + COPY_SETTLED_S * S - 1, true, true), COPY_FRESH);
    assert_int_equal(at(copy, 10 * S + COPY_SETTLED_S * S, true, true), COPY_STALE);
    copy_release(copy);
    source.status = 404;
    copy = copy_create(&source, &life, 0.5);
    assert_false(copy->settled);
    assert_int_equal(at(copy, 11 * S, false, true), COPY_DEAD);
    copy_release(copy);
}

static void what_is_not_there_is_never_stale(void **state)
{
    (void)state;
    struct copy *copy = plain(404);
    assert_int_equal(at(copy, 10 * S + 500 * MS - 1, false, true), COPY_FRESH);
    assert_int_equal(at(copy, 10 * S + 500 * MS, false, true), COPY_DEAD);
    copy_release(copy);
}

/* Whether a coupon may be used: as old as freshness allows, no older, not even when nothing behind answers.
 */
static void what_is_acted_upon_is_never_stale(void **state)
{
    (void)state;
    static const int64_t positions[SLICE_COUNT] = {0};
    struct copy_subject subject = {.slices = 1, .bucket = 7, .campaign_slot = COPY_CAMPAIGN_SLOTS};
    struct copy_source source = {.etag = "",
                                 .status = 200,
                                 .brief = true,
                                 .subject = &subject,
                                 .stands_on = positions,
                                 .began_us = 10 * S,
                                 .ended_us = 10 * S};
    struct copy *copy = copy_create(&source, &life, 0.5);
    assert_int_equal(at(copy, 11 * S - 1, false, true), COPY_FRESH);
    assert_int_equal(at(copy, 11 * S, false, true), COPY_DEAD);
    copy_release(copy);
}

static void what_is_loaded_together_does_not_expire_together(void **state)
{
    (void)state;
    static const int64_t positions[SLICE_COUNT] = {0};
    struct copy *sooner = make(200, 0, 0, 1, positions), *later = make(200, 0, 1, 1, positions);
    assert_int_equal(sooner->fresh_until_us, 10 * S + 900 * MS);
    assert_int_equal(later->fresh_until_us, 11 * S + 100 * MS);
    copy_release(sooner);
    copy_release(later);
}

/* A hint makes it stale when it is 50 ms old, and not good enough when it is 100 ms old; where a load is dear
 * it lives as long as without hints. */
static void a_change_shortens_its_life(void **state)
{
    (void)state;
    struct copy *copy = plain(200);
    assert_int_equal(at(copy, 10 * S + 50 * MS - 1, true, true), COPY_FRESH);
    assert_int_equal(at(copy, 10 * S + 50 * MS, true, true), COPY_STALE);
    assert_int_equal(at(copy, 10 * S + 100 * MS - 1, true, true), COPY_STALE);
    assert_int_equal(at(copy, 10 * S + 100 * MS, true, true), COPY_CHANGED);
    assert_int_equal(at(copy, 40 * S, true, true), COPY_CHANGED);
    assert_int_equal(at(copy, 80 * S, true, true), COPY_EXPIRED);
    copy->fresh_until_us = 30 * S;
    assert_int_equal(at(copy, 11 * S - 1, true, false), COPY_FRESH);
    assert_int_equal(at(copy, 11 * S, true, false), COPY_STALE);
    assert_int_equal(at(copy, 40 * S, true, false), COPY_STALE);
    copy->from_models = false; /* PostgreSQL had to be asked */
    assert_int_equal(at(copy, 11 * S - 1, true, true), COPY_FRESH);
    assert_int_equal(at(copy, 29 * S, true, true), COPY_STALE);
    copy_release(copy);
}

/* XFetch: the chance to go early grows towards the end, and with the cost of the load. */
static void the_dearer_the_earlier(void **state)
{
    (void)state;
    static const int64_t positions[SLICE_COUNT] = {0};
    struct copy *copy = make(200, 20 * MS, 0.5, 1, positions); /* fresh until 11 s */
    struct copy_moment moment = {.now_us = 11 * S - 20 * MS, .chance = 0.36, .quick = true};
    assert_int_equal(copy_judge(copy, &moment), COPY_EARLY); /* -ln(0.36) is just above 1 */
    moment.chance = 0.37;
    assert_int_equal(copy_judge(copy, &moment), COPY_FRESH); /* and this just below */
    moment.chance = 1;
    assert_int_equal(copy_judge(copy, &moment), COPY_FRESH);
    moment = (struct copy_moment){.now_us = 11 * S - 321 * MS, .chance = 1e-30, .quick = true};
    assert_int_equal(copy_judge(copy, &moment), COPY_FRESH); /* too early for anybody */
    copy_release(copy);
}

static void it_knows_where_it_stands(void **state)
{
    (void)state;
    int64_t positions[SLICE_COUNT] = {[1] = 5, [9] = 50, [15] = 7}, wanted[SLICE_COUNT] = {0};
    struct copy *copy = make(200, 0, 0.5, 1 << 1 | 1 << 9, positions);
    assert_true(copy_reaches(copy, wanted));
    wanted[9] = 50;
    wanted[15] = 1000; /* not a slice of this copy */
    assert_true(copy_reaches(copy, wanted));
    wanted[9] = 51;
    assert_false(copy_reaches(copy, wanted));
    positions[9] = 51;
    struct copy *later = make(200, 0, 0.5, 1 << 1 | 1 << 9, positions);
    assert_true(copy_is_behind(copy, later));
    assert_false(copy_is_behind(later, copy));
    assert_false(copy_is_behind(copy, copy));
    positions[1] = 4;
    struct copy *both = make(200, 0, 0.5, 1 << 1 | 1 << 9, positions);
    assert_false(copy_is_behind(copy, both));
    assert_false(copy_is_behind(both, copy));
    copy_release(copy);
    copy_release(later);
    copy_release(both);
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
        cmocka_unit_test(it_knows_where_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
