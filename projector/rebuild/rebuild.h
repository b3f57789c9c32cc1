/* SPDX-License-Identifier: Apache-2.0 */
/* The command rebuild: models made anew from the log while the old ones are in use.
 *
 * Whole: writes the next generation beside the live one (replay.h), counts it against the log
 * (model_counts.h), calls it ready, and whoever leads hands over to it (handover.h); where nobody leads, the
 * rebuild takes the lead for that moment. Then what nobody needs is dropped (sweep.h). All progress is in
 * Redis with the generation, so a rebuild that was killed is gone on with by running it again.
 *
 * Of one campaign: its slice is replayed in the live generation. The slice is what has a checkpoint, so
 * nothing smaller can be made anew exactly; its readers are answered from PostgreSQL for so long.
 *
 * Up to a time or position: a generation of its own, which is never made live. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rebuild_options {
    const char *database_url, *redis_url;
    const char *campaign;              /* "": all */
    const char *to_time, *to_position; /* "": the head of the log */
    const char *generation;            /* name; "": "rebuild", or "past" for a look at the past */
    bool drop;                         /* drops the generation of that name instead */
    bool json;
    int64_t batch_events;
};

/* Returns the exit status: 0 done; 1 not, and standard error says why. */
int rebuild_run(const struct rebuild_options *options);

/* Why the options do not fit together; NULL when they do. Pure. */
const char *rebuild_options_fault(const struct rebuild_options *options);
