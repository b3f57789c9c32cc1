/* SPDX-License-Identifier: Apache-2.0 */
/* The command rebuild: models made anew from the log while the old ones are in use, slice by slice
 * (builder.h); each slice's readers see the new ones as soon as they are there, and the old ones are dropped.
 * So it needs room for one slice more. An interrupted rebuild is run again: slices that have switched have,
 * what else was written is dropped.
 *
 * Of one campaign: its slice, which is what has a checkpoint.
 *
 * Up to a time or position: a generation of its own, which is never made live. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "events/shards.h"

struct rebuild_options {
    const struct shards *shards; /* borrowed */
    const char *redis_url;
    const char *campaign;              /* "": all */
    const char *to_time, *to_position; /* "": the head of the log */
    const char *generation;            /* name; "": "rebuild", or "past" for a look at the past */
    bool drop;                         /* drops the generation of that name instead */
    bool json;
};

enum { REBUILD_DONE = 0, REBUILD_FAILED = 1, REBUILD_NO_ROOM = 2 };
/* Returns the exit status: REBUILD_DONE, or standard error says why not; with REBUILD_NO_ROOM Redis has not
 * the memory, and nothing of it was left there. */
int rebuild_run(const struct rebuild_options *options);

/* Why the options do not fit together; NULL when they do. Pure. */
const char *rebuild_options_fault(const struct rebuild_options *options);
