/* SPDX-License-Identifier: Apache-2.0 */
/* What a campaign's events must be, one after the other (I1, I5). The fold itself is campaign_apply(), the
 * one that every service uses; here is what it may rely on, looked at first, so that a log that somebody
 * tampered with ends in a difference and not in a failed assertion. */
#include "verify/log.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "events/ids.h"

/* One event of one campaign, being checked. */
struct context {
    struct verify_log *log;
    struct verify_campaign *record;
    const struct event *event;
};

/* What is wrong once stays wrong for all events after it: of each campaign a rule is reported once. */
static bool expect(struct context *context, enum verify_rule rule, bool holds, const char *text)
{
    uint64_t bit = UINT64_C(1) << rule;
    if (!holds && !(context->record->reported & bit))
        verify_log_differ(context->log, rule, context->event, text);
    if (!holds)
        context->record->reported |= bit;
    return holds;
}

/* --- runs: which rows of issue_run there must be --- */

static uint64_t mix(uint64_t hash, int64_t value)
{
    hash = (hash ^ (uint64_t)value) * 0x9E3779B97F4A7C15u;
    return hash ^ (hash >> 29);
}

uint64_t verify_run_hash(int64_t first_sequence, int64_t first_position, int64_t last_position)
{
    return mix(mix(mix(1, first_sequence), first_position), last_position);
}

void verify_campaign_end_run(struct verify_campaign *record)
{
    if (!record->run_sequence)
        return;
    record->runs.sum += verify_run_hash(record->run_sequence, record->run_first, record->run_last);
    record->runs.count++;
    record->run_sequence = 0;
}

static void extend_run(struct context *context)
{
    struct verify_campaign *record = context->record;
    int64_t batch = context->log->batch.first;
    if (record->run_batch != batch)
        verify_campaign_end_run(record);
    if (!record->run_sequence) {
        record->run_batch = batch;
        record->run_sequence = context->event->coupon_issued.sequence;
        record->run_first = context->event->position;
    }
    record->run_last = context->event->position;
}

/* --- creation --- */

void verify_hash_text(struct span text, uint8_t ret[DEFINITION_HASH_BYTES])
{
    crypto_hash(NULL, text, ret, DEFINITION_HASH_BYTES);
}

/* Keeps the numbers; the texts are gone with the event. */
static void keep_numbers(struct verify_campaign *record)
{
    struct campaign_created *kept = &record->campaign.definition;
    record->campaign.id = kept->name = kept->currency = kept->code_prefix = kept->created_by =
        (struct span){0};
    kept->tags = (struct text_list){0};
    kept->release_plan = (struct release_list){0};
}

static void created(struct context *context)
{
    struct verify_campaign *record = context->record;
    const struct event *event = context->event;
    const struct campaign_created *is = &event->campaign_created;
    if (!expect(context, VERIFY_CREATED, record->campaign.position == 0,
                "CampaignCreated, but the campaign has events before it"))
        return;
    expect(context, VERIFY_STOCK, is->released <= is->quantity, "more is released than there is");
    campaign_apply(&record->campaign, event);
    record->version = event->version;
    record->plan_count = (int64_t)is->release_plan.count;
    record->code_prefix_len = (uint8_t)is->code_prefix.len;
    if (is->code_prefix.len)
        memcpy(record->code_prefix, is->code_prefix.ptr, is->code_prefix.len);
    verify_hash_text(event->data, record->definition_hash);
    keep_numbers(record);
}

/* --- changes --- */

/* What no change may touch, as far as it is kept. */
static bool same_else(const struct campaign_created *a, const struct campaign_created *b)
{
    return a->discount_type == b->discount_type && a->discount_value == b->discount_value &&
           a->discount_hundredths == b->discount_hundredths && a->discount_max == b->discount_max &&
           a->min_order_amount == b->min_order_amount && a->released == b->released &&
           a->starts_at_us == b->starts_at_us && a->coupon_valid_days == b->coupon_valid_days &&
           a->coupon_expires_at_us == b->coupon_expires_at_us && a->utc_offset_code == b->utc_offset_code;
}

static int64_t reopening_us(const struct campaign *was, const struct event *event)
{
    bool sold_out = was->issued >= was->definition.quantity;
    if (!sold_out || event->campaign_changed.quantity == was->definition.quantity)
        return was->definition.reopens_at_us;
    return event->recorded_at_us + EARLY_LEASE_MS * US_PER_MS;
}

static void changed(struct context *context)
{
    struct verify_campaign *record = context->record;
    struct campaign *was = &record->campaign;
    const struct event *event = context->event;
    const struct campaign_created *before = &was->definition,
                                  is = campaign_changed_definition(&event->campaign_changed);
    struct span prefix = {record->code_prefix, record->code_prefix_len};
    int64_t end_us = campaign_ends_at_us(before), more = event->campaign_changed.released_more;
    struct buf definition;
    expect(context, VERIFY_LIFE, !campaign_over(was, event->recorded_at_us),
           "changed, but it was over already");
    bool kept = expect(context, VERIFY_STOCK,
                       is.quantity >= before->quantity && was->released + more <= is.quantity &&
                           more <= is.quantity - before->quantity,
                       "a change takes stock back, or releases more than it adds");
    kept &= expect(context, VERIFY_LIMIT, is.per_user_limit >= before->per_user_limit,
                   "a change takes back what a user may have");
    expect(context, VERIFY_LIFE, is.ends_at_us == before->ends_at_us || (end_us && is.ends_at_us >= end_us),
           "a change ends the campaign earlier");
    expect(context, VERIFY_LIFE,
           same_else(before, &is) && span_equal(is.code_prefix, prefix) &&
               (int64_t)is.release_plan.count == record->plan_count,
           "a change of what cannot be changed");
    expect(context, VERIFY_LIFE, is.reopens_at_us == reopening_us(was, event),
           "a sold out campaign that is enlarged opens again at another time than it should");
    if (kept)
        campaign_apply(was, event);
    buf_init(&definition, EVENT_DATA_MAX);
    campaign_definition_write(&definition, &is);
    verify_hash_text(buf_span(&definition), record->definition_hash);
    buf_deinit(&definition);
    keep_numbers(record);
}

/* --- stock --- */

static void released(struct context *context)
{
    struct campaign *campaign = &context->record->campaign;
    const struct stock_released *release = &context->event->stock_released;
    bool fits =
        expect(context, VERIFY_STOCK, campaign->released + release->quantity <= campaign->definition.quantity,
               "more is released than there is");
    bool next = expect(context, VERIFY_LIFE,
                       release->plan_step == 0 ||
                           (release->plan_step == campaign->plan_done + 1 &&
                            release->plan_step <= context->record->plan_count && !campaign->plan_halted),
                       "a tranche that is not the next of the release plan, or while that is halted");
    if (fits && next) {
        campaign_apply(campaign, context->event);
        return;
    }
    campaign->released += release->quantity;
    campaign->plan_done = release->plan_step ? release->plan_step : campaign->plan_done;
}

/* --- coupons --- */

static void issued(struct context *context)
{
    struct verify_campaign *record = context->record;
    struct campaign *campaign = &record->campaign;
    const struct event *event = context->event;
    const struct coupon_issued *coupon = &event->coupon_issued;
    struct span prefix = {record->code_prefix, record->code_prefix_len};
    bool dense = expect(context, VERIFY_SEQUENCE, coupon->sequence == campaign->issued + 1,
                        "the sequence is not one more than the coupons issued");
    bool stock = expect(context, VERIFY_STOCK, coupon->sequence <= campaign->released,
                        "more coupons are issued than are released");
    expect(context, VERIFY_LIMIT, coupon->nth <= campaign->definition.per_user_limit,
           "the user has more coupons than per_user_limit");
    enum campaign_phase phase = campaign_phase(campaign, event->recorded_at_us);
    bool reopened = event->recorded_at_us >= campaign->definition.reopens_at_us;
    expect(context, VERIFY_LIFE, reopened && (phase == PHASE_ACTIVE || phase == PHASE_SOLD_OUT),
           "a coupon is issued while the campaign is not open for it");
    expect(context, VERIFY_LIFE,
           coupon->expires_at_us == campaign_coupon_expiry_us(&campaign->definition, event->recorded_at_us),
           "the coupon expires at another time than the definition says");
    expect(context, VERIFY_LIFE, span_equal(coupon->code_prefix, prefix),
           "the code prefix is not the definition's");
    extend_run(context);
    if (dense && stock)
        campaign_apply(campaign, event);
    else
        campaign->issued = coupon->sequence;
}

/* --- what orders do with them --- */

struct change {
    int64_t reserved, redeemed;
};

static struct change change_of(const struct event *event)
{
    switch (event->type) {
    case EVENT_CouponReserved:
        return (struct change){event->coupon_reserved.renewed == 0, 0};
    case EVENT_CouponRedeemed:
        return (struct change){-event->coupon_redeemed.was_reserved, 1};
    case EVENT_CouponRestored:
        return (struct change){0, -1};
    case EVENT_CouponRevoked:
        return (struct change){-event->coupon_revoked.was_reserved, 0};
    default: /* ReservationReleased, ReservationExpired */
        return (struct change){-1, 0};
    }
}

static void check_discount(struct context *context, int64_t order_amount, int64_t discount_amount)
{
    const struct campaign_created *is = &context->record->campaign.definition;
    expect(context, VERIFY_COUPON, order_amount >= is->min_order_amount, "the order is below the minimum");
    expect(context, VERIFY_COUPON, discount_amount == coupon_discount(is, order_amount),
           "the discount is not what the definition gives for the order");
}

static void used(struct context *context)
{
    struct campaign *campaign = &context->record->campaign;
    const struct event *event = context->event;
    struct change change = change_of(event);
    int64_t reserved = campaign->reserved + change.reserved, redeemed = campaign->redeemed + change.redeemed;
    if (event->type == EVENT_CouponReserved)
        check_discount(context, event->coupon_reserved.order_amount, event->coupon_reserved.discount_amount);
    if (event->type == EVENT_CouponRedeemed)
        check_discount(context, event->coupon_redeemed.order_amount, event->coupon_redeemed.discount_amount);
    if (expect(context, VERIFY_COUPON,
               reserved >= 0 && redeemed >= 0 && reserved + redeemed <= campaign->issued,
               "more coupons are reserved and redeemed than issued, or fewer than none")) {
        campaign_apply(campaign, event);
        return;
    }
    campaign->reserved = reserved;
    campaign->redeemed = redeemed;
}

/* --- state --- */

static void change_state(struct context *context, bool allowed, const char *text)
{
    expect(context, VERIFY_LIFE, allowed, text);
    campaign_apply(&context->record->campaign, context->event);
}

/* Its end, or when its coupons expire; the latter was not noted always. */
static void ended(struct context *context, bool open)
{
    const struct event *event = context->event;
    const struct campaign_created *is = &context->record->campaign.definition;
    int64_t due_at_us = event->campaign_ended.due_at_us;
    bool known = due_at_us && (due_at_us == campaign_ends_at_us(is) || due_at_us == is->ends_at_us);
    change_state(context, open && known && event->recorded_at_us >= due_at_us,
                 "ended, but it was over already or its end had not come");
}

static void deleted(struct context *context)
{
    struct campaign *campaign = &context->record->campaign;
    if (expect(context, VERIFY_LIFE, campaign->issued == 0, "deleted, but coupons were issued"))
        campaign_apply(campaign, context->event);
    else
        campaign->state = CAMPAIGN_DELETED;
}

static void dispatch(struct context *context)
{
    const struct campaign *is = &context->record->campaign;
    bool paused = is->state == CAMPAIGN_PAUSED, runs = is->state == CAMPAIGN_ACTIVE;
    switch (context->event->type) {
    case EVENT_CampaignCreated:
        created(context);
        break;
    case EVENT_StockReleased:
        expect(context, VERIFY_LIFE, paused || runs, "stock is released, but the campaign is over");
        released(context);
        break;
    case EVENT_CampaignChanged:
        changed(context);
        break;
    case EVENT_CouponIssued:
        issued(context);
        break;
    case EVENT_CampaignPaused:
        change_state(context, runs, "paused, but it did not run");
        break;
    case EVENT_CampaignResumed:
        change_state(context, paused || (runs && is->plan_halted), "resumed, but nothing held it up");
        break;
    case EVENT_CampaignClosed:
        change_state(context, paused || runs, "closed, but it was over already");
        break;
    case EVENT_CampaignDeleted:
        deleted(context);
        break;
    case EVENT_CampaignEnded:
        ended(context, paused || runs);
        break;
    case EVENT_ReleasePlanHalted:
        change_state(context, (paused || runs) && !is->plan_halted,
                     "its release plan is halted, but there was none going on");
        break;
    default:
        used(context);
    }
}

void verify_campaign_event(struct verify_log *log, struct verify_campaign *record, const struct event *event)
{
    struct context context = {log, record, event};
    if (event->position <= record->campaign.position)
        return; /* the same place twice is reported as such; a fold cannot go back */
    expect(&context, VERIFY_CREATED, record->campaign.first || event->type == EVENT_CampaignCreated,
           "the first event of a campaign is not its CampaignCreated");
    expect(&context, VERIFY_LIFE, record->campaign.state != CAMPAIGN_DELETED, "an event after its deletion");
    dispatch(&context);
    record->campaign.position = event->position;
}
