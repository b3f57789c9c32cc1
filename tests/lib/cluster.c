/* SPDX-License-Identifier: Apache-2.0 */
/* Misfortunes by signals, SQL as superuser, and the script tests/lib/cluster. */
#include "tests/lib/cluster.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "tests/lib/full_disk.h"
#include "tests/lib/store.h"
#include "tests/lib/wait.h"

enum { STATEMENT_MS = 120000, GONE_MS = 60000, CROWD_MAX = 200, PIDS_MAX = 256, STANDBY_OFFSET = 13 };
enum { PRIMARY_OFFSET = 3, CANNOT_MOUNT = 3, URL_MAX = 512, ERROR_MAX = 256 };

/* --- As superuser --- */

/* The number in the first row and column; false with the error where it cannot be done. */
static bool superuser_sql(struct stack *stack, int offset, const char *sql, int64_t *ret,
                          char error[ERROR_MAX])
{
    char url[URL_MAX];
    struct pg_rows *rows;
    store_superuser_url(stack, offset, "postgres", url, sizeof url);
    struct pg *pg = store_try(url, STATEMENT_MS, NULL, sql, &rows);
    *ret = rows && pg_rows_count(rows) ? pg_i64(rows, 0, 0) : 0;
    snprintf(error, ERROR_MAX, "%s", pg_error(pg));
    pg_rows_destroy(rows);
    pg_destroy(pg);
    return rows != NULL;
}

static int64_t must(struct stack *stack, int offset, const char *sql)
{
    int64_t number;
    char error[ERROR_MAX];
    if (!superuser_sql(stack, offset, sql, &number, error))
        fail_msg("%s: %s", sql, error);
    return number;
}

struct pg *cluster_prepare(struct stack *stack, const struct pg_statement *statement)
{
    char url[URL_MAX];
    store_superuser_url(stack, PRIMARY_OFFSET, "postgres", url, sizeof url);
    struct pg *pg = pg_create(&(struct pg_options){
        .url = url, .application = "test", .statements = statement, .statements_count = 1});
    if (pg_connect(pg, clock_deadline_us(STATEMENT_MS)) != PG_OK)
        fail_msg("%s: %s", statement->sql, pg_error(pg));
    return pg;
}

bool cluster_try(struct pg *pg)
{
    struct pg_rows *rows = NULL;
    bool done = pg_call(pg, 0, NULL, clock_deadline_us(STATEMENT_MS), &rows) == PG_OK;
    pg_rows_destroy(rows);
    return done;
}

bool cluster_sql_try(struct stack *stack, const char *sql)
{
    int64_t number;
    char error[ERROR_MAX];
    return superuser_sql(stack, PRIMARY_OFFSET, sql, &number, error);
}

int64_t cluster_sql(struct stack *stack, const char *sql)
{
    return must(stack, PRIMARY_OFFSET, sql);
}

int64_t cluster_standby_sql(struct stack *stack, const char *sql)
{
    return must(stack, STANDBY_OFFSET, sql);
}

int64_t cluster_age_us(struct stack *stack)
{
    return cluster_sql(stack, "SELECT (1e6 * extract(epoch FROM clock_timestamp() -"
                              " pg_postmaster_start_time()))::bigint");
}

/* --- Signals --- */

/* The fourth field of /proc/<pid>/stat, after a name that may hold anything; 0 when it is gone or a zombie.
 */
static pid_t parent_of(const char *pid)
{
    char path[64], text[512];
    uint64_t parent = 0;
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    const char *end = len > 0 ? memrchr(text, ')', (size_t)len) : NULL;
    if (!end || end + 4 >= text + len || end[2] == 'Z')
        return 0;
    struct span rest = {end + 4, (size_t)(text + len - end) - 4};
    return parse_u64(span_cut(&rest, ' '), INT32_MAX, &parent) ? (pid_t)parent : 0;
}

/* The postmaster first, then its children. */
static size_t pids_of(pid_t postmaster, pid_t ret[PIDS_MAX])
{
    uint64_t pid;
    size_t count = 0;
    DIR *processes = opendir("/proc");
    CHECK(processes && postmaster);
    ret[count++] = postmaster;
    for (struct dirent *entry; (entry = readdir(processes));)
        if (count < PIDS_MAX && parse_u64(span_of(entry->d_name), INT32_MAX, &pid) &&
            parent_of(entry->d_name) == postmaster)
            ret[count++] = (pid_t)pid;
    closedir(processes);
    return count;
}

/* The postmaster stands still before its children are looked for, or it would start new ones meanwhile. */
static void signal_all(pid_t postmaster, int signal_number)
{
    pid_t pids[PIDS_MAX];
    (void)kill(postmaster, SIGSTOP);
    size_t count = pids_of(postmaster, pids);
    for (size_t i = 0; i < count; i++)
        (void)kill(pids[i], signal_number);
}

void cluster_signal_all(struct stack *stack, int signal_number)
{
    signal_all(stack_pid(stack, "postgresql"), signal_number);
}

void cluster_standby_signal_all(struct stack *stack, int signal_number)
{
    char path[PATH_MAX], line[32] = "";
    uint64_t pid = 0;
    snprintf(path, sizeof path, "%s/standby/data/postmaster.pid", stack_directory(stack));
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file))
        fail_msg("cannot read %s", path);
    fclose(file);
    assert_true(parse_u64((struct span){line, strcspn(line, "\n")}, INT32_MAX, &pid));
    signal_all((pid_t)pid, signal_number);
}

static bool exists(pid_t pid)
{
    char name[24];
    snprintf(name, sizeof name, "%d", (int)pid);
    return parent_of(name) != 0;
}

void cluster_end(struct stack *stack, int signal_number)
{
    pid_t pids[PIDS_MAX];
    size_t count = pids_of(stack_pid(stack, "postgresql"), pids);
    stack_signal(stack, "postgresql", signal_number);
    for (size_t i = 0; i < count; i++)
        WAIT_UNTIL(!exists(pids[i]), GONE_MS);
}

/* --- All connections taken --- */

struct cluster_crowd {
    struct pg *list[CROWD_MAX];
    size_t count;
};

static void occupy_rest(struct cluster_crowd *crowd, const struct pg_options *options)
{
    for (;;) {
        struct pg *pg = pg_create(options);
        if (pg_connect(pg, clock_deadline_us(STATEMENT_MS)) != PG_OK) {
            pg_destroy(pg);
            return;
        }
        CHECK(crowd->count < CROWD_MAX);
        crowd->list[crowd->count++] = pg;
    }
}

struct cluster_crowd *cluster_occupy(struct stack *stack)
{
    static const char end_others[] = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                                     " WHERE backend_type = 'client backend' AND application_name <> 'crowd'"
                                     " AND pid <> pg_backend_pid()";
    struct cluster_crowd *crowd = mem_zalloc(sizeof *crowd);
    struct pg_options options = {.url = stack_env(stack, "DATABASE_URL"), .application = "crowd"};
    size_t places = (size_t)cluster_sql(stack, "SELECT current_setting('max_connections')::int -"
                                               " current_setting('superuser_reserved_connections')::int");
    int64_t deadline_us = clock_deadline_us(GONE_MS);
    while (crowd->count < places) { /* whoever was ended tries to come back, so each place has to be won */
        assert_true(clock_remaining_ms(deadline_us) > 0);
        (void)cluster_sql_try(stack, end_others); /* while others are being turned away even this may be */
        occupy_rest(crowd, &options);
    }
    return crowd;
}

void cluster_release(struct cluster_crowd *crowd)
{
    for (size_t i = 0; i < crowd->count; i++)
        pg_destroy(crowd->list[i]);
    mem_free(crowd);
}

/* --- A standby --- */

void cluster_standby_start(struct stack *stack)
{
    assert_int_equal(stack_tool(stack, (const char *[]){"tests/lib/cluster", "standby", NULL}), 0);
    WAIT_UNTIL(cluster_sql(stack, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == 1,
               GONE_MS);
    (void)cluster_sql(stack, "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
    (void)cluster_sql(stack, "SELECT pg_reload_conf()::int");
    WAIT_UNTIL(cluster_sql(stack, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1,
               GONE_MS);
}

void cluster_promote(struct stack *stack)
{
    assert_int_equal(cluster_standby_sql(stack, "SELECT pg_promote(true, 60)::int"), 1);
}

/* "postgresql://user:password@" and "/database" of a URL with one host. */
static void split_url(struct stack *stack, const char *of, struct span *ret_head, const char **ret_tail)
{
    const char *url = stack_env(stack, of), *at = strchr(url, '@');
    CHECK(at && strchr(at, '/'));
    *ret_head = (struct span){url, (size_t)(at - url) + 1};
    *ret_tail = strchr(at, '/');
}

void cluster_both_url(struct stack *stack, const char *of, char *ret, size_t size)
{
    struct span head;
    const char *tail;
    int base = stack_port_base(stack);
    split_url(stack, of, &head, &tail);
    snprintf(ret, size, "%.*s127.0.0.1:%d,127.0.0.1:%d%s", SPAN_ARG(head), base + STANDBY_OFFSET,
             base + PRIMARY_OFFSET, tail);
}

void cluster_standby_url(struct stack *stack, const char *of, char *ret, size_t size)
{
    struct span head;
    const char *tail;
    split_url(stack, of, &head, &tail);
    snprintf(ret, size, "%.*s127.0.0.1:%d%s", SPAN_ARG(head), stack_port_base(stack) + STANDBY_OFFSET, tail);
}

/* --- A small disk --- */

bool cluster_small_disk(struct stack *stack, unsigned megabytes)
{
    char size[16];
    snprintf(size, sizeof size, "%u", megabytes);
    cluster_end(stack, SIGINT);
    int status = stack_tool(stack, (const char *[]){"tests/lib/cluster", "small-disk", size, NULL});
    assert_true(status == 0 || status == CANNOT_MOUNT);
    stack_restart_servers(stack);
    return status == 0;
}

static void data_folder(struct stack *stack, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%s/pg/data", stack_directory(stack));
}

void cluster_fill_disk(struct stack *stack)
{
    char folder[PATH_MAX];
    data_folder(stack, folder);
    full_disk_begin(folder);
}

void cluster_free_disk(struct stack *stack)
{
    char folder[PATH_MAX];
    data_folder(stack, folder);
    full_disk_end(folder);
}
