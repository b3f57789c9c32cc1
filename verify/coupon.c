/* SPDX-License-Identifier: Apache-2.0 */
/* What may happen to a coupon after it was issued (I6), and what the control stream says. */
#include "verify/log.h"

#include <string.h>

#include "events/ids.h"

/* --- coupons --- */

/* One event of one coupon, being checked. */
struct coupon_context {
    struct verify_log *log;
    struct verify_coupon_life *life;
    const struct verify_coupon *coupon;
    const struct event *event;
};

/* Of each coupon one difference is reported: what comes after it follows from it. */
static void expect(struct coupon_context *context, bool holds, const char *text)
{
    if (!holds && !context->life->reported)
        verify_log_differ(context->log, VERIFY_COUPON, context->event, text);
    context->life->reported |= !holds;
}

static void issued(struct verify_log *log, const struct event *event, struct verify_name holder)
{
    struct verify_coupon *coupon =
        verify_table_follow(&log->coupons, verify_name_of_number(event->position), event->position);
    if (!coupon)
        return;
    coupon->holder = holder.part;
    coupon->expires_at_us = event->coupon_issued.expires_at_us;
}

static uint64_t order_of(struct span order_id)
{
    return verify_name_of(order_id, (struct span){0}).part;
}

/* The coupon was free for this order: nobody had it, or this very order, or one whose time is over. */
static bool free_for(const struct coupon_context *context, struct span order_id)
{
    const struct verify_coupon_life *life = context->life;
    int64_t now_us = context->event->recorded_at_us;
    if (life->state == COUPON_RESERVED)
        return life->order == order_of(order_id) || now_us >= life->reserved_until_us;
    return life->state == COUPON_ISSUED;
}

static void check_use(struct coupon_context *context, struct span order_id, bool was_reserved)
{
    const struct verify_coupon *coupon = context->coupon;
    expect(context, free_for(context, order_id),
           "it is used while another order has it, or after it was used or revoked");
    expect(context, !coupon->expires_at_us || context->event->recorded_at_us < coupon->expires_at_us,
           "it is used after it expired");
    expect(context, was_reserved == (context->life->state == COUPON_RESERVED),
           "the event is wrong about whether it was reserved");
}

static void check_return(struct coupon_context *context, enum coupon_state from, struct span order_id)
{
    const struct verify_coupon_life *life = context->life;
    expect(context, life->state == (int16_t)from && life->order == order_of(order_id),
           "an order gives back what it did not have");
}

static void check_revoked(struct coupon_context *context, bool was_reserved)
{
    int16_t state = context->life->state;
    expect(context, state != COUPON_REDEEMED && state != COUPON_REVOKED,
           "it is revoked after it was redeemed or revoked");
    expect(context, was_reserved == (state == COUPON_RESERVED),
           "the event is wrong about whether it was reserved");
}

static void check(struct coupon_context *context)
{
    const struct event *event = context->event;
    switch (event->type) {
    case EVENT_CouponReserved:
        check_use(context, event->coupon_reserved.order_id, event->coupon_reserved.renewed);
        expect(context, event->coupon_reserved.reserved_until_us > event->recorded_at_us,
               "the reservation is over before it begins");
        break;
    case EVENT_CouponRedeemed:
        check_use(context, event->coupon_redeemed.order_id, event->coupon_redeemed.was_reserved);
        break;
    case EVENT_ReservationReleased:
        check_return(context, COUPON_RESERVED, event->reservation_released.order_id);
        break;
    case EVENT_ReservationExpired:
        check_return(context, COUPON_RESERVED, event->reservation_expired.order_id);
        expect(context,
               event->reservation_expired.due_at_us == context->life->reserved_until_us &&
                   event->recorded_at_us >= event->reservation_expired.due_at_us,
               "the reservation expires at another time than it was made until");
        break;
    case EVENT_CouponRestored:
        check_return(context, COUPON_REDEEMED, event->coupon_restored.order_id);
        break;
    case EVENT_CouponRevoked:
        check_revoked(context, event->coupon_revoked.was_reserved);
        break;
    default:
        UNREACHABLE("coupon_concerned() names the events of a coupon");
    }
}

/* Each event says all of the state after it, so going on needs nothing of what was wrong before. */
static void apply(struct verify_coupon_life *life, const struct event *event)
{
    struct coupon coupon = {.last = 0};
    coupon_apply(&coupon, event);
    life->state = (int16_t)coupon.state;
    life->order = coupon.order_id.ptr ? order_of(coupon.order_id) : 0;
    life->reserved_until_us = coupon.reserved_until_us;
    life->last = event->position;
}

void verify_coupon_event(struct verify_log *log, const struct event *event, struct verify_name holder)
{
    struct position at;
    if (event->type == EVENT_CouponIssued) {
        issued(log, event, holder);
        return;
    }
    if (!coupon_id_parse(event->coupon_id, &at))
        return; /* reported as a fault of the envelope */
    struct verify_name name = verify_name_of_number(at.position);
    struct verify_coupon_life *life = verify_table_follow(&log->lives, name, event->position);
    if (!life)
        return;
    const struct verify_coupon *coupon = verify_table_get(&log->coupons, name);
    if (life->state == 0)
        life->state = COUPON_ISSUED;
    struct coupon_context context = {log, life, coupon, event};
    expect(&context, coupon != NULL, "something happens to a coupon that was not issued");
    if (coupon) {
        expect(&context, coupon->holder == holder.part,
               "the event names another holder or campaign than its coupon has");
        check(&context);
    }
    apply(life, event);
}

/* --- control --- */

struct verify_name verify_control_name(int64_t kind, struct span name)
{
    return verify_name_of((struct span){(const char *)&kind, sizeof kind}, name);
}

static void note_control(struct verify_log *log, const struct event *event, uint8_t kind, struct span name,
                         struct span value)
{
    struct verify_control *control =
        verify_table_follow(&log->controls, verify_control_name(kind, name), event->position);
    if (!control)
        return;
    CHECK(name.len <= sizeof control->text);
    if (name.len)
        memcpy(control->text, name.ptr, name.len);
    control->text_len = (uint8_t)name.len;
    control->kind = kind;
    control->position = event->position;
    verify_hash_text(value, control->value_hash);
}

void verify_control_event(struct verify_log *log, const struct event *event)
{
    switch (event->type) {
    case EVENT_SettingChanged:
        note_control(log, event, CONTROL_SETTING, event->setting_changed.name, event->setting_changed.value);
        break;
    case EVENT_IssuerSuspended:
        note_control(log, event, CONTROL_ISSUER, event->issuer_suspended.issuer, CONTROL_SUSPENDED);
        break;
    case EVENT_IssuerResumed:
        note_control(log, event, CONTROL_ISSUER, event->issuer_resumed.issuer, SPAN(""));
        break;
    default:
        UNREACHABLE("campaign_concerned() names the events of the control stream");
    }
}
