/* SPDX-License-Identifier: Apache-2.0 */
/* Campaigns that are changed after they were made: what every reader says of them, now and of before; and a
 * sold out one that is enlarged while other services know that it is sold out. */
#include "tests/lib/api.h"
#include "tests/lib/instance.h"
#include "tests/lib/projector.h"
#include "tests/lib/store.h"
#include "tests/lib/wait.h"

#include "events/ids.h"

enum { CROWD = 16, WAIT_MS = 120000, TEXT_BYTES = 1024 };

static struct stack *stack;
static struct api_client api;

static struct http_answer patch_with(struct api_client *with, const char *campaign, const char *body,
                                     const char *key)
{
    char path[128];
    snprintf(path, sizeof path, "/v1/campaigns/%s", campaign);
    return API_ASK(with->command, .method = "PATCH", .path = path, .token = stack_env(stack, "ADMIN_TOKEN"),
                   .key = key ? key : api_fresh_key(), .body = body);
}

static struct http_answer patch(const char *campaign, const char *body)
{
    return patch_with(&api, campaign, body, NULL);
}

static void token_of(const struct http_answer *answer, char ret[64])
{
    snprintf(ret, 64, "%.*s", SPAN_ARG(http_answer_header(answer, "Consistency-Token")));
}

static struct json_doc *read_at(const char *path, const char *token)
{
    struct http_answer answer;
    WAIT_UNTIL((answer = api_get(&api, path, token), answer.status == 200), WAIT_MS);
    return json_get_doc(answer.body);
}

static void expect_text(const struct json_doc *doc, const char *at, const char *text)
{
    struct span is = json_get_text(doc, at);
    if (!span_is(is, text))
        fail_msg("%s is '%.*s', not %s", at, SPAN_ARG(is), text);
}

/* I4, byte for byte, from another process. */
static void expect_first_answer_again(const char *id, const char *kept)
{
    stack_service(stack, "command-service", "kill");
    stack_service(stack, "command-service", "start");
    struct http_answer answer = api_expect(
        patch_with(&api, id,
                   "{\"quantity\":5,\"name\":\"twice\",\"per_user_limit\":2,\"tags\":[\"new\",\"신규\"],"
                   "\"reason\":\"more demand\"}",
                   "change-twice"),
        200, NULL);
    assert_true(span_is(answer.body, kept));
    assert_true(span_is(http_answer_header(&answer, "Idempotency-Replayed"), "true"));
    api_expect(patch_with(&api, id, "{\"quantity\":6}", "change-twice"), 422, "idempotency-key-reused");
}

/* What a campaign reads now, wherever it comes from, as a tag. */
static void tag_of(const char *path, char ret[80])
{
    struct http_answer answer;
    WAIT_UNTIL((answer = api_get(&api, path, NULL), answer.status == 200), WAIT_MS);
    snprintf(ret, 80, "%.*s", SPAN_ARG(http_answer_header(&answer, "ETag")));
}

/* The command service itself answers there, with what a read says: the tag is good for If-Match at once. */
static void a_creation_says_where_the_campaign_is(void **)
{
    static const char start[] = "https://coupons.example";
    char path[160], line[128], tag[80];
    const char *const headers[] = {line, NULL};
    struct http_answer answer =
        api_expect(api_post(&api, "/v1/campaigns",
                            "{\"name\":\"n\",\"discount\":{\"type\":\"percent\",\"percent\":10},"
                            "\"currency\":\"EUR\",\"quantity\":3}",
                            NULL),
                   201, NULL);
    struct span location = http_answer_header(&answer, "Location");
    assert_true(span_starts(location, span_of(start)));
    snprintf(path, sizeof path, "%.*s", SPAN_ARG(location));
    memmove(path, path + strlen(start), strlen(path) - strlen(start) + 1);
    tag_of(path, tag);
    struct http_call call = {.path = path, .token = stack_env(stack, "READ_TOKEN")};
    answer = api_expect(api_call(&api, &call), 200, NULL);
    assert_true(span_is(http_answer_header(&answer, "ETag"), tag));
    snprintf(line, sizeof line, "If-None-Match: %s", tag);
    call.headers = headers;
    answer = api_call(&api, &call);
    assert_int_equal(answer.status, 304);
    call = (struct http_call){.path = "/v1/campaigns/nobodys", .token = stack_env(stack, "READ_TOKEN")};
    api_expect(api_call(&api, &call), 404, "unknown-campaign");
    call.path = "/v1/campaigns/No";
    api_expect(api_call(&api, &call), 400, "invalid-id");
    call.path = "/v1/campaigns/nobodys?as_of=0:1"; /* the past is the query service's */
    api_expect(api_call(&api, &call), 400, "invalid-parameter");
}

static struct http_answer act_if(const char *method, const char *path, const char *body, const char *tag,
                                 const char *key)
{
    char line[256];
    const char *const headers[] = {line, NULL};
    snprintf(line, sizeof line, "%s: %s", strcmp(tag, "*") == 0 ? "If-None-Match" : "If-Match", tag);
    return API_ASK(api.command, .method = method, .path = path, .token = stack_env(stack, "ADMIN_TOKEN"),
                   .key = key ? key : api_fresh_key(), .headers = headers, .body = body);
}

/* Two people look at a campaign, and both change it: the second one is told, for every call that changes it.
 */
static void nobody_overwrites_what_was_not_read(void **)
{
    static const struct {
        const char *method, *verb, *body;
        int status;
    } calls[] = {{"PATCH", "", "{\"name\":\"first\"}", 200},
                 {"POST", "/pause", "{}", 200},
                 {"POST", "/resume", "{}", 200},
                 {"POST", "/release", "{\"quantity\":1}", 200},
                 {"POST", "/close", "{}", 200},
                 {"DELETE", "", NULL, 204}};
    char campaign[128], tag[80], token[64];
    snprintf(campaign, sizeof campaign, "/v1/campaigns/%s", api_campaign(&api, 9, ",\"released\":3"));
    tag_of(campaign, tag);
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        char path[160], key[64];
        snprintf(path, sizeof path, "%s%s", campaign, calls[i].verb);
        snprintf(key, sizeof key, "if-match-%zu", i);
        api_expect(act_if(calls[i].method, path, calls[i].body, "\"0123456789abcdef0123456789abcdef\"", key),
                   412, "precondition-failed");
        api_expect(act_if(calls[i].method, path, calls[i].body, "*", key), 412,
                   "precondition-failed"); /* whatever it is, it is there */
        struct http_answer answer =
            act_if(calls[i].method, path, calls[i].body, tag, key); /* the refusal left nothing (I4) */
        assert_int_equal(answer.status, calls[i].status);
        token_of(&answer, token);
        if (i == 0) { /* an answer that was given is given again, whatever happened since */
            api_expect(act_if(calls[i].method, path, calls[i].body, tag, key), 200, NULL);
            answer = api_expect(act_if(calls[i].method, path, calls[i].body, tag, NULL), 412,
                                "precondition-failed");
        }
        if (i + 1 == COUNT_OF(calls))
            break;
        WAIT_UNTIL((answer = api_get(&api, campaign, token), answer.status == 200), WAIT_MS);
        snprintf(tag, sizeof tag, "%.*s", SPAN_ARG(http_answer_header(&answer, "ETag")));
    }
    api_expect(act_if("POST", "/v1/campaigns/void", "{\"created_by\":\"nobody\"}", "*", NULL), 412,
               "precondition-failed"); /* knows no conditions, and does nothing */
}

static void a_change_is_read_everywhere_and_the_past_is_as_it_was(void **)
{
    char id[80], path[TEXT_BYTES], token[64], before[64];
    snprintf(id, sizeof id, "%s", api_campaign(&api, 3, ",\"tags\":[\"old\"]"));
    api_give(&api, id, "ann");
    snprintf(path, sizeof path, "/v1/campaigns/%s", id);
    struct http_answer answer = api_expect(patch(id, "{\"name\":\"once\",\"reason\":\"typo\"}"), 200, NULL);
    struct json_doc *doc = json_get_doc(answer.body);
    snprintf(before, sizeof before, "%lld:%lld", (long long)json_get_int(doc, "position.slice"),
             (long long)json_get_int(doc, "position.position"));
    json_destroy(doc);
    answer = api_expect(
        patch_with(&api, id,
                   "{\"name\":\"twice\",\"quantity\":5,\"per_user_limit\":2,\"tags\":[\"new\",\"신규\"],"
                   "\"ends_at\":null,\"reason\":\"more demand\"}",
                   "change-twice"),
        200, NULL);
    token_of(&answer, token);
    expect_first_answer_again(id, textf("%.*s", SPAN_ARG(answer.body)));
    for (int round = 0; round < 2; round++) { /* from Redis; and after a rebuild */
        doc = read_at(path, token);
        expect_text(doc, "name", "twice");
        expect_text(doc, "tags.1", "신규");
        assert_int_equal(json_get_int(doc, "quantity"), 5);
        assert_int_equal(json_get_int(doc, "released"), 5);
        assert_int_equal(json_get_int(doc, "per_user_limit"), 2);
        json_destroy(doc);
        projector_assert_verify_clean(stack);
        if (round == 0) {
            struct buf said;
            buf_init(&said, 64 * 1024);
            assert_int_equal(PROJECTOR_RUN(stack, &said, "rebuild"), 0);
            buf_deinit(&said);
        }
    }
    char past[2 * TEXT_BYTES];
    snprintf(past, sizeof past, "%s?as_of=%s", path, before);
    doc = read_at(past, NULL);
    expect_text(doc, "name", "once");
    expect_text(doc, "tags.0", "old");
    assert_int_equal(json_get_int(doc, "quantity"), 3);
    json_destroy(doc);
    snprintf(past, sizeof past, "%s/history", path);
    doc = read_at(past, token);
    expect_text(doc, "items.1.type", "CampaignChanged");
    expect_text(doc, "items.1.reason", "typo");
    expect_text(doc, "items.2.actor", "admin");
    expect_text(doc, "items.2.reason", "more demand");
    expect_text(doc, "items.2.data.fields.0", "name");
    json_destroy(doc);
    doc = read_at("/v1/campaigns?tag=new", token);
    assert_int_equal(json_get_length(doc, "items"), 1);
    json_destroy(doc);
    doc = read_at("/v1/campaigns?tag=old", token);
    assert_int_equal(json_get_length(doc, "items"), 0);
    json_destroy(doc);
    api_give(&api, id, "ann"); /* the second one, which the limit before did not allow */
    api_expect(api_issue(&api, id, "ann"), 409, "already-issued");
}

static void what_was_promised_is_kept(void **)
{
    static const struct {
        const char *body;
        int status;
        const char *code;
    } rows[] = {
        {"{\"quantity\":2}", 409, "below-promise"},
        {"{\"per_user_limit\":1}", 409, "below-promise"},
        {"{\"ends_at\":\"2998-12-31T00:00:00Z\"}", 409, "below-promise"},
        {"{\"ends_at\":\"2999-02-01T00:00:01Z\"}", 400, "invalid-window"},
        {"{\"ends_at\":\"2999-02-01T00:00:00Z\"}", 200, NULL},
        {"{\"quantity\":3}", 200, NULL}, /* as it is */
        {"{}", 400, "missing-field"},
    };
    char id[80];
    snprintf(id, sizeof id, "%s",
             api_campaign(&api, 3,
                          ",\"per_user_limit\":2,\"ends_at\":\"2999-01-01T00:00:00Z\",\"coupon_expires_at\":"
                          "\"2999-02-01T00:00:00Z\""));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_answer answer = patch(id, rows[i].body);
        if (answer.status != rows[i].status ||
            (rows[i].code && strcmp(api_problem(&answer), rows[i].code) != 0))
            fail_msg("%s: %d %.*s", rows[i].body, answer.status, SPAN_ARG(answer.body));
    }
    assert_int_equal(
        store_numberf(stack, "SELECT count(*) FROM event WHERE campaign_id = '%s' AND type = 19", id), 1);
    api_expect(patch("nobodys", "{\"quantity\":5}"), 404, "unknown-campaign");
    api_expect(api_post(&api, textf("/v1/campaigns/%s/close", id), "{}", NULL), 200, NULL);
    api_expect(patch(id, "{\"name\":\"late\"}"), 410, "ended");
}

/* --- sold out, and more of it --- */

/* A wave of users who get nothing; true when some of them were refused from memory. */
static bool wave(struct api_client *at, const char *campaign, const char *prefix)
{
    static unsigned number;
    static struct http_client *crowd[CROWD];
    int64_t before = api_metric(at, "coupon_early_refusals_total");
    for (size_t i = 0; i < CROWD; i++) {
        crowd[i] = http_client_create(prefix);
        api_issue_begin(at, crowd[i], campaign, textf("crowd-%u", number++), api_fresh_key());
    }
    for (size_t i = 0; i < CROWD; i++) {
        struct http_answer answer;
        assert_int_equal(http_client_read(crowd[i], WAIT_MS, &answer), HTTP_ANSWERED);
        api_expect(answer, 409, "sold-out");
        http_client_destroy(crowd[i]);
    }
    return api_metric(at, "coupon_early_refusals_total") > before;
}

/* Another service refuses a crowd from memory while this one enlarges the campaign: once anybody got one of
 * the new coupons, nobody is told any more that there are none, whichever service is asked. */
static void who_comes_after_the_first_new_coupon_gets_one(void **)
{
    enum { ROUNDS = 4, ADDED = 3 };
    struct instance *other = INSTANCE_START(stack, "command-service", "other", 7);
    struct api_client there;
    char id[80], body[64], user[64];
    instance_open_api(other, &there);
    snprintf(id, sizeof id, "%s", api_campaign(&api, 1, ""));
    api_give(&api, id, "first");
    for (int round = 1; round <= ROUNDS; round++) {
        WAIT_UNTIL(wave(&there, id, instance_url(other)), WAIT_MS);
        snprintf(body, sizeof body, "{\"quantity\":%d}", 1 + ADDED * round);
        struct http_answer answer = api_expect(patch(id, body), 200, NULL);
        struct json_doc *doc = json_get_doc(answer.body);
        expect_text(doc, "status", "sold_out");
        assert_true(json_get_text(doc, "reopens_at").len > 0);
        json_destroy(doc);
        for (int i = 0; i < ADDED; i++) {
            struct api_client *at = i % 2 ? &there : &api;
            snprintf(user, sizeof user, "user-%d-%d", round, i);
            if (i == 0)
                WAIT_UNTIL((answer = api_issue(at, id, user), answer.status == 201), WAIT_MS);
            else
                api_give(at, id, user);
        }
    }
    assert_int_equal(
        store_numberf(
            stack,
            "SELECT count(*) FROM event c JOIN event i ON i.campaign_id = c.campaign_id AND i.type = 6 "
            "AND i.position > c.position AND i.recorded_at < c.recorded_at + interval '1 s' "
            "WHERE c.type = 19 AND c.campaign_id = '%s'",
            id),
        0);
    assert_int_equal(store_numberf(stack, "SELECT issued FROM campaign WHERE id = '%s'", id),
                     1 + ADDED * ROUNDS);
    api_close(&there);
    instance_destroy(other);
    projector_assert_verify_clean(stack);
}

static int start(void **state)
{
    setenv("FIRSTCOME_REQUEST_DEADLINE_MS", "4000", 1); /* nobody is refused for the machine being busy */
    setenv("FIRSTCOME_PUBLIC_URL", "https://coupons.example", 1);
    stack = api_setup(state, &api, STACK_ALL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_creation_says_where_the_campaign_is),
        cmocka_unit_test(nobody_overwrites_what_was_not_read),
        cmocka_unit_test(a_change_is_read_everywhere_and_the_past_is_as_it_was),
        cmocka_unit_test(what_was_promised_is_kept),
        cmocka_unit_test(who_comes_after_the_first_new_coupon_gets_one),
    };
    return cmocka_run_group_tests(tests, start, api_teardown);
}
