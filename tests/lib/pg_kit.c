/* SPDX-License-Identifier: Apache-2.0 */
/* Statements, connections and one-line calls for tests/platform/pg_test.c and
 * tests/platform/pg_faults_test.c. */
#include "tests/lib/pg_kit.h"

#include "common/base/clock.h"

struct stack *pg_kit_stack;

static const struct pg_statement statements[STATEMENTS] = {
    [ECHO_VALUES] = {"echo_values",
                     "SELECT $1::int2, $2::int4, $3::int8, $4::bool, $5::timestamptz, $6::text,"
                     " $7::bytea, $8::uuid, $9::text"},
    [ECHO_ARRAYS] = {"echo_arrays", "SELECT * FROM unnest($1::int2[], $2::int8[], $3::text[], $4::bytea[],"
                                    " $5::timestamptz[], $6::uuid[])"},
    [COUNT_ARRAY] = {"count_array", "SELECT count(*), cardinality($1::int8[]) FROM unnest($1::int8[])"},
    [INSERT_ITEM] = {"insert_item", "INSERT INTO test_pg.item (id) VALUES ($1::int8)"},
    [INSERT_ITEMS] = {"insert_items", "INSERT INTO test_pg.item (id) SELECT * FROM unnest($1::int8[])"},
    [COUNT_ITEMS] = {"count_items", "SELECT count(*) FROM test_pg.item"},
    [CLEAR_ITEMS] = {"clear_items", "DELETE FROM test_pg.item"},
    [LOCK_ITEM] = {"lock_item", "SELECT id FROM test_pg.item WHERE id = $1::int8 FOR UPDATE"},
    [INSERT_CHILD] = {"insert_child", "INSERT INTO test_pg.child (parent) VALUES ($1::int8)"},
    [CAST_UUID] = {"cast_uuid", "SELECT $1::text::uuid"},
    [SLEEP] = {"sleep", "SELECT pg_sleep($1::int4)"},
    [BACKEND_PID] = {"backend_pid", "SELECT pg_backend_pid()"},
    [TERMINATE] = {"terminate", "SELECT pg_terminate_backend($1::int4)"},
    [BACKEND_EXISTS] = {"backend_exists", "SELECT count(*) FROM pg_stat_activity WHERE pid = $1::int4"},
    [ECHO_BYTES] = {"echo_bytes", "SELECT $1::bytea"},
    [SETTING] = {"setting", "SELECT current_setting($1::text)"},
    [WHO] = {"who", "SELECT current_user::text, session_user::text"},
    [READ_ONLY] = {"read_only", "SET TRANSACTION READ ONLY"},
    [BEGIN] = {"begin", "BEGIN"},
    [COMMIT] = {"commit", "COMMIT"},
};

static const struct pg_statement schema_statements[] = {
    {"schema", "CREATE SCHEMA test_pg"},
    {"items", "CREATE TABLE test_pg.item (id int8 CONSTRAINT item_is_unique PRIMARY KEY)"},
    {"children", "CREATE TABLE test_pg.child (parent int8 CONSTRAINT child_has_parent REFERENCES test_pg.item"
                 " DEFERRABLE INITIALLY DEFERRED)"},
};

struct pg_options pg_kit_options_of(const char *url)
{
    return (struct pg_options){.url = url,
                               .application = "pg_test",
                               .statement_timeout_ms = 10000,
                               .lock_timeout_ms = 5000,
                               .idle_in_transaction_timeout_ms = 10000,
                               .statements = statements,
                               .statements_count = STATEMENTS};
}

struct pg *pg_kit_connect_with(const struct pg_options *options)
{
    struct pg *pg = pg_create(options);
    enum pg_status status = pg_connect(pg, clock_deadline_us(LONG_MS));
    if (status != PG_OK)
        fail_msg("connecting: %d %s", status, pg_error(pg));
    return pg;
}

struct pg *pg_kit_connected(void)
{
    struct pg_options options = pg_kit_options_of(stack_env(pg_kit_stack, "DATABASE_URL"));
    return pg_kit_connect_with(&options);
}

struct pg_rows *pg_kit_receive(struct pg *pg)
{
    struct pg_rows *rows;
    enum pg_status status = pg_receive(pg, clock_deadline_us(LONG_MS), &rows);
    if (status != PG_OK)
        fail_msg("receiving: %d %s", status, pg_error(pg));
    return rows;
}

struct pg_rows *pg_kit_call(struct pg *pg, enum statement statement, const struct pg_args *args)
{
    pg_send(pg, statement, args);
    pg_sync(pg);
    return pg_kit_receive(pg);
}

int64_t pg_kit_ask(struct pg *pg, enum statement statement, int32_t argument)
{
    struct pg_args args;
    pg_args_init(&args);
    if (strchr(statements[statement].sql, '$'))
        pg_arg_i32(&args, argument);
    struct pg_rows *rows = pg_kit_call(pg, statement, &args);
    int64_t answer = pg_rows_count(rows) > 0 ? pg_i64(rows, 0, 0) : pg_affected(rows);
    pg_rows_destroy(rows);
    pg_args_deinit(&args);
    return answer;
}

void pg_kit_send_i64(struct pg *pg, enum statement statement, int64_t value)
{
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_i64(&args, value);
    pg_send(pg, statement, &args);
    pg_args_deinit(&args);
}

void pg_kit_send_i32(struct pg *pg, enum statement statement, int32_t value)
{
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_i32(&args, value);
    pg_send(pg, statement, &args);
    pg_args_deinit(&args);
}

enum pg_status pg_kit_next(struct pg *pg, int64_t timeout_ms)
{
    struct pg_rows *rows;
    enum pg_status status = pg_receive(pg, clock_deadline_us(timeout_ms), &rows);
    pg_rows_destroy(rows);
    return status;
}

void pg_kit_assert_usable(struct pg *pg)
{
    assert_true(pg_connected(pg));
    assert_true(pg_kit_ask(pg, BACKEND_PID, 0) > 0);
    assert_string_equal(pg_sqlstate(pg), "");
}

int pg_kit_set_up(void **)
{
    pg_kit_stack = stack_start(STACK_SERVERS);
    struct pg_options options = pg_kit_options_of(stack_env(pg_kit_stack, "DATABASE_URL"));
    for (size_t i = 0; i < COUNT_OF(schema_statements); i++) {
        options.statements = &schema_statements[i];
        options.statements_count = 1;
        struct pg *pg = pg_kit_connect_with(&options);
        pg_send(pg, 0, NULL);
        pg_sync(pg);
        pg_rows_destroy(pg_kit_receive(pg));
        pg_destroy(pg);
    }
    return 0;
}

int pg_kit_tear_down(void **)
{
    stack_stop(pg_kit_stack);
    return 0;
}
