/* SPDX-License-Identifier: Apache-2.0 */
/* The load engine: many keep-alive connections to one target, driven by one thread with epoll. It connects,
 * reconnects with back-off, sends what a driver hands it, one request at a time per connection, and reports
 * each outcome exactly once. What is sent, to whom, how often and why is the driver's.
 *
 * Threads: one thread creates, runs and destroys a load. Several loads may run in several threads. */
#pragma once

#include <stdbool.h>

#include "bench/load/http_response.h"
#include "bench/load/target.h"

struct load_options {
    const struct target *target; /* borrowed for the load's life */
    size_t connections;          /* the caller made sure of as many file descriptors */
    int64_t timeout_ms; /* for one connect, and for one request from its first byte to the answer's last */
    size_t body_max;    /* of an answer; a longer one is malformed */
};

enum load_next {
    LOAD_SEND, /* the job was filled in and its request written */
    LOAD_WAIT, /* nothing to send now */
    LOAD_END,  /* nothing to send any more, ever */
};

struct load_job {
    uint64_t tag;   /* comes back with the result */
    int64_t due_us; /* LOAD_SEND: since when it should have been sent, 0: as soon as a connection was free;
                       LOAD_WAIT: ask again then at the latest, INT64_MAX: after the next result */
};

enum load_outcome {
    LOAD_ANSWERED,
    LOAD_LOST,      /* the connection broke; the request may have taken effect */
    LOAD_TIMED_OUT, /* so may it here */
    LOAD_MALFORMED, /* something came back that is no answer; the connection was closed */
};

struct load_result {
    uint64_t tag;
    enum load_outcome outcome;
    struct http_response response; /* LOAD_ANSWERED; valid during the call */
    /* Monotonic. `intended_us` is when the request should have gone out: when it was due or, where that was
     * later, when its connection had become free (or began to connect). Latency counts from there, so that a
     * server that stalls cannot hide the requests it kept from being sent. `sent_us` is read before the first
     * byte goes out, `done_us` after the last one came in: A.done < B.sent means that A was over before B
     * began. */
    int64_t intended_us, sent_us, done_us;
};

struct load_driver {
    /* Called while at least one connection is free; `idle` says how many are. `request` is empty. */
    enum load_next (*next)(void *context, size_t idle, struct load_job *ret, struct buf *request);
    void (*done)(void *context, const struct load_result *result);
    void *context;
};

struct load_stats {
    uint64_t connects, connects_failed; /* made; refused, reset or timed out */
    uint64_t sent, answered;
    int64_t wall_us, cpu_us; /* of the run, and of its thread */
    int64_t run_delay_us; /* how long the thread was ready but had no processor; 0 where the kernel does not
                             tell */
    int errno_last;       /* of the last connection that failed, 0 for none */
};

enum { LOAD_REQUEST_MAX = 64 * 1024 };

struct load;
/* NULL with errno where there is no epoll. Connections begin with load_run. */
struct load *load_create(const struct load_options *options, const struct load_driver *driver) MUST_USE;
void load_destroy(struct load *load); /* accepts NULL */
/* Until the driver says LOAD_END and every request has its outcome, or until the deadline (monotonic): what
 * is under way then is LOAD_TIMED_OUT. Once. */
void load_run(struct load *load, int64_t deadline_us);
const struct load_stats *load_stats(const struct load *load);

/* Lifts the soft limit of file descriptors to what is needed; false where the hard limit is lower. */
bool load_allow_descriptors(size_t needed) MUST_USE;
