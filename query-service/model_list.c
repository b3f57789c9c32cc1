/* SPDX-License-Identifier: Apache-2.0 */
/* Steps for reads over all slices: the list of campaigns and the ranking. Each slice has a sorted set; the
 * first round reads a window of each, the second the campaigns of what the merged windows show.
 *
 * What proves a set complete: a slice whose log is empty has no campaign; past its first event it has one,
 * and the projector does not go on where that set vanished, so a set that is there is whole. For the ranking
 * the checkpoint says whether there is one, and the projector does not go on without it either. */
#include "query-service/model_step.h"

enum {
    TIES_MAX = 64,       /* campaigns created in the same microsecond as a cursor's that are stepped over */
    RANK_SCAN_MAX = 128, /* of each slice, where a tag picks */
};

static size_t window_of(const struct query *query)
{
    if (query->kind == QUERY_RANKING)
        return query->tag.ptr ? RANK_SCAN_MAX : (size_t)query->limit;
    return query_scan(query) + 1 + (query->after.kind == CURSOR_NONE ? 0 : TIES_MAX);
}

static void begin_lists(struct model_work *work)
{
    size_t count = SLICE_COUNT * window_of(&work->read->query);
    work->listed = answer_alloc(&work->read->answer, count * sizeof *work->listed);
}

/* --- the order of each list --- */

/* Newest first; created at the same time: id descending. */
static int compare_created(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return span_compare(y->id, x->id);
}

/* Most first; as many: who was there earlier; at the same time: id descending. */
static int compare_rank(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    if (x->score == y->score && x->reached_at_us != y->reached_at_us)
        return x->reached_at_us < y->reached_at_us ? -1 : 1;
    return compare_created(a, b);
}

static int (*order_of(const struct query *query))(const void *, const void *)
{
    return query->kind == QUERY_RANKING ? compare_rank : compare_created;
}

/* --- first round: a window of each slice --- */

static void ask_campaigns(struct model_work *work, struct model_pipe *pipe)
{
    const struct query *query = &work->read->query;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        key_campaigns(pipe_key(pipe), model_of(work, slice));
        struct redis_command *command = pipe_command(pipe, "ZREVRANGEBYSCORE");
        if (query->after.kind == CURSOR_NONE)
            redis_arg_text(command, "+inf");
        else
            redis_arg_i64(command, query->after.time_us);
        redis_arg_text(command, "-inf");
        redis_arg_text(command, "WITHSCORES");
        redis_arg_text(command, "LIMIT");
        redis_arg_i64(command, 0);
        redis_arg_i64(command, (int64_t)window_of(query));
        pipe_send(pipe, work);
        key_campaigns(pipe_key(pipe), model_of(work, slice));
        pipe_command(pipe, "EXISTS");
        pipe_send(pipe, work);
    }
    begin_lists(work);
}

static void ask_ranking(struct model_work *work, struct model_pipe *pipe)
{
    const struct query *query = &work->read->query;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        key_rank_issued(pipe_key(pipe), model_of(work, slice));
        struct redis_command *command = pipe_command(pipe, "ZREVRANGE");
        redis_arg_i64(command, 0);
        redis_arg_i64(command, (int64_t)window_of(query) - 1);
        redis_arg_text(command, "WITHSCORES");
        pipe_send(pipe, work);
    }
    begin_lists(work);
}

static bool read_member(const struct query *query, struct span member, struct listed *ret)
{
    ret->id = query->kind == QUERY_RANKING ? rank_member_campaign(member, &ret->reached_at_us) : member;
    return campaign_id_valid(ret->id);
}

static bool is_before_page(const struct query *query, const struct listed *listed)
{
    struct listed cursor = {.score = query->after.time_us, .id = cursor_id(&query->after)};
    return query->after.kind != CURSOR_NONE && compare_created(listed, &cursor) <= 0;
}

static void note_full(struct model_work *work, const struct listed *last)
{
    if (!work->windows_full || order_of(&work->read->query)(last, &work->frontier) < 0)
        work->frontier = *last;
    work->windows_full = true;
}

static enum fallback take_window(struct model_work *work, const struct redis_reply *reply)
{
    const struct query *query = &work->read->query;
    size_t entries = redis_length(reply) / 2, window = window_of(query), before = work->listed_count;
    struct listed listed = {0};
    if (entries > window)
        return FALLBACK_CORRUPT;
    for (size_t i = 0; i < entries; i++) {
        if (!read_member(query, redis_text(redis_at(reply, 2 * i)), &listed) ||
            !parse_i64(redis_text(redis_at(reply, 2 * i + 1)), 0, INT64_MAX, &listed.score))
            return FALLBACK_CORRUPT;
        if (is_before_page(query, &listed))
            continue;
        listed.id = answer_text(&work->read->answer, listed.id);
        work->listed[work->listed_count++] = listed;
    }
    if (entries == window && work->listed_count == before)
        return FALLBACK_UNPROVEN; /* more ties with the cursor than the window holds */
    if (entries == window)
        note_full(work, &work->listed[work->listed_count - 1]);
    return FALLBACK_NONE;
}

static enum fallback take_campaigns_window(struct model_work *work, size_t index,
                                           const struct redis_reply *reply)
{
    if (index % 2 == 0)
        return take_window(work, reply);
    bool empty_log = work->state->slices[index / 2].pos == 0;
    return redis_integer(reply) == 1 || empty_log ? FALLBACK_NONE : FALLBACK_ABSENT;
}

static enum fallback take_ranking_window(struct model_work *work, size_t index,
                                         const struct redis_reply *reply)
{
    if (redis_length(reply) == 0)
        return work->state->slices[index].unranked ? FALLBACK_NONE : FALLBACK_ABSENT;
    return take_window(work, reply);
}

/* --- second round: the campaigns --- */

/* Sorts the windows into one list and keeps what is certain and of use. Beyond the frontier a slice may have
 * entries that no window showed. */
static void merge(struct model_work *work)
{
    const struct query *query = &work->read->query;
    int (*order)(const void *, const void *) = order_of(query);
    size_t most =
        query->kind == QUERY_RANKING && !query->tag.ptr ? (size_t)query->limit : query_scan(query) + 1;
    qsort(work->listed, work->listed_count, sizeof *work->listed, order);
    size_t count = work->listed_count < most ? work->listed_count : most;
    while (work->windows_full && count > 0 && order(&work->listed[count - 1], &work->frontier) > 0)
        count--;
    if (count < work->listed_count)
        work->windows_full = true; /* something was left out */
    work->listed_count = count;
}

static void ask_listed(struct model_work *work, struct model_pipe *pipe)
{
    merge(work);
    for (size_t i = 0; i < work->listed_count; i++)
        model_ask_campaign(work, pipe, work->listed[i].id);
}

static enum fallback take_listed(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    return model_take_campaign(work, work->listed[index].id, reply);
}

static enum fallback finish_campaigns(struct model_work *work)
{
    struct answer *answer = &work->read->answer;
    for (size_t i = 0; i < answer->campaigns_count; i++)
        if (answer->campaigns[i].created_at_us != work->listed[i].score)
            return FALLBACK_CORRUPT;
    /* A page of ties cut short by the frontier would be told as the last. */
    if (work->windows_full && answer->campaigns_count <= query_scan(&work->read->query))
        return FALLBACK_UNPROVEN;
    answer_cut_campaigns(answer, &work->read->query);
    return FALLBACK_NONE;
}

/* The counts are the ranking's own: the campaign was read a moment later. */
static enum fallback finish_ranking(struct model_work *work)
{
    struct answer *answer = &work->read->answer;
    const struct query *query = &work->read->query;
    size_t kept = 0;
    for (size_t i = 0; i < answer->campaigns_count && kept < (size_t)query->limit; i++) {
        struct campaign campaign = answer->campaigns[i];
        campaign.issued = work->listed[i].score;
        if (query_takes_campaign(query, &campaign))
            answer->campaigns[kept++] = campaign;
    }
    answer->campaigns_count = kept;
    if (kept < (size_t)query->limit && work->windows_full)
        return FALLBACK_UNPROVEN;
    return FALLBACK_NONE;
}

const struct model_steps model_campaigns = {ask_campaigns, take_campaigns_window, ask_listed, take_listed,
                                            finish_campaigns};
const struct model_steps model_ranking = {ask_ranking, take_ranking_window, ask_listed, take_listed,
                                          finish_ranking};
