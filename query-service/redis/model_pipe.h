/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange with Redis: commands on keys of the models, and the state that every exchange begins with. Not
 * for anyone outside of this folder. */
#pragma once

#include "common/redis/redis.h"
#include "query-service/redis/model_state.h"

struct model_pipe {
    struct redis *redis; /* NULL: none */
    struct redis_command command;
    struct buf key;
    int64_t deadline_us; /* of what is received */
};

void pipe_init(struct model_pipe *pipe); /* without a connection */
void pipe_deinit(struct model_pipe *pipe);

/* Starts a command on a key: the key, the verb, then arguments by redis_arg..., then redis_send. */
struct buf *pipe_key(struct model_pipe *pipe);
struct redis_command *pipe_command(struct model_pipe *pipe, const char *verb);
/* The next reply; NULL with a status where it is an error, which is counted and logged. */
enum redis_status pipe_receive(struct model_pipe *pipe, const struct redis_reply **ret);

/* Asks for the state of these slices, as bits; `seen`: with when they were looked after, which is not known
 * otherwise. */
void pipe_ask_state(struct model_pipe *pipe, unsigned slices, bool seen);
/* False when Redis does not answer this, so nothing else either: gone, loading, busy, not letting us in. A
 * root of another type is none. What a cluster's server that is away has is told in `away`. */
bool pipe_take_state(struct model_pipe *pipe, unsigned slices, bool seen, struct model_state *ret);
