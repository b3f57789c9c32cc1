/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that decide and commit. Each owns one connection and the queues of its share of the slices
 * (slice modulo number of committers). What arrives while a commit is under way is the next batch: no timer.
 */
#pragma once

#include "command-service/control.h"
#include "command-service/core/batch.h"
#include "command-service/early.h"
#include "command-service/queue.h"
#include "command-service/watch.h"
#include "common/base/crypto.h"
#include "common/bus.h"
#include "common/service.h"

struct committers;

struct committer_options {
    const char *database_url;
    uint8_t code_key[CRYPTO_KEY_BYTES];
    struct bus_publisher *bus; /* borrowed; NULL: no hints */
    struct control *control;   /* borrowed: quotas and the bound of queues */
    size_t count;              /* 1..SLICE_COUNT */
    size_t batch_max;          /* 1..BATCH_MAX */
    size_t queue_max;          /* per slice */
    struct early *early;       /* borrowed: told what was committed */
    struct watch *watch;       /* borrowed: told what plans are under way, asked which go badly */
};

struct committers *committers_start(const struct committer_options *options);
/* The inbox that commands of a slice go to. */
struct inbox *committers_inbox(struct committers *committers, int16_t slice);
/* What coupon codes are derived with; valid until committers_destroy. */
const uint8_t *committers_code_key(const struct committers *committers);
/* Closes the inboxes, finishes what is queued (bounded by the commands' own deadlines), joins the threads.
 * From here on the inboxes refuse what is offered. */
void committers_stop(struct committers *committers);
/* After committers_stop, when no HTTP thread can offer any more. */
void committers_destroy(struct committers *committers);
