/* SPDX-License-Identifier: Apache-2.0 */
/* "Why was I refused?": what the rule of issuing says of a campaign and a user at an instant, as JSON, with
 * one sentence that can be sent to the customer as it is, in English and Korean. Pure. */
#pragma once

#include "events/campaign.h"
#include "events/ids.h"

struct decision_facts {
    struct span campaign_id, user_id;
    const struct campaign *campaign; /* as folded up to `at`; NULL: there was none */
    int64_t held;                    /* coupons of the campaign issued to the user by then */
    struct position at;              /* the last event of the slice that counts */
    int64_t as_of_us;                /* the instant, wall clock */
};

void decision_write(struct buf *out, const struct decision_facts *facts);
