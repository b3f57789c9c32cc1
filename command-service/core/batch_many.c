/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that are a batch in themselves: issuing to many users, and voiding many campaigns. */
#include "command-service/core/batch_internal.h"

#include "events/problems.h"

/* --- issuing to many --- */

/* The refusals of a single user; any other is about the campaign and so about all of them. */
static const struct problem *const single_refusals[] = {&problem_sold_out, &problem_already_issued};

static bool is_single_refusal(const struct problem *problem)
{
    for (size_t i = 0; i < COUNT_OF(single_refusals); i++)
        if (single_refusals[i] == problem)
            return true;
    return false;
}

static struct issue_result decide_user(struct batch *batch, const struct command *many, struct span user_id,
                                       struct loaded_campaign *loaded)
{
    struct decision decision;
    struct subject subject = {
        .campaign = loaded->exists ? &loaded->campaign : NULL,
        .held = batch_holding(batch, many->campaign_id, user_id),
    };
    decide_issue(many, user_id, &subject, batch->now_us, &decision);
    struct issue_result result = {.refusal = decision.refusal, .user_id = user_id};
    if (decision.refusal)
        return result;
    const struct event *event = batch_append(batch, loaded, NULL, &decision.event);
    if (event) {
        batch_note_issued(batch, loaded, event);
        result.coupon = coupon_from_event(event);
    } else {
        result.refusal = &problem_unreadable_state;
    }
    return result;
}

void batch_decide_many(struct batch *batch)
{
    const struct command *many = batch->commands[0];
    struct loaded_campaign *loaded = map_get(&batch->campaigns, many->campaign_id);
    struct verdict *verdict = &batch->verdicts[0];
    if (batch->records[0]) {
        batch_replay(batch, 0);
        return;
    }
    const size_t count = many->issue_many.count;
    struct issue_result *results = batch_alloc(batch, count * sizeof *results);
    batch_release_due(batch, loaded);
    if (loaded->unreadable) {
        verdict->refusal = &problem_unreadable_state;
        return;
    }
    int64_t head = batch->head;
    for (size_t i = 0; i < count; i++) {
        results[i] = decide_user(batch, many, many->issue_many.user_ids[i], loaded);
        if (results[i].refusal && !is_single_refusal(results[i].refusal)) {
            verdict->refusal = results[i].refusal;
            verdict->next = decide_next(verdict->refusal, &(struct subject){.campaign = &loaded->campaign},
                                        many, batch->now_us);
            return;
        }
    }
    verdict->results = results;
    verdict->token = (struct position){batch->slice, batch->head > head ? batch->head : 0};
    /* Where nobody got one, nothing happened and the key may be tried again. */
    verdict->remembered = many->keyed && batch->head > head;
    verdict->effect = batch->head > head ? batch->head : 0;
}

/* --- voiding --- */

/* The store loaded those that nothing was issued of, at most VOID_MAX; that is so until this transaction
 * ends, because the slice is locked, so an issue that races it finds the campaign gone or makes it stay. */
void batch_decide_void(struct batch *batch)
{
    const struct command *command = batch->commands[0];
    struct verdict *verdict = &batch->verdicts[0];
    if (batch->records[0]) {
        batch_replay(batch, 0);
        return;
    }
    verdict->voided = batch->void_found;
    for (size_t i = 0; !command->voids.dry_run && i < batch->campaigns_count; i++) {
        struct loaded_campaign *loaded = batch->campaign_list[i];
        struct decision decision;
        decide(command, &(struct subject){.campaign = &loaded->campaign}, batch->now_us, &decision);
        if (!loaded->unreadable && !decision.refusal && decision.has_event &&
            batch_append(batch, loaded, NULL, &decision.event))
            verdict->voided.voided++;
    }
    verdict->effect = batch->events_count ? batch->head : 0;
    verdict->token = (struct position){batch->slice, verdict->effect};
    verdict->remembered = command->keyed && !command->voids.dry_run;
}
