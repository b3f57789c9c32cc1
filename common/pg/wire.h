/* SPDX-License-Identifier: Apache-2.0 */
/* What pg.c and pg_args.c share about PostgreSQL's protocol: the binary format and the codes of its errors.
 * Not for anyone else. */
#pragma once

#include <stdbool.h>

#include "common/base/clock.h"

/* PostgreSQL counts time from 2000-01-01 00:00:00 UTC. */
#define PG_EPOCH_US (946684800 * (int64_t)US_PER_S)

/* Microseconds since 1970 to and from microseconds since 2000. INT64_MAX and INT64_MIN stand for infinity and
 * -infinity, and so does what is out of range. */
int64_t pg_time_to_wire(int64_t wall_us);
int64_t pg_time_from_wire(int64_t pg_us);

/* A number (int2, int4, int8, bool) of `length` bytes as it came; 0 for none, which is NULL. */
int64_t pg_number_from_wire(const char *value, int length);

/* Whether an error leaves a connection that is of no use: the server ends it (FATAL), is going down (57P0x),
 * or does not accept writes any more (25006), so that the next connect has to look for one that does; or a
 * migration changed what a prepared statement gives (0A000), so that all have to be prepared again. */
bool pg_error_ends_connection(const char *severity, const char *sqlstate);
