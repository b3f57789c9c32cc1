/* SPDX-License-Identifier: Apache-2.0 */
/* The statements of time travel. First it is asked where the moment is in each slice (LOG_AT_SQL), then for
 * what was there. Everything up to that position is immutable, so that statements, which are snapshots of
 * their own, cannot contradict each other. */
#pragma once

#include "query-service/pg/store_sql.h"

#define PAST_AT_SQL LOG_AT_SQL

/* $1 slice, $2 position -> when it was recorded; no row beyond the head. */
#define PAST_INSTANT_SQL \
    "SELECT e.recorded_at FROM event e WHERE e.slice = $1::smallint AND e.position = $2::bigint"

/* $1 slice, $2 id; deleted ones too. */
#define PAST_CAMPAIGN_SQL \
    "SELECT " CAMPAIGN_COLUMNS " FROM campaign c WHERE c.slice = $1::smallint AND c.id = $2::text"

/* $1 slice, $2 campaign, $3 up to which position, $4 that of its CampaignCreated, $5 how many events and runs
 * may be looked at. Rows: the campaign's events in between but CouponIssued; with each, what it costs, how
 * many coupons were issued and where the last one is. One row without an event where there is none, or where
 * it costs too much.
 *
 * No index knows where a campaign's other events are, but its runs say where they are not: between the ends
 * of a run that has as many coupons as positions. What is left are the stretches between such runs; they are
 * added up before one event of them is read. So a hot campaign's past costs its runs, not its coupons; and
 * where there are no more than $5 events of the slice in between, they are simply read in one go. Only
 * the coupons of the last run are counted, because $3 may be in the middle of it: at most one commit's. */
#define PAST_ISSUED ISSUED_BEFORE("at", "$3::bigint + 1")

#define PAST_RUNS                                                                                        \
    "WITH last AS MATERIALIZED (SELECT at.low AS sequence FROM campaign c" PAST_ISSUED                   \
    " WHERE c.slice = $1::smallint AND c.id = $2::text),"                                                \
    " run AS MATERIALIZED (SELECT 0::bigint AS first_sequence, $4::bigint AS first_position,"            \
    " $4::bigint AS last_position UNION ALL (SELECT r.first_sequence, r.first_position,"                 \
    " least(r.last_position, $3::bigint) FROM issue_run r"                                               \
    " WHERE r.slice = $1::smallint AND r.campaign_id = $2::text"                                         \
    " AND r.first_sequence <= (SELECT sequence FROM last) ORDER BY r.first_sequence LIMIT $5::bigint))," \
    " issued AS MATERIALIZED (SELECT greatest(r.first_sequence - 1, 0) + i.count AS issued, i.last FROM" \
    " (SELECT * FROM run ORDER BY first_sequence DESC LIMIT 1) AS r CROSS JOIN LATERAL ("                \
    "SELECT count(*), coalesce(max(o.position), 0) AS last FROM event o WHERE o.slice = $1::smallint"    \
    " AND o.position BETWEEN r.first_position AND r.last_position"                                       \
    " AND o.type + 0 = 6 AND o.campaign_id = $2::text) AS i),"

#define PAST_STRETCHES                                                                                      \
    " stretch AS MATERIALIZED (SELECT CASE WHEN coalesce(lead(run.first_sequence) OVER o, issued.issued + " \
    "1)"                                                                                                    \
    " - run.first_sequence = run.last_position - run.first_position + 1"                                    \
    " THEN run.last_position + 1 ELSE run.first_position END AS low,"                                       \
    " coalesce(lead(run.first_position) OVER o - 1, $3::bigint) AS high"                                    \
    " FROM run CROSS JOIN issued WINDOW o AS (ORDER BY run.first_sequence)),"                               \
    " cost AS MATERIALIZED (SELECT least($3::bigint - $4::bigint,"                                          \
    " (sum(high - low + 1) + count(*))::bigint) AS cost FROM stretch),"                                     \
    " wanted AS MATERIALIZED (SELECT $4::bigint + 1 AS low, $3::bigint AS high"                             \
    " WHERE $3::bigint - $4::bigint <= $5::bigint UNION ALL SELECT s.low, s.high FROM stretch s"            \
    " CROSS JOIN cost WHERE $3::bigint - $4::bigint > $5::bigint AND cost.cost <= $5::bigint"               \
    " AND s.low <= s.high)"

#define PAST_COLUMNS                                                                                         \
    "v.position, v.type, v.version, v.campaign_id, v.user_id, v.coupon_id, v.recorded_at, v.trace, v.data, " \
    "v.slice"
#define PAST_EVENTS_SQL                                                                                      \
    PAST_RUNS PAST_STRETCHES " SELECT " LOG_COLUMNS                                                          \
                             ", cost.cost, issued.issued, issued.last FROM cost CROSS JOIN issued LEFT JOIN" \
                             " (SELECT o.* FROM wanted w CROSS JOIN LATERAL (SELECT " PAST_COLUMNS           \
                             " FROM event v"                                                                 \
                             " WHERE v.slice = $1::smallint AND v.position BETWEEN w.low AND w.high"         \
                             " AND v.position > $4::bigint AND v.type + 0 <> 6 AND v.campaign_id = $2::text" \
                             " OFFSET 0) AS o) AS e ON true ORDER BY e.position"

/* As the rankings of a window, with the instant for now: $6 where each slice was then, by slice; $7 how many
 * redemptions may be counted. After LOOKED_AT comes how many were. */
#define PAST_ACTIVE                                                                                      \
    ACTIVE_CAMPAIGNS(", u.until",                                                                        \
                     " JOIN unnest($6::bigint[]) WITH ORDINALITY AS u (until, nr) ON u.nr = h.slice + 1" \
                     " AND c.first <= u.until")

#define PAST_RANKING_ISSUED_SQL                                                                              \
    PAST_ACTIVE                                                                                              \
    " counted AS (SELECT c.*, upto.low - before.low AS counted, reached.recorded_at AS reached FROM active " \
    "c" ISSUED_BEFORE("before", "c.since") ISSUED_BEFORE(                                                    \
        "upto", "c.until + 1") " CROSS JOIN LATERAL (SELECT r.last_position FROM issue_run r WHERE r.slice " \
                               "= c.slice"                                                                   \
                               " AND r.campaign_id = c.id AND r.first_sequence <= upto.low ORDER BY "        \
                               "r.first_sequence DESC LIMIT 1)"                                              \
                               " AS run CROSS JOIN LATERAL (SELECT e.recorded_at FROM event e WHERE "        \
                               "e.slice = c.slice"                                                           \
                               " AND e.position = run.last_position LIMIT 1) AS reached)" ACTIVE_RANKED(     \
                                   ", 0 * $7::bigint")

#define PAST_RANKING_REDEEMED_SQL                                                                   \
    PAST_ACTIVE                                                                                     \
    " redeeming AS MATERIALIZED (SELECT c.slice, c.id, e.type, e.recorded_at FROM active c"         \
    " CROSS JOIN LATERAL (SELECT o.type, o.recorded_at FROM event o WHERE o.slice = c.slice"        \
    " AND o.campaign_id = c.id AND o.type IN (11, 14) AND o.position BETWEEN c.since AND c.until"   \
    " ORDER BY o.position) AS e LIMIT $7::bigint + 1),"                                             \
    " counted AS (SELECT c.*, r.counted, r.reached FROM active c JOIN (SELECT slice, id,"           \
    " sum(CASE type WHEN 11 THEN 1 ELSE -1 END)::bigint AS counted, max(recorded_at) AS reached"    \
    " FROM redeeming GROUP BY slice, id) AS r ON r.slice = c.slice AND r.id = c.id)" ACTIVE_RANKED( \
        ", (SELECT count(*) FROM redeeming)")
