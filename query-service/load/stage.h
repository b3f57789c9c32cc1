/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded queue and the few threads that work it off in batches, each with a state of its own (a
 * connection). What waits longer than one turn is parked and comes back after a fixed delay. Knows nothing of
 * what the items are. Items come out in the order they went in, so a queue whose items have the same patience
 * never keeps one past its time behind another that has more. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded in what is queued. */
struct stage_item {
    struct stage_item *next;
    int64_t due_us; /* parked: when it comes back, monotonic */
};

enum { STAGE_BATCH_MAX = 32, STAGE_TICK_MS = 500, STAGE_PARK_MS = 10, STAGE_THREADS_MAX = 64 };

struct stage;

struct stage_options {
    const char *name;   /* literal, at most 15 bytes: the threads' name */
    unsigned threads;   /* 1..STAGE_THREADS_MAX */
    size_t items_max;   /* queued and parked together */
    void *const *state; /* one per thread, handed to work and tick; the states are borrowed */
    /* Works a batch off. Every item is handed on, answered or parked before it returns. */
    void (*work)(void *state, struct stage_item *const *items, size_t count);
    /* Called by each thread about every STAGE_TICK_MS, between batches, and once at the start. */
    void (*tick)(void *state);
};

struct stage *stage_create(const struct stage_options *options);
void stage_start(struct stage *stage); /* starts the threads; once, before anything is submitted */
/* Refuses what is submitted from now on, works off what is queued and parked, then ends the threads: until
 * stage_destroy others may still try. Accepts NULL; twice is once. */
void stage_stop(struct stage *stage);
void stage_destroy(struct stage *stage); /* stops it first; accepts NULL */

/* Queues an item; false when the queue is full or the stage stops, the item is then still the caller's. From
 * any thread. */
bool stage_submit(struct stage *stage, struct stage_item *item);
/* Brings an item that was just worked on back after STAGE_PARK_MS. Only from work(). */
void stage_park(struct stage *stage, struct stage_item *item);
size_t stage_items(struct stage *stage); /* queued and parked, for gauges */
size_t stage_busy(struct stage *stage);  /* threads at work, for gauges */
