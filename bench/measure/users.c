/* SPDX-License-Identifier: Apache-2.0 */
/* The weekly load test: 100, 200 and 500 users who issue, and who read, each with the next request as soon as
 * the last is answered; then the profile of incident 4, 500 users at a campaign of 500 coupons. Each against
 * a service with nothing in it and as many users, so that figures of two weeks can be compared although the
 * machine was not equally quiet. And what the services' logs would grow by in an hour of this. */
#include <stdio.h>
#include <sys/stat.h>

#include "bench/kit/child.h"
#include "bench/measure/run_bench.h"
#include "common/base/clock.h"

enum { PHASES = 3, QUANTITY = 500, PATH_BYTES = 4200, SECONDS_PER_HOUR = 3600, MIB = 1024 * 1024 };
static const size_t users[PHASES] = {100, 200, 500};

struct phase {
    struct series rate, empty, p99, empty_p99;
};

struct users_runs {
    struct target command, query, empty;
    struct phase issues[PHASES], reads[PHASES], crowd;
    struct series failed, log_mib;
    char read_path[128];
};

static int64_t log_bytes(const struct bench *bench)
{
    static const char *const names[] = {"command-service", "bench-command-service", "query-service",
                                        "projector"};
    char path[PATH_BYTES];
    int64_t bytes = 0;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct stat found;
        snprintf(path, sizeof path, "%s/log/%s.log", bench->options.run_dir, names[i]);
        if (stat(path, &found) == 0)
            bytes += found.st_size;
    }
    return bytes;
}

/* Both flows, ours and the empty one; what failed of ours. */
static double measure(struct bench *bench, const struct bench_flow *ours, const struct bench_flow *empty,
                      struct phase *phase)
{
    struct flow_result result, nothing;
    bench_flow(bench, ours, &result);
    bench_flow(bench, empty, &nothing);
    series_add(&phase->rate,
               result.per_second + (double)result.refused * 1000 / (double)bench->options.sample_ms);
    series_add(&phase->p99,
               (double)(result.p99_us > result.refused_p99_us ? result.p99_us : result.refused_p99_us) /
                   US_PER_MS);
    series_add(&phase->empty, nothing.per_second);
    series_add(&phase->empty_p99, (double)nothing.p99_us / US_PER_MS);
    return (double)(result.odd + result.failed);
}

static void one_round(struct bench *bench, struct users_runs *runs)
{
    double failed = 0;
    int64_t from_us = clock_mono_us(), bytes = log_bytes(bench);
    for (size_t i = 0; i < PHASES; i++) {
        struct bench_flow issue = {.target = &runs->command,
                                   .campaign = bench_campaign(bench, &runs->command, 10000000, -1),
                                   .connections = users[i],
                                   .wanted_status = 201},
                          deferred = {.target = &runs->empty,
                                      .path = "/deferred",
                                      .connections = users[i],
                                      .wanted_status = 201},
                          read = {.target = &runs->query,
                                  .read = runs->read_path,
                                  .connections = users[i],
                                  .wanted_status = 200},
                          inline_read = {.target = &runs->empty,
                                         .read = "/inline/400",
                                         .connections = users[i],
                                         .wanted_status = 200};
        failed += measure(bench, &issue, &deferred, &runs->issues[i]);
        failed += measure(bench, &read, &inline_read, &runs->reads[i]);
    }
    struct bench_flow crowd = {.target = &runs->command,
                               .campaign = bench_campaign(bench, &runs->command, QUANTITY, -1),
                               .connections = users[PHASES - 1],
                               .wanted_status = 201,
                               .refused_status = 409,
                               .warm_ms = 1},
                      inline_post = {.target = &runs->empty,
                                     .path = "/inline",
                                     .connections = users[PHASES - 1],
                                     .wanted_status = 201};
    failed += measure(bench, &crowd, &inline_post, &runs->crowd);
    series_add(&runs->failed, failed);
    series_add(&runs->log_mib, (double)(log_bytes(bench) - bytes) / MIB * SECONDS_PER_HOUR * US_PER_S /
                                   (double)(clock_mono_us() - from_us));
}

static void print_phase(const struct bench *bench, const char *who, const char *what, const char *baseline,
                        const struct phase *phase)
{
    char rate[96], latency[96];
    snprintf(rate, sizeof rate, "%s %s", who, what);
    snprintf(latency, sizeof latency, "%s %s, p99", who, what);
    const struct figure figures[] = {{rate, "1/s", phase->rate, NULL, 0, baseline, phase->empty},
                                     {latency, "ms", phase->p99, NULL, 0, baseline, phase->empty_p99}};
    bench_print_all(bench, figures, COUNT_OF(figures));
}

static void print_all(const struct bench *bench, const struct users_runs *runs)
{
    static const char *const who[PHASES] = {"100 users", "200 users", "500 users"};
    for (size_t i = 0; i < PHASES; i++) {
        print_phase(bench, who[i], "issue", "empty deferred handler", &runs->issues[i]);
        print_phase(bench, who[i], "read", "empty inline handler", &runs->reads[i]);
    }
    print_phase(bench, "500 users", "want 500 coupons, answers", "empty inline handler", &runs->crowd);
    bench_print(bench, &(struct figure){"requests that failed", "", runs->failed, "0"});
    bench_print(bench, &(struct figure){"logs of the services in an hour of this, extrapolated", "MiB",
                                        runs->log_mib, "<= 1024"});
}

void bench_users(struct bench *bench)
{
    static struct users_runs runs;
    bench_target(bench, BENCH_PORT_COMMAND, &runs.command);
    bench_target(bench, BENCH_PORT_QUERY, &runs.query);
    bench_target(bench, BENCH_PORT_EMPTY, &runs.empty);
    pid_t command = bench_start(bench, "command-service", BENCH_PORT_COMMAND, NULL);
    pid_t empty = bench_start(bench, "empty_handler", BENCH_PORT_EMPTY, NULL);
    snprintf(runs.read_path, sizeof runs.read_path, "/v1/campaigns/%s",
             bench_campaign(bench, &runs.command, 10, -1));
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        bench_say("users, round %lld of %lld", (long long)round + 1, (long long)bench->options.rounds);
        one_round(bench, &runs);
    }
    child_stop(empty);
    child_stop(command);
    print_all(bench, &runs);
}
