/* SPDX-License-Identifier: Apache-2.0 */
/* The connection that table control is read over. It never writes. */
#include "events/control/reader.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "events/event.h"

enum { SQL_CONTROL, SQL_COUNT };

static const struct pg_statement statements[SQL_COUNT] = {
    /* As many rows as there are settings and keys that were ever suspended; without kind where there is none;
     * no row at all where the slice is another database's: that its table is empty says nothing. */
    [SQL_CONTROL] = {"control",
                     "SELECT n.at, c.kind, c.name, c.value, c.position FROM (SELECT clock_timestamp() AS at"
                     " FROM slice s WHERE s.slice = $1::smallint) AS n"
                     " LEFT JOIN control c ON c.slice = $1::smallint"},
};

struct control_reader {
    struct pg *pg;
    struct pg_args args;
    int64_t connect_ms;
    bool elsewhere; /* the database that was asked last does not own the slice */
};

struct control_reader *control_reader_create(const char *url, const char *role, bool read_write)
{
    struct control_reader *reader = mem_zalloc(sizeof *reader);
    reader->pg = pg_create(&(struct pg_options){
        .url = url,
        .role = role,
        .application = "firstcome control",
        .statement_timeout_ms = CONTROL_STATEMENT_MS,
        .lock_timeout_ms = CONTROL_STATEMENT_MS,
        .idle_in_transaction_timeout_ms = 1000,
        .read_write = read_write,
        .statements = statements,
        .statements_count = SQL_COUNT,
        .schema = SCHEMA_MIN,
    });
    pg_args_init(&reader->args);
    reader->connect_ms = CONTROL_CONNECT_MS;
    return reader;
}

void control_reader_destroy(struct control_reader *reader)
{
    if (!reader)
        return;
    pg_destroy(reader->pg);
    pg_args_deinit(&reader->args);
    mem_free(reader);
}

static void apply(const struct pg_rows *rows, const struct keyring *keyring, struct control_state *state,
                  void (*unknown)(const struct control_row *row))
{
    enum { KIND = 1, NAME, VALUE, POSITION };
    for (int i = 0; i < pg_rows_count(rows); i++) {
        const struct control_row row = {
            .kind = pg_i64(rows, i, KIND),
            .name = pg_bytes(rows, i, NAME),
            .value = pg_bytes(rows, i, VALUE),
            .position = pg_i64(rows, i, POSITION),
        };
        if (!pg_is_null(rows, i, KIND) && !control_state_apply(state, &row, keyring))
            unknown(&row);
    }
    state->known = true;
}

static bool connected(struct control_reader *reader)
{
    if (pg_connected(reader->pg))
        return true;
    bool good = pg_connect(reader->pg, clock_deadline_us(reader->connect_ms)) == PG_OK;
    if (good)
        reader->connect_ms = CONTROL_CONNECT_MS;
    else if (reader->connect_ms < CONTROL_CONNECT_MAX_MS)
        reader->connect_ms *= 2;
    return good;
}

bool control_reader_read(struct control_reader *reader, const struct keyring *keyring,
                         struct control_state *state, struct control_clock *ret_clock,
                         void (*unknown)(const struct control_row *row))
{
    struct pg_rows *rows = NULL;
    reader->elsewhere = false;
    if (!connected(reader))
        return false;
    pg_args_reset(&reader->args);
    pg_arg_i16(&reader->args, CONTROL_SLICE);
    struct control_clock clock = {.sent_us = clock_mono_us()};
    if (pg_call(reader->pg, SQL_CONTROL, &reader->args, clock_deadline_us(CONTROL_READ_MS), &rows) != PG_OK)
        return false;
    clock.received_us = clock_mono_us();
    reader->elsewhere = pg_rows_count(rows) == 0;
    if (reader->elsewhere) {
        pg_rows_destroy(rows);
        pg_disconnect(reader->pg);
        return false;
    }
    clock.wall_us = pg_time(rows, 0, 0);
    apply(rows, keyring, state, unknown);
    pg_rows_destroy(rows);
    *ret_clock = clock;
    return true;
}

const char *control_reader_error(const struct control_reader *reader)
{
    return reader->elsewhere ? "the database does not own the slice of settings: the shard map is another"
                             : pg_error(reader->pg);
}

bool control_reader_connected(const struct control_reader *reader)
{
    return pg_connected(reader->pg);
}
