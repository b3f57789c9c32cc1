/* SPDX-License-Identifier: Apache-2.0 */
/* One read on its way: the query, where it stands, the answer. It has one owner at a time (an HTTP thread,
 * then a pool's queue, then that pool's thread) and is handed on whole. */
#pragma once

#include "events/shards.h"
#include "query-service/load/answer.h"
#include "query-service/load/worker_pool.h"

/* Why Redis did not answer. X(name, label): the label is what metrics show. */
#define FALLBACKS(X)                                                                                        \
    X(FALLBACK_NONE, "none")                                                                                \
    X(FALLBACK_NOT_LIVE, "not_live")       /* no generation or no checkpoint: empty or being rebuilt */     \
    X(FALLBACK_AWAY, "away")               /* of a cluster the slice's server does not answer; others do */ \
    X(FALLBACK_CATCHING_UP, "catching_up") /* the projector says the models are behind the log */           \
    X(FALLBACK_OLD, "old")                 /* the projector has not compared with the log for too long */   \
    X(FALLBACK_BEHIND, "behind_token")     /* the checkpoint is before the consistency token */             \
    X(FALLBACK_ABSENT, "absent")           /* a key or field is not there: not known, never "has none" */   \
    X(FALLBACK_HOLE, "hole")               /* a key that must be there is not, or not whole: it was lost */ \
    X(FALLBACK_UNPROVEN, "unproven")       /* Redis cannot show that what it has is all there is */         \
    X(FALLBACK_CORRUPT, "corrupt")         /* a value is not what the projector writes */                   \
    X(FALLBACK_MOVED, "moved")             /* flushed or switched to another generation while reading */    \
    X(FALLBACK_ERROR, "error")             /* Redis answered with an error, late or not at all */           \
    X(FALLBACK_OPEN, "breaker_open")                                                                        \
    X(FALLBACK_PAST, "as_of") /* not asked: the models only know the present */
#define FALLBACK_ENUM(name, label) name,
enum fallback { FALLBACKS(FALLBACK_ENUM) FALLBACK_COUNT };
const char *fallback_label(enum fallback fallback);

enum read_source { SOURCE_REDIS, SOURCE_POSTGRES, SOURCE_MEMORY, SOURCE_COUNT };

enum read_failure {
    READ_GOOD,          /* the answer is there */
    READ_OVERLOADED,    /* a queue was full */
    READ_UNAVAILABLE,   /* nobody could answer in time */
    READ_TOO_MUCH,      /* more than the store may be asked to look at for one answer */
    READ_FAR_EVENTS,    /* of the past: more events than may be read for one answer */
    READ_FAR_CAMPAIGNS, /* of the past: more campaigns than may be looked at */
    READ_AHEAD,         /* a position that is not in the log yet */
    READ_NOT_REACHED,   /* the log that can be read is not at the consistency token */
    READ_INTERNAL,      /* the store has something this program does not understand */
};

struct flight;

/* What the cache in front of the stores keeps with a read (cache/read_through.c); the loader and the readers
 * do not look. */
struct read_waiter {
    struct http_request *request; /* NULL: nobody waits for it */
    int64_t tokens[SLICE_COUNT];  /* the request's own; query.at_least may ask for more, for others */
    struct buf key;               /* of the entry and of the flight: query_key */
    struct flight *flight;        /* that it leads */
    unsigned flights;             /* it took part in */
};

struct read {
    struct work_item item; /* first, so that a pool's item is the read; its deadline is the read's (I11) */
    struct query query;
    struct answer answer;
    enum read_source source;
    enum fallback fallback;
    enum read_failure failure;
    int64_t kept_ms;       /* models that nobody looked after for less than that are better than no answer */
    bool last_resort;      /* PostgreSQL failed, so such models are asked */
    int64_t models_age_us; /* SOURCE_REDIS: for how long nobody had looked after them; 0: they are current */
    bool settled;          /* of the past, and nothing that comes can change it */
    int64_t stands_on[SLICE_COUNT]; /* how far the log is in the answer; for the slices of the query */
    int64_t token_wait_until_us;    /* monotonic: until then worth waiting for the models to reach a token */
    int64_t began_us;               /* monotonic: when it was submitted to the loader */
    uint64_t log_epoch;             /* which log was read when it was submitted */
    struct read_waiter waiter;
    /* Of slices that are in several shards each shard reads a part, which ends uncut, without filters; the
     * whole keeps them, because its answer borrows their texts. */
    bool is_part;
    struct read *parts[SHARDS_MAX];
    size_t parts_count;
    void *owner;                     /* of `done` */
    void (*done)(struct read *read); /* gets ownership; called once, from any thread */
};

struct read *read_create(enum query_kind kind, int64_t now_us);
void read_destroy(struct read *read); /* accepts NULL */
/* Of a read that a part has been read of for each shard: makes them its answer, not cut yet, or its failure
 * of the first that failed. */
void read_join(struct read *read);
/* The parts, and with them what an answer borrows. */
void read_forget_parts(struct read *read);
/* Adds a part: the same question. Its texts are the whole's, which lives longer. */
struct read *read_add_part(struct read *read);
