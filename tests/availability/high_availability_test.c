/* SPDX-License-Identifier: Apache-2.0 */
/* The log on three machines under Patroni, with a synchronous standby, while users ask for coupons without a
 * pause: PostgreSQL is killed, the primary's machine dies, freezes, is cut off, hands over, the standby
 * freezes. Each time: every answer in time, nothing promised lost, nothing double, issuing again within a
 * second of Patroni saying that there is a primary with a standby; and a service that is connected to what
 * was the primary promises nothing. In the end the log, the state rows and the read models are true. */
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
    URL_MAX = 512,
    SHARD = 1,
    NODES = 3
};

static struct stack *stack;
static struct instance *service, *projector;
static char command_url[URL_MAX], owner_url[URL_MAX], projector_url[URL_MAX];

static bool whole(void)
{
    return patroni_led(SHARD, 0) && patroni_find(SHARD, "replica", patroni_find(SHARD, "replica", 0)) != 0;
}

/* One mishap: who is the primary, users who ask for coupons meanwhile, and where it is wanted a service that
 * knows the primary's machine only. */
struct trial {
    struct siege *siege;
    int primary;
    struct instance *beside;
    char url[URL_MAX]; /* the beside's */
    int64_t from_us;
};

static void begin(struct trial *trial, bool beside)
{
    const char *url = instance_url(service);
    WAIT_UNTIL(whole(), LONG_MS);
    struct siege_options options = {.urls = &url,
                                    .urls_count = 1,
                                    .per_second = PER_SECOND,
                                    .connections = CONNECTIONS,
                                    .database_url = owner_url};
    *trial =
        (struct trial){.siege = siege_begin(stack, &options), .primary = patroni_find(SHARD, "primary", 0)};
    if (beside) {
        patroni_url_of(stack, "COMMAND_DATABASE_URL", trial->primary, trial->url, URL_MAX);
        trial->beside = instance_start(stack, &(struct instance_options){.service = "command-service",
                                                                         .name = "beside",
                                                                         .port_offset = 8,
                                                                         .database_url = trial->url});
    }
    trial->from_us = clock_mono_us();
}

/* From the instant at which Patroni says that somebody is the primary and somebody else its standby. */
static void expect_back(const struct trial *trial, const char *what, int except)
{
    WAIT_UNTIL(patroni_led(SHARD, except), LONG_MS);
    int64_t ready_us = clock_mono_us(), before = siege_issued(trial->siege, 0);
    siege_mark_back(trial->siege, what, 0);
    WAIT_UNTIL(siege_issued(trial->siege, 0) > before, LONG_MS);
    int64_t back_us = clock_mono_us();
    print_message("    %s: Patroni %lld ms, then %lld ms to the next coupon; machine %d is the primary\n",
                  what, (long long)((ready_us - trial->from_us) / US_PER_MS),
                  (long long)((back_us - ready_us) / US_PER_MS), patroni_find(SHARD, "primary", except));
    pace_within(ready_us, BACK_US, what);
    siege_await_issuing(trial->siege);
}

/* Issues to somebody new by that service; returns the status. */
static int issue_beside(const struct trial *trial)
{
    struct api_client api;
    struct http_answer answer = {0};
    instance_open_api(trial->beside, &api);
    api_issue_begin(&api, api.command, siege_campaign(trial->siege), "nobody", api_fresh_key());
    assert_int_equal(http_client_read(api.command, LONG_MS, &answer), HTTP_ANSWERED);
    api_close(&api);
    return answer.status;
}

static void expect_fenced(const struct trial *trial)
{
    for (int i = 0; i < FENCED_TRIES; i++) {
        int status = issue_beside(trial);
        if (status < 500)
            fail_msg("what was the primary had a service answer %d", status);
    }
}

/* When who was away is a standby again. */
static void end(const struct trial *trial, int machine)
{
    WAIT_UNTIL(patroni_is(machine, "replica"), LONG_MS);
    if (trial->beside)
        expect_fenced(trial);
    instance_destroy(trial->beside);
    siege_end(trial->siege);
}

static void postgresql_is_killed(void **)
{
    struct trial trial;
    begin(&trial, false);
    patroni_signal(stack, trial.primary, "postgres", SIGKILL);
    WAIT_UNTIL(!patroni_is(trial.primary, "primary"), LONG_MS);
    expect_back(&trial, "PostgreSQL killed", 0);
    siege_end(trial.siege);
}

static void the_machine_dies(void **)
{
    struct trial trial;
    begin(&trial, false);
    patroni_signal(stack, trial.primary, "all", SIGKILL);
    expect_back(&trial, "machine dead", trial.primary);
    patroni_begin(stack, trial.primary);
    end(&trial, trial.primary);
}

/* PostgreSQL wakes up before Patroni does: for that time nothing but the missing standby holds it back. */
static void the_machine_freezes(void **)
{
    struct trial trial;
    begin(&trial, true);
    patroni_signal(stack, trial.primary, "all", SIGSTOP);
    expect_back(&trial, "machine frozen", trial.primary);
    patroni_signal(stack, trial.primary, "postgres", SIGCONT);
    expect_fenced(&trial);
    patroni_signal(stack, trial.primary, "patroni", SIGCONT);
    end(&trial, trial.primary);
}

static void the_machine_is_cut_off(void **)
{
    struct trial trial;
    begin(&trial, true);
    patroni_cut_off(stack, trial.primary);
    expect_back(&trial, "machine cut off", trial.primary);
    patroni_reconnect(stack, trial.primary);
    end(&trial, trial.primary);
}

/* Nothing can be promised before another is the synchronous one. */
static void the_standby_freezes(void **)
{
    struct trial trial;
    begin(&trial, false);
    int standby = patroni_find(SHARD, "sync", 0);
    patroni_signal(stack, standby, "all", SIGSTOP);
    expect_back(&trial, "standby frozen", standby);
    assert_int_equal(patroni_find(SHARD, "primary", standby), trial.primary);
    patroni_signal(stack, standby, "all", SIGCONT);
    end(&trial, standby);
}

/* As for maintenance, to the synchronous standby. */
static void switch_over(const char *what)
{
    struct trial trial;
    begin(&trial, true);
    int standby = patroni_find(SHARD, "sync", 0);
    WAIT_UNTIL(patroni_switchover(stack, trial.primary, standby), LONG_MS);
    expect_back(&trial, what, trial.primary);
    assert_true(patroni_is(standby, "primary"));
    end(&trial, trial.primary);
}

static void the_primary_is_switched(void **)
{
    switch_over("switched over");
}

/* Two of three are enough, also to agree on another primary. */
static void an_etcd_is_dead(void **)
{
    patroni_signal(stack, PATRONI_ETCD_FIRST, "all", SIGKILL);
    switch_over("switched over with an etcd dead");
    patroni_begin(stack, PATRONI_ETCD_FIRST);
}

static void all_of_it_is_true(void **)
{
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
    patroni_start(stack, SHARD, NODES, PATRONI_TTL_S);
    patroni_url(stack, SHARD, "COMMAND_DATABASE_URL", command_url, sizeof command_url);
    patroni_url(stack, SHARD, "PROJECTOR_DATABASE_URL", projector_url, sizeof projector_url);
    patroni_url(stack, SHARD, "DATABASE_URL", owner_url, sizeof owner_url);
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
        cmocka_unit_test(the_standby_freezes),  cmocka_unit_test(the_primary_is_switched),
        cmocka_unit_test(an_etcd_is_dead),      cmocka_unit_test(all_of_it_is_true),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
