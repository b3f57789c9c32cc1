/* SPDX-License-Identifier: Apache-2.0 */
/* What may happen to a coupon after it was issued (I6), as the design says it: used at most once between
 * restores, by its holder, while valid, for what the campaign gives. */
#include "tests/chaos/judge_state.h"

#include "common/base/clock.h"

/* One use or change, and the coupon before it. */
struct turn {
    struct judge *judge;
    const struct event *event;
    const struct operation *op; /* NULL: a sweep, or nobody */
    const struct model_campaign *campaign;
    const struct model_coupon *coupon;
    struct coupon_moment was, is;
};

int64_t judge_discount(const struct campaign_created *campaign, int64_t amount)
{
    bool percent = campaign->discount_type == 0;
    int64_t off = percent ? amount * (100 * campaign->discount_value + campaign->discount_hundredths) / 10000
                          : campaign->discount_value;
    if (percent && campaign->discount_max && off > campaign->discount_max)
        off = campaign->discount_max;
    return off > amount ? amount : off;
}

static bool expect(const struct turn *turn, enum judge_rule rule, bool holds, const char *what)
{
    return judge_expect(turn->judge, rule, holds, "coupon c%d-%lld, %s at %lld: %s", turn->coupon->at.slice,
                        (long long)turn->coupon->at.position, event_describe((int)turn->event->type)->name,
                        (long long)turn->event->position, what);
}

static bool order_of(struct span order_id, uint32_t *ret)
{
    return order_name_parse(order_id, ret);
}

static bool held_then(const struct turn *turn)
{
    return turn->was.state == MODEL_RESERVED && turn->event->recorded_at_us < turn->was.until_us;
}

/* What reserving and redeeming have in common. */
static void check_use(struct turn *turn, struct span order_id, int64_t amount, int64_t discount)
{
    const struct model_coupon *coupon = turn->coupon;
    const struct campaign_created *campaign = &turn->campaign->definition;
    uint32_t user, order = UINT32_MAX;
    bool known = order_of(order_id, &order);
    bool redeeming = turn->event->type == EVENT_CouponRedeemed;
    if (redeeming)
        expect(turn, JUDGE_REDEEMED, turn->was.state != MODEL_REDEEMED, "it was redeemed before");
    expect(turn, JUDGE_HOLDER,
           user_number_parse(turn->event->user_id, &user) && user == coupon->user && turn->op &&
               turn->op->user == coupon->user,
           "somebody else than its holder used it");
    bool fresh = coupon->expires_us == 0 || turn->event->recorded_at_us < coupon->expires_us;
    expect(turn, JUDGE_VALID, fresh && turn->was.state != MODEL_REVOKED, "it was not valid any more");
    expect(turn, JUDGE_VALID, known && (!held_then(turn) || turn->was.order == order),
           "another order held it");
    if (!redeeming)
        expect(turn, JUDGE_VALID, turn->was.state != MODEL_REDEEMED, "it was redeemed");
    expect(turn, JUDGE_AMOUNT, amount >= campaign->min_order_amount, "the order was below the minimum");
    expect(turn, JUDGE_AMOUNT, discount == judge_discount(campaign, amount), "the discount is another");
    expect(turn, JUDGE_AMOUNT, discount > 0, "it was used for nothing");
    turn->is.order = order;
    turn->is.amount = amount;
    turn->is.discount = discount;
}

static void on_reserved(struct turn *turn)
{
    const struct coupon_reserved *event = &turn->event->coupon_reserved;
    check_use(turn, event->order_id, event->order_amount, event->discount_amount);
    turn->is.state = MODEL_RESERVED;
    turn->is.until_us = event->reserved_until_us;
    int64_t wanted_us = turn->event->recorded_at_us + (turn->op ? turn->op->ttl_s : 0) * US_PER_S;
    bool capped = turn->coupon->expires_us && turn->coupon->expires_us < wanted_us;
    expect(turn, JUDGE_LIFE,
           event->reserved_until_us == wanted_us ||
               (capped && event->reserved_until_us == turn->coupon->expires_us),
           "it is not held for as long as was asked");
    expect(turn, JUDGE_LIFE, (event->renewed != 0) == (turn->was.state == MODEL_RESERVED),
           "'renewed' is wrong");
}

static void on_redeemed(struct turn *turn)
{
    const struct coupon_redeemed *event = &turn->event->coupon_redeemed;
    check_use(turn, event->order_id, event->order_amount, event->discount_amount);
    turn->is.state = MODEL_REDEEMED;
    expect(turn, JUDGE_LIFE, (event->was_reserved != 0) == (turn->was.state == MODEL_RESERVED),
           "'was reserved' is wrong");
}

static void on_given_back(struct turn *turn)
{
    bool expired = turn->event->type == EVENT_ReservationExpired;
    struct span order_id =
        expired ? turn->event->reservation_expired.order_id : turn->event->reservation_released.order_id;
    uint32_t order;
    turn->is.state = MODEL_ISSUED;
    expect(turn, JUDGE_LIFE,
           turn->was.state == MODEL_RESERVED && order_of(order_id, &order) && order == turn->was.order,
           "that order did not hold it");
    if (expired)
        expect(turn, JUDGE_LIFE,
               turn->event->reservation_expired.due_at_us == turn->was.until_us &&
                   turn->event->recorded_at_us >= turn->was.until_us,
               "its reservation was not over");
}

static void on_restored(struct turn *turn)
{
    uint32_t order;
    turn->is.state = MODEL_ISSUED;
    expect(turn, JUDGE_LIFE,
           turn->was.state == MODEL_REDEEMED && order_of(turn->event->coupon_restored.order_id, &order) &&
               order == turn->was.order,
           "that order had not redeemed it");
}

static void on_revoked(struct turn *turn)
{
    turn->is.state = MODEL_REVOKED;
    expect(turn, JUDGE_LIFE, turn->was.state == MODEL_ISSUED || turn->was.state == MODEL_RESERVED,
           "it was redeemed or revoked");
    expect(turn, JUDGE_LIFE,
           (turn->event->coupon_revoked.was_reserved != 0) == (turn->was.state == MODEL_RESERVED),
           "'was reserved' is wrong");
}

static void move_coupon(struct turn *turn)
{
    switch (turn->event->type) {
    case EVENT_CouponReserved:
        on_reserved(turn);
        break;
    case EVENT_CouponRedeemed:
        on_redeemed(turn);
        break;
    case EVENT_ReservationReleased:
    case EVENT_ReservationExpired:
        on_given_back(turn);
        break;
    case EVENT_CouponRestored:
        on_restored(turn);
        break;
    case EVENT_CouponRevoked:
        on_revoked(turn);
        break;
    default:
        UNREACHABLE("judge_log calls for events of coupons only");
    }
}

static void move_campaign(struct model_campaign *campaign, const struct turn *turn)
{
    struct campaign_moment is = campaign->moments[campaign->moments_count - 1];
    is.position = turn->event->position;
    is.reserved += (turn->is.state == MODEL_RESERVED) - (turn->was.state == MODEL_RESERVED);
    is.redeemed += (turn->is.state == MODEL_REDEEMED) - (turn->was.state == MODEL_REDEEMED);
    campaign->moments = judge_grow(campaign->moments, campaign->moments_count, &campaign->moments_capacity,
                                   sizeof *campaign->moments);
    campaign->moments[campaign->moments_count++] = is;
}

void judge_coupon_event(struct judge *judge, struct model_campaign *campaign, const struct event *event,
                        const struct operation *op)
{
    struct position at = {0};
    struct model_coupon *coupon =
        coupon_id_parse(event->coupon_id, &at) && at.slice == event->slice ? judge_coupon(judge, at) : NULL;
    bool its = coupon && &judge->campaigns[coupon->campaign] == campaign;
    if (!judge_expect(judge, JUDGE_LIFE, its, "%s at %lld of slice %d is about no coupon of its campaign",
                      event_describe((int)event->type)->name, (long long)event->position, event->slice))
        return;
    struct turn turn = {judge,    event,  op,
                        campaign, coupon, .was = coupon->moments[coupon->moments_count - 1]};
    turn.is = (struct coupon_moment){.position = event->position, .recorded_us = event->recorded_at_us};
    move_coupon(&turn);
    coupon->moments = judge_grow(coupon->moments, coupon->moments_count, &coupon->moments_capacity,
                                 sizeof *coupon->moments);
    coupon->moments[coupon->moments_count++] = turn.is;
    move_campaign(campaign, &turn);
}
