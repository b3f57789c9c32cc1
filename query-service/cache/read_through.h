/* SPDX-License-Identifier: Apache-2.0 */
/* The cache that reads go through: a read gets its answer from an entry in process, from a load that is under
 * way, or by a load of its own.
 *
 *   entry fresh                       answered at once, on the HTTP thread
 *   entry stale                       the same, and one reader has it loaded anew behind its back
 *   entry known to be overtaken       the first reader waits for the load, others get the entry meanwhile
 *   no entry, one that is not true    waits for the load that is under way, or leads one
 *     any more, or one from before
 *     the reader's Consistency-Token
 *   the load failed                   an entry that is kept for this, marked as such; else a problem
 */
#pragma once

#include "query-service/cache/cache.h"
#include "query-service/cache/hot.h"
#include "query-service/cache/invalidation.h"
#include "query-service/cache/single_flight.h"
#include "query-service/control.h"
#include "query-service/http/respond.h"
#include "query-service/load/loader.h"

struct read_through {
    size_t cache_bytes;
    struct cache *cache;
    struct invalidation changes;
    struct single_flight *flights;
    struct hot *hot;
    struct loader *loader;       /* borrowed, as what follows */
    struct control *control;     /* how long entries live */
    struct log_time *time;       /* what is true now */
    _Atomic uint64_t *log_epoch; /* which log is read now: entries of another are dead */
};

/* The caller fills in what is borrowed. */
void read_through_init(struct read_through *reads, size_t cache_bytes);
void read_through_deinit(struct read_through *reads); /* after the loader has ended */

/* The instant of a request, by both clocks, for what follows. */
struct entry_moment read_through_moment(const struct read_through *reads);
/* Answers the request where there is a fresh entry of what is asked; false: nothing was done. On an HTTP
 * thread, with a query that was checked; allocates nothing that is kept. */
bool read_through_hit(struct read_through *reads, struct http_request *request, const struct query *query,
                      struct entry_moment *moment);
/* Takes the read over and answers its request: now, or later from another thread. On an HTTP thread, in the
 * handler of the request, with a query that was checked. Never blocks. */
void read_through_get(struct read_through *reads, struct read *read, struct entry_moment *moment);
/* Loads what nobody asked for yet, unless the entry there is fresh; takes the read over, which has no
 * request. Any thread. */
void read_through_warm(struct read_through *reads, struct read *read);
