/* SPDX-License-Identifier: Apache-2.0 */
/* One campaign in Redis: the value of CAMPAIGN. Everything that lists, rankings and single reads say of it,
 * as absolute values: written whole, so that writing it twice or after it was lost leaves the same. Pure. */
#pragma once

#include "common/base/mem.h"
#include "events/campaign.h"
#include "readmodel/activity.h"

struct campaign_record {
    struct campaign campaign; /* the fold; its definition too, where it was decoded */
    struct counted_record {
        int64_t reached_at_us; /* when the count became what it is; 0: nothing was counted yet */
        struct activity activity;
    } counted[COUNTED_COUNT];
    struct span definition; /* as data of a CampaignCreated */
};

/* Encodes all of it; the definition from the campaign, not from `definition`. */
void campaign_record_encode(const struct campaign_record *record, struct buf *out);
/* Of that campaign; texts are borrowed from the bytes. The definition is left encoded. */
bool campaign_record_decode(struct span id, struct span bytes, struct campaign_record *ret) MUST_USE;
/* Decodes record->definition; lists are in `arena`. */
bool campaign_record_define(struct campaign_record *record, struct arena *arena) MUST_USE;
