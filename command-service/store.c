/* SPDX-License-Identifier: Apache-2.0 */
/* The SQL of the write side, and which round trips it travels in.
 *
 * READ COMMITTED on purpose: each statement takes its snapshot after the lock was granted, so it sees
 * everything the former holder of the lock committed. Probes are LATERAL ... LIMIT 1 over unnested arrays,
 * because a plan for "= ANY" turns into a sequential scan on a database that was never analysed. */
#include "command-service/store_internal.h"

#include "events/event_log.h"

static const struct pg_statement statements[SQL_COUNT] = {
    /* Also whether it accepts writes at all: an idle connection would not notice that it no longer does. */
    [SQL_DURABLE] =
        {"durable",
         "SELECT current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off' AND "
         "current_setting('transaction_read_only') = 'off'"},
    [SQL_BEGIN] = {"begin", "BEGIN ISOLATION LEVEL READ COMMITTED"},
    /* In ascending order, so that two transactions that need two slices cannot deadlock. */
    [SQL_LOCK] = {"lock",
                  "SELECT slice, head, chain, recorded_at FROM slice WHERE slice = ANY ($1::smallint[]) "
                  "ORDER BY slice FOR UPDATE"},
    /* A statement of its own: evaluated after the lock was granted. */
    [SQL_NOW] = {"now", "SELECT clock_timestamp()"},
    [SQL_CAMPAIGNS] =
        {"campaigns",
         "SELECT w.nr, c.created_at, c.version, c.definition, c.released, c.issued, c.status, c.plan_done, "
         "c.first, c.position FROM unnest($2::text[]) WITH ORDINALITY AS w(id, nr) CROSS JOIN LATERAL "
         "(SELECT * FROM campaign c WHERE c.slice = $1::smallint AND c.id = w.id LIMIT 1) c"},
    [SQL_REQUESTS] =
        {"requests",
         "SELECT w.nr, i.fingerprint, i.status, i.position, i.answer FROM "
         "unnest($1::smallint[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS w(slice, key_hash, operation, "
         "nr) CROSS JOIN LATERAL (SELECT * FROM idempotency i WHERE i.slice = w.slice AND i.key_hash = "
         "w.key_hash AND i.operation = w.operation LIMIT 1) i"},
    [SQL_HOLDINGS] =
        {"holdings",
         "SELECT w.nr, e.nth, e.position FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS "
         "w(campaign_id, user_id, nr) CROSS JOIN LATERAL (SELECT e.nth, e.position FROM event e WHERE "
         "e.slice = $1::smallint AND e.user_id = w.user_id AND e.campaign_id = w.campaign_id AND e.type = 6 "
         "ORDER BY e.nth LIMIT 100) e ORDER BY 1, 2"},
    [SQL_ISSUED] = {"issued",
                    "SELECT w.nr, " LOG_COLUMNS
                    " FROM unnest($2::bigint[]) WITH ORDINALITY AS w(position, nr) "
                    "CROSS JOIN LATERAL (SELECT * FROM event e WHERE e.slice = $1::smallint AND e.position = "
                    "w.position LIMIT 1) e"},
    [SQL_APPEND] =
        {"append",
         "INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id, nth, "
         "recorded_at, trace, data) SELECT $1::smallint, n.p, n.t, n.v, n.c, n.u, n.k, n.nth, "
         "$2::timestamptz, n.tr, n.d FROM unnest($3::bigint[], $4::smallint[], $5::smallint[], $6::text[], "
         "$7::text[], $8::text[], $9::smallint[], $10::bytea[], $11::bytea[]) AS n(p, t, v, c, u, k, nth, "
         "tr, d)"},
    [SQL_REMEMBER] =
        {"remember",
         "INSERT INTO idempotency (slice, key_hash, operation, fingerprint, status, position, answer, "
         "recorded_at) SELECT n.s, n.k, n.o, n.f, n.st, n.p, n.a, $1::timestamptz FROM "
         "unnest($2::smallint[], $3::uuid[], $4::bigint[], $5::uuid[], $6::smallint[], $7::bigint[], "
         "$8::bytea[]) AS n(s, k, o, f, st, p, a)"},
    [SQL_NEW_CAMPAIGNS] =
        {"new_campaigns",
         "INSERT INTO campaign (slice, id, created_at, created_by, version, definition, quantity, "
         "released, issued, status, plan_done, first, position) SELECT $1::smallint, n.id, "
         "$2::timestamptz, n.b, n.v, n.d, n.q, n.r, n.i, n.s, n.pl, n.f, n.p FROM unnest($3::text[], "
         "$4::text[], $5::smallint[], $6::bytea[], $7::bigint[], $8::bigint[], $9::bigint[], "
         "$10::smallint[], $11::smallint[], $12::bigint[], $13::bigint[]) AS n(id, b, v, d, q, r, i, "
         "s, pl, f, p)"},
    /* By ctid, which cannot change under the slice lock: joined by id, the planner reads all of the slice's
     * campaigns to update one. */
    [SQL_CHANGED_CAMPAIGNS] =
        {"changed_campaigns",
         "UPDATE campaign c SET released = n.r, issued = n.i, status = n.s, plan_done = n.pl, "
         "position = n.p FROM (SELECT l.at, w.* FROM unnest($2::text[], $3::bigint[], $4::bigint[], "
         "$5::smallint[], $6::smallint[], $7::bigint[]) AS w(id, r, i, s, pl, p) CROSS JOIN LATERAL "
         "(SELECT c.ctid AS at FROM campaign c WHERE c.slice = $1::smallint AND c.id = w.id LIMIT 1) l) AS n "
         "WHERE c.ctid = n.at"},
    [SQL_RUNS] =
        {"runs",
         "INSERT INTO issue_run (slice, campaign_id, first_sequence, first_position, last_position) "
         "SELECT $1::smallint, n.c, n.s, n.f, n.l FROM unnest($2::text[], $3::bigint[], $4::bigint[], "
         "$5::bigint[]) AS n(c, s, f, l)"},
    [SQL_BATCH] =
        {"batch",
         "INSERT INTO batch (slice, first, last, chain, recorded_at) VALUES ($1::smallint, $2::bigint, "
         "$3::bigint, $4::bytea, $5::timestamptz)"},
    [SQL_HEAD] =
        {"head", "UPDATE slice SET head = $2::bigint, chain = $3::bytea, recorded_at = $4::timestamptz WHERE "
                 "slice = $1::smallint"},
    [SQL_COMMIT] = {"commit", "COMMIT"},
    [SQL_ROLLBACK] = {"rollback", "ROLLBACK"},
};

struct store *store_create(const char *database_url)
{
    struct store *store = mem_zalloc(sizeof *store);
    store->pg = pg_create(&(struct pg_options){
        .url = database_url,
        .role = "firstcome_command",
        .application = "firstcome command",
        .statement_timeout_ms = 800,
        .lock_timeout_ms = 300,
        .idle_in_transaction_timeout_ms = 1000,
        .read_write = true,
        .statements = statements,
        .statements_count = SQL_COUNT,
    });
    pg_args_init(&store->args);
    return store;
}

void store_destroy(struct store *store)
{
    if (!store)
        return;
    pg_destroy(store->pg);
    pg_args_deinit(&store->args);
    mem_free(store);
}

enum store_status store_check(struct store *store, int64_t deadline_us)
{
    struct pg_rows *rows = NULL;
    enum pg_status status = pg_call(store->pg, SQL_DURABLE, NULL, deadline_us, &rows);
    bool durable = status == PG_OK && pg_i64(rows, 0, 0);
    pg_rows_destroy(rows);
    if (durable)
        return STORE_OK;
    if (status == PG_OK)
        store->fault =
            "read-only, or fsync or synchronous_commit is off, so that a commit would not be durable";
    pg_disconnect(store->pg);
    return STORE_LOST;
}

enum store_status store_connect(struct store *store, int64_t deadline_us)
{
    store->fault = NULL;
    return pg_connect(store->pg, deadline_us) == PG_OK ? store_check(store, deadline_us) : STORE_LOST;
}

bool store_connected(const struct store *store)
{
    return pg_connected(store->pg);
}

const char *store_error(const struct store *store)
{
    return store->fault ? store->fault : pg_error(store->pg);
}

/* What a refused statement means for the batch. Classes by SQLSTATE, see appendix A of the PostgreSQL manual.
 */
static enum store_status classify(const char *sqlstate)
{
    static const struct {
        const char *prefix;
        enum store_status status;
    } classes[] = {
        {"55P03", STORE_BUSY}, {"57014", STORE_BUSY}, {"40", STORE_BUSY},
        {"53100", STORE_FULL}, {"53", STORE_BUSY},
    };
    for (size_t i = 0; i < COUNT_OF(classes); i++)
        if (strncmp(sqlstate, classes[i].prefix, strlen(classes[i].prefix)) == 0)
            return classes[i].status;
    return STORE_BROKEN;
}

/* Ends the transaction without effect; `status` is why. */
static enum store_status abandon(struct store *store, enum store_status status, int64_t deadline_us)
{
    struct pg_rows *rows = NULL;
    enum pg_status ended = pg_call(store->pg, SQL_ROLLBACK, NULL, deadline_us, &rows);
    pg_rows_destroy(rows);
    return ended == PG_OK ? status : STORE_LOST;
}

enum store_status store_rolled_back(struct store *store, int64_t deadline_us)
{
    return abandon(store, classify(pg_sqlstate(store->pg)), deadline_us);
}

enum pg_status store_receive(struct store *store, size_t count, struct pg_rows **ret, int64_t deadline_us)
{
    enum pg_status worst = PG_OK;
    for (size_t i = 0; i < count; i++) {
        enum pg_status status = pg_receive(store->pg, deadline_us, &ret[i]);
        if (status != PG_OK)
            worst = status;
        if (status == PG_LOST || status == PG_TIMEOUT)
            break;
    }
    return worst;
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
    pg_send(store->pg, SQL_LOCK, &store->args);
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
    pg_args_reset(args);
    pg_array_begin(args, PG_INT2);
    for (size_t i = 0; i < batch->count; i++)
        pg_array_i16(args, batch->commands[i]->request_slice);
    pg_array_end(args);
    pg_array_begin(args, PG_UUID);
    for (size_t i = 0; i < batch->count; i++)
        pg_array_bytes(args, store_key_hash(&batch->commands[i]->id));
    pg_array_end(args);
    pg_array_begin(args, PG_INT8);
    for (size_t i = 0; i < batch->count; i++)
        pg_array_i64(args, store_operation(&batch->commands[i]->id));
    pg_array_end(args);
    pg_send(store->pg, SQL_REQUESTS, args);
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

static bool take_campaigns(struct batch *batch, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct loaded_campaign *loaded = batch->campaign_list[pg_i64(rows, row, 0) - 1];
        struct event created = {
            .type = EVENT_CampaignCreated,
            .version = (int16_t)pg_i64(rows, row, 2),
            .data = pg_bytes(rows, row, 3),
        };
        if (event_decode(&created, &batch->arena) != CODEC_OK)
            return false;
        struct campaign *campaign = &loaded->campaign;
        loaded->exists = true;
        campaign->definition = created.campaign_created;
        campaign->created_at_us = pg_time(rows, row, 1);
        campaign->released = pg_i64(rows, row, 4);
        campaign->issued = pg_i64(rows, row, 5);
        campaign->state = (enum campaign_state)pg_i64(rows, row, 6);
        campaign->plan_done = pg_i64(rows, row, 7);
        campaign->first = pg_i64(rows, row, 8);
        campaign->position = pg_i64(rows, row, 9);
    }
    return true;
}

static void take_requests(struct batch *batch, const struct pg_rows *rows)
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
}

static void take_holdings(struct batch *batch, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct holding *held = batch->holding_list[pg_i64(rows, row, 0) - 1];
        held->positions[held->count++] = pg_i64(rows, row, 2);
    }
}

/* The CouponIssued events at the positions that the open array argument names; `nr` in a row counts them
 * from 1. */
static enum store_status fetch_issued(struct store *store, struct batch *batch, size_t count,
                                      int64_t deadline_us, const struct pg_rows **ret)
{
    struct pg_rows *rows = NULL;
    enum pg_status status = pg_call(store->pg, SQL_ISSUED, &store->args, deadline_us, &rows);
    if (status == PG_REFUSED)
        return store_rolled_back(store, deadline_us);
    if (status != PG_OK)
        return STORE_LOST;
    batch->results[batch->results_count++] = rows;
    *ret = rows;
    return (size_t)pg_rows_count(rows) == count ? STORE_OK : abandon(store, STORE_BROKEN, deadline_us);
}

/* A replay that is rendered from its event, where the first answer was not kept. */
static bool needs_event(const struct batch *batch, size_t index)
{
    return batch->records[index] && !batch->records[index]->answer.ptr;
}

/* Replays of issued coupons are rendered from their event: a second round trip, only when there are any. */
static enum store_status load_issued(struct store *store, struct batch *batch, int64_t deadline_us)
{
    size_t asked[BATCH_MAX], count = 0;
    const struct pg_rows *rows;
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, batch->slice);
    pg_array_begin(&store->args, PG_INT8);
    for (size_t i = 0; i < batch->count; i++) {
        if (!needs_event(batch, i))
            continue;
        pg_array_i64(&store->args, batch->records[i]->position);
        asked[count++] = i;
    }
    pg_array_end(&store->args);
    enum store_status status = count ? fetch_issued(store, batch, count, deadline_us, &rows) : STORE_OK;
    if (status != STORE_OK || count == 0)
        return status;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct request_record *record = batch->records[asked[pg_i64(rows, row, 0) - 1]];
        if (event_log_row(rows, row, 1, &batch->arena, &record->issued) != CODEC_OK)
            return abandon(store, STORE_BROKEN, deadline_us);
    }
    return STORE_OK;
}

/* The same for one command for many users. */
static enum store_status load_issued_many(struct store *store, struct batch *batch, int64_t deadline_us)
{
    const size_t users = batch->commands[0]->users_count;
    struct issue_result *results = batch_outcome_read(batch), *asked[ISSUE_MANY_MAX];
    const struct pg_rows *rows;
    size_t count = 0;
    if (!results)
        return abandon(store, STORE_BROKEN, deadline_us);
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, batch->slice);
    pg_array_begin(&store->args, PG_INT8);
    for (size_t i = 0; i < users; i++) {
        if (results[i].refusal)
            continue;
        pg_array_i64(&store->args, results[i].coupon.at.position);
        asked[count++] = &results[i];
    }
    pg_array_end(&store->args);
    enum store_status status = fetch_issued(store, batch, count, deadline_us, &rows);
    for (int row = 0; status == STORE_OK && row < pg_rows_count(rows); row++) {
        struct event issued;
        if (event_log_row(rows, row, 1, &batch->arena, &issued) != CODEC_OK)
            return abandon(store, STORE_BROKEN, deadline_us);
        asked[pg_i64(rows, row, 0) - 1]->coupon = coupon_from_event(&issued);
    }
    batch->records[0]->results = results;
    return status;
}

/* Another payload under the same key is refused and needs nothing; only the same one is answered again. */
static bool replays_many(const struct batch *batch)
{
    const struct command *command = batch->commands[0];
    return command->kind == COMMAND_ISSUE_MANY && batch->records[0] &&
           memcmp(batch->records[0]->fingerprint, command->fingerprint, FINGERPRINT_BYTES) == 0;
}

enum store_status store_abandon(struct store *store, int64_t deadline_us)
{
    return abandon(store, STORE_BUSY, deadline_us);
}

enum store_status store_load(struct store *store, struct batch *batch, int64_t deadline_us)
{
    enum { BEGUN, LOCKED, NOW, CAMPAIGNS, REQUESTS, HOLDINGS, ROUND };
    struct pg_rows *rows[ROUND] = {NULL};
    pg_send(store->pg, SQL_BEGIN, NULL);
    send_lock(store, batch);
    pg_send(store->pg, SQL_NOW, NULL);
    send_campaigns(store, batch);
    send_requests(store, batch);
    send_holdings(store, batch);
    pg_sync(store->pg);
    enum pg_status status = store_receive(store, ROUND, rows, deadline_us);
    for (size_t i = 0; i < ROUND; i++)
        batch->results[batch->results_count++] = rows[i];
    if (status == PG_REFUSED)
        return store_rolled_back(store, deadline_us);
    if (status != PG_OK)
        return STORE_LOST;
    if (!take_slice(batch, rows[LOCKED], rows[NOW]) || !take_campaigns(batch, rows[CAMPAIGNS]))
        return abandon(store, STORE_BROKEN, deadline_us);
    take_requests(batch, rows[REQUESTS]);
    take_holdings(batch, rows[HOLDINGS]);
    return replays_many(batch) ? load_issued_many(store, batch, deadline_us)
                               : load_issued(store, batch, deadline_us);
}
