/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds the coupons of a campaign, in order of their sequence, over a connection of its own that is made
 * when it is needed. One thread at a time. */
#pragma once

#include "common/pg/pg.h"
#include "events/campaign.h"

struct holders_query {
    char campaign_id[CAMPAIGN_ID_MAX];
    size_t campaign_id_len;
    int64_t after; /* sequence */
};

struct holders_reader;
struct holders_reader *holders_reader_create(const char *database_url); /* does not connect */
void holders_reader_destroy(struct holders_reader *reader);             /* accepts NULL */
const char *holders_reader_error(const struct holders_reader *reader);
/* The next few thousand: one row with one user id for each coupon. Bounded by deadlines of its own. */
bool holders_read(struct holders_reader *reader, const struct holders_query *query,
                  struct pg_rows **ret) MUST_USE;
