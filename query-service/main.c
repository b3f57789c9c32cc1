/* SPDX-License-Identifier: Apache-2.0 */
/* The query service: what is set up in which order, and torn down in reverse. */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/bus.h"
#include "events/shards.h"
#include "query-service/http/api.h"
#include "query-service/http/respond.h"
#include "query-service/metrics.h"
#include "query-service/options.h"

static struct service_part *sources; /* PostgreSQL or Redis */

static void sources_ready(bool ready)
{
    service_part_set(sources, ready);
}

static struct log_time log_time;
static _Atomic uint64_t log_epoch; /* one more whenever the log is another one */

static struct loader *loader_setup(const struct options *options, const struct shards *shards)
{
    char reason[256];
    struct loader *loader = loader_create(
        &(struct loader_options){
            .shards = shards,
            .redis_url = options->redis_url,
            .model_threads = options->model_threads,
            .store_connections = options->store_connections,
            .queue_max = options->queue_max,
            .redis_timeout_ms = options->redis_timeout_ms,
            .store_timeout_ms = options->store_timeout_ms,
            .past_events_max = options->past_events_max,
            .time = &log_time,
            .ready = sources_ready,
        },
        reason, sizeof reason);
    if (!loader)
        service_bad_option("--redis-url", reason);
    return loader;
}

static void api_setup(struct api *api, const struct options *options)
{
    char reason[256];
    if (!code_key_load(options->code_key_file, &api->code_key, reason, sizeof reason))
        service_bad_option("--code-key-file", reason);
    struct respond_options respond_options = {.past_events_max = options->past_events_max};
    respond_options.code_key = api->code_key;
    respond_setup(&respond_options);
    api->request_deadline_ms = options->request_deadline_ms;
    api->token_wait_ms = options->token_wait_ms;
    api->reads = (struct read_through){.loader = loader_setup(options, api->shards),
                                       .control = api->control,
                                       .time = &log_time,
                                       .log_epoch = &log_epoch};
    read_through_init(&api->reads, (size_t)options->cache_bytes);
    warm_init(&api->warm, &api->reads);
}

/* What was set while services run holds over what the options say. It is in one slice, and so in one shard,
 * for all; so is the clock that counts. */
static struct control *control_setup(const struct options *options, const struct shards *shards)
{
    struct control_options control = {
        .database_url = shards_of(shards, CONTROL_SLICE)->url,
        .keyring = service_keyring(&options->service),
        .time = &log_time,
    };
    log_time_init(&log_time, clock_wall_us(), clock_mono_us());
    settings_init(&control.defaults);
    settings_default(&control.defaults, SETTING_fresh_ms, options->fresh_ms);
    settings_default(&control.defaults, SETTING_stale_ms, options->stale_ms);
    settings_default(&control.defaults, SETTING_stale_if_error_ms, options->stale_if_error_ms);
    return control_start(&control);
}

static void on_hint(struct span message, void *context)
{
    struct api *api = context;
    struct hint hint;
    if (!hint_decode(message, &hint))
        return;
    if (hint.opening) { /* no change, only worth having before somebody asks */
        warm_note(&api->warm, &hint);
        return;
    }
    struct feed *feed = api->feeds[api->shards->of[hint.slice]];
    int64_t head = feed_head(feed, hint.slice);
    if (!invalidation_note(&api->reads.changes, &hint, head, clock_mono_us()))
        return;
    metric_add(query_metrics.hints, 1);
    feed_wake(feed, hint.slice);
}

/* What was read of a log that is gone is told to nobody any more, also where it is being loaded right now. */
static void on_replaced(void *context)
{
    struct api *api = context;
    atomic_fetch_add(&log_epoch, 1);
    cache_clear(api->reads.cache);
    metric_add(query_metrics.logs_replaced, 1);
}

static void feed_setup(struct api *api, const struct options *options)
{
    api->connections_max = options->service.connections_max;
    api->queue_max = options->queue_max + LOADER_DEAR_QUEUE_MAX;
    api->model_threads = options->model_threads + LOADER_DEAR_THREADS;
    api->store_connections =
        (int64_t)api->shards->count * (options->store_connections + LOADER_DEAR_CONNECTIONS);
    api->followers_max = options->followers_max;
    for (size_t i = 0; i < api->shards->count; i++)
        api->feeds[i] = feed_create(&(struct feed_options){.shard = &api->shards->list[i],
                                                           .timeout_ms = options->store_timeout_ms,
                                                           .waiting_max = options->followers_max,
                                                           .tick = i == 0 ? api_tick : NULL,
                                                           .replaced = on_replaced,
                                                           .context = api});
    for (size_t i = 0; i < api->shards->count; i++)
        feed_start(api->feeds[i]);
}

static void exports_setup(struct api *api, const struct options *options)
{
    struct exports_options exports = {.timeout_ms = options->store_timeout_ms,
                                      .running_max = options->exports_max,
                                      .deadline_ms = options->export_deadline_ms,
                                      .code_key = api->code_key,
                                      .log_epoch = &log_epoch};
    for (size_t i = 0; i < api->shards->count; i++) {
        exports.shard = &api->shards->list[i];
        api->exports[i] = exports_create(&exports);
        exports_start(api->exports[i]);
    }
}

static struct bus_subscriber *bus_setup(struct api *api, const struct options *options)
{
    char reason[256];
    if (!*options->bus_url)
        return NULL;
    struct bus_subscriber *bus = bus_subscriber_create(options->bus_url, on_hint, api, reason, sizeof reason);
    if (!bus)
        service_bad_option("--bus-url", reason);
    return bus;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    config_parse(&options_program, &argc, argv, &options);
    if (argc > 1) {
        fprintf(stderr, "query-service: unexpected argument; see --help\n");
        return 64; /* EX_USAGE */
    }

    service_setup("query-service", 1, &options.service);
    query_metrics_setup();
    struct shards shards;
    shards_setup(&shards, options.shards_file, options.database_url, "firstcome_query");
    sources = service_part_create("sources");
    struct api api = {.shards = &shards, .control = control_setup(&options, &shards), .time = &log_time};
    api_setup(&api, &options);
    feed_setup(&api, &options);
    api.history = history_create(&(struct history_options){.shards = &shards,
                                                           .timeout_ms = options.store_timeout_ms,
                                                           .past_events_max = options.past_events_max,
                                                           .code_key = &api.code_key});
    history_start(api.history);
    exports_setup(&api, &options);
    struct bus_subscriber *bus = bus_setup(&api, &options);
    struct http_server *server = service_serve(
        &options.service,
        &(struct service_api){.routes = api_routes, .routes_count = api_routes_count, .context = &api});
    log_info("STARTED", "listening on port %lld", (long long)options.service.port);

    service_wait_for_stop(&options.service);
    for (size_t i = 0; i < shards.count; i++)
        feed_retire(
            api.feeds[i]); /* who waits for news is answered now, not after longer than the drain takes */
    if (!service_drain(&options.service, server))
        log_warn("DRAIN", "requests were still unanswered at the drain deadline");
    loader_stop(api.reads.loader);
    history_stop(api.history);
    for (size_t i = 0; i < shards.count; i++) {
        exports_stop(api.exports[i]);
        feed_stop(api.feeds[i]);
    }
    http_server_destroy(server); /* after a drain cut short, connections bring requests until here */
    bus_subscriber_destroy(bus);
    history_destroy(api.history);
    for (size_t i = 0; i < shards.count; i++) {
        feed_destroy(api.feeds[i]);
        exports_destroy(api.exports[i]);
    }
    loader_destroy(api.reads.loader);
    warm_deinit(&api.warm);
    read_through_deinit(&api.reads);
    control_stop(api.control);
    log_time_deinit(&log_time);
    shards_deinit(&shards);
    log_info("STOPPED", "drained");
    return 0;
}
