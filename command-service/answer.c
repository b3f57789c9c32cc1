/* SPDX-License-Identifier: Apache-2.0 */
/* Rendering answers of the write API. Runs on a committer's thread after COMMIT, or on an HTTP thread for
 * what never got that far. */
#include "command-service/answer.h"

#include "common/json.h"
#include "common/log.h"
#include "events/problems.h"

/* A traced request comes out in the log with the trace it belongs to, and what became of it. Nothing of the
 * user's is in the line (I10); the log itself bounds how many there are. */
static void log_traced(const struct command *command, const char *outcome)
{
    struct buf trace;
    if (!command->trace.ptr)
        return;
    buf_init(&trace, 2 * TRACE_BYTES);
    hex_encode(&trace, command->trace.ptr, command->trace.len);
    log_info("COMMAND", "trace %.32s span %.16s request %s: %s %s", trace.data, trace.data + 32,
             http_request_id(command->request), command_name(command->kind), outcome);
    buf_deinit(&trace);
}

void answer_detail(struct command *command, const struct problem_detail *detail)
{
    struct http_request *request = command->request;
    log_traced(command, detail->problem->code);
    command->request = NULL;
    http_problem(request, detail);
}

void answer_problem(struct command *command, const struct problem *problem, int64_t retry_after_ms)
{
    answer_detail(command, &(struct problem_detail){.problem = problem, .retry_after_ms = retry_after_ms});
}

static void add_token(struct http_request *request, struct position at)
{
    struct buf token;
    if (at.position == 0)
        return;
    buf_init(&token, CONSISTENCY_TOKEN_MAX);
    consistency_token_write(&token, at);
    http_add_header(request, "Consistency-Token", buf_span(&token));
    buf_deinit(&token);
}

static void add_location(struct http_request *request, struct span campaign_id)
{
    struct buf location;
    buf_init(&location, 32 + CAMPAIGN_ID_MAX);
    buf_append_text(&location, "/v1/campaigns/");
    buf_append_span(&location, campaign_id);
    http_add_header(request, "Location", buf_span(&location));
    buf_deinit(&location);
}

static void write_result(struct buf *out, const struct issue_result *result, const uint8_t *code_key)
{
    if (!result->refusal) {
        coupon_write_json(out, NULL, &result->coupon, code_key, 0);
        return;
    }
    json_open(out, NULL, '{');
    json_put_string(out, "user_id", result->user_id);
    json_put_string(out, "status", SPAN("refused"));
    json_put_string(out, "code", span_of(result->refusal->code));
    json_close(out, '}');
}

static void write_results(struct buf *out, const struct issue_result *results, size_t count,
                          const uint8_t *code_key)
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

void answer_verdict(struct command *command, const struct verdict *verdict,
                    const uint8_t code_key[CRYPTO_KEY_BYTES])
{
    struct http_request *request = command->request;
    struct buf *body = http_reply_body(request);
    log_traced(command, verdict->refusal    ? verdict->refusal->code
                        : verdict->replayed ? "replayed"
                                            : "accepted");
    command->request = NULL;
    if (verdict->refusal) {
        http_problem(request,
                     &(struct problem_detail){.problem = verdict->refusal, .extension = verdict->held_ids});
        return;
    }
    add_token(request, verdict->token);
    if (verdict->replayed)
        http_add_header(request, "Idempotency-Replayed", SPAN("true"));
    if (command->kind == COMMAND_CREATE)
        add_location(request, command->campaign_id);
    if (verdict->results)
        write_results(body, verdict->results, command->users_count, code_key);
    else if (verdict->body.ptr)
        buf_append_span(body, verdict->body);
    else
        coupon_write_json(body, NULL, &verdict->coupon, code_key,
                          0); /* 0: as it was when issued, so a retry gets the
                                 same bytes whenever it comes (I4) */
    http_reply(request, verdict->status);
}
