/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the write API against real servers: the life of a campaign, refusals, idempotency over
 * restarts, requests in flight, and what happens while the event store is frozen or gone. */
#include "tests/lib/wait.h"

#include "tests/lib/api.h"
#include "tests/lib/cluster.h"
#include "tests/lib/pace.h"
#include "tests/lib/store.h"

static struct stack *stack;
static struct api_client api;

/* POST /v1/campaigns/<id>/<verb> */
static struct http_answer act(const char *campaign, const char *verb, const char *body)
{
    return api_post(&api, textf("/v1/campaigns/%s/%s", campaign, verb), body, NULL);
}

static void expect_int(const struct http_answer *answer, const char *path, int64_t expected)
{
    assert_int_equal(body_int(answer->body, path), expected);
}

static void expect_text(const struct http_answer *answer, const char *path, const char *expected)
{
    struct span text = body_text(answer->body, path);
    if (!span_is(text, expected))
        fail_msg("%s: expected %s, got %.*s", path, expected, SPAN_ARG(text));
}

static void expect_issue(const char *campaign, const char *user, int status, const char *code)
{
    api_expect(api_issue(&api, campaign, user), status, code);
}

static void a_campaign_lives(void **)
{
    const char *id = api_campaign(&api, 5, "");
    expect_issue(id, "ann", 201, NULL);
    struct http_answer answer = api_expect(act(id, "pause", "{\"reason\":\"wrong price\"}"), 200, NULL);
    expect_text(&answer, "status", "paused");
    expect_text(&answer, "status_reason", "wrong price");
    expect_issue(id, "bob", 409, "paused");
    answer = api_expect(act(id, "pause", NULL), 200,
                        NULL); /* two people press the same button: the first one did it */
    expect_text(&answer, "status_by", "admin");
    expect_text(&answer, "status_reason", "wrong price");
    answer = act(id, "resume", "{}");
    expect_text(&answer, "status", "active");
    expect_issue(id, "bob", 201, NULL);
    answer = act(id, "close", "{}");
    expect_text(&answer, "status", "closed");
    expect_int(&answer, "issued", 2);
    expect_int(&answer, "remaining", 3);
    expect_issue(id, "cyd", 410, "ended");
    api_expect(act(id, "resume", "{}"), 410, "ended");
    api_expect(act(id, "pause", "{}"), 410, "ended");
    api_expect(act(id, "release", "{\"quantity\":1}"), 410, "ended");
    api_expect(act(id, "close", "{}"), 200, NULL);
}

static void a_coupon_says_what_was_promised(void **)
{
    const char *id = api_campaign(&api, 2, ",\"code_prefix\":\"FALL26\",\"coupon_valid_days\":7");
    struct http_answer answer = api_expect(api_issue(&api, id, "user \xED\x95\x9C"), 201, NULL);
    assert_true(span_starts(http_answer_header(&answer, "Consistency-Token"), SPAN("v1.")));
    assert_null(http_answer_header(&answer, "Idempotency-Replayed").ptr);
    assert_int_equal(body_int(answer.body, "sequence"), 1);
    assert_true(span_is(body_text(answer.body, "campaign_id"), id));
    assert_true(span_is(body_text(answer.body, "user_id"), "user \xED\x95\x9C"));
    assert_true(span_is(body_text(answer.body, "status"), "issued"));
    assert_true(span_starts(body_text(answer.body, "code"), SPAN("FALL26-")));
    assert_int_equal(body_text(answer.body, "code").len, 7 + 29);
    int64_t issued_us, expires_us;
    assert_true(time_parse(body_text(answer.body, "issued_at"), &issued_us));
    assert_true(time_parse(body_text(answer.body, "expires_at"), &expires_us));
    assert_int_equal(expires_us - issued_us, 7 * US_PER_DAY);
    assert_true(body_int(answer.body, "position.position") > 0);
}

static void stock_is_never_exceeded(void **)
{
    const char *id = api_campaign(&api, 4, ",\"released\":1");
    expect_issue(id, "u1", 201, NULL);
    expect_issue(id, "u2", 409, "sold-out");
    api_expect(act(id, "release", "{\"quantity\":4}"), 409, "exceeds-quantity");
    struct http_answer answer = api_expect(act(id, "release", "{\"quantity\":3}"), 200, NULL);
    expect_int(&answer, "released", 4);
    for (int i = 2; i <= 4; i++) {
        answer = api_expect(api_issue(&api, id, textf("u%d", i)), 201, NULL);
        expect_int(&answer, "sequence", i);
    }
    expect_issue(id, "u5", 409, "sold-out");
}

static void a_release_plan_opens_by_the_clock(void **)
{
    const char *id =
        api_campaign(&api, 4,
                     ",\"released\":1,\"release_plan\":[{\"at\":\"2020-01-01T00:00:00Z\",\"quantity\":1},"
                     "{\"at\":\"2099-01-01T00:00:00Z\",\"quantity\":2}]");
    expect_issue(id, "u1", 201, NULL);
    expect_issue(id, "u2", 201, NULL);
    expect_issue(id, "u3", 409, "sold-out");
    api_expect(act(id, "release", "{\"quantity\":1}"), 409,
               "exceeds-quantity"); /* the rest is promised to the plan */
}

static void limits_per_user_hold(void **)
{
    const char *id = api_campaign(&api, 10, ",\"per_user_limit\":2");
    expect_issue(id, "ann", 201, NULL);
    expect_issue(id, "ann", 201, NULL);
    struct http_answer answer = api_expect(api_issue(&api, id, "ann"), 409, "already-issued");
    assert_int_equal(body_length(answer.body, "coupon_ids"), 2);
    expect_issue(id, "bob", 201, NULL);
}

static void windows_are_half_open_and_by_the_store_clock(void **)
{
    const char *later = api_campaign(&api, 1, ",\"starts_at\":\"2099-01-01T00:00:00Z\"");
    expect_issue(later, "ann", 409, "not-started");
    const char *over = api_campaign(&api, 1, ",\"ends_at\":\"2020-01-01T00:00:00Z\"");
    expect_issue(over, "ann", 410, "ended");
}

/* Posts twice with one key and expects the first answer again, byte for byte. */
static void expect_replay(const char *path, const char *body, const char *key, struct span first)
{
    struct http_answer again = api_post(&api, path, body, key);
    assert_true(span_is(http_answer_header(&again, "Idempotency-Replayed"), "true"));
    assert_int_equal(again.body.len, first.len);
    assert_memory_equal(again.body.ptr, first.ptr, first.len);
}

struct kept {
    char path[128], body[512], key[64];
    struct buf answer;
};

static struct kept keep(const char *path, const char *body, int status)
{
    struct kept kept;
    snprintf(kept.path, sizeof kept.path, "%s", path);
    snprintf(kept.body, sizeof kept.body, "%s", body);
    snprintf(kept.key, sizeof kept.key, "%s", api_fresh_key());
    buf_init(&kept.answer, 65536);
    struct http_answer answer = api_expect(api_post(&api, path, body, kept.key), status, NULL);
    buf_append_span(&kept.answer, answer.body);
    return kept;
}

static void retries_get_the_first_answer_even_after_kill(void **)
{
    char path[128];
    const char *id = api_campaign(&api, 10, ",\"coupon_valid_days\":1");
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", id);
    struct kept kept[4];
    kept[0] = keep(path, "{\"user_id\":\"ann\"}", 201);
    kept[1] = keep(textf("/v1/campaigns/%s/pause", id), "{}", 200);
    snprintf(path, sizeof path, "/v1/campaigns/%s/resume", id);
    kept[2] = keep(path, "{}", 200);
    kept[3] =
        keep("/v1/campaigns",
             "{\"name\":\"no "
             "id\",\"discount\":{\"type\":\"fixed\",\"amount\":500},\"currency\":\"KRW\",\"quantity\":3}",
             201);
    expect_issue(id, "bob", 201, NULL); /* the campaign moves on, the first answers do not */
    for (size_t i = 0; i < COUNT_OF(kept); i++)
        expect_replay(kept[i].path, kept[i].body, kept[i].key, buf_span(&kept[i].answer));
    stack_service(stack, "command-service", "kill");
    stack_service(stack, "command-service", "start");
    http_client_close(api.command);
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        expect_replay(kept[i].path, kept[i].body, kept[i].key, buf_span(&kept[i].answer));
        buf_deinit(&kept[i].answer);
    }
}

static void a_key_means_one_payload(void **)
{
    char path[128];
    const char *id = api_campaign(&api, 10, "");
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", id);
    api_expect(api_post(&api, path, "{\"user_id\":\"ann\"}", "one-key"), 201, NULL);
    api_expect(api_post(&api, path, "{\"user_id\":\"bob\"}", "one-key"), 422, "idempotency-key-reused");
    api_expect(api_post(&api, path, " { \"user_id\" : \"ann\" } ", "\"one-key\""), 201,
               NULL); /* same meaning, other spelling */

    /* Another id is another payload of the same operation, although it would live in another slice. */
    for (int i = 0; i < 20; i++) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"id\":\"one-key-%d\",\"name\":\"n\",\"discount\":{\"type\":\"fixed\",\"amount\":1},"
                 "\"currency\":\"KRW\",\"quantity\":1}",
                 i);
        api_expect(api_post(&api, "/v1/campaigns", body, "create-key"), i == 0 ? 201 : 422,
                   i == 0 ? NULL : "idempotency-key-reused");
    }
    api_expect(api_post(&api, "/v1/campaigns",
                        "{\"id\":\"one-key-0\",\"name\":\"n\",\"discount\":{\"type\":\"fixed\",\"amount\":1},"
                        "\"currency\":\"KRW\",\"quantity\":1}",
                        NULL),
               409, "campaign-exists");
}

static void a_refusal_leaves_nothing_behind(void **)
{
    char path[128];
    const char *id = api_campaign(&api, 2, ",\"released\":0");
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", id);
    api_expect(api_post(&api, path, "{\"user_id\":\"ann\"}", "refused-first"), 409, "sold-out");
    api_expect(act(id, "release", "{\"quantity\":1}"), 200, NULL);
    struct http_answer answer =
        api_expect(api_post(&api, path, "{\"user_id\":\"ann\"}", "refused-first"), 201, NULL);
    assert_null(http_answer_header(&answer, "Idempotency-Replayed").ptr);
}

static void many_users_at_once_are_served_as_one(void **)
{
    char path[128];
    const char *id = api_campaign(&api, 4, "");
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons/batch", id);
    expect_issue(id, "ann", 201, NULL);
    struct kept kept = keep(path, "{\"user_ids\":[\"bob\",\"ann\",\"cyd\",\"bob\",\"dan\",\"eve\"]}", 200);
    struct json_doc *doc = json_get_doc(buf_span(&kept.answer));
    assert_int_equal(json_get_int(doc, "issued"), 3);
    assert_int_equal(json_get_int(doc, "refused"), 3);
    assert_int_equal(json_get_int(doc, "results.0.sequence"), 2);
    assert_true(span_is(json_get_text(doc, "results.1.refusal"), "already-issued"));
    assert_int_equal(json_get_int(doc, "results.2.sequence"), 3);
    assert_true(span_is(json_get_text(doc, "results.3.refusal"), "already-issued"));
    assert_int_equal(json_get_int(doc, "results.4.sequence"), 4);
    assert_true(span_is(json_get_text(doc, "results.5.refusal"), "sold-out"));
    assert_true(span_is(json_get_text(doc, "results.5.user_id"), "eve"));
    json_destroy(doc);
    expect_replay(kept.path, kept.body, kept.key, buf_span(&kept.answer));
    api_expect(api_post(&api, path, "{\"user_ids\":[\"bob\"]}", kept.key), 422, "idempotency-key-reused");
    buf_deinit(&kept.answer);
    api_expect(act(id, "pause", "{}"), 200, NULL);
    api_expect(api_post(&api, path, "{\"user_ids\":[\"fay\"]}", NULL), 409, "paused");
}

/* The largest batch there may be, of the longest ids there are, is one transaction: all of it or nothing. */
static void ten_thousand_users_fit(void **)
{
    char path[128];
    const char *id = api_campaign(&api, 9000, "");
    struct buf body;
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons/batch", id);
    char filler[128];
    memset(filler, 'u', sizeof filler);
    buf_init(&body, 2 * 1024 * 1024);
    buf_append_text(&body, "{\"user_ids\":[");
    for (int i = 0; i < 10000; i++)
        buf_printf(&body, "%s\"%.*s%05d\"", i ? "," : "", (int)sizeof filler - 5, filler, i);
    buf_append_text(&body, "]}");
    assert_false(body.overflow);
    struct http_answer answer = api_insist_post(&api, path, body.data, 200);
    expect_int(&answer, "issued", 9000);
    expect_int(&answer, "refused", 1000);
    expect_int(&answer, "results.8999.sequence", 9000);
    buf_deinit(&body);
}

/* Whether a line of the command service's log has this text. */
static bool logged(const char *text)
{
    char path[4096], line[8192];
    bool found = false;
    snprintf(path, sizeof path, "%s/log/command-service.log", stack_directory(stack));
    FILE *log = fopen(path, "r");
    assert_non_null(log);
    while (!found && fgets(line, sizeof line, log))
        found = strstr(line, text) != NULL;
    fclose(log);
    return found;
}

static void a_trace_goes_into_the_event_and_comes_out_in_the_log(void **)
{
    static const char trace_id[] = "0af7651916cd43dd8448eb211c80319c";
    static const char *const headers[] = {
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", NULL};
    char path[128], sql[256];
    const char *id = api_campaign(&api, 1, "");
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", id);
    api_expect(API_ASK(api.command, .method = "POST", .path = path, .token = stack_env(stack, "ISSUE_TOKEN"),
                       .key = "traced", .headers = headers, .body = "{\"user_id\":\"traced-user\"}"),
               201, NULL);
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM event WHERE campaign_id = '%s' AND trace = "
             "decode('%sb7ad6b7169203331', 'hex')",
             id, trace_id);
    assert_int_equal(store_number(stack, sql), 1);
    WAIT_UNTIL(logged(trace_id), 60000);
    assert_false(logged("traced-user"));
    assert_false(logged("\"traced\""));
}

static bool is_in_flight(const char *path, const char *body, const char *key)
{
    struct http_answer answer = api_post(&api, path, body, key);
    return strcmp(api_problem(&answer), "in-flight") == 0;
}

static void a_twin_of_a_request_in_flight_is_told_so(void **)
{
    char path[128], id[64];
    snprintf(id, sizeof id, "%s", api_campaign(&api, 3, ""));
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", id);
    struct http_client *first = http_client_create(stack_env(stack, "COMMAND_URL"));
    struct http_answer answer;
    assert_true(store_freeze(stack, "firstcome command") > 0);
    api_issue_begin(&api, first, id, "ann", "twin");
    WAIT_UNTIL(api_metric(&api, "coupon_http_in_flight") >= 2, 60000); /* it and the question itself */
    /* With another key type the scope differs: the issue key sent the first, so the twin must come from it as
     * well. */
    struct http_client *second = http_client_create(stack_env(stack, "COMMAND_URL"));
    api_issue_begin(&api, second, id, "ann", "twin");
    assert_int_equal(http_client_read(second, 60000, &answer), HTTP_ANSWERED);
    api_expect(answer, 409, "in-flight");
    api_issue_begin(&api, second, id, "bob", "twin");
    assert_int_equal(http_client_read(second, 60000, &answer), HTTP_ANSWERED);
    api_expect(answer, 422, "idempotency-key-reused");
    store_thaw();
    assert_int_equal(http_client_read(first, 60000, &answer), HTTP_ANSWERED);
    api_expect(answer, 201, NULL);
    assert_false(is_in_flight(path, "{\"user_id\":\"cyd\"}", "twin")); /* another API key: another request */
    http_client_destroy(first);
    http_client_destroy(second);
}

/* Within the deadline of 2 s there is an answer, and it is an honest one. */
static void expect_honest_refusal(const char *campaign, const char *user)
{
    int64_t start_us = clock_mono_us();
    struct http_answer answer = api_issue(&api, campaign, user);
    pace_within(start_us, 2300 * US_PER_MS, "a refusal");
    if (answer.status != 503 && answer.status != 504)
        fail_msg("expected 503 or 504, got %d", answer.status);
    assert_true(strcmp(api_problem(&answer), "store-unavailable") == 0 ||
                strcmp(api_problem(&answer), "overloaded") == 0 ||
                strcmp(api_problem(&answer), "outcome-unknown") == 0);
}

static bool issued(const char *campaign, const char *user)
{
    struct http_answer answer = api_issue(&api, campaign, user);
    return answer.status == 201;
}

/* Every committer has its connection back, not only the one that was asked last. */
static bool ready(void)
{
    struct http_answer answer = API_ASK(api.command, .path = "/readyz");
    return answer.status == 200;
}

static void a_frozen_store_is_refused_in_time_and_recovers(void **)
{
    char id[64];
    snprintf(id, sizeof id, "%s", api_campaign(&api, 100, ",\"per_user_limit\":100"));
    cluster_signal_all(stack, SIGSTOP);
    expect_honest_refusal(id, "ann");
    expect_honest_refusal(id, "ann");
    cluster_signal_all(stack, SIGCONT);
    WAIT_UNTIL(issued(id, "bob"), 60000);
    WAIT_UNTIL(ready(), 60000);
}

static void a_crashed_store_is_refused_in_time_and_recovers(void **)
{
    char id[64];
    snprintf(id, sizeof id, "%s", api_campaign(&api, 100, ",\"per_user_limit\":100"));
    expect_issue(id, "ann", 201, NULL);
    stack_signal(stack, "postgresql",
                 SIGQUIT); /* "immediate": no checkpoint, all backends die, as in a crash */
    WAIT_UNTIL(stack_pid(stack, "postgresql") == 0, 60000);
    expect_honest_refusal(id, "ann");
    stack_restart_servers(stack);
    WAIT_UNTIL(issued(id, "ann"), 60000);
    WAIT_UNTIL(ready(), 60000);
    int64_t in_log =
        store_number(stack, textf("SELECT count(*) FROM event WHERE campaign_id = '%s' AND type = 6", id));
    assert_int_equal(store_number(stack, textf("SELECT issued FROM campaign WHERE id = '%s'", id)), in_log);
    assert_true(in_log >= 2);
}

/* I3 is only as good as the server's COMMIT. */
static void a_store_that_does_not_flush_is_refused(void **)
{
    char id[64];
    snprintf(id, sizeof id, "%s", api_campaign(&api, 100, ",\"per_user_limit\":100"));
    store_run_as(stack, "COMMAND_DATABASE_URL", "ALTER ROLE CURRENT_USER SET synchronous_commit = off");
    store_signal_backends(stack, "firstcome command", SIGTERM);
    WAIT_UNTIL(!ready(), 60000);
    expect_honest_refusal(id, "ann");
    store_run_as(stack, "COMMAND_DATABASE_URL", "ALTER ROLE CURRENT_USER RESET synchronous_commit");
    WAIT_UNTIL(issued(id, "ann"), 60000);
    WAIT_UNTIL(ready(), 60000);
}

/* While nobody asks anything: the sweep that looks around meanwhile is no proof of it. */
static void a_store_that_stops_flushing_is_noticed(void **)
{
    (void)cluster_sql(stack, "ALTER SYSTEM SET fsync = off");
    (void)cluster_sql(stack, "SELECT pg_reload_conf()::int");
    WAIT_UNTIL(!ready(), 20000);
    (void)cluster_sql(stack, "ALTER SYSTEM RESET fsync");
    (void)cluster_sql(stack, "SELECT pg_reload_conf()::int");
    WAIT_UNTIL(ready(), 20000);
}

static int setup(void **state)
{
    stack_default_deadlines();
    stack = api_setup(state, &api, STACK_ALL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_campaign_lives),
        cmocka_unit_test(a_coupon_says_what_was_promised),
        cmocka_unit_test(stock_is_never_exceeded),
        cmocka_unit_test(a_release_plan_opens_by_the_clock),
        cmocka_unit_test(limits_per_user_hold),
        cmocka_unit_test(windows_are_half_open_and_by_the_store_clock),
        cmocka_unit_test(retries_get_the_first_answer_even_after_kill),
        cmocka_unit_test(a_key_means_one_payload),
        cmocka_unit_test(a_refusal_leaves_nothing_behind),
        cmocka_unit_test(many_users_at_once_are_served_as_one),
        cmocka_unit_test(ten_thousand_users_fit),
        cmocka_unit_test(a_trace_goes_into_the_event_and_comes_out_in_the_log),
        cmocka_unit_test(a_twin_of_a_request_in_flight_is_told_so),
        cmocka_unit_test(a_frozen_store_is_refused_in_time_and_recovers),
        cmocka_unit_test(a_crashed_store_is_refused_in_time_and_recovers),
        cmocka_unit_test(a_store_that_does_not_flush_is_refused),
        cmocka_unit_test(a_store_that_stops_flushing_is_noticed),
    };
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
