/* SPDX-License-Identifier: Apache-2.0 */
/* The read API (design §9): from HTTP requests to reads. Runs on HTTP threads, never blocks. */
#pragma once

#include "common/http/http.h"
#include "query-service/cache/read_through.h"
#include "query-service/cache/warm.h"
#include "query-service/export/export.h"
#include "query-service/feed/feed.h"
#include "query-service/history/history.h"

struct api {
    struct read_through reads;
    struct warm warm;
    const struct shards *shards;
    struct feed *feeds[SHARDS_MAX]; /* by the shard's number */
    struct control *control;
    struct log_time *time;
    struct history *history;
    struct exports *exports[SHARDS_MAX]; /* the same */
    int64_t request_deadline_ms, token_wait_ms;
    int64_t connections_max, queue_max, model_threads, store_connections, followers_max; /* of both lanes */
    struct code_key code_key;
};

/* Handlers get a struct api as context. */
extern const struct http_route api_routes[];
extern const size_t api_routes_count;

/* In files of their own. */
void api_get_events(struct http_request *request, void *context);
void api_get_status(struct http_request *request, void *context);
/* Answers a request with 400 invalid-parameter; always false, so that a parser can say `return ...`. */
bool api_refuse_parameter(struct http_request *request, const char *name, const char *why);
/* Answers a request whose API key is suspended: true where it was. */
bool api_refuse_suspended(struct http_request *request, const struct api *api);
/* For gauges: about twice a second, from one thread. */
void api_tick(void *api);
