/* SPDX-License-Identifier: Apache-2.0 */
/* Issues that are accepted and answered later ("Prefer: respond-async"): a 202 never means issued, who asks
 * later is told what a retry would be told, and a crash is told honestly. The test makes queues by holding
 * the lock of a slice; one command is a batch, so that whoever comes while one waits waits behind it. */
#include "tests/lib/wait.h"

#include "tests/lib/api.h"
#include "tests/lib/instance.h"
#include "tests/lib/store.h"

enum { FILLERS = 3, BOUND_MS = 120000 };

static struct stack *stack;
static struct api_client api;
static struct pg *holder; /* of all slices */

/* --- calls --- */

static const char *const prefer[] = {"Prefer: respond-async", NULL};

static struct http_answer issue(const char *campaign, const char *user, const char *key,
                                const char *const *headers)
{
    char path[128], body[256];
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", campaign);
    snprintf(body, sizeof body, "{\"user_id\":\"%s\"}", user);
    return API_ASK(api.command, .method = "POST", .path = path, .token = stack_env(stack, "ISSUE_TOKEN"),
                   .key = key, .headers = headers, .body = body, .timeout_ms = BOUND_MS);
}

static struct http_answer ask_with(const char *token, const char *path)
{
    return API_ASK(api.command, .path = path, .token = stack_env(stack, token));
}

/* What GET of a location says now of its one use: "in-flight" or "done"; "none" where it knows of none. */
static const char *state_for(const char *token, const char *location)
{
    static char state[16];
    struct http_answer answer = api_expect(ask_with(token, location), 200, NULL);
    size_t uses = body_length(answer.body, "items");
    struct span text = uses ? body_text(answer.body, "items.0.state") : SPAN("none");
    assert_true(uses <= 1);
    snprintf(state, sizeof state, "%.*s", SPAN_ARG(text));
    return state;
}

static const char *state_of(const char *location)
{
    return state_for("ISSUE_TOKEN", location);
}

static bool is_state(const char *location, const char *state)
{
    return strcmp(state_of(location), state) == 0;
}

/* Requests that wait in front, each on a connection of its own. */
struct queue {
    struct http_client *clients[FILLERS];
};

static void expect_later(struct http_client *client, int status)
{
    api_expect(api_post_end(client), status, NULL);
    http_client_destroy(client);
}

/* Requests that are being worked on, without the one that asks. */
static bool in_flight(size_t count)
{
    return api_metric(&api, "coupon_http_in_flight") >= 1 + (int64_t)count;
}

static struct queue fill(const char *campaign)
{
    struct queue queue;
    char path[128];
    holder = store_hold(stack, "SELECT 1 FROM slice ORDER BY slice FOR UPDATE");
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", campaign);
    for (int i = 0; i < FILLERS; i++) {
        queue.clients[i] = api_post_begin(&api, path, textf("{\"user_id\":\"filler-%d\"}", i),
                                          textf("filler-%s-%d", campaign, i), NULL);
    }
    WAIT_UNTIL(in_flight(FILLERS), BOUND_MS);
    return queue;
}

/* Lets the queue go on; each filler gets its coupon. */
static void drain(struct queue *queue)
{
    store_let_go(holder);
    for (int i = 0; i < FILLERS; i++)
        expect_later(queue->clients[i], 201);
}

static struct span header(const struct http_answer *answer, const char *name)
{
    return http_answer_header(answer, name);
}

/* Issues to `user` and expects 202; writes the location. */
static void accept(const char *campaign, const char *user, const char *key, char location[1024])
{
    struct http_answer answer = api_expect(issue(campaign, user, key, prefer), 202, NULL);
    assert_true(span_is(header(&answer, "Preference-Applied"), "respond-async"));
    assert_null(header(&answer, "Consistency-Token").ptr); /* nothing was promised */
    assert_true(span_is(body_text(answer.body, "status"), "pending"));
    snprintf(location, 1024, "%.*s", SPAN_ARG(header(&answer, "Location")));
}

static int64_t coupons_of(const char *campaign, const char *user)
{
    return store_numberf(
        stack, "SELECT count(*) FROM event WHERE type = 6 AND campaign_id = '%s' AND user_id = '%s'",
        campaign, user);
}

/* GET says what a retry of the POST gives, byte for byte. */
static void expect_as_a_retry(const char *location, const char *campaign, const char *user, const char *key)
{
    char wrapped[4096], expected[4096];
    struct http_answer answer = ask_with("ISSUE_TOKEN", location);
    snprintf(wrapped, sizeof wrapped, "%.*s", SPAN_ARG(answer.body));
    answer = api_expect(issue(campaign, user, key, NULL), 201, NULL);
    assert_true(span_is(header(&answer, "Idempotency-Replayed"), "true"));
    snprintf(expected, sizeof expected,
             "{\"items\":[{\"operation\":\"issue\",\"target\":\"%s\",\"state\":\"done\",\"status\":201,"
             "\"answer\":%.*s}]}",
             campaign, SPAN_ARG(answer.body));
    assert_string_equal(wrapped, expected);
}

static void new_campaign(char id[64], int quantity, const char *more)
{
    snprintf(id, 64, "%s", api_campaign(&api, quantity, more));
}

/* --- tests --- */

static void accepted_then_done(void **)
{
    char id[64], other[64], location[1024];
    new_campaign(other, 10, "");
    new_campaign(id, 10, "");
    const char *key = "accepted-1";
    struct queue queue = fill(id);
    accept(id, "ann", key, location);
    assert_string_equal(location, textf("/v1/requests/%s", key));
    assert_true(is_state(location, "in-flight"));
    assert_int_equal(coupons_of(id, "ann"), 0); /* a 202 never means issued */
    api_expect(issue(id, "ann", key, prefer), 409, "in-flight");
    api_expect(issue(id, "bob", key, prefer), 422, "idempotency-key-reused");
    /* The connection is used for another path: what was accepted must not depend on it any more. */
    api_expect(issue(other, "bob", "", prefer), 400, NULL);
    drain(&queue);
    WAIT_UNTIL(is_state(location, "done"), BOUND_MS);
    assert_int_equal(coupons_of(id, "ann"), 1);
    assert_int_equal(coupons_of(other, "ann"), 0);
    expect_as_a_retry(location, id, "ann", key);
    assert_string_equal(state_for("ADMIN_TOKEN", location), "none"); /* of another API key's requests */
}

static void never_without_the_preference(void **)
{
    static const char *const without[] = {"Prefer: respond-sync", "Prefer: wait=10, x-respond-async",
                                          "Prefer: respond-async2; respond-async=1",
                                          "Prefer: foo=\"a, respond-async\"", "Prefer: respond-async=1"};
    char id[64], path[128], key[64], body[64];
    struct http_client *clients[COUNT_OF(without)];
    new_campaign(id, 10, "");
    struct queue queue = fill(id);
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", id);
    for (size_t i = 0; i < COUNT_OF(without); i++) {
        snprintf(key, sizeof key, "sync-%zu", i);
        snprintf(body, sizeof body, "{\"user_id\":\"sync-%zu\"}", i);
        clients[i] = api_post_begin(&api, path, body, key, (const char *const[]){without[i], NULL});
    }
    struct http_client *no_issue =
        api_post_begin(&api, textf("/v1/campaigns/%s/resume", id), "{}", "sync-resume", prefer);
    WAIT_UNTIL(in_flight(FILLERS + COUNT_OF(without) + 1), BOUND_MS);
    drain(&queue);
    for (size_t i = 0; i < COUNT_OF(without); i++)
        expect_later(clients[i], 201);
    expect_later(no_issue, 200);
    api_expect(issue(id, "ann", "at-once", prefer), 201, NULL); /* nor where nobody waits */
}

/* RFC 7240: a list, in one line or several, names in any case, with parameters. */
static void the_preference_is_found_in_a_list(void **)
{
    static const char *const lists[][3] = {
        {"Prefer: wait=10, respond-async", NULL},
        {"Prefer: foo=\"a,b\", ,respond-async=\"\"", NULL},
        {"prefer: handling=lenient", "PREFER: Respond-Async", NULL},
        {"Prefer: \t respond-async ; x=1 , wait=3", NULL},
    };
    char id[64], location[COUNT_OF(lists)][64];
    new_campaign(id, 10, ",\"per_user_limit\":10");
    struct queue queue = fill(id);
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        struct http_answer answer = api_expect(issue(id, "ann", textf("list-%zu", i), lists[i]), 202, NULL);
        snprintf(location[i], sizeof location[i], "%.*s", SPAN_ARG(header(&answer, "Location")));
    }
    drain(&queue);
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        WAIT_UNTIL(is_state(location[i], "done"), BOUND_MS);
    assert_int_equal(coupons_of(id, "ann"), COUNT_OF(lists));
}

/* A refusal leaves nothing behind: the same key may be tried again, and is decided afresh. */
static void a_refusal_leaves_nothing(void **)
{
    char id[64], location[1024];
    new_campaign(id, FILLERS, "");
    struct queue queue = fill(id);
    accept(id, "late", "refused", location); /* the fillers take all there is */
    drain(&queue);
    WAIT_UNTIL(is_state(location, "none"), BOUND_MS);
    api_expect(issue(id, "late", "refused", NULL), 409, "sold-out");
    api_expect(issue(id, "filler-0", "another-key", NULL), 409, "already-issued");
}

/* Whatever a key may be made of comes back as one segment of the location's path. */
static void any_key_has_a_location(void **)
{
    static const char *const keys[] = {"a/b/../c", "50%25&x=1?y#z", "\"quoted\"", "\"\"twice\"\"",
                                       "~!@$^*()_+{}|[];':,.<>`=\\-"};
    char id[64], location[COUNT_OF(keys)][1024], all[256], user[16];
    new_campaign(id, 10, "");
    memset(all, 'k', sizeof all - 1);
    all[sizeof all - 1] = '\0';
    struct queue queue = fill(id);
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        accept(id, textf("u%zu", i), keys[i], location[i]);
    char longest[1024];
    accept(id, "longest", all, longest);
    drain(&queue);
    WAIT_UNTIL(is_state(longest, "done"), BOUND_MS);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        snprintf(user, sizeof user, "u%zu", i);
        if (!is_state(location[i], "done"))
            fail_msg("%s at %s: %s", keys[i], location[i], state_of(location[i]));
        expect_as_a_retry(location[i], id, user, keys[i]);
    }
}

/* After a crash, "in-flight" would be a promise that nobody keeps. */
static void a_crash_is_told_honestly(void **)
{
    char id[64], lost[1024], done[1024];
    new_campaign(id, 20, "");
    struct queue queue = fill(id);
    accept(id, "done", "before-the-crash", done);
    drain(&queue);
    WAIT_UNTIL(is_state(done, "done"), BOUND_MS);
    char other[64];
    new_campaign(other, 20, "");
    queue = fill(other);
    accept(other, "lost", "lost-in-the-crash", lost);
    stack_service(stack, "command-service", "kill");
    for (int i = 0; i < FILLERS; i++)
        http_client_destroy(queue.clients[i]);
    store_let_go(holder);
    stack_service(stack, "command-service", "start");
    http_client_close(api.command);
    assert_true(is_state(done, "done")); /* its row says so */
    expect_as_a_retry(done, id, "done", "before-the-crash");
    assert_true(is_state(lost, "none"));
    assert_int_equal(coupons_of(other, "lost"), 0);
    struct http_answer answer = api_expect(issue(other, "lost", "lost-in-the-crash", prefer), 201, NULL);
    assert_null(header(&answer, "Idempotency-Replayed").ptr);
    assert_true(is_state(lost, "done"));
    expect_as_a_retry(lost, other, "lost", "lost-in-the-crash");
    assert_int_equal(coupons_of(other, "lost"), 1);
}

/* answer: absent where only a retry can put it together. */
static void expect_done(const char *key, const char *operation, const char *target, int status,
                        struct span answer_expected)
{
    char location[64];
    struct buf expected;
    snprintf(location, sizeof location, "/v1/requests/%s", key);
    buf_init(&expected, 64 * 1024);
    buf_printf(&expected,
               "{\"items\":[{\"operation\":\"%s\",\"target\":%s%s%s,\"state\":\"done\",\"status\":%d",
               operation, target ? "\"" : "", target ? target : "null", target ? "\"" : "", status);
    if (answer_expected.len)
        buf_printf(&expected, ",\"answer\":%.*s", SPAN_ARG(answer_expected));
    buf_append_text(&expected, "}]}");
    struct http_answer answer = api_expect(ask_with("ADMIN_TOKEN", location), 200, NULL);
    if (!span_equal(answer.body, buf_span(&expected)))
        fail_msg("%s: %.*s, not %s", key, SPAN_ARG(answer.body), expected.data);
    buf_deinit(&expected);
}

/* GET tells of every request that had a key, whatever it was, what a retry would be told. */
static void every_kind_of_request_can_be_asked_for(void **)
{
    char id[64], path[192];
    struct buf kept;
    static const struct {
        const char *verb, *key, *body, *operation;
        bool whole; /* of the others only a retry can put the answer together */
    } calls[] = {
        {"/pause", "kind-pause", "{}", "pause", true},
        {"/resume", "kind-resume", "{}", "resume", true},
        {"/coupons", "kind-issue", "{\"user_id\":\"ann\"}", "issue", true},
        {"/coupons/batch", "kind-batch", "{\"user_ids\":[\"bob\",\"ann\",\"cyd\"]}", "issue many", false},
        {"/close", "kind-close", "{}", "close", true},
    };
    new_campaign(id, 20, "");
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        struct http_answer answer =
            api_post(&api, textf("/v1/campaigns/%s%s", id, calls[i].verb), calls[i].body, calls[i].key);
        assert_true(answer.status == 200 || answer.status == 201);
        int status = answer.status;
        buf_init(&kept, 64 * 1024);
        buf_append_span(&kept, answer.body);
        expect_done(calls[i].key, calls[i].operation, id, status,
                    calls[i].whole ? buf_span(&kept) : SPAN(""));
        buf_deinit(&kept);
    }
    struct http_answer answer = api_expect(
        api_post(&api, "/v1/campaigns/void", "{\"created_before\":\"2020-01-01T00:00:00Z\"}", "kind-void"),
        200, NULL);
    buf_init(&kept, 1024);
    buf_append_span(&kept, answer.body);
    expect_done("kind-void", "void", NULL, 200, buf_span(&kept)); /* its sixteen parts are one use */
    buf_deinit(&kept);
    snprintf(id, sizeof id, "%s", api_campaign(&api, 1, ""));
    snprintf(path, sizeof path, "/v1/campaigns/%s", id);
    api_expect(API_ASK(api.command, .method = "DELETE", .path = path,
                       .token = stack_env(stack, "ADMIN_TOKEN"), .key = "kind-delete"),
               204, NULL);
    expect_done("kind-delete", "delete", id, 204, SPAN(""));
}

/* A key may be used for different things, each of which is told; and by whom it was taken does not matter. */
static void all_uses_of_a_key_are_told(void **)
{
    char ids[2][64];
    struct api_client there;
    struct instance *other = INSTANCE_START(stack, "command-service", "other", 7);
    instance_open_api(other, &there);
    for (size_t i = 0; i < 2; i++) {
        new_campaign(ids[i], 20, "");
        api_expect(api_post(i ? &there : &api, textf("/v1/campaigns/%s/coupons", ids[i]),
                            "{\"user_id\":\"ann\"}", "used-often"),
                   201, NULL);
    }
    api_expect(api_post(&there, textf("/v1/campaigns/%s/pause", ids[0]), "{}", "used-often"), 200, NULL);
    struct http_answer answer = api_expect(ask_with("ADMIN_TOKEN", "/v1/requests/used-often"), 200, NULL);
    assert_int_equal(body_length(answer.body, "items"), 3);
    assert_true(span_is(body_text(answer.body, "items.0.target"), ids[0]));
    assert_true(span_is(body_text(answer.body, "items.1.target"), ids[1]));
    assert_true(span_is(body_text(answer.body, "items.2.operation"), "pause"));
    assert_true(span_is(body_text(answer.body, "items.2.answer.status"), "paused"));
    api_close(&there);
    instance_destroy(other);
}

static void the_largest_answer_can_be_asked_for(void **)
{
    struct buf body, kept;
    buf_init(&body, 64 * 1024);
    buf_init(&kept, 64 * 1024);
    buf_append_text(&body, "{\"id\":\"largest\",\"name\":\"");
    for (int i = 0; i < 100; i++)
        buf_append_text(&body, "\\\"");
    buf_append_text(&body, "\",\"discount\":{\"type\":\"percent\",\"percent\":10},\"currency\":\"KRW\","
                           "\"quantity\":100000000,\"released\":1,\"release_plan\":[");
    for (int i = 0; i < 100; i++)
        buf_printf(&body, "%s{\"at\":\"2099-01-01T00:00:%02d.%06dZ\",\"quantity\":999999}", i ? "," : "",
                   i / 2, i % 2 + 1);
    buf_append_text(&body, "],\"tags\":[");
    for (int i = 0; i < 16; i++)
        buf_printf(&body, "%s\"%02d%s\"", i ? "," : "", i, "-as-long-as-a-tag-may-be-herex");
    buf_append_text(&body, "]}");
    struct http_answer answer =
        api_expect(api_post(&api, "/v1/campaigns", body.data, "kind-largest"), 201, NULL);
    buf_append_span(&kept, answer.body);
    expect_done("kind-largest", "create", "largest", 201, buf_span(&kept));
    buf_deinit(&body);
    buf_deinit(&kept);
}

static void asking_needs_a_scope_and_a_key(void **)
{
    struct http_answer answer = ask_with("READ_TOKEN", "/v1/requests/k");
    assert_int_equal(answer.status, 403);
    answer = API_ASK(api.command, .path = "/v1/requests/k");
    assert_int_equal(answer.status, 401);
    api_expect(ask_with("ISSUE_TOKEN", "/v1/requests/with%20space"), 400, "idempotency-key-invalid");
    assert_true(is_state("/v1/requests/never-heard-of", "none"));
}

static int start(void **state)
{
    setenv("FIRSTCOME_ISSUE_SLA_MS", "0", 1);
    setenv("FIRSTCOME_BATCH_MAX", "1", 1);
    setenv("FIRSTCOME_HTTP_THREADS", "1", 1); /* what was sent first is read first */
    setenv("FIRSTCOME_REQUEST_DEADLINE_MS", "60000", 1);
    setenv("FIRSTCOME_ACCEPTED_DEADLINE_MS", "60000", 1);
    stack = api_setup(state, &api, STACK_COMMAND);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_then_done),
        cmocka_unit_test(never_without_the_preference),
        cmocka_unit_test(the_preference_is_found_in_a_list),
        cmocka_unit_test(a_refusal_leaves_nothing),
        cmocka_unit_test(any_key_has_a_location),
        cmocka_unit_test(a_crash_is_told_honestly),
        cmocka_unit_test(every_kind_of_request_can_be_asked_for),
        cmocka_unit_test(all_uses_of_a_key_are_told),
        cmocka_unit_test(the_largest_answer_can_be_asked_for),
        cmocka_unit_test(asking_needs_a_scope_and_a_key),
    };
    return cmocka_run_group_tests(tests, start, api_teardown);
}
