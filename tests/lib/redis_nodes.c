/* SPDX-License-Identifier: Apache-2.0 */
/* Six servers: configuration, who has what, slots on their way. */
#include "tests/lib/redis_nodes.h"

#include "common/redis/slots.h"
#include "tests/lib/wait.h"

enum { PORT_OFFSET = 8, READY_MS = 60000, MIGRATE_MS = 10000, SILENT_MS = 3000 };

#define ADMIN_PASSWORD    "admin"
#define SERVICES_PASSWORD "services"

static int port_of(const struct redis_nodes *nodes, int node)
{
    return stack_port_base(nodes->stack) + PORT_OFFSET + node;
}

static int bus_of(const struct redis_nodes *nodes, int node)
{
    return port_of(nodes, node) + NODES_COUNT;
}

static void start_server(struct redis_nodes *nodes, int node)
{
    char name[32], config[1024];
    struct redis_server *server = &nodes->servers[node];
    snprintf(name, sizeof name, "node-%d", node);
    snprintf(config, sizeof config,
             "user default on >" ADMIN_PASSWORD " ~* &* +@all\n"
             "user services on >" SERVICES_PASSWORD
             " ~fc:* &* +@all -@admin -@dangerous +info +cluster|nodes\n"
             "masterauth " ADMIN_PASSWORD "\nsave \"\"\nrepl-diskless-sync yes\nrepl-diskless-sync-delay 0\n"
             "repl-backlog-size 64mb\ncluster-enabled yes\ncluster-port %d\ncluster-config-file nodes.conf\n"
             "cluster-node-timeout %d\ncluster-require-full-coverage no\ncluster-allow-replica-migration no\n"
             "cluster-replica-validity-factor 0\n",
             bus_of(nodes, node), SILENT_MS);
    snprintf(server->url.password, sizeof server->url.password, ADMIN_PASSWORD);
    redis_server_start(server, nodes->stack, name, port_of(nodes, node), config);
}

static bool says(const struct redis_nodes *nodes, int node, const char *word, const char *what)
{
    char text[8192];
    return NODES_CALL(nodes, node, text, "CLUSTER", word) == REDIS_OK && strstr(text, what);
}

static void must(const struct redis_nodes *nodes, int node, const char *const *words)
{
    char text[256];
    if (redis_server_call(&nodes->servers[node], words, text, sizeof text) != REDIS_OK)
        fail_msg("server %d does not do %s %s", node, words[0], words[1]);
}
#define MUST(nodes, node, ...) must((nodes), (node), (const char *[]){__VA_ARGS__, NULL})

static void meet(const struct redis_nodes *nodes, int node)
{
    char port[16], bus[16];
    snprintf(port, sizeof port, "%d", port_of(nodes, node));
    snprintf(bus, sizeof bus, "%d", bus_of(nodes, node));
    MUST(nodes, 0, "CLUSTER", "MEET", "127.0.0.1", port, bus);
}

static bool replica_in_step(const struct redis_nodes *nodes, int node)
{
    char text[8192];
    return NODES_CALL(nodes, node, text, "INFO", "replication") == REDIS_OK && strstr(text, "role:slave") &&
           strstr(text, "master_link_status:up");
}

static void join(struct redis_nodes *nodes)
{
    for (int node = 0; node < NODES_COUNT; node++) {
        char text[64], epoch[16];
        WAIT_UNTIL(NODES_CALL(nodes, node, text, "CLUSTER", "MYID") == REDIS_OK, READY_MS);
        snprintf(nodes->ids[node], sizeof nodes->ids[node], "%.47s", text);
        snprintf(epoch, sizeof epoch, "%d", node + 1);
        MUST(nodes, node, "CLUSTER", "SET-CONFIG-EPOCH", epoch);
    }
    for (int node = 0; node < NODES_PRIMARIES; node++) {
        char first[16], last[16];
        snprintf(first, sizeof first, "%d", node * REDIS_SLOTS / NODES_PRIMARIES);
        snprintf(last, sizeof last, "%d", (node + 1) * REDIS_SLOTS / NODES_PRIMARIES - 1);
        MUST(nodes, node, "CLUSTER", "ADDSLOTSRANGE", first, last);
    }
    for (int node = 1; node < NODES_COUNT; node++)
        meet(nodes, node);
    for (int node = 0; node < NODES_COUNT; node++)
        WAIT_UNTIL(says(nodes, node, "INFO", "cluster_state:ok") &&
                       says(nodes, node, "INFO", "cluster_known_nodes:6"),
                   READY_MS);
    for (int node = NODES_PRIMARIES; node < NODES_COUNT; node++)
        MUST(nodes, node, "CLUSTER", "REPLICATE", nodes->ids[node - NODES_PRIMARIES]);
    for (int node = NODES_PRIMARIES; node < NODES_COUNT; node++)
        WAIT_UNTIL(replica_in_step(nodes, node), READY_MS);
}

void nodes_start(struct redis_nodes *nodes, struct stack *stack)
{
    *nodes = (struct redis_nodes){.stack = stack};
    for (int node = 0; node < NODES_COUNT; node++)
        start_server(nodes, node);
    join(nodes);
    snprintf(nodes->url, sizeof nodes->url,
             "redis+cluster://services:" SERVICES_PASSWORD "@127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d",
             bus_of(nodes, NODES_COUNT - 1) + 1, port_of(nodes, 1), port_of(nodes, 2));
}

void nodes_stop(struct redis_nodes *nodes)
{
    for (int node = 0; node < NODES_COUNT; node++)
        if (nodes->servers[node].pid > 0)
            redis_server_kill(&nodes->servers[node]);
}

void nodes_freeze(const struct redis_nodes *nodes, int primary)
{
    redis_server_signal(&nodes->servers[primary + NODES_PRIMARIES], SIGSTOP);
    redis_server_signal(&nodes->servers[primary], SIGSTOP);
}

void nodes_thaw(const struct redis_nodes *nodes, int primary)
{
    redis_server_signal(&nodes->servers[primary], SIGCONT);
    redis_server_signal(&nodes->servers[primary + NODES_PRIMARIES], SIGCONT);
}

/* --- questions --- */

int nodes_primary_of(const struct redis_nodes *nodes, int asked, const char *key)
{
    static struct redis_slot_map map;
    char text[8192];
    if (NODES_CALL(nodes, asked, text, "CLUSTER", "NODES") != REDIS_OK ||
        !redis_slot_map_parse(span_of(text), &nodes->servers[asked].url.server, &map))
        return -1;
    uint8_t owner = map.owners[redis_slot(span_of(key))];
    for (int node = 0; node < NODES_COUNT && owner != REDIS_NO_OWNER; node++)
        if (map.primaries[owner].port == port_of(nodes, node))
            return node;
    return -1;
}

const char *nodes_role(const struct redis_nodes *nodes, int node)
{
    static char role[32];
    (void)NODES_CALL(nodes, node, role, "ROLE");
    return role;
}

int nodes_denials(const struct redis_nodes *nodes)
{
    int denials = 0;
    for (int node = 0; node < NODES_COUNT; node++) {
        char text[64];
        if (nodes->servers[node].pid > 0 && NODES_CALL(nodes, node, text, "ACL", "LOG", "1") == REDIS_OK)
            denials += text[0] != '\0';
    }
    return denials;
}

void nodes_admin_url(const struct redis_nodes *nodes, char *ret, size_t size)
{
    snprintf(ret, size, "redis+cluster://default:" ADMIN_PASSWORD "@127.0.0.1:%d", port_of(nodes, 0));
}

/* --- slots on their way --- */

static void set_slot(const struct redis_nodes *nodes, int node, int slot, const char *state, int other)
{
    char number[16];
    snprintf(number, sizeof number, "%d", slot);
    MUST(nodes, node, "CLUSTER", "SETSLOT", number, state, nodes->ids[other]);
}

void nodes_move_begin(struct redis_nodes *nodes, int slot, int from, int to)
{
    set_slot(nodes, to, slot, "IMPORTING", from);
    set_slot(nodes, from, slot, "MIGRATING", to);
}

size_t nodes_move_keys(struct redis_nodes *nodes, int slot, int from, int to, int count)
{
    const struct redis_reply *keys, *reply;
    struct redis_command ask, migrate;
    int64_t deadline_us = clock_deadline_us(MIGRATE_MS);
    struct redis *redis = redis_server_connect(&nodes->servers[from], deadline_us);
    assert_non_null(redis);
    redis_command_init(&ask), redis_command_init(&migrate);
    redis_arg_text(&ask, "CLUSTER");
    redis_arg_text(&ask, "GETKEYSINSLOT");
    redis_arg_i64(&ask, slot);
    redis_arg_i64(&ask, count);
    assert_int_equal(redis_call(redis, &ask, deadline_us, &keys), REDIS_OK);
    size_t found = redis_length(keys);
    redis_arg_text(&migrate, "MIGRATE");
    redis_arg_text(&migrate, "127.0.0.1");
    redis_arg_i64(&migrate, port_of(nodes, to));
    redis_arg_text(&migrate, "");
    redis_arg_i64(&migrate, 0);
    redis_arg_i64(&migrate, MIGRATE_MS);
    redis_arg_text(&migrate, "AUTH");
    redis_arg_text(&migrate, ADMIN_PASSWORD);
    redis_arg_text(&migrate, "KEYS");
    for (size_t i = 0; i < found; i++)
        redis_arg(&migrate, redis_text(redis_at(keys, i)));
    if (found > 0 && redis_call(redis, &migrate, deadline_us, &reply) != REDIS_OK)
        fail_msg("MIGRATE: %s", redis_error(redis));
    redis_command_deinit(&ask), redis_command_deinit(&migrate);
    redis_destroy(redis);
    return found;
}

void nodes_tell_owner(const struct redis_nodes *nodes, int told, int slot, int owner)
{
    set_slot(nodes, told, slot, "NODE", owner);
}

void nodes_move_end(struct redis_nodes *nodes, int slot, int from, int to)
{
    nodes_tell_owner(nodes, to, slot, to);
    nodes_tell_owner(nodes, from, slot, to);
}

void nodes_move_slot(struct redis_nodes *nodes, const char *key, int from, int to, int step)
{
    int slot = redis_slot(span_of(key));
    nodes_move_begin(nodes, slot, from, to);
    while (nodes_move_keys(nodes, slot, from, to, step) > 0)
        continue;
    nodes_move_end(nodes, slot, from, to);
}
