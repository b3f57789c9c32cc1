/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that decide and commit: one for each slice, with a connection and a queue of its own, so that a
 * slice whose lock is held, whose rows are bad or whose callers are many costs the others nothing (I14). What
 * arrives while a commit is under way is the next batch: no timer. Beside them the sweeper, and one thread
 * that answers whatever is queued beyond its deadline, so that no answer waits for an exchange with the store
 * (I11). */
#pragma once

#include "command-service/control.h"
#include "command-service/early.h"
#include "command-service/queue.h"
#include "command-service/quotas.h"
#include "command-service/watch.h"
#include "common/base/crypto.h"
#include "common/bus.h"
#include "common/service.h"
#include "events/shards.h"

struct committers;

struct committer_options {
    const struct shards *shards; /* borrowed */
    struct quotas *quotas;       /* borrowed: what other shards have counted */
    struct code_key code_key;
    struct bus_publisher *bus; /* borrowed; NULL: no hints */
    struct control *control;   /* borrowed: quotas and the bound of queues */
    size_t batch_max;          /* 1..BATCH_MAX */
    size_t queue_max;          /* per slice */
    struct early *early;       /* borrowed: told what was committed */
    struct watch *watch;       /* borrowed: told what plans are under way, asked which go badly */
};

struct committers *committers_start(const struct committer_options *options);
/* The queue that commands of a slice go to. */
struct queue *committers_queue(struct committers *committers, int16_t slice);
/* Visits what is in flight under a key, of any slice; see queue_in_flight. */
void committers_in_flight(struct committers *committers, const uint8_t key_hash[REQUEST_KEY_BYTES],
                          void (*visit)(const struct command *command, void *context), void *context);
/* What coupon codes are derived with; valid until committers_destroy. */
const struct code_key *committers_code_key(const struct committers *committers);
/* Closes the queues, finishes what is queued (bounded by the commands' own deadlines), joins the threads.
 * From here on the queues refuse what is offered. */
void committers_stop(struct committers *committers);
/* After committers_stop, when no HTTP thread can offer any more. */
void committers_destroy(struct committers *committers);
