/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of the log and of the state tables, to the pure checkers. While one page of events is judged the
 * server makes the next. */
#include "verify/source.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/pg/pg.h"
#include "events/event_log.h"
#include "events/holder.h"
#include "events/shards.h"
#include "verify/state.h"

enum {
    CALL_MS = 60000, /* for one page; a cold disk is slow, a hung server is not waited for */
    EVENTS_PER_PAGE = 5000,
    BATCHES_PER_PAGE = 2000,
    ARENA_MAX = 64 * 1024 * 1024,
};
#define ROWS_PER_PAGE "5000"

enum sql {
    BEGIN,
    COMMIT,
    HEADS,
    HEAD,
    CHAIN,
    EVENTS,
    BATCHES,
    CAMPAIGNS,
    COUPONS,
    RUNS,
    CONTROLS,
    REQUESTS,
    QUOTAS,
    FETCH,
    CLOSE,
    SQL_COUNT
};

/* State tables are read through a cursor: in one snapshot that needs no order and no key, and no page is
 * larger than a FETCH. */
#define CURSOR(columns) "DECLARE page NO SCROLL CURSOR FOR SELECT " columns

static const struct pg_statement statements[SQL_COUNT] = {
    [BEGIN] = {"begin", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
    [COMMIT] = {"commit", "COMMIT"},
    [HEADS] = {"heads", "SELECT slice, head FROM slice ORDER BY slice"},
    [HEAD] = {"head", "SELECT head, recorded_at, chain FROM slice WHERE slice = $1::smallint"},
    [CHAIN] = {"chain",
               "SELECT chain FROM batch WHERE slice = $1::smallint AND first <= $2::bigint AND last ="
               " $2::bigint ORDER BY slice, first DESC LIMIT 1"},
    [EVENTS] = {"events", "SELECT " LOG_COLUMNS
                          ", e.nth, e.holder, (SELECT s.secret FROM slice s WHERE s.slice = $1::smallint) "
                          "FROM event e WHERE e.slice = $1::smallint AND e.position > $2::bigint "
                          "ORDER BY e.slice, e.position LIMIT $3::bigint"},
    [BATCHES] = {"batches",
                 "SELECT first, last, recorded_at, chain FROM batch WHERE slice = $1::smallint AND "
                 "first > $2::bigint ORDER BY slice, first LIMIT $3::bigint"},
    [CAMPAIGNS] = {"campaigns",
                   CURSOR("id, created_by, definition, created_at, version, quantity, released, issued, "
                          "redeemed, reserved, status, plan_done, first, position, plan_halted, due_at, "
                          "coalesce(due_at = 'epoch', false) FROM campaign WHERE slice = $1::smallint")},
    [COUPONS] = {"coupons",
                 CURSOR("c.position, c.state, c.last, c.changed_at, c.order_amount, c.discount_amount, "
                        "c.reserved_until, c.campaign_id, c.order_id, c.reason, " LOG_COLUMNS
                        " FROM coupon c LEFT JOIN LATERAL (SELECT " LOG_COLUMNS
                        " FROM event e WHERE e.slice = c.slice "
                        "AND e.position = c.last LIMIT 1) e ON true WHERE c.slice = $1::smallint")},
    [RUNS] = {"runs", CURSOR("campaign_id, first_sequence, first_position, last_position FROM issue_run "
                             "WHERE slice = $1::smallint")},
    [CONTROLS] = {"controls", CURSOR("kind, position, name, value FROM control WHERE slice = $1::smallint")},
    [REQUESTS] = {"requests",
                  CURSOR("i.position, i.status, i.recorded_at, e.type, e.recorded_at FROM "
                         "idempotency_effect i LEFT JOIN LATERAL (SELECT e.type, e.recorded_at FROM event "
                         "e WHERE e.slice = i.slice AND e.position = i.position LIMIT 1) e ON true WHERE "
                         "i.slice = $1::smallint AND i.rendered")},
    [QUOTAS] = {"quotas", CURSOR("scope, day - date '1970-01-01', used FROM creation_quota WHERE slice = "
                                 "$1::smallint")},
    [FETCH] = {"fetch", "FETCH " ROWS_PER_PAGE " FROM page"},
    [CLOSE] = {"close", "CLOSE page"},
};

struct verify_source {
    struct pg *pg;
    struct pg_args args;
    struct arena arena;
    int16_t slice; /* being read */
    struct verify_log *log;
    struct verify_quota *quota;
    /* the page of events being judged, and the next one where it had to be received early */
    struct pg_rows *events, *next;
    bool asked; /* the next page is on its way */
    struct pg_rows *batches;
    int batch_row;
};

struct verify_source *verify_source_create(const char *database_url, bool primary)
{
    struct verify_source *source = mem_zalloc(sizeof *source);
    source->pg = pg_create(&(struct pg_options){
        .url = database_url,
        .role = "firstcome_projector",
        .application = "firstcome verify",
        .statement_timeout_ms = CALL_MS,
        .lock_timeout_ms = CALL_MS,
        .idle_in_transaction_timeout_ms = CALL_MS,
        .read_write = primary,
        .statements = statements,
        .statements_count = SQL_COUNT,
        .schema = SCHEMA_MIN,
    });
    pg_args_init(&source->args);
    arena_init(&source->arena, ARENA_MAX);
    return source;
}

void verify_source_destroy(struct verify_source *source)
{
    if (!source)
        return;
    pg_destroy(source->pg);
    pg_args_deinit(&source->args);
    arena_deinit(&source->arena);
    mem_free(source);
}

const char *verify_source_error(const struct verify_source *source)
{
    return pg_error(source->pg);
}

static enum verify_status status_of(enum pg_status status)
{
    if (status == PG_OK)
        return VERIFY_OK;
    return status == PG_REFUSED ? VERIFY_FORBIDDEN : VERIFY_UNAVAILABLE;
}

enum verify_status verify_source_connect(struct verify_source *source)
{
    return status_of(pg_connect(source->pg, clock_deadline_us(CALL_MS)));
}

/* --- one statement --- */

static void arg_slice(struct verify_source *source, int16_t slice)
{
    pg_args_reset(&source->args);
    pg_arg_i16(&source->args, slice);
}

static enum verify_status call(struct verify_source *source, enum sql statement, const struct pg_args *args,
                               struct pg_rows **ret)
{
    struct pg_rows *rows = NULL;
    enum verify_status status =
        status_of(pg_call(source->pg, statement, args, clock_deadline_us(CALL_MS), &rows));
    if (ret && status == VERIFY_OK)
        *ret = rows;
    else
        pg_rows_destroy(rows);
    return status;
}

/* --- the log --- */

static int64_t last_position(const struct pg_rows *rows)
{
    return pg_i64(rows, pg_rows_count(rows) - 1, 0);
}

static void ask_events(struct verify_source *source, int64_t after)
{
    event_log_read_args(&source->args, source->slice, after, EVENTS_PER_PAGE);
    pg_send(source->pg, EVENTS, &source->args);
    pg_sync(source->pg);
    source->asked = true;
}

static enum verify_status receive_next(struct verify_source *source)
{
    if (!source->asked)
        return VERIFY_OK;
    source->asked = false;
    return status_of(pg_receive(source->pg, clock_deadline_us(CALL_MS), &source->next));
}

/* The next page becomes the current one; the one after it is asked for. */
static enum verify_status turn_page(struct verify_source *source)
{
    enum verify_status status = receive_next(source);
    pg_rows_destroy(source->events);
    source->events = source->next;
    source->next = NULL;
    arena_reset(&source->arena);
    if (status == VERIFY_OK && pg_rows_count(source->events) == EVENTS_PER_PAGE)
        ask_events(source, last_position(source->events));
    return status;
}

/* Another page of batch rows; what is on its way in front of it is received first. */
static enum verify_status load_batches(struct verify_source *source)
{
    int64_t after = source->batches ? pg_i64(source->batches, pg_rows_count(source->batches) - 1, 0) : 0;
    enum verify_status status = receive_next(source);
    pg_rows_destroy(source->batches);
    source->batches = NULL;
    source->batch_row = 0;
    if (status != VERIFY_OK)
        return status;
    event_log_read_args(&source->args, source->slice, after, BATCHES_PER_PAGE);
    return call(source, BATCHES, &source->args, &source->batches);
}

static bool chain_of(const struct pg_rows *rows, int row, int column, uint8_t ret[32])
{
    struct span bytes = pg_bytes(rows, row, column);
    if (bytes.len == 32)
        memcpy(ret, bytes.ptr, 32);
    return bytes.len == 32;
}

/* Feeds one batch row, or that there is none. */
static enum verify_status feed_batch(struct verify_source *source)
{
    int count = source->batches ? pg_rows_count(source->batches) : 0;
    if (source->batch_row == count && (!source->batches || count == BATCHES_PER_PAGE)) {
        enum verify_status status = load_batches(source);
        if (status != VERIFY_OK)
            return status;
        count = pg_rows_count(source->batches);
    }
    if (source->batch_row == count) {
        verify_log_no_batch(source->log);
        return VERIFY_OK;
    }
    int row = source->batch_row++;
    struct verify_batch batch = {.first = pg_i64(source->batches, row, 0),
                                 .last = pg_i64(source->batches, row, 1),
                                 .recorded_at_us = pg_time(source->batches, row, 2)};
    (void)chain_of(source->batches, row, 3, batch.chain); /* of another length: as wrong as other bytes */
    verify_log_batch(source->log, &batch);
    return VERIFY_OK;
}

/* Coupons from before 005 have none. */
static bool is_wrong_holder(const struct pg_rows *rows, int row, const struct event *event)
{
    struct span holder = pg_bytes(rows, row, LOG_COLUMN_COUNT + 1),
                secret = pg_bytes(rows, row, LOG_COLUMN_COUNT + 2);
    struct slice_secret key;
    uint8_t right[HOLDER_BYTES];
    if (!holder.ptr)
        return false;
    if (event->type != EVENT_CouponIssued || holder.len != sizeof right || secret.len != sizeof key ||
        event->user_id.len > USER_ID_MAX || event->campaign_id.len > CAMPAIGN_ID_MAX)
        return true;
    memcpy(key.bytes, secret.ptr, sizeof key);
    holder_of(&key, event->user_id, event->campaign_id, event->coupon_issued.nth, right);
    return memcmp(right, holder.ptr, sizeof right) != 0;
}

static enum verify_status feed_event(struct verify_source *source, int row)
{
    struct event event;
    enum verify_status status = VERIFY_OK;
    enum codec_status decoded = event_log_row(source->events, row, 0, &source->arena, &event);
    struct verify_columns columns = {
        .nth = pg_is_null(source->events, row, LOG_COLUMN_COUNT)
                   ? 0
                   : pg_i64(source->events, row, LOG_COLUMN_COUNT),
        .wrong_holder = decoded == CODEC_OK && is_wrong_holder(source->events, row, &event),
    };
    while (status == VERIFY_OK && verify_log_wants_batch(source->log, event.position))
        status = feed_batch(source);
    if (status == VERIFY_OK)
        verify_log_event(source->log, &event, decoded, columns);
    return status;
}

static enum verify_status feed_log(struct verify_source *source, verify_tick *tick, void *context)
{
    int64_t events = 0;
    enum verify_status status = VERIFY_OK;
    ask_events(source, 0);
    do {
        status = turn_page(source);
        for (int row = 0; status == VERIFY_OK && row < pg_rows_count(source->events); row++, events++)
            status = feed_event(source, row);
        tick(context, events);
    } while (status == VERIFY_OK && (source->asked || source->next));
    while (status == VERIFY_OK && verify_log_wants_batch(source->log, INT64_MAX))
        status = feed_batch(source);
    return status;
}

/* --- state rows --- */

/* A row of a state table to its checker. */
typedef void feed_row(struct verify_source *source, const struct pg_rows *rows, int row);

static enum verify_status feed_table(struct verify_source *source, enum sql cursor, int16_t slice,
                                     feed_row *feed)
{
    enum verify_status status;
    int count = 1;
    arg_slice(source, slice);
    status = call(source, cursor, &source->args, NULL);
    while (status == VERIFY_OK && count > 0) {
        struct pg_rows *rows = NULL;
        status = call(source, FETCH, NULL, &rows);
        count = status == VERIFY_OK ? pg_rows_count(rows) : 0;
        for (int row = 0; row < count; row++)
            feed(source, rows, row);
        pg_rows_destroy(rows);
        arena_reset(&source->arena);
    }
    return status == VERIFY_OK ? call(source, CLOSE, NULL, NULL) : status;
}

static void feed_campaign(struct verify_source *source, const struct pg_rows *rows, int row)
{
    struct verify_campaign_row is = {
        .id = pg_bytes(rows, row, 0),
        .created_by = pg_bytes(rows, row, 1),
        .definition = pg_bytes(rows, row, 2),
        .created_at_us = pg_time(rows, row, 3),
        .version = pg_i64(rows, row, 4),
        .quantity = pg_i64(rows, row, 5),
        .released = pg_i64(rows, row, 6),
        .issued = pg_i64(rows, row, 7),
        .redeemed = pg_i64(rows, row, 8),
        .reserved = pg_i64(rows, row, 9),
        .status = pg_i64(rows, row, 10),
        .plan_done = pg_i64(rows, row, 11),
        .first = pg_i64(rows, row, 12),
        .position = pg_i64(rows, row, 13),
        .plan_halted = pg_i64(rows, row, 14) != 0,
        .due_at_us = pg_time(rows, row, 15),
        .due_at_is_epoch = pg_i64(rows, row, 16) != 0,
    };
    verify_campaign_row(source->log, &is);
}

static void feed_coupon(struct verify_source *source, const struct pg_rows *rows, int row)
{
    enum { FIRST_LOG_COLUMN = 10 };
    struct event last;
    bool readable = !pg_is_null(rows, row, FIRST_LOG_COLUMN) &&
                    event_log_row(rows, row, FIRST_LOG_COLUMN, &source->arena, &last) == CODEC_OK;
    struct verify_coupon_row is = {
        .position = pg_i64(rows, row, 0),
        .state = pg_i64(rows, row, 1),
        .last = pg_i64(rows, row, 2),
        .changed_at_us = pg_time(rows, row, 3),
        .order_amount = pg_i64(rows, row, 4),
        .discount_amount = pg_i64(rows, row, 5),
        .reserved_until_us = pg_time(rows, row, 6),
        .campaign_id = pg_bytes(rows, row, 7),
        .order_id = pg_bytes(rows, row, 8),
        .reason = pg_bytes(rows, row, 9),
        .event = readable ? &last : NULL,
    };
    verify_coupon_row(source->log, &is);
}

static void feed_run(struct verify_source *source, const struct pg_rows *rows, int row)
{
    struct verify_run_row is = {
        .campaign_id = pg_bytes(rows, row, 0),
        .first_sequence = pg_i64(rows, row, 1),
        .first_position = pg_i64(rows, row, 2),
        .last_position = pg_i64(rows, row, 3),
    };
    verify_run_row(source->log, &is);
}

static void feed_control(struct verify_source *source, const struct pg_rows *rows, int row)
{
    struct verify_control_row is = {
        .kind = pg_i64(rows, row, 0),
        .position = pg_i64(rows, row, 1),
        .name = pg_bytes(rows, row, 2),
        .value = pg_bytes(rows, row, 3),
    };
    verify_control_row(source->log, &is);
}

static void feed_request(struct verify_source *source, const struct pg_rows *rows, int row)
{
    struct verify_request_row is = {
        .position = pg_i64(rows, row, 0),
        .status = pg_i64(rows, row, 1),
        .recorded_at_us = pg_time(rows, row, 2),
        .event_type = pg_is_null(rows, row, 3) ? 0 : pg_i64(rows, row, 3),
        .event_recorded_at_us = pg_time(rows, row, 4),
    };
    verify_request_row(source->log, &is);
}

static enum verify_status feed_state(struct verify_source *source)
{
    static const struct {
        enum sql cursor;
        feed_row *feed;
    } tables[] = {
        {CAMPAIGNS, feed_campaign}, {COUPONS, feed_coupon},   {RUNS, feed_run},
        {CONTROLS, feed_control},   {REQUESTS, feed_request},
    };
    enum verify_status status = VERIFY_OK;
    for (size_t i = 0; i < COUNT_OF(tables) && status == VERIFY_OK; i++)
        if (tables[i].cursor != REQUESTS || source->log->whole)
            status = feed_table(source, tables[i].cursor, source->slice, tables[i].feed);
    if (status == VERIFY_OK)
        verify_state_end(source->log);
    return status;
}

/* --- a pass --- */

static enum verify_status read_head(struct verify_source *source, struct verify_head *ret)
{
    struct pg_rows *rows = NULL;
    arg_slice(source, source->slice);
    enum verify_status status = call(source, HEAD, &source->args, &rows);
    *ret = (struct verify_head){0}; /* a row that is gone is as wrong as one that says so */
    if (status == VERIFY_OK && pg_rows_count(rows) == 1) {
        ret->position = pg_i64(rows, 0, 0);
        ret->recorded_at_us = pg_time(rows, 0, 1);
        (void)chain_of(rows, 0, 2, ret->chain);
    }
    pg_rows_destroy(rows);
    return status;
}

static enum verify_status in_snapshot(struct verify_source *source, verify_tick *tick, void *context)
{
    struct verify_head head;
    enum verify_status status = call(source, BEGIN, NULL, NULL);
    if (status == VERIFY_OK)
        status = read_head(source, &head);
    if (status == VERIFY_OK)
        status = feed_log(source, tick, context);
    if (status != VERIFY_OK)
        return status;
    verify_log_end(source->log, &head);
    status = feed_state(source);
    return status == VERIFY_OK ? call(source, COMMIT, NULL, NULL) : status;
}

static void begin_reading(struct verify_source *source, int16_t slice)
{
    source->slice = slice;
    source->asked = false;
}

static void end_reading(struct verify_source *source)
{
    pg_rows_destroy(source->events);
    pg_rows_destroy(source->next);
    pg_rows_destroy(source->batches);
    source->events = source->next = source->batches = NULL;
    source->batch_row = 0;
}

enum verify_status verify_source_pass(struct verify_source *source, struct verify_log *log, verify_tick *tick,
                                      void *context)
{
    source->log = log;
    begin_reading(source, log->slice);
    enum verify_status status = in_snapshot(source, tick, context);
    end_reading(source);
    return status;
}

/* --- a range of the log --- */

/* Returns whether the range goes on after this page. */
static bool give_page(struct verify_source *source, int64_t to, verify_reader *reader, void *context)
{
    int count = pg_rows_count(source->events);
    bool more = true;
    for (int row = 0; row < count && more; row++) {
        struct event event;
        enum codec_status status = event_log_row(source->events, row, 0, &source->arena, &event);
        more = event.position <= to && reader(context, &event, status);
    }
    return reader(context, NULL, CODEC_OK) && more && count > 0 && last_position(source->events) < to;
}

enum verify_status verify_source_read(struct verify_source *source, const struct verify_range *range,
                                      verify_reader *reader, void *context)
{
    begin_reading(source, range->slice);
    enum verify_status status = VERIFY_OK;
    ask_events(source, range->after);
    do {
        status = turn_page(source);
    } while (status == VERIFY_OK && give_page(source, range->to, reader, context) && source->asked);
    if (status == VERIFY_OK) /* a page too far may be on its way */
        status = receive_next(source);
    end_reading(source);
    return status;
}

enum verify_status verify_source_chain(struct verify_source *source, int16_t slice, int64_t position,
                                       uint8_t ret[32])
{
    struct pg_rows *rows = NULL;
    arg_slice(source, slice);
    pg_arg_i64(&source->args, position);
    enum verify_status status = call(source, CHAIN, &source->args, &rows);
    memset(ret, 0, 32);
    if (status == VERIFY_OK && pg_rows_count(rows) == 1)
        (void)chain_of(rows, 0, 0, ret);
    pg_rows_destroy(rows);
    return status;
}

/* --- quotas --- */

static void feed_quota(struct verify_source *source, const struct pg_rows *rows, int row)
{
    struct verify_quota_row is = {
        .scope = pg_bytes(rows, row, 0), .day = pg_i64(rows, row, 1), .used = pg_i64(rows, row, 2)};
    verify_quota_row(source->quota, &is);
}

static enum verify_status read_heads(struct verify_source *source, unsigned slices,
                                     int64_t heads[SLICE_COUNT])
{
    struct pg_rows *rows = NULL;
    enum verify_status status = call(source, HEADS, NULL, &rows);
    unsigned owned = status == VERIFY_OK ? slices_of(rows) : 0;
    for (int row = 0; status == VERIFY_OK && row < pg_rows_count(rows); row++)
        if (slices >> pg_i64(rows, row, 0) & 1)
            heads[pg_i64(rows, row, 0)] = pg_i64(rows, row, 1);
    pg_rows_destroy(rows);
    return status == VERIFY_OK && slices & ~owned ? VERIFY_ELSEWHERE : status;
}

enum verify_status verify_source_heads(struct verify_source *source, unsigned slices,
                                       int64_t heads[SLICE_COUNT], struct verify_quota *quota)
{
    enum verify_status status = call(source, BEGIN, NULL, NULL);
    if (status == VERIFY_OK)
        status = read_heads(source, slices, heads);
    source->quota = quota;
    for (int16_t slice = 0; status == VERIFY_OK && quota && slice < SLICE_COUNT; slice++)
        if (slices >> slice & 1)
            status = feed_table(source, QUOTAS, slice, feed_quota);
    return status == VERIFY_OK ? call(source, COMMIT, NULL, NULL) : status;
}
