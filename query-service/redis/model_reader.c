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
#include "common/base/log.h"
#include "common/base/mem.h"
#include "query-service/metrics.h"
#include "query-service/redis/model_step.h"

struct model_reader {
    struct model_reader_options options;
    struct model_pipe pipe;
    struct model_state known; /* the state that was found last: what keys are made by */
    int64_t deadline_us;      /* of the batch */
    unsigned missed; /* bit per slice: what somebody else found missing, to be told with the next batch */
};

static const struct model_steps *const steps_of[QUERY_KIND_COUNT] = {
    [QUERY_CAMPAIGNS] = &model_campaigns, [QUERY_CAMPAIGN] = &model_campaign,
    [QUERY_HOLDERS] = &model_holders,     [QUERY_USER_IN_CAMPAIGN] = &model_user_in_campaign,
    [QUERY_COUPON] = &model_coupon,       [QUERY_RANKING] = &model_ranking,
    [QUERY_USER_COUPONS] = &model_user,   [QUERY_VALIDITY] = &model_validity,
};

struct model_reader *model_reader_create(const struct model_reader_options *options, char *reason,
                                         size_t reason_size)
{
    struct redis *redis = redis_create(options->url, reason, reason_size);
    if (!redis)
        return NULL;
    struct model_reader *reader = mem_zalloc(sizeof *reader);
    reader->options = *options;
    reader->pipe.redis = redis;
    redis_command_init(&reader->pipe.command);
    buf_init(&reader->pipe.key, KEY_TEXT_MAX);
    return reader;
}

void model_reader_destroy(struct model_reader *reader)
{
    if (!reader)
        return;
    redis_destroy(reader->pipe.redis);
    redis_command_deinit(&reader->pipe.command);
    buf_deinit(&reader->pipe.key);
    mem_free(reader);
}

/* --- failures --- */

static void failed(struct model_reader *reader, enum redis_status status)
{
    metric_add(query_metrics.redis_errors[status], 1);
    log_warn("REDIS-FAILED", "reading models: %s", redis_error(reader->pipe.redis));
}

static bool connect_redis(struct model_reader *reader)
{
    if (redis_connected(reader->pipe.redis))
        return true;
    enum redis_status status = redis_connect(reader->pipe.redis, reader->deadline_us);
    if (status != REDIS_OK)
        failed(reader, status);
    return status == REDIS_OK;
}

/* --- one round trip --- */

static void ask_state(struct model_reader *reader, unsigned slices)
{
    struct redis_command *command = &reader->pipe.command;
    key_seen(pipe_key(&reader->pipe));
    pipe_command(&reader->pipe, "EXISTS");
    redis_send(reader->pipe.redis, command);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(slices >> slice & 1))
            continue;
        key_root(pipe_key(&reader->pipe), slice);
        checkpoint_command(command, buf_span(&reader->pipe.key));
        redis_send(reader->pipe.redis, command);
    }
}

/* Receives one reply; an error reply is counted and comes back as NULL. */
static enum redis_status receive(struct model_reader *reader, const struct redis_reply **ret)
{
    enum redis_status status = redis_receive(reader->pipe.redis, reader->deadline_us, ret);
    if (status != REDIS_OK)
        failed(reader, status);
    return status;
}

/* False when Redis does not answer this, so nothing else either: gone, loading, busy, not letting us in. */
static bool take_state(struct model_reader *reader, unsigned slices, struct model_state *ret)
{
    const struct redis_reply *reply;
    *ret = (struct model_state){0};
    if (receive(reader, &reply) != REDIS_OK)
        return false;
    ret->seen = redis_integer(reply) == 1;
    bool good = true;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(slices >> slice & 1))
            continue;
        enum redis_status status = receive(reader, &reply);
        if (status == REDIS_LOST)
            return false;
        good = good && status == REDIS_OK;
        ret->slices[slice] = checkpoint_from_reply(reply);
    }
    return good;
}

enum round { ROUND_FIRST, ROUND_SECOND };

/* What is not as the projector writes it was lost as much as what is not there: a key of another type, to
 * which Redis has no other answer than an error of no class, and one with a content that does not fit. */
static bool is_lost(enum fallback verdict, enum redis_status status)
{
    return verdict == FALLBACK_HOLE || verdict == FALLBACK_CORRUPT || status == REDIS_ERROR;
}

static bool take_replies(struct model_reader *reader, struct model_work *work, enum round round)
{
    const struct model_steps *steps = work->steps;
    for (size_t i = 0; i < work->expected; i++) {
        const struct redis_reply *reply;
        enum redis_status status = receive(reader, &reply);
        if (status == REDIS_LOST)
            return false;
        if (work->verdict != FALLBACK_NONE)
            continue;
        if (status != REDIS_OK)
            work->verdict = FALLBACK_ERROR;
        else
            work->verdict =
                round == ROUND_FIRST ? steps->take(work, i, reply) : steps->take_more(work, i, reply);
        if (is_lost(work->verdict, status))
            work->holes |= 1U << work->slices[i];
    }
    return true;
}

struct batch {
    struct model_work works[POOL_BATCH_MAX];
    size_t count;
    unsigned slices;
    struct model_state asked, state, later; /* what keys are made by; of the first round, of the second */
    struct model_state after;               /* of the slices of steps that are of one moment, at the end */
};

static bool take_round(struct model_reader *reader, struct batch *batch, enum round round)
{
    struct model_state *state = round == ROUND_FIRST ? &batch->state : &batch->later;
    if (!take_state(reader, batch->slices, state)) {
        redis_disconnect(reader->pipe.redis); /* drops what is still to come */
        return false;
    }
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        if (work->verdict == FALLBACK_NONE && (round == ROUND_FIRST || work->steps->ask_more))
            work->verdict = model_state_compare(&batch->asked, state, &work->read->query);
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

/* The first round, once more where the keys turned out to be made by another state. */
static bool first_round(struct model_reader *reader, struct batch *batch)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        begin(reader, batch);
        ask_state(reader, batch->slices);
        for (size_t i = 0; i < batch->count; i++)
            batch->works[i].steps->ask(&batch->works[i], &reader->pipe);
        if (!take_round(reader, batch, ROUND_FIRST))
            return false;
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
        enum fallback verdict = model_state_judge(&batch->state, &work->read->query);
        if (verdict != FALLBACK_NONE)
            work->verdict = verdict;
    }
}

static bool goes_on(const struct model_work *work)
{
    return work->verdict == FALLBACK_NONE && work->steps->ask_more;
}

/* Whether what is told of one moment is. The checkpoint of the first round was read before all of it, this
 * one after all of it: where they are equal, no event was projected in between. */
static bool take_after(struct model_reader *reader, struct batch *batch, unsigned slices)
{
    if (!slices)
        return true;
    if (!take_state(reader, slices, &batch->after)) {
        redis_disconnect(reader->pipe.redis);
        return false;
    }
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        unsigned its = query_slices(&work->read->query);
        if (!goes_on(work) || !work->steps->one_moment)
            continue;
        for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
            if (its >> slice & 1 &&
                batch->after.slices[slice].position != batch->state.slices[slice].position)
                work->verdict = FALLBACK_MOVED;
    }
    return true;
}

static bool second_round(struct model_reader *reader, struct batch *batch)
{
    bool needed = false;
    unsigned of_one_moment = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        work->expected = 0;
        needed |= goes_on(work);
        if (goes_on(work) && work->steps->one_moment)
            of_one_moment |= query_slices(&work->read->query);
    }
    if (!needed)
        return true;
    ask_state(reader, batch->slices);
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        if (goes_on(work))
            work->steps->ask_more(work, &reader->pipe);
    }
    if (of_one_moment)
        ask_state(reader, of_one_moment);
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

/* What readers missed that must be there: the projector makes such a slice anew. A word in Redis, because
 * only that is always there between the two. */
static void report_holes(struct model_reader *reader, const struct batch *batch)
{
    const struct redis_reply *reply;
    unsigned holes = reader->missed;
    for (size_t i = 0; i < batch->count; i++)
        holes |= batch->works[i].holes;
    reader->missed = 0;
    if (!holes)
        return;
    key_holes(pipe_key(&reader->pipe));
    struct redis_command *command = pipe_command(&reader->pipe, "HSET");
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (holes >> slice & 1 && reader->known.slices[slice].present) {
            redis_arg_i64(command, slice);
            redis_arg_i64(command, reader->known.slices[slice].generation);
        }
    if (command->count > 2 &&
        redis_call(reader->pipe.redis, command, reader->deadline_us, &reply) != REDIS_OK)
        log_warn("HOLE-UNTOLD", "could not tell the projector of a missing key: %s",
                 redis_error(reader->pipe.redis));
}

void model_reader_missed(struct model_reader *reader, unsigned slices)
{
    reader->missed |= slices;
}

static bool rounds(struct model_reader *reader, struct batch *batch)
{
    if (!connect_redis(reader) || !first_round(reader, batch))
        return false;
    judge(batch);
    return second_round(reader, batch);
}

void model_reader_run(struct model_reader *reader, struct read *const *reads, size_t count)
{
    struct batch batch = {.count = count};
    CHECK(count <= POOL_BATCH_MAX);
    int64_t start_us = clock_mono_us();
    if (!breaker_allows(reader->options.breaker, start_us)) {
        for (size_t i = 0; i < count; i++)
            reads[i]->fallback = FALLBACK_OPEN;
        return;
    }
    for (size_t i = 0; i < count; i++)
        batch.works[i].read = reads[i];
    reader->deadline_us = clock_deadline_us(reader->options.timeout_ms);
    bool answered = rounds(reader, &batch);
    if (answered)
        breaker_success(reader->options.breaker);
    else
        breaker_failure(reader->options.breaker, clock_mono_us());
    if (answered)
        report_holes(reader, &batch);
    finish(&batch, answered);
    metric_observe(query_metrics.model_batch, count);
    metric_observe_us(query_metrics.model_seconds, clock_mono_us() - start_us);
}

/* How long ago a projector looked after the models, by the life that is left of its word. */
static bool take_seen_ago(struct model_reader *reader, int64_t *ret_us)
{
    const struct redis_reply *reply;
    key_seen(pipe_key(&reader->pipe));
    pipe_command(&reader->pipe, "PTTL");
    redis_send(reader->pipe.redis, &reader->pipe.command);
    if (receive(reader, &reply) != REDIS_OK)
        return false;
    int64_t left_ms = redis_integer(reply);
    *ret_us = left_ms > 0 ? (SEEN_MS - left_ms) * US_PER_MS : -1;
    return true;
}

bool model_reader_probe(struct model_reader *reader, struct model_state *ret, int64_t *ret_seen_ago_us)
{
    const unsigned all = (1u << SLICE_COUNT) - 1;
    *ret = (struct model_state){0};
    *ret_seen_ago_us = -1;
    if (!breaker_allows(reader->options.breaker, clock_mono_us()))
        return false;
    reader->deadline_us = clock_deadline_us(reader->options.timeout_ms);
    bool answered = connect_redis(reader);
    if (answered) {
        ask_state(reader, all);
        answered = take_state(reader, all, ret) && take_seen_ago(reader, ret_seen_ago_us);
    }
    if (answered)
        breaker_success(reader->options.breaker);
    else
        breaker_failure(reader->options.breaker, clock_mono_us());
    if (!answered)
        redis_disconnect(reader->pipe.redis);
    else
        reader->known = *ret;
    struct query anything = {.kind = QUERY_CAMPAIGNS, .now_us = clock_wall_us()};
    return answered && model_state_judge(ret, &anything) == FALLBACK_NONE;
}
