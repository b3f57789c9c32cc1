/* SPDX-License-Identifier: Apache-2.0 */
/* Refusing early: a crowd at a campaign that refuses everybody for good need not be asked into a transaction
 * to hear so. Only what cannot become untrue again is refused here:
 * - ended, closed, deleted: for good;
 * - sold out with all of its quantity issued: for EARLY_LEASE_MS from the instant it was read under the slice
 *   lock, because a raise of the quantity lets nobody in before that time has passed (docs/decisions.md);
 * - not started: until the start by PostgreSQL's clock, and for no longer than the lease at a time.
 * What a tranche, a release or a resume can change at any moment is decided properly.
 *
 * Who may have to be told something else is never refused here (I4): the holders, whose retries must get
 * their first answers. A Bloom filter has all of them before anybody is refused; since nothing more is
 * issued, it is made once.
 *
 * Knowledge comes from the batches that refuse; nobody polls. Bounded: EARLY_MAX campaigns, bytes_max for all
 * filters. Thread-safe. */
#pragma once

#include "command-service/core/batch.h"
#include "events/shards.h"

enum { EARLY_MAX = 64 };

struct early;

struct early_options {
    const struct shards *shards; /* borrowed */
    size_t bytes_max;            /* of all filters of holders together; 0: nothing is refused early */
};
struct early *early_start(const struct early_options *options);
void early_stop(struct early *early); /* accepts NULL; nobody may ask any more */

/* On an HTTP thread: the refusal and what to say with it, or NULL where the command must be decided properly.
 */
const struct problem *early_refusal(struct early *early, struct span campaign_id, struct span user_id,
                                    struct refusal_next *ret_next);
/* After a commit: what it refused. read_us: monotonic, from before the batch was loaded. */
void early_note_batch(struct early *early, const struct batch *batch, int64_t read_us);
