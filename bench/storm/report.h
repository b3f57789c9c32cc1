/* SPDX-License-Identifier: Apache-2.0 */
/* What a person reads at the end of a load: who got what, errors, rates, latencies, the load client's own
 * share, and the checker's verdict line by line. Prints to stdout. */
#pragma once

#include "bench/storm/checker.h"

struct report {
    struct load_stats stats; /* of all threads; wall_us is the longest */
    int threads;
    bool client_bound;   /* some thread was computing nearly all the time */
    bool client_starved; /* or computing and waiting for a processor */
    uint32_t unresolved;
    uint64_t outcomes[OUTCOME_COUNT];
    uint64_t problems[OUTCOME_COUNT][ATTEMPTS_PROBLEMS_MAX];
    uint64_t issued_keys;    /* keys with at least one 201 */
    uint64_t recovered_keys; /* of which the first 201 was a repeated one: the one before it was lost */
    uint64_t answers;
    int64_t p50_us, p95_us, p99_us, max_us; /* of answered requests, from the intended moment */
    int64_t span_us;                        /* from the first send to the last answer */
    int64_t issuing_us;                     /* from the first send to the last 201 */
};

void report_add(struct report *report, const struct load_stats *stats, uint32_t unresolved);
void report_attempts(struct report *report, const struct attempts *attempts);
void report_print(const struct report *report, const struct attempts *attempts);
void report_verdict(const struct verdict *verdict);
