/* SPDX-License-Identifier: Apache-2.0 */
/* How often somebody may do something: a token bucket for each name that comes, in a table whose size never
 * changes, so that no number of names costs more memory.
 *
 * What holds whatever the callers send, also when more names are active than the table has places: nobody is
 * ever allowed more than `burst` at once and `per_second` on average. A name that finds no place takes that
 * of the fullest bucket of its set and what is missing in it (the "space saving" algorithm), so a bucket
 * that had to give way to others is never fuller when its owner comes back. The price is paid the other way
 * round: with more names active than places a newcomer may find less than `burst`, never less than the
 * fullest of PLACES others has. A bucket counts as active from its first use until it is full again, which
 * is burst / per_second at most.
 *
 * Places are found by a hash whose key is drawn when the table is made: nobody can look for names that share
 * a place with somebody else's. Thread-safe: each call holds one of RATE_LIMIT_STRIPES locks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct rate_limit;

enum {
    RATE_LIMIT_PLACES = 8,         /* of a set: where one name can be */
    RATE_LIMIT_STRIPES = 64,       /* locks of a table, each for its share of the sets */
    RATE_LIMIT_BYTES_PER_NAME = 16 /* a table for N names has N times as many, and the locks */
};
enum { RATE_PER_SECOND_MAX = 1000000, RATE_BURST_MAX = 1000000 };

struct rate {
    int64_t per_second; /* 1..RATE_PER_SECOND_MAX; 0: no limit */
    int64_t burst;      /* 1..RATE_BURST_MAX at once; 0: as many as in a second */
};

struct rate_verdict {
    bool allowed;
    int64_t limit;          /* the burst; 0 where there is no limit */
    int64_t remaining;      /* how many more would be allowed at this instant */
    int64_t retry_after_us; /* until the next one is allowed; 0 when that is now */
};

/* names: how many buckets there are, a power of two from RATE_LIMIT_PLACES on. */
struct rate_limit *rate_limit_create(size_t names);
void rate_limit_destroy(struct rate_limit *limit); /* accepts NULL; nobody may be using it */

/* Takes one token from the bucket of `who`; a refusal takes none. now_us: monotonic. The rate may differ from
 * call to call: a new one counts at once, and nobody waits longer than its own burst takes to fill. */
struct rate_verdict rate_limit_take(struct rate_limit *limit, struct span who, const struct rate *rate,
                                    int64_t now_us);
