/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/status, and the gauges that nothing else sets: collecting the facts. */
#include "common/base/clock.h"
#include "query-service/http/api.h"
#include "query-service/metrics.h"
#include "query-service/status.h"

enum { HALVE_TICKS = 60 }; /* about half a minute */

static int64_t lookups(enum entry_verdict from, enum entry_verdict to)
{
    int64_t sum = 0;
    for (int verdict = (int)from; verdict <= (int)to; verdict++)
        sum += metric_value(query_metrics.lookups[verdict]);
    return sum;
}

static void collect_loader(struct api *api, struct status_facts *facts)
{
    struct loader_facts loader;
    loader_facts(api->reads.loader, &loader);
    int64_t age_us = clock_mono_us() - loader.seen_us;
    facts->redis_usable = loader.redis_usable;
    facts->redis_partly = loader.redis_partly;
    facts->store_usable = loader.store_usable;
    facts->redis_open = loader.redis_open;
    facts->store_open = loader.store_open;
    facts->redis_queue = (struct status_gauge){(int64_t)loader.redis_queue, api->queue_max};
    facts->store_queue = (struct status_gauge){(int64_t)loader.store_queue, api->queue_max};
    facts->redis_busy = (struct status_gauge){(int64_t)loader.redis_busy, api->model_threads};
    facts->store_busy = (struct status_gauge){(int64_t)loader.store_busy, api->store_connections};
    facts->model_age_ms = loader.seen_us > 0 ? (age_us > 0 ? age_us : 0) / US_PER_MS : -1;
    memcpy(facts->positions, loader.positions, sizeof facts->positions);
}

static int64_t followers(const struct api *api)
{
    size_t count = 0;
    for (size_t i = 0; i < api->shards->count; i++)
        count += api->feeds[i] ? feed_waiting(api->feeds[i]) : 0;
    return (int64_t)count;
}

static void collect(struct api *api, struct status_facts *facts)
{
    const struct read_through *reads = &api->reads;
    struct cache_stats cache = cache_stats(reads->cache);
    *facts = (struct status_facts){
        .waiting = {(int64_t)single_flight_waiting(reads->flights), api->connections_max},
        .followers = {followers(api), api->followers_max},
        .cache_bytes = {(int64_t)cache.bytes, (int64_t)reads->cache_bytes},
        .cache_entries = (int64_t)cache.entries,
        .hits = lookups(ENTRY_FRESH, ENTRY_EARLY),
        .stale = lookups(ENTRY_STALE, ENTRY_STALE),
        .misses = lookups(ENTRY_CHANGED, ENTRY_DEAD),
    };
    collect_loader(api, facts);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        facts->heads[slice] = feed_head(api->feeds[api->shards->of[slice]], slice);
    facts->hot_count = hot_top(reads->hot, facts->hot, STATUS_HOT_MAX);
}

void api_get_status(struct http_request *request, void *context)
{
    static const char *const none[] = {NULL};
    struct status_facts facts;
    if (api_refuse_suspended(request, context) || !http_query_only(request, none))
        return;
    collect(context, &facts);
    status_write(http_reply_body(request), &facts);
    http_add_header(request, "Cache-Control", SPAN("no-store"));
    http_reply(request, 200);
}

static void show_workers(struct api *api)
{
    struct status_facts facts = {0};
    collect_loader(api, &facts);
    metric_set(query_metrics.workers[0], facts.redis_busy.most);
    metric_set(query_metrics.workers[1], facts.store_busy.most);
    metric_set(query_metrics.workers_busy[0], facts.redis_busy.is);
    metric_set(query_metrics.workers_busy[1], facts.store_busy.is);
    metric_set(query_metrics.queue_limit, api->queue_max);
    metric_set(query_metrics.degraded, status_degraded(&facts));
    metric_set(query_metrics.cache_limit, (int64_t)api->reads.cache_bytes);
}

void api_tick(void *context)
{
    static unsigned ticks; /* one thread */
    struct api *api = context;
    struct hot_item top[STATUS_HOT_MAX];
    struct cache_stats cache = cache_stats(api->reads.cache);
    metric_set(query_metrics.cache_bytes, (int64_t)cache.bytes);
    metric_set(query_metrics.cache_entries, (int64_t)cache.entries);
    metric_set(query_metrics.cache_evicted, (int64_t)cache.evicted);
    metric_set(query_metrics.waiting, (int64_t)single_flight_waiting(api->reads.flights));
    metric_set(query_metrics.followers, followers(api));
    show_workers(api);
    size_t count = hot_top(api->reads.hot, top, STATUS_HOT_MAX);
    for (size_t i = 0; i < STATUS_HOT_MAX; i++)
        metric_set(query_metrics.hot[i], i < count ? (int64_t)top[i].permille * 1000 : 0);
    metric_set(query_metrics.warm, (int64_t)warm_count(&api->warm));
    warm_tick(&api->warm);
    if (++ticks % HALVE_TICKS == 0)
        hot_halve(api->reads.hot);
}
