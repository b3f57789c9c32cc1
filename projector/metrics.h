/* SPDX-License-Identifier: Apache-2.0 */
/* The projector's metrics; docs/operations.md explains each. */
#pragma once

#include "common/base/metrics.h"
#include "common/redis/redis.h"
#include "events/event.h"

struct projector_metrics {
    struct metric *lag_events, *lag_seconds, *leader, *stuck_slices;
    struct metric *events, *batches, *restarts, *apply_age, *prewarmed, *fenced, *moved;
    struct metric *redis_errors[REDIS_STATUS_COUNT];
    struct metric *slice_lag[SLICE_COUNT];
    struct metric *redis_used, *redis_limit, *redis_cannot_persist, *redis_replicas, *redis_replica_lag,
        *redis_away;
    struct metric *primary_changes;
};

/* What Redis said of itself; NULL where this process does not ask it. */
struct redis_health;
void projector_metrics_redis(const struct projector_metrics *metrics, const struct redis_health *health);

void projector_metrics_setup(struct projector_metrics *metrics);
