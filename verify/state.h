/* SPDX-License-Identifier: Apache-2.0 */
/* The state rows of a slice against what the fold of its log says (verify_log.h). Pure: rows come in as
 * values, differences go to the report. After verify_log_end, in any order: every row of each table; then
 * verify_state_end, which reports what has no row. Rows of the part that another pass follows are not looked
 * at. Spans are borrowed during the call. */
#pragma once

#include "verify/log.h"

struct verify_campaign_row {
    struct span id, created_by, definition;
    int64_t created_at_us, version, quantity, released, issued, redeemed, reserved, status, plan_done, first,
        position;
    bool plan_halted;
    int64_t due_at_us;    /* 0: NULL */
    bool due_at_is_epoch; /* as a migration leaves it for the sweep to look at */
};

struct verify_coupon_row {
    int64_t position, state, last, changed_at_us, order_amount, discount_amount, reserved_until_us;
    struct span campaign_id, order_id, reason;
    const struct event *event; /* the one at `last`, decoded; NULL: there is none that can be read */
};

struct verify_run_row {
    struct span campaign_id;
    int64_t first_sequence, first_position, last_position;
};

struct verify_control_row {
    int64_t kind, position;
    struct span name, value;
};

/* An idempotency row whose answer is rendered from an event. */
struct verify_request_row {
    int64_t position, status, recorded_at_us;
    int64_t event_type, event_recorded_at_us; /* of the event at the position; type 0: there is none */
};

void verify_campaign_row(struct verify_log *log, const struct verify_campaign_row *row);
void verify_coupon_row(struct verify_log *log, const struct verify_coupon_row *row);
void verify_run_row(struct verify_log *log, const struct verify_run_row *row);
void verify_control_row(struct verify_log *log, const struct verify_control_row *row);
void verify_request_row(struct verify_log *log, const struct verify_request_row *row);
void verify_state_end(struct verify_log *log);
