/* SPDX-License-Identifier: Apache-2.0 */
/* Steps for reads about one user: what the user holds, everywhere or in one campaign. The first round reads
 * the user's bucket in each slice that matters, the second the coupons of the answer.
 *
 * What proves it whole (I7): the projector makes USERS_BEGUN with a slice's first event and does not go on
 * where it vanished, so where it is, it says truly which buckets have begun. Nor does the projector add to a
 * bucket that has begun and is gone, so one that is there has all of its coupons. A bucket that has not begun
 * has none. What was read while a slice was started anew is told by the checkpoint's life. */
#include "query-service/redis/model_step.h"

enum { IN_CAMPAIGN_MAX = 2 * PER_USER_LIMIT_MAX }; /* others with the same tags come on top */

/* --- first round: buckets --- */

static void ask_bucket(struct model_work *work, struct model_pipe *pipe, int16_t slice)
{
    struct user_place place = user_place(work->read->query.user_id);
    key_users_begun(pipe_key(pipe), model_of(work, slice));
    struct redis_command *command = pipe_command(pipe, "GETRANGE"); /* before the bucket, see take_begun */
    redis_arg_i64(command, place.bucket);
    redis_arg_i64(command, place.bucket);
    pipe_send(pipe, work);
    key_users(pipe_key(pipe), model_of(work, slice), place.bucket);
    pipe_command(pipe, "GET");
    pipe_send(pipe, work);
}

/* A bucket that begins between the two commands makes no difference: it had none when the first was run. */
static enum fallback take_begun(struct model_work *work, int16_t slice, const struct redis_reply *reply)
{
    struct span begun = redis_text(reply);
    work->bucket_begun = span_is(begun, "1");
    if (work->bucket_begun || span_equal(begun, SPAN("\0")))
        return FALLBACK_NONE;
    if (begun.ptr && begun.len == 0)
        return work->state->slices[slice].pos == 0 ? FALLBACK_NONE : FALLBACK_ABSENT;
    return FALLBACK_CORRUPT;
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
    return holding->user == work->user_tag &&
           (!work->read->query.campaign_id.ptr || holding->campaign == work->campaign_tag);
}

/* Newest first, so that of a user with many only those that may be on the page are kept. */
static enum fallback take_bucket(struct model_work *work, int16_t slice, size_t most,
                                 const struct redis_reply *reply)
{
    struct span bucket = redis_text(reply);
    size_t end = work->held_count + most;
    struct holding later = {.position = INT64_MAX, .at_us = INT64_MAX};
    if (!work->bucket_begun)
        return FALLBACK_NONE; /* whatever is there is of an earlier life */
    if (!bucket.ptr)
        return FALLBACK_ABSENT;
    if (bucket.len == 0 || bucket.len % HOLDING_BYTES != 0)
        return FALLBACK_CORRUPT;
    for (size_t at = bucket.len; at > 0 && work->held_count < end; at -= HOLDING_BYTES) {
        struct holding holding = holding_read(bucket.ptr + at - HOLDING_BYTES);
        if (holding.position < 1 || holding.at_us < 0 || holding.position >= later.position ||
            holding.at_us > later.at_us)
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
    work->user_tag = user_place(work->read->query.user_id).tag;
    work->held = answer_alloc(&work->read->answer, most * sizeof *work->held);
}

static void ask_held(struct model_work *work, struct model_pipe *pipe)
{
    for (size_t i = 0; i < work->held_count; i++)
        model_ask_coupon(work, pipe, work->held[i].at);
}

static enum fallback take_held(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    return model_take_coupon(work, work->held[index].at, reply);
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
    int16_t slice = (int16_t)(index / 2);
    if (index % 2 == 0)
        return take_begun(work, slice, reply);
    return take_bucket(work, slice, query_scan(&work->read->query) + 1, reply);
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

const struct model_steps model_user = {ask_user, take_user, ask_page, take_held, finish_page};

/* --- in a campaign --- */

static void ask_in_campaign(struct model_work *work, struct model_pipe *pipe)
{
    const struct query *query = &work->read->query;
    begin_held(work, IN_CAMPAIGN_MAX);
    work->campaign_tag = campaign_tag(query->campaign_id);
    model_ask_whether_known(work, pipe);
    ask_bucket(work, pipe, slice_of(query->campaign_id));
}

static enum fallback take_in_campaign(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    int16_t slice = slice_of(work->read->query.campaign_id);
    if (index == 0)
        return model_take_whether_known(work, reply);
    if (index == 1)
        return take_begun(work, slice, reply);
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

const struct model_steps model_user_in_campaign = {ask_in_campaign, take_in_campaign, ask_held, take_held,
                                                   finish_in_campaign};
