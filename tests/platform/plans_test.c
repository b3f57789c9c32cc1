/* SPDX-License-Identifier: Apache-2.0 */
/* The plans of the write side's statements: each touches the partitions of one slice only, by an index, on a
 * database that was never analysed, whatever its collation is. So the log can spread over several servers by
 * slice. */
#include "command-service/store/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/testing.h"
#include "tests/lib/cluster.h"
#include "tests/lib/stack.h"
#include "tests/lib/store.h"

enum { SLICE = 3, CALL_MS = 60000, SQL_MAX = 16384, URL_MAX = 1024 };

/* A value for a parameter, by the type its cast says. */
static const char *value_of(struct span type)
{
    static const struct {
        const char *type, *value;
    } values[] = {
        {"bool", "true"},
        {"smallint", "3"},
        {"bigint", "1"},
        {"text", "'x'"},
        {"timestamptz", "now()"},
        {"bytea", "'\\x00'"},
        {"bigint[]", "'{1,2}'"},
        {"smallint[]", "'{1,2}'"},
        {"text[]", "'{a,b}'"},
        {"bytea[]", "'{\\\\x00,\\\\x01}'"},
        {"timestamptz[]", "'{now,now}'"},
        {"uuid[]", "'{00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000002}'"}};
    for (size_t i = 0; i < COUNT_OF(values); i++)
        if (span_is(type, values[i].type))
            return values[i].value;
    fail_msg("no value for %.*s", SPAN_ARG(type));
    return NULL;
}

/* Every parameter is cast where it is first used. */
static void write_execute(const char *sql, char *ret, size_t ret_size)
{
    size_t len = (size_t)snprintf(ret, ret_size, "EXPLAIN EXECUTE p");
    for (int number = 1;; number++) {
        char name[16];
        snprintf(name, sizeof name, "$%d::", number);
        const char *at = strstr(sql, name);
        if (!at)
            break;
        at += strlen(name);
        struct span type = {at, strspn(at, "abcdefghijklmnopqrstuvwxyz[]")};
        len += (size_t)snprintf(ret + len, ret_size - len, "%s%s", number == 1 ? "(" : ", ", value_of(type));
    }
    if (strchr(ret, '('))
        snprintf(ret + len, ret_size - len, ")");
}

static void explain(const char *url, const struct pg_statement *statement, struct buf *ret)
{
    static char prepare[SQL_MAX], execute[SQL_MAX];
    struct pg_rows *rows;
    snprintf(prepare, sizeof prepare, "PREPARE p AS %s", statement->sql);
    write_execute(statement->sql, execute, sizeof execute);
    struct pg *pg = store_try(url, CALL_MS, prepare, execute, &rows);
    if (!rows)
        fail_msg("%s: %s", statement->name, pg_error(pg));
    for (int row = 0; row < pg_rows_count(rows); row++) {
        buf_append_span(ret, pg_bytes(rows, row, 0));
        buf_append_char(ret, '\n');
    }
    pg_rows_destroy(rows);
    pg_destroy(pg);
}

static void expect_one_slice(const struct pg_statement *statement, const char *plan)
{
    for (const char *at = plan; (at = strstr(at, "event_s")); at++)
        if (strncmp(at, "event_s03", strlen("event_s03")) != 0)
            fail_msg("%s is not about slice 3 alone:\n%s", statement->name, plan);
    if (strstr(plan,
               "Subplans Removed")) /* found when it is executed: all sixteen were planned, and locked */
        fail_msg("%s is planned for all slices:\n%s", statement->name, plan);
    if (strstr(plan, "Seq Scan on event") || strstr(plan, "Seq Scan on campaign") ||
        strstr(plan, "Seq Scan on idempotency") || strstr(plan, "Seq Scan on coupon"))
        fail_msg("%s reads a whole table:\n%s", statement->name, plan);
}

static void expect_index(enum statement statement, const char *plan, enum statement of, const char *index)
{
    if (statement == of && !strstr(plan, index))
        fail_msg("%s is not by %s:\n%s", store_statements[statement].name, index, plan);
}

static void expect_plans(const char *url)
{
    const int16_t slice = 3;
    struct pg_statement statements[SQL_COUNT] = {{NULL, NULL}};
    struct buf plan;
    store_statements_of(&slice, statements);
    buf_init(&plan, 1 << 20);
    for (enum statement i = 0; i < SQL_COUNT; i++) {
        const struct pg_statement *statement = &statements[i];
        if (!strstr(statement->sql, "$1::"))
            continue;
        assert_non_null(strstr(statement->sql, "$1::smallint"));
        assert_null(strstr(statement->sql, "$1::smallint[]"));
        buf_clear(&plan);
        explain(url, statement, &plan);
        expect_one_slice(statement, plan.data);
        expect_index(i, plan.data, SQL_HOLDINGS, "event_s03_holder");
        if (i == SQL_HOLDINGS && strstr(plan.data, "event_s03_pkey"))
            fail_msg("a user's coupons are looked for in all of the slice:\n%s", plan.data);
        if (i == SQL_SEEN && strstr(plan.data, "Join Filter"))
            fail_msg("the slice is read for each run:\n%s", plan.data);
        expect_index(i, plan.data, SQL_REQUESTS, "event_s03_key");
        expect_index(i, plan.data, SQL_SEEN, "event_s03_pkey");
        expect_index(i, plan.data, SQL_COUPONS, "event_s03_pkey");
        expect_index(i, plan.data, SQL_CAMPAIGNS, "event_s03_steered");
    }
    buf_deinit(&plan);
    store_statements_of(NULL, statements);
}

static void each_statement_is_about_one_slice(void **state)
{
    expect_plans(stack_env(*state, "DATABASE_URL"));
}

static void migrate(const char *url)
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("DATABASE_URL", url, 1);
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        execl("schema/migrate", "schema/migrate", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* The same in a database whose text sorts as people in Korea do, as managed ones may: names are declared to
 * be compared as bytes. */
static void whatever_the_collation_is(void **state)
{
    struct stack *stack = *state;
    char url[URL_MAX];
    const char *owner = stack_env(stack, "DATABASE_URL"), *name = strrchr(owner, '/');
    assert_non_null(name);
    (void)cluster_sql(stack,
                      "CREATE DATABASE korean TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'ko-KR' "
                      "ENCODING 'UTF8' OWNER firstcome");
    assert_in_range(snprintf(url, sizeof url, "%.*s/korean", (int)(name - owner), owner), 1, sizeof url - 1);
    migrate(url);
    expect_plans(url);
}

static int start(void **state)
{
    *state = stack_start(STACK_SERVERS);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_statement_is_about_one_slice),
        cmocka_unit_test(whatever_the_collation_is),
    };
    return cmocka_run_group_tests(tests, start, stack_teardown);
}
