/* SPDX-License-Identifier: Apache-2.0 */
/* Reading from the query service in tests: requests that must reflect the whole log, walks through pages,
 * records of answers to compare later ones with, and ways to break Redis. A read that is answered with
 * something else than expected fails the test. */
#pragma once

#include "tests/lib/api.h"

enum { READS_MAX = 256 };

/* Answers by path, as they were. */
struct reads {
    struct api_client *api; /* borrowed */
    size_t count;
    struct read_record {
        char path[384];
        char *body;
    } records[READS_MAX];
};

void reads_init(struct reads *reads, struct api_client *api);
void reads_deinit(struct reads *reads);

/* GET that must not be answered from before what is in the log now: sends the heads of all slices as
 * Consistency-Tokens. */
struct http_answer reads_get(struct api_client *api, const char *path);
/* Of the past: with as_of. */
struct http_answer reads_at(struct api_client *api, const char *path, int64_t wall_us);
/* The ids and counts of a ranking, in order and with the ranks that they have: "popular 3, sooner 2". */
void reads_ranking(const struct json_doc *doc, struct buf *ret);
bool reads_is_from(const struct http_answer *answer, const char *source); /* by Cache-Status */
/* The same until the source answers, which it does before long where nothing is broken: a breaker that a busy
 * processor opened closes again. Whoever answers earlier is not looked at. */
struct http_answer reads_from(struct api_client *api, const char *path, const char *source);

/* Reads the path until Redis answers it (within a bound), and records it. */
void reads_record(struct reads *reads, const char *path);
/* The same for a list and all its pages; returns how many items there were. `path` has at least one
 * parameter. */
size_t reads_record_pages(struct reads *reads, const char *path);
/* Every recorded path answers 200 with the same body (but for "since", which time alone moves), each within
 * bound_ms, and by the source before long: a processor that was busy elsewhere may have opened a breaker or
 * kept a heartbeat from being written, which heals. source NULL: by anyone. Returns the longest time in ms.
 */
int64_t reads_compare(struct reads *reads, const char *source, int64_t bound_ms);

/* Redis answers every recorded path like this, and so does PostgreSQL when Redis has lost everything, and
 * Redis again when it is filled. */
void reads_compare_sources(struct reads *reads, int64_t bound_ms);

/* A metric of the query service, by its name and labels as /metrics writes them; it must be there. */
int64_t reads_metric(struct api_client *api, const char *name);
/* Stops the query service and starts it again, with the options that are in the environment now. */
void reads_restart_service(struct api_client *api);

/* One command to the stack's Redis as its administrator; it must succeed. Ends with NULL. Returns what an
 * integer reply says. */
int64_t reads_redis(struct stack *stack, ...);
/* A key of the live models of a slice, by what comes after "fc:<g>:{<slice>}:"; valid for seven more calls.
 */
const char *reads_key(struct stack *stack, int16_t slice, const char *rest);
/* Waits until Redis answers reads of all slices again. */
void reads_await_redis(struct api_client *api);
/* `projector prewarm`, again until the query service says that it keeps one more warm, or has been told
 * often. */
void reads_prewarm(struct api_client *api, const char *campaign);
