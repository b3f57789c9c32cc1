/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about what happened, answered from the log alone: the history of a coupon or a campaign, the
 * audit of everything that steers, and what would have been decided for a user at an instant. They are rare
 * and asked by people, so they have threads, connections and a bound of their own, and are never kept: a slow
 * one is in nobody's way but its own. */
#pragma once

#include "common/http/http.h"
#include "query-service/load/query.h"

enum history_kind {
    HISTORY_COUPON,   /* query.coupon: its issue and what happened to it since, oldest first */
    HISTORY_CAMPAIGN, /* query.campaign_id: what happened to it besides issuing and what became of coupons,
                         oldest first */
    HISTORY_AUDIT,    /* all that steers, of all slices, newest first */
    HISTORY_DECISION, /* query.campaign_id, query.user_id, query.past: what would have been decided then, and
                         why */
};

struct history;

struct history_options {
    const char *database_url;
    int64_t timeout_ms;      /* for one statement; the server refuses before it */
    int64_t past_events_max; /* as of the reads with as_of */
    int64_t queue_max;       /* questions waiting; beyond: 503 overloaded */
};

struct history *history_create(const struct history_options *options);
void history_start(struct history *history);   /* once, before anything is submitted */
void history_stop(struct history *history);    /* answers what is queued, refuses what comes later; once */
void history_destroy(struct history *history); /* after history_stop */

/* Takes the request over and answers it by the deadline (monotonic). `query` is copied. From an HTTP thread.
 */
void history_submit(struct history *history, struct http_request *request, enum history_kind kind,
                    const struct query *query, int64_t deadline_us);
