/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked, as a value: one of the reads of design §9 with its parameters checked. Knows neither HTTP
 * nor where the answer comes from. Pure. */
#pragma once

#include "events/campaign.h"
#include "events/coupon.h"
#include "query-service/load/cursor.h"
#include "readmodel/activity.h"

/* X(name, label): the label is what metrics show. */
#define QUERY_KINDS(X)                         \
    X(QUERY_CAMPAIGNS, "campaigns")            \
    X(QUERY_CAMPAIGN, "campaign")              \
    X(QUERY_HOLDERS, "campaign_coupons")       \
    X(QUERY_USER_IN_CAMPAIGN, "campaign_user") \
    X(QUERY_COUPON, "coupon")                  \
    X(QUERY_VALIDITY, "validity")              \
    X(QUERY_USER_COUPONS, "user_coupons")      \
    X(QUERY_RANKING, "ranking")                \
    X(QUERY_ORDER_COUPONS, "order_coupons") /* has no model: only history/ asks it */
#define QUERY_KIND_ENUM(name, label) name,
enum query_kind { QUERY_KINDS(QUERY_KIND_ENUM) QUERY_KIND_COUNT };
const char *query_kind_label(enum query_kind kind);

enum {
    QUERY_LIMIT_DEFAULT = 20,
    QUERY_LIMIT_MAX = 100,
    QUERY_SCAN_MAX = 256, /* entries looked at for one page of a filtered list */
    QUERY_TOKENS_MAX = 16,
    QUERY_TEXT_MAX = CAMPAIGN_ID_MAX + USER_ID_MAX + ORDER_ID_MAX + 64, /* ids and filters of one query */
};

/* The moment a read asks for with `as_of`. */
enum past_kind {
    PAST_NONE,     /* now */
    PAST_INSTANT,  /* after all that was recorded by `at_us` */
    PAST_POSITION, /* after the event at `at`; the instant is that event's */
};

struct past {
    enum past_kind kind;
    int64_t at_us;      /* PAST_INSTANT: wall clock */
    struct position at; /* PAST_POSITION */
};

/* "2026-01-31T09:00:00Z", or "S:P" with the slice 0..15 and a position from 1. False for anything else. */
bool past_parse(struct span text, struct past *ret) MUST_USE;

/* Holds its own texts, so it outlives the request; never copied, because the spans point into it. */
struct query {
    enum query_kind kind;
    struct span campaign_id, user_id;
    struct span status, tag;       /* filters; absent: none */
    struct position coupon;        /* QUERY_COUPON, QUERY_VALIDITY */
    struct span order_id;          /* QUERY_ORDER_COUPONS; QUERY_VALIDITY: absent: not said */
    struct span currency;          /* QUERY_VALIDITY: of the order; absent: not said */
    int64_t order_amount;          /* QUERY_VALIDITY: minor units, -1 where the order is not known */
    enum counted by;               /* QUERY_RANKING */
    enum window window;            /* QUERY_RANKING */
    int64_t limit;                 /* lists: items of a page, 1..QUERY_LIMIT_MAX */
    struct cursor after;           /* lists: where the page before ended; CURSOR_NONE: the first page */
    int64_t at_least[SLICE_COUNT]; /* consistency tokens: answer from nothing older (I9); 0: none */
    struct past past;              /* QUERY_CAMPAIGN, QUERY_RANKING: as of when; PAST_NONE: now */
    int64_t now_us;                /* wall clock, or the instant in the past: decides status and expiry */
    size_t texts_len;
    char texts[QUERY_TEXT_MAX];
};

void query_init(struct query *query, enum query_kind kind, int64_t now_us);
/* Copies a text in. It must fit: what is kept was validated before. */
struct span query_keep(struct query *query, struct span text);

/* Adds a token; what the answer's slices do not concern is ignored later. */
void query_require(struct query *query, struct position token);
/* The slices the answer depends on, as bits. */
unsigned query_slices(const struct query *query);
/* The highest position that a token asks for in one slice; 0 where that slice does not matter. */
int64_t query_at_least(const struct query *query, int16_t slice);

/* Whether Redis, or PostgreSQL, has to look at much more than the answer holds: such questions have a lane of
 * their own (loader.h). */
bool query_is_dear(const struct query *query, bool to_store);

bool query_campaign_status_known(struct span status);
bool query_coupon_status_known(struct span status);
bool query_takes_campaign(const struct query *query, const struct campaign *campaign);
bool query_takes_coupon(const struct query *query, const struct coupon *coupon);

/* How many entries a reader looks at for this page: the limit, or QUERY_SCAN_MAX where a filter may drop
 * some. It reads one more where there is one, so that the end of the list is known. */
size_t query_scan(const struct query *query);
/* All that tells a list from others of its kind but limit, cursor and past: what a cursor is bound to. */
void query_scope(const struct query *query, struct buf *out);
/* All that tells the answer from every other, but the tokens: what is asked, not how it was spelled. Two
 * targets that ask the same (percent-encoded, parameters in another order, a default that is said) have one
 * key, so they share a cache entry and a load. */
enum { QUERY_KEY_MAX = 2 * QUERY_TEXT_MAX };
void query_key(const struct query *query, struct buf *out);
