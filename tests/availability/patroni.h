/* SPDX-License-Identifier: Apache-2.0 */
/* Three machines with PostgreSQL under Patroni (tests/availability/patroni), and what can happen to them.
 * What goes wrong here fails the test. Machines are numbered from 1. One thread at a time. */
#pragma once

#include <stdbool.h>

#include "tests/lib/stack.h"

enum { PATRONI_NODES = 3 };

void patroni_start(struct stack *stack); /* the primary is machine 1 */
void patroni_begin(struct stack *stack, int node);
/* what: "patroni", "postgres", or "all" of a machine. */
void patroni_signal(struct stack *stack, int node, const char *what, int signal_number);
void patroni_cut_off(struct stack *stack, int node);
void patroni_reconnect(struct stack *stack, int node);

/* Whether Patroni on a machine says that it is "primary", "replica" or "sync" now; false where it is silent.
 */
bool patroni_is(int node, const char *role);
/* The machine, other than `except` (0: any), that is; 0: none. */
int patroni_find(const char *role, int except);

/* URL of a role, `of` a variable of the env file, for all machines, of which it wants the one that writes; or
 * for one. */
void patroni_url(struct stack *stack, const char *of, char *ret, size_t size);
void patroni_url_of(struct stack *stack, const char *of, int node, char *ret, size_t size);
