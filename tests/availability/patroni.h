/* SPDX-License-Identifier: Apache-2.0 */
/* Machines with PostgreSQL under Patroni and three etcds (tests/availability/patroni), and what can happen to
 * them. A shard is such a cluster with a stack of its own, numbered from 1; a machine is a number of two
 * digits, its shard's and its own, as are the etcds. Calls about a machine take its shard's stack, those
 * about an etcd the first's. What goes wrong here fails the test. One thread at a time; who asks, any. */
#pragma once

#include <stdbool.h>

#include "tests/lib/stack.h"

enum { PATRONI_ETCD_FIRST = 91, PATRONI_ETCDS = 3, PATRONI_TTL_S = 20, PATRONI_TTL_MIN_S = 12 };

/* Shards one after the other, 1 first, each with as many nodes. The primary is its first machine. The ttl is
 * the time after which a primary that nobody hears of is replaced. */
void patroni_start(struct stack *stack, int shard, int nodes, int ttl_s);
void patroni_begin(struct stack *stack, int machine);
/* what: "patroni" (of an etcd machine: etcd), "postgres", or "all" of a machine. */
void patroni_signal(struct stack *stack, int machine, const char *what, int signal_number);
void patroni_cut_off(struct stack *stack, int machine);
void patroni_reconnect(struct stack *stack, int machine);
/* What services and the PostgreSQL there send each other is dropped; the machines see each other. */
void patroni_silence(struct stack *stack, int machine, bool silent);
/* patronictl switchover; false where Patroni refuses, as it does while the etcds elect. */
bool patroni_switchover(struct stack *stack, int from, int to);

/* The machines of a shard, in turn after this one. */
int patroni_next(int machine);
/* Whether Patroni on a machine says that it is "primary", "replica" or "sync" now; false where it is silent.
 */
bool patroni_is(int machine, const char *role);
/* The machine of a shard, other than `except` (0: any), that is; 0: none. */
int patroni_find(int shard, const char *role, int except);
/* A primary and a synchronous standby, which is somebody else, neither of which is `except`. */
bool patroni_led(int shard, int except);

/* URL of a role, `of` a variable of the env file of the shard's stack, for all its machines, of which it
 * wants the one that writes; or for one. */
void patroni_url(struct stack *stack, int shard, const char *of, char *ret, size_t size);
void patroni_url_of(struct stack *stack, const char *of, int machine, char *ret, size_t size);
