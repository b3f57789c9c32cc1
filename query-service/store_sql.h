/* SPDX-License-Identifier: Apache-2.0 */
/* The statements of store_reader.c. Each runs off an index also where tables were never analysed: every step
 * is a LATERAL with its own ORDER BY and LIMIT, or a key lookup. Order of text is bytewise, as in Redis. */
#pragma once

#include "events/event_log.h"

enum store_statement {
    STORE_HEADS,
    STORE_CAMPAIGN,
    STORE_CAMPAIGNS,
    STORE_HOLDERS,
    STORE_USER_IN_CAMPAIGN,
    STORE_COUPON,
    STORE_USER_COUPONS,
    STORE_RANKING,
    STORE_STATEMENT_COUNT,
};

/* Column order is that of take_campaign(). */
#define CAMPAIGN_COLUMNS \
    "c.id, c.definition, c.created_at, c.first, c.position, c.released, c.issued, c.plan_done, c.status"

#define STORE_HEADS_SQL "SELECT slice, head FROM slice"

#define STORE_CAMPAIGN_SQL \
    "SELECT " CAMPAIGN_COLUMNS " FROM campaign c WHERE c.slice = $1::smallint AND c.id = $2::text"

/* $1 created at, $2 id: what the page before ended with, $3 how many. The first condition is for the index
 * campaign_newest, the second is the rule. */
#define STORE_CAMPAIGNS_SQL                                                                \
    "SELECT " CAMPAIGN_COLUMNS " FROM campaign c"                                          \
    " WHERE c.created_at <= $1::timestamptz"                                               \
    " AND (c.created_at < $1::timestamptz OR c.id COLLATE \"C\" < $2::text COLLATE \"C\")" \
    " ORDER BY c.created_at DESC, c.id COLLATE \"C\" DESC LIMIT $3::bigint"

/* $1 slice, $2 campaign, $3 after which sequence, $4 how many. Sequences are dense, so the runs that matter
 * are the one with $3 + 1 in it and those that begin within the page; a run's coupons are the campaign's
 * events between its ends, in order. */
#define STORE_HOLDERS_SQL                                                                                \
    "SELECT " LOG_COLUMNS " FROM ("                                                                      \
    "SELECT r.first_sequence, r.first_position, r.last_position FROM issue_run r"                        \
    " WHERE r.slice = $1::smallint AND r.campaign_id = $2::text AND r.first_sequence <= $3::bigint + $4" \
    " AND r.first_sequence >= coalesce((SELECT b.first_sequence FROM issue_run b"                        \
    " WHERE b.slice = $1::smallint AND b.campaign_id = $2::text AND b.first_sequence <= $3::bigint + 1"  \
    " ORDER BY b.first_sequence DESC LIMIT 1), 1)"                                                       \
    " ORDER BY r.first_sequence LIMIT $4::bigint + 1) AS run"                                            \
    " CROSS JOIN LATERAL ("                                                                              \
    "SELECT o.*, run.first_sequence + row_number() OVER (ORDER BY o.position) - 1 AS sequence"           \
    " FROM event o WHERE o.slice = $1::smallint AND o.position BETWEEN run.first_position AND "          \
    "run.last_position"                                                                                  \
    " AND o.type + 0 = 6 AND o.campaign_id = $2::text) AS e"                                             \
    " WHERE e.sequence > $3::bigint ORDER BY e.sequence LIMIT $4::bigint"

/* Off event_held. */
#define STORE_USER_IN_CAMPAIGN_SQL                                                              \
    "SELECT " LOG_COLUMNS " FROM event e WHERE e.slice = $1::smallint AND e.user_id = $2::text" \
    " AND e.campaign_id = $3::text AND e.type = 6 ORDER BY e.nth"

/* Whatever event is there; the reader looks whether it is a coupon's. */
#define STORE_COUPON_SQL \
    "SELECT " LOG_COLUMNS " FROM event e WHERE e.slice = $1::smallint AND e.position = $2::bigint"

/* $1 user; $2 time, $3 slice, $4 position: what the page before ended with; $5 how many. Off event_held,
 * slice by slice. Sorted by time inside, not by position: that would tempt the planner to walk the primary
 * key. */
#define STORE_USER_COUPONS_SQL                                                                          \
    "SELECT " LOG_COLUMNS " FROM generate_series(0, 15) AS n (slice) CROSS JOIN LATERAL ("              \
    "SELECT o.* FROM event o WHERE o.slice = n.slice::smallint AND o.user_id = $1::text AND o.type = 6" \
    " AND (o.recorded_at, o.slice, o.position) < ($2::timestamptz, $3::smallint, $4::bigint)"           \
    " ORDER BY o.recorded_at DESC, o.position DESC LIMIT $5::bigint) AS e"                              \
    " ORDER BY e.recorded_at DESC, e.slice DESC, e.position DESC LIMIT $5::bigint"

/* $1 how many, $2 bytes that the definition must contain (a tag; NULL: any). Those with as many as the last
 * are all looked at, because when each got there decides between them: the time of the last coupon of the
 * last run. Goes through all campaigns; there is no index on issued, which would cost every commit more than
 * this fallback is worth. */
#define STORE_RANKING_SQL                                                                  \
    "SELECT " CAMPAIGN_COLUMNS ", reached.recorded_at FROM ("                              \
    "SELECT * FROM campaign a WHERE a.issued > 0"                                          \
    " AND ($2::bytea IS NULL OR position($2::bytea IN a.definition) > 0)"                  \
    " ORDER BY a.issued DESC FETCH FIRST ($1::bigint) ROWS WITH TIES) AS c"                \
    " CROSS JOIN LATERAL (SELECT r.last_position FROM issue_run r WHERE r.slice = c.slice" \
    " AND r.campaign_id = c.id ORDER BY r.first_sequence DESC LIMIT 1) AS run"             \
    " CROSS JOIN LATERAL (SELECT e.recorded_at FROM event e WHERE e.slice = c.slice"       \
    " AND e.position = run.last_position LIMIT 1) AS reached"                              \
    " ORDER BY c.issued DESC, reached.recorded_at, c.id COLLATE \"C\" DESC LIMIT $1::bigint"
