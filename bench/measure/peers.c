/* SPDX-License-Identifier: Apache-2.0 */
/* Event stores people use instead, each appending the same event on this PostgreSQL, at the same number of
 * clients as ours over HTTP has connections: message-db, whose function pgbench calls, and Emmett under
 * Node.js. Neither has a rule about stock and users, nor HTTP, nor idempotency keys to look at. */
#include <stdio.h>

#include "bench/kit/child.h"
#include "bench/kit/scratch.h"
#include "bench/measure/run_bench.h"
#include "bench/peers/pgbench.h"
#include "common/base/clock.h"
#include "events/catalog.h"

enum { PATH_BYTES = 4096, INSTALL_MS = 60000 };

static const int clients[] = {1, 16, 50};
enum { COUNT = COUNT_OF(clients) };

struct peers_runs {
    struct target command;
    char emmett_url[PATH_BYTES];
    struct series ours[COUNT], message_db[COUNT], emmett[COUNT];
};

static double ours(struct bench *bench, struct peers_runs *runs, int connections)
{
    struct flow_result result;
    bench_flow(bench,
               &(struct bench_flow){.target = &runs->command,
                                    .campaign = bench_campaign(bench, &runs->command, QUANTITY_MAX, -1),
                                    .connections = (size_t)connections,
                                    .wanted_status = 201},
               &result);
    return result.per_second;
}

static double message_db(const struct bench *bench, int connections)
{
    return pgbench_per_second(&(struct pgbench){.run_dir = bench->options.run_dir,
                                                .database = "bench_message_db",
                                                .script = "bench/sql/message_db.sql",
                                                .options = "-c search_path=message_store,public",
                                                .clients = connections,
                                                .ms = bench->options.sample_ms});
}

static double emmett(const struct bench *bench, const struct peers_runs *runs, int connections)
{
    char count[16], seconds[16];
    snprintf(count, sizeof count, "%d", connections);
    snprintf(seconds, sizeof seconds, "%d", (int)((bench->options.sample_ms + 999) / 1000));
    const char *argv[] = {
        "/usr/bin/env", "node", "bench/peers/emmett.mjs", bench->options.peers_dir, runs->emmett_url, count,
        seconds,        NULL};
    return tps_of(argv, NULL, bench->options.run_dir, bench->options.sample_ms);
}

/* Its own installer, as its documents say; pgbench's user may write. */
static void install_message_db(const struct bench *bench)
{
    char script[PATH_BYTES], log[PATH_BYTES], url[PATH_BYTES];
    const char *const superuser = bench->options.superuser_url;
    snprintf(script, sizeof script, "%s/node_modules/@eventide/message-db/database/install.sh",
             bench->options.peers_dir);
    snprintf(log, sizeof log, "%s/log/message-db.log", bench->options.run_dir);
    (void)scratch_number(superuser, "DROP DATABASE IF EXISTS bench_message_db WITH (FORCE)", INSTALL_MS);
    const char *argv[] = {"/bin/bash", "bench/peers/as_superuser", superuser, script, NULL};
    const char *environment[] = {"DATABASE_NAME=bench_message_db", NULL};
    pid_t pid =
        child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = log});
    if (child_wait(pid, INSTALL_MS) != 0)
        bench_die("message-db", "cannot be installed; see its log (KEEP=1 keeps it)");
    scratch_url(superuser, "bench_message_db", url, sizeof url);
    (void)scratch_number(url, "GRANT message_store TO firstcome_command", INSTALL_MS);
}

static void print_peers(const struct bench *bench, const struct peers_runs *runs)
{
    for (size_t i = 0; i < COUNT; i++) {
        char what[128];
        struct figure figure = {what, "1/s"};
        snprintf(what, sizeof what, "durable issues over HTTP into one hot campaign, %d connections",
                 clients[i]);
        figure.series = runs->ours[i];
        figure.baseline = "message-db appending the same event to one stream, pgbench, as many clients";
        figure.baseline_series = runs->message_db[i];
        bench_print(bench, &figure);
        figure.baseline = "Emmett (PostgreSQL, Node.js) appending the same event, a stream per user";
        figure.baseline_series = runs->emmett[i];
        bench_print(bench, &figure);
    }
}

void bench_peers(struct bench *bench)
{
    static struct peers_runs runs;
    if (!bench->options.peers_dir[0]) {
        bench_say("peers: message-db and Emmett are not there, so they are not compared");
        return;
    }
    install_message_db(bench);
    (void)scratch_number(bench->options.superuser_url, "DROP DATABASE IF EXISTS bench_emmett WITH (FORCE)",
                         INSTALL_MS);
    (void)scratch_number(bench->options.superuser_url, "CREATE DATABASE bench_emmett", INSTALL_MS);
    scratch_url(bench->options.superuser_url, "bench_emmett", runs.emmett_url, sizeof runs.emmett_url);
    bench_target(bench, BENCH_PORT_COMMAND, &runs.command);
    pid_t command = bench_start(bench, "command-service", BENCH_PORT_COMMAND, NULL);
    for (int64_t round = 0; round < bench->options.rounds; round++) {
        bench_say("peers, round %lld of %lld", (long long)round + 1, (long long)bench->options.rounds);
        for (size_t i = 0; i < COUNT; i++) {
            series_add(&runs.ours[i], ours(bench, &runs, clients[i]));
            series_add(&runs.message_db[i], message_db(bench, clients[i]));
            series_add(&runs.emmett[i], emmett(bench, &runs, clients[i]));
        }
    }
    child_stop(command);
    print_peers(bench, &runs);
}
