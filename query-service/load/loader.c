/* SPDX-License-Identifier: Apache-2.0 */
/* The pools of a lane and the way of a read through them:
 *
 *   submit -> model pool -> done                 Redis knew
 *                  |  ^-- parked a moment        its checkpoint is just before the consistency token
 *                  v
 *             store pool -> done                 Redis did not know, or may not be asked
 *                  |
 *                  +-> model pool -> done        PostgreSQL does not answer, and all that was wrong with the
 *                                                models is that nobody has looked after them lately
 *
 * With several shards there is a store pool for each, so that one that is slow or away keeps only its own
 * reads. A read of slices that are in several of them is read in parts, at once, and joined.
 *
 * A read that no thread takes by its deadline is ended by the pool, and one that a thread has taken by the
 * reader, which asks nobody for longer than there is time (I11). */
#include "query-service/load/loader.h"

#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "query-service/metrics.h"
#include "query-service/pg/store_reader.h"
#include "query-service/redis/model_reader.h"
#include "query-service/redis/model_watch.h"

enum lane_name { LANE_QUICK, LANE_DEAR, LANE_COUNT };
enum { DEAR_BATCH_MAX = 4, DEAR_MORE_MS = 200 /* than a batch of quick ones has */ };
enum { CONNECT_TIMEOUTS = 8 /* of a batch: how long connecting may take, which no read waits for */ };

struct lane {
    struct loader *loader;
    struct breaker redis_breaker, store_breakers[SHARDS_MAX];
    struct worker_pool *models, *stores[SHARDS_MAX]; /* by the shard's number */
    int64_t redis_timeout_ms;
};

/* What a thread of a pool owns. */
struct loader_thread {
    struct lane *lane;
    size_t shard;               /* threads of a store pool: its number */
    struct model_reader *model; /* threads of a model pool */
    struct store_reader *store; /* threads of a store pool */
};

struct loader {
    struct loader_options options;
    struct model_watch *watch;
    struct lane lanes[LANE_COUNT];
    struct loader_thread *threads;
    size_t threads_count;
    atomic_bool model_usable, servers_away, store_usable[SHARDS_MAX];
    _Atomic int64_t positions[SLICE_COUNT], seen_us; /* as the last probe of Redis found them */
};

static struct read *read_of(struct work_item *item)
{
    return (struct read *)item; /* its first member */
}

/* --- readiness --- */

/* What comes back for quick questions is back for dear ones too: their breaker does not wait for its own
 * time. */
static void note(struct loader *loader, atomic_bool *which, bool usable, struct breaker *dear,
                 const char *what)
{
    bool any_store = false;
    if (atomic_exchange(which, usable) != usable) {
        if (usable)
            breaker_success(dear);
        log_info("DEPENDENCY", "%s is %s", what, usable ? "usable" : "not usable");
    }
    for (size_t i = 0; i < loader->options.shards->count; i++)
        any_store |= atomic_load(&loader->store_usable[i]);
    loader->options.ready(atomic_load(&loader->model_usable) || any_store);
}

static void note_redis(struct loader *loader, bool usable)
{
    note(loader, &loader->model_usable, usable, &loader->lanes[LANE_DEAR].redis_breaker, "Redis");
}

static void note_shard(struct loader *loader, size_t shard, bool usable)
{
    char what[SHARD_NAME_MAX + 32] = "PostgreSQL";
    if (loader->options.shards->count > 1)
        snprintf(what, sizeof what, "PostgreSQL of slices %s", loader->options.shards->list[shard].name);
    note(loader, &loader->store_usable[shard], usable, &loader->lanes[LANE_DEAR].store_breakers[shard], what);
}

/* Of any shard. */
static bool store_is_open(struct loader *loader)
{
    bool open = false;
    for (size_t i = 0; i < loader->options.shards->count; i++)
        open |= breaker_is_open(&loader->lanes[LANE_QUICK].store_breakers[i]);
    return open;
}

static size_t store_items(const struct loader *loader, const struct lane *lane)
{
    size_t items = 0;
    for (size_t i = 0; i < loader->options.shards->count; i++)
        items += pool_items(lane->stores[i]);
    return items;
}

static void show(struct loader *loader)
{
    metric_set(query_metrics.redis_open, breaker_is_open(&loader->lanes[LANE_QUICK].redis_breaker));
    metric_set(query_metrics.store_open, store_is_open(loader));
    for (size_t i = 0; i < LANE_COUNT; i++) {
        metric_set(query_metrics.model_queue[i], (int64_t)pool_items(loader->lanes[i].models));
        metric_set(query_metrics.store_queue[i], (int64_t)store_items(loader, &loader->lanes[i]));
    }
}

/* --- concluding --- */

static void conclude(struct read *read)
{
    if (read->failure == READ_GOOD)
        metric_add(query_metrics.loads[read->source], 1);
    read->done(read);
}

static void fail(struct read *read, enum read_failure failure)
{
    read->failure = failure;
    conclude(read);
}

static void expire(void *context, struct work_item *item)
{
    (void)context;
    fail(read_of(item), READ_UNAVAILABLE);
}

/* PostgreSQL does not answer. Where Redis only was not asked because nobody looked after the models for too
 * long, which no projector can without PostgreSQL, what they say is told, with its age. */
static void fail_or_ask_old_models(struct lane *lane, struct read *read, enum read_failure failure)
{
    if (read->fallback == FALLBACK_OLD && read->kept_ms > SEEN_MS && !read->last_resort &&
        read->query.kind != QUERY_VALIDITY) {
        read->last_resort = true;
        read->failure = READ_GOOD;
        if (pool_submit(lane->models, &read->item))
            return;
    }
    fail(read, failure);
}

/* --- in parts --- */

struct join {
    struct lane *lane;
    struct read *whole;
    atomic_size_t left;
};

/* The last one joins them all: a list without what a shard has would be a wrong one. */
static void part_done(struct read *part)
{
    struct join *join = part->owner;
    if (atomic_fetch_sub(&join->left, 1) > 1)
        return;
    struct read *whole = join->whole;
    struct lane *lane = join->lane;
    mem_free(join);
    read_join(whole);
    if (whole->failure == READ_UNAVAILABLE || whole->failure == READ_OVERLOADED) {
        fail_or_ask_old_models(lane, whole, whole->failure);
        return;
    }
    if (whole->failure == READ_GOOD)
        store_reader_cut(whole);
    conclude(whole);
}

static void submit_parts(struct lane *lane, struct read *read)
{
    const struct shards *shards = lane->loader->options.shards;
    struct join *join = mem_zalloc(sizeof *join);
    struct read *parts[SHARDS_MAX];
    *join = (struct join){.lane = lane, .whole = read};
    atomic_init(&join->left, shards->count);
    read_forget_parts(read); /* of an attempt before */
    for (size_t i = 0; i < shards->count; i++) {
        parts[i] = read_add_part(read);
        parts[i]->owner = join;
        parts[i]->done = part_done;
    }
    for (size_t i = 0; i < shards->count; i++) /* after the last one all of it may be gone */
        if (!pool_submit(lane->stores[i], &parts[i]->item)) {
            parts[i]->failure = READ_OVERLOADED;
            part_done(parts[i]);
        }
}

static void submit_to_store(struct loader *loader, struct read *read)
{
    const struct shards *shards = loader->options.shards;
    struct lane *lane = &loader->lanes[query_is_dear(&read->query, true) ? LANE_DEAR : LANE_QUICK];
    unsigned slices = query_slices(&read->query);
    size_t shard = shards->of[__builtin_ctz(slices)];
    metric_add(query_metrics.fallbacks[read->fallback], 1);
    read->source = SOURCE_POSTGRES;
    if (slices & ~shards->list[shard].slices)
        submit_parts(lane, read);
    else if (!pool_submit(lane->stores[shard], &read->item))
        fail_or_ask_old_models(lane, read, READ_OVERLOADED);
}

/* --- model pools --- */

static bool waits_for_token(const struct read *read)
{
    return read->fallback == FALLBACK_BEHIND && clock_mono_us() < read->token_wait_until_us;
}

static void route(struct lane *lane, struct read *read)
{
    if (read->fallback == FALLBACK_NONE) {
        read->source = SOURCE_REDIS;
        conclude(read);
    } else if (read->last_resort) {
        fail(read, READ_UNAVAILABLE);
    } else if (waits_for_token(read)) {
        metric_add(query_metrics.token_waits, 1);
        pool_park(lane->models, &read->item);
    } else {
        submit_to_store(lane->loader, read);
    }
}

/* A failure of the whole dependency, or a success, says whether it is usable; the rest says nothing. */
static void note_model(struct loader *loader, const struct read *read)
{
    if (read->fallback == FALLBACK_NONE)
        note_redis(loader, true);
    else if (read->fallback == FALLBACK_OPEN || read->fallback == FALLBACK_NOT_LIVE)
        note_redis(loader, false);
}

/* Who has less time left than Redis may take is answered now. */
static void work_models(void *state, struct work_item *const *items, size_t count)
{
    struct loader_thread *thread = state;
    struct lane *lane = thread->lane;
    struct read *reads[POOL_BATCH_MAX] = {0};
    size_t reads_count = 0;
    int64_t until_us = clock_deadline_us(lane->redis_timeout_ms);
    for (size_t i = 0; i < count; i++)
        if (items[i]->deadline_us < until_us)
            fail(read_of(items[i]), READ_UNAVAILABLE);
        else
            reads[reads_count++] = read_of(items[i]);
    if (reads_count)
        model_reader_run(thread->model, reads, reads_count);
    for (size_t i = 0; i < reads_count; i++) {
        if (lane == &lane->loader->lanes[LANE_QUICK] && !reads[i]->last_resort)
            note_model(lane->loader, reads[i]);
        route(lane, reads[i]);
    }
    show(lane->loader);
}

static void note_positions(struct loader *loader, const struct model_state *models)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        const struct checkpoint *checkpoint = models ? &models->slices[slice] : NULL;
        bool present = checkpoint && checkpoint->present;
        atomic_store(&loader->positions[slice], present ? checkpoint->position : -1);
    }
    atomic_store(&loader->servers_away, models && models->away);
    unsigned answered = models ? ((1U << SLICE_COUNT) - 1) & ~models->away : 0;
    int64_t ago_ms = answered ? model_state_seen_ago_ms(models, answered) : INT64_MAX;
    bool known = ago_ms != INT64_MAX;
    atomic_store(&loader->seen_us, known ? clock_mono_us() - ago_ms * US_PER_MS : 0);
}

static void note_look(void *context, bool current, const struct model_state *models)
{
    struct loader *loader = context;
    note_redis(loader, current);
    note_positions(loader, models);
    show(loader);
}

/* --- store pools --- */

static void note_store(const struct loader_thread *thread, const struct read *read)
{
    struct lane *lane = thread->lane;
    struct loader *loader = lane->loader;
    if (read->failure != READ_UNAVAILABLE)
        note_shard(loader, thread->shard, true);
    else if (lane == &loader->lanes[LANE_QUICK] && breaker_is_open(&lane->store_breakers[thread->shard]))
        note_shard(loader, thread->shard, false);
}

/* Whether Redis had all of these coupons of one slice for sure: the models cover them, and none has come to
 * its end. */
static bool all_kept(const struct read *read, const int64_t models[SLICE_COUNT])
{
    const struct answer *answer = &read->answer;
    enum { MARGIN_S = 86400 };
    int64_t young_us = read->query.now_us - (KEY_KEPT_S - MARGIN_S) * (int64_t)US_PER_S;
    for (size_t i = 0; i < answer->coupons_count; i++) {
        const struct coupon *coupon = &answer->coupons[i];
        if (coupon->at.position > models[coupon->at.slice] || coupon->issued_at_us <= young_us)
            return false;
    }
    return answer->coupons_count > 0;
}

/* What Redis did not know, and PostgreSQL did, in a part of the log that the models cover: it was lost. Of a
 * user's coupons, which are of many slices, the reader of the models tells this itself. */
static void note_missed(struct loader *loader, const struct read *read, const int64_t models[SLICE_COUNT])
{
    const struct answer *answer = &read->answer;
    if (read->fallback != FALLBACK_ABSENT || read->failure != READ_GOOD || answer->outcome != ANSWER_FOUND)
        return;
    if (answer->campaigns_count == 1 && read->query.kind == QUERY_CAMPAIGN) {
        int16_t slice = slice_of(answer->campaigns[0].id);
        if (answer->campaigns[0].first <= models[slice])
            model_watch_hole(loader->watch, slice, 0);
    } else if (read->query.kind != QUERY_USER_COUPONS && all_kept(read, models)) {
        model_watch_hole(loader->watch, answer->coupons[0].at.slice, 0);
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
        note_missed(thread->lane->loader, read, models);
        note_store(thread, read);
        if (read->is_part)
            read->done(read);
        else if (read->failure == READ_UNAVAILABLE)
            fail_or_ask_old_models(thread->lane, read, READ_UNAVAILABLE);
        else
            conclude(read);
    }
    show(thread->lane->loader);
}

static void tick_store(void *state)
{
    struct loader_thread *thread = state;
    struct loader *loader = thread->lane->loader;
    bool usable = store_reader_probe(thread->store);
    if (thread->lane == &loader->lanes[LANE_QUICK])
        note_shard(loader, thread->shard, usable);
    show(loader);
}

/* --- life --- */

static void create_models(struct lane *lane, int64_t threads, size_t batch_max, int64_t queue_max)
{
    struct loader *loader = lane->loader;
    struct model_reader_options options = {
        .watch = loader->watch, .timeout_ms = lane->redis_timeout_ms, .breaker = &lane->redis_breaker};
    void *states[POOL_THREADS_MAX];
    for (int64_t i = 0; i < threads; i++) {
        loader->threads[loader->threads_count] =
            (struct loader_thread){.lane = lane, .model = model_reader_create(&options)};
        states[i] = &loader->threads[loader->threads_count++];
    }
    lane->models = pool_create(&(struct pool_options){.name = "models",
                                                      .threads = (unsigned)threads,
                                                      .items_max = (size_t)queue_max,
                                                      .batch_max = batch_max,
                                                      .state = states,
                                                      .work = work_models,
                                                      .expire = expire});
}

/* Each thread takes one read at a time: a batch would only keep what is behind the first from the others. */
static void create_store(struct lane *lane, size_t shard, int64_t connections, int64_t queue_max)
{
    struct loader *loader = lane->loader;
    const struct loader_options *is = &loader->options;
    struct store_reader_options options = {.shard = &is->shards->list[shard],
                                           .timeout_ms = is->store_timeout_ms,
                                           .past_events_max = is->past_events_max,
                                           .breaker = &lane->store_breakers[shard]};
    void *states[POOL_THREADS_MAX];
    for (int64_t i = 0; i < connections; i++) {
        loader->threads[loader->threads_count] =
            (struct loader_thread){.lane = lane, .shard = shard, .store = store_reader_create(&options)};
        states[i] = &loader->threads[loader->threads_count++];
    }
    lane->stores[shard] = pool_create(&(struct pool_options){.name = "store",
                                                             .threads = (unsigned)connections,
                                                             .items_max = (size_t)queue_max,
                                                             .batch_max = 1,
                                                             .state = states,
                                                             .work = work_store,
                                                             .expire = expire,
                                                             .tick = tick_store});
}

static bool create_lanes(struct loader *loader, char *reason, size_t reason_size)
{
    const struct loader_options *is = &loader->options;
    struct lane *quick = &loader->lanes[LANE_QUICK], *dear = &loader->lanes[LANE_DEAR];
    quick->redis_timeout_ms = is->redis_timeout_ms;
    dear->redis_timeout_ms = is->redis_timeout_ms + DEAR_MORE_MS;
    loader->watch = model_watch_create(
        &(struct model_watch_options){.url = is->redis_url,
                                      .timeout_ms = is->redis_timeout_ms,
                                      .connect_ms = CONNECT_TIMEOUTS * is->redis_timeout_ms,
                                      .breaker = &quick->redis_breaker,
                                      .found = note_look,
                                      .context = loader},
        reason, reason_size);
    if (!loader->watch)
        return false;
    create_models(quick, is->model_threads, POOL_BATCH_MAX, is->queue_max);
    create_models(dear, LOADER_DEAR_THREADS, DEAR_BATCH_MAX, LOADER_DEAR_QUEUE_MAX);
    for (size_t i = 0; i < is->shards->count; i++) {
        create_store(quick, i, is->store_connections, is->queue_max);
        create_store(dear, i, LOADER_DEAR_CONNECTIONS, LOADER_DEAR_QUEUE_MAX);
    }
    return true;
}

struct loader *loader_create(const struct loader_options *options, char *reason, size_t reason_size)
{
    struct loader *loader = mem_zalloc(sizeof *loader);
    loader->options = *options;
    size_t threads = (size_t)options->model_threads + LOADER_DEAR_THREADS +
                     options->shards->count * ((size_t)options->store_connections + LOADER_DEAR_CONNECTIONS);
    loader->threads = mem_zalloc(threads * sizeof *loader->threads);
    for (size_t i = 0; i < LANE_COUNT; i++) {
        loader->lanes[i].loader = loader;
        breaker_init(&loader->lanes[i].redis_breaker);
        for (size_t shard = 0; shard < options->shards->count; shard++)
            breaker_init(&loader->lanes[i].store_breakers[shard]);
    }
    if (!create_lanes(loader, reason, reason_size)) {
        loader_destroy(loader);
        return NULL;
    }
    for (size_t i = 0; i < LANE_COUNT; i++) {
        for (size_t shard = 0; shard < options->shards->count; shard++)
            pool_start(loader->lanes[i].stores[shard]);
        pool_start(loader->lanes[i].models);
    }
    model_watch_start(loader->watch);
    return loader;
}

/* In the order of the way, because what the model pools pass on still has to find the store pools. A read
 * with a token that is tried again meanwhile is refused. */
void loader_stop(struct loader *loader)
{
    model_watch_stop(loader->watch);
    for (size_t i = 0; i < LANE_COUNT; i++)
        pool_stop(loader->lanes[i].models);
    for (size_t i = 0; i < LANE_COUNT; i++)
        for (size_t shard = 0; shard < loader->options.shards->count; shard++)
            pool_stop(loader->lanes[i].stores[shard]);
}

/* Freed only when all stand still, because each tick shows the length of all. */
void loader_destroy(struct loader *loader)
{
    if (!loader)
        return;
    loader_stop(loader);
    for (size_t i = 0; i < loader->threads_count; i++) {
        model_reader_destroy(loader->threads[i].model);
        store_reader_destroy(loader->threads[i].store);
    }
    model_watch_destroy(loader->watch);
    for (size_t i = 0; i < LANE_COUNT; i++) {
        struct lane *lane = &loader->lanes[i];
        pool_destroy(lane->models);
        breaker_deinit(&lane->redis_breaker);
        for (size_t shard = 0; shard < loader->options.shards->count; shard++) {
            pool_destroy(lane->stores[shard]);
            breaker_deinit(&lane->store_breakers[shard]);
        }
    }
    mem_free(loader->threads);
    mem_free(loader);
}

void loader_submit(struct loader *loader, struct read *read)
{
    read->began_us = clock_mono_us();
    read->source = SOURCE_REDIS;
    read->fallback = FALLBACK_NONE;
    read->failure = READ_GOOD;
    read->last_resort = false; /* it may come a second time */
    read->models_age_us = 0;
    read_forget_parts(read); /* of that the first time */
    if (read->query.past.kind != PAST_NONE) {
        read->fallback = FALLBACK_PAST;
        submit_to_store(loader, read);
        return;
    }
    read->query.now_us = log_time_us(loader->options.time, read->began_us);
    struct lane *lane = &loader->lanes[query_is_dear(&read->query, false) ? LANE_DEAR : LANE_QUICK];
    if (!pool_submit(lane->models, &read->item))
        fail(read, READ_OVERLOADED);
}

bool loader_models_usable(const struct loader *loader)
{
    return atomic_load_explicit(&loader->model_usable, memory_order_relaxed);
}

void loader_facts(struct loader *loader, struct loader_facts *ret)
{
    *ret = (struct loader_facts){
        .redis_usable = atomic_load(&loader->model_usable),
        .redis_partly = atomic_load(&loader->servers_away),
        .store_usable = true,
        .redis_open = breaker_is_open(&loader->lanes[LANE_QUICK].redis_breaker),
        .store_open = store_is_open(loader),
        .seen_us = atomic_load(&loader->seen_us),
    };
    for (size_t i = 0; i < LANE_COUNT; i++) {
        ret->redis_queue += pool_items(loader->lanes[i].models);
        ret->store_queue += store_items(loader, &loader->lanes[i]);
        ret->redis_busy += pool_busy(loader->lanes[i].models);
        for (size_t shard = 0; shard < loader->options.shards->count; shard++)
            ret->store_busy += pool_busy(loader->lanes[i].stores[shard]);
    }
    for (size_t shard = 0; shard < loader->options.shards->count; shard++)
        ret->store_usable &= atomic_load(&loader->store_usable[shard]);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        ret->positions[slice] = atomic_load(&loader->positions[slice]);
}
