/* SPDX-License-Identifier: Apache-2.0 */
/* How long to leave a server alone that has failed: from 50 ms doubling to 2 s, with jitter, so that many
 * processes do not come back in step. A plain value; time comes in from outside. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The most is less than a sentinel takes to promote another: whoever has just missed that must not wait as
 * long again. */
enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 500 };

struct backoff {
    int64_t delay_ms; /* of the last failure; 0: none since the last success */
    int64_t until_us; /* monotonic */
};

bool backoff_over(const struct backoff *backoff, int64_t mono_us);
void backoff_fail(struct backoff *backoff, int64_t mono_us);
void backoff_succeed(struct backoff *backoff);
