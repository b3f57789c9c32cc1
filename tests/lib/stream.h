/* SPDX-License-Identifier: Apache-2.0 */
/* A steady stream of requests to one service, on a thread of its own: sent when they are due, however slow
 * the answers are, and measured from then. Phases of it are told apart by marks. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "bench/load/load_call.h"

enum { STREAM_CONNECTIONS = 64, STREAM_ANSWERS_MAX = 200000 };

/* One request and what became of it, times monotonic. */
struct stream_answer {
    int64_t due_us, sent_us, done_us;
    int status; /* where there was no answer, minus its enum load_outcome */
};

struct stream {
    /* Set by the caller, who zeroes the rest. */
    const char *name, *token;                                      /* borrowed */
    void (*write)(uint64_t number, struct load_call_request *ret); /* on the stream's thread */
    int wanted_status;
    size_t connections;   /* 0: STREAM_CONNECTIONS */
    _Atomic int64_t rate; /* per second, may be changed at any time; 0 ends it */
    /* Grow while it runs. */
    _Atomic uint64_t good, bad;
    _Atomic int bad_status; /* of one of the bad */
    atomic_size_t answers_count;
    /* The stream's own. */
    struct target target;
    uint64_t number;
    int64_t due_us;
    struct stream_answer
        answers[STREAM_ANSWERS_MAX]; /* in the order of the answers; later ones are counted only */
    pthread_t thread;
};

/* What fails here fails the test. */
void stream_start(struct stream *stream, const char *url, int64_t rate);
/* Ends it and waits for what is under way. */
void stream_end(struct stream *stream);
/* The same, and fails the test where an answer was not as wanted. */
void stream_stop(struct stream *stream);

/* So many answers until now; those from one mark to the next are a phase. */
size_t stream_mark(const struct stream *stream);
/* What at least per_mille thousandths of the answers between two marks did not exceed. */
int64_t stream_percentile_us(const struct stream *stream, size_t from, size_t to, unsigned per_mille);
/* Prints the percentiles of a phase that is over. */
void stream_print(const struct stream *stream, const char *phase, size_t from, size_t to);
