/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL restarts, crashes, loses a backend, freezes, is full, turns read-only, while users go on asking
 * for coupons: every answer comes in time, refusals say when to come back, issuing goes on soon after the
 * database is back (the goal is a second; the time is printed), and nothing that was promised is lost or
 * double. */
#include "tests/lib/wait.h"

#include "common/base/crypto.h"
#include "tests/lib/cluster.h"
#include "tests/lib/instance.h"
#include "tests/lib/siege.h"
#include "tests/lib/store.h"

enum { PER_SECOND = 400, CONNECTIONS = 32, FROZEN_MS = 10000, DOWN_MS = 1500, LONG_MS = 120000 };

static struct stack *stack;
static struct instance *service;

static struct siege *begin(void)
{
    const char *url = instance_url(service);
    struct siege_options options = {
        .urls = &url, .urls_count = 1, .per_second = PER_SECOND, .connections = CONNECTIONS};
    return siege_begin(stack, &options);
}

/* The fault lasts so long, whatever else is waited for: that is what the fault is. */
static void let_pass(int64_t ms)
{
    int64_t until_us = clock_deadline_us(ms);
    WAIT_UNTIL(clock_mono_us() >= until_us, 2 * ms);
}

static void restarted(void **)
{
    struct siege *siege = begin();
    cluster_end(stack, SIGINT);
    let_pass(DOWN_MS);
    stack_restart_servers(stack);
    siege_mark_back(siege, "restarted", cluster_age_us(stack));
    siege_end(siege);
}

static void crashed(void **)
{
    struct siege *siege = begin();
    cluster_end(stack, SIGQUIT);
    stack_restart_servers(stack);
    siege_mark_back(siege, "shut down at once and recovered", cluster_age_us(stack));
    siege_await_issuing(siege);
    cluster_end(stack, SIGKILL);
    stack_restart_servers(stack);
    siege_mark_back(siege, "postmaster killed and recovered", cluster_age_us(stack));
    siege_end(siege);
}

static void backends_ended(void **)
{
    struct siege *siege = begin();
    for (int round = 0; round < 5; round++) {
        WAIT_UNTIL(cluster_sql(stack, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                                      " WHERE application_name = 'firstcome command'") > 0,
                   LONG_MS);
        siege_mark_back(siege, "backends terminated", 0);
        siege_await_issuing(siege);
    }
    siege_end(siege);
}

/* PostgreSQL restarts all of itself when one of its processes is killed. */
static void one_backend_killed(void **)
{
    struct siege *siege = begin();
    pid_t backend = (pid_t)cluster_sql(
        stack, "SELECT pid FROM pg_stat_activity WHERE application_name = 'firstcome command' LIMIT 1");
    assert_true(backend > 0);
    assert_int_equal(kill(backend, SIGKILL), 0);
    siege_mark_back(siege, "one backend killed, all restarted", 0);
    siege_end(siege);
}

static void frozen(void **)
{
    struct siege *siege = begin();
    cluster_signal_all(stack, SIGSTOP);
    let_pass(FROZEN_MS);
    cluster_signal_all(stack, SIGCONT);
    siege_mark_back(siege, "frozen for 10 s", 0);
    siege_end(siege);
}

static void no_connection_left(void **)
{
    struct siege *siege = begin();
    struct cluster_crowd *crowd = cluster_occupy(stack);
    let_pass(DOWN_MS);
    cluster_release(crowd);
    siege_mark_back(siege, "no connection left", 0);
    siege_end(siege);
}

static void set_read_only(bool on)
{
    (void)cluster_sql(stack, on ? "ALTER SYSTEM SET default_transaction_read_only = on"
                                : "ALTER SYSTEM RESET default_transaction_read_only");
    (void)cluster_sql(stack, "SELECT pg_reload_conf()::int");
}

static void read_only(void **)
{
    struct siege *siege = begin();
    set_read_only(true);
    WAIT_UNTIL(!instance_ready(service), LONG_MS); /* noticed by writing; and a reader is of no use */
    let_pass(DOWN_MS);
    set_read_only(false);
    siege_mark_back(siege, "read-only", 0);
    siege_end(siege);
}

/* Nobody asks for anything, so nobody would be refused: /readyz has to know all the same. */
static void read_only_is_noticed_by_the_idle(void **)
{
    WAIT_UNTIL(instance_ready(service), LONG_MS);
    set_read_only(true);
    WAIT_UNTIL(!instance_ready(service), LONG_MS);
    set_read_only(false);
    WAIT_UNTIL(instance_ready(service), LONG_MS);
}

static int setup(void **)
{
    crypto_setup();
    stack_default_deadlines();
    stack = stack_start(STACK_SERVERS);
    service = INSTANCE_START(stack, "command-service", "outage", 7);
    return 0;
}

static int teardown(void **)
{
    instance_destroy(service);
    stack_stop(stack);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restarted),      cmocka_unit_test(crashed),
        cmocka_unit_test(backends_ended), cmocka_unit_test(one_backend_killed),
        cmocka_unit_test(frozen),         cmocka_unit_test(no_connection_left),
        cmocka_unit_test(read_only),      cmocka_unit_test(read_only_is_noticed_by_the_idle),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
