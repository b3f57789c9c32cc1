/* SPDX-License-Identifier: Apache-2.0 */
/* A rebuild that nobody may notice: `projector rebuild` of the stack's own models while issues and reads go
 * on at a steady rate, and `projector verify` after it. Compared with the same traffic without a rebuild. */
#include "bench/measure/run_bench.h"

#include <stdio.h>
#include <unistd.h>

#include "bench/kit/child.h"
#include "common/base/clock.h"
#include "events/catalog.h"

enum { PER_SECOND = 5000, CONNECTIONS = 64, PATH_BYTES = 4096, PROJECTOR_MS = 120000 };

struct live_runs {
    struct target command, query;
    struct series reads_p99, reads_p99_quiet, issues_p99, issues_p99_quiet, bad, took, rate;
};

static pid_t start_projector(const struct bench *bench, const char *verb, const char *output)
{
    char path[PATH_BYTES], database[PATH_BYTES + 16], redis[PATH_BYTES];
    snprintf(path, sizeof path, "%s/projector", bench->options.bin_dir);
    snprintf(database, sizeof database, "DATABASE_URL=%s", bench->options.database_url);
    snprintf(redis, sizeof redis, "REDIS_URL=%s", bench->options.redis_url);
    const char *argv[] = {path, verb, "--json", NULL}, *environment[] = {database, redis, NULL};
    (void)unlink(output);
    return child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = output});
}

static void end_projector(pid_t pid, const char *verb)
{
    if (child_wait(pid, PROJECTOR_MS) != 0)
        bench_die(verb, "failed; see log/bench-live.log (KEEP=1 keeps it)");
}

/* Issues and reads together; the rebuild, where there is one, begins with them and is over before they are.
 */
static void traffic(struct bench *bench, struct live_runs *runs, const char *campaign, bool rebuild)
{
    char path[128], output[PATH_BYTES];
    struct flow_result results[2];
    int64_t measure_ms = 3 * bench->options.sample_ms, start_us = clock_mono_us();
    snprintf(path, sizeof path, "/v1/campaigns/%s", campaign);
    snprintf(output, sizeof output, "%s/log/bench-live.log", bench->options.run_dir);
    const struct bench_flow flows[2] = {
        {.target = &runs->command,
         .campaign = campaign,
         .per_second = PER_SECOND,
         .measure_ms = measure_ms,
         .connections = CONNECTIONS,
         .wanted_status = 201},
        {.target = &runs->query,
         .read = path,
         .per_second = PER_SECOND,
         .measure_ms = measure_ms,
         .connections = CONNECTIONS,
         .wanted_status = 200},
    };
    pid_t pid = rebuild ? start_projector(bench, "rebuild", output) : 0;
    bench_flows(bench, flows, 2, results);
    if (!rebuild) {
        series_add(&runs->issues_p99_quiet, (double)results[0].p99_us / US_PER_MS);
        series_add(&runs->reads_p99_quiet, (double)results[1].p99_us / US_PER_MS);
        return;
    }
    end_projector(pid, "rebuild");
    series_add(&runs->took, (double)(clock_mono_us() - start_us) / US_PER_S);
    series_add(&runs->issues_p99, (double)results[0].p99_us / US_PER_MS);
    series_add(&runs->reads_p99, (double)results[1].p99_us / US_PER_MS);
    series_add(&runs->rate, results[0].per_second + results[1].per_second);
    series_add(&runs->bad, (double)(results[0].odd + results[0].failed + results[1].odd + results[1].failed));
    end_projector(start_projector(bench, "verify", output), "verify");
}

void bench_live(struct bench *bench)
{
    static struct live_runs runs;
    bench_target(bench, BENCH_PORT_COMMAND, &runs.command);
    bench_target(bench, BENCH_PORT_QUERY, &runs.query);
    pid_t service = bench_start(bench, "command-service", BENCH_PORT_COMMAND, NULL);
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        bench_say("live, round %lld of %lld", (long long)round + 1, (long long)bench->options.rounds);
        char campaign[128]; /* the next campaign takes the place of its id */
        snprintf(campaign, sizeof campaign, "%s", bench_campaign(bench, &runs.command, QUANTITY_MAX, -1));
        traffic(bench, &runs, campaign, false);
        traffic(bench, &runs, campaign, true);
    }
    child_stop(service);
    struct figure figures[] = {
        {"requests not answered as wanted during a rebuild, 5,000 issues/s and 5,000 reads/s", "", runs.bad,
         "0"},
        {"p99 of the reads", "ms", runs.reads_p99, NULL, 0, "without a rebuild", runs.reads_p99_quiet},
        {"p99 of the issues", "ms", runs.issues_p99, NULL, 0, "without a rebuild", runs.issues_p99_quiet},
        {"the whole of it: traffic and rebuild", "s", runs.took},
    };
    snprintf(figures[0].note, sizeof figures[0].note,
             "%.0f requests/s were answered; projector verify was clean after each",
             series_median(&runs.rate));
    bench_print_all(bench, figures, COUNT_OF(figures));
}
