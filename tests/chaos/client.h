/* SPDX-License-Identifier: Apache-2.0 */
/* The clients of a chaos run: each a thread that asks one thing after another, of any service, some things
 * twice, and writes down what it was told. After the run, whatever is still unknown is asked again with the
 * same key until somebody says what became of it. */
#pragma once

#include <stdatomic.h>

#include "tests/chaos/board.h"
#include "tests/chaos/history.h"

/* For the progress line; any thread may read them. */
struct client_counts {
    _Atomic int64_t ops, outcome[OUTCOME_COUNT];
};

struct clients_options {
    struct op_context context;
    struct board *board; /* borrowed, as the targets */
    uint32_t clients, services;
    const struct target *targets; /* one for each service */
};

struct clients;
/* Starts the threads. Targets and texts are borrowed until clients_destroy. */
struct clients *clients_start(const struct clients_options *options);
const struct client_counts *clients_counts(const struct clients *clients);
/* Ends the asking; waits for the answers that are under way. */
void clients_stop(struct clients *clients);
/* After clients_stop, with all healed: joins the histories into `ret` (initialised) and asks again whatever
 * is unknown, until the deadline (monotonic) at most. Returns how many are unknown still. */
size_t clients_settle(struct clients *clients, int64_t deadline_us, struct history *ret);
void clients_destroy(struct clients *clients);
