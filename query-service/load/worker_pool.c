/* SPDX-License-Identifier: Apache-2.0 */
/* The queue, its threads and the parked items. One lock; it is held to move pointers only. */
#include "query-service/load/worker_pool.h"

#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/thread.h"

struct worker_pool {
    struct pool_options options;
    pthread_mutex_t lock;
    pthread_cond_t wake;     /* of the workers */
    pthread_cond_t late;     /* of the thread that ends what comes too late */
    struct work_list queue;  /* by deadline */
    int64_t latest_us;       /* deadline of its last */
    struct work_list parked; /* all wait equally long, so the first is due first */
    size_t queued, count;    /* count: with the parked ones */
    size_t busy;             /* threads at work */
    size_t idle;             /* threads that wait for work */
    bool started, stopping, stopped;
    pthread_t threads[POOL_THREADS_MAX], expirer;
    struct worker {
        struct worker_pool *pool;
        void *state;
        int64_t tick_us; /* its own: when it is to tick */
    } workers[POOL_THREADS_MAX];
};

/* Most come in order already. */
static void put_by_deadline(struct worker_pool *pool, struct work_item *item)
{
    struct work_list *list = &pool->queue;
    struct work_item **link = &list->first;
    if (list->first && item->deadline_us < pool->latest_us)
        while (*link && (*link)->deadline_us <= item->deadline_us)
            link = &(*link)->next;
    else
        link = list->last;
    if (!*link) {
        pool->latest_us = item->deadline_us;
        work_list_add(list, item);
        return;
    }
    item->next = *link;
    *link = item;
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
        pool->idle++;
        bool late = !cond_wait_until(&pool->wake, &pool->lock, wake_us);
        pool->idle--;
        if (late && clock_mono_us() >= until_us)
            break;
    }
    return pool->queue.first || parked_is_due(pool);
}

/* What comes back goes first, it is older; of the queue a fair share, so that others help with a burst. */
static size_t take_batch(struct worker_pool *pool, struct work_item **items)
{
    size_t count = 0, most = pool->options.batch_max;
    while (count < most && parked_is_due(pool))
        items[count++] = work_list_take(&pool->parked, &pool->parked.first);
    size_t share = (pool->queued + pool->options.threads - 1) / pool->options.threads;
    while (share > 0 && count < most && pool->queue.first) {
        items[count++] = work_list_take(&pool->queue, &pool->queue.first);
        pool->queued--;
        share--;
    }
    pool->count -= count;
    if (pool->count > 0)
        pthread_cond_signal(&pool->late); /* may have to wait for longer than it can */
    return count;
}

static void tick(struct worker *worker)
{
    if (worker->pool->options.tick)
        worker->pool->options.tick(worker->state);
    worker->tick_us = clock_deadline_us(POOL_TICK_MS);
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
    if (!end && clock_mono_us() >= worker->tick_us)
        tick(worker);
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
    tick(worker);
    while (turn(worker))
        continue;
    return NULL;
}

/* --- what comes too late --- */

/* The link to the item with the first deadline, and the list it is in; NULL where there is none. The parked
 * ones are in no order of deadlines, and few. */
static struct work_item **first_deadline(struct worker_pool *pool, struct work_list **ret)
{
    struct work_item **first = pool->queue.first ? &pool->queue.first : NULL;
    *ret = &pool->queue;
    for (struct work_item **link = &pool->parked.first; *link; link = &(*link)->next)
        if (!first || (*link)->deadline_us < (*first)->deadline_us) {
            first = link;
            *ret = &pool->parked;
        }
    return first;
}

/* Takes out what is past its deadline, or waits for the next; NULL where it was woken for something else. */
static struct work_item *await_late(struct worker_pool *pool)
{
    struct work_list *list;
    struct work_item **link = first_deadline(pool, &list);
    if (!link) {
        pthread_cond_wait(&pool->late, &pool->lock);
        return NULL;
    }
    int64_t deadline_us = (*link)->deadline_us;
    if (clock_mono_us() < deadline_us) {
        (void)cond_wait_until(&pool->late, &pool->lock, deadline_us);
        return NULL;
    }
    pool->count--;
    pool->queued -= list == &pool->queue;
    return work_list_take(list, link);
}

static void *run_expirer(void *context)
{
    struct worker_pool *pool = context;
    pthread_setname_np(pthread_self(), "deadlines");
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopped) {
        struct work_item *item = await_late(pool);
        if (!item)
            continue;
        pthread_mutex_unlock(&pool->lock);
        pool->options.expire(pool->options.context, item);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* --- life --- */

struct worker_pool *pool_create(const struct pool_options *options)
{
    CHECK(options->threads >= 1 && options->threads <= POOL_THREADS_MAX);
    CHECK(options->batch_max >= 1 && options->batch_max <= POOL_BATCH_MAX);
    struct worker_pool *pool = mem_zalloc(sizeof *pool);
    pool->options = *options;
    work_list_init(&pool->queue);
    work_list_init(&pool->parked);
    CHECK(pthread_cond_init(&pool->wake, NULL) == 0 && pthread_cond_init(&pool->late, NULL) == 0);
    CHECK(pthread_mutex_init(&pool->lock, NULL) == 0);
    for (unsigned i = 0; i < options->threads; i++)
        pool->workers[i] = (struct worker){pool, options->state[i], 0};
    return pool;
}

void pool_start(struct worker_pool *pool)
{
    const struct pool_options *options = &pool->options;
    CHECK(!pool->started);
    pool->started = true;
    for (unsigned i = 0; i < options->threads; i++)
        CHECK(pthread_create(&pool->threads[i], NULL, run, &pool->workers[i]) == 0);
    CHECK(pthread_create(&pool->expirer, NULL, run_expirer, pool) == 0);
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
    pthread_mutex_lock(&pool->lock);
    CHECK(pool->count == 0);
    pool->stopped = true;
    pthread_cond_signal(&pool->late);
    pthread_mutex_unlock(&pool->lock);
    if (pool->started)
        pthread_join(pool->expirer, NULL);
    pool->started = false;
}

void pool_destroy(struct worker_pool *pool)
{
    if (!pool)
        return;
    pool_stop(pool);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->late);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool);
}

bool pool_submit(struct worker_pool *pool, struct work_item *item)
{
    pthread_mutex_lock(&pool->lock);
    bool room = !pool->stopping && pool->count < pool->options.items_max;
    if (room) {
        put_by_deadline(pool, item);
        pool->queued++;
        pool->count++;
        pthread_cond_signal(pool->idle ? &pool->wake : &pool->late);
    }
    pthread_mutex_unlock(&pool->lock);
    return room;
}

void pool_park(struct worker_pool *pool, struct work_item *item)
{
    item->due_us = clock_deadline_us(POOL_PARK_MS);
    pthread_mutex_lock(&pool->lock);
    work_list_add(&pool->parked, item);
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
