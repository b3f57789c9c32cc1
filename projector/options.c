/* SPDX-License-Identifier: Apache-2.0 */
/* The option tables of the projector. Each command has its own, so that `status` asks for nothing it does not
 * need. */
#include "projector/options.h"

#include "projector/rebuild/generations.h"

#define AT(member) offsetof(struct options, member)

enum { EXIT_BAD_USAGE = 64 };

static const struct config_option store_table[] = {
    {"database-url", CONFIG_STRING, AT(database_url), "", 0, 4096, "",
     "event store, postgresql://...; several hosts allowed; needed without --shards, else not used"},
    {"shards", CONFIG_STRING, AT(shards_file), "", 0, 4096, "",
     "file that says which event store has which slices; empty: --database-url has all"},
    {"redis-url", CONFIG_STRING, AT(redis_url), NULL, 1, 4096, "",
     "read models, redis://..., unix://... or redis+sentinel://..."},
    {.name = NULL},
};

static const struct config_option run_table[] = {
    {"slices", CONFIG_STRING, AT(slices), "", 0, 64, "",
     "run: which line of --shards this process follows, by its slices; needed where there are several"},
    {"bus-url", CONFIG_STRING, AT(bus_url), "", 0, 255, "",
     "run: where to listen for hints of new events, an nng URL; empty: only poll"},
    {"bus-publish-url", CONFIG_STRING, AT(bus_publish_url), "", 0, 1024, "",
     "run: query services that are told what changed in the models, nng URLs separated by commas"},
    {"trace-url", CONFIG_STRING, AT(trace_url), "", 0, 1024, "",
     "where spans of sampled requests are sent, OTLP over HTTP as JSON; empty: nowhere"},
    {"poll-ms", CONFIG_INT, AT(projector.poll_ms), "50", 1, 200, "ms",
     "run: time between looks at the log when no hint comes"},
    {"pace-ms", CONFIG_INT, AT(projector.pace_ms), "5", 0, 1000, "ms",
     "run: least time between two batches while there is no backlog; more is gentler, less is fresher"},
    {"batch-events", CONFIG_INT, AT(projector.batch_events), "500", 1, APPLIER_BATCH_MAX, "events",
     "run: most events in one script, which Redis runs without serving anybody else"},
    {.name = NULL},
};

static const struct config_option status_table[] = {
    {"json", CONFIG_FLAG, AT(json), NULL, 0, 0, "", "status: one JSON document instead of a table"},
    {.name = NULL},
};

static const struct config_option rebuild_table[] = {
    {"json", CONFIG_FLAG, AT(json), NULL, 0, 0, "", "rebuild: JSON lines, on a terminal too"},
    {"campaign", CONFIG_STRING, AT(rebuild.campaign), "", 0, 64, "",
     "rebuild: the models of this campaign's slice only"},
    {"to-time", CONFIG_STRING, AT(rebuild.to_time), "", 0, GENERATION_LIMIT_MAX, "",
     "rebuild: a look at the past, up to this time (RFC 3339)"},
    {"to-position", CONFIG_STRING, AT(rebuild.to_position), "", 0, GENERATION_LIMIT_MAX, "",
     "rebuild: a look at the past, up to this event (slice:position)"},
    {"generation", CONFIG_STRING, AT(rebuild.generation), "", 0, GENERATION_NAME_MAX, "",
     "rebuild: name of the generation that is made; default rebuild, or past"},
    {"drop", CONFIG_FLAG, AT(rebuild.drop), NULL, 0, 0, "", "rebuild: drops the generation of that name"},
    {.name = NULL},
};

static const struct config_option prewarm_table[] = {
    {"campaign", CONFIG_STRING, AT(prewarm_campaign), "", 0, 64, "",
     "prewarm: this campaign; default all that open within ten minutes"},
    {"bus-publish-url", CONFIG_STRING, AT(bus_publish_url), "", 0, 1024, "",
     "prewarm: query services that are told, nng URLs separated by commas; empty: only says which"},
    {.name = NULL},
};

/* Its own names for the stores: without the models there is nothing to ask Redis. */
static const struct config_option verify_store_table[] = {
    {"database-url", CONFIG_STRING, AT(database_url), "", 0, 4096, "",
     "event store, postgresql://...; only read, several hosts allowed; needed without --shards, else not "
     "used"},
    {"shards", CONFIG_STRING, AT(shards_file), "", 0, 4096, "",
     "file that says which event store has which slices; empty: --database-url has all"},
    {"redis-url", CONFIG_STRING, AT(verify.redis_url), "", 0, 4096, "",
     "read models, redis://... or unix://...; not needed with --log"},
    {.name = NULL},
};

static const struct config_option verify_table[] = {
    {"log", CONFIG_FLAG, AT(verify.log_only), NULL, 0, 0, "",
     "verify: only the log and the state rows, not the models in Redis"},
    {"slice", CONFIG_INT, AT(verify.slice), "-1", -1, SLICE_COUNT - 1, "",
     "verify: only this slice, without the creation quotas, which are of all; -1: all"},
    {"limit", CONFIG_INT, AT(verify.limit), "100", 0, 1000000000, "differences",
     "verify: most differences written out; the others are counted"},
    {"memory-mb", CONFIG_INT, AT(verify.memory_mb), "256", 1, 1000000, "MiB",
     "verify: memory for what is remembered of a slice; with less it reads the log more than once"},
    {.name = NULL},
};
/* `verify` has --json too, but elsewhere than `status`. */
static const struct config_option verify_json_table[] = {
    {"json", CONFIG_FLAG, AT(verify.json), NULL, 0, 0, "",
     "verify: one JSON object per difference and one for the summary, a line each"},
    {.name = NULL},
};

static const struct config_option *const all_tables[] = {
    store_table, run_table, status_table, rebuild_table, verify_table, service_option_table, NULL};
static const struct config_option *const verify_tables[] = {verify_store_table, verify_table,
                                                            verify_json_table, NULL};
static const struct config_option *const run_tables[] = {store_table, run_table, service_option_table, NULL};
static const struct config_option *const status_tables[] = {store_table, status_table, NULL};
static const struct config_option *const prewarm_tables[] = {store_table, prewarm_table, NULL};
static const struct config_option *const rebuild_tables[] = {store_table, rebuild_table, NULL};

#define REBUILD_USAGE \
    "rebuild [--campaign ID] [--to-time T | --to-position S:P] [--generation NAME] [--drop] [--json]"

#define PROGRAM(of_usage, of_tables)                                                           \
    {                                                                                          \
        .name = "projector", .purpose = "follows the event log into the read models in Redis", \
        .usage = (of_usage), .tables = (of_tables), .prefix = SERVICE_ENVIRONMENT_PREFIX,      \
        .plain = service_plain_names                                                           \
    }

static const struct config_program any_program = PROGRAM(
    "run | status [--json] | verify [--log] [--json] | prewarm [--campaign ID] | " REBUILD_USAGE, all_tables);
static const struct config_program programs[] = {
    [COMMAND_RUN] = PROGRAM("run", run_tables),
    [COMMAND_STATUS] = PROGRAM("status [--json]", status_tables),
    [COMMAND_VERIFY] =
        PROGRAM("verify [--log] [--json] [--slice N] [--limit N] [--memory-mb N]", verify_tables),
    [COMMAND_REBUILD] = PROGRAM(REBUILD_USAGE, rebuild_tables),
    [COMMAND_PREWARM] = PROGRAM("prewarm [--campaign ID]", prewarm_tables),
};
static const char *const command_names[] = {[COMMAND_RUN] = "run",
                                            [COMMAND_STATUS] = "status",
                                            [COMMAND_VERIFY] = "verify",
                                            [COMMAND_REBUILD] = "rebuild",
                                            [COMMAND_PREWARM] = "prewarm"};

/* The command is looked for before the flags are understood, because it decides which there are. */
static const struct config_program *find_program(int argc, char **argv, enum command *ret)
{
    for (int i = 1; i < argc; i++)
        for (size_t command = 0; command < COUNT_OF(command_names); command++)
            if (strcmp(argv[i], command_names[command]) == 0) {
                *ret = (enum command)command;
                return &programs[command];
            }
    return NULL;
}

static _Noreturn void usage_error(const char *what)
{
    fprintf(stderr, "projector: %s; usage: projector %s; see --help\n", what, any_program.usage);
    exit(EXIT_BAD_USAGE);
}

static void complete_rebuild(struct options *options)
{
    options->rebuild.redis_url = options->redis_url;
    options->rebuild.json = options->json;
    const char *fault = rebuild_options_fault(&options->rebuild);
    if (fault)
        usage_error(fault);
}

enum command options_parse(int argc, char **argv, struct options *ret)
{
    enum command command = COMMAND_RUN;
    const struct config_program *program = find_program(argc, argv, &command);
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
                             strcmp(argv[1], "--version") == 0);
    if (!program && !help)
        usage_error("no command given");
    *ret = (struct options){0};
    config_parse(program ? program : &any_program, &argc, argv, ret);
    if (argc != 2)
        usage_error("there is one command, and it takes no arguments");
    if (command == COMMAND_REBUILD)
        complete_rebuild(ret);
    return command;
}
