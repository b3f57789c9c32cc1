/* SPDX-License-Identifier: Apache-2.0 */
/* The connection that only reads. */
#include "command-service/store/reader.h"

#include "events/event.h"

void reader_init(struct reader *reader, const char *database_url, const char *application,
                 int64_t statement_ms, const struct pg_statement *statements, size_t statements_count)
{
    reader->pg = pg_create(&(struct pg_options){
        .url = database_url,
        .role = "firstcome_command",
        .application = application,
        .statement_timeout_ms = statement_ms,
        .lock_timeout_ms = statement_ms,
        .idle_in_transaction_timeout_ms = 1000,
        .read_write = true, /* a standby may be behind */
        .first_few = true,
        .statements = statements,
        .statements_count = statements_count,
        .schema = SCHEMA_MIN,
    });
    pg_args_init(&reader->args);
}

void reader_deinit(struct reader *reader)
{
    pg_destroy(reader->pg);
    pg_args_deinit(&reader->args);
}

bool reader_connect(struct reader *reader, int64_t deadline_us)
{
    return pg_connected(reader->pg) || pg_connect(reader->pg, deadline_us) == PG_OK;
}
