/* SPDX-License-Identifier: Apache-2.0 */
/* Building several slices, two at a time: while one waits for PostgreSQL or Redis, the other is folded. Of a
 * cluster they are on different servers as long as there are any. */
#pragma once

#include "projector/rebuild/builder.h"

enum { SIDE_BY_SIDE = 2 }; /* threads, each with a builder's memory and connections */

struct side_by_side {
    const struct shard *shard; /* whose slices they are */
    const char *redis_url;
    const struct redis_writer *writer; /* connected: says which server has which slice */
    int64_t generation;
    const int64_t *limits; /* events of each slice */
    bool past;             /* only up to these */
    /* What one of them does now, and how many events of all slices are done; one call at a time. */
    void (*progress)(void *context, enum build_phase phase, int64_t events);
    void *context;
};

/* Returns the slices that were not built, whyever. What was written of them is left. */
unsigned build_side_by_side(const struct side_by_side *what, unsigned slices) MUST_USE;
