/* SPDX-License-Identifier: Apache-2.0 */
/* A steady flow of one kind of request: every connection sends the next one as soon as it has its answer, for
 * a fixed time. What storm's crowd is not: nobody retries, no history is kept, only rates and latencies. */
#pragma once

#include "bench/load/load_call.h"

/* Where this stands in key, body or path of a request, each request gets its own number in its place. The
 * numbers are spread over the whole range, because ascending ones would flatter every index. */
#define FLOW_NUMBER "##########"
enum { FLOW_NUMBER_DIGITS = sizeof FLOW_NUMBER - 1 };

struct flow_options {
    const struct target *target;
    struct load_call_request request;
    const char *const *paths; /* taken in turns instead of request.path; NULL: that one */
    size_t paths_count;
    int wanted_status;  /* answers with another one are counted as odd */
    int refused_status; /* but not those with this one, which have their own counts; 0: none */
    int64_t late_us;    /* answers later than this after they were sent are counted; 0: none */
    int64_t timeout_ms; /* of one request; 0: 5 s */
    size_t connections;
    int64_t per_second;    /* each request at its instant; 0: as soon as a connection is free */
    int64_t warm_ms;       /* not counted, first */
    int64_t measure_ms;    /* counted */
    uint64_t first_number; /* of the first request; the others count up from it */
};

struct flow_result {
    uint64_t wanted, odd, failed; /* answers in the measured time; failed: requests without an answer */
    uint64_t refused, late;       /* those of refused_status; any that was late */
    int odd_status;               /* one of the odd, 0 for none */
    double per_second;            /* of the wanted */
    int64_t p50_us, p99_us;       /* of the wanted, from when the connection was free to the answer */
    int64_t refused_p50_us, refused_p99_us; /* of the refused, from the sending of the request */
    uint64_t next_number;                   /* nobody has used this one or a later one */
    double client_busy;                     /* share of the wall time in which the load thread computed */
    double client_waited; /* share in which it could have but had no processor: the machine was full */
};

/* Blocks. false with errno where there is no epoll. One load thread: the caller's. */
bool flow_run(const struct flow_options *options, struct flow_result *ret) MUST_USE;

/* "client-bound": the load client itself is the limit; "machine-full": it waits for a processor that the
 * servers use; "" otherwise. */
const char *flow_limit(const struct flow_result *result);

/* The digits that stand for a number: a permutation of all numbers below 10^10. */
void flow_number_write(char at[FLOW_NUMBER_DIGITS], uint64_t number);
