/* SPDX-License-Identifier: Apache-2.0 */
/* Steps for reads about one user: what the user holds, everywhere or in one campaign. The first round reads
 * the user's bucket in each slice that matters, the second the coupons of the answer.
 *
 * What proves it whole (I7): every bucket that there is by the checkpoint exists, and begins with the mark,
 * which only its beginning writes. So one that is absent or has no mark was lost, and one that is there has
 * all of its coupons up to the checkpoint. Whether it is still the user's bucket is looked at again with the
 * second round: buckets are split while one reads (model_state_compare).
 *
 * What makes it of one moment: after the coupons, the buckets are as they were. They are only appended to,
 * but for splits, so their lengths say that. Coupons of one slice are besides of one checkpoint. */
#include "query-service/redis/model_step.h"

#include "readmodel/users.h"

enum { IN_CAMPAIGN_MAX = 2 * PER_USER_LIMIT_MAX }; /* others with the same tags come on top */

/* --- first round: buckets --- */

static void ask_bucket(struct model_work *work, struct model_pipe *pipe, int16_t slice)
{
    int64_t buckets = work->asked->slices[slice].buckets;
    key_users(pipe_key(pipe), model_of(work, slice), users_bucket(work->user_hash, buckets ? buckets : 1));
    pipe_command(pipe, "GET");
    pipe_send(pipe, work, slice);
}

/* Newest first, as the list is. */
static int compare_held(const void *a, const void *b)
{
    const struct held *x = a, *y = b;
    if (x->at_us != y->at_us)
        return x->at_us > y->at_us ? -1 : 1;
    if (x->at.slice != y->at.slice)
        return x->at.slice > y->at.slice ? -1 : 1;
    return (x->at.position < y->at.position) - (x->at.position > y->at.position);
}

static bool is_before_page(const struct query *query, const struct held *held)
{
    const struct cursor *after = &query->after;
    struct held last = {after->time_us, {after->slice, after->number}};
    return after->kind != CURSOR_NONE && compare_held(held, &last) <= 0;
}

static bool has_tags(const struct model_work *work, const struct holding *holding)
{
    return holding->user == user_tag(work->user_hash) &&
           (!work->read->query.campaign_id.ptr || holding->campaign == work->campaign_tag);
}

/* Newest first, so that of a user with many only those that may be on the page are kept. */
static enum fallback take_bucket(struct model_work *work, int16_t slice, size_t most,
                                 const struct redis_reply *reply)
{
    struct span entries;
    size_t end = work->held_count + most;
    struct holding later = {.position = INT64_MAX, .at_us = INT64_MAX};
    work->bucket_bytes[slice] = redis_text(reply).len;
    if (!users_entries(redis_text(reply), &entries))
        return work->state->slices[slice].position == 0 ? FALLBACK_NONE : FALLBACK_HOLE;
    for (size_t at = entries.len; at > 0 && work->held_count < end; at -= HOLDING_BYTES) {
        struct holding holding = holding_read(entries.ptr + at - HOLDING_BYTES);
        if (holding.position < 1 || holding.position >= later.position || holding.at_us > later.at_us)
            return FALLBACK_CORRUPT;
        later = holding;
        struct held held = {holding.at_us, {slice, holding.position}};
        if (has_tags(work, &holding) && !is_before_page(&work->read->query, &held))
            work->held[work->held_count++] = held;
    }
    return FALLBACK_NONE;
}

/* --- second round: the coupons --- */

static void begin_held(struct model_work *work, size_t most)
{
    work->user_hash = user_hash(work->read->query.user_id);
    work->held = answer_alloc(&work->read->answer, most * sizeof *work->held);
}

static void ask_bucket_bytes(struct model_work *work, struct model_pipe *pipe, int16_t slice)
{
    key_users(pipe_key(pipe), model_of(work, slice),
              users_bucket(work->user_hash, work->asked->slices[slice].buckets));
    pipe_command(pipe, "STRLEN");
    pipe_send(pipe, work, slice);
}

/* Buckets without one matter as well: what was the user's bucket may have been split before it was read.
 * Their lengths do not: that there was none is of the moment of the first round. */
static void ask_held(struct model_work *work, struct model_pipe *pipe)
{
    unsigned seen = 0;
    for (size_t i = 0; i < work->held_count; i++) {
        const struct position *at = &work->held[i].at;
        model_ask_coupons(work, pipe, at->slice, &at->position, 1);
        work->one_moment |= seen & 1U << at->slice;
        seen |= 1U << at->slice;
    }
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (seen >> slice & 1)
            ask_bucket_bytes(work, pipe, slice);
}

/* Whether the bucket was split between the rounds, which gives it another length but by chance. */
static bool was_split(const struct model_work *work, int16_t slice, const struct model_state *now)
{
    int64_t before = work->asked->slices[slice].buckets, bucket = users_bucket(work->user_hash, before);
    for (int64_t child = before; child < now->slices[slice].buckets; child++)
        if (users_parent(child) == bucket)
            return true;
    return false;
}

static enum fallback take_held(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    if (index >= 2 * work->held_count) {
        int16_t slice = work->slices[index];
        bool as_it_was = (size_t)redis_integer(reply) == work->bucket_bytes[slice];
        return as_it_was && !was_split(work, slice, work->later) ? FALLBACK_NONE : FALLBACK_MOVED;
    }
    const struct held *held = &work->held[index / 2];
    if (index % 2 == 1)
        return model_take_states(work, reply);
    return model_take_chunk(work, held->at.slice, &held->at.position, 1, held->at_us, reply);
}

static bool is_of_user(const struct model_work *work, size_t index)
{
    return span_equal(work->read->answer.coupons[index].user_id, work->read->query.user_id);
}

/* --- everywhere --- */

static void ask_user(struct model_work *work, struct model_pipe *pipe)
{
    begin_held(work, SLICE_COUNT * (query_scan(&work->read->query) + 1));
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        ask_bucket(work, pipe, slice);
}

static enum fallback take_user(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    return take_bucket(work, (int16_t)index, query_scan(&work->read->query) + 1, reply);
}

/* The page and one more, so that its end is known. */
static void ask_page(struct model_work *work, struct model_pipe *pipe)
{
    size_t most = query_scan(&work->read->query) + 1;
    qsort(work->held, work->held_count, sizeof *work->held, compare_held);
    if (work->held_count > most)
        work->held_count = most;
    ask_held(work, pipe);
}

static enum fallback finish_page(struct model_work *work)
{
    struct answer *answer = &work->read->answer;
    for (size_t i = 0; i < answer->coupons_count; i++) {
        if (!is_of_user(work, i))
            return FALLBACK_UNPROVEN; /* another's with the same tag, in the place of one of this user's */
        if (answer->coupons[i].issued_at_us != work->held[i].at_us)
            return FALLBACK_CORRUPT;
    }
    answer_cut_coupons(answer, &work->read->query);
    return FALLBACK_NONE;
}

const struct model_steps model_user = {ask_user, take_user, NULL, ask_page, take_held, finish_page};

/* --- in a campaign --- */

static void ask_in_campaign(struct model_work *work, struct model_pipe *pipe)
{
    const struct query *query = &work->read->query;
    begin_held(work, IN_CAMPAIGN_MAX);
    work->campaign_tag = campaign_tag(query->campaign_id);
    model_ask_campaign(work, pipe, query->campaign_id);
    ask_bucket(work, pipe, slice_of(query->campaign_id));
}

static enum fallback take_in_campaign(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    int16_t slice = slice_of(work->read->query.campaign_id);
    if (index == 0)
        return model_take_whether_known(work, reply);
    enum fallback verdict = take_bucket(work, slice, IN_CAMPAIGN_MAX, reply);
    return verdict == FALLBACK_NONE && work->held_count == IN_CAMPAIGN_MAX ? FALLBACK_UNPROVEN : verdict;
}

/* In order of nth, oldest first; without others' that have the same tags. */
static enum fallback finish_in_campaign(struct model_work *work)
{
    struct answer *answer = &work->read->answer;
    const struct query *query = &work->read->query;
    struct coupon *ordered = answer_alloc(answer, (answer->coupons_count + 1) * sizeof *ordered);
    size_t kept = 0;
    for (size_t i = answer->coupons_count; i-- > 0;)
        if (is_of_user(work, i) && span_equal(answer->coupons[i].campaign_id, query->campaign_id))
            ordered[kept++] = answer->coupons[i];
    answer->coupons = ordered;
    answer->coupons_count = kept;
    answer->coupons_capacity = kept;
    for (size_t i = 0; i < kept; i++)
        if (ordered[i].nth != (int64_t)i + 1)
            return FALLBACK_CORRUPT;
    return FALLBACK_NONE;
}

const struct model_steps model_user_in_campaign = {ask_in_campaign, take_in_campaign, NULL,
                                                   ask_held,        take_held,        finish_in_campaign};
