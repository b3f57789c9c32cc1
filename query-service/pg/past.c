/* SPDX-License-Identifier: Apache-2.0 */
/* The fold up to a moment of the past. */
#include "query-service/pg/past.h"

void past_begin(struct campaign *campaign, const struct event *created, int64_t issued)
{
    *campaign = (struct campaign){0};
    campaign_apply(campaign, created);
    campaign->issued = issued;
}

/* What campaign_apply asserts, asked beforehand: a log that somebody tampered with is an error to answer, not
 * a reason to die. */
static bool fits(const struct campaign *is, const struct event *event)
{
    bool room = is->reserved + is->redeemed < is->issued;
    switch (event->type) {
    case EVENT_StockReleased: {
        const struct stock_released *release = &event->stock_released;
        return release->quantity <= is->definition.quantity - is->released &&
               (release->plan_step == 0 || release->plan_step == is->plan_done + 1);
    }
    case EVENT_CampaignChanged:
        return campaign_can_apply(is, event);
    case EVENT_CampaignPaused:
    case EVENT_CampaignResumed:
    case EVENT_CampaignClosed:
    case EVENT_CampaignEnded:
    case EVENT_ReleasePlanHalted:
        return true;
    case EVENT_CouponReserved:
        return event->coupon_reserved.renewed ? is->reserved > 0 : room;
    case EVENT_CouponRedeemed:
        return event->coupon_redeemed.was_reserved ? is->reserved > 0 : room;
    case EVENT_ReservationReleased:
    case EVENT_ReservationExpired:
        return is->reserved > 0;
    case EVENT_CouponRestored:
        return is->redeemed > 0;
    case EVENT_CouponRevoked:
        return !event->coupon_revoked.was_reserved || is->reserved > 0;
    default:
        return false; /* a campaign begins once, a deleted one is not asked for, coupons are counted */
    }
}

bool past_apply(struct campaign *campaign, const struct event *event)
{
    if (event->position <= campaign->position || !fits(campaign, event))
        return false;
    campaign_apply(campaign, event);
    return true;
}

void past_end(struct campaign *campaign, int64_t last_issued)
{
    if (last_issued > campaign->position)
        campaign->position = last_issued;
}
