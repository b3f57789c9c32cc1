/* SPDX-License-Identifier: Apache-2.0 */
/* The walk, the questions, and what becomes of the answers. */
#include "projector/run/scrub.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "events/event_log.h"
#include "projector/sql.h"

enum {
    PAGE = 500,            /* events in a look; in Redis below a millisecond */
    LOOK_MS = 200,         /* between looks while nothing happens: 2,500 events a second */
    BUSY_LOOK_MS = 5000,   /* while something always does: idle slices are not to wait for busy ones */
    KEPT_MARGIN_S = 86400, /* for clocks that differ: what is nearly expired may be gone */
    REST_MIN_MS = 5000,    /* from one replay to the next look at the slice, doubled from hole to hole: */
    REST_MAX_MS = 600000,  /* where Redis evicts for good, replaying for good would help nobody */
    DECODED_BYTES_MAX = 1 << 20, /* of one event */
};

/* What is asked about one page. */
struct look {
    struct redis *redis;
    struct model model;
    int64_t young_us; /* what was recorded after this has not expired */
    struct redis_command exists, command;
    struct buf key, last_coupons, last_holders;
    int64_t asked;   /* keys in `exists` */
    size_t sent;     /* campaigns asked for, two replies each */
    int64_t missing; /* keys that are not there and must be */
};

static void look_init(struct look *look, struct redis *redis, struct model model, int64_t now_us)
{
    *look = (struct look){.redis = redis,
                          .model = model,
                          .young_us = now_us - (KEY_KEPT_S - KEPT_MARGIN_S) * (int64_t)US_PER_S};
    redis_command_init(&look->exists);
    redis_command_init(&look->command);
    buf_init(&look->key, KEY_TEXT_MAX);
    buf_init(&look->last_coupons, KEY_TEXT_MAX);
    buf_init(&look->last_holders, KEY_TEXT_MAX);
    redis_arg_text(&look->exists, "EXISTS");
}

static void look_deinit(struct look *look)
{
    redis_command_deinit(&look->exists);
    redis_command_deinit(&look->command);
    buf_deinit(&look->key);
    buf_deinit(&look->last_coupons);
    buf_deinit(&look->last_holders);
}

/* --- questions --- */

static void ask_key(struct look *look)
{
    redis_arg(&look->exists, buf_span(&look->key));
    look->asked++;
}

/* Neighbours in the log share chunks: one that was just asked for is not asked for again. */
static void ask_chunk(struct look *look, struct buf *last)
{
    if (span_equal(buf_span(&look->key), buf_span(last)))
        return;
    buf_clear(last);
    buf_append_span(last, buf_span(&look->key));
    ask_key(look);
}

static void ask_coupon(struct look *look, const struct event *event)
{
    buf_clear(&look->key);
    key_users(&look->key, look->model, user_place(event->user_id).bucket);
    ask_key(look);
    if (event->recorded_at_us < look->young_us)
        return;
    buf_clear(&look->key);
    key_coupons(&look->key, look->model, event->position);
    ask_chunk(look, &look->last_coupons);
    buf_clear(&look->key);
    key_holders(&look->key, look->model, event->campaign_id, event->coupon_issued.sequence);
    ask_chunk(look, &look->last_holders);
}

/* One that was deleted since has left the list too, and the list is whole where it is there. */
static void ask_campaign(struct look *look, const struct event *event)
{
    redis_command_reset(&look->command);
    redis_arg_text(&look->command, "ZSCORE");
    buf_clear(&look->key);
    key_index(&look->key, look->model, INDEX_CAMPAIGNS);
    redis_arg(&look->command, buf_span(&look->key));
    redis_arg(&look->command, event->campaign_id);
    redis_send(look->redis, &look->command);
    redis_command_reset(&look->command);
    redis_arg_text(&look->command, "EXISTS");
    buf_clear(&look->key);
    key_campaign(&look->key, look->model, event->campaign_id);
    redis_arg(&look->command, buf_span(&look->key));
    redis_send(look->redis, &look->command);
    look->sent++;
}

static void ask(struct look *look, const struct pg_rows *rows)
{
    struct arena arena;
    arena_init(&arena, DECODED_BYTES_MAX);
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct event event;
        arena_reset(&arena);
        if (event_log_row(rows, row, 0, &arena, &event) != CODEC_OK)
            continue; /* whoever applies it says so */
        if (event.type == EVENT_CouponIssued)
            ask_coupon(look, &event);
        else if (event.type == EVENT_CampaignCreated)
            ask_campaign(look, &event);
    }
    arena_deinit(&arena);
    if (look->asked > 0)
        redis_send(look->redis, &look->exists);
}

/* --- answers --- */

/* Every reply is taken, whatever it is, so that the connection is in step. False where one was no answer. */
static bool take(struct look *look)
{
    int64_t deadline_us = clock_deadline_us(REDIS_DEADLINE_MS);
    size_t replies = 2 * look->sent + (look->asked > 0);
    bool good = true, listed = false;
    for (size_t i = 0; i < replies; i++) {
        const struct redis_reply *reply;
        enum redis_status status = redis_receive(look->redis, deadline_us, &reply);
        if (status == REDIS_LOST)
            return false;
        good = good && status == REDIS_OK;
        if (!good)
            continue;
        if (i == 2 * look->sent)
            look->missing += look->asked - redis_integer(reply);
        else if (i % 2 == 0)
            listed = redis_text(reply).ptr != NULL;
        else
            look->missing += listed && redis_integer(reply) == 0;
    }
    return good;
}

/* --- the walk --- */

static bool may_look(const struct scrub *scrub, const struct applier *applier, int slice, int64_t mono_us)
{
    const struct progress *progress = &applier->slices[slice];
    return progress->confirmed > 0 && !progress_beyond_log(progress) &&
           scrub->slices[slice].rest_us <= mono_us;
}

/* The next slice, by turns, that there is something of to be looked at; -1: none. */
static int16_t choose(struct scrub *scrub, const struct applier *applier, int64_t mono_us)
{
    for (int i = 0; i < SLICE_COUNT; i++) {
        scrub->slice = (int16_t)((scrub->slice + 1) % SLICE_COUNT);
        if (may_look(scrub, applier, scrub->slice, mono_us))
            return scrub->slice;
    }
    return -1;
}

static void found_hole(struct scrub_slice *at, struct applier *applier, int16_t slice, int64_t missing)
{
    metric_add(applier->metrics->vanished, (uint64_t)missing);
    log_warn("MODEL-VANISHED", "slice %d: %lld keys that must be there are not; the slice is replayed", slice,
             (long long)missing);
    int64_t rest_ms = at->rest_ms ? 2 * at->rest_ms : REST_MIN_MS;
    rest_ms = rest_ms < REST_MAX_MS ? rest_ms : REST_MAX_MS;
    *at = (struct scrub_slice){.rest_ms = rest_ms, .rest_us = clock_deadline_us(rest_ms)};
    applier_restart(applier, slice);
}

static void go_on(struct scrub_slice *at, int64_t reached, int64_t confirmed)
{
    at->after = reached;
    if (reached < confirmed)
        return;
    at->after = 0;
    at->rest_ms = 0; /* all of it was there */
}

static enum pg_status read_page(struct pg *pg, int16_t slice, int64_t after, int64_t rows_max,
                                int64_t deadline_us, struct pg_rows **ret)
{
    struct pg_args args;
    pg_args_init(&args);
    event_log_read_args(&args, slice, after, rows_max);
    enum pg_status status = pg_call(pg, SQL_READ, &args, deadline_us, ret);
    pg_args_deinit(&args);
    return status;
}

static enum pg_status look_at(struct scrub_slice *at, struct pg *pg, struct applier *applier, int16_t slice,
                              int64_t now_us, int64_t deadline_us)
{
    struct look look;
    struct pg_rows *rows;
    int64_t confirmed = applier->slices[slice].confirmed;
    if (at->after >= confirmed) /* another Redis, or the slice was begun anew */
        at->after = 0;
    int64_t count = confirmed - at->after < PAGE ? confirmed - at->after : PAGE;
    enum pg_status status = read_page(pg, slice, at->after, count, deadline_us, &rows);
    if (status != PG_OK)
        return status;
    look_init(&look, model_writer_redis(applier->writer), (struct model){applier->generation, slice}, now_us);
    ask(&look, rows);
    if (take(&look)) {
        metric_add(applier->metrics->scrubbed, (uint64_t)count);
        if (look.missing > 0)
            found_hole(at, applier, slice, look.missing);
        else
            go_on(at, at->after + count, confirmed);
    }
    look_deinit(&look);
    pg_rows_destroy(rows);
    return PG_OK;
}

enum pg_status scrub_turn(struct scrub *scrub, struct pg *pg, struct applier *applier, bool idle,
                          int64_t now_us, int64_t deadline_us)
{
    int64_t mono_us = clock_mono_us(), due_us = scrub->next_us + (idle ? 0 : BUSY_LOOK_MS * US_PER_MS);
    if (!applier->loaded || applier->handover.former != 0 || mono_us < due_us)
        return PG_OK;
    int16_t slice = choose(scrub, applier, mono_us);
    if (slice < 0)
        return PG_OK;
    enum pg_status status = look_at(&scrub->slices[slice], pg, applier, slice, now_us, deadline_us);
    scrub->next_us = clock_deadline_us(LOOK_MS);
    return status;
}
