/* SPDX-License-Identifier: Apache-2.0 */
/* common/pg against a real PostgreSQL: what goes in comes out, refusals leave the connection usable, and no
 * failure of server or network outlasts a deadline. */
#include "common/pg.h"

#include "common/clock.h"
#include "common/mem.h"
#include "tests/lib/stack.h"
#include "tests/lib/wait.h"

enum { LONG_MS = 20000, SHORT_MS = 300, LATE_MS = 3000 };

static struct stack *stack;

enum statement {
    ECHO_VALUES,
    ECHO_ARRAYS,
    COUNT_ARRAY,
    INSERT_ITEM,
    INSERT_ITEMS,
    COUNT_ITEMS,
    CLEAR_ITEMS,
    LOCK_ITEM,
    INSERT_CHILD,
    CAST_UUID,
    SLEEP,
    BACKEND_PID,
    TERMINATE,
    BACKEND_EXISTS,
    ECHO_BYTES,
    SETTING,
    WHO,
    READ_ONLY,
    BEGIN,
    COMMIT,
    STATEMENTS
};

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

static struct pg_options options_of(const char *url)
{
    return (struct pg_options){.url = url,
                               .application = "pg_test",
                               .statement_timeout_ms = 10000,
                               .lock_timeout_ms = 5000,
                               .idle_in_transaction_timeout_ms = 10000,
                               .statements = statements,
                               .statements_count = STATEMENTS};
}

static struct pg *connect_with(const struct pg_options *options)
{
    struct pg *pg = pg_create(options);
    enum pg_status status = pg_connect(pg, clock_deadline_us(LONG_MS));
    if (status != PG_OK)
        fail_msg("connecting: %d %s", status, pg_error(pg));
    return pg;
}

static struct pg *connected(void)
{
    struct pg_options options = options_of(stack_env(stack, "DATABASE_URL"));
    return connect_with(&options);
}

static struct pg_rows *receive(struct pg *pg)
{
    struct pg_rows *rows;
    enum pg_status status = pg_receive(pg, clock_deadline_us(LONG_MS), &rows);
    if (status != PG_OK)
        fail_msg("receiving: %d %s", status, pg_error(pg));
    return rows;
}

static struct pg_rows *call(struct pg *pg, enum statement statement, const struct pg_args *args)
{
    pg_send(pg, statement, args);
    pg_sync(pg);
    return receive(pg);
}

/* The one number that a statement with at most one number as argument answers. */
static int64_t ask(struct pg *pg, enum statement statement, int32_t argument)
{
    struct pg_args args;
    pg_args_init(&args);
    if (strchr(statements[statement].sql, '$'))
        pg_arg_i32(&args, argument);
    struct pg_rows *rows = call(pg, statement, &args);
    int64_t answer = pg_rows_count(rows) && pg_affected(rows) ? pg_i64(rows, 0, 0) : pg_affected(rows);
    pg_rows_destroy(rows);
    pg_args_deinit(&args);
    return answer;
}

static void send_i64(struct pg *pg, enum statement statement, int64_t value)
{
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_i64(&args, value);
    pg_send(pg, statement, &args);
    pg_args_deinit(&args);
}

static void send_i32(struct pg *pg, enum statement statement, int32_t value)
{
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_i32(&args, value);
    pg_send(pg, statement, &args);
    pg_args_deinit(&args);
}

static enum pg_status next(struct pg *pg, int64_t timeout_ms)
{
    struct pg_rows *rows;
    enum pg_status status = pg_receive(pg, clock_deadline_us(timeout_ms), &rows);
    pg_rows_destroy(rows);
    return status;
}

static void assert_usable(struct pg *pg)
{
    assert_true(pg_connected(pg));
    assert_true(ask(pg, BACKEND_PID, 0) > 0);
    assert_string_equal(pg_sqlstate(pg), "");
}

static const char uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, (char)255};
static const int64_t times[] = {1, 946684800000000, 1793193722123456, INT64_MAX, INT64_MIN};

static void values_round_trip(void **state)
{
    (void)state;
    struct pg *pg = connected();
    struct pg_args args;
    pg_args_init(&args);
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        pg_args_reset(&args);
        pg_arg_i16(&args, INT16_MIN);
        pg_arg_i32(&args, INT32_MIN);
        pg_arg_i64(&args, INT64_MIN);
        pg_arg_bool(&args, true);
        pg_arg_time(&args, times[i]);
        pg_arg_bytes(&args, SPAN("gr\xc3\xbc\xc3\x9f"));
        pg_arg_bytes(&args, SPAN("a\0b\xff"));
        pg_arg_bytes(&args, (struct span){uuid, 16});
        pg_arg_null(&args);
        struct pg_rows *rows = call(pg, ECHO_VALUES, &args);
        assert_int_equal(pg_rows_count(rows), 1);
        assert_int_equal(pg_i64(rows, 0, 0), INT16_MIN);
        assert_int_equal(pg_i64(rows, 0, 1), INT32_MIN);
        assert_int_equal(pg_i64(rows, 0, 2), INT64_MIN);
        assert_int_equal(pg_i64(rows, 0, 3), 1);
        assert_int_equal(pg_time(rows, 0, 4), times[i]);
        assert_true(span_is(pg_bytes(rows, 0, 5), "gr\xc3\xbc\xc3\x9f"));
        assert_true(span_equal(pg_bytes(rows, 0, 6), SPAN("a\0b\xff")));
        assert_true(span_equal(pg_bytes(rows, 0, 7), (struct span){uuid, 16}));
        assert_true(pg_is_null(rows, 0, 8));
        assert_null(pg_bytes(rows, 0, 8).ptr);
        assert_int_equal(pg_time(rows, 0, 8), 0);
        pg_rows_destroy(rows);
    }
    pg_args_deinit(&args);
    pg_destroy(pg);
}

static void add_arrays(struct pg_args *args)
{
    struct span null = {0};
    pg_array_begin(args, PG_INT2);
    pg_array_i16(args, -7);
    pg_array_bytes(args, null);
    pg_array_end(args);
    pg_array_begin(args, PG_INT8);
    pg_array_i64(args, INT64_MAX);
    pg_array_bytes(args, null);
    pg_array_end(args);
    pg_array_begin(args, PG_TEXT);
    pg_array_bytes(args, SPAN("{\"quoted\\,"));
    pg_array_bytes(args, null);
    pg_array_end(args);
    pg_array_begin(args, PG_BYTEA);
    pg_array_bytes(args, SPAN(""));
    pg_array_bytes(args, null);
    pg_array_end(args);
    pg_array_begin(args, PG_TIMESTAMPTZ);
    pg_array_time(args, times[2]);
    pg_array_bytes(args, null);
    pg_array_end(args);
    pg_array_begin(args, PG_UUID);
    pg_array_bytes(args, (struct span){uuid, 16});
    pg_array_bytes(args, null);
    pg_array_end(args);
}

static void arrays_round_trip(void **state)
{
    (void)state;
    struct pg *pg = connected();
    struct pg_args args;
    pg_args_init(&args);
    add_arrays(&args);
    struct pg_rows *rows = call(pg, ECHO_ARRAYS, &args);
    assert_int_equal(pg_rows_count(rows), 2);
    assert_int_equal(pg_i64(rows, 0, 0), -7);
    assert_int_equal(pg_i64(rows, 0, 1), INT64_MAX);
    assert_true(span_is(pg_bytes(rows, 0, 2), "{\"quoted\\,"));
    assert_false(pg_is_null(rows, 0, 3));
    assert_int_equal(pg_bytes(rows, 0, 3).len, 0);
    assert_int_equal(pg_time(rows, 0, 4), times[2]);
    assert_true(span_equal(pg_bytes(rows, 0, 5), (struct span){uuid, 16}));
    for (int column = 0; column < 6; column++)
        assert_true(pg_is_null(rows, 1, column));
    pg_rows_destroy(rows);

    pg_args_reset(&args);
    pg_array_begin(&args, PG_INT8);
    pg_array_end(&args);
    rows = call(pg, COUNT_ARRAY, &args);
    assert_int_equal(pg_i64(rows, 0, 0), 0);
    assert_int_equal(pg_i64(rows, 0, 1), 0);
    pg_rows_destroy(rows);
    pg_args_deinit(&args);
    pg_destroy(pg);
}

static void large_array(void **state)
{
    (void)state;
    enum { ITEMS = 50000 };
    struct pg *pg = connected();
    struct pg_args args;
    pg_args_init(&args);
    pg_array_begin(&args, PG_INT8);
    for (int64_t i = 0; i < ITEMS; i++)
        pg_array_i64(&args, i);
    pg_array_end(&args);
    struct pg_rows *rows = call(pg, INSERT_ITEMS, &args);
    assert_int_equal(pg_affected(rows), ITEMS);
    assert_int_equal(pg_rows_count(rows), 0);
    pg_rows_destroy(rows);
    assert_int_equal(ask(pg, COUNT_ITEMS, 0), ITEMS);
    assert_int_equal(ask(pg, CLEAR_ITEMS, 0), ITEMS);
    pg_args_deinit(&args);
    pg_destroy(pg);
}

/* Without BEGIN a round is one transaction: the refusal takes the first insert with it. */
static void refusal_ends_the_round_only(void **state)
{
    (void)state;
    struct pg *pg = connected();
    send_i64(pg, INSERT_ITEM, 4711);
    send_i64(pg, INSERT_ITEM, 4711);
    send_i64(pg, INSERT_ITEM, 4712);
    pg_sync(pg);
    assert_int_equal(next(pg, LONG_MS), PG_OK);
    assert_int_equal(next(pg, LONG_MS), PG_REFUSED);
    assert_string_equal(pg_sqlstate(pg), "23505");
    assert_non_null(strstr(pg_error(pg), "item_is_unique"));
    assert_null(strstr(pg_error(pg), "4711"));
    assert_int_equal(next(pg, LONG_MS), PG_REFUSED);
    assert_string_equal(pg_sqlstate(pg), "23505");
    assert_usable(pg);
    assert_int_equal(ask(pg, COUNT_ITEMS, 0), 0);
    pg_destroy(pg);
}

static void refusal_in_transaction_is_rolled_back(void **state)
{
    (void)state;
    struct pg *pg = connected();
    for (int i = 0; i < 3; i++) {
        pg_send(pg, BEGIN, NULL);
        send_i64(pg, INSERT_ITEM, 1);
        pg_sync(pg);
        assert_int_equal(next(pg, LONG_MS), PG_OK);
        assert_int_equal(next(pg, LONG_MS), PG_OK);
        send_i64(pg, INSERT_ITEM, 1);
        pg_send(pg, COMMIT, NULL);
        pg_sync(pg);
        assert_int_equal(next(pg, LONG_MS), PG_REFUSED);
        assert_int_equal(next(pg, LONG_MS), PG_REFUSED);
        assert_string_equal(pg_sqlstate(pg), "23505");
    }
    assert_usable(pg);
    assert_int_equal(ask(pg, COUNT_ITEMS, 0), 0);
    pg_destroy(pg);
}

/* A commit that fails at the sync point must not look like success. */
static void refusal_at_commit_is_seen(void **state)
{
    (void)state;
    struct pg *pg = connected();
    send_i64(pg, INSERT_CHILD, 99);
    pg_sync(pg);
    assert_int_equal(next(pg, LONG_MS), PG_REFUSED);
    assert_string_equal(pg_sqlstate(pg), "23503");
    assert_usable(pg);
    pg_send(pg, BEGIN, NULL);
    send_i64(pg, INSERT_CHILD, 99);
    pg_send(pg, COMMIT, NULL);
    pg_sync(pg);
    assert_int_equal(next(pg, LONG_MS), PG_OK);
    assert_int_equal(next(pg, LONG_MS), PG_OK);
    assert_int_equal(next(pg, LONG_MS), PG_REFUSED);
    assert_usable(pg);
    pg_destroy(pg);
}

static void errors_do_not_quote_values(void **state)
{
    (void)state;
    struct pg *pg = connected();
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_bytes(&args, SPAN("secret-value"));
    pg_send(pg, CAST_UUID, &args);
    pg_sync(pg);
    assert_int_equal(next(pg, LONG_MS), PG_REFUSED);
    assert_string_equal(pg_sqlstate(pg), "22P02");
    assert_null(strstr(pg_error(pg), "secret"));
    assert_usable(pg);
    pg_args_deinit(&args);
    pg_destroy(pg);
}

static void server_side_timeouts_refuse(void **state)
{
    (void)state;
    struct pg_options options = options_of(stack_env(stack, "DATABASE_URL"));
    options.statement_timeout_ms = 400;
    options.lock_timeout_ms = 100;
    struct pg *pg = connect_with(&options), *holder = connected();
    send_i32(pg, SLEEP, 30);
    pg_sync(pg);
    assert_int_equal(next(pg, LONG_MS), PG_REFUSED);
    assert_string_equal(pg_sqlstate(pg), "57014");
    assert_usable(pg);

    send_i64(holder, INSERT_ITEM, 5);
    pg_sync(holder);
    assert_int_equal(next(holder, LONG_MS), PG_OK);
    pg_send(holder, BEGIN, NULL);
    send_i64(holder, LOCK_ITEM, 5);
    pg_sync(holder);
    assert_int_equal(next(holder, LONG_MS), PG_OK);
    assert_int_equal(next(holder, LONG_MS), PG_OK);
    send_i64(pg, LOCK_ITEM, 5);
    pg_sync(pg);
    assert_int_equal(next(pg, LONG_MS), PG_REFUSED);
    assert_string_equal(pg_sqlstate(pg), "55P03");
    assert_usable(pg);
    pg_destroy(holder); /* rolls back */
    WAIT_UNTIL(ask(pg, CLEAR_ITEMS, 0) == 1, LONG_MS);
    pg_destroy(pg);
}

/* The server notices by itself that nobody waits for the statement any more, and ends it. */
static void deadline_closes_the_connection(void **state)
{
    (void)state;
    struct pg *pg = connected(), *other = connected();
    int32_t backend = (int32_t)ask(pg, BACKEND_PID, 0);
    send_i32(pg, SLEEP, 9);
    pg_sync(pg);
    int64_t start_us = clock_mono_us();
    assert_int_equal(next(pg, SHORT_MS), PG_TIMEOUT);
    assert_in_range(clock_mono_us() - start_us, SHORT_MS * US_PER_MS, LATE_MS * US_PER_MS);
    assert_false(pg_connected(pg));
    assert_int_equal(pg_socket(pg), -1);
    assert_int_equal(next(pg, SHORT_MS), PG_LOST);
    WAIT_UNTIL(ask(other, BACKEND_EXISTS, backend) == 0, 5000);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);
    assert_usable(pg);
    pg_destroy(other);
    pg_destroy(pg);
}

static void terminated_backend_is_lost(void **state)
{
    (void)state;
    struct pg *pg = connected(), *other = connected();
    int32_t backend = (int32_t)ask(pg, BACKEND_PID, 0);
    send_i32(pg, SLEEP, 9);
    send_i32(pg, SLEEP, 9);
    pg_sync(pg);
    assert_int_equal(next(pg, 0), PG_TIMEOUT); /* what was sent is on its way */
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);

    backend = (int32_t)ask(pg, BACKEND_PID, 0);
    assert_int_equal(ask(other, TERMINATE, backend), 1); /* idle */
    WAIT_UNTIL(ask(other, BACKEND_EXISTS, backend) == 0, LONG_MS);
    send_i32(pg, SLEEP, 0);
    send_i32(pg, SLEEP, 0);
    pg_sync(pg);
    assert_int_equal(next(pg, LONG_MS), PG_LOST);
    assert_int_equal(next(pg, LONG_MS), PG_LOST);
    assert_false(pg_connected(pg));
    assert_string_equal(pg_sqlstate(pg), "");

    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);
    backend = (int32_t)ask(pg, BACKEND_PID, 0);
    send_i32(pg, SLEEP, 9);
    pg_sync(pg);
    send_i32(other, TERMINATE, backend); /* at work */
    pg_sync(other);
    assert_int_equal(next(pg, LONG_MS), PG_LOST);
    assert_int_equal(next(other, LONG_MS), PG_OK);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);
    assert_usable(pg);
    pg_destroy(other);
    pg_destroy(pg);
}

static void stopped_server_does_not_outlast_the_deadline(void **state)
{
    (void)state;
    struct pg *pg = connected(), *fresh;
    pid_t backend = (pid_t)ask(pg, BACKEND_PID, 0);
    struct pg_options options = options_of(stack_env(stack, "DATABASE_URL"));
    int64_t start_us = clock_mono_us();
    fresh = pg_create(&options);
    stack_signal(stack, "postgresql", SIGSTOP);
    assert_int_equal(pg_connect(fresh, clock_deadline_us(SHORT_MS)), PG_TIMEOUT);
    stack_signal(stack, "postgresql", SIGCONT);
    assert_in_range(clock_mono_us() - start_us, SHORT_MS * US_PER_MS, LATE_MS * US_PER_MS);
    assert_int_equal(pg_connect(fresh, clock_deadline_us(LONG_MS)), PG_OK);

    assert_int_equal(kill(backend, SIGSTOP), 0);
    start_us = clock_mono_us();
    pg_send(pg, BACKEND_PID, NULL);
    pg_sync(pg);
    assert_int_equal(next(pg, SHORT_MS), PG_TIMEOUT);
    assert_in_range(clock_mono_us() - start_us, SHORT_MS * US_PER_MS, LATE_MS * US_PER_MS);
    assert_int_equal(kill(backend, SIGCONT), 0);
    pg_destroy(fresh);
    pg_destroy(pg);
}

/* A stopped backend reads nothing: a large request fills every buffer, and the deadline still holds. */
static void full_buffers_do_not_outlast_the_deadline(void **state)
{
    (void)state;
    enum { BYTES = 32 * 1024 * 1024 };
    struct pg *pg = connected();
    pid_t backend = (pid_t)ask(pg, BACKEND_PID, 0);
    char *bytes = mem_zalloc(BYTES);
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_bytes(&args, (struct span){bytes, BYTES});
    assert_int_equal(kill(backend, SIGSTOP), 0);
    int64_t start_us = clock_mono_us();
    pg_send(pg, ECHO_BYTES, &args);
    pg_sync(pg);
    assert_int_equal(next(pg, SHORT_MS), PG_TIMEOUT);
    assert_in_range(clock_mono_us() - start_us, SHORT_MS * US_PER_MS, LATE_MS * US_PER_MS);
    assert_int_equal(kill(backend, SIGCONT), 0);
    mem_free(bytes);
    pg_args_deinit(&args);
    pg_destroy(pg);
}

/* Both directions far above any socket buffer: who only writes, or only reads, never ends. */
static void large_requests_and_results_at_once(void **state)
{
    (void)state;
    enum { BYTES = 4 * 1024 * 1024, COUNT = 12 };
    struct pg *pg = connected();
    char *bytes = mem_zalloc(BYTES);
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_bytes(&args, (struct span){bytes, BYTES});
    for (int i = 0; i < COUNT; i++)
        pg_send(pg, ECHO_BYTES, &args);
    pg_sync(pg);
    for (int i = 0; i < COUNT; i++) {
        struct pg_rows *rows = receive(pg);
        assert_int_equal(pg_bytes(rows, 0, 0).len, BYTES);
        pg_rows_destroy(rows);
    }
    assert_usable(pg);
    mem_free(bytes);
    pg_args_deinit(&args);
    pg_destroy(pg);
}

static void assert_setting(struct pg *pg, const char *name, const char *value)
{
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_bytes(&args, span_of(name));
    struct pg_rows *rows = call(pg, SETTING, &args);
    if (!span_is(pg_bytes(rows, 0, 0), value))
        fail_msg("%s is %.*s", name, SPAN_ARG(pg_bytes(rows, 0, 0)));
    pg_rows_destroy(rows);
    pg_args_deinit(&args);
}

static void settings_hold(void **state)
{
    (void)state;
    struct pg_options options = options_of(stack_env(stack, "DATABASE_URL"));
    options.statement_timeout_ms = 1234;
    options.lock_timeout_ms = 567;
    options.idle_in_transaction_timeout_ms = 8901;
    struct pg *pg = connect_with(&options);
    assert_setting(pg, "statement_timeout", "1234ms");
    assert_setting(pg, "lock_timeout", "567ms");
    assert_setting(pg, "idle_in_transaction_session_timeout", "8901ms");
    assert_setting(pg, "plan_cache_mode", "force_generic_plan");
    assert_setting(pg, "TimeZone", "UTC");
    assert_setting(pg, "application_name", "pg_test");
    assert_setting(pg, "client_encoding", "UTF8");
    assert_setting(pg, "tcp_user_timeout", "15000");
    pg_destroy(pg);
}

static void role_is_switched(void **state)
{
    (void)state;
    static const struct pg_statement who = {"who", "SELECT current_user::text, session_user::text"};
    struct pg_options options = options_of(stack_env(stack, "DATABASE_URL"));
    options.statements = &who;
    options.statements_count = 1;
    options.role = "firstcome_query";
    struct pg_rows *rows;
    struct pg *pg = connect_with(&options);
    assert_int_equal(pg_call(pg, 0, NULL, clock_deadline_us(LONG_MS), &rows), PG_OK);
    assert_true(span_is(pg_bytes(rows, 0, 0), "firstcome_query"));
    assert_true(span_is(pg_bytes(rows, 0, 1), "firstcome"));
    pg_rows_destroy(rows);
    pg_destroy(pg);

    options.role = "nobody'; DROP";
    pg = pg_create(&options);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_LOST);
    assert_non_null(strstr(pg_error(pg), "nobody"));
    pg_destroy(pg);
}

/* A standby that was the primary a moment ago: nothing is to be done there but leave. */
static void read_only_server_is_lost(void **state)
{
    (void)state;
    char url[512];
    struct pg *pg = connected();
    pg_send(pg, BEGIN, NULL);
    pg_send(pg, READ_ONLY, NULL);
    send_i64(pg, INSERT_ITEM, 1);
    pg_sync(pg);
    assert_int_equal(next(pg, LONG_MS), PG_OK);
    assert_int_equal(next(pg, LONG_MS), PG_OK);
    assert_int_equal(next(pg, LONG_MS), PG_LOST);
    assert_false(pg_connected(pg));
    pg_destroy(pg);

    snprintf(url, sizeof url, "%s?options=-c%%20default_transaction_read_only%%3Don",
             stack_env(stack, "DATABASE_URL"));
    struct pg_options options = options_of(url);
    pg = connect_with(&options);
    pg_destroy(pg);
    options.read_write = true;
    pg = pg_create(&options);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_LOST);
    pg_destroy(pg);
}

static void assert_connect_fails(const struct pg_options *options, const char *error)
{
    struct pg *pg = pg_create(options);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_LOST);
    assert_false(pg_connected(pg));
    if (!strstr(pg_error(pg), error))
        fail_msg("unexpected error: %s", pg_error(pg));
    assert_null(strstr(pg_error(pg), "wrong-password"));
    assert_null(strchr(pg_error(pg), '\n'));
    pg_destroy(pg);
}

static void connecting_fails_with_a_reason(void **state)
{
    (void)state;
    char url[256];
    int port = stack_port_base(stack) + 3;
    struct pg_options options = options_of(url);
    snprintf(url, sizeof url, "postgresql://firstcome:wrong-password@127.0.0.1:%d/firstcome", port);
    assert_connect_fails(&options, "password authentication failed");
    snprintf(url, sizeof url, "postgresql://firstcome@127.0.0.1:1/firstcome");
    assert_connect_fails(&options, "refused");
    snprintf(url, sizeof url, "postgresql://nonsense:port/");
    assert_connect_fails(&options, "connecting");

    static const struct pg_statement missing[] = {{"fine", "SELECT 1"},
                                                  {"count_nothing", "SELECT * FROM nothing"}};
    options = options_of(stack_env(stack, "DATABASE_URL"));
    options.statements = missing;
    options.statements_count = 2;
    assert_connect_fails(&options, "count_nothing");
}

static void next_host_is_tried(void **state)
{
    (void)state;
    char url[512];
    const char *own = strchr(stack_env(stack, "DATABASE_URL"), '@');
    const char *start = stack_env(stack, "DATABASE_URL");
    snprintf(url, sizeof url, "%.*s@127.0.0.1:1,%s", (int)(own - start), start, own + 1);
    struct pg_options options = options_of(url);
    options.read_write = true;
    struct pg *pg = connect_with(&options);
    assert_usable(pg);
    pg_destroy(pg);
}

static void not_connected_is_lost(void **state)
{
    (void)state;
    struct pg_options options = options_of(stack_env(stack, "DATABASE_URL"));
    struct pg *pg = pg_create(&options);
    struct pg_rows *rows;
    assert_false(pg_connected(pg));
    assert_int_equal(pg_call(pg, BACKEND_PID, NULL, clock_deadline_us(LONG_MS), &rows), PG_LOST);
    assert_null(rows);
    assert_non_null(strstr(pg_error(pg), "not connected"));
    pg_disconnect(pg);
    pg_destroy(pg);
    pg_destroy(NULL);
    pg_rows_destroy(NULL);
}

static void restarted_server_is_found_again(void **state)
{
    (void)state;
    struct pg *pg = connected();
    stack_signal(stack, "postgresql", SIGKILL);
    WAIT_UNTIL(stack_pid(stack, "postgresql") == 0, LONG_MS);
    pg_send(pg, SLEEP, NULL);
    pg_disconnect(pg);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_LOST);
    stack_restart_servers(stack);
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);
    assert_usable(pg);
    pg_destroy(pg);
}

static int set_up(void **state)
{
    (void)state;
    stack = stack_start(STACK_SERVERS);
    struct pg_options options = options_of(stack_env(stack, "DATABASE_URL"));
    for (size_t i = 0; i < COUNT_OF(schema_statements); i++) {
        options.statements = &schema_statements[i];
        options.statements_count = 1;
        struct pg *pg = connect_with(&options);
        pg_send(pg, 0, NULL);
        pg_sync(pg);
        pg_rows_destroy(receive(pg));
        pg_destroy(pg);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stack_stop(stack);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_round_trip),
        cmocka_unit_test(arrays_round_trip),
        cmocka_unit_test(large_array),
        cmocka_unit_test(refusal_ends_the_round_only),
        cmocka_unit_test(refusal_in_transaction_is_rolled_back),
        cmocka_unit_test(refusal_at_commit_is_seen),
        cmocka_unit_test(errors_do_not_quote_values),
        cmocka_unit_test(server_side_timeouts_refuse),
        cmocka_unit_test(deadline_closes_the_connection),
        cmocka_unit_test(terminated_backend_is_lost),
        cmocka_unit_test(stopped_server_does_not_outlast_the_deadline),
        cmocka_unit_test(full_buffers_do_not_outlast_the_deadline),
        cmocka_unit_test(large_requests_and_results_at_once),
        cmocka_unit_test(settings_hold),
        cmocka_unit_test(role_is_switched),
        cmocka_unit_test(read_only_server_is_lost),
        cmocka_unit_test(connecting_fails_with_a_reason),
        cmocka_unit_test(next_host_is_tried),
        cmocka_unit_test(not_connected_is_lost),
        cmocka_unit_test(restarted_server_is_found_again),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
