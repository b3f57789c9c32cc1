/* SPDX-License-Identifier: Apache-2.0 */
/* The schedule, the walk, the looks. */
#include "projector/run/prewarm.h"

#include <poll.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "projector/sql.h"

enum {
    PAGE_ROWS = 500,
    PAGE_MS = 1000,
    WALK_MS = 60000,
    DEADLINE_MS = 2000,
    DEFINITION_BYTES_MAX = 256 * 1024,
    ANNOUNCEMENTS = 10, /* of the command: the bus connects in the background and loses what comes before */
    ANNOUNCE_MS = 100,
};

/* --- the schedule --- */

static struct span id_of(const struct opening_campaign *campaign)
{
    return (struct span){campaign->id, campaign->id_len};
}

void opening_add(struct opening *opening, struct span id, int64_t at_us)
{
    size_t at = opening->count;
    CHECK(id.len >= 1 && id.len <= CAMPAIGN_ID_MAX);
    for (size_t i = 0; i < opening->count; i++)
        if (span_equal(id_of(&opening->items[i]), id))
            return;
    while (at > 0 && opening->items[at - 1].at_us > at_us)
        at--;
    if (at == OPENING_MAX)
        return;
    size_t kept = opening->count < OPENING_MAX ? opening->count : OPENING_MAX - 1;
    memmove(&opening->items[at + 1], &opening->items[at], (kept - at) * sizeof opening->items[0]);
    opening->items[at] = (struct opening_campaign){.at_us = at_us, .id_len = id.len};
    memcpy(opening->items[at].id, id.ptr, id.len);
    opening->count = kept + 1;
}

bool opening_take(struct opening *opening, int64_t before_us, struct opening_campaign *ret)
{
    if (opening->count == 0 || opening->items[0].at_us >= before_us)
        return false;
    *ret = opening->items[0];
    opening->count--;
    memmove(&opening->items[0], &opening->items[1], opening->count * sizeof opening->items[0]);
    return true;
}

/* --- the walk --- */

static void take_row(struct prewarm *prewarm, const struct pg_rows *rows, int row, struct arena *arena,
                     int64_t now_us)
{
    struct span id = pg_bytes(rows, row, 1);
    struct event created = {.type = EVENT_CampaignCreated,
                            .version = (int16_t)pg_i64(rows, row, 2),
                            .data = pg_bytes(rows, row, 3)};
    arena_reset(arena);
    if (!campaign_id_valid(id) || event_decode(&created, arena) != CODEC_OK)
        return;
    int64_t at_us = created.campaign_created.starts_at_us;
    if (at_us > now_us && at_us < now_us + PREWARM_AHEAD_S * (int64_t)US_PER_S)
        opening_add(&prewarm->opening, id, at_us);
}

static void take_page(struct prewarm *prewarm, const struct pg_rows *rows, int64_t now_us)
{
    struct arena arena;
    int count = pg_rows_count(rows);
    arena_init(&arena, DEFINITION_BYTES_MAX);
    for (int row = 0; row < count; row++)
        take_row(prewarm, rows, row, &arena, now_us);
    arena_deinit(&arena);
    prewarm->round = count < PAGE_ROWS;
    prewarm->slice = 0;
    prewarm->after_len = 0;
    if (prewarm->round)
        return;
    struct span last = pg_bytes(rows, count - 1, 1);
    prewarm->slice = (int16_t)pg_i64(rows, count - 1, 0);
    prewarm->after_len = last.len <= CAMPAIGN_ID_MAX ? last.len : 0;
    memcpy(prewarm->after, last.ptr, prewarm->after_len);
}

enum pg_status prewarm_page(struct prewarm *prewarm, struct pg *pg, int64_t now_us, int64_t deadline_us)
{
    struct pg_args args;
    struct pg_rows *rows;
    pg_args_init(&args);
    pg_arg_i16(&args, prewarm->slice);
    pg_arg_bytes(&args, (struct span){prewarm->after, prewarm->after_len});
    pg_arg_i64(&args, PAGE_ROWS);
    enum pg_status status = pg_call(pg, SQL_CAMPAIGNS, &args, deadline_us, &rows);
    pg_args_deinit(&args);
    if (status == PG_OK)
        take_page(prewarm, rows, now_us);
    pg_rows_destroy(rows);
    return status;
}

/* --- the looks --- */

static enum redis_status look(struct redis *redis, struct model model, struct span id, int64_t deadline_us,
                              bool *ret)
{
    struct redis_command command;
    struct buf key;
    const struct redis_reply *reply;
    redis_command_init(&command);
    buf_init(&key, KEY_TEXT_MAX);
    key_campaign(&key, model, id);
    redis_arg_text(&command, "HEXISTS");
    redis_arg(&command, buf_span(&key));
    redis_arg_text(&command, "d");
    enum redis_status status = redis_call(redis, &command, deadline_us, &reply);
    if (status == REDIS_OK)
        *ret = redis_integer(reply) == 1;
    redis_command_deinit(&command);
    buf_deinit(&key);
    return status;
}

/* A campaign that is missing where everything up to the head is there has vanished: its slice is replayed. */
static void warm(struct applier *applier, const struct opening_campaign *campaign)
{
    bool there = false;
    struct span id = id_of(campaign);
    int16_t slice = slice_of(id);
    enum redis_status status =
        look(model_writer_redis(applier->writer), (struct model){applier->generation, slice}, id,
             clock_deadline_us(DEADLINE_MS), &there);
    if (status != REDIS_OK)
        return; /* whatever it is, the next write meets it and deals with it */
    if (there) {
        announcer_opening(&applier->announcer, id, applier->slices[slice].confirmed);
        metric_add(applier->metrics->prewarmed, 1);
    } else {
        log_warn("OPENING-MISSING", "slice %d: a campaign that opens soon has vanished from the models",
                 slice);
        applier_restart(applier, slice);
    }
}

enum pg_status prewarm_turn(struct prewarm *prewarm, struct pg *pg, struct applier *applier, int64_t now_us,
                            int64_t deadline_us)
{
    struct opening_campaign campaign;
    bool quiet = applier->loaded && applier->handover.former == 0 && applier_current(applier);
    if (!quiet || clock_mono_us() < prewarm->next_us)
        return PG_OK;
    enum pg_status status = prewarm_page(prewarm, pg, now_us, deadline_us);
    if (status != PG_OK)
        return status;
    prewarm->next_us = clock_deadline_us(prewarm->round ? WALK_MS : PAGE_MS);
    while (applier->loaded &&
           opening_take(&prewarm->opening, now_us + PREWARM_AHEAD_S * (int64_t)US_PER_S, &campaign))
        warm(applier, &campaign);
    return PG_OK;
}

/* --- the command --- */

static bool fail(const char *what, const char *why)
{
    fprintf(stderr, "projector prewarm: %s: %s\n", what, why);
    return false;
}

static bool collect(struct prewarm *prewarm, const struct prewarm_options *options)
{
    bool good = true;
    if (*options->campaign) {
        opening_add(&prewarm->opening, span_of(options->campaign), 0);
        return true;
    }
    struct pg *pg = sql_create(options->database_url);
    if (pg_connect(pg, clock_deadline_us(DEADLINE_MS)) != PG_OK)
        good = fail("PostgreSQL", pg_error(pg));
    while (good && !prewarm->round)
        if (prewarm_page(prewarm, pg, clock_wall_us(), clock_deadline_us(DEADLINE_MS)) != PG_OK)
            good = fail("PostgreSQL", pg_error(pg));
    pg_destroy(pg);
    return good;
}

static bool announce_one(struct announcer *announcer, struct redis *redis, const struct checkpoints *is,
                         const struct opening_campaign *campaign, bool say)
{
    bool there = false;
    struct span id = id_of(campaign);
    int16_t slice = slice_of(id);
    if (look(redis, (struct model){is->generation, slice}, id, clock_deadline_us(DEADLINE_MS), &there) !=
        REDIS_OK)
        return fail("Redis", redis_error(redis));
    if (there)
        announcer_opening(announcer, id, is->slices[slice].position);
    if (say)
        printf("%.*s %s\n", SPAN_ARG(id), there ? "announced" : "is not in the models");
    return there;
}

static bool announce(const struct prewarm *prewarm, struct model_writer *writer, struct bus_publisher *bus)
{
    struct announcer announcer;
    struct checkpoints checkpoints = {0};
    bool good = model_writer_peek(writer, clock_deadline_us(DEADLINE_MS), &checkpoints) == REDIS_OK;
    if (!good)
        return fail("Redis", model_writer_error(writer));
    announcer_init(&announcer, bus);
    for (int again = 0; good && again < (bus ? ANNOUNCEMENTS : 1); again++) {
        if (again > 0)
            (void)poll(NULL, 0, ANNOUNCE_MS);
        for (size_t i = 0; i < prewarm->opening.count; i++)
            good &= announce_one(&announcer, model_writer_redis(writer), &checkpoints,
                                 &prewarm->opening.items[i], again == 0);
    }
    announcer_deinit(&announcer);
    return good;
}

int prewarm_run(const struct prewarm_options *options)
{
    char reason[256];
    static struct prewarm prewarm;
    struct bus_publisher *bus = NULL;
    log_setup("projector", LOG_WARN);
    crypto_setup();
    if (*options->campaign && !campaign_id_valid(span_of(options->campaign)))
        return fail("--campaign", "a campaign id is [a-z0-9][a-z0-9-]{0,63}"), 64;
    struct model_writer *writer = model_writer_create(options->redis_url, reason, sizeof reason);
    if (!writer)
        return fail("--redis-url", reason), 64;
    if (*options->bus_publish_url &&
        !(bus = bus_publisher_create(options->bus_publish_url, reason, sizeof reason))) {
        model_writer_destroy(writer);
        return fail("--bus-publish-url", reason), 64;
    }
    bool good = collect(&prewarm, options) && announce(&prewarm, writer, bus);
    bus_publisher_destroy(bus);
    model_writer_destroy(writer);
    return good ? 0 : 1;
}
