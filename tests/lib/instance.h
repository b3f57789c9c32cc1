/* SPDX-License-Identifier: Apache-2.0 */
/* More processes of a service than the one that tools/stack starts: children of the test program, on ports
 * and with options of their own, beside the same servers. What goes wrong here fails the test. One
 * thread at a time. */
#pragma once

#include <stdbool.h>

#include "tests/lib/api.h"
#include "tests/lib/stack.h"

struct instance;

struct instance_options {
    const char *service;            /* "command-service", "query-service" or "projector" */
    const char *name;               /* one word; the log is log/<service>-<name>.log */
    int port_offset;                /* from the stack's port base: 6 to 19 */
    const char *database_url;       /* NULL: as the stack's own has it */
    const char *redis_url;          /* NULL: as the stack's own has it */
    const char *ready_path;         /* what has to answer 200 before it is used; NULL: "/readyz" */
    const char *const *environment; /* more options, "NAME=value", ended by NULL; NULL: none */
};

/* Texts are borrowed until the instance ends. Waits until it is ready. */
struct instance *instance_start(struct stack *stack, const struct instance_options *options);
#define INSTANCE_START(stack, ...) instance_start((stack), &(struct instance_options){__VA_ARGS__})
/* Starts it again after instance_stop or instance_kill and waits until it is ready. */
void instance_again(struct instance *instance);
/* SIGTERM; waits for the end, which must be a good one. Nothing when it does not run. */
void instance_stop(struct instance *instance);
/* Waits for the end after a signal of the test's own; it must be a good one. */
void instance_await(struct instance *instance);
void instance_kill(struct instance *instance); /* SIGKILL, and waits for the end */
void instance_signal(const struct instance *instance, int signal_number);
/* Stops it where it runs, with as many signals as it takes: the second cuts its grace short. Accepts NULL. */
void instance_destroy(struct instance *instance);

bool instance_ready(const struct instance *instance);      /* whether its ready_path says so now */
const char *instance_url(const struct instance *instance); /* "http://127.0.0.1:<port>" */
pid_t instance_pid(const struct instance *instance);       /* 0: it does not run */
/* Calls for a service of its kind go to it, the others to the stack's. The caller closes `ret`. */
void instance_open_api(const struct instance *instance, struct api_client *ret);
