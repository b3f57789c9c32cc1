/* SPDX-License-Identifier: Apache-2.0 */
/* The queue, its threads and the parking lot. One lock; it is held to move pointers only. */
#include "query-service/load/worker_pool.h"

#include <errno.h>
#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

struct list {
    struct work_item *first, **last;
};

struct worker_pool {
    struct pool_options options;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list queue, parked; /* parked: all wait equally long, so the first is due first */
    size_t queued, count;      /* count: with the parked ones */
    size_t busy;               /* threads at work */
    bool started, stopping;
    pthread_t threads[POOL_THREADS_MAX];
    struct worker {
        struct worker_pool *pool;
        void *state;
        int64_t tick_us; /* its own: when it is to tick */
    } workers[POOL_THREADS_MAX];
};

static void list_init(struct list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static void list_put(struct list *list, struct work_item *item)
{
    item->next = NULL;
    *list->last = item;
    list->last = &item->next;
}

static struct work_item *list_take(struct list *list)
{
    struct work_item *item = list->first;
    list->first = item->next;
    if (!list->first)
        list->last = &list->first;
    return item;
}

static bool parked_is_due(const struct worker_pool *pool)
{
    return pool->parked.first && pool->parked.first->due_us <= clock_mono_us();
}

/* Waits until there is something to do or until_us; true where there is. Does not wait for nothing once the
 * pool is to stop. */
static bool wait_for_work(struct worker_pool *pool, int64_t until_us)
{
    while (!pool->queue.first && !parked_is_due(pool) && !(pool->stopping && !pool->parked.first)) {
        int64_t wake_us = until_us;
        if (pool->parked.first && pool->parked.first->due_us < wake_us)
            wake_us = pool->parked.first->due_us;
        struct timespec at = {wake_us / US_PER_S, wake_us % US_PER_S * 1000};
        if (pthread_cond_timedwait(&pool->wake, &pool->lock, &at) == ETIMEDOUT && clock_mono_us() >= until_us)
            break;
    }
    return pool->queue.first || parked_is_due(pool);
}

/* What comes back goes first, it is older; of the queue a fair share, so that others help with a burst. */
static size_t take_batch(struct worker_pool *pool, struct work_item **items)
{
    size_t count = 0;
    while (count < POOL_BATCH_MAX && parked_is_due(pool))
        items[count++] = list_take(&pool->parked);
    size_t share = (pool->queued + pool->options.threads - 1) / pool->options.threads;
    while (share > 0 && count < POOL_BATCH_MAX && pool->queue.first) {
        items[count++] = list_take(&pool->queue);
        pool->queued--;
        share--;
    }
    pool->count -= count;
    return count;
}

/* One turn; false when the thread is to end. */
static bool turn(struct worker *worker)
{
    struct worker_pool *pool = worker->pool;
    struct work_item *items[POOL_BATCH_MAX];
    size_t count = 0;
    pthread_mutex_lock(&pool->lock);
    if (wait_for_work(pool, worker->tick_us))
        count = take_batch(pool, items);
    pool->busy += count > 0;
    bool end = pool->stopping && count == 0 && !pool->parked.first;
    pthread_mutex_unlock(&pool->lock);
    if (count > 0)
        pool->options.work(worker->state, items, count);
    if (!end && clock_mono_us() >= worker->tick_us) {
        pool->options.tick(worker->state);
        worker->tick_us = clock_deadline_us(POOL_TICK_MS);
    }
    if (count > 0) {
        pthread_mutex_lock(&pool->lock);
        pool->busy--;
        pthread_mutex_unlock(&pool->lock);
    }
    return !end;
}

static void *run(void *context)
{
    struct worker *worker = context;
    pthread_setname_np(pthread_self(), worker->pool->options.name);
    worker->pool->options.tick(worker->state);
    worker->tick_us = clock_deadline_us(POOL_TICK_MS);
    while (turn(worker))
        continue;
    return NULL;
}

struct worker_pool *pool_create(const struct pool_options *options)
{
    CHECK(options->threads >= 1 && options->threads <= POOL_THREADS_MAX);
    struct worker_pool *pool = mem_zalloc(sizeof *pool);
    pool->options = *options;
    list_init(&pool->queue);
    list_init(&pool->parked);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    CHECK(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&pool->wake, &monotonic) == 0);
    CHECK(pthread_mutex_init(&pool->lock, NULL) == 0);
    pthread_condattr_destroy(&monotonic);
    for (unsigned i = 0; i < options->threads; i++)
        pool->workers[i] = (struct worker){pool, options->state[i], 0};
    return pool;
}

void pool_start(struct worker_pool *pool)
{
    const struct pool_options *options = &pool->options;
    CHECK(!pool->started);
    pool->started = true;
    for (unsigned i = 0; i < options->threads; i++) {
        CHECK(pthread_create(&pool->threads[i], NULL, run, &pool->workers[i]) == 0);
    }
}

void pool_stop(struct worker_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; pool->started && i < pool->options.threads; i++)
        pthread_join(pool->threads[i], NULL);
    pool->started = false;
    CHECK(pool->count == 0);
}

void pool_destroy(struct worker_pool *pool)
{
    if (!pool)
        return;
    pool_stop(pool);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool);
}

bool pool_submit(struct worker_pool *pool, struct work_item *item)
{
    pthread_mutex_lock(&pool->lock);
    bool room = !pool->stopping && pool->count < pool->options.items_max;
    if (room) {
        list_put(&pool->queue, item);
        pool->queued++;
        pool->count++;
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
    return room;
}

void pool_park(struct worker_pool *pool, struct work_item *item)
{
    item->due_us = clock_deadline_us(POOL_PARK_MS);
    pthread_mutex_lock(&pool->lock);
    list_put(&pool->parked, item);
    pool->count++;
    pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

size_t pool_items(struct worker_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    size_t count = pool->count;
    pthread_mutex_unlock(&pool->lock);
    return count;
}

size_t pool_busy(struct worker_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    size_t busy = pool->busy;
    pthread_mutex_unlock(&pool->lock);
    return busy;
}
