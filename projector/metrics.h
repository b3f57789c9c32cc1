/* SPDX-License-Identifier: Apache-2.0 */
/* The projector's metrics; docs/operations.md explains each. */
#pragma once

#include "common/base/metrics.h"
#include "common/redis/redis.h"
#include "projector/run/model_writer.h"

struct projector_metrics {
    struct metric *lag_events, *lag_seconds, *leader, *stuck_slices;
    struct metric *events, *batches, *restarts, *apply_age, *prewarmed, *vanished, *scrubbed;
    struct metric *redis_errors[REDIS_STATUS_COUNT];
    struct metric *refused[MODEL_HOLE + 1]; /* none for MODEL_APPLIED */
};

void projector_metrics_setup(struct projector_metrics *metrics);
