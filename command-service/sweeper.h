/* SPDX-License-Identifier: Apache-2.0 */
/* The sweep: notes in the log what is due by itself (tranches, ends, reservations that are over, release
 * plans that go badly). Decisions go by the instant and never wait for it, so nobody is owed its work.
 *
 * A thread with a connection of its own looks at one slice after the other and offers what it finds to the
 * slice's queue, where it travels in the next batch: it takes no lock and opens no transaction itself, so no
 * client waits for it. Bounded: at most SWEEP_SHARE of the time is spent looking, the server ends a look
 * after DUE_STATEMENT_MS, at most one look's worth of a slice is under way, and what its committer could not
 * carry out is set aside for a while, so that one row which cannot be read is not in the way of others. */
#pragma once

#include "command-service/control.h"
#include "command-service/queue.h"
#include "command-service/quotas.h"
#include "command-service/watch.h"
#include "events/shards.h"

struct sweeper;

/* One for each shard, so that one that is slow or away keeps nobody else's tranches waiting. */
struct sweeper_options {
    const struct shard *shard; /* borrowed */
    size_t number;             /* of the shard, in the map */
    struct quotas *quotas;     /* borrowed: told what the shard has counted */
    struct control *control;   /* borrowed */
    struct watch *watch;       /* borrowed */
    struct queue *queues[SLICE_COUNT];
};

struct sweeper *sweeper_start(const struct sweeper_options *options);
/* Joins the thread: offers nothing from here on. */
void sweeper_stop(struct sweeper *sweeper);
/* After every command of its was concluded. */
void sweeper_destroy(struct sweeper *sweeper); /* accepts NULL */

/* What became of one of its commands; the caller still owns it. Any thread. */
enum sweep_outcome {
    SWEEP_DONE,
    SWEEP_LATER,  /* not now: the store is slow or gone */
    SWEEP_FAILED, /* the store or the decision refuses this one */
};
void sweeper_conclude(struct sweeper *sweeper, struct command *command, enum sweep_outcome outcome);
