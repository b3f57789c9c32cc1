/* SPDX-License-Identifier: Apache-2.0 */
/* Misfortunes of a stack's PostgreSQL: what operators, machines and networks do to it, and a second server
 * that follows it. What goes wrong here fails the test. Not thread-safe. */
#pragma once

#include "common/pg/pg.h"
#include "tests/lib/stack.h"

/* One statement as superuser ("ALTER SYSTEM ..."), on the primary or on the standby; the number in its first
 * row and column, 0 for none. */
int64_t cluster_sql(struct stack *stack, const char *sql);
bool cluster_sql_try(struct stack *stack, const char *sql); /* false where it fails, whyever */
/* A statement of the superuser on a connection of its own, to be tried again and again: where the disk is
 * full nobody may be able to connect any more. The statement is borrowed for as long. To be destroyed by the
 * caller. */
struct pg *cluster_prepare(struct stack *stack, const struct pg_statement *statement);
bool cluster_try(struct pg *pg);
int64_t cluster_standby_sql(struct stack *stack, const char *sql);

/* Signals the postmaster and waits until it and all of its children are gone. SIGINT: fast shutdown, SIGQUIT:
 * immediate, as good as a crash; SIGKILL: a crash. Start it again with stack_restart_servers. */
void cluster_end(struct stack *stack, int signal_number);
/* How long the primary has been running, in µs: an upper bound of how long it has been accepting connections.
 */
int64_t cluster_age_us(struct stack *stack);
/* SIGSTOP or SIGCONT to the postmaster and all of its children. */
void cluster_signal_all(struct stack *stack, int signal_number);

/* Ends every session and takes every connection that is not reserved for superusers, so that nobody can come
 * in. */
struct cluster_crowd;
struct cluster_crowd *cluster_occupy(struct stack *stack);
void cluster_release(struct cluster_crowd *crowd);

/* A streaming standby on port base + 6, synchronous from the moment this returns. */
void cluster_standby_start(struct stack *stack);
void cluster_standby_signal_all(struct stack *stack, int signal_number);
void cluster_promote(struct stack *stack); /* returns when it accepts writes */
/* URL of a role on both servers, standby first, for DATABASE_URL; `of` is a variable of the env file. */
void cluster_both_url(struct stack *stack, const char *of, char *ret, size_t size);
void cluster_standby_url(struct stack *stack, const char *of, char *ret, size_t size);

/* Moves the data to a disk of its own with so many megabytes; the servers restart. false where this process
 * may not mount. */
bool cluster_small_disk(struct stack *stack, unsigned megabytes) MUST_USE;
void cluster_fill_disk(struct stack *stack); /* to the last byte */
void cluster_free_disk(struct stack *stack);
