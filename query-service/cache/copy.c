/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of answers: one block of memory each, and the rules of their life. */
#include "query-service/cache/copy.h"

#include <math.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

uint16_t copy_campaign_slot(struct span campaign_id)
{
    return (uint16_t)(span_hash(campaign_id) % COPY_CAMPAIGN_SLOTS);
}

/* --- making --- */

static void set_life(struct copy *copy, const struct copy_source *source, const struct copy_life *life,
                     double jitter)
{
    bool negative = source->status != 200, brief = negative || source->brief;
    int64_t ended_us = source->ended_us;
    int64_t fresh_us = negative ? life->negative_us : life->fresh_us;
    if (copy->settled)
        fresh_us = COPY_SETTLED_S * US_PER_S;
    copy->fresh_until_us = ended_us + (int64_t)((double)fresh_us * (0.9 + 0.2 * jitter));
    copy->stale_until_us = copy->fresh_until_us + (brief ? 0 : life->stale_us);
    copy->error_until_us = copy->fresh_until_us + (brief ? 0 : life->error_us);
    if (copy->error_until_us < copy->stale_until_us)
        copy->error_until_us = copy->stale_until_us;
}

static size_t slices_count(uint16_t slices)
{
    return (size_t)__builtin_popcount(slices);
}

struct copy *copy_create(const struct copy_source *source, const struct copy_life *life, double jitter)
{
    const struct copy_subject *subject = source->subject;
    size_t positions = slices_count(subject->slices);
    size_t bytes = sizeof(struct copy) + positions * sizeof(int64_t) + source->body.len;
    struct copy *copy = mem_zalloc(bytes);
    int64_t *at = (int64_t *)(copy + 1);
    char *body = (char *)(at + positions);
    CHECK(strlen(source->etag) < sizeof copy->etag);
    atomic_init(&copy->references, 1);
    atomic_init(&copy->retry_us, 0);
    copy->loaded_us = source->began_us;
    copy->cost_us = source->ended_us - source->began_us;
    copy->status = source->status;
    copy->from_models = source->from_models;
    copy->every = subject->every;
    copy->brief = source->brief;
    copy->settled = source->settled && source->status == 200;
    copy->slices = subject->slices;
    copy->bucket = subject->bucket;
    copy->campaign_slot = subject->campaign_slot;
    copy->positions = at;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (subject->slices >> slice & 1)
            *at++ = source->stands_on[slice];
    memcpy(copy->etag, source->etag, strlen(source->etag) + 1);
    if (source->body.len)
        memcpy(body, source->body.ptr, source->body.len);
    copy->body = (struct span){body, source->body.len};
    copy->bytes = bytes;
    set_life(copy, source, life, jitter);
    return copy;
}

struct copy *copy_keep(struct copy *copy)
{
    if (copy)
        atomic_fetch_add_explicit(&copy->references, 1, memory_order_relaxed);
    return copy;
}

void copy_release(struct copy *copy)
{
    if (copy && atomic_fetch_sub_explicit(&copy->references, 1, memory_order_acq_rel) == 1)
        mem_free(copy);
}

/* --- positions --- */

bool copy_reaches(const struct copy *copy, const int64_t at_least[SLICE_COUNT])
{
    const int64_t *at = copy->positions;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (copy->slices >> slice & 1 && *at++ < at_least[slice])
            return false;
    return true;
}

bool copy_is_behind(const struct copy *copy, const struct copy *other)
{
    bool behind = false;
    if (copy->slices != other->slices)
        return false;
    for (size_t i = 0; i < slices_count(copy->slices); i++) {
        if (copy->positions[i] > other->positions[i])
            return false;
        behind |= copy->positions[i] < other->positions[i];
    }
    return behind;
}

/* --- judging --- */

/* XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015) with
 * beta 1: the nearer the end and the dearer the load, the likelier that this reader is the one who goes.
 * Further away than 16 times the cost it would be one in nine million. */
static bool goes_early(const struct copy *copy, const struct copy_moment *moment)
{
    int64_t left_us = copy->fresh_until_us - moment->now_us;
    if (left_us > 16 * copy->cost_us || moment->chance <= 0)
        return false;
    return (double)left_us <= -(double)copy->cost_us * log(moment->chance);
}

enum copy_verdict copy_judge(const struct copy *copy, const struct copy_moment *moment)
{
    int64_t now_us = moment->now_us, age_us = now_us - copy->loaded_us;
    bool quick = moment->quick && copy->from_models;
    bool overtaken =
        moment->changed && !copy->settled && age_us >= (quick ? COPY_PACE_US : COPY_DEAR_PACE_US);
    if (now_us >= copy->error_until_us)
        return COPY_DEAD;
    if (now_us >= copy->stale_until_us)
        return COPY_EXPIRED;
    if (overtaken && quick && age_us >= COPY_VISIBLE_US)
        return COPY_CHANGED;
    if (overtaken || now_us >= copy->fresh_until_us)
        return COPY_STALE;
    return goes_early(copy, moment) ? COPY_EARLY : COPY_FRESH;
}

int64_t copy_age_s(const struct copy *copy, int64_t now_us)
{
    return now_us > copy->loaded_us ? (now_us - copy->loaded_us) / US_PER_S : 0;
}
