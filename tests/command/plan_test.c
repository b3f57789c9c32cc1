/* SPDX-License-Identifier: Apache-2.0 */
/* A release plan halts by itself when its last tranche goes badly, and goes on when somebody resumes it
 * (incident 4 was reopened in tranches by hand, by looking at just these figures). */
#include "tests/lib/api.h"
#include "tests/lib/steer.h"
#include "tests/lib/store.h"
#include "tests/lib/wait.h"

enum { WAIT_MS = 120000, CALLS = 25 };

static struct stack *stack;
static struct api_client api;
static struct steer steer;

/* Released at first 1 of 3, the second at once, the third in a long time. */
static const char *planned(void)
{
    return api_campaign(&api, 3,
                        ",\"released\":1,\"release_plan\":[{\"at\":\"2020-01-01T00:00:00Z\",\"quantity\":1},"
                        "{\"at\":\"2090-01-01T00:00:00Z\",\"quantity\":1}]");
}

static void issue_many(const char *campaign)
{
    for (int i = 0; i < CALLS; i++)
        (void)api_issue(&api, campaign, textf("user-%d", i));
}

static int64_t times_halted(const char *campaign)
{
    enum { PLAN_HALTED = 9 };
    return store_numberf(stack, "SELECT count(*) FROM event WHERE campaign_id = '%s' AND type = %d", campaign,
                         PLAN_HALTED);
}

static void expect_plan(const char *campaign, const char *verb, const char *part)
{
    char body[4096];
    struct http_answer answer = api_post(&api, textf("/v1/campaigns/%s/%s", campaign, verb), "", NULL);
    assert_int_equal(answer.status, 200);
    snprintf(body, sizeof body, "%.*s", SPAN_ARG(answer.body));
    if (!strstr(body, part))
        fail_msg("%s is not in %s", part, body);
}

/* That nothing is released while it is halted is a rule of decide_test; here, that it is halted, once, and
 * resumed. */
static void expect_halted_until_resumed(const char *campaign)
{
    expect_plan(campaign, "pause", "\"plan_done\":1,\"plan_halted\":true");
    expect_plan(campaign, "resume", "\"plan_done\":1,\"plan_halted\":false");
    assert_int_equal(times_halted(campaign), 1);
}

static void set(const char *name, const char *value)
{
    struct http_answer answer = steer_put(&steer, name, value);
    assert_int_equal(answer.status, 200);
}

static void too_slow_halts(void **)
{
    char campaign[80], quiet[80];
    snprintf(campaign, sizeof campaign, "%s", planned());
    snprintf(quiet, sizeof quiet, "%s", planned());
    issue_many(campaign); /* answered well, by any measure but the next */
    assert_int_equal(times_halted(campaign), 0);
    set("plan_halt_p95_ms", "1");
    WAIT_UNTIL(times_halted(campaign) == 1, WAIT_MS);
    set("plan_halt_p95_ms", "null");
    expect_halted_until_resumed(campaign);
    assert_int_equal(times_halted(quiet), 0);
}

static void too_many_failures_halt(void **)
{
    char campaign[80], healthy[80];
    snprintf(campaign, sizeof campaign, "%s", planned());
    snprintf(healthy, sizeof healthy, "%s", planned());
    issue_many(healthy);
    issue_many(campaign);                   /* two coupons, and the rest sold out: all answered */
    set("disk_refuse_writes_percent", "1"); /* soon every write is refused with 503 */
    WAIT_UNTIL((issue_many(campaign), times_halted(campaign) == 1), WAIT_MS);
    set("disk_refuse_writes_percent", "100");
    struct http_answer answer;
    WAIT_UNTIL((answer = api_issue(&api, campaign, "user-0"), answer.status == 409), WAIT_MS);
    expect_halted_until_resumed(campaign);
    assert_int_equal(times_halted(healthy), 0);
}

static int start(void **state)
{
    setenv("FIRSTCOME_DISK_PATH", "/", 1);
    stack = api_setup(state, &api, STACK_COMMAND);
    steer = (struct steer){stack, api.command};
    set("disk_warn_percent", "100"); /* whatever this machine's disk is like */
    set("disk_refuse_campaigns_percent", "100");
    set("disk_refuse_writes_percent", "100");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_slow_halts),
        cmocka_unit_test(too_many_failures_halt),
    };
    return cmocka_run_group_tests(tests, start, api_teardown);
}
