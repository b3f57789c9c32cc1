/* SPDX-License-Identifier: Apache-2.0 */
/* One chaos run from the first server to the verdict: a stack of its own, several command services, clients
 * and faults for so many seconds, healing, asking again what is unknown, reading the log, judging. */
#pragma once

#include <stdio.h>

#include "tests/chaos/judge.h"

struct chaos_options {
    uint64_t seed;
    int64_t seconds; /* of asking under faults; starting, healing and judging come on top */
    uint32_t services, clients;
    uint32_t shards;  /* PostgreSQL servers, each with its part of the slices; 0 is 1 */
    bool patroni;     /* each of them two machines under Patroni; wants tests/availability/in_namespaces */
    bool edge;        /* all goes through HAProxy, which chooses among the services, two of each kind */
    const char *keep; /* directory for logs and history where something is violated; NULL: not kept */
};

struct chaos_outcome {
    uint64_t violations, answers, faults; /* answers: every 2xx that was compared with the log */
};

/* Blocks; prints progress and the report to `out`. What keeps it from running (no server, no program) ends
 * the process. Once at a time. */
struct chaos_outcome chaos_run(const struct chaos_options *options, FILE *out);
