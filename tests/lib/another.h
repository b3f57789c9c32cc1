/* SPDX-License-Identifier: Apache-2.0 */
/* One more query service beside a stack's own: for tests of a fleet, and for tests that put something between
 * it and its Redis. One thread at a time. */
#pragma once

#include "tests/lib/api.h"

struct another {
    struct api_client api; /* its query side; commands go to the stack's command service */
    pid_t pid;
};

/* Starts it on a port of the stack's range and waits until it is ready. redis_port 0: the stack's Redis. Its
 * options are this process's environment's. */
void another_start(struct another *another, struct stack *stack, int port_offset, int redis_port);
void another_stop(struct another *another);
