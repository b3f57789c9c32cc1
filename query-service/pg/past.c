/* SPDX-License-Identifier: Apache-2.0 */
/* The fold up to a moment of the past. */
#include "query-service/pg/past.h"

void past_begin(struct campaign *campaign, const struct event *created, int64_t issued)
{
    *campaign = (struct campaign){0};
    campaign_apply(campaign, created);
    campaign->issued = issued;
}

/* A campaign begins once, a deleted one is not asked for, and its coupons are counted. */
static bool fits(const struct campaign *is, const struct event *event)
{
    bool ours = event->type != EVENT_CampaignCreated && event->type != EVENT_CampaignDeleted &&
                event->type != EVENT_CouponIssued;
    return ours && campaign_can_apply(is, event); /* a log that was tampered with is no reason to die */
}

bool past_apply(struct campaign *campaign, const struct event *event)
{
    if (!fits(campaign, event))
        return false;
    campaign_apply(campaign, event);
    return true;
}

void past_end(struct campaign *campaign, int64_t last_issued)
{
    if (last_issued > campaign->position)
        campaign->position = last_issued;
}
