/* SPDX-License-Identifier: Apache-2.0 */
/* The statement that finds the uses of a key. */
#include "command-service/store/uses.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "events/event_log.h"

enum { STATEMENT_MS = 500, CONNECT_MS = 1000, USES_MAX = 256 };

#define EVENT_AT(name, place) \
    "LATERAL (SELECT * FROM event x WHERE x.slice = o.slice AND x.position = " place " LIMIT 1) " name

/* An event about a coupon (10 to 15) names it; the place of its CouponIssued is in the coupon's id. */
static const struct pg_statement statements[] = {
    {"uses", "SELECT o.slice, o.operation, o.status, o.answer, " LOG_COLUMNS
             ", i.position, i.type, i.version, i.campaign_id, i.user_id, i.coupon_id, i.recorded_at, "
             "i.trace, i.data, "
             "i.slice FROM unnest($1::smallint[]) AS w(slice) CROSS JOIN LATERAL (SELECT * FROM "
             "idempotency o WHERE "
             "o.slice = w.slice AND o.key_hash = $2::uuid ORDER BY o.recorded_at LIMIT $3::bigint) o "
             "LEFT JOIN " EVENT_AT("e", "o.position") " ON true LEFT JOIN " EVENT_AT(
                 "i", "CASE WHEN e.type BETWEEN 10 AND 15 THEN split_part(e.coupon_id, '-', 2)::bigint "
                      "END") " ON true ORDER BY o.recorded_at, o.slice LIMIT $3::bigint"},
};

struct uses_reader {
    struct pg *pg;
    struct pg_args args;
};

struct uses_reader *uses_reader_create(const char *database_url)
{
    struct uses_reader *reader = mem_zalloc(sizeof *reader);
    reader->pg = pg_create(&(struct pg_options){
        .url = database_url,
        .role = "firstcome_command",
        .application = "firstcome requests",
        .statement_timeout_ms = STATEMENT_MS,
        .lock_timeout_ms = STATEMENT_MS,
        .idle_in_transaction_timeout_ms = 1000,
        .read_write = true, /* a standby may be behind */
        .statements = statements,
        .statements_count = COUNT_OF(statements),
    });
    pg_args_init(&reader->args);
    return reader;
}

void uses_reader_destroy(struct uses_reader *reader)
{
    if (!reader)
        return;
    pg_destroy(reader->pg);
    pg_args_deinit(&reader->args);
    mem_free(reader);
}

const char *uses_reader_error(const struct uses_reader *reader)
{
    return pg_error(reader->pg);
}

bool uses_read(struct uses_reader *reader, const uint8_t key_hash[REQUEST_KEY_BYTES], int64_t deadline_us,
               struct pg_rows **ret)
{
    struct pg_args *args = &reader->args;
    int64_t connect_us = clock_deadline_us(CONNECT_MS);
    if (!pg_connected(reader->pg) &&
        pg_connect(reader->pg, connect_us < deadline_us ? connect_us : deadline_us) != PG_OK)
        return false;
    pg_args_reset(args);
    pg_array_begin(args, PG_INT2);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        pg_array_i16(args, slice);
    pg_array_end(args);
    pg_arg_bytes(args, (struct span){(const char *)key_hash, REQUEST_KEY_BYTES});
    pg_arg_i64(args, USES_MAX);
    return pg_call(reader->pg, 0, args, deadline_us, ret) == PG_OK;
}

bool uses_row(const struct pg_rows *rows, int row, struct arena *arena, struct key_use *ret)
{
    enum { SLICE, OPERATION, STATUS, ANSWER, EFFECT, ISSUED = EFFECT + LOG_COLUMN_COUNT };
    uint64_t operation = (uint64_t)pg_i64(rows, row, OPERATION);
    *ret = (struct key_use){
        .slice = (int16_t)pg_i64(rows, row, SLICE),
        .status = (int)pg_i64(rows, row, STATUS),
        .answer = pg_bytes(rows, row, ANSWER),
        .has_effect = !pg_is_null(rows, row, EFFECT),
        .has_issued = !pg_is_null(rows, row, ISSUED),
    };
    for (size_t i = 0; i < sizeof ret->operation; i++)
        ret->operation[i] = (uint8_t)(operation >> (56 - 8 * i));
    return (!ret->has_effect || event_log_row(rows, row, EFFECT, arena, &ret->effect) == CODEC_OK) &&
           (!ret->has_issued || event_log_row(rows, row, ISSUED, arena, &ret->issued) == CODEC_OK);
}
