/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that are a batch in themselves: issuing to many users, and voiding many campaigns. */
#include "command-service/core/batch_internal.h"

#include "common/json.h"
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

/* As if the user had asked alone. */
static struct issue_result decide_user(struct batch *batch, const struct command *many, size_t user,
                                       struct loaded_campaign *loaded)
{
    struct command single = *many;
    struct decision decision;
    single.kind = COMMAND_ISSUE;
    single.user_id = many->user_ids[user];
    struct subject subject = {
        .campaign = loaded->exists ? &loaded->campaign : NULL,
        .held = batch_holding(batch, &single),
    };
    decide(&single, &subject, batch->now_us, &decision);
    struct issue_result result = {.refusal = decision.refusal, .user_id = single.user_id};
    if (!decision.refusal) {
        const struct event *event = batch_append(batch, loaded, NULL, &decision.event);
        batch_note_issued(batch, loaded, event);
        result.coupon = coupon_from_event(event);
    }
    return result;
}

static struct span outcome_write(struct batch *batch, const struct issue_result *results, size_t count)
{
    buf_clear(&batch->scratch);
    json_open(&batch->scratch, NULL, '[');
    for (size_t i = 0; i < count; i++) {
        if (results[i].refusal)
            json_put_string(&batch->scratch, NULL, span_of(results[i].refusal->code));
        else
            json_put_int(&batch->scratch, NULL, results[i].coupon.at.position);
    }
    json_close(&batch->scratch, ']');
    CHECK(!batch->scratch.overflow);
    return batch_keep(batch, buf_span(&batch->scratch));
}

static bool result_read(const struct json_value *entry, int16_t slice, struct issue_result *ret)
{
    struct span code;
    ret->coupon.at.slice = slice;
    if (json_as_int(entry, &ret->coupon.at.position))
        return ret->coupon.at.position > 0;
    for (size_t i = 0; json_as_text(entry, &code) && i < COUNT_OF(single_refusals); i++)
        if (span_is(code, single_refusals[i]->code))
            ret->refusal = single_refusals[i];
    return ret->refusal != NULL;
}

struct issue_result *batch_outcome_read(struct batch *batch)
{
    const struct command *many = batch->commands[0];
    struct issue_result *results = batch_alloc(batch, many->users_count * sizeof *results);
    struct json_fault fault;
    struct json_doc *doc = json_parse(batch->records[0]->answer, &fault);
    bool good = doc && json_array_length(json_root(doc)) == many->users_count;
    for (size_t i = 0; good && i < many->users_count; i++) {
        results[i].user_id = many->user_ids[i];
        good = result_read(json_array_at(json_root(doc), i), batch->slice, &results[i]);
    }
    json_destroy(doc);
    return good ? results : NULL;
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
    struct issue_result *results = batch_alloc(batch, many->users_count * sizeof *results);
    batch_release_due(batch, loaded);
    int64_t head = batch->head;
    for (size_t i = 0; i < many->users_count; i++) {
        results[i] = decide_user(batch, many, i, loaded);
        if (results[i].refusal && !is_single_refusal(results[i].refusal)) {
            verdict->refusal = results[i].refusal;
            return;
        }
    }
    batch_answer_results(results, (struct position){batch->slice, batch->head > head ? batch->head : 0},
                         verdict);
    if (batch->head > head) /* where nobody got one, nothing happened and the key may be tried again */
        batch_remember(batch, 0, outcome_write(batch, results, many->users_count));
}

/* --- voiding --- */

static struct span void_counts_write(struct batch *batch, const struct void_counts *counts)
{
    buf_clear(&batch->scratch);
    json_open(&batch->scratch, NULL, '{');
    json_put_int(&batch->scratch, "matched", counts->matched);
    json_put_int(&batch->scratch, "voidable", counts->voidable);
    json_put_int(&batch->scratch, "voided", counts->voided);
    json_close(&batch->scratch, '}');
    return batch_keep(batch, buf_span(&batch->scratch));
}

bool batch_void_counts_read(struct span answer, struct void_counts *ret)
{
    struct json_fault fault;
    struct json_doc *doc = json_parse(answer, &fault);
    const struct json_value *root = doc ? json_root(doc) : NULL;
    bool good = json_as_int(json_member(root, "matched"), &ret->matched) &&
                json_as_int(json_member(root, "voidable"), &ret->voidable) &&
                json_as_int(json_member(root, "voided"), &ret->voided);
    json_destroy(doc);
    return good;
}

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
    for (size_t i = 0; !command->filter.dry_run && i < batch->campaigns_count; i++) {
        struct loaded_campaign *loaded = batch->campaign_list[i];
        struct command single = *command;
        struct decision decision;
        single.campaign_id = loaded->campaign.id;
        decide(&single, &(struct subject){.campaign = &loaded->campaign}, batch->now_us, &decision);
        if (decision.refusal || !decision.has_event)
            continue;
        batch_append(batch, loaded, NULL, &decision.event);
        verdict->voided.voided++;
    }
    verdict->status = 200;
    verdict->body = void_counts_write(batch, &verdict->voided);
    verdict->token = (struct position){batch->slice, batch->events_count ? batch->head : 0};
    if (!command->filter.dry_run)
        batch_remember(batch, 0, verdict->body);
}
