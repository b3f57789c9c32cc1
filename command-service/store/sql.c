/* SPDX-License-Identifier: Apache-2.0 */
/* The SQL of the write side. Which round trips it travels in: load.c and append.c.
 *
 * READ COMMITTED on purpose: each statement takes its snapshot after the lock was granted, so it sees
 * everything the former holder of the lock committed. Probes are LATERAL ... LIMIT 1 over unnested arrays,
 * because a plan for "= ANY" turns into a sequential scan on a database that was never analysed.
 *
 * Every statement of a transaction is about one slice, which is its parameter $1: nothing of another is
 * locked, read or written, and no partition of another is touched (a test looks at the plans). */
#include "command-service/store/campaign_row.h"
#include "command-service/store/internal.h"
#include "events/event_log.h"

/* $1 slice, $2 created by, $3 before, $4 after; 5 is CAMPAIGN_DELETED. */
#define VOID_CONDITION                                                                                \
    "c.slice = $1::smallint AND c.status <> 5 AND ($2::text IS NULL OR c.created_by = $2::text) AND " \
    "($3::timestamptz IS NULL OR c.created_at < $3::timestamptz) AND ($4::timestamptz IS NULL OR "    \
    "c.created_at > $4::timestamptz)"

/* A slice of events: the parameter, and the number itself, which store_statements_of() puts in. By the
 * parameter alone a plan would be of all sixteen partitions, made for ten milliseconds and locked by whoever
 * executes it; the number leaves one. */
#define HERE(name) "$1::smallint AND " name ".slice = " STORE_SLICE

/* An event by its position, as `name`. */
#define EVENT_AT(name, place)                                                                               \
    "LATERAL (SELECT x.position, x.type, x.version, x.campaign_id, x.user_id, x.coupon_id, x.recorded_at, " \
    "x.trace, x.data, x.slice FROM event x WHERE x.slice = " HERE("x") " AND x.position = " place           \
                                                                       " LIMIT 1) " name

/* What is to be said of request r, whose effect is at r.position: the event, unless the answer was kept, and
 * of an event about a coupon (10 to 15) the CouponIssued, whose place is in the coupon's id. */
#define REQUEST_COLUMNS                                                                                \
    "w.nr, r.fingerprint, r.position, r.answer, " LOG_COLUMNS                                          \
    ", i.position, i.type, i.version, i.campaign_id, i.user_id, i.coupon_id, i.recorded_at, i.trace, " \
    "i.data, i.slice"
#define REQUEST_EVENTS                                                                             \
    " LEFT JOIN " EVENT_AT("e", "r.position AND r.answer IS NULL") " ON true LEFT JOIN " EVENT_AT( \
        "i",                                                                                       \
        "CASE WHEN e.type BETWEEN 10 AND 15 THEN split_part(e.coupon_id, '-', 2)::bigint END") " ON true"

const struct pg_statement store_statements[SQL_COUNT] = {
    /* Also whether it accepts writes at all: an idle connection would not notice that it no longer does. And
     * whether it owns slice $1 and, where it is not to have all of them ($2), not all. */
    [SQL_DURABLE] =
        {"durable",
         "SELECT current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off' AND "
         "(current_setting('synchronous_commit') <> 'local' OR current_setting('synchronous_standby_names') "
         "= '') AND current_setting('transaction_read_only') = 'off', EXISTS (SELECT FROM slice s WHERE "
         "s.slice = "
         "$1::smallint) AND "
         "CASE WHEN $2::bool THEN true ELSE (SELECT count(*) < 16 FROM slice) END"},
    /* For the rest of the transaction: only who logged in as somebody may see and end that one's sessions. */
    [SQL_AS_LOGIN] = {"as_login", "SELECT set_config('role', 'none', true)"},
    /* Who waits for its client with a transaction open. Nobody who is at work, nor who waits for a standby in
     * COMMIT: that one's effects would become visible without being safe. */
    [SQL_EVICT] =
        {"evict",
         "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() "
         "AND usename = session_user "
         "AND application_name = current_setting('application_name') AND pid <> pg_backend_pid() AND "
         "wait_event = 'ClientRead' AND clock_timestamp() - state_change > interval '300 ms' AND "
         "clock_timestamp() - xact_start > interval '900 ms'"},
    [SQL_BEGIN] = {"begin", "BEGIN ISOLATION LEVEL READ COMMITTED"},
    /* The clock is read outside of the part that is locked, and so after the lock was granted. */
    [SQL_LOCK] = {"lock", "SELECT s.*, clock_timestamp() FROM (SELECT head, chain, recorded_at, secret "
                          "FROM slice WHERE slice = $1::smallint FOR UPDATE) s"},
    [SQL_SECRET] = {"secret", "SELECT secret FROM slice WHERE slice = $1::smallint"},
    [SQL_CAMPAIGNS] =
        {"campaigns",
         "SELECT " CAMPAIGN_COLUMNS(
             HERE("w")) " FROM unnest($2::text[]) AS w(id) CROSS JOIN LATERAL "
                        "(SELECT * FROM campaign c WHERE c.slice = $1::smallint AND c.id = w.id LIMIT 1) c"},
    /* A coupon, what happened to it since, and its campaign, which only its event says; and the last thing
     * that happened to it, where $3 asks for that or it is redeemed: by which key. */
    [SQL_COUPONS] =
        {"coupons",
         "SELECT w.nr, " LOG_COLUMNS ", k.state, k.last, k.changed_at, k.order_id, k.order_amount, "
         "k.discount_amount, k.reserved_until, k.reason, " CAMPAIGN_COLUMNS(HERE(
             "w")) ", l.position, l.type, l.version, l.campaign_id, l.user_id, l.coupon_id, l.recorded_at, "
                   "l.trace, l.data, l.slice"
                   " FROM unnest($2::bigint[], $3::smallint[]) WITH ORDINALITY AS w(position, whose, nr) "
                   "CROSS JOIN " EVENT_AT(
                       "e",
                       "w.position") " LEFT JOIN LATERAL (SELECT * FROM coupon k WHERE k.slice = "
                                     "$1::smallint AND k.position = w.position "
                                     "LIMIT 1) k ON true LEFT JOIN LATERAL (SELECT * FROM campaign c "
                                     "WHERE c.slice = $1::smallint AND "
                                     "c.id = e.campaign_id LIMIT 1) c ON true LEFT JOIN " EVENT_AT(
                                         "l",
                                         "CASE WHEN w.whose = 1 OR k.state = 3 THEN k.last END") " ON true "
                                                                                                 "WHERE "
                                                                                                 "e.type = "
                                                                                                 "6"},
    [SQL_VOID_FOUND] =
        {"void_found",
         "SELECT count(*), count(*) FILTER (WHERE c.issued = 0) FROM campaign c WHERE " VOID_CONDITION},
    [SQL_VOIDABLE] = {"voidable", "SELECT " CAMPAIGN_COLUMNS(
                                      HERE("w")) " FROM campaign c WHERE " VOID_CONDITION
                                                 " AND c.issued = 0 ORDER BY c.slice, c.id LIMIT $5::bigint"},
    /* $3 days since 1970: the first that may matter; '#' has none. */
    [SQL_QUOTAS] =
        {"quotas",
         "SELECT w.nr, q.day - 'epoch'::date, q.used FROM unnest($2::text[]) WITH ORDINALITY AS w(scope, nr) "
         "CROSS JOIN LATERAL (SELECT q.day, q.used FROM creation_quota q WHERE q.slice = $1::smallint AND "
         "q.scope = "
         "w.scope AND (q.day = 'epoch'::date OR q.day >= 'epoch'::date + $3::bigint::int)) q"},
    [SQL_CLAIMS] = {"claims", "SELECT w.nr, c.attempt, c.fingerprint, c.campaign_id, f.attempt FROM "
                              "unnest($2::uuid[]) WITH ORDINALITY AS "
                              "w(key, nr) LEFT JOIN LATERAL (SELECT * FROM creation_claim c WHERE c.slice = "
                              "$1::smallint AND c.key = w.key "
                              "LIMIT 1) c ON true LEFT JOIN LATERAL (SELECT f.attempt FROM creation_fence f "
                              "WHERE f.slice = $1::smallint "
                              "AND f.key = w.key LIMIT 1) f ON true"},
    /* $2 keys; $3, $4 the same as effects without an event are found by, NULL for who has none. A range of
     * one key, in order: with "=" a plan made while the slice was empty goes through all of it by its primary
     * key and filters, for each key, for as long as the connection lives. */
    [SQL_REQUESTS] = {"requests",
                      "SELECT " REQUEST_COLUMNS
                      " FROM unnest($2::uuid[], $3::uuid[], $4::bigint[]) WITH ORDINALITY AS "
                      "w(key, key_hash, operation, nr) CROSS JOIN LATERAL ((SELECT "
                      "o.fingerprint, o.position, "
                      "o.answer FROM event o WHERE o.slice = " HERE(
                          "o") " AND o.key >= w.key "
                               "AND o.key <= w.key ORDER BY o.key LIMIT 1) UNION ALL (SELECT o.fingerprint, "
                               "o.position, o.answer FROM idempotency o WHERE o.slice = "
                               "$1::smallint AND o.key_hash = w.key_hash "
                               "AND o.operation = w.operation LIMIT 1) LIMIT 1) r" REQUEST_EVENTS},
    /* A range of one holder, in order, as above. $2 a user's first coupon of the campaign, without which
     * there is no other; $3, $4 all of the user's; $5 campaign, $6 user. OFFSET 0 keeps
     * the planner from beginning with the events. */
    [SQL_HOLDINGS] =
        {"holdings",
         "SELECT w.nr, h.nth, h.position FROM unnest($2::uuid[], $3::uuid[], "
         "$4::uuid[], $5::text[], $6::text[]) WITH ORDINALITY AS w(first, low, high, campaign_id, user_id, "
         "nr) CROSS JOIN LATERAL ("
         "SELECT e.nth, e.position FROM event e WHERE e.slice = " HERE(
             "e") " AND "
                  "e.holder >= w.low AND e.holder <= w.high "
                  "AND e.campaign_id = w.campaign_id AND e.user_id = w.user_id AND "
                  "(SELECT f.position FROM event f WHERE f.slice = " HERE(
                      "f") " AND f.holder >= w.first "
                           "AND f.holder <= w.first ORDER BY f.holder LIMIT 1) IS NOT NULL ORDER BY e.holder "
                           "OFFSET 0) h "
                           "ORDER BY 1, 2"},
    /* $2 campaigns, $3 first sequence of the last run that was read, $4 position of the last event, $5 how
     * many rows at most: what was issued of them since, in order. OFFSET 0, so that each run's events are
     * found by its ends: where statistics say that the log is empty, the planner would else read all of it
     * for each run. */
    [SQL_SEEN] =
        {"seen",
         "SELECT w.nr, h.run, h.position, h.holder, h.key FROM unnest($2::text[], $3::bigint[], "
         "$4::bigint[]) "
         "WITH ORDINALITY AS w(campaign_id, run, position, nr) CROSS JOIN LATERAL (SELECT r.first_sequence "
         "AS "
         "run, e.position, e.holder, e.key FROM (SELECT i.*, sum(i.last_position - i.first_position + 1) "
         "OVER "
         "(ORDER BY i.first_sequence) AS until FROM (SELECT i.first_sequence, i.first_position, "
         "i.last_position FROM issue_run i WHERE i.slice = $1::smallint AND i.campaign_id = w.campaign_id "
         "AND "
         "i.first_sequence >= w.run AND i.last_position > w.position ORDER BY i.first_sequence LIMIT "
         "$5::bigint) i) r CROSS JOIN LATERAL (SELECT e.position, e.holder, e.key FROM event e WHERE e.slice "
         "= " HERE("e") " AND e.position BETWEEN r.first_position AND r.last_position AND e.position > "
                        "w.position AND e.type + 0 = 6 AND e.campaign_id = w.campaign_id OFFSET 0) e WHERE "
                        "r.until - "
                        "(r.last_position "
                        "- r.first_position + 1) < $5::bigint ORDER BY r.first_sequence, e.position LIMIT "
                        "$5::bigint) h "
                        "ORDER BY w.nr, h.position"},
    [SQL_ISSUED] = {"issued", "SELECT w.nr, " LOG_COLUMNS " FROM unnest($2::bigint[]) WITH ORDINALITY AS "
                              "w(position, nr) CROSS JOIN " EVENT_AT("e", "w.position")},
    /* $3 position of the first. What all events of a batch have in common, as a crowd's have, comes once:
     * each array is a set of its own to the executor. */
    [SQL_APPEND] =
        {"append",
         "INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id, nth, "
         "recorded_at, trace, data, key, fingerprint, answer, holder) SELECT $1::smallint, "
         "$3::bigint + n.nr - 1, coalesce(n.t, $4::smallint), coalesce(n.v, $6::smallint), "
         "coalesce(n.c, $8::text), n.u, n.i, coalesce(n.nth, $12::smallint), $2::timestamptz, n.tr, "
         "n.d, n.k, n.f, n.a, n.h FROM unnest($5::smallint[], $7::smallint[], $9::text[], "
         "$10::text[], $11::text[], $13::smallint[], $14::bytea[], $15::bytea[], $16::uuid[], "
         "$17::uuid[], $18::bytea[], $19::uuid[]) WITH ORDINALITY AS n(t, v, c, u, i, nth, tr, d, k, "
         "f, a, h, nr)"},
    /* Effects without an event. */
    [SQL_REMEMBER] = {"remember", "INSERT INTO idempotency (slice, recorded_at, key_hash, operation, "
                                  "fingerprint, status, position, answer) SELECT "
                                  "$1::smallint, $2::timestamptz, n.* FROM unnest($3::uuid[], $4::bigint[], "
                                  "$5::uuid[], $6::smallint[], "
                                  "$7::bigint[], $8::bytea[]) AS n"},
    [SQL_NEW_CAMPAIGNS] = {"new_campaigns",
                           "INSERT INTO campaign (slice, created_at, id, created_by, version, definition, "
                           "quantity, released, issued, "
                           "status, plan_done, first, position, due_at) SELECT $1::smallint, "
                           "$2::timestamptz, n.* FROM unnest($3::text[], "
                           "$4::text[], $5::smallint[], $6::bytea[], $7::bigint[], $8::bigint[], "
                           "$9::bigint[], $10::smallint[], "
                           "$11::smallint[], $12::bigint[], $13::bigint[], $14::timestamptz[]) AS n"},
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
         "WHERE c.ctid = n.at AND c.slice = $1::smallint"},
    [SQL_REDEFINED_CAMPAIGNS] =
        {"redefined_campaigns",
         "UPDATE campaign c SET version = n.v, definition = n.d, quantity = n.q FROM unnest($2::text[], "
         "$3::smallint[], $4::bytea[], $5::bigint[]) AS n(id, v, d, q) WHERE c.slice = $1::smallint AND "
         "c.id = n.id"},
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
    /* $2 time: its day, but for '#', which has none. */
    [SQL_QUOTAS_USED] = {"quotas_used", "INSERT INTO creation_quota AS q (slice, scope, day, used) SELECT "
                                        "$1::smallint, n.scope, CASE n.scope WHEN '#' "
                                        "THEN 'epoch'::date ELSE ($2::timestamptz AT TIME ZONE 'UTC')::date "
                                        "END, n.change FROM unnest($3::text[], "
                                        "$4::bigint[]) AS n(scope, change) ON CONFLICT (slice, scope, day) "
                                        "DO UPDATE SET used = q.used + excluded.used"},
    [SQL_CLAIM] =
        {"claim", "INSERT INTO creation_claim (slice, key, attempt, fingerprint, campaign_id) SELECT "
                  "$1::smallint, n.* FROM "
                  "unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::text[]) AS n ON CONFLICT (slice, key) DO "
                  "UPDATE SET attempt = "
                  "excluded.attempt, fingerprint = excluded.fingerprint, campaign_id = excluded.campaign_id"},
    [SQL_FENCE] = {"fence", "INSERT INTO creation_fence (slice, key, attempt) SELECT $1::smallint, n.* FROM "
                            "unnest($2::uuid[], $3::bigint[]) "
                            "AS n ON CONFLICT (slice, key) DO UPDATE SET attempt = excluded.attempt"},
    [SQL_RUNS] =
        {"runs",
         "INSERT INTO issue_run (slice, campaign_id, first_sequence, first_position, last_position) "
         "SELECT $1::smallint, n.* FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) AS n"},
    [SQL_HEAD] = {"head", "WITH link AS (INSERT INTO batch (slice, first, last, chain, recorded_at) VALUES "
                          "($1::smallint, $2::bigint, "
                          "$3::bigint, $4::bytea, $5::timestamptz)) UPDATE slice SET head = $3::bigint, "
                          "chain = $4::bytea, recorded_at = "
                          "$5::timestamptz WHERE slice = $1::smallint"},
    [SQL_COMMIT] = {"commit", "COMMIT"},
    [SQL_ROLLBACK] = {"rollback", "ROLLBACK"},
};
