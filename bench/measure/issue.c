/* SPDX-License-Identifier: Apache-2.0 */
/* Issues and refusals over HTTP. Compared with handlers that do nothing on the same HTTP server, and with one
 * transaction per user in SQL. */
#include "bench/measure/run_bench.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "bench/kit/child.h"
#include "bench/kit/scratch.h"
#include "common/base/clock.h"
#include "events/campaign.h"
#include "events/ids.h"

enum { MANY = 256, FEW = 64, PATH_BYTES = 4096, STAT_MS = 1500, SQL_CLIENTS = 50 };

static const char pgbench_path[] = "/usr/lib/postgresql/15/bin/pgbench";

/* --- One transaction per user --- */

static double number_after(const char *text, const char *label)
{
    const char *found = strstr(text, label);
    struct span rest = span_of(found ? found + strlen(label) : "");
    struct span digits = span_cut(&rest, '.');
    uint64_t whole = 0;
    return parse_u64(digits, INT64_MAX, &whole) ? (double)whole : 0;
}

static double sql_per_second(const struct bench *bench, int clients)
{
    char output[PATH_BYTES], slice[32], seconds[16], client_count[16], text[8192];
    int64_t duration_s = (bench->options.sample_ms + 999) / 1000;
    snprintf(output, sizeof output, "%s/pgbench.out", bench->options.run_dir);
    snprintf(slice, sizeof slice, "slice=%d", slice_of(SPAN("bench-hot")));
    snprintf(seconds, sizeof seconds, "%d", (int)duration_s);
    snprintf(client_count, sizeof client_count, "%d", clients);
    (void)unlink(output);
    const char *argv[] = {
        pgbench_path, "-n", "-M",    "prepared", "-c",  client_count, "-j",
        "2",          "-T", seconds, "-D",       slice, "-f",         "bench/sql/one_per_user.sql",
        "bench_sql",  NULL};
    const char *environment[] = {NULL};
    pid_t pid =
        child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = output});
    int status = child_wait(pid, duration_s * 1000 + 30000);
    int fd = open(output, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    text[len > 0 ? len : 0] = '\0';
    if (fd >= 0)
        close(fd);
    if (status != 0)
        bench_die("pgbench", text);
    return number_after(text, "tps = ");
}

/* --- Issue --- */

struct issue_runs {
    struct target command, empty;
    struct series many, few, many_p50, many_p99, few_p99, empty_deferred, empty_inline, sql_50, sql_1;
    struct flow_result last, last_empty;
};

static double issue_sample(struct bench *bench, struct issue_runs *runs, size_t connections)
{
    const char *campaign = bench_campaign(bench, &runs->command, QUANTITY_MAX, -1);
    bench_flow(bench,
               &(struct bench_flow){.target = &runs->command,
                                    .campaign = campaign,

                                    .connections = connections,
                                    .wanted_status = 201},
               &runs->last);
    return runs->last.per_second;
}

static double empty_sample(struct bench *bench, struct issue_runs *runs, const char *path)
{
    bench_flow(bench,
               &(struct bench_flow){.target = &runs->empty,

                                    .path = path,
                                    .connections = MANY,
                                    .wanted_status = 201},
               &runs->last_empty);
    return runs->last_empty.per_second;
}

static void issue_round(struct bench *bench, struct issue_runs *runs)
{
    series_add(&runs->few, issue_sample(bench, runs, FEW));
    series_add(&runs->few_p99, (double)runs->last.p99_us / US_PER_MS);
    series_add(&runs->empty_deferred, empty_sample(bench, runs, "/deferred"));
    series_add(&runs->many, issue_sample(bench, runs, MANY));
    series_add(&runs->many_p50, (double)runs->last.p50_us / US_PER_MS);
    series_add(&runs->many_p99, (double)runs->last.p99_us / US_PER_MS);
    series_add(&runs->sql_50, sql_per_second(bench, SQL_CLIENTS));
    series_add(&runs->empty_inline, empty_sample(bench, runs, "/inline"));
    series_add(&runs->sql_1, sql_per_second(bench, 1));
}

/* Appends to the note. `whose`: of which of the two flows. */
static void note_client(struct figure *figure, const char *whose, const struct flow_result *result)
{
    const char *limit = flow_limit(result);
    size_t used = strlen(figure->note);
    snprintf(figure->note + used, sizeof figure->note - used,
             "%s%s: load thread %.0f %% computing, %.0f %% waiting for a processor%s%s", used ? "; " : "",
             whose, 100 * result->client_busy, 100 * result->client_waited, limit[0] ? ": " : "", limit);
}

static void print_issue(const struct bench *bench, const struct issue_runs *runs)
{
    struct figure figures[] = {
        {.metric = "issue",
         .what = "durable issues into one hot campaign, 256 connections",
         .unit = "1/s",
         .goal = ">= 25000; stretch 40000",
         .series = runs->many,
         .baseline = "empty deferred handler, 256 connections",
         .baseline_series = runs->empty_deferred},
        {.metric = "issue",
         .what = "the same, p99",
         .unit = "ms",
         .goal = "<= 40",
         .series = runs->many_p99,
         .baseline = "its p50",
         .baseline_series = runs->many_p50},
        {.metric = "issue",
         .what = "the same, against SQL",
         .unit = "1/s",
         .goal = "ratio >= 15",
         .series = runs->many,
         .baseline = "one transaction per user, pgbench, 50 clients",
         .baseline_series = runs->sql_50},
        {.metric = "issue",
         .what = "durable issues into one hot campaign, 64 connections",
         .unit = "1/s",
         .goal = "",
         .series = runs->few,
         .baseline = "one transaction per user, pgbench, 1 client",
         .baseline_series = runs->sql_1},
        {.metric = "issue",
         .what = "the same, p99",
         .unit = "ms",
         .goal = "",
         .series = runs->few_p99,
         .baseline = ""},
        {.metric = "issue",
         .what = "empty deferred handler, 256 connections",
         .unit = "1/s",
         .goal = "",
         .series = runs->empty_deferred,
         .baseline = "empty inline handler",
         .baseline_series = runs->empty_inline},
    };
    note_client(&figures[0], "ours", &runs->last);
    note_client(&figures[COUNT_OF(figures) - 1], "inline", &runs->last_empty);
    for (size_t i = 0; i < COUNT_OF(figures); i++)
        bench_print(bench, &figures[i]);
}

void bench_issue(struct bench *bench)
{
    static struct issue_runs runs;
    char url[PATH_BYTES];
    bench_target(bench, BENCH_PORT_COMMAND, &runs.command);
    bench_target(bench, BENCH_PORT_EMPTY, &runs.empty);
    pid_t command = bench_start(bench, "command-service", BENCH_PORT_COMMAND, NULL);
    pid_t empty = bench_start(bench, "empty_handler", BENCH_PORT_EMPTY, NULL);
    scratch_create(bench->options.superuser_url, "bench_sql", "bench_template");
    scratch_url(bench->options.database_url, "bench_sql", url, sizeof url);
    scratch_preload(&(struct scratch_preload){url, "bench-hot", slice_of(SPAN("bench-hot")), 0});
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        bench_say("issue, round %lld of %lld", (long long)round + 1, (long long)bench->options.rounds);
        issue_round(bench, &runs);
    }
    child_stop(empty);
    child_stop(command);
    print_issue(bench, &runs);
}

/* --- Refuse --- */

/* Transactions in the product's database, whoever's. Backends tell the statistics about once a second. */
static double transactions(const struct bench *bench)
{
    (void)poll(NULL, 0, STAT_MS);
    return (double)scratch_number(bench->options.superuser_url,
                                  "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = "
                                  "'firstcome'",
                                  10000);
}

/* Per second while nobody asks for anything: the projector and the query service look now and then. */
static double idle_transactions(const struct bench *bench)
{
    double before = transactions(bench);
    int64_t start_us = clock_mono_us();
    double after = transactions(bench);
    return (after - before) * US_PER_S / (double)(clock_mono_us() - start_us);
}

static const char *sold_out_campaign(struct bench *bench, const struct target *target)
{
    const char *campaign = bench_campaign(bench, target, 1, -1);
    if (bench_issue_once(bench, target, campaign, bench->number++) != 201)
        bench_die("refuse", "the only coupon could not be issued");
    return campaign;
}

struct refuse_runs {
    struct target command, empty;
    struct series refused, empty_inline, p99, calls;
    struct flow_result last, last_empty;
    double idle;
};

static void refuse_round(struct bench *bench, struct refuse_runs *runs)
{
    const char *campaign = sold_out_campaign(bench, &runs->command);
    double before = transactions(bench);
    int64_t start_us = clock_mono_us();
    bench_flow(bench,
               &(struct bench_flow){.target = &runs->command,
                                    .campaign = campaign,

                                    .connections = MANY,
                                    .wanted_status = 409},
               &runs->last);
    double after = transactions(bench);
    double idle = runs->idle * (double)(clock_mono_us() - start_us) / US_PER_S;
    double seconds = (double)bench->options.sample_ms / 1000 + 0.7; /* with the time to warm up */
    double calls = after - before > idle ? after - before - idle : 0;
    series_add(&runs->refused, runs->last.per_second);
    series_add(&runs->p99, (double)runs->last.p99_us / US_PER_MS);
    series_add(&runs->calls, calls * 1000 / (runs->last.per_second * seconds));
    bench_flow(bench,
               &(struct bench_flow){.target = &runs->empty,

                                    .path = "/inline",
                                    .connections = MANY,
                                    .wanted_status = 201},
               &runs->last_empty);
    series_add(&runs->empty_inline, runs->last_empty.per_second);
}

void bench_refuse(struct bench *bench)
{
    static struct refuse_runs runs;
    bench_target(bench, BENCH_PORT_COMMAND, &runs.command);
    bench_target(bench, BENCH_PORT_EMPTY, &runs.empty);
    pid_t command = bench_start(bench, "command-service", BENCH_PORT_COMMAND, NULL);
    pid_t empty = bench_start(bench, "empty_handler", BENCH_PORT_EMPTY, NULL);
    runs.idle = idle_transactions(bench);
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        bench_say("refuse, round %lld of %lld", (long long)round + 1, (long long)bench->options.rounds);
        refuse_round(bench, &runs);
    }
    child_stop(empty);
    child_stop(command);
    struct figure figures[] = {
        {.metric = "refuse",
         .what = "refusals once sold out, 256 connections",
         .unit = "1/s",
         .goal = "ratio >= 0.8",
         .series = runs.refused,
         .baseline = "empty inline handler",
         .baseline_series = runs.empty_inline},
        {.metric = "refuse",
         .what = "the same, p99",
         .unit = "ms",
         .goal = "",
         .series = runs.p99,
         .baseline = ""},
        {.metric = "refuse",
         .what = "PostgreSQL transactions per 1000 refusals",
         .unit = "",
         .goal = "0",
         .series = runs.calls,
         .baseline = ""},
    };
    note_client(&figures[0], "ours", &runs.last);
    note_client(&figures[0], "empty", &runs.last_empty);
    snprintf(figures[2].note, sizeof figures[2].note, "%.1f transactions/s of other services are subtracted",
             runs.idle);
    for (size_t i = 0; i < COUNT_OF(figures); i++)
        bench_print(bench, &figures[i]);
}
