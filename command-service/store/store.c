/* SPDX-License-Identifier: Apache-2.0 */
/* The SQL of the write side. Which round trips it travels in: store_load.c and store_append.c.
 *
 * READ COMMITTED on purpose: each statement takes its snapshot after the lock was granted, so it sees
 * everything the former holder of the lock committed. Probes are LATERAL ... LIMIT 1 over unnested arrays,
 * because a plan for "= ANY" turns into a sequential scan on a database that was never analysed. */
#include "command-service/store/internal.h"

#include "command-service/store/campaign_row.h"
#include "events/event_log.h"

/* $1 slice, $2 created by, $3 before, $4 after; 5 is CAMPAIGN_DELETED. */
#define VOID_CONDITION                                                                                \
    "c.slice = $1::smallint AND c.status <> 5 AND ($2::text IS NULL OR c.created_by = $2::text) AND " \
    "($3::timestamptz IS NULL OR c.created_at < $3::timestamptz) AND ($4::timestamptz IS NULL OR "    \
    "c.created_at > $4::timestamptz)"

static const struct pg_statement statements[SQL_COUNT] = {
    /* Also whether it accepts writes at all: an idle connection would not notice that it no longer does. */
    [SQL_DURABLE] =
        {"durable",
         "SELECT current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off' AND "
         "current_setting('transaction_read_only') = 'off'"},
    /* Who waits for its client with a transaction open. Nobody who is at work, nor who waits for a standby in
     * COMMIT: that one's effects would become visible without being safe. */
    [SQL_EVICT] =
        {"evict",
         "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = current_user "
         "AND application_name = current_setting('application_name') AND pid <> pg_backend_pid() AND "
         "wait_event = 'ClientRead' AND clock_timestamp() - state_change > interval '300 ms' AND "
         "clock_timestamp() - xact_start > interval '900 ms'"},
    [SQL_BEGIN] = {"begin", "BEGIN ISOLATION LEVEL READ COMMITTED"},
    /* In ascending order, so that two transactions that need two slices cannot deadlock. */
    [SQL_LOCK] = {"lock",
                  "SELECT slice, head, chain, recorded_at FROM slice WHERE slice = ANY ($1::smallint[]) "
                  "ORDER BY slice FOR UPDATE"},
    /* For who only asks what became of a request: nobody has to wait for that. */
    [SQL_LOOK] = {"look",
                  "SELECT slice, head, chain, recorded_at FROM slice WHERE slice = ANY ($1::smallint[])"},
    /* A statement of its own: evaluated after the lock was granted. */
    [SQL_NOW] = {"now", "SELECT clock_timestamp()"},
    [SQL_CAMPAIGNS] = {"campaigns",
                       "SELECT " CAMPAIGN_COLUMNS " FROM unnest($2::text[]) AS w(id) CROSS JOIN LATERAL "
                       "(SELECT * FROM campaign c WHERE c.slice = $1::smallint AND c.id = w.id LIMIT 1) c"},
    [SQL_COUPONS] =
        {"coupons",
         "SELECT w.nr, " LOG_COLUMNS ", k.state, k.last, k.changed_at, k.order_id, k.order_amount, "
         "k.discount_amount, k.reserved_until, k.reason FROM unnest($2::bigint[]) WITH ORDINALITY AS "
         "w(position, nr) CROSS JOIN LATERAL (SELECT * FROM event e WHERE e.slice = $1::smallint AND "
         "e.position = w.position AND e.type = 6 LIMIT 1) e LEFT JOIN LATERAL (SELECT * FROM coupon k WHERE "
         "k.slice = $1::smallint AND k.position = w.position LIMIT 1) k ON true"},
    /* The campaigns of coupons, by the coupons, because only their events say which. */
    [SQL_COUPON_CAMPAIGNS] =
        {"campaigns_of_coupons",
         "SELECT " CAMPAIGN_COLUMNS " FROM (SELECT DISTINCT e.campaign_id FROM unnest($2::bigint[]) AS "
         "w(position) CROSS JOIN LATERAL (SELECT e.campaign_id FROM event e WHERE e.slice = $1::smallint AND "
         "e.position = w.position AND e.type = 6 LIMIT 1) e) w CROSS JOIN LATERAL (SELECT * FROM campaign c "
         "WHERE c.slice = $1::smallint AND c.id = w.campaign_id LIMIT 1) c"},
    [SQL_VOID_FOUND] =
        {"void_found",
         "SELECT count(*), count(*) FILTER (WHERE c.issued = 0) FROM campaign c WHERE " VOID_CONDITION},
    [SQL_VOIDABLE] = {"voidable", "SELECT " CAMPAIGN_COLUMNS " FROM campaign c WHERE " VOID_CONDITION
                                  " AND c.issued = 0 ORDER BY c.slice, c.id LIMIT $5::bigint"},
    /* Makes the rows that are not there yet, and locks all, in the order they are given in. */
    [SQL_QUOTAS] =
        {"quotas",
         "INSERT INTO creation_quota AS q (slice, scope, day, used) SELECT 0, w.scope, CASE w.scope WHEN '#' "
         "THEN 'epoch'::date ELSE (clock_timestamp() AT TIME ZONE 'UTC')::date END, 0 FROM "
         "unnest($1::text[]) AS w(scope) ON CONFLICT (slice, scope, day) DO UPDATE SET used = q.used "
         "RETURNING q.scope, q.day::text, q.used"},
    [SQL_REQUESTS] =
        {"requests",
         "SELECT w.nr, i.fingerprint, i.status, i.position, i.answer FROM "
         "unnest($1::smallint[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS w(slice, key_hash, operation, "
         "nr) CROSS JOIN LATERAL (SELECT * FROM idempotency i WHERE i.slice = w.slice AND i.key_hash = "
         "w.key_hash AND i.operation = w.operation LIMIT 1) i"},
    /* For who knows the key but not what it was used for. */
    [SQL_LOOKUPS] =
        {"lookups",
         "SELECT w.nr, i.fingerprint, i.status, i.position, i.answer FROM unnest($2::uuid[]) WITH ORDINALITY "
         "AS w(key_hash, nr) CROSS JOIN LATERAL (SELECT * FROM idempotency i WHERE i.slice = $1::smallint "
         "AND "
         "i.key_hash = w.key_hash ORDER BY i.recorded_at DESC LIMIT 1) i"},
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
         "released, issued, status, plan_done, first, position, due_at) SELECT $1::smallint, n.id, "
         "$2::timestamptz, n.b, n.v, n.d, n.q, n.r, n.i, n.s, n.pl, n.f, n.p, n.due FROM unnest($3::text[], "
         "$4::text[], $5::smallint[], $6::bytea[], $7::bigint[], $8::bigint[], $9::bigint[], "
         "$10::smallint[], $11::smallint[], $12::bigint[], $13::bigint[], $14::timestamptz[]) AS n(id, b, v, "
         "d, q, r, i, s, pl, f, p, due)"},
    /* By ctid, which cannot change under the slice lock: joined by id, the planner reads all of the slice's
     * campaigns to update one. */
    [SQL_CHANGED_CAMPAIGNS] =
        {"changed_campaigns",
         "UPDATE campaign c SET released = n.r, issued = n.i, status = n.s, plan_done = n.pl, "
         "position = n.p, redeemed = n.rd, reserved = n.rs, plan_halted = n.h <> 0, due_at = n.due FROM "
         "(SELECT l.at, w.* FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::smallint[], "
         "$6::smallint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::smallint[], $11::timestamptz[]) AS "
         "w(id, r, i, s, pl, p, rd, rs, h, due) CROSS JOIN LATERAL "
         "(SELECT c.ctid AS at FROM campaign c WHERE c.slice = $1::smallint AND c.id = w.id LIMIT 1) l) AS n "
         "WHERE c.ctid = n.at"},
    [SQL_COUPON_STATES] =
        {"states_of_coupons",
         "INSERT INTO coupon (slice, position, campaign_id, state, last, changed_at, order_id, order_amount, "
         "discount_amount, reserved_until, reason) SELECT $1::smallint, n.* FROM unnest($2::bigint[], "
         "$3::text[], $4::smallint[], $5::bigint[], $6::timestamptz[], $7::text[], $8::bigint[], "
         "$9::bigint[], $10::timestamptz[], $11::text[]) AS n ON CONFLICT (slice, position) DO UPDATE SET "
         "state = excluded.state, last = excluded.last, changed_at = excluded.changed_at, order_id = "
         "excluded.order_id, order_amount = excluded.order_amount, discount_amount = "
         "excluded.discount_amount, reserved_until = excluded.reserved_until, reason = excluded.reason"},
    [SQL_CONTROL] =
        {"control",
         "INSERT INTO control (slice, kind, name, value, position) SELECT $1::smallint, n.* FROM "
         "unnest($2::smallint[], $3::text[], $4::text[], $5::bigint[]) AS n ON CONFLICT (slice, kind, name) "
         "DO UPDATE SET value = excluded.value, position = excluded.position"},
    [SQL_QUOTAS_USED] =
        {"quotas_used",
         "UPDATE creation_quota q SET used = n.used FROM unnest($1::text[], $2::text[], $3::bigint[]) AS "
         "n(scope, day, used) WHERE q.slice = 0 AND q.scope = n.scope AND q.day = n.day::date"},
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

void store_forget(struct store *store)
{
    for (size_t i = 0; i < store->results_count; i++)
        pg_rows_destroy(store->results[i]);
    store->results_count = 0;
}

void store_destroy(struct store *store)
{
    if (!store)
        return;
    store_forget(store);
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

int64_t store_evict(struct store *store, int64_t deadline_us)
{
    struct pg_rows *rows = NULL;
    int64_t count = pg_call(store->pg, SQL_EVICT, NULL, deadline_us, &rows) == PG_OK ? pg_i64(rows, 0, 0) : 0;
    pg_rows_destroy(rows);
    return count;
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

enum store_status store_end(struct store *store, enum store_status status, int64_t deadline_us)
{
    struct pg_rows *rows = NULL;
    enum pg_status ended = pg_call(store->pg, SQL_ROLLBACK, NULL, deadline_us, &rows);
    pg_rows_destroy(rows);
    return ended == PG_OK ? status : STORE_LOST;
}

enum store_status store_rolled_back(const struct store *store)
{
    return classify(pg_sqlstate(store->pg));
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
