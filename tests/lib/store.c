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

struct pg *store_try(const char *url, int64_t timeout_ms, const char *before, const char *sql,
                     struct pg_rows **ret)
{
    const struct pg_statement statements[] = {{"sql", sql}, {"before", before}};
    struct pg *pg = pg_create(&(struct pg_options){
        .url = url, .application = "test", .statements = statements, .statements_count = before ? 2 : 1});
    int64_t deadline_us = clock_deadline_us(timeout_ms);
    *ret = NULL;
    bool good = pg_connect(pg, deadline_us) == PG_OK;
    if (good && before) {
        good = pg_call(pg, 1, NULL, deadline_us, ret) == PG_OK;
        pg_rows_destroy(*ret);
        *ret = NULL;
    }
    if (good)
        (void)!pg_call(pg, 0, NULL, deadline_us, ret);
    return pg;
}

/* The same, and it must be done. */
static struct pg *must(const char *url, const char *before, const char *sql, struct pg_rows **ret)
{
    struct pg *pg = store_try(url, PATIENCE_MS, before, sql, ret);
    if (!*ret)
        fail_msg("%s: %s", sql, pg_error(pg));
    return pg;
}

struct pg_rows *store_rows(const char *url, const char *sql)
{
    struct pg_rows *rows;
    pg_destroy(must(url, NULL, sql, &rows));
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

void store_superuser_url(struct stack *stack, int port_offset, const char *database, char *ret, size_t size)
{
    char path[PATH_MAX], password[128];
    snprintf(path, sizeof path, "%s/secrets/postgres.password", stack_directory(stack));
    FILE *file = fopen(path, "r");
    if (!file || !fgets(password, sizeof password, file))
        fail_msg("cannot read %s", path);
    fclose(file);
    password[strcspn(password, "\n")] = '\0';
    snprintf(ret, size, "postgresql://postgres:%s@127.0.0.1:%d/%s", password,
             stack_port_base(stack) + port_offset, database);
}

void store_tamper(struct stack *stack, const char *sql)
{
    char url[256];
    struct pg_rows *rows;
    store_superuser_url(stack, 3, "firstcome", url, sizeof url);
    pg_destroy(must(url, "SET session_replication_role = replica", sql, &rows));
    pg_rows_destroy(rows);
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
    struct pg_rows *rows;
    pg_destroy(
        store_try(stack_env(stack, "DATABASE_URL"), timeout_ms, NULL, "SELECT count(*) FROM slice", &rows));
    pg_rows_destroy(rows);
    return rows != NULL;
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

struct pg *store_hold(struct stack *stack, const char *sql)
{
    struct pg_rows *rows;
    struct pg *holder = must(stack_env(stack, "DATABASE_URL"), "BEGIN", sql, &rows);
    pg_rows_destroy(rows);
    return holder;
}

void store_let_go(struct pg *holder)
{
    pg_destroy(holder); /* who disconnects rolls back */
}
