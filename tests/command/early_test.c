/* SPDX-License-Identifier: Apache-2.0 */
/* Refusing early must not be noticed by anybody who has something to lose: holders, those who send a request
 * again, and those for whom there is stock again, whichever service they ask. A crowd at a campaign that
 * refuses everybody makes a service remember it; then each of them comes. */
#include "tests/lib/api.h"
#include "tests/lib/instance.h"
#include "tests/lib/wait.h"

#include "events/ids.h"

enum { CROWD = 32, WAIT_MS = 120000 };

static struct stack *stack;
static struct api_client api;
static struct http_client *crowd[CROWD];

static int64_t early_refusals(void)
{
    return api_metric(&api, "coupon_early_refusals_total");
}

/* One wave of users who hold nothing; all must get this problem. true when some were refused early. */
static bool wave(const char *campaign, int status, const char *code)
{
    static unsigned number;
    int64_t before = early_refusals();
    for (size_t i = 0; i < CROWD; i++)
        api_issue_begin(&api, crowd[i], campaign, textf("crowd-%u", number++), api_fresh_key());
    for (size_t i = 0; i < CROWD; i++) {
        struct http_answer answer;
        assert_int_equal(http_client_read(crowd[i], WAIT_MS, &answer), HTTP_ANSWERED);
        api_expect(answer, status, code);
    }
    return early_refusals() > before;
}

static char kept_body[4096];

static void keep_body(const struct http_answer *answer)
{
    snprintf(kept_body, sizeof kept_body, "%.*s", SPAN_ARG(answer->body));
}

static void post_issue(const char *campaign, const char *user, const char *key, struct http_answer *ret)
{
    *ret =
        api_post(&api, textf("/v1/campaigns/%s/coupons", campaign), textf("{\"user_id\":\"%s\"}", user), key);
}

static void holders_and_retries_are_answered_properly(void **)
{
    char campaign[80];
    struct http_answer answer;
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 2, ""));
    post_issue(campaign, "ann", "key-of-ann", &answer);
    assert_int_equal(answer.status, 201);
    keep_body(&answer);
    post_issue(campaign, "bob", NULL, &answer);
    assert_int_equal(answer.status, 201);
    WAIT_UNTIL(wave(campaign, 409, "sold-out"), WAIT_MS);
    for (size_t round = 0; round < 20; round++) { /* while the crowd is being refused early */
        wave(campaign, 409, "sold-out");
        post_issue(campaign, "ann", "key-of-ann", &answer);
        assert_int_equal(answer.status, 201);
        assert_true(span_is(answer.body, kept_body)); /* I4 */
        post_issue(campaign, "bob", NULL, &answer);
        api_expect(answer, 409, "already-issued");
        post_issue(campaign, "carol", "key-of-ann", &answer); /* another payload: no retry of anything */
        assert_true(answer.status == 422 || answer.status == 409);
    }
}

/* One service is asked by the crowd, stock is released and issued by another, and answers get lost: who sends
 * a request again gets what took effect, at every moment. */
static void retries_are_answered_by_another_service(void **)
{
    enum { ROUNDS = 25 };
    struct instance *other = INSTANCE_START(stack, "command-service", "other", 7);
    struct api_client there;
    struct http_answer answer;
    char campaign[80], user[32], key[ROUNDS + 1][32];
    instance_open_api(other, &there);
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, ROUNDS + 1, ",\"released\":1"));
    post_issue(campaign, "user-0", "key-0", &answer);
    assert_int_equal(answer.status, 201);
    int64_t before = early_refusals();
    for (int round = 1; round <= ROUNDS; round++) {
        wave(campaign, 409, "sold-out"); /* for now: a release may follow at any moment */
        answer = api_post(&there, textf("/v1/campaigns/%s/release", campaign), "{\"quantity\":1}", NULL);
        assert_int_equal(answer.status, 200);
        char body[64];
        snprintf(user, sizeof user, "user-%d", round);
        snprintf(key[round], sizeof key[round], "key-%d", round);
        snprintf(body, sizeof body, "{\"user_id\":\"%s\"}", user);
        answer = api_post(&there, textf("/v1/campaigns/%s/coupons", campaign), body, key[round]);
        assert_int_equal(answer.status, 201);
        keep_body(&answer); /* which its client never saw */
        post_issue(campaign, user, key[round], &answer);
        assert_int_equal(answer.status, 201);
        assert_true(span_is(answer.body, kept_body));
    }
    assert_int_equal(early_refusals(), before);
    WAIT_UNTIL(wave(campaign, 409, "sold-out"), WAIT_MS); /* now all of it is issued, by whomever */
    for (int round = 1; round <= ROUNDS; round++) {
        wave(campaign, 409, "sold-out");
        snprintf(user, sizeof user, "user-%d", round);
        post_issue(campaign, user, key[round], &answer);
        assert_int_equal(answer.status, 201);
        post_issue(campaign, user, NULL, &answer);
        api_expect(answer, 409, "already-issued");
    }
    api_close(&there);
    instance_destroy(other);
}

static void what_is_over_stays_over(void **)
{
    char campaign[80];
    struct http_answer answer;
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 50, ""));
    post_issue(campaign, "ann", "closed-ann", &answer);
    keep_body(&answer);
    answer = api_post(&api, textf("/v1/campaigns/%s/pause", campaign), "", NULL);
    assert_int_equal(answer.status, 200);
    int64_t before = early_refusals();
    for (int round = 0; round < 5; round++)
        wave(campaign, 409, "paused"); /* it may be resumed at any moment */
    assert_int_equal(early_refusals(), before);
    answer = api_post(&api, textf("/v1/campaigns/%s/close", campaign), "", NULL);
    assert_int_equal(answer.status, 200);
    WAIT_UNTIL(wave(campaign, 410, "ended"), WAIT_MS);
    post_issue(campaign, "ann", "closed-ann", &answer);
    assert_int_equal(answer.status, 201);
    assert_true(span_is(answer.body, kept_body));
}

/* By the clock of the store: nobody is refused after the start, however many were before. */
static void who_comes_at_the_start_is_let_in(void **)
{
    char campaign[80];
    struct http_answer answer;
    int64_t starts_us = clock_wall_us() + 8 * US_PER_S;
    snprintf(campaign, sizeof campaign, "%s",
             api_campaign(&api, 50, textf(",\"starts_at\":\"%s\"", time_text(starts_us))));
    bool early = false;
    while (!early && clock_wall_us() < starts_us - 5 * US_PER_S)
        early |= wave(campaign, 409, "not-started");
    assert_true(early);
    WAIT_UNTIL(clock_wall_us() >= starts_us, WAIT_MS);
    post_issue(campaign, "ann", NULL, &answer);
    api_expect(answer, 201, NULL);
}

/* What is known comes from PostgreSQL and runs out: without it nobody is told "sold out". */
static void nothing_is_known_without_the_store(void **)
{
    char campaign[80];
    struct http_answer answer;
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 1, ""));
    post_issue(campaign, "ann", NULL, &answer);
    WAIT_UNTIL(wave(campaign, 409, "sold-out"), WAIT_MS);
    stack_signal(stack, "postgresql", SIGQUIT);
    WAIT_UNTIL((post_issue(campaign, "nobody", NULL, &answer), answer.status == 503), WAIT_MS);
    int64_t refusals = early_refusals();
    post_issue(campaign, "nobody", NULL, &answer);
    assert_int_equal(answer.status, 503);
    assert_int_equal(early_refusals(), refusals);
    WAIT_UNTIL(stack_pid(stack, "postgresql") == 0, WAIT_MS);
    stack_restart_servers(stack);
    WAIT_UNTIL((post_issue(campaign, "nobody", NULL, &answer), answer.status == 409), WAIT_MS);
    WAIT_UNTIL(wave(campaign, 409, "sold-out"), WAIT_MS);
}

static int start(void **state)
{
    setenv("FIRSTCOME_REQUEST_DEADLINE_MS", "4000", 1); /* nobody is refused for the machine being busy */
    stack = api_setup(state, &api, STACK_COMMAND);
    for (size_t i = 0; i < CROWD; i++)
        crowd[i] = http_client_create(stack_env(stack, "COMMAND_URL"));
    return 0;
}

static int stop(void **state)
{
    for (size_t i = 0; i < CROWD; i++)
        http_client_destroy(crowd[i]);
    return api_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holders_and_retries_are_answered_properly),
        cmocka_unit_test(retries_are_answered_by_another_service),
        cmocka_unit_test(what_is_over_stays_over),
        cmocka_unit_test(who_comes_at_the_start_is_let_in),
        cmocka_unit_test(nothing_is_known_without_the_store),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
