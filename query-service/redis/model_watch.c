/* SPDX-License-Identifier: Apache-2.0 */
/* The thread: connects what is to be connected, and looks in between. */
#include "query-service/redis/model_watch.h"

#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "query-service/load/worker_pool.h"
#include "query-service/metrics.h"
#include "query-service/redis/model_pipe.h"

enum {
    CONNECTIONS_MAX = 2 * POOL_THREADS_MAX,
    LOOK_MS = 500,
    TELL_MS = 20,   /* from a hole to the look that tells of it, and of those that come meanwhile */
    RETRY_MS = 250, /* to twice that, after an attempt to connect that failed */
};

struct connections {
    struct redis *items[CONNECTIONS_MAX];
    size_t count;
};

struct model_watch {
    struct model_watch_options options;
    struct model_pipe pipe; /* its own */
    pthread_mutex_t lock;   /* of what follows */
    pthread_cond_t wake;
    struct connections lost, ready; /* the readers' */
    struct model_state known;       /* as the last look found it that was answered */
    int64_t holes[SLICE_COUNT];     /* generations; 0: none */
    int64_t look_us, connect_us;    /* when it is to look, and may connect */
    bool stopping, started;
    unsigned away; /* the thread's own: as the last look found it */
    bool untold;   /* the thread's own: the last hole was not taken down */
    pthread_t thread;
};

static void push(struct connections *connections, struct redis *redis)
{
    CHECK(connections->count < CONNECTIONS_MAX);
    connections->items[connections->count++] = redis;
}

static struct redis *pop(struct connections *connections)
{
    return connections->count ? connections->items[--connections->count] : NULL;
}

/* --- what the thread does, without the lock --- */

static bool connect_one(struct model_watch *watch, struct redis *redis)
{
    enum redis_status status = redis_connect(redis, clock_deadline_us(watch->options.connect_ms));
    if (status == REDIS_OK)
        return true;
    metric_add(query_metrics.redis_errors[status], 1);
    log_warn("REDIS-FAILED", "connecting: %s", redis_error(redis));
    breaker_failure(watch->options.breaker, clock_mono_us());
    return false;
}

/* Once when it begins: what is missing stays so, and each read of it comes here. */
static void note_untold(struct model_watch *watch, bool untold)
{
    if (untold && !watch->untold)
        log_warn("HOLE-UNTOLD",
                 "Redis does not take down what is missing in the models, so it is not made anew: %s",
                 redis_error(watch->pipe.redis));
    watch->untold = untold;
}

/* A word in Redis, because only that is always there between readers and projector. */
static bool tell_holes(struct model_watch *watch, const int64_t holes[SLICE_COUNT])
{
    const struct redis_reply *reply;
    struct model_pipe *pipe = &watch->pipe;
    size_t sent = 0;
    bool told = true;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!holes[slice])
            continue;
        key_hole(pipe_key(pipe), slice);
        redis_arg_i64(pipe_command(pipe, "SET"), holes[slice]);
        redis_send(pipe->redis, &pipe->command);
        sent++;
    }
    if (sent == 0)
        return true;
    for (; sent > 0; sent--) {
        enum redis_status status = redis_receive(pipe->redis, pipe->deadline_us, &reply);
        if (status != REDIS_OK)
            metric_add(query_metrics.redis_errors[status], 1);
        told = told && status == REDIS_OK;
        if (status == REDIS_LOST)
            break;
    }
    note_untold(watch, !told);
    return told;
}

/* Once when it begins and once when it ends. */
static void note_away(struct model_watch *watch, unsigned away)
{
    if (away & ~watch->away)
        log_warn("REDIS-AWAY", "a server of the cluster does not answer, PostgreSQL does for its slices: %s",
                 redis_error(watch->pipe.redis));
    else if (watch->away && !away)
        log_info("REDIS-AWAY-BACK", "all servers of the cluster answer");
    watch->away = away;
}

static bool ask(struct model_watch *watch, struct model_state *ret)
{
    const unsigned all = (1U << SLICE_COUNT) - 1;
    watch->pipe.deadline_us = clock_deadline_us(watch->options.timeout_ms);
    pipe_ask_state(&watch->pipe, all, true);
    return pipe_take_state(&watch->pipe, all, true, ret);
}

/* True where Redis answered, and was told of the holes. */
static bool look(struct model_watch *watch, const int64_t holes[SLICE_COUNT])
{
    const struct query anything = {.kind = QUERY_CAMPAIGNS};
    struct model_state models = {0};
    struct breaker *breaker = watch->options.breaker;
    bool connected = breaker_allows(breaker, clock_mono_us()) &&
                     (redis_connected(watch->pipe.redis) || connect_one(watch, watch->pipe.redis));
    bool answered = connected && ask(watch, &models), told = false;
    answered = answered && redis_connected(watch->pipe.redis);
    if (answered) {
        breaker_success(breaker);
        note_away(watch, models.away);
        watch->pipe.deadline_us = clock_deadline_us(watch->options.connect_ms);
        told = tell_holes(watch, holes);
        pthread_mutex_lock(&watch->lock);
        watch->known = models;
        pthread_mutex_unlock(&watch->lock);
    } else if (connected) {
        breaker_failure(breaker, clock_mono_us());
        redis_disconnect(watch->pipe.redis);
    }
    enum fallback verdict = model_state_judge(&models, &anything, SEEN_MS);
    watch->options.found(watch->options.context,
                         answered && (verdict == FALLBACK_NONE || verdict == FALLBACK_AWAY),
                         answered ? &models : NULL);
    return told;
}

/* --- the thread --- */

static void look_now(struct model_watch *watch)
{
    int64_t holes[SLICE_COUNT];
    memcpy(holes, watch->holes, sizeof holes);
    memset(watch->holes, 0, sizeof watch->holes);
    watch->look_us = clock_deadline_us(LOOK_MS);
    pthread_mutex_unlock(&watch->lock);
    bool told = look(watch, holes);
    pthread_mutex_lock(&watch->lock);
    for (int slice = 0; slice < SLICE_COUNT && !told; slice++)
        if (!watch->holes[slice])
            watch->holes[slice] = holes[slice];
}

static void connect_next(struct model_watch *watch)
{
    struct redis *redis = pop(&watch->lost);
    pthread_mutex_unlock(&watch->lock);
    bool connected = connect_one(watch, redis);
    pthread_mutex_lock(&watch->lock);
    push(connected ? &watch->ready : &watch->lost, redis);
    watch->connect_us = connected ? 0 : clock_deadline_us(RETRY_MS + crypto_random_below(RETRY_MS));
}

static void *run(void *context)
{
    struct model_watch *watch = context;
    pthread_setname_np(pthread_self(), "redis-watch");
    pthread_mutex_lock(&watch->lock);
    while (!watch->stopping) {
        int64_t now_us = clock_mono_us(), until_us = watch->look_us;
        if (now_us >= watch->look_us) {
            look_now(watch);
        } else if (watch->lost.count && now_us >= watch->connect_us) {
            connect_next(watch);
        } else {
            if (watch->lost.count && watch->connect_us < until_us)
                until_us = watch->connect_us;
            (void)cond_wait_until(&watch->wake, &watch->lock, until_us);
        }
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

/* --- life --- */

struct model_watch *model_watch_create(const struct model_watch_options *options, char *reason,
                                       size_t reason_size)
{
    struct redis *redis = redis_create(options->url, reason, reason_size);
    if (!redis)
        return NULL;
    struct model_watch *watch = mem_zalloc(sizeof *watch);
    watch->options = *options;
    pipe_init(&watch->pipe);
    watch->pipe.redis = redis;
    CHECK(pthread_cond_init(&watch->wake, NULL) == 0 && pthread_mutex_init(&watch->lock, NULL) == 0);
    return watch;
}

void model_watch_start(struct model_watch *watch)
{
    watch->started = true;
    CHECK(pthread_create(&watch->thread, NULL, run, watch) == 0);
}

void model_watch_stop(struct model_watch *watch)
{
    if (!watch || !watch->started)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->stopping = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    watch->started = false;
}

void model_watch_destroy(struct model_watch *watch)
{
    struct redis *redis;
    if (!watch)
        return;
    model_watch_stop(watch);
    while ((redis = pop(&watch->lost)) || (redis = pop(&watch->ready)))
        redis_destroy(redis);
    redis_destroy(watch->pipe.redis);
    pipe_deinit(&watch->pipe);
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    mem_free(watch);
}

/* --- the readers --- */

void model_watch_want(struct model_watch *watch)
{
    char reason[128];
    struct redis *redis = redis_create(watch->options.url, reason, sizeof reason);
    CHECK(redis != NULL); /* the URL was parsed before */
    model_watch_give_back(watch, redis);
}

struct redis *model_watch_take(struct model_watch *watch, struct model_state *ret_known)
{
    pthread_mutex_lock(&watch->lock);
    struct redis *redis = pop(&watch->ready);
    if (redis)
        *ret_known = watch->known;
    pthread_mutex_unlock(&watch->lock);
    return redis;
}

void model_watch_give_back(struct model_watch *watch, struct redis *redis)
{
    pthread_mutex_lock(&watch->lock);
    push(&watch->lost, redis);
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
}

void model_watch_hole(struct model_watch *watch, int16_t slice, int64_t generation)
{
    int64_t soon_us = clock_deadline_us(TELL_MS);
    pthread_mutex_lock(&watch->lock);
    watch->holes[slice] = generation ? generation : watch->known.slices[slice].generation;
    if (soon_us < watch->look_us) {
        watch->look_us = soon_us;
        pthread_cond_signal(&watch->wake);
    }
    pthread_mutex_unlock(&watch->lock);
}
