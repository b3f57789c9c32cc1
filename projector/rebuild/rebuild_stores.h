/* SPDX-License-Identifier: Apache-2.0 */
/* What all phases of a rebuild share: its state, its words, its sessions with the two stores. Only for
 * rebuild*.c. */
#pragma once

#include "projector/metrics.h"
#include "projector/rebuild/generations.h"
#include "projector/rebuild/progress_bar.h"
#include "projector/rebuild/rebuild.h"
#include "projector/run/leader.h"

enum { REBUILD_DEADLINE_MS = 5000 }; /* of one exchange with a store */

struct rebuild {
    const struct rebuild_options *options;
    struct pg *pg;   /* holds the rebuild's lock */
    struct pg *lead; /* holds the lead where nobody else has it: a session that must not be silent for long */
    struct model_writer *writer;
    struct projector_metrics metrics;
    struct generation generation;
    int64_t limits[SLICE_COUNT];
    struct leader leader;
    int64_t lead_until_us; /* monotonic: its session has said something not long before */
    struct report report;
};

/* Says why on standard error. Always false. */
bool PRINTF_LIKE(2, 3) rebuild_give_up(struct rebuild *rebuild, const char *format, ...);
void rebuild_moment(void); /* between two attempts */
int64_t rebuild_deadline(void);

/* Connects where it is not connected, and takes the lock of rebuilds: two at once would be in each other's
 * way. */
bool rebuild_connect_store(struct rebuild *rebuild);
bool rebuild_store_failed(struct rebuild *rebuild);
/* NULL, and said why, where Redis cannot be reached. Nothing may be on its way. */
struct redis *rebuild_connect_redis(struct rebuild *rebuild);
bool rebuild_redis_failed(struct rebuild *rebuild, enum redis_status status);

/* Takes the lead where nobody has it; whether it leads then is in rebuild->leader. */
bool rebuild_try_to_lead(struct rebuild *rebuild);
void rebuild_stop_leading(struct rebuild *rebuild);
/* Says something in the session that holds the lead, where one does: a silent leader is taken for dead. */
bool rebuild_keep_lead(struct rebuild *rebuild);
