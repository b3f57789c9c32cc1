/* SPDX-License-Identifier: Apache-2.0 */
/* Commands, their replies, and what counts of them. */
#include "query-service/redis/model_pipe.h"

#include "common/base/log.h"
#include "query-service/metrics.h"

void pipe_init(struct model_pipe *pipe)
{
    *pipe = (struct model_pipe){0};
    redis_command_init(&pipe->command);
    buf_init(&pipe->key, KEY_TEXT_MAX);
}

void pipe_deinit(struct model_pipe *pipe)
{
    redis_command_deinit(&pipe->command);
    buf_deinit(&pipe->key);
}

struct buf *pipe_key(struct model_pipe *pipe)
{
    buf_clear(&pipe->key);
    return &pipe->key;
}

struct redis_command *pipe_command(struct model_pipe *pipe, const char *verb)
{
    CHECK(!pipe->key.overflow);
    redis_command_reset(&pipe->command);
    redis_arg_text(&pipe->command, verb);
    redis_arg(&pipe->command, buf_span(&pipe->key));
    return &pipe->command;
}

enum redis_status pipe_receive(struct model_pipe *pipe, const struct redis_reply **ret)
{
    enum redis_status status = redis_receive(pipe->redis, pipe->deadline_us, ret);
    if (status != REDIS_OK) {
        metric_add(query_metrics.redis_errors[status], 1);
        if (status != REDIS_AWAY) /* once when it begins, by the watch */
            log_warn("REDIS-FAILED", "reading models: %s", redis_error(pipe->redis));
    }
    return status;
}

void pipe_ask_state(struct model_pipe *pipe, unsigned slices, bool seen)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(slices >> slice & 1))
            continue;
        if (seen) {
            key_seen(pipe_key(pipe), slice);
            redis_send(pipe->redis, pipe_command(pipe, "PTTL"));
        }
        key_root(pipe_key(pipe), slice);
        checkpoint_command_of_readers(&pipe->command, buf_span(&pipe->key));
        redis_send(pipe->redis, &pipe->command);
    }
}

static bool take_seen(struct model_pipe *pipe, int64_t *ret_ago_ms, enum redis_status *ret)
{
    const struct redis_reply *reply;
    *ret = pipe_receive(pipe, &reply);
    int64_t left_ms = *ret == REDIS_OK ? redis_integer(reply) : 0;
    if (left_ms > 0)
        *ret_ago_ms = SEEN_KEPT_MS - left_ms;
    return *ret != REDIS_LOST;
}

bool pipe_take_state(struct model_pipe *pipe, unsigned slices, bool seen, struct model_state *ret)
{
    const struct redis_reply *reply;
    bool good = true;
    *ret = (struct model_state){0};
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        enum redis_status heartbeat = REDIS_OK;
        ret->seen_ago_ms[slice] = INT64_MAX;
        if (!(slices >> slice & 1))
            continue;
        if (seen && !take_seen(pipe, &ret->seen_ago_ms[slice], &heartbeat))
            return false;
        enum redis_status root = pipe_receive(pipe, &reply);
        if (root == REDIS_LOST)
            return false;
        if (heartbeat == REDIS_AWAY || root == REDIS_AWAY)
            ret->away |= 1U << slice;
        else
            good = good && heartbeat == REDIS_OK && (root == REDIS_OK || root == REDIS_ERROR);
        ret->slices[slice] = checkpoint_from_reply(reply);
    }
    return good;
}
