/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL answers, but slowly: every exchange with it takes 50, 300, 700 ms longer. Whoever asks hears
 * something within the deadline all the same, up to 300 ms it is the coupon, and afterwards all is as before.
 */
#include "tests/lib/wait.h"

#include "common/base/crypto.h"
#include "events/ids.h"
#include "tests/lib/api.h"
#include "tests/lib/instance.h"
#include "tests/lib/pace.h"
#include "tests/lib/proxy.h"
#include "tests/lib/store.h"

enum {
    PROXY_OFFSET = 18,
    CAMPAIGNS = 6,
    EACH = 4, /* requests to a campaign at once */
    ROUNDS = 3,
    DEADLINE_MS = 2000, /* of the service (I11) */
    SLACK_MS = 300,
    LONG_MS = 120000,
};

static struct stack *stack;
static struct proxy *proxy;
static struct instance *service;
static struct api_client api;
static struct http_client *clients[CAMPAIGNS * EACH];
static char campaigns[CAMPAIGNS][64];
static unsigned users;

/* Everybody asks at once. How many got a coupon. */
static size_t ask_all(void)
{
    size_t issued = 0;
    int64_t start_us = clock_mono_us();
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        api_issue_begin(&api, clients[i], campaigns[i % CAMPAIGNS], textf("user-%u", users++),
                        api_fresh_key());
    }
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        struct http_answer answer;
        assert_int_equal(http_client_read(clients[i], LONG_MS, &answer), HTTP_ANSWERED);
        pace_within(start_us, (DEADLINE_MS + SLACK_MS) * US_PER_MS, "an answer");
        if (answer.status != 201 && answer.status != 503 && answer.status != 504)
            fail_msg("%d %s", answer.status, api_problem(&answer));
        issued += answer.status == 201;
    }
    return issued;
}

static void slow_by(int64_t delay_ms, bool must_issue)
{
    size_t issued = 0;
    proxy_delay(proxy, delay_ms);
    for (int round = 0; round < ROUNDS; round++)
        issued += ask_all();
    assert_true(issued > 0 || !must_issue);
    proxy_delay(proxy, 0);
    WAIT_UNTIL(instance_ready(service), LONG_MS);
    WAIT_UNTIL(ask_all() == COUNT_OF(clients), LONG_MS);
}

static void by_50_ms(void **)
{
    slow_by(50, true);
}

static void by_300_ms(void **)
{
    slow_by(300, true);
}

static void by_700_ms(void **)
{
    slow_by(700, false);
}

/* A service that starts while every exchange is slow connects all the same: slow is not gone. */
static void connects_to_a_slow_store(void **)
{
    proxy_delay(proxy, 200);
    http_client_close(api.command);
    for (size_t i = 0; i < COUNT_OF(clients); i++)
        http_client_close(clients[i]);
    instance_kill(service);
    instance_again(service); /* ready */
    proxy_delay(proxy, 0);
    WAIT_UNTIL(ask_all() == COUNT_OF(clients), LONG_MS);
}

/* Nothing that was answered 201 is missing, nobody has two. */
static void nothing_was_lost(void **)
{
    assert_int_equal(
        store_number(stack, "SELECT count(*) - count(DISTINCT user_id) FROM event WHERE type = 6"), 0);
    assert_int_equal(store_number(stack,
                                  "SELECT count(*) FROM campaign c WHERE issued <> (SELECT count(*) FROM "
                                  "event e WHERE e.slice = c.slice AND e.campaign_id = c.id AND "
                                  "e.type = 6)"),
                     0);
}

static int setup(void **)
{
    static char url[512];
    crypto_setup();
    stack_default_deadlines();
    stack = stack_start(STACK_SERVERS);
    int base = stack_port_base(stack);
    proxy_url(stack_env(stack, "DATABASE_URL"), base + 3, base + PROXY_OFFSET, url, sizeof url);
    proxy = proxy_start(base + PROXY_OFFSET, base + 3);
    service = INSTANCE_START(stack, "command-service", "slow", 7, .database_url = url);
    instance_open_api(service, &api);
    for (size_t i = 0; i < COUNT_OF(clients); i++)
        clients[i] = http_client_create(instance_url(service));
    for (size_t i = 0; i < CAMPAIGNS; i++)
        snprintf(campaigns[i], sizeof campaigns[i], "%s", api_campaign(&api, 100000, ""));
    return 0;
}

static int teardown(void **)
{
    for (size_t i = 0; i < COUNT_OF(clients); i++)
        http_client_destroy(clients[i]);
    api_close(&api);
    instance_destroy(service);
    proxy_stop(proxy);
    stack_stop(stack);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_50_ms),         cmocka_unit_test(by_300_ms),
        cmocka_unit_test(by_700_ms),        cmocka_unit_test(connects_to_a_slow_store),
        cmocka_unit_test(nothing_was_lost),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
