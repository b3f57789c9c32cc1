/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a condition until a monotonic instant, in one place. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "common/base/clock.h"

/* Waits on a condition variable that was made with default attributes; the caller holds `mutex`. false: the
 * instant (monotonic, microseconds; INT64_MAX: never) has passed. As with every such wait, true does not say
 * that anything has changed. */
static inline bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_us)
{
    struct timespec until = {.tv_sec = until_us / US_PER_S, .tv_nsec = until_us % US_PER_S * 1000};
    return pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &until) == 0;
}
