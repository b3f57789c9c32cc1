/* SPDX-License-Identifier: Apache-2.0 */
/* Time travel: the moment that a read asks for with `as_of`, and a campaign as it was then, as the fold of
 * its events up to there. The coupons it had issued are not folded one by one: the index issue_run says how
 * many there were. Pure. */
#pragma once

#include "events/campaign.h"
#include "events/ids.h"

enum past_kind {
    PAST_NONE,     /* now */
    PAST_INSTANT,  /* after all that was recorded by `at_us` */
    PAST_POSITION, /* after the event at `at`; the instant is that event's */
};

struct past {
    enum past_kind kind;
    int64_t at_us;      /* PAST_INSTANT: wall clock */
    struct position at; /* PAST_POSITION */
};

enum { PAST_EVENTS_DEFAULT = 100000 }; /* events and runs looked at for one answer */

/* "2026-01-31T09:00:00Z", or "S:P" with the slice 0..15 and a position from 1. False for anything else. */
bool past_parse(struct span text, struct past *ret) MUST_USE;

/* Begins with CampaignCreated, decoded; the campaign borrows from it. `issued` is how many coupons it had
 * issued at the end of the fold; they count from the start, because no other event undoes one. */
void past_begin(struct campaign *campaign, const struct event *created, int64_t issued);
/* The next of its events but CouponIssued, in order. False, and nothing is done, where it contradicts what
 * came before: then the log is not what the command service writes. */
bool past_apply(struct campaign *campaign, const struct event *event) MUST_USE;
/* `last_issued`: the position of the last coupon's event, 0 for none. */
void past_end(struct campaign *campaign, int64_t last_issued);
