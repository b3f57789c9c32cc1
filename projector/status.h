/* SPDX-License-Identifier: Apache-2.0 */
/* What `projector status` shows: one look at PostgreSQL and Redis from outside the running projectors. */
#pragma once

#include "events/shards.h"
#include "projector/run/log_reader.h"
#include "projector/run/redis_writer.h"

struct status {
    bool store_reachable, redis_reachable; /* all of it */
    unsigned stored;                       /* slices whose shard answered, as bits */
    const char *redis_state;               /* class of the failure, "ok" without one */
    char store_error[160], redis_error[160];
    struct log_heads heads;        /* of the slices in `stored` */
    int64_t epoch;                 /* of the lease; of several the highest */
    bool led;                      /* somebody holds the lock, of each shard */
    struct slice_roots models;     /* of a cluster some may be known where not all are */
    char servers[SLICE_COUNT][80]; /* which one the slice is on; "" where not known */
    bool several_servers;
    int64_t seen_ago_us; /* since a leader last looked after all models; -1: longer than readers believe it */
    int64_t now_us;      /* wall clock */
};

/* Looks, for at most a second, and one more for each shard. What cannot be reached is left out. */
void status_collect(struct status *ret, const struct shards *shards, struct redis_writer *models);
bool status_good(const struct status *status); /* both stores answered */

void status_write_text(struct buf *out, const struct status *status);
void status_write_json(struct buf *out, const struct status *status);
