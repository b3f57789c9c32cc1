/* SPDX-License-Identifier: Apache-2.0 */
/* Two command services at one hot campaign: the row lock of its slice decides between them, and must not cost
 * what the second one brings. Compared with one service under the same load. */
#include "bench/measure/run_bench.h"

#include <stdio.h>

#include "bench/kit/child.h"
#include "common/base/clock.h"
#include "events/catalog.h"

enum { WRITERS = 2, CONNECTIONS = 128 };

struct writers_runs {
    struct target targets[WRITERS];
    struct series one, both, one_p99, both_p99;
};

static const enum bench_port ports[WRITERS] = {BENCH_PORT_COMMAND, BENCH_PORT_SECOND};

/* The same two load threads each time; only where they send to differs. */
static void sample(struct bench *bench, struct writers_runs *runs, size_t writers, struct series *rate,
                   struct series *p99)
{
    struct flow_result results[WRITERS];
    struct bench_flow flows[WRITERS];
    const char *campaign = bench_campaign(bench, &runs->targets[0], QUANTITY_MAX, -1);
    for (size_t i = 0; i < WRITERS; i++)
        flows[i] = (struct bench_flow){.target = &runs->targets[i % writers],
                                       .campaign = campaign,

                                       .connections = CONNECTIONS,
                                       .wanted_status = 201};
    bench_flows(bench, flows, WRITERS, results);
    int64_t worst_us = results[0].p99_us > results[1].p99_us ? results[0].p99_us : results[1].p99_us;
    series_add(rate, results[0].per_second + results[1].per_second);
    series_add(p99, (double)worst_us / US_PER_MS);
}

void bench_writers(struct bench *bench)
{
    static struct writers_runs runs;
    pid_t services[WRITERS];
    for (size_t i = 0; i < WRITERS; i++) {
        bench_target(bench, ports[i], &runs.targets[i]);
        services[i] = bench_start(bench, "command-service", ports[i], NULL);
    }
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        bench_say("writers, round %lld of %lld", (long long)round + 1, (long long)bench->options.rounds);
        sample(bench, &runs, 1, &runs.one, &runs.one_p99);
        sample(bench, &runs, WRITERS, &runs.both, &runs.both_p99);
    }
    for (size_t i = 0; i < WRITERS; i++)
        child_stop(services[i]);
    struct figure figures[] = {
        {"two command services, one hot campaign, 128 connections each", "1/s", runs.both, "ratio >= 0.9", 0,
         "one of them, 256 connections", runs.one},
        {"the same, the worse p99 of the two", "ms", runs.both_p99, NULL, 0, "one", runs.one_p99},
    };
    bench_print_all(bench, figures, COUNT_OF(figures));
}
