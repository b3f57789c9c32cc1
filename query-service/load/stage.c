/* SPDX-License-Identifier: Apache-2.0 */
/* The queue, its threads and the parking lot. One lock; it is held to move pointers only. */
#include "query-service/load/stage.h"

#include <errno.h>
#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

struct list {
    struct stage_item *first, **last;
};

struct stage {
    struct stage_options options;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list queue, parked; /* parked: all wait equally long, so the first is due first */
    size_t queued, count;      /* count: with the parked ones */
    size_t busy;               /* threads at work */
    bool started, stopping;
    pthread_t threads[STAGE_THREADS_MAX];
    struct worker {
        struct stage *stage;
        void *state;
        int64_t tick_us; /* its own: when it is to tick */
    } workers[STAGE_THREADS_MAX];
};

static void list_init(struct list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static void list_put(struct list *list, struct stage_item *item)
{
    item->next = NULL;
    *list->last = item;
    list->last = &item->next;
}

static struct stage_item *list_take(struct list *list)
{
    struct stage_item *item = list->first;
    list->first = item->next;
    if (!list->first)
        list->last = &list->first;
    return item;
}

static bool parked_is_due(const struct stage *stage)
{
    return stage->parked.first && stage->parked.first->due_us <= clock_mono_us();
}

/* Waits until there is something to do or until_us; true where there is. Does not wait for nothing once the
 * stage is to stop. */
static bool wait_for_work(struct stage *stage, int64_t until_us)
{
    while (!stage->queue.first && !parked_is_due(stage) && !(stage->stopping && !stage->parked.first)) {
        int64_t wake_us = until_us;
        if (stage->parked.first && stage->parked.first->due_us < wake_us)
            wake_us = stage->parked.first->due_us;
        struct timespec at = {wake_us / US_PER_S, wake_us % US_PER_S * 1000};
        if (pthread_cond_timedwait(&stage->wake, &stage->lock, &at) == ETIMEDOUT &&
            clock_mono_us() >= until_us)
            break;
    }
    return stage->queue.first || parked_is_due(stage);
}

/* What comes back goes first, it is older; of the queue a fair share, so that others help with a burst. */
static size_t take_batch(struct stage *stage, struct stage_item **items)
{
    size_t count = 0;
    while (count < STAGE_BATCH_MAX && parked_is_due(stage))
        items[count++] = list_take(&stage->parked);
    size_t share = (stage->queued + stage->options.threads - 1) / stage->options.threads;
    while (share > 0 && count < STAGE_BATCH_MAX && stage->queue.first) {
        items[count++] = list_take(&stage->queue);
        stage->queued--;
        share--;
    }
    stage->count -= count;
    return count;
}

/* One turn; false when the thread is to end. */
static bool turn(struct worker *worker)
{
    struct stage *stage = worker->stage;
    struct stage_item *items[STAGE_BATCH_MAX];
    size_t count = 0;
    pthread_mutex_lock(&stage->lock);
    if (wait_for_work(stage, worker->tick_us))
        count = take_batch(stage, items);
    stage->busy += count > 0;
    bool end = stage->stopping && count == 0 && !stage->parked.first;
    pthread_mutex_unlock(&stage->lock);
    if (count > 0)
        stage->options.work(worker->state, items, count);
    if (!end && clock_mono_us() >= worker->tick_us) {
        stage->options.tick(worker->state);
        worker->tick_us = clock_deadline_us(STAGE_TICK_MS);
    }
    if (count > 0) {
        pthread_mutex_lock(&stage->lock);
        stage->busy--;
        pthread_mutex_unlock(&stage->lock);
    }
    return !end;
}

static void *run(void *context)
{
    struct worker *worker = context;
    pthread_setname_np(pthread_self(), worker->stage->options.name);
    worker->stage->options.tick(worker->state);
    worker->tick_us = clock_deadline_us(STAGE_TICK_MS);
    while (turn(worker))
        continue;
    return NULL;
}

struct stage *stage_create(const struct stage_options *options)
{
    CHECK(options->threads >= 1 && options->threads <= STAGE_THREADS_MAX);
    struct stage *stage = mem_zalloc(sizeof *stage);
    stage->options = *options;
    list_init(&stage->queue);
    list_init(&stage->parked);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    CHECK(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&stage->wake, &monotonic) == 0);
    CHECK(pthread_mutex_init(&stage->lock, NULL) == 0);
    pthread_condattr_destroy(&monotonic);
    for (unsigned i = 0; i < options->threads; i++)
        stage->workers[i] = (struct worker){stage, options->state[i], 0};
    return stage;
}

void stage_start(struct stage *stage)
{
    const struct stage_options *options = &stage->options;
    CHECK(!stage->started);
    stage->started = true;
    for (unsigned i = 0; i < options->threads; i++) {
        CHECK(pthread_create(&stage->threads[i], NULL, run, &stage->workers[i]) == 0);
    }
}

void stage_stop(struct stage *stage)
{
    if (!stage)
        return;
    pthread_mutex_lock(&stage->lock);
    stage->stopping = true;
    pthread_cond_broadcast(&stage->wake);
    pthread_mutex_unlock(&stage->lock);
    for (unsigned i = 0; stage->started && i < stage->options.threads; i++)
        pthread_join(stage->threads[i], NULL);
    stage->started = false;
    CHECK(stage->count == 0);
}

void stage_destroy(struct stage *stage)
{
    if (!stage)
        return;
    stage_stop(stage);
    pthread_cond_destroy(&stage->wake);
    pthread_mutex_destroy(&stage->lock);
    mem_free(stage);
}

bool stage_submit(struct stage *stage, struct stage_item *item)
{
    pthread_mutex_lock(&stage->lock);
    bool room = !stage->stopping && stage->count < stage->options.items_max;
    if (room) {
        list_put(&stage->queue, item);
        stage->queued++;
        stage->count++;
        pthread_cond_signal(&stage->wake);
    }
    pthread_mutex_unlock(&stage->lock);
    return room;
}

void stage_park(struct stage *stage, struct stage_item *item)
{
    item->due_us = clock_deadline_us(STAGE_PARK_MS);
    pthread_mutex_lock(&stage->lock);
    list_put(&stage->parked, item);
    stage->count++;
    pthread_cond_signal(&stage->wake);
    pthread_mutex_unlock(&stage->lock);
}

size_t stage_items(struct stage *stage)
{
    pthread_mutex_lock(&stage->lock);
    size_t count = stage->count;
    pthread_mutex_unlock(&stage->lock);
    return count;
}

size_t stage_busy(struct stage *stage)
{
    pthread_mutex_lock(&stage->lock);
    size_t busy = stage->busy;
    pthread_mutex_unlock(&stage->lock);
    return busy;
}
