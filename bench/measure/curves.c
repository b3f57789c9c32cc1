/* SPDX-License-Identifier: Apache-2.0 */
/* How the cost of an operation grows with the log and with the number of campaigns: issue, a campaign and a
 * user's coupons read from the models in Redis, and a rebuild of all models, at more and more events and over
 * more and more campaigns. The product makes its own log here, over HTTP, so that everything in it is as it
 * is in service. */
#include <inttypes.h>
#include <stdio.h>

#include "bench/kit/child.h"
#include "bench/kit/scratch.h"
#include "bench/measure/run_bench.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "events/catalog.h"

enum {
    CONNECTIONS = 256,
    READERS = 64,
    PATH_BYTES = 192,
    LOG_BYTES = 4200,
    STEP_MS = 10000, /* of loading, between two looks at how many there are */
    REBUILD_MS = 3600000,
    PATIENCE_MS = 60000,
    QUANTITY_OF_MANY = 100000,
};

static const struct point {
    int64_t events;
    int campaigns; /* issued to, all of them new */
    bool big;      /* only with curves-big */
} points[] = {{100000, 1, false},
              {1000000, 1, false},
              {10000000, 1, true},
              {1100000, 100, false},
              {1200000, 10000, false}};
enum { POINTS = COUNT_OF(points) };

enum cost { COST_ISSUE, COST_CAMPAIGN, COST_USER, COST_REBUILD, COSTS };
static const char *const cost_names[COSTS] = {
    "an issue, 256 connections", "a campaign from Redis, 64 connections",
    "a user's coupons from Redis, 64 connections", "an event in a rebuild of all models"};

/* Paths of the campaigns of a point. */
struct paths {
    char (*issue)[PATH_BYTES], (*read)[PATH_BYTES];
    const char **issue_list, **read_list;
    size_t count;
};

struct curves_runs {
    struct target command, query;
    struct series costs[POINTS][COSTS];
    int64_t events[POINTS];
};

static int64_t events_now(const struct bench *bench)
{
    return scratch_number(bench->options.database_url, "SELECT sum(head)::bigint FROM slice", PATIENCE_MS);
}

static void paths_init(struct bench *bench, struct curves_runs *runs, struct paths *paths, int count)
{
    *paths = (struct paths){.count = (size_t)count};
    paths->issue = mem_alloc(paths->count * sizeof *paths->issue);
    paths->read = mem_alloc(paths->count * sizeof *paths->read);
    paths->issue_list = mem_alloc(paths->count * sizeof *paths->issue_list);
    paths->read_list = mem_alloc(paths->count * sizeof *paths->read_list);
    for (size_t i = 0; i < paths->count; i++) {
        const char *id =
            bench_campaign(bench, &runs->command, count == 1 ? QUANTITY_MAX : QUANTITY_OF_MANY, -1);
        snprintf(paths->issue[i], PATH_BYTES, "/v1/campaigns/%s/coupons", id);
        snprintf(paths->read[i], PATH_BYTES, "/v1/campaigns/%s", id);
        paths->issue_list[i] = paths->issue[i];
        paths->read_list[i] = paths->read[i];
    }
}

static void paths_deinit(struct paths *paths)
{
    mem_free(paths->issue);
    mem_free(paths->read);
    mem_free(paths->issue_list);
    mem_free(paths->read_list);
}

static double cost_us(const struct flow_result *result)
{
    return US_PER_S / result->per_second;
}

static double issue(struct bench *bench, struct curves_runs *runs, const struct paths *paths, int64_t ms)
{
    struct flow_result result;
    bench_flow(bench,
               &(struct bench_flow){.target = &runs->command,
                                    .posts = paths->issue_list,
                                    .posts_count = paths->count,
                                    .measure_ms = ms,
                                    .connections = CONNECTIONS,
                                    .wanted_status = 201},
               &result);
    return cost_us(&result);
}

static double read_us(struct bench *bench, struct curves_runs *runs, const char *const *list, size_t count,
                      uint64_t first_user)
{
    struct flow_result result;
    bench_flow(bench,
               &(struct bench_flow){.target = &runs->query,
                                    .reads = list,
                                    .reads_count = count,
                                    .first_number = first_user,
                                    .connections = READERS,
                                    .wanted_status = 200},
               &result);
    return cost_us(&result);
}

static double rebuild_us(const struct bench *bench)
{
    char program[LOG_BYTES], log[LOG_BYTES], database[LOG_BYTES];
    snprintf(program, sizeof program, "%s/projector", bench->options.bin_dir);
    snprintf(log, sizeof log, "%s/log/bench-curves.log", bench->options.run_dir);
    snprintf(database, sizeof database, "DATABASE_URL=%s", bench->options.projector_database_url);
    const char *argv[] = {program, "rebuild", NULL}, *environment[] = {database, NULL};
    int64_t start_us = clock_mono_us();
    pid_t pid =
        child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = log});
    if (child_wait(pid, REBUILD_MS) != 0)
        bench_die("rebuild", "failed; see log/bench-curves.log (KEEP=1 keeps it)");
    return (double)(clock_mono_us() - start_us) / (double)events_now(bench);
}

static void measure(struct bench *bench, struct curves_runs *runs, size_t nr)
{
    static const char *const users[] = {"/v1/users/bench-" FLOW_NUMBER "/coupons"};
    struct paths paths;
    paths_init(bench, runs, &paths, points[nr].campaigns);
    uint64_t first_user = bench->number;
    for (int64_t now; (now = events_now(bench)) < points[nr].events;) {
        bench_say("curves: %" PRId64 " of %" PRId64 " events", now, points[nr].events);
        (void)issue(bench, runs, &paths, STEP_MS);
    }
    series_add(&runs->costs[nr][COST_ISSUE], issue(bench, runs, &paths, 0));
    runs->events[nr] = events_now(bench);
    series_add(&runs->costs[nr][COST_REBUILD], rebuild_us(bench)); /* and the models are current after it */
    series_add(&runs->costs[nr][COST_CAMPAIGN],
               read_us(bench, runs, paths.read_list, paths.count, first_user));
    series_add(&runs->costs[nr][COST_USER], read_us(bench, runs, users, 1, first_user));
    paths_deinit(&paths);
}

static void print_curves(const struct bench *bench, const struct curves_runs *runs)
{
    for (int cost = 0; cost < COSTS; cost++)
        for (size_t nr = 0; nr < POINTS; nr++) {
            char what[160];
            struct figure figure = {.what = what,
                                    .unit = "us",
                                    .series = runs->costs[nr][cost],
                                    .baseline = nr ? "100,000 events, one campaign" : "",
                                    .baseline_series = runs->costs[0][cost]};
            snprintf(what, sizeof what, "%s: %" PRId64 " events in the log, %d campaigns at work",
                     cost_names[cost], runs->events[nr], points[nr].campaigns);
            if (runs->costs[nr][cost].count)
                bench_print(bench, &figure);
        }
}

void bench_curves(struct bench *bench)
{
    static struct curves_runs runs;
    static const char *const no_quota[] = {"--campaigns-per-key-per-day", "1000000", "--campaigns-per-day",
                                           "1000000", NULL};
    static const char *const no_copies[] = {"--cache-bytes", "0", "--bus-url", "", NULL};
    bench_target(bench, BENCH_PORT_COMMAND, &runs.command);
    bench_target(bench, BENCH_PORT_SECOND, &runs.query);
    pid_t command = bench_start_with(bench, "command-service", BENCH_PORT_COMMAND, no_quota);
    pid_t query = bench_start_with(bench, "query-service", BENCH_PORT_SECOND, no_copies);
    for (size_t nr = 0; nr < POINTS; nr++)
        if (!points[nr].big || bench->options.curves_big)
            measure(bench, &runs, nr);
    child_stop(query);
    child_stop(command);
    print_curves(bench, &runs);
}
