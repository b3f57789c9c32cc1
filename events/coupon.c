/* SPDX-License-Identifier: Apache-2.0 */
/* Coupons from events, what they are good for, and as JSON. */
#include "events/coupon.h"

#include "common/json.h"
#include "events/problems.h"

struct coupon coupon_from_event(const struct event *event)
{
    CHECK(event->type == EVENT_CouponIssued);
    return (struct coupon){
        .at = {event->slice, event->position},
        .campaign_id = event->campaign_id,
        .user_id = event->user_id,
        .code_prefix = event->coupon_issued.code_prefix,
        .sequence = event->coupon_issued.sequence,
        .nth = event->coupon_issued.nth,
        .issued_at_us = event->recorded_at_us,
        .expires_at_us = event->coupon_issued.expires_at_us,
        .state = COUPON_ISSUED,
        .last = event->position,
        .changed_at_us = event->recorded_at_us,
    };
}

bool coupon_concerned(const struct event *event)
{
    return event->type >= EVENT_CouponReserved && event->type <= EVENT_CouponRevoked;
}

/* Nothing but what the event says: what the former one said is over. */
static void coupon_become(struct coupon *coupon, enum coupon_state state, struct span order_id)
{
    coupon->state = state;
    coupon->order_id = order_id;
    coupon->order_amount = coupon->discount_amount = coupon->reserved_until_us = 0;
    coupon->reason = coupon->actor = (struct span){NULL, 0};
}

void coupon_apply(struct coupon *coupon, const struct event *event)
{
    const struct span nobody = {NULL, 0};
    CHECK(event->position > coupon->last);
    switch (event->type) {
    case EVENT_CouponReserved:
        coupon_become(coupon, COUPON_RESERVED, event->coupon_reserved.order_id);
        coupon->order_amount = event->coupon_reserved.order_amount;
        coupon->discount_amount = event->coupon_reserved.discount_amount;
        coupon->reserved_until_us = event->coupon_reserved.reserved_until_us;
        coupon->actor = event->coupon_reserved.actor;
        break;
    case EVENT_CouponRedeemed:
        coupon_become(coupon, COUPON_REDEEMED, event->coupon_redeemed.order_id);
        coupon->order_amount = event->coupon_redeemed.order_amount;
        coupon->discount_amount = event->coupon_redeemed.discount_amount;
        coupon->actor = event->coupon_redeemed.actor;
        break;
    case EVENT_ReservationReleased:
    case EVENT_ReservationExpired:
    case EVENT_CouponRestored:
        coupon_become(coupon, COUPON_ISSUED, nobody);
        break;
    case EVENT_CouponRevoked:
        coupon_become(coupon, COUPON_REVOKED, nobody);
        coupon->reason = event->coupon_revoked.reason;
        coupon->actor = event->coupon_revoked.actor;
        break;
    default:
        UNREACHABLE("not an event of a coupon: coupon_concerned() says which are");
    }
    coupon->last = event->position;
    coupon->changed_at_us = event->recorded_at_us;
}

struct span coupon_note(const struct coupon *coupon)
{
    return coupon->state == COUPON_REVOKED ? coupon->reason : coupon->order_id;
}

bool coupon_take_note(struct coupon *coupon, struct span note)
{
    const struct span absent = {NULL, 0};
    bool ordered = coupon->state == COUPON_RESERVED || coupon->state == COUPON_REDEEMED;
    note = note.len ? note : absent;
    coupon->order_id = ordered ? note : absent;
    coupon->reason = coupon->state == COUPON_REVOKED ? note : absent;
    if (coupon->state == COUPON_REVOKED)
        return note.len <= REASON_MAX;
    return ordered ? note.len >= 1 && note.len <= ORDER_ID_MAX : !note.ptr;
}

bool coupon_expired(const struct coupon *coupon, int64_t now_us)
{
    return coupon->expires_at_us && now_us >= coupon->expires_at_us;
}

bool coupon_reserved_at(const struct coupon *coupon, int64_t now_us)
{
    return coupon->state == COUPON_RESERVED && (now_us == 0 || now_us < coupon->reserved_until_us);
}

struct coupon coupon_at(const struct coupon *coupon, int64_t now_us)
{
    struct coupon at = *coupon;
    if (at.state == COUPON_RESERVED && !coupon_reserved_at(coupon, now_us))
        coupon_become(&at, COUPON_ISSUED, (struct span){NULL, 0});
    return at;
}

const char *coupon_status(const struct coupon *coupon, int64_t now_us)
{
    if (coupon->state == COUPON_REDEEMED)
        return "redeemed";
    if (coupon->state == COUPON_REVOKED)
        return "revoked";
    if (coupon_expired(coupon, now_us))
        return "expired";
    return coupon_reserved_at(coupon, now_us) ? "reserved" : "issued";
}

/* --- using it --- */

const struct problem *coupon_check(const struct coupon *coupon, const struct campaign_created *campaign,
                                   const struct coupon_use *use, int64_t now_us)
{
    if (use->user_id.ptr && !span_equal(use->user_id, coupon->user_id))
        return &problem_not_holder;
    if (coupon->state == COUPON_REVOKED)
        return &problem_revoked;
    if (coupon->state == COUPON_REDEEMED)
        return &problem_already_redeemed;
    if (coupon_expired(coupon, now_us))
        return &problem_expired;
    if (coupon_reserved_at(coupon, now_us) &&
        !(use->order_id.ptr && span_equal(use->order_id, coupon->order_id)))
        return &problem_reserved;
    if (use->currency.ptr && !span_equal(use->currency, campaign->currency))
        return &problem_currency_mismatch;
    if (use->order_amount >= 0 && use->order_amount < campaign->min_order_amount)
        return &problem_below_minimum;
    if (use->order_amount >= 0 && coupon_discount(campaign, use->order_amount) == 0)
        return &problem_no_discount; /* a coupon is not used up for nothing */
    return NULL;
}

int64_t coupon_discount(const struct campaign_created *campaign, int64_t order_amount)
{
    CHECK(order_amount >= 0 && order_amount <= MONEY_MAX);
    int64_t off = campaign->discount_value;
    if (campaign->discount_type == 0) {
        off = order_amount * (100 * campaign->discount_value + campaign->discount_hundredths) /
              10000; /* at most 1e16 on the way */
        if (campaign->discount_max && off > campaign->discount_max)
            off = campaign->discount_max;
    }
    return off < order_amount ? off : order_amount;
}

/* --- JSON --- */

static void put_id(struct buf *out, struct position at)
{
    struct buf id;
    buf_init(&id, COUPON_ID_MAX);
    coupon_id_write(&id, at);
    json_put_string(out, "coupon_id", buf_span(&id));
    buf_deinit(&id);
}

static void put_code(struct buf *out, const struct coupon *coupon, const struct code_key *code_key)
{
    struct buf code;
    buf_init(&code, COUPON_CODE_MAX);
    coupon_code_write(&code, code_key, coupon->at, coupon->code_prefix);
    json_put_string(out, "code", buf_span(&code));
    buf_deinit(&code);
}

static void put_state(struct buf *out, const struct coupon *coupon, int64_t now_us)
{
    bool reserved = coupon_reserved_at(coupon, now_us);
    if (reserved || coupon->state == COUPON_REDEEMED) {
        json_put_string(out, "order_id", coupon->order_id);
        json_put_int(out, "order_amount", coupon->order_amount);
        json_put_int(out, "discount_amount", coupon->discount_amount);
    }
    if (reserved)
        json_put_time(out, "reserved_until", coupon->reserved_until_us);
    if (coupon->state == COUPON_REDEEMED)
        json_put_time(out, "redeemed_at", coupon->changed_at_us);
    if (coupon->state == COUPON_REVOKED) {
        json_put_time(out, "revoked_at", coupon->changed_at_us);
        if (coupon->actor.len)
            json_put_string(out, "revoked_by", coupon->actor);
        json_put_string(out, "reason", coupon->reason);
    }
}

void coupon_write_json(struct buf *out, const char *key, const struct coupon *coupon,
                       const struct code_key *code_key, int64_t now_us)
{
    json_open(out, key, '{');
    put_id(out, coupon->at);
    if (code_key)
        put_code(out, coupon, code_key);
    json_put_string(out, "campaign_id", coupon->campaign_id);
    if (coupon->user_id.ptr)
        json_put_string(out, "user_id", coupon->user_id);
    json_put_int(out, "sequence", coupon->sequence);
    json_put_string(out, "status", span_of(coupon_status(coupon, now_us)));
    json_put_time(out, "issued_at", coupon->issued_at_us);
    json_put_time(out, "expires_at", coupon->expires_at_us);
    put_state(out, coupon, now_us);
    json_open(out, "position", '{');
    json_put_int(out, "slice", coupon->at.slice);
    json_put_int(out, "position", coupon->at.position);
    json_close(out, '}');
    json_close(out, '}');
}
