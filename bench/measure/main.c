/* SPDX-License-Identifier: Apache-2.0 */
/* bench: measures a stack of its own against the numbers of the design and against baselines in the same run.
 * Options and order; how each number is measured is in the file of its name. Started by bench/run.
 *
 * Exit status: 0 whatever the figures are, 2 when they could not be measured. */
#include "bench/measure/run_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/load/http_load.h"
#include "bench/measure/results.h"
#include "common/base/config.h"
#include "common/base/crypto.h"

#define AT(member) offsetof(struct bench_options, member)
static const struct config_option table[] = {
    {"only", CONFIG_STRING, AT(only),
     "issue,peers,writers,refuse,append,restart,read,load,stampede,lag,rebuild,memory,live,overload,attack",
     1, 256, "", "what to measure, separated by commas"},
    {"json", CONFIG_FLAG, AT(json), "false", 0, 0, "", "one JSON document a line"},
    {"rounds", CONFIG_INT, AT(rounds), "3", 1, SERIES_MAX, "rounds", "of ours and baseline, in turns"},
    {"sample-ms", CONFIG_INT, AT(sample_ms), "3000", 100, 600000, "ms", "of each measurement over HTTP"},
    {"preload", CONFIG_INT, AT(preload), "1000000", 0, 100000000, "events",
     "in the slice before appends are measured again"},
    {"append-events", CONFIG_INT, AT(append_events), "100000", 1000, 10000000, "events",
     "appended in each measurement without HTTP"},
    {"rebuild-events", CONFIG_INT, AT(rebuild_events), "1000000", 16384, 100000000, "events",
     "in the log that is replayed"},
    {"memory-coupons", CONFIG_INT, AT(memory_coupons), "200000", 1000, 10000000, "coupons",
     "whose models are weighed"},
    {"restarts", CONFIG_INT, AT(restarts), "5", 1, SERIES_MAX, "times", "to kill and restart"},
    {"curves-big", CONFIG_FLAG, AT(curves_big), "false", 0, 0, "", "curves: to ten million events"},
    {"results-dir", CONFIG_STRING, AT(results_dir), "", 0, 4000, "",
     "folder for figures, drawings and a description of the machine; empty: none"},
    {"peers-dir", CONFIG_STRING, AT(peers_dir), "", 0, 4000, "",
     "where bench/peers/install put message-db and Emmett; empty: they are not compared"},
    {"port-base", CONFIG_INT, AT(port_base), NULL, 1, 65000, "", "of the stack"},
    {"bin-dir", CONFIG_STRING, AT(bin_dir), NULL, 1, 4000, "", "where the programs are"},
    {"run-dir", CONFIG_STRING, AT(run_dir), NULL, 1, 4000, "", "of the stack"},
    {"admin-token", CONFIG_STRING, AT(admin_token), NULL, 1, 256, "", "key that may create campaigns"},
    {"issue-token", CONFIG_STRING, AT(issue_token), NULL, 1, 256, "", "key that may issue coupons"},
    {"database-url", CONFIG_STRING, AT(database_url), NULL, 1, 2048, "", "as owner"},
    {"command-database-url", CONFIG_STRING, AT(command_database_url), NULL, 1, 2048, "", "as the service"},
    {"projector-database-url", CONFIG_STRING, AT(projector_database_url), NULL, 1, 2048, "",
     "as the projector"},
    {"query-database-url", CONFIG_STRING, AT(query_database_url), NULL, 1, 2048, "", "as the query service"},
    {"superuser-url", CONFIG_STRING, AT(superuser_url), NULL, 1, 2048, "", "who may create databases"},
    {"redis-password", CONFIG_STRING, AT(redis_password), NULL, 1, 256, "", "its password"},
    {"redis-url", CONFIG_STRING, AT(redis_url), NULL, 1, 2048, "", "as its administrator"},
    {.name = NULL},
};
static const struct config_option *const tables[] = {table, NULL};
static const struct config_program program = {
    .name = "bench",
    .purpose = "measures the numbers of the design on this machine (use make bench)",
    .usage = "",
    .tables = tables,
};

static const struct {
    const char *name;
    void (*measure)(struct bench *bench);
} metrics[] = {
    {"issue", bench_issue},       {"writers", bench_writers},   {"live", bench_live},
    {"refuse", bench_refuse},     {"append", bench_append},     {"restart", bench_restart},
    {"read", bench_read},         {"stampede", bench_stampede}, {"lag", bench_lag},
    {"rebuild", bench_rebuild},   {"memory", bench_memory},     {"peers", bench_peers},
    {"overload", bench_overload}, {"load", bench_load},         {"attack", bench_attack},
    {"curves", bench_curves},     {"users", bench_users},
};

static bool is_known(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(metrics); i++)
        if (span_is(name, metrics[i].name))
            return true;
    return false;
}

static void check_names(const char *only)
{
    for (struct span rest = span_of(only); rest.ptr && rest.len > 0;)
        if (!is_known(span_cut(&rest, ',')))
            bench_die(only, "only: there is no such measurement; see --help");
}

static bool is_wanted(const char *only, const char *name)
{
    for (struct span rest = span_of(only); rest.ptr && rest.len > 0;)
        if (span_is(span_cut(&rest, ','), name))
            return true;
    return false;
}

/* Whoever reads a figure should know who else was using the machine. */
static void describe(const struct bench *bench)
{
    double load[1] = {0};
    if (getloadavg(load, 1) != 1)
        load[0] = -1;
    if (bench->options.json)
        printf("{\"metric\":\"%s\",\"processors\":%ld,\"load_average_before\":%.2f}\n", bench->metric,
               sysconf(_SC_NPROCESSORS_ONLN), load[0]);
    else
        printf("--- %s: load average before it %.2f\n", bench->metric, load[0]);
    fflush(stdout);
}

static void measure(struct bench *bench)
{
    if (!bench->options.json)
        printf("%ld processors; medians (min … max) of %lld rounds\n", sysconf(_SC_NPROCESSORS_ONLN),
               (long long)bench->options.rounds);
    for (size_t i = 0; i < COUNT_OF(metrics); i++) {
        if (!is_wanted(bench->options.only, metrics[i].name))
            continue;
        bench->metric = metrics[i].name;
        describe(bench);
        metrics[i].measure(bench);
        results_end_table(bench);
    }
}

int main(int argc, char **argv)
{
    static struct bench bench;
    config_parse(&program, &argc, argv, &bench.options);
    if (argc > 1)
        bench_die(argv[1], "no arguments are expected, see --help");
    check_names(bench.options.only);
    crypto_setup();
    bench.run = crypto_random_below(UINT32_MAX);
    bench.number = bench.run;
    if (!load_allow_descriptors(1024))
        bench_die("connections", "this process may not open so many files (ulimit -n)");
    results_begin(&bench);
    measure(&bench);
    return fflush(stdout) == 0 ? 0 : 2;
}
