/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of table campaign as values: the columns, named once for every statement that reads them. */
#pragma once

#include "command-service/store/known.h"
#include "common/pg/pg.h"
#include "events/event_log.h"

/* Of a table or subquery called c, of the slice that an expression gives. */
#define CAMPAIGN_COLUMNS(in_slice)                                                                        \
    "c.id, c.created_at, c.version, c.definition, c.released, c.issued, c.status, c.plan_done, c.first, " \
    "c.position, c.redeemed, c.reserved, c.plan_halted, c.due_at, " CHANGE_COLUMNS(in_slice)
enum {
    CAMPAIGN_COLUMN_DUE_AT = 13,
    CAMPAIGN_COLUMN_CHANGED_AT,
    CAMPAIGN_COLUMN_CHANGE,
    CAMPAIGN_COLUMN_COUNT
};

/* A row whose columns from `column` on are CAMPAIGN_COLUMNS; borrows from rows, `known` (NULL: nobody
 * keeps definitions) and arena. false: not
 * one that this program can read, or that the log of a slice with this head can have made. */
bool campaign_row_read(const struct pg_rows *rows, int row, int column, int64_t head,
                       struct known_campaign *known, struct arena *arena, struct campaign *ret) MUST_USE;
