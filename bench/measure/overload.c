/* SPDX-License-Identifier: Apache-2.0 */
/* Too many at once: an open loop at multiples of the measured capacity, each user on a connection of their
 * own, from two load threads. What is asked: how much of the capacity is still goodput, how fast the others
 * are refused, whether anybody is answered after the deadline, and how soon it is over when they go. The
 * queue has room for everybody who is let in, and once for fewer, so that its bound refuses. */
#include "bench/measure/run_bench.h"

#include <poll.h>
#include <stdio.h>

#include "bench/kit/child.h"
#include "bench/load/http_load.h"
#include "common/base/clock.h"
#include "events/catalog.h"

enum {
    LOADS = 2,
    CAPACITY_CONNECTIONS = 256,
    CONNECTIONS_MAX = 16000,
    WARM_MS = 3000, /* in which they connect */
    PATIENCE_MS = 15000,
    LATE_MS = 2250, /* the deadline, and something for the load's own waiting */
    CALM_MS = 1000,
    RECOVERY_MAX_MS = 15000,
    PROBE_MS = 10,
};

#define LET_IN "15500"

static const struct step {
    int times;
    size_t connections;
    const char *queue_max;
} steps[] = {{1, 9500, LET_IN},   {2, 9500, LET_IN},    {5, 9500, LET_IN},  {10, 9500, LET_IN},
             {10, 15000, LET_IN}, {10, 15000, "10000"}, {10, 16000, LET_IN}};
enum { STEPS = COUNT_OF(steps) };

struct step_runs {
    struct series goodput, refused_p50, refused_p99, late, recovery;
};

struct overload_runs {
    struct target command;
    struct series capacity, normal_ms;
    struct step_runs steps[STEPS];
    struct flow_result last;
};

static double capacity(struct bench *bench, struct overload_runs *runs)
{
    bench_flow(bench,
               &(struct bench_flow){.target = &runs->command,
                                    .campaign = bench_campaign(bench, &runs->command, QUANTITY_MAX, -1),
                                    .connections = CAPACITY_CONNECTIONS,
                                    .wanted_status = 201},
               &runs->last);
    series_add(&runs->capacity, runs->last.per_second);
    series_add(&runs->normal_ms, (double)runs->last.p99_us / US_PER_MS);
    return runs->last.per_second;
}

/* One client that goes on asking: since the end of the load, how long an answer was still missing or slower
 * than three times the p99 of normal. */
static double recovery_ms(struct bench *bench, const struct overload_runs *runs, const char *campaign,
                          int64_t since_us)
{
    double bound_ms = 3 * series_median(&runs->normal_ms);
    int64_t bad_us = clock_mono_us(), give_up_us = clock_deadline_us(RECOVERY_MAX_MS);
    while (clock_mono_us() - bad_us < CALM_MS * US_PER_MS && clock_mono_us() < give_up_us) {
        int64_t start_us = clock_mono_us();
        int status = bench_issue_once(bench, &runs->command, campaign, bench->number++);
        if (status != 201 || (double)(clock_mono_us() - start_us) / US_PER_MS > bound_ms)
            bad_us = clock_mono_us();
        (void)poll(NULL, 0, PROBE_MS);
    }
    return (double)(bad_us - since_us) / US_PER_MS;
}

static void step(struct bench *bench, struct overload_runs *runs, size_t nr, double per_second)
{
    const struct step *is = &steps[nr];
    struct step_runs *ret = &runs->steps[nr];
    struct flow_result results[LOADS];
    struct bench_flow flows[LOADS];
    char campaign[CAMPAIGN_ID_MAX + 1];
    snprintf(campaign, sizeof campaign, "%s", bench_campaign(bench, &runs->command, QUANTITY_MAX, -1));
    for (size_t i = 0; i < LOADS; i++)
        flows[i] = (struct bench_flow){.target = &runs->command,
                                       .campaign = campaign,
                                       .per_second = (int64_t)(per_second * is->times / LOADS),
                                       .warm_ms = WARM_MS,
                                       .late_us = LATE_MS * US_PER_MS,
                                       .timeout_ms = PATIENCE_MS,
                                       .connections = is->connections / LOADS,
                                       .wanted_status = 201,
                                       .refused_status = 503};
    int64_t end_us = clock_mono_us() + (WARM_MS + bench->options.sample_ms) * US_PER_MS;
    bench_flows(bench, flows, LOADS, results);
    double recovered_ms = recovery_ms(bench, runs, campaign, end_us), good = 0, late = 0, p50 = 0, p99 = 0;
    for (size_t i = 0; i < LOADS; i++) {
        good += results[i].per_second;
        late += (double)(results[i].late + results[i].failed);
        p50 += (double)results[i].refused_p50_us / US_PER_MS / LOADS;
        p99 = (double)results[i].refused_p99_us > p99 * US_PER_MS
                  ? (double)results[i].refused_p99_us / US_PER_MS
                  : p99;
    }
    series_add(&ret->goodput, good);
    series_add(&ret->refused_p50, p50);
    series_add(&ret->refused_p99, p99);
    series_add(&ret->late, late);
    series_add(&ret->recovery, recovered_ms);
    runs->last = results[0];
}

static void print_step(const struct bench *bench, const struct overload_runs *runs, size_t nr)
{
    const struct step_runs *step = &runs->steps[nr];
    char what[128];
    snprintf(what, sizeof what, "issues/s at %d times the capacity, %zu connections, a queue of %s",
             steps[nr].times, steps[nr].connections, steps[nr].queue_max);
    struct figure figures[] = {
        {what, "1/s", step->goodput, "ratio >= 0.95", 0.95,
         "capacity: 256 connections, each sending when it was answered", runs->capacity},
        {"a refusal, p99, from the sending of its request", "ms", step->refused_p99, "<= 50", 0, "its p50",
         step->refused_p50},
        {"answers later than 2.25 s, or none", "", step->late, "0"},
        {"from the end of it until a request takes no longer than 3 times the normal p99", "ms",
         step->recovery, "<= 2000"},
    };
    for (size_t i = 0; i < COUNT_OF(figures); i++)
        if (i != 1 || series_max(&step->refused_p99) > 0)
            bench_print(bench, &figures[i]);
}

void bench_overload(struct bench *bench)
{
    static struct overload_runs runs;
    if (!load_allow_descriptors(CONNECTIONS_MAX + 1000)) {
        bench_say("overload: not measured, this process may not open so many connections (ulimit -n)");
        return;
    }
    bench_target(bench, BENCH_PORT_COMMAND, &runs.command);
    for (int64_t round = 0; round < bench->options.rounds; round++)
        for (size_t nr = 0; nr < STEPS; nr++) {
            const char *flags[] = {
                "--connections-max", LET_IN, "--connections-per-address-max", LET_IN, "--queue-max",
                steps[nr].queue_max, NULL};
            bench_say("overload, round %lld of %lld, %d times, %zu connections", (long long)round + 1,
                      (long long)bench->options.rounds, steps[nr].times, steps[nr].connections);
            pid_t service = bench_start_with(bench, "command-service", BENCH_PORT_COMMAND, flags);
            step(bench, &runs, nr, capacity(bench, &runs));
            child_stop(service);
        }
    for (size_t nr = 0; nr < STEPS; nr++)
        print_step(bench, &runs, nr);
}
