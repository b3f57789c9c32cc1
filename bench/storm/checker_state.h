/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the checker share; nobody else includes this. */
#pragma once

#include "bench/storm/checker.h"
#include "events/event_log.h"

#define NEVER_US INT64_MAX
#define NOBODY   UINT32_MAX /* no user, key or coupon of that kind */
#define SEVERAL  (UINT32_MAX - 1)

/* A CouponIssued of the campaign. In log order, so sorted by position. */
struct coupon_row {
    int64_t position, sequence, recorded_at_us;
    uint32_t user;         /* NOBODY: none of ours */
    uint32_t key;          /* the key it was issued for, NOBODY where that cannot be said */
    int64_t first_sent_us; /* of that key, or of that user */
    int64_t answered_us;   /* its first 201, NEVER_US without one */
};

struct user_row {
    int64_t held;
    uint32_t coupon; /* its last one in the log, NOBODY: none */
    uint32_t key;    /* its only one, NOBODY before the first, SEVERAL */
    int64_t first_sent_us;
    bool unsure; /* some answer was lost */
};

struct key_row {
    int64_t first_sent_us;
    int64_t issued_us;  /* when its first 201 came in */
    uint32_t issued_by; /* that attempt, NOBODY: none */
    uint32_t coupon;
    uint32_t attempts, unmarked; /* 201s without Idempotency-Replayed */
};

struct checker {
    struct checked_campaign campaign;
    struct verdict verdict;
    int16_t slice;
    /* the log */
    struct log_chain chain;
    uint8_t chain_before[32];
    struct checked_batch batch;
    bool batch_open;
    int64_t position, recorded_at_us;
    /* the campaign in it */
    bool created, open;
    bool stock_moved; /* released more, paused, resumed or closed: "sold out" was not for ever */
    int64_t quantity, released, last_position;
    struct coupon_row *coupons;
    size_t coupons_count, coupons_capacity;
    struct user_row *users;
    struct key_row *keys;
};

/* Counts one more thing looked at under that rule, and a violation where it does not hold. Returns `holds`.
 */
bool checker_expect(struct checker *checker, enum rule rule, bool holds, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* A coupon as JSON says it, in a 201 or in a list. Borrowed from the document. */
struct coupon_view {
    struct span coupon_id, campaign_id, user_id, code;
    int64_t sequence, issued_at_us;
};
bool coupon_view_read(const struct json_value *object, struct coupon_view *ret) MUST_USE;
/* NULL, or which member differs from the log. */
const char *coupon_view_difference(const struct checker *checker, const struct coupon_view *view,
                                   const struct coupon_row *row);
