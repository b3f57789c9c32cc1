/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds: connect, elect, ask, apply, report; then wait for a hint. */
#include "projector/run/loop.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/notify.h"
#include "events/control/state.h"
#include "projector/sql.h"

enum {
    STORE_DEADLINE_MS = 1000,
    ELECT_MS = 250,      /* between attempts to take the lead */
    LOG_LEVEL_MS = 1000, /* between looks at the setting */
    REFRESH_MS = 200,    /* between looks after the checkpoints */
};

/* What a round came to, which is how long to wait for the next one. */
enum round {
    ROUND_IDLE,    /* wait for a hint or the poll interval */
    ROUND_APPLIED, /* something was new: let a little gather, small batches cost as much as large ones */
    ROUND_BACKLOG, /* there is more: go on at once */
};

void projector_init(struct projector *projector, const struct projector_means *means,
                    const struct projector_options *options)
{
    *projector = (struct projector){
        .options = *options,
        .shard = means->shard,
        .pg = means->pg,
        .hints = means->hints,
        .metrics = means->metrics,
        .repair = means->repair,
        .store_part = service_part_create("postgresql"),
        .redis_part = service_part_create("redis"),
        .models_part = service_part_create("models"),
    };
    log_reader_init(&projector->reader, means->pg);
    applier_init(&projector->applier, means->writer, means->metrics,
                 &(struct applier_options){.slices = means->shard->slices,
                                           .batch_events = (size_t)options->batch_events,
                                           .bus = means->bus});
}

void projector_deinit(struct projector *projector)
{
    applier_deinit(&projector->applier);
    log_reader_deinit(&projector->reader);
}

static int64_t deadline(void)
{
    return clock_deadline_us(STORE_DEADLINE_MS);
}

/* --- PostgreSQL and the lead --- */

/* Without its session this process leads nothing, whatever it still has to hand. */
static void give_up_session(struct projector *projector)
{
    if (projector->leader.leads)
        log_warn("LEAD-LOST", "no longer leading with epoch %lld", (long long)projector->leader.epoch);
    pg_disconnect(projector->pg);
    leader_lost(&projector->leader);
    applier_forget(&projector->applier);
    projector->current_once = false;
}

static void lose_store(struct projector *projector)
{
    if (!projector->store_trouble_logged)
        log_warn("STORE-LOST", "%s", pg_error(projector->pg));
    projector->store_trouble_logged = true;
    give_up_session(projector);
    backoff_fail(&projector->store_backoff, clock_mono_us());
}

static bool connect_store(struct projector *projector)
{
    if (pg_connected(projector->pg))
        return true;
    give_up_session(projector); /* it may have broken outside of a round */
    if (!backoff_over(&projector->store_backoff, clock_mono_us()))
        return false;
    if (pg_connect(projector->pg, deadline()) == PG_OK)
        return true;
    lose_store(projector);
    return false;
}

static void elect(struct projector *projector)
{
    if (projector->leader.leads || clock_mono_us() < projector->elect_at_us)
        return;
    projector->elect_at_us = clock_deadline_us(ELECT_MS);
    if (leader_try(&projector->leader, projector->pg, projector->shard->slices, deadline()) != PG_OK) {
        lose_store(projector);
        return;
    }
    if (projector->leader.leads)
        log_info("LEAD", "leading with epoch %lld", (long long)projector->leader.epoch);
    else
        applier_peek(&projector->applier);
}

/* --- one round --- */

static unsigned slices_wanted(const struct projector *projector, unsigned hinted)
{
    const struct applier *applier = &projector->applier;
    unsigned wanted = 0;
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        const struct progress *progress = &applier->slices[slice];
        bool hint = (hinted & 1U << slice) && progress->position + 1 != progress->stuck_at;
        if (hint || progress_wants(progress))
            wanted |= 1U << slice;
    }
    return wanted & projector->shard->slices & applier->loaded & ~applier->foreign;
}

static enum round apply_rows(struct projector *projector, int16_t slice, unsigned wanted,
                             const struct pg_rows *rows)
{
    if (!(projector->applier.loaded >> slice & 1) || applier_rows(&projector->applier, slice, rows) == 0)
        return ROUND_IDLE;
    return pg_rows_count(rows) == log_reader_page(wanted) ? ROUND_BACKLOG : ROUND_APPLIED;
}

static bool begin_refresh_if_due(struct projector *projector)
{
    if (!projector->applier.loaded || clock_mono_us() < projector->refresh_at_us)
        return false;
    applier_begin_refresh(&projector->applier);
    return projector->applier.loaded != 0;
}

/* Before anything is applied: after a loss the first thing readers learn is that the models are behind. */
static void refresh(struct projector *projector)
{
    if (projector->applier.loaded)
        applier_refresh(&projector->applier);
    projector->refresh_at_us = clock_deadline_us(REFRESH_MS);
}

static enum pg_status receive_heads(struct projector *projector)
{
    struct log_heads heads;
    enum pg_status status = log_reader_heads(&projector->reader, deadline(), &heads);
    if (status != PG_OK)
        return status;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (!shard_has(projector->shard, slice)) {
            heads.slices[slice].known = false; /* one that has just come is another projector's */
        } else if (!heads.slices[slice].known) {
            log_error("SLICE-ELSEWHERE", "slice %d: the database does not own it: the shard map is another",
                      slice);
            pg_disconnect(projector->pg);
            return PG_LOST;
        }
    applier_heads(&projector->applier, &heads);
    projector->store_now_us = heads.now_us;
    return PG_OK;
}

static enum pg_status receive_rows(struct projector *projector, unsigned wanted, enum round *ret)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        struct pg_rows *rows;
        if (!(wanted & 1U << slice))
            continue;
        enum pg_status status = log_reader_rows(&projector->reader, deadline(), &rows);
        if (status != PG_OK)
            return status;
        enum round came_to = apply_rows(projector, slice, wanted, rows);
        *ret = came_to > *ret ? came_to : *ret;
        pg_rows_destroy(rows);
    }
    return PG_OK;
}

static enum pg_status run_round(struct projector *projector, enum round *ret)
{
    int64_t positions[SLICE_COUNT];
    bool refreshes = begin_refresh_if_due(projector);
    unsigned wanted = slices_wanted(projector, hints_take(projector->hints));
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        positions[slice] = projector->applier.slices[slice].position;
    log_reader_ask(&projector->reader, positions, wanted);
    enum pg_status status = receive_heads(projector);
    if (status != PG_OK)
        return status;
    if (refreshes)
        refresh(projector);
    status = receive_rows(projector, wanted, ret);
    applier_settle(&projector->applier);
    if (slices_wanted(projector, 0) & ~wanted)
        *ret = ROUND_BACKLOG; /* events no hint told of: the heads just did */
    return status;
}

static void report_lag(struct projector *projector)
{
    int64_t events = 0, oldest_us = 0, stuck = 0;
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        const struct progress *progress = &projector->applier.slices[slice];
        int64_t age_us = progress_lag_us(progress, projector->store_now_us);
        events += progress_lag_events(progress);
        metric_set(projector->metrics->slice_lag[slice], progress_lag_events(progress));
        oldest_us = age_us > oldest_us ? age_us : oldest_us;
        stuck += progress->stuck_at || progress_beyond_log(progress);
    }
    metric_set(projector->metrics->lag_events, events);
    metric_set(projector->metrics->lag_seconds, (oldest_us + US_PER_S - 1) / US_PER_S);
    metric_set(projector->metrics->stuck_slices, stuck);
}

static void report_state(struct projector *projector)
{
    const struct applier *applier = &projector->applier;
    bool leads = projector->leader.leads;
    if (leads && applier->loaded == projector->shard->slices && applier_current(applier))
        projector->current_once = true;
    bool good = !applier_stuck(applier) && !applier->evicts && (!leads || projector->current_once);
    report_lag(projector);
    metric_set(projector->metrics->leader, leads);
    if (!leads)
        projector_metrics_redis(projector->metrics, NULL);
    service_part_set(projector->store_part, pg_connected(projector->pg));
    service_part_set(projector->redis_part, applier->unreachable == 0);
    service_part_set(projector->models_part, good);
}

static void store_is_back(struct projector *projector)
{
    if (projector->store_trouble_logged)
        log_info("STORE-BACK", "PostgreSQL answers again");
    projector->store_trouble_logged = false;
    backoff_succeed(&projector->store_backoff);
}

/* The script has met a higher epoch. A new lead, with an epoch above that, decides who is right. */
static void step_down(struct projector *projector)
{
    leader_fenced(&projector->leader, projector->applier.fenced_by);
    give_up_session(projector);
    projector->applier.fenced_by = 0;
    backoff_fail(&projector->store_backoff, clock_mono_us());
}

static void load_models(struct projector *projector)
{
    struct applier *applier = &projector->applier;
    if (applier->loaded != projector->shard->slices && applier_load(applier, projector->leader.epoch))
        projector->refresh_at_us = 0;
}

/* What a leader does besides bringing the models forward. */
static enum pg_status look_after_models(struct projector *projector)
{
    const struct applier *applier = &projector->applier;
    int64_t generations[SLICE_COUNT];
    if (!projector->leader.leads)
        return PG_OK;
    if (applier->loaded && applier->left_over) {
        repair_drop(projector->repair);
        projector->applier.left_over = false;
    }
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        generations[slice] = applier->confirmed[slice].generation;
    unsigned anew = (applier->anew | applier->foreign) & applier->loaded;
    if (anew)
        repair_ask(projector->repair, anew, applier->foreign & anew, generations);
    return prewarm_turn(&projector->prewarm, projector->pg, &projector->applier, projector->store_now_us,
                        deadline());
}

/* The setting log_level; PostgreSQL away, the last one holds. It is in one shard; projectors of others keep
 * the option's. */
static enum pg_status follow_log_level(struct projector *projector)
{
    struct settings settings;
    struct span name = span_of(setting_infos[SETTING_log_level].name);
    struct pg_args args;
    struct pg_rows *rows;
    if (clock_mono_us() < projector->log_level_at_us || !shard_has(projector->shard, CONTROL_SLICE))
        return PG_OK;
    projector->log_level_at_us = clock_deadline_us(LOG_LEVEL_MS);
    pg_args_init(&args);
    pg_arg_i16(&args, CONTROL_SLICE);
    pg_arg_i16(&args, CONTROL_SETTING);
    pg_arg_bytes(&args, name);
    enum pg_status status = pg_call(projector->pg, SQL_SETTING, &args, deadline(), &rows);
    pg_args_deinit(&args);
    if (status != PG_OK)
        return status;
    if (pg_rows_count(rows) == 0) { /* the next round says that the slice is another database's */
        pg_rows_destroy(rows);
        return PG_OK;
    }
    settings_init(&settings);
    struct span value = pg_bytes(rows, 0, 0);
    if (value.len > 0 && settings_set(&settings, name, value) != SETTINGS_OK) /* a newer version's */
        log_warn("CONTROL-UNKNOWN", "setting log_level has a value that this version does not know");
    log_use_level(settings_get(&settings, SETTING_log_level));
    pg_rows_destroy(rows);
    return PG_OK;
}

/* Before the first event is applied on top of what Redis has. */
static enum pg_status check_history(struct projector *projector)
{
    return projector->leader.leads ? applier_check_history(&projector->applier, projector->pg, deadline())
                                   : PG_OK;
}

static enum round turn(struct projector *projector)
{
    enum round came_to = ROUND_IDLE;
    if (connect_store(projector))
        elect(projector);
    if (projector->leader.leads)
        load_models(projector);
    if (pg_connected(projector->pg)) {
        if (check_history(projector) == PG_OK && run_round(projector, &came_to) == PG_OK &&
            look_after_models(projector) == PG_OK && follow_log_level(projector) == PG_OK)
            store_is_back(projector);
        else
            lose_store(projector);
    }
    if (projector->applier.fenced_by)
        step_down(projector);
    report_state(projector);
    return came_to;
}

/* --- the loop --- */

static void wait_for_more(struct projector *projector, enum round came_to, int64_t began_us)
{
    const struct projector_options *options = &projector->options;
    int64_t idle_ms = projector->leader.leads ? options->poll_ms : ELECT_MS / 2;
    if (came_to == ROUND_BACKLOG)
        return;
    if (came_to == ROUND_IDLE)
        hints_wait(projector->hints, began_us + idle_ms * US_PER_MS);
    int64_t paced_us = began_us + options->pace_ms * US_PER_MS;
    while (came_to == ROUND_APPLIED && clock_mono_us() < paced_us && !service_stopping())
        hints_wait(projector->hints, paced_us);
}

void projector_run(struct projector *projector)
{
    struct heartbeat heartbeat;
    heartbeat_begin(&heartbeat);
    while (!service_stopping()) {
        int64_t began_us = clock_mono_us();
        heartbeat_beat(&heartbeat, began_us);
        enum round came_to = turn(projector);
        wait_for_more(projector, came_to, began_us);
    }
    heartbeat_end(&heartbeat);
    applier_settle(&projector->applier);
    pg_disconnect(projector->pg); /* frees the lock: whoever stands by leads at once */
}
