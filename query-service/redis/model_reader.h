/* SPDX-License-Identifier: Apache-2.0 */
/* Answers from the read models in Redis: many reads as one pipeline of at most two round trips, within one
 * deadline. An answer is given only where the models are current, past the read's consistency token and
 * complete; for everything else it says why not. One thread uses a reader. */
#pragma once

#include "common/redis/redis.h"
#include "query-service/load/breaker.h"
#include "query-service/load/read.h"

struct model_reader;

struct model_reader_options {
    const char *url;
    int64_t timeout_ms;      /* of one batch, connecting included */
    struct breaker *breaker; /* shared by all readers; borrowed */
};

/* NULL with the reason when the URL does not parse. Does not connect. */
struct model_reader *model_reader_create(const struct model_reader_options *options, char *reason,
                                         size_t reason_size);
void model_reader_destroy(struct model_reader *reader); /* accepts NULL */

/* Tries to answer each of at most POOL_BATCH_MAX reads. Sets read->fallback: FALLBACK_NONE and the answer is
 * there, or the reason and the answer is empty. */
void model_reader_run(struct model_reader *reader, struct read *const *reads, size_t count);

/* Slices, as bits, of which somebody else found that a key is missing: the projector is told with the next
 * batch. */
void model_reader_missed(struct model_reader *reader, unsigned slices);

/* Whether all models are current right now; for readiness. Asks Redis. *ret is how far they are, absent where
 * Redis did not say; *ret_seen_ago_us how long ago a projector looked after them, -1 where that is too long.
 */
struct model_state;
bool model_reader_probe(struct model_reader *reader, struct model_state *ret, int64_t *ret_seen_ago_us);
