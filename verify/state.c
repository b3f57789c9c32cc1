/* SPDX-License-Identifier: Apache-2.0 */
/* Rows compared with the fold. */
#include "verify/state.h"

#include <string.h>

enum { REQUEST_CREATED = 201, REQUEST_DONE = 200 };

static bool mine(const struct verify_log *log, struct verify_name name)
{
    return verify_part_has(&log->memory.part, name);
}

static void differ(struct verify_log *log, enum verify_rule rule, struct span campaign, int64_t position,
                   const char *text)
{
    struct verify_place place = {.slice = log->slice, .position = position, .campaign = campaign};
    verify_differ(log->report, rule, &place, "%s", text);
}

static bool hash_is(struct span text, const uint8_t hash[DEFINITION_HASH_BYTES])
{
    uint8_t own[DEFINITION_HASH_BYTES];
    verify_hash_text(text, own);
    return memcmp(own, hash, sizeof own) == 0;
}

/* --- campaign --- */

/* One column of the row being checked. */
struct column {
    const char *name;
    int64_t row, log;
};

static void compare_columns(struct verify_log *log, const struct verify_campaign_row *row,
                            const struct column *columns, size_t count)
{
    struct verify_place place = {.slice = log->slice, .position = row->position, .campaign = row->id};
    for (size_t i = 0; i < count; i++)
        if (columns[i].row != columns[i].log)
            verify_differ(log->report, VERIFY_CAMPAIGN_ROW, &place, "%s is %lld, the log says %lld",
                          columns[i].name, (long long)columns[i].row, (long long)columns[i].log);
}

/* What is a function of the definition, which is there as bytes only: the row's own, once they are known to
 * be those of the event. */
static void compare_definition(struct verify_log *log, const struct verify_campaign_row *row,
                               const struct verify_campaign *record)
{
    struct arena arena;
    struct event created = {
        .type = EVENT_CampaignCreated, .version = (int16_t)row->version, .data = row->definition};
    arena_init(&arena, 1024 * 1024);
    if (!hash_is(row->definition, record->definition_hash)) {
        differ(log, VERIFY_CAMPAIGN_ROW, row->id, row->position,
               "definition is not what its last event says that has one");
    } else if (event_decode(&created, &arena) == CODEC_OK) {
        struct campaign campaign = record->campaign;
        campaign.definition = created.campaign_created;
        int64_t due_at_us = campaign_due_at_us(&campaign);
        if (!span_equal(row->created_by, campaign.definition.created_by))
            differ(log, VERIFY_CAMPAIGN_ROW, row->id, row->position,
                   "created_by is not that of CampaignCreated");
        if (!row->due_at_is_epoch)
            compare_columns(log, row, &(struct column){"due_at", row->due_at_us, due_at_us}, 1);
    }
    arena_deinit(&arena);
}

static void compare_campaign(struct verify_log *log, const struct verify_campaign_row *row,
                             const struct verify_campaign *record)
{
    const struct campaign *is = &record->campaign;
    const struct column columns[] = {
        {"created_at", row->created_at_us, is->created_at_us},
        {"version", row->version, record->version},
        {"quantity", row->quantity, is->definition.quantity},
        {"released", row->released, is->released},
        {"issued", row->issued, is->issued},
        {"redeemed", row->redeemed, is->redeemed},
        {"reserved", row->reserved, is->reserved},
        {"status", row->status, is->state},
        {"plan_done", row->plan_done, is->plan_done},
        {"plan_halted", row->plan_halted, is->plan_halted},
        {"first", row->first, is->first},
        {"position", row->position, is->position},
    };
    compare_columns(log, row, columns, COUNT_OF(columns));
    compare_definition(log, row, record);
}

void verify_campaign_row(struct verify_log *log, const struct verify_campaign_row *row)
{
    struct verify_name name = verify_name_of(row->id, (struct span){0});
    if (!mine(log, name))
        return;
    struct verify_campaign *record = verify_table_get(&log->campaigns, name);
    log->totals->rows++;
    if (!record) {
        differ(log, VERIFY_CAMPAIGN_ROW, row->id, row->position, "no such campaign is in the log");
        return;
    }
    record->row_seen = true;
    if (record->campaign.first) /* what never was created is reported as such */
        compare_campaign(log, row, record);
}

/* --- issue_run --- */

void verify_run_row(struct verify_log *log, const struct verify_run_row *row)
{
    struct verify_name name = verify_name_of(row->campaign_id, (struct span){0});
    if (!mine(log, name))
        return;
    struct verify_campaign *record = verify_table_get(&log->campaigns, name);
    log->totals->rows++;
    if (!record) {
        differ(log, VERIFY_RUN_ROW, row->campaign_id, row->first_position, "no such campaign is in the log");
        return;
    }
    record->rows.sum += verify_run_hash(row->first_sequence, row->first_position, row->last_position);
    record->rows.count++;
}

/* --- coupon --- */

static const char *fault_of_coupon(const struct verify_coupon_row *row, const struct verify_coupon_life *life)
{
    struct coupon coupon = {.last = 0};
    if (row->last != life->last)
        return "last is not the coupon's last event";
    if (!row->event || !coupon_concerned(row->event))
        return "last names no event of a coupon";
    coupon_apply(&coupon, row->event);
    if (row->state != coupon.state)
        return "state is not what its last event says";
    if (row->changed_at_us != coupon.changed_at_us)
        return "changed_at is not when its last event was";
    if (!span_equal(row->campaign_id, row->event->campaign_id))
        return "campaign_id is not that of its events";
    if (row->order_amount != coupon.order_amount || row->discount_amount != coupon.discount_amount)
        return "amounts are not what its last event says";
    if (row->reserved_until_us != coupon.reserved_until_us)
        return "reserved_until is not what its last event says";
    if (!span_equal(row->order_id, coupon.order_id))
        return "order_id is not what its last event says";
    return span_equal(row->reason, coupon.reason) ? NULL : "reason is not what its last event says";
}

void verify_coupon_row(struct verify_log *log, const struct verify_coupon_row *row)
{
    struct verify_name name = verify_name_of_number(row->position);
    if (!mine(log, name))
        return;
    struct verify_coupon_life *life = verify_table_get(&log->lives, name);
    const char *fault = "nothing happened to this coupon since it was issued";
    log->totals->rows++;
    if (life) {
        life->row_seen = true;
        fault = fault_of_coupon(row, life);
    }
    if (fault)
        differ(log, VERIFY_COUPON_ROW, row->campaign_id, row->position, fault);
}

/* --- control --- */

static void differ_control(struct verify_log *log, struct span name, int64_t position, const char *text)
{
    struct verify_place place = {.slice = log->slice, .position = position, .key = name};
    verify_differ(log->report, VERIFY_CONTROL_ROW, &place, "%s", text);
}

void verify_control_row(struct verify_log *log, const struct verify_control_row *row)
{
    struct verify_name name = verify_control_name(row->kind, row->name);
    if (!mine(log, name))
        return;
    struct verify_control *control = verify_table_get(&log->controls, name);
    log->totals->rows++;
    if (!control) {
        differ_control(log, row->name, row->position, "the log says nothing of it");
        return;
    }
    control->row_seen = true;
    if (row->position != control->position)
        differ_control(log, row->name, row->position, "position is not that of the last event about it");
    if (!hash_is(row->value, control->value_hash))
        differ_control(log, row->name, row->position, "value is not what the last event about it says");
}

/* --- idempotency --- */

/* An answer about a coupon is rendered from the event that was the effect. */
static bool can_be_effect(const struct verify_request_row *row)
{
    struct event event = {.type = (enum event_type)row->event_type};
    if (row->status == REQUEST_CREATED)
        return row->event_type == EVENT_CouponIssued;
    return row->status == REQUEST_DONE && coupon_concerned(&event);
}

void verify_request_row(struct verify_log *log, const struct verify_request_row *row)
{
    if (!log->whole)
        return;
    const char *fault = NULL;
    log->totals->rows++;
    if (row->event_type == 0)
        fault = "an idempotency row names a position where no event is";
    else if (!can_be_effect(row))
        fault = "an idempotency row without an answer of its own names an event that is not of its kind";
    else if (row->event_recorded_at_us != row->recorded_at_us)
        fault = "an idempotency row was recorded at another time than its event";
    if (fault)
        differ(log, VERIFY_REQUEST_ROW, (struct span){0}, row->position, fault);
}

/* --- what has no row --- */

/* Its id is gone with the events; the position says which it is. */
static void end_campaigns(struct verify_log *log)
{
    size_t at = 0;
    for (const struct verify_campaign *record; (record = verify_table_next(&log->campaigns, &at));) {
        struct verify_place place = {.slice = log->slice, .position = record->campaign.first};
        if (!record->row_seen && record->campaign.first)
            verify_differ(log->report, VERIFY_CAMPAIGN_ROW, &place,
                          "the campaign that was created here has no row");
        if (record->runs.count != record->rows.count || record->runs.sum != record->rows.sum)
            verify_differ(log->report, VERIFY_RUN_ROW, &place,
                          "the campaign that was created here has %llu rows, the log makes %llu%s",
                          (unsigned long long)record->rows.count, (unsigned long long)record->runs.count,
                          record->runs.count == record->rows.count ? " others" : "");
    }
}

static void end_coupons(struct verify_log *log)
{
    size_t at = 0;
    for (const struct verify_coupon_life *life; (life = verify_table_next(&log->lives, &at));)
        if (!life->row_seen)
            differ(log, VERIFY_COUPON_ROW, (struct span){0}, (int64_t)life->name.part,
                   "the coupon that was issued here has no row, but something happened to it");
}

static void end_controls(struct verify_log *log)
{
    size_t at = 0;
    for (const struct verify_control *control; (control = verify_table_next(&log->controls, &at));)
        if (!control->row_seen)
            differ_control(log, (struct span){control->text, control->text_len}, control->position,
                           "the log has a setting or an issuer that has no row");
}

void verify_state_end(struct verify_log *log)
{
    end_campaigns(log);
    end_coupons(log);
    end_controls(log);
}
