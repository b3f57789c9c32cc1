/* SPDX-License-Identifier: Apache-2.0 */
/* Appending issued coupons to the log without HTTP, over one connection: with the command service's own core
 * and store, from a batch of commands to COMMIT; or, to compare with, as bare INSERTs of the same rows,
 * without a lock, a look at anything, other tables or the hash chain. Parsing requests and rendering answers
 * are in neither. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct append_options {
    const char *url; /* acts as firstcome_command */
    const char *campaign_id;
    int16_t slice;
    int64_t first_user; /* number of the first user; the others count up */
    int64_t events;
    int64_t per_batch;  /* at most APPEND_BATCH_MAX */
    bool plain;         /* bare INSERTs */
    int64_t plain_from; /* plain: position before the first event */
};
enum { APPEND_BATCH_MAX = 1024 };

struct append_result {
    double us_per_event;
    double load_share; /* of the time: the first round trip, which locks and looks */
};

/* Appends the events, in whole batches. A failure ends the process with status 2. */
void append_run(const struct append_options *options, struct append_result *ret);
