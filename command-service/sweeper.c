/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that finds what is due. What happens if this process dies: whatever it had offered and not
 * committed is found again, by any command service. */
#include "command-service/sweeper.h"

#include <pthread.h>

#include "command-service/store/due.h"
#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/thread.h"

enum {
    SWEEP_MS = 200,     /* between two passes over all slices */
    SWEEP_SHARE = 4,    /* a pass that took long is followed by at least three times as long a pause */
    EXCHANGE_MS = 2000, /* above what the server allows itself, so that slow is not lost */
    CONNECT_MIN_MS = 500,
    CONNECT_MAX_MS = 4000,
    COMMAND_MS = 1000, /* how long a found thing may wait in its queue */
    FULL_MIN_MS = 30000,
    FULL_MAX_MS = 600000, /* see struct slice_sweep */
    RECENT_S = 60,
    ASIDE_MIN_MS = 1000,
    ASIDE_MAX_MS = 600000,
};

/* A pass begins behind what the last one saw. A full one, from the beginning of time, is made at the start
 * and now and then, for what a clock that went backwards or a former process left behind; where the server
 * refuses to look for so long it is made less and less often. */
struct slice_sweep {
    int64_t after_us; /* wall: reservations over by then were seen */
    int64_t next_us;  /* wall: what after_us becomes when all that was offered is done */
    int64_t full_at_us, full_pause_ms;
    size_t under_way; /* commands offered and not concluded */
    bool again;       /* one of them was not done */
};

/* Not offered again for a while. */
struct aside {
    struct due_item item;
    int16_t slice;
    int64_t until_us; /* monotonic; 0: free */
    int64_t pause_ms;
};

struct sweeper {
    struct sweeper_options options;
    struct reader reader; /* the thread's alone */
    int64_t connect_ms;
    pthread_t thread;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t stopped;
    bool stop;
    struct slice_sweep slices[SLICE_COUNT];
    struct aside aside[DUE_ASIDE_MAX];
};

static struct metric *passes_metric, *aside_metric;

/* --- what is set aside --- */

static bool same_item(const struct due_item *a, const struct due_item *b)
{
    return a->position == b->position && a->campaign_id_len == b->campaign_id_len &&
           memcmp(a->campaign_id, b->campaign_id, a->campaign_id_len) == 0;
}

static struct due_item item_of(const struct command *command)
{
    struct due_item item = {.position = command->coupon.at.position};
    if (command->kind == COMMAND_LAPSE)
        return item;
    item.campaign_id_len = command->campaign_id.len;
    memcpy(item.campaign_id, command->campaign_id.ptr, command->campaign_id.len);
    return item;
}

/* The same one for twice as long as the last time; a full table forgets who would come back first. */
static void set_aside(struct sweeper *sweeper, const struct command *command)
{
    struct due_item item = item_of(command);
    struct aside *place = &sweeper->aside[0];
    int64_t pause_ms = ASIDE_MIN_MS;
    for (size_t i = 0; i < DUE_ASIDE_MAX; i++) {
        struct aside *at = &sweeper->aside[i];
        if (at->until_us && at->slice == command->slice && same_item(&at->item, &item)) {
            place = at;
            pause_ms = 2 * at->pause_ms < ASIDE_MAX_MS ? 2 * at->pause_ms : ASIDE_MAX_MS;
            break;
        }
        if (at->until_us < place->until_us)
            place = at;
    }
    *place = (struct aside){item, command->slice, clock_deadline_us(pause_ms), pause_ms};
    metric_add(aside_metric, 1);
}

static size_t aside_of(struct sweeper *sweeper, int16_t slice, struct due_item ret[DUE_ASIDE_MAX])
{
    size_t count = 0;
    int64_t now_us = clock_mono_us();
    for (size_t i = 0; i < DUE_ASIDE_MAX; i++)
        if (sweeper->aside[i].until_us > now_us && sweeper->aside[i].slice == slice)
            ret[count++] = sweeper->aside[i].item;
    return count;
}

void sweeper_conclude(struct sweeper *sweeper, struct command *command, enum sweep_outcome outcome)
{
    command_change_state(command, COMMAND_ANSWERED);
    pthread_mutex_lock(&sweeper->lock);
    struct slice_sweep *slice = &sweeper->slices[command->slice];
    CHECK(slice->under_way > 0);
    slice->under_way--;
    slice->again |= outcome != SWEEP_DONE;
    if (outcome == SWEEP_FAILED)
        set_aside(sweeper, command);
    pthread_mutex_unlock(&sweeper->lock);
}

/* --- offering --- */

static void offer(struct sweeper *sweeper, enum command_kind kind, int16_t slice, const struct due_item *item,
                  const struct release_plan_halted *halted)
{
    int64_t wait_ms;
    struct command *command = command_create(kind, NULL);
    command->sweeper = sweeper;
    command->slice = slice;
    command->deadline_us = clock_deadline_us(COMMAND_MS);
    command->actor = SPAN("");
    memcpy(command->campaign_id_text, item->campaign_id, item->campaign_id_len);
    command->campaign_id = (struct span){command->campaign_id_text, item->campaign_id_len};
    command->coupon.at = (struct position){slice, item->position};
    if (halted)
        command->halt = *halted;
    pthread_mutex_lock(&sweeper->lock);
    sweeper->slices[slice].under_way++;
    pthread_mutex_unlock(&sweeper->lock);
    if (queue_offer(sweeper->options.queues[slice], command, false, &wait_ms) == QUEUE_TAKEN)
        return;
    sweeper_conclude(sweeper, command, SWEEP_LATER);
    command->sweeper = NULL;
    command_destroy(command);
}

/* Plans whose last tranche goes badly. */
static void halt_plans(struct sweeper *sweeper)
{
    struct watch_finding finding;
    const struct settings *settings = &control_now(sweeper->options.control)->settings;
    const struct watch_limits limits = {
        .min_calls = settings_get(settings, SETTING_plan_halt_min_calls),
        .success_permille = 10 * settings_get(settings, SETTING_plan_halt_success_percent),
        .p95_ms = settings_get(settings, SETTING_plan_halt_p95_ms),
    };
    size_t cursor = 0;
    watch_set_limits(sweeper->options.watch, &limits);
    while (watch_find_bad(sweeper->options.watch, &cursor, &finding)) {
        struct due_item item = {.campaign_id_len = finding.campaign_id_len};
        memcpy(item.campaign_id, finding.campaign_id, finding.campaign_id_len);
        int16_t slice = slice_of((struct span){item.campaign_id, item.campaign_id_len});
        if (shard_has(sweeper->options.shard, slice))
            offer(sweeper, COMMAND_HALT, slice, &item, &finding.figures);
    }
}

/* --- one slice --- */

/* false: commands of the last look are still under way. */
static bool begin_look(struct sweeper *sweeper, int16_t slice_number, struct due_query *ret, bool *ret_full,
                       struct due_item aside[DUE_ASIDE_MAX])
{
    struct slice_sweep *slice = &sweeper->slices[slice_number];
    pthread_mutex_lock(&sweeper->lock);
    bool free = slice->under_way == 0;
    if (free && !slice->again && slice->next_us > slice->after_us)
        slice->after_us = slice->next_us;
    slice->again = false;
    *ret_full = clock_mono_us() >= slice->full_at_us;
    *ret = (struct due_query){
        .slice = slice_number,
        .after_us = *ret_full ? 0 : slice->after_us,
        .aside = aside,
        .aside_count = aside_of(sweeper, slice_number, aside),
    };
    pthread_mutex_unlock(&sweeper->lock);
    return free;
}

static void end_look(struct slice_sweep *slice, const struct due_found *found, bool full)
{
    if (found->whole)
        slice->next_us = found->now_us;
    if (slice->after_us == 0 && found->now_us) /* or the server may refuse every look from the beginning */
        slice->after_us = found->now_us - RECENT_S * US_PER_S;
    if (!full)
        return;
    slice->full_pause_ms = found->refused && slice->full_pause_ms ? 2 * slice->full_pause_ms : FULL_MIN_MS;
    if (slice->full_pause_ms > FULL_MAX_MS)
        slice->full_pause_ms = FULL_MAX_MS;
    slice->full_at_us = clock_deadline_us(slice->full_pause_ms / 2 +
                                          crypto_random_below((uint32_t)slice->full_pause_ms / 2 + 1));
}

/* false: the connection is lost. */
static bool look(struct sweeper *sweeper, int16_t slice)
{
    struct due_item aside[DUE_ASIDE_MAX];
    struct due_found found;
    struct due_query query;
    bool full;
    if (!begin_look(sweeper, slice, &query, &full, aside))
        return true;
    if (!due_find(&sweeper->reader, &query, clock_deadline_us(EXCHANGE_MS), &found))
        return false;
    if (found.refused)
        log_warn("SWEEP-SLOW", "slice %d: the server ended a look at what is due: %s", (int)slice,
                 pg_error(sweeper->reader.pg));
    for (size_t i = 0; i < found.count; i++)
        offer(sweeper, found.items[i].campaign_id_len ? COMMAND_TEND : COMMAND_LAPSE, slice, &found.items[i],
              NULL);
    pthread_mutex_lock(&sweeper->lock);
    end_look(&sweeper->slices[slice], &found, full);
    pthread_mutex_unlock(&sweeper->lock);
    return true;
}

/* --- the thread --- */

static bool connected(struct sweeper *sweeper)
{
    if (reader_connect(&sweeper->reader, clock_deadline_us(sweeper->connect_ms))) {
        sweeper->connect_ms = CONNECT_MIN_MS;
        return true;
    }
    log_warn("SWEEP-CONNECT", "cannot look for what is due: %s", pg_error(sweeper->reader.pg));
    if (sweeper->connect_ms < CONNECT_MAX_MS)
        sweeper->connect_ms *= 2; /* a slow server is none that is gone */
    return false;
}

static bool stopping(struct sweeper *sweeper)
{
    pthread_mutex_lock(&sweeper->lock);
    bool stop = sweeper->stop;
    pthread_mutex_unlock(&sweeper->lock);
    return stop;
}

static void pass(struct sweeper *sweeper)
{
    if (!connected(sweeper))
        return;
    bool good = quotas_look(sweeper->options.quotas, sweeper->options.number, &sweeper->reader,
                            clock_deadline_us(EXCHANGE_MS));
    for (int16_t slice = 0; good && slice < SLICE_COUNT && !stopping(sweeper); slice++)
        good = !shard_has(sweeper->options.shard, slice) || look(sweeper, slice);
    if (good)
        metric_add(passes_metric, 1);
    else
        log_warn("SWEEP-LOOK", "cannot look for what is due: %s", pg_error(sweeper->reader.pg));
}

/* Counted from the end of the last pass. true: go on. */
static bool pause_after(struct sweeper *sweeper, int64_t spent_us)
{
    int64_t pause_us = (SWEEP_MS / 2 + crypto_random_below(SWEEP_MS)) * US_PER_MS;
    if (pause_us < (SWEEP_SHARE - 1) * spent_us)
        pause_us = (SWEEP_SHARE - 1) * spent_us;
    int64_t until_us = clock_mono_us() + pause_us;
    pthread_mutex_lock(&sweeper->lock);
    while (!sweeper->stop && cond_wait_until(&sweeper->stopped, &sweeper->lock, until_us))
        ;
    bool stop = sweeper->stop;
    pthread_mutex_unlock(&sweeper->lock);
    return !stop;
}

static void *sweeper_main(void *context)
{
    struct sweeper *sweeper = context;
    int64_t spent_us = 0;
    pthread_setname_np(pthread_self(), "sweeper");
    while (pause_after(sweeper, spent_us)) {
        int64_t begun_us = clock_mono_us();
        pass(sweeper);
        halt_plans(sweeper);
        spent_us = clock_mono_us() - begun_us;
    }
    return NULL;
}

struct sweeper *sweeper_start(const struct sweeper_options *options)
{
    struct sweeper *sweeper = mem_zalloc(sizeof *sweeper);
    passes_metric = metric_counter("coupon_sweep_passes_total",
                                   "Looks of the sweep at all slices, for what is due by itself", NULL);
    aside_metric = metric_counter("coupon_sweep_set_aside_total",
                                  "Due things that could not be noted and are tried again later", NULL);
    sweeper->options = *options;
    sweeper->connect_ms = CONNECT_MIN_MS;
    due_init(&sweeper->reader, options->shard->url);
    CHECK(pthread_mutex_init(&sweeper->lock, NULL) == 0);
    CHECK(pthread_cond_init(&sweeper->stopped, NULL) == 0);
    CHECK(pthread_create(&sweeper->thread, NULL, sweeper_main, sweeper) == 0);
    return sweeper;
}

void sweeper_stop(struct sweeper *sweeper)
{
    pthread_mutex_lock(&sweeper->lock);
    sweeper->stop = true;
    pthread_cond_signal(&sweeper->stopped);
    pthread_mutex_unlock(&sweeper->lock);
    CHECK(pthread_join(sweeper->thread, NULL) == 0);
}

void sweeper_destroy(struct sweeper *sweeper)
{
    if (!sweeper)
        return;
    reader_deinit(&sweeper->reader);
    pthread_cond_destroy(&sweeper->stopped);
    pthread_mutex_destroy(&sweeper->lock);
    mem_free(sweeper);
}
