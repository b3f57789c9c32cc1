/* SPDX-License-Identifier: Apache-2.0 */
/* Rendering answers of the write API. Runs on a committer's thread after COMMIT, or on an HTTP thread for
 * what never got that far. */
#include "command-service/http/response.h"

#include "command-service/answer.h"
#include "command-service/http/gather.h"
#include "command-service/spans.h"
#include "command-service/watch.h"
#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/json.h"
#include "events/problems.h"
#include "events/refusals.h"

enum { HELD_IDS_MAX = 32 + PER_USER_LIMIT_MAX * (COUPON_ID_MAX + 3) };

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
             command->request ? http_request_id(command->request) : "-", command_name(command->kind),
             outcome);
    buf_deinit(&trace);
}

static struct metric *late_metric;

static const char *public_url = ""; /* written once, before threads start */

bool answer_public_url_valid(const char *url)
{
    struct span is = span_of(url);
    size_t scheme = span_starts(is, SPAN("https://")) ? 8 : span_starts(is, SPAN("http://")) ? 7 : 0;
    if (is.len == 0)
        return true;
    if (scheme == 0 || is.len == scheme || is.ptr[scheme] == '/' || is.ptr[is.len - 1] == '/')
        return false;
    for (size_t i = 0; i < is.len; i++)
        if (is.ptr[i] <= ' ' || is.ptr[i] > '~' || memchr("?#\"<>\\^`{|}", is.ptr[i], 11))
            return false;
    return true;
}

void answer_setup(const char *public)
{
    public_url = public;
    late_metric =
        metric_counter("coupon_late_answers_total", "Answers given after the request's deadline (I11)", NULL);
    refusals_setup();
}

static void count_late(const struct command *command)
{
    if (command->request && command->deadline_us && clock_mono_us() > command->deadline_us)
        metric_add(late_metric, 1);
}

/* A refusal is an answer too; what the watch wants to know is whether the service kept up. */
static void tell_watch(const struct command *command, int status)
{
    if (command->watch)
        watch_note(command->watch, command->campaign_id, status >= 500,
                   clock_mono_us() - command->received_us);
}

/* --- accepted requests --- */

/* "/v1/requests/" and the key as one segment of a path: a service that took the request answers there, and
 * whoever sent it may keep its API key from other origins. */
void answer_accepted(struct http_request *request, struct span idempotency_key)
{
    struct buf location;
    buf_init(&location, 32 + 3 * IDEMPOTENCY_KEY_MAX);
    buf_append_text(&location, "/v1/requests/");
    for (size_t i = 0; i < idempotency_key.len; i++) {
        char c = idempotency_key.ptr[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
                     c == '_' || c == '.' || c == '~';
        if (plain)
            buf_append_char(&location, c);
        else
            buf_printf(&location, "%%%02X", (unsigned char)c);
    }
    http_add_header(request, "Location", buf_span(&location));
    http_add_header(request, "Preference-Applied", SPAN("respond-async"));
    buf_deinit(&location);
    struct buf *body = http_reply_body(request);
    json_open(body, NULL, '{');
    json_put_string(body, "status", SPAN("pending"));
    json_close(body, '}');
    http_reply(request, 202);
}

/* --- answers --- */

void answer_detail(struct command *command, const struct problem_detail *detail)
{
    struct http_request *request = command->request;
    struct gather *gather = command->gather;
    log_traced(command, detail->problem->code);
    spans_answer(command, detail->problem->status);
    count_late(command);
    tell_watch(command, detail->problem->status);
    command_change_state(command, COMMAND_ANSWERED);
    if (command->request)
        refusals_count(detail->problem);
    command->request = NULL;
    command->gather = NULL;
    if (gather)
        gather_problem(gather, detail->problem, detail->retry_after_ms);
    else if (request)
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
    buf_init(&location, strlen(public_url) + 32 + CAMPAIGN_ID_MAX);
    buf_append_text(&location, public_url);
    buf_append_text(&location, "/v1/campaigns/");
    buf_append_span(&location, campaign_id);
    http_add_header(request, "Location", buf_span(&location));
    buf_deinit(&location);
}

static void reply(struct http_request *request, const struct command *command, const struct verdict *verdict,
                  const struct code_key *code_key)
{
    add_token(request, verdict->token);
    if (verdict->replayed)
        http_add_header(request, "Idempotency-Replayed", SPAN("true"));
    if (command->kind == COMMAND_CREATE)
        add_location(request, command->campaign_id);
    answer_write(http_reply_body(request), command, verdict, code_key);
    http_reply(request, answer_status(command->kind));
}

/* The quotas of a day begin anew at midnight UTC; spread, so that not everybody is back in its first second.
 * Nobody knows when stock that is too much for all open campaigns will be free. */
static int64_t refusal_retry_ms(const struct verdict *verdict)
{
    enum { SPREAD_MS = 60000, START_SPREAD_MS = 1000 };
    if (verdict->next.from_us > verdict->now_us) /* and whoever comes then comes in its order */
        return (verdict->next.from_us - verdict->now_us) / US_PER_MS + crypto_random_below(START_SPREAD_MS);
    if (verdict->refusal != &problem_quota_exceeded)
        return 0;
    int64_t left_us = US_PER_DAY - verdict->now_us % US_PER_DAY;
    return left_us / US_PER_MS + crypto_random_below(SPREAD_MS);
}

static void answer_refusal(struct command *command, const struct verdict *verdict)
{
    struct buf held;
    buf_init(&held, HELD_IDS_MAX);
    if (verdict->held)
        answer_write_held(&held, command->slice, verdict->held);
    else
        answer_write_next(&held, &verdict->next);
    CHECK(!held.overflow);
    struct problem_detail detail = {
        .problem = verdict->refusal,
        .retry_after_ms = refusal_retry_ms(verdict),
    };
    if (verdict->refusal == &problem_coupons_expired)
        detail.field = SPAN("coupon_expires_at");
    if (held.len)
        detail.extension = buf_span(&held);
    answer_detail(command, &detail);
    buf_deinit(&held);
}

void answer_verdict(struct command *command, const struct verdict *verdict, const struct code_key *code_key)
{
    struct http_request *request = command->request;
    struct gather *gather = command->gather;
    if (verdict->refusal && !gather) {
        answer_refusal(command, verdict);
        return;
    }
    log_traced(command, verdict->replayed ? "replayed" : "accepted");
    spans_answer(command, answer_status(command->kind));
    count_late(command);
    tell_watch(command, answer_status(command->kind));
    command_change_state(command, COMMAND_ANSWERED);
    command->request = NULL;
    command->gather = NULL;
    if (gather)
        gather_verdict(gather, verdict);
    else if (request)
        reply(request, command, verdict, code_key);
}
