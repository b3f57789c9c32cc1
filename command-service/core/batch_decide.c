/* SPDX-License-Identifier: Apache-2.0 */
/* Turning loaded state and commands into events, rows and verdicts. */
#include "command-service/core/batch_internal.h"

#include "events/problems.h"

/* --- events --- */

static int64_t open_stock(const struct campaign *campaign)
{
    return campaign->first && !campaign_over(campaign, 0) ? campaign->definition.quantity : 0;
}

/* What creating, enlarging and ending campaigns does to the quotas. */
static void count_creation(struct batch *batch, const struct campaign *before, const struct campaign *after)
{
    int64_t opened = open_stock(after) - open_stock(before);
    if (opened)
        batch_quota(batch, QUOTA_OPEN_STOCK)->change += opened;
    if (before->first)
        return;
    batch_quota(batch, QUOTA_EVERYBODY)->change++;
    batch_quota(batch, batch_key_scope(batch, after->definition.created_by))->change++;
}

static void fold(struct batch *batch, struct loaded_campaign *loaded, const struct event *event)
{
    struct campaign before = loaded->campaign;
    campaign_apply(&loaded->campaign, event);
    loaded->is_new |= !before.first;
    loaded->redefined |= event->type == EVENT_CampaignChanged;
    loaded->exists = loaded->changed = true;
    count_creation(batch, &before, &loaded->campaign);
}

static struct event *next_event(struct batch *batch)
{
    if (batch->events_count == batch->events_capacity) {
        batch->events_capacity = batch->events_capacity ? 2 * batch->events_capacity : 256;
        batch->events = mem_realloc(batch->events, batch->events_capacity * sizeof *batch->events);
    }
    return &batch->events[batch->events_count++];
}

static struct span coupon_id(struct batch *batch, struct position at)
{
    buf_clear(&batch->scratch);
    coupon_id_write(&batch->scratch, at);
    return batch_keep(batch, buf_span(&batch->scratch));
}

const struct event *batch_append(struct batch *batch, struct loaded_campaign *campaign,
                                 struct loaded_coupon *coupon, const struct event *decided)
{
    struct event placed = *decided;
    placed.slice = batch->slice;
    placed.position = batch->head + 1; /* I5: gapless, in commit order, because the slice is locked */
    placed.recorded_at_us = batch->now_us;
    if (campaign && !campaign_can_apply(&campaign->campaign, &placed)) {
        campaign->unreadable = true;
        return NULL;
    }
    struct event *event = next_event(batch);
    *event = placed;
    batch->head++;
    buf_clear(&batch->scratch);
    event_encode(event, &batch->scratch);
    event->data = batch_keep(batch, buf_span(&batch->scratch));
    if (event->type == EVENT_CouponIssued)
        event->coupon_id = coupon_id(batch, (struct position){event->slice, event->position});
    if (coupon) {
        event->coupon_id = coupon_id(batch, coupon->coupon.at);
        coupon_apply(&coupon->coupon, event);
        coupon->changed = true;
    }
    if (campaign)
        fold(batch, campaign, event);
    return event;
}

void batch_note_issued(struct batch *batch, struct loaded_campaign *loaded, const struct event *issued)
{
    batch_hold(batch, batch_holding(batch, issued->campaign_id, issued->user_id), issued->position);
    if (loaded->run_first_sequence == 0) {
        loaded->run_first_sequence = issued->coupon_issued.sequence;
        loaded->run_first_position = issued->position;
    }
    loaded->run_last_position = issued->position;
}

void batch_release_due(struct batch *batch, struct loaded_campaign *loaded)
{
    struct event event;
    while (loaded->exists && !loaded->unreadable &&
           decide_due_release(&loaded->campaign, batch->now_us, &event))
        (void)batch_append(batch, loaded, NULL, &event);
}

/* --- answers --- */

static void answer_coupon(const struct coupon *coupon, int64_t as_of_us, struct verdict *verdict)
{
    verdict->coupon = *coupon;
    verdict->as_of_us = as_of_us;
    verdict->token = (struct position){coupon->at.slice, coupon->last};
}

/* A copy: later commands of the batch may change the campaign. */
static void answer_campaign(struct batch *batch, const struct campaign *campaign, struct verdict *verdict)
{
    struct campaign *copy = batch_alloc(batch, sizeof *copy);
    *copy = *campaign;
    verdict->campaign = copy;
    verdict->token = (struct position){batch->slice, campaign->position};
}

/* A coupon as it was right after the event that is the effect. */
static void replay_coupon(const struct request_record *record, struct verdict *verdict)
{
    bool later = coupon_concerned(&record->effect);
    struct coupon coupon = coupon_from_event(later ? &record->issued : &record->effect);
    if (later)
        coupon_apply(&coupon, &record->effect);
    answer_coupon(&coupon, coupon.changed_at_us, verdict);
}

static bool is_same_payload(const struct request_record *record, const struct command *command)
{
    if (record->has_fingerprint)
        return memcmp(record->fingerprint, command->fingerprint, FINGERPRINT_BYTES) == 0;
    return command->kind == COMMAND_ISSUE && record->effect.type == EVENT_CouponIssued &&
           span_equal(record->effect.user_id, command->issue.user_id);
}

void batch_replay(struct batch *batch, size_t index)
{
    const struct request_record *record = batch->records[index];
    const struct command *command = batch->commands[index];
    struct verdict *verdict = &batch->verdicts[index];
    if (record->unreadable) {
        verdict->refusal = &problem_unreadable_state;
        return;
    }
    if (!is_same_payload(record, command)) {
        verdict->refusal = &problem_idempotency_key_reused;
        return;
    }
    /* Our own effect, found again after a lost connection, is a first answer and not a replay. */
    verdict->replayed = !command->commit_was_sent;
    if (!record->answer.ptr) {
        replay_coupon(record, verdict);
        return;
    }
    verdict->kept = record->answer;
    verdict->results = record->results;
    verdict->voided = record->voided;
    verdict->token = (struct position){batch->slice, record->position};
}

/* --- deciding --- */

struct holding *batch_holding(struct batch *batch, struct span campaign_id, struct span user_id)
{
    return map_get(&batch->holdings, batch_holding_key(batch, campaign_id, user_id));
}

/* What a command needs of what was loaded. */
struct target {
    struct loaded_campaign *campaign;
    struct loaded_coupon *coupon;
    struct creation creation;
};

static int64_t used(const struct loaded_quota *quota)
{
    return quota->elsewhere + quota->here + quota->change;
}

static void find_target(struct batch *batch, const struct command *command, struct target *ret)
{
    *ret = (struct target){0};
    if (command_subject(command->kind) == SUBJECT_COUPON) {
        ret->coupon = map_get(&batch->coupons, batch_coupon_key(&command->coupon.at));
        ret->campaign = ret->coupon->of;
        return;
    }
    if (command_subject(command->kind) != SUBJECT_CONTROL)
        ret->campaign = map_get(&batch->campaigns, command->campaign_id);
    if (command->kind == COMMAND_CREATE)
        ret->creation = (struct creation){
            .by_key = used(batch_quota(batch, batch_key_scope(batch, command->actor))),
            .by_all = used(batch_quota(batch, QUOTA_EVERYBODY)),
            .by_key_max = batch->limits.campaigns_per_key_per_day,
            .by_all_max = batch->limits.campaigns_per_day,
        };
    if (command->kind == COMMAND_CREATE || command->kind == COMMAND_CHANGE) {
        ret->creation.stock = used(batch_quota(batch, QUOTA_OPEN_STOCK));
        ret->creation.stock_max = batch->limits.open_stock;
    }
}

/* Nothing happened, so nothing is remembered of a coupon: asked again, it is decided afresh. */
static void accept(struct batch *batch, size_t index, const struct target *target, const struct event *event)
{
    const struct command *command = batch->commands[index];
    struct verdict *verdict = &batch->verdicts[index];
    struct coupon coupon;
    verdict->remembered = command->keyed;
    verdict->effect = event ? event->position : 0;
    switch (command_subject(command->kind)) {
    case SUBJECT_HOLDER:
        CHECK(event); /* an accepted issue is one */
        batch_note_issued(batch, target->campaign, event);
        coupon = coupon_from_event(event);
        answer_coupon(&coupon, batch->now_us, verdict);
        break;
    case SUBJECT_COUPON:
        verdict->remembered &= event != NULL;
        /* Without an event there is nothing to say it by the log for: as it is now. */
        coupon = event ? target->coupon->coupon : coupon_at(&target->coupon->coupon, batch->now_us);
        answer_coupon(&coupon, batch->now_us, verdict);
        break;
    case SUBJECT_CONTROL:
        CHECK(event); /* of control, only what changes something is accepted */
        verdict->token = (struct position){batch->slice, event->position};
        break;
    default:
        answer_campaign(batch, &target->campaign->campaign, verdict);
    }
}

/* What is due by itself comes first, so that a command finds the campaign as it is at this instant. */
static void do_what_is_due(struct batch *batch, const struct command *command, struct loaded_campaign *loaded)
{
    struct event event;
    batch_release_due(batch, loaded);
    if (command->kind != COMMAND_TEND || !loaded->exists || loaded->unreadable)
        return;
    if (decide_due_end(&loaded->campaign, batch->now_us, &event))
        (void)batch_append(batch, loaded, NULL, &event);
    loaded->changed |= loaded->due_at_us != campaign_due_at_us(&loaded->campaign);
}

/* --- claims --- */

static void forward(struct verdict *verdict, struct claim claim, int16_t slice)
{
    verdict->forwarded = true;
    verdict->claim = claim;
    verdict->slice = slice;
}

/* What is next for a creation that does not find the key free for itself. */
static void fence_off(const struct command *command, const struct loaded_claim *found,
                      struct verdict *verdict)
{
    struct claim next = command->claim;
    next.step = CLAIM_FENCE;
    next.attempt = found->attempt;
    forward(verdict, next, found->target_slice);
}

static bool is_in_the_way(const struct command *command, const struct loaded_claim *found)
{
    return found->attempt > command->claim.fenced &&
           memcmp(found->fingerprint, command->fingerprint, FINGERPRINT_BYTES) != 0;
}

static void claim_key(const struct command *command, struct loaded_claim *found, struct verdict *verdict)
{
    bool ours = found->attempt && memcmp(found->fingerprint, command->fingerprint, FINGERPRINT_BYTES) == 0;
    struct claim next = command->claim;
    if (is_in_the_way(command, found)) {
        fence_off(command, found, verdict);
        return;
    }
    found->write_claim = !ours;
    next.step = CLAIM_HELD;
    next.attempt = ours ? found->attempt : found->attempt + 1;
    forward(verdict, next, slice_of(command->campaign_id));
}

static void fence(const struct command *command, struct loaded_claim *found, struct verdict *verdict)
{
    int16_t target = slice_of(command->campaign_id);
    struct claim next = command->claim;
    found->write_fence = found->fenced < command->claim.attempt;
    next.step = target == next.home ? CLAIM_DIRECT : CLAIM_WANTED;
    next.fenced = command->claim.attempt;
    forward(verdict, next, next.home);
}

/* What a quota refuses must leave no claim, which would bind the key to a payload that never took effect. But
 * that the campaign exists is told before, and only its slice knows. */
static void want_claim(struct batch *batch, const struct command *command, const struct target *target,
                       struct loaded_claim *found, struct verdict *verdict)
{
    struct decision decision;
    struct claim next = command->claim;
    decide(command, &(struct subject){.creation = &target->creation}, batch->now_us, &decision);
    if (!decision.refusal) {
        claim_key(command, found, verdict);
        return;
    }
    next.step = CLAIM_REFUSED;
    forward(verdict, next, slice_of(command->campaign_id));
}

/* A quota may be free again meanwhile. */
static void refuse_or_want_again(struct batch *batch, const struct command *command,
                                 const struct target *target, struct verdict *verdict)
{
    struct decision decision;
    struct claim next = command->claim;
    CHECK(target->campaign); /* only a creation waits for a quota */
    struct subject subject = {.campaign = target->campaign->exists ? &target->campaign->campaign : NULL,
                              .creation = &target->creation};
    decide(command, &subject, batch->now_us, &decision);
    verdict->refusal = decision.refusal;
    if (decision.refusal)
        return;
    next.step = CLAIM_WANTED;
    forward(verdict, next, next.home);
}

/* Whether a creation is decided here and now; otherwise it was refused, or goes on. Its key has no effect in
 * this slice. */
static bool may_create(struct batch *batch, size_t index, const struct target *target)
{
    const struct command *command = batch->commands[index];
    struct loaded_claim *found = batch->claims[index];
    struct verdict *verdict = &batch->verdicts[index];
    switch (command->claim.step) {
    case CLAIM_DIRECT:
        if (!is_in_the_way(command, found))
            return true;
        fence_off(command, found, verdict);
        return false;
    case CLAIM_WANTED:
        want_claim(batch, command, target, found, verdict);
        return false;
    case CLAIM_REFUSED:
        refuse_or_want_again(batch, command, target, verdict);
        return false;
    case CLAIM_FENCE:
        fence(command, found, verdict);
        return false;
    case CLAIM_HELD:
        if (found->fenced < command->claim.attempt)
            return true;
        verdict->refusal = &problem_in_flight; /* with another payload, which took the claim over */
        return false;
    }
    UNREACHABLE("every step is above");
}

/* --- each command --- */

static bool is_unreadable(const struct target *target)
{
    return (target->campaign && target->campaign->unreadable) ||
           (target->coupon && target->coupon->unreadable);
}

static bool condition_holds(const struct batch *batch, const struct command *command,
                            const struct campaign *campaign)
{
    if (!command->if_match.ptr && !command->if_none_match.ptr)
        return true;
    if (!campaign || campaign->state == CAMPAIGN_DELETED) /* nothing to compare with, also for "*" */
        return !command->if_match.ptr;
    return batch->condition_holds(command, campaign, batch->now_us);
}

static void decide_one(struct batch *batch, size_t index)
{
    const struct command *command = batch->commands[index];
    struct verdict *verdict = &batch->verdicts[index];
    struct target target;
    struct decision decision;
    if (batch->records[index]) {
        batch_replay(batch, index);
        return;
    }
    find_target(batch, command, &target);
    if (command->kind == COMMAND_CREATE && !may_create(batch, index, &target))
        return;
    if (target.campaign && !target.coupon)
        do_what_is_due(batch, command, target.campaign);
    if (is_unreadable(&target)) {
        verdict->refusal = &problem_unreadable_state;
        return;
    }
    struct subject subject = {
        .campaign = target.campaign && target.campaign->exists ? &target.campaign->campaign : NULL,
        .held = command->kind == COMMAND_ISSUE
                    ? batch_holding(batch, command->campaign_id, command->issue.user_id)
                    : NULL,
        .coupon = target.coupon && target.coupon->exists ? &target.coupon->coupon : NULL,
        .creation = &target.creation,
    };
    decide(command, &subject, batch->now_us, &decision);
    verdict->refusal = decision.refusal;
    if (decision.refusal == &problem_already_issued)
        verdict->held = subject.held;
    if (decision.refusal) {
        verdict->next = decide_next(decision.refusal, &subject, command, batch->now_us);
        return;
    }
    if (!condition_holds(batch, command, subject.campaign)) {
        verdict->refusal = &problem_precondition_failed;
        return;
    }
    const struct event *event = NULL;
    if (decision.has_event) {
        event = batch_append(batch, target.campaign, target.coupon, &decision.event);
        if (!event) {
            verdict->refusal = &problem_unreadable_state;
            return;
        }
    }
    accept(batch, index, &target, event);
}

void batch_decide(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        batch->verdicts[i].now_us = batch->now_us;
    if (batch->commands[0]->kind == COMMAND_ISSUE_MANY) {
        batch_decide_many(batch);
        return;
    }
    if (batch->commands[0]->kind == COMMAND_VOID) {
        batch_decide_void(batch);
        return;
    }
    for (size_t i = 0; i < batch->count; i++)
        decide_one(batch, i);
}
