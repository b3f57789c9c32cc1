/* SPDX-License-Identifier: Apache-2.0 */
/* One drill of the game day: the cause of an incident is brought about on a stack of real servers while
 * clients issue, redeem and read; what became of it stands in one table beside the incident's own figures. A
 * bar is a promise (none lost, none double), or a time beyond what an answer costs this machine at that
 * moment, within bounds. One drill in a process; calls are for its main thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/check.h"
#include "tests/lib/stack.h"

enum drill_bar { AT_MOST, AT_LEAST };

struct drill_figure {
    const char *what;     /* is measured */
    const char *incident; /* what it was there, with its unit; "" where nobody wrote it down */
    double value, bar;    /* in this unit */
    const char *unit;
    enum drill_bar kind;
    double machine; /* what the machine itself needed at that moment, same unit; 0: not looked at. Counts
                     * as part of the bar up to a bound (ms: the bar again, at least 100; else 10) */
};

void drill_begin(int number, const char *title, int64_t usual_seconds);
/* What is being done, for the line of progress; text that stays. */
void drill_phase(const char *phase);
/* For the same line: numbers that grow, read by another thread. NULL ends it. */
void drill_watch(const _Atomic int64_t *issued, const _Atomic uint64_t *read);
void drill_expect(const struct drill_figure *figure);
#define DRILL_EXPECT(...) drill_expect(&(struct drill_figure){__VA_ARGS__})
/* The same for counts that have to be exactly so many, and for times in microseconds. */
void drill_expect_none(const char *what, const char *incident, uint64_t count);
void drill_expect_ms(const char *what, const char *incident, int64_t us, int64_t bar_ms, int64_t machine_us);
/* The bar for what took before_us while all was well: so many tenths of it, and at least what nobody notices.
 */
int64_t drill_bar_ms(int64_t tenths, int64_t before_us);
/* To be said below the table: a file of the results folder, how the cause was brought about. */
void drill_note(const char *format, ...) PRINTF_LIKE(1, 2);
/* A path in the results folder; valid until the next call. */
const char *drill_path(const char *name);

/* Prints the table and writes <results folder>/drill-<number>.json. `whole`: it was played to its end.
 * Returns whether all bars were kept. */
bool drill_end(bool whole);

/* The drills; each starts its servers and returns when it has measured everything. */
void drill_failover(void);
void drill_runaway(void);
void drill_stampede(void);
void drill_exhaustion(void);
void drill_opening(void);
