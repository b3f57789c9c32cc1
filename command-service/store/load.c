/* SPDX-License-Identifier: Apache-2.0 */
/* The reading half of the store: one round trip that begins a transaction, locks the slice and loads all that
 * the batch's commands are about; replays of first answers may need another. Only what a batch needs is sent:
 * a batch of issues costs the same whatever else the service can do. */
#include "command-service/store/internal.h"

#include "command-service/answer.h"
#include "command-service/store/campaign_row.h"
#include "common/base/clock.h"
#include "events/event_log.h"

/* --- sending --- */

static bool only_lookups(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (command_subject(batch->commands[i]->kind) != SUBJECT_REQUEST)
            return false;
    return true;
}

static void send_lock(struct store *store, const struct batch *batch)
{
    bool wanted[SLICE_COUNT] = {false};
    wanted[batch->slice] = true;
    for (size_t i = 0; i < batch->count; i++)
        wanted[batch->commands[i]->request_slice] = true;
    pg_args_reset(&store->args);
    pg_array_begin(&store->args, PG_INT2);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (wanted[slice])
            pg_array_i16(&store->args, slice);
    pg_array_end(&store->args);
    pg_send(store->pg, only_lookups(batch) ? SQL_LOOK : SQL_LOCK, &store->args);
}

static void send_campaigns(struct store *store, const struct batch *batch)
{
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, batch->slice);
    pg_array_begin(&store->args, PG_TEXT);
    for (size_t i = 0; i < batch->campaigns_count; i++)
        pg_array_bytes(&store->args, batch->campaign_list[i]->campaign.id);
    pg_array_end(&store->args);
    pg_send(store->pg, SQL_CAMPAIGNS, &store->args);
}

static void send_coupons(struct store *store, const struct batch *batch, enum statement statement)
{
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, batch->slice);
    pg_array_begin(&store->args, PG_INT8);
    for (size_t i = 0; i < batch->coupons_count; i++)
        pg_array_i64(&store->args, batch->coupon_list[i]->coupon.at.position);
    pg_array_end(&store->args);
    pg_send(store->pg, statement, &store->args);
}

static void arg_time_or_null(struct pg_args *args, int64_t wall_us)
{
    if (wall_us)
        pg_arg_time(args, wall_us);
    else
        pg_arg_null(args);
}

static void send_void(struct store *store, const struct batch *batch, enum statement statement)
{
    const struct void_filter *filter = &batch->commands[0]->voids;
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, batch->slice);
    pg_arg_bytes(&store->args, filter->created_by);
    arg_time_or_null(&store->args, filter->created_before_us);
    arg_time_or_null(&store->args, filter->created_after_us);
    if (statement == SQL_VOIDABLE)
        pg_arg_i64(&store->args, VOID_MAX);
    pg_send(store->pg, statement, &store->args);
}

static void send_quotas(struct store *store, const struct batch *batch)
{
    pg_args_reset(&store->args);
    pg_array_begin(&store->args, PG_TEXT);
    for (size_t i = 0; i < batch->quotas_count; i++)
        pg_array_bytes(&store->args, batch->quotas[i].scope);
    pg_array_end(&store->args);
    pg_send(store->pg, SQL_QUOTAS, &store->args);
}

int64_t store_operation(const struct request_id *id)
{
    uint64_t number = 0;
    for (size_t i = 0; i < sizeof id->operation; i++)
        number = number << 8 | id->operation[i];
    return (int64_t)number;
}

struct span store_key_hash(const struct request_id *id)
{
    return (struct span){(const char *)id->key_hash, sizeof id->key_hash};
}

static void send_requests(struct store *store, const struct batch *batch)
{
    struct pg_args *args = &store->args;
    const struct span nothing = {NULL, 0};
    pg_args_reset(args);
    pg_array_begin(args, PG_INT2);
    for (size_t i = 0; i < batch->count; i++)
        pg_array_i16(args, batch->commands[i]->request_slice);
    pg_array_end(args);
    pg_array_begin(args, PG_UUID);
    for (size_t i = 0; i < batch->count; i++)
        pg_array_bytes(args, batch->commands[i]->keyed ? store_key_hash(&batch->commands[i]->id) : nothing);
    pg_array_end(args);
    pg_array_begin(args, PG_INT8);
    for (size_t i = 0; i < batch->count; i++)
        pg_array_i64(args, store_operation(&batch->commands[i]->id));
    pg_array_end(args);
    pg_send(store->pg, SQL_REQUESTS, args);
}

static void send_lookups(struct store *store, const struct batch *batch)
{
    const struct span nothing = {NULL, 0};
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, batch->slice);
    pg_array_begin(&store->args, PG_UUID);
    for (size_t i = 0; i < batch->count; i++) {
        const struct command *command = batch->commands[i];
        pg_array_bytes(&store->args,
                       command->kind == COMMAND_LOOKUP ? store_key_hash(&command->id) : nothing);
    }
    pg_array_end(&store->args);
    pg_send(store->pg, SQL_LOOKUPS, &store->args);
}

static void send_holdings(struct store *store, const struct batch *batch)
{
    struct pg_args *args = &store->args;
    pg_args_reset(args);
    pg_arg_i16(args, batch->slice);
    pg_array_begin(args, PG_TEXT);
    for (size_t i = 0; i < batch->holdings_count; i++)
        pg_array_bytes(args, batch->holding_campaigns[i]);
    pg_array_end(args);
    pg_array_begin(args, PG_TEXT);
    for (size_t i = 0; i < batch->holdings_count; i++)
        pg_array_bytes(args, batch->holding_users[i]);
    pg_array_end(args);
    pg_send(store->pg, SQL_HOLDINGS, args);
}

/* --- taking --- */

static bool take_slice(struct batch *batch, const struct pg_rows *locked, const struct pg_rows *now)
{
    for (int row = 0; row < pg_rows_count(locked); row++) {
        if (pg_i64(locked, row, 0) != batch->slice)
            continue;
        struct span chain = pg_bytes(locked, row, 2);
        int64_t last_us = pg_time(locked, row, 3), clock_us = pg_time(now, 0, 0);
        CHECK(chain.len == sizeof batch->chain);
        memcpy(batch->chain, chain.ptr, chain.len);
        batch->head = pg_i64(locked, row, 1);
        batch->now_us = clock_us > last_us ? clock_us : last_us; /* never backwards within a slice */
        return true;
    }
    return false;
}

static bool take_campaign(struct batch *batch, const struct pg_rows *rows, int row)
{
    struct loaded_campaign *loaded = batch_campaign(batch, pg_bytes(rows, row, CAMPAIGN_COLUMN_ID));
    if (!loaded)
        return false;
    struct span id = loaded->campaign.id; /* the command's, which the list is kept by */
    if (!campaign_row_read(rows, row, &batch->arena, &loaded->campaign))
        return false;
    loaded->campaign.id = id;
    loaded->exists = true;
    loaded->due_at_us = pg_time(rows, row, CAMPAIGN_COLUMN_DUE_AT);
    return true;
}

static bool take_campaigns(struct batch *batch, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_rows_count(rows); row++)
        if (!take_campaign(batch, rows, row))
            return false;
    return true;
}

static void take_state(struct coupon *coupon, const struct pg_rows *rows, int row)
{
    const int at = 1 + LOG_COLUMN_COUNT;
    coupon->state = (enum coupon_state)pg_i64(rows, row, at);
    coupon->last = pg_i64(rows, row, at + 1);
    coupon->changed_at_us = pg_time(rows, row, at + 2);
    coupon->order_id = pg_bytes(rows, row, at + 3);
    coupon->order_amount = pg_i64(rows, row, at + 4);
    coupon->discount_amount = pg_i64(rows, row, at + 5);
    coupon->reserved_until_us = pg_time(rows, row, at + 6);
    coupon->reason = pg_bytes(rows, row, at + 7);
}

/* The campaigns were asked for by the same statement's rows, so each coupon finds its own. */
static bool take_coupons(struct batch *batch, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct loaded_coupon *loaded = batch->coupon_list[pg_i64(rows, row, 0) - 1];
        struct event issued;
        if (event_log_row(rows, row, 1, &batch->arena, &issued) != CODEC_OK)
            return false;
        loaded->coupon = coupon_from_event(&issued);
        loaded->of = map_get(&batch->campaigns, issued.campaign_id);
        loaded->exists = true;
        if (!pg_is_null(rows, row, 1 + LOG_COLUMN_COUNT)) /* something happened to it since */
            take_state(&loaded->coupon, rows, row);
        if (!loaded->of || !loaded->of->exists)
            return false;
    }
    return true;
}

static bool take_void_found(struct batch *batch, const struct pg_rows *rows)
{
    batch->void_found.matched = pg_i64(rows, 0, 0);
    batch->void_found.voidable = pg_i64(rows, 0, 1);
    return true;
}

/* In the order asked for: RETURNING follows the rows of the SELECT. */
static bool take_quotas(struct batch *batch, const struct pg_rows *rows)
{
    if ((size_t)pg_rows_count(rows) != batch->quotas_count)
        return false;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct loaded_quota *quota = &batch->quotas[row];
        if (!span_equal(quota->scope, pg_bytes(rows, row, 0)))
            return false;
        quota->day = pg_bytes(rows, row, 1);
        quota->used = pg_i64(rows, row, 2);
    }
    return true;
}

static bool take_requests(struct batch *batch, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct request_record *record = arena_alloc(&batch->arena, sizeof *record);
        struct span fingerprint = pg_bytes(rows, row, 1);
        CHECK(record && fingerprint.len == FINGERPRINT_BYTES);
        memcpy(record->fingerprint, fingerprint.ptr, fingerprint.len);
        record->status = (int)pg_i64(rows, row, 2);
        record->position = pg_is_null(rows, row, 3) ? 0 : pg_i64(rows, row, 3);
        record->answer = pg_bytes(rows, row, 4);
        batch->records[pg_i64(rows, row, 0) - 1] = record;
    }
    return true;
}

static bool take_holdings(struct batch *batch, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct holding *held = batch->holding_list[pg_i64(rows, row, 0) - 1];
        batch_hold(batch, held, pg_i64(rows, row, 2));
    }
    return true;
}

/* --- replays of what is rendered from events --- */

/* The loaded batch borrows from rows until the next one is loaded. */
static void keep_rows(struct store *store, struct pg_rows *rows)
{
    CHECK(store->results_count < STORE_RESULTS_MAX);
    store->results[store->results_count++] = rows;
}

/* Events at the positions that the open array argument names; `nr` in a row counts them from 1. */
static enum store_status fetch_events(struct store *store, size_t count, int64_t deadline_us,
                                      const struct pg_rows **ret)
{
    struct pg_rows *rows = NULL;
    enum pg_status status = pg_call(store->pg, SQL_ISSUED, &store->args, deadline_us, &rows);
    if (status == PG_REFUSED)
        return store_rolled_back(store);
    if (status != PG_OK)
        return STORE_LOST;
    keep_rows(store, rows);
    *ret = rows;
    return (size_t)pg_rows_count(rows) == count ? STORE_OK : store_end(store, STORE_BROKEN, deadline_us);
}

static void fetch_begin(struct store *store, const struct batch *batch)
{
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, batch->slice);
    pg_array_begin(&store->args, PG_INT8);
}

/* Which event of a record is wanted: its effect, or the CouponIssued of the coupon that the effect is about.
 */
enum fetched { FETCH_EFFECT, FETCH_ISSUED };

static int64_t fetch_position(const struct request_record *record, enum fetched what)
{
    struct position at = {0, 0};
    if (!record || record->answer.ptr)
        return 0;
    if (what == FETCH_EFFECT)
        return record->position;
    return coupon_concerned(&record->effect) && coupon_id_parse(record->effect.coupon_id, &at) ? at.position
                                                                                               : 0;
}

static enum store_status load_events(struct store *store, struct batch *batch, enum fetched what,
                                     int64_t deadline_us)
{
    size_t asked[BATCH_MAX], count = 0;
    const struct pg_rows *rows = NULL;
    fetch_begin(store, batch);
    for (size_t i = 0; i < batch->count; i++) {
        int64_t position = fetch_position(batch->records[i], what);
        if (position == 0)
            continue;
        pg_array_i64(&store->args, position);
        asked[count++] = i;
    }
    pg_array_end(&store->args);
    enum store_status status = count ? fetch_events(store, count, deadline_us, &rows) : STORE_OK;
    if (status != STORE_OK || count == 0)
        return status;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct request_record *record = batch->records[asked[pg_i64(rows, row, 0) - 1]];
        struct event *event = what == FETCH_EFFECT ? &record->effect : &record->issued;
        if (event_log_row(rows, row, 1, &batch->arena, event) != CODEC_OK)
            return store_end(store, STORE_BROKEN, deadline_us);
    }
    return STORE_OK;
}

/* The same for one command for many users. */
static enum store_status load_issued_many(struct store *store, struct batch *batch, int64_t deadline_us)
{
    const size_t users = batch->commands[0]->issue_many.count;
    struct issue_result *results = batch_alloc(batch, users * sizeof *results), *asked[ISSUE_MANY_MAX];
    const struct pg_rows *rows;
    size_t count = 0;
    if (!answer_recall(batch->commands[0], batch->records[0], results))
        return store_end(store, STORE_BROKEN, deadline_us);
    fetch_begin(store, batch);
    for (size_t i = 0; i < users; i++) {
        if (results[i].refusal)
            continue;
        pg_array_i64(&store->args, results[i].coupon.at.position);
        asked[count++] = &results[i];
    }
    pg_array_end(&store->args);
    enum store_status status = fetch_events(store, count, deadline_us, &rows);
    for (int row = 0; status == STORE_OK && row < pg_rows_count(rows); row++) {
        struct event issued;
        if (event_log_row(rows, row, 1, &batch->arena, &issued) != CODEC_OK)
            return store_end(store, STORE_BROKEN, deadline_us);
        asked[pg_i64(rows, row, 0) - 1]->coupon = coupon_from_event(&issued);
    }
    return status;
}

/* Another payload under the same key is refused and needs nothing; only the same one is answered again. */
static bool replays_many(const struct batch *batch)
{
    const struct command *command = batch->commands[0];
    return command->kind == COMMAND_ISSUE_MANY && batch->records[0] &&
           memcmp(batch->records[0]->fingerprint, command->fingerprint, FINGERPRINT_BYTES) == 0;
}

/* --- the round trip --- */

enum store_status store_abandon(struct store *store, int64_t deadline_us)
{
    return store_end(store, STORE_BUSY, deadline_us);
}

/* Statements of the round, and what takes their rows, in order. */
typedef bool taker(struct batch *batch, const struct pg_rows *rows);
struct round {
    taker *takers[12];
    size_t count;
};

static void expect(struct round *round, taker *take)
{
    CHECK(round->count < COUNT_OF(round->takers));
    round->takers[round->count++] = take;
}

static bool any_of(const struct batch *batch, enum command_subject subject)
{
    for (size_t i = 0; i < batch->count; i++)
        if (command_subject(batch->commands[i]->kind) == subject)
            return true;
    return false;
}

static void send_subjects(struct store *store, const struct batch *batch, struct round *round)
{
    if (batch->campaigns_count) {
        send_campaigns(store, batch);
        expect(round, take_campaigns);
    }
    if (batch->coupons_count) {
        send_coupons(store, batch, SQL_COUPON_CAMPAIGNS);
        expect(round, take_campaigns);
        send_coupons(store, batch, SQL_COUPONS);
        expect(round, take_coupons);
    }
    if (any_of(batch, SUBJECT_SLICE)) {
        send_void(store, batch, SQL_VOID_FOUND);
        expect(round, take_void_found);
        send_void(store, batch, SQL_VOIDABLE);
        expect(round, take_campaigns);
    }
    if (batch->quotas_count) {
        send_quotas(store, batch);
        expect(round, take_quotas);
    }
    if (batch->holdings_count) {
        send_holdings(store, batch);
        expect(round, take_holdings);
    }
}

/* The day of the quotas came from a later look at the clock than the time of the events: at midnight they may
 * differ, and a campaign would be counted on the wrong day for good. Then the batch is done again. */
static bool quotas_are_of_today(const struct batch *batch)
{
    bool same = true;
    struct buf now;
    buf_init(&now, 64);
    time_format(&now, batch->now_us);
    for (size_t i = 0; i < batch->quotas_count; i++) /* "2026-11-25" is what both begin with */
        same = same && (span_equal(batch->quotas[i].scope, QUOTA_OPEN_STOCK) ||
                        span_starts(buf_span(&now), batch->quotas[i].day));
    buf_deinit(&now);
    return same;
}

static enum store_status take_round(struct store *store, struct batch *batch, const struct round *round,
                                    int64_t deadline_us)
{
    enum { BEGUN, LOCKED, NOW, HEADER };
    struct pg_rows *rows[HEADER + COUNT_OF(round->takers)] = {NULL};
    enum pg_status status = store_receive(store, HEADER + round->count, rows, deadline_us);
    for (size_t i = 0; i < HEADER + round->count; i++)
        keep_rows(store, rows[i]);
    if (status == PG_REFUSED)
        return store_rolled_back(store);
    if (status != PG_OK)
        return STORE_LOST;
    bool good = take_slice(batch, rows[LOCKED], rows[NOW]);
    for (size_t i = 0; good && i < round->count; i++)
        good = round->takers[i](batch, rows[HEADER + i]);
    if (!good)
        return store_end(store, STORE_BROKEN, deadline_us);
    return quotas_are_of_today(batch) ? STORE_OK : store_end(store, STORE_BUSY, deadline_us);
}

enum store_status store_load(struct store *store, struct batch *batch, int64_t deadline_us)
{
    struct round round = {.count = 0};
    store_forget(store);
    pg_send(store->pg, SQL_BEGIN, NULL);
    send_lock(store, batch);
    pg_send(store->pg, SQL_NOW, NULL);
    send_subjects(store, batch, &round);
    send_requests(store, batch);
    expect(&round, take_requests);
    if (any_of(batch, SUBJECT_REQUEST)) {
        send_lookups(store, batch);
        expect(&round, take_requests);
    }
    pg_sync(store->pg);
    enum store_status status = take_round(store, batch, &round, deadline_us);
    if (status != STORE_OK)
        return status;
    if (replays_many(batch))
        return load_issued_many(store, batch, deadline_us);
    if (batch->commands[0]->kind == COMMAND_VOID && batch->records[0] &&
        !answer_recall(batch->commands[0], batch->records[0], NULL))
        return store_end(store, STORE_BROKEN, deadline_us);
    status = load_events(store, batch, FETCH_EFFECT, deadline_us);
    return status == STORE_OK ? load_events(store, batch, FETCH_ISSUED, deadline_us) : status;
}
