/* SPDX-License-Identifier: Apache-2.0 */
/* Time. Wall-clock instants are int64_t microseconds since 1970-01-01 UTC (`_us`), durations are in the unit
 * their name says, deadlines are monotonic microseconds. What is written to the log takes its time from
 * PostgreSQL, never from here: this clock serves timeouts, caches and metrics. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"

enum { US_PER_MS = 1000, US_PER_S = 1000000 };
#define US_PER_DAY (86400 * (int64_t)US_PER_S)

int64_t clock_wall_us(void);
int64_t clock_mono_us(void);
int64_t clock_deadline_us(int64_t timeout_ms); /* monotonic instant timeout_ms from now; saturates */
int clock_remaining_ms(int64_t deadline_us);   /* for poll(): rounded up, 0 when past, capped at one hour */

/* RFC 3339 in UTC: "2026-11-20T13:22:56.123456Z"; always six fractional digits, so that text order is time
 * order and one instant has one text. Years 0000-9999; what is outside is written as the nearest end. */
void time_format(struct buf *buf, int64_t wall_us);
/* Accepts any RFC 3339 offset and 0-9 fractional digits (beyond microseconds cut off); leap second 60, only
 * at 23:59 UTC, is read as 59.999999. Years 1970..9999, as written and in UTC. */
bool time_parse(struct span text, int64_t *ret_wall_us) MUST_USE;
