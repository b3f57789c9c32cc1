/* SPDX-License-Identifier: Apache-2.0 */
/* The statements of export.c. */
#pragma once

#include "query-service/pg/past_sql.h"

#define EXPORT_HEAD_SQL "SELECT s.head FROM slice s WHERE s.slice = $1::smallint"

/* $1 slice, $2 campaign, $3 position -> its first event, when that position was recorded, how many coupons it
 * had issued by then: those before the last run that begins by then, and of that run the ones by then. */
#define EXPORT_AT_SQL                                                                                \
    "SELECT c.first, e.recorded_at, coalesce(run.issued, 0) FROM campaign c" ISSUED_BEFORE(          \
        "at", "$3::bigint + 1") " CROSS JOIN LATERAL (SELECT o.recorded_at FROM event o"             \
                                " WHERE o.slice = $1::smallint AND o.position = $3::bigint LIMIT 1)" \
                                " AS e LEFT JOIN LATERAL (SELECT r.first_sequence - 1 + (SELECT"     \
                                " count(*) FROM event o WHERE o.slice = $1::smallint AND o.position" \
                                " BETWEEN r.first_position AND least(r.last_position, $3::bigint)"   \
                                " AND o.type + 0 = 6 AND o.campaign_id = $2::text) AS issued"        \
                                " FROM issue_run r WHERE r.slice = $1::smallint AND r.campaign_id =" \
                                " $2::text AND r.first_sequence <= at.low"                           \
                                " ORDER BY r.first_sequence DESC LIMIT 1) AS run ON true"            \
                                " WHERE c.slice = $1::smallint AND c.id = $2::text AND" NOT_DELETED

/* $1 slice, $2 campaign, $3 after which sequence, $4 how many, $5 position of the export, $6 position of the
 * coupon $3 (0: none). Rows: the event that issued each coupon, the last one since (`w`), and where that is
 * after $5 the last one by then (`x`). Runs as in STORE_HOLDERS_SQL; of each no more is read than is wanted.
 */
#define EXPORT_RUNS                                                                                     \
    "(SELECT r.first_position, r.last_position FROM issue_run r WHERE r.slice = $1::smallint"           \
    " AND r.campaign_id = $2::text AND r.first_sequence <= $3::bigint + $4::bigint"                     \
    " AND r.first_sequence >= coalesce((SELECT b.first_sequence FROM issue_run b"                       \
    " WHERE b.slice = $1::smallint AND b.campaign_id = $2::text AND b.first_sequence <= $3::bigint + 1" \
    " ORDER BY b.first_sequence DESC LIMIT 1), 1)"                                                      \
    " ORDER BY r.first_sequence LIMIT $4::bigint + 1) AS run"
#define EXPORT_PAGE_SQL                                                                                    \
    "SELECT " LOG_COLUMNS ", " LOG_COLUMNS_OF("w") ", " LOG_COLUMNS_OF(                                    \
        "x") " FROM (SELECT i.* FROM " EXPORT_RUNS " CROSS JOIN LATERAL (SELECT " EVENT_COLUMNS            \
             " FROM event o WHERE o.slice = $1::smallint"                                                  \
             " AND o.position BETWEEN greatest(run.first_position, $6::bigint + 1) AND run.last_position"  \
             " AND o.type + 0 = 6 AND o.campaign_id = $2::text ORDER BY o.position LIMIT $4::bigint) AS i" \
             " ORDER BY i.position LIMIT $4::bigint) AS e"                                                 \
             " LEFT JOIN coupon s ON s.slice = e.slice AND s.position = e.position"                        \
             " LEFT JOIN LATERAL (SELECT " EVENT_COLUMNS " FROM event o WHERE o.slice = $1::smallint"      \
             " AND o.position = s.last LIMIT 1) AS w ON true"                                              \
             " LEFT JOIN LATERAL (SELECT " EVENT_COLUMNS " FROM event o WHERE o.slice = $1::smallint"      \
             " AND s.last > $5::bigint AND o.coupon_id = w.coupon_id AND o.type BETWEEN 10 AND 15"         \
             " AND o.position <= $5::bigint ORDER BY o.position DESC LIMIT 1) AS x ON true ORDER BY "      \
             "e.position"
