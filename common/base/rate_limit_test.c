/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets at a clock of the test's own: the limit and one above it, what a full table still promises,
 * rates that change, many threads. */
#include "common/base/rate_limit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/testing.h"

static const int64_t start_us = 1000 * (int64_t)US_PER_S;

static struct span name_of(unsigned number)
{
    static _Thread_local char text[16];
    return (struct span){text, (size_t)snprintf(text, sizeof text, "n%u", number)};
}

static unsigned allowed_at_once(struct rate_limit *limit, const char *who, struct rate rate, int64_t now_us)
{
    unsigned count = 0;
    while (rate_limit_take(limit, span_of(who), &rate, now_us).allowed)
        count++;
    return count;
}

static void the_burst_and_one_above_it(void **)
{
    struct rate_limit *limit = rate_limit_create(64);
    const struct rate rate = {.per_second = 4, .burst = 3};
    for (int i = 1; i <= 3; i++) {
        struct rate_verdict verdict = rate_limit_take(limit, SPAN("ann"), &rate, start_us);
        assert_true(verdict.allowed);
        assert_int_equal(verdict.limit, 3);
        assert_int_equal(verdict.remaining, 3 - i);
        assert_int_equal(verdict.retry_after_us, i == 3 ? 250000 : 0);
    }
    struct rate_verdict verdict = rate_limit_take(limit, SPAN("ann"), &rate, start_us);
    assert_false(verdict.allowed);
    assert_int_equal(verdict.remaining, 0);
    assert_int_equal(verdict.retry_after_us, 250000);
    assert_true(rate_limit_take(limit, SPAN("bob"), &rate, start_us).allowed);
    /* One microsecond early, then on time, and then not again. */
    assert_false(rate_limit_take(limit, SPAN("ann"), &rate, start_us + 249999).allowed);
    assert_true(rate_limit_take(limit, SPAN("ann"), &rate, start_us + 250000).allowed);
    assert_false(rate_limit_take(limit, SPAN("ann"), &rate, start_us + 250000).allowed);
    /* Full again, and not fuller than full. */
    assert_int_equal(allowed_at_once(limit, "ann", rate, start_us + 100 * (int64_t)US_PER_S), 3);
    rate_limit_destroy(limit);
}

static void the_rate_over_time(void **)
{
    struct rate_limit *limit = rate_limit_create(8);
    const struct rate rate = {.per_second = 7, .burst = 3};
    unsigned allowed = 0;
    for (int64_t ms = 0; ms < 10000; ms++)
        allowed += rate_limit_take(limit, SPAN("ann"), &rate, start_us + ms * US_PER_MS).allowed;
    assert_int_equal(allowed, 3 + 69); /* the 70th comes back just after the end */
    rate_limit_destroy(limit);
}

static void no_limit_and_no_burst(void **)
{
    struct rate_limit *limit = rate_limit_create(8);
    const struct rate none = {0, 5}, second = {.per_second = 20, .burst = 0};
    for (int i = 0; i < 1000; i++) {
        struct rate_verdict verdict = rate_limit_take(limit, SPAN("ann"), &none, start_us);
        assert_true(verdict.allowed && verdict.limit == 0 && verdict.retry_after_us == 0);
    }
    assert_int_equal(allowed_at_once(limit, "ann", second, start_us), 20);
    const struct rate highest = {.per_second = RATE_PER_SECOND_MAX, .burst = RATE_BURST_MAX};
    assert_int_equal(allowed_at_once(limit, "max", highest, start_us), RATE_BURST_MAX);
    const struct rate slowest = {.per_second = 1, .burst = RATE_BURST_MAX};
    assert_int_equal(allowed_at_once(limit, "slow", slowest, start_us), RATE_BURST_MAX);
    rate_limit_destroy(limit);
}

static void a_new_rate_counts_at_once(void **)
{
    struct rate_limit *limit = rate_limit_create(8);
    const struct rate wide = {.per_second = 1, .burst = 600}, tight = {.per_second = 1, .burst = 2};
    assert_int_equal(allowed_at_once(limit, "ann", wide, start_us), 600);
    struct rate_verdict verdict = rate_limit_take(limit, SPAN("ann"), &tight, start_us);
    assert_false(verdict.allowed);
    assert_int_equal(verdict.retry_after_us, US_PER_S); /* not ten minutes */
    assert_true(rate_limit_take(limit, SPAN("ann"), &wide, start_us + US_PER_S).allowed);
    rate_limit_destroy(limit);
}

/* The bucket that an unbounded table would keep. */
struct ideal {
    int64_t tokens_us, at_us; /* a token is `interval` of them */
};

static bool ideal_take(struct ideal *ideal, struct rate rate, int64_t now_us)
{
    int64_t interval_us = US_PER_S / rate.per_second;
    int64_t tokens_us = ideal->tokens_us + (now_us - ideal->at_us);
    if (ideal->at_us == 0 || tokens_us > rate.burst * interval_us)
        tokens_us = rate.burst * interval_us;
    ideal->at_us = now_us;
    ideal->tokens_us = tokens_us;
    if (tokens_us < interval_us)
        return false;
    ideal->tokens_us -= interval_us;
    return true;
}

static void exact_while_there_is_room(void **)
{
    struct rate_limit *limit = rate_limit_create(RATE_LIMIT_PLACES);
    struct ideal ideal[RATE_LIMIT_PLACES] = {{0}};
    const struct rate rate = {.per_second = 50, .burst = 4};
    uint64_t seed = 1;
    int64_t now_us = start_us;
    unsigned allowed = 0;
    for (int i = 0; i < 20000; i++) {
        unsigned who = (unsigned)(random_next(&seed) % RATE_LIMIT_PLACES);
        now_us += (int64_t)(random_next(&seed) % 4000);
        bool got = rate_limit_take(limit, name_of(who), &rate, now_us).allowed;
        assert_int_equal(got, ideal_take(&ideal[who], rate, now_us));
        allowed += got;
    }
    assert_in_range(allowed, 1000, 19000); /* both happened */
    rate_limit_destroy(limit);
}

/* Five times as many names as places: whatever the table allows, the name's own bucket would have too. */
static void never_too_much_in_a_full_table(void **)
{
    enum { NAMES = 5 * RATE_LIMIT_PLACES };
    struct rate_limit *limit = rate_limit_create(RATE_LIMIT_PLACES);
    struct ideal ideal[NAMES] = {{0}};
    const struct rate rate = {.per_second = 50, .burst = 4};
    uint64_t seed = 2;
    int64_t now_us = start_us;
    unsigned allowed = 0;
    for (int i = 0; i < 50000; i++) {
        unsigned who = (unsigned)(random_next(&seed) % NAMES);
        now_us += (int64_t)(random_next(&seed) % 2000);
        if (!rate_limit_take(limit, name_of(who), &rate, now_us).allowed)
            continue;
        assert_true(ideal_take(&ideal[who], rate, now_us));
        allowed++;
    }
    assert_in_range(allowed, 1000, 49000);
    rate_limit_destroy(limit);
}

static void many_names_do_not_reset_a_limited_one(void **)
{
    struct rate_limit *limit = rate_limit_create(1024);
    const struct rate rate = {.per_second = 1, .burst = 10};
    assert_int_equal(allowed_at_once(limit, "greedy", rate, start_us), 10);
    for (unsigned i = 0; i < 100000; i++)
        (void)rate_limit_take(limit, name_of(i), &rate, start_us);
    assert_false(rate_limit_take(limit, SPAN("greedy"), &rate, start_us).allowed);
    assert_false(rate_limit_take(limit, SPAN("greedy"), &rate, start_us + US_PER_S - 1).allowed);
    assert_true(rate_limit_take(limit, SPAN("greedy"), &rate, start_us + US_PER_S).allowed);
    rate_limit_destroy(limit);
}

static void who_stopped_asking_is_forgotten_first(void **)
{
    struct rate_limit *limit = rate_limit_create(RATE_LIMIT_PLACES);
    const struct rate rate = {.per_second = 1, .burst = 10};
    for (unsigned i = 0; i < RATE_LIMIT_PLACES; i++)
        assert_true(rate_limit_take(limit, name_of(i), &rate, start_us).allowed);
    int64_t later_us = start_us + US_PER_S;
    assert_int_equal(allowed_at_once(limit, "new", rate, later_us), 10);
    rate_limit_destroy(limit);
}

struct crowd {
    struct rate_limit *limit;
    struct rate rate;
    atomic_uint allowed;
};

static void *push(void *context)
{
    struct crowd *crowd = context;
    for (unsigned i = 0; i < 5000; i++) {
        bool got = rate_limit_take(crowd->limit, SPAN("hot"), &crowd->rate, start_us).allowed;
        atomic_fetch_add(&crowd->allowed, got);
        (void)rate_limit_take(crowd->limit, name_of(i), &crowd->rate, start_us);
    }
    return NULL;
}

static void threads_share_one_bucket(void **)
{
    pthread_t threads[4];
    struct crowd crowd = {.limit = rate_limit_create(32768), .rate = {.per_second = 1, .burst = 7777}};
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, push, &crowd), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&crowd.allowed), 7777);
    rate_limit_destroy(crowd.limit);
}

static void make_odd_table(void *context)
{
    (void)context;
    rate_limit_destroy(rate_limit_create(24));
}

static void sizes_are_powers_of_two(void **)
{
    assert_true(dies(make_odd_table, NULL));
    rate_limit_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_burst_and_one_above_it),
        cmocka_unit_test(the_rate_over_time),
        cmocka_unit_test(no_limit_and_no_burst),
        cmocka_unit_test(a_new_rate_counts_at_once),
        cmocka_unit_test(exact_while_there_is_room),
        cmocka_unit_test(never_too_much_in_a_full_table),
        cmocka_unit_test(many_names_do_not_reset_a_limited_one),
        cmocka_unit_test(who_stopped_asking_is_forgotten_first),
        cmocka_unit_test(threads_share_one_bucket),
        cmocka_unit_test(sizes_are_powers_of_two),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
