/* SPDX-License-Identifier: Apache-2.0 */
/* The phases of a rebuild. */
#include "projector/rebuild/rebuild.h"

#include <poll.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "projector/rebuild/log_bounds.h"
#include "projector/rebuild/model_counts.h"
#include "projector/rebuild/rebuild_stores.h"
#include "projector/rebuild/replay.h"
#include "projector/rebuild/sweep.h"
#include "projector/sql.h"

enum {
    PATIENCE_MS = 60000, /* without getting on at all; then it gives up */
    READY_MS = 10000,    /* for whoever leads to take a generation that is ready */
    GRACE_MS = 1000,     /* readers that began before the switch may still look at the old generation */
    BUILDS_MAX = 3,      /* of one generation, where keys went missing meanwhile */
    RESTARTS_MAX = 1000,
};

#define ALL_SLICES ((1U << SLICE_COUNT) - 1)

static bool find_limits(struct rebuild *rebuild, const char *limit_text)
{
    struct log_limit limit;
    CHECK(log_limit_parse(span_of(limit_text), &limit)); /* checked with the options */
    if (!rebuild_connect_store(rebuild))
        return false;
    switch (log_limit_positions(rebuild->pg, &limit, rebuild->limits)) {
    case LOG_ANSWERED:
        return true;
    case LOG_NO_SUCH_EVENT:
        return rebuild_give_up(rebuild, "--to-position: there is no such event");
    case LOG_TOO_RECENT:
        return rebuild_give_up(rebuild,
                               "--to-time: must be some seconds ago, so that no more events can get it");
    case LOG_FAILED:
        break;
    }
    return rebuild_store_failed(rebuild);
}

/* --- which generation --- */

static bool put_state(struct rebuild *rebuild, enum generation_state state)
{
    struct redis *redis = rebuild_connect_redis(rebuild);
    if (!redis)
        return false;
    rebuild->generation.state = state;
    enum redis_status status = generations_put(redis, &rebuild->generation, rebuild_deadline());
    return status == REDIS_OK || rebuild_redis_failed(rebuild, status);
}

/* What was forgotten may have left keys under a number that looks new. */
static bool find_number(struct rebuild *rebuild, int64_t first)
{
    for (int64_t number = first; number < first + GENERATIONS_MAX; number++) {
        struct checkpoints checkpoints;
        int64_t used = 0;
        enum redis_status status =
            model_writer_load(rebuild->writer, number, rebuild_deadline(), &checkpoints);
        if (status != REDIS_OK)
            return rebuild_redis_failed(rebuild, status);
        for (int slice = 0; slice < SLICE_COUNT; slice++)
            used += checkpoints.slices[slice].position;
        rebuild->generation.number = number;
        if (used == 0)
            return true;
    }
    return rebuild_give_up(rebuild, "there are left-over models under every number that was tried");
}

static bool begin_generation(struct rebuild *rebuild, const struct generations *generations, const char *name,
                             const char *limit)
{
    if (generations->count == GENERATIONS_MAX)
        return rebuild_give_up(rebuild,
                               "there are %d generations already; drop one with --generation NAME --drop",
                               GENERATIONS_MAX);
    if (!find_number(rebuild, generations_next(generations)))
        return false;
    snprintf(rebuild->generation.name, sizeof rebuild->generation.name, "%s", name);
    snprintf(rebuild->generation.limit, sizeof rebuild->generation.limit, "%s", limit);
    return put_state(rebuild, GENERATION_BUILDING);
}

static bool choose_generation(struct rebuild *rebuild, const char *name, const char *limit)
{
    struct generations generations;
    struct redis *redis = rebuild_connect_redis(rebuild);
    if (!redis)
        return false;
    enum redis_status status = generations_read(redis, rebuild_deadline(), &generations);
    if (status != REDIS_OK)
        return rebuild_redis_failed(rebuild, status);
    const struct generation *found = generations_by_name(&generations, name);
    if (!found)
        return begin_generation(rebuild, &generations, name, limit);
    if (found->number == generations.live) /* killed between the switch and forgetting */
        return generations_remove(redis, found->number, rebuild_deadline()) == REDIS_OK &&
               choose_generation(rebuild, name, limit);
    if (found->state == GENERATION_PAST)
        return rebuild_give_up(rebuild, "generation %s is there already; drop it with --generation %s --drop",
                               name, name);
    if (strcmp(found->limit, limit) != 0)
        return rebuild_give_up(rebuild, "generation %s was begun up to %s; drop it or take another name",
                               name, found->limit);
    rebuild->generation = *found;
    return put_state(rebuild, GENERATION_BUILDING);
}

/* --- building --- */

static void begin_replay(struct rebuild *rebuild, struct replay *replay, const struct replay_options *more)
{
    struct replay_options options = *more;
    options.database_url = rebuild->options->database_url;
    options.batch_events = (size_t)rebuild->options->batch_events;
    replay_init(replay, &options, rebuild->writer, &rebuild->metrics, rebuild->limits);
}

/* Until everything up to the limits is there. */
static bool replay_all(struct rebuild *rebuild, struct replay *replay, const char *phase)
{
    int64_t got_on_us = clock_mono_us(), furthest = -1;
    bool begun = false;
    while (!replay_done(replay)) {
        if (!rebuild_keep_lead(rebuild))
            return false;
        bool good = replay_turn(replay);
        int64_t position = replay_position(replay);
        if (!begun && good)
            report_phase(&rebuild->report, phase, position);
        begun |= good;
        if (begun)
            report_progress(&rebuild->report, position, replay_total(replay));
        if (applier_stuck(&replay->applier))
            return rebuild_give_up(
                rebuild, "a slice has an event that this version cannot apply, see the lines before");
        if (position != furthest)
            got_on_us = clock_mono_us();
        furthest = position;
        if (clock_mono_us() - got_on_us > PATIENCE_MS * US_PER_MS)
            return rebuild_give_up(rebuild, "did not get on for %d s, last: %s; run it again to go on",
                                   PATIENCE_MS / 1000, replay->error);
        if (!good)
            rebuild_moment();
    }
    replay_settle(replay);
    report_progress(&rebuild->report, replay_position(replay), replay_total(replay));
    return true;
}

/* --- checking --- */

/* Chunks of coupons and holders expire, so of old ones there may be fewer. */
static bool counts_agree(struct rebuild *rebuild, int16_t slice, const struct log_counts *log,
                         const struct model_counts *model)
{
    if (model->campaigns == log->created - log->deleted && model->issued == log->issued &&
        model->holdings == log->issued && model->holders >= log->kept && model->holders <= log->issued &&
        model->coupon_fields >= 2 * log->kept)
        return true;
    return rebuild_give_up(rebuild,
                           "slice %d: the log has %lld campaigns and %lld coupons, %lld of them young; the "
                           "models have %lld campaigns with %lld coupons, %lld with users, %lld in lists of "
                           "holders, %lld fields of records",
                           slice, (long long)(log->created - log->deleted), (long long)log->issued,
                           (long long)log->kept, (long long)model->campaigns, (long long)model->issued,
                           (long long)model->holdings, (long long)model->holders,
                           (long long)model->coupon_fields);
}

enum check { CHECK_GOOD, CHECK_DIFFERS, CHECK_FAILED };

/* One slice of a generation that stands still. */
static enum check check_slice(struct rebuild *rebuild, int64_t generation, int16_t slice, int64_t up_to)
{
    struct log_counts log;
    struct model_counts model;
    if (!rebuild_connect_store(rebuild))
        return CHECK_FAILED;
    if (log_count(rebuild->pg, slice, up_to, &log) != LOG_ANSWERED)
        return rebuild_store_failed(rebuild), CHECK_FAILED;
    struct redis *redis = rebuild_connect_redis(rebuild);
    if (!redis)
        return CHECK_FAILED;
    enum redis_status status =
        model_counts_read(redis, (struct model){generation, slice}, up_to, REBUILD_DEADLINE_MS, &model);
    if (status != REDIS_OK)
        return rebuild_redis_failed(rebuild, status), CHECK_FAILED;
    bool good = model.position == up_to && counts_agree(rebuild, slice, &log, &model);
    return good ? CHECK_GOOD : CHECK_DIFFERS;
}

/* Slices that are not right are to be replayed from their start. */
static enum check check_generation(struct rebuild *rebuild, struct replay *replay)
{
    enum check result = CHECK_GOOD;
    int64_t checked = 0, total = replay_total(replay);
    report_phase(&rebuild->report, "check", 0);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        enum check here = check_slice(rebuild, rebuild->generation.number, slice, replay->limits[slice]);
        if (here == CHECK_FAILED)
            return here;
        if (here == CHECK_DIFFERS) {
            applier_restart(&replay->applier, slice);
            result = CHECK_DIFFERS;
        }
        checked += replay->limits[slice];
        report_progress(&rebuild->report, checked, total);
    }
    return result;
}

static bool build(struct rebuild *rebuild, struct replay *replay)
{
    for (int attempt = 0; attempt < BUILDS_MAX; attempt++) {
        if (!replay_all(rebuild, replay, "build"))
            return false;
        enum check check = check_generation(rebuild, replay);
        if (check != CHECK_DIFFERS)
            return check == CHECK_GOOD;
    }
    return rebuild_give_up(rebuild, "the models did not become what the log says; readers keep the old ones");
}

/* --- the switch --- */

static bool read_live(struct rebuild *rebuild, int64_t *ret)
{
    struct generations generations;
    struct redis *redis = rebuild_connect_redis(rebuild);
    if (!redis)
        return false;
    enum redis_status status = generations_read(redis, rebuild_deadline(), &generations);
    *ret = generations.live;
    return status == REDIS_OK || rebuild_redis_failed(rebuild, status);
}

/* Nobody else writes while this leads: the new generation is brought past what the old one shows and made
 * live. */
static bool switch_as_leader(struct rebuild *rebuild, struct replay *replay)
{
    int64_t live, now;
    replay->options.epoch = rebuild->leader.epoch;
    replay->applier.loaded = false; /* loads again, with the epoch of the lead */
    if (!find_limits(rebuild, "head"))
        return false;
    memcpy(replay->limits, rebuild->limits, sizeof replay->limits);
    if (!replay_all(rebuild, replay, "catch up"))
        return false;
    applier_refresh(&replay->applier);
    rebuild->lead_until_us = 0; /* it must be so now, not a moment ago */
    if (!read_live(rebuild, &live) || !rebuild_keep_lead(rebuild))
        return false;
    enum redis_status status = generations_switch(model_writer_redis(rebuild->writer), live,
                                                  rebuild->generation.number, rebuild_deadline(), &now);
    return status == REDIS_OK || rebuild_redis_failed(rebuild, status);
}

/* Whoever leads takes it. Where nobody does, this does. */
static bool await_switch(struct rebuild *rebuild, struct replay *replay, bool *ret_live)
{
    int64_t until_us = clock_deadline_us(READY_MS), live = 0;
    for (;;) {
        if (!read_live(rebuild, &live))
            return false;
        *ret_live = live == rebuild->generation.number;
        if (*ret_live || clock_mono_us() > until_us)
            return true;
        if (!rebuild_try_to_lead(rebuild))
            return false;
        bool good = !rebuild->leader.leads || switch_as_leader(rebuild, replay);
        rebuild_stop_leading(rebuild);
        if (!good)
            return false;
        rebuild_moment();
    }
}

static bool make_live(struct rebuild *rebuild, struct replay *replay)
{
    int64_t began_us = clock_mono_us();
    for (bool live = false; !live;) {
        if (clock_mono_us() - began_us > PATIENCE_MS * US_PER_MS)
            return rebuild_give_up(rebuild,
                                   "whoever leads did not take the new generation; run it again to go on");
        if (!put_state(rebuild, GENERATION_BUILDING) || !find_limits(rebuild, "head"))
            return false;
        memcpy(replay->limits, rebuild->limits, sizeof replay->limits);
        if (!replay_all(rebuild, replay, "catch up") || !put_state(rebuild, GENERATION_READY))
            return false;
        report_phase(&rebuild->report, "switch", 0);
        if (!await_switch(rebuild, replay, &live))
            return false;
    }
    struct redis *redis = rebuild_connect_redis(rebuild);
    return redis && generations_remove(redis, rebuild->generation.number, rebuild_deadline()) == REDIS_OK;
}

/* --- dropping --- */

static bool sweep(struct rebuild *rebuild)
{
    struct sweep sweep;
    char said[64];
    struct redis *redis = rebuild_connect_redis(rebuild);
    if (!redis)
        return false;
    report_phase(&rebuild->report, "drop", 0);
    for (sweep_begin(&sweep); !sweep.done;) {
        enum redis_status status = sweep_step(&sweep, redis, rebuild_deadline());
        if (status != REDIS_OK)
            return rebuild_redis_failed(rebuild, status);
        (void)poll(NULL, 0, 1); /* others first */
    }
    snprintf(said, sizeof said, "%lld keys of former generations dropped", (long long)sweep.dropped);
    report_say(&rebuild->report, said);
    return true;
}

static bool drop(struct rebuild *rebuild)
{
    struct generations generations;
    struct redis *redis = rebuild_connect_store(rebuild) ? rebuild_connect_redis(rebuild) : NULL;
    if (!redis)
        return false;
    enum redis_status status = generations_read(redis, rebuild_deadline(), &generations);
    if (status != REDIS_OK)
        return rebuild_redis_failed(rebuild, status);
    const struct generation *found = generations_by_name(&generations, rebuild->options->generation);
    if (!found)
        return rebuild_give_up(rebuild, "there is no generation %s", rebuild->options->generation);
    status = generations_remove(redis, found->number, rebuild_deadline());
    return status == REDIS_OK ? sweep(rebuild) : rebuild_redis_failed(rebuild, status);
}

/* --- one campaign --- */

/* Sets the slice's checkpoint back to the start. Where a projector leads it notices; its checkpoint may move
 * between reading it and setting it back, so this may take a few attempts. */
static bool restart_slice(struct rebuild *rebuild, struct applier *applier, int16_t slice)
{
    for (int attempt = 0; attempt < RESTARTS_MAX; attempt++) {
        if (applier_load(applier, rebuild->leader.epoch)) { /* knows the generation then */
            applier_restart(applier, slice);
            if (applier_load(applier, rebuild->leader.epoch))
                return true;
        }
        if (!applier->reachable)
            rebuild_moment();
    }
    return rebuild_give_up(rebuild, "the slice's checkpoint could not be set back");
}

static bool await_leader(struct rebuild *rebuild, int16_t slice)
{
    int64_t got_on_us = clock_mono_us(), furthest = -1;
    report_phase(&rebuild->report, "replay", 0);
    for (;;) {
        struct checkpoints checkpoints = {0};
        enum redis_status status = model_writer_peek(rebuild->writer, rebuild_deadline(), &checkpoints);
        const struct checkpoint *is = &checkpoints.slices[slice];
        if (status == REDIS_OK && is->position >= rebuild->limits[slice] && !is->behind)
            return true;
        report_progress(&rebuild->report, is->position, rebuild->limits[slice]);
        if (is->position != furthest)
            got_on_us = clock_mono_us();
        furthest = is->position;
        if (clock_mono_us() - got_on_us > PATIENCE_MS * US_PER_MS)
            return rebuild_give_up(rebuild, "whoever leads does not get on");
        rebuild_moment();
    }
}

static bool replay_slice(struct rebuild *rebuild, struct replay *replay, int16_t slice)
{
    if (!restart_slice(rebuild, &replay->applier, slice))
        return false;
    if (!rebuild->leader.leads)
        return await_leader(rebuild, slice);
    replay_settle(replay); /* plans from there */
    if (!replay_all(rebuild, replay, "replay"))
        return false;
    applier_refresh(&replay->applier);
    return true;
}

static bool rebuild_campaign(struct rebuild *rebuild)
{
    struct replay replay;
    int16_t slice = slice_of(span_of(rebuild->options->campaign));
    if (!find_limits(rebuild, "head") || !rebuild_connect_redis(rebuild))
        return false;
    if (!rebuild_try_to_lead(rebuild))
        return false;
    begin_replay(rebuild, &replay,
                 &(struct replay_options){.epoch = rebuild->leader.epoch, .slices = 1U << slice});
    bool good = replay_slice(rebuild, &replay, slice);
    replay_deinit(&replay);
    rebuild_stop_leading(rebuild);
    if (good)
        report_say(&rebuild->report, "the models of the campaign's slice are made anew");
    return good;
}

/* --- whole --- */

static bool finish(struct rebuild *rebuild, struct replay *replay, bool past)
{
    if (past) {
        char said[128];
        if (!put_state(rebuild, GENERATION_PAST))
            return false;
        snprintf(said, sizeof said, "generation %lld shows the past up to %s; its keys begin with fc:%lld:",
                 (long long)rebuild->generation.number, rebuild->generation.limit,
                 (long long)rebuild->generation.number);
        report_say(&rebuild->report, said);
        return true;
    }
    if (!make_live(rebuild, replay))
        return false;
    report_say(&rebuild->report, "readers use the new generation now");
    (void)poll(NULL, 0, GRACE_MS);
    return sweep(rebuild);
}

static bool rebuild_generation(struct rebuild *rebuild)
{
    const struct rebuild_options *options = rebuild->options;
    struct replay replay;
    bool past = *options->to_time || *options->to_position;
    const char *limit = *options->to_time       ? options->to_time
                        : *options->to_position ? options->to_position
                                                : "head";
    const char *name = *options->generation ? options->generation : past ? "past" : "rebuild";
    if (!find_limits(rebuild, limit) || !choose_generation(rebuild, name, limit))
        return false;
    rebuild->report.generation = rebuild->generation.number;
    begin_replay(rebuild, &replay,
                 &(struct replay_options){.generation = rebuild->generation.number, .slices = ALL_SLICES});
    bool good = build(rebuild, &replay) && finish(rebuild, &replay, past);
    replay_deinit(&replay);
    return good;
}

const char *rebuild_options_fault(const struct rebuild_options *options)
{
    struct log_limit limit;
    if (*options->campaign && !campaign_id_valid(span_of(options->campaign)))
        return "--campaign: a campaign id is [a-z0-9][a-z0-9-]{0,63}";
    if (*options->generation && !generation_name_valid(span_of(options->generation)))
        return "--generation: a name is [a-z0-9][a-z0-9-]{0,31}";
    if (*options->to_time &&
        (!log_limit_parse(span_of(options->to_time), &limit) || limit.kind != LOG_LIMIT_TIME))
        return "--to-time: must be a time as in RFC 3339";
    if (*options->to_position &&
        (!log_limit_parse(span_of(options->to_position), &limit) || limit.kind != LOG_LIMIT_POSITION))
        return "--to-position: must be slice:position";
    if (*options->to_time && *options->to_position)
        return "--to-time and --to-position exclude each other";
    if (strlen(options->to_time) > GENERATION_LIMIT_MAX)
        return "--to-time: too long";
    if (*options->campaign && (*options->to_time || *options->to_position || *options->generation))
        return "--campaign repairs the live generation and goes with no other choice";
    if (options->drop && !*options->generation)
        return "--drop needs --generation";
    return NULL;
}

int rebuild_run(const struct rebuild_options *options)
{
    char reason[256];
    struct rebuild rebuild = {.options = options,
                              .pg = sql_create(options->database_url),
                              .lead = sql_create(options->database_url)};
    log_setup("projector", LOG_WARN);
    crypto_setup();
    projector_metrics_setup(&rebuild.metrics);
    report_init(&rebuild.report, options->json);
    rebuild.writer = model_writer_create(options->redis_url, reason, sizeof reason);
    bool good = rebuild.writer || rebuild_give_up(&rebuild, "--redis-url: %s", reason);
    if (good)
        good = options->drop        ? drop(&rebuild)
               : *options->campaign ? rebuild_campaign(&rebuild)
                                    : rebuild_generation(&rebuild);
    report_end(&rebuild.report);
    model_writer_destroy(rebuild.writer);
    pg_destroy(rebuild.lead);
    pg_destroy(rebuild.pg);
    return good ? 0 : 1;
}
