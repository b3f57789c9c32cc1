/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of the query service, as one table. Latency and counts per route and status are the HTTP
 * server's own. docs/operations.md describes each. */
#pragma once

#include "common/base/metrics.h"
#include "common/redis/redis.h"
#include "query-service/cache/entry.h"
#include "query-service/load/read.h"
#include "query-service/status.h"

struct query_metrics {
    struct metric *reads[SOURCE_COUNT];     /* requests answered, by where the answer came from */
    struct metric *loads[SOURCE_COUNT];     /* loads that went well; none is from memory */
    struct metric *lookups[ENTRY_DEAD + 1]; /* by what the entries in process were worth */
    struct metric *collapsed, *refreshes, *kept;
    struct metric *cache_bytes, *cache_entries, *cache_evicted, *waiting; /* gauges */
    struct metric *followers, *hints, *hot[STATUS_HOT_MAX];
    struct metric *fallbacks[FALLBACK_COUNT]; /* reads that went on to PostgreSQL, by reason */
    struct metric *redis_errors[REDIS_STATUS_COUNT];
    struct metric *store_errors;   /* lost, late or refused */
    struct metric *store_refusals; /* of a question, by PostgreSQL */
    struct metric *refused_overload, *refused_unavailable;
    struct metric *not_modified;
    struct metric *exports_running, *exports_complete, *exports_broken, *exports_refused;
    struct metric *token_waits;                     /* times a read was parked for its token */
    struct metric *model_queue[2], *store_queue[2]; /* gauges, by lane: quick, dear */
    struct metric *control_errors, *suspended, *profile, *logs_replaced, *warm;
    struct metric *redis_open, *store_open;       /* gauges: 1 while the breaker is open */
    struct metric *model_seconds, *store_seconds; /* one batch of Redis, one read of PostgreSQL */
    struct metric *model_batch;
    struct metric *workers[2], *workers_busy[2], *queue_limit; /* Redis, PostgreSQL; both lanes together */
    struct metric *degraded, *cache_limit, *control_age;
};

extern struct query_metrics query_metrics;
void query_metrics_setup(void); /* before threads start */
