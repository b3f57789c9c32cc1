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
        log_warn("REDIS-FAILED", "reading models: %s", redis_error(pipe->redis));
    }
    return status;
}

void pipe_ask_state(struct model_pipe *pipe, unsigned slices)
{
    key_seen(pipe_key(pipe));
    redis_send(pipe->redis, pipe_command(pipe, "PTTL"));
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(slices >> slice & 1))
            continue;
        key_root(pipe_key(pipe), slice);
        checkpoint_command(&pipe->command, buf_span(&pipe->key));
        redis_send(pipe->redis, &pipe->command);
    }
}

bool pipe_take_state(struct model_pipe *pipe, unsigned slices, struct model_state *ret)
{
    const struct redis_reply *reply;
    *ret = (struct model_state){0};
    if (pipe_receive(pipe, &reply) != REDIS_OK)
        return false;
    int64_t left_ms = redis_integer(reply);
    ret->seen_ago_ms = left_ms > 0 ? SEEN_KEPT_MS - left_ms : INT64_MAX;
    bool good = true;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(slices >> slice & 1))
            continue;
        enum redis_status status = pipe_receive(pipe, &reply);
        if (status == REDIS_LOST)
            return false;
        good = good && (status == REDIS_OK || status == REDIS_ERROR);
        ret->slices[slice] = checkpoint_from_reply(reply);
    }
    return good;
}
