/* SPDX-License-Identifier: Apache-2.0 */
/* Many readers at once: GETs to one service over many connections, from the calling thread, until all are
 * answered. From any thread. */
#pragma once

#include "bench/load/http_load.h"

enum { RUSH_PATH_MAX = 160 };

struct rush_options {
    const char *url, *token;
    size_t requests, connections;
    /* Monotonic: nobody asks before, and all are connected then; 0: as soon as a connection is there. */
    int64_t not_before_us;
    const char *path; /* of all; NULL: */
    void (*path_of)(void *context, size_t number, char ret[RUSH_PATH_MAX]);
    /* Each answer, as they come; NULL: nobody looks. `number` from 0, in the order of sending. */
    void (*answered)(void *context, size_t number, const struct load_result *result);
    void *context;
};

struct rush_result {
    size_t answered, lost; /* lost: no answer, or none within a minute or two */
    int64_t longest_us;    /* from sending to the answer */
};

struct rush_result rush_run(const struct rush_options *options);
