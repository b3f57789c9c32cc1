/* SPDX-License-Identifier: Apache-2.0 */
/* The command services of a chaos run: several on one database, started here and not by tools/stack, which
 * knows of one. They carry the stack's marker, so that they end with it however this program ends. What
 * cannot be done ends the program. One thread at a time, but for the targets. */
#pragma once

#include "bench/load/target.h"
#include "tests/lib/stack.h"

struct fleet;
/* Starts them on ports from the stack's base + 10 on; none need be ready yet. */
struct fleet *fleet_start(struct stack *stack, uint32_t services);
const struct target *fleet_targets(const struct fleet *fleet); /* one for each */
/* Blocks until every service answers /readyz with 200; false past the deadline (monotonic). */
bool fleet_await_ready(const struct fleet *fleet, int64_t deadline_us) MUST_USE;

void fleet_kill(struct fleet *fleet, uint32_t service);         /* SIGKILL, waits */
void fleet_end(struct fleet *fleet, uint32_t service);          /* SIGTERM, waits until it has drained */
void fleet_begin(struct fleet *fleet, uint32_t service);        /* after one of the two */
void fleet_freeze(const struct fleet *fleet, uint32_t service); /* SIGSTOP */
void fleet_thaw(const struct fleet *fleet, uint32_t service);   /* SIGCONT */

/* Ends all of them with SIGTERM, frees. Accepts NULL. */
void fleet_stop(struct fleet *fleet);
