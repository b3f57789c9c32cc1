/* SPDX-License-Identifier: Apache-2.0 */
/* A log of some size gets the next migrations while users ask for coupons: an index over all of it, a column,
 * and a table's lock that somebody else holds for seconds. No request fails, and none waits longer than it
 * may. */
#include "tests/lib/wait.h"

#include <limits.h>
#include <pthread.h>

#include "bench/storm/verify_call.h"
#include "common/base/crypto.h"
#include "events/ids.h"
#include "tests/lib/instance.h"
#include "tests/lib/siege.h"
#include "tests/lib/store.h"

enum { PER_SECOND = 100, CONNECTIONS = 16, ROWS = 100000, LONG_MS = 120000, HELD_MS = 12000 };

static struct stack *stack;
static struct instance *service;

/* Expand: each statement as docs/operations.md wants it of a migration on a system that serves. */
static const char concurrent_sql[] =
    "-- outside a transaction: an index of each partition\n"
    "SET lock_timeout = '10min';\n"
    "SELECT format('CREATE INDEX CONCURRENTLY IF NOT EXISTS %s_trial ON %s (recorded_at)', relname, "
    "oid::regclass)\n"
    "  FROM pg_class WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'event'::regclass)\n"
    "\\gexec\n";
static const char column_sql[] = "ALTER TABLE event ADD COLUMN trial bigint DEFAULT 7;\n";
static const char outside_sql[] = "-- outside a transaction: as if it were needed\n"
                                  "ALTER TABLE slice ADD COLUMN trial bigint;\n";

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Events of a slice that nobody is issued from, where they can be as they like. */
static void fill(int16_t but)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        char sql[512];
        if (slice == but)
            continue;
        snprintf(
            sql, sizeof sql,
            "INSERT INTO event (slice, position, type, version, campaign_id, coupon_id, recorded_at, data) "
            "SELECT %d, p, 10, 1, 'c', 'c-' || p, now(), '\\x8101a26f31' FROM generate_series(1, %d) p",
            slice, ROWS / SLICE_COUNT);
        store_tamper(stack, sql);
    }
}

static int migrate(const char *folder)
{
    char variable[PATH_MAX + 16], url[512];
    snprintf(variable, sizeof variable, "SCHEMA_DIR=%s", folder);
    snprintf(url, sizeof url, "DATABASE_URL=%s", stack_env(stack, "DATABASE_URL"));
    return stack_tool(stack, (const char *[]){"env", variable, url, "schema/migrate", NULL});
}

/* Everybody got a coupon at the first try, in time. */
static void expect_untroubled(const struct siege_outcome *outcome)
{
    for (size_t i = 0; i < outcome->attempts.count; i++) {
        const struct attempt *attempt = &outcome->attempts.list[i];
        if (attempt->status != 201 && attempt->status != 409)
            fail_msg("a request was answered %d %s", attempt->status,
                     attempts_problem(&outcome->attempts, attempt));
    }
    assert_int_equal(outcome->unresolved, 0);
    assert_int_equal(outcome->verdict.violations, 0);
}

struct holding {
    struct pg *holder;
    int64_t until_us;
};

/* A report that reads the log for longer than a request of a test may take, which an ALTER TABLE has to wait
 * for. */
static void *hold(void *context)
{
    struct holding *holding = context;
    WAIT_UNTIL(clock_remaining_ms(holding->until_us) == 0, LONG_MS);
    store_let_go(holding->holder);
    return NULL;
}

static void migrate_beside_a_reader(const char *folder, const char *sql)
{
    pthread_t thread;
    struct holding holding = {store_hold(stack, sql), clock_deadline_us(HELD_MS)};
    assert_int_equal(pthread_create(&thread, NULL, hold, &holding), 0);
    assert_int_equal(migrate(folder), 0);
    assert_true(clock_remaining_ms(holding.until_us) == 0); /* or it was not in anybody's way */
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void nobody_notices_a_migration(void **)
{
    char folder[PATH_MAX];
    struct siege_outcome outcome;
    const char *url = instance_url(service);
    struct siege *siege = siege_begin(
        stack, &(struct siege_options){
                   .urls = &url, .urls_count = 1, .per_second = PER_SECOND, .connections = CONNECTIONS});
    fill(slice_of(span_of(siege_campaign(siege))));
    snprintf(folder, sizeof folder, "%s/next", stack_directory(stack));
    assert_int_equal(stack_tool(stack, (const char *[]){"cp", "-r", "schema", folder, NULL}), 0);
    write_file(folder, "900_concurrent.sql", concurrent_sql);
    assert_int_equal(migrate(folder), 0);
    siege_await_issuing(siege);

    write_file(folder, "901_column.sql", column_sql);
    migrate_beside_a_reader(folder, "SELECT position FROM event LIMIT 1");
    write_file(folder, "902_outside.sql", outside_sql);
    migrate_beside_a_reader(folder, "SELECT head FROM slice LIMIT 1");
    siege_finish(siege, &outcome);
    siege_free(siege);
    expect_untroubled(&outcome);
    assert_int_equal(store_number(stack, "SELECT count(*) FROM schema_migration WHERE number >= 900"), 3);
    assert_int_equal(store_number(stack,
                                  "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                                  "WHERE c.relname LIKE 'event%_trial' AND i.indisvalid"),
                     SLICE_COUNT);
    assert_int_equal(verify_call(&(struct verify_call){.database_url = stack_env(stack, "DATABASE_URL"),
                                                       .slice = outcome.slice}),
                     0);
    attempts_deinit(&outcome.attempts);
}

static int setup(void **state)
{
    crypto_setup();
    *state = stack = stack_start(STACK_SERVERS);
    service = INSTANCE_START(stack, "command-service", "migrate", 7);
    return 0;
}

static int teardown(void **state)
{
    instance_destroy(service);
    return stack_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_notices_a_migration),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
