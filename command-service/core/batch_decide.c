/* SPDX-License-Identifier: Apache-2.0 */
/* Turning loaded state and commands into events, rows and verdicts. */
#include "command-service/core/batch_internal.h"

#include "events/problems.h"

/* --- events --- */

static struct loaded_quota *quota_of(struct batch *batch, struct span scope)
{
    for (size_t i = 0; i < batch->quotas_count; i++)
        if (span_equal(batch->quotas[i].scope, scope))
            return &batch->quotas[i];
    UNREACHABLE("batch_begin asked for what its commands count against");
}

/* Never below nothing: a count that is off is for `projector verify` to tell, not a reason to stop issuing.
 */
static void quota_move(struct loaded_quota *quota, int64_t by)
{
    quota->used = quota->used + by > 0 ? quota->used + by : 0;
    quota->changed = true;
}

/* What creating and ending campaigns does to the quotas. */
static void count_creation(struct batch *batch, const struct campaign *before, const struct campaign *after)
{
    int64_t opened = !campaign_over(after, 0) - (before->first && !campaign_over(before, 0));
    if (opened)
        quota_move(quota_of(batch, QUOTA_OPEN_STOCK), opened * after->definition.quantity);
    if (before->first)
        return;
    quota_move(quota_of(batch, QUOTA_EVERYBODY), 1);
    quota_move(quota_of(batch, batch_key_scope(batch, after->definition.created_by)), 1);
}

static void fold(struct batch *batch, struct loaded_campaign *loaded, const struct event *event)
{
    struct campaign before = loaded->campaign;
    campaign_apply(&loaded->campaign, event);
    loaded->is_new |= !before.first;
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
    struct event *event = next_event(batch);
    *event = *decided;
    event->slice = batch->slice;
    event->position = ++batch->head; /* I5: gapless, in commit order, because the slice is locked */
    event->recorded_at_us = batch->now_us;
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
    while (loaded->exists && decide_due_release(&loaded->campaign, batch->now_us, &event))
        batch_append(batch, loaded, NULL, &event);
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

void batch_replay(struct batch *batch, size_t index)
{
    const struct request_record *record = batch->records[index];
    const struct command *command = batch->commands[index];
    struct verdict *verdict = &batch->verdicts[index];
    bool lookup = command->kind == COMMAND_LOOKUP;
    if (!lookup && memcmp(record->fingerprint, command->fingerprint, FINGERPRINT_BYTES) != 0) {
        verdict->refusal = &problem_idempotency_key_reused;
        return;
    }
    /* Our own effect, found again after a lost connection, is a first answer and not a replay. */
    verdict->replayed = !command->commit_was_sent;
    verdict->found_status = record->status;
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
            .by_key = quota_of(batch, batch_key_scope(batch, command->actor))->used,
            .by_all = quota_of(batch, QUOTA_EVERYBODY)->used,
            .stock = quota_of(batch, QUOTA_OPEN_STOCK)->used,
            .by_key_max = batch->limits.campaigns_per_key_per_day,
            .by_all_max = batch->limits.campaigns_per_day,
            .stock_max = batch->limits.open_stock,
        };
}

/* Nothing happened, so nothing is remembered of a coupon: asked again, it is decided afresh. */
static void accept(struct batch *batch, size_t index, const struct target *target, const struct event *event)
{
    const struct command *command = batch->commands[index];
    struct verdict *verdict = &batch->verdicts[index];
    struct coupon coupon;
    verdict->remembered = command->keyed;
    switch (command_subject(command->kind)) {
    case SUBJECT_HOLDER:
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
    if (command->kind != COMMAND_TEND || !loaded->exists)
        return;
    if (decide_due_end(&loaded->campaign, batch->now_us, &event))
        batch_append(batch, loaded, NULL, &event);
    loaded->changed |= loaded->due_at_us != campaign_due_at_us(&loaded->campaign);
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
    if (command->kind == COMMAND_LOOKUP)
        return; /* nothing is known of the request */
    find_target(batch, command, &target);
    if (target.campaign && !target.coupon)
        do_what_is_due(batch, command, target.campaign);
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
    if (decision.refusal)
        return;
    const struct event *event =
        decision.has_event ? batch_append(batch, target.campaign, target.coupon, &decision.event) : NULL;
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
