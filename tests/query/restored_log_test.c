/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL is restored to an earlier point while a query service lives on, and the log grows past where it
 * was: what is in memory of the log that is gone is told to nobody, and followers are told which log it is.
 */
#include "tests/lib/wait.h"

#include "events/ids.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum { LONG_MS = 120000, SHOWS_MS = 120000, BEFORE = 5, LOST = 5, AFTER = 7 };

static struct stack *stack;
static struct api_client api;
static char campaign[64], path[128];

/* Copies live longer than the test: what shows is not for lack of time. Answers come from PostgreSQL, so
 * nothing is known of the log that is gone but what is in memory. */
static int setup(void **state)
{
    setenv("FIRSTCOME_FRESH_MS", "60000", 1);
    setenv("FIRSTCOME_STALE_MS", "3600000", 1);
    setenv("FIRSTCOME_DRAIN_GRACE_MS", "0", 1);
    stack = api_setup(state, &api, STACK_ALL);
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 1000, ""));
    snprintf(path, sizeof path, "/v1/campaigns/%s", campaign);
    stack_service(stack, "projector", "stop");
    reads_redis(stack, "FLUSHALL", NULL);
    return 0;
}

static void issue(const char *prefix, int count)
{
    for (int i = 0; i < count; i++)
        api_give(&api, campaign, textf("%s-%d", prefix, i));
}

static int64_t issued(void)
{
    struct http_answer answer = api_get(&api, path, NULL);
    if (answer.status != 200)
        return -1;
    return body_int(answer.body, "issued");
}

/* "save" or "restore" (tests/lib/data_copy), while PostgreSQL does not run. */
static void while_it_is_down(const char *verb)
{
    const char *const argv[] = {"tests/lib/data_copy", verb, NULL};
    stack_service(stack, "command-service", "stop");
    stack_signal(stack, "postgresql", SIGINT);
    WAIT_UNTIL(stack_pid(stack, "postgresql") == 0, LONG_MS);
    assert_int_equal(stack_tool(stack, argv), 0);
    stack_restart_servers(stack);
    stack_service(stack, "command-service", "start");
}

static struct json_doc *feed(int64_t after, int status)
{
    char target[160];
    snprintf(target, sizeof target, "/v1/events?slice=%d&after=%lld", slice_of(span_of(campaign)),
             (long long)after);
    struct http_answer answer;
    WAIT_UNTIL((answer = api_get(&api, target, NULL), answer.status != 503), LONG_MS);
    api_expect(answer, status, NULL);
    return json_get_doc(answer.body);
}

static void a_log_that_is_gone_is_not_told(void **)
{
    char log[64];
    issue("before", BEFORE);
    while_it_is_down("save");
    issue("lost", LOST);
    WAIT_UNTIL(issued() == BEFORE + LOST, SHOWS_MS);
    struct json_doc *doc = feed(0, 200);
    int64_t head = json_get_int(doc, "head");
    snprintf(log, sizeof log, "%.*s", SPAN_ARG(json_get_text(doc, "log")));
    json_destroy(doc);
    while_it_is_down("restore");
    doc = feed(head, 409); /* the follower has read what is gone */
    assert_true(json_get_int(doc, "head") < head);
    json_destroy(doc);
    issue("after", AFTER);
    /* The log is longer than it was, and not the same. */
    WAIT_UNTIL(issued() == BEFORE + AFTER, SHOWS_MS);
    doc = feed(head, 200);
    assert_true(json_get_int(doc, "head") > head);
    assert_false(span_is(json_get_text(doc, "log"), log));
    json_destroy(doc);
    assert_true(reads_metric(&api, "coupon_read_logs_replaced_total") >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_log_that_is_gone_is_not_told)};
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
