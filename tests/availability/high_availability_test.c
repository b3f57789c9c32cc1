/* SPDX-License-Identifier: Apache-2.0 */
/* The log on three machines under Patroni, with a synchronous standby, while users ask for coupons without a
 * pause: PostgreSQL is killed, the primary's machine dies, freezes, is cut off, the standby freezes. Each
 * time: every answer in time, nothing promised lost, nothing double, issuing again within a second of Patroni
 * saying that there is a primary with a standby; and a service that is connected to what was the primary
 * promises nothing. In the end the log, the state rows and the read models are true. */
#include "tests/lib/wait.h"

#include "bench/storm/verify_call.h"
#include "common/base/crypto.h"
#include "tests/availability/patroni.h"
#include "tests/lib/api.h"
#include "tests/lib/instance.h"
#include "tests/lib/pace.h"
#include "tests/lib/siege.h"

enum {
    PER_SECOND = 100,
    CONNECTIONS = 24,
    LONG_MS = 120000,
    BACK_US = US_PER_S, /* after Patroni */
    FENCED_TRIES = 3,
    URL_MAX = 512
};

static struct stack *stack;
static struct instance *service, *projector;
static char command_url[URL_MAX], owner_url[URL_MAX], projector_url[URL_MAX];

static bool whole(void)
{
    int primary = patroni_find("primary", 0);
    return primary && patroni_find("sync", primary) &&
           patroni_find("replica", patroni_find("replica", 0)) != 0;
}

static struct siege *begin(void)
{
    const char *url = instance_url(service);
    WAIT_UNTIL(whole(), LONG_MS);
    struct siege_options options = {.urls = &url,
                                    .urls_count = 1,
                                    .per_second = PER_SECOND,
                                    .connections = CONNECTIONS,
                                    .database_url = owner_url};
    return siege_begin(stack, &options);
}

static bool led(int except)
{
    int primary = patroni_find("primary", except), standby = patroni_find("sync", except);
    return primary && standby && primary != standby;
}

/* From the instant at which Patroni says that somebody is the primary and somebody else its standby. */
static void expect_back(struct siege *siege, const char *what, int64_t from_us, int except)
{
    WAIT_UNTIL(led(except), LONG_MS);
    int64_t ready_us = clock_mono_us(), before = siege_issued(siege, 0);
    siege_mark_back(siege, what, 0);
    WAIT_UNTIL(siege_issued(siege, 0) > before, LONG_MS);
    int64_t back_us = clock_mono_us();
    print_message("    %s: Patroni %lld ms, then %lld ms to the next coupon; machine %d is the primary\n",
                  what, (long long)((ready_us - from_us) / US_PER_MS),
                  (long long)((back_us - ready_us) / US_PER_MS), patroni_find("primary", except));
    pace_within(ready_us, BACK_US, what);
    siege_await_issuing(siege);
}

/* A service that knows one machine only. */
static struct instance *start_beside(int node, char url[URL_MAX])
{
    patroni_url_of(stack, "COMMAND_DATABASE_URL", node, url, URL_MAX);
    return instance_start(
        stack, &(struct instance_options){
                   .service = "command-service", .name = "beside", .port_offset = 8, .database_url = url});
}

/* Issues to somebody new by that service; returns the status. */
static int issue_beside(const struct instance *beside, const char *campaign)
{
    struct api_client api;
    struct http_answer answer = {0};
    instance_open_api(beside, &api);
    api_issue_begin(&api, api.command, campaign, "nobody", api_fresh_key());
    assert_int_equal(http_client_read(api.command, LONG_MS, &answer), HTTP_ANSWERED);
    api_close(&api);
    return answer.status;
}

static void expect_fenced(const struct instance *beside, struct siege *siege)
{
    for (int i = 0; i < FENCED_TRIES; i++) {
        int status = issue_beside(beside, siege_campaign(siege));
        if (status < 500)
            fail_msg("what was the primary had a service answer %d", status);
    }
}

static void postgresql_is_killed(void **state)
{
    (void)state;
    struct siege *siege = begin();
    int primary = patroni_find("primary", 0);
    int64_t from_us = clock_mono_us();
    patroni_signal(stack, primary, "postgres", SIGKILL);
    WAIT_UNTIL(!patroni_is(primary, "primary"), LONG_MS);
    expect_back(siege, "PostgreSQL killed", from_us, 0);
    siege_end(siege);
}

static void the_machine_dies(void **state)
{
    (void)state;
    struct siege *siege = begin();
    int primary = patroni_find("primary", 0);
    int64_t from_us = clock_mono_us();
    patroni_signal(stack, primary, "all", SIGKILL);
    expect_back(siege, "machine dead", from_us, primary);
    patroni_begin(stack, primary);
    WAIT_UNTIL(patroni_is(primary, "replica"), LONG_MS);
    siege_end(siege);
}

/* PostgreSQL wakes up before Patroni does: for that time nothing but the missing standby holds it back. */
static void the_machine_freezes(void **state)
{
    (void)state;
    char url[URL_MAX];
    struct siege *siege = begin();
    int primary = patroni_find("primary", 0);
    struct instance *beside = start_beside(primary, url);
    int64_t from_us = clock_mono_us();
    patroni_signal(stack, primary, "all", SIGSTOP);
    expect_back(siege, "machine frozen", from_us, primary);
    patroni_signal(stack, primary, "postgres", SIGCONT);
    expect_fenced(beside, siege);
    patroni_signal(stack, primary, "patroni", SIGCONT);
    WAIT_UNTIL(patroni_is(primary, "replica"), LONG_MS);
    expect_fenced(beside, siege);
    instance_destroy(beside);
    siege_end(siege);
}

static void the_machine_is_cut_off(void **state)
{
    (void)state;
    char url[URL_MAX];
    struct siege *siege = begin();
    int primary = patroni_find("primary", 0);
    struct instance *beside = start_beside(primary, url);
    int64_t from_us = clock_mono_us();
    patroni_cut_off(stack, primary);
    expect_back(siege, "machine cut off", from_us, primary);
    patroni_reconnect(stack, primary);
    expect_fenced(beside, siege);
    WAIT_UNTIL(patroni_is(primary, "replica"), LONG_MS);
    instance_destroy(beside);
    siege_end(siege);
}

/* Nothing can be promised before another is the synchronous one. */
static void the_standby_freezes(void **state)
{
    (void)state;
    struct siege *siege = begin();
    int primary = patroni_find("primary", 0), standby = patroni_find("sync", 0);
    int64_t from_us = clock_mono_us();
    patroni_signal(stack, standby, "all", SIGSTOP);
    expect_back(siege, "standby frozen", from_us, standby);
    assert_int_equal(patroni_find("primary", standby), primary);
    patroni_signal(stack, standby, "all", SIGCONT);
    WAIT_UNTIL(patroni_is(standby, "replica"), LONG_MS);
    siege_end(siege);
}

static void all_of_it_is_true(void **state)
{
    (void)state;
    struct verify_call call = {
        .database_url = projector_url, .redis_url = stack_env(stack, "PROJECTOR_REDIS_URL"), .slice = -1};
    WAIT_UNTIL(instance_ready(projector), LONG_MS);
    WAIT_UNTIL(verify_call(&call) == 0, LONG_MS);
}

static int setup(void **state)
{
    crypto_setup();
    stack_default_deadlines();
    *state = stack = stack_start(STACK_SERVERS);
    patroni_start(stack);
    patroni_url(stack, "COMMAND_DATABASE_URL", command_url, sizeof command_url);
    patroni_url(stack, "PROJECTOR_DATABASE_URL", projector_url, sizeof projector_url);
    patroni_url(stack, "DATABASE_URL", owner_url, sizeof owner_url);
    service = instance_start(stack, &(struct instance_options){.service = "command-service",
                                                               .name = "patroni",
                                                               .port_offset = 6,
                                                               .database_url = command_url});
    projector = instance_start(stack, &(struct instance_options){.service = "projector",
                                                                 .name = "patroni",
                                                                 .port_offset = 7,
                                                                 .database_url = projector_url});
    return 0;
}

static int teardown(void **state)
{
    instance_destroy(projector);
    instance_destroy(service);
    return stack_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(postgresql_is_killed), cmocka_unit_test(the_machine_dies),
        cmocka_unit_test(the_machine_freezes),  cmocka_unit_test(the_machine_is_cut_off),
        cmocka_unit_test(the_standby_freezes),  cmocka_unit_test(all_of_it_is_true),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
