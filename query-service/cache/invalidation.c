/* SPDX-License-Identifier: Apache-2.0 */
/* Instants of the last change. Relaxed atomics: a reader that misses a change by a moment is as if the hint
 * had come a moment later. */
#include "query-service/cache/invalidation.h"

void invalidation_init(struct invalidation *changes)
{
    memset(changes, 0, sizeof *changes);
}

static void raise_to(_Atomic int64_t *value, int64_t to)
{
    int64_t is = atomic_load_explicit(value, memory_order_relaxed);
    while (is < to &&
           !atomic_compare_exchange_weak_explicit(value, &is, to, memory_order_relaxed, memory_order_relaxed))
        continue;
}

static int64_t load(const _Atomic int64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

bool invalidation_note(struct invalidation *changes, const struct hint *hint, int64_t head, int64_t now_us)
{
    if (head >= 0 && hint->position - head > INVALIDATION_AHEAD_MAX)
        return false;
    bool named = hint->campaigns_count || hint->users_count || hint->rankings;
    raise_to(&changes->heads[hint->slice], hint->position);
    if (hint->everything || !named) {
        raise_to(&changes->marks[hint->slice], hint->position);
        return true;
    }
    for (size_t i = 0; i < hint->campaigns_count; i++)
        raise_to(&changes->campaigns[entry_campaign_slot(hint->campaigns[i])], now_us);
    for (size_t i = 0; i < hint->users_count; i++)
        if (hint->users[i] >= 0 && hint->users[i] < USER_GROUPS)
            raise_to(&changes->buckets[hint->users[i]], now_us);
    if (hint->campaigns_count || hint->rankings)
        raise_to(&changes->lists, now_us);
    return true;
}

static bool is_behind_marks(const struct invalidation *changes, const struct entry *entry)
{
    const int64_t *at = entry->positions;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (entry->slices >> slice & 1 && *at++ < load(&changes->marks[slice]))
            return true;
    return false;
}

bool invalidation_concerns(const struct invalidation *changes, const struct entry *entry)
{
    int64_t loaded_us = entry->loaded_us;
    if (entry->campaign_slot < ENTRY_CAMPAIGN_SLOTS &&
        load(&changes->campaigns[entry->campaign_slot]) >= loaded_us)
        return true;
    if (entry->bucket != ENTRY_NO_BUCKET && load(&changes->buckets[entry->bucket]) >= loaded_us)
        return true;
    if (entry->every && load(&changes->lists) >= loaded_us)
        return true;
    return is_behind_marks(changes, entry);
}
