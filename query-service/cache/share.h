/* SPDX-License-Identifier: Apache-2.0 */
/* One load per fleet: what Redis' models cannot answer and PostgreSQL has to, is loaded by one query service
 * at a time and left in Redis for the others, rendered, for about as long as it is fresh. Whoever gets the
 * lease loads; the others look again every few milliseconds, and after SHARE_WAIT_MS go alone: a lease is a
 * courtesy, never a condition. The lease is a token; when it has run out and somebody else has it, what its
 * late holder brings is refused, and so is what is behind the answer that is there. (Facebook's leases, NSDI
 * 2013, 3.2.1.)
 *
 * Only for what many ask for: campaigns, their lists, rankings. Answers with coupon codes in them are never
 * put into Redis.
 *
 * The texts are pure; the commands use a connection of the caller's. */
#pragma once

#include "common/redis/redis.h"
#include "query-service/cache/copy.h"
#include "query-service/http/query.h"

enum {
    SHARE_LEASE_MS = 2000,   /* a load takes no longer: the longest time PostgreSQL has */
    SHARE_ANSWER_MS = 1500,  /* how long an answer lies there */
    SHARE_AGE_MAX_MS = 1000, /* older is not taken */
    SHARE_WAIT_MS = 300,     /* for somebody else's load */
    SHARE_BYTES_MAX = 256 * 1024,
};

bool share_concerns(enum query_kind kind);

/* A copy as text, and back. */
struct share {
    struct copy_source source; /* points into this struct and the text */
    struct copy_subject subject;
    int64_t positions[SLICE_COUNT];
    char etag[COPY_ETAG_MAX + 1];
    int64_t age_us;
};
/* Clocks: what is written has the wall clock's instant of loading. */
void share_encode(const struct copy *copy, int64_t mono_us, int64_t wall_us, struct buf *out);
bool share_decode(struct span text, int64_t mono_us, int64_t wall_us, struct share *ret) MUST_USE;
/* Whether this is good enough: young, and not before what is asked for. */
bool share_usable(const struct share *share, const int64_t at_least[SLICE_COUNT]);

/* Sends the look and the bid for the lease: two replies follow. `token` is the bidder's, never 0. */
void share_send_ask(struct redis *redis, struct redis_command *command, struct span target, uint64_t token);
/* From the first reply, the answer's text, absent where there is none; from the second, whether the lease is
 * ours. */
struct span share_answer(const struct redis_reply *reply);
bool share_leased(const struct redis_reply *reply);
/* Sends an answer: one reply follows, 1 when it was taken. */
void share_send_answer(struct redis *redis, struct redis_command *command, struct span target, uint64_t token,
                       struct span text);
