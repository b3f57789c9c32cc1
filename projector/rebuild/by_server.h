/* SPDX-License-Identifier: Apache-2.0 */
/* Building slices side by side where Redis is several servers: a thread for each server that has some, one
 * slice at a time, so that each server needs room for one slice more and none waits for another. */
#pragma once

#include "projector/rebuild/builder.h"

enum { SIDE_BY_SIDE_MAX = 4 }; /* threads, each with a builder's memory and connections */

struct by_server {
    const struct shard *shard; /* whose slices they are */
    const char *redis_url;
    const struct redis_writer *writer; /* connected: says which server has which slice */
    int64_t generation;
    const int64_t *limits; /* events of each slice */
    bool past;             /* only up to these */
    /* How many events of all slices are done; one call at a time, by any of the threads. */
    void (*progress)(void *context, int64_t events);
    void *context;
};

/* Returns the slices that were not built, whyever. What was written of them is left. False in *ret_begun:
 * there is one server, and nothing was done. */
unsigned build_by_server(const struct by_server *what, unsigned slices, bool *ret_begun);
