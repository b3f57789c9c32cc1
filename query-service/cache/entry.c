/* SPDX-License-Identifier: Apache-2.0 */
/* Cache entries: one block of memory each, and the rules of their life. */
#include "query-service/cache/entry.h"

#include <math.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum { JITTER_MAX = 1000 };

uint16_t entry_campaign_slot(struct span campaign_id)
{
    return (uint16_t)(span_hash(campaign_id) % ENTRY_CAMPAIGN_SLOTS);
}

/* --- making --- */

static size_t slices_count(uint16_t slices)
{
    return (size_t)__builtin_popcount(slices);
}

static size_t bytes_needed(const struct entry_source *source)
{
    size_t bytes = sizeof(struct entry) + slices_count(source->subject->slices) * sizeof(int64_t);
    for (size_t i = 0; i < source->renderings_count; i++)
        bytes += source->renderings[i].body.len;
    return bytes;
}

static void copy_renderings(struct entry *entry, const struct entry_source *source, char *at)
{
    entry->renderings_count = source->renderings_count;
    for (size_t i = 0; i < source->renderings_count; i++) {
        struct entry_rendering *is = &entry->renderings[i];
        *is = source->renderings[i];
        if (is->body.len)
            memcpy(at, is->body.ptr, is->body.len);
        is->body.ptr = at;
        at += is->body.len;
    }
}

struct entry *entry_create(const struct entry_source *source, double jitter)
{
    const struct entry_subject *subject = source->subject;
    CHECK(source->renderings_count >= 1 && source->renderings_count <= ENTRY_RENDERINGS_MAX);
    struct entry *entry = mem_alloc(bytes_needed(source));
    int64_t *at = (int64_t *)(entry + 1);
    *entry = (struct entry){
        .loaded_us = source->began_us,
        .ended_us = source->ended_us,
        .log_epoch = source->log_epoch,
        .jitter = (uint16_t)(jitter * JITTER_MAX),
        .status = source->status,
        .from_models = source->from_models,
        .every = subject->every,
        .no_stale = source->no_stale || source->status != 200,
        .settled = source->settled && source->status == 200,
        .slices = subject->slices,
        .campaign_slot = subject->campaign_slot,
        .bucket = subject->bucket,
        .positions = at,
        .bytes = mem_size(entry),
    };
    atomic_init(&entry->references, 1);
    atomic_init(&entry->retry_us, 0);
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (subject->slices >> slice & 1)
            *at++ = source->stands_on[slice];
    copy_renderings(entry, source, (char *)at);
    return entry;
}

struct entry *entry_keep(struct entry *entry)
{
    if (entry)
        atomic_fetch_add_explicit(&entry->references, 1, memory_order_relaxed);
    return entry;
}

void entry_release(struct entry *entry)
{
    if (entry && atomic_fetch_sub_explicit(&entry->references, 1, memory_order_acq_rel) == 1)
        mem_free(entry);
}

/* --- positions --- */

bool entry_reaches(const struct entry *entry, const int64_t at_least[SLICE_COUNT])
{
    const int64_t *at = entry->positions;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (entry->slices >> slice & 1 && *at++ < at_least[slice])
            return false;
    return true;
}

bool entry_is_behind(const struct entry *entry, const struct entry *other)
{
    bool behind = false;
    if (entry->slices != other->slices || entry->log_epoch != other->log_epoch ||
        entry->loaded_us - other->loaded_us > ENTRY_RACE_US)
        return false;
    for (size_t i = 0; i < slices_count(entry->slices); i++) {
        if (entry->positions[i] > other->positions[i])
            return false;
        behind |= entry->positions[i] < other->positions[i];
    }
    return behind;
}

/* --- judging --- */

const struct entry_rendering *entry_at(const struct entry *entry, int64_t log_us)
{
    for (size_t i = 0; i < entry->renderings_count; i++)
        if (log_us < entry->renderings[i].until_us)
            return &entry->renderings[i];
    return NULL;
}

static int64_t fresh_until_us(const struct entry *entry, const struct entry_life *life)
{
    int64_t fresh_us = entry->status != 200 ? ENTRY_NEGATIVE_US : life->fresh_us;
    if (entry->settled)
        fresh_us = ENTRY_SETTLED_S * US_PER_S;
    return entry->ended_us + fresh_us / 10 * 9 + fresh_us / 5 * entry->jitter / JITTER_MAX;
}

/* XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015) with
 * beta 1: the nearer the end and the dearer the load, the likelier that this reader is the one who goes.
 * Further away than 16 times the cost it would be one in nine million. */
static bool goes_early(const struct entry *entry, int64_t left_us, double chance)
{
    int64_t cost_us = entry->ended_us - entry->loaded_us;
    if (left_us > 16 * cost_us || chance <= 0)
        return false;
    return (double)left_us <= -(double)cost_us * log(chance);
}

/* By age alone, and what is known to have happened since. */
static enum entry_verdict judge_age(const struct entry *entry, const struct entry_life *life,
                                    const struct entry_moment *moment)
{
    int64_t fresh_us = fresh_until_us(entry, life), now_us = moment->now_us;
    int64_t age_us = now_us - entry->loaded_us;
    bool quick = moment->quick && entry->from_models;
    bool changed = moment->changed && !entry->settled;
    bool overtaken = changed && age_us >= (quick ? ENTRY_PACE_US : ENTRY_DEAR_PACE_US);
    if (entry->no_stale && (now_us >= fresh_us || (changed && entry->status == 200)))
        return ENTRY_DEAD;
    int64_t stale_until_us = fresh_us + life->stale_us, error_until_us = fresh_us + life->error_us;
    if (now_us >= stale_until_us)
        return now_us >= error_until_us ? ENTRY_DEAD : ENTRY_EXPIRED;
    if (overtaken && quick && age_us >= ENTRY_VISIBLE_US)
        return ENTRY_CHANGED;
    if (overtaken || now_us >= fresh_us)
        return ENTRY_STALE;
    return goes_early(entry, fresh_us - now_us, moment->chance) ? ENTRY_EARLY : ENTRY_FRESH;
}

enum entry_verdict entry_judge(const struct entry *entry, const struct entry_life *life,
                               const struct entry_moment *moment)
{
    if (entry->log_epoch != moment->log_epoch || !entry_at(entry, moment->log_us))
        return ENTRY_DEAD;
    return judge_age(entry, life, moment);
}

int64_t entry_fresh_left_us(const struct entry *entry, const struct entry_life *life,
                            const struct entry_moment *moment)
{
    const struct entry_rendering *rendering = entry_at(entry, moment->log_us);
    int64_t left_us = fresh_until_us(entry, life) - moment->now_us;
    int64_t true_us = rendering ? rendering->until_us - moment->log_us : 0;
    return left_us < true_us ? left_us : true_us;
}

int64_t entry_age_s(const struct entry *entry, int64_t now_us)
{
    return now_us > entry->loaded_us ? (now_us - entry->loaded_us) / US_PER_S : 0;
}
