/* SPDX-License-Identifier: Apache-2.0 */
/* Steps for reads over all slices: the list of campaigns and the rankings. Each slice has a sorted set; the
 * first round reads a window of each, the second the campaigns of what the merged windows show.
 *
 * What proves a set whole (I7): from a slice's first event on each has a member that is the mark; a set that
 * was lost, and begun anew by a later write, has none.
 *
 * A ranking of a stretch of time reads the records of all campaigns that were active in it: where those are
 * more than ACTIVE_MAX, PostgreSQL is asked, before any record is. */
#include "query-service/redis/model_step.h"

#include "readmodel/campaign_record.h"

enum {
    TIES_MAX = 64,       /* campaigns created in the same microsecond as a cursor's that are stepped over */
    RANK_SCAN_MAX = 128, /* of each slice, where a tag picks */
    ACTIVE_MAX = 512,    /* campaigns that were active in a ranking's stretch of time */
};

/* A record, and what it is decoded to where a tag looks into it: 32 KiB of the longest definition's 8. */
_Static_assert(ACTIVE_MAX * 4 * EVENT_DATA_MAX <= ANSWER_BYTES_MAX, "or a ranking is more than an answer");

static bool counts_activity(const struct query *query)
{
    return query->kind == QUERY_RANKING && query->window != WINDOW_ALL;
}

static size_t window_of(const struct query *query)
{
    if (counts_activity(query))
        return ACTIVE_MAX + 1;
    if (query->kind == QUERY_RANKING)
        return query->tag.ptr ? RANK_SCAN_MAX : (size_t)query->limit;
    return query_scan(query) + 1 + (query->after.kind == CURSOR_NONE ? 0 : TIES_MAX);
}

static enum model_index index_of(const struct query *query)
{
    if (query->kind == QUERY_CAMPAIGNS)
        return INDEX_CAMPAIGNS;
    return query->window == WINDOW_ALL ? index_ranking(query->by) : index_active(query->by);
}

/* Room for that many more. */
static void reserve(struct model_work *work, size_t more)
{
    size_t needed = work->listed_count + more;
    if (needed <= work->listed_capacity)
        return;
    size_t capacity = needed > 2 * work->listed_capacity ? needed : 2 * work->listed_capacity;
    struct listed *longer = answer_alloc(&work->read->answer, capacity * sizeof *longer);
    if (work->listed_count)
        memcpy(longer, work->listed, work->listed_count * sizeof *longer);
    work->listed = longer;
    work->listed_capacity = capacity;
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

static struct redis_command *begin_window(struct model_work *work, struct model_pipe *pipe, int16_t slice,
                                          const char *verb)
{
    key_index(pipe_key(pipe), model_of(work, slice), index_of(&work->read->query));
    return pipe_command(pipe, verb);
}

/* Scores from `max` down to `min`. */
static void ask_scores(struct model_work *work, struct model_pipe *pipe, int16_t slice, const char *max,
                       int64_t min)
{
    struct redis_command *command = begin_window(work, pipe, slice, "ZREVRANGEBYSCORE");
    redis_arg_text(command, max);
    redis_arg_i64(command, min);
    redis_arg_text(command, "WITHSCORES");
    redis_arg_text(command, "LIMIT");
    redis_arg_i64(command, 0);
    redis_arg_i64(command, (int64_t)window_of(&work->read->query));
    pipe_send(pipe, work, slice);
}

static void ask_highest(struct model_work *work, struct model_pipe *pipe, int16_t slice)
{
    struct redis_command *command = begin_window(work, pipe, slice, "ZREVRANGE");
    redis_arg_i64(command, 0);
    redis_arg_i64(command, (int64_t)window_of(&work->read->query) - 1);
    redis_arg_text(command, "WITHSCORES");
    pipe_send(pipe, work, slice);
}

/* Of each slice a window of its set, and whether the set has the mark. */
static void ask_windows(struct model_work *work, struct model_pipe *pipe)
{
    const struct query *query = &work->read->query;
    char max[24] = "+inf";
    int64_t since_us = counts_activity(query) ? window_since_us(query->window, query->now_us) : 0;
    if (query->after.kind != CURSOR_NONE)
        snprintf(max, sizeof max, "%lld", (long long)query->after.time_us);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (query->kind == QUERY_RANKING && !counts_activity(query))
            ask_highest(work, pipe, slice);
        else
            ask_scores(work, pipe, slice, max, since_us);
        redis_arg(begin_window(work, pipe, slice, "ZSCORE"), INDEX_MARK);
        pipe_send(pipe, work, slice);
    }
}

/* The score is there already; of ACTIVE it is only the time, and the record says the rest. */
static bool read_member(const struct query *query, struct span member, struct listed *ret)
{
    bool ranked = query->kind == QUERY_RANKING && !counts_activity(query);
    ret->id = ranked ? rank_member_campaign(member, &ret->reached_at_us) : member;
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

static enum fallback take_entries(struct model_work *work, int16_t slice, const struct redis_reply *reply)
{
    const struct query *query = &work->read->query;
    struct listed listed = {.slice = slice};
    reserve(work, redis_length(reply) / 2);
    for (size_t i = 0; i + 1 < redis_length(reply); i += 2) {
        struct span member = redis_text(redis_at(reply, i));
        if (span_equal(member, INDEX_MARK))
            continue;
        if (!parse_i64(redis_text(redis_at(reply, i + 1)), 0, INT64_MAX, &listed.score) ||
            !read_member(query, member, &listed))
            return FALLBACK_CORRUPT;
        if (is_before_page(query, &listed))
            continue;
        listed.id = answer_text(&work->read->answer, listed.id);
        work->listed[work->listed_count++] = listed;
    }
    return FALLBACK_NONE;
}

static enum fallback take_window(struct model_work *work, int16_t slice, const struct redis_reply *reply)
{
    const struct query *query = &work->read->query;
    size_t entries = redis_length(reply) / 2, window = window_of(query), before = work->listed_count;
    if (entries > 0 && span_equal(redis_text(redis_at(reply, 2 * entries - 2)), INDEX_MARK))
        entries--;
    if (entries > window)
        return FALLBACK_CORRUPT;
    enum fallback verdict = take_entries(work, slice, reply);
    if (verdict == FALLBACK_NONE && counts_activity(query))
        return work->listed_count > ACTIVE_MAX ? FALLBACK_UNPROVEN : FALLBACK_NONE;
    if (verdict != FALLBACK_NONE || entries < window)
        return verdict;
    if (work->listed_count == before)
        return FALLBACK_UNPROVEN; /* more ties with the cursor than the window holds */
    note_full(work, &work->listed[work->listed_count - 1]);
    return FALLBACK_NONE;
}

static enum fallback take_windows(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    int16_t slice = (int16_t)(index / 2);
    if (index % 2 == 0)
        return take_window(work, slice, reply);
    if (redis_kind(reply) == REDIS_NIL && work->state->slices[slice].position > 0)
        return FALLBACK_HOLE;
    return FALLBACK_NONE;
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
    if (work->listed_count > 1) /* of none, there need not be a list */
        qsort(work->listed, work->listed_count, sizeof *work->listed, order);
    size_t count = work->listed_count < most ? work->listed_count : most;
    while (work->windows_full && count > 0 && order(&work->listed[count - 1], &work->frontier) > 0)
        count--;
    if (count < work->listed_count)
        work->windows_full = true; /* something was left out */
    work->listed_count = count;
}

static unsigned choose_listed(struct model_work *work)
{
    unsigned slices = 0;
    if (!counts_activity(&work->read->query))
        merge(work);
    for (size_t i = 0; i < work->listed_count; i++)
        slices |= 1U << work->listed[i].slice;
    return slices;
}

/* One command for all of a slice. */
static void ask_listed(struct model_work *work, struct model_pipe *pipe)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        struct redis_command *command = NULL;
        for (size_t i = 0; i < work->listed_count; i++) {
            if (work->listed[i].slice != slice)
                continue;
            key_campaign(pipe_key(pipe), model_of(work, slice), work->listed[i].id);
            if (command)
                redis_arg(command, buf_span(&pipe->key));
            else
                command = pipe_command(pipe, "MGET");
        }
        if (command)
            pipe_send(pipe, work, slice);
    }
}

/* Of a stretch of time: what the campaign has counted in it, and since when that many. */
static bool read_activity(const struct query *query, struct listed *listed)
{
    struct campaign_record is;
    if (!campaign_record_decode(listed->id, listed->record, &is))
        return false;
    const struct counted_record *counted = &is.counted[query->by];
    listed->score = activity_in(&counted->activity, query->window, query->now_us);
    listed->reached_at_us = counted->reached_at_us;
    return true;
}

static enum fallback take_listed(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    const struct query *query = &work->read->query;
    size_t at = 0;
    for (size_t i = 0; i < work->listed_count; i++) {
        struct listed *listed = &work->listed[i];
        if (listed->slice != work->slices[index])
            continue;
        if (at == redis_length(reply))
            return FALLBACK_CORRUPT;
        listed->record = answer_text(&work->read->answer, redis_text(redis_at(reply, at++)));
        if (!listed->record.ptr)
            return FALLBACK_HOLE;
        if (counts_activity(query) && !read_activity(query, listed))
            return FALLBACK_CORRUPT;
    }
    return FALLBACK_NONE;
}

/* Only what is shown is looked into: most of a record is the campaign's definition. */
static const struct campaign *add_listed(struct model_work *work, const struct listed *listed)
{
    struct answer *answer = &work->read->answer;
    struct campaign_record record;
    if (campaign_record_decode(listed->id, listed->record, &record) &&
        answer_add_campaign(answer, &record.campaign, record.definition))
        return &answer->campaigns[answer->campaigns_count - 1];
    work->holes |= 1U << listed->slice;
    return NULL;
}

static enum fallback finish_campaigns(struct model_work *work)
{
    struct answer *answer = &work->read->answer;
    for (size_t i = 0; i < work->listed_count; i++) {
        const struct campaign *campaign = add_listed(work, &work->listed[i]);
        if (!campaign || campaign->created_at_us != work->listed[i].score)
            return FALLBACK_CORRUPT;
    }
    /* A page of ties cut short by the frontier would be told as the last. */
    if (work->windows_full && answer->campaigns_count <= query_scan(&work->read->query))
        return FALLBACK_UNPROVEN;
    answer_cut_campaigns(answer, &work->read->query);
    return FALLBACK_NONE;
}

/* The campaigns were listed in order of time: in that of the ranking, without those that have counted
 * nothing. */
static void order_by_activity(struct model_work *work)
{
    if (work->listed_count > 1)
        qsort(work->listed, work->listed_count, sizeof *work->listed, compare_rank);
    while (work->listed_count > 0 && work->listed[work->listed_count - 1].score <= 0)
        work->listed_count--;
}

/* The counts are the ranking's own: the campaign was read a moment later. */
static enum fallback finish_ranking(struct model_work *work)
{
    struct answer *answer = &work->read->answer;
    const struct query *query = &work->read->query;
    size_t limit = (size_t)query->limit;
    if (counts_activity(query))
        order_by_activity(work);
    answer->counts = answer_alloc(answer, limit * sizeof *answer->counts);
    for (size_t i = 0; i < work->listed_count && answer->campaigns_count < limit; i++) {
        const struct campaign *campaign = add_listed(work, &work->listed[i]);
        if (!campaign)
            return FALLBACK_CORRUPT;
        if (query_takes_campaign(query, campaign))
            answer->counts[answer->campaigns_count - 1] = work->listed[i].score;
        else
            answer->campaigns_count--;
    }
    return answer->campaigns_count < limit && work->windows_full ? FALLBACK_UNPROVEN : FALLBACK_NONE;
}

const struct model_steps model_campaigns = {ask_windows, take_windows, choose_listed,
                                            ask_listed,  take_listed,  finish_campaigns};
const struct model_steps model_ranking = {ask_windows, take_windows, choose_listed,
                                          ask_listed,  take_listed,  finish_ranking};
