/* SPDX-License-Identifier: Apache-2.0 */
/* What `projector status` shows: one look at PostgreSQL and Redis from outside the running projectors. */
#pragma once

#include "projector/run/log_reader.h"
#include "projector/run/redis_writer.h"

struct status {
    bool store_reachable, redis_reachable;
    const char *redis_state; /* class of the failure, "ok" without one */
    char store_error[160], redis_error[160];
    struct log_heads heads;        /* where store_reachable */
    int64_t epoch;                 /* of the lease */
    bool led;                      /* somebody holds the lock */
    struct slice_roots models;     /* of a cluster some may be known where not all are */
    char servers[SLICE_COUNT][80]; /* which one the slice is on; "" where not known */
    bool several_servers;
    int64_t seen_ago_us; /* since a leader last looked after all models; -1: longer than readers believe it */
    int64_t now_us;      /* wall clock */
};

/* Looks, for at most two seconds in all. What cannot be reached is left out. */
void status_collect(struct status *ret, struct pg *pg, struct redis_writer *models);
bool status_good(const struct status *status); /* both stores answered */

void status_write_text(struct buf *out, const struct status *status);
void status_write_json(struct buf *out, const struct status *status);
