/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the log from PostgreSQL, by slice and position, and the hash chain over it. The SQL is here so that
 * every reader sees the same columns; the connection and its waits belong to the caller. */
#pragma once

#include "common/base/crypto.h"
#include "common/pg/pg.h"
#include "events/codec.h"

/* $1 slice, $2 after which position, $3 at most how many. Rows in position order. */
#define LOG_COLUMNS_OF(e)                                                                           \
    e ".position, " e ".type, " e ".version, " e ".campaign_id, " e ".user_id, " e ".coupon_id, " e \
      ".recorded_at, " e ".trace, " e ".data, " e ".slice"
#define LOG_COLUMNS LOG_COLUMNS_OF("e")
#define LOG_READ_SQL                                                                                \
    "SELECT " LOG_COLUMNS " FROM event e WHERE e.slice = $1::smallint AND e.position > $2::bigint " \
    "ORDER BY e.slice, e.position LIMIT $3::bigint"

/* Of a row c of table campaign that is paused (2) or closed (3): when that was, and the data of the event
 * that says by whom and why (3 or 5), off the index event_*_steered: a range of one name, in its order, which
 * no other index has, whatever a plan was made for. NULL for others. */
#define CHANGE_COLUMN(column, in_slice)                                                                      \
    "CASE WHEN c.status IN (2, 3) THEN (SELECT w." column " FROM event w WHERE w.slice = " in_slice " AND "  \
    "w.campaign_id >= c.id AND w.campaign_id <= c.id AND w.type NOT IN (6, 10, 11, 12, 13, 14) AND "         \
    "w.type = CASE c.status WHEN 2 THEN 3 ELSE 5 END ORDER BY w.campaign_id DESC, w.position DESC LIMIT 1) " \
    "END"
#define CHANGE_COLUMNS(in_slice) CHANGE_COLUMN("recorded_at", in_slice) ", " CHANGE_COLUMN("data", in_slice)

enum log_column {
    LOG_COLUMN_POSITION,
    LOG_COLUMN_TYPE,
    LOG_COLUMN_CAMPAIGN = 3,
    LOG_COLUMN_RECORDED_AT = 6,
    LOG_COLUMN_TRACE = 7,
    LOG_COLUMN_DATA = 8,
    LOG_COLUMN_COUNT = 10
};

/* How far the log of every slice went at an instant. $1 the instant -> slice, position of the last event
 * recorded by then (0: none), in order of slices. Times never run backwards and positions have no gaps, so
 * this halves the range thirty-odd times by primary key and needs no index over times. */
#define LOG_AT_SQL                                                                              \
    "WITH RECURSIVE halving AS ("                                                               \
    " SELECT s.slice, 0::bigint AS low, s.head AS high FROM slice s"                            \
    " UNION ALL"                                                                                \
    " SELECT h.slice, CASE WHEN e.recorded_at <= $1::timestamptz THEN m.middle ELSE h.low END," \
    "   CASE WHEN e.recorded_at <= $1::timestamptz THEN h.high ELSE m.middle - 1 END"           \
    " FROM halving h CROSS JOIN LATERAL (SELECT (h.low + h.high + 1) / 2 AS middle) m"          \
    " CROSS JOIN LATERAL (SELECT r.recorded_at FROM event r"                                    \
    "   WHERE r.slice = h.slice AND r.position = m.middle LIMIT 1) e"                           \
    " WHERE h.low < h.high)"                                                                    \
    "SELECT slice, low FROM halving WHERE low = high ORDER BY slice"

void event_log_read_args(struct pg_args *args, int16_t slice, int64_t after, int64_t limit);

/* Row `row` of a result whose columns from `column` on are LOG_COLUMNS, decoded. Borrows from rows and arena.
 */
enum codec_status event_log_row(const struct pg_rows *rows, int row, int column, struct arena *arena,
                                struct event *ret) MUST_USE;

/* The hash chain (I12): chain(batch) = BLAKE2b-256(chain before, then each event's canonical bytes in order),
 * unkeyed; the chain before the first batch of a slice is 32 zero bytes. The canonical bytes of an event are,
 * in this order: numbers, 8 bytes big-endian: slice, position, type, version, recorded_at in microseconds
 * since 1970 texts, 8 bytes big-endian of length and then the bytes (length 2^64-1 and no bytes for NULL):
 *   campaign_id, user_id, coupon_id, trace, data
 * So no two different logs have the same bytes. The column nth is not in it: data says it too. */
struct log_chain {
    struct crypto_hasher hasher;
};
void log_chain_begin(struct log_chain *chain, const uint8_t before[32]);
void log_chain_add(struct log_chain *chain, const struct event *event); /* with event->data encoded */
void log_chain_end(struct log_chain *chain, uint8_t ret[32]);
