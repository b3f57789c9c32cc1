/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a stack's PostgreSQL from a test, as the owner of the database. A failing query fails the test.
 */
#pragma once

#include "common/pg/pg.h"
#include "tests/lib/stack.h"
#include "tests/lib/text.h"

/* A statement, after another one where `before` is not NULL, over a connection of its own, which the caller
 * destroys: with it ends what they began, and it knows what went wrong where *ret is NULL. Statements of
 * others are not prepared on it again. */
struct pg *store_try(const char *url, int64_t timeout_ms, const char *before, const char *sql,
                     struct pg_rows **ret);
/* What a query without parameters gives to whom the URL names; the caller destroys it. */
struct pg_rows *store_rows(const char *url, const char *sql);
int64_t store_number_at(const char *url, const char *sql); /* the first number; 0: no row */
/* The same as the owner of the stack's database. */
int64_t store_number(struct stack *stack, const char *sql);
/* The same for a query written as by printf. */
int64_t store_numberf(struct stack *stack, const char *format, ...) PRINTF_LIKE(2, 3);
/* Runs a statement as the role of the given variable of the env file ("COMMAND_DATABASE_URL"). */
void store_run_as(struct stack *stack, const char *url_variable, const char *sql);
/* The URL of the superuser at the server on this port of the stack's. */
void store_superuser_url(struct stack *stack, int port_offset, const char *database, char *ret, size_t size);
/* Runs a statement as superuser with triggers off: what grants and triggers are there to prevent. */
void store_tamper(struct stack *stack, const char *sql);
/* Signals every backend that the service of this application name has ("firstcome command"); returns how
 * many. */
size_t store_signal_backends(struct stack *stack, const char *application, int signal_number);
/* Stops every backend of an application until store_thaw; returns how many. One that was stopped while it
 * held a lock of the server's own (every new connection needs some) would freeze everybody: it goes on, and
 * is stopped anew. */
size_t store_freeze(struct stack *stack, const char *application);
void store_thaw(void); /* connects nowhere; nothing where nothing is frozen */
/* Holds what a statement locks ("SELECT 1 FROM slice FOR UPDATE") until store_let_go. */
struct pg *store_hold(struct stack *stack, const char *sql);
void store_let_go(struct pg *holder); /* accepts NULL */
