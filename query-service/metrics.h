/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of the query service, as one table. Latency and counts per route and status are the HTTP
 * server's own. docs/operations.md describes each. */
#pragma once

#include "common/metrics.h"
#include "common/redis.h"
#include "query-service/read.h"

struct query_metrics {
    struct metric *reads[SOURCE_COUNT];       /* answered, by who answered */
    struct metric *fallbacks[FALLBACK_COUNT]; /* reads that went on to PostgreSQL, by reason */
    struct metric *redis_errors[REDIS_STATUS_COUNT];
    struct metric *store_errors; /* lost, late or refused */
    struct metric *refused_overload, *refused_unavailable;
    struct metric *not_modified;
    struct metric *token_waits;                   /* times a read was parked for its token */
    struct metric *model_queue, *store_queue;     /* gauges */
    struct metric *redis_open, *store_open;       /* gauges: 1 while the breaker is open */
    struct metric *model_seconds, *store_seconds; /* one batch of Redis, one read of PostgreSQL */
    struct metric *model_batch;
};

extern struct query_metrics query_metrics;
void query_metrics_setup(void); /* before threads start */
