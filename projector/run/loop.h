/* SPDX-License-Identifier: Apache-2.0 */
/* The projector's one working thread: takes the lead or stands by, asks the log for what is new, has it
 * applied. Owns the conversation with PostgreSQL; the one with Redis is the applier's. */
#pragma once

#include "common/service.h"
#include "events/shards.h"
#include "projector/run/applier.h"
#include "projector/run/lead.h"
#include "projector/run/prewarm.h"
#include "projector/run/repair.h"
#include "projector/run/wakeup.h"

struct projector_options {
    int64_t poll_ms; /* between looks at the log when no hint comes */
    int64_t pace_ms; /* least time between two rounds unless there is a backlog */
    int64_t batch_events;
};

struct projector {
    struct projector_options options;
    const struct shard *shard;               /* borrowed */
    struct pg *pg;                           /* borrowed */
    struct hints *hints;                     /* borrowed */
    const struct projector_metrics *metrics; /* borrowed */
    struct repair *repair;                   /* borrowed */
    struct log_reader reader;
    struct leader leader;
    struct applier applier;
    struct prewarm prewarm;
    struct backoff store_backoff;
    bool store_trouble_logged;
    int64_t elect_at_us, refresh_at_us, log_level_at_us; /* monotonic */
    int64_t store_now_us;                                /* PostgreSQL's clock in the last round */
    bool current_once;                                   /* reached the head since it leads */
    struct service_part *store_part, *redis_part, *models_part;
};

/* What it works with; all borrowed for its life. */
struct projector_means {
    const struct shard *shard; /* whose log it follows */
    struct pg *pg;
    struct redis_writer *writer;
    struct hints *hints;
    const struct projector_metrics *metrics;
    struct repair *repair;
    struct bus_publisher *bus; /* whom it tells what changed; NULL: nobody */
};

void projector_init(struct projector *projector, const struct projector_means *means,
                    const struct projector_options *options);
void projector_deinit(struct projector *projector);

/* Runs until service_stopping(); then finishes what is in Redis's hands and gives up the lead. hints_wake()
 * makes it look at once. */
void projector_run(struct projector *projector);
