/* SPDX-License-Identifier: Apache-2.0 */
/* The statements of the sweep. */
#include "command-service/store/due.h"

#include "events/shards.h"

enum { SQL_NOW, SQL_CAMPAIGNS, SQL_RESERVATIONS, SQL_QUOTAS, SQL_COUNT };

/* In order of time, so that what is overdue longest comes first. Every look begins behind what the last one
 * saw (after_us), because a reservation that is gone leaves a dead entry in the index: as long as any
 * transaction may still see it, it cannot be skipped, and the front of the index fills with them. */
static const struct pg_statement statements[SQL_COUNT] = {
    [SQL_NOW] = {"due_now", "SELECT statement_timestamp()"},
    [SQL_CAMPAIGNS] = {"due_campaigns",
                       "SELECT c.id FROM campaign c WHERE c.slice = $1::smallint AND c.due_at <= "
                       "statement_timestamp() AND NOT (c.id = ANY ($2::text[])) ORDER BY c.due_at LIMIT "
                       "$3::bigint"},
    [SQL_RESERVATIONS] =
        {"due_reservations",
         "SELECT k.position FROM coupon k WHERE k.slice = $1::smallint AND k.state = 2 AND k.reserved_until "
         "> $2::timestamptz AND k.reserved_until <= statement_timestamp() AND NOT (k.position = ANY "
         "($3::bigint[])) ORDER BY k.reserved_until LIMIT $4::bigint"},
    /* $1 slices, $2 scopes, $3 a day since 1970; '#' has none. */
    [SQL_QUOTAS] =
        {"due_quotas",
         "SELECT w.nr, sum(q.used)::bigint FROM unnest($2::text[]) WITH ORDINALITY AS w(scope, nr) CROSS "
         "JOIN unnest($1::smallint[]) AS s(slice) CROSS JOIN LATERAL (SELECT q.used FROM creation_quota q "
         "WHERE "
         "q.slice = s.slice AND q.scope = w.scope AND q.day = 'epoch'::date + CASE w.scope WHEN '#' THEN 0 "
         "ELSE $3::bigint::int END) q GROUP BY w.nr"},
};

void due_init(struct reader *reader, const char *database_url)
{
    reader_init(reader, database_url, "firstcome sweep", DUE_STATEMENT_MS, statements, SQL_COUNT);
}

static void send_look(struct reader *reader, const struct due_query *query)
{
    struct pg_args *args = &reader->args;
    pg_send(reader->pg, SQL_NOW, NULL);
    pg_args_reset(args);
    pg_arg_i16(args, query->slice);
    pg_array_begin(args, PG_TEXT);
    for (size_t i = 0; i < query->aside_count; i++)
        if (query->aside[i].campaign_id_len)
            pg_array_bytes(args, (struct span){query->aside[i].campaign_id, query->aside[i].campaign_id_len});
    pg_array_end(args);
    pg_arg_i64(args, DUE_MAX);
    pg_send(reader->pg, SQL_CAMPAIGNS, args);
    pg_args_reset(args);
    pg_arg_i16(args, query->slice);
    pg_arg_time(args, query->after_us);
    pg_array_begin(args, PG_INT8);
    for (size_t i = 0; i < query->aside_count; i++)
        if (!query->aside[i].campaign_id_len)
            pg_array_i64(args, query->aside[i].position);
    pg_array_end(args);
    pg_arg_i64(args, DUE_MAX);
    pg_send(reader->pg, SQL_RESERVATIONS, args);
    pg_sync(reader->pg);
}

static void take_rows(const struct pg_rows *rows, bool campaigns, struct due_found *ret)
{
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct due_item *item = &ret->items[ret->count++];
        struct span id = campaigns ? pg_bytes(rows, row, 0) : SPAN("");
        CHECK(id.len <= sizeof item->campaign_id);
        *item =
            (struct due_item){.campaign_id_len = id.len, .position = campaigns ? 0 : pg_i64(rows, row, 0)};
        memcpy(item->campaign_id, id.ptr, id.len);
    }
}

bool due_find(struct reader *reader, const struct due_query *query, int64_t deadline_us,
              struct due_found *ret)
{
    bool connected = true;
    ret->count = 0;
    ret->now_us = 0;
    ret->whole = ret->refused = false;
    send_look(reader, query);
    for (size_t statement = SQL_NOW; connected && statement <= SQL_RESERVATIONS; statement++) {
        struct pg_rows *rows = NULL;
        enum pg_status status = pg_receive(reader->pg, deadline_us, &rows);
        connected = status == PG_OK || status == PG_REFUSED;
        ret->refused |= status == PG_REFUSED;
        if (status == PG_OK && statement == SQL_NOW)
            ret->now_us = pg_time(rows, 0, 0);
        else if (status == PG_OK)
            take_rows(rows, statement == SQL_CAMPAIGNS, ret);
        if (status == PG_OK && statement == SQL_RESERVATIONS)
            ret->whole = pg_rows_count(rows) < DUE_MAX;
        pg_rows_destroy(rows);
    }
    return connected;
}

bool due_quotas(struct reader *reader, unsigned slices, const struct span *scopes, size_t count, int64_t day,
                int64_t deadline_us, bool *ret_read, int64_t *ret_used)
{
    struct pg_args *args = &reader->args;
    struct pg_rows *rows = NULL;
    pg_args_reset(args);
    slices_arg(args, slices);
    pg_array_begin(args, PG_TEXT);
    for (size_t i = 0; i < count; i++)
        pg_array_bytes(args, scopes[i]);
    pg_array_end(args);
    pg_arg_i64(args, day);
    enum pg_status status = pg_call(reader->pg, SQL_QUOTAS, args, deadline_us, &rows);
    *ret_read = status == PG_OK;
    memset(ret_used, 0, count * sizeof *ret_used);
    for (int row = 0; *ret_read && row < pg_rows_count(rows); row++)
        ret_used[pg_i64(rows, row, 0) - 1] = pg_i64(rows, row, 1);
    pg_rows_destroy(rows);
    return status == PG_OK || status == PG_REFUSED;
}
