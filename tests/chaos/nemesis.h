/* SPDX-License-Identifier: Apache-2.0 */
/* Does to a stack what the schedule says: one thread for each lane. A fault that cannot be carried out
 * because another lane is in the way (a database that is just starting) is counted as missed. */
#pragma once

#include "tests/chaos/fleet.h"
#include "tests/chaos/schedule.h"

struct nemesis;
/* Borrows the stacks (one for each shard) and the fleet; nobody else may use them until nemesis_stop. Of
 * several shards one is struck at a time. */
struct nemesis *nemesis_start(struct stack *const *stacks, struct fleet *fleet, uint64_t seed);
/* What strikes now, for a progress line; "" between two. Any thread. */
const char *nemesis_now(const struct nemesis *nemesis, enum lane lane);
/* Ends a fault that holds, heals everything, waits. */
void nemesis_stop(struct nemesis *nemesis);
/* After nemesis_stop. */
uint64_t nemesis_struck(const struct nemesis *nemesis, enum fault fault);
/* Whether the log is under Patroni. */
bool nemesis_patroni(const struct nemesis *nemesis);
uint64_t nemesis_missed(const struct nemesis *nemesis);
void nemesis_destroy(struct nemesis *nemesis);
