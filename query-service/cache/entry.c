/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of answers: one block of memory each, and the rules of their life. */
#include "query-service/cache/entry.h"

#include <math.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

uint16_t entry_campaign_slot(struct span campaign_id)
{
    return (uint16_t)(span_hash(campaign_id) % ENTRY_CAMPAIGN_SLOTS);
}

/* --- making --- */

static void set_life(struct entry *entry, const struct entry_source *source, const struct entry_life *life,
                     double jitter)
{
    bool negative = source->status != 200, brief = negative || source->brief;
    int64_t ended_us = source->ended_us;
    int64_t fresh_us = negative ? life->negative_us : life->fresh_us;
    if (entry->settled)
        fresh_us = ENTRY_SETTLED_S * US_PER_S;
    entry->fresh_until_us = ended_us + (int64_t)((double)fresh_us * (0.9 + 0.2 * jitter));
    entry->stale_until_us = entry->fresh_until_us + (brief ? 0 : life->stale_us);
    entry->error_until_us = entry->fresh_until_us + (brief ? 0 : life->error_us);
    if (entry->error_until_us < entry->stale_until_us)
        entry->error_until_us = entry->stale_until_us;
}

static size_t slices_count(uint16_t slices)
{
    return (size_t)__builtin_popcount(slices);
}

struct entry *entry_create(const struct entry_source *source, const struct entry_life *life, double jitter)
{
    const struct entry_subject *subject = source->subject;
    size_t positions = slices_count(subject->slices);
    size_t bytes = sizeof(struct entry) + positions * sizeof(int64_t) + source->body.len;
    struct entry *entry = mem_zalloc(bytes);
    int64_t *at = (int64_t *)(entry + 1);
    char *body = (char *)(at + positions);
    CHECK(strlen(source->etag) < sizeof entry->etag);
    atomic_init(&entry->references, 1);
    atomic_init(&entry->retry_us, 0);
    entry->loaded_us = source->began_us;
    entry->cost_us = source->ended_us - source->began_us;
    entry->status = source->status;
    entry->from_models = source->from_models;
    entry->every = subject->every;
    entry->brief = source->brief;
    entry->settled = source->settled && source->status == 200;
    entry->slices = subject->slices;
    entry->bucket = subject->bucket;
    entry->campaign_slot = subject->campaign_slot;
    entry->positions = at;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (subject->slices >> slice & 1)
            *at++ = source->stands_on[slice];
    memcpy(entry->etag, source->etag, strlen(source->etag) + 1);
    if (source->body.len)
        memcpy(body, source->body.ptr, source->body.len);
    entry->body = (struct span){body, source->body.len};
    entry->bytes = bytes;
    set_life(entry, source, life, jitter);
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
    if (entry->slices != other->slices)
        return false;
    for (size_t i = 0; i < slices_count(entry->slices); i++) {
        if (entry->positions[i] > other->positions[i])
            return false;
        behind |= entry->positions[i] < other->positions[i];
    }
    return behind;
}

/* --- judging --- */

/* XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015) with
 * beta 1: the nearer the end and the dearer the load, the likelier that this reader is the one who goes.
 * Further away than 16 times the cost it would be one in nine million. */
static bool goes_early(const struct entry *entry, const struct entry_moment *moment)
{
    int64_t left_us = entry->fresh_until_us - moment->now_us;
    if (left_us > 16 * entry->cost_us || moment->chance <= 0)
        return false;
    return (double)left_us <= -(double)entry->cost_us * log(moment->chance);
}

enum entry_verdict entry_judge(const struct entry *entry, const struct entry_moment *moment)
{
    int64_t now_us = moment->now_us, age_us = now_us - entry->loaded_us;
    bool quick = moment->quick && entry->from_models;
    bool overtaken =
        moment->changed && !entry->settled && age_us >= (quick ? ENTRY_PACE_US : ENTRY_DEAR_PACE_US);
    if (now_us >= entry->error_until_us)
        return ENTRY_DEAD;
    if (now_us >= entry->stale_until_us)
        return ENTRY_EXPIRED;
    if (overtaken && quick && age_us >= ENTRY_VISIBLE_US)
        return ENTRY_CHANGED;
    if (overtaken || now_us >= entry->fresh_until_us)
        return ENTRY_STALE;
    return goes_early(entry, moment) ? ENTRY_EARLY : ENTRY_FRESH;
}

int64_t entry_age_s(const struct entry *entry, int64_t now_us)
{
    return now_us > entry->loaded_us ? (now_us - entry->loaded_us) / US_PER_S : 0;
}
