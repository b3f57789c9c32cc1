/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a rebuild, and what is said of them. */
#include "projector/rebuild/rebuild.h"

#include <poll.h>
#include <stdarg.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "projector/rebuild/builder.h"
#include "projector/rebuild/generations.h"
#include "projector/rebuild/log_bounds.h"
#include "projector/rebuild/progress_bar.h"
#include "projector/rebuild/side_by_side.h"
#include "projector/sql.h"

enum {
    REDIS_MS = 5000,
    PATIENCE_MS = 60000, /* without any slice getting done; then it gives up */
    LOCK_MS = 3000,
    MOMENT_MS = 50,
};

struct rebuild {
    const struct rebuild_options *options;
    const struct shard *shard; /* whose slices are being rebuilt */
    struct builder *builder;
    struct report report;
    struct generation generation;
    int64_t limits[SLICE_COUNT];
    int64_t done, total; /* events of slices that are done, and of all */
    int64_t began_us;    /* monotonic */
    enum build_phase phase;
    bool phase_open, no_room, found; /* found: what is to be dropped */
};

/* --- saying and waiting --- */

/* Says why on standard error. Always false. */
static bool PRINTF_LIKE(2, 3) give_up(struct rebuild *rebuild, const char *format, ...)
{
    va_list args;
    report_end(&rebuild->report);
    va_start(args, format);
    fputs("projector rebuild: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    va_end(args);
    return false;
}

static void moment(void)
{
    (void)poll(NULL, 0, MOMENT_MS);
}

static int64_t deadline(void)
{
    return clock_deadline_us(REDIS_MS);
}

static bool redis_failed(struct rebuild *rebuild, enum redis_status status)
{
    return give_up(rebuild, "Redis: class %s: %s", redis_status_label(status),
                   redis_writer_error(builder_writer(rebuild->builder)));
}

/* --- before it begins --- */

/* One rebuild right after another must not meet the session of the first: PostgreSQL ends it a moment after
 * the process is gone. */
static bool take_lock(struct rebuild *rebuild)
{
    bool locked = false;
    int64_t until_us = clock_deadline_us(LOCK_MS);
    while (!locked) {
        if (builder_lock(rebuild->builder, &locked) != PG_OK)
            return give_up(rebuild, "PostgreSQL: %s", pg_error(builder_pg(rebuild->builder)));
        if (!locked && clock_mono_us() >= until_us)
            return give_up(rebuild, "another rebuild is running, or the projector makes a slice anew");
        if (!locked)
            moment();
    }
    return true;
}

static bool find_limits(struct rebuild *rebuild, const char *limit_text)
{
    struct log_limit limit;
    CHECK(log_limit_parse(span_of(limit_text), &limit)); /* checked with the options */
    switch (log_limit_positions(builder_pg(rebuild->builder), &limit, rebuild->limits)) {
    case LOG_ANSWERED:
        return true;
    case LOG_NO_SUCH_EVENT:
        return give_up(rebuild, "--to-position: there is no such event");
    case LOG_TOO_RECENT:
        return give_up(rebuild, "--to-time: must be some seconds ago, so that no more events can get it");
    case LOG_FAILED:
        break;
    }
    return give_up(rebuild, "PostgreSQL: %s", pg_error(builder_pg(rebuild->builder)));
}

/* --- which generation --- */

static bool put_state(struct rebuild *rebuild, enum generation_state state)
{
    rebuild->generation.state = state;
    enum redis_status status =
        generations_put(builder_writer(rebuild->builder), &rebuild->generation, deadline());
    return status == REDIS_OK || redis_failed(rebuild, status);
}

static bool forget_generation(struct rebuild *rebuild, int64_t number)
{
    enum redis_status status = generations_remove(builder_writer(rebuild->builder), number, deadline());
    return status == REDIS_OK || redis_failed(rebuild, status);
}

static bool read_generations(struct rebuild *rebuild, struct generations *ret)
{
    enum redis_status status = redis_writer_connect(builder_writer(rebuild->builder), deadline());
    if (status == REDIS_OK)
        status = generations_forget_interrupted(builder_writer(rebuild->builder), deadline(), ret);
    if (status == REDIS_OK && ret->unknown) /* it makes all or says at once that it cannot */
        status = REDIS_AWAY;
    return status == REDIS_OK || redis_failed(rebuild, status);
}

static bool drop_others(struct rebuild *rebuild, bool say)
{
    int64_t dropped = 0;
    char said[64];
    enum redis_status status = builder_drop(rebuild->builder, &dropped);
    if (status != REDIS_OK)
        return redis_failed(rebuild, status);
    snprintf(said, sizeof said, "%lld keys of former generations dropped", (long long)dropped);
    if (say)
        report_say(&rebuild->report, said);
    return true;
}

static bool begin_generation(struct rebuild *rebuild, const char *name, const char *limit)
{
    struct generations generations = {0};
    if (!read_generations(rebuild, &generations))
        return false;
    if (generations_by_name(&generations, name))
        return give_up(rebuild, "generation %s is there already; drop it with --generation %s --drop", name,
                       name);
    if (generations.count == GENERATIONS_MAX)
        return give_up(rebuild, "there are %d generations already; drop one with --generation NAME --drop",
                       GENERATIONS_MAX);
    rebuild->generation.number = generations_next(&generations, clock_wall_us());
    snprintf(rebuild->generation.name, sizeof rebuild->generation.name, "%s", name);
    snprintf(rebuild->generation.limit, sizeof rebuild->generation.limit, "%s", limit);
    rebuild->report.generation = rebuild->generation.number;
    return put_state(rebuild, GENERATION_BUILDING) && drop_others(rebuild, false);
}

static bool drop_generation(struct rebuild *rebuild)
{
    struct generations generations;
    if (!take_lock(rebuild) || !read_generations(rebuild, &generations))
        return false;
    const struct generation *found = generations_by_name(&generations, rebuild->options->generation);
    if (!found)
        return true; /* another shard may have it */
    rebuild->found = true;
    report_phase(&rebuild->report, "drop", 0);
    return forget_generation(rebuild, found->number) && drop_others(rebuild, true);
}

/* --- building --- */

static void show_events(void *context, enum build_phase phase, int64_t events)
{
    struct rebuild *rebuild = context;
    if (!rebuild->phase_open || phase != rebuild->phase) {
        report_phase(&rebuild->report, build_phase_label(phase), 0);
        rebuild->report.began_us = rebuild->began_us; /* the rate is of all slices */
    }
    rebuild->phase_open = true;
    rebuild->phase = phase;
    report_progress(&rebuild->report, events, rebuild->total);
}

static bool show_progress(void *context, enum build_phase phase, int64_t position, int64_t limit)
{
    struct rebuild *rebuild = context;
    (void)limit;
    show_events(rebuild, phase, rebuild->done + position);
    return true;
}

/* Drops what was written of it, so that the next attempt, and whoever follows the log, has the room. */
static void clean_up(struct rebuild *rebuild)
{
    int64_t dropped;
    enum redis_status status = redis_writer_connect(builder_writer(rebuild->builder), deadline());
    if (status == REDIS_OK)
        status = generations_remove(builder_writer(rebuild->builder), rebuild->generation.number, deadline());
    if (status == REDIS_OK)
        status = builder_drop(rebuild->builder, &dropped);
    if (status != REDIS_OK)
        give_up(rebuild, "what was built is left in Redis and goes with the next rebuild: class %s",
                redis_status_label(status));
}

/* Before a slice is built again: drops the generations that were live before, which may be in the way, and
 * what there is of the slice. A batch that was cut otherwise would leave other members in its rankings. That
 * part is needed while its generation is said to be built. Of the past the same batches come again, and the
 * slices before are to stay. */
static enum redis_status drop_attempt(struct rebuild *rebuild)
{
    struct redis_writer *writer = builder_writer(rebuild->builder);
    int64_t dropped;
    enum redis_status status = redis_writer_connect(writer, deadline());
    if (status == REDIS_OK)
        status = generations_remove(writer, rebuild->generation.number, deadline());
    if (status == REDIS_OK)
        status = builder_drop(rebuild->builder, &dropped);
    return status == REDIS_OK ? generations_put(writer, &rebuild->generation, deadline()) : status;
}

/* `again`: something of it may have been written. */
static bool build_slice(struct rebuild *rebuild, int16_t slice, bool past, bool again)
{
    struct build build = {.slice = slice,
                          .generation = rebuild->generation.number,
                          .limit = past ? rebuild->limits[slice] : 0,
                          .progress = show_progress,
                          .context = rebuild};
    int64_t until_us = clock_deadline_us(PATIENCE_MS);
    for (;; again = true) {
        enum redis_status status = again && !past ? drop_attempt(rebuild) : REDIS_OK;
        enum build_result result = status == REDIS_OK ? builder_run(rebuild->builder, &build) : BUILD_FAILED;
        if (result == BUILD_DONE)
            return true;
        if (result == BUILD_NO_ROOM && !again && !past)
            continue;
        rebuild->no_room = result == BUILD_NO_ROOM;
        if (status != REDIS_OK && clock_mono_us() > until_us)
            return redis_failed(rebuild, status);
        if (result != BUILD_FAILED || clock_mono_us() > until_us)
            return give_up(rebuild, "%s; readers keep the old models", builder_error(rebuild->builder));
        moment();
    }
}

static unsigned build_several(struct rebuild *rebuild, unsigned slices, bool past)
{
    struct side_by_side what = {.shard = rebuild->shard,
                                .redis_url = rebuild->options->redis_url,
                                .writer = builder_writer(rebuild->builder),
                                .generation = rebuild->generation.number,
                                .limits = rebuild->limits,
                                .past = past,
                                .progress = show_events,
                                .context = rebuild};
    return build_side_by_side(&what, slices);
}

/* Before there is a connection more: even those take memory that whoever follows the log may need. */
static bool fit_side_by_side(struct rebuild *rebuild, unsigned slices)
{
    int64_t most = 0;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        if (slices >> slice & 1 && rebuild->limits[slice] > most)
            most = rebuild->limits[slice];
    return (slices & (slices - 1)) &&
           builder_room(rebuild->builder, (int16_t)__builtin_ctz(slices), SIDE_BY_SIDE * most) == BUILD_DONE;
}

/* What could not be built beside others is built one at a time. */
static bool build_slices(struct rebuild *rebuild, unsigned wanted, bool past)
{
    unsigned slices = 0;
    rebuild->began_us = clock_mono_us();
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(wanted >> slice & 1) || rebuild->limits[slice] == 0)
            continue;
        rebuild->total += rebuild->limits[slice];
        slices |= 1U << slice;
    }
    bool several = fit_side_by_side(rebuild, slices);
    unsigned left = several ? build_several(rebuild, slices, past) : slices;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        rebuild->done += (slices & ~left) >> slice & 1 ? rebuild->limits[slice] : 0;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(left >> slice & 1))
            continue;
        if (!build_slice(rebuild, slice, past, several))
            return false;
        rebuild->done += rebuild->limits[slice];
    }
    return true;
}

static bool finish_past(struct rebuild *rebuild)
{
    char said[128];
    snprintf(said, sizeof said, "generation %lld shows the past up to %s; its keys begin with fc:%lld:",
             (long long)rebuild->generation.number, rebuild->generation.limit,
             (long long)rebuild->generation.number);
    report_say(&rebuild->report, said);
    return put_state(rebuild, GENERATION_PAST);
}

static bool finish_live(struct rebuild *rebuild)
{
    if (!forget_generation(rebuild, rebuild->generation.number))
        return false;
    report_say(&rebuild->report, "readers use the new generation now");
    report_phase(&rebuild->report, "drop", 0);
    report_progress(&rebuild->report, rebuild->total, rebuild->total);
    return drop_others(rebuild, true);
}

static bool rebuild_generation(struct rebuild *rebuild)
{
    const struct rebuild_options *options = rebuild->options;
    bool past = *options->to_time || *options->to_position;
    const char *limit = *options->to_time       ? options->to_time
                        : *options->to_position ? options->to_position
                                                : "head";
    const char *name = *options->generation ? options->generation : past ? "past" : "rebuild";
    unsigned slices =
        *options->campaign ? 1U << slice_of(span_of(options->campaign)) : rebuild->shard->slices;
    if (!take_lock(rebuild) || !find_limits(rebuild, limit) || !begin_generation(rebuild, name, limit))
        return false;
    if (!build_slices(rebuild, slices, past)) {
        clean_up(rebuild);
        return false;
    }
    return past ? finish_past(rebuild) : finish_live(rebuild);
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

/* One shard after the other: each has a lock, a registry of generations and a log of its own. */
static bool rebuild_shard(struct rebuild *rebuild, const struct shard *shard)
{
    char reason[256];
    const struct rebuild_options *options = rebuild->options;
    rebuild->shard = shard;
    rebuild->done = rebuild->total = 0;
    rebuild->phase_open = false;
    if (*options->campaign && !shard_has(shard, slice_of(span_of(options->campaign))))
        return true;
    rebuild->builder = builder_create(shard, options->redis_url, reason, sizeof reason);
    bool good = rebuild->builder || give_up(rebuild, "--redis-url: %s", reason);
    if (good)
        good = options->drop ? drop_generation(rebuild) : rebuild_generation(rebuild);
    builder_destroy(rebuild->builder);
    return good;
}

int rebuild_run(const struct rebuild_options *options)
{
    struct rebuild rebuild = {.options = options};
    log_setup("projector", LOG_WARN);
    crypto_setup();
    report_init(&rebuild.report, options->json);
    bool good =
        !*options->to_position || options->shards->count == 1 ||
        give_up(&rebuild, "--to-position: is a place in the log of one shard; with several say --to-time");
    for (size_t i = 0; good && i < options->shards->count; i++)
        good = rebuild_shard(&rebuild, &options->shards->list[i]);
    if (good && options->drop && !rebuild.found)
        good = give_up(&rebuild, "there is no generation %s", options->generation);
    report_end(&rebuild.report);
    return good ? REBUILD_DONE : rebuild.no_room ? REBUILD_NO_ROOM : REBUILD_FAILED;
}
