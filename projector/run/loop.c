/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds: connect, elect, ask, apply, report; then wait for a hint. */
#include "projector/run/loop.h"

#include "common/base/clock.h"
#include "common/base/log.h"

enum {
    STORE_DEADLINE_MS = 1000,
    ELECT_MS = 250,   /* between attempts to take the lead */
    REFRESH_MS = 200, /* between looks after the checkpoints */
};

/* What a round came to, which is how long to wait for the next one. */
enum round {
    ROUND_IDLE,    /* wait for a hint or the poll interval */
    ROUND_APPLIED, /* something was new: let a little gather, small batches cost as much as large ones */
    ROUND_BACKLOG, /* there is more: go on at once */
};

void follower_init(struct follower *follower, const struct follower_means *means,
                   const struct follower_options *options)
{
    *follower = (struct follower){
        .options = *options,
        .pg = means->pg,
        .hints = means->hints,
        .metrics = means->metrics,
        .repair = means->repair,
        .store_part = service_part_create("postgresql"),
        .redis_part = service_part_create("redis"),
        .models_part = service_part_create("models"),
    };
    log_reader_init(&follower->reader, means->pg);
    applier_init(&follower->applier, means->writer, means->metrics,
                 &(struct applier_options){.batch_events = (size_t)options->batch_events, .bus = means->bus});
}

void follower_deinit(struct follower *follower)
{
    applier_deinit(&follower->applier);
    log_reader_deinit(&follower->reader);
}

static int64_t deadline(void)
{
    return clock_deadline_us(STORE_DEADLINE_MS);
}

/* --- PostgreSQL and the lead --- */

/* Without its session this process leads nothing, whatever it still has to hand. */
static void give_up_session(struct follower *follower)
{
    if (follower->leader.leads)
        log_warn("LEAD-LOST", "no longer leading with epoch %lld", (long long)follower->leader.epoch);
    pg_disconnect(follower->pg);
    leader_lost(&follower->leader);
    applier_forget(&follower->applier);
    follower->current_once = false;
}

static void lose_store(struct follower *follower)
{
    if (!follower->store_trouble_logged)
        log_warn("STORE-LOST", "%s", pg_error(follower->pg));
    follower->store_trouble_logged = true;
    give_up_session(follower);
    backoff_fail(&follower->store_backoff, clock_mono_us());
}

static bool connect_store(struct follower *follower)
{
    if (pg_connected(follower->pg))
        return true;
    give_up_session(follower); /* it may have broken outside of a round */
    if (!backoff_over(&follower->store_backoff, clock_mono_us()))
        return false;
    if (pg_connect(follower->pg, deadline()) == PG_OK)
        return true;
    lose_store(follower);
    return false;
}

static void elect(struct follower *follower)
{
    if (follower->leader.leads || clock_mono_us() < follower->elect_at_us)
        return;
    follower->elect_at_us = clock_deadline_us(ELECT_MS);
    if (leader_try(&follower->leader, follower->pg, deadline()) != PG_OK) {
        lose_store(follower);
        return;
    }
    if (follower->leader.leads)
        log_info("LEAD", "leading with epoch %lld", (long long)follower->leader.epoch);
    else
        applier_peek(&follower->applier);
}

/* --- one round --- */

static unsigned slices_wanted(const struct follower *follower, unsigned hinted)
{
    const struct applier *applier = &follower->applier;
    unsigned wanted = 0;
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        const struct progress *progress = &applier->slices[slice];
        bool hint = (hinted & 1U << slice) && progress->position + 1 != progress->stuck_at;
        if (hint || progress_wants(progress))
            wanted |= 1U << slice;
    }
    return applier->loaded ? wanted & ~applier->foreign : 0;
}

static enum round apply_rows(struct follower *follower, int16_t slice, unsigned wanted,
                             const struct pg_rows *rows)
{
    if (!follower->applier.loaded || applier_rows(&follower->applier, slice, rows) == 0)
        return ROUND_IDLE;
    return pg_rows_count(rows) == log_reader_page(wanted) ? ROUND_BACKLOG : ROUND_APPLIED;
}

static bool begin_refresh_if_due(struct follower *follower)
{
    if (!follower->applier.loaded || clock_mono_us() < follower->refresh_at_us)
        return false;
    applier_begin_refresh(&follower->applier);
    return follower->applier.loaded;
}

/* Before anything is applied: after a loss the first thing readers learn is that the models are behind. */
static void refresh(struct follower *follower)
{
    applier_refresh(&follower->applier);
    follower->refresh_at_us = clock_deadline_us(REFRESH_MS);
}

static enum pg_status receive_heads(struct follower *follower)
{
    struct log_heads heads;
    enum pg_status status = log_reader_heads(&follower->reader, deadline(), &heads);
    if (status != PG_OK)
        return status;
    applier_heads(&follower->applier, &heads);
    follower->store_now_us = heads.now_us;
    return PG_OK;
}

static enum pg_status receive_rows(struct follower *follower, unsigned wanted, enum round *ret)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        struct pg_rows *rows;
        if (!(wanted & 1U << slice))
            continue;
        enum pg_status status = log_reader_rows(&follower->reader, deadline(), &rows);
        if (status != PG_OK)
            return status;
        enum round came_to = apply_rows(follower, slice, wanted, rows);
        *ret = came_to > *ret ? came_to : *ret;
        pg_rows_destroy(rows);
    }
    return PG_OK;
}

static enum pg_status run_round(struct follower *follower, enum round *ret)
{
    int64_t positions[SLICE_COUNT];
    bool refreshes = begin_refresh_if_due(follower);
    unsigned wanted = slices_wanted(follower, hints_take(follower->hints));
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        positions[slice] = follower->applier.slices[slice].position;
    log_reader_ask(&follower->reader, positions, wanted, NULL);
    enum pg_status status = receive_heads(follower);
    if (status != PG_OK)
        return status;
    if (refreshes)
        refresh(follower);
    status = receive_rows(follower, wanted, ret);
    applier_settle(&follower->applier);
    if (slices_wanted(follower, 0) & ~wanted)
        *ret = ROUND_BACKLOG; /* events no hint told of: the heads just did */
    return status;
}

static void report_lag(struct follower *follower)
{
    int64_t events = 0, oldest_us = 0, stuck = 0;
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        const struct progress *progress = &follower->applier.slices[slice];
        int64_t age_us = progress_lag_us(progress, follower->store_now_us);
        events += progress_lag_events(progress);
        oldest_us = age_us > oldest_us ? age_us : oldest_us;
        stuck += progress->stuck_at || progress_beyond_log(progress);
    }
    metric_set(follower->metrics->lag_events, events);
    metric_set(follower->metrics->lag_seconds, (oldest_us + US_PER_S - 1) / US_PER_S);
    metric_set(follower->metrics->stuck_slices, stuck);
}

static void report_state(struct follower *follower)
{
    const struct applier *applier = &follower->applier;
    bool leads = follower->leader.leads;
    if (leads && applier->loaded && applier_current(applier))
        follower->current_once = true;
    bool good = !applier_stuck(applier) && !applier->evicts && (!leads || follower->current_once);
    report_lag(follower);
    metric_set(follower->metrics->leader, leads);
    service_part_set(follower->store_part, pg_connected(follower->pg));
    service_part_set(follower->redis_part, applier->reachable);
    service_part_set(follower->models_part, good);
}

static void store_is_back(struct follower *follower)
{
    if (follower->store_trouble_logged)
        log_info("STORE-BACK", "PostgreSQL answers again");
    follower->store_trouble_logged = false;
    backoff_succeed(&follower->store_backoff);
}

/* The script has met a higher epoch. A new lead, with an epoch above that, decides who is right. */
static void step_down(struct follower *follower)
{
    leader_fenced(&follower->leader, follower->applier.fenced_by);
    give_up_session(follower);
    follower->applier.fenced_by = 0;
    backoff_fail(&follower->store_backoff, clock_mono_us());
}

static void load_models(struct follower *follower)
{
    struct applier *applier = &follower->applier;
    if (!applier->loaded && applier_load(applier, follower->leader.epoch))
        follower->refresh_at_us = 0;
}

/* What a leader does besides bringing the models forward. */
static enum pg_status look_after_models(struct follower *follower)
{
    const struct applier *applier = &follower->applier;
    if (!follower->leader.leads)
        return PG_OK;
    if (applier->loaded && applier->left_over) {
        repair_drop(follower->repair);
        follower->applier.left_over = false;
    }
    if (applier->loaded && (applier->anew | applier->foreign))
        repair_ask(follower->repair, applier->anew | applier->foreign, applier->foreign);
    return prewarm_turn(&follower->prewarm, follower->pg, &follower->applier, follower->store_now_us,
                        deadline());
}

/* Before the first event is applied on top of what Redis has. */
static enum pg_status check_history(struct follower *follower)
{
    return follower->leader.leads ? applier_check_history(&follower->applier, follower->pg, deadline())
                                  : PG_OK;
}

static enum round turn(struct follower *follower)
{
    enum round came_to = ROUND_IDLE;
    if (connect_store(follower))
        elect(follower);
    if (follower->leader.leads)
        load_models(follower);
    if (pg_connected(follower->pg)) {
        if (check_history(follower) == PG_OK && run_round(follower, &came_to) == PG_OK &&
            look_after_models(follower) == PG_OK)
            store_is_back(follower);
        else
            lose_store(follower);
    }
    if (follower->applier.fenced_by)
        step_down(follower);
    report_state(follower);
    return came_to;
}

/* --- the loop --- */

static void wait_for_more(struct follower *follower, enum round came_to, int64_t began_us)
{
    const struct follower_options *options = &follower->options;
    int64_t idle_ms = follower->leader.leads ? options->poll_ms : ELECT_MS / 2;
    if (came_to == ROUND_BACKLOG)
        return;
    if (came_to == ROUND_IDLE)
        hints_wait(follower->hints, began_us + idle_ms * US_PER_MS);
    int64_t paced_us = began_us + options->pace_ms * US_PER_MS;
    while (came_to == ROUND_APPLIED && clock_mono_us() < paced_us && !service_stopping())
        hints_wait(follower->hints, paced_us);
}

void follower_run(struct follower *follower)
{
    while (!service_stopping()) {
        int64_t began_us = clock_mono_us();
        enum round came_to = turn(follower);
        wait_for_more(follower, came_to, began_us);
    }
    applier_settle(&follower->applier);
    pg_disconnect(follower->pg); /* frees the lock: whoever stands by leads at once */
}
