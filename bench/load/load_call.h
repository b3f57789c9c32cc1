/* SPDX-License-Identifier: Apache-2.0 */
/* Writing HTTP requests, as load tools and those who judge services send them. */
#pragma once

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
