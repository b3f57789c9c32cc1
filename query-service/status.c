/* SPDX-License-Identifier: Apache-2.0 */
/* Judging the facts, worst first, and writing them down. */
#include "query-service/status.h"

#include "common/json.h"

enum { LAG_EVENTS_MAX = 10000 };

static bool at_least(const struct status_gauge *gauge, int64_t percent)
{
    return gauge->most > 0 && gauge->is * 100 >= gauge->most * percent;
}

static int64_t lag_of(const struct status_facts *facts, int slice)
{
    int64_t head = facts->heads[slice], position = facts->positions[slice];
    if (head < 0 || position < 0)
        return -1;
    return head > position ? head - position : 0;
}

static int64_t lag_most(const struct status_facts *facts)
{
    int64_t most = -1;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (lag_of(facts, slice) > most)
            most = lag_of(facts, slice);
    return most;
}

int64_t status_degraded(const struct status_facts *facts)
{
    bool redis = facts->redis_usable && !facts->redis_open, store = facts->store_usable && !facts->store_open;
    return !redis + !store;
}

const char *status_mode(const struct status_facts *facts)
{
    bool redis = facts->redis_usable && !facts->redis_open, store = facts->store_usable && !facts->store_open;
    if (redis && store)
        return "normal";
    if (redis)
        return "without-postgresql";
    return store ? "without-redis" : "memory-only";
}

const char *status_bottleneck(const struct status_facts *facts)
{
    bool redis = facts->redis_usable && !facts->redis_open, store = facts->store_usable && !facts->store_open;
    if (!redis && !store)
        return "PostgreSQL and Redis do not answer: only what is in memory is served";
    if (at_least(&facts->store_queue, 50))
        return redis ? "the connections to PostgreSQL: reads queue for them though Redis answers; look which "
                       "reads fall back and why (coupon_read_fallbacks_total)"
                     : "the connections to PostgreSQL: they carry every load because Redis cannot be used";
    if (at_least(&facts->redis_queue, 50))
        return "Redis: reads queue for it; it is slow, or there are too few model threads";
    if (!store)
        return "PostgreSQL does not answer: what Redis does not know is refused";
    if (!redis)
        return "Redis cannot be used (down, slow, emptied, or its models are old): PostgreSQL answers every "
               "load";
    if (facts->redis_partly)
        return "a server of the Redis Cluster does not answer: PostgreSQL carries the loads of its slices, "
               "and "
               "of lists over all; `slices` has no `models` there";
    if (at_least(&facts->waiting, 50))
        return "loads: many reads wait for few answers that take long to come";
    if (at_least(&facts->followers, 90))
        return "followers of the feed: nearly as many as may wait";
    if (lag_most(facts) >= LAG_EVENTS_MAX)
        return "the projector: the models are far behind the log";
    if (at_least(&facts->store_busy, 100))
        return "the connections to PostgreSQL: all are at work, none waits yet";
    return "none";
}

static void put_gauge(struct buf *out, const char *key, const struct status_gauge *gauge)
{
    json_open(out, key, '{');
    json_put_int(out, "is", gauge->is);
    json_put_int(out, "max", gauge->most);
    json_close(out, '}');
}

static void put_known(struct buf *out, const char *key, int64_t value)
{
    if (value >= 0)
        json_put_int(out, key, value);
    else
        json_put_null(out, key);
}

static void put_slices(struct buf *out, const struct status_facts *facts)
{
    json_open(out, "slices", '[');
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        json_open(out, NULL, '{');
        json_put_int(out, "slice", slice);
        put_known(out, "log", facts->heads[slice]);
        put_known(out, "models", facts->positions[slice]);
        put_known(out, "lag_events", lag_of(facts, slice));
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void put_dependency(struct buf *out, const char *key, bool usable, bool open,
                           const struct status_gauge *queue, const struct status_gauge *busy)
{
    json_open(out, key, '{');
    json_put_bool(out, "usable", usable);
    json_put_string(out, "breaker", open ? SPAN("open") : SPAN("closed"));
    put_gauge(out, "queue", queue);
    put_gauge(out, "busy", busy);
    json_close(out, '}');
}

void status_write(struct buf *out, const struct status_facts *facts)
{
    json_open(out, NULL, '{');
    json_put_string(out, "mode", span_of(status_mode(facts)));
    json_put_string(out, "bottleneck", span_of(status_bottleneck(facts)));
    put_dependency(out, "redis", facts->redis_usable, facts->redis_open, &facts->redis_queue,
                   &facts->redis_busy);
    put_dependency(out, "postgresql", facts->store_usable, facts->store_open, &facts->store_queue,
                   &facts->store_busy);
    json_open(out, "memory", '{');
    put_gauge(out, "bytes", &facts->cache_bytes);
    json_put_int(out, "entries", facts->cache_entries);
    json_put_int(out, "hits", facts->hits);
    json_put_int(out, "stale", facts->stale);
    json_put_int(out, "misses", facts->misses);
    json_close(out, '}');
    put_gauge(out, "waiting", &facts->waiting);
    put_gauge(out, "followers", &facts->followers);
    put_known(out, "models_age_ms", facts->model_age_ms);
    json_open(out, "hot", '[');
    for (size_t i = 0; i < facts->hot_count; i++) {
        json_open(out, NULL, '{');
        json_put_string(out, "what", span_of(facts->hot[i].name));
        json_put_int(out, "permille", (int64_t)facts->hot[i].permille);
        json_close(out, '}');
    }
    json_close(out, ']');
    put_slices(out, facts);
    json_close(out, '}');
}
