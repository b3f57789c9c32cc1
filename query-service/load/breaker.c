/* SPDX-License-Identifier: Apache-2.0 */
/* The breaker's states: closed (open_ms 0), open, and half open (probing). */
#include "query-service/load/breaker.h"

#include "common/base/clock.h"
#include "common/base/crypto.h"

void breaker_init(struct breaker *breaker)
{
    *breaker = (struct breaker){0};
    CHECK(pthread_mutex_init(&breaker->lock, NULL) == 0);
}

void breaker_deinit(struct breaker *breaker)
{
    pthread_mutex_destroy(&breaker->lock);
}

/* Up to a quarter later than asked, so that several instances do not probe in step. */
static int64_t jittered_us(int64_t ms)
{
    return ms * US_PER_MS + crypto_random_below((uint32_t)(ms * US_PER_MS / 4 + 1));
}

bool breaker_allows(struct breaker *breaker, int64_t now_us)
{
    pthread_mutex_lock(&breaker->lock);
    bool open = breaker->open_ms > 0;
    bool allowed = !open || now_us >= breaker->retry_us;
    if (open && allowed) {
        breaker->probing = true;
        breaker->retry_us = now_us + jittered_us(breaker->open_ms);
    }
    pthread_mutex_unlock(&breaker->lock);
    return allowed;
}

void breaker_success(struct breaker *breaker)
{
    pthread_mutex_lock(&breaker->lock);
    breaker->failures = 0;
    breaker->open_ms = 0;
    breaker->probing = false;
    pthread_mutex_unlock(&breaker->lock);
}

/* What fails while it is open and no probe is out began before it opened, and says nothing new. */
void breaker_failure(struct breaker *breaker, int64_t now_us)
{
    pthread_mutex_lock(&breaker->lock);
    breaker->failures++;
    bool news = breaker->open_ms == 0 || breaker->probing;
    if (news && breaker->failures >= BREAKER_FAILURES_MAX) {
        int64_t longer = breaker->open_ms ? 2 * breaker->open_ms : BREAKER_OPEN_MIN_MS;
        breaker->open_ms = longer < BREAKER_OPEN_MAX_MS ? longer : BREAKER_OPEN_MAX_MS;
        breaker->retry_us = now_us + jittered_us(breaker->open_ms);
        breaker->probing = false;
    }
    pthread_mutex_unlock(&breaker->lock);
}

bool breaker_is_open(struct breaker *breaker)
{
    pthread_mutex_lock(&breaker->lock);
    bool open = breaker->open_ms > 0;
    pthread_mutex_unlock(&breaker->lock);
    return open;
}
