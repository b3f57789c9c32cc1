/* SPDX-License-Identifier: Apache-2.0 */
/* The feed: GET /v1/events, the log of a slice as JSON. Gapless and resumable, because positions are (I5):
 * whoever passes `next` of one answer as `after` of the following call sees every event once, in order.
 *
 * One thread with one connection to PostgreSQL serves all followers, so they can never take the connections
 * of the other reads. Who waits for news costs neither: he is an entry in a list. Of the slices somebody
 * waits for, one statement for all reads the heads, when a hint comes or every FEED_POLL_MS; followers that
 * ask for the same share one read, and several reads one exchange. Each exchange has a deadline, and after
 * one that failed nobody asks for a while: so however many follow and however PostgreSQL is, each is answered
 * at the latest one exchange after its time. It also notices when the log is not the one it was
 * (log_identity.h). With several shards each has a feed.
 */
#pragma once

#include "common/http/http.h"
#include "events/codec.h"
#include "events/shards.h"

enum {
    FEED_LIMIT_DEFAULT = 100,
    FEED_LIMIT_MAX = 1000,
    FEED_WAIT_MAX_S = 20,
    FEED_POLL_MS = 150,
};

struct feed_query {
    int16_t slice;
    int64_t after, limit, wait_s;
    enum event_type type; /* EVENT_TYPE_END: any */
    char campaign_id[CAMPAIGN_ID_MAX + 1];
    size_t campaign_id_len; /* 0: any */
    bool control; /* who asks may see the control stream's events, others only that there are some */
};

struct feed;

struct feed_options {
    const struct shard *shard; /* whose slices it has; borrowed */
    int64_t timeout_ms, waiting_max;
    void (*tick)(void *context);     /* about twice a second on the feed's thread: for gauges; NULL: not */
    void (*replaced)(void *context); /* the log is another one than before; on the feed's thread */
    void *context;
};

struct feed *feed_create(const struct feed_options *options);
void feed_start(struct feed *feed); /* once, before anything is submitted */
/* From now on nobody waits for news: answers come at once, with what there is. For the time in which a
 * service that is to end still serves. */
void feed_retire(struct feed *feed);
/* Answers who is still there, and ends the thread; who comes after that is refused. Once. */
void feed_stop(struct feed *feed);
void feed_destroy(struct feed *feed); /* after feed_stop; nobody may submit any more */

/* Takes the request over and answers it, at the latest after wait_s and a read. From an HTTP thread. */
void feed_submit(struct feed *feed, struct http_request *request, const struct feed_query *query);
void feed_wake(struct feed *feed, int16_t slice); /* there may be news; any thread */
size_t feed_waiting(struct feed *feed);
/* The head of a slice when it was last read, -1: not yet. Any thread. */
int64_t feed_head(struct feed *feed, int16_t slice);
