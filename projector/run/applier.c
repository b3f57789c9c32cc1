/* SPDX-License-Identifier: Apache-2.0 */
/* Batches on their way to Redis, and what becomes of them. */
#include "projector/run/applier.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "events/event_log.h"

enum {
    BATCH_BYTES_MAX = 512 * 1024,         /* of event data in one script: bounds how long Redis is busy */
    DECODED_BYTES_MAX = 64 * 1024 * 1024, /* lists of one batch, bounded by the line above */
};

void applier_init(struct applier *applier, struct model_writer *writer,
                  const struct projector_metrics *metrics, const struct applier_options *options)
{
    *applier = (struct applier){.writer = writer, .metrics = metrics, .options = *options};
    CHECK(options->batch_events >= 1 && options->batch_events <= PROJECTION_EVENTS_MAX);
    CHECK(options->window >= 1 && options->window <= MODEL_PENDING_MAX);
    projection_init(&applier->projection);
    arena_init(&applier->decoded, DECODED_BYTES_MAX);
    announcer_init(&applier->announcer, options->bus);
}

void applier_deinit(struct applier *applier)
{
    projection_deinit(&applier->projection);
    arena_deinit(&applier->decoded);
    announcer_deinit(&applier->announcer);
}

void applier_forget(struct applier *applier)
{
    applier_settle(applier);
    applier->loaded = false;
}

/* --- trouble --- */

static int64_t deadline(void)
{
    return clock_deadline_us(REDIS_DEADLINE_MS);
}

static void recover(struct applier *applier)
{
    backoff_succeed(&applier->backoff);
    if (applier->trouble != REDIS_OK)
        log_info("REDIS-BACK", "Redis accepts reads and writes again");
    applier->trouble = REDIS_OK;
    applier->reachable = true;
}

/* NOSCRIPT only means that the script is to be loaded again, which loading does: no need to wait unless it
 * happens in a row. */
static void fail(struct applier *applier, enum redis_status status)
{
    bool at_once = status == REDIS_NOSCRIPT && applier->trouble == REDIS_OK;
    applier->loaded = false;
    metric_add(applier->metrics->redis_errors[status], 1);
    if (status != applier->trouble)
        log_warn("REDIS-TROUBLE", "stopped at the checkpoint, class %s: %s", redis_status_label(status),
                 model_writer_error(applier->writer));
    applier->trouble = status;
    if (at_once)
        return;
    applier->reachable = false;
    backoff_fail(&applier->backoff, clock_mono_us());
}

static void mark_restart(struct applier *applier, struct model model)
{
    if (applier->restart_in != model.generation)
        applier->restart = 0;
    applier->restart_in = model.generation;
    applier->restart |= 1U << model.slice;
    applier->loaded = false;
}

void applier_restart(struct applier *applier, int16_t slice)
{
    applier_settle(applier);
    mark_restart(applier, (struct model){applier->generation, slice});
}

static void refused(struct applier *applier, const struct model_outcome *outcome)
{
    applier->loaded = false;
    metric_add(applier->metrics->refused[outcome->result], 1);
    switch (outcome->result) {
    case MODEL_FENCED:
        applier->fenced_by = outcome->value;
        log_warn("FENCED", "slice %d: a projector with epoch %lld has written, ours is %lld",
                 outcome->model.slice, (long long)outcome->value, (long long)applier->epoch);
        break;
    case MODEL_MOVED:
        log_warn("CHECKPOINT-MOVED", "slice %d: checkpoint is %lld, expected %lld; going on from there",
                 outcome->model.slice, (long long)outcome->value, (long long)outcome->expected);
        break;
    case MODEL_HOLE:
        mark_restart(applier, outcome->model);
        log_warn("MODEL-HOLE", "slice %d: a key vanished; the slice is replayed from its start",
                 outcome->model.slice);
        break;
    case MODEL_APPLIED:
        UNREACHABLE("is no refusal");
    }
}

/* --- writing --- */

static void receive_one(struct applier *applier)
{
    struct model_outcome outcome;
    enum redis_status status = model_writer_receive(applier->writer, deadline(), &outcome);
    if (status == REDIS_LOST)
        announcer_forget(&applier->announcer);
    else
        announcer_settled(&applier->announcer, status == REDIS_OK && outcome.result == MODEL_APPLIED);
    if (status != REDIS_OK) {
        if (applier->loaded) /* the first to fail says why; those behind it fail with it */
            fail(applier, status);
        return;
    }
    if (outcome.result != MODEL_APPLIED) {
        if (applier->loaded)
            refused(applier, &outcome);
        return;
    }
    if (applier->loaded)
        progress_confirm(&applier->slices[outcome.model.slice], outcome.next);
    if (outcome.next > outcome.expected) {
        metric_add(applier->metrics->events, (uint64_t)(outcome.next - outcome.expected));
        metric_add(applier->metrics->batches, 1);
        metric_observe_us(applier->metrics->apply_age,
                          clock_wall_us() + applier->store_ahead_us - outcome.oldest_us);
    }
}

static void settle_down_to(struct applier *applier, size_t pending)
{
    while (model_writer_pending(applier->writer) > pending)
        receive_one(applier);
}

void applier_settle(struct applier *applier)
{
    settle_down_to(applier, 0);
}

/* --- loading --- */

static void take_checkpoints(struct applier *applier, const struct checkpoints *checkpoints)
{
    applier->generation = checkpoints->generation;
    applier->beyond = 0;
    applier->found_epoch = 0;
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        const struct checkpoint *found = &checkpoints->slices[slice];
        progress_load(&applier->slices[slice], found->position, found->at_us);
        applier->found_epoch = found->epoch > applier->found_epoch ? found->epoch : applier->found_epoch;
    }
}

static void restart_slice(struct applier *applier, int16_t slice)
{
    struct progress *progress = &applier->slices[slice];
    struct model_write write = {
        .model = {applier->generation, slice},
        .epoch = applier->epoch,
        .expected = progress->position,
        .behind = true,
        .seen_us = clock_wall_us(),
    };
    model_writer_send(applier->writer, &write);
    announcer_sent_nothing(&applier->announcer);
    progress_load(progress, 0, 0);
    metric_add(applier->metrics->restarts, 1);
}

static void restart_slices(struct applier *applier)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (applier->restart_in == applier->generation && applier->restart & 1U << slice)
            restart_slice(applier, slice);
    applier->restart = 0;
    applier_settle(applier);
}

bool applier_load(struct applier *applier, int64_t epoch)
{
    struct checkpoints checkpoints;
    if (applier->loaded)
        return true;
    if (!backoff_over(&applier->backoff, clock_mono_us()))
        return false;
    enum redis_status status =
        model_writer_load(applier->writer, applier->options.generation, deadline(), &checkpoints);
    if (status != REDIS_OK) {
        fail(applier, status);
        return false;
    }
    take_checkpoints(applier, &checkpoints);
    handover_forget(&applier->handover);
    applier->epoch = epoch ? epoch : applier->found_epoch;
    applier->fenced_by = 0;
    applier->loaded = true;
    restart_slices(applier);
    return applier->loaded;
}

void applier_peek(struct applier *applier)
{
    struct checkpoints checkpoints = {0};
    CHECK(!applier->loaded);
    if (!backoff_over(&applier->backoff, clock_mono_us()))
        return;
    enum redis_status status = model_writer_peek(applier->writer, deadline(), &checkpoints);
    if (status != REDIS_OK) {
        fail(applier, status);
        return;
    }
    recover(applier);
    take_checkpoints(applier, &checkpoints);
}

/* --- the log --- */

static void report_beyond(struct applier *applier, int slice)
{
    const struct progress *progress = &applier->slices[slice];
    if (applier->beyond & 1U << slice)
        return;
    applier->beyond |= 1U << slice;
    log_error("CHECKPOINT-BEYOND-LOG",
              "slice %d: checkpoint %lld is beyond the head %lld: these models are of another log", slice,
              (long long)progress->position, (long long)progress->log.head);
}

void applier_heads(struct applier *applier, const struct feed_heads *heads, int64_t seen_us)
{
    applier->seen_us = seen_us;
    applier->store_ahead_us = heads->now_us - clock_wall_us();
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        struct progress *progress = &applier->slices[slice];
        progress_log(progress, &heads->slices[slice]);
        if (applier->loaded && progress_beyond_log(progress))
            report_beyond(applier, slice);
    }
}

static void stick(struct progress *progress, int slice, const char *id, const char *why)
{
    int64_t at = progress->position + 1;
    progress_stick(progress, at);
    log_error(id, "slice %d stops before position %lld: %s", slice, (long long)at, why);
}

/* Decodes row `row` and adds it to the batch. False, and the slice is stuck, when that cannot be done. The
 * batch before it has been counted into `progress` only when it was sent, so `added` says what is in it. */
static bool add_row(struct applier *applier, struct progress *progress, const struct pg_rows *rows, int row)
{
    struct projection *projection = &applier->projection;
    struct event event;
    int slice = projection->model.slice;
    enum codec_status status = event_log_row(rows, row, 0, &applier->decoded, &event);
    int64_t next = progress->position + 1 + (int64_t)projection->events;
    bool fits = event.position == next;
    if (fits && status == CODEC_OK && projection_add(projection, &event)) {
        announcer_add(&applier->announcer, &event);
        return true;
    }
    if (projection->events > 0)
        return false; /* send what is good; it is looked at again as the first of the next batch */
    if (!fits)
        stick(progress, slice, "LOG-GAP", "the next event in the log has another position");
    else if (status == CODEC_UNKNOWN_TYPE)
        stick(progress, slice, "EVENT-UNKNOWN", "its type or version is newer than this program");
    else
        stick(progress, slice, "EVENT-CORRUPT", "no version of this program wrote such an event");
    return false;
}

/* Makes a batch of rows from `row` on; returns the row after it. */
static int make_batch(struct applier *applier, int16_t slice, const struct pg_rows *rows, int row)
{
    struct projection *projection = &applier->projection;
    arena_reset(&applier->decoded);
    projection_begin(projection, (struct model){applier->generation, slice});
    announcer_begin(&applier->announcer);
    while (row < pg_rows_count(rows) && projection->events < applier->options.batch_events &&
           projection->bytes < BATCH_BYTES_MAX && add_row(applier, &applier->slices[slice], rows, row))
        row++;
    projection_end(projection);
    return row;
}

static void send_batch(struct applier *applier, int16_t slice)
{
    const struct projection *projection = &applier->projection;
    struct progress *progress = &applier->slices[slice];
    struct model_write write = {
        .model = projection->model,
        .epoch = applier->epoch,
        .expected = progress->position,
        .next = projection->last,
        .at_us = projection->last_at_us,
        .oldest_us = projection->first_at_us,
        .behind = progress_move(progress, projection->last, projection->last_at_us),
        .seen_us = applier->seen_us,
        .mutations = &projection->mutations,
    };
    model_writer_send(applier->writer, &write);
    announcer_sent(&applier->announcer, slice, projection->last);
}

size_t applier_rows(struct applier *applier, int16_t slice, const struct pg_rows *rows)
{
    struct progress *progress = &applier->slices[slice];
    size_t sent = 0;
    int count = pg_rows_count(rows);
    if (count > 0) /* columns as in LOG_COLUMNS: position first, recorded_at seventh */
        progress_log_reaches(progress, pg_i64(rows, count - 1, 0), pg_time(rows, count - 1, 6));
    for (int row = 0; row < count && applier->loaded;) {
        row = make_batch(applier, slice, rows, row);
        if (applier->projection.events == 0)
            break; /* stuck */
        sent += applier->projection.events;
        send_batch(applier, slice);
        settle_down_to(applier, applier->options.window - 1);
    }
    return sent;
}

/* --- looking after the checkpoints --- */

static void refresh_slice(struct applier *applier, int16_t slice)
{
    struct progress *progress = &applier->slices[slice];
    struct model_write write = {
        .model = {applier->generation, slice},
        .epoch = applier->epoch,
        .expected = progress->position,
        .next = progress->position,
        .at_us = progress->at_us,
        .behind = progress_move(progress, progress->position, progress->at_us),
        .seen_us = applier->seen_us,
    };
    model_writer_send(applier->writer, &write);
    announcer_sent_nothing(&applier->announcer);
}

/* Readers find what this writes, or in a hand-over what it wrote before. */
static void check_live(struct applier *applier)
{
    int64_t live, expected = handover_live(&applier->handover, applier->generation);
    enum redis_status status = model_writer_keep_live(applier->writer, expected, deadline(), &live);
    if (status != REDIS_OK)
        fail(applier, status);
    else if (live != expected)
        applier->loaded = false;
}

void applier_refresh(struct applier *applier)
{
    CHECK(applier->loaded);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        refresh_slice(applier, slice);
    applier_settle(applier);
    if (applier->loaded && applier->options.generation == 0)
        check_live(applier);
    if (applier->loaded)
        recover(applier); /* writes were accepted, not only reads: that is what was in question */
}

/* --- handing over to another generation --- */

static void begin_handover(struct applier *applier, int64_t next)
{
    struct checkpoints checkpoints;
    enum redis_status status = model_writer_load(applier->writer, next, deadline(), &checkpoints);
    if (status != REDIS_OK) {
        fail(applier, status);
        return;
    }
    int64_t shown[SLICE_COUNT];
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        shown[slice] = applier->slices[slice].confirmed;
    handover_begin(&applier->handover, applier->generation, shown, clock_mono_us());
    take_checkpoints(applier, &checkpoints);
    applier_refresh(
        applier); /* slices where nothing happens have nothing else to say that they are current */
    log_info("HANDOVER", "going on in generation %lld, readers follow when it shows what %lld does",
             (long long)next, (long long)applier->handover.former);
}

static bool shows_as_much(const struct applier *applier)
{
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        const struct progress *progress = &applier->slices[slice];
        if (progress->behind || progress->confirmed < applier->handover.shown[slice])
            return false;
    }
    return true;
}

static void end_handover(struct applier *applier)
{
    int64_t live;
    enum redis_status status =
        generations_switch(model_writer_redis(applier->writer), applier->handover.former, applier->generation,
                           deadline(), &live);
    if (status != REDIS_OK) {
        fail(applier, status);
    } else if (live != applier->generation) {
        applier->loaded = false;
    } else {
        log_info("GENERATION", "readers use generation %lld now", (long long)live);
        handover_forget(&applier->handover);
    }
}

static void look_for_ready(struct applier *applier)
{
    struct generations generations;
    enum redis_status status =
        generations_read(model_writer_redis(applier->writer), deadline(), &generations);
    if (status != REDIS_OK) {
        fail(applier, status);
        return;
    }
    const struct generation *ready = generations_in_state(&generations, GENERATION_READY);
    if (ready && ready->number != applier->generation && applier_current(applier))
        begin_handover(applier, ready->number);
}

void applier_hand_over(struct applier *applier)
{
    struct handover *handover = &applier->handover;
    int64_t now_us = clock_mono_us();
    if (!applier->loaded)
        return;
    if (handover->former == 0) {
        if (handover_may_begin(handover, now_us))
            look_for_ready(applier);
    } else if (shows_as_much(applier)) {
        end_handover(applier);
    } else if (handover_too_long(handover, now_us)) {
        log_warn("HANDOVER-LATE", "generation %lld did not catch up in time; back to the live one",
                 (long long)applier->generation);
        applier->loaded = false; /* reads again what is live, and goes on there */
    }
}

bool applier_stuck(const struct applier *applier)
{
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (applier->slices[slice].stuck_at || progress_beyond_log(&applier->slices[slice]))
            return true;
    return false;
}

bool applier_current(const struct applier *applier)
{
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (progress_lag_events(&applier->slices[slice]) > 0)
            return false;
    return true;
}
