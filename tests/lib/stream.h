/* SPDX-License-Identifier: Apache-2.0 */
/* A steady stream of requests to one service, on a thread of its own: sent when they are due, however slow
 * the answers are, and measured from then. Phases of it are told apart by marks. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "bench/load/load_call.h"

enum { STREAM_CONNECTIONS = 64, STREAM_LATENCIES_MAX = 200000 };

struct stream {
    /* Set by the caller, who zeroes the rest. */
    const char *name, *token;                                      /* borrowed */
    void (*write)(uint64_t number, struct load_call_request *ret); /* on the stream's thread */
    int wanted_status;
    _Atomic int64_t rate; /* per second, may be changed at any time; 0 ends it */
    /* Grow while it runs. */
    _Atomic uint64_t good, bad;
    _Atomic int bad_status; /* of one of the bad; where there was no answer, minus its enum load_outcome */
    atomic_size_t latencies_count;
    /* The stream's own. */
    struct target target;
    uint64_t number;
    int64_t due_us;
    int64_t latencies[STREAM_LATENCIES_MAX]; /* microseconds, in the order of the answers */
    pthread_t thread;
};

/* What fails here fails the test. */
void stream_start(struct stream *stream, const char *url, int64_t rate);
/* Ends it, waits for what is under way and fails the test where an answer was not as wanted. */
void stream_stop(struct stream *stream);

/* So many answers until now; latencies from one mark to the next are a phase. */
size_t stream_mark(const struct stream *stream);
/* What at least per_mille thousandths of the answers between two marks did not exceed. */
int64_t stream_percentile_us(const struct stream *stream, size_t from, size_t to, unsigned per_mille);
/* Prints the percentiles of a phase that is over. */
void stream_print(const struct stream *stream, const char *phase, size_t from, size_t to);
