/* SPDX-License-Identifier: Apache-2.0 */
/* Steps for reads inside one campaign: the campaign, its holders, and one coupon. Each proves that what it
 * found is complete or says why it cannot (I7). */
#include "query-service/redis/model_step.h"

struct model model_of(const struct model_work *work, int16_t slice)
{
    return (struct model){work->state->generation, slice};
}

struct buf *pipe_key(struct model_pipe *pipe)
{
    buf_clear(&pipe->key);
    return &pipe->key;
}

struct redis_command *pipe_command(struct model_pipe *pipe, const char *verb)
{
    CHECK(!pipe->key.overflow);
    redis_command_reset(&pipe->command);
    redis_arg_text(&pipe->command, verb);
    redis_arg(&pipe->command, buf_span(&pipe->key));
    return &pipe->command;
}

void pipe_send(struct model_pipe *pipe, struct model_work *work)
{
    redis_send(pipe->redis, &pipe->command);
    work->expected++;
}

/* --- a campaign --- */

static const char *const campaign_fields[] = {"d",        "t",        "first", "pos",    "released", "issued",
                                              "redeemed", "reserved", "plan",  "halted", "state"};

void model_ask_campaign(struct model_work *work, struct model_pipe *pipe, struct span id)
{
    key_campaign(pipe_key(pipe), model_of(work, slice_of(id)), id);
    struct redis_command *command = pipe_command(pipe, "HMGET");
    for (size_t i = 0; i < COUNT_OF(campaign_fields); i++)
        redis_arg_text(command, campaign_fields[i]);
    pipe_send(pipe, work);
}

enum fallback model_take_campaign(struct model_work *work, struct span id, const struct redis_reply *reply)
{
    struct campaign campaign = {.id = id};
    int64_t state, halted;
    int64_t *const numbers[] = {&campaign.created_at_us,
                                &campaign.first,
                                &campaign.position,
                                &campaign.released,
                                &campaign.issued,
                                &campaign.redeemed,
                                &campaign.reserved,
                                &campaign.plan_done,
                                &halted,
                                &state};
    if (redis_length(reply) != COUNT_OF(campaign_fields))
        return FALLBACK_CORRUPT;
    for (size_t i = 0; i < COUNT_OF(campaign_fields); i++)
        if (redis_kind(redis_at(reply, i)) == REDIS_NIL)
            return FALLBACK_ABSENT;
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        if (!parse_i64(redis_text(redis_at(reply, i + 1)), 0, INT64_MAX, numbers[i]))
            return FALLBACK_CORRUPT;
    if (state < CAMPAIGN_ACTIVE || state > CAMPAIGN_ENDED || halted > 1)
        return FALLBACK_CORRUPT;
    campaign.plan_halted = halted != 0;
    campaign.state = (enum campaign_state)state;
    bool sound = answer_add_campaign(&work->read->answer, &campaign, redis_text(redis_at(reply, 0)));
    return sound ? FALLBACK_NONE : FALLBACK_CORRUPT;
}

static void ask_campaign(struct model_work *work, struct model_pipe *pipe)
{
    model_ask_campaign(work, pipe, work->read->query.campaign_id);
}

static enum fallback take_campaign(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    CHECK(index == 0);
    return model_take_campaign(work, work->read->query.campaign_id, reply);
}

const struct model_steps model_campaign = {.ask = ask_campaign, .take = take_campaign};

/* --- coupons by position --- */

/* The projector writes a coupon's user and issue together, in a hash that is then there until all of it goes,
 * and its state only where those are. So a coupon that is there without a state was only issued (I7). */
enum fallback model_take_coupon_at(struct model_work *work, struct position at,
                                   const struct redis_reply *reply, size_t first)
{
    struct span fields[COUPON_FIELDS];
    struct event issued;
    for (size_t i = 0; i < COUPON_FIELDS; i++)
        fields[i] = redis_text(redis_at(reply, first + i));
    if (!fields[COUPON_FIELD_USER].ptr && !fields[COUPON_FIELD_ISSUE].ptr)
        return FALLBACK_ABSENT;
    if (!coupon_issue_decode(fields[COUPON_FIELD_ISSUE], fields[COUPON_FIELD_USER], &issued) ||
        slice_of(issued.campaign_id) != at.slice || issued.coupon_issued.sequence < 1)
        return FALLBACK_CORRUPT;
    issued.slice = at.slice;
    issued.position = at.position;
    struct coupon coupon = coupon_from_event(&issued);
    struct span state = fields[COUPON_FIELD_STATE], note = fields[COUPON_FIELD_NOTE];
    if (!state.ptr != !note.ptr || (state.ptr && !coupon_state_decode(state, note, &coupon)))
        return FALLBACK_CORRUPT;
    answer_add_coupon(&work->read->answer, &coupon);
    return FALLBACK_NONE;
}

enum fallback model_take_coupon(struct model_work *work, struct position at, const struct redis_reply *reply)
{
    if (redis_length(reply) != COUPON_FIELDS)
        return FALLBACK_CORRUPT;
    return model_take_coupon_at(work, at, reply, 0);
}

void model_arg_coupon(struct model_pipe *pipe, int64_t position)
{
    for (enum coupon_field field = 0; field < COUPON_FIELDS; field++)
        redis_arg_i64(&pipe->command, key_coupon_field(position, field));
}

void model_ask_coupon(struct model_work *work, struct model_pipe *pipe, struct position at)
{
    key_coupons(pipe_key(pipe), model_of(work, at.slice), at.position);
    pipe_command(pipe, "HMGET");
    model_arg_coupon(pipe, at.position);
    pipe_send(pipe, work);
}

static void ask_coupon(struct model_work *work, struct model_pipe *pipe)
{
    model_ask_coupon(work, pipe, work->read->query.coupon);
}

static enum fallback take_coupon(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    CHECK(index == 0);
    return model_take_coupon(work, work->read->query.coupon, reply);
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
    return model_take_campaign(work, work->read->answer.coupons[0].campaign_id, reply);
}

const struct model_steps model_validity = {.ask = ask_coupon,
                                           .take = take_coupon,
                                           .ask_more = ask_coupons_campaign,
                                           .take_more = take_coupons_campaign};

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
    for (size_t first = 0; first < work->positions_count;) {
        size_t end = first + chunk_run(work, first);
        key_coupons(pipe_key(pipe), model_of(work, slice), work->positions[first]);
        pipe_command(pipe, "HMGET");
        for (; first < end; first++)
            model_arg_coupon(pipe, work->positions[first]);
        pipe_send(pipe, work);
    }
}

static enum fallback take_positions(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    (void)index;
    int16_t slice = slice_of(work->read->query.campaign_id);
    size_t count = chunk_run(work, work->positions_taken);
    if (redis_length(reply) != count * COUPON_FIELDS)
        return FALLBACK_CORRUPT;
    for (size_t i = 0; i < count; i++) {
        struct position at = {slice, work->positions[work->positions_taken++]};
        enum fallback verdict = model_take_coupon_at(work, at, reply, i * COUPON_FIELDS);
        if (verdict != FALLBACK_NONE)
            return verdict;
    }
    return FALLBACK_NONE;
}

/* --- holders of a campaign, in order of issue --- */

/* `first` is written with the campaign's creation only: a hash that was lost and begun anew has none. */
void model_ask_whether_known(struct model_work *work, struct model_pipe *pipe)
{
    struct span id = work->read->query.campaign_id;
    key_campaign(pipe_key(pipe), model_of(work, slice_of(id)), id);
    struct redis_command *command = pipe_command(pipe, "HMGET");
    redis_arg_text(command, "first");
    redis_arg_text(command, "issued");
    pipe_send(pipe, work);
}

enum fallback model_take_whether_known(struct model_work *work, const struct redis_reply *reply)
{
    if (redis_length(reply) != 2)
        return FALLBACK_CORRUPT;
    if (redis_kind(redis_at(reply, 0)) == REDIS_NIL || redis_kind(redis_at(reply, 1)) == REDIS_NIL)
        return FALLBACK_ABSENT;
    bool sound = parse_i64(redis_text(redis_at(reply, 1)), 0, QUANTITY_MAX, &work->issued);
    return sound ? FALLBACK_NONE : FALLBACK_CORRUPT;
}

/* The page and one more, so that its end is known; at most two keys of HOLDERS. */
static void ask_holders(struct model_work *work, struct model_pipe *pipe)
{
    const struct query *query = &work->read->query;
    int64_t sequence = query->after.number + 1, end = sequence + query->limit + 1;
    model_ask_whether_known(work, pipe);
    while (sequence < end) {
        int64_t chunk = (sequence - 1) / KEY_CHUNK;
        key_holders(pipe_key(pipe), model_of(work, slice_of(query->campaign_id)), query->campaign_id,
                    sequence);
        struct redis_command *command = pipe_command(pipe, "HMGET");
        for (; sequence < end && (sequence - 1) / KEY_CHUNK == chunk; sequence++)
            redis_arg_i64(command, sequence);
        pipe_send(pipe, work);
    }
    work->positions = answer_alloc(&work->read->answer, ((size_t)query->limit + 1) * sizeof *work->positions);
}

/* Sequences are dense (I5): every one up to `issued` must be there, at ascending positions. */
static enum fallback take_holders(struct model_work *work, size_t index, const struct redis_reply *reply)
{
    const struct query *query = &work->read->query;
    if (index == 0)
        return model_take_whether_known(work, reply);
    for (size_t i = 0; i < redis_length(reply); i++) {
        int64_t sequence = query->after.number + 1 + (int64_t)work->positions_count, position;
        if (sequence > work->issued || (int64_t)work->positions_count > query->limit)
            return FALLBACK_NONE;
        if (redis_kind(redis_at(reply, i)) == REDIS_NIL)
            return FALLBACK_ABSENT;
        int64_t before = work->positions_count ? work->positions[work->positions_count - 1] : 0;
        if (!parse_i64(redis_text(redis_at(reply, i)), before + 1, INT64_MAX, &position))
            return FALLBACK_CORRUPT;
        work->positions[work->positions_count++] = position;
    }
    return FALLBACK_NONE;
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

const struct model_steps model_holders = {ask_holders, take_holders, ask_positions, take_positions,
                                          finish_holders};
