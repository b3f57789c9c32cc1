/* SPDX-License-Identifier: Apache-2.0 */
/* What is due by itself, as the sweep sees it: campaigns whose next tranche or end has come, reservations
 * whose time is over. Reads on a connection of its own, without locking: whoever acts on it looks again under
 * the slice lock. The server bounds each look (DUE_STATEMENT_MS) and refuses beyond it; a look never costs
 * the connection. One thread at a time. */
#pragma once

#include "command-service/store/reader.h"
#include "events/campaign.h"

enum {
    DUE_MAX = 64,          /* of a kind, in one look */
    DUE_ASIDE_MAX = 64,    /* that a look leaves out */
    DUE_STATEMENT_MS = 50, /* see docs/decisions.md: dead entries in front of an index */
};

struct due_item {
    char campaign_id[CAMPAIGN_ID_MAX]; /* len 0: `position` is of a coupon whose reservation is over */
    size_t campaign_id_len;
    int64_t position;
};

struct due_query {
    int16_t slice;
    int64_t after_us;             /* wall: reservations that were over by then are not looked at */
    const struct due_item *aside; /* and these are left out */
    size_t aside_count;
};

struct due_found {
    struct due_item items[2 * DUE_MAX];
    size_t count;
    int64_t now_us; /* wall, the server's, from before the look */
    bool whole;     /* all reservations that are over by now_us were seen */
    bool refused;   /* the server would not look for so long */
};

/* What is used of quotas on a day (since 1970) in some slices together, in the order of `scopes`; *ret_read
 * false: the server would not say. false: the connection is lost. */
bool due_quotas(struct reader *reader, unsigned slices, const struct span *scopes, size_t count, int64_t day,
                int64_t deadline_us, bool *ret_read, int64_t *ret_used) MUST_USE;
void due_init(struct reader *reader, const char *database_url); /* end with reader_deinit */
/* false: the connection is lost, nothing was found. */
bool due_find(struct reader *reader, const struct due_query *query, int64_t deadline_us,
              struct due_found *ret) MUST_USE;
