/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints: reading and judging. */
#include "query-service/redis/checkpoint.h"

void checkpoint_command(struct redis_command *command, struct model model)
{
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    key_checkpoint(&key, model);
    redis_command_reset(command);
    redis_arg_text(command, "HMGET");
    redis_arg(command, buf_span(&key));
    redis_arg_text(command, "pos");
    redis_arg_text(command, "behind");
    redis_arg_text(command, "seen");
    redis_arg_text(command, "has");
    redis_arg_text(command, "life");
    buf_deinit(&key);
}

static bool parse_has(struct span text, bool ret[INDEX_COUNT])
{
    if (text.len != INDEX_COUNT)
        return false;
    for (size_t i = 0; i < INDEX_COUNT; i++) {
        if (text.ptr[i] != '0' && text.ptr[i] != '1')
            return false;
        ret[i] = text.ptr[i] == '1';
    }
    return true;
}

struct checkpoint checkpoint_from_reply(const struct redis_reply *reply)
{
    struct checkpoint checkpoint = {0};
    int64_t behind;
    if (!reply || redis_length(reply) != 5)
        return checkpoint;
    checkpoint.present = parse_i64(redis_text(redis_at(reply, 0)), 0, INT64_MAX, &checkpoint.pos) &&
                         parse_i64(redis_text(redis_at(reply, 1)), 0, 1, &behind) &&
                         parse_i64(redis_text(redis_at(reply, 2)), 0, INT64_MAX, &checkpoint.seen_us) &&
                         parse_has(redis_text(redis_at(reply, 3)), checkpoint.has) &&
                         parse_i64(redis_text(redis_at(reply, 4)), 0, INT64_MAX, &checkpoint.life);
    checkpoint.behind = checkpoint.present && behind != 0;
    return checkpoint;
}

int64_t generation_from_reply(const struct redis_reply *reply)
{
    int64_t generation;
    if (!reply || !parse_i64(redis_text(reply), 1, INT64_MAX, &generation))
        return 0;
    return generation;
}

static enum fallback judge(const struct checkpoint *checkpoint, int64_t at_least, int64_t now_us,
                           int64_t age_max_us)
{
    if (!checkpoint->present)
        return FALLBACK_NOT_LIVE;
    if (checkpoint->behind)
        return FALLBACK_CATCHING_UP;
    if (checkpoint->seen_us < now_us - age_max_us || checkpoint->seen_us > now_us + age_max_us)
        return FALLBACK_OLD;
    return checkpoint->pos < at_least ? FALLBACK_BEHIND : FALLBACK_NONE;
}

enum fallback model_state_judge(const struct model_state *state, const struct query *query,
                                int64_t age_max_us)
{
    unsigned slices = query_slices(query);
    enum fallback found = FALLBACK_NONE;
    if (state->generation == 0)
        return FALLBACK_NOT_LIVE;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(slices >> slice & 1))
            continue;
        enum fallback here =
            judge(&state->slices[slice], query_at_least(query, slice), query->now_us, age_max_us);
        if (here != FALLBACK_NONE && here != FALLBACK_BEHIND)
            return here; /* no moment's wait mends this, whatever the others say */
        if (here == FALLBACK_BEHIND)
            found = here;
    }
    return found;
}

/* A log that was empty has its first life ahead. */
static bool follows(const struct checkpoint *after, const struct checkpoint *before)
{
    return after->present && after->pos >= before->pos && (before->pos == 0 || after->life == before->life);
}

enum fallback model_state_compare(const struct model_state *before, const struct model_state *after,
                                  const struct query *query)
{
    unsigned slices = query_slices(query);
    if (before->generation != after->generation)
        return FALLBACK_MOVED;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (slices >> slice & 1 && !follows(&after->slices[slice], &before->slices[slice]))
            return FALLBACK_MOVED;
    return FALLBACK_NONE;
}
