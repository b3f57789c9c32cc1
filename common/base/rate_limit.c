/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets as GCRA keeps them: one instant per bucket, the one at which it is full again. */
#include "common/base/rate_limit.h"

#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum { NS_PER_US = 1000, NS_PER_S = 1000000000, CACHE_LINE = 64 };

struct bucket {
    uint64_t who;    /* hash of the name */
    int64_t full_ns; /* monotonic; from then on it is full, and whose it was does not matter */
};
_Static_assert(sizeof(struct bucket) == RATE_LIMIT_BYTES_PER_NAME, "as the header promises");

struct stripe {
    pthread_mutex_t lock;
    char apart[CACHE_LINE]; /* or neighbours would wait for each other all the same */
};

struct rate_limit {
    size_t sets; /* a power of two */
    struct bucket *buckets;
    struct stripe stripes[RATE_LIMIT_STRIPES];
};

struct rate_limit *rate_limit_create(size_t names)
{
    struct rate_limit *limit = mem_zalloc(sizeof *limit);
    CHECK(names >= RATE_LIMIT_PLACES && (names & (names - 1)) == 0);
    limit->sets = names / RATE_LIMIT_PLACES;
    limit->buckets = mem_zalloc(names * sizeof *limit->buckets);
    for (size_t i = 0; i < RATE_LIMIT_STRIPES; i++)
        CHECK(pthread_mutex_init(&limit->stripes[i].lock, NULL) == 0);
    return limit;
}

void rate_limit_destroy(struct rate_limit *limit)
{
    if (!limit)
        return;
    for (size_t i = 0; i < RATE_LIMIT_STRIPES; i++)
        pthread_mutex_destroy(&limit->stripes[i].lock);
    mem_free(limit->buckets);
    mem_free(limit);
}

/* The bucket of this name, or the fullest of its set for it to take over. */
static struct bucket *find(struct bucket *set, uint64_t who)
{
    struct bucket *fullest = &set[0];
    for (size_t i = 0; i < RATE_LIMIT_PLACES; i++) {
        if (set[i].who == who)
            return &set[i];
        if (set[i].full_ns < fullest->full_ns)
            fullest = &set[i];
    }
    return fullest;
}

/* Pure: what a bucket that is full at *full_ns says at now_ns, and takes the token. */
static struct rate_verdict take(int64_t *full_ns, const struct rate *rate, int64_t now_ns)
{
    int64_t burst = rate->burst > 0 ? rate->burst : rate->per_second;
    int64_t interval_ns = NS_PER_S / rate->per_second;
    int64_t missing_ns = *full_ns > now_ns ? *full_ns - now_ns : 0;
    struct rate_verdict verdict = {.limit = burst};
    if (missing_ns > burst * interval_ns)
        missing_ns = burst * interval_ns; /* it was taken from at another rate */
    int64_t wait_ns = missing_ns - (burst - 1) * interval_ns;
    verdict.allowed = wait_ns <= 0;
    if (verdict.allowed) {
        missing_ns += interval_ns;
        *full_ns = now_ns + missing_ns;
        wait_ns += interval_ns;
    }
    verdict.remaining = burst - (missing_ns + interval_ns - 1) / interval_ns;
    verdict.retry_after_us = wait_ns > 0 ? (wait_ns + NS_PER_US - 1) / NS_PER_US : 0;
    return verdict;
}

struct rate_verdict rate_limit_take(struct rate_limit *limit, struct span who, const struct rate *rate,
                                    int64_t now_us)
{
    if (rate->per_second == 0)
        return (struct rate_verdict){.allowed = true};
    CHECK(rate->per_second > 0 && rate->per_second <= RATE_PER_SECOND_MAX);
    CHECK(rate->burst >= 0 && rate->burst <= RATE_BURST_MAX);
    uint64_t hash = span_hash(who);
    size_t set = (size_t)hash & (limit->sets - 1);
    pthread_mutex_t *lock = &limit->stripes[set % RATE_LIMIT_STRIPES].lock;
    pthread_mutex_lock(lock);
    struct bucket *bucket = find(&limit->buckets[set * RATE_LIMIT_PLACES], hash);
    struct rate_verdict verdict = take(&bucket->full_ns, rate, now_us * NS_PER_US);
    if (verdict.allowed)
        bucket->who = hash; /* who is refused leaves the place to its owner */
    pthread_mutex_unlock(lock);
    return verdict;
}
