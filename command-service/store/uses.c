/* SPDX-License-Identifier: Apache-2.0 */
/* The statement that finds the uses of a key. */
#include "command-service/store/uses.h"

#include "command-service/store/campaign_row.h"
#include "common/base/be.h"
#include "common/base/clock.h"
#include "events/event_log.h"
#include "events/shards.h"

enum {
    STATEMENT_MS = 500,
    CONNECT_MS = 1000,
    USES_MAX = 256,
    KEY_PREFIX =
        12, /* bytes of an event's key that are the Idempotency-Key's; the others are the operation's */
};

#define EVENT_AT(name, place) \
    "LATERAL (SELECT * FROM event x WHERE x.slice = o.slice AND x.position = " place " LIMIT 1) " name

enum { SQL_USES, SQL_CHANGES, SQL_CAMPAIGN, SQL_OWNED, SQL_SETTLED };

/* $1 slices; $2, $3 the range of the key in events; $4 the key as effects without an event have it. What an
 * event without a kept status answered: 201 of what is new, 204 of a DELETE. An event about a coupon (10 to
 * 15) names it; the place of its CouponIssued is in the coupon's id. */
static const struct pg_statement statements[] = {
    [SQL_USES] =
        {"uses",
         "SELECT o.slice, o.key, o.operation, o.status, o.answer, " LOG_COLUMNS
         ", i.position, i.type, i.version, i.campaign_id, i.user_id, i.coupon_id, i.recorded_at, i.trace, "
         "i.data, "
         "i.slice FROM unnest($1::smallint[]) AS w(slice) CROSS JOIN LATERAL (SELECT k.slice, k.key, "
         "NULL::bigint "
         "AS operation, CASE WHEN k.type = 1 OR (k.type = 6 AND k.answer IS NULL) THEN 201::smallint WHEN "
         "k.type "
         "= 7 AND k.answer = '' THEN 204::smallint ELSE 200::smallint END AS status, k.position, k.answer, "
         "k.recorded_at FROM event k WHERE k.slice = w.slice AND k.key >= $2::uuid AND k.key <= $3::uuid "
         "UNION "
         "ALL SELECT r.slice, NULL, r.operation, r.status, r.position, r.answer, r.recorded_at FROM "
         "idempotency "
         "r "
         "WHERE r.slice = w.slice AND r.key_hash = $4::uuid LIMIT $5::bigint) "
         "o "
         "LEFT JOIN " EVENT_AT("e", "o.position") " ON true LEFT JOIN " EVENT_AT(
             "i", "CASE WHEN e.type BETWEEN 10 AND 15 THEN split_part(e.coupon_id, '-', 2)::bigint "
                  "END") " ON true ORDER BY o.recorded_at, o.slice LIMIT $5::bigint"},
    /* $1 slice; as many as there are settings and keys that were ever suspended */
    [SQL_CHANGES] = {"changes", "SELECT o.kind, o.name, " LOG_COLUMNS " FROM control o CROSS JOIN " EVENT_AT(
                                    "e", "o.position") " WHERE o.slice = "
                                                       "$1::smallint ORDER BY o.kind, o.name"},
    /* $1 slice, $2 campaign; a deleted one (5) reads as unknown */
    [SQL_CAMPAIGN] = {"campaign", "SELECT " CAMPAIGN_COLUMNS(
                                      "$1::smallint") ", clock_timestamp() FROM campaign c WHERE c.slice = "
                                                      "$1::smallint AND c.id = $2::text AND c.status <> 5"},
    [SQL_OWNED] = {"owned", "SELECT slice FROM slice ORDER BY slice"},
    /* Where there is a standby to wait for: a commit of its own, which ends when that one has all that was
     * committed before. False where such a question has been waiting for a second: one more would only leave
     * one more session behind. */
    [SQL_SETTLED] =
        {"settled",
         "SELECT CASE WHEN current_setting('synchronous_standby_names') = '' THEN true WHEN EXISTS "
         "(SELECT FROM pg_stat_activity a WHERE a.datname = current_database() AND a.application_name = "
         "current_setting('application_name') AND a.wait_event = 'SyncRep' AND "
         "clock_timestamp() - a.query_start > interval '1 s') THEN false ELSE "
         "pg_logical_emit_message(true, 'firstcome', '') IS NOT NULL END"},
};

void uses_init(struct reader *reader, const char *database_url)
{
    reader_init(reader, database_url, "firstcome requests", STATEMENT_MS, statements, COUNT_OF(statements));
}

static bool connected(struct reader *reader, int64_t deadline_us)
{
    int64_t connect_us = clock_deadline_us(CONNECT_MS);
    return reader_connect(reader, connect_us < deadline_us ? connect_us : deadline_us);
}

/* Once more where the server was restarted since the connection was last used: it only reads. */
static bool ask(struct reader *reader, size_t statement, int64_t deadline_us, struct pg_rows **ret)
{
    bool was_connected = pg_connected(reader->pg);
    if (!connected(reader, deadline_us))
        return false;
    enum pg_status status = pg_call(reader->pg, statement, &reader->args, deadline_us, ret);
    if (status == PG_LOST && was_connected && connected(reader, deadline_us))
        status = pg_call(reader->pg, statement, &reader->args, deadline_us, ret);
    return status == PG_OK;
}

/* Whether the database has all of these slices: of what is another's it would say that there is nothing. */
static bool owns(struct reader *reader, unsigned slices, int64_t deadline_us)
{
    struct pg_rows *rows = NULL;
    pg_args_reset(&reader->args);
    bool owned = ask(reader, SQL_OWNED, deadline_us, &rows) && (slices & ~slices_of(rows)) == 0;
    pg_rows_destroy(rows);
    return owned;
}

/* What was read may be on the primary alone, and is told to nobody before the standby has it (I3). */
static bool is_settled(struct reader *reader, int64_t deadline_us)
{
    struct pg_rows *rows = NULL;
    pg_args_reset(&reader->args);
    bool settled = ask(reader, SQL_SETTLED, deadline_us, &rows) && pg_i64(rows, 0, 0);
    pg_rows_destroy(rows);
    return settled;
}

bool uses_read(struct reader *reader, unsigned slices, const uint8_t key_hash[REQUEST_KEY_BYTES],
               int64_t deadline_us, struct pg_rows **ret)
{
    struct pg_args *args = &reader->args;
    if (!owns(reader, slices, deadline_us))
        return false;
    pg_args_reset(args);
    slices_arg(args, slices);
    uint8_t edge[REQUEST_KEY_BYTES];
    memcpy(edge, key_hash, sizeof edge);
    memset(edge + KEY_PREFIX, 0, sizeof edge - KEY_PREFIX);
    pg_arg_bytes(args, (struct span){(const char *)edge, sizeof edge});
    memset(edge + KEY_PREFIX, 0xFF, sizeof edge - KEY_PREFIX);
    pg_arg_bytes(args, (struct span){(const char *)edge, sizeof edge});
    pg_arg_bytes(args, (struct span){(const char *)key_hash, REQUEST_KEY_BYTES});
    pg_arg_i64(args, USES_MAX);
    return ask(reader, SQL_USES, deadline_us, ret) &&
           (pg_rows_count(*ret) == 0 || is_settled(reader, deadline_us));
}

bool uses_row(const struct pg_rows *rows, int row, struct arena *arena, struct key_use *ret)
{
    enum { SLICE, KEY, OPERATION, STATUS, ANSWER, EFFECT, ISSUED = EFFECT + LOG_COLUMN_COUNT };
    struct span key = pg_bytes(rows, row, KEY);
    *ret = (struct key_use){
        .slice = (int16_t)pg_i64(rows, row, SLICE),
        .status = (int)pg_i64(rows, row, STATUS),
        .answer = pg_bytes(rows, row, ANSWER),
        .has_effect = !pg_is_null(rows, row, EFFECT),
        .has_issued = !pg_is_null(rows, row, ISSUED),
        .operation_len = sizeof ret->operation,
    };
    if (key.len > KEY_PREFIX) {
        ret->operation_len = key.len - KEY_PREFIX;
        memcpy(ret->operation, key.ptr + KEY_PREFIX, ret->operation_len);
    } else {
        be_put(ret->operation, sizeof ret->operation, (uint64_t)pg_i64(rows, row, OPERATION));
    }
    return (!ret->has_effect || event_log_row(rows, row, EFFECT, arena, &ret->effect) == CODEC_OK) &&
           (!ret->has_issued || event_log_row(rows, row, ISSUED, arena, &ret->issued) == CODEC_OK);
}

bool changes_read(struct reader *reader, int64_t deadline_us, struct pg_rows **ret)
{
    if (!owns(reader, 1U << CONTROL_SLICE, deadline_us))
        return false;
    pg_args_reset(&reader->args);
    pg_arg_i16(&reader->args, CONTROL_SLICE);
    return ask(reader, SQL_CHANGES, deadline_us, ret);
}

bool changes_row(const struct pg_rows *rows, int row, struct arena *arena, struct control_change *ret)
{
    enum { KIND, NAME, EVENT };
    struct event event;
    if (event_log_row(rows, row, EVENT, arena, &event) != CODEC_OK)
        return false;
    *ret = (struct control_change){.name = pg_bytes(rows, row, NAME), .at_us = event.recorded_at_us};
    switch (event.type) {
    case EVENT_SettingChanged:
        ret->kind = CONTROL_SETTING;
        ret->by = event.setting_changed.actor;
        ret->reason = event.setting_changed.reason;
        return true;
    case EVENT_IssuerSuspended:
        ret->kind = CONTROL_ISSUER;
        ret->by = event.issuer_suspended.actor;
        ret->reason = event.issuer_suspended.reason;
        return true;
    default: /* a key that may write again: nothing is shown of it */
        return false;
    }
}

bool campaign_read(struct reader *reader, struct span id, int64_t deadline_us, struct pg_rows **ret)
{
    if (!owns(reader, 1U << slice_of(id), deadline_us))
        return false;
    pg_args_reset(&reader->args);
    pg_arg_i16(&reader->args, slice_of(id));
    pg_arg_bytes(&reader->args, id);
    return ask(reader, SQL_CAMPAIGN, deadline_us, ret);
}

bool campaign_read_row(const struct pg_rows *rows, struct arena *arena, struct campaign *ret,
                       int64_t *ret_now_us)
{
    *ret_now_us = pg_time(rows, 0, CAMPAIGN_COLUMN_COUNT);
    return campaign_row_read(rows, 0, 0, INT64_MAX, NULL, arena, ret);
}
