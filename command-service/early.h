/* SPDX-License-Identifier: Apache-2.0 */
/* Refusing early: once a campaign refuses everybody who holds nothing of it (sold out, paused, ended, not
 * started), a crowd need not be asked into a transaction to hear so. Cached knowledge only ever refuses, and
 * for at most EARLY_MS from the moment it was read.
 *
 * What keeps it true:
 * - Who holds a coupon of the campaign, or may, is never refused here: a retry of what took effect must get
 * its first answer (I4), and a holder is told already-issued. The holders are in a Bloom filter, which has
 * all of them before a refusal is published.
 * - Who comes with an Idempotency-Key that took effect in this process, for whatever user, is not either.
 * - The refusal is what campaign_issue_refusal() says, at both ends of the time it is used for.
 * - What this process itself changes about the campaign ends the refusal at once.
 * - With PostgreSQL gone nothing is renewed, and after EARLY_MS everybody is queued again.
 *
 * One thread (the keeper) reads the campaigns that are followed, all in one statement, and their new holders;
 * the request path asks nobody. Bounded: EARLY_MAX campaigns, bytes_max for all filters. Thread-safe. */
#pragma once

#include "command-service/core/batch.h"

enum { EARLY_MS = 100, EARLY_MAX = 64 };

struct early;

struct early_options {
    const char *database_url;
    size_t bytes_max; /* of all filters of holders together */
};
struct early *early_start(const struct early_options *options);
void early_stop(struct early *early); /* accepts NULL; nobody may ask any more */

/* On an HTTP thread: the refusal, or NULL where the command must be decided properly. */
const struct problem *early_refusal(struct early *early, struct span campaign_id, struct span user_id,
                                    const uint8_t key_hash[REQUEST_KEY_BYTES]);
/* After a commit: what took effect, which campaigns changed, and which refused many. */
void early_note_batch(struct early *early, const struct batch *batch);
