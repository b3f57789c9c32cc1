/* SPDX-License-Identifier: Apache-2.0 */
/* Steps for reads inside one campaign: the campaign, its holders, and one coupon. Each proves that what it
 * found is complete or says why it cannot (I7). */
#include "query-service/redis/model_step.h"

#include "common/base/clock.h"
#include "readmodel/campaign_record.h"
#include "readmodel/coupon_chunk.h"
#include "readmodel/coupon_state.h"

struct model model_of(const struct model_work *work, int16_t slice)
{
    return (struct model){work->asked->slices[slice].generation, slice};
}

void pipe_send(struct model_pipe *pipe, struct model_work *work, int16_t slice)
{
    if (work->expected == work->slices_capacity) {
        work->slices_capacity = 2 * work->slices_capacity + SLICE_COUNT;
        uint8_t *longer = answer_alloc(&work->read->answer, work->slices_capacity);
        if (work->expected)
            memcpy(longer, work->slices, work->expected);
        work->slices = longer;
    }
    work->slices[work->expected++] = (uint8_t)slice;
    redis_send(pipe->redis, &pipe->command);
}

/* --- a campaign --- */

void model_ask_campaign(struct model_work *work, struct model_pipe *pipe, struct span id)
{
    key_campaign(pipe_key(pipe), model_of(work, slice_of(id)), id);
    pipe_command(pipe, "GET");
    pipe_send(pipe, work, slice_of(id));
}

enum fallback model_take_campaign(struct model_work *work, struct span id, bool listed,
                                  const struct redis_reply *reply)
{
    struct campaign_record record;
    if (redis_kind(reply) == REDIS_NIL)
        return listed ? FALLBACK_HOLE : FALLBACK_ABSENT;
    if (!campaign_record_decode(id, redis_text(reply), &record) ||
        !answer_add_campaign(&work->read->answer, &record.campaign, record.definition))
        return FALLBACK_CORRUPT;
    return FALLBACK_NONE;
}

static void ask_campaign(struct model_work *work, struct model_pipe *pipe)
{
    model_ask_campaign(work, pipe, work->read->query.campaign_id);
}

static enum fallback take_campaign(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    CHECK(index == 0);
    return model_take_campaign(work, work->read->query.campaign_id, false, reply);
}

const struct model_steps model_campaign = {.ask = ask_campaign, .take = take_campaign};

/* --- coupons by position --- */

void model_ask_coupons(struct model_work *work, struct model_pipe *pipe, int16_t slice,
                       const int64_t *positions, size_t count)
{
    key_coupons(pipe_key(pipe), model_of(work, slice), positions[0]);
    pipe_command(pipe, "GET");
    pipe_send(pipe, work, slice);
    key_states(pipe_key(pipe), model_of(work, slice), positions[0]);
    struct redis_command *command = pipe_command(pipe, "HMGET");
    redis_arg(command, STATES_MARK);
    for (size_t i = 0; i < count; i++)
        redis_arg_i64(command, positions[i] % COUPON_CHUNK);
    pipe_send(pipe, work, slice);
}

/* A chunk that is not there was lost, or has come to its end; which of them, the time tells. */
static enum fallback missing_chunk(int64_t issued_at_us)
{
    enum { MARGIN_S = 86400 }; /* for clocks that differ */
    int64_t young_us = clock_wall_us() - (KEY_KEPT_S - MARGIN_S) * (int64_t)US_PER_S;
    return issued_at_us > young_us ? FALLBACK_HOLE : FALLBACK_ABSENT;
}

enum fallback model_take_chunk(struct model_work *work, int16_t slice, const int64_t *positions, size_t count,
                               int64_t issued_at_us, const struct redis_reply *reply)
{
    struct answer *answer = &work->read->answer;
    struct chunk_reader chunk;
    struct event issued;
    size_t taken = 0;
    if (redis_kind(reply) == REDIS_NIL)
        return missing_chunk(issued_at_us);
    if (!chunk_open(&chunk, redis_text(reply), slice, positions[0]))
        return FALLBACK_HOLE; /* begun anew after a loss */
    work->chunk_first = answer->coupons_count;
    work->chunk_has_states = chunk.has_states;
    while (taken < count && chunk_next(&chunk, &issued)) {
        if (issued.position != positions[taken])
            continue;
        if (slice_of(issued.campaign_id) != slice)
            return FALLBACK_CORRUPT;
        struct coupon coupon = coupon_from_event(&issued);
        answer_add_coupon(answer, &coupon);
        taken++;
    }
    if (chunk.corrupt)
        return FALLBACK_CORRUPT;
    return taken == count ? FALLBACK_NONE : FALLBACK_ABSENT;
}

/* A head that says that there are states means a hash with the mark; in it, no state means that nothing
 * happened to the coupon (I7). */
enum fallback model_take_states(struct model_work *work, const struct redis_reply *reply)
{
    struct answer *answer = &work->read->answer;
    size_t count = answer->coupons_count - work->chunk_first;
    if (!work->chunk_has_states)
        return FALLBACK_NONE;
    if (redis_length(reply) != count + 1)
        return FALLBACK_CORRUPT;
    if (redis_kind(redis_at(reply, 0)) == REDIS_NIL)
        return count ? FALLBACK_HOLE : FALLBACK_NONE;
    for (size_t i = 0; i < count; i++) {
        struct coupon *coupon = &answer->coupons[work->chunk_first + i];
        struct span state = redis_text(redis_at(reply, i + 1));
        if (state.ptr && !coupon_state_decode(answer_text(answer, state), coupon))
            return FALLBACK_CORRUPT;
    }
    return FALLBACK_NONE;
}

static void ask_coupon(struct model_work *work, struct model_pipe *pipe)
{
    struct position at = work->read->query.coupon;
    model_ask_coupons(work, pipe, at.slice, &at.position, 1);
}

static enum fallback take_coupon(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    struct position at = work->read->query.coupon;
    return index == 0 ? model_take_chunk(work, at.slice, &at.position, 1, 0, reply)
                      : model_take_states(work, reply);
}

const struct model_steps model_coupon = {.ask = ask_coupon, .take = take_coupon};

/* --- whether a coupon is good: the coupon, then its campaign --- */

static void ask_coupons_campaign(struct model_work *work, struct model_pipe *pipe)
{
    model_ask_campaign(work, pipe, work->read->answer.coupons[0].campaign_id);
}

static enum fallback take_coupons_campaign(struct model_work *work, size_t index,
                                           const struct redis_reply *reply)
{
    CHECK(index == 0);
    return model_take_campaign(work, work->read->answer.coupons[0].campaign_id, true, reply);
}

const struct model_steps model_validity = {.ask = ask_coupon,
                                           .take = take_coupon,
                                           .ask_more = ask_coupons_campaign,
                                           .take_more = take_coupons_campaign};

/* --- holders of a campaign, in order of issue --- */

enum fallback model_take_whether_known(struct model_work *work, const struct redis_reply *reply)
{
    struct campaign_record record;
    if (redis_kind(reply) == REDIS_NIL)
        return FALLBACK_ABSENT;
    if (!campaign_record_decode(work->read->query.campaign_id, redis_text(reply), &record))
        return FALLBACK_CORRUPT;
    work->issued = record.campaign.issued;
    return FALLBACK_NONE;
}

/* The page and one more, so that its end is known; at most two keys of HOLDERS. */
static void ask_holders(struct model_work *work, struct model_pipe *pipe)
{
    const struct query *query = &work->read->query;
    int16_t slice = slice_of(query->campaign_id);
    int64_t sequence = query->after.number + 1, end = sequence + query->limit + 1;
    model_ask_campaign(work, pipe, query->campaign_id);
    while (sequence < end) {
        int64_t first = holder_offset(sequence), left = (end - sequence) * HOLDER_BYTES;
        int64_t room = HOLDERS_CHUNK * HOLDER_BYTES - first, bytes = left < room ? left : room;
        key_holders(pipe_key(pipe), model_of(work, slice), query->campaign_id, sequence);
        struct redis_command *command = pipe_command(pipe, "GETRANGE");
        redis_arg_i64(command, first);
        redis_arg_i64(command, first + bytes - 1);
        pipe_send(pipe, work, slice);
        sequence += bytes / HOLDER_BYTES;
    }
    work->positions = answer_alloc(&work->read->answer, ((size_t)query->limit + 1) * sizeof *work->positions);
}

/* How many of the sequences from `sequence` on are in its key of HOLDERS and asked for. */
static int64_t holders_asked(const struct query *query, int64_t sequence)
{
    int64_t end = query->after.number + query->limit + 2;
    int64_t room = HOLDERS_CHUNK - (sequence - 1) % HOLDERS_CHUNK;
    return end - sequence < room ? end - sequence : room;
}

/* Sequences are dense (I5): every one up to `issued` must be there, at ascending positions. What is not was
 * lost: nothing, or zeros before what was written later. */
static enum fallback take_holders(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    const struct query *query = &work->read->query;
    int64_t sequence = query->after.number + 1 + (int64_t)work->positions_count;
    struct span bytes = redis_text(reply);
    if (index == 0)
        return model_take_whether_known(work, reply);
    int64_t asked = holders_asked(query, sequence), wanted = work->issued - sequence + 1;
    wanted = wanted < asked ? wanted : asked;
    for (int64_t i = 0; i < wanted; i++) {
        int64_t before = work->positions_count ? work->positions[work->positions_count - 1] : 0;
        bool there = bytes.ptr && (size_t)(i + 1) * HOLDER_BYTES <= bytes.len;
        int64_t position = there ? holder_read(bytes.ptr + i * HOLDER_BYTES) : 0;
        if (position == 0)
            return FALLBACK_HOLE;
        if (position <= before)
            return FALLBACK_CORRUPT;
        work->positions[work->positions_count++] = position;
    }
    return FALLBACK_NONE;
}

/* How many positions from `first` on are in the same key of COUPONS. */
static size_t chunk_run(const struct model_work *work, size_t first)
{
    size_t end = first;
    while (end < work->positions_count &&
           work->positions[end] / COUPON_CHUNK == work->positions[first] / COUPON_CHUNK)
        end++;
    return end - first;
}

static void ask_positions(struct model_work *work, struct model_pipe *pipe)
{
    int16_t slice = slice_of(work->read->query.campaign_id);
    for (size_t first = 0; first < work->positions_count; first += chunk_run(work, first))
        model_ask_coupons(work, pipe, slice, work->positions + first, chunk_run(work, first));
}

static enum fallback take_positions(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    int16_t slice = slice_of(work->read->query.campaign_id);
    size_t first = work->positions_taken, count = chunk_run(work, first);
    if (index % 2 == 1) {
        work->positions_taken += count;
        return model_take_states(work, reply);
    }
    return model_take_chunk(work, slice, work->positions + first, count, 0, reply);
}

static enum fallback finish_holders(struct model_work *work)
{
    struct answer *answer = &work->read->answer;
    const struct query *query = &work->read->query;
    for (size_t i = 0; i < answer->coupons_count; i++)
        if (answer->coupons[i].sequence != query->after.number + 1 + (int64_t)i ||
            !span_equal(answer->coupons[i].campaign_id, query->campaign_id))
            return FALLBACK_CORRUPT;
    answer_cut_coupons(answer, query);
    return FALLBACK_NONE;
}

/* A list that lacks the last to be issued must not show what became of a coupon after that. */
const struct model_steps model_holders = {.ask = ask_holders,
                                          .take = take_holders,
                                          .ask_more = ask_positions,
                                          .take_more = take_positions,
                                          .finish = finish_holders,
                                          .one_moment = true};
