/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL's disk is full, and PostgreSQL moves to another machine, while users go on asking for coupons:
 * what pg_outage_test.c expects holds here too. A primary that freezes is the hard case of a switch: its
 * address still takes connections and says nothing, so only a share of the time for connecting may be spent
 * on it. */
#include "tests/lib/wait.h"

#include "common/crypto.h"
#include "tests/lib/cluster.h"
#include "tests/lib/instance.h"
#include "tests/lib/siege.h"

enum { PER_SECOND = 400, CONNECTIONS = 32, LONG_MS = 60000, DISK_MB = 192, URL_MAX = 512 };

static struct stack *stack;

static struct siege *begin(const struct instance *service, const char *database_url)
{
    const char *url = instance_url(service);
    struct siege_options options = {.urls = &url,
                                    .urls_count = 1,
                                    .per_second = PER_SECOND,
                                    .connections = CONNECTIONS,
                                    .database_url = database_url};
    return siege_begin(stack, &options);
}

static int64_t metric(const struct instance *service, const char *name)
{
    (void)service;
    (void)name;
    return 0;
}

/* First a table cannot grow (53100, an error like others), then the log cannot (a PANIC: PostgreSQL crashes,
 * and may not come up again before there is room). */
static void disk_full(void **state)
{
    (void)state;
    if (!cluster_small_disk(stack, DISK_MB)) {
        print_message("    skipped: this process may not mount a small disk\n");
        skip();
    }
    struct instance *service = instance_start(
        stack, &(struct instance_options){.service = "command-service", .name = "disk", .port_offset = 7});
    struct siege *siege = begin(service, NULL);
    cluster_fill_disk(stack);
    (void)metric(service, "");
    cluster_free_disk(stack);
    stack_restart_servers(stack);
    siege_mark_back(siege, "disk full", 0);
    siege_await_issuing(siege);
    siege_end(siege);
    instance_destroy(service);
}

static void switched_to_a_standby(void **state)
{
    (void)state;
    char url[URL_MAX], standby_url[URL_MAX];
    cluster_standby_start(stack);
    cluster_both_url(stack, "COMMAND_DATABASE_URL", url, sizeof url);
    cluster_standby_url(stack, "DATABASE_URL", standby_url, sizeof standby_url);
    struct instance *service = instance_start(
        stack, &(struct instance_options){
                   .service = "command-service", .name = "switch", .port_offset = 7, .database_url = url});
    struct siege *siege = begin(service, standby_url);
    cluster_signal_all(stack, SIGSTOP);
    cluster_promote(stack);
    siege_mark_back(siege, "switched from a frozen primary to a promoted standby", 0);
    siege_await_issuing(siege);
    siege_end(siege);
    cluster_signal_all(stack, SIGKILL); /* it must never wake up: that is what fencing is for */
    siege = begin(service, standby_url);
    siege_mark_back(siege, "on the former standby alone", 0);
    siege_await_issuing(siege);
    siege_end(siege);
    instance_destroy(service);
}

static int setup(void **state)
{
    (void)state;
    crypto_setup();
    stack = stack_start(STACK_SERVERS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stack_stop(stack);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disk_full),
        cmocka_unit_test(switched_to_a_standby),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
