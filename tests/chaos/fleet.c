/* SPDX-License-Identifier: Apache-2.0 */
/* Starting, stopping and signalling command services. */
#include "tests/chaos/fleet.h"

#include <limits.h>
#include <poll.h>

#include "bench/kit/child.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/chaos/client.h"

enum { PORT_OFFSET = 10, VARIABLE_MAX = 512, VARIABLES = 9, READY_CALL_MS = 1000, READY_PAUSE_MS = 20 };

struct fleet {
    uint32_t services;
    char program[PATH_MAX];
    struct target targets[CHAOS_SERVICES_MAX];
    pid_t pids[CHAOS_SERVICES_MAX]; /* 0: does not run */
    char log[CHAOS_SERVICES_MAX][PATH_MAX];
    char variables[CHAOS_SERVICES_MAX][VARIABLES][VARIABLE_MAX];
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

/* As tools/stack does for the service it knows, but for the port. */
static void set_variables(struct fleet *fleet, const struct stack *stack, uint32_t service, int port)
{
    char(*variables)[VARIABLE_MAX] = fleet->variables[service];
    print(variables[0], VARIABLE_MAX, "FIRSTCOME_PROCESS=command-service@%s", stack_directory(stack));
    print(variables[1], VARIABLE_MAX, "PORT_BASE=%d", stack_port_base(stack));
    print(variables[2], VARIABLE_MAX, "PORT=%d", port);
    print(variables[3], VARIABLE_MAX, "DATABASE_URL=%s", stack_env(stack, "COMMAND_DATABASE_URL"));
    print(variables[4], VARIABLE_MAX, "BUS_URL=%s", stack_env(stack, "BUS_URL"));
    print(variables[5], VARIABLE_MAX, "API_KEYS_FILE=%s", stack_env(stack, "API_KEYS_FILE"));
    print(variables[6], VARIABLE_MAX, "CODE_KEY_FILE=%s", stack_env(stack, "CODE_KEY_FILE"));
    /* A long run makes more campaigns than a person would. */
    print(variables[7], VARIABLE_MAX, "CAMPAIGNS_PER_KEY_PER_DAY=1000000");
    print(variables[8], VARIABLE_MAX, "CAMPAIGNS_PER_DAY=1000000");
}

void fleet_begin(struct fleet *fleet, uint32_t service)
{
    const char *environment[VARIABLES + 1] = {NULL};
    CHECK(service < fleet->services && fleet->pids[service] == 0);
    for (size_t i = 0; i < VARIABLES; i++)
        environment[i] = fleet->variables[service][i];
    fleet->pids[service] = child_start(&(struct child_spec){.argv = (const char *[]){fleet->program, NULL},
                                                            .environment = environment,
                                                            .output_path = fleet->log[service]});
}

struct fleet *fleet_start(struct stack *stack, uint32_t services)
{
    CHECK(services > 0 && services <= CHAOS_SERVICES_MAX);
    struct fleet *fleet = mem_zalloc(sizeof *fleet);
    fleet->services = services;
    print(fleet->program, sizeof fleet->program, "%s/command-service",
          getenv("BIN_DIR")); /* set by stack.c */
    for (uint32_t i = 0; i < services; i++) {
        char url[64], reason[128];
        int port = stack_port_base(stack) + PORT_OFFSET + (int)i;
        print(url, sizeof url, "http://127.0.0.1:%d", port);
        if (!target_init(&fleet->targets[i], url, reason, sizeof reason))
            die(reason);
        print(fleet->log[i], PATH_MAX, "%s/log/command-service-%u.log", stack_directory(stack), i);
        set_variables(fleet, stack, i, port);
        fleet_begin(fleet, i);
    }
    return fleet;
}

const struct target *fleet_targets(const struct fleet *fleet)
{
    return fleet->targets;
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
    for (uint32_t i = 0; i < fleet->services && ready; i++) {
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
    child_kill(fleet->pids[service]);
    fleet->pids[service] = 0;
}

void fleet_end(struct fleet *fleet, uint32_t service)
{
    child_stop(fleet->pids[service]);
    fleet->pids[service] = 0;
}

static void signal_service(const struct fleet *fleet, uint32_t service, int number)
{
    if (kill(fleet->pids[service], number) != 0)
        die("a command service ended by itself; its log says why");
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
    for (uint32_t i = 0; i < fleet->services; i++)
        signal_service(fleet, i, SIGTERM); /* so that they drain at the same time */
    for (uint32_t i = 0; i < fleet->services; i++)
        fleet_end(fleet, i);
    mem_free(fleet);
}
