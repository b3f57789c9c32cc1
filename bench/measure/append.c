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

enum { PER_BATCH = 256, TOUCHED = 20, CONNECTIONS = 256, URL_BYTES = 4096 };

struct append_runs {
    int16_t slice;
    char empty[48], command_empty_url[URL_BYTES], full_url[URL_BYTES], command_full_url[URL_BYTES];
    int64_t user, empties, campaigns;
    struct series plain, ours, empty_us, full_us, checkpoint_us, http_empty, http_full, loading;
};

static double append_us(const struct bench *bench, struct append_runs *runs, const char *url,
                        const char *campaign_id, bool plain)
{
    struct append_result result;
    struct append_options options = {.url = url,
                                     .campaign_id = campaign_id,
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

/* Into a campaign of its own: who begins in the middle of one looks for everybody until it has read it. */
static double append_full_us(const struct bench *bench, struct append_runs *runs)
{
    char campaign[48];
    snprintf(campaign, sizeof campaign, "bench-hot-%" PRId64, ++runs->campaigns);
    scratch_campaign(runs->full_url, campaign, runs->slice);
    return append_us(bench, runs, runs->command_full_url, campaign, false);
}

/* After a checkpoint every page is logged in full when it is first touched. That is not what an event costs
 * in the long run, so there is none in between, and so none of these databases is dropped, which makes one.
 */
static void fresh(const struct bench *bench, struct append_runs *runs)
{
    const struct bench_options *is = &bench->options;
    char url[URL_BYTES];
    snprintf(runs->empty, sizeof runs->empty, "bench_empty_%" PRId64, ++runs->empties);
    scratch_create(is->superuser_url, runs->empty, "bench_template");
    scratch_url(is->database_url, runs->empty, url, URL_BYTES);
    scratch_url(is->command_database_url, runs->empty, runs->command_empty_url, URL_BYTES);
    scratch_preload(&(struct scratch_preload){url, "bench-hot", runs->slice, 0});
}

static void checkpoint(const struct bench *bench)
{
    (void)scratch_number(bench->options.superuser_url, "CHECKPOINT", 600000);
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
    series_add(&runs->plain, US_PER_S / append_us(bench, runs, runs->command_empty_url, "bench-hot", true));
    fresh(bench, runs);
    series_add(&runs->empty_us, append_us(bench, runs, runs->command_empty_url, "bench-hot", false));
    series_add(&runs->ours, US_PER_S / runs->empty_us.values[runs->empty_us.count - 1]);
    series_add(&runs->full_us, append_full_us(bench, runs));
    fresh(bench, runs);
    series_add(&runs->http_empty, http_per_second(bench, runs, runs->empty));
    series_add(&runs->http_full, http_per_second(bench, runs, "bench_full"));
}

static void prepare(struct bench *bench, struct append_runs *runs)
{
    const struct bench_options *is = &bench->options;
    runs->slice = slice_of(SPAN("bench-hot"));
    scratch_url(is->database_url, "bench_full", runs->full_url, URL_BYTES);
    scratch_url(is->command_database_url, "bench_full", runs->command_full_url, URL_BYTES);
    scratch_create(is->superuser_url, "bench_full", "bench_template");
    scratch_preload(&(struct scratch_preload){runs->full_url, "bench-hot", runs->slice, is->preload});
    checkpoint(bench);
    for (int64_t done = 0; done <= is->preload / TOUCHED;
         done += is->append_events) /* until all were touched */
        series_add(&runs->checkpoint_us, append_full_us(bench, runs));
    runs->checkpoint_us.count = 1; /* the others had ever fewer pages to log in full */
    runs->loading.count = 0;
}

static void print_append(const struct bench *bench, const struct append_runs *runs)
{
    char full_what[128], checkpoint_what[128], http_what[128];
    snprintf(checkpoint_what, sizeof checkpoint_what,
             "the same, the first %" PRId64 " after a checkpoint: pages are logged in full",
             bench->options.append_events);
    snprintf(full_what, sizeof full_what, "cost per event with %" PRId64 " events in the slice",
             bench->options.preload);
    snprintf(http_what, sizeof http_what,
             "issues over HTTP, 256 connections, %" PRId64 " events in the slice", bench->options.preload);
    struct figure figures[] = {
        {"events, 256 a batch, one connection, as the service does it", "1/s", runs->ours, ">= 80000", 0,
         "bare INSERT INTO event, 256 a transaction", runs->plain},
        {full_what, "us", runs->full_us, "ratio <= 1.25", 0, "empty, never analysed", runs->empty_us},
        {checkpoint_what, "us", runs->checkpoint_us, NULL, 0, "empty, never analysed", runs->empty_us},
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
