/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL's disk is full, and PostgreSQL moves to another machine, while users go on asking for coupons:
 * what pg_outage_test.c expects holds here too. A primary that freezes is the hard case of a switch: its
 * address still takes connections and says nothing, so only a share of the time for connecting may be spent
 * on it. */
#include "tests/lib/wait.h"

#include "common/base/crypto.h"
#include "tests/lib/api.h"
#include "tests/lib/cluster.h"
#include "tests/lib/instance.h"
#include "tests/lib/siege.h"

enum {
    PER_SECOND = 400,
    CONNECTIONS = 32,
    LONG_MS = 120000,
    DISK_MB = 192,
    FULL_ERRORS = 100,
    SILENT_MS = 4000,
    URL_MAX = 512
};

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

/* Transactions that failed with an error of this class. */
static int64_t errors(const struct instance *service, const char *class)
{
    struct api_client api = {.stack = stack, .command = http_client_create(instance_url(service))};
    int64_t count = api_metric(&api, textf("coupon_store_errors_total{class=\"%s\"}", class));
    api_close(&api);
    return count;
}

static const struct pg_statement switch_wal = {"switch", "SELECT pg_switch_wal() IS NULL"};

/* Two ways to run full: a table cannot grow (53100, an error like others), and the log cannot (a PANIC: all
 * of PostgreSQL crashes, and may not come up again before there is room). */
static void disk_full(void **)
{
    if (!cluster_small_disk(stack, DISK_MB)) {
        print_message("    skipped: this process may not mount a small disk\n");
        skip();
    }
    struct instance *service = INSTANCE_START(stack, "command-service", "disk", 7);
    struct siege *siege = begin(service, NULL);
    cluster_fill_disk(stack);
    WAIT_UNTIL(errors(service, "full") >= FULL_ERRORS, LONG_MS);
    cluster_free_disk(stack);
    siege_mark_back(siege, "no room for tables", 0);
    siege_end(siege);

    struct pg *switching = cluster_prepare(stack, &switch_wal);
    siege = begin(service, NULL);
    cluster_fill_disk(stack);
    WAIT_UNTIL((cluster_try(switching), errors(service, "lost") + errors(service, "unknown") > 0), LONG_MS);
    pg_destroy(switching);
    cluster_free_disk(stack);
    int64_t free_us = clock_mono_us();
    stack_restart_servers(stack);
    int64_t age_us = cluster_age_us(stack), since_us = clock_mono_us() - free_us;
    siege_mark_back(siege, "no room for the log", age_us < since_us ? age_us : since_us);
    siege_end(siege);
    instance_destroy(service);
}

/* The standby comes first in the URL: as long as it only follows it has to be passed over. */
static void switched_to_a_standby(void **)
{
    char url[URL_MAX], standby_url[URL_MAX];
    cluster_standby_start(stack);
    cluster_both_url(stack, "COMMAND_DATABASE_URL", url, sizeof url);
    cluster_standby_url(stack, "DATABASE_URL", standby_url, sizeof standby_url);
    struct instance *service = INSTANCE_START(stack, "command-service", "switch", 7, .database_url = url);
    /* Every COMMIT waits for the standby, and nobody may be told anything about it before it answers. */
    struct siege *siege = begin(service, NULL);
    cluster_standby_signal_all(stack, SIGSTOP);
    int64_t until_us = clock_deadline_us(SILENT_MS);
    WAIT_UNTIL(clock_mono_us() >= until_us, 2 * SILENT_MS);
    cluster_standby_signal_all(stack, SIGCONT);
    siege_mark_back(siege, "standby frozen for 4 s", 0);
    siege_end(siege);

    siege = begin(service, standby_url);
    cluster_signal_all(stack, SIGSTOP);
    cluster_promote(stack);
    siege_mark_back(siege, "switched from a frozen primary to a promoted standby", 0);
    siege_end(siege);
    cluster_signal_all(stack, SIGKILL); /* it must never wake up: that is what fencing is for */
    siege = begin(service, standby_url);
    siege_mark_back(siege, "on the former standby alone", 0);
    siege_end(siege);
    instance_destroy(service);
}

static int setup(void **state)
{
    crypto_setup();
    stack_default_deadlines();
    *state = stack = stack_start(STACK_SERVERS);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disk_full),
        cmocka_unit_test(switched_to_a_standby),
    };
    return cmocka_run_group_tests(tests, setup, stack_teardown);
}
