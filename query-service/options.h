/* SPDX-License-Identifier: Apache-2.0 */
/* What can be set on a query service. */
#pragma once

#include "common/service.h"

struct options {
    struct service_options service; /* first: common tables point into it */
    const char *database_url, *shards_file, *redis_url, *code_key_file, *bus_url;
    int64_t model_threads, store_connections, queue_max;
    int64_t request_deadline_ms, redis_timeout_ms, store_timeout_ms, token_wait_ms;
    int64_t fresh_ms, stale_ms, stale_if_error_ms, cache_bytes, followers_max, past_events_max;
    int64_t exports_max, export_deadline_ms;
};

extern const struct config_program options_program;
