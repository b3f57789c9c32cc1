/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of campaigns and of issuing. */
#include "command-service/core/decide.h"

#include "common/base/clock.h"
#include "events/problems.h"

static int64_t plan_still_to_come(const struct campaign *campaign)
{
    const struct release_list *plan = &campaign->definition.release_plan;
    int64_t sum = 0;
    for (size_t i = (size_t)campaign->plan_done; i < plan->count; i++)
        sum += plan->items[i].quantity;
    return sum;
}

struct event *decision_accept(struct decision *ret, enum event_type type, const struct command *command,
                              struct span campaign_id)
{
    ret->has_event = true;
    ret->event = (struct event){
        .type = type,
        .version = event_describe((int)type)->version,
        .campaign_id = campaign_id,
        .trace = command->trace,
    };
    return &ret->event;
}

/* The refusals that come from the subject not being there. */
static const struct problem *refuse_absent(const struct command *command, const struct subject *subject)
{
    const struct campaign *campaign = subject->campaign;
    switch (command_subject(command->kind)) {
    case SUBJECT_COUPON:
        return subject->coupon ? NULL : &problem_unknown_coupon;
    case SUBJECT_CONTROL:
        return NULL;
    default:
        if (command->kind == COMMAND_CREATE)
            return NULL;
        bool gone = campaign && campaign->state == CAMPAIGN_DELETED && command->kind != COMMAND_DELETE;
        return campaign && !gone ? NULL : &problem_unknown_campaign;
    }
}

void decide_issue(const struct command *command, struct span user_id, const struct subject *subject,
                  int64_t now_us, struct decision *ret)
{
    const struct campaign *campaign = subject->campaign;
    const struct holding *held = subject->held;
    *ret = (struct decision){.refusal = refuse_absent(command, subject)};
    if (!ret->refusal)
        ret->refusal = campaign_issue_refusal(campaign, held->count, now_us);
    if (ret->refusal)
        return;
    struct event *event = decision_accept(ret, EVENT_CouponIssued, command, campaign->id);
    event->user_id = user_id;
    event->coupon_issued = (struct coupon_issued){
        .sequence = campaign->issued + 1, /* I5: dense */
        .nth = held->count + 1,
        .expires_at_us = campaign_coupon_expiry_us(&campaign->definition, now_us),
        .code_prefix = campaign->definition.code_prefix,
    };
}

static void decide_release(const struct command *command, const struct subject *subject, int64_t now_us,
                           struct decision *ret)
{
    const struct campaign *campaign = subject->campaign;
    int64_t room = campaign->definition.quantity - campaign->released - plan_still_to_come(campaign);
    if (campaign_over(campaign, now_us))
        ret->refusal = &problem_ended;
    else if (command->release.quantity > room)
        ret->refusal = &problem_exceeds_quantity;
    if (ret->refusal)
        return;
    decision_accept(ret, EVENT_StockReleased, command, campaign->id)->stock_released =
        (struct stock_released){
            .quantity = command->release.quantity, .actor = command->actor, .reason = command->reason};
}

/* Of what was promised, more may be given and nothing taken back (I1, I2). */
static const struct problem *refuse_change(const struct campaign_change *change,
                                           const struct subject *subject, int64_t now_us)
{
    const struct campaign_created *is = &subject->campaign->definition;
    const struct creation *so_far = subject->creation;
    int64_t end_us = campaign_ends_at_us(is);
    if (campaign_over(subject->campaign, now_us))
        return &problem_ended;
    if ((change->quantity && change->quantity < is->quantity) ||
        (change->per_user_limit && change->per_user_limit < is->per_user_limit) ||
        (change->ends_at_us && (!end_us || change->ends_at_us < end_us)))
        return &problem_below_promise;
    if (is->coupon_expires_at_us && change->ends_at_us > is->coupon_expires_at_us)
        return &problem_ends_after_coupons;
    if (change->quantity > is->quantity &&
        so_far->stock + change->quantity - is->quantity > so_far->stock_max)
        return &problem_stock_exceeded;
    return NULL;
}

/* Where nothing is held back for a release, what comes on top is not held back either. Who was told a moment
 * ago that all of the quantity is issued is not told otherwise by another service meanwhile: every service
 * may say so for EARLY_LEASE_MS after it last looked. */
static void enlarge(const struct campaign *campaign, int64_t quantity, int64_t now_us,
                    struct campaign_changed *ret)
{
    int64_t was = campaign->definition.quantity;
    if (quantity <= was)
        return;
    ret->quantity = quantity;
    if (campaign->released + plan_still_to_come(campaign) == was)
        ret->released_more = quantity - was;
    if (campaign->issued >= was)
        ret->reopens_at_us = now_us + EARLY_LEASE_MS * US_PER_MS;
}

static bool same_tags(const struct text_list *a, const struct text_list *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = span_equal(a->items[i], b->items[i]);
    return same;
}

/* What is as it is asked to be already is accepted without an event. */
static void decide_change(const struct command *command, const struct subject *subject, int64_t now_us,
                          struct decision *ret)
{
    const struct campaign_change *change = command->change;
    const struct campaign_created *is = &subject->campaign->definition;
    struct campaign_changed changed = campaign_unchanged(is);
    changed.actor = command->actor;
    changed.reason = command->reason;
    changed.fields = change->fields;
    ret->refusal = refuse_change(change, subject, now_us);
    if (ret->refusal)
        return;
    if (change->name.ptr)
        changed.name = change->name;
    if (change->has_tags)
        changed.tags = change->tags;
    if (change->per_user_limit)
        changed.per_user_limit = change->per_user_limit;
    if (change->ends_at_us)
        changed.ends_at_us = change->ends_at_us;
    enlarge(subject->campaign, change->quantity, now_us, &changed);
    if (span_equal(changed.name, is->name) && same_tags(&changed.tags, &is->tags) &&
        changed.per_user_limit == is->per_user_limit && changed.ends_at_us == is->ends_at_us &&
        changed.quantity == is->quantity)
        return;
    decision_accept(ret, EVENT_CampaignChanged, command, subject->campaign->id)->campaign_changed = changed;
}

/* Pausing what is paused, resuming what runs and closing what is over are accepted without an event: in an
 * incident, two people press the same button. Resuming also lets a halted release plan go on. That a campaign
 * is over goes by the instant, so that it does not matter whether the sweep has noted it yet. */
static void decide_state(const struct command *command, const struct subject *subject, int64_t now_us,
                         struct decision *ret)
{
    const struct campaign *campaign = subject->campaign;
    bool over = campaign_over(campaign, now_us);
    if (command->kind == COMMAND_CLOSE) {
        if (over)
            return;
        decision_accept(ret, EVENT_CampaignClosed, command, campaign->id)->campaign_closed =
            (struct campaign_closed){command->actor, command->reason};
        return;
    }
    if (over) {
        ret->refusal = &problem_ended;
        return;
    }
    if (command->kind == COMMAND_PAUSE && campaign->state == CAMPAIGN_ACTIVE)
        decision_accept(ret, EVENT_CampaignPaused, command, campaign->id)->campaign_paused =
            (struct campaign_paused){command->actor, command->reason};
    else if (command->kind == COMMAND_RESUME && (campaign->state == CAMPAIGN_PAUSED || campaign->plan_halted))
        decision_accept(ret, EVENT_CampaignResumed, command, campaign->id)->campaign_resumed =
            (struct campaign_resumed){command->actor, command->reason};
}

static const struct problem *refuse_create(const struct command *command, const struct subject *subject,
                                           int64_t now_us)
{
    const struct creation *so_far = subject->creation;
    if (subject->campaign) /* a deleted one too: an id names one campaign for ever */
        return &problem_campaign_exists;
    int64_t expires_at_us = command->create->coupon_expires_at_us;
    if (expires_at_us && expires_at_us <= now_us)
        return &problem_coupons_expired;
    if (so_far->by_key >= so_far->by_key_max || so_far->by_all >= so_far->by_all_max)
        return &problem_quota_exceeded;
    if (so_far->stock + command->create->quantity > so_far->stock_max)
        return &problem_stock_exceeded;
    return NULL;
}

static void decide_create(const struct command *command, const struct subject *subject, int64_t now_us,
                          struct decision *ret)
{
    ret->refusal = refuse_create(command, subject, now_us);
    if (ret->refusal)
        return;
    struct event *event = decision_accept(ret, EVENT_CampaignCreated, command, command->campaign_id);
    event->campaign_created = *command->create;
    event->campaign_created.created_by = command->actor;
}

/* Deleting what is deleted is accepted: DELETE can be repeated. */
static void decide_delete(const struct command *command, const struct subject *subject, int64_t now_us,
                          struct decision *ret)
{
    (void)now_us;
    if (subject->campaign->issued > 0)
        ret->refusal = &problem_has_coupons;
    if (ret->refusal || subject->campaign->state == CAMPAIGN_DELETED)
        return;
    decision_accept(ret, EVENT_CampaignDeleted, command, subject->campaign->id)->campaign_deleted =
        (struct campaign_deleted){command->actor, command->reason};
}

/* The tranches go on being released until somebody has looked, so only while there are any. The figures are
 * of the last tranche: when another was released meanwhile, they are not about what would come next. */
static void decide_halt(const struct command *command, const struct subject *subject, int64_t now_us,
                        struct decision *ret)
{
    const struct campaign *campaign = subject->campaign;
    bool more = campaign->plan_done < (int64_t)campaign->definition.release_plan.count;
    if (!more || campaign->plan_halted || campaign_over(campaign, now_us) ||
        command->halt.plan_step != campaign->plan_done)
        return;
    decision_accept(ret, EVENT_ReleasePlanHalted, command, campaign->id)->release_plan_halted = command->halt;
}

/* What is due was done before, as for every command. */
static void decide_tend(const struct command *command, const struct subject *subject, int64_t now_us,
                        struct decision *ret)
{
    (void)command, (void)subject, (void)now_us, (void)ret;
}

static void decide_control(const struct command *command, const struct subject *subject, int64_t now_us,
                           struct decision *ret)
{
    static const enum event_type types[COMMAND_KINDS] = {
        [COMMAND_SUSPEND] = EVENT_IssuerSuspended,
        [COMMAND_RESUME_ISSUER] = EVENT_IssuerResumed,
        [COMMAND_SET] = EVENT_SettingChanged,
    };
    (void)subject, (void)now_us;
    struct event *event = decision_accept(ret, types[command->kind], command, CONTROL_STREAM);
    struct span name = command->control.name;
    if (command->kind == COMMAND_SET)
        event->setting_changed =
            (struct setting_changed){name, command->control.value, command->actor, command->reason};
    else /* both have the same fields */
        event->issuer_suspended = (struct issuer_suspended){name, command->actor, command->reason};
}

static void decide_one_issue(const struct command *command, const struct subject *subject, int64_t now_us,
                             struct decision *ret)
{
    decide_issue(command, command->issue.user_id, subject, now_us, ret);
}

typedef void decider(const struct command *command, const struct subject *subject, int64_t now_us,
                     struct decision *ret);

static decider *const deciders[COMMAND_KINDS] = {
    [COMMAND_CREATE] = decide_create,   [COMMAND_PAUSE] = decide_state,
    [COMMAND_RESUME] = decide_state,    [COMMAND_CLOSE] = decide_state,
    [COMMAND_RELEASE] = decide_release, [COMMAND_DELETE] = decide_delete,
    [COMMAND_ISSUE] = decide_one_issue, [COMMAND_VOID] = decide_delete,
    [COMMAND_RESERVE] = decide_coupon,  [COMMAND_REDEEM] = decide_coupon,
    [COMMAND_FREE] = decide_coupon,     [COMMAND_RESTORE] = decide_coupon,
    [COMMAND_REVOKE] = decide_coupon,   [COMMAND_LAPSE] = decide_coupon,
    [COMMAND_SUSPEND] = decide_control, [COMMAND_RESUME_ISSUER] = decide_control,
    [COMMAND_SET] = decide_control,     [COMMAND_TEND] = decide_tend,
    [COMMAND_HALT] = decide_halt,       [COMMAND_CHANGE] = decide_change,
};

void decide(const struct command *command, const struct subject *subject, int64_t now_us,
            struct decision *ret)
{
    *ret = (struct decision){.refusal = refuse_absent(command, subject)};
    CHECK(deciders[command->kind]);
    if (!ret->refusal)
        deciders[command->kind](command, subject, now_us, ret);
}

/* Which order has the coupon is told to the key whose order it is, and to an admin's. */
static bool may_know_order(const struct command *command, const struct coupon *coupon)
{
    return command->by_admin || (command->actor.len && span_equal(command->actor, coupon->actor));
}

struct refusal_next decide_next(const struct problem *refusal, const struct subject *subject,
                                const struct command *command, int64_t now_us)
{
    const struct campaign *campaign = subject->campaign;
    struct refusal_next next = {0};
    if (refusal == &problem_not_started) {
        next.from = "starts_at";
        next.from_us = campaign->definition.starts_at_us;
    } else if (refusal == &problem_sold_out) {
        bool reopens = now_us < campaign->definition.reopens_at_us;
        const struct release_list *plan = &campaign->definition.release_plan;
        bool planned = !campaign->plan_halted && campaign->plan_done < (int64_t)plan->count;
        next.from = reopens ? "reopens_at" : "next_release_at";
        next.from_us = reopens   ? campaign->definition.reopens_at_us
                       : planned ? plan->items[campaign->plan_done].at_us
                                 : 0;
        next.says_held_back = true;
        next.held_back = campaign->definition.quantity - campaign->released;
    } else if (refusal == &problem_reserved) {
        next.from = "reserved_until";
        next.from_us = subject->coupon->reserved_until_us;
    } else if (refusal == &problem_already_redeemed && may_know_order(command, subject->coupon)) {
        next.order_id = subject->coupon->order_id;
    }
    return next;
}

bool decide_due_release(const struct campaign *campaign, int64_t now_us, struct event *ret)
{
    const struct release_list *plan = &campaign->definition.release_plan;
    size_t next = (size_t)campaign->plan_done;
    if (campaign->plan_halted || next >= plan->count || plan->items[next].at_us > now_us ||
        campaign_over(campaign, now_us))
        return false;
    *ret = (struct event){
        .type = EVENT_StockReleased,
        .version = event_describe(EVENT_StockReleased)->version,
        .campaign_id = campaign->id,
        .stock_released = {.quantity = plan->items[next].quantity, .plan_step = (int64_t)next + 1},
    };
    return true;
}

bool decide_due_end(const struct campaign *campaign, int64_t now_us, struct event *ret)
{
    if (campaign_over(campaign, 0) || !campaign_over(campaign, now_us))
        return false;
    *ret = (struct event){
        .type = EVENT_CampaignEnded,
        .version = event_describe(EVENT_CampaignEnded)->version,
        .campaign_id = campaign->id,
        .campaign_ended = {.due_at_us = campaign_ends_at_us(&campaign->definition)},
    };
    return true;
}
