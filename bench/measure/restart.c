/* SPDX-License-Identifier: Apache-2.0 */
/* From SIGKILL of the command service under load to the first durable answer of its successor, which a
 * supervisor without delay (this process) starts. */
#include "bench/measure/run_bench.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>

#include "bench/kit/child.h"
#include "common/base/clock.h"
#include "events/campaign.h"

enum {
    CONNECTIONS = 64,
    GIVE_UP_MS = 20000,
    LOAD_MS = 800,
    AFTER_MS = 3000,
    KEY_BYTES = 64,
    PATH_BYTES = 128
};

struct storm {
    pthread_t thread;
    struct flow_options options;
    struct flow_result result;
    char path[PATH_BYTES];
};

static void *storm_main(void *context)
{
    struct storm *storm = context;
    if (!flow_run(&storm->options, &storm->result))
        bench_die("the load", "epoll is not available");
    return NULL;
}

static void storm_begin(const struct bench *bench, struct storm *storm, const struct target *target,
                        const char *campaign)
{
    snprintf(storm->path, sizeof storm->path, "/v1/campaigns/%s/coupons", campaign);
    storm->options = (struct flow_options){
        .target = target,
        .request = {.method = "POST",
                    .path = storm->path,
                    .token = span_of(bench->options.issue_token),
                    .key = SPAN("restart-key-" FLOW_NUMBER),
                    .body = SPAN("{\"user_id\":\"restart-" FLOW_NUMBER "\"}")},
        .wanted_status = 201,
        .connections = CONNECTIONS,
        .measure_ms = LOAD_MS + AFTER_MS,
        .first_number = bench->number,
    };
    CHECK(pthread_create(&storm->thread, NULL, storm_main, storm) == 0);
}

/* One client that tries every millisecond, always with the same key. */
static double first_answer_ms(struct bench *bench, const struct target *target, const char *campaign,
                              int64_t since_us)
{
    uint64_t number = bench->number++;
    int64_t deadline_us = clock_deadline_us(GIVE_UP_MS);
    while (bench_issue_once(bench, target, campaign, number) != 201) {
        if (clock_remaining_ms(deadline_us) == 0)
            bench_die("restart", "no durable answer within 20 s");
        (void)poll(NULL, 0, 1);
    }
    return (double)(clock_mono_us() - since_us) / US_PER_MS;
}

static double restart_once(struct bench *bench, const struct target *target, const char *campaign, pid_t *pid)
{
    static struct storm storm;
    storm_begin(bench, &storm, target, campaign);
    (void)poll(NULL, 0, LOAD_MS);
    int64_t start_us = clock_mono_us();
    child_kill(*pid);
    *pid = bench_spawn(bench, "command-service", BENCH_PORT_COMMAND, NULL);
    double ms = first_answer_ms(bench, target, campaign, start_us);
    CHECK(pthread_join(storm.thread, NULL) == 0);
    bench->number = storm.result.next_number + 1;
    return ms;
}

void bench_restart(struct bench *bench)
{
    char campaign[CAMPAIGN_ID_MAX + 1];
    struct target target;
    struct figure figure = {.what = "kill -9 under load (64 connections) to the first durable answer",
                            .unit = "ms",
                            .goal = "<= 60"};
    bench_target(bench, BENCH_PORT_COMMAND, &target);
    pid_t pid = bench_start(bench, "command-service", BENCH_PORT_COMMAND, NULL);
    snprintf(campaign, sizeof campaign, "%s", bench_campaign(bench, &target, QUANTITY_MAX, -1));
    for (int64_t i = 0; i < bench->options.restarts; i++) {
        bench_say("restart, %lld of %lld", (long long)i + 1, (long long)bench->options.restarts);
        series_add(&figure.series, restart_once(bench, &target, campaign, &pid));
    }
    child_stop(pid);
    snprintf(figure.note, sizeof figure.note,
             "includes the start of the process, as by a supervisor without delay");
    bench_print(bench, &figure);
}
