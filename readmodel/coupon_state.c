/* SPDX-License-Identifier: Apache-2.0 */
/* States to bytes and back. */
#include "readmodel/coupon_state.h"

#include "readmodel/varint.h"

/* As COUPON_REVOKED, and says by whom. A former version's record of a revoked coupon does not, and nobody
 * uses it: the fold of the log knows more. */
enum { REVOKED_BY = COUPON_REVOKED + 1 };

void coupon_state_encode(const struct coupon *coupon, struct buf *out)
{
    struct span note = coupon_note(coupon);
    bool revoked = coupon->state == COUPON_REVOKED;
    buf_append_char(out, (char)(revoked ? REVOKED_BY : (int)coupon->state));
    varint_put(out, (uint64_t)(coupon->last - coupon->at.position));
    varint_put(out, (uint64_t)coupon->changed_at_us);
    varint_put(out, (uint64_t)coupon->order_amount);
    varint_put(out, (uint64_t)coupon->discount_amount);
    varint_put(out, (uint64_t)coupon->reserved_until_us);
    if (revoked) {
        varint_put(out, coupon->actor.len);
        buf_append_span(out, coupon->actor);
    }
    buf_append(out, note.ptr, note.len);
}

bool coupon_state_decode(struct span record, struct coupon *ret)
{
    struct cursor_bytes from = {record, false};
    if (!record.ptr)
        return false;
    struct span state = bytes_get(&from, 1);
    int64_t later = number_get(&from, INT64_MAX - ret->at.position);
    ret->changed_at_us = number_get(&from, INT64_MAX);
    ret->order_amount = number_get(&from, MONEY_MAX);
    ret->discount_amount = number_get(&from, MONEY_MAX);
    ret->reserved_until_us = number_get(&from, INT64_MAX);
    ret->last = ret->at.position + later;
    if (from.bad || later < 1 || state.ptr[0] < COUPON_ISSUED || state.ptr[0] > REVOKED_BY ||
        state.ptr[0] == COUPON_REVOKED)
        return false;
    bool revoked = state.ptr[0] == REVOKED_BY;
    ret->state = revoked ? COUPON_REVOKED : (enum coupon_state)state.ptr[0];
    ret->actor = revoked ? text_get(&from, EVENT_TEXT_MAX) : (struct span){NULL, 0};
    if (from.bad)
        return false;
    return coupon_take_note(ret, from.rest);
}
