/* SPDX-License-Identifier: Apache-2.0 */
/* Issues and refusals over HTTP. Compared with handlers that do nothing on the same HTTP server, with one
 * transaction per user in SQL, and with the same rule as a script in Redis behind webdis, which answers
 * before (everysec) or after (always) it is on disk, and has neither history nor order nor idempotency keys.
 */
#include "bench/measure/run_bench.h"

#include <poll.h>
#include <stdio.h>

#include "bench/kit/child.h"
#include "bench/kit/scratch.h"
#include "bench/peers/pgbench.h"
#include "bench/peers/redis_peer.h"
#include "common/base/clock.h"
#include "events/campaign.h"
#include "events/ids.h"

enum { MANY = 256, FEW = 64, URL_BYTES = 4096, STAT_MS = 1500, SCRIPT_BYTES = 512 };

/* --- Issue --- */

static const int sql_clients[] = {1, 16, 50};
enum { SQL_COUNT = COUNT_OF(sql_clients) };
static const char *const fsyncs[] = {"always", "everysec"};
enum { FSYNCS = COUNT_OF(fsyncs) };

struct issue_runs {
    struct target command, empty, webdis;
    struct series many, few, many_p50, many_p99, few_p99, empty_deferred, empty_inline, sql[SQL_COUNT];
    struct series script[FSYNCS], script_p99;
    int webdis_port;
    struct flow_result last, last_empty, last_script;
};

static double issue_sample(struct bench *bench, struct issue_runs *runs, size_t connections)
{
    const char *campaign = bench_campaign(bench, &runs->command, QUANTITY_MAX, -1);
    bench_flow(
        bench,
        &(struct bench_flow){
            .target = &runs->command, .campaign = campaign, .connections = connections, .wanted_status = 201},
        &runs->last);
    return runs->last.per_second;
}

static double empty_sample(struct bench *bench, struct issue_runs *runs, const char *path)
{
    bench_flow(
        bench,
        &(struct bench_flow){.target = &runs->empty, .path = path, .connections = MANY, .wanted_status = 201},
        &runs->last_empty);
    return runs->last_empty.per_second;
}

static double sql_per_second(const struct bench *bench, int clients)
{
    char slice[32];
    snprintf(slice, sizeof slice, "slice=%d", slice_of(SPAN("bench-hot")));
    return pgbench_per_second(&(struct pgbench){.run_dir = bench->options.run_dir,
                                                .database = "bench_sql",
                                                .script = "bench/sql/one_per_user.sql",
                                                .define = slice,
                                                .clients = clients,
                                                .ms = bench->options.sample_ms});
}

/* An empty Redis each time; as many connections and the same headers as ours. */
static double script_sample(struct bench *bench, struct issue_runs *runs, const char *fsync)
{
    const struct bench_options *is = &bench->options;
    char body[SCRIPT_BYTES];
    int redis_port = (int)is->port_base + (int)BENCH_PORT_PEER_REDIS;
    pid_t redis = peer_redis(is->run_dir, redis_port, fsync);
    pid_t webdis = peer_webdis(&(struct peer_webdis){is->run_dir, "", runs->webdis_port, redis_port});
    bench_await_listener(&runs->webdis, "webdis");
    peer_script(redis_port, "bench-hot", "bench-" FLOW_NUMBER, QUANTITY_MAX, body, sizeof body);
    bench_flow(
        bench,
        &(struct bench_flow){
            .target = &runs->webdis, .path = "/", .body = body, .connections = MANY, .wanted_status = 200},
        &runs->last_script);
    child_stop(webdis);
    child_stop(redis);
    return runs->last_script.per_second;
}

static void script_round(struct bench *bench, struct issue_runs *runs)
{
    for (size_t i = 0; peer_has_webdis() && i < FSYNCS; i++) {
        series_add(&runs->script[i], script_sample(bench, runs, fsyncs[i]));
        if (i == 0)
            series_add(&runs->script_p99, (double)runs->last_script.p99_us / US_PER_MS);
    }
}

static void issue_round(struct bench *bench, struct issue_runs *runs)
{
    series_add(&runs->few, issue_sample(bench, runs, FEW));
    series_add(&runs->few_p99, (double)runs->last.p99_us / US_PER_MS);
    series_add(&runs->empty_deferred, empty_sample(bench, runs, "/deferred"));
    series_add(&runs->many, issue_sample(bench, runs, MANY));
    series_add(&runs->many_p50, (double)runs->last.p50_us / US_PER_MS);
    series_add(&runs->many_p99, (double)runs->last.p99_us / US_PER_MS);
    script_round(bench, runs);
    for (size_t i = 0; i < SQL_COUNT; i++)
        series_add(&runs->sql[i], sql_per_second(bench, sql_clients[i]));
    series_add(&runs->empty_inline, empty_sample(bench, runs, "/inline"));
}

static void print_against_sql(const struct bench *bench, const struct issue_runs *runs)
{
    static const char *const baselines[] = {"one transaction per user, pgbench, 1 client",
                                            "one transaction per user, pgbench, 16 clients",
                                            "one transaction per user, pgbench, 50 clients"};
    for (size_t i = 0; i < SQL_COUNT; i++) {
        struct figure figure = {"the same, against SQL",
                                "1/s",
                                runs->many,
                                sql_clients[i] == 50 ? "ratio >= 50" : "",
                                sql_clients[i] == 50 ? 50 : 0,
                                baselines[i],
                                runs->sql[i]};
        snprintf(figure.note, sizeof figure.note, "%s",
                 "in SQL's favour: no HTTP, no hash chain, no look for a repeated key");
        bench_print(bench, &figure);
    }
}

static void print_against_script(const struct bench *bench, const struct issue_runs *runs)
{
    struct figure figures[] = {
        {"the same, against a script in Redis over webdis", "1/s", runs->many, "ratio >= 0.8; stretch 1.0",
         0.8, "the rule as a script, appendfsync always, 256 connections", runs->script[0]},
        {"the same, against a script in Redis over webdis", "1/s", runs->many, NULL, 0,
         "appendfsync everysec: a second of coupons may be lost", runs->script[1]},
        {"the same, p99 against the script's", "ms", runs->many_p99, NULL, 0, "appendfsync always",
         runs->script_p99},
    };
    bench_note_client(&figures[0], "script", &runs->last_script);
    if (!peer_has_webdis())
        bench_say("issue: webdis is not installed (Debian package webdis), so its script is not compared");
    for (size_t i = 0; peer_has_webdis() && i < COUNT_OF(figures); i++)
        bench_print(bench, &figures[i]);
}

static void print_issue(const struct bench *bench, const struct issue_runs *runs)
{
    struct figure figures[] = {
        {"durable issues into one hot campaign, 256 connections", "1/s", runs->many, "ratio >= 0.50", 0.5,
         "empty deferred handler, 256 connections", runs->empty_deferred},
        {"the same, p99", "ms", runs->many_p99, "<= 40", 0, "its p50", runs->many_p50},
        {"durable issues into one hot campaign, 64 connections", "1/s", runs->few},
        {"the same, p99", "ms", runs->few_p99},
        {"empty deferred handler, 256 connections", "1/s", runs->empty_deferred, NULL, 0,
         "empty inline handler", runs->empty_inline},
    };
    bench_note_client(&figures[0], "ours", &runs->last);
    bench_note_client(&figures[COUNT_OF(figures) - 1], "inline", &runs->last_empty);
    bench_print_all(bench, figures, COUNT_OF(figures));
    print_against_script(bench, runs);
    print_against_sql(bench, runs);
}

void bench_issue(struct bench *bench)
{
    static struct issue_runs runs;
    char url[URL_BYTES];
    bench_target(bench, BENCH_PORT_COMMAND, &runs.command);
    bench_target(bench, BENCH_PORT_EMPTY, &runs.empty);
    bench_target(bench, BENCH_PORT_PEER, &runs.webdis);
    runs.webdis_port = (int)bench->options.port_base + (int)BENCH_PORT_PEER;
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
               &(struct bench_flow){
                   .target = &runs->command, .campaign = campaign, .connections = MANY, .wanted_status = 409},
               &runs->last);
    double after = transactions(bench);
    double idle = runs->idle * (double)(clock_mono_us() - start_us) / US_PER_S;
    double seconds = (double)bench->options.sample_ms / 1000 + 0.7; /* with the time to warm up */
    double calls = after - before > idle ? after - before - idle : 0;
    series_add(&runs->refused, runs->last.per_second);
    series_add(&runs->p99, (double)runs->last.p99_us / US_PER_MS);
    series_add(&runs->calls, calls * 1000 / (runs->last.per_second * seconds));
    bench_flow(bench,
               &(struct bench_flow){
                   .target = &runs->empty, .path = "/inline", .connections = MANY, .wanted_status = 201},
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
        {"refusals once sold out, 256 connections", "1/s", runs.refused, "ratio >= 0.95", 0.95,
         "empty inline handler", runs.empty_inline},
        {"the same, p99", "ms", runs.p99},
        {"PostgreSQL transactions per 1000 refusals", "", runs.calls, "0"},
    };
    bench_note_client(&figures[0], "ours", &runs.last);
    bench_note_client(&figures[0], "empty", &runs.last_empty);
    snprintf(figures[2].note, sizeof figures[2].note, "%.1f transactions/s of other services are subtracted",
             runs.idle);
    bench_print_all(bench, figures, COUNT_OF(figures));
}
