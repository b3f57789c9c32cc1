/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting in tests: for something observable, with a bound, never for a while. What a program waited for is
 * added up and written at its end to the file that TEST_WAITS names, for the summary of tools/run-tests.
 * Thread-safe. */
#pragma once

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"

/* Evaluates the condition until it is true; fails the test where it was not after bound_ms. The bound is for
 * what hangs: on a busy machine everything takes its time. Once one has run out, the program is red, and what
 * the tests after it share may be broken: their bounds are short. */
#define WAIT_UNTIL(condition, bound_ms)                                                \
    do {                                                                               \
        int64_t wait_from_us = clock_mono_us();                                        \
        int64_t wait_deadline_us = clock_deadline_us(wait_bound_ms(bound_ms));         \
        while (!(condition)) {                                                         \
            if (clock_remaining_ms(wait_deadline_us) == 0) {                           \
                wait_ran_out();                                                        \
                fail_msg("not within %lld ms: %s", (long long)(bound_ms), #condition); \
            }                                                                          \
            wait_moment();                                                             \
        }                                                                              \
        wait_note(#condition, wait_from_us);                                           \
    } while (0)

/* What is left of a bound: until one has run out all of it, and never less than two minutes. What is to be
 * quick is measured against something of the same run, not bounded. */
int64_t wait_bound_ms(int64_t bound_ms);
void wait_ran_out(void);
/* The pause between two looks at a condition. */
void wait_moment(void);
/* Adds the time since from_us (of clock_mono_us) to what was spent on `what`, a string that stays where it
 * is.
 */
void wait_note(const char *what, int64_t from_us);
