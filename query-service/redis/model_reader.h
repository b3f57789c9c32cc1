/* SPDX-License-Identifier: Apache-2.0 */
/* Answers from the read models in Redis: many reads as one pipeline of at most two round trips, within one
 * deadline. An answer is given only where the models are current, past the read's consistency token and
 * complete; for everything else it says why not. One thread uses a reader. */
#pragma once

#include "query-service/load/read.h"
#include "query-service/redis/model_watch.h"

struct model_reader;

struct model_reader_options {
    struct model_watch *watch; /* shared by all readers; borrowed, and outlives them */
    int64_t timeout_ms;        /* of one batch */
    struct breaker *breaker;   /* shared by the readers of a lane; borrowed */
};

/* Asks the watch for a connection; until there is one, nothing is asked of Redis. */
struct model_reader *model_reader_create(const struct model_reader_options *options);
void model_reader_destroy(struct model_reader *reader); /* accepts NULL */

/* Tries to answer each of at most POOL_BATCH_MAX reads. Sets read->fallback: FALLBACK_NONE and the answer is
 * there, or the reason and the answer is empty. */
void model_reader_run(struct model_reader *reader, struct read *const *reads, size_t count);
