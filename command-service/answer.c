/* SPDX-License-Identifier: Apache-2.0 */
/* Rendering answers, and keeping what cannot be rendered twice. */
#include "command-service/answer.h"

#include "common/http/http.h"
#include "common/json.h"
#include "events/problems.h"

int answer_status(enum command_kind kind)
{
    switch (kind) {
    case COMMAND_CREATE:
    case COMMAND_ISSUE:
        return 201;
    case COMMAND_DELETE:
        return 204;
    default:
        return 200;
    }
}

void answer_write_held(struct buf *out, int16_t slice, const struct holding *held)
{
    struct buf id;
    buf_init(&id, COUPON_ID_MAX);
    buf_append_text(out, "\"coupon_ids\":[");
    for (int64_t i = 0; i < held->count; i++) {
        buf_clear(&id);
        coupon_id_write(&id, (struct position){slice, held->positions[i]});
        json_put_string(out, NULL, buf_span(&id));
    }
    buf_append_char(out, ']');
    buf_deinit(&id);
}

void answer_write_next(struct buf *out, const struct refusal_next *next)
{
    if (next->from_us)
        json_put_time(out, next->from, next->from_us);
    if (next->says_held_back)
        json_put_int(out, "held_back", next->held_back);
    if (next->order_id.ptr)
        json_put_string(out, "order_id", next->order_id);
}

static void put_value(struct buf *out, struct span value)
{
    int64_t number;
    if (value.len == 0)
        json_put_null(out, "value");
    else if (parse_i64(value, INT64_MIN, INT64_MAX, &number))
        json_put_int(out, "value", number);
    else
        json_put_string(out, "value", value);
}

static void write_control(struct buf *out, const struct command *command)
{
    json_open(out, NULL, '{');
    if (command->kind == COMMAND_SET) {
        json_put_string(out, "name", command->control.name);
        put_value(out, command->control.value);
    } else {
        json_put_string(out, "issuer", command->control.name);
        json_put_bool(out, "suspended", command->kind == COMMAND_SUSPEND);
    }
    json_close(out, '}');
}

void answer_write_counts(struct buf *out, const struct void_counts *counts)
{
    json_open(out, NULL, '{');
    json_put_int(out, "matched", counts->matched);
    json_put_int(out, "voidable", counts->voidable);
    json_put_int(out, "voided", counts->voided);
    json_close(out, '}');
}

static void write_result(struct buf *out, const struct issue_result *result, const struct code_key *code_key)
{
    if (!result->refusal) {
        coupon_write_json(out, NULL, &result->coupon, code_key, 0);
        return;
    }
    json_open(out, NULL, '{');
    json_put_string(out, "user_id", result->user_id);
    json_put_string(out, "status", SPAN("refused"));
    json_put_string(out, "refusal", span_of(result->refusal->code));
    json_close(out, '}');
}

/* Where nothing happened, the key may not be the one that has the coupon: it is told neither the code, which
 * it may not have named, nor whose the coupon is. */
static void write_coupon(struct buf *out, const struct command *command, const struct verdict *verdict,
                         const struct code_key *code_key)
{
    struct coupon coupon = verdict->coupon;
    bool nothing = !verdict->effect && !verdict->replayed;
    bool hides = nothing && command->kind == COMMAND_FREE && !command->by_admin;
    if (hides)
        coupon.user_id = (struct span){NULL, 0};
    coupon.actor =
        (struct span){NULL, 0}; /* reads say who revoked it; the caller knows, and was told so much */
    /* As of the effect, so that a retry gets the same bytes whenever it comes (I4). */
    coupon_write_json(out, NULL, &coupon, hides ? NULL : code_key, verdict->as_of_us);
}

static void write_results(struct buf *out, const struct issue_result *results, size_t count,
                          const struct code_key *code_key)
{
    int64_t issued = 0;
    json_open(out, NULL, '{');
    json_open(out, "results", '[');
    for (size_t i = 0; i < count; i++) {
        write_result(out, &results[i], code_key);
        issued += results[i].refusal == NULL;
    }
    json_close(out, ']');
    json_put_int(out, "issued", issued);
    json_put_int(out, "refused", (int64_t)count - issued);
    json_close(out, '}');
}

void answer_write(struct buf *out, const struct command *command, const struct verdict *verdict,
                  const struct code_key *code_key)
{
    CHECK(!verdict->refusal);
    if (command->kind == COMMAND_DELETE)
        return;
    if (verdict->results)
        write_results(out, verdict->results, command->issue_many.count, code_key);
    else if (command->kind == COMMAND_VOID)
        answer_write_counts(out, &verdict->voided);
    else if (verdict->kept.ptr)
        buf_append_span(out, verdict->kept);
    else if (verdict->campaign)
        campaign_write_json(out, NULL, verdict->campaign, verdict->now_us);
    else if (command_subject(command->kind) == SUBJECT_CONTROL)
        write_control(out, command);
    else
        write_coupon(out, command, verdict, code_key);
}

/* The tag is of all that a read says, so it changes with each coupon that is issued. */
bool answer_condition_holds(const struct command *command, const struct campaign *campaign, int64_t now_us)
{
    struct buf body, etag;
    buf_init(&body, CAMPAIGN_JSON_MAX);
    buf_init(&etag, HTTP_ETAG_MAX);
    campaign_write_json(&body, NULL, campaign, now_us);
    CHECK(!body.overflow);
    http_etag_write(&etag, buf_span(&body));
    bool holds =
        !command->if_match.ptr || http_etag_listed(command->if_match, buf_span(&etag), HTTP_STRONGLY);
    if (command->if_none_match.ptr)
        holds &= !http_etag_listed(command->if_none_match, buf_span(&etag), HTTP_WEAKLY);
    buf_deinit(&body);
    buf_deinit(&etag);
    return holds;
}

/* --- keeping --- */

static void keep_results(struct buf *out, const struct issue_result *results, size_t count)
{
    json_open(out, NULL, '[');
    for (size_t i = 0; i < count; i++) {
        if (results[i].refusal)
            json_put_string(out, NULL, span_of(results[i].refusal->code));
        else
            json_put_int(out, NULL, results[i].coupon.at.position);
    }
    json_close(out, ']');
}

bool answer_keep(struct buf *out, const struct command *command, const struct verdict *verdict)
{
    static const struct code_key no_code_key; /* what is kept has no codes */
    switch (command_subject(command->kind)) {
    case SUBJECT_HOLDER:
    case SUBJECT_COUPON:
        return false;
    case SUBJECT_HOLDERS:
        keep_results(out, verdict->results, command->issue_many.count);
        return true;
    default:
        answer_write(out, command, verdict, &no_code_key);
        return true;
    }
}

static bool recall_result(const struct json_value *entry, int16_t slice, struct issue_result *ret)
{
    static const struct problem *const refusals[] = {&problem_sold_out, &problem_already_issued};
    struct span code;
    ret->coupon.at.slice = slice;
    if (json_as_int(entry, &ret->coupon.at.position))
        return ret->coupon.at.position > 0;
    for (size_t i = 0; json_as_text(entry, &code) && i < COUNT_OF(refusals); i++)
        if (span_is(code, refusals[i]->code))
            ret->refusal = refusals[i];
    return ret->refusal != NULL;
}

static bool recall_results(const struct command *command, const struct json_value *root,
                           struct issue_result *results)
{
    const size_t count = command->issue_many.count;
    if (json_array_length(root) != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        results[i].user_id = command->issue_many.user_ids[i];
        if (!recall_result(json_array_at(root, i), command->slice, &results[i]))
            return false;
    }
    return true;
}

bool answer_recall(const struct command *command, struct request_record *record, struct issue_result *results)
{
    struct json_fault fault;
    bool many = command->kind == COMMAND_ISSUE_MANY;
    if (!many && command->kind != COMMAND_VOID)
        return true;
    struct json_doc *doc = json_parse(record->answer, &fault);
    const struct json_value *root = doc ? json_root(doc) : NULL;
    bool good = many ? doc && recall_results(command, root, results)
                     : json_as_int(json_member(root, "matched"), &record->voided.matched) &&
                           json_as_int(json_member(root, "voidable"), &record->voided.voidable) &&
                           json_as_int(json_member(root, "voided"), &record->voided.voided);
    record->results = good && many ? results : NULL;
    json_destroy(doc);
    return good;
}
