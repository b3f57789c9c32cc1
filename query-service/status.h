/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/status: one page that says in which mode reads are served, how far each slice is, how full every
 * queue is, and in plain words which resource holds things up. Incident 3 took 45 minutes to find that out.
 * Pure: from facts to JSON. */
#pragma once

#include "events/event.h"
#include "query-service/cache/hot.h"

enum { STATUS_HOT_MAX = 5 };

/* Used and available of one resource. */
struct status_gauge {
    int64_t is, most;
};

struct status_facts {
    bool redis_partly;               /* of a cluster some servers do not answer */
    bool redis_usable, store_usable; /* answered when last asked */
    bool redis_open, store_open;     /* breakers */
    struct status_gauge redis_queue, store_queue, redis_busy, store_busy; /* reads; threads at work */
    struct status_gauge waiting;   /* reads waiting for another one's load */
    struct status_gauge followers; /* of the feed */
    struct status_gauge cache_bytes;
    int64_t cache_entries, hits, stale, misses; /* look-ups since the start */
    int64_t heads[SLICE_COUNT];                 /* of the log, -1: not known */
    int64_t positions[SLICE_COUNT];             /* of the models, -1: not known */
    int64_t model_age_ms; /* since the projector last compared, -1: not known, or so long ago that they are
                             not used */
    struct hot_item hot[STATUS_HOT_MAX];
    size_t hot_count;
};

/* 0: Redis and PostgreSQL are asked; 1: one of them; 2: only what is in memory. */
int64_t status_degraded(const struct status_facts *facts);
/* "normal", or what is missing. */
const char *status_mode(const struct status_facts *facts);
/* The saturated resource and what that means, in one sentence; "none" where nothing is. */
const char *status_bottleneck(const struct status_facts *facts);
void status_write(struct buf *out, const struct status_facts *facts);
