/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting in tests: for something observable, with a bound, never for a while. */
#pragma once

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"

/* Evaluates the condition until it is true; fails the test where it was not after bound_ms. */
#define WAIT_UNTIL(condition, bound_ms)                                                \
    do {                                                                               \
        int64_t wait_deadline_us = clock_deadline_us(bound_ms);                        \
        while (!(condition)) {                                                         \
            if (clock_remaining_ms(wait_deadline_us) == 0)                             \
                fail_msg("not within %lld ms: %s", (long long)(bound_ms), #condition); \
            wait_moment();                                                             \
        }                                                                              \
    } while (0)

/* The pause between two looks at a condition. */
static inline void wait_moment(void)
{
    const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    (void)ppoll(NULL, 0, &pause, NULL);
}
