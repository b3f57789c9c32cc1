/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that vanished where nothing happens any more. What a batch builds on, the script misses at once, and a
 * refresh misses the rest of what every slice has; a chunk of coupons or holders, a bucket of users or a
 * campaign that no later event touches would stay away until a rebuild, and its readers be left to
 * PostgreSQL. So whoever leads walks through the log, slowly and for ever, and asks Redis whether the keys
 * are there that each event must have left. Where one is not, the slice is replayed, as after any other hole.
 */
#pragma once

#include "projector/run/applier.h"

/* All zero: nothing was looked at yet. */
struct scrub {
    struct scrub_slice {
        int64_t after;   /* how far the walk is; 0: at the start */
        int64_t rest_ms; /* how long it was left alone after the last hole; 0: it was whole since */
        int64_t rest_us; /* monotonic: not looked at before */
    } slices[SLICE_COUNT];
    int16_t slice;   /* whose turn it is */
    int64_t next_us; /* monotonic: not before */
};

/* For whoever leads, between rounds, with nothing on its way. Where it is time for it looks at one page of
 * one slice: one statement to PostgreSQL, one exchange with Redis. `idle`: the last round found nothing to
 * do; otherwise it is time less often. `now_us`: PostgreSQL's clock. Anything but PG_OK is PostgreSQL's
 * trouble; Redis's is left to the next write. */
enum pg_status scrub_turn(struct scrub *scrub, struct pg *pg, struct applier *applier, bool idle,
                          int64_t now_us, int64_t deadline_us) MUST_USE;
