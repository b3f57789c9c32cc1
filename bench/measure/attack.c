/* SPDX-License-Identifier: Apache-2.0 */
/* Three attacks at once on a steady flow of issues: slow heads, slow bodies, answers that nobody reads, more
 * than the service lets in, from the same address as the good clients. What is asked: what they cost the good
 * ones, whether any of these is refused, and how much memory the service takes. Attackers use the machine
 * besides: the same attack on another server, an empty one, shows how much of it that is; and a bystander, an
 * empty server that nobody attacks, how much anybody waits for a processor meanwhile. */
#include "bench/measure/run_bench.h"

#include <poll.h>
#include <stdio.h>

#include "bench/kit/child.h"
#include "bench/load/attacker.h"
#include "bench/load/http_load.h"
#include "common/base/clock.h"
#include "common/base/process.h"
#include "events/catalog.h"

enum {
    HEADS = 8000,
    BODIES = 2000,
    UNREAD = 2000,
    OPENS_PER_S = 3000,
    PER_SECOND = 2000,
    GOOD_CONNECTIONS = 200,
    OPENING_MS = 6000, /* in which they all have come */
    BYSTANDER_PER_SECOND = 200,
    BYSTANDER_CONNECTIONS = 20,
    NEWCOMER_MS = 50,
};

struct attack_runs {
    struct target command, other, bystander;
    char campaign[CAMPAIGN_ID_MAX + 1];
    pid_t service;
    struct series p99, p99_before, p99_beside, p50, p50_before, refused, memory_mib, memory_before_mib;
    struct series bystander_p99, bystander_before;
    uint64_t newcomers; /* so far */
};

struct good {
    struct flow_result flow, bystander;
    uint64_t newcomers, refused; /* newcomers: who each came with a connection of their own */
    double most_mib;
};

/* A steady flow on kept connections, and besides, one after the other, clients that come for one request. */
static void measure(struct bench *bench, struct attack_runs *runs, int64_t warm_ms, struct good *ret)
{
    struct bench_running *flow = bench_flow_start(bench,
                                                  &(struct bench_flow){.target = &runs->command,
                                                                       .campaign = runs->campaign,
                                                                       .connections = GOOD_CONNECTIONS,
                                                                       .per_second = PER_SECOND,
                                                                       .warm_ms = warm_ms,
                                                                       .wanted_status = 201},
                                                  &ret->flow);
    struct bench_running *bystander =
        bench_flow_start(bench,
                         &(struct bench_flow){.target = &runs->bystander,
                                              .read = "/inline/400",
                                              .connections = BYSTANDER_CONNECTIONS,
                                              .per_second = BYSTANDER_PER_SECOND,
                                              .warm_ms = warm_ms,
                                              .wanted_status = 200},
                         &ret->bystander);
    int64_t end_us = clock_deadline_us(warm_ms + bench->options.sample_ms);
    for (; clock_mono_us() < end_us; (void)poll(NULL, 0, NEWCOMER_MS)) {
        double mib = (double)process_resident_bytes(runs->service) / (1024 * 1024);
        ret->most_mib = mib > ret->most_mib ? mib : ret->most_mib;
        ret->newcomers++;
        ret->refused += bench_issue_once(bench, &runs->command, runs->campaign, runs->newcomers++) != 201;
    }
    bench_flow_await(bench, bystander);
    bench_flow_await(bench, flow); /* last, because its numbers are users */
    ret->refused += ret->flow.odd + ret->flow.failed;
}

static void attacked(struct bench *bench, struct attack_runs *runs, const struct target *target,
                     struct good *ret)
{
    struct buf post;
    buf_init(&post, 1024);
    buf_printf(&post,
               "POST /v1/campaigns/%s/coupons/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
               "Idempotency-Key: attack\r\nContent-Length: %d\r\n\r\n",
               runs->campaign, bench->options.issue_token, ATTACK_BODY);
    struct attack *attack =
        attack_start(&(struct attack_options){.target = target,
                                              .heads = HEADS,
                                              .bodies = BODIES,
                                              .unread = UNREAD,
                                              .asks = SPAN("GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"),
                                              .post = buf_span(&post),
                                              .opens_per_second = OPENS_PER_S});
    measure(bench, runs, OPENING_MS, ret);
    bench_say("attack: %zu connections, %llu made; %llu of %llu newcomers and of the flow refused",
              attack_connections(attack), (unsigned long long)attack_made(attack),
              (unsigned long long)ret->refused, (unsigned long long)ret->newcomers);
    attack_stop(attack);
    buf_deinit(&post);
}

static void round_of(struct bench *bench, struct attack_runs *runs)
{
    struct good before = {0}, beside = {0}, during = {0};
    pid_t other = bench_start(bench, "empty_handler", BENCH_PORT_EMPTY, NULL);
    measure(bench, runs, 0, &before);
    attacked(bench, runs, &runs->other, &beside);
    child_stop(other);
    attacked(bench, runs, &runs->command, &during);
    series_add(&runs->p99_before, (double)before.flow.p99_us / US_PER_MS);
    series_add(&runs->p99_beside, (double)beside.flow.p99_us / US_PER_MS);
    series_add(&runs->bystander_before, (double)before.bystander.p99_us / US_PER_MS);
    series_add(&runs->bystander_p99, (double)during.bystander.p99_us / US_PER_MS);
    series_add(&runs->p99, (double)during.flow.p99_us / US_PER_MS);
    series_add(&runs->p50_before, (double)before.flow.p50_us / US_PER_MS);
    series_add(&runs->p50, (double)during.flow.p50_us / US_PER_MS);
    series_add(&runs->refused, (double)during.refused);
    series_add(&runs->memory_before_mib, before.most_mib);
    series_add(&runs->memory_mib, during.most_mib);
}

static void print(const struct bench *bench, const struct attack_runs *runs)
{
    const struct figure figures[] = {
        {"an issue under attack, p99", "ms", runs->p99, "ratio <= 1.5", 0, "without an attack",
         runs->p99_before},
        {"the same", "ms", runs->p99, NULL, 0, "while another server on this machine is attacked",
         runs->p99_beside},
        {"what is asked meanwhile of an empty server that nobody attacks, p99", "ms", runs->bystander_p99,
         NULL, 0, "without an attack on the other", runs->bystander_before},
        {"an issue under attack, p50", "ms", runs->p50, NULL, 0, "without an attack", runs->p50_before},
        {"good requests without a coupon", "", runs->refused, "0"},
        {"resident memory of the service, the most", "MiB", runs->memory_mib, "<= 256 more", 0,
         "without an attack", runs->memory_before_mib},
    };
    bench_print_all(bench, figures, COUNT_OF(figures));
}

void bench_attack(struct bench *bench)
{
    static struct attack_runs runs;
    if (!load_allow_descriptors(HEADS + BODIES + UNREAD + 1000)) {
        bench_say("attack: not measured, this process may not open so many connections (ulimit -n)");
        return;
    }
    bench_target(bench, BENCH_PORT_COMMAND, &runs.command);
    bench_target(bench, BENCH_PORT_EMPTY, &runs.other);
    bench_target(bench, BENCH_PORT_PEER, &runs.bystander);
    pid_t bystander = bench_start(bench, "empty_handler", BENCH_PORT_PEER, NULL);
    runs.service = bench_start(bench, "command-service", BENCH_PORT_COMMAND, NULL);
    snprintf(runs.campaign, sizeof runs.campaign, "%s",
             bench_campaign(bench, &runs.command, QUANTITY_MAX, -1));
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        bench_say("attack, round %lld of %lld", (long long)round + 1, (long long)bench->options.rounds);
        round_of(bench, &runs);
    }
    child_stop(runs.service);
    child_stop(bystander);
    print(bench, &runs);
}
