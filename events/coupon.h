/* SPDX-License-Identifier: Apache-2.0 */
/* A coupon as a value, and how it reads as JSON (design §9): the same bytes from the write API, from the read
 * models and from the log. Pure. */
#pragma once

#include "events/ids.h"

enum coupon_state { COUPON_ISSUED = 1 };

struct coupon {
    struct position at; /* its CouponIssued */
    struct span campaign_id, user_id, code_prefix;
    int64_t sequence, nth;
    int64_t issued_at_us, expires_at_us; /* expires 0: never */
    enum coupon_state state;
};

/* From a decoded CouponIssued event; borrows its texts. */
struct coupon coupon_from_event(const struct event *event);

/* "issued" or "expired" at that instant. */
const char *coupon_status(const struct coupon *coupon, int64_t now_us);

/* now_us 0: as it was when issued (the answer of the write API, which must not change with time, I4). */
void coupon_write_json(struct buf *out, const char *key, const struct coupon *coupon,
                       const uint8_t code_key[CRYPTO_KEY_BYTES], int64_t now_us);
