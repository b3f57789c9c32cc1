/* SPDX-License-Identifier: Apache-2.0 */
/* Drops the keys of generations that nobody needs any more, a few at a time: UNLINK hands the memory back on
 * a thread of Redis's own, and between two small steps Redis serves everybody else. Finds them by SCAN, so
 * that what a rebuild left that nobody remembers goes too. */
#pragma once

#include "common/redis/redis.h"

struct sweep {
    char cursor[24]; /* of SCAN; "" before the first step */
    int64_t dropped; /* keys so far */
    bool done;
};

void sweep_begin(struct sweep *sweep);
/* One step: looks at some 500 keys and drops those of no needed generation. Which are needed is read again at
 * each step, because Redis may have been emptied and filled again meanwhile. */
enum redis_status sweep_step(struct sweep *sweep, struct redis *redis, int64_t deadline_us) MUST_USE;

/* The generation in a key of the models; 0 where it is none. Pure. */
int64_t sweep_generation_of(struct span key);
