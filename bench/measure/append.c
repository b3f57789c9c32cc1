/* SPDX-License-Identifier: Apache-2.0 */
/* What an event costs the log, without HTTP and over HTTP, in an empty database that was never analysed and
 * in one with many events in the slice that is appended to. */
#include "bench/measure/run_bench.h"

#include <inttypes.h>
#include <stdio.h>

#include "bench/kit/append_run.h"
#include "bench/kit/child.h"
#include "bench/kit/scratch.h"
#include "common/base/clock.h"
#include "events/campaign.h"
#include "events/ids.h"

enum { PER_BATCH = 256, CONNECTIONS = 256, URL_BYTES = 4096 };

struct append_runs {
    int16_t slice;
    char empty_url[URL_BYTES], full_url[URL_BYTES], command_empty_url[URL_BYTES], command_full_url[URL_BYTES];
    int64_t user;
    struct series plain, empty, full, empty_us, full_us, http_empty, http_full, loading;
};

static double append_us(const struct bench *bench, struct append_runs *runs, const char *url, bool plain)
{
    struct append_result result;
    struct append_options options = {.url = url,
                                     .campaign_id = "bench-hot",
                                     .slice = runs->slice,
                                     .first_user = runs->user,
                                     .events = bench->options.append_events,
                                     .per_batch = PER_BATCH,
                                     .plain = plain};
    runs->user += 2 * bench->options.append_events;
    append_run(&options, &result);
    if (!plain)
        series_add(&runs->loading, 100 * result.load_share);
    return result.us_per_event;
}

static void fresh(const struct bench *bench, struct append_runs *runs)
{
    scratch_create(bench->options.superuser_url, "bench_empty", "bench_template");
    scratch_preload(&(struct scratch_preload){runs->empty_url, "bench-hot", runs->slice, 0});
    (void)scratch_number(bench->options.superuser_url, "CHECKPOINT", 60000);
}

static double http_per_second(struct bench *bench, struct append_runs *runs, const char *database)
{
    struct target target;
    struct flow_result result;
    bench_target(bench, BENCH_PORT_SCRATCH, &target);
    pid_t command = bench_start(bench, "command-service", BENCH_PORT_SCRATCH, database);
    const char *campaign = bench_campaign(bench, &target, QUANTITY_MAX, runs->slice);
    bench_flow(bench,
               &(struct bench_flow){.target = &target,
                                    .campaign = campaign,

                                    .connections = CONNECTIONS,
                                    .wanted_status = 201},
               &result);
    child_stop(command);
    return result.per_second;
}

static void append_round(struct bench *bench, struct append_runs *runs)
{
    fresh(bench, runs);
    series_add(&runs->plain, US_PER_S / append_us(bench, runs, runs->command_empty_url, true));
    fresh(bench, runs);
    series_add(&runs->empty_us, append_us(bench, runs, runs->command_empty_url, false));
    series_add(&runs->empty, US_PER_S / runs->empty_us.values[runs->empty_us.count - 1]);
    series_add(&runs->full_us, append_us(bench, runs, runs->command_full_url, false));
    series_add(&runs->full, US_PER_S / runs->full_us.values[runs->full_us.count - 1]);
    fresh(bench, runs);
    series_add(&runs->http_empty, http_per_second(bench, runs, "bench_empty"));
    series_add(&runs->http_full, http_per_second(bench, runs, "bench_full"));
}

static void prepare(struct bench *bench, struct append_runs *runs)
{
    const struct bench_options *is = &bench->options;
    runs->slice = slice_of(SPAN("bench-hot"));
    scratch_url(is->database_url, "bench_empty", runs->empty_url, URL_BYTES);
    scratch_url(is->database_url, "bench_full", runs->full_url, URL_BYTES);
    scratch_url(is->command_database_url, "bench_empty", runs->command_empty_url, URL_BYTES);
    scratch_url(is->command_database_url, "bench_full", runs->command_full_url, URL_BYTES);
    scratch_create(is->superuser_url, "bench_full", "bench_template");
    scratch_preload(&(struct scratch_preload){runs->full_url, "bench-hot", runs->slice, is->preload});
    (void)scratch_number(is->superuser_url, "CHECKPOINT", 600000);
    /* After a checkpoint every page is logged in full when it is first touched; that is not what an event
     * costs in the long run. */
    (void)append_us(bench, runs, runs->command_full_url, false);
    runs->loading.count = 0;
}

static void print_append(const struct bench *bench, const struct append_runs *runs)
{
    char full_what[128], http_what[128];
    snprintf(full_what, sizeof full_what, "cost per event with %" PRId64 " events in the slice",
             bench->options.preload);
    snprintf(http_what, sizeof http_what,
             "issues over HTTP, 256 connections, %" PRId64 " events in the slice", bench->options.preload);
    struct figure figures[] = {
        {"events, 256 a batch, one connection, as the service does it", "1/s", runs->empty, ">= 80000", 0,
         "bare INSERT INTO event, 256 a transaction", runs->plain},
        {full_what, "us", runs->full_us, "ratio <= 1.3", 0, "empty, never analysed", runs->empty_us},
        {http_what, "1/s", runs->http_full, NULL, 0, "empty, never analysed; neither has a projector",
         runs->http_empty},
    };
    snprintf(figures[0].note, sizeof figures[0].note,
             "first round trip (lock and probes): %.0f %% of the time", series_median(&runs->loading));
    bench_print_all(bench, figures, COUNT_OF(figures));
}

void bench_append(struct bench *bench)
{
    static struct append_runs runs;
    prepare(bench, &runs);
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        bench_say("append, round %" PRId64 " of %" PRId64, round + 1, bench->options.rounds);
        append_round(bench, &runs);
    }
    print_append(bench, &runs);
}
