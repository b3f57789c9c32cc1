/* SPDX-License-Identifier: Apache-2.0 */
/* When readers are sent away, and when not. */
#include "projector/run/slice_progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SECOND = 1000000 };

static struct progress progress_at(int64_t position, int64_t head)
{
    struct progress progress = {0};
    progress_load(&progress, position, position ? SECOND : 0);
    progress_log(&progress, &(struct log_head){.head = head, .head_at_us = 10 * SECOND, .oldest_us = SECOND});
    return progress;
}

static void after_loading_it_is_behind_until_the_head(void **)
{
    struct progress progress = progress_at(0, 600);
    assert_true(progress.behind);
    assert_true(progress_wants(&progress));
    assert_true(
        progress_move(&progress, 500, 9 * SECOND + SECOND / 2)); /* not old and not many: still behind */
    assert_false(progress_move(&progress, 600, 10 * SECOND));
    assert_false(progress_wants(&progress));
}

static void nothing_new_is_not_behind(void **)
{
    struct progress progress = progress_at(7, 7);
    assert_false(progress_move(&progress, 7, SECOND));
    progress = progress_at(0, 0);
    assert_false(progress_move(&progress, 0, 0));
}

static void a_busy_slice_is_not_behind_while_it_follows(void **)
{
    struct progress progress = progress_at(7, 7);
    progress_move(&progress, 7, SECOND);
    progress_log(&progress, &(struct log_head){.head = 5000, .head_at_us = 10 * SECOND});
    assert_false(progress_move(&progress, 507, 9 * SECOND)); /* many are missing, but none is a second old */
    assert_false(progress_move(&progress, 4800, SECOND));    /* old ones are missing, but few */
}

static void many_and_old_is_behind(void **)
{
    struct progress progress = progress_at(7, 7);
    progress_move(&progress, 7, SECOND);
    progress_log(&progress, &(struct log_head){.head = 5000, .head_at_us = 10 * SECOND});
    assert_true(progress_move(&progress, 507, 9 * SECOND - 1));
    assert_true(progress_move(&progress, 4999, 10 * SECOND)); /* once behind, only the head ends it */
    assert_false(progress_move(&progress, 5000, 10 * SECOND));
}

static void an_event_younger_than_the_head_raises_it(void **)
{
    struct progress progress = progress_at(7, 7);
    progress_log_reaches(&progress, 9, 11 * SECOND);
    assert_false(progress_move(&progress, 9, 11 * SECOND));
    assert_false(progress_beyond_log(&progress));
    progress_log_reaches(&progress, 8, 10 * SECOND);
    assert_int_equal(progress.log.head, 9);
}

static void beyond_the_log_is_behind(void **)
{
    struct progress progress = progress_at(9, 7);
    assert_true(progress_beyond_log(&progress));
    assert_true(progress_move(&progress, 9, SECOND));
    assert_false(progress_wants(&progress));
    assert_int_equal(progress_lag_events(&progress), 0);
}

static void stuck_stops_before_the_event(void **)
{
    struct progress progress = progress_at(7, 10);
    progress_stick(&progress, 9);
    assert_true(progress_wants(&progress)); /* event 8 is still to come */
    assert_true(progress_move(&progress, 8, SECOND));
    assert_false(progress_wants(&progress));
    progress_load(&progress, 0, 0); /* everything vanished: up to the event it is replayed */
    assert_true(progress_wants(&progress));
    assert_int_equal(progress.stuck_at, 9);
    progress_load(&progress, 9, 0); /* somebody who understands the event got past it */
    assert_int_equal(progress.stuck_at, 0);
}

static void lag_is_events_and_age(void **)
{
    struct progress progress = progress_at(7, 10);
    assert_int_equal(progress_lag_events(&progress), 3);
    assert_int_equal(progress_lag_us(&progress, 3 * SECOND), 2 * SECOND);
    assert_int_equal(progress_lag_us(&progress, 0), 0);
    progress_move(&progress, 10, SECOND);
    assert_int_equal(progress_lag_events(&progress), 3); /* sent is not applied */
    progress_confirm(&progress, 10);
    assert_int_equal(progress_lag_events(&progress), 0);
    assert_int_equal(progress_lag_us(&progress, 3 * SECOND), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_loading_it_is_behind_until_the_head),
        cmocka_unit_test(nothing_new_is_not_behind),
        cmocka_unit_test(a_busy_slice_is_not_behind_while_it_follows),
        cmocka_unit_test(many_and_old_is_behind),
        cmocka_unit_test(an_event_younger_than_the_head_raises_it),
        cmocka_unit_test(beyond_the_log_is_behind),
        cmocka_unit_test(stuck_stops_before_the_event),
        cmocka_unit_test(lag_is_events_and_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
