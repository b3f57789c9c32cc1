/* SPDX-License-Identifier: Apache-2.0 */
/* The schedule, the walk, the announcements. */
#include "projector/run/prewarm.h"

#include <poll.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "projector/sql.h"

enum {
    PAGE_ROWS = 500,
    PAGE_MS = 1000,
    WALK_MS = 30000,
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

/* --- announcing --- */

enum pg_status prewarm_turn(struct prewarm *prewarm, struct pg *pg, struct applier *applier, int64_t now_us,
                            int64_t deadline_us)
{
    struct opening_campaign campaign;
    if (!applier->loaded || clock_mono_us() < prewarm->next_us)
        return PG_OK;
    enum pg_status status = prewarm_page(prewarm, pg, now_us, deadline_us);
    if (status != PG_OK)
        return status;
    prewarm->next_us = clock_deadline_us(prewarm->round ? WALK_MS : PAGE_MS);
    while (opening_take(&prewarm->opening, now_us + PREWARM_AHEAD_S * (int64_t)US_PER_S, &campaign)) {
        announcer_opening(&applier->announcer, id_of(&campaign),
                          applier->slices[slice_of(id_of(&campaign))].confirmed);
        metric_add(applier->metrics->prewarmed, 1);
    }
    return PG_OK;
}

/* --- the command --- */

static bool fail(const char *what, const char *why)
{
    fprintf(stderr, "projector prewarm: %s: %s\n", what, why);
    return false;
}

/* By name: whether or not it opens soon. */
static enum pg_status find_campaign(struct prewarm *prewarm, struct pg *pg, struct span id)
{
    struct pg_args args;
    struct pg_rows *rows;
    pg_args_init(&args);
    pg_arg_i16(&args, slice_of(id));
    pg_arg_bytes(&args, id);
    enum pg_status status = pg_call(pg, SQL_CAMPAIGN_KNOWN, &args, clock_deadline_us(DEADLINE_MS), &rows);
    pg_args_deinit(&args);
    if (status == PG_OK && pg_rows_count(rows) == 1)
        opening_add(&prewarm->opening, id, 0);
    pg_rows_destroy(rows);
    return status;
}

static bool collect_from(struct prewarm *prewarm, const struct shard *shard,
                         const struct prewarm_options *options)
{
    struct pg *pg = sql_create(shard->url);
    prewarm->round = false;
    prewarm->slice = 0;
    prewarm->after_len = 0;
    enum pg_status status = pg_connect(pg, clock_deadline_us(DEADLINE_MS));
    if (status == PG_OK && *options->campaign)
        status = find_campaign(prewarm, pg, span_of(options->campaign));
    while (status == PG_OK && !*options->campaign && !prewarm->round)
        status = prewarm_page(prewarm, pg, clock_wall_us(), clock_deadline_us(DEADLINE_MS));
    bool good = status == PG_OK || fail("PostgreSQL", pg_error(pg));
    pg_destroy(pg);
    return good;
}

static bool collect(struct prewarm *prewarm, const struct prewarm_options *options)
{
    bool good = true, all = !*options->campaign;
    for (size_t i = 0; good && i < options->shards->count; i++)
        if (all || shard_has(&options->shards->list[i], slice_of(span_of(options->campaign))))
            good = collect_from(prewarm, &options->shards->list[i], options);
    if (good && *options->campaign && prewarm->opening.count == 0)
        good = fail(options->campaign, "there is no such campaign, or it is over");
    return good;
}

static void announce(const struct prewarm *prewarm, struct bus_publisher *bus)
{
    struct announcer announcer;
    announcer_init(&announcer, bus);
    for (int again = 0; again < (bus ? ANNOUNCEMENTS : 1); again++) {
        if (again > 0)
            (void)poll(NULL, 0, ANNOUNCE_MS);
        for (size_t i = 0; i < prewarm->opening.count; i++) {
            struct span id = id_of(&prewarm->opening.items[i]);
            announcer_opening(&announcer, id, 0);
            if (again == 0)
                printf("%.*s announced\n", SPAN_ARG(id));
        }
    }
    announcer_deinit(&announcer);
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
    if (*options->bus_publish_url &&
        !(bus = bus_publisher_create(options->bus_publish_url, reason, sizeof reason)))
        return fail("--bus-publish-url", reason), 64;
    bool good = collect(&prewarm, options);
    if (good)
        announce(&prewarm, bus);
    bus_publisher_destroy(bus);
    return good ? 0 : 1;
}
