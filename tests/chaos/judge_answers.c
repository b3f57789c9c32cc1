/* SPDX-License-Identifier: Apache-2.0 */
/* I3: every 2xx against the log. What it says of a campaign or a coupon must be what the log says at the
 * position that it names, and the effect must be the asker's own. */
#include "tests/chaos/judge_state.h"

#include "common/base/clock.h"
#include "tests/chaos/judge_view.h"

struct answer {
    struct judge *judge;
    const struct attempt *attempt;
    const struct operation *op;
    const struct json_value *body;
    const char *wrong; /* what does not fit, NULL: nothing so far */
};

static void need(struct answer *answer, bool holds, const char *wrong)
{
    if (!holds && !answer->wrong)
        answer->wrong = wrong;
}

/* Whether the event at the token was made under this attempt's key, with its payload. */
static bool own_effect(const struct answer *answer, struct position *ret)
{
    const struct judge *judge = answer->judge;
    for (uint32_t number = 0, index;
         (index = judge_attempt(judge, answer->attempt->op, number)) != UINT32_MAX; number++)
        if (judge->effects[index].events) {
            *ret = judge->effects[index].first;
            return true;
        }
    return false;
}

static size_t own_events(const struct answer *answer)
{
    size_t events = 0;
    for (uint32_t number = 0, index;
         (index = judge_attempt(answer->judge, answer->attempt->op, number)) != UINT32_MAX; number++)
        events += answer->judge->effects[index].events;
    return events;
}

/* --- Campaigns --- */

static const char *state_name(enum model_campaign_state state)
{
    return state == MODEL_PAUSED ? "paused" : state == MODEL_CLOSED ? "closed" : NULL;
}

static void check_campaign_state(struct answer *answer, const struct model_campaign *campaign,
                                 const struct campaign_moment *is)
{
    const struct json_value *body = answer->body;
    const struct image_slice *slice = &answer->judge->in.log->slices[campaign->slice];
    int64_t released = view_released(campaign, is, slice->events[is->position - 1].recorded_at_us);
    need(answer, json_number_of(body, "quantity") == is->quantity, "quantity");
    need(answer, json_number_of(body, "per_user_limit") == is->limit, "per_user_limit");
    need(answer, json_number_of(body, "issued") == is->issued, "issued");
    need(answer, json_number_of(body, "released") == released, "released");
    need(answer, json_number_of(body, "remaining") == released - is->issued, "remaining");
    need(answer, json_number_of(body, "redeemed") == is->redeemed, "redeemed");
    const char *state = state_name(is->state);
    struct span status = json_text_of(body, "status");
    bool said = state ? span_is(status, state) || span_is(status, "ended")
                      : !span_is(status, "paused") && !span_is(status, "closed");
    need(answer, said, "status");
}

/* That a campaign is over goes by the instant, whether or not the log says so yet. */
static bool said_ended_in_time(const struct answer *answer, const struct model_campaign *campaign)
{
    enum { CLOCK_SLACK_US = 50 * US_PER_MS };
    int64_t done_us = answer->attempt->done_us + answer->judge->in.wall_offset_us + CLOCK_SLACK_US;
    int64_t end_us = judge_end_us(&campaign->definition);
    return span_is(json_text_of(answer->body, "status"), "ended") && end_us && done_us >= end_us;
}

static void check_campaign(struct answer *answer)
{
    const struct judge *judge = answer->judge;
    const struct json_value *position = json_member(answer->body, "position");
    uint32_t number;
    struct position effect = {0}, token = answer->attempt->token;
    bool ours =
        campaign_name_parse(json_text_of(answer->body, "id"), &number) && number == answer->op->campaign;
    need(answer, ours && number < judge->campaigns_count, "id");
    need(answer,
         json_number_of(position, "slice") == token.slice &&
             json_number_of(position, "position") == token.position && token.position > 0,
         "position");
    if (answer->wrong)
        return;
    const struct model_campaign *campaign = &judge->campaigns[number];
    const struct campaign_moment *is = campaign_moment_at(campaign, token.position);
    need(answer, is && is->position == token.position, "the campaign has no event at that position");
    if (answer->wrong)
        return;
    check_campaign_state(answer, campaign, is);
    if (own_effect(answer, &effect))
        need(answer, effect.slice == token.slice && effect.position == token.position, "not its own effect");
    else if (answer->op->kind == OP_PAUSE)
        need(answer, is->state == MODEL_PAUSED, "nothing happened, and it was not paused");
    else if (answer->op->kind == OP_RESUME)
        need(answer, is->state == MODEL_ACTIVE, "nothing happened, and it was paused");
    else if (answer->op->kind == OP_CLOSE)
        need(answer,
             is->state == MODEL_CLOSED || is->state == MODEL_ENDED || said_ended_in_time(answer, campaign),
             "nothing happened, and it was not over");
    else if (answer->op->kind == OP_CHANGE)
        need(answer,
             is->quantity == op_change_quantity(answer->op) &&
                 (!op_change_limit(answer->op) || is->limit == op_change_limit(answer->op)),
             "nothing happened, and it was not as asked");
    else
        need(answer, false, "nothing happened");
}

/* --- Coupons --- */

/* The coupon object, as it was right after the event at `at` (of the coupon's slice), at its instant. */
static void check_coupon_object(struct answer *answer, const struct json_value *body,
                                const struct model_coupon *coupon, int64_t at)
{
    const struct coupon_moment *is = NULL;
    for (size_t i = 0; i < coupon->moments_count; i++)
        if (coupon->moments[i].position == at)
            is = &coupon->moments[i];
    need(answer, is != NULL, "nothing happened to the coupon at that position");
    const char *wrong = view_coupon(answer->judge, body, coupon);
    if (!wrong && is)
        wrong = view_coupon_state(answer->judge, body, coupon, is, is->recorded_us);
    need(answer, !wrong, wrong);
}

static void check_issue(struct answer *answer)
{
    struct position effect = {0}, token = answer->attempt->token;
    const struct model_coupon *coupon = judge_coupon(answer->judge, token);
    need(answer, coupon != NULL, "there is no coupon at its position");
    need(answer,
         own_effect(answer, &effect) && effect.slice == token.slice && effect.position == token.position,
         "not its own effect");
    if (coupon)
        check_coupon_object(answer, answer->body, coupon, token.position);
}

static void check_result(struct answer *answer, const struct json_value *result, uint32_t expected,
                         int64_t *issued)
{
    struct position at;
    uint32_t user;
    need(answer, user_number_parse(json_text_of(result, "user_id"), &user) && user == expected, "user_id");
    if (span_is(json_text_of(result, "status"), "refused"))
        return;
    const struct model_coupon *coupon =
        coupon_id_parse(json_text_of(result, "coupon_id"), &at) ? judge_coupon(answer->judge, at) : NULL;
    need(answer, coupon != NULL, "a coupon that is not in the log");
    if (coupon)
        check_coupon_object(answer, result, coupon, coupon->at.position);
    (*issued)++;
}

static void check_many(struct answer *answer)
{
    const struct operation *op = answer->op;
    const struct json_value *results = json_member(answer->body, "results");
    int64_t issued = 0;
    need(answer, results && json_array_length(results) == op->users, "as many results as users");
    for (uint32_t i = 0; i < op->users && !answer->wrong; i++)
        check_result(answer, json_array_at(results, i), (op->user + i) % CHAOS_USERS, &issued);
    need(answer, json_number_of(answer->body, "issued") == issued, "issued");
    need(answer, json_number_of(answer->body, "refused") == (int64_t)op->users - issued, "refused");
    bool empty = answer->attempt->token.position == 0; /* decided before another attempt took effect */
    need(answer, empty ? issued == 0 : (int64_t)own_events(answer) == issued, "as many coupons in the log");
}

/* Giving back what the order does not hold (another one's time may be over), and revoking what is revoked, is
 * accepted and changes nothing. */
static void check_use(struct answer *answer)
{
    struct position effect = {0}, token = answer->attempt->token;
    const struct model_coupon *coupon = judge_coupon(answer->judge, answer->op->coupon);
    need(answer, coupon != NULL, "there is no such coupon");
    if (!coupon)
        return;
    bool own =
        own_effect(answer, &effect) && effect.slice == token.slice && effect.position == token.position;
    if (own) {
        check_coupon_object(answer, answer->body, coupon, token.position);
        return;
    }
    struct span status = json_text_of(answer->body, "status");
    need(answer,
         (answer->op->kind == OP_GIVE_BACK &&
          (span_is(status, "issued") || span_is(status, "reserved") || span_is(status, "expired"))) ||
             (answer->op->kind == OP_REVOKE && span_is(status, "revoked")),
         "nothing happened");
}

/* --- The rest --- */

static void check_void(struct answer *answer)
{
    int64_t voided = json_number_of(answer->body, "voided"),
            matched = json_number_of(answer->body, "matched");
    need(answer, voided == (int64_t)own_events(answer), "as many deleted in the log");
    need(answer, matched >= voided, "matched");
}

/* Deleting what is deleted is accepted. */
static void check_delete(struct answer *answer)
{
    const struct judge *judge = answer->judge;
    uint32_t number = answer->op->campaign;
    const struct campaign_moment *is = NULL;
    if (number < judge->campaigns_count)
        is = campaign_moment_at(&judge->campaigns[number], answer->attempt->token.position);
    need(answer, is && is->state == MODEL_DELETED && is->position == answer->attempt->token.position,
         "it is not deleted");
}

/* Suspending, resuming and setting always leave an event, which is the audit. A setting comes without a key,
 * so that a service which lost the outcome of its COMMIT sets it again and answers with the second event. */
static void check_control(struct answer *answer)
{
    size_t index = (size_t)(answer->attempt - answer->judge->in.history->attempts);
    struct position effect = answer->judge->effects[index].last, token = answer->attempt->token;
    if (op_kind_keyed(answer->op->kind))
        (void)own_effect(answer, &effect);
    need(answer, token.position && effect.slice == token.slice && effect.position == token.position,
         "not its own effect");
}

static void check_body(struct answer *answer)
{
    switch (answer->op->kind) {
    case OP_CREATE:
    case OP_PAUSE:
    case OP_RESUME:
    case OP_CLOSE:
    case OP_RELEASE:
    case OP_CHANGE:
        check_campaign(answer);
        break;
    case OP_ISSUE:
        check_issue(answer);
        break;
    case OP_ISSUE_MANY:
        check_many(answer);
        break;
    case OP_VOID:
        check_void(answer);
        break;
    case OP_DELETE:
        check_delete(answer);
        break;
    case OP_SUSPEND:
    case OP_READMIT:
    case OP_SET:
        check_control(answer);
        break;
    default:
        check_use(answer);
    }
}

static int right_status(const struct operation *op)
{
    return op->kind == OP_CREATE || op->kind == OP_ISSUE ? 201 : op->kind == OP_DELETE ? 204 : 200;
}

void judge_answers(struct judge *judge)
{
    const struct history *history = judge->in.history;
    for (size_t i = 0; i < history->attempts_count; i++) {
        const struct attempt *attempt = &history->attempts[i];
        struct json_fault fault;
        judge_expect(judge, JUDGE_SENSE, attempt->outcome != OUTCOME_NONSENSE, "%s got status %u '%s'",
                     judge_name(judge, attempt->op), attempt->status, attempt->problem);
        if (attempt->outcome != OUTCOME_DONE)
            continue;
        struct answer answer = {.judge = judge, .attempt = attempt, .op = &history->ops[attempt->op]};
        struct json_doc *doc =
            attempt->status == 204 ? NULL : json_parse(history_body(history, attempt), &fault);
        answer.body = doc ? json_root(doc) : NULL;
        need(&answer, doc || attempt->status == 204, "no JSON");
        need(&answer, attempt->status == right_status(answer.op), "status code");
        if (!answer.wrong)
            check_body(&answer);
        judge_expect(judge, JUDGE_LOGGED, !answer.wrong, "attempt %u of %s (slice %d, %lld): %s",
                     attempt->number, judge_name(judge, attempt->op), attempt->token.slice,
                     (long long)attempt->token.position, answer.wrong ? answer.wrong : "");
        json_destroy(doc);
    }
}
