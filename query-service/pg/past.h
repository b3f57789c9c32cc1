/* SPDX-License-Identifier: Apache-2.0 */
/* Time travel: a campaign as it was at the moment a read asks for with `as_of`, as the fold of its events up
 * to there. The coupons it had issued are not folded one by one: the index issue_run says how many there
 * were. Pure. */
#pragma once

#include "events/campaign.h"

/* Begins with CampaignCreated, decoded; the campaign borrows from it. `issued` is how many coupons it had
 * issued at the end of the fold; they count from the start, because no other event undoes one. */
void past_begin(struct campaign *campaign, const struct event *created, int64_t issued);
/* The next of its events but CouponIssued, in order. False, and nothing is done, where it contradicts what
 * came before: then the log is not what the command service writes. */
bool past_apply(struct campaign *campaign, const struct event *event) MUST_USE;
/* `last_issued`: the position of the last coupon's event, 0 for none. */
void past_end(struct campaign *campaign, int64_t last_issued);
