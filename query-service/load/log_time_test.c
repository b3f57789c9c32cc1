/* SPDX-License-Identifier: Apache-2.0 */
/* The log's clock, by clocks that the test holds: this host's is half a minute off, PostgreSQL's is the
 * truth. */
#include "query-service/load/log_time.h"

#include "common/base/testing.h"

enum { S = 1000 * 1000, MS = 1000 };
#define TRUTH(mono_us) (INT64_C(1700000000) * S + (mono_us)) /* what PostgreSQL's clock says then */

static struct log_time log_time;

static void init(int64_t off_us)
{
    log_time_init(&log_time, TRUTH(0) + off_us, 0);
}

/* A look of so long a way there and back, at an instant of PostgreSQL's that is off by so much. */
static bool look(int64_t sent_us, int64_t there_us, int64_t back_us, int64_t off_us)
{
    return log_time_note(&log_time, sent_us, sent_us + there_us + back_us,
                         TRUTH(sent_us + there_us) + off_us);
}

static int64_t error_at(int64_t mono_us)
{
    return log_time_us(&log_time, mono_us) - TRUTH(mono_us);
}

static void the_first_look_corrects_this_host(void **)
{
    init(-30 * S);
    assert_false(log_time_known(&log_time));
    assert_int_equal(error_at(5 * S), -30 * S);
    assert_true(look(1 * S, 1 * MS, 1 * MS, 0));
    assert_true(log_time_known(&log_time));
    assert_int_equal(error_at(3600 * (int64_t)S), 0);
    log_time_deinit(&log_time);
}

static void a_slow_look_does_not_spoil_a_quick_one(void **)
{
    init(0);
    assert_true(look(1 * S, 1 * MS, 1 * MS, 0));
    assert_true(look(2 * S, 0, 300 * MS, 0)); /* would be 150 ms wrong */
    assert_int_equal(error_at(3 * S), 0);
    assert_true(look(4 * S, 300 * MS, 0, 0));
    assert_int_equal(error_at(5 * S), 0);
    /* Where it contradicts what is known, the clock was set. */
    assert_true(look(6 * S, 1 * MS, 1 * MS, 400 * MS));
    assert_int_equal(error_at(7 * S), 400 * MS);
    log_time_deinit(&log_time);
}

static void a_wild_reading_is_not_believed(void **)
{
    init(0);
    assert_true(look(1 * S, 1 * MS, 1 * MS, 0));
    assert_false(look(2 * S, 1 * MS, 1 * MS, 3600 * (int64_t)S));
    assert_int_equal(error_at(3 * S), 0);
    assert_true(look(3 * S, 1 * MS, 1 * MS, 0));
    assert_false(look(4 * S, 1 * MS, 1 * MS, 3600 * (int64_t)S));
    assert_false(look(5 * S, 1 * MS, 1 * MS, -3600 * (int64_t)S)); /* does not agree with the one before */
    assert_false(look(6 * S, 1 * MS, 1 * MS, 3600 * (int64_t)S));
    assert_int_equal(error_at(7 * S), 0);
    log_time_deinit(&log_time);
}

static void a_clock_that_was_set_is_followed(void **)
{
    init(0);
    assert_true(look(1 * S, 1 * MS, 1 * MS, 0));
    assert_false(look(2 * S, 1 * MS, 1 * MS, 30 * S));
    assert_false(look(3 * S, 1 * MS, 1 * MS, 30 * S));
    assert_true(look(4 * S, 1 * MS, 1 * MS, 30 * S));
    assert_int_equal(error_at(5 * S), 30 * S);
    log_time_deinit(&log_time);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_look_corrects_this_host),
        cmocka_unit_test(a_slow_look_does_not_spoil_a_quick_one),
        cmocka_unit_test(a_wild_reading_is_not_believed),
        cmocka_unit_test(a_clock_that_was_set_is_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
