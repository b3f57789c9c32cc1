/* SPDX-License-Identifier: Apache-2.0 */
/* chaos: runs clients and faults against a stack of its own and judges every promise (`make chaos`).
 * Exit status: 0 no violation, 1 violations, 2 it could not be run. */
#include "common/base/config.h"
#include "common/base/crypto.h"
#include "tests/chaos/chaos.h"
#include "tests/chaos/client.h"
#include "tests/chaos/fleet.h"

struct options {
    int64_t seed, seconds, services, clients, shards, patroni, edge;
    const char *keep;
};

#define AT(member) offsetof(struct options, member)
static const struct config_option table[] = {
    {"seed", CONFIG_INT, AT(seed), "0", 0, INT64_MAX, "",
     "of clients and faults; 0: a new one, which is printed"},
    {"seconds", CONFIG_INT, AT(seconds), "60", 1, 86400, "s", "of asking under faults"},
    {"services", CONFIG_INT, AT(services), "3", 1, CHAOS_SERVICES_MAX, "services",
     "command services on one log"},
    {"clients", CONFIG_INT, AT(clients), "12", 1, CHAOS_CLIENTS_MAX, "clients", "threads that ask"},
    {"shards", CONFIG_INT, AT(shards), "1", 1, FLEET_SHARDS_MAX, "servers",
     "PostgreSQL servers, each with its part of the slices; one is struck at a time"},
    {"patroni", CONFIG_INT, AT(patroni), "0", 0, 1, "",
     "1: each of them is two machines under Patroni, with three etcds; in tests/availability/in_namespaces"},
    {"edge", CONFIG_INT, AT(edge), "0", 0, 1, "", "1: all goes through HAProxy; with two command services"},
    {"keep", CONFIG_STRING, AT(keep), ".run-chaos", 1, 1024, "",
     "where logs and history go when something is violated: <keep>-<seed>"},
    {.name = NULL},
};
static const struct config_option *const tables[] = {table, NULL};
static const struct config_program program = {
    .name = "chaos",
    .purpose = "runs clients and faults against a stack of its own and judges every promise",
    .usage = "",
    .tables = tables,
};

int main(int argc, char **argv)
{
    struct options options = {0};
    config_parse(&program, &argc, argv, &options);
    if (argc > 1) {
        fprintf(stderr, "chaos: unexpected argument; see --help\n");
        return 64; /* EX_USAGE */
    }
    crypto_setup();
    uint64_t seed = options.seed ? (uint64_t)options.seed : 1 + crypto_random_below(1000000);
    struct chaos_options run = {
        .seed = seed,
        .seconds = options.seconds,
        .services = (uint32_t)options.services,
        .clients = (uint32_t)options.clients,
        .shards = (uint32_t)options.shards,
        .patroni = options.patroni == 1,
        .edge = options.edge == 1,
        .keep = options.keep,
    };
    return chaos_run(&run, stdout).violations ? 1 : 0;
}
