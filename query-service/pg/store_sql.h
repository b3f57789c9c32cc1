/* SPDX-License-Identifier: Apache-2.0 */
/* The statements of store_reader.c. Each runs off an index also where tables were never analysed: every step
 * is a LATERAL with its own ORDER BY and LIMIT, or a key lookup. Order of text is bytewise, as in Redis. */
#pragma once

#include "events/event_log.h"

/* X(name, SQL): those of rankings in the order of enum counted; of the past are in past_sql.h. */
#define STORE_STATEMENTS(X)                         \
    X(TIMEOUT, STORE_TIMEOUT_SQL)                   \
    X(HEADS, STORE_HEADS_SQL)                       \
    X(CAMPAIGN, STORE_CAMPAIGN_SQL)                 \
    X(CAMPAIGNS, STORE_CAMPAIGNS_SQL)               \
    X(HOLDERS, STORE_HOLDERS_SQL)                   \
    X(USER_IN_CAMPAIGN, STORE_USER_IN_CAMPAIGN_SQL) \
    X(COUPON, STORE_COUPON_SQL)                     \
    X(COUPON_CAMPAIGN, STORE_COUPON_CAMPAIGN_SQL)   \
    X(USER_COUPONS, STORE_USER_COUPONS_SQL)         \
    X(ORDER_COUPONS, STORE_ORDER_COUPONS_SQL)       \
    X(RANKING_ISSUED, STORE_RANKING_ISSUED_SQL)     \
    X(RANKING_REDEEMED, STORE_RANKING_REDEEMED_SQL) \
    X(ACTIVE_ISSUED, STORE_ACTIVE_ISSUED_SQL)       \
    X(ACTIVE_REDEEMED, STORE_ACTIVE_REDEEMED_SQL)   \
    X(PAST_AT, PAST_AT_SQL)                         \
    X(PAST_INSTANT, PAST_INSTANT_SQL)               \
    X(PAST_CAMPAIGN, PAST_CAMPAIGN_SQL)             \
    X(PAST_EVENTS, PAST_EVENTS_SQL)                 \
    X(PAST_RANKING_ISSUED, PAST_RANKING_ISSUED_SQL) \
    X(PAST_RANKING_REDEEMED, PAST_RANKING_REDEEMED_SQL)
#define STORE_STATEMENT_ENUM(name, sql) STORE_##name,
enum store_statement { STORE_STATEMENTS(STORE_STATEMENT_ENUM) STORE_STATEMENT_COUNT };

/* Column order is that of take_campaign(). */
#define CAMPAIGN_COLUMNS                                                                                    \
    "c.id, c.definition, c.created_at, c.first, c.position, c.released, c.issued, c.redeemed, c.reserved, " \
    "c.plan_done, c.plan_halted, c.status, " CHANGE_COLUMNS("c.slice")
enum { CAMPAIGN_COLUMN_STATUS = 11, CAMPAIGN_COLUMN_COUNT = 14 };

/* Of an event e that issued a coupon, and what happened to that since: none of the latter where nothing did.
 * Order is that of take_coupon_row(). */
#define COUPON_COLUMNS                                                                              \
    LOG_COLUMNS ", s.state, s.last, s.changed_at, coalesce(s.order_id, s.reason), s.order_amount, " \
                "s.discount_amount, s.reserved_until, revoked.data"
/* Columns of an event o that the above and what joins to it need. This role may not see all of them. */
#define EVENT_COLUMNS                                                                                        \
    "o.position, o.type, o.version, o.campaign_id, o.user_id, o.coupon_id, o.recorded_at, o.trace, o.data, " \
    "o.slice, o.nth"
#define COUPON_STATE                                                                              \
    " LEFT JOIN coupon s ON s.slice = e.slice AND s.position = e.position LEFT JOIN LATERAL ("    \
    "SELECT x.data FROM event x WHERE x.slice = s.slice AND x.position = s.last AND s.state = 4 " \
    "LIMIT 1) AS revoked ON true"

/* A deleted campaign reads as unknown. */
#define NOT_DELETED " c.status <> 5"

/* $1 ms as text: for what this session is asked from now on. */
#define STORE_TIMEOUT_SQL "SELECT set_config('statement_timeout', $1::text, false)"

#define STORE_HEADS_SQL "SELECT slice, head FROM slice"

#define STORE_CAMPAIGN_SQL                                                                         \
    "SELECT " CAMPAIGN_COLUMNS " FROM campaign c WHERE c.slice = $1::smallint AND c.id = $2::text" \
    " AND" NOT_DELETED

/* Of what is not of one slice: the slices that the map gives to the database. What is left of one that has
 * moved, or has just come, is told by whoever the map gives it to. Added to, so that no index is chosen by
 * it. */
#define IN_SLICES(slice, argument) slice " + 0 = ANY (" argument "::smallint[]::int[])"

/* $1 created at, $2 id: what the page before ended with, $3 how many, $4 slices. The first condition is for
 * the index campaign_newest, the second is the rule. */
#define STORE_CAMPAIGNS_SQL                                                                \
    "SELECT " CAMPAIGN_COLUMNS " FROM campaign c"                                          \
    " WHERE c.created_at <= $1::timestamptz"                                               \
    " AND (c.created_at < $1::timestamptz OR c.id COLLATE \"C\" < $2::text COLLATE \"C\")" \
    " AND" NOT_DELETED " AND " IN_SLICES(                                                  \
        "c.slice", "$4") " ORDER BY c.created_at DESC, c.id COLLATE \"C\" DESC LIMIT $3::bigint"

/* $1 slice, $2 campaign, $3 after which sequence, $4 how many. Sequences are dense, so the runs that matter
 * are the one with $3 + 1 in it and those that begin within the page; a run's coupons are the campaign's
 * events between its ends, in order. */
#define STORE_HOLDERS_SQL                                                                                    \
    "SELECT " COUPON_COLUMNS " FROM ("                                                                       \
    "SELECT r.first_sequence, r.first_position, r.last_position FROM issue_run r"                            \
    " WHERE r.slice = $1::smallint AND r.campaign_id = $2::text AND r.first_sequence <= $3::bigint + $4"     \
    " AND r.first_sequence >= coalesce((SELECT b.first_sequence FROM issue_run b"                            \
    " WHERE b.slice = $1::smallint AND b.campaign_id = $2::text AND b.first_sequence <= $3::bigint + 1"      \
    " ORDER BY b.first_sequence DESC LIMIT 1), 1)"                                                           \
    " ORDER BY r.first_sequence LIMIT $4::bigint + 1) AS run"                                                \
    " CROSS JOIN LATERAL ("                                                                                  \
    "SELECT " EVENT_COLUMNS ", run.first_sequence + row_number() OVER (ORDER BY o.position) - 1 AS sequence" \
    " FROM event o WHERE o.slice = $1::smallint AND o.position BETWEEN run.first_position AND "              \
    "run.last_position"                                                                                      \
    " AND o.type + 0 = 6 AND o.campaign_id = $2::text) AS e" COUPON_STATE                                    \
    " WHERE e.sequence > $3::bigint ORDER BY e.sequence LIMIT $4::bigint"

/* The coupons of a user in a slice n, as events o: by their holders, whatever else the planner would begin
 * with (OFFSET 0). */
#define USERS_COUPONS(user, ALSO)                               \
    "(SELECT " EVENT_COLUMNS " FROM holders_of(n.secret, " user \
    ") AS h CROSS JOIN event o WHERE o.slice = n.slice "        \
    "AND o.holder >= h.low AND o.holder <= h.high AND o.user_id = " user ALSO " OFFSET 0)"

#define STORE_USER_IN_CAMPAIGN_SQL                                              \
    "SELECT " COUPON_COLUMNS " FROM slice n CROSS JOIN LATERAL " USERS_COUPONS( \
        "$2::text", " AND o.campaign_id = $3::text") " AS e" COUPON_STATE       \
                                                     " WHERE n.slice = $1::smallint ORDER BY e.nth"

/* Whatever event is there; the reader looks whether it is a coupon's. */
#define STORE_COUPON_SQL                                  \
    "SELECT " COUPON_COLUMNS " FROM event e" COUPON_STATE \
    " WHERE e.slice = $1::smallint AND e.position = $2::bigint"

/* Its campaign, whatever the event is. */
#define STORE_COUPON_CAMPAIGN_SQL                                                                            \
    "SELECT " CAMPAIGN_COLUMNS " FROM event e JOIN campaign c ON c.slice = e.slice AND c.id = e.campaign_id" \
    " WHERE e.slice = $1::smallint AND e.position = $2::bigint AND" NOT_DELETED

/* $1 user; $2 time, $3 slice, $4 position: what the page before ended with; $5 how many; $6 slices. Slice by
 * slice. Sorted by time inside, not by position: that would tempt the planner to walk the primary key. */
#define STORE_USER_COUPONS_SQL                                                                    \
    "SELECT " COUPON_COLUMNS " FROM slice n CROSS JOIN LATERAL ("                                 \
    "SELECT o.* FROM " USERS_COUPONS(                                                             \
        "$1::text",                                                                               \
        "") " AS o WHERE"                                                                         \
            " (o.recorded_at, o.slice, o.position) < ($2::timestamptz, $3::smallint, $4::bigint)" \
            " ORDER BY o.recorded_at DESC, o.position DESC LIMIT $5::bigint) AS e" COUPON_STATE   \
            " WHERE " IN_SLICES(                                                                  \
                "n.slice",                                                                        \
                "$6") " ORDER BY e.recorded_at DESC, e.slice DESC, e.position DESC LIMIT $5::bigint"

/* $1 order; $2 slice, $3 coupon's id: what the page before ended with; $4 how many; $5 slices. Slice by
 * slice, by the index event_sNN_order. */
#define STORE_ORDER_COUPONS_SQL                                                                           \
    "SELECT " COUPON_COLUMNS " FROM slice n CROSS JOIN LATERAL (SELECT DISTINCT o.coupon_id FROM event o" \
    " WHERE o.slice = n.slice AND order_of(o.data) = $1::bytea AND o.type IN (10, 11)"                    \
    " AND o.coupon_id > CASE n.slice WHEN $2::smallint THEN $3::text ELSE '' END"                         \
    " ORDER BY o.coupon_id LIMIT $4::bigint) AS used"                                                     \
    " CROSS JOIN LATERAL (SELECT " EVENT_COLUMNS " FROM event o WHERE o.slice = n.slice"                  \
    " AND o.position = split_part(used.coupon_id, '-', 2)::bigint LIMIT 1) AS e" COUPON_STATE             \
    " WHERE n.slice >= $2::smallint AND " IN_SLICES(                                                      \
        "n.slice", "$5") " ORDER BY n.slice, used.coupon_id LIMIT $4::bigint"

/* --- rankings ---
 * $1 how many, $2 bytes that the definition must contain (a tag; NULL: any), $3 slices. After the campaign
 * come its count, when it got there, and how many campaigns had to be looked at; one row without a campaign
 * where none is ranked. Those with as many as the last are all looked at, because when each got there decides
 * between them. Goes through all campaigns; there is no index on the counts, which would cost every commit
 * more than this fallback is worth. */
enum { STORE_ACTIVE_MAX = 2000 }; /* campaigns whose events are counted for one answer */

#define HAS_TAG " ($2::bytea IS NULL OR position($2::bytea IN c.definition) > 0)"

/* Of campaign c: the last coupon of its last run; or its last redeeming or restoring, off event_redeemed. */
#define ISSUED_LAST                                                                        \
    " CROSS JOIN LATERAL (SELECT r.last_position FROM issue_run r WHERE r.slice = c.slice" \
    " AND r.campaign_id = c.id ORDER BY r.first_sequence DESC LIMIT 1) AS run"             \
    " CROSS JOIN LATERAL (SELECT e.recorded_at FROM event e WHERE e.slice = c.slice"       \
    " AND e.position = run.last_position LIMIT 1) AS reached"
#define REDEEMED_LAST                                                                \
    " CROSS JOIN LATERAL (SELECT e.recorded_at FROM event e WHERE e.slice = c.slice" \
    " AND e.campaign_id = c.id AND e.type IN (11, 14) ORDER BY e.position DESC LIMIT 1) AS reached"

#define RANKING_SQL(counted, LAST)                                                                         \
    "SELECT " CAMPAIGN_COLUMNS ", c." counted ", reached.recorded_at, 0::bigint FROM ("                    \
    "SELECT * FROM campaign c WHERE c." counted " > 0 AND" HAS_TAG " AND " IN_SLICES(                      \
        "c.slice", "$3") " ORDER BY c." counted " DESC FETCH FIRST ($1::bigint) ROWS WITH TIES) AS c" LAST \
                         " ORDER BY c." counted                                                            \
                         " DESC, reached.recorded_at, c.id COLLATE \"C\" DESC LIMIT $1::bigint"
#define STORE_RANKING_ISSUED_SQL   RANKING_SQL("issued", ISSUED_LAST)
#define STORE_RANKING_REDEEMED_SQL RANKING_SQL("redeemed", REDEEMED_LAST)

/* $4 since when, $5 STORE_ACTIVE_MAX. Where a slice's log was at that time is found by halving, some thirty
 * probes of the primary key, because time does not run backwards in a slice; the same in a campaign's runs,
 * which never lie on both sides because a commit has one time. So the cost is that of the campaigns that did
 * something since, whatever was issued; and of the redemptions since, which are counted one by one. */
#define ACTIVE_CAMPAIGNS(COLUMNS, JOIN)                                                                 \
    "WITH RECURSIVE halving (slice, low, high) AS ("                                                    \
    "SELECT h.slice, 0::bigint, h.head + 1 FROM slice h WHERE " IN_SLICES(                              \
        "h.slice",                                                                                      \
        "$3") " UNION ALL "                                                                             \
              "SELECT h.slice, CASE WHEN e.recorded_at < $4::timestamptz THEN h.middle ELSE h.low END," \
              " CASE WHEN e.recorded_at < $4::timestamptz THEN h.high ELSE h.middle END"                \
              " FROM (SELECT *, (low + high) / 2 AS middle FROM halving WHERE high - low > 1) AS h"     \
              " CROSS JOIN LATERAL (SELECT o.recorded_at FROM event o WHERE o.slice = h.slice"          \
              " AND o.position = h.middle LIMIT 1) AS e),"                                              \
              " active AS MATERIALIZED (SELECT c.*, h.high AS since" COLUMNS                            \
              " FROM halving h JOIN campaign c ON "                                                     \
              "c.slice = h.slice"                                                                       \
              " AND c.position >= h.high AND c.issued > 0 AND" HAS_TAG JOIN                             \
              " WHERE h.high - h.low = 1 LIMIT $5::bigint + 1),"

/* Of campaign c: how many coupons its runs had issued before a position, as <name>.low. */
#define ISSUED_BEFORE(name, position)                                                                   \
    " CROSS JOIN LATERAL (WITH RECURSIVE run (low, high) AS (SELECT 0::bigint, c.issued + 1 UNION ALL " \
    "SELECT CASE WHEN r.first_position < " position " THEN run.middle ELSE run.low END,"                \
    " CASE WHEN r.first_position < " position " THEN run.high ELSE r.first_sequence END"                \
    " FROM (SELECT *, (low + high) / 2 AS middle FROM run WHERE high - low > 1) AS run"                 \
    " CROSS JOIN LATERAL (SELECT i.first_sequence, i.first_position FROM issue_run i"                   \
    " WHERE i.slice = c.slice AND i.campaign_id = c.id AND i.first_sequence <= run.middle"              \
    " ORDER BY i.first_sequence DESC LIMIT 1) AS r)"                                                    \
    " SELECT run.low FROM run WHERE run.high - run.low = 1) AS " name

#define ACTIVE_RANKED(COLUMNS)                                                                              \
    " SELECT " CAMPAIGN_COLUMNS ", c.counted, c.reached, looked.at" COLUMNS                                 \
    " FROM (SELECT count(*) AS at FROM active)"                                                             \
    " AS looked LEFT JOIN (SELECT * FROM counted c WHERE c.counted > 0 ORDER BY c.counted DESC, c.reached," \
    " c.id COLLATE \"C\" DESC LIMIT $1::bigint) AS c ON true"                                               \
    " ORDER BY c.counted DESC, c.reached, c.id COLLATE \"C\" DESC"

#define STORE_ACTIVE_ISSUED_SQL                                                                              \
    ACTIVE_CAMPAIGNS("", "")                                                                                 \
    " counted AS (SELECT c.*, c.issued - before.low AS counted, reached.recorded_at AS reached FROM active " \
    "c" ISSUED_BEFORE("before", "c.since") ISSUED_LAST ")" ACTIVE_RANKED("")

#define STORE_ACTIVE_REDEEMED_SQL                                                                          \
    ACTIVE_CAMPAIGNS("", "")                                                                               \
    " counted AS (SELECT c.*, r.counted, r.reached FROM active c CROSS JOIN LATERAL ("                     \
    "SELECT sum(CASE e.type WHEN 11 THEN 1 ELSE -1 END)::bigint AS counted, max(e.recorded_at) AS reached" \
    " FROM event e WHERE e.slice = c.slice AND e.campaign_id = c.id AND e.type IN (11, 14)"                \
    " AND e.position >= c.since) AS r)" ACTIVE_RANKED("")
