/* SPDX-License-Identifier: Apache-2.0 */
/* The appending of issued coupons to the log without HTTP: the statements that the command service sends for
 * one batch, in its two round trips, over one connection. The statements are a copy of those in
 * command-service/store/store.c, because a benchmark may not include a service; what the service does besides
 * (parsing, deciding, answering) is not in it. Encoding, ids and the hash chain are the real ones. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/pg/pg.h"

struct replay_options {
    const char *url; /* acts as firstcome_command */
    const char *campaign_id;
    int16_t slice;
    int64_t first_user; /* number of the first user; the others count up */
    int64_t events;
    int64_t per_batch;  /* at most REPLAY_BATCH_MAX */
    bool plain;         /* only insert events: no lock, no probes, no other tables, one round trip */
    int64_t plain_from; /* plain: position before the first event */
};
enum { REPLAY_BATCH_MAX = 1024 };

struct replay_result {
    double us_per_event;
    double load_share; /* of the time spent waiting for the first round trip (lock and probes) */
};

/* Appends the events, in whole batches. A failure ends the process with status 2. */
void replay_run(const struct replay_options *options, struct replay_result *ret);

extern const struct pg_statement replay_statements[]; /* for the test */
extern const size_t replay_statements_count;
