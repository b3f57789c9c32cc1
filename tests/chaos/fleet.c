/* SPDX-License-Identifier: Apache-2.0 */
/* Starting, stopping and signalling command services. */
#include "tests/chaos/fleet.h"

#include <poll.h>

#include "bench/kit/child.h"
#include "bench/load/connection.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "events/ids.h"
#include "tests/availability/patroni.h"

enum {
    STORE_OFFSET = 3, /* as tools/stack has them */
    REDIS_OFFSET = 4,
    BUS_OFFSET = 6, /* where a query service hears of changes */
    STORE_PROXY_OFFSET = 7,
    REDIS_PROXY_OFFSET = 8,
    PORT_OFFSET = 10,
    EDGE_READ_OFFSET = 16,
    EDGE_WRITE_OFFSET = 17,
    EDGE_OFFSET = 18,
    EDGE_COMMANDS = 2, /* as many as compose/edge/haproxy.cfg knows */
    EDGE_VARIABLES = 9,
    ALL_MAX = CHAOS_SERVICES_MAX + FLEET_QUERIES + FLEET_SHARDS_MAX,
    VARIABLE_MAX = FLEET_URL_MAX,
    VARIABLES = 10,
    READY_CALL_MS = 1000,
    READY_PAUSE_MS = 20
};

struct fleet {
    struct stack *stack, *stacks[FLEET_SHARDS_MAX]; /* the first of them; of each shard */
    uint32_t shards;
    uint32_t services; /* command services; after them come the query services, then the projectors */
    struct target targets[ALL_MAX], edge_targets[EDGE_COMMANDS + FLEET_QUERIES];
    bool patroni;
    pid_t edge; /* 0: none */
    struct process {
        char program[PATH_MAX], log[PATH_MAX];
        char variables[VARIABLES][VARIABLE_MAX];
        pid_t pid; /* 0: does not run */
    } list[ALL_MAX];
    struct proxy *stores[FLEET_SHARDS_MAX], *redis;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "chaos: %s\n", what);
    exit(2);
}

static void print(char *ret, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);

static void print(char *ret, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(ret, size, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= size)
        die("a path or a URL is too long");
}

/* A URL of a stack that leads through a proxy. */
static void print_url(const struct stack *stack, const char *of, int offset, int proxy_offset, char *ret)
{
    const char *url = stack_env(stack, of);
    char port[16];
    int base = stack_port_base(stack);
    print(port, sizeof port, ":%d/", base + offset);
    const char *at = strstr(url, port);
    if (!at)
        die("a server is not where it is expected");
    print(ret, VARIABLE_MAX, "%.*s:%d/%s", (int)(at - url), url, base + proxy_offset, at + strlen(port));
}

/* Of a shard's PostgreSQL. Under Patroni the network is what can be slow. */
static void print_store_url(const struct fleet *fleet, uint32_t shard, const char *of, bool through_proxy,
                            char *ret)
{
    if (fleet->patroni)
        patroni_url(fleet->stacks[shard], (int)shard + 1, of, ret, VARIABLE_MAX);
    else
        print_url(fleet->stacks[shard], of, STORE_OFFSET, through_proxy ? STORE_PROXY_OFFSET : STORE_OFFSET,
                  ret);
}

void fleet_owner_url(const struct fleet *fleet, uint32_t shard, char ret[FLEET_URL_MAX])
{
    print_store_url(fleet, shard, "DATABASE_URL", false, ret);
}

/* --- Which database has which slices --- */

static void print_slices(const struct fleet *fleet, uint32_t shard, char *ret, size_t size)
{
    uint32_t each = SLICE_COUNT / fleet->shards;
    print(ret, size, "%u-%u", shard * each, (shard + 1) * each - 1);
}

static void print_map_path(const struct fleet *fleet, const char *of, char *ret)
{
    print(ret, PATH_MAX, "%s/%s.shards", stack_directory(fleet->stack), of);
}

static void write_map(const struct fleet *fleet, const char *of, bool through_proxies)
{
    char path[PATH_MAX], url[VARIABLE_MAX], slices[16];
    print_map_path(fleet, of, path);
    FILE *file = fopen(path, "we");
    for (uint32_t i = 0; file && i < fleet->shards; i++) {
        print_slices(fleet, i, slices, sizeof slices);
        print_store_url(fleet, i, of, through_proxies, url);
        fprintf(file, "%s %s\n", slices, url);
    }
    if (!file || fclose(file) != 0)
        die("a map of the shards cannot be written");
}

void fleet_owner_map(const struct fleet *fleet, char *path)
{
    path[0] = '\0';
    if (fleet->shards > 1)
        print_map_path(fleet, "DATABASE_URL", path);
}

static void share_slices(const struct fleet *fleet)
{
    static const char *const roles[] = {"COMMAND_DATABASE_URL", "QUERY_DATABASE_URL",
                                        "PROJECTOR_DATABASE_URL"};
    char path[PATH_MAX];
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        write_map(fleet, roles[i], true);
    write_map(fleet, "DATABASE_URL", false);
    fleet_owner_map(fleet, path);
    if (stack_tool(fleet->stack, (const char *[]){"schema/migrate", "--shards", path, NULL}) != 0)
        die("the slices cannot be shared out");
}

/* DATABASE_URL or SHARDS_FILE of a service. */
static void set_store(const struct fleet *fleet, const char *of, char *variable)
{
    char value[VARIABLE_MAX];
    if (fleet->shards > 1) {
        print_map_path(fleet, of, value);
        print(variable, VARIABLE_MAX, "SHARDS_FILE=%s", value);
    } else {
        print_store_url(fleet, 0, of, true, value);
        print(variable, VARIABLE_MAX, "DATABASE_URL=%.*s", (int)sizeof value - 16, value);
    }
}

static void set_redis(const struct fleet *fleet, const char *of, char *variable)
{
    char url[VARIABLE_MAX];
    print_url(fleet->stack, of, REDIS_OFFSET, REDIS_PROXY_OFFSET, url);
    print(variable, VARIABLE_MAX, "REDIS_URL=%s", url);
}

/* --- Services --- */

/* Hints go to the projectors of all shards. */
static void set_command_variables(const struct fleet *fleet, char (*variables)[VARIABLE_MAX])
{
    static const char bus[] = "FIRSTCOME_BUS_URL";
    bool two = fleet->shards > 1;
    set_store(fleet, "COMMAND_DATABASE_URL", variables[0]);
    print(variables[1], VARIABLE_MAX, "%s=%s%s%s", bus, stack_env(fleet->stack, bus), two ? "," : "",
          two ? stack_env(fleet->stacks[1], bus) : "");
    /* A long run makes more campaigns than a person would. */
    print(variables[2], VARIABLE_MAX, "FIRSTCOME_CAMPAIGNS_PER_KEY_PER_DAY=1000000");
    print(variables[3], VARIABLE_MAX, "FIRSTCOME_CAMPAIGNS_PER_DAY=1000000");
}

static void set_query_variables(const struct fleet *fleet, uint32_t service, char (*variables)[VARIABLE_MAX])
{
    set_store(fleet, "QUERY_DATABASE_URL", variables[0]);
    set_redis(fleet, "QUERY_REDIS_URL", variables[1]);
    if (service == fleet_query(fleet, 0))
        print(variables[2], VARIABLE_MAX, "FIRSTCOME_BUS_URL=tcp://127.0.0.1:%d",
              stack_port_base(fleet->stack) + BUS_OFFSET);
}

static void set_projector_variables(const struct fleet *fleet, uint32_t shard,
                                    char (*variables)[VARIABLE_MAX])
{
    char slices[16];
    set_store(fleet, "PROJECTOR_DATABASE_URL", variables[0]);
    set_redis(fleet, "PROJECTOR_REDIS_URL", variables[1]);
    print(variables[2], VARIABLE_MAX, "FIRSTCOME_BUS_URL=%s",
          stack_env(fleet->stacks[shard], "FIRSTCOME_BUS_URL"));
    print(variables[3], VARIABLE_MAX, "FIRSTCOME_BUS_PUBLISH_URL=tcp://127.0.0.1:%d",
          stack_port_base(fleet->stack) + BUS_OFFSET);
    print_slices(fleet, shard, slices, sizeof slices);
    print(variables[4], VARIABLE_MAX, "FIRSTCOME_SLICES=%s", slices);
}

static uint32_t count_all(const struct fleet *fleet)
{
    return fleet_projector(fleet, 0) + fleet->shards;
}

static const char *kind_of(const struct fleet *fleet, uint32_t service)
{
    return service < fleet->services             ? "command-service"
           : service < fleet_projector(fleet, 0) ? "query-service"
                                                 : "projector";
}

/* As tools/stack has them, but for ports and proxies. */
static void set_variables(struct fleet *fleet, uint32_t service, int port)
{
    struct stack *stack = fleet->stack;
    char(*variables)[VARIABLE_MAX] = fleet->list[service].variables;
    print(variables[0], VARIABLE_MAX, "FIRSTCOME_PROCESS=%s@%s", kind_of(fleet, service),
          stack_directory(stack));
    print(variables[1], VARIABLE_MAX, "PORT_BASE=%d", stack_port_base(stack));
    print(variables[2], VARIABLE_MAX, "FIRSTCOME_PORT=%d", port);
    print(variables[3], VARIABLE_MAX, "FIRSTCOME_API_KEYS_FILE=%s",
          stack_env(stack, "FIRSTCOME_API_KEYS_FILE"));
    print(variables[4], VARIABLE_MAX, "FIRSTCOME_CODE_KEY_FILE=%s",
          stack_env(stack, "FIRSTCOME_CODE_KEY_FILE"));
    if (service < fleet->services)
        set_command_variables(fleet, variables + 5);
    else if (service < fleet_projector(fleet, 0))
        set_query_variables(fleet, service, variables + 5);
    else
        set_projector_variables(fleet, service - fleet_projector(fleet, 0), variables + 5);
}

static int port_of(const struct fleet *fleet, uint32_t service)
{
    return stack_port_base(fleet->stack) + PORT_OFFSET + (int)service;
}

void fleet_address(const struct fleet *fleet, uint32_t service, char ret[FLEET_ADDRESS_MAX])
{
    print(ret, FLEET_ADDRESS_MAX, "http://127.0.0.1:%d", port_of(fleet, service));
}

void fleet_begin(struct fleet *fleet, uint32_t service)
{
    struct process *process = &fleet->list[service];
    const char *environment[VARIABLES + 1] = {NULL};
    const char *argument = service >= fleet_projector(fleet, 0) ? "run" : NULL;
    CHECK(service < count_all(fleet) && process->pid == 0);
    for (size_t i = 0; i < VARIABLES && process->variables[i][0]; i++)
        environment[i] = process->variables[i];
    process->pid =
        child_start(&(struct child_spec){.argv = (const char *[]){process->program, argument, NULL},
                                         .environment = environment,
                                         .output_path = process->log});
}

static void start_service(struct fleet *fleet, uint32_t service)
{
    char url[FLEET_ADDRESS_MAX], reason[128];
    const char *kind = kind_of(fleet, service);
    struct process *process = &fleet->list[service];
    fleet_address(fleet, service, url);
    if (!target_init(&fleet->targets[service], url, reason, sizeof reason))
        die(reason);
    print(process->program, PATH_MAX, "%s/%s", getenv("BIN_DIR"), kind); /* set by stack.c */
    print(process->log, PATH_MAX, "%s/log/%s-%u.log", stack_directory(fleet->stack), kind, service);
    set_variables(fleet, service, port_of(fleet, service));
    fleet_begin(fleet, service);
}

static void set_edge_targets(struct target *targets, size_t count, int port)
{
    char url[64], reason[128];
    print(url, sizeof url, "http://127.0.0.1:%d", port);
    for (size_t i = 0; i < count; i++)
        if (!target_init(&targets[i], url, reason, sizeof reason))
            die(reason);
}

/* HAProxy as `make up EDGE=1` has it, with two services of each kind; whom it takes for one client is all of
 * ours. */
static void start_edge(struct fleet *fleet)
{
    char log[PATH_MAX], variables[EDGE_VARIABLES][VARIABLE_MAX];
    const char *environment[EDGE_VARIABLES + 1] = {NULL};
    int base = stack_port_base(fleet->stack), service = base + PORT_OFFSET, query = service + EDGE_COMMANDS;
    print(variables[0], VARIABLE_MAX, "FIRSTCOME_PROCESS=edge@%s", stack_directory(fleet->stack));
    print(variables[1], VARIABLE_MAX, "EDGE_BIND=127.0.0.1:%d", base + EDGE_OFFSET);
    print(variables[2], VARIABLE_MAX, "EDGE_WRITE_BIND=127.0.0.1:%d", base + EDGE_WRITE_OFFSET);
    print(variables[3], VARIABLE_MAX, "EDGE_READ_BIND=127.0.0.1:%d", base + EDGE_READ_OFFSET);
    print(variables[4], VARIABLE_MAX, "EDGE_REQUESTS_MAX=1000000");
    print(variables[5], VARIABLE_MAX, "COMMAND_ADDRESS=127.0.0.1:%d", service);
    print(variables[6], VARIABLE_MAX, "COMMAND_ADDRESS_2=127.0.0.1:%d", service + 1);
    print(variables[7], VARIABLE_MAX, "QUERY_ADDRESS=127.0.0.1:%d", query);
    print(variables[8], VARIABLE_MAX, "QUERY_ADDRESS_2=127.0.0.1:%d", query + 1);
    for (size_t i = 0; i < EDGE_VARIABLES; i++)
        environment[i] = variables[i];
    print(log, sizeof log, "%s/log/edge.log", stack_directory(fleet->stack));
    set_edge_targets(fleet->edge_targets, EDGE_COMMANDS, base + EDGE_WRITE_OFFSET);
    set_edge_targets(fleet->edge_targets + EDGE_COMMANDS, FLEET_QUERIES, base + EDGE_READ_OFFSET);
    fleet->edge = child_start(&(struct child_spec){
        .argv = (const char *[]){"/usr/sbin/haproxy", "-db", "-f", "compose/edge/haproxy.cfg", NULL},
        .environment = environment,
        .output_path = log});
}

struct fleet *fleet_start(const struct fleet_options *options)
{
    CHECK(options->services > 0 && options->services <= CHAOS_SERVICES_MAX);
    CHECK(options->shards > 0 && options->shards <= FLEET_SHARDS_MAX);
    struct fleet *fleet = mem_zalloc(sizeof *fleet);
    int base = stack_port_base(options->stacks[0]);
    fleet->stack = options->stacks[0];
    fleet->services = options->services;
    fleet->shards = options->shards;
    fleet->patroni = options->patroni;
    for (uint32_t i = 0; i < fleet->shards; i++) {
        int at = stack_port_base(options->stacks[i]);
        fleet->stacks[i] = options->stacks[i];
        if (!fleet->patroni)
            fleet->stores[i] = proxy_start(at + STORE_PROXY_OFFSET, at + STORE_OFFSET);
    }
    fleet->redis = proxy_start(base + REDIS_PROXY_OFFSET, base + REDIS_OFFSET);
    if (fleet->shards > 1)
        share_slices(fleet);
    for (uint32_t i = count_all(fleet); i-- > 0;) /* projectors listen on the bus: first */
        start_service(fleet, i);
    if (options->edge && options->services != EDGE_COMMANDS)
        die("there is an edge for two command services, no more and no less");
    if (options->edge)
        start_edge(fleet);
    return fleet;
}

uint32_t fleet_shards(const struct fleet *fleet)
{
    return fleet->shards;
}

uint32_t fleet_services(const struct fleet *fleet)
{
    return fleet->services;
}

uint32_t fleet_query(const struct fleet *fleet, uint32_t index)
{
    return fleet->services + index % FLEET_QUERIES;
}

uint32_t fleet_projector(const struct fleet *fleet, uint32_t index)
{
    return fleet->services + FLEET_QUERIES + index % fleet->shards;
}

const struct target *fleet_targets(const struct fleet *fleet)
{
    return fleet->edge ? fleet->edge_targets : fleet->targets;
}

bool fleet_patroni(const struct fleet *fleet)
{
    return fleet->patroni;
}

struct proxy *fleet_store_proxy(const struct fleet *fleet, uint32_t shard)
{
    return fleet->stores[shard];
}

struct proxy *fleet_redis_proxy(const struct fleet *fleet)
{
    return fleet->redis;
}

static bool is_ready(struct connection *connection)
{
    struct http_response response;
    int64_t deadline_us = clock_deadline_us(READY_CALL_MS);
    connection_send(connection, SPAN("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"), deadline_us);
    return connection_receive(connection, deadline_us, &response) == EXCHANGE_ANSWERED &&
           response.status == 200;
}

bool fleet_await_ready(const struct fleet *fleet, int64_t deadline_us)
{
    bool ready = true;
    for (uint32_t i = 0; i < count_all(fleet) && ready; i++) {
        struct connection connection;
        connection_init(&connection, &fleet->targets[i]);
        ready = is_ready(&connection);
        while (!ready && clock_remaining_ms(deadline_us) > 0) {
            (void)poll(NULL, 0, READY_PAUSE_MS);
            ready = is_ready(&connection);
        }
        connection_deinit(&connection);
    }
    return ready;
}

void fleet_kill(struct fleet *fleet, uint32_t service)
{
    child_kill(fleet->list[service].pid);
    fleet->list[service].pid = 0;
}

void fleet_end(struct fleet *fleet, uint32_t service)
{
    child_stop(fleet->list[service].pid);
    fleet->list[service].pid = 0;
}

static void signal_service(const struct fleet *fleet, uint32_t service, int number)
{
    if (kill(fleet->list[service].pid, number) != 0)
        die("a service ended by itself; its log says why");
}

void fleet_freeze(const struct fleet *fleet, uint32_t service)
{
    signal_service(fleet, service, SIGSTOP);
}

void fleet_thaw(const struct fleet *fleet, uint32_t service)
{
    signal_service(fleet, service, SIGCONT);
}

void fleet_stop(struct fleet *fleet)
{
    if (!fleet)
        return;
    child_stop(fleet->edge);
    for (uint32_t i = 0; i < count_all(fleet); i++)
        signal_service(fleet, i, SIGTERM); /* so that they drain at the same time */
    for (uint32_t i = 0; i < count_all(fleet); i++)
        fleet_end(fleet, i);
    for (uint32_t i = 0; i < fleet->shards; i++)
        proxy_stop(fleet->stores[i]);
    proxy_stop(fleet->redis);
    mem_free(fleet);
}
