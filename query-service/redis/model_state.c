/* SPDX-License-Identifier: Apache-2.0 */
/* Judging checkpoints. */
#include "query-service/redis/model_state.h"

#include "readmodel/users.h"

int64_t model_state_seen_ago_ms(const struct model_state *state, unsigned slices)
{
    int64_t oldest_ms = 0;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (slices >> slice & 1 && state->seen_ago_ms[slice] > oldest_ms)
            oldest_ms = state->seen_ago_ms[slice];
    return oldest_ms;
}

static enum fallback judge(const struct checkpoint *checkpoint, int64_t at_least)
{
    if (!checkpoint->present)
        return FALLBACK_NOT_LIVE;
    if (checkpoint->behind)
        return FALLBACK_CATCHING_UP;
    return checkpoint->position < at_least ? FALLBACK_BEHIND : FALLBACK_NONE;
}

enum fallback model_state_judge(const struct model_state *state, const struct query *query, int64_t old_ms)
{
    unsigned slices = query_slices(query);
    bool away = slices & state->away, behind = false;
    slices &= ~state->away;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(slices >> slice & 1))
            continue;
        enum fallback here = judge(&state->slices[slice], query_at_least(query, slice));
        if (here != FALLBACK_NONE && here != FALLBACK_BEHIND)
            return here; /* no moment's wait mends this, whatever the others say */
        behind |= here == FALLBACK_BEHIND;
    }
    if (model_state_seen_ago_ms(state, slices) >= old_ms)
        return FALLBACK_OLD;
    return away ? FALLBACK_AWAY : behind ? FALLBACK_BEHIND : FALLBACK_NONE;
}

static bool asks_for_user(const struct query *query)
{
    return query->kind == QUERY_USER_COUPONS || query->kind == QUERY_USER_IN_CAMPAIGN;
}

enum fallback model_state_compare(const struct model_state *before, const struct model_state *after,
                                  const struct query *query, unsigned slices)
{
    uint64_t hash = asks_for_user(query) ? user_hash(query->user_id) : 0;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        const struct checkpoint *was = &before->slices[slice], *is = &after->slices[slice];
        if (!(slices >> slice & 1))
            continue;
        if (!is->present || is->generation != was->generation || is->position < was->position)
            return FALLBACK_MOVED;
        if (asks_for_user(query) &&
            users_bucket(hash, is->buckets) != users_bucket(hash, was->buckets ? was->buckets : 1))
            return FALLBACK_MOVED;
    }
    return FALLBACK_NONE;
}
