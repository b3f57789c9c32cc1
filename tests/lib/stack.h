/* SPDX-License-Identifier: Apache-2.0 */
/* A stack of real servers for one test program: a PostgreSQL, a Redis and, where wanted, the three services,
 * through tools/stack, in a directory and on ports of its own, so that test programs can run side by side.
 * All of it is gone when the program ends, however it ends. Whatever goes wrong here ends the program with
 * status 1 and says why. Not thread-safe. */
#pragma once

#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

enum stack_parts {
    STACK_SERVERS, /* PostgreSQL and Redis, migrated */
    STACK_COMMAND, /* a command service as well, ready */
    STACK_ALL,     /* all three services, ready, without the sample campaign */
};

struct stack;

/* Services get deadlines that no busy machine misses (what the environment already says stays), so that
 * nobody is refused, and no level passed over, for the machine being busy. Tests that are about the deadlines
 * a user gets call this before stack_start: then they are those. */
void stack_default_deadlines(void);
/* Options of services are taken from this program's environment: setenv() them first. */
struct stack *stack_start(enum stack_parts parts);
/* Ends every process, looks through the services' logs for reports of sanitizers and failed CHECKs (finding
 * one ends the program with status 1), removes the directory. Accepts NULL. */
void stack_stop(struct stack *stack);
/* `end` is called first: it ends a thread that uses the stack, if a test has left it running. One at a time.
 */
void stack_before_stop(void (*end)(void));
/* The same as cmocka's teardown of a group whose state it is. */
int stack_teardown(void **state);

/* A value of the stack's env file ("REDIS_URL", "ISSUE_TOKEN", ...), valid until stack_stop; it must exist.
 */
const char *stack_env(const struct stack *stack, const char *name);
int stack_port_base(const struct stack *stack);
const char *stack_directory(const struct stack *stack);

/* action: "start", "stop" (SIGTERM and wait) or "kill" (SIGKILL and wait), as tools/stack has them. */
void stack_service(struct stack *stack, const char *service, const char *action);
/* Runs another program of the project (argv[0] from its root, ended by NULL) with the stack's RUN_DIR and
 * PORT_BASE, and waits for it. Its exit status, -1 when a signal ended it; what it says goes to stderr. */
int stack_tool(struct stack *stack, const char *const *argv);
/* Starts PostgreSQL and Redis again where they do not run. */
void stack_restart_servers(struct stack *stack);

/* name: "postgresql" (the postmaster), "redis", or a service. 0 when it does not run. */
pid_t stack_pid(const struct stack *stack, const char *name);
/* Signals it; it must run. For a backend of PostgreSQL use kill() with its pg_backend_pid(). */
void stack_signal(const struct stack *stack, const char *name, int signal_number);
