/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about what happened, answered from the log alone: the history of a coupon or a campaign, the
 * audit of everything that steers, the coupons of an order, and what would have been decided for a user at an
 * instant. They are rare and asked by people, so they have a thread, connections and a bound of their own,
 * and their answers are never kept: a slow one is in nobody's way but its own. */
#pragma once

#include "common/http/http.h"
#include "events/shards.h"
#include "query-service/load/query.h"
#include "query-service/load/worker_pool.h"

enum history_kind {
    HISTORY_COUPON,   /* query.coupon: its issue and what happened to it since, oldest first */
    HISTORY_CAMPAIGN, /* query.campaign_id: what steered it, oldest first: not what became of its coupons */
    HISTORY_AUDIT,    /* all that steers, of all slices, newest first */
    HISTORY_ORDER,    /* query.order_id: coupons that it reserved or redeemed, as they are now */
    HISTORY_DECISION, /* query.campaign_id, query.user_id, query.past: what would have been decided then */
};

/* One question; the caller fills in `query` and hands it over. */
struct question {
    struct work_item item; /* first, so that the pool's item is the question */
    enum history_kind kind;
    struct query query;
    struct http_request *request;
};
struct question *question_create(enum history_kind kind, int64_t now_us);
void question_destroy(struct question *question); /* accepts NULL */

struct history;

struct history_options {
    const struct shards *shards; /* borrowed */
    int64_t timeout_ms; /* for one statement: the server refuses then, and the client waits a little longer */
    int64_t past_events_max;         /* as of the reads with as_of */
    const struct code_key *code_key; /* borrowed: codes of coupons are made with it */
};

struct history *history_create(const struct history_options *options); /* does not connect */
void history_start(struct history *history);   /* once, before anything is submitted */
void history_stop(struct history *history);    /* answers what is queued; once */
void history_destroy(struct history *history); /* after history_stop */

/* Takes question and request over and answers by the question's deadline. From an HTTP thread. */
void history_submit(struct history *history, struct http_request *request, struct question *question);
