/* SPDX-License-Identifier: Apache-2.0 */
/* Traces against a collector of our own: what a sampled request leaves there, that others leave nothing, and
 * that a collector which refuses, hangs or is gone costs spans and nothing else. No collector of anybody
 * else's was tried. */
#include "common/trace.h"

#include "common/base/metrics.h"
#include "tests/lib/api.h"
#include "tests/lib/otlp_sink.h"
#include "tests/lib/projector.h"
#include "tests/lib/wait.h"

enum { LONG_MS = 60000 };

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define CALLER "00f067aa0ba902b7"
#define SILENT "5bf92f3577b34da6a3ce929d0e0e4736"

static struct stack *stack;
static struct api_client api;
static struct otlp_sink *sink;
static char campaign[64];

static struct http_answer issue(const char *user, const char *traceparent)
{
    char path[128], key[64], body[64];
    const char *headers[] = {traceparent, NULL};
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", campaign);
    snprintf(key, sizeof key, "%s", api_fresh_key());
    snprintf(body, sizeof body, "{\"user_id\":\"%s\"}", user);
    return api_expect(API_ASK(api.command, .method = "POST", .path = path,
                              .token = stack_env(stack, "ISSUE_TOKEN"), .key = key, .body = body,
                              .headers = headers),
                      201, NULL);
}

static struct otlp_span await(const char *name, const char *trace)
{
    struct otlp_span span;
    WAIT_UNTIL(otlp_sink_find(sink, name, trace, &span), LONG_MS);
    return span;
}

static void a_sampled_request_is_followed(void **)
{
    (void)issue("u-1", "traceparent: 00-" TRACE "-" CALLER "-01");
    struct otlp_span request = await("issue", TRACE), queue = await("queue", TRACE),
                     projection = await("projection", TRACE), batch = await("batch", NULL);
    assert_string_equal(request.parent, CALLER);
    assert_string_equal(request.service, "command-service");
    assert_int_equal(request.kind, TRACE_SERVER);
    assert_string_equal(queue.parent, request.id);
    assert_string_equal(projection.parent, request.id);
    assert_string_equal(projection.service, "projector");
    assert_true(request.begin_ns <= queue.end_ns && queue.end_ns <= request.end_ns);
    assert_string_not_equal(batch.trace, TRACE);
    assert_string_equal(batch.parent, "");
    assert_int_equal(batch.links, 1);
    assert_string_equal(batch.first_link, textf("%s %s", request.trace, request.id));
    struct otlp_span commit = await("commit", batch.trace);
    assert_string_equal(commit.parent, batch.id);
    assert_true(commit.begin_ns >= batch.begin_ns && commit.end_ns <= batch.end_ns);
    otlp_sink_assert_valid(sink);
}

/* A sampled one after it is what there is to wait for. */
static void others_are_not(void **)
{
    struct otlp_span span;
    (void)issue("u-2", "traceparent: 00-" SILENT "-" CALLER "-00");
    (void)issue("u-3", NULL);
    (void)issue("u-4", "traceparent: 00-6bf92f3577b34da6a3ce929d0e0e4736-" CALLER "-01");
    (void)await("projection", "6bf92f3577b34da6a3ce929d0e0e4736");
    (void)await("issue", "6bf92f3577b34da6a3ce929d0e0e4736");
    assert_false(otlp_sink_find(sink, "issue", SILENT, &span));
    assert_false(otlp_sink_find(sink, "queue", SILENT, &span));
    assert_false(otlp_sink_find(sink, "projection", SILENT, &span));
    otlp_sink_assert_valid(sink);
}

static int64_t dropped(const char *reason)
{
    return api_metric(&api, textf("coupon_trace_dropped_total{reason=\"%s\"}", reason));
}

static void a_collector_that_refuses_costs_spans_only(void **)
{
    int64_t before = dropped("collector");
    otlp_sink_set_status(sink, 503);
    (void)issue("u-5", "traceparent: 00-7bf92f3577b34da6a3ce929d0e0e4736-" CALLER "-01");
    WAIT_UNTIL(dropped("collector") > before, LONG_MS);
    otlp_sink_set_status(sink, 200);
    (void)issue("u-6", "traceparent: 00-8bf92f3577b34da6a3ce929d0e0e4736-" CALLER "-01");
    (void)await("issue", "8bf92f3577b34da6a3ce929d0e0e4736");
}

/* More than the queue has room for, while nothing leaves it. */
static void a_collector_that_hangs_fills_a_bounded_queue(void **)
{
    enum { MUCH = 8192 };
    char reason[128];
    struct otlp_sink *hung = otlp_sink_start();
    otlp_sink_set_status(hung, 0);
    assert_true(trace_start(otlp_sink_url(hung), "test", reason, sizeof reason));
    assert_true(trace_on());
    struct metric *no_room = metric_counter("coupon_trace_dropped_total",
                                            "Spans that were dropped, by reason", "reason=\"queue\"");
    struct trace_span span = {.name = "much", .kind = TRACE_INTERNAL, .begin_us = 1, .end_us = 2};
    trace_new_id(span.trace);
    trace_new_id(span.id);
    int64_t until_us = clock_deadline_us(LONG_MS);
    while (metric_value(no_room) == 0 && clock_remaining_ms(until_us) > 0)
        for (int i = 0; i < MUCH; i++)
            trace_put(&span);
    assert_true(metric_value(no_room) > 0);
    trace_stop();
    assert_false(trace_on());
    otlp_sink_stop(hung);
}

static void off_unless_asked_for(void **)
{
    char reason[128] = "";
    assert_true(trace_start("", "test", reason, sizeof reason));
    assert_false(trace_on());
    assert_false(trace_start("ftp://collector", "test", reason, sizeof reason));
    assert_string_not_equal(reason, "");
    trace_stop();
}

static int set_up(void **state)
{
    sink = otlp_sink_start();
    setenv("FIRSTCOME_TRACE_URL", otlp_sink_url(sink), 1);
    stack = api_setup(state, &api, STACK_ALL);
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 1000, ""));
    return 0;
}

/* What the projector and the log say of those events is what it is without traces. */
static int tear_down(void **state)
{
    projector_assert_verify_clean(stack);
    int status = api_teardown(state);
    otlp_sink_stop(sink);
    return status;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sampled_request_is_followed),
        cmocka_unit_test(others_are_not),
        cmocka_unit_test(a_collector_that_refuses_costs_spans_only),
        cmocka_unit_test(a_collector_that_hangs_fills_a_bounded_queue),
        cmocka_unit_test(off_unless_asked_for),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
