/* SPDX-License-Identifier: Apache-2.0 */
/* The coupons of an order: whatever it reserved or redeemed, of whatever campaign, and what became of it. */
#include "tests/lib/wait.h"

#include "common/base/clock.h"
#include "events/catalog.h"
#include "tests/lib/cluster.h"
#include "tests/lib/json_get.h"
#include "tests/lib/pace.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum { PATH_BYTES = 1024, COUPONS = 6, ITEMS_MAX = 16, ANSWERED_MS = 20000 };

static struct stack *stack;
static struct api_client api;
static char coupons[COUPONS][40]; /* of as many campaigns, so of several slices */

static void use(const char *coupon, const char *how, const char *order)
{
    char path[PATH_BYTES], body[PATH_BYTES];
    bool takes = strcmp(how, "reserve") == 0 || strcmp(how, "redeem") == 0;
    snprintf(path, sizeof path, "/v1/coupons/%s/%s", coupon, how);
    if (takes)
        snprintf(body, sizeof body, "{\"order_id\":\"%s\",\"user_id\":\"kim\",\"order_amount\":9000%s}",
                 order, strcmp(how, "reserve") == 0 ? ",\"ttl_seconds\":600" : "");
    else
        snprintf(body, sizeof body, "{\"order_id\":\"%s\"}", order);
    api_expect(api_post(&api, path, body, NULL), 200, NULL);
}

/* A coupon of a campaign of its own. */
static void give(char ret[40])
{
    snprintf(ret, 40, "%s", api_coupon(&api, api_campaign(&api, 5, ""), "kim"));
}

static int start(void **state)
{
    setenv("FIRSTCOME_REQUEST_DEADLINE_MS", "10000", 0); /* in every build, because of ANSWERED_MS */
    setenv("FIRSTCOME_STORE_TIMEOUT_MS", "10000", 0);
    stack = api_setup(state, &api, STACK_ALL);
    for (size_t i = 0; i < COUPONS; i++)
        give(coupons[i]);
    for (int i = 0; i < 3; i++) /* is one coupon all the same */
        use(coupons[0], "reserve", "o-1");
    use(coupons[0], "redeem", "o-1");
    use(coupons[1], "redeem", "o-1");
    use(coupons[1], "restore", "o-1");
    use(coupons[2], "reserve", "o-1");
    use(coupons[2], "release", "o-1");
    use(coupons[3], "reserve", "o-1");
    use(coupons[4], "redeem", "o-1");
    use(coupons[4], "restore", "o-1");
    use(coupons[4], "redeem", "o-2");
    use(coupons[5], "redeem", "o-2");
    return 0;
}

static struct json_doc *ask(const char *path, const char *token_name, int status, const char *code)
{
    struct http_answer answer =
        api_expect(API_ASK(api.query, .path = path, .token = stack_env(stack, token_name)), status, code);
    return json_get_doc(answer.body);
}

/* The item of the coupon, which must be on the page once. */
static size_t find(const struct json_doc *doc, const char *coupon)
{
    size_t at = SIZE_MAX;
    for (size_t i = 0; i < json_get_length(doc, "items"); i++) {
        char path[64];
        snprintf(path, sizeof path, "items.%zu.coupon_id", i);
        if (!span_is(json_get_text(doc, path), coupon))
            continue;
        assert_true(at == SIZE_MAX);
        at = i;
    }
    assert_true(at != SIZE_MAX);
    return at;
}

static void expect(const struct json_doc *doc, const char *coupon, const char *status, const char *order)
{
    char path[64];
    size_t at = find(doc, coupon);
    assert_true(span_is(json_get_text(doc, textf("items.%zu.status", at)), status));
    assert_true(json_get_text(doc, textf("items.%zu.code", at)).len >= 29);
    snprintf(path, sizeof path, "items.%zu.order_id", at);
    if (order)
        assert_true(span_is(json_get_text(doc, path), order));
    else
        assert_true(!json_get_has(doc, path) || json_as_null(json_get(doc, path)));
}

static void each_coupon_is_told_once_as_it_is_now(void **)
{
    struct json_doc *doc = ask("/v1/orders/o-1/coupons", "READ_TOKEN", 200, NULL);
    assert_int_equal(json_get_length(doc, "items"), 5);
    expect(doc, coupons[0], "redeemed", "o-1");
    expect(doc, coupons[1], "issued", NULL);
    expect(doc, coupons[2], "issued", NULL);
    expect(doc, coupons[3], "reserved", "o-1");
    expect(doc, coupons[4], "redeemed", "o-2"); /* another order has it by now */
    assert_true(json_as_null(json_get(doc, "next")));
    json_destroy(doc);
    doc = ask("/v1/orders/o-2/coupons", "ADMIN_TOKEN", 200, NULL);
    assert_int_equal(json_get_length(doc, "items"), 2);
    expect(doc, coupons[5], "redeemed", "o-2");
    json_destroy(doc);
    doc = ask("/v1/orders/o-/coupons", "READ_TOKEN", 200, NULL);
    assert_int_equal(json_get_length(doc, "items"), 0);
    json_destroy(doc);
}

/* Pages of every size hold the same coupons, each once, in the same order. */
static void pages_make_the_list(void **)
{
    char whole[ITEMS_MAX][40];
    struct json_doc *doc = ask("/v1/orders/o-1/coupons?limit=100", "READ_TOKEN", 200, NULL);
    for (size_t i = 0; i < json_get_length(doc, "items"); i++) {
        char at[64];
        snprintf(at, sizeof at, "items.%zu.coupon_id", i);
        snprintf(whole[i], sizeof whole[i], "%.*s", SPAN_ARG(json_get_text(doc, at)));
    }
    json_destroy(doc);
    for (int limit = 1; limit <= 5; limit++) {
        char path[PATH_BYTES];
        size_t seen = 0;
        snprintf(path, sizeof path, "/v1/orders/o-1/coupons?limit=%d", limit);
        for (bool more = true; more;) {
            doc = ask(path, "READ_TOKEN", 200, NULL);
            assert_true(json_get_length(doc, "items") <= (size_t)limit);
            for (size_t i = 0; i < json_get_length(doc, "items"); i++) {
                assert_true(span_is(json_get_text(doc, textf("items.%zu.coupon_id", i)), whole[seen++]));
            }
            more = !json_as_null(json_get(doc, "next"));
            if (more)
                snprintf(path, sizeof path, "/v1/orders/o-1/coupons?limit=%d&cursor=%.*s", limit,
                         SPAN_ARG(json_get_text(doc, "next")));
            json_destroy(doc);
        }
        assert_int_equal(seen, 5);
    }
}

/* The index reads the order out of the event's bytes, in which a text of 32 bytes is written in another way
 * than one of 31. */
static void an_order_may_have_any_id(void **)
{
    static const struct {
        const char *id, *path;
    } orders[] = {
        {"q", "q"},
        {"1234567890123456789012345678901", "1234567890123456789012345678901"},
        {"12345678901234567890123456789012", "12345678901234567890123456789012"},
        {"\xed\x95\x9c/#1?", "%ED%95%9C%2F%231%3F"},
        {"123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
         "01234"
         "567890123456789012345678",
         "123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
         "01234"
         "567890123456789012345678"},
    };
    for (size_t i = 0; i < COUNT_OF(orders); i++) {
        char coupon[40];
        give(coupon);
        use(coupon, i % 2 ? "redeem" : "reserve", orders[i].id);
        struct json_doc *doc = ask(textf("/v1/orders/%s/coupons", orders[i].path), "READ_TOKEN", 200, NULL);
        assert_int_equal(json_get_length(doc, "items"), 1);
        expect(doc, coupon, i % 2 ? "redeemed" : "reserved", orders[i].id);
        json_destroy(doc);
    }
}

static void bad_input_is_refused_where_it_is(void **)
{
    char path[PATH_BYTES], long_id[ORDER_ID_MAX + 2];
    memset(long_id, 'x', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = '\0';
    snprintf(path, sizeof path, "/v1/orders/%s/coupons", long_id);
    json_destroy(ask(path, "READ_TOKEN", 400, "invalid-order-id"));
    static const struct {
        const char *path, *code;
    } bad[] = {
        {"/v1/orders/a%01b/coupons", "invalid-order-id"},
        {"/v1/orders/%ff/coupons", "invalid-order-id"},
        {"/v1/orders/o-1/coupons?limit=0", "invalid-parameter"},
        {"/v1/orders/o-1/coupons?limit=101", "invalid-parameter"},
        {"/v1/orders/o-1/coupons?status=issued", "invalid-parameter"},
        {"/v1/orders/o-1/coupons?cursor=AQ", "invalid-cursor"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        json_destroy(ask(bad[i].path, "READ_TOKEN", 400, bad[i].code));
    struct json_doc *doc = ask("/v1/orders/o-1/coupons?limit=1", "READ_TOKEN", 200, NULL);
    snprintf(path, sizeof path, "/v1/orders/o-2/coupons?cursor=%.*s", SPAN_ARG(json_get_text(doc, "next")));
    json_destroy(doc);
    json_destroy(ask(path, "READ_TOKEN", 400, "invalid-cursor")); /* of another order's list */
    json_destroy(ask("/v1/orders/o-1/coupons", "ISSUE_TOKEN", 403, "forbidden"));
    json_destroy(ask("/v1/orders/o-1/coupons", "REDEEM_TOKEN", 403, "forbidden"));
    api_expect(api_get(&api, "/v1/orders/o-1/coupons", "v1.3"), 400, "invalid-token");
}

/* What was answered to the order's own shop is in the answer to whoever sends its token back (I9). */
static void tokens_are_honoured(void **)
{
    char coupon[40];
    give(coupon);
    use(coupon, "redeem", "o-3");
    struct http_answer answer = api_expect(reads_get(&api, "/v1/orders/o-3/coupons"), 200, NULL);
    assert_int_equal(body_length(answer.body, "items"), 1);
    api_expect(api_get(&api, "/v1/orders/o-3/coupons", "v1.3.999999999999"), 503, "store-unavailable");
}

static int64_t index_scans(void)
{
    return store_number(stack,
                        "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'event_s03_order'");
}

/* Among the redemptions of as many other orders, by the index of its slice. */
static void it_is_found_by_the_index(void **)
{
    store_tamper(stack, "INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id,"
                        " recorded_at, data) SELECT 3, 1000000 + n, 11, 1, 'x', 'x', 'c3-' || n, now(),"
                        " '\\x8101a6'::bytea || convert_to(lpad(n::text, 6, '0'), 'UTF8')"
                        " FROM generate_series(1, 20000) AS n");
    store_tamper(stack, "ANALYZE event_s03");
    int64_t before = index_scans();
    assert_int_equal(
        store_number(stack, "SELECT count(*) FROM event WHERE order_of(data) = '000007' AND type = 11"), 1);
    WAIT_UNTIL(reads_get(&api, "/v1/orders/o-1/coupons").status == 200 && index_scans() > before + 1, 60000);
}

/* The same bound as its neighbours have, and nobody else waits for it. */
static void a_frozen_database_is_not_waited_for(void **)
{
    struct http_call call = {.path = "/v1/orders/o-1/coupons", .token = stack_env(stack, "READ_TOKEN")};
    struct http_answer answer;
    cluster_signal_all(stack, SIGSTOP);
    int64_t before_us = clock_mono_us();
    enum http_outcome answered = http_client_call(api.query, &call, &answer);
    int64_t took_us = clock_mono_us() - before_us;
    cluster_signal_all(stack, SIGCONT);
    assert_int_equal(answered, HTTP_ANSWERED);
    api_expect(answer, 503, "store-unavailable");
    assert_true(took_us < ANSWERED_MS * US_PER_MS);
    WAIT_UNTIL(http_client_call(api.query, &call, &answer) == HTTP_ANSWERED && answer.status == 200, 60000);
}

/* Nobody asks the history anything else meanwhile: what closes its breaker again is a question about an
 * order. */
static void it_is_asked_again_after_an_outage(void **)
{
    enum { FAILURES = 6 }; /* more than open a breaker */
    struct http_call call = {.path = "/v1/orders/o-1/coupons", .token = stack_env(stack, "READ_TOKEN")};
    struct http_answer answer;
    stack_signal(stack, "postgresql", SIGQUIT);
    WAIT_UNTIL(stack_pid(stack, "postgresql") == 0, 60000);
    for (int i = 0; i < FAILURES; i++)
        answer = api_expect(api_ask(api.query, &call), 503, "store-unavailable");
    stack_restart_servers(stack);
    WAIT_UNTIL(http_client_call(api.query, &call, &answer) == HTTP_ANSWERED && answer.status == 200, 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_coupon_is_told_once_as_it_is_now),
        cmocka_unit_test(pages_make_the_list),
        cmocka_unit_test(an_order_may_have_any_id),
        cmocka_unit_test(bad_input_is_refused_where_it_is),
        cmocka_unit_test(tokens_are_honoured),
        cmocka_unit_test(it_is_found_by_the_index),
        cmocka_unit_test(a_frozen_database_is_not_waited_for),
        cmocka_unit_test(it_is_asked_again_after_an_outage),
    };
    return cmocka_run_group_tests(tests, start, api_teardown);
}
