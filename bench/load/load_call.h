/* SPDX-License-Identifier: Apache-2.0 */
/* Writing HTTP requests, and a blocking client for single calls over one keep-alive connection: for what a
 * load tool does before and after its load. */
#pragma once

#include "bench/load/http_response.h"
#include "bench/load/target.h"

/* Borrowed texts. Absent spans are left out. */
struct load_call_request {
    const char *method, *path;
    struct span token;       /* Bearer */
    struct span key;         /* Idempotency-Key */
    struct span consistency; /* Consistency-Token */
    struct span body;        /* JSON */
};
void load_call_write(const struct target *target, const struct load_call_request *request, struct buf *out);

struct load_call {
    const struct target *target; /* borrowed */
    int fd;                      /* -1: not connected */
    size_t body_max;
    char *input;
    size_t input_len, input_size;
    const char *error; /* why the last call failed */
};

void load_call_init(struct load_call *call, const struct target *target, size_t body_max);
void load_call_deinit(struct load_call *call);
/* Sends and waits for the answer until the deadline (monotonic). Repeats once, at once, when a connection
 * that had been used before turns out to be closed; so requests must be repeatable (GET, or with an
 * Idempotency-Key). The answer is borrowed until the next call. false: there is none, see `error`. */
bool load_call_send(struct load_call *call, struct span request, int64_t deadline_us,
                    struct http_response *ret) MUST_USE;
