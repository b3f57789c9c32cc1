/* SPDX-License-Identifier: Apache-2.0 */
/* The schema in a real PostgreSQL: the catalogue's twin, history that nobody can edit, roles with no more
 * rights than they need, migrations by several starters at once, and plans that do not depend on statistics.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/pg/pg.h"
#include "events/codec.h"
#include "events/ids.h"
#include "tests/lib/api.h"
#include "tests/lib/stack.h"
#include "tests/lib/store.h"
#include "tests/lib/wait.h"

enum { CALL_MS = 60000, MIGRATE_MS = 120000, STARTERS = 4 };

static struct stack *stack;

/* One statement over a connection of its own. Returns the SQLSTATE of its refusal, "" when it was done; `ret`
 * may be NULL. */
static const char *run(const char *url, const char *sql, struct pg_rows **ret)
{
    static char sqlstate[6];
    struct pg_rows *rows;
    struct pg *pg = store_try(url, CALL_MS, NULL, sql, &rows);
    snprintf(sqlstate, sizeof sqlstate, "%s", rows ? "" : pg_sqlstate(pg));
    if (!rows && (!pg_connected(pg) || !sqlstate[0]))
        fail_msg("%s: %s", sql, pg_error(pg));
    pg_destroy(pg);
    if (ret)
        *ret = rows;
    else
        pg_rows_destroy(rows);
    return sqlstate;
}

static void expect(const char *url_name, const char *sql, const char *sqlstate)
{
    const char *got = run(stack_env(stack, url_name), sql, NULL);
    if (strcmp(got, sqlstate) != 0)
        fail_msg("%s: %s: '%s', not '%s'", url_name, sql, got, sqlstate);
}

#define OWNER     "DATABASE_URL"
#define COMMAND   "COMMAND_DATABASE_URL"
#define PROJECTOR "PROJECTOR_DATABASE_URL"
#define QUERY     "QUERY_DATABASE_URL"
#define DONE      ""
#define FORBIDDEN "42501" /* insufficient_privilege */

static const char *const everybody[] = {OWNER, COMMAND, PROJECTOR, QUERY};

/* --- what is in it --- */

static void event_types_equal_the_catalogue(void **)
{
    struct pg_rows *rows;
    assert_string_equal(run(stack_env(stack, OWNER), "SELECT id, name FROM event_type ORDER BY id", &rows),
                        DONE);
    assert_int_equal(pg_rows_count(rows), EVENT_TYPE_END - 1);
    for (int i = 0; i < pg_rows_count(rows); i++) {
        assert_int_equal(pg_i64(rows, i, 0), i + 1);
        assert_true(span_is(pg_bytes(rows, i, 1), event_describe(i + 1)->name));
    }
    pg_rows_destroy(rows);
}

static void slices_begin_empty(void **)
{
    assert_int_equal(store_number(stack, "SELECT count(*) FROM slice WHERE head = 0 AND chain = "
                                         "decode(repeat('00', 32), 'hex')"),
                     SLICE_COUNT);
    assert_int_equal(
        store_number(stack, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'event'::regclass"),
        SLICE_COUNT);
}

/* One coupon, so that triggers for rows have rows. */
#define EVENT_ROW(position, user, nth)                                                                       \
    "INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id, nth, recorded_at, " \
    "data, "                                                                                                 \
    "holder) SELECT 3, " position ", 6, 1, 'c', " user ", 'c3-1', " nth                                      \
    ", now(), '\\x80', holder_of(secret, " user ", 'c', " nth ") FROM slice WHERE slice = 3"

#define EVENT_KEY(position)                                                                           \
    "INSERT INTO event (slice, position, type, version, campaign_id, recorded_at, data, key) VALUES " \
    "(3, " position ", 3, 1, 'c', now(), '\\x81', '00000000-0000-0000-0000-000000000001')"

static void the_database_knows_the_limits(void **)
{
    expect(OWNER, EVENT_ROW("1", "'u'", "1"), DONE);
    expect(OWNER, "INSERT INTO batch VALUES (3, 1, 1, decode(repeat('00', 32), 'hex'), now())", DONE);
    expect(OWNER, EVENT_ROW("1", "'v'", "1"), "23505"); /* a position is there once (I5) */
    expect(OWNER, EVENT_ROW("2", "'u'", "1"), "23505"); /* a user's nth coupon is there once (I2) */
    expect(OWNER, EVENT_ROW("2", "'u'", "NULL"), "23514");
    expect(OWNER, EVENT_ROW("2", "NULL", "1"), "23514");
    expect(OWNER, EVENT_ROW("0", "'u'", "2"), "23514");
    expect(OWNER, EVENT_KEY("2"), DONE);
    expect(OWNER, EVENT_KEY("3"), "23505"); /* a key has one effect in its slice (I4) */
    expect(OWNER, "INSERT INTO event VALUES (16, 1, 1, 1, 'c', NULL, NULL, NULL, now(), NULL, '\\x80')",
           "23514");
    expect(OWNER, "INSERT INTO campaign VALUES (3, 'c', now(), 'a', 1, '\\x80', 5, 3, 3, 1, 0, 1, 1)", DONE);
    expect(OWNER, "UPDATE campaign SET issued = 4", "23514"); /* I1 */
    expect(OWNER, "UPDATE campaign SET released = 6", "23514");
    expect(OWNER, "UPDATE campaign SET released = 5, issued = 5", DONE);
    expect(
        OWNER,
        "INSERT INTO idempotency VALUES (3, gen_random_uuid(), 1, gen_random_uuid(), 201, NULL, NULL, now())",
        "23514");
    expect(OWNER, "INSERT INTO batch VALUES (3, 5, 4, decode(repeat('00', 32), 'hex'), now())", "23514");
    expect(OWNER, "INSERT INTO slice VALUES (16, 0, decode(repeat('00', 32), 'hex'), now())", "23514");
}

/* --- history --- */

static void nobody_edits_history(void **)
{
    static const char *const edits[] = {
        "UPDATE event SET data = data",
        "UPDATE event_s03 SET user_id = 'x'",
        "UPDATE event SET slice = 4 WHERE slice = 3",
        "DELETE FROM event",
        "DELETE FROM event WHERE slice = 3 AND position = 1",
        "DELETE FROM event_s03",
        "DELETE FROM ONLY event_s03",
        "TRUNCATE event",
        "TRUNCATE event CASCADE",
        "TRUNCATE event_s00",
        "TRUNCATE event_s03",
        "TRUNCATE event_s15",
        "UPDATE batch SET chain = chain",
        "DELETE FROM batch",
        "TRUNCATE batch",
        "TRUNCATE batch, event",
        "INSERT INTO event SELECT * FROM event ON CONFLICT (slice, position) DO UPDATE SET data = '\\x81'",
        "MERGE INTO event e USING (SELECT 3) s ON e.slice = 3 WHEN MATCHED THEN DELETE",
    };
    for (size_t role = 0; role < COUNT_OF(everybody); role++)
        for (size_t i = 0; i < COUNT_OF(edits); i++)
            expect(everybody[role], edits[i], FORBIDDEN);
    assert_int_equal(store_number(stack, "SELECT count(*) FROM event WHERE data = '\\x80'"), 1);
    assert_int_equal(store_number(stack, "SELECT count(*) FROM batch"), 1);
}

/* --- rights --- */

struct right {
    const char *sql;
    bool command, projector, query;
};

/* "WHERE false" and its like: rights are looked at, rows are not touched. */
static const struct right rights[] = {
    {"SELECT count(position) FROM event", true, true, true},
    {"SELECT count(holder) FROM event", true, true, true},
    {"SELECT count(key) FROM event", true, false, false},
    {"SELECT count(fingerprint) FROM event", true, false, false},
    {"SELECT count(answer) FROM event", true, false, false},
    {"SELECT count(*) FROM creation_claim", true, false, false},
    {"SELECT count(*) FROM creation_fence", true, false, false},
    {"SELECT count(*) FROM event_type", true, true, true},
    {"SELECT count(*) FROM slice", true, true, true},
    {"SELECT count(*) FROM batch", true, true, true},
    {"SELECT count(*) FROM campaign", true, true, true},
    {"SELECT count(*) FROM issue_run", true, true, true},
    {"SELECT count(*) FROM coupon", true, true, true},
    {"SELECT count(*) FROM control", true, true, true},
    {"SELECT count(*) FROM creation_quota", true, true, true},
    {"SELECT count(*) FROM idempotency", true, false, false},
    {"SELECT epoch FROM lease", true, true, true},
    {"SELECT slice FROM slice ORDER BY slice FOR UPDATE", true, false, false},
    {"UPDATE slice SET head = 1, chain = chain, recorded_at = now() WHERE false", true, false, false},
    {"INSERT INTO event SELECT * FROM event WHERE false", true, false, false},
    {"INSERT INTO batch SELECT * FROM batch WHERE false", true, false, false},
    {"INSERT INTO issue_run SELECT * FROM issue_run WHERE false", true, false, false},
    {"INSERT INTO campaign SELECT * FROM campaign WHERE false", true, false, false},
    {"UPDATE campaign SET released = 1, issued = 1, status = 1, plan_done = 1, position = 1 WHERE false",
     true, false, false},
    {"UPDATE campaign SET redeemed = 1, reserved = 1, plan_halted = true, due_at = now() WHERE false", true,
     false, false},
    {"UPDATE campaign SET version = 1, definition = definition, quantity = 1 WHERE false", true, false,
     false},
    {"INSERT INTO coupon SELECT * FROM coupon WHERE false", true, false, false},
    {"UPDATE coupon SET state = 1, last = 1, changed_at = now(), order_id = '', order_amount = 1, "
     "discount_amount = 1, reserved_until = now(), reason = '' WHERE false",
     true, false, false},
    {"INSERT INTO control SELECT * FROM control WHERE false", true, false, false},
    {"UPDATE control SET value = '', position = 1 WHERE false", true, false, false},
    {"INSERT INTO creation_quota SELECT * FROM creation_quota WHERE false", true, false, false},
    {"UPDATE creation_quota SET used = 1 WHERE false", true, false, false},
    {"UPDATE lease SET epoch = epoch + 1", false, true, false},
    {"SELECT pg_try_advisory_lock(1)", false, true, false},
    {"SELECT pg_advisory_xact_lock_shared(1, 1)", false, true, false},

    {"INSERT INTO idempotency VALUES (3, gen_random_uuid(), 1, gen_random_uuid(), 201, 1, NULL, now())", true,
     false, false},
    {"UPDATE idempotency SET status = 200 WHERE false", false, false, false},
    {"DELETE FROM idempotency WHERE false", false, false, false},
    {"TRUNCATE idempotency", false, false, false},
    {"SELECT count(*) FROM event_s03", false, false, false},
    {"SELECT count(key) FROM event_s03", false, false, false},
    {"INSERT INTO event_s03 SELECT * FROM event WHERE false", false, false, false},
    {"INSERT INTO slice SELECT * FROM slice WHERE false", false, false, false},
    {"UPDATE slice SET slice = 1 WHERE false", false, false, false},
    {"DELETE FROM slice WHERE false", false, false, false},
    {"UPDATE campaign SET id = id WHERE false", false, false, false},
    {"UPDATE campaign SET created_at = created_at, created_by = created_by, first = first WHERE false", false,
     false, false},
    {"DELETE FROM campaign WHERE false", false, false, false},
    {"UPDATE issue_run SET last_position = 1 WHERE false", false, false, false},
    {"DELETE FROM issue_run WHERE false", false, false, false},
    {"UPDATE coupon SET position = 1 WHERE false", false, false, false},
    {"DELETE FROM coupon WHERE false", false, false, false},
    {"DELETE FROM control WHERE false", false, false, false},
    {"DELETE FROM creation_quota WHERE false", false, false, false},
    {"INSERT INTO event_type VALUES (99, 'x')", false, false, false},
    {"UPDATE event_type SET name = name WHERE false", false, false, false},
    {"INSERT INTO lease VALUES ('x', 1)", false, false, false},
    {"UPDATE lease SET name = 'x'", false, false, false},
    {"DELETE FROM lease WHERE false", false, false, false},
    {"INSERT INTO schema_migration VALUES (999, 'x', 'x')", false, false, false},
    {"UPDATE schema_migration SET name = name WHERE false", false, false, false},
    {"CREATE TABLE mine (id int)", false, false, false},
    {"CREATE TEMPORARY TABLE mine (id int)", false, false, false},
    {"CREATE SCHEMA mine", false, false, false},
    {"CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
     false, false, false},
    {"ALTER TABLE event DISABLE TRIGGER append_only", false, false, false},
    {"DROP TABLE event", false, false, false},
    {"SET session_replication_role = replica", false, false, false},
    {"SET ROLE firstcome", false, false, false},
    {"CREATE ROLE mine", false, false, false},
    {"SELECT pg_read_file('postgresql.conf')", false, false, false},
};

static void roles_can_do_what_they_need_and_no_more(void **)
{
    for (size_t i = 0; i < COUNT_OF(rights); i++) {
        expect(COMMAND, rights[i].sql, rights[i].command ? DONE : FORBIDDEN);
        expect(PROJECTOR, rights[i].sql, rights[i].projector ? DONE : FORBIDDEN);
        expect(QUERY, rights[i].sql, rights[i].query ? DONE : FORBIDDEN);
    }
}

/* So that those who read cannot shut out those who write. */
static void readers_have_a_bound_of_connections(void **)
{
    enum { TRIED = 60 };
    struct pg *crowd[TRIED];
    size_t connected = 0;
    for (size_t i = 0; i < TRIED; i++) {
        crowd[i] = pg_create(&(struct pg_options){.url = stack_env(stack, QUERY), .application = "crowd"});
        connected += pg_connect(crowd[i], clock_deadline_us(CALL_MS)) == PG_OK;
    }
    expect(COMMAND, "SELECT 1", DONE);
    for (size_t i = 0; i < TRIED; i++)
        pg_destroy(crowd[i]);
    assert_int_equal(connected, 50);
}

/* --- migrations --- */

static pid_t start_migrating(const char *url)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    setenv("DATABASE_URL", url, 1);
    if (!freopen("/dev/null", "w", stdout))
        _exit(126);
    execl("schema/migrate", "schema/migrate", (char *)NULL);
    _exit(127);
}

static bool ended(pid_t pid, int *ret_status)
{
    return waitpid(pid, ret_status, WNOHANG) == pid;
}

/* In a schema of their own, which the URL makes the first place to create in. */
static void starters_at_once_apply_each_migration_once(void **)
{
    char url[1024];
    pid_t starters[STARTERS];
    const char *owner = stack_env(stack, OWNER);
    expect(OWNER, "CREATE SCHEMA fresh", DONE);
    snprintf(url, sizeof url, "%s%coptions=-csearch_path%%3Dfresh", owner, strchr(owner, '?') ? '&' : '?');
    for (size_t i = 0; i < STARTERS; i++)
        starters[i] = start_migrating(url);
    for (size_t i = 0; i < STARTERS; i++) {
        int status = -1;
        WAIT_UNTIL(ended(starters[i], &status), MIGRATE_MS);
        assert_int_equal(status, 0);
    }
    assert_int_equal(store_number(stack, "SELECT count(*) FROM fresh.slice"), SLICE_COUNT);
    assert_true(store_number(stack, "SELECT count(*) FROM fresh.schema_migration") > 0);
    assert_int_equal(
        store_number(stack, "SELECT count(*) FROM (SELECT number, name, sha256 FROM fresh.schema_migration "
                            "EXCEPT SELECT number, name, sha256 FROM public.schema_migration) AS other"),
        0);
    expect(OWNER, "DROP SCHEMA fresh CASCADE", DONE);
}

/* --- plans --- */

#define HOT_TABLES "('slice', 'campaign', 'idempotency', 'event_s%02d')"

/* A column of pg_stat_user_tables over the tables that every command looks into. */
static int64_t statistic(const char *column, int16_t slice)
{
    return store_numberf(
        stack,
        "SELECT coalesce(sum(%s), 0)::bigint FROM pg_stat_user_tables WHERE schemaname = 'public' AND "
        "relname IN " HOT_TABLES,
        column, slice);
}

static int64_t rows_added(int16_t slice)
{
    return store_numberf(stack, "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'event_s%02d'",
                         slice);
}

static void issue_some(struct api_client *api, const char *campaign, const char *prefix, int count)
{
    for (int i = 0; i < count; i++)
        api_give(api, campaign, textf("%s%d", prefix, i));
}

/* What the service did is in the statistics when its rows are: backends report at the end of a second. */
static void await_rows(struct api_client *api, const char *campaign, int64_t count)
{
    int16_t slice = slice_of(span_of(campaign));
    int64_t deadline_us = clock_deadline_us(CALL_MS);
    for (int i = 0; rows_added(slice) < count; i++) {
        assert_true(clock_remaining_ms(deadline_us) > 0);
        (void)api_issue(api, campaign, textf("more%d", i)); /* an idle backend would not report */
        wait_moment();
    }
}

static void expect_only_index_scans(struct api_client *api, const char *campaign)
{
    int16_t slice = slice_of(span_of(campaign));
    int64_t scans = statistic("seq_scan", slice), read = statistic("idx_tup_fetch", slice);
    int64_t before = rows_added(slice);
    char prefix[32];
    enum { ISSUES = 20, ROWS_PER_ISSUE = 20 };
    snprintf(prefix, sizeof prefix, "at%lld-", (long long)before);
    issue_some(api, campaign, prefix, ISSUES);
    await_rows(api, campaign, before + ISSUES);
    assert_int_equal(statistic("seq_scan", slice), scans);
    int64_t issued = rows_added(slice) - before, rows = statistic("idx_tup_fetch", slice) - read;
    if (rows > issued * ROWS_PER_ISSUE)
        fail_msg("%lld rows were read for %lld coupons", (long long)rows, (long long)issued);
}

/* In a slice that the tests above left nothing in: their rows would be in the way of real ones. */
static void create_elsewhere(struct api_client *api, char id[CAMPAIGN_ID_MAX + 1])
{
    enum { TOUCHED_SLICE = 3 };
    int number = 0;
    do
        snprintf(id, CAMPAIGN_ID_MAX + 1, "hot-%d", ++number);
    while (slice_of(span_of(id)) == TOUCHED_SLICE);
    api_campaign_of(api, id, 100000, "");
}

static void hot_statements_use_indexes(void **)
{
    struct api_client api;
    char campaign[CAMPAIGN_ID_MAX + 1];
    stack_service(stack, "command-service", "start");
    api_open(&api, stack);
    create_elsewhere(&api, campaign);
    expect_only_index_scans(&api, campaign); /* never analysed, nearly empty */
    expect(OWNER, "ANALYZE slice, campaign, idempotency, event", DONE);
    expect_only_index_scans(&api, campaign); /* plans are made again, and tables have a page or two */
    char sql[512];
    snprintf(sql, sizeof sql,
             "INSERT INTO campaign SELECT %d, 'other-' || n, now(), 'a', 1, '\\x80', 5, 5, 0, 1, 0, 1, 1 "
             "FROM generate_series(1, 5000) AS n",
             slice_of(span_of(campaign)));
    expect(OWNER, sql, DONE);
    expect_only_index_scans(&api, campaign); /* the same plans on a table that grew */
    expect(OWNER, "ANALYZE slice, campaign, idempotency, event", DONE);
    expect_only_index_scans(&api, campaign);
    api_close(&api);
    stack_service(stack, "command-service", "stop");
}

static int start(void **state)
{
    *state = stack = stack_start(STACK_SERVERS);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(event_types_equal_the_catalogue),
        cmocka_unit_test(slices_begin_empty),
        cmocka_unit_test(the_database_knows_the_limits),
        cmocka_unit_test(nobody_edits_history),
        cmocka_unit_test(roles_can_do_what_they_need_and_no_more),
        cmocka_unit_test(readers_have_a_bound_of_connections),
        cmocka_unit_test(starters_at_once_apply_each_migration_once),
        cmocka_unit_test(hot_statements_use_indexes),
    };
    return cmocka_run_group_tests(tests, start, stack_teardown);
}
