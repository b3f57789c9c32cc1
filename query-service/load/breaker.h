/* SPDX-License-Identifier: Apache-2.0 */
/* A circuit breaker in front of one dependency: after a few failures in a row nobody asks it for a while,
 * then one caller at a time tries again. Saves the wait for a server that does not answer. Knows no clock:
 * callers say what time it is (monotonic microseconds). Thread-safe. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/check.h"

enum {
    BREAKER_FAILURES_MAX = 3,   /* in a row, then it opens */
    BREAKER_OPEN_MIN_MS = 250,  /* how long at first */
    BREAKER_OPEN_MAX_MS = 5000, /* doubled with every failed probe, up to this */
};

struct breaker {
    pthread_mutex_t lock;
    unsigned failures; /* in a row */
    int64_t open_ms;   /* how long it opened last, 0: closed */
    int64_t retry_us;  /* while open: when a probe may go */
    bool probing;      /* a probe is out */
};

void breaker_init(struct breaker *breaker);
void breaker_deinit(struct breaker *breaker);

/* Whether the caller may ask the dependency now. While open, true once per waiting time: that caller is the
 * probe. Whoever got true says how it went with breaker_success or breaker_failure; a probe that says nothing
 * costs one more waiting time. */
bool breaker_allows(struct breaker *breaker, int64_t now_us) MUST_USE;
void breaker_success(struct breaker *breaker);
void breaker_failure(struct breaker *breaker, int64_t now_us);
bool breaker_is_open(struct breaker *breaker);
