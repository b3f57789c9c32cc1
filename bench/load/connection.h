/* SPDX-License-Identifier: Apache-2.0 */
/* One keep-alive connection, blocking with a deadline, whose two halves can be told apart: what was sent, and
 * what came back. connection_send and connection_receive repeat nothing behind the caller's back, because a
 * history must know how often each request went out. One thread at a time. */
#pragma once

#include "bench/load/http_response.h"
#include "bench/load/target.h"

enum exchange {
    EXCHANGE_ANSWERED,
    EXCHANGE_UNSENT,    /* no connection: not one byte left, so nothing can have happened */
    EXCHANGE_LOST,      /* the connection broke; it may have happened */
    EXCHANGE_LATE,      /* no answer by the deadline; it may have happened or may still happen */
    EXCHANGE_MALFORMED, /* what came back is no answer */
};

enum { CONNECTION_BODY_MAX = 256 * 1024 };

struct connection {
    const struct target *target; /* borrowed */
    int fd;                      /* -1: not connected */
    char *input;
    size_t input_len, input_size;
    enum exchange state; /* of the request under way; EXCHANGE_ANSWERED: no failure so far */
};

void connection_init(struct connection *connection, const struct target *target);
void connection_deinit(struct connection *connection);
/* Connects where there is no connection that can be used, and sends. Blocks until the deadline (monotonic)
 * at most. Follow with connection_receive, whatever happened. */
void connection_send(struct connection *connection, struct span request, int64_t deadline_us);
/* The answer's spans are valid until the next connection_send. */
enum exchange connection_receive(struct connection *connection, int64_t deadline_us,
                                 struct http_response *ret) MUST_USE;
/* Everything before the body of the answer that was received last, with its status line; valid as long as the
 * answer is. */
struct span connection_head(const struct connection *connection);

/* Both halves, for single calls before and after a load; once more, at once, where a connection that had been
 * used before turns out to be closed. So the request must be repeatable (GET, or with an Idempotency-Key). */
enum exchange connection_call(struct connection *connection, struct span request, int64_t deadline_us,
                              struct http_response *ret) MUST_USE;
const char *exchange_describe(enum exchange exchange); /* for a message */
