/* SPDX-License-Identifier: Apache-2.0 */
/* Table creation_quota against the log. Each slice has rows of its own, but which slice a former version
 * counted a campaign in is not known; so the sums over all slices are compared. Slices are verified one after
 * the other while writers go on, so they are compared as of one instant: the rows and the heads of all slices
 * are read first, in one snapshot, and of each slice the log up to that head counts. Pure. */
#pragma once

#include "events/event.h"
#include "verify/report.h"
#include "verify/table.h"

enum { QUOTA_SCOPE_MAX = 4 + EVENT_TEXT_MAX }; /* "key:" and the name of an API key */

struct verify_quota_row {
    struct span scope;
    int64_t day, used; /* days since 1970-01-01 */
};

struct verify_quota {
    struct verify_memory memory;
    struct verify_table counts;
    const int64_t *heads; /* of each slice; borrowed, may become known after verify_quota_init */
    bool overflow;        /* more scopes and days than are counted; then nothing is compared */
};

void verify_quota_init(struct verify_quota *quota, const int64_t heads[SLICE_COUNT]); /* borrowed */
void verify_quota_deinit(struct verify_quota *quota); /* accepts one that is all zero */
/* Once for every row of every slice. */
void verify_quota_row(struct verify_quota *quota, const struct verify_quota_row *row);
/* Once for every CampaignCreated of the log. */
void verify_quota_created(struct verify_quota *quota, const struct event *created);
/* Stock of campaigns that are open at the slice's head of that instant. */
void verify_quota_open(struct verify_quota *quota, int64_t stock);
/* When all slices were counted. false: there were too many scopes and days to compare them. */
bool verify_quota_end(struct verify_quota *quota, struct verify_report *report) MUST_USE;
