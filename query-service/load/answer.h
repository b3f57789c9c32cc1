/* SPDX-License-Identifier: Apache-2.0 */
/* What was found, as values: the same structs whether Redis or PostgreSQL said it, so that one renderer makes
 * the same bytes of both. Filtering and cutting lists to pages is here for the same reason. One thread at a
 * time. */
#pragma once

#include "query-service/load/query.h"

enum answer_outcome { ANSWER_FOUND, ANSWER_NO_CAMPAIGN, ANSWER_NO_COUPON };

enum {
    /* Entries a reader may add: a scan and the one after it. */
    ANSWER_ITEMS_MAX = QUERY_SCAN_MAX + 1,
    /* More than twice as many of the largest take, which a ranking by a window looks at: definitions of 8 KiB
     * each with their lists. */
    ANSWER_BYTES_MAX = 32 * 1024 * 1024,
};

/* Which members are filled depends on the query: campaigns for campaign lists and rankings (with their
 * counts, in order of rank), coupons for the lists of coupons and for a user in a campaign (in order of nth),
 * one of each for the validity of a coupon. */
struct answer {
    enum answer_outcome outcome;
    struct arena arena; /* owns every text below */
    struct campaign *campaigns;
    struct coupon *coupons;
    int64_t *counts;  /* rankings: of each campaign */
    int64_t *reached; /* rankings from PostgreSQL: when it got there, wall µs; NULL otherwise */
    size_t campaigns_count, coupons_count, campaigns_capacity, coupons_capacity;
    struct cursor next; /* CURSOR_NONE: this is the last page */
    /* When time alone may let another entry through the filter of a list: the first such instant after the
     * query's; 0: there is none, or no such filter. Set by cutting. */
    int64_t filter_until_us;
};

void answer_init(struct answer *answer);
void answer_deinit(struct answer *answer);
void answer_reset(struct answer *answer);               /* empty again, for another attempt */
void *answer_alloc(struct answer *answer, size_t size); /* zeroed; never NULL: sizes are bounded by callers */
struct span answer_text(struct answer *answer, struct span text); /* a copy; absent stays absent */

/* Appends a campaign; its texts are copied, its definition is decoded from the bytes of CampaignCreated.
 * false where those are not what any version of this program writes, or the rest contradicts them. */
bool answer_add_campaign(struct answer *answer, const struct campaign *campaign,
                         struct span definition) MUST_USE;
/* Appends a coupon; its texts are copied. */
void answer_add_coupon(struct answer *answer, const struct coupon *coupon);

/* Makes one list of those that the shards gave (lists in list order, rankings in order of rank, none cut),
 * as long as one shard with all slices would have given. The texts stay the parts'. */
void answer_merge(struct answer *into, const struct answer *const *parts, size_t count,
                  const struct query *query);

/* Takes what was read in list order (up to query_scan and one more) and leaves the page: what the filters
 * take, at most `limit`, and `next` where there is more. With filters a page may be short, or empty, and
 * still have a next. */
void answer_cut_campaigns(struct answer *answer, const struct query *query);
void answer_cut_coupons(struct answer *answer, const struct query *query);

/* The first instant after query->now_us from which the answer is another, though nothing happens (I13):
 * something opens, ends, expires or lapses, a window moves on. INT64_MAX where only events change it. After
 * cutting. */
int64_t answer_true_until_us(const struct answer *answer, const struct query *query);
