/* SPDX-License-Identifier: Apache-2.0 */
/* What happened to a coupon after it was issued: a value of STATES. Short enough, with an order id of 36
 * bytes, for a hash that Redis keeps compact (64 bytes). Pure. */
#pragma once

#include "events/coupon.h"

/* The field that is the mark of STATES. */
#define STATES_MARK SPAN("")

/* The coupon's state, of which its place is needed: coupon->at. */
void coupon_state_encode(const struct coupon *coupon, struct buf *out);
/* Puts it into a coupon that was only issued; texts are borrowed from the record. */
bool coupon_state_decode(struct span record, struct coupon *ret) MUST_USE;
