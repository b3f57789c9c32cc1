/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/events on a whole stack: every event once and in order whatever the page size, news for who waits,
 * filters, what is not in it, and that who waits costs the other reads nothing. */
#include "tests/lib/wait.h"

#include "common/base/mem.h"
#include "events/ids.h"
#include "tests/lib/cluster.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum { COUPONS = 330, WAITING = 300, LONG_MS = 120000 };

static struct stack *stack;
static struct api_client api;
static char campaign[64];
static int slice;

static int setup(void **state)
{
    setenv("FIRSTCOME_FOLLOWERS_MAX", "300", 1);
    setenv("FIRSTCOME_STORE_TIMEOUT_MS", "10000", 0); /* in every build: 300 followers wait for it */
    stack = api_setup(state, &api, STACK_ALL);
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 1000, ",\"code_prefix\":\"FEED\""));
    slice = slice_of(span_of(campaign));
    for (int i = 1; i <= COUPONS; i++)
        api_give(&api, campaign, textf("fan-%d", i));
    return 0;
}

static struct json_doc *events(const char *more)
{
    struct http_answer answer =
        api_expect(api_get(&api, textf("/v1/events?slice=%d%s", slice, more), NULL), 200, NULL);
    return json_get_doc(answer.body);
}

static int64_t head(void)
{
    return store_numberf(stack, "SELECT head FROM slice WHERE slice = %d", slice);
}

/* --- walking --- */

static void walk(int limit)
{
    int64_t after = 0, position = 0, last = head();
    while (after < last) {
        struct json_doc *doc = events(textf("&after=%lld&limit=%d", (long long)after, limit));
        size_t count = json_get_length(doc, "items");
        assert_in_range(count, 1, limit);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(json_get_int(doc, textf("items.%zu.position", i)), ++position);
        after = json_get_int(doc, "next");
        assert_int_equal(after, position);
        json_destroy(doc);
    }
    assert_int_equal(position, last);
}

static void every_event_comes_once_and_in_order(void **)
{
    assert_true(head() >= COUPONS + 1);
    walk(1000);
    walk(100);
    walk(7);
}

/* Where the log is and which, so that a follower can tell a restored log from its own. */
static void the_head_and_the_log_are_told(void **)
{
    char log[64];
    struct json_doc *doc = events("&limit=1");
    assert_int_equal(json_get_int(doc, "head"), head());
    snprintf(log, sizeof log, "%.*s", SPAN_ARG(json_get_text(doc, "log")));
    json_destroy(doc);
    assert_true(strlen(log) > 8);
    doc = events("&after=3&limit=1");
    assert_true(span_is(json_get_text(doc, "log"), log));
    json_destroy(doc);
    struct http_answer answer =
        api_expect(api_get(&api, textf("/v1/events?slice=%d&after=900000&wait=20", slice), NULL), 409,
                   "beyond-head"); /* at once, whatever the wait */
    doc = json_get_doc(answer.body);
    assert_int_equal(json_get_int(doc, "head"), head());
    assert_true(span_is(json_get_text(doc, "log"), log));
    json_destroy(doc);
    char more[64];
    snprintf(more, sizeof more, "&after=%lld", (long long)head());
    doc = events(more); /* the head itself is not beyond */
    assert_int_equal(json_get_length(doc, "items"), 0);
    json_destroy(doc);
}

static void an_event_says_what_happened(void **)
{
    struct json_doc *doc = events("&limit=2");
    assert_true(span_is(json_get_text(doc, "items.0.type"), "CampaignCreated"));
    assert_true(span_is(json_get_text(doc, "items.0.campaign_id"), campaign));
    assert_int_equal(json_get_int(doc, "items.0.data.quantity"), 1000);
    assert_true(span_is(json_get_text(doc, "items.1.type"), "CouponIssued"));
    assert_true(span_is(json_get_text(doc, "items.1.user_id"), "fan-1"));
    assert_int_equal(json_get_int(doc, "items.1.data.sequence"), 1);
    json_destroy(doc);
}

/* Neither the code of a coupon nor the key it was asked for with. */
static void secrets_are_not_in_it(void **)
{
    api_expect(api_post(&api, "/v1/campaigns",
                        "{\"id\":\"secret-keeper\",\"name\":\"s\",\"discount\":{\"type\":\"fixed\","
                        "\"amount\":1},\"currency\":\"KRW\",\"quantity\":5}",
                        "my-own-idempotency-key"),
               201, NULL);
    struct http_answer answer = api_expect(api_issue(&api, "secret-keeper", "someone"), 201, NULL);
    char code[64];
    snprintf(code, sizeof code, "%.*s", SPAN_ARG(body_text(answer.body, "code")));
    answer = api_expect(api_get(&api,
                                textf("/v1/events?slice=%d&campaign=secret-keeper&limit=1000",
                                      slice_of(SPAN("secret-keeper"))),
                                NULL),
                        200, NULL);
    assert_non_null(memmem(answer.body.ptr, answer.body.len, "someone", 7));
    assert_null(memmem(answer.body.ptr, answer.body.len, code, strlen(code)));
    assert_null(memmem(answer.body.ptr, answer.body.len, "my-own-idempotency-key", 22));
}

static void filters_leave_out_and_go_on(void **)
{
    char more[128];
    struct json_doc *doc = events("&type=CampaignCreated&limit=1");
    assert_int_equal(json_get_length(doc, "items"), 1);
    int64_t next = json_get_int(doc, "next");
    json_destroy(doc);
    snprintf(more, sizeof more, "&type=CampaignPaused&after=%lld", (long long)next);
    doc = events(more);
    assert_int_equal(json_get_length(doc, "items"), 0);
    assert_int_equal(json_get_int(doc, "next"), head()); /* looked at, and nothing of the kind */
    json_destroy(doc);
    snprintf(more, sizeof more, "&campaign=%s&type=CouponIssued&limit=1000", campaign);
    doc = events(more);
    assert_int_equal(json_get_length(doc, "items"), COUPONS);
    json_destroy(doc);
}

static void what_makes_no_sense_is_refused(void **)
{
    static const char *const queries[] = {
        "",
        "slice=16",
        "slice=-1",
        "slice=1&after=-1",
        "slice=1&limit=0",
        "slice=x",
        "slice=1&wait=21",
        "slice=1&limit=1001",
        "slice=1&type=Unheard",
        "slice=1&campaign=Up",
        "slice=1&x=1",
        "slice=1&slice=1",
        "slice=1&after=",
    };
    for (size_t i = 0; i < COUNT_OF(queries); i++) {
        char path[128];
        snprintf(path, sizeof path, "/v1/events?%s", queries[i]);
        struct http_answer answer = api_get(&api, path, NULL);
        if (answer.status != 400)
            fail_msg("%s: %d", path, answer.status);
    }
    char path[128];
    snprintf(path, sizeof path, "/v1/events?slice=%d&campaign=%s", (slice + 1) % SLICE_COUNT, campaign);
    api_expect(api_get(&api, path, NULL), 400, "invalid-parameter");
    struct http_call call = {.path = "/v1/events?slice=1"};
    api_expect(api_ask(api.query, &call), 401, "unauthenticated");
    call.token = stack_env(stack, "ISSUE_TOKEN");
    api_expect(api_ask(api.query, &call), 403, "forbidden");
}

static struct http_answer control_events(const char *token, int64_t after, const char *filter)
{
    char path[128];
    snprintf(path, sizeof path, "/v1/events?slice=%d&after=%lld%s", CONTROL_SLICE, (long long)after, filter);
    return api_expect(API_ASK(api.query, .path = path, .token = stack_env(stack, token)), 200, NULL);
}

/* Who may only read sees that something is there, and no gap. */
static void what_settings_say_is_for_administrators(void **)
{
    static const char *const filters[] = {"", "&type=IssuerSuspended"};
    char bare[256];
    int64_t before = store_number(stack, "SELECT head FROM slice WHERE slice = 0");
    struct http_answer answer =
        api_expect(api_post(&api, "/v1/issuers/issue/suspend", "{}", NULL), 200, NULL);
    snprintf(bare, sizeof bare,
             "{\"items\":[{\"slice\":0,\"position\":%lld,\"type\":\"IssuerSuspended\",\"type_id\":%d,"
             "\"version\":1}],\"next\":%lld,\"head\":%lld,",
             (long long)before + 1, EVENT_IssuerSuspended, (long long)before + 1, (long long)before + 1);
    for (size_t i = 0; i < COUNT_OF(filters); i++) {
        answer = control_events("ADMIN_TOKEN", before, filters[i]);
        assert_int_equal(body_length(answer.body, "items"), 1);
        assert_int_equal(body_int(answer.body, "items.0.position"), before + 1);
        assert_true(span_is(body_text(answer.body, "items.0.data.issuer"), "issue"));
        answer = control_events("READ_TOKEN", before, filters[i]);
        assert_true(span_starts(answer.body, span_of(bare)));
    }
}

/* --- waiting --- */

struct waiters {
    struct http_client *clients[WAITING];
};

/* Asks for what comes after the head, and does not read the answer. */
static void begin_waiting(struct waiters *waiters, size_t count, const char *more, int64_t after)
{
    char request[512];
    snprintf(request, sizeof request,
             "GET /v1/events?slice=%d&after=%lld&wait=20%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
             "%s\r\n\r\n",
             slice, (long long)after, more, stack_env(stack, "READ_TOKEN"));
    for (size_t i = 0; i < count; i++) {
        waiters->clients[i] = http_client_create(stack_env(stack, "QUERY_URL"));
        assert_int_equal(http_client_send(waiters->clients[i], span_of(request), LONG_MS), HTTP_ANSWERED);
    }
}

static int64_t followers(void)
{
    struct http_answer answer = api_get(&api, "/v1/status", NULL);
    return body_int(answer.body, "followers.is");
}

static void issue_one(const char *user)
{
    api_give(&api, campaign, user);
}

/* As many as may wait do; one more is refused; the reads of others go on; then news comes, for all of them.
 */
static void many_wait_and_cost_nothing(void **)
{
    static struct waiters waiters;
    int64_t before = head();
    begin_waiting(&waiters, WAITING, "", before);
    WAIT_UNTIL(followers() == WAITING, LONG_MS);
    api_expect(api_get(&api, textf("/v1/events?slice=%d&after=%lld&wait=20", slice, (long long)before), NULL),
               503, "overloaded");
    struct http_answer answer = api_expect(reads_get(&api, "/v1/campaigns?limit=1"), 200, NULL);
    int64_t backends = store_number(
        stack, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'firstcome query'");
    assert_in_range(backends, 1, 7); /* four for reads, two for dear ones, one for the feed */
    issue_one("for-all");
    for (size_t i = 0; i < WAITING; i++) {
        assert_int_equal(http_client_read(waiters.clients[i], LONG_MS, &answer), HTTP_ANSWERED);
        api_expect(answer, 200, NULL);
        assert_int_equal(body_length(answer.body, "items"), 1);
        assert_int_equal(body_int(answer.body, "items.0.position"), before + 1);
        assert_int_equal(body_int(answer.body, "next"), before + 1);
        http_client_destroy(waiters.clients[i]);
    }
    WAIT_UNTIL(followers() == 0, LONG_MS);
}

/* Only what is asked for ends the wait. */
static void a_filter_waits_for_its_own(void **)
{
    static struct waiters waiters;
    int64_t before = head();
    begin_waiting(&waiters, 1, "&type=CampaignPaused", before);
    WAIT_UNTIL(followers() == 1, LONG_MS);
    issue_one("not-asked-for");
    struct http_answer answer =
        api_expect(api_post(&api, textf("/v1/campaigns/%s/pause", campaign), "{}", NULL), 200, NULL);
    assert_int_equal(http_client_read(waiters.clients[0], LONG_MS, &answer), HTTP_ANSWERED);
    api_expect(answer, 200, NULL);
    assert_int_equal(body_length(answer.body, "items"), 1);
    assert_true(span_is(body_text(answer.body, "items.0.type"), "CampaignPaused"));
    assert_int_equal(body_int(answer.body, "items.0.position"), before + 2);
    http_client_destroy(waiters.clients[0]);
}

static void a_wait_ends(void **)
{
    int64_t last = head();
    struct json_doc *doc = events(textf("&after=%lld&wait=1", (long long)last));
    assert_int_equal(json_get_length(doc, "items"), 0);
    assert_int_equal(json_get_int(doc, "next"), last);
    json_destroy(doc);
}

/* The event after `position` comes; where the wait was over before it, who waits asks again from the same
 * place. */
static void await_event(struct waiters *waiters, int64_t position, struct http_answer *answer)
{
    bool come = false;
    while (!come) {
        assert_int_equal(http_client_read(waiters->clients[0], LONG_MS, answer), HTTP_ANSWERED);
        struct json_doc *doc = json_get_doc(answer->body);
        if (answer->status == 503)
            assert_string_equal(api_problem(answer), "store-unavailable");
        else
            come = json_get_length(doc, "items") > 0;
        if (come)
            assert_int_equal(json_get_int(doc, "items.0.position"), position + 1);
        json_destroy(doc);
        http_client_destroy(waiters->clients[0]);
        if (!come)
            begin_waiting(waiters, 1, "", position);
    }
}

/* PostgreSQL stands still: who asks is told so; who waits goes on waiting, and gets what comes. */
static void postgres_may_go_and_come_back(void **)
{
    static struct waiters waiters;
    int64_t before = head();
    begin_waiting(&waiters, 1, "", before);
    WAIT_UNTIL(followers() == 1, LONG_MS);
    stack_signal(stack, "postgresql", SIGQUIT);
    char path[128];
    struct http_answer answer;
    snprintf(path, sizeof path, "/v1/events?slice=%d", slice);
    WAIT_UNTIL((answer = api_get(&api, path, NULL), answer.status == 503), LONG_MS);
    api_expect(answer, 503, "store-unavailable");
    assert_true(http_answer_header(&answer, "Retry-After").ptr != NULL);
    stack_restart_servers(stack);
    WAIT_UNTIL((answer = api_get(&api, path, NULL), answer.status == 200), LONG_MS);
    snprintf(path, sizeof path, "/v1/campaigns/%s/resume", campaign);
    WAIT_UNTIL((answer = api_post(&api, path, "{}", NULL), answer.status == 200), LONG_MS);
    await_event(&waiters, before, &answer);
}

/* Who follows, each from another position, while PostgreSQL is there and does not answer: everybody is told
 * so in about the time of one exchange, not of one each; and the service can be stopped meanwhile. */
static void a_frozen_store_is_asked_once_for_all(void **)
{
    static struct waiters waiters;
    struct http_answer answer;
    assert_true(head() > WAITING);
    cluster_signal_all(stack, SIGSTOP); /* the postmaster first, so that nobody connects meanwhile */
    int64_t start_us = clock_mono_us();
    for (int i = 0; i < WAITING - 1; i++) {
        char request[512];
        snprintf(request, sizeof request,
                 "GET /v1/events?slice=%d&after=%d&wait=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                 "%s\r\n\r\n",
                 slice, i, stack_env(stack, "READ_TOKEN"));
        waiters.clients[i] = http_client_create(stack_env(stack, "QUERY_URL"));
        assert_int_equal(http_client_send(waiters.clients[i], span_of(request), LONG_MS), HTTP_ANSWERED);
    }
    for (int i = 0; i < WAITING - 1; i++) {
        assert_int_equal(http_client_read(waiters.clients[i], LONG_MS, &answer), HTTP_ANSWERED);
        api_expect(answer, 503, "store-unavailable");
        http_client_destroy(waiters.clients[i]);
    }
    assert_true(clock_mono_us() - start_us < LONG_MS * US_PER_MS); /* one by one it would be minutes */
    begin_waiting(&waiters, 3, "", 1);
    WAIT_UNTIL(followers() == 3, LONG_MS);
    stack_service(stack, "query-service", "stop");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(http_client_read(waiters.clients[i], LONG_MS, &answer), HTTP_ANSWERED);
        http_client_destroy(waiters.clients[i]);
    }
    cluster_signal_all(stack, SIGCONT);
    stack_service(stack, "query-service", "start");
}

/* The service ends: who waits is answered, not cut off. */
static void a_stop_answers_who_waits(void **)
{
    static struct waiters waiters;
    struct http_answer answer;
    int64_t last = head();
    begin_waiting(&waiters, 3, "", last);
    WAIT_UNTIL(followers() == 3, LONG_MS);
    stack_service(stack, "query-service", "stop");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(http_client_read(waiters.clients[i], LONG_MS, &answer), HTTP_ANSWERED);
        api_expect(answer, 200, NULL);
        assert_int_equal(body_int(answer.body, "next"), last);
        http_client_destroy(waiters.clients[i]);
    }
    stack_service(stack, "query-service", "start");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_comes_once_and_in_order),
        cmocka_unit_test(the_head_and_the_log_are_told),
        cmocka_unit_test(an_event_says_what_happened),
        cmocka_unit_test(secrets_are_not_in_it),
        cmocka_unit_test(filters_leave_out_and_go_on),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(what_settings_say_is_for_administrators),
        cmocka_unit_test(many_wait_and_cost_nothing),
        cmocka_unit_test(a_filter_waits_for_its_own),
        cmocka_unit_test(a_wait_ends),
        cmocka_unit_test(postgres_may_go_and_come_back),
        cmocka_unit_test(a_frozen_store_is_asked_once_for_all),
        cmocka_unit_test(a_stop_answers_who_waits),
    };
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
