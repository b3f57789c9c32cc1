/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds the coupons of a campaign, in order of their sequence, over a connection of its own that is made
 * when it is needed. One thread at a time. */
#pragma once

#include "command-service/store/reader.h"
#include "events/campaign.h"

struct holders_query {
    char campaign_id[CAMPAIGN_ID_MAX];
    size_t campaign_id_len;
    int64_t after; /* sequence */
};

void holders_init(struct reader *reader, const char *database_url); /* end with reader_deinit */
/* The next few thousand: one row with one user id for each coupon. Bounded by deadlines of its own. */
bool holders_read(struct reader *reader, const struct holders_query *query, struct pg_rows **ret) MUST_USE;
