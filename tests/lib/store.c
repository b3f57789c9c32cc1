/* SPDX-License-Identifier: Apache-2.0 */
/* Queries of tests: a connection each, because none of them is hot. */
#include "tests/lib/store.h"

#include <limits.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/base/clock.h"

/* However busy the machine is: only what hangs takes longer. */
enum { PATIENCE_MS = 120000 };

struct pg_rows *store_rows(const char *url, const char *sql)
{
    const struct pg_statement statements[] = {{"query", sql}};
    struct pg *pg = pg_create(&(struct pg_options){.url = url,
                                                   .application = "test",
                                                   .statements = statements,
                                                   .statements_count = COUNT_OF(statements)});
    struct pg_rows *rows = NULL;
    if (pg_connect(pg, clock_deadline_us(PATIENCE_MS)) != PG_OK ||
        pg_call(pg, 0, NULL, clock_deadline_us(PATIENCE_MS), &rows) != PG_OK)
        fail_msg("%s: %s", sql, pg_error(pg));
    pg_destroy(pg);
    return rows;
}

int64_t store_number_at(const char *url, const char *sql)
{
    struct pg_rows *rows = store_rows(url, sql);
    int64_t number = pg_rows_count(rows) ? pg_i64(rows, 0, 0) : 0;
    pg_rows_destroy(rows);
    return number;
}

int64_t store_number(struct stack *stack, const char *sql)
{
    return store_number_at(stack_env(stack, "DATABASE_URL"), sql);
}

int64_t store_numberf(struct stack *stack, const char *format, ...)
{
    char sql[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    assert_in_range(len, 1, sizeof sql - 1);
    return store_number(stack, sql);
}

void store_run_as(struct stack *stack, const char *url_variable, const char *sql)
{
    pg_rows_destroy(store_rows(stack_env(stack, url_variable), sql));
}

static void read_superuser_secret(struct stack *stack, char *ret, size_t size)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/secrets/postgres.password", stack_directory(stack));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(ret, (int)size, file));
    ret[strcspn(ret, "\n")] = '\0';
    fclose(file);
}

void store_tamper(struct stack *stack, const char *sql)
{
    char url[256], password[128];
    struct pg_rows *rows = NULL;
    read_superuser_secret(stack, password, sizeof password);
    snprintf(url, sizeof url, "postgresql://postgres:%s@127.0.0.1:%d/firstcome", password,
             stack_port_base(stack) + 3);
    const struct pg_statement statements[] = {{"off", "SET session_replication_role = replica"}, {"do", sql}};
    struct pg *pg = pg_create(&(struct pg_options){
        .url = url, .application = "test", .statements = statements, .statements_count = 2});
    for (size_t i = 0; i < 2; i++) {
        if ((i == 0 && pg_connect(pg, clock_deadline_us(PATIENCE_MS)) != PG_OK) ||
            pg_call(pg, i, NULL, clock_deadline_us(PATIENCE_MS), &rows) != PG_OK)
            fail_msg("%s: %s", sql, pg_error(pg));
        pg_rows_destroy(rows);
        rows = NULL;
    }
    pg_destroy(pg);
}

enum { BACKENDS_MAX = 64 };

struct backends {
    pid_t pids[BACKENDS_MAX];
    size_t count;
};

static struct backends backends_of(struct stack *stack, const char *application)
{
    char sql[256];
    struct backends backends = {.count = 0};
    snprintf(sql, sizeof sql, "SELECT pid FROM pg_stat_activity WHERE application_name = '%s'", application);
    struct pg_rows *rows = store_rows(stack_env(stack, "DATABASE_URL"), sql);
    assert_true(pg_rows_count(rows) <= BACKENDS_MAX);
    for (int i = 0; i < pg_rows_count(rows); i++)
        backends.pids[backends.count++] = (pid_t)pg_i64(rows, i, 0);
    pg_rows_destroy(rows);
    return backends;
}

static void signal_all(const struct backends *backends, int signal_number)
{
    for (size_t i = 0; i < backends->count; i++)
        (void)kill(backends->pids[i], signal_number); /* it may have gone meanwhile */
}

size_t store_signal_backends(struct stack *stack, const char *application, int signal_number)
{
    struct backends backends = backends_of(stack, application);
    signal_all(&backends, signal_number);
    return backends.count;
}

static bool others_go_on(struct stack *stack, int64_t timeout_ms)
{
    static const struct pg_statement statements[] = {{"head", "SELECT count(*) FROM slice"}};
    struct pg *pg = pg_create(&(struct pg_options){.url = stack_env(stack, "DATABASE_URL"),
                                                   .application = "test",
                                                   .statements = statements,
                                                   .statements_count = COUNT_OF(statements)});
    struct pg_rows *rows = NULL;
    int64_t deadline_us = clock_deadline_us(timeout_ms);
    bool good = pg_connect(pg, deadline_us) == PG_OK && pg_call(pg, 0, NULL, deadline_us, &rows) == PG_OK;
    pg_rows_destroy(rows);
    pg_destroy(pg);
    return good;
}

static struct backends frozen;

size_t store_freeze(struct stack *stack, const char *application)
{
    enum { TRIES = 10, TRY_MS = 2000 };
    for (int i = 1; i <= TRIES; i++) {
        frozen = backends_of(stack, application);
        signal_all(&frozen, SIGSTOP);
        if (others_go_on(stack, i * TRY_MS))
            return frozen.count;
        store_thaw();
    }
    fail_msg("%s cannot be stopped without all others", application);
    return 0;
}

void store_thaw(void)
{
    signal_all(&frozen, SIGCONT);
    frozen.count = 0;
}

enum { HOLD_BEGIN, HOLD_LOCK, HOLD_STATEMENTS };

struct pg *store_hold(struct stack *stack, const char *sql)
{
    const struct pg_statement statements[HOLD_STATEMENTS] = {{"begin", "BEGIN"}, {"lock", sql}};
    struct pg *holder = pg_create(&(struct pg_options){
        .url = stack_env(stack, "DATABASE_URL"),
        .application = "test holder",
        .statements = statements, /* prepared once: it connects only here */
        .statements_count = COUNT_OF(statements),
    });
    bool held = pg_connect(holder, clock_deadline_us(PATIENCE_MS)) == PG_OK;
    for (size_t i = 0; held && i < COUNT_OF(statements); i++) {
        struct pg_rows *rows = NULL;
        held = pg_call(holder, i, NULL, clock_deadline_us(PATIENCE_MS), &rows) == PG_OK;
        pg_rows_destroy(rows);
    }
    if (!held)
        fail_msg("%s: %s", sql, pg_error(holder));
    return holder;
}

void store_let_go(struct pg *holder)
{
    pg_destroy(holder); /* who disconnects rolls back */
}
