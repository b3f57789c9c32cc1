/* SPDX-License-Identifier: Apache-2.0 */
/* When the breaker opens, whom it lets through, when it closes. */
#include "query-service/load/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"

#define MS(ms) ((int64_t)(ms)*US_PER_MS)

static void fail_times(struct breaker *breaker, int times, int64_t now_us)
{
    for (int i = 0; i < times; i++) {
        assert_true(breaker_allows(breaker, now_us));
        breaker_failure(breaker, now_us);
    }
}

static void opens_after_failures_in_a_row(void **)
{
    struct breaker breaker;
    breaker_init(&breaker);
    fail_times(&breaker, BREAKER_FAILURES_MAX - 1, 1);
    breaker_success(&breaker);
    fail_times(&breaker, BREAKER_FAILURES_MAX - 1, 1);
    assert_false(breaker_is_open(&breaker));
    fail_times(&breaker, 1, 1);
    assert_true(breaker_is_open(&breaker));
    assert_false(breaker_allows(&breaker, 1 + MS(BREAKER_OPEN_MIN_MS) - 1));
    breaker_deinit(&breaker);
}

static void lets_one_probe_through(void **)
{
    struct breaker breaker;
    breaker_init(&breaker);
    fail_times(&breaker, BREAKER_FAILURES_MAX, 0);
    int64_t later = MS(BREAKER_OPEN_MIN_MS) * 5 / 4 + 1;
    assert_true(breaker_allows(&breaker, later));
    assert_false(breaker_allows(&breaker, later));
    breaker_success(&breaker);
    assert_false(breaker_is_open(&breaker));
    assert_true(breaker_allows(&breaker, later));
    assert_true(breaker_allows(&breaker, later));
    breaker_deinit(&breaker);
}

static void a_probe_that_says_nothing_is_replaced(void **)
{
    struct breaker breaker;
    breaker_init(&breaker);
    fail_times(&breaker, BREAKER_FAILURES_MAX, 0);
    assert_true(breaker_allows(&breaker, MS(1000)));
    assert_true(breaker_allows(&breaker, MS(2000)));
    breaker_deinit(&breaker);
}

static void waits_longer_up_to_a_bound(void **)
{
    struct breaker breaker;
    int64_t now_us = 0;
    breaker_init(&breaker);
    fail_times(&breaker, BREAKER_FAILURES_MAX, now_us);
    for (int64_t expected_ms = 2 * BREAKER_OPEN_MIN_MS; expected_ms < 100000; expected_ms *= 2) {
        int64_t bound_ms = expected_ms < BREAKER_OPEN_MAX_MS ? expected_ms : BREAKER_OPEN_MAX_MS;
        now_us += MS(2 * BREAKER_OPEN_MAX_MS);
        fail_times(&breaker, 1, now_us);
        assert_false(breaker_allows(&breaker, now_us + MS(bound_ms) - 1));
        assert_int_equal(breaker.open_ms, bound_ms);
    }
    breaker_deinit(&breaker);
}

static void late_failures_do_not_prolong(void **)
{
    struct breaker breaker;
    breaker_init(&breaker);
    fail_times(&breaker, BREAKER_FAILURES_MAX, 0);
    for (int i = 0; i < 10; i++)
        breaker_failure(&breaker, 0);
    assert_int_equal(breaker.open_ms, BREAKER_OPEN_MIN_MS);
    breaker_deinit(&breaker);
}

int main(void)
{
    crypto_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_after_failures_in_a_row),         cmocka_unit_test(lets_one_probe_through),
        cmocka_unit_test(a_probe_that_says_nothing_is_replaced), cmocka_unit_test(waits_longer_up_to_a_bound),
        cmocka_unit_test(late_failures_do_not_prolong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
