/* SPDX-License-Identifier: Apache-2.0 */
/* The statement that reads holders. */
#include "command-service/store/holders.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "events/ids.h"

enum {
    RUNS_AT_ONCE = 16, /* each as many as one batch issued */
    EXCHANGE_MS = 2000,
    STATEMENT_MS = 500,
    CONNECT_MS = 1000,
};

static const struct pg_statement statements[] = {
    {"holders",
     "SELECT e.user_id FROM (SELECT * FROM issue_run r WHERE r.slice = $1::smallint AND r.campaign_id = "
     "$2::text AND r.first_sequence > $3::bigint ORDER BY r.first_sequence LIMIT $4::bigint) r CROSS JOIN "
     "LATERAL (SELECT e.user_id FROM event e WHERE e.slice = $1::smallint AND e.position BETWEEN "
     "r.first_position AND r.last_position AND e.campaign_id = $2::text AND e.type = 6) e"},
};

struct holders_reader {
    struct pg *pg;
    struct pg_args args;
};

struct holders_reader *holders_reader_create(const char *database_url)
{
    struct holders_reader *reader = mem_zalloc(sizeof *reader);
    reader->pg = pg_create(&(struct pg_options){
        .url = database_url,
        .role = "firstcome_command",
        .application = "firstcome holders",
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

void holders_reader_destroy(struct holders_reader *reader)
{
    if (!reader)
        return;
    pg_destroy(reader->pg);
    pg_args_deinit(&reader->args);
    mem_free(reader);
}

const char *holders_reader_error(const struct holders_reader *reader)
{
    return pg_error(reader->pg);
}

bool holders_read(struct holders_reader *reader, const struct holders_query *query, struct pg_rows **ret)
{
    struct span campaign_id = {query->campaign_id, query->campaign_id_len};
    if (!pg_connected(reader->pg) && pg_connect(reader->pg, clock_deadline_us(CONNECT_MS)) != PG_OK)
        return false;
    pg_args_reset(&reader->args);
    pg_arg_i16(&reader->args, slice_of(campaign_id));
    pg_arg_bytes(&reader->args, campaign_id);
    pg_arg_i64(&reader->args, query->after);
    pg_arg_i64(&reader->args, RUNS_AT_ONCE);
    return pg_call(reader->pg, 0, &reader->args, clock_deadline_us(EXCHANGE_MS), ret) == PG_OK;
}
