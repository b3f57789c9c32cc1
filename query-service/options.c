/* SPDX-License-Identifier: Apache-2.0 */
/* The option table of the query service. */
#include "query-service/options.h"

#include "query-service/load/worker_pool.h"

#define AT(member) offsetof(struct options, member)

static const struct config_option table[] = {
    {"database-url", CONFIG_STRING, AT(database_url), "", 0, 4096, "",
     "event store, postgresql://...; several hosts allowed, a replica will do; needed without --shards, else "
     "not used"},
    {"shards", CONFIG_STRING, AT(shards_file), "", 0, 4096, "",
     "file that says which event store has which slices; empty: --database-url has all"},
    {"redis-url", CONFIG_STRING, AT(redis_url), NULL, 1, 4096, "",
     "read models, redis://..., unix://... or redis+sentinel://..."},
    {"code-key-file", CONFIG_STRING, AT(code_key_file), NULL, 1, 4096, "",
     "file with the 64 hex digits that coupon codes are derived with"},
    {"bus-url", CONFIG_STRING, AT(bus_url), "", 0, 1024, "",
     "where to listen for hints of changes, an nng URL; empty: answers are as old as fresh-ms and stale-ms "
     "allow"},
    {"model-threads", CONFIG_INT, AT(model_threads), "2", 1, POOL_THREADS_MAX, "threads",
     "threads that read from Redis, each with one connection"},
    {"store-connections", CONFIG_INT, AT(store_connections), "4", 1, POOL_THREADS_MAX, "connections",
     "threads that read from PostgreSQL, each with one connection"},
    {"queue-max", CONFIG_INT, AT(queue_max), "4096", 1, 1000000, "reads",
     "most reads waiting for Redis, and for PostgreSQL; beyond: 503 overloaded"},
    {"request-deadline-ms", CONFIG_INT, AT(request_deadline_ms), "1800", 100, 60000, "ms",
     "longest time from a request's headers to its answer"},
    {"redis-timeout-ms", CONFIG_INT, AT(redis_timeout_ms), "50", 1, 10000, "ms",
     "longest time for one batch of reads in Redis"},
    {"store-timeout-ms", CONFIG_INT, AT(store_timeout_ms), "1000", 10, 60000, "ms",
     "longest time for one read in PostgreSQL, connecting included"},
    {"token-wait-ms", CONFIG_INT, AT(token_wait_ms), "200", 0, 10000, "ms",
     "how long a read waits for the models to reach its Consistency-Token before PostgreSQL answers"},
    {"fresh-ms", CONFIG_INT, AT(fresh_ms), "1000", 0, 60000, "ms",
     "how long an answer is given from memory without a thought, unless setting fresh_ms says otherwise"},
    {"stale-ms", CONFIG_INT, AT(stale_ms), "60000", 0, 3600000, "ms",
     "after that: how long it is given while it is loaded anew, unless setting stale_ms says otherwise"},
    {"stale-if-error-ms", CONFIG_INT, AT(stale_if_error_ms), "600000", 0, 86400000, "ms",
     "after that: how long it is given when nothing else answers, unless setting stale_if_error_ms says "
     "otherwise"},
    {"cache-bytes", CONFIG_INT, AT(cache_bytes), "67108864", 0, INT64_C(1) << 36, "bytes",
     "memory for answers, 0: none are kept"},
    {"followers-max", CONFIG_INT, AT(followers_max), "1000", 1, 100000, "requests",
     "most requests waiting for events at GET /v1/events; beyond: 503 overloaded"},
    {"past-events-max", CONFIG_INT, AT(past_events_max), "100000", 1, 10000000, "events",
     "most events looked at for one answer with as_of; beyond: 422 past-too-far"},
    {"exports-max", CONFIG_INT, AT(exports_max), "4", 1, 64, "requests",
     "most lists of holders as CSV that are sent at once; beyond: 503 overloaded"},
    {"export-deadline-ms", CONFIG_INT, AT(export_deadline_ms), "600000", 1000, 86400000, "ms",
     "longest time for one of them, however slowly it is read; then it is broken off"},
    {.name = NULL},
};

static const struct config_option *const tables[] = {service_option_table, table, NULL};

const struct config_program options_program = {
    .name = "query-service",
    .purpose = "answers questions about campaigns and coupons: the read API of Firstcome",
    .usage = "",
    .tables = tables,
    .prefix = SERVICE_ENVIRONMENT_PREFIX,
    .plain = service_plain_names,
};
