/* SPDX-License-Identifier: Apache-2.0 */
/* Looks after Redis for the threads that read from it, on a thread and a connection of its own, so that no
 * read waits for it: whether the models are current, which slices have holes that the projector must be told
 * of, and connecting, which takes several exchanges (who the primary is, who we are, what its role is) and so
 * may take longer than any read. A reader that lost its connection leaves it here, does without Redis
 * meanwhile, and takes one that is connected when there is one. Thread-safe. */
#pragma once

#include "query-service/load/breaker.h"
#include "query-service/redis/model_state.h"

struct redis;
struct model_watch;

struct model_watch_options {
    const char *url;
    int64_t timeout_ms;      /* of one look, as of a batch of reads */
    int64_t connect_ms;      /* of one attempt to connect */
    struct breaker *breaker; /* told how looks and attempts went; borrowed */
    /* After each look: whether all models are current. `models`: how far they are; NULL where Redis did not
     * say. On the watch's own thread. */
    void (*found)(void *context, bool current, const struct model_state *models);
    void *context;
};

/* NULL with the reason when the URL does not parse. */
struct model_watch *model_watch_create(const struct model_watch_options *options, char *reason,
                                       size_t reason_size);
void model_watch_start(struct model_watch *watch); /* the thread; once */
void model_watch_stop(struct model_watch *watch);  /* ends it, after what it is at; accepts NULL */
/* Stops it first. What was taken must have been given back. Accepts NULL. */
void model_watch_destroy(struct model_watch *watch);

/* One more connection is wanted. */
void model_watch_want(struct model_watch *watch);
/* A connection, the caller's, and the state of the models that was found last; NULL where none is ready. */
struct redis *model_watch_take(struct model_watch *watch, struct model_state *ret_known);
/* Takes back what was taken, to be connected anew. */
void model_watch_give_back(struct model_watch *watch, struct redis *redis);

/* A key is missing in this generation of a slice; 0: in the one that was found last. The projector is told
 * soon. */
void model_watch_hole(struct model_watch *watch, int16_t slice, int64_t generation);
