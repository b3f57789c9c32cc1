/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds on two connections in turns. */
#include "projector/rebuild/replay.h"

#include "common/base/clock.h"
#include "projector/sql.h"

enum { STORE_DEADLINE_MS = 5000, WINDOW = 8 };

void replay_init(struct replay *replay, const struct replay_options *options, struct model_writer *writer,
                 const struct projector_metrics *metrics, const int64_t limits[SLICE_COUNT])
{
    *replay = (struct replay){.options = *options};
    memcpy(replay->limits, limits, sizeof replay->limits);
    applier_init(&replay->applier, writer, metrics,
                 &(struct applier_options){.batch_events = options->batch_events,
                                           .window = WINDOW,
                                           .generation = options->generation});
    for (size_t i = 0; i < REPLAY_LOG_CONNECTIONS; i++) {
        replay->rounds[i].pg = sql_create(options->database_url);
        feed_init(&replay->rounds[i].feed, replay->rounds[i].pg);
    }
}

void replay_deinit(struct replay *replay)
{
    for (size_t i = 0; i < REPLAY_LOG_CONNECTIONS; i++) {
        feed_deinit(&replay->rounds[i].feed);
        pg_destroy(replay->rounds[i].pg);
    }
    applier_deinit(&replay->applier);
}

static int64_t deadline(void)
{
    return clock_deadline_us(STORE_DEADLINE_MS);
}

static bool has(const struct replay *replay, int slice)
{
    return replay->options.slices >> slice & 1;
}

static bool fail(struct replay *replay, const char *what, const char *why)
{
    snprintf(replay->error, sizeof replay->error, "%s: %s", what, why);
    return false;
}

/* --- where it is --- */

bool replay_done(const struct replay *replay)
{
    if (!replay->applier.loaded)
        return false;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (has(replay, slice) && replay->applier.slices[slice].confirmed < replay->limits[slice])
            return false;
    return true;
}

int64_t replay_position(const struct replay *replay)
{
    int64_t sum = 0;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        sum += has(replay, slice) ? replay->applier.slices[slice].confirmed : 0;
    return sum;
}

int64_t replay_total(const struct replay *replay)
{
    int64_t sum = 0;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        sum += has(replay, slice) ? replay->limits[slice] : 0;
    return sum;
}

/* --- asking --- */

/* After trouble on either side nothing asked for is of use. */
static void drop_rounds(struct replay *replay)
{
    for (size_t i = 0; i < REPLAY_LOG_CONNECTIONS; i++) {
        if (replay->rounds[i].open)
            pg_disconnect(replay->rounds[i].pg);
        replay->rounds[i].open = false;
    }
}

static bool lose_store(struct replay *replay, const struct replay_round *round)
{
    fail(replay, "PostgreSQL", pg_error(round->pg));
    drop_rounds(replay);
    applier_settle(&replay->applier);
    backoff_fail(&replay->backoff, clock_mono_us());
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        replay->planned[slice] = replay->applier.slices[slice].position;
    return false;
}

static unsigned slices_wanted(const struct replay *replay)
{
    unsigned wanted = 0;
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        const struct progress *progress = &replay->applier.slices[slice];
        bool stuck = progress->position + 1 == progress->stuck_at;
        if (has(replay, slice) && replay->planned[slice] < replay->limits[slice] && !stuck)
            wanted |= 1U << slice;
    }
    return wanted;
}

static bool ask(struct replay *replay, struct replay_round *round)
{
    if (!pg_connected(round->pg) && pg_connect(round->pg, deadline()) != PG_OK)
        return lose_store(replay, round);
    round->wanted = slices_wanted(replay);
    round->asked_us = clock_wall_us();
    memcpy(round->from, replay->planned, sizeof round->from);
    int page = feed_page(round->wanted);
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        int64_t left = replay->limits[slice] - replay->planned[slice];
        if (round->wanted >> slice & 1)
            replay->planned[slice] += left < page ? left : page;
    }
    feed_ask(&round->feed, round->from, round->wanted, replay->limits);
    round->open = true;
    return true;
}

/* --- taking --- */

/* The heads as this replay is to see them: the events beyond its limits are none of its business. */
static void take_heads(struct replay *replay, struct feed_heads *heads, int64_t asked_us)
{
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        struct feed_head *log = &heads->slices[slice];
        if (replay->options.follows && log->head > replay->limits[slice])
            replay->limits[slice] = log->head;
        if (has(replay, slice) && log->head > replay->limits[slice])
            log->head = replay->limits[slice];
    }
    applier_heads(&replay->applier, heads, asked_us);
}

static bool take(struct replay *replay, struct replay_round *round)
{
    struct feed_heads heads;
    struct applier *applier = &replay->applier;
    if (feed_receive_heads(&round->feed, deadline(), &heads) != PG_OK)
        return lose_store(replay, round);
    take_heads(replay, &heads, round->asked_us);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        struct pg_rows *rows;
        if (!(round->wanted & 1U << slice))
            continue;
        if (feed_receive_rows(&round->feed, deadline(), &rows) != PG_OK)
            return lose_store(replay, round);
        if (applier->loaded && applier->slices[slice].position == round->from[slice])
            (void)applier_rows(applier, slice, rows);
        pg_rows_destroy(rows);
    }
    round->open = false;
    if (round->wanted == 0) /* nothing comes behind the last batches that would wait for them */
        applier_settle(applier);
    return true;
}

/* --- turns --- */

static bool load(struct replay *replay)
{
    struct applier *applier = &replay->applier;
    if (applier->loaded)
        return true;
    drop_rounds(replay);
    applier_settle(applier);
    if (!applier_load(applier, replay->options.epoch))
        return fail(replay, "Redis", model_writer_error(applier->writer));
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        replay->planned[slice] = applier->slices[slice].position;
    return true;
}

void replay_settle(struct replay *replay)
{
    applier_settle(&replay->applier);
    drop_rounds(replay);
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        replay->planned[slice] = replay->applier.slices[slice].position;
}

bool replay_turn(struct replay *replay)
{
    struct replay_round *now = &replay->rounds[replay->turn];
    struct replay_round *next = &replay->rounds[(replay->turn + 1) % REPLAY_LOG_CONNECTIONS];
    replay->error[0] = '\0';
    if (!load(replay))
        return false;
    if (!backoff_over(&replay->backoff, clock_mono_us()))
        return fail(replay, "PostgreSQL", "waiting to connect again");
    if (!now->open && !ask(replay, now))
        return false;
    if (!ask(replay, next) || !take(replay, now))
        return false;
    replay->turn = (replay->turn + 1) % REPLAY_LOG_CONNECTIONS;
    backoff_succeed(&replay->backoff);
    return true;
}
