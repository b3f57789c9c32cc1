/* SPDX-License-Identifier: Apache-2.0 */
/* The statement that reads holders. */
#include "command-service/store/holders.h"

#include "common/base/clock.h"
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

void holders_init(struct reader *reader, const char *database_url)
{
    reader_init(reader, database_url, "firstcome holders", STATEMENT_MS, statements, COUNT_OF(statements));
}

bool holders_read(struct reader *reader, const struct holders_query *query, struct pg_rows **ret)
{
    struct span campaign_id = {query->campaign_id, query->campaign_id_len};
    if (!reader_connect(reader, clock_deadline_us(CONNECT_MS)))
        return false;
    pg_args_reset(&reader->args);
    pg_arg_i16(&reader->args, slice_of(campaign_id));
    pg_arg_bytes(&reader->args, campaign_id);
    pg_arg_i64(&reader->args, query->after);
    pg_arg_i64(&reader->args, RUNS_AT_ONCE);
    return pg_call(reader->pg, 0, &reader->args, clock_deadline_us(EXCHANGE_MS), ret) == PG_OK;
}
