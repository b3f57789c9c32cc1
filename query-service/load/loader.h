/* SPDX-License-Identifier: Apache-2.0 */
/* Who reads for whom: a pool of threads with Redis, a pool of threads with PostgreSQL behind it, both with
 * bounded queues, so that PostgreSQL being slow leaves the reads that Redis can answer alone. Twice: dear
 * questions (rankings, filtered lists, the past) have a lane with threads, queues and breakers of their own,
 * so that they wait for each other and nobody else for them. HTTP threads only submit. Every read is
 * concluded by its deadline. */
#pragma once

#include "query-service/load/log_time.h"
#include "query-service/load/read.h"

struct loader;

/* Of the lane of dear questions: threads for Redis, connections to PostgreSQL, and for each most that wait.
 */
enum { LOADER_DEAR_THREADS = 1, LOADER_DEAR_CONNECTIONS = 2, LOADER_DEAR_QUEUE_MAX = 256 };

struct loader_options {
    const struct shards *shards; /* borrowed */
    const char *redis_url;
    int64_t model_threads, store_connections, queue_max;
    int64_t redis_timeout_ms, store_timeout_ms, past_events_max;
    struct log_time *time;     /* borrowed: the instant of each question */
    void (*ready)(bool ready); /* called from any thread when either dependency comes or goes */
};

/* NULL with the reason when the Redis URL does not parse. Starts the threads; they connect by themselves. */
struct loader *loader_create(const struct loader_options *options, char *reason, size_t reason_size);
/* Concludes what was submitted and ends the threads. What is submitted from now on is concluded at once, as
 * READ_OVERLOADED; so others may still submit, until loader_destroy. Twice is once. */
void loader_stop(struct loader *loader);
/* Stops first. Nobody may submit any more. Accepts NULL. */
void loader_destroy(struct loader *loader);

/* Takes the read over; read->done is called exactly once, from another thread or before this returns. */
void loader_submit(struct loader *loader, struct read *read);

/* Whether the models answered when they were last asked. */
bool loader_models_usable(const struct loader *loader);

/* What is going on, for gauges and for people. Any thread. */
struct loader_facts {
    bool redis_usable, redis_partly, store_usable, redis_open, store_open;
    size_t redis_queue, store_queue, redis_busy, store_busy; /* of both lanes */
    int64_t positions[SLICE_COUNT];                          /* of the models, -1: not known */
    int64_t seen_us; /* monotonic: when the projector last looked after them, 0: not known */
};
void loader_facts(struct loader *loader, struct loader_facts *ret);
