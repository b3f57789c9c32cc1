/* SPDX-License-Identifier: Apache-2.0 */
/* Reading rows of table campaign. */
#include "command-service/store/campaign_row.h"

bool campaign_row_read(const struct pg_rows *rows, int row, struct arena *arena, struct campaign *ret)
{
    struct event created = {
        .type = EVENT_CampaignCreated,
        .version = (int16_t)pg_i64(rows, row, 2),
        .data = pg_bytes(rows, row, 3),
    };
    if (event_decode(&created, arena) != CODEC_OK)
        return false;
    *ret = (struct campaign){
        .id = pg_bytes(rows, row, CAMPAIGN_COLUMN_ID),
        .created_at_us = pg_time(rows, row, 1),
        .definition = created.campaign_created,
        .released = pg_i64(rows, row, 4),
        .issued = pg_i64(rows, row, 5),
        .state = (enum campaign_state)pg_i64(rows, row, 6),
        .plan_done = pg_i64(rows, row, 7),
        .first = pg_i64(rows, row, 8),
        .position = pg_i64(rows, row, 9),
        .redeemed = pg_i64(rows, row, 10),
        .reserved = pg_i64(rows, row, 11),
        .plan_halted = pg_i64(rows, row, 12) != 0,
    };
    return true;
}
