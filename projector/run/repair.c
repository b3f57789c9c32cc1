/* SPDX-License-Identifier: Apache-2.0 */
/* The thread, and when it may begin. */
#include "projector/run/repair.h"

#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "projector/rebuild/generations.h"

enum {
    REST_MIN_MS = 1000,
    REST_LONG_MS = 10000,          /* at most, where making it takes next to nothing */
    REST_SHARE = 10 * SLICE_COUNT, /* all slices together take a tenth of the time */
    REDIS_MS = 1000,
    LOOK_MS = 200,
};

struct repair {
    struct builder *builder;
    const struct projector_metrics *metrics;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    _Atomic bool stopping;
    unsigned asked, foreign;               /* under the mutex */
    bool drop_asked;                       /* under the mutex */
    int64_t asked_of[SLICE_COUNT];         /* under the mutex: in which generation something is missing */
    int64_t asked_us[SLICE_COUNT];         /* under the mutex: since when; monotonic */
    struct repair_rest rests[SLICE_COUNT]; /* the thread's own */
};

bool repair_rests(const struct repair_rest *rest, int64_t now_us)
{
    return now_us < rest->until_us;
}

void repair_rest(struct repair_rest *rest, const struct repair_done *done)
{
    int64_t most_ms = REST_SHARE * (done->ended_us - done->began_us) / US_PER_MS;
    bool held = done->live != rest->made || done->asked_us - rest->until_us > rest->ms * US_PER_MS;
    if (most_ms < REST_LONG_MS)
        most_ms = REST_LONG_MS;
    rest->ms = rest->ms && !(held && done->made) ? 2 * rest->ms : REST_MIN_MS;
    if (rest->ms > most_ms)
        rest->ms = most_ms;
    rest->until_us = done->ended_us + rest->ms * US_PER_MS;
    rest->made = done->made ? done->made : rest->made;
}

static bool go_on(void *context, enum build_phase phase, int64_t position, int64_t limit)
{
    struct repair *repair = context;
    (void)phase, (void)position, (void)limit;
    return !atomic_load(&repair->stopping);
}

/* What is on a server that is away stays until the next: other slices do not wait for it. */
static enum redis_status drop(struct repair *repair, int64_t *ret_dropped)
{
    enum redis_status status = builder_drop(repair->builder, ret_dropped);
    return status == REDIS_AWAY ? REDIS_OK : status;
}

/* What a build that was interrupted has left goes; then this one is written down. It gets no number where
 * another generation is live than the one in which something is missing. */
static enum redis_status begin(struct repair *repair, int16_t slice, int64_t live, struct generation *ret)
{
    struct redis_writer *writer = builder_writer(repair->builder);
    struct generations generations = {0};
    int64_t dropped;
    *ret = (struct generation){.state = GENERATION_BUILDING, .name = "repair", .limit = "head"};
    enum redis_status status = redis_writer_connect(writer, clock_deadline_us(REDIS_MS));
    if (status == REDIS_OK)
        status = generations_forget_interrupted(writer, clock_deadline_us(REDIS_MS), &generations);
    if (status == REDIS_OK)
        status = drop(repair, &dropped);
    if (status == REDIS_OK && generations.unknown >> slice & 1)
        status = REDIS_AWAY;
    if (status != REDIS_OK)
        return status;
    if (generations.live[slice] != live)
        return REDIS_OK;
    ret->number = generations_next(&generations, clock_wall_us());
    return generations_put(writer, ret, clock_deadline_us(REDIS_MS));
}

static enum redis_status end(struct repair *repair, const struct generation *generation)
{
    struct redis_writer *writer = builder_writer(repair->builder);
    int64_t dropped;
    enum redis_status status = redis_writer_connect(writer, clock_deadline_us(REDIS_MS));
    if (status == REDIS_OK)
        status = generations_remove(writer, generation->number, clock_deadline_us(REDIS_MS));
    return status == REDIS_OK ? drop(repair, &dropped) : status;
}

static void make_anew(struct repair *repair, int16_t slice, bool may_go_back, struct repair_done *done)
{
    bool locked = false;
    struct generation generation;
    if (builder_lock(repair->builder, &locked) != PG_OK || !locked)
        return; /* a rebuild is running: it may be what is wanted */
    enum redis_status status = begin(repair, slice, done->live, &generation);
    done->in_vain = status == REDIS_OK && generation.number == 0;
    if (status == REDIS_OK && generation.number > 0) {
        struct build build = {.slice = slice,
                              .generation = generation.number,
                              .may_go_back = may_go_back,
                              .progress = go_on,
                              .context = repair};
        enum build_result result = builder_run(repair->builder, &build);
        if (result == BUILD_DONE)
            log_info("MODELS-ANEW", "slice %d is made anew: generation %lld", slice,
                     (long long)generation.number);
        else
            log_warn("MODELS-ANEW-FAILED", "slice %d: %s", slice, builder_error(repair->builder));
        if (result == BUILD_DONE) {
            metric_add(repair->metrics->restarts, 1);
            done->made = generation.number;
        }
        status = end(repair, &generation);
    }
    if (status != REDIS_OK)
        log_warn("MODELS-ANEW-FAILED", "slice %d: Redis, class %s", slice, redis_status_label(status));
    pg_disconnect(builder_pg(repair->builder)); /* and with it the lock */
}

static void drop_left_over(struct repair *repair)
{
    bool locked = false;
    int64_t dropped = 0;
    if (builder_lock(repair->builder, &locked) == PG_OK && locked && drop(repair, &dropped) == REDIS_OK &&
        dropped > 0)
        log_info("MODELS-DROPPED", "%lld keys of models that nobody needs", (long long)dropped);
    pg_disconnect(builder_pg(repair->builder));
}

static int16_t next_slice(struct repair *repair, int64_t now_us)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (repair->asked >> slice & 1 && !repair_rests(&repair->rests[slice], now_us))
            return slice;
    return -1;
}

static void *work(void *context)
{
    struct repair *repair = context;
    pthread_setname_np(pthread_self(), "repair");
    pthread_mutex_lock(&repair->mutex);
    while (!atomic_load(&repair->stopping)) {
        int16_t slice = next_slice(repair, clock_mono_us());
        if (repair->drop_asked) {
            repair->drop_asked = false;
            pthread_mutex_unlock(&repair->mutex);
            drop_left_over(repair);
            pthread_mutex_lock(&repair->mutex);
            continue;
        }
        if (slice < 0) {
            struct timespec until;
            int64_t until_us = clock_wall_us() + LOOK_MS * US_PER_MS;
            until = (struct timespec){until_us / US_PER_S, until_us % US_PER_S * 1000};
            pthread_cond_timedwait(&repair->changed, &repair->mutex, &until);
            continue;
        }
        bool foreign = repair->foreign >> slice & 1;
        struct repair_done done = {.asked_us = repair->asked_us[slice], .live = repair->asked_of[slice]};
        repair->asked &= ~(1U << slice);
        repair->foreign &= ~(1U << slice);
        pthread_mutex_unlock(&repair->mutex);
        done.began_us = clock_mono_us();
        make_anew(repair, slice, foreign, &done);
        done.ended_us = clock_mono_us();
        if (!done.in_vain)
            repair_rest(&repair->rests[slice], &done);
        pthread_mutex_lock(&repair->mutex);
    }
    pthread_mutex_unlock(&repair->mutex);
    return NULL;
}

struct repair *repair_create(const struct shard *shard, const char *redis_url,
                             const struct projector_metrics *metrics, char *reason, size_t reason_size)
{
    struct builder *builder = builder_create(shard, redis_url, reason, reason_size);
    if (!builder)
        return NULL;
    struct repair *repair = mem_zalloc(sizeof *repair);
    repair->builder = builder;
    repair->metrics = metrics;
    pthread_mutex_init(&repair->mutex, NULL);
    pthread_cond_init(&repair->changed, NULL);
    CHECK(pthread_create(&repair->thread, NULL, work, repair) == 0);
    return repair;
}

void repair_destroy(struct repair *repair)
{
    if (!repair)
        return;
    atomic_store(&repair->stopping, true);
    pthread_mutex_lock(&repair->mutex);
    pthread_cond_signal(&repair->changed);
    pthread_mutex_unlock(&repair->mutex);
    pthread_join(repair->thread, NULL);
    builder_destroy(repair->builder);
    pthread_mutex_destroy(&repair->mutex);
    pthread_cond_destroy(&repair->changed);
    mem_free(repair);
}

void repair_ask(struct repair *repair, unsigned slices, unsigned foreign,
                const int64_t generations[SLICE_COUNT])
{
    pthread_mutex_lock(&repair->mutex);
    unsigned more = slices & ~repair->asked;
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        if (more >> slice & 1)
            repair->asked_us[slice] = clock_mono_us();
        if (slices >> slice & 1)
            repair->asked_of[slice] = generations[slice];
    }
    repair->asked |= slices;
    repair->foreign |= foreign;
    if (more)
        pthread_cond_signal(&repair->changed);
    pthread_mutex_unlock(&repair->mutex);
}

void repair_drop(struct repair *repair)
{
    pthread_mutex_lock(&repair->mutex);
    repair->drop_asked = true;
    pthread_cond_signal(&repair->changed);
    pthread_mutex_unlock(&repair->mutex);
}
