/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded queue and the few threads that work it off in batches, each with a state of its own (a
 * connection). What waits longer than one turn is parked and comes back after a fixed delay. Knows nothing of
 * what the items are, only until when each has to be worked on: the queue is in order of deadlines, and a
 * thread of its own takes out what the workers, all of them busy, did not get to in time (I11). */
#pragma once

#include <stdbool.h>

#include "query-service/load/work_list.h"

enum { POOL_BATCH_MAX = 32, POOL_TICK_MS = 500, POOL_PARK_MS = 10, POOL_THREADS_MAX = 64 };

struct worker_pool;

struct pool_options {
    const char *name;   /* literal, at most 15 bytes: the threads' name */
    unsigned threads;   /* 1..POOL_THREADS_MAX */
    size_t items_max;   /* queued and parked together */
    size_t batch_max;   /* items that a thread takes at once, 1..POOL_BATCH_MAX */
    void *const *state; /* one per thread, handed to work and tick; the states are borrowed */
    /* Works a batch off. Every item is handed on, answered or parked before it returns. */
    void (*work)(void *state, struct work_item *const *items, size_t count);
    /* Ends an item that no worker took by its deadline. On the pool's own thread. */
    void (*expire)(void *context, struct work_item *item);
    void *context;
    /* Called by each thread about every POOL_TICK_MS, between batches, and once at the start; or NULL. */
    void (*tick)(void *state);
};

struct worker_pool *pool_create(const struct pool_options *options);
void pool_start(struct worker_pool *pool); /* starts the threads; once, before anything is submitted */
/* Refuses what is submitted from now on, works off what is queued and parked, then ends the threads: until
 * pool_destroy others may still try. Accepts NULL; twice is once. */
void pool_stop(struct worker_pool *pool);
void pool_destroy(struct worker_pool *pool); /* stops it first; accepts NULL */

/* Queues an item; false when the queue is full or the pool stops, the item is then still the caller's. From
 * any thread. */
bool pool_submit(struct worker_pool *pool, struct work_item *item);
/* Brings an item that was just worked on back after POOL_PARK_MS. Only from work(). */
void pool_park(struct worker_pool *pool, struct work_item *item);
size_t pool_items(struct worker_pool *pool); /* queued and parked, for gauges */
size_t pool_busy(struct worker_pool *pool);  /* threads at work, for gauges */
