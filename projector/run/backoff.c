/* SPDX-License-Identifier: Apache-2.0 */
/* Doubling with jitter. */
#include "projector/run/backoff.h"

#include "common/base/clock.h"
#include "common/base/crypto.h"

bool backoff_over(const struct backoff *backoff, int64_t mono_us)
{
    return mono_us >= backoff->until_us;
}

void backoff_fail(struct backoff *backoff, int64_t mono_us)
{
    int64_t delay_ms = backoff->delay_ms ? 2 * backoff->delay_ms : BACKOFF_MIN_MS;
    backoff->delay_ms = delay_ms < BACKOFF_MAX_MS ? delay_ms : BACKOFF_MAX_MS;
    int64_t half = backoff->delay_ms / 2;
    int64_t wait_ms = half + crypto_random_below((uint32_t)half + 1);
    backoff->until_us = mono_us + wait_ms * US_PER_MS;
}

void backoff_succeed(struct backoff *backoff)
{
    *backoff = (struct backoff){0};
}
