/* SPDX-License-Identifier: Apache-2.0 */
/* Chance that is a function of a seed: splitmix64, one stream for each purpose, so that what one part of a
 * run draws never depends on how much another part drew before. Plain values; one thread at a time each. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/check.h"

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t x = rng->state += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* The stream of one purpose, and of the number-th of those who share it. */
static inline struct rng rng_of(uint64_t seed, uint64_t purpose, uint64_t number)
{
    struct rng rng = {seed};
    rng.state = rng_next(&rng) ^ purpose;
    rng.state = rng_next(&rng) ^ number;
    (void)rng_next(&rng);
    return rng;
}

/* Below a bound that is small against 2^64, so the bias does not matter. */
static inline uint32_t rng_below(struct rng *rng, uint32_t bound)
{
    CHECK(bound > 0);
    return (uint32_t)(rng_next(rng) % bound);
}

/* Both ends included. */
static inline int64_t rng_between(struct rng *rng, int64_t low, int64_t high)
{
    CHECK(low <= high);
    return low + (int64_t)(rng_next(rng) % (uint64_t)(high - low + 1));
}

static inline bool rng_percent(struct rng *rng, uint32_t percent)
{
    return rng_below(rng, 100) < percent;
}
