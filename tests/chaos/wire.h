/* SPDX-License-Identifier: Apache-2.0 */
/* One keep-alive connection whose two halves can be told apart: what was sent, and what came back. Nothing is
 * ever repeated behind the caller's back, because a history must know how often each request went out. One
 * thread at a time. */
#pragma once

#include "bench/load/http_response.h"
#include "bench/load/target.h"

enum wire_outcome {
    WIRE_ANSWERED,
    WIRE_UNSENT,    /* no connection: not one byte left, so nothing can have happened */
    WIRE_LOST,      /* the connection broke; it may have happened */
    WIRE_LATE,      /* no answer by the deadline; it may have happened or may still happen */
    WIRE_MALFORMED, /* what came back is no answer */
};

enum { WIRE_BODY_MAX = 256 * 1024 };

struct wire {
    const struct target *target; /* borrowed */
    int fd;                      /* -1: not connected */
    char *input;
    size_t input_len, input_size;
    enum wire_outcome state; /* of the request under way; WIRE_ANSWERED: no failure so far */
};

void wire_init(struct wire *wire, const struct target *target);
void wire_deinit(struct wire *wire);
/* Connects where there is no connection that can be used, and sends. Blocks until the deadline (monotonic)
 * at most. Follow with wire_receive, whatever happened. */
void wire_send(struct wire *wire, struct span request, int64_t deadline_us);
/* The answer's spans are valid until the next wire_send. */
enum wire_outcome wire_receive(struct wire *wire, int64_t deadline_us, struct http_response *ret) MUST_USE;
