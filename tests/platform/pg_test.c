/* SPDX-License-Identifier: Apache-2.0 */
/* common/pg against a real PostgreSQL: what goes in comes out, refusals leave the connection usable. What
 * happens when server or network fail is pg_faults_test.c. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/lib/pg_kit.h"
#include "tests/lib/store.h"

static const char uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, (char)255};
static const int64_t times[] = {1, 946684800000000, 1793193722123456, INT64_MAX, INT64_MIN};

static void values_round_trip(void **)
{
    struct pg *pg = pg_kit_connected();
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
        struct pg_rows *rows = pg_kit_call(pg, ECHO_VALUES, &args);
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

static void arrays_round_trip(void **)
{
    struct pg *pg = pg_kit_connected();
    struct pg_args args;
    pg_args_init(&args);
    add_arrays(&args);
    struct pg_rows *rows = pg_kit_call(pg, ECHO_ARRAYS, &args);
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
    rows = pg_kit_call(pg, COUNT_ARRAY, &args);
    assert_int_equal(pg_i64(rows, 0, 0), 0);
    assert_int_equal(pg_i64(rows, 0, 1), 0);
    pg_rows_destroy(rows);
    pg_args_deinit(&args);
    pg_destroy(pg);
}

static void large_array(void **)
{
    enum { ITEMS = 50000 };
    struct pg *pg = pg_kit_connected();
    struct pg_args args;
    pg_args_init(&args);
    pg_array_begin(&args, PG_INT8);
    for (int64_t i = 0; i < ITEMS; i++)
        pg_array_i64(&args, i);
    pg_array_end(&args);
    struct pg_rows *rows = pg_kit_call(pg, INSERT_ITEMS, &args);
    assert_int_equal(pg_affected(rows), ITEMS);
    assert_int_equal(pg_rows_count(rows), 0);
    pg_rows_destroy(rows);
    assert_int_equal(pg_kit_ask(pg, COUNT_ITEMS, 0), ITEMS);
    assert_int_equal(pg_kit_ask(pg, CLEAR_ITEMS, 0), ITEMS);
    pg_args_deinit(&args);
    pg_destroy(pg);
}

/* Without BEGIN a round is one transaction: the refusal takes the first insert with it. */
static void refusal_ends_the_round_only(void **)
{
    struct pg *pg = pg_kit_connected();
    pg_kit_send_i64(pg, INSERT_ITEM, 4711);
    pg_kit_send_i64(pg, INSERT_ITEM, 4711);
    pg_kit_send_i64(pg, INSERT_ITEM, 4712);
    pg_sync(pg);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_OK);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_REFUSED);
    assert_string_equal(pg_sqlstate(pg), "23505");
    assert_non_null(strstr(pg_error(pg), "item_is_unique"));
    assert_null(strstr(pg_error(pg), "4711"));
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_REFUSED);
    assert_string_equal(pg_sqlstate(pg), "23505");
    pg_kit_assert_usable(pg);
    assert_int_equal(pg_kit_ask(pg, COUNT_ITEMS, 0), 0);
    pg_destroy(pg);
}

static void refusal_in_transaction_is_rolled_back(void **)
{
    struct pg *pg = pg_kit_connected();
    for (int i = 0; i < 3; i++) {
        pg_send(pg, BEGIN, NULL);
        pg_kit_send_i64(pg, INSERT_ITEM, 1);
        pg_sync(pg);
        assert_int_equal(pg_kit_next(pg, LONG_MS), PG_OK);
        assert_int_equal(pg_kit_next(pg, LONG_MS), PG_OK);
        pg_kit_send_i64(pg, INSERT_ITEM, 1);
        pg_send(pg, COMMIT, NULL);
        pg_sync(pg);
        assert_int_equal(pg_kit_next(pg, LONG_MS), PG_REFUSED);
        assert_int_equal(pg_kit_next(pg, LONG_MS), PG_REFUSED);
        assert_string_equal(pg_sqlstate(pg), "23505");
    }
    pg_kit_assert_usable(pg);
    assert_int_equal(pg_kit_ask(pg, COUNT_ITEMS, 0), 0);
    pg_destroy(pg);
}

/* A commit that fails at the sync point must not look like success. */
static void refusal_at_commit_is_seen(void **)
{
    struct pg *pg = pg_kit_connected();
    pg_kit_send_i64(pg, INSERT_CHILD, 99);
    pg_sync(pg);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_REFUSED);
    assert_string_equal(pg_sqlstate(pg), "23503");
    pg_kit_assert_usable(pg);
    pg_send(pg, BEGIN, NULL);
    pg_kit_send_i64(pg, INSERT_CHILD, 99);
    pg_send(pg, COMMIT, NULL);
    pg_sync(pg);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_OK);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_OK);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_REFUSED);
    pg_kit_assert_usable(pg);
    pg_destroy(pg);
}

static void errors_do_not_quote_values(void **)
{
    struct pg *pg = pg_kit_connected();
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_bytes(&args, SPAN("secret-value"));
    pg_send(pg, CAST_UUID, &args);
    pg_sync(pg);
    assert_int_equal(pg_kit_next(pg, LONG_MS), PG_REFUSED);
    assert_string_equal(pg_sqlstate(pg), "22P02");
    assert_null(strstr(pg_error(pg), "secret"));
    pg_kit_assert_usable(pg);
    pg_args_deinit(&args);
    pg_destroy(pg);
}

/* Both directions far above any socket buffer: who only writes, or only reads, never ends. */
static void large_requests_and_results_at_once(void **)
{
    enum { BYTES = 4 * 1024 * 1024, COUNT = 12 };
    struct pg *pg = pg_kit_connected();
    char *bytes = mem_zalloc(BYTES);
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_bytes(&args, (struct span){bytes, BYTES});
    for (int i = 0; i < COUNT; i++)
        pg_send(pg, ECHO_BYTES, &args);
    pg_sync(pg);
    for (int i = 0; i < COUNT; i++) {
        struct pg_rows *rows = pg_kit_receive(pg);
        assert_int_equal(pg_bytes(rows, 0, 0).len, BYTES);
        pg_rows_destroy(rows);
    }
    pg_kit_assert_usable(pg);
    mem_free(bytes);
    pg_args_deinit(&args);
    pg_destroy(pg);
}

static void assert_setting(struct pg *pg, const char *name, const char *value)
{
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_bytes(&args, span_of(name));
    struct pg_rows *rows = pg_kit_call(pg, SETTING, &args);
    if (!span_is(pg_bytes(rows, 0, 0), value))
        fail_msg("%s is %.*s", name, SPAN_ARG(pg_bytes(rows, 0, 0)));
    pg_rows_destroy(rows);
    pg_args_deinit(&args);
}

static void settings_hold(void **)
{
    struct pg_options options = pg_kit_options_of(stack_env(pg_kit_stack, "DATABASE_URL"));
    options.statement_timeout_ms = 1234;
    options.lock_timeout_ms = 567;
    options.idle_in_transaction_timeout_ms = 8901;
    struct pg *pg = pg_kit_connect_with(&options);
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

/* What is committed while a round waits in its middle is not in the rest of it. */
static void a_round_is_one_snapshot(void **)
{
    struct pg_options options = pg_kit_options_of(stack_env(pg_kit_stack, "DATABASE_URL"));
    options.snapshot = true;
    options.lock_timeout_ms = options.statement_timeout_ms = LONG_MS;
    struct pg *reader = pg_kit_connect_with(&options), *holder = pg_kit_connect_with(&options),
              *writer = pg_kit_connected();
    struct pg_rows *rows;
    pg_kit_send_i64(writer, INSERT_ITEM, 1);
    pg_sync(writer);
    pg_rows_destroy(pg_kit_receive(writer));
    pg_send(holder, BEGIN, NULL);
    pg_kit_send_i64(holder, LOCK_ITEM, 1);
    pg_sync(holder);
    pg_rows_destroy(pg_kit_receive(holder));
    pg_rows_destroy(pg_kit_receive(holder));
    pg_send(reader, COUNT_ITEMS, NULL);
    pg_kit_send_i64(reader, LOCK_ITEM, 1);
    pg_send(reader, COUNT_ITEMS, NULL);
    pg_sync(reader);
    WAIT_UNTIL(store_number(pg_kit_stack, "SELECT count(*) FROM pg_locks WHERE NOT granted") > 0, LONG_MS);
    pg_kit_send_i64(writer, INSERT_ITEM, 2);
    pg_sync(writer);
    pg_rows_destroy(pg_kit_receive(writer));
    pg_send(holder, COMMIT, NULL);
    pg_sync(holder);
    pg_rows_destroy(pg_kit_receive(holder));
    for (int i = 0; i < 3; i++) {
        rows = pg_kit_receive(reader);
        assert_int_equal(pg_i64(rows, 0, 0), 1);
        pg_rows_destroy(rows);
    }
    pg_rows_destroy(pg_kit_call(writer, CLEAR_ITEMS, NULL));
    pg_destroy(reader);
    pg_destroy(holder);
    pg_destroy(writer);
}

static void role_is_switched(void **)
{
    static const struct pg_statement who = {"who", "SELECT current_user::text, session_user::text"};
    struct pg_options options = pg_kit_options_of(stack_env(pg_kit_stack, "DATABASE_URL"));
    options.statements = &who;
    options.statements_count = 1;
    options.role = "firstcome_query";
    struct pg_rows *rows;
    struct pg *pg = pg_kit_connect_with(&options);
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
        cmocka_unit_test(large_requests_and_results_at_once),
        cmocka_unit_test(settings_hold),
        cmocka_unit_test(a_round_is_one_snapshot),
        cmocka_unit_test(role_is_switched),
    };
    return cmocka_run_group_tests(tests, pg_kit_set_up, pg_kit_tear_down);
}
