/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to Redis and the rounds of a batch. What each kind of read asks for is in
 * model_campaign.c, model_list.c and model_user.c.
 *
 * Keys carry the generation, which is itself in Redis. It is asked for in the same pipeline as the models;
 * when the answer is another one than the keys were made with, the batch goes out once more. Every round also
 * asks for the checkpoints, before any model, so a model is never older than the checkpoint it is judged by.
 */
#include "query-service/redis/model_reader.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "query-service/metrics.h"
#include "query-service/redis/model_step.h"

struct model_reader {
    struct model_reader_options options;
    struct model_pipe pipe;
    int64_t generation;  /* the one that was live last, 0: not known */
    int64_t deadline_us; /* of the batch */
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
    buf_clear(&reader->pipe.key);
    key_live(&reader->pipe.key);
    redis_command_reset(command);
    redis_arg_text(command, "GET");
    redis_arg(command, buf_span(&reader->pipe.key));
    redis_send(reader->pipe.redis, command);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(slices >> slice & 1))
            continue;
        checkpoint_command(command, (struct model){reader->generation, slice});
        redis_send(reader->pipe.redis, command);
    }
}

/* Receives one reply; an error reply is counted and comes back as NULL. False when the connection is gone. */
static bool receive(struct model_reader *reader, const struct redis_reply **ret)
{
    enum redis_status status = redis_receive(reader->pipe.redis, reader->deadline_us, ret);
    if (status != REDIS_OK)
        failed(reader, status);
    return status != REDIS_LOST;
}

/* False when Redis does not answer this, so nothing else either: gone, loading, busy, not letting us in. */
static bool take_state(struct model_reader *reader, unsigned slices, struct model_state *ret)
{
    const struct redis_reply *reply;
    *ret = (struct model_state){0};
    if (!receive(reader, &reply) || !reply)
        return false;
    ret->generation = generation_from_reply(reply);
    bool good = true;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(slices >> slice & 1))
            continue;
        if (!receive(reader, &reply))
            return false;
        good = good && reply;
        ret->slices[slice] = checkpoint_from_reply(reply);
    }
    return good;
}

enum round { ROUND_FIRST, ROUND_SECOND };

static bool take_replies(struct model_reader *reader, struct model_work *work, enum round round)
{
    const struct model_steps *steps = work->steps;
    for (size_t i = 0; i < work->expected; i++) {
        const struct redis_reply *reply;
        if (!receive(reader, &reply))
            return false;
        if (work->verdict != FALLBACK_NONE)
            continue;
        if (!reply)
            work->verdict = FALLBACK_ERROR;
        else
            work->verdict =
                round == ROUND_FIRST ? steps->take(work, i, reply) : steps->take_more(work, i, reply);
    }
    return true;
}

struct batch {
    struct model_work works[POOL_BATCH_MAX];
    size_t count;
    unsigned slices;
    struct model_state state, later; /* of the first round, of the second */
};

/* Everybody's replies of one round. After a state that shows another generation than asked for they mean
 * nothing, but have to be received all the same. */
static bool take_round(struct model_reader *reader, struct batch *batch, enum round round)
{
    struct model_state *state = round == ROUND_FIRST ? &batch->state : &batch->later;
    if (!take_state(reader, batch->slices, state)) {
        redis_disconnect(reader->pipe.redis); /* drops what is still to come */
        return false;
    }
    bool meant = state->generation == reader->generation;
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        if (!meant && work->verdict == FALLBACK_NONE)
            work->verdict = FALLBACK_MOVED;
        if (!take_replies(reader, work, round))
            return false;
    }
    return true;
}

static void begin(struct model_reader *reader, struct batch *batch)
{
    batch->state = (struct model_state){.generation = reader->generation};
    batch->slices = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        struct read *read = work->read;
        answer_reset(&read->answer);
        *work =
            (struct model_work){.read = read, .steps = steps_of[read->query.kind], .state = &batch->state};
        CHECK(work->steps != NULL);
        batch->slices |= query_slices(&read->query);
    }
}

/* The first round, once more where the generation turned out to be another. */
static bool first_round(struct model_reader *reader, struct batch *batch)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        begin(reader, batch);
        ask_state(reader, batch->slices);
        for (size_t i = 0; reader->generation != 0 && i < batch->count; i++)
            batch->works[i].steps->ask(&batch->works[i], &reader->pipe);
        if (!take_round(reader, batch, ROUND_FIRST))
            return false;
        bool meant = reader->generation == batch->state.generation && reader->generation != 0;
        reader->generation = batch->state.generation;
        if (meant || reader->generation == 0)
            return true;
    }
    return true;
}

static void judge(struct model_reader *reader, struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        enum fallback verdict =
            model_state_judge(&batch->state, &work->read->query, reader->options.age_max_ms * US_PER_MS);
        if (verdict != FALLBACK_NONE)
            work->verdict = verdict;
    }
}

static bool second_round(struct model_reader *reader, struct batch *batch)
{
    bool needed = false;
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        work->expected = 0;
        needed |= work->verdict == FALLBACK_NONE && work->steps->ask_more;
    }
    if (!needed)
        return true;
    ask_state(reader, batch->slices);
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        if (work->verdict == FALLBACK_NONE && work->steps->ask_more)
            work->steps->ask_more(work, &reader->pipe);
    }
    if (!take_round(reader, batch, ROUND_SECOND))
        return false;
    for (size_t i = 0; i < batch->count; i++) {
        struct model_work *work = &batch->works[i];
        if (work->verdict == FALLBACK_NONE && work->steps->ask_more)
            work->verdict = model_state_compare(&batch->state, &batch->later, &work->read->query);
    }
    return true;
}

/* The checkpoints were read before the models, so the answer is not older. */
static void note_positions(const struct batch *batch, struct read *read)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        read->stands_on[slice] = batch->state.slices[slice].pos;
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

static bool rounds(struct model_reader *reader, struct batch *batch)
{
    if (!connect_redis(reader) || !first_round(reader, batch))
        return false;
    judge(reader, batch);
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
    finish(&batch, answered);
    metric_observe(query_metrics.model_batch, count);
    metric_observe_us(query_metrics.model_seconds, clock_mono_us() - start_us);
}

bool model_reader_probe(struct model_reader *reader, struct model_state *ret)
{
    *ret = (struct model_state){0};
    const unsigned all = (1u << SLICE_COUNT) - 1;
    if (!breaker_allows(reader->options.breaker, clock_mono_us()))
        return false;
    reader->deadline_us = clock_deadline_us(reader->options.timeout_ms);
    bool answered = connect_redis(reader);
    for (int attempt = 0; answered && attempt < 2; attempt++) {
        ask_state(reader, all);
        answered = take_state(reader, all, ret);
        if (answered && ret->generation == reader->generation)
            break;
        reader->generation = answered ? ret->generation : 0;
    }
    if (answered)
        breaker_success(reader->options.breaker);
    else
        breaker_failure(reader->options.breaker, clock_mono_us());
    if (!answered)
        redis_disconnect(reader->pipe.redis);
    struct query anything = {.kind = QUERY_CAMPAIGNS, .now_us = clock_wall_us()};
    return answered &&
           model_state_judge(ret, &anything, reader->options.age_max_ms * US_PER_MS) == FALLBACK_NONE;
}
