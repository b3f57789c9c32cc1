/* SPDX-License-Identifier: Apache-2.0 */
/* The reads of a chaos run: what a reader asks the read API for, how that is written as a request, and what
 * came back. As with operations everything is a number here. */
#pragma once

#include "bench/load/connection.h"
#include "tests/chaos/op.h"

/* X(NAME, text, of all slices and not of one) */
#define READ_KINDS(X)              \
    X(CAMPAIGN, "campaign", 0)     \
    X(HOLDERS, "holders", 0)       \
    X(PLACE, "a user's place", 0)  \
    X(COUPON, "coupon by id", 0)   \
    X(CODE, "coupon by code", 0)   \
    X(VALIDITY, "validity", 0)     \
    X(CAMPAIGNS, "campaigns", 1)   \
    X(USER, "a user's coupons", 1) \
    X(RANKING, "ranking", 1)       \
    X(FEED, "feed", 0)

enum read_kind {
#define READ_ENUM(name, text, all_slices) READ_##name,
    READ_KINDS(READ_ENUM)
#undef READ_ENUM
        READ_KIND_COUNT
};
const char *read_kind_name(enum read_kind kind);
bool read_kind_of_all_slices(enum read_kind kind);

enum { READ_CODE_MAX = 32, READ_BODIES_MAX = 1 << 30 };

/* One read, and what became of it. */
struct read {
    enum read_kind kind;
    uint32_t reader, number; /* the number-th of this reader, from 0 */
    uint32_t campaign, user;
    struct position coupon;      /* COUPON, CODE, VALIDITY; FEED: after which position of which slice */
    int64_t amount;              /* VALIDITY: of the order, -1: does not say */
    int64_t limit;               /* lists */
    const char *status;          /* CAMPAIGNS: of this status only, a literal; NULL: any */
    bool says_user;              /* VALIDITY */
    bool redeemed;               /* RANKING: by redeemed, not by issued */
    int64_t tokens[SLICE_COUNT]; /* the Consistency-Tokens it carried; 0: none of that slice */
    /* what came back */
    uint8_t service;
    uint16_t status_code; /* 0: no answer */
    char problem[READ_CODE_MAX];
    bool from_store;          /* Cache-Status: PostgreSQL answered it for this reader */
    bool has_age;             /* Age is there and a number */
    int64_t age_s, life_s;    /* Age; the most that Cache-Control lets it be, 0: does not say */
    int64_t sent_us, done_us; /* monotonic */
    size_t body_at, body_len; /* 200: in reads.bodies */
};

struct readings {
    struct read *list;
    size_t count, capacity;
    struct buf bodies;
};
void readings_init(struct readings *reads);
void readings_deinit(struct readings *reads);
/* Adds a read with what came of it; `head` is everything before the body. */
void readings_add(struct readings *reads, const struct read *read, const struct http_response *response,
                  struct span head);
void readings_join(struct readings *reads, const struct readings *of_reader);
struct span readings_body(const struct readings *reads, const struct read *read);

/* The slice a read of one slice is about. */
int16_t read_slice(const struct read *read);
/* The whole request. `code` is what a coupon is asked by in READ_CODE. */
void read_write(const struct read *read, const char *code, const char *token, const struct target *target,
                struct buf *out);
