/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the checker share; nobody else includes this. */
#pragma once

#include "bench/storm/checker.h"

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
    struct coupon_row *coupons;
    size_t coupons_count, coupons_capacity;
    struct user_row *users;
    struct key_row *keys;
};

/* Counts one more thing looked at under that rule, and a violation where it does not hold. Returns `holds`.
 */
bool checker_expect(struct checker *checker, enum rule rule, bool holds, const char *format, ...)
    PRINTF_LIKE(4, 5);
