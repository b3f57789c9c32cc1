/* SPDX-License-Identifier: Apache-2.0 */
/* How a read gets its answer: from the copies in process, from a load that is under way, or by a load of its
 * own.
 *
 *   copy fresh                        answered at once, on the HTTP thread
 *   copy stale                        the same, and one reader has it loaded anew behind its back
 *   copy known to be overtaken        the first reader waits for the load, others get the copy meanwhile
 *   no copy, or one from before the   waits for the load that is under way, or leads one
 *     reader's Consistency-Token
 *   the load failed                   a copy that is kept for this, marked as such; else a problem
 */
#pragma once

#include "query-service/cache/cache.h"
#include "query-service/cache/hot.h"
#include "query-service/cache/invalidation.h"
#include "query-service/cache/single_flight.h"
#include "query-service/http/respond.h"
#include "query-service/load/loader.h"

struct read_through_options {
    size_t cache_bytes, waiting_max;
    struct entry_life life;
};

struct read_through {
    struct read_through_options options;
    struct cache *cache;
    struct invalidation changes;
    struct single_flight *flights;
    struct hot *hot;
    struct loader *loader; /* borrowed */
};

void read_through_init(struct read_through *reads, const struct read_through_options *options,
                       struct loader *loader);
void read_through_deinit(struct read_through *reads); /* after the loader has ended */

/* Takes the read over and answers its request: now, or later from another thread. On an HTTP thread, in the
 * handler of the request, with a query that was checked. Never blocks. */
void read_through_get(struct read_through *reads, struct read *read);
