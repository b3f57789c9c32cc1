/* SPDX-License-Identifier: Apache-2.0 */
/* What the shim in a service and the test outside of it share: a mapped file. The test says which call fails,
 * the shim counts the calls of each kind from then on. */
#pragma once

#include <stdatomic.h>

enum fault_kind {
    FAULT_NONE,
    FAULT_MALLOC,  /* malloc, calloc, realloc: NULL */
    FAULT_FSYNC,   /* fsync, fdatasync: EIO */
    FAULT_WRITE,   /* write, send, sendto, sendmsg, writev: EIO or ECONNRESET, and nothing was written */
    FAULT_CONNECT, /* ECONNREFUSED */
    FAULT_ACCEPT,  /* accept, accept4: EMFILE */
    FAULT_CLOCK,   /* clock_gettime(CLOCK_REALTIME): one reading a day ahead */
    FAULT_KINDS
};

struct fault_control {
    atomic_int armed;      /* which kind; FAULT_NONE: only count */
    atomic_long countdown; /* calls until the one that fails */
    atomic_int injected;   /* it has failed */
    atomic_long calls[FAULT_KINDS];
};
