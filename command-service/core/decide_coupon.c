/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of what happens to a coupon after it was issued (I6). Time decides: a reservation whose time is
 * over is in nobody's way, whether or not the log says so yet. */
#include "command-service/core/decide.h"

#include "common/base/clock.h"
#include "events/problems.h"

/* An event of this coupon. */
static struct event *accept(struct decision *ret, enum event_type type, const struct command *command,
                            const struct coupon *coupon)
{
    struct event *event = decision_accept(ret, type, command, coupon->campaign_id);
    event->user_id = coupon->user_id;
    return event;
}

static bool is_of_order(const struct coupon *coupon, const struct command *command)
{
    return span_equal(coupon->order_id, command->coupon.order_id);
}

static bool may_use(const struct command *command, const struct subject *subject, int64_t now_us,
                    struct decision *ret)
{
    struct coupon_use use = {.user_id = command->coupon.user_id,
                             .order_id = command->coupon.order_id,
                             .order_amount = command->coupon.order_amount,
                             .currency = command->coupon.currency};
    ret->refusal = coupon_check(subject->coupon, &subject->campaign->definition, &use, now_us);
    return !ret->refusal;
}

/* Again by the same order, it replaces what the order had: a basket changes. A coupon is not held for longer
 * than it is valid. */
static void reserve(const struct command *command, const struct subject *subject, int64_t now_us,
                    struct decision *ret)
{
    const struct coupon *coupon = subject->coupon;
    int64_t until_us = now_us + command->coupon.ttl_s * US_PER_S;
    if (!may_use(command, subject, now_us, ret))
        return;
    if (coupon->expires_at_us && until_us > coupon->expires_at_us)
        until_us = coupon->expires_at_us;
    accept(ret, EVENT_CouponReserved, command, coupon)->coupon_reserved = (struct coupon_reserved){
        .order_id = command->coupon.order_id,
        .order_amount = command->coupon.order_amount,
        .discount_amount = coupon_discount(&subject->campaign->definition, command->coupon.order_amount),
        .reserved_until_us = until_us,
        .renewed = coupon->state == COUPON_RESERVED,
        .actor = command->actor,
    };
}

static void redeem(const struct command *command, const struct subject *subject, int64_t now_us,
                   struct decision *ret)
{
    const struct coupon *coupon = subject->coupon;
    if (!may_use(command, subject, now_us, ret))
        return;
    accept(ret, EVENT_CouponRedeemed, command, coupon)->coupon_redeemed = (struct coupon_redeemed){
        .order_id = command->coupon.order_id,
        .order_amount = command->coupon.order_amount,
        .discount_amount = coupon_discount(&subject->campaign->definition, command->coupon.order_amount),
        .was_reserved = coupon->state == COUPON_RESERVED,
        .actor = command->actor,
    };
}

/* What one key did, another cannot undo, but for an admin's. What versions before did not note which. */
static bool may_undo(const struct command *command, const struct coupon *coupon)
{
    return command->by_admin || !coupon->actor.len || span_equal(coupon->actor, command->actor);
}

/* Giving back what the order does not have any more is accepted: its time may have been over a moment ago,
 * and a shop that cancels does not care. What another order has, or what was used, is not given back so. */
static void give_back(const struct command *command, const struct subject *subject, int64_t now_us,
                      struct decision *ret)
{
    const struct coupon *coupon = subject->coupon;
    if (coupon->state == COUPON_REVOKED)
        ret->refusal = &problem_revoked;
    else if (coupon->state == COUPON_REDEEMED)
        ret->refusal = &problem_already_redeemed;
    else if (coupon_reserved_at(coupon, now_us) && !is_of_order(coupon, command))
        ret->refusal = &problem_reserved;
    else if (coupon->state == COUPON_RESERVED && is_of_order(coupon, command) && !may_undo(command, coupon))
        ret->refusal = &problem_other_key;
    else if (coupon->state == COUPON_RESERVED && is_of_order(coupon, command))
        accept(ret, EVENT_ReservationReleased, command, coupon)->reservation_released =
            (struct reservation_released){coupon->order_id, command->actor};
}

/* Redeemable again, if it is still valid then; that its time is over does not keep it with the order. */
static void restore(const struct command *command, const struct subject *subject, struct decision *ret)
{
    const struct coupon *coupon = subject->coupon;
    if (coupon->state == COUPON_REVOKED)
        ret->refusal = &problem_revoked;
    else if (coupon->state != COUPON_REDEEMED || !is_of_order(coupon, command))
        ret->refusal = &problem_not_redeemed;
    else if (!may_undo(command, coupon))
        ret->refusal = &problem_other_key;
    else
        accept(ret, EVENT_CouponRestored, command, coupon)->coupon_restored =
            (struct coupon_restored){coupon->order_id, command->actor};
}

/* For good. What was used cannot be taken away any more: restore it first. Again, it changes nothing. */
static void revoke(const struct command *command, const struct subject *subject, struct decision *ret)
{
    const struct coupon *coupon = subject->coupon;
    if (coupon->state == COUPON_REDEEMED)
        ret->refusal = &problem_already_redeemed;
    if (ret->refusal || coupon->state == COUPON_REVOKED)
        return;
    accept(ret, EVENT_CouponRevoked, command, coupon)->coupon_revoked = (struct coupon_revoked){
        .reason = command->reason,
        .actor = command->actor,
        .was_reserved = coupon->state == COUPON_RESERVED,
    };
}

static void lapse(const struct command *command, const struct subject *subject, int64_t now_us,
                  struct decision *ret)
{
    const struct coupon *coupon = subject->coupon;
    if (coupon->state != COUPON_RESERVED || coupon_reserved_at(coupon, now_us))
        return;
    accept(ret, EVENT_ReservationExpired, command, coupon)->reservation_expired =
        (struct reservation_expired){coupon->order_id, coupon->reserved_until_us};
}

void decide_coupon(const struct command *command, const struct subject *subject, int64_t now_us,
                   struct decision *ret)
{
    CHECK(subject->coupon && subject->campaign);
    switch (command->kind) {
    case COMMAND_RESERVE:
        reserve(command, subject, now_us, ret);
        break;
    case COMMAND_REDEEM:
        redeem(command, subject, now_us, ret);
        break;
    case COMMAND_FREE:
        give_back(command, subject, now_us, ret);
        break;
    case COMMAND_RESTORE:
        restore(command, subject, ret);
        break;
    case COMMAND_REVOKE:
        revoke(command, subject, ret);
        break;
    case COMMAND_LAPSE:
        lapse(command, subject, now_us, ret);
        break;
    default:
        UNREACHABLE("decide() sends only commands about a coupon");
    }
}
