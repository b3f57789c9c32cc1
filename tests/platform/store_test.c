/* SPDX-License-Identifier: Apache-2.0 */
/* The command service's store on a real PostgreSQL, without HTTP: a database of the first edition, brought to
 * this schema, and rows that nobody can read. The first edition is played by its statements. */
#include "command-service/store/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/be.h"
#include "common/base/clock.h"
#include "common/base/testing.h"
#include "events/problems.h"
#include "tests/lib/stack.h"
#include "tests/lib/store.h"

enum { CALL_MS = 20000, URL_MAX = 1024, SQL_MAX = 4096, COMMANDS_MAX = 8 };
#define OPERATION 0x0102030405060708LL /* what all that is asked here is asked by */

static struct stack *stack;
static char url[URL_MAX];
static struct store *store;
static struct batch *batch;
static int16_t slice;

/* --- SQL of the first edition --- */

/* In the schema of the test. */
static void sql(const char *format, ...) PRINTF_LIKE(1, 2);
static void sql(const char *format, ...)
{
    char text[SQL_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    pg_rows_destroy(store_rows(url, text));
}

static int64_t number(const char *text)
{
    return store_number_at(url, text);
}

static void hex_of_event(const struct event *event, char *ret, size_t ret_size)
{
    struct buf data, hex;
    buf_init(&data, EVENT_DATA_MAX);
    buf_init(&hex, 2 * EVENT_DATA_MAX);
    event_encode(event, &data);
    hex_encode(&hex, data.data, data.len);
    assert_true(hex.len < ret_size);
    memcpy(ret, hex.data, hex.len + 1);
    buf_deinit(&hex);
    buf_deinit(&data);
}

static void first_edition_creates(const char *campaign, int64_t quantity, int64_t position)
{
    char hex[SQL_MAX / 2];
    struct event event = {.type = EVENT_CampaignCreated};
    event.campaign_created = (struct campaign_created){.name = SPAN("n"),
                                                       .discount_value = 10,
                                                       .currency = SPAN("EUR"),
                                                       .quantity = quantity,
                                                       .released = quantity,
                                                       .per_user_limit = 1,
                                                       .created_by = SPAN("admin")};
    hex_of_event(&event, hex, sizeof hex);
    sql("INSERT INTO event (slice, position, type, version, campaign_id, recorded_at, data) VALUES (%d, "
        "%lld, 1, 1, '%s', "
        "now(), '\\x%s')",
        slice, (long long)position, campaign, hex);
    sql("INSERT INTO campaign (slice, id, created_at, created_by, version, definition, quantity, released, "
        "issued, status, "
        "plan_done, first, position) VALUES (%d, '%s', now(), 'admin', 1, '\\x%s', %lld, %lld, 0, 1, 0, "
        "%lld, %lld)",
        slice, campaign, hex, (long long)quantity, (long long)quantity, (long long)position,
        (long long)position);
    sql("UPDATE slice SET head = %lld, recorded_at = now() WHERE slice = %d", (long long)position, slice);
}

static void first_edition_issues(const char *campaign, const char *user, int64_t sequence, int64_t position,
                                 uint8_t key)
{
    char hex[SQL_MAX / 2];
    struct event event = {.type = EVENT_CouponIssued};
    event.coupon_issued = (struct coupon_issued){.sequence = sequence, .nth = 1};
    hex_of_event(&event, hex, sizeof hex);
    sql("INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id, nth, "
        "recorded_at, data) VALUES "
        "(%d, %lld, 6, 1, '%s', '%s', 'c%d-%lld', 1, now(), '\\x%s')",
        slice, (long long)position, campaign, user, slice, (long long)position, hex);
    sql("INSERT INTO idempotency (slice, key_hash, operation, fingerprint, status, position, recorded_at) "
        "VALUES (%d, '%02x000000-0000-0000-0000-000000000000', %lld, "
        "'%02x000000-0000-0000-0000-000000000000', 201, %lld, now())",
        slice, key, OPERATION, key, (long long)position);
    sql("INSERT INTO issue_run VALUES (%d, '%s', %lld, %lld, %lld)", slice, campaign, (long long)sequence,
        (long long)position, (long long)position);
    sql("UPDATE campaign SET issued = %lld, position = %lld WHERE slice = %d AND id = '%s'",
        (long long)sequence, (long long)position, slice, campaign);
    sql("UPDATE slice SET head = %lld, recorded_at = now() WHERE slice = %d", (long long)position, slice);
}

/* --- batches --- */

/* A store is of one slice for as long as it is connected. */
static void connect_to(int16_t wanted)
{
    static int16_t of;
    if ((!store_connected(store) || of != wanted) &&
        store_connect(store, wanted, clock_deadline_us(CALL_MS)) != STORE_OK)
        fail_msg("%s", store_error(store));
    of = wanted;
}

struct want {
    const char *campaign, *user;
    uint8_t key;                   /* and payload */
    const struct problem *refusal; /* NULL: a coupon */
    bool replayed;
};

static void expect_batch(const struct want *wants, size_t count)
{
    struct command *list = NULL, **end = &list;
    int64_t deadline_us = clock_deadline_us(CALL_MS);
    for (size_t i = 0; i < count; i++) {
        struct command *command = command_create(COMMAND_ISSUE, NULL);
        command->slice = slice;
        command->keyed = true;
        command->campaign_id = span_of(wants[i].campaign);
        command->issue.user_id = span_of(wants[i].user);
        command->actor = SPAN("issuer");
        command->id.key_hash[0] = command->fingerprint[0] = wants[i].key;
        be_put(command->id.operation, sizeof command->id.operation, (uint64_t)OPERATION);
        *end = command;
        end = &command->next;
    }
    enum store_status status = STORE_BUSY; /* what a store has to learn first makes a batch be done again */
    for (int attempt = 0; attempt < 4 && (status == STORE_BUSY || status == STORE_LOST); attempt++) {
        connect_to(slice); /* after a migration, statements are prepared again */
        batch_reset(batch);
        batch_begin(batch, list);
        status = store_load(store, batch, deadline_us);
        if (status == STORE_OK) {
            batch_decide(batch);
            status = store_commit(store, batch, deadline_us);
        }
    }
    if (status != STORE_OK)
        fail_msg("status %d: %s", (int)status, store_error(store));
    for (size_t i = 0; i < count; i++) {
        const struct verdict *verdict = &batch->verdicts[i];
        if (verdict->refusal != wants[i].refusal || verdict->replayed != wants[i].replayed)
            fail_msg("%s of %s: %s%s", wants[i].user, wants[i].campaign,
                     verdict->refusal ? verdict->refusal->code : "issued", verdict->replayed ? " again" : "");
    }
    batch_reset(batch);
    while (list) {
        struct command *command = list;
        list = command->next;
        command_destroy(command);
    }
}
#define EXPECT(...)                                   \
    do {                                              \
        const struct want expected[] = {__VA_ARGS__}; \
        expect_batch(expected, COUNT_OF(expected));   \
    } while (0)

/* --- migrating --- */

static int migrate_status(const char *folder, const char *how)
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("DATABASE_URL", url, 1);
        setenv("SCHEMA_DIR", folder, 1);
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        execl("schema/migrate", "schema/migrate", how, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void migrate(const char *folder, const char *how)
{
    assert_int_equal(migrate_status(folder, how), 0);
}

/* The migrations of the first edition alone. */
static void migrate_to_first_edition(void)
{
    static const char *const files[] = {"001_event_log.sql", "002_whole_write_side.sql",
                                        "003_redemptions.sql", "004_verify_requests.sql"};
    char folder[] = "/tmp/firstcome-schema-XXXXXX", from[URL_MAX], to[URL_MAX], here[URL_MAX];
    assert_non_null(mkdtemp(folder));
    assert_non_null(getcwd(here, sizeof here));
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        assert_true((size_t)snprintf(from, sizeof from, "%s/schema/%s", here, files[i]) < sizeof from);
        snprintf(to, sizeof to, "%s/%s", folder, files[i]);
        assert_int_equal(symlink(from, to), 0);
    }
    migrate(folder, NULL);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        snprintf(to, sizeof to, "%s/%s", folder, files[i]);
        assert_int_equal(unlink(to), 0);
    }
    assert_int_equal(rmdir(folder), 0);
}

static int64_t schema_number(void)
{
    return number("SELECT max(number) FROM schema_migration");
}

/* --- the tests --- */

/* More of them than one transaction of 022 takes. */
enum { MANY = 2500, FIRST_OF_MANY = 100 };

/* Coupons of one each and their keys; the last one's event also stands for a command for many users, and a
 * key that found nothing to do names the first one's. */
static void first_edition_issues_many(const char *campaign, int64_t position)
{
    first_edition_creates(campaign, 2 * MANY, position);
    sql("INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id, nth, "
        "recorded_at, "
        "data) SELECT %d, n, 6, 1, '%s', 'u' || n, 'c%d-' || n, 1, now(), '\\x8101' || decode(lpad(to_hex(n "
        "- %lld), 6, 'cd'), 'hex') FROM generate_series(%lld::bigint, %lld) AS n",
        slice, campaign, slice, (long long)position, (long long)position + 1, (long long)position + MANY);
    sql("INSERT INTO idempotency (slice, key_hash, operation, fingerprint, status, position, recorded_at) "
        "SELECT %d, md5('key' || n)::uuid, n, md5('payload' || n)::uuid, 201, n, now() FROM "
        "generate_series(%lld::bigint, %lld) AS n",
        slice, (long long)position + 1, (long long)position + MANY - 1);
    sql("INSERT INTO idempotency (slice, key_hash, operation, fingerprint, status, position, answer, "
        "recorded_at) VALUES (%d, md5('many')::uuid, 5, md5('users')::uuid, 200, %lld, '[1]', now()), "
        "(%d, md5('nothing')::uuid, 6, md5('none')::uuid, 200, %lld, NULL, now())",
        slice, (long long)position + MANY, slice, (long long)position + 1);
    sql("UPDATE campaign SET issued = %d, position = %lld WHERE id = '%s'", MANY, (long long)position + MANY,
        campaign);
    sql("UPDATE slice SET head = %lld, recorded_at = now() WHERE slice = %d", (long long)position + MANY,
        slice);
}

/* Somebody has its holder who should not; then nobody does. */
static void plant(bool there)
{
    sql("ALTER TABLE event DISABLE TRIGGER append_only");
    sql("UPDATE event SET holder = (SELECT holder_of(s.secret, 'u%d', 'many', 1) FROM slice s WHERE s.slice "
        "= "
        "%d AND %s) WHERE slice = %d AND position = 1",
        FIRST_OF_MANY + 1, slice, there ? "true" : "false", slice);
    sql("ALTER TABLE event ENABLE TRIGGER append_only");
}

static void a_database_of_the_first_edition_keeps_its_answers(void **)
{
    migrate_to_first_edition();
    sql("GRANT SELECT ON ALL TABLES IN SCHEMA upgrade TO firstcome_command"); /* 001 does so for schema public
                                                                               */
    first_edition_creates("old", 100, 1);
    first_edition_issues("old", "ann", 1, 2, 1);
    first_edition_issues("old", "carl", 2, 3, 4);
    first_edition_issues_many("many", FIRST_OF_MANY);
    migrate("schema", NULL);
    assert_int_equal(schema_number(), 6); /* the rest waits until that edition has stopped */
    assert_int_equal(store_connect(store, slice, clock_deadline_us(CALL_MS)), STORE_LOST);
    assert_non_null(strstr(store_error(store), "its schema is at 6"));
    /* 022 breaks off in the oldest of its transactions; those before it stand, and the next run goes on. */
    plant(true);
    assert_int_not_equal(migrate_status("schema", "--contract"), 0);
    assert_int_equal(schema_number(), 21);
    int64_t left = number("SELECT max(keyed_from) FROM slice");
    assert_in_range(left, FIRST_OF_MANY + 1, FIRST_OF_MANY + MANY - 1);
    assert_int_equal(number("SELECT count(*) FROM event WHERE type = 6 AND holder IS NULL AND position > "
                            "(SELECT max(keyed_from) FROM slice)"),
                     0);
    plant(false);
    migrate("schema", "--contract");
    assert_true(schema_number() >= 27);
    assert_int_equal(
        number("SELECT count(*) FROM pg_attribute WHERE attrelid = 'slice'::regclass AND attname "
               "= 'keyed_from'"),
        0); /* it has come to 0, and is gone */
    assert_int_equal(number("SELECT count(*) FROM event WHERE type = 6 AND (holder IS NULL OR key IS NULL)"),
                     0);
    assert_int_equal(
        number("SELECT count(*) FROM event e JOIN slice s USING (slice) WHERE type = 6 AND holder "
               "<> holder_of(s.secret, e.user_id, e.campaign_id, e.nth)"),
        0);
    assert_int_equal(number("SELECT count(*) FROM idempotency"), 1); /* which found nothing to do */
    assert_int_equal(number("SELECT count(*) FROM event WHERE answer = '[1]'"), 1);
    assert_int_equal(
        number("SELECT count(*) FROM pg_trigger WHERE tgname = 'append_only' AND tgenabled <> 'O'"), 0);
    EXPECT({"old", "ann", 1, NULL, true}, /* the first answer */
           {"old", "ann", 6, &problem_already_issued, false}, {"old", "carl", 4, NULL, true},
           {"old", "carl", 8, &problem_already_issued, false}, {"old", "bob", 9, NULL, false},
           {"many", "u101", 10, &problem_already_issued, false});
    EXPECT({"old", "bob", 9, NULL, true}, {"old", "bob", 11, &problem_already_issued, false});
    assert_int_equal(number("SELECT sum(used)::bigint FROM creation_quota WHERE scope = '#'"),
                     100 + 2 * MANY);
}

/* Enough at once that the campaign gets a filter; then nobody is looked for who cannot be there, and still
 * nobody gets two. */
static void a_filter_changes_no_answer(void **)
{
    static char users[COMMANDS_MAX][16];
    struct want wants[COMMANDS_MAX];
    first_edition_creates("fresh", 100, number("SELECT max(head) FROM slice") + 1);
    for (uint8_t round = 0; round < 3; round++) {
        for (uint8_t i = 0; i < COMMANDS_MAX; i++) {
            snprintf(users[i], sizeof users[i], "u%d-%d", round, i);
            wants[i] =
                (struct want){"fresh", users[i], (uint8_t)(100 + round * COMMANDS_MAX + i), NULL, false};
        }
        expect_batch(wants, COMMANDS_MAX);
        for (size_t i = 0; i < COMMANDS_MAX; i++)
            wants[i].replayed = true;
        expect_batch(wants, COMMANDS_MAX);
    }
    EXPECT({"fresh", "u0-0", 90, &problem_already_issued, false},
           {"fresh", "v", 100, &problem_idempotency_key_reused, false}, {"fresh", "w", 91, NULL, false});
    /* Another process issues: this one reads it before it decides. */
    struct store *here = store;
    store = store_create(url, true);
    assert_int_equal(store_connect(store, slice, clock_deadline_us(CALL_MS)), STORE_OK);
    EXPECT({"fresh", "theirs", 92, NULL, false});
    store_destroy(store);
    store = here;
    EXPECT({"fresh", "theirs", 93, &problem_already_issued, false}, {"fresh", "theirs", 92, NULL, true},
           {"fresh", "x", 94, NULL, false});
    EXPECT({"fresh", "y", 95, NULL, false}); /* and by now its filter has what the other issued */
    EXPECT({"fresh", "z", 96, NULL, false});
    const struct known_campaign *known = known_find(store->known, SPAN("fresh"));
    assert_true(known && known->complete && !store->probe_all);
}

/* --- creations whose key and campaign are in two slices --- */

static struct campaign_created definition = {.name = {"n", 1},
                                             .discount_value = 10,
                                             .currency = {"EUR", 3},
                                             .quantity = 5,
                                             .released = 5,
                                             .per_user_limit = 1};

/* The payload is the id. */
static struct command *creation(const char *id, uint8_t key)
{
    struct command *command = command_create(COMMAND_CREATE, NULL);
    *command->create = definition;
    command->campaign_id = span_of(id);
    command->actor = SPAN("admin");
    command->keyed = true;
    command->id.key_hash[0] = key;
    command->id.operation[0] = 77;
    memcpy(command->fingerprint, id, strlen(id) < FINGERPRINT_BYTES ? strlen(id) : FINGERPRINT_BYTES);
    command_route_creation(command, key % SLICE_COUNT);
    return command;
}

/* One transaction of its way; true: it goes on. */
static bool step(struct command *command, struct verdict *ret)
{
    int64_t deadline_us = clock_deadline_us(CALL_MS);
    connect_to(command->slice);
    batch_reset(batch);
    batch->limits = (struct creation_limits){1000, 1000, 1000000};
    command->next = NULL;
    batch_begin(batch, command);
    if (store_load(store, batch, deadline_us) != STORE_OK)
        fail_msg("%s", store_error(store));
    batch_decide(batch);
    *ret = batch->verdicts[0];
    if (store_commit(store, batch, deadline_us) != STORE_OK)
        fail_msg("%s", store_error(store));
    if (ret->forwarded)
        command_forward(command, &ret->claim, ret->slice);
    return ret->forwarded;
}

static void expect_creation(const char *id, uint8_t key, const struct problem *refusal, bool replayed)
{
    struct command *command = creation(id, key);
    struct verdict verdict;
    int steps = 0;
    while (step(command, &verdict))
        assert_true(++steps < 6);
    if (verdict.refusal != refusal)
        fail_msg("%s: %s", id, verdict.refusal ? verdict.refusal->code : "created");
    assert_int_equal(verdict.replayed, replayed);
    command_destroy(command);
}

static int64_t created(const char *id)
{
    return number(textf("SELECT count(*) FROM event WHERE campaign_id = '%s' AND type = 1", id));
}

/* Names in other slices than that of the key, and of each other. */
static void name_elsewhere(uint8_t key, char ids[2][16])
{
    static int tried;
    for (int found = 0; found < 2; tried++) {
        snprintf(ids[found], sizeof ids[found], "e%d", tried);
        int16_t at = slice_of(span_of(ids[found]));
        found += at != key % SLICE_COUNT && (found == 0 || at != slice_of(span_of(ids[0])));
    }
}

static void who_comes_next_finishes_a_creation(void **)
{
    enum { KEY = 5 };
    char ids[2][16];
    struct verdict verdict;
    name_elsewhere(KEY, ids);
    struct command *dies = creation(ids[0], KEY);
    assert_true(step(dies, &verdict)); /* the key is claimed, and then the process is gone */
    command_destroy(dies);
    assert_int_equal(created(ids[0]), 0);
    expect_creation(ids[0], KEY, NULL, false);
    expect_creation(ids[0], KEY, NULL, true);
    expect_creation(ids[1], KEY, &problem_idempotency_key_reused, false);
    assert_int_equal(created(ids[0]), 1);
    assert_int_equal(created(ids[1]), 0);
}

static void a_claim_that_came_to_nothing_binds_nobody(void **)
{
    enum { KEY = 6 };
    char ids[2][16];
    struct verdict verdict;
    name_elsewhere(KEY, ids);
    struct command *frozen = creation(ids[0], KEY);
    assert_true(step(frozen, &verdict)); /* claimed, and then it stands still for long */
    expect_creation(ids[1], KEY, NULL, false);
    assert_false(step(frozen, &verdict)); /* goes on, too late */
    assert_ptr_equal(verdict.refusal, &problem_in_flight);
    command_destroy(frozen);
    expect_creation(ids[0], KEY, &problem_idempotency_key_reused, false);
    expect_creation(ids[1], KEY, NULL, true);
    assert_int_equal(created(ids[0]), 0);
    assert_int_equal(created(ids[1]), 1);
}

static void one_bad_row_costs_its_own_commands(void **)
{
    int64_t head = number("SELECT max(head) FROM slice");
    first_edition_creates("bad", 100, head + 1);
    first_edition_creates("ahead", 100, head + 2);
    sql("UPDATE campaign SET definition = '\\xC1' WHERE id = 'bad'");
    sql("UPDATE campaign SET position = position + 1000 WHERE id = 'ahead'");
    EXPECT({"bad", "ann", 200, &problem_unreadable_state, false}, {"fresh", "good", 201, NULL, false},
           {"ahead", "ann", 202, &problem_unreadable_state, false}, {"fresh", "better", 203, NULL, false});
}

static int start(void **state)
{
    const char *owner;
    *state = stack = stack_start(STACK_SERVERS);
    owner = stack_env(stack, "DATABASE_URL");
    slice = slice_of(SPAN("old"));
    assert_true((size_t)snprintf(url, sizeof url, "%s%coptions=-csearch_path%%3Dupgrade", owner,
                                 strchr(owner, '?') ? '&' : '?') < sizeof url);
    (void)store_number(stack, "SELECT 1");
    sql("CREATE SCHEMA upgrade");
    sql("GRANT USAGE ON SCHEMA upgrade TO firstcome_command, firstcome_projector, firstcome_query");
    batch = batch_create(&(struct creation_limits){0}, NULL);
    store = store_create(url, true);
    return 0;
}

static int connect_store(void **)
{
    connect_to(slice);
    return 0;
}

static int stop(void **state)
{
    store_destroy(store);
    batch_destroy(batch);
    return stack_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_database_of_the_first_edition_keeps_its_answers),
        cmocka_unit_test_setup(a_filter_changes_no_answer, connect_store),
        cmocka_unit_test_setup(who_comes_next_finishes_a_creation, connect_store),
        cmocka_unit_test_setup(a_claim_that_came_to_nothing_binds_nobody, connect_store),
        cmocka_unit_test_setup(one_bad_row_costs_its_own_commands, connect_store),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
