/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of issuing. */
#include "command-service/decide.h"

#include "common/clock.h"
#include "events/problems.h"

static int64_t plan_still_to_come(const struct campaign *campaign)
{
    const struct release_list *plan = &campaign->definition.release_plan;
    int64_t sum = 0;
    for (size_t i = (size_t)campaign->plan_done; i < plan->count; i++)
        sum += plan->items[i].quantity;
    return sum;
}

static bool has_ended(const struct campaign *campaign, int64_t now_us)
{
    const struct campaign_created *is = &campaign->definition;
    return campaign->state == CAMPAIGN_CLOSED || (is->ends_at_us && now_us >= is->ends_at_us);
}

/* A coupon issued now would not be valid for a moment. */
static bool born_expired(const struct campaign *campaign, int64_t now_us)
{
    int64_t expires_at_us = campaign->definition.coupon_expires_at_us;
    return expires_at_us && now_us >= expires_at_us;
}

static int64_t expiry(const struct campaign_created *is, int64_t now_us)
{
    if (is->coupon_expires_at_us)
        return is->coupon_expires_at_us;
    return is->coupon_valid_days ? now_us + is->coupon_valid_days * US_PER_DAY : 0;
}

static void accept(struct decision *ret, enum event_type type, const struct command *command)
{
    ret->has_event = true;
    ret->event = (struct event){
        .type = type,
        .version = event_describe((int)type)->version,
        .campaign_id = command->campaign_id,
        .trace = command->trace,
    };
}

static const struct problem *refuse_issue(const struct campaign *campaign, const struct holding *held,
                                          int64_t now_us)
{
    if (has_ended(campaign, now_us) || born_expired(campaign, now_us))
        return &problem_ended;
    if (campaign->state == CAMPAIGN_PAUSED)
        return &problem_paused;
    if (now_us < campaign->definition.starts_at_us)
        return &problem_not_started;
    if (held->count >= campaign->definition.per_user_limit) /* I2 */
        return &problem_already_issued;
    if (campaign->issued >= campaign->released) /* I1 */
        return &problem_sold_out;
    return NULL;
}

static void decide_issue(const struct command *command, const struct campaign *campaign,
                         const struct holding *held, int64_t now_us, struct decision *ret)
{
    ret->refusal = refuse_issue(campaign, held, now_us);
    if (ret->refusal)
        return;
    accept(ret, EVENT_CouponIssued, command);
    ret->event.user_id = command->user_id;
    ret->event.coupon_issued = (struct coupon_issued){
        .sequence = campaign->issued + 1, /* I5: dense */
        .nth = held->count + 1,
        .expires_at_us = expiry(&campaign->definition, now_us),
        .code_prefix = campaign->definition.code_prefix,
    };
}

static void decide_release(const struct command *command, const struct campaign *campaign, int64_t now_us,
                           struct decision *ret)
{
    int64_t room = campaign->definition.quantity - campaign->released - plan_still_to_come(campaign);
    if (has_ended(campaign, now_us))
        ret->refusal = &problem_ended;
    else if (command->quantity > room)
        ret->refusal = &problem_exceeds_quantity;
    if (ret->refusal)
        return;
    accept(ret, EVENT_StockReleased, command);
    ret->event.stock_released =
        (struct stock_released){.quantity = command->quantity, .actor = command->actor};
}

/* Pausing what is paused, resuming what runs and closing what is closed are accepted without an event: in an
 * incident, two people press the same button. */
static void decide_state(const struct command *command, const struct campaign *campaign, struct decision *ret)
{
    if (command->kind == COMMAND_CLOSE) {
        if (campaign->state == CAMPAIGN_CLOSED)
            return;
        accept(ret, EVENT_CampaignClosed, command);
        ret->event.campaign_closed.actor = command->actor;
        return;
    }
    if (campaign->state == CAMPAIGN_CLOSED) {
        ret->refusal = &problem_ended;
        return;
    }
    if (command->kind == COMMAND_PAUSE && campaign->state == CAMPAIGN_ACTIVE) {
        accept(ret, EVENT_CampaignPaused, command);
        ret->event.campaign_paused.actor = command->actor;
    } else if (command->kind == COMMAND_RESUME && campaign->state == CAMPAIGN_PAUSED) {
        accept(ret, EVENT_CampaignResumed, command);
        ret->event.campaign_resumed.actor = command->actor;
    }
}

static void decide_create(const struct command *command, const struct campaign *campaign,
                          struct decision *ret)
{
    if (campaign) {
        ret->refusal = &problem_campaign_exists;
        return;
    }
    accept(ret, EVENT_CampaignCreated, command);
    ret->event.campaign_created = command->definition;
    ret->event.campaign_created.created_by = command->actor;
}

void decide(const struct command *command, const struct campaign *campaign, const struct holding *held,
            int64_t now_us, struct decision *ret)
{
    *ret = (struct decision){0};
    if (command->kind == COMMAND_CREATE) {
        decide_create(command, campaign, ret);
        return;
    }
    if (!campaign) {
        ret->refusal = &problem_unknown_campaign;
        return;
    }
    if (command->kind == COMMAND_ISSUE)
        decide_issue(command, campaign, held, now_us, ret);
    else if (command->kind == COMMAND_RELEASE)
        decide_release(command, campaign, now_us, ret);
    else
        decide_state(command, campaign, ret);
}

bool decide_due_release(const struct campaign *campaign, int64_t now_us, struct event *ret)
{
    const struct release_list *plan = &campaign->definition.release_plan;
    size_t next = (size_t)campaign->plan_done;
    if (next >= plan->count || plan->items[next].at_us > now_us || has_ended(campaign, now_us))
        return false;
    *ret = (struct event){
        .type = EVENT_StockReleased,
        .version = event_describe(EVENT_StockReleased)->version,
        .campaign_id = campaign->id,
        .stock_released = {.quantity = plan->items[next].quantity, .plan_step = (int64_t)next + 1},
    };
    return true;
}
