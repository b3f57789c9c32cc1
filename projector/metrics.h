/* SPDX-License-Identifier: Apache-2.0 */
/* The projector's metrics; docs/operations.md explains each. */
#pragma once

#include "common/base/metrics.h"
#include "common/redis/redis.h"

struct projector_metrics {
    struct metric *lag_events, *lag_seconds, *leader, *stuck_slices;
    struct metric *events, *batches, *restarts, *apply_age, *prewarmed, *fenced, *moved;
    struct metric *redis_errors[REDIS_STATUS_COUNT];
};

void projector_metrics_setup(struct projector_metrics *metrics);
