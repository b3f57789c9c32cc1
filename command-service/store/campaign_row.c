/* SPDX-License-Identifier: Apache-2.0 */
/* Reading rows of table campaign. */
#include "command-service/store/campaign_row.h"

static bool define(struct known_campaign *known, int16_t version, struct span data, struct arena *arena,
                   struct campaign_created *ret)
{
    struct event created = {.type = EVENT_CampaignCreated, .version = version, .data = data};
    if (known)
        return known_define(known, version, data, ret);
    if (!data.ptr || event_decode(&created, arena) != CODEC_OK)
        return false;
    *ret = created.campaign_created;
    return true;
}

bool campaign_row_read(const struct pg_rows *rows, int row, int column, int64_t head,
                       struct known_campaign *known, struct arena *arena, struct campaign *ret)
{
    struct campaign campaign = {
        .id = pg_bytes(rows, row, column),
        .created_at_us = pg_time(rows, row, column + 1),
        .released = pg_i64(rows, row, column + 4),
        .issued = pg_i64(rows, row, column + 5),
        .plan_done = pg_i64(rows, row, column + 7),
        .first = pg_i64(rows, row, column + 8),
        .position = pg_i64(rows, row, column + 9),
        .redeemed = pg_i64(rows, row, column + 10),
        .reserved = pg_i64(rows, row, column + 11),
        .plan_halted = pg_i64(rows, row, column + 12) != 0,
    };
    int64_t state = pg_i64(rows, row, column + 6);
    if (state < CAMPAIGN_ACTIVE || state > CAMPAIGN_DELETED || campaign.first < 1 ||
        campaign.position > head ||
        !define(known, (int16_t)pg_i64(rows, row, column + 2), pg_bytes(rows, row, column + 3), arena,
                &campaign.definition))
        return false;
    campaign.state = (enum campaign_state)state;
    if (!status_change_read(campaign.state, pg_time(rows, row, column + CAMPAIGN_COLUMN_CHANGED_AT),
                            pg_bytes(rows, row, column + CAMPAIGN_COLUMN_CHANGE), arena, &campaign.change))
        return false;
    *ret = campaign;
    return campaign.released <= campaign.definition.quantity && campaign.plan_done >= 0 &&
           campaign.plan_done <= (int64_t)campaign.definition.release_plan.count;
}
