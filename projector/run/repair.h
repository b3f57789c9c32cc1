/* SPDX-License-Identifier: Apache-2.0 */
/* Slices that are to be made anew: a reader missed a key, or the models are of another log. A thread of its
 * own does it, with connections of its own (rebuild/builder.h), while the leader goes on; the leader finds
 * the new root when it is there. A slice rests after each time for some times as long as it took, longer
 * while keys go on vanishing: where they vanish for good, making them for good would help nobody. */
#pragma once

#include "projector/metrics.h"
#include "projector/rebuild/builder.h"

struct repair;

/* NULL with the reason when the URL of Redis does not parse. Starts the thread. Borrowed for its life. */
struct repair *repair_create(const char *database_url, const char *redis_url,
                             const struct projector_metrics *metrics, char *reason, size_t reason_size);
/* Stops what it does at the next page, and waits for that. Accepts NULL. */
void repair_destroy(struct repair *repair);

/* Bits of slices; of `foreign` ones readers may be taken back. Those that are asked for already, or that
 * rest, are asked for again in vain: ask until they are done. Any thread. */
void repair_ask(struct repair *repair, unsigned slices, unsigned foreign);
/* Keys of models that nobody needs are to be dropped. Any thread. */
void repair_drop(struct repair *repair);
