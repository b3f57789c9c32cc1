/* SPDX-License-Identifier: Apache-2.0 */
/* The log's clock: what time it is for PostgreSQL, by whose clock commands are decided. Whether a campaign
 * has opened is asked of this clock, never of this host's, which may be off by half a minute without anybody
 * noticing. It is this host's monotonic clock plus an offset that each look at table control measures:
 * between sending and receiving, so it is known to within half a round trip. While PostgreSQL is away the
 * offset holds.
 *
 * No clock is believed without a second look: a reading that is more than a second away from what the offset
 * says counts only when two more in a row agree with it. Until PostgreSQL was heard for the first time this
 * host's wall clock has to do. Any thread. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct log_time {
    _Atomic int64_t offset_us; /* the log's clock minus the monotonic one */
    atomic_bool known;         /* PostgreSQL was heard */
    pthread_mutex_t lock;      /* guards what follows */
    int64_t error_us;          /* the offset is at most so wrong ... */
    int64_t measured_us;       /* ... then, monotonic; clocks drift apart since */
    int64_t suspected_us;      /* an offset that was measured and not believed */
    unsigned suspicions;       /* how many times in a row */
};

/* Both clocks of this host now. */
void log_time_init(struct log_time *time, int64_t wall_us, int64_t mono_us);
void log_time_deinit(struct log_time *time);
/* The log's clock at an instant of the monotonic one. */
int64_t log_time_us(const struct log_time *time, int64_t mono_us);
bool log_time_known(const struct log_time *time);
/* PostgreSQL said it was `wall_us` at some instant between these two. False where that is not believed yet.
 */
bool log_time_note(struct log_time *time, int64_t sent_us, int64_t received_us, int64_t wall_us);
