/* SPDX-License-Identifier: Apache-2.0 */
/* Reads that are not in memory: what the query service costs where Redis answers, and where PostgreSQL does
 * because there is no Redis. Two query services of their own that keep no copies; and rankings as readers
 * meet them, kept for a second, from the stack's own. Each read is compared with the bare command at the
 * server behind it, without HTTP, by the server's own benchmark program and as many clients. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "bench/kit/child.h"
#include "bench/measure/run_bench.h"
#include "bench/peers/pgbench.h"
#include "bench/peers/redis_peer.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "events/ids.h"

enum {
    CONNECTIONS = 64,
    SQL_CLIENTS = 8, /* twice as many as the query service has connections */
    RANKED = 100,    /* campaigns */
    WINDOWS = 4,     /* of rankings */
    RANKINGS = 800,  /* different ones: both orders, each window, each limit */
    PATH_BYTES = 192,
    OUTPUT_BYTES = 4096,
    SETTLE_MS = 3000, /* in which the projector follows */
    BENCHMARK_MS = 120000,
};

enum kind { USER_IN_CAMPAIGN, USER_COUPONS, RANKING, KINDS };
static const char *const kind_names[KINDS] = {"what a user holds of one campaign", "a user's coupons",
                                              "a ranking of campaigns"};

struct load_runs {
    struct target command, from_redis, from_postgres, kept;
    char paths[2][PATH_BYTES];
    char rankings[RANKINGS][PATH_BYTES];
    const char *ranking_list[RANKINGS];
    int16_t slice;
    uint64_t first_user, users;
    struct series redis[KINDS], postgres[KINDS], bare_redis, bare_postgres, kept_ranking;
};

/* --- the bare commands --- */

/* At a Redis of its own, which has nobody else to serve. */
static double redis_get_per_second(const struct bench *bench)
{
    char output[PATH_BYTES + 64], port[16], text[OUTPUT_BYTES];
    int redis_port = (int)bench->options.port_base + (int)BENCH_PORT_PEER_REDIS;
    snprintf(output, sizeof output, "%s/redis-benchmark.out", bench->options.run_dir);
    snprintf(port, sizeof port, "%d", redis_port);
    (void)unlink(output);
    pid_t redis = peer_redis(bench->options.run_dir, redis_port, "everysec");
    const char *argv[] = {"/usr/bin/redis-benchmark",
                          "-p",
                          port,
                          "-c",
                          "64",
                          "-n",
                          "100000",
                          "-d",
                          "200",
                          "-t",
                          "set,get",
                          "--csv",
                          NULL};
    const char *environment[] = {NULL};
    pid_t pid =
        child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = output});
    int status = child_wait(pid, BENCHMARK_MS);
    child_stop(redis);
    int fd = open(output, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    text[len > 0 ? len : 0] = '\0';
    if (fd >= 0)
        close(fd);
    const char *found = strstr(text, "\"GET\",\"");
    struct span rest = span_of(found ? found + strlen("\"GET\",\"") : "");
    uint64_t whole = 0;
    if (status != 0 || !parse_u64(span_cut(&rest, '.'), INT64_MAX, &whole))
        bench_die("redis-benchmark", text);
    return (double)whole;
}

static double postgres_get_per_second(const struct bench *bench, const struct load_runs *runs)
{
    char slice[32], last[32];
    snprintf(slice, sizeof slice, "slice=%d", runs->slice);
    snprintf(last, sizeof last, "last=%llu", (unsigned long long)runs->users);
    return pgbench_per_second(&(struct pgbench){.run_dir = bench->options.run_dir,
                                                .database = "firstcome",
                                                .script = "bench/sql/by_position.sql",
                                                .define = slice,
                                                .define_too = last,
                                                .clients = SQL_CLIENTS,
                                                .ms = bench->options.sample_ms});
}

/* --- what is read --- */

static void issue_some(struct bench *bench, struct load_runs *runs)
{
    struct flow_result result;
    const char *campaign = bench_campaign(bench, &runs->command, QUANTITY_MAX, -1);
    runs->slice = slice_of(span_of(campaign));
    runs->first_user = bench->number;
    snprintf(runs->paths[USER_IN_CAMPAIGN], PATH_BYTES, "/v1/campaigns/%s/users/bench-" FLOW_NUMBER,
             campaign);
    snprintf(runs->paths[USER_COUPONS], PATH_BYTES, "/v1/users/bench-" FLOW_NUMBER "/coupons");
    bench_flow(bench,
               &(struct bench_flow){
                   .target = &runs->command, .campaign = campaign, .connections = 256, .wanted_status = 201},
               &result);
    runs->users = bench->number - runs->first_user;
    for (int i = 0; i < RANKED; i++) {
        const char *other = bench_campaign(bench, &runs->command, RANKED, -1);
        if (bench_issue_once(bench, &runs->command, other, bench->number++) != 201)
            bench_die("load", "a coupon could not be issued");
    }
    (void)poll(NULL, 0, SETTLE_MS);
}

static void name_rankings(struct load_runs *runs)
{
    static const char *const windows[WINDOWS] = {"1h", "24h", "7d", "all"};
    for (size_t i = 0; i < RANKINGS; i++) {
        runs->ranking_list[i] = runs->rankings[i];
        snprintf(runs->rankings[i], PATH_BYTES, "/v1/rankings/campaigns?by=%s&window=%s&limit=%zu",
                 i % 2 ? "issued" : "redeemed", windows[i / 2 % WINDOWS], 1 + i / (2 * WINDOWS));
    }
}

static double read_per_second(struct bench *bench, const struct load_runs *runs, enum kind kind,
                              const struct target *target)
{
    struct flow_result result;
    struct bench_flow flow = {.target = target, .connections = CONNECTIONS, .wanted_status = 200};
    if (kind == RANKING) {
        flow.reads = runs->ranking_list;
        flow.reads_count = RANKINGS;
    } else {
        flow.read = runs->paths[kind];
        flow.first_number = runs->first_user;
    }
    bench_flow(bench, &flow, &result);
    return result.per_second;
}

static void load_round(struct bench *bench, struct load_runs *runs)
{
    series_add(&runs->bare_redis, redis_get_per_second(bench));
    for (int kind = 0; kind < KINDS; kind++)
        series_add(&runs->redis[kind], read_per_second(bench, runs, (enum kind)kind, &runs->from_redis));
    series_add(&runs->kept_ranking, read_per_second(bench, runs, RANKING, &runs->kept));
    series_add(&runs->bare_postgres, postgres_get_per_second(bench, runs));
    for (int kind = 0; kind < KINDS; kind++)
        series_add(&runs->postgres[kind],
                   read_per_second(bench, runs, (enum kind)kind, &runs->from_postgres));
}

static void print_load(const struct bench *bench, const struct load_runs *runs)
{
    char what[128];
    for (int kind = 0; kind < KINDS; kind++) {
        struct figure figure = {.what = what,
                                .unit = "1/s",
                                .series = runs->redis[kind],
                                .goal = "ratio >= 0.5",
                                .goal_ratio = 0.5,
                                .baseline = "a bare GET, redis-benchmark, as many clients",
                                .baseline_series = runs->bare_redis};
        snprintf(what, sizeof what, "%s, from Redis, 64 connections", kind_names[kind]);
        bench_print(bench, &figure);
        figure.goal = "";
        figure.goal_ratio = 0;
        figure.series = runs->postgres[kind];
        figure.baseline = "a bare lookup by primary key, pgbench, 8 clients";
        figure.baseline_series = runs->bare_postgres;
        snprintf(what, sizeof what, "%s, from PostgreSQL, 64 connections", kind_names[kind]);
        bench_print(bench, &figure);
    }
    snprintf(what, sizeof what, "%d rankings of campaigns in turns, each kept for a second, 64 connections",
             RANKINGS);
    bench_print(bench, &(struct figure){what, "1/s", runs->kept_ranking, "ratio >= 0.5", 0.5,
                                        "a bare GET, redis-benchmark, as many clients", runs->bare_redis});
}

void bench_load(struct bench *bench)
{
    static struct load_runs runs;
    static const char *const no_copies[] = {"--cache-bytes", "0", "--bus-url", "", NULL};
    static const char *const no_redis[] = {"--cache-bytes",         "0", "--bus-url", "", "--redis-url",
                                           "redis://127.0.0.1:1/0", NULL};
    bench_target(bench, BENCH_PORT_COMMAND, &runs.command);
    bench_target(bench, BENCH_PORT_SECOND, &runs.from_redis);
    bench_target(bench, BENCH_PORT_SCRATCH, &runs.from_postgres);
    bench_target(bench, BENCH_PORT_QUERY, &runs.kept);
    pid_t command = bench_start(bench, "command-service", BENCH_PORT_COMMAND, NULL);
    pid_t from_redis = bench_start_with(bench, "query-service", BENCH_PORT_SECOND, no_copies);
    pid_t from_postgres = bench_start_with(bench, "query-service", BENCH_PORT_SCRATCH, no_redis);
    issue_some(bench, &runs);
    name_rankings(&runs);
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        bench_say("load, round %lld of %lld", (long long)round + 1, (long long)bench->options.rounds);
        load_round(bench, &runs);
    }
    child_stop(from_postgres);
    child_stop(from_redis);
    child_stop(command);
    print_load(bench, &runs);
}
