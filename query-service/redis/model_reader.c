/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to Redis and the rounds of a batch. What each kind of read asks for is in
 * model_campaign.c, model_list.c and model_user.c.
 *
 * Keys carry the generation of their slice, which is itself in Redis, in the slice's root. Roots are asked
 * for in the same pipeline as the models; when one is another than the keys were made with, the batch goes
 * out once more. They come before any model, so a model is never older than the checkpoint it is judged by;
 * and because no two generations have the same number, a key that is there is of the models it was asked for
 * in. */
#include "query-service/redis/model_reader.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "query-service/metrics.h"
#include "query-service/redis/model_step.h"

struct model_reader {
    struct model_reader_options options;
    struct model_pipe pipe;
    struct model_state known; /* the state that was found last: what keys are made by */
};

/* QUERY_ORDER_COUPONS has no model and is never asked here. */
static const struct model_steps *const steps_of[QUERY_KIND_COUNT] = {
    [QUERY_CAMPAIGNS] = &model_campaigns, [QUERY_CAMPAIGN] = &model_campaign,
    [QUERY_HOLDERS] = &model_holders,     [QUERY_USER_IN_CAMPAIGN] = &model_user_in_campaign,
    [QUERY_COUPON] = &model_coupon,       [QUERY_RANKING] = &model_ranking,
    [QUERY_USER_COUPONS] = &model_user,   [QUERY_VALIDITY] = &model_validity,
};

struct model_reader *model_reader_create(const struct model_reader_options *options)
{
    struct model_reader *reader = mem_zalloc(sizeof *reader);
    reader->options = *options;
    model_watch_want(options->watch);
    pipe_init(&reader->pipe);
    return reader;
}

void model_reader_destroy(struct model_reader *reader)
{
    if (!reader)
        return;
    if (reader->pipe.redis)
        model_watch_give_back(reader->options.watch, reader->pipe.redis);
    pipe_deinit(&reader->pipe);
    mem_free(reader);
}

/* --- the connection --- */

static bool has_connection(struct model_reader *reader)
{
    if (!reader->pipe.redis)
        reader->pipe.redis = model_watch_take(reader->options.watch, &reader->known);
    return reader->pipe.redis != NULL;
}

/* What did not answer, or not in time, is not waited for any more. */
static void conclude(struct model_reader *reader, bool answered)
{
    if (answered) {
        breaker_success(reader->options.breaker);
        return;
    }
    breaker_failure(reader->options.breaker, clock_mono_us());
    redis_disconnect(reader->pipe.redis); /* drops what is still to come */
    model_watch_give_back(reader->options.watch, reader->pipe.redis);
    reader->pipe.redis = NULL;
}

/* --- one round trip --- */

enum round { ROUND_FIRST, ROUND_SECOND };

/* What is not as the projector writes it was lost as much as what is not there: a key of another type, to
 * which Redis has no other answer than an error of no class, and one with a content that does not fit. */
static bool is_lost(enum fallback verdict, enum redis_status status)
{
    return verdict == FALLBACK_HOLE || verdict == FALLBACK_CORRUPT || status == REDIS_ERROR;
}

/* A campaign that a list named may be gone in the second round because it was deleted since. */
static void note_hole(struct model_work *work, int16_t slice, enum round round)
{
    if (round == ROUND_SECOND && work->verdict == FALLBACK_HOLE &&
        work->later->slices[slice].position != work->state->slices[slice].position)
        work->verdict = FALLBACK_MOVED;
    else
        work->holes |= 1U << slice;
}

static bool take_replies(struct model_reader *reader, struct model_work *work, enum round round)
{
    const struct model_steps *steps = work->steps;
    for (size_t i = 0; i < work->expected; i++) {
        const struct redis_reply *reply;
        enum redis_status status = pipe_receive(&reader->pipe, &reply);
        if (status == REDIS_LOST)
            return false;
        if (work->verdict != FALLBACK_NONE)
            continue;
        if (status != REDIS_OK)
            work->verdict = status == REDIS_AWAY ? FALLBACK_AWAY : FALLBACK_ERROR;
        else
            work->verdict =
                round == ROUND_FIRST ? steps->take(work, i, reply) : steps->take_more(work, i, reply);
        if (is_lost(work->verdict, status))
            note_hole(work, work->slices[i], round);
    }
    return true;
}

struct batch {
    struct model_work works[POOL_BATCH_MAX];
    size_t count;
    unsigned slices, more;                  /* that the rounds are about */
    struct model_state asked, state, later; /* what keys are made by; of the first round, of the second */
    struct model_state after;               /* of the slices of which all is of one moment, at the end */
    int64_t exchange_us;                    /* how long the first took */
};

static bool take_round(struct model_reader *reader, struct batch *batch, enum round round)
{
    bool first = round == ROUND_FIRST;
    struct model_state *state = first ? &batch->state : &batch->later;
    if (!pipe_take_state(&reader->pipe, first ? batch->slices : batch->more, first, state))
        return false;
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        const struct query *query = &work->read->query;
        if (work->verdict == FALLBACK_NONE)
            work->verdict =
                model_state_compare(&batch->asked, state, query, first ? query_slices(query) : work->more);
        if (!take_replies(reader, work, round))
            return false;
    }
    return true;
}

static void begin(struct model_reader *reader, struct batch *batch)
{
    batch->asked = reader->known;
    batch->slices = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        struct read *read = work->read;
        answer_reset(&read->answer);
        *work = (struct model_work){.read = read,
                                    .steps = steps_of[read->query.kind],
                                    .state = &batch->state,
                                    .later = &batch->later,
                                    .asked = &batch->asked};
        CHECK(work->steps != NULL);
        batch->slices |= query_slices(&read->query);
    }
}

static void remember(struct model_reader *reader, const struct batch *batch)
{
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (batch->slices >> slice & 1)
            reader->known.slices[slice] = batch->state.slices[slice];
}

static bool anything_moved(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (batch->works[i].verdict == FALLBACK_MOVED)
            return true;
    return false;
}

/* An exchange that would hardly end in time is not begun: what is only late would cost the connection. */
static bool has_time(const struct model_reader *reader, const struct batch *batch)
{
    return reader->pipe.deadline_us - clock_mono_us() > batch->exchange_us / 2;
}

/* The first round, once more where the keys turned out to be made by another state. */
static bool first_round(struct model_reader *reader, struct batch *batch)
{
    int64_t start_us = clock_mono_us();
    for (int attempt = 0; attempt == 0 || (attempt < 2 && has_time(reader, batch)); attempt++) {
        begin(reader, batch);
        pipe_ask_state(&reader->pipe, batch->slices, true);
        for (size_t i = 0; i < batch->count; i++)
            batch->works[i].steps->ask(&batch->works[i], &reader->pipe);
        if (!take_round(reader, batch, ROUND_FIRST))
            return false;
        if (attempt == 0)
            batch->exchange_us = clock_mono_us() - start_us;
        remember(reader, batch);
        if (!anything_moved(batch))
            break;
    }
    batch->asked = batch->state;
    return true;
}

static void judge(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        struct read *read = work->read;
        int64_t ago_ms = model_state_seen_ago_ms(&batch->state, query_slices(&read->query));
        enum fallback verdict =
            model_state_judge(&batch->state, &read->query, read->last_resort ? read->kept_ms : SEEN_MS);
        read->models_age_us = verdict == FALLBACK_NONE && ago_ms >= SEEN_MS ? ago_ms * US_PER_MS : 0;
        if (verdict != FALLBACK_NONE)
            work->verdict = verdict;
    }
}

static bool goes_on(const struct model_work *work)
{
    return work->verdict == FALLBACK_NONE && work->steps->ask_more;
}

/* Whether what is told of one moment is. The checkpoint before was read before all of it, this one after all
 * of it: where they are equal, no event was projected in between. */
static bool take_after(struct model_reader *reader, struct batch *batch, unsigned slices)
{
    if (!slices)
        return true;
    if (!pipe_take_state(&reader->pipe, slices, false, &batch->after))
        return false;
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        const struct model_state *before = work->steps->one_moment ? &batch->state : &batch->later;
        if (!goes_on(work))
            continue;
        for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
            if (work->one_moment >> slice & 1 &&
                batch->after.slices[slice].position != before->slices[slice].position)
                work->verdict = FALLBACK_MOVED;
    }
    return true;
}

static bool second_round(struct model_reader *reader, struct batch *batch)
{
    bool late = !has_time(reader, batch);
    unsigned of_one_moment = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        work->expected = 0;
        if (!goes_on(work))
            continue;
        work->more = work->steps->choose ? work->steps->choose(work) : query_slices(&work->read->query);
        if (!late)
            batch->more |= work->more;
        else if (work->more)
            work->verdict = FALLBACK_ERROR;
    }
    if (!batch->more)
        return true;
    pipe_ask_state(&reader->pipe, batch->more, false);
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        if (!goes_on(work))
            continue;
        work->one_moment = work->steps->one_moment ? work->more : 0;
        work->steps->ask_more(work, &reader->pipe);
        of_one_moment |= work->one_moment;
    }
    if (of_one_moment)
        pipe_ask_state(&reader->pipe, of_one_moment, false);
    return take_round(reader, batch, ROUND_SECOND) && take_after(reader, batch, of_one_moment);
}

/* The checkpoints were read before the models, so the answer is not older. */
static void note_positions(const struct batch *batch, struct read *read)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        read->stands_on[slice] = batch->state.slices[slice].position;
}

static void finish(struct batch *batch, bool answered)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        if (!answered)
            work->verdict = FALLBACK_ERROR;
        if (work->verdict == FALLBACK_NONE && work->steps->finish)
            work->verdict = work->steps->finish(work);
        work->read->fallback = work->verdict;
        note_positions(batch, work->read);
        if (work->verdict != FALLBACK_NONE)
            answer_reset(&work->read->answer);
    }
}

static void tell_holes(struct model_reader *reader, const struct batch *batch)
{
    unsigned holes = 0;
    for (size_t i = 0; i < batch->count; i++)
        holes |= batch->works[i].holes;
    for (int16_t slice = 0; holes >> slice; slice++)
        if (holes >> slice & 1)
            model_watch_hole(reader->options.watch, slice, batch->asked.slices[slice].generation);
}

static bool rounds(struct model_reader *reader, struct batch *batch)
{
    if (!first_round(reader, batch))
        return false;
    judge(batch);
    return second_round(reader, batch);
}

/* Whether Redis may be asked now: it is connected, and the breaker lets this caller try. */
static bool may_ask(struct model_reader *reader)
{
    reader->pipe.deadline_us = clock_deadline_us(reader->options.timeout_ms);
    return has_connection(reader) && breaker_allows(reader->options.breaker, clock_mono_us());
}

void model_reader_run(struct model_reader *reader, struct read *const *reads, size_t count)
{
    struct batch batch = {.count = count};
    CHECK(count <= POOL_BATCH_MAX);
    int64_t start_us = clock_mono_us();
    if (!may_ask(reader)) {
        bool open = breaker_is_open(reader->options.breaker);
        for (size_t i = 0; i < count; i++)
            reads[i]->fallback = open ? FALLBACK_OPEN : FALLBACK_ERROR;
        return;
    }
    for (size_t i = 0; i < count; i++)
        batch.works[i].read = reads[i];
    bool answered = rounds(reader, &batch) && redis_connected(reader->pipe.redis);
    conclude(reader, answered);
    finish(&batch, answered);
    if (answered)
        tell_holes(reader, &batch);
    metric_observe(query_metrics.model_batch, count);
    metric_observe_us(query_metrics.model_seconds, clock_mono_us() - start_us);
}
