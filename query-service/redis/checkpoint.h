/* SPDX-License-Identifier: Apache-2.0 */
/* How far the models in Redis are, and whether that is good enough for a read. Pure but for the commands it
 * writes. */
#pragma once

#include "common/redis/redis.h"
#include "query-service/load/read.h"
#include "readmodel/keys.h"

struct checkpoint {
    bool present;
    int64_t pos;           /* events up to here are folded in */
    bool behind;           /* the projector is catching up */
    int64_t seen_us;       /* its wall clock when it last compared pos with the log */
    int64_t life;          /* another one: the slice was started anew in between */
    bool has[INDEX_COUNT]; /* which sorted sets of the slice have a member, and so must be there */
};

/* The state of all models at one moment: what the first commands of every pipeline ask for. */
struct model_state {
    int64_t generation; /* 0: none is live */
    struct checkpoint slices[SLICE_COUNT];
};

/* Writes the command that asks for one slice's checkpoint. */
void checkpoint_command(struct redis_command *command, struct model model);
/* From its reply. A field that is missing or not a number makes it absent. */
struct checkpoint checkpoint_from_reply(const struct redis_reply *reply);
/* The generation in a reply to GET fc:live; 0 where there is none. */
int64_t generation_from_reply(const struct redis_reply *reply);

/* FALLBACK_NONE when every slice the query depends on is current: there, not catching up, compared with the
 * log at most age_max_us ago by our clock (and not in our future by more, which would hide that it stopped),
 * and at or past the consistency token. FALLBACK_BEHIND only where waiting a moment may help. */
enum fallback model_state_judge(const struct model_state *state, const struct query *query,
                                int64_t age_max_us);
/* The same after a second round trip: nothing was flushed, switched, rolled back or replayed since `before`.
 */
enum fallback model_state_compare(const struct model_state *before, const struct model_state *after,
                                  const struct query *query);
