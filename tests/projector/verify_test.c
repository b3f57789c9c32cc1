/* SPDX-License-Identifier: Apache-2.0 */
/* The command projector verify on a real stack: clean after traffic of every kind and while it goes on; and
 * when somebody with all rights edits history, a state row or a read model, it says which and exits 1. */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "events/ids.h"
#include "tests/lib/api.h"
#include "tests/lib/models.h"
#include "tests/lib/projector.h"
#include "tests/lib/store.h"
#include "tests/lib/wait.h"

enum { LONG_MS = 120000, OUTPUT_MAX = 1024 * 1024, STEPS_MAX = 4, HEAD_START = 20 };

static struct stack *stack;
static struct models models;
static struct api_client api;
static struct buf output; /* of the last run of verify */
static char hot[64];      /* the campaign with the most in it */
static int16_t slice;     /* where it lives */

/* --- running verify --- */

/* Returns the exit status; what it wrote is in `output`, and never names a user or an order (I10). */
static int verify_with(const char *const *arguments)
{
    buf_clear(&output);
    int status = projector_run(stack, arguments, &output);
    if (strstr(output.data, "holder-") || strstr(output.data, "order-"))
        fail_msg("verify names somebody:\n%s", output.data);
    return status;
}
#define VERIFY(...) verify_with((const char *const[]){"verify", __VA_ARGS__, NULL})

static void expect_clean(int status)
{
    if (status != 0 || !strstr(output.data, "\"differences\":0,"))
        fail_msg("exit %d:\n%s", status, output.data);
}

static void expect_rule(int status, const char *what, const char *rule)
{
    char text[64];
    snprintf(text, sizeof text, "\"rule\":\"%s\"", rule);
    if (status != 1 || !strstr(output.data, text))
        fail_msg("%s: exit %d, not one of %s:\n%s", what, status, rule, output.data);
}

/* --- traffic of every kind --- */

static void post(const char *path, const char *body, int status)
{
    api_expect(api_post(&api, path, body, NULL), status, NULL);
}

static void post_campaign(const char *action, const char *body)
{
    post(textf("/v1/campaigns/%s/%s", hot, action), body, 200);
}

static void post_coupon(int64_t position, const char *action, const char *body)
{
    post(textf("/v1/coupons/c%d-%lld/%s", slice, (long long)position, action), body, 200);
}

static void issue_one_by_one(int from, int count)
{
    for (int i = from; i < from + count; i++) {
        api_expect(api_issue(&api, hot, textf("holder-%d", i)), 201, "");
    }
}

static void make_traffic(void)
{
    snprintf(hot, sizeof hot, "%s",
             api_campaign(&api, 5000,
                          ",\"released\":1000,\"per_user_limit\":2,\"min_order_amount\":100,"
                          "\"release_plan\":[{\"at\":\"2020-01-01T00:00:00Z\",\"quantity\":500},"
                          "{\"at\":\"2999-01-01T00:00:00Z\",\"quantity\":500}],"
                          "\"ends_at\":\"2999-06-01T00:00:00Z\",\"tags\":[\"a\"]"));
    slice = slice_of(span_of(hot));
    issue_one_by_one(0, 10); /* the first finds the tranche of 2020 due: positions 1 created, 2 released */
    issue_one_by_one(0, 5);  /* their second */
    post_campaign("pause", "");
    post_campaign("resume", "");
    post_campaign("release", "{\"quantity\":7}");
    api_batch(&api, hot, "holder-b", 0, 600);
    post_coupon(
        3, "reserve",
        "{\"user_id\":\"holder-0\",\"order_id\":\"order-1\",\"order_amount\":1000,\"ttl_seconds\":600}");
    post_coupon(3, "redeem", "{\"user_id\":\"holder-0\",\"order_id\":\"order-1\",\"order_amount\":1000}");
    post_coupon(3, "restore", "{\"order_id\":\"order-1\"}");
    post_coupon(4, "redeem", "{\"user_id\":\"holder-1\",\"order_id\":\"order-2\",\"order_amount\":999}");
    post_coupon(5, "revoke", "{\"reason\":\"fraud\"}");
    post_coupon(
        6, "reserve",
        "{\"user_id\":\"holder-3\",\"order_id\":\"order-3\",\"order_amount\":1000,\"ttl_seconds\":600}");
    post("/v1/issuers/redeem/suspend", "", 200);
    post("/v1/issuers/redeem/resume", "", 200);
    (void)api_campaign(&api, 10, "");
    post("/v1/campaigns/void", "{\"created_by\":\"admin\"}",
         200); /* that one: in the other something was issued */
    for (int i = 0; i < 20; i++)
        (void)api_campaign(&api, 10, i % 2 ? "" : ",\"tags\":[\"b\"]");
}

static void everything_is_clean_after_traffic(void **)
{
    models_await_current(&models);
    expect_clean(VERIFY("--json"));
    assert_null(strstr(output.data, "\"keys\":0,"));
    expect_clean(VERIFY("--json", "--log"));
    assert_non_null(strstr(output.data, "\"keys\":0,"));
    expect_clean(VERIFY("--json", "--memory-mb", "1")); /* enough here; less would be more passes */
    assert_int_equal(VERIFY("--log"), 0);
    assert_non_null(strstr(output.data, "\nno differences\n"));
}

/* --- while it goes on --- */

static atomic_bool stop_issuing;

static void *issue_meanwhile(void *counter)
{
    struct api_client client;
    api_open(&client, stack);
    for (int i = 0; !atomic_load(&stop_issuing); i++) {
        (void)api_issue(&client, hot, textf("holder-m%d", i % 700)); /* until there are none, then refused */
        atomic_fetch_add((atomic_int *)counter, 1);
    }
    api_close(&client);
    return NULL;
}

static void it_is_clean_while_others_write(void **)
{
    pthread_t thread;
    atomic_int issued = 0;
    atomic_store(&stop_issuing, false);
    assert_int_equal(pthread_create(&thread, NULL, issue_meanwhile, &issued), 0);
    WAIT_UNTIL(atomic_load(&issued) > HEAD_START, LONG_MS);
    int before = atomic_load(&issued), statuses[2];
    struct buf texts[2];
    for (int i = 0; i < 2; i++) {
        buf_init(&texts[i], OUTPUT_MAX);
        statuses[i] = VERIFY("--json");
        buf_append_span(&texts[i], buf_span(&output));
    }
    int after = atomic_load(&issued);
    atomic_store(&stop_issuing, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(after > before);
    for (int i = 0; i < 2; i++) {
        if (statuses[i] != 0)
            fail_msg("exit %d:\n%s", statuses[i], texts[i].data);
        buf_deinit(&texts[i]);
    }
}

static void it_waits_for_models_that_are_being_replayed(void **)
{
    MODELS_CALL(&models, "FLUSHALL");
    expect_clean(VERIFY("--json"));
    assert_null(strstr(output.data, "\"keys\":0,"));
}

/* --- editing history --- */

/* What grants and triggers are there to prevent. $S is the slice. */
static void tamper(const char *sql)
{
    char text[1024];
    const char *hole = strstr(sql, "$S");
    if (hole)
        snprintf(text, sizeof text, "%.*s%d%s", (int)(hole - sql), sql, slice, hole + 2);
    else
        snprintf(text, sizeof text, "%s", sql);
    store_tamper(stack, text);
}

struct edit {
    const char *what, *rule;
    const char *steps[STEPS_MAX], *undo[STEPS_MAX]; /* no undo: doing it again undoes it */
};

#define AT(table, condition) " " table " WHERE slice = $S AND " condition
#define FLIP(column)         column " = set_byte(" column ", 0, get_byte(" column ", 0) # 1)"
#define TAKE_AWAY(table, what) \
    "CREATE TABLE saved AS SELECT * FROM" AT(table, what), "DELETE FROM" AT(table, what)
#define GIVE_BACK(table) "INSERT INTO " table " SELECT * FROM saved", "DROP TABLE saved"
#define ADD(table, column, number, condition) \
    "UPDATE " table " SET " column " = " column " + " number " WHERE slice = $S AND " condition

static const struct edit edits[] = {
    {"a byte of an event",
     "chain",
     {"UPDATE event SET data = set_byte(data, length(data) - 1, get_byte(data, length(data) - 1) # 1)"
      " WHERE slice = $S AND position = 8"},
     {NULL}},
    {"the user of an event",
     "chain",
     {"UPDATE event SET user_id = reverse(user_id) WHERE slice = $S AND position = 9"},
     {NULL}},
    {"the user of an event breaks the order of who holds what",
     "limit",
     {"UPDATE event SET user_id = 'nobody' WHERE slice = $S AND position = 15"},
     {"UPDATE event SET user_id = 'holder-2' WHERE slice = $S AND position = 15"}},
    {"a deleted event", "positions", {TAKE_AWAY("event", "position = 10")}, {GIVE_BACK("event")}},
    {"two events swapped",
     "envelope",
     {"UPDATE event SET position = 1000001 WHERE slice = $S AND position = 6",
      "UPDATE event SET position = 6 WHERE slice = $S AND position = 7",
      "UPDATE event SET position = 7 WHERE slice = $S AND position = 1000001"},
     {NULL}},
    {"a time moved",
     "clock",
     {ADD("event", "recorded_at", "interval '-1 hour'", "position = 11")},
     {ADD("event", "recorded_at", "interval '1 hour'", "position = 11")}},
    {"the column nth",
     "envelope",
     {ADD("event", "nth", "50", "position = 8")},
     {ADD("event", "nth", "-50", "position = 8")}},
    {"the hash of a batch",
     "chain",
     {"UPDATE batch SET " FLIP("chain") " WHERE slice = $S AND first = 5"},
     {NULL}},
    {"a batch taken away", "batches", {TAKE_AWAY("batch", "first = 5")}, {GIVE_BACK("batch")}},
    {"the hash of the slice", "chain", {"UPDATE slice SET " FLIP("chain") " WHERE slice = $S"}, {NULL}},
    {"the head", "slice-row", {ADD("slice", "head", "1", "true")}, {ADD("slice", "head", "-1", "true")}},
    {"a count of a campaign",
     "campaign-row",
     {ADD("campaign", "issued", "-1", "issued > 500")},
     {ADD("campaign", "issued", "1", "issued > 500")}},
    {"when a campaign is due",
     "campaign-row",
     {ADD("campaign", "due_at", "interval '1 day'", "issued > 500")},
     {ADD("campaign", "due_at", "interval '-1 day'", "issued > 500")}},
    {"a definition",
     "campaign-row",
     {"UPDATE campaign SET " FLIP("definition") " WHERE slice = $S AND issued > 500"},
     {NULL}},
    {"a campaign taken away",
     "campaign-row",
     {TAKE_AWAY("campaign", "issued > 500")},
     {GIVE_BACK("campaign")}},
    {"a discount",
     "coupon-row",
     {ADD("coupon", "discount_amount", "1", "position = 4")},
     {ADD("coupon", "discount_amount", "-1", "position = 4")}},
    {"a coupon row taken away", "coupon-row", {TAKE_AWAY("coupon", "position = 5")}, {GIVE_BACK("coupon")}},
    {"a run taken away", "run-row", {TAKE_AWAY("issue_run", "first_sequence = 3")}, {GIVE_BACK("issue_run")}},
    {"a coupon that another user holds",
     "envelope",
     {"UPDATE event SET holder = holder_of(secret, 'eve', campaign_id, nth) FROM slice s WHERE s.slice = $S "
      "AND "
      "event.slice = s.slice AND position = 8"},
     {"UPDATE event SET holder = holder_of(secret, user_id, campaign_id, nth) FROM slice s WHERE s.slice = "
      "$S AND "
      "event.slice = s.slice AND position = 8"}},
    {"an answer that is rendered from a creation",
     "request-row",
     {"INSERT INTO idempotency SELECT slice, gen_random_uuid(), 7, gen_random_uuid(), 201, 1, NULL, "
      "recorded_at "
      "FROM event "
      "WHERE slice = $S AND position = 1"},
     {"DELETE FROM idempotency WHERE operation = 7"}},
};

static void every_edit_is_told(void **)
{
    char number[8];
    snprintf(number, sizeof number, "%d", slice);
    for (size_t i = 0; i < COUNT_OF(edits); i++) {
        const struct edit *edit = &edits[i];
        for (size_t step = 0; step < STEPS_MAX && edit->steps[step]; step++)
            tamper(edit->steps[step]);
        expect_rule(VERIFY("--json", "--log", "--slice", number), edit->what, edit->rule);
        const char *const *undo = edit->undo[0] ? edit->undo : edit->steps;
        for (size_t step = 0; step < STEPS_MAX && undo[step]; step++)
            tamper(undo[step]);
    }
    expect_clean(VERIFY("--json", "--log"));
}

/* What is not of one campaign's slice. */
static void settings_and_quotas_are_told(void **)
{
    tamper("UPDATE control SET value = 'suspended' WHERE name = 'redeem'");
    expect_rule(VERIFY("--json", "--log"), "a kill switch", "control-row");
    tamper("UPDATE control SET value = '' WHERE name = 'redeem'");
    tamper("UPDATE creation_quota SET used = used - 1 WHERE scope = '*'");
    expect_rule(VERIFY("--json", "--log"), "a quota", "quota-row");
    tamper("UPDATE creation_quota SET used = used + 1 WHERE scope = '*'");
    expect_clean(VERIFY("--json", "--log"));
}

/* --- not able to look --- */

static void what_cannot_be_looked_at_is_no_difference(void **)
{
    assert_int_equal(VERIFY("--slice", "16"), 64);
    assert_int_equal(VERIFY("--redis-url", "nonsense"), 64);
    assert_int_equal(VERIFY("--redis-url", ""), 64);
    assert_int_equal(VERIFY("--log", "--database-url", "postgresql://nobody@127.0.0.1:1/none"), 69);
    assert_int_equal(VERIFY("--json", "--redis-url", "redis://127.0.0.1:1"), 69);
    assert_non_null(strstr(output.data, "\"complete\":false"));
    store_run_as(stack, "DATABASE_URL", "REVOKE SELECT ON idempotency_effect FROM firstcome_projector");
    assert_int_equal(VERIFY("--log"), 77);
    store_run_as(stack, "DATABASE_URL", "GRANT SELECT ON idempotency_effect TO firstcome_projector");
    expect_clean(VERIFY("--json", "--log"));
}

static int set_up(void **state)
{
    stack = api_setup(state, &api, STACK_ALL);
    buf_init(&output, OUTPUT_MAX);
    models_open(&models, stack);
    make_traffic();
    return 0;
}

static int tear_down(void **state)
{
    models_close(&models);
    buf_deinit(&output);
    return api_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_clean_after_traffic),
        cmocka_unit_test(it_is_clean_while_others_write),
        cmocka_unit_test(it_waits_for_models_that_are_being_replayed),
        cmocka_unit_test(every_edit_is_told),
        cmocka_unit_test(settings_and_quotas_are_told),
        cmocka_unit_test(what_cannot_be_looked_at_is_no_difference),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
