/* SPDX-License-Identifier: Apache-2.0 */
/* What pg.c and pg_args.c share about the binary format of PostgreSQL. Not for anyone else. */
#pragma once

#include "common/clock.h"

/* PostgreSQL counts time from 2000-01-01 00:00:00 UTC. */
#define PG_EPOCH_US (946684800 * (int64_t)US_PER_S)

/* Microseconds since 1970 to and from microseconds since 2000. INT64_MAX and INT64_MIN stand for infinity and
 * -infinity, and so does what is out of range. */
int64_t pg_time_to_wire(int64_t wall_us);
int64_t pg_time_from_wire(int64_t pg_us);
