/* SPDX-License-Identifier: Apache-2.0 */
/* Reading HTTP/1.1 answers, strictly: what a service of this project sends and nothing more lenient, because
 * the tools that use it are tests. Length by Content-Length only. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"

enum { RESPONSE_HEAD_MAX = 8192 };

struct http_response {
    int status;            /* 200..599 */
    struct span body;      /* borrowed from the input; empty where there is none */
    struct span token;     /* Consistency-Token, absent where there is none */
    struct span cache;     /* Cache-Status, the same */
    int64_t retry_after_s; /* Retry-After in seconds, 0 where there is none */
    bool replayed;         /* Idempotency-Replayed: true */
    bool close;            /* Connection: close */
};

enum response_progress {
    RESPONSE_NEED_MORE, /* what is there is a beginning */
    RESPONSE_COMPLETE,
    RESPONSE_MALFORMED, /* no answer, or one this client cannot delimit; the connection is of no more use */
};

/* Looks at everything that was received since the request was sent. When RESPONSE_COMPLETE, *used is how many
 * bytes the answer has. `body_max` bounds what Content-Length may say. */
enum response_progress http_response_parse(struct span input, size_t body_max, struct http_response *ret,
                                           size_t *used) MUST_USE;
