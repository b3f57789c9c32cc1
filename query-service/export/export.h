/* SPDX-License-Identifier: Apache-2.0 */
/* All holders of a campaign as CSV, at one position of its slice's log, from PostgreSQL alone: an answer of a
 * million lines that nobody holds as a whole. A page is read when the client has taken the one before, by a
 * statement of its own: in between an export has neither a thread nor a connection nor a snapshot. It is
 * still of one position, because coupons up to there are in the log for good, and so is what had happened to
 * them.
 *
 * Exports have a lane of their own and a bound. One that cannot be finished is broken off, which its client
 * sees (common/http/http.h); so it is where the lines are not those that the log had at that position. */
#pragma once

#include "common/http/http.h"
#include "query-service/load/query.h"
#include "query-service/load/worker_pool.h"

struct exports;

struct exports_options {
    const struct shard *shard;         /* whose campaigns it has; borrowed */
    int64_t timeout_ms;                /* for one statement */
    int64_t running_max;               /* exports at once; beyond: 503 */
    int64_t deadline_ms;               /* of a whole export */
    const _Atomic uint64_t *log_epoch; /* changes when the log is another one; borrowed */
    struct code_key code_key;
};

struct exports *exports_create(const struct exports_options *options); /* does not connect */
void exports_start(struct exports *exports);   /* once, before anything is submitted */
void exports_stop(struct exports *exports);    /* breaks off what runs; once */
void exports_destroy(struct exports *exports); /* after exports_stop and the HTTP server's end */

/* One export; the caller fills in `query`: campaign_id, tokens, past, now_us. */
struct export;
struct export *export_create(int64_t now_us);
struct query *export_query(struct export *export);
void export_destroy(struct export *export); /* of one that was not submitted; accepts NULL */

/* Takes export and request over; the first line is sent by `first_us`, monotonic, or a problem. From an HTTP
 * thread. */
void exports_submit(struct exports *exports, struct http_request *request, struct export *export,
                    int64_t first_us);
