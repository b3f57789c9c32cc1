/* SPDX-License-Identifier: Apache-2.0 */
/* The two pools and the way of a read through them:
 *
 *   submit -> model pool -> done                 Redis knew
 *                  |  ^-- parked a moment         its checkpoint is just before the consistency token
 *                  v
 *             store pool -> done                 Redis did not know, or may not be asked
 *
 * Both queues are first in, first out and every read has the same patience, and no reader works on a read
 * past its deadline; so whoever waits is picked up by the time its own deadline comes (I11). */
#include "query-service/load/loader.h"

#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "query-service/metrics.h"
#include "query-service/pg/store_reader.h"
#include "query-service/redis/model_reader.h"
#include "query-service/redis/model_state.h"

/* What a thread of a pool owns. */
struct loader_thread {
    struct loader *loader;
    struct model_reader *model; /* threads of the model pool */
    struct store_reader *store; /* threads of the store pool */
};

struct loader {
    struct loader_options options;
    struct breaker redis_breaker, store_breaker;
    struct loader_thread threads[2 * POOL_THREADS_MAX];
    size_t threads_count;
    struct worker_pool *model_pool, *store_pool;
    atomic_bool model_usable, store_usable;
    _Atomic int64_t positions[SLICE_COUNT], seen_us; /* as the last probe of Redis found them */
    _Atomic unsigned missed;                         /* bit per slice: Redis lacked what it should have */
};

static struct read *read_of(struct work_item *item)
{
    return (struct read *)item; /* its first member */
}

/* --- readiness --- */

static void note(struct loader *loader, atomic_bool *which, bool usable, const char *what)
{
    if (atomic_exchange(which, usable) != usable)
        log_info("DEPENDENCY", "%s is %s", what, usable ? "usable" : "not usable");
    loader->options.ready(atomic_load(&loader->model_usable) || atomic_load(&loader->store_usable));
}

static void show(struct loader *loader)
{
    metric_set(query_metrics.redis_open, breaker_is_open(&loader->redis_breaker));
    metric_set(query_metrics.store_open, breaker_is_open(&loader->store_breaker));
    metric_set(query_metrics.model_queue, (int64_t)pool_items(loader->model_pool));
    metric_set(query_metrics.store_queue, (int64_t)pool_items(loader->store_pool));
}

/* --- concluding --- */

static void conclude(struct read *read)
{
    if (read->failure == READ_GOOD)
        metric_add(query_metrics.loads[read->source], 1);
    read->done(read);
}

static void submit_to_store(struct loader *loader, struct read *read)
{
    metric_add(query_metrics.fallbacks[read->fallback], 1);
    read->source = SOURCE_POSTGRES;
    if (pool_submit(loader->store_pool, &read->item))
        return;
    read->failure = READ_OVERLOADED;
    conclude(read);
}

/* --- the model pool --- */

static bool waits_for_token(const struct read *read)
{
    return read->fallback == FALLBACK_BEHIND && clock_mono_us() < read->patience_us;
}

static void route(struct loader *loader, struct read *read)
{
    if (read->fallback == FALLBACK_NONE) {
        read->source = SOURCE_REDIS;
        conclude(read);
    } else if (waits_for_token(read)) {
        metric_add(query_metrics.token_waits, 1);
        pool_park(loader->model_pool, &read->item);
    } else {
        submit_to_store(loader, read);
    }
}

/* A failure of the whole dependency, or a success, says whether it is usable; the rest says nothing. */
static void note_model(struct loader *loader, const struct read *read)
{
    if (read->fallback == FALLBACK_NONE)
        note(loader, &loader->model_usable, true, "Redis");
    else if (read->fallback == FALLBACK_OPEN || read->fallback == FALLBACK_NOT_LIVE)
        note(loader, &loader->model_usable, false, "Redis");
}

static void work_models(void *state, struct work_item *const *items, size_t count)
{
    struct loader_thread *thread = state;
    struct read *reads[POOL_BATCH_MAX] = {0};
    for (size_t i = 0; i < count; i++)
        reads[i] = read_of(items[i]);
    model_reader_missed(thread->model, atomic_exchange(&thread->loader->missed, 0));
    model_reader_run(thread->model, reads, count);
    for (size_t i = 0; i < count; i++) {
        note_model(thread->loader, reads[i]);
        route(thread->loader, reads[i]);
    }
    show(thread->loader);
}

static void note_positions(struct loader *loader, const struct model_state *models, int64_t seen_ago_us)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        const struct checkpoint *checkpoint = &models->slices[slice];
        atomic_store(&loader->positions[slice], checkpoint->present ? checkpoint->position : -1);
    }
    atomic_store(&loader->seen_us, seen_ago_us >= 0 ? clock_wall_us() - seen_ago_us : 0);
}

static void tick_models(void *state)
{
    struct loader_thread *thread = state;
    struct model_state models;
    int64_t seen_ago_us;
    bool current = model_reader_probe(thread->model, &models, &seen_ago_us);
    note(thread->loader, &thread->loader->model_usable, current, "Redis");
    note_positions(thread->loader, &models, seen_ago_us);
    show(thread->loader);
}

/* --- the store pool --- */

static void note_store(struct loader *loader, const struct read *read)
{
    if (read->failure != READ_UNAVAILABLE)
        note(loader, &loader->store_usable, true, "PostgreSQL");
    else if (breaker_is_open(&loader->store_breaker))
        note(loader, &loader->store_usable, false, "PostgreSQL");
}

/* What Redis did not know, and PostgreSQL did, in a part of the log that the models cover: it was lost. */
static void note_missed(struct loader *loader, const struct read *read, const int64_t models[SLICE_COUNT])
{
    const struct answer *answer = &read->answer;
    enum { MARGIN_S = 86400 };
    int64_t young_us = read->query.now_us - (KEY_KEPT_S - MARGIN_S) * (int64_t)US_PER_S;
    if (read->fallback != FALLBACK_ABSENT || read->failure != READ_GOOD || answer->outcome != ANSWER_FOUND)
        return;
    if (answer->campaigns_count == 1 && read->query.kind == QUERY_CAMPAIGN) {
        int16_t slice = slice_of(answer->campaigns[0].id);
        if (answer->campaigns[0].first <= models[slice])
            atomic_fetch_or(&loader->missed, 1U << slice);
    } else if (answer->coupons_count == 1 &&
               (read->query.kind == QUERY_COUPON || read->query.kind == QUERY_VALIDITY)) {
        const struct coupon *coupon = &answer->coupons[0];
        if (coupon->at.position <= models[coupon->at.slice] && coupon->issued_at_us > young_us)
            atomic_fetch_or(&loader->missed, 1U << coupon->at.slice);
    }
}

static void work_store(void *state, struct work_item *const *items, size_t count)
{
    struct loader_thread *thread = state;
    for (size_t i = 0; i < count; i++) {
        struct read *read = read_of(items[i]);
        int64_t models[SLICE_COUNT]; /* how far they were when Redis was asked */
        memcpy(models, read->stands_on, sizeof models);
        store_reader_run(thread->store, read);
        note_missed(thread->loader, read, models);
        note_store(thread->loader, read);
        conclude(read);
    }
    show(thread->loader);
}

static void tick_store(void *state)
{
    struct loader_thread *thread = state;
    note(thread->loader, &thread->loader->store_usable, store_reader_probe(thread->store), "PostgreSQL");
    show(thread->loader);
}

/* --- life --- */

static bool create_readers(struct loader *loader, char *reason, size_t reason_size)
{
    const struct loader_options *is = &loader->options;
    struct model_reader_options model = {
        .url = is->redis_url, .timeout_ms = is->redis_timeout_ms, .breaker = &loader->redis_breaker};
    struct store_reader_options store = {.url = is->database_url,
                                         .timeout_ms = is->store_timeout_ms,
                                         .past_events_max = is->past_events_max,
                                         .breaker = &loader->store_breaker};
    for (int64_t i = 0; i < is->model_threads; i++) {
        struct loader_thread *thread = &loader->threads[loader->threads_count++];
        *thread = (struct loader_thread){.loader = loader,
                                         .model = model_reader_create(&model, reason, reason_size)};
        if (!thread->model)
            return false;
    }
    for (int64_t i = 0; i < is->store_connections; i++)
        loader->threads[loader->threads_count++] =
            (struct loader_thread){.loader = loader, .store = store_reader_create(&store)};
    return true;
}

static void destroy_readers(struct loader *loader)
{
    for (size_t i = 0; i < loader->threads_count; i++) {
        model_reader_destroy(loader->threads[i].model);
        store_reader_destroy(loader->threads[i].store);
    }
}

static void create_pools(struct loader *loader)
{
    const struct loader_options *is = &loader->options;
    void *states[2 * POOL_THREADS_MAX];
    for (size_t i = 0; i < loader->threads_count; i++)
        states[i] = &loader->threads[i];
    loader->store_pool = pool_create(&(struct pool_options){
        .name = "store",
        .threads = (unsigned)is->store_connections,
        .items_max = (size_t)is->queue_max,
        .state = states + is->model_threads,
        .work = work_store,
        .tick = tick_store,
    });
    loader->model_pool = pool_create(&(struct pool_options){
        .name = "model",
        .threads = (unsigned)is->model_threads,
        .items_max = (size_t)is->queue_max,
        .state = states,
        .work = work_models,
        .tick = tick_models,
    });
}

struct loader *loader_create(const struct loader_options *options, char *reason, size_t reason_size)
{
    CHECK(options->model_threads >= 1 && options->model_threads <= POOL_THREADS_MAX);
    CHECK(options->store_connections >= 1 && options->store_connections <= POOL_THREADS_MAX);
    struct loader *loader = mem_zalloc(sizeof *loader);
    loader->options = *options;
    breaker_init(&loader->redis_breaker);
    breaker_init(&loader->store_breaker);
    if (create_readers(loader, reason, reason_size)) {
        create_pools(loader);
        pool_start(loader->store_pool);
        pool_start(loader->model_pool);
        return loader;
    }
    loader_destroy(loader);
    return NULL;
}

/* In the order of the way, because what the model pool passes on still has to find the store pool. A
 * read with a token that is tried again meanwhile is refused. */
void loader_stop(struct loader *loader)
{
    pool_stop(loader->model_pool);
    pool_stop(loader->store_pool);
}

/* Freed only when both stand still, because each tick shows the length of both. */
void loader_destroy(struct loader *loader)
{
    if (!loader)
        return;
    loader_stop(loader);
    pool_destroy(loader->model_pool);
    pool_destroy(loader->store_pool);
    destroy_readers(loader);
    breaker_deinit(&loader->redis_breaker);
    breaker_deinit(&loader->store_breaker);
    mem_free(loader);
}

void loader_submit(struct loader *loader, struct read *read)
{
    read->began_us = clock_mono_us();
    read->source = SOURCE_REDIS;
    read->fallback = FALLBACK_NONE;
    read->failure = READ_GOOD;
    if (read->query.past.kind != PAST_NONE) {
        read->fallback = FALLBACK_PAST;
        submit_to_store(loader, read);
        return;
    }
    if (pool_submit(loader->model_pool, &read->item))
        return;
    read->failure = READ_OVERLOADED;
    conclude(read);
}

bool loader_models_usable(const struct loader *loader)
{
    return atomic_load_explicit(&loader->model_usable, memory_order_relaxed);
}

void loader_facts(struct loader *loader, struct loader_facts *ret)
{
    *ret = (struct loader_facts){
        .redis_usable = atomic_load(&loader->model_usable),
        .store_usable = atomic_load(&loader->store_usable),
        .redis_open = breaker_is_open(&loader->redis_breaker),
        .store_open = breaker_is_open(&loader->store_breaker),
        .redis_queue = pool_items(loader->model_pool),
        .store_queue = pool_items(loader->store_pool),
        .redis_busy = pool_busy(loader->model_pool),
        .store_busy = pool_busy(loader->store_pool),
        .seen_us = atomic_load(&loader->seen_us),
    };
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        ret->positions[slice] = atomic_load(&loader->positions[slice]);
}
