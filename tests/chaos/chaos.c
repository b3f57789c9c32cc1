/* SPDX-License-Identifier: Apache-2.0 */
/* The order of things. */
#include "tests/chaos/chaos.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>

#include "bench/kit/child.h"
#include "bench/storm/verify_call.h"
#include "common/base/clock.h"
#include "tests/availability/patroni.h"
#include "tests/chaos/client.h"
#include "tests/chaos/nemesis.h"
#include "tests/chaos/reader.h"
#include "tests/chaos/stats.h"

enum {
    READY_MS = 120000,
    SETTLE_MS = 120000,
    LOOK_MS = 250,
    PROGRESS_MS = 3000,
    COPY_MS = 30000,
    CLIENTS_PER_READER = 4,
    PATRONI_MACHINES = 2 /* of each shard */
};

struct run {
    const struct chaos_options *options;
    FILE *out;
    struct stack *stack, *stacks[FLEET_SHARDS_MAX]; /* the first of them; with the server of each shard */
    uint32_t shards;
    char map[PATH_MAX];            /* "" where one has all slices */
    char owner_url[FLEET_URL_MAX]; /* of the first shard */
    struct fleet *fleet;
    struct board *board;
    struct clients *clients;
    struct readers *readers;
    struct nemesis *nemesis;
    struct judge_input input;
    struct code_key code_key;
    struct history history;
    struct readings reads;
    struct log_image log;
    struct judgement judgement;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "chaos: %s: %s\n", what, why);
    exit(2);
}

static void start(struct run *run)
{
    char reason[256];
    const struct chaos_options *options = run->options;
    run->shards = options->shards ? options->shards : 1;
    for (uint32_t i = 0; i < run->shards; i++)
        run->stacks[i] = stack_start(STACK_SERVERS);
    run->stack = run->stacks[0];
    for (uint32_t i = 0; i < run->shards && options->patroni; i++)
        patroni_start(run->stacks[i], (int)i + 1, PATRONI_MACHINES, PATRONI_TTL_MIN_S);
    run->fleet = fleet_start(&(struct fleet_options){.stacks = run->stacks,
                                                     .shards = run->shards,
                                                     .services = options->services,
                                                     .edge = options->edge,
                                                     .patroni = options->patroni});
    fleet_owner_map(run->fleet, run->map);
    if (!fleet_await_ready(run->fleet, clock_deadline_us(READY_MS)))
        die("the services", "not ready in time");
    if (!code_key_load(stack_env(run->stack, "FIRSTCOME_CODE_KEY_FILE"), &run->code_key, reason,
                       sizeof reason))
        die("the key of the codes", reason);
    run->input = (struct judge_input){
        .history = &run->history,
        .log = &run->log,
        .reads = &run->reads,
        .seed = options->seed,
        .elsewhere_from = run->shards > 1 ? SLICE_COUNT / run->shards : 0,
        .base_us = clock_wall_us(),
        .wall_offset_us = clock_wall_us() - clock_mono_us(),
        .code_key = &run->code_key,
    };
    run->board = board_create();
    run->clients = clients_start(&(struct clients_options){
        .context = {.seed = options->seed,
                    .base_us = run->input.base_us,
                    .admin_token = stack_env(run->stack, "ADMIN_TOKEN"),
                    .issue_token = stack_env(run->stack, "ISSUE_TOKEN"),
                    .redeem_token = stack_env(run->stack, "REDEEM_TOKEN")},
        .board = run->board,
        .clients = options->clients,
        .services = options->services,
        .targets = fleet_targets(run->fleet),
    });
    run->readers = readers_start(&(struct readers_options){
        .seed = options->seed,
        .token = stack_env(run->stack, "READ_TOKEN"),
        .board = run->board,
        .targets = fleet_targets(run->fleet) + fleet_query(run->fleet, 0),
        .readers = 1 + options->clients / CLIENTS_PER_READER,
        .services = FLEET_QUERIES,
    });
    run->nemesis = nemesis_start(run->stacks, run->fleet, options->seed);
}

static void show_progress(const struct run *run, int64_t started_us)
{
    const struct client_counts *counts = clients_counts(run->clients);
    fprintf(run->out, "%5" PRId64 " s  %" PRId64 " reads, %" PRId64 " operations",
            (clock_mono_us() - started_us) / US_PER_S, readers_count(run->readers),
            atomic_load(&counts->ops));
    for (int i = 0; i < OUTCOME_COUNT; i++)
        fprintf(run->out, ", %s %" PRId64, outcome_text((enum outcome)i), atomic_load(&counts->outcome[i]));
    for (int i = 0; i < LANE_COUNT; i++)
        fprintf(run->out, " | %s", nemesis_now(run->nemesis, (enum lane)i));
    fprintf(run->out, "\n");
    fflush(run->out);
}

static void watch(const struct run *run)
{
    int64_t started_us = clock_mono_us(), shown_us = started_us;
    int64_t deadline_us = clock_deadline_us(run->options->seconds * 1000);
    while (clock_remaining_ms(deadline_us) > 0) {
        (void)poll(NULL, 0, LOOK_MS);
        if (clock_mono_us() - shown_us < PROGRESS_MS * US_PER_MS)
            continue;
        shown_us = clock_mono_us();
        show_progress(run, started_us);
    }
}

/* The services end before the log is read, so that nothing is still to come. */
static void settle(struct run *run)
{
    char reason[256];
    char url_texts[FLEET_SHARDS_MAX][FLEET_URL_MAX];
    const char *urls[FLEET_SHARDS_MAX];
    nemesis_stop(run->nemesis);
    if (!fleet_await_ready(run->fleet, clock_deadline_us(READY_MS)))
        fprintf(run->out, "not every service is ready again\n");
    clients_stop(run->clients);
    readers_stop(run->readers, &run->reads);
    size_t unknown = clients_settle(run->clients, clock_deadline_us(SETTLE_MS), &run->history);
    fprintf(run->out, "healed; %zu operations are unknown still\n", unknown);
    for (uint32_t i = 0; i < run->shards; i++) {
        fleet_owner_url(run->fleet, i, url_texts[i]);
        urls[i] = url_texts[i];
    }
    snprintf(run->owner_url, sizeof run->owner_url, "%s", urls[0]);
    fleet_stop(run->fleet);
    run->fleet = NULL;
    if (!log_image_read(&run->log, urls, run->shards, reason, sizeof reason))
        die("the log cannot be read", reason);
}

/* What verify says of log and state rows: the judge's second opinion, and its own trial. Models may lack what
 * a fault took and no reader missed since. */
static bool verify(const struct run *run)
{
    struct verify_call call = {
        .database_url = run->owner_url, .shards_file = run->map[0] ? run->map : NULL, .slice = -1};
    fprintf(run->out, "\nprojector verify --log:\n");
    fflush(run->out);
    int status = verify_call(&call);
    if (status != 0)
        fprintf(run->out, "VIOLATION: projector verify ended with status %d\n", status);
    return status == 0;
}

/* --- Keeping --- */

static void copy(const struct run *run, const struct stack *stack, const char *from, const char *to)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", stack_directory(stack), from) >= PATH_MAX)
        return;
    pid_t pid = child_start(&(struct child_spec){.argv = (const char *[]){"/bin/cp", "-r", path, to, NULL},
                                                 .environment = (const char *[]){NULL},
                                                 .output_path = "/dev/null"});
    if (child_wait(pid, COPY_MS) != 0)
        fprintf(run->out, "%s could not be kept\n", path);
}

static void keep(const struct run *run)
{
    char directory[PATH_MAX], path[PATH_MAX + 32], from[32];
    if (snprintf(directory, sizeof directory, "%s-%" PRIu64, run->options->keep, run->options->seed) >=
        PATH_MAX)
        return;
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        fprintf(run->out, "%s: %s\n", directory, strerror(errno));
        return;
    }
    copy(run, run->stack, "log", directory);
    for (uint32_t i = 0; i < run->shards; i++) {
        snprintf(path, sizeof path, "%s/shard-%u", directory, i);
        copy(run, run->stacks[i], "pg/log", path);
        for (int node = 1; node <= PATRONI_MACHINES && run->options->patroni; node++) {
            snprintf(from, sizeof from, "nodes/%u%d.log", i + 1, node);
            copy(run, run->stacks[i], from, directory);
        }
    }
    snprintf(path, sizeof path, "%s/history", directory);
    FILE *file = fopen(path, "we");
    if (file) {
        stats_history(&run->history, file);
        fclose(file);
    }
    fprintf(run->out, "logs and history are kept in %s\n", directory);
}

struct chaos_outcome chaos_run(const struct chaos_options *options, FILE *out)
{
    struct run run = {.options = options, .out = out};
    fprintf(out, "seed %" PRIu64 ": %u clients, %u command services%s%s%s, %" PRId64 " s of faults\n",
            options->seed, options->clients, options->services, options->edge ? " behind the edge" : "",
            options->shards > 1 ? ", the log in two shards" : "", options->patroni ? " under Patroni" : "",
            options->seconds);
    fflush(out);
    history_init(&run.history);
    readings_init(&run.reads);
    start(&run);
    watch(&run);
    settle(&run);
    judge(&run.input, &run.judgement);
    stats_attempts(&run.history, out);
    stats_reads(&run.reads, out);
    stats_faults(run.nemesis, out);
    run.judgement.violations += !verify(&run);
    stats_judgement(&run.judgement, options->seed, out);
    if (run.judgement.violations && options->keep)
        keep(&run);
    struct chaos_outcome outcome = {run.judgement.violations, run.judgement.checked[JUDGE_LOGGED], 0};
    for (int fault = 0; fault < FAULT_COUNT; fault++)
        outcome.faults += nemesis_struck(run.nemesis, (enum fault)fault);
    log_image_deinit(&run.log);
    history_deinit(&run.history);
    clients_destroy(run.clients);
    readers_destroy(run.readers);
    board_destroy(run.board);
    readings_deinit(&run.reads);
    nemesis_destroy(run.nemesis);
    for (uint32_t i = 0; i < run.shards; i++)
        stack_stop(run.stacks[i]);
    return outcome;
}
