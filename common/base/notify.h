/* SPDX-License-Identifier: Apache-2.0 */
/* What a service tells the service manager that started it: sd_notify(3)'s protocol, one datagram per message
 * to the socket that NOTIFY_SOCKET names. Without one everything here does nothing.
 *
 * The watchdog (WATCHDOG_USEC) is fed by the loops that do the work, not by a thread of its own, which would
 * live on beside a loop that hangs: each loop beats once a turn, and the loop whose beat finds that it is
 * time tells the manager that the service is alive, but only while none of the others has missed its beats.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/base/bytes.h"

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. Call in main, before threads start. */
void notify_setup(void);
/* Sends lines of NAME=value, "READY=1". Lost where the manager does not take them at once; never waits. From
 * any thread. */
void notify_send(const char *format, ...) PRINTF_LIKE(1, 2);

/* Of one loop that must go round: at the latest after half the watchdog's time. Embed it where the loop is.
 */
struct heartbeat {
    LIST_ENTRY(heartbeat) others;
    _Atomic int64_t beat_us; /* monotonic, the last one */
};

void heartbeat_begin(struct heartbeat *heartbeat);
void heartbeat_end(struct heartbeat *heartbeat); /* from now on nobody misses it */
void heartbeat_beat(struct heartbeat *heartbeat, int64_t now_us);
