/* SPDX-License-Identifier: Apache-2.0 */
/* Slices that are to be made anew: a reader missed a key, or the models are of another log. A thread of its
 * own does it, with connections of its own (rebuild/builder.h), while the leader goes on; the leader finds
 * the new root when it is there. A slice rests after each time, because where keys vanish for good, making
 * them for good would help nobody. */
#pragma once

#include "projector/metrics.h"
#include "projector/rebuild/builder.h"

struct repair;

/* When a slice may be made anew. The rest is a second, and twice as long each time what was made did not hold
 * for as long as that; at most so long that it is a small part of the time, whatever it costs. Pure. */
struct repair_rest {
    int64_t ms, until_us; /* the last rest, and when it ends (monotonic) */
    int64_t made;         /* the generation that was made last; 0: none */
};
struct repair_done {
    int64_t asked_us, began_us, ended_us; /* monotonic */
    int64_t live;                         /* the generation in which something was missing */
    int64_t made;                         /* 0: it could not be made */
    bool in_vain;                         /* another generation was live already: nothing was done */
};
bool repair_rests(const struct repair_rest *rest, int64_t now_us);
void repair_rest(struct repair_rest *rest, const struct repair_done *done);

/* NULL with the reason when the URL of Redis does not parse. Starts the thread. Borrowed for its life. */
struct repair *repair_create(const struct shard *shard, const char *redis_url,
                             const struct projector_metrics *metrics, char *reason, size_t reason_size);
/* Stops what it does at the next page, and waits for that. Accepts NULL. */
void repair_destroy(struct repair *repair);

/* Bits of slices; of `foreign` ones readers may be taken back. `generations`: those in which something is
 * missing, by slice; where another one is live when its turn comes there is nothing to do. Those that are
 * asked for already, or that rest, are asked for again in vain: ask until they are done. Any thread. */
void repair_ask(struct repair *repair, unsigned slices, unsigned foreign,
                const int64_t generations[SLICE_COUNT]);
/* Keys of models that nobody needs are to be dropped. Any thread. */
void repair_drop(struct repair *repair);
