/* SPDX-License-Identifier: Apache-2.0 */
/* Batches on their way to Redis, and what becomes of them. */
#include "projector/run/applier.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "events/event_log.h"
#include "projector/rebuild/generations.h"
#include "projector/sql.h"

enum {
    BATCH_BYTES_MAX = 512 * 1024,         /* of event data in one script: bounds how long Redis is busy */
    DECODED_BYTES_MAX = 64 * 1024 * 1024, /* lists of one batch, bounded by the line above */
    HEALTH_REFRESHES = 10,                /* between two looks at how Redis is: two seconds */
};

void applier_init(struct applier *applier, struct redis_writer *writer,
                  const struct projector_metrics *metrics, const struct applier_options *options)
{
    *applier = (struct applier){
        .writer = writer, .metrics = metrics, .options = *options, .unreachable = options->slices};
    CHECK(options->batch_events >= 1 && options->batch_events <= APPLIER_BATCH_MAX);
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        fold_init(&applier->folds[slice]);
    script_batch_init(&applier->batch);
    arena_init(&applier->decoded, DECODED_BYTES_MAX);
    announcer_init(&applier->announcer, options->bus);
}

void applier_deinit(struct applier *applier)
{
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        fold_deinit(&applier->folds[slice]);
    script_batch_deinit(&applier->batch);
    arena_deinit(&applier->decoded);
    announcer_deinit(&applier->announcer);
}

void applier_forget(struct applier *applier)
{
    applier_settle(applier);
    applier->loaded = 0;
}

/* --- trouble --- */

static bool has(unsigned slices, int slice)
{
    return slices >> slice & 1;
}

static int lowest(unsigned slices)
{
    int slice = 0;
    while (!has(slices, slice))
        slice++;
    return slice;
}

static int64_t deadline(void)
{
    return clock_deadline_us(REDIS_DEADLINE_MS);
}

static void recover(struct applier *applier, unsigned slices)
{
    bool back = false;
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        if (!has(slices, slice))
            continue;
        backoff_succeed(&applier->backoff[slice]);
        back |= applier->trouble[slice] != REDIS_OK;
        applier->trouble[slice] = REDIS_OK;
    }
    applier->unreachable &= ~slices;
    if (back)
        log_info("REDIS-BACK", "Redis accepts reads and writes again");
}

/* With all that are on the same server, which it returns: they are tried again together. NOSCRIPT only means
 * that the script is to be loaded again, which loading does: no need to wait unless it happens in a row. */
static unsigned fail(struct applier *applier, int16_t slice, enum redis_status status)
{
    enum redis_status before = applier->trouble[slice];
    bool at_once = status == REDIS_NOSCRIPT && before == REDIS_OK;
    unsigned slices = 1U << slice;
    if (status != REDIS_MOVING) /* that is one slot's */
        slices |= redis_writer_slices_beside(applier->writer, slice) & applier->options.slices;
    applier->loaded &= ~slices;
    spans_forget(&applier->spans);
    metric_add(applier->metrics->redis_errors[status], 1);
    if (status != before)
        log_warn("REDIS-TROUBLE", "stopped at the checkpoint, class %s: %s", redis_status_label(status),
                 redis_writer_error(applier->writer));
    if (!at_once) {
        applier->unreachable |= slices;
        backoff_fail(&applier->backoff[slice], clock_mono_us());
    }
    for (int other = 0; other < SLICE_COUNT; other++) {
        if (!has(slices, other))
            continue;
        applier->trouble[other] = status;
        applier->backoff[other] = applier->backoff[slice];
    }
    return slices;
}

/* Of those slices the ones whose answer was bad, each server's once. */
static void fail_each(struct applier *applier, unsigned slices, const enum redis_status found[SLICE_COUNT])
{
    unsigned failed = 0;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (has(slices & ~failed, slice) && found[slice] != REDIS_OK)
            failed |= fail(applier, slice, found[slice]);
}

static void fail_all(struct applier *applier, enum redis_status status)
{
    enum redis_status found[SLICE_COUNT];
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        found[slice] = status;
    fail_each(applier, applier->options.slices, found);
}

/* Those that are not known and may be tried. */
static unsigned slices_due(const struct applier *applier)
{
    unsigned due = 0;
    int64_t now_us = clock_mono_us();
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (has(applier->options.slices, slice) && !has(applier->loaded, slice) &&
            backoff_over(&applier->backoff[slice], now_us))
            due |= 1U << slice;
    return due;
}

static void refused(struct applier *applier, const struct model_outcome *outcome)
{
    if (outcome->result == SCRIPT_FENCED) {
        applier->loaded = 0;
        metric_add(applier->metrics->fenced, 1);
        applier->fenced_by = outcome->value;
        log_warn("FENCED", "slice %d: a projector with epoch %lld has written, ours is %lld",
                 outcome->model.slice, (long long)outcome->value, (long long)applier->epoch);
    } else {
        applier->loaded &= ~(1U << outcome->model.slice);
        metric_add(applier->metrics->moved, 1);
        log_info("CHECKPOINT-MOVED", "slice %d: checkpoint is %lld, expected %lld; going on from there",
                 outcome->model.slice, (long long)outcome->value, (long long)outcome->expected.position);
    }
}

/* --- writing --- */

static void receive_one(struct applier *applier, int64_t deadline_us)
{
    struct model_outcome outcome;
    enum redis_status status = redis_writer_receive(applier->writer, deadline_us, &outcome);
    bool loaded = has(applier->loaded, outcome.model.slice);
    bool applied = status == REDIS_OK && outcome.result == SCRIPT_APPLIED;
    if (status == REDIS_LOST)
        announcer_forget(&applier->announcer);
    else
        announcer_settled(&applier->announcer, applied);
    if (!applied) {
        if (loaded && status != REDIS_OK) /* the first to fail says why; the rest fails with it */
            (void)fail(applier, outcome.model.slice, status);
        else if (loaded)
            refused(applier, &outcome);
        return;
    }
    if (loaded) {
        applier->confirmed[outcome.model.slice] = outcome.next;
        progress_confirm(&applier->slices[outcome.model.slice], outcome.next.position);
        spans_confirmed(&applier->spans, (struct position){outcome.model.slice, outcome.next.position},
                        applier->store_ahead_us);
    }
    if (outcome.next.position > outcome.expected.position) {
        metric_add(applier->metrics->events, (uint64_t)(outcome.next.position - outcome.expected.position));
        metric_add(applier->metrics->batches, 1);
        log_debug("APPLIED", "slice %d: up to %lld", outcome.model.slice, (long long)outcome.next.position);
        metric_observe_us(applier->metrics->apply_age,
                          clock_wall_us() + applier->store_ahead_us - outcome.oldest_us);
    }
}

/* One deadline for all: the leader must not be silent for longer, PostgreSQL takes that for dead. */
static void settle_down_to(struct applier *applier, size_t pending)
{
    int64_t deadline_us = deadline();
    while (redis_writer_pending(applier->writer) > pending)
        receive_one(applier, deadline_us);
}

void applier_settle(struct applier *applier)
{
    settle_down_to(applier, 0);
}

/* Only the checkpoint, no events. */
static void send_checkpoint(struct applier *applier, int16_t slice, const struct checkpoint *expected,
                            const struct checkpoint *next)
{
    struct model_write write = {.model = {next->generation, slice},
                                .live = true,
                                .expected = *expected,
                                .next = *next,
                                .batch = &applier->batch};
    script_batch_begin(&applier->batch, write.model, next->buckets);
    redis_writer_send(applier->writer, &write);
    announcer_sent_nothing(&applier->announcer);
    applier->folds[slice].at = *next;
}

/* --- loading --- */

static void take_roots(struct applier *applier, unsigned slices, const struct checkpoint *roots)
{
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        if (!has(slices, slice))
            continue;
        applier->confirmed[slice] = roots[slice];
        progress_load(&applier->slices[slice], roots[slice].position, roots[slice].at_us);
    }
}

/* The reply to a GET, NULL where the key is of another type, to which Redis has an error of no class: nobody
 * here wrote that, so what was there is lost. */
static enum redis_status receive_value(struct redis *redis, int64_t deadline_us,
                                       const struct redis_reply **ret)
{
    enum redis_status status = redis_receive(redis, deadline_us, ret);
    return status == REDIS_ERROR ? REDIS_OK : status;
}

/* The COUPONS that each slice stands in, which the next batch adds to. */
static void start_folds(struct applier *applier, unsigned slices)
{
    struct redis *redis = redis_writer_redis(applier->writer);
    enum redis_status found[SLICE_COUNT] = {REDIS_OK};
    int64_t deadline_us = deadline(), now_s = clock_wall_us() / US_PER_S;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        struct checkpoint *at = &applier->confirmed[slice];
        if (!has(slices, slice))
            continue;
        key_coupons(redis_writer_key(applier->writer), (struct model){at->generation, slice}, at->position);
        redis_send(redis, redis_writer_begin(applier->writer, "GET"));
    }
    enum redis_status last = REDIS_OK;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        const struct redis_reply *reply = NULL;
        const struct checkpoint *at = &applier->confirmed[slice];
        struct fold *fold = &applier->folds[slice];
        if (!has(slices, slice))
            continue;
        if (last != REDIS_LOST)
            last = receive_value(redis, deadline_us, &reply);
        found[slice] = last;
        fold_start(fold, (struct model){at->generation, slice}, at,
                   reply ? redis_text(reply) : (struct span){0}, now_s);
        if (fold->chunk.lost && last == REDIS_OK)
            applier->anew |= 1U << slice;
    }
    fail_each(applier, slices, found);
}

/* A generation begins with a number that the slice's former ones, of which keys may be left, had not. */
static void make_root(struct applier *applier, int16_t slice, int64_t former)
{
    struct checkpoint none = {0};
    struct checkpoint root = {.present = true,
                              .generation = generation_number(MADE_BY_LEADER, clock_wall_us(), former),
                              .epoch = applier->epoch,
                              .behind = 1,
                              .buckets = 1};
    send_checkpoint(applier, slice, &none, &root);
    applier->confirmed[slice] = root;
    applier->left_over = true;
    log_info("MODELS-BEGIN", "slice %d: there are no models; beginning generation %lld", slice,
             (long long)root.generation);
}

/* A replica was promoted: its history was the primary's. */
static bool note_history(struct applier *applier, unsigned slices, const struct redis_health *health)
{
    bool promoted = false;
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        char *history = applier->history[slice];
        if (!has(slices, slice))
            continue;
        promoted |= history[0] != '\0' && strcmp(history, health->history) != 0 &&
                    strcmp(history, health->former) == 0;
        memcpy(history, health->history, sizeof applier->history[slice]);
    }
    return promoted;
}

/* Of several servers what is shown is the worst. */
static void add_health(struct redis_health *all, const struct redis_health *one, bool first)
{
    if (first) {
        *all = *one;
        return;
    }
    if ((double)one->used * (double)all->max > (double)all->used * (double)one->max) {
        all->used = one->used; /* fuller */
        all->max = one->max;
    }
    all->evicts |= one->evicts;
    all->cannot_persist |= one->cannot_persist;
    all->replicas = one->replicas < all->replicas ? one->replicas : all->replicas;
    all->replica_lag_s = one->replica_lag_s > all->replica_lag_s ? one->replica_lag_s : all->replica_lag_s;
}

static unsigned slices_on(const struct applier *applier, size_t server)
{
    unsigned slices = 0;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (redis_writer_server_of(applier->writer, slice) == server)
            slices |= 1U << slice;
    return slices;
}

/* Asks every server that answers how it is. One that does not has failed its slices elsewhere. */
static enum redis_status look_at_health(struct applier *applier)
{
    size_t servers[REDIS_SERVERS_MAX];
    size_t count = redis_servers(redis_writer_redis(applier->writer), servers), answered = 0;
    struct redis_health all = {0}, health;
    enum redis_status status = REDIS_OK, failure = REDIS_OK;
    for (size_t i = 0; i < count; i++) {
        status = redis_writer_health(applier->writer, servers[i], deadline(), &health);
        failure = status == REDIS_OK ? failure : status;
        if (status != REDIS_OK)
            continue;
        add_health(&all, &health, answered++ == 0);
        if (!note_history(applier, slices_on(applier, servers[i]), &health))
            continue;
        metric_add(applier->metrics->primary_changes, 1);
        log_warn("REDIS-PRIMARY", "another Redis server is the primary now: a replica was promoted");
    }
    metric_set(applier->metrics->redis_away, (int64_t)(count - answered));
    if (answered == 0)
        return failure;
    if (all.evicts && !applier->evicts)
        log_error("REDIS-EVICTS",
                  "maxmemory-policy is not noeviction: Redis may drop models when it is full");
    applier->evicts = all.evicts;
    projector_metrics_redis(applier->metrics, &all);
    return REDIS_OK;
}

/* The slices in `due`, as far as their servers answer. */
static void load(struct applier *applier, unsigned due)
{
    struct slice_roots found;
    int64_t former[SLICE_COUNT];
    enum redis_status status = redis_writer_connect(applier->writer, deadline());
    if (status == REDIS_OK)
        status = look_at_health(applier);
    if (status != REDIS_OK) {
        fail_all(applier, status);
        return;
    }
    if (redis_writer_clean_roots(applier->writer, deadline(), &found) != REDIS_OK)
        fail_each(applier, due, found.found);
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        former[slice] = applier->confirmed[slice].generation;
        if (found.found[slice] != REDIS_OK)
            due &= ~(1U << slice);
    }
    take_roots(applier, due, found.roots);
    applier->anew &= ~due;
    applier->foreign &= ~due;
    applier->history_checked &= ~due;
    applier->loaded |= due;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (has(due, slice) && !found.roots[slice].present)
            make_root(applier, slice, former[slice]);
    applier_settle(applier);
    start_folds(applier, due & applier->loaded);
}

bool applier_load(struct applier *applier, int64_t epoch)
{
    unsigned due = slices_due(applier), before = applier->loaded;
    if (!due)
        return false;
    applier->epoch = epoch;
    applier->fenced_by = 0;
    load(applier, due);
    return (applier->loaded & ~before) != 0;
}

void applier_peek(struct applier *applier)
{
    struct slice_roots found;
    unsigned due = slices_due(applier);
    CHECK(!applier->loaded);
    if (!due)
        return;
    if (redis_writer_clean_roots(applier->writer, deadline(), &found) != REDIS_OK)
        fail_each(applier, due, found.found);
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (found.found[slice] != REDIS_OK)
            due &= ~(1U << slice);
    recover(applier, due);
    take_roots(applier, due, found.roots);
}

/* --- whose log it is --- */

static void history_args(const struct applier *applier, struct pg_args *args)
{
    const struct checkpoint *at = applier->confirmed;
    pg_array_begin(args, PG_INT8);
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        pg_array_i64(args, at[slice].position);
    pg_array_end(args);
    pg_array_begin(args, PG_TIMESTAMPTZ);
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        pg_array_time(args, at[slice].at_us);
    pg_array_end(args);
    pg_array_begin(args, PG_INT8);
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        pg_array_i64(args, at[slice].chain_at);
    pg_array_end(args);
    pg_array_begin(args, PG_BYTEA);
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        pg_array_bytes(args, (struct span){(const char *)at[slice].chain, CHAIN_BYTES});
    pg_array_end(args);
}

/* Its models show what this log does not say. Until they are made anew readers ask PostgreSQL. */
static void found_foreign(struct applier *applier, int16_t slice)
{
    struct checkpoint at = applier->confirmed[slice], next = at;
    applier->foreign |= 1U << slice;
    log_error("HISTORY-LOST",
              "slice %d: the models at %lld are of another log: PostgreSQL was restored, or a failover lost "
              "commits; they are made anew",
              slice, (long long)at.position);
    next.behind = 1;
    next.epoch = applier->epoch;
    send_checkpoint(applier, slice, &at, &next);
}

enum pg_status applier_check_history(struct applier *applier, struct pg *pg, int64_t deadline_us)
{
    struct pg_args args;
    struct pg_rows *rows;
    unsigned unchecked = applier->loaded & ~applier->history_checked;
    if (!unchecked)
        return PG_OK;
    pg_args_init(&args);
    history_args(applier, &args);
    enum pg_status status = pg_call(pg, SQL_HISTORY, &args, deadline_us, &rows);
    pg_args_deinit(&args);
    if (status != PG_OK)
        return status;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        int16_t slice = (int16_t)pg_i64(rows, row, 0);
        if (has(unchecked, slice) && pg_i64(rows, row, 1) == 0)
            found_foreign(applier, slice);
    }
    pg_rows_destroy(rows);
    applier_settle(applier);
    applier->history_checked |= unchecked;
    return PG_OK;
}

/* --- the log --- */

void applier_heads(struct applier *applier, const struct log_heads *heads)
{
    applier->store_now_us = heads->now_us;
    applier->store_ahead_us = heads->now_us - clock_wall_us();
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        progress_log(&applier->slices[slice], &heads->slices[slice]);
}

static void stick(struct progress *progress, int slice, const char *id, const char *why)
{
    int64_t at = progress->position + 1;
    progress_stick(progress, at);
    log_error(id, "slice %d stops before position %lld: %s", slice, (long long)at, why);
}

/* Asks for the records of campaigns, and waits for what was sent before: rare, because a campaign is asked
 * for once. */
static void load_campaigns(struct applier *applier, struct fold *fold, const struct span *ids, size_t count)
{
    int16_t slice = fold->model.slice;
    applier_settle(applier);
    if (!has(applier->loaded, slice))
        return;
    struct redis *redis = redis_writer_redis(applier->writer);
    int64_t deadline_us = deadline();
    for (size_t i = 0; i < count; i++) {
        key_campaign(redis_writer_key(applier->writer), fold->model, ids[i]);
        redis_send(redis, redis_writer_begin(applier->writer, "GET"));
    }
    for (size_t i = 0; i < count; i++) {
        const struct redis_reply *reply;
        enum redis_status status = receive_value(redis, deadline_us, &reply);
        if (status != REDIS_OK && has(applier->loaded, slice))
            (void)fail(applier, slice, status);
        if (status == REDIS_LOST)
            return;
        if (!fold_load(fold, ids[i], reply ? redis_text(reply) : (struct span){0}) && status == REDIS_OK)
            applier->anew |= 1U << slice;
    }
}

/* The campaigns that rows are about and that neither are known nor begin here. */
static void load_campaigns_of(struct applier *applier, int16_t slice, const struct pg_rows *rows)
{
    enum { AT_ONCE = 256 };
    struct fold *fold = &applier->folds[slice];
    struct span ids[AT_ONCE];
    struct map met;
    size_t count = 0;
    map_init(&met);
    for (int row = 0; row < pg_rows_count(rows) && has(applier->loaded, slice); row++) {
        struct event event = {.type = (enum event_type)pg_i64(rows, row, LOG_COLUMN_TYPE)};
        struct span id = pg_bytes(rows, row, LOG_COLUMN_CAMPAIGN);
        if (!campaign_concerned(&event) || id.len < 1 || id.len > CAMPAIGN_ID_MAX || map_get(&met, id))
            continue;
        map_put(&met, id, &met);
        if (event.type == EVENT_CampaignCreated || fold_knows(fold, id))
            continue;
        ids[count++] = id;
        if (count == AT_ONCE) {
            load_campaigns(applier, fold, ids, count);
            count = 0;
        }
    }
    map_deinit(&met);
    if (count > 0 && has(applier->loaded, slice))
        load_campaigns(applier, fold, ids, count);
}

/* Decodes row `row` and adds it to the batch. False, and the slice is stuck, when that cannot be done. */
static bool add_row(struct applier *applier, int16_t slice, const struct pg_rows *rows, int row, bool first)
{
    struct fold *fold = &applier->folds[slice];
    struct progress *progress = &applier->slices[slice];
    struct event event;
    enum codec_status status = event_log_row(rows, row, 0, &applier->decoded, &event);
    bool fits = event.position == fold->at.position + 1;
    if (fits && status == CODEC_OK && fold_add(fold, &event, &applier->batch.sink)) {
        announcer_add(&applier->announcer, &event);
        return true;
    }
    if (!first)
        return false; /* send what is good; it is looked at again as the first of the next batch */
    if (!fits)
        stick(progress, slice, "LOG-GAP", "the next event in the log has another position");
    else if (status == CODEC_UNKNOWN_TYPE)
        stick(progress, slice, "EVENT-UNKNOWN", "its type or version is newer than this program");
    else
        stick(progress, slice, "EVENT-CORRUPT", "no version of this program wrote such an event");
    return false;
}

static void send_batch(struct applier *applier, int16_t slice, const struct checkpoint *before,
                       int64_t oldest_us)
{
    struct fold *fold = &applier->folds[slice];
    struct progress *progress = &applier->slices[slice];
    struct checkpoint *at = &fold->at;
    fold_flush(fold, &applier->batch.sink);
    at->epoch = applier->epoch;
    at->behind = progress_move(progress, at->position, at->at_us);
    if (users_buckets(at->coupons) > at->buckets)
        at->buckets = users_buckets(at->coupons);
    if (at->position == progress->log.head && progress->log.chain_known) {
        at->chain_at = at->position;
        memcpy(at->chain, progress->log.chain, CHAIN_BYTES);
    }
    struct model_write write = {.model = fold->model,
                                .live = true,
                                .expected = *before,
                                .next = *at,
                                .batch = &applier->batch,
                                .oldest_us = oldest_us};
    redis_writer_send(applier->writer, &write);
    announcer_sent(&applier->announcer, slice, at->position);
    fold_trim(fold);
}

/* Makes a batch of rows from `row` on and sends it; returns how many they were. */
static int apply_batch(struct applier *applier, int16_t slice, const struct pg_rows *rows, int row)
{
    struct fold *fold = &applier->folds[slice];
    struct checkpoint before = fold->at;
    size_t bytes = 0, count = 0;
    int64_t oldest_us = pg_time(rows, row, LOG_COLUMN_RECORDED_AT);
    arena_reset(&applier->decoded);
    script_batch_begin(&applier->batch, fold->model, fold->at.buckets);
    announcer_begin(&applier->announcer);
    while (row < pg_rows_count(rows) && count < applier->options.batch_events && bytes < BATCH_BYTES_MAX &&
           add_row(applier, slice, rows, row, count == 0)) {
        bytes += pg_bytes(rows, row, LOG_COLUMN_DATA).len;
        spans_sent(&applier->spans, (struct position){slice, pg_i64(rows, row, LOG_COLUMN_POSITION)},
                   pg_bytes(rows, row, LOG_COLUMN_TRACE), pg_time(rows, row, LOG_COLUMN_RECORDED_AT));
        row++;
        count++;
    }
    if (count > 0)
        send_batch(applier, slice, &before, oldest_us);
    return (int)count;
}

size_t applier_rows(struct applier *applier, int16_t slice, const struct pg_rows *rows)
{
    struct progress *progress = &applier->slices[slice];
    size_t sent = 0;
    int count = pg_rows_count(rows);
    if (count == 0)
        return 0;
    progress_log_reaches(progress, pg_i64(rows, count - 1, LOG_COLUMN_POSITION),
                         pg_time(rows, count - 1, LOG_COLUMN_RECORDED_AT));
    load_campaigns_of(applier, slice, rows);
    for (int row = 0; row < count && has(applier->loaded, slice);) {
        int added = apply_batch(applier, slice, rows, row);
        if (added == 0)
            break; /* stuck */
        row += added;
        sent += (size_t)added;
        settle_down_to(applier, LEADER_WINDOW - 1);
    }
    return sent;
}

/* --- looking after the roots --- */

/* Those whose root is another one than it was left as are forgotten. */
static void compare_roots(struct applier *applier, const struct slice_roots *found)
{
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        const struct checkpoint *is = &applier->confirmed[slice], *there = &found->roots[slice];
        if (!has(applier->loaded, slice) || (there->present && there->generation == is->generation &&
                                             there->position == is->position && there->epoch == is->epoch))
            continue;
        log_info("CHECKPOINT-MOVED", "slice %d: checkpoint is %lld of generation %lld, expected %lld of %lld",
                 slice, (long long)there->position, (long long)there->generation, (long long)is->position,
                 (long long)is->generation);
        metric_add(applier->metrics->moved, 1);
        applier->loaded &= ~(1U << slice);
    }
}

/* Readers are told when a slice falls behind, and when it is no longer, also where nothing else is to be
 * written. */
static void tell_behind(struct applier *applier)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        struct checkpoint at = applier->confirmed[slice], next = at;
        struct progress *progress = &applier->slices[slice];
        if (has(applier->foreign, slice) || !has(applier->loaded, slice))
            continue; /* behind until it is another one; or not ours to say */
        next.behind = progress_move(progress, at.position, at.at_us);
        next.epoch = applier->epoch;
        if (next.behind != at.behind || next.epoch != at.epoch)
            send_checkpoint(applier, slice, &at, &next);
    }
    applier_settle(applier);
}

static void take_hole(struct applier *applier, int16_t slice, struct span value)
{
    int64_t generation;
    if (!parse_i64(value, 1, INT64_MAX, &generation) || generation != applier->confirmed[slice].generation ||
        has(applier->anew, slice))
        return;
    applier->anew |= 1U << slice;
    log_warn("MODEL-HOLE", "slice %d: a reader missed a key; the slice is made anew", slice);
}

/* One command for each slice in `slices`, all on their way at once. */
static void send_each(struct applier *applier, unsigned slices, const char *verb,
                      void (*write_key)(struct buf *, int16_t))
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!has(slices, slice))
            continue;
        write_key(redis_writer_key(applier->writer), slice);
        struct redis_command *command = redis_writer_begin(applier->writer, verb);
        if (write_key == key_seen) {
            redis_arg_i64(command, applier->store_now_us);
            redis_arg_text(command, "PXAT");
            redis_arg_i64(command, applier->refresh_ms[slice] + SEEN_KEPT_MS);
        }
        redis_send(redis_writer_redis(applier->writer), command);
    }
}

/* The same, and waits for the replies. */
static void receive_each(struct applier *applier, unsigned slices, const char *verb,
                         void (*write_key)(struct buf *, int16_t))
{
    struct redis *redis = redis_writer_redis(applier->writer);
    enum redis_status found[SLICE_COUNT] = {REDIS_OK}, last = REDIS_OK;
    int64_t deadline_us = deadline();
    send_each(applier, slices, verb, write_key);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        const struct redis_reply *reply;
        if (has(slices, slice) && last != REDIS_LOST)
            last = redis_receive(redis, deadline_us, &reply);
        if (has(slices, slice))
            found[slice] = last;
    }
    fail_each(applier, slices, found);
}

static void look_for_holes(struct applier *applier)
{
    struct redis *redis = redis_writer_redis(applier->writer);
    enum redis_status found[SLICE_COUNT] = {REDIS_OK}, last = REDIS_OK;
    unsigned asked = applier->loaded, holes = 0;
    int64_t deadline_us = deadline();
    send_each(applier, asked, "GET", key_hole);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        const struct redis_reply *reply = NULL;
        if (!has(asked, slice))
            continue;
        if (last != REDIS_LOST)
            last = redis_receive(redis, deadline_us, &reply);
        found[slice] = last == REDIS_ERROR ? REDIS_OK : last; /* of another type, in the way of readers */
        if (last == REDIS_ERROR || (reply && redis_kind(reply) != REDIS_NIL))
            holes |= 1U << slice;
        if (reply)
            take_hole(applier, slice, redis_text(reply));
    }
    fail_each(applier, asked, found);
    receive_each(applier, holes & applier->loaded, "UNLINK", key_hole);
}

void applier_begin_refresh(struct applier *applier)
{
    size_t servers[REDIS_SERVERS_MAX];
    CHECK(applier->loaded);
    size_t count = redis_servers(redis_writer_redis(applier->writer), servers);
    for (size_t i = 0; i < count; i++) {
        int64_t now_ms;
        unsigned slices = slices_on(applier, servers[i]) & applier->loaded;
        if (!slices)
            continue;
        enum redis_status status = redis_writer_clock(applier->writer, servers[i], deadline(), &now_ms);
        if (status != REDIS_OK)
            (void)fail(applier, (int16_t)lowest(slices), status);
        for (int slice = 0; slice < SLICE_COUNT && status == REDIS_OK; slice++)
            if (has(slices, slice))
                applier->refresh_ms[slice] = now_ms;
    }
}

void applier_refresh(struct applier *applier)
{
    struct slice_roots found;
    CHECK(applier->loaded);
    applier_settle(applier);
    tell_behind(applier);
    if (!applier->loaded)
        return;
    if (redis_writer_clean_roots(applier->writer, deadline(), &found) != REDIS_OK)
        fail_each(applier, applier->loaded, found.found);
    compare_roots(applier, &found);
    look_for_holes(applier);
    if (applier->loaded && ++applier->refreshes % HEALTH_REFRESHES == 0) {
        enum redis_status status = look_at_health(applier);
        if (status != REDIS_OK)
            fail_all(applier, status);
    }
    unsigned whole = applier->loaded;
    receive_each(applier, whole, "SET", key_seen);
    recover(applier, whole & applier->loaded); /* writes were accepted: that is what was in question */
}

bool applier_stuck(const struct applier *applier)
{
    if (applier->foreign)
        return true;
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
