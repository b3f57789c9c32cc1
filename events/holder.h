/* SPDX-License-Identifier: Apache-2.0 */
/* The column `holder` of an issued coupon: 16 bytes that say who holds which of a campaign's coupons, hashed
 * with the slice's secret, so that one small unique index guards I2 and finds a user's coupons (a range), and
 * nobody without the secret can make two that collide. The same as holder_of() in
 * schema/005_keys_in_events.sql. Pure. */
#pragma once

#include "common/base/bytes.h"

enum { HOLDER_BYTES = 16, HOLDER_USER_BYTES = 10, SLICE_SECRET_BYTES = 16 };

struct slice_secret {
    uint8_t bytes[SLICE_SECRET_BYTES];
};

/* What all coupons of a user begin with. At most USER_ID_MAX bytes of user id. */
void holder_user(const struct slice_secret *secret, struct span user_id, uint8_t ret[HOLDER_USER_BYTES]);
/* What the user's nth coupon (from 1) of a campaign ends with. */
void holder_place(const struct slice_secret *secret, struct span campaign_id, int64_t nth,
                  uint8_t ret[HOLDER_BYTES - HOLDER_USER_BYTES]);
void holder_of(const struct slice_secret *secret, struct span user_id, struct span campaign_id, int64_t nth,
               uint8_t ret[HOLDER_BYTES]);
