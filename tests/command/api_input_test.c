/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile and mistaken input to the write API: every row gets its own problem document and changes nothing in
 * the log. */
#include "tests/lib/wait.h"

#include "common/base/mem.h"
#include "events/catalog.h"
#include "tests/lib/api.h"
#include "tests/lib/store.h"

static struct stack *stack;
static struct api_client api;

#define CREATE_WITH(rest) \
    "{\"name\":\"n\",\"discount\":{\"type\":\"percent\",\"percent\":10},\"currency\":\"KRW\"," rest "}"
#define MORE(rest)         CREATE_WITH("\"quantity\":5," rest)
#define DISCOUNT(discount) "{\"name\":\"n\",\"currency\":\"KRW\",\"quantity\":5,\"discount\":" discount "}"

#define CREATE     "/v1/campaigns"
#define NOBODY     "/v1/campaigns/nobody"
#define COUPON     "/v1/coupons/c0-999999"
#define COUPON_USE "\"user_id\":\"ann\",\"order_id\":\"o1\",\"order_amount\":1"

struct row {
    const char *path, *body;
    int status;
    const char *code, *field; /* field NULL: not looked at */
};

static const struct row bodies[] = {
    {CREATE, "", 400, "malformed-json", NULL},
    {CREATE, "{", 400, "malformed-json", NULL},
    {CREATE, "{} x", 400, "malformed-json", NULL},
    {CREATE, "{\"name\":\"a\",\"name\":\"b\"}", 400, "malformed-json", NULL},
    {CREATE, "{\"name\":\"\xff\"}", 400, "malformed-json", NULL},
    {CREATE, "[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]", 400, "malformed-json", NULL},
    {CREATE, "[]", 400, "wrong-type", NULL},
    {CREATE, "null", 400, NULL, NULL},
    {CREATE, "{}", 400, "missing-field", NULL},
    {CREATE, MORE("\"surprise\":1"), 400, "unknown-field", "surprise"},
    {CREATE, CREATE_WITH("\"quantity\":\"5\""), 400, "wrong-type", "quantity"},
    {CREATE, CREATE_WITH("\"quantity\":5.0"), 400, "wrong-type", "quantity"},
    {CREATE, CREATE_WITH("\"quantity\":true"), 400, "wrong-type", "quantity"},
    {CREATE, CREATE_WITH("\"quantity\":0"), 400, "out-of-range", "quantity"},
    {CREATE, CREATE_WITH("\"quantity\":-1"), 400, "out-of-range", "quantity"},
    {CREATE, CREATE_WITH("\"quantity\":100000001"), 400, "out-of-range", "quantity"},
    {CREATE, CREATE_WITH("\"quantity\":99999999999999999999999"), 400, "out-of-range", NULL},
    {CREATE, MORE("\"released\":6"), 400, "invalid-quantity", "released"},
    {CREATE, MORE("\"released\":-1"), 400, "out-of-range", "released"},
    {CREATE, MORE("\"per_user_limit\":0"), 400, "out-of-range", "per_user_limit"},
    {CREATE, MORE("\"per_user_limit\":101"), 400, "out-of-range", "per_user_limit"},
    {CREATE, MORE("\"id\":\"Upper\""), 400, "invalid-id", "id"},
    {CREATE, MORE("\"id\":\"\""), 400, "invalid-id", "id"},
    {CREATE, MORE("\"id\":\"-a\""), 400, "invalid-id", "id"},
    {CREATE, MORE("\"id\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""), 400,
     "invalid-id", "id"},
    {CREATE, MORE("\"starts_at\":\"2030-01-02T00:00:00Z\",\"ends_at\":\"2030-01-01T00:00:00Z\""), 400,
     "invalid-window", "ends_at"},
    {CREATE, MORE("\"starts_at\":\"2030-01-02T00:00:00Z\",\"ends_at\":\"2030-01-02T00:00:00Z\""), 400,
     "invalid-window", "ends_at"},
    {CREATE, MORE("\"starts_at\":\"2030-02-30T00:00:00Z\""), 400, "invalid-value", "starts_at"},
    {CREATE, MORE("\"starts_at\":\"tomorrow\""), 400, "invalid-value", "starts_at"},
    {CREATE, MORE("\"starts_at\":1893456000"), 400, "wrong-type", "starts_at"},
    {CREATE, MORE("\"coupon_valid_days\":3,\"coupon_expires_at\":\"2030-01-02T00:00:00Z\""), 400,
     "invalid-window", "coupon_expires_at"},
    {CREATE, MORE("\"coupon_valid_days\":0"), 400, "out-of-range", "coupon_valid_days"},
    {CREATE, MORE("\"tags\":[\"a\",\"a\"]"), 400, "invalid-value", "tags"},
    {CREATE, MORE("\"tags\":[\"A\\nb\"]"), 400, "invalid-value", "tags"},
    {CREATE, MORE("\"tags\":[1]"), 400, "wrong-type", "tags[0]"},
    {CREATE, MORE("\"tags\":\"a\""), 400, "wrong-type", "tags"},
    {CREATE, MORE("\"code_prefix\":\"low\""), 400, "invalid-value", "code_prefix"},
    {CREATE, MORE("\"code_prefix\":\"ABCDEFGHIJKLM\""), 400, "invalid-value", "code_prefix"},
    {CREATE, MORE("\"min_order_amount\":-1"), 400, "out-of-range", "min_order_amount"},
    {CREATE, MORE("\"release_plan\":[{\"at\":\"2030-01-01T00:00:00Z\",\"quantity\":6}]"), 400,
     "invalid-quantity", "release_plan"},
    {CREATE,
     MORE("\"release_plan\":[{\"at\":\"2030-01-01T00:00:00Z\",\"quantity\":1},"
          "{\"at\":\"2030-01-01T00:00:00Z\",\"quantity\":1}]"),
     400, "invalid-window", "release_plan[1]"},
    {CREATE, MORE("\"release_plan\":[{\"quantity\":6}]"), 400, "missing-field", "release_plan[0].at"},
    {CREATE, "{\"name\":\"\",\"quantity\":5}", 400, "out-of-range", "name"},
    {CREATE,
     "{\"name\":\"a\\u0007b\",\"discount\":{\"type\":\"fixed\",\"amount\":1},\"currency\":\"KRW\","
     "\"quantity\":1}",
     400, "invalid-value", "name"},
    {CREATE, "{\"name\":\"a\\u0000b\",\"quantity\":1}", 400, "malformed-json", NULL},
    {CREATE, DISCOUNT("{\"type\":\"percent\",\"percent\":0}"), 400, "out-of-range", "discount.percent"},
    {CREATE, DISCOUNT("{\"type\":\"percent\",\"percent\":101}"), 400, "out-of-range", "discount.percent"},
    {CREATE, DISCOUNT("{\"type\":\"percent\",\"percent\":\"10\"}"), 400, "wrong-type", "discount.percent"},
    {CREATE, DISCOUNT("{\"type\":\"percent\",\"amount\":10}"), 400, "unknown-field", "discount.amount"},
    {CREATE, DISCOUNT("{\"type\":\"fixed\"}"), 400, "missing-field", "discount.amount"},
    {CREATE, DISCOUNT("{\"type\":\"fixed\",\"amount\":0}"), 400, "out-of-range", "discount.amount"},
    {CREATE, DISCOUNT("{\"type\":\"free\"}"), 400, "invalid-discount", "discount.type"},
    {CREATE, DISCOUNT("{\"type\":1}"), 400, "wrong-type", "discount.type"},
    {CREATE, DISCOUNT("{}"), 400, "missing-field", "discount.type"},
    {CREATE, DISCOUNT("10"), 400, "wrong-type", "discount"},
    {NOBODY "/coupons", "{\"user_id\":\"u\"}", 404, "unknown-campaign", NULL},
    {NOBODY "/coupons", "{}", 400, "missing-field", "user_id"},
    {NOBODY "/coupons", "{\"user_id\":7}", 400, "wrong-type", "user_id"},
    {NOBODY "/coupons", "{\"user_id\":null}", 400, "missing-field", "user_id"},
    {NOBODY "/coupons", "{\"user_id\":\"\"}", 400, "invalid-user-id", "user_id"},
    {NOBODY "/coupons", "{\"user_id\":\"a\\nb\"}", 400, "invalid-user-id", "user_id"},
    {NOBODY "/coupons", "{\"user_id\":\"a\\u0085b\"}", 400, "invalid-user-id", "user_id"},
    {NOBODY "/coupons", "{\"user_id\":\"u\",\"admin\":true}", 400, "unknown-field", "admin"},
    {"/v1/campaigns/Bad_Id/coupons", "{\"user_id\":\"u\"}", 400, "invalid-id", "id"},
    {"/v1/campaigns/a%2Fb/coupons", "{\"user_id\":\"u\"}", 400, "invalid-id", "id"},
    {"/v1/campaigns/a%00b/coupons", "{\"user_id\":\"u\"}", 400, NULL, NULL},
    {NOBODY "/pause", "{}", 404, "unknown-campaign", NULL},
    {NOBODY "/pause", "{\"why\":1}", 400, "unknown-field", "why"},
    {NOBODY "/resume", "", 404, "unknown-campaign", NULL},
    {NOBODY "/close", NULL, 404, "unknown-campaign", NULL},
    {NOBODY "/release", "{\"quantity\":1}", 404, "unknown-campaign", NULL},
    {NOBODY "/release", "{\"quantity\":0}", 400, "out-of-range", "quantity"},
    {NOBODY "/release", "{}", 400, "missing-field", "quantity"},
    {NOBODY "/coupons/batch", "{\"user_ids\":[\"u\"]}", 404, "unknown-campaign", NULL},
    {NOBODY "/coupons/batch", "{\"user_ids\":[]}", 400, "out-of-range", "user_ids"},
    {NOBODY "/coupons/batch", "{\"user_ids\":\"u\"}", 400, "wrong-type", "user_ids"},
    {NOBODY "/coupons/batch", "{\"user_ids\":[\"u\",7]}", 400, "wrong-type", "user_ids[1]"},
    {NOBODY "/coupons/batch", "{\"user_ids\":[\"u\",\"\"]}", 400, "invalid-user-id", "user_ids"},
    {NOBODY "/coupons/batch", "{}", 400, "missing-field", "user_ids"},
    {COUPON "/redeem", "", 400, "malformed-json", NULL},
    {COUPON "/redeem", "{" COUPON_USE, 400, "malformed-json", NULL},
    {COUPON "/redeem", "[]", 400, "wrong-type", NULL},
    {COUPON "/redeem", "{" COUPON_USE ",\"order_id\":\"o2\"}", 400, "malformed-json", NULL},
    {COUPON "/redeem", "{" COUPON_USE ",\"ttl_seconds\":5}", 400, "unknown-field", "ttl_seconds"},
    {COUPON "/redeem", "{\"order_id\":\"o1\",\"order_amount\":1}", 400, "missing-field", "user_id"},
    {COUPON "/redeem", "{\"user_id\":\"ann\",\"order_amount\":1}", 400, "missing-field", "order_id"},
    {COUPON "/redeem", "{\"user_id\":\"ann\",\"order_id\":\"o1\"}", 400, "missing-field", "order_amount"},
    {COUPON "/redeem", "{\"user_id\":7,\"order_id\":\"o1\",\"order_amount\":1}", 400, "wrong-type",
     "user_id"},
    {COUPON "/redeem", "{\"user_id\":\"ann\",\"order_id\":7,\"order_amount\":1}", 400, "wrong-type",
     "order_id"},
    {COUPON "/redeem", "{\"user_id\":\"ann\",\"order_id\":\"o1\",\"order_amount\":\"1\"}", 400, "wrong-type",
     "order_amount"},
    {COUPON "/redeem", "{\"user_id\":\"ann\",\"order_id\":\"o1\",\"order_amount\":1.5}", 400, "wrong-type",
     "order_amount"},
    {COUPON "/redeem", "{\"user_id\":\"ann\",\"order_id\":\"o1\",\"order_amount\":-1}", 400, "out-of-range",
     "order_amount"},
    {COUPON "/redeem", "{\"user_id\":\"ann\",\"order_id\":\"o1\",\"order_amount\":1000000000001}", 400,
     "out-of-range", "order_amount"},
    {COUPON "/redeem", "{\"user_id\":\"\",\"order_id\":\"o1\",\"order_amount\":1}", 400, "invalid-user-id",
     "user_id"},
    {COUPON "/redeem", "{\"user_id\":\"ann\",\"order_id\":\"\",\"order_amount\":1}", 400, "invalid-order-id",
     "order_id"},
    {COUPON "/redeem", "{\"user_id\":\"ann\",\"order_id\":\"a\\u0001\",\"order_amount\":1}", 400,
     "invalid-order-id", "order_id"},
    {COUPON "/reserve", "{" COUPON_USE "}", 400, "missing-field", "ttl_seconds"},
    {COUPON "/reserve", "{" COUPON_USE ",\"ttl_seconds\":0}", 400, "out-of-range", "ttl_seconds"},
    {COUPON "/reserve", "{" COUPON_USE ",\"ttl_seconds\":604801}", 400, "out-of-range", "ttl_seconds"},
    {COUPON "/reserve", "{" COUPON_USE ",\"ttl_seconds\":null}", 400, "missing-field", "ttl_seconds"},
    {COUPON "/reserve",
     "{" COUPON_USE ",\"ttl_seconds\":1"
     ",\"why\":1}",
     400, "unknown-field", "why"},
    {COUPON "/release", "{}", 400, "missing-field", "order_id"},
    {COUPON "/release", "{\"order_id\":\"\"}", 400, "invalid-order-id", "order_id"},
    {COUPON "/release", "{\"order_id\":\"o1\",\"user_id\":\"ann\"}", 400, "unknown-field", "user_id"},
    {COUPON "/restore", "", 400, "malformed-json", NULL},
    {COUPON "/restore", "{\"order_id\":[]}", 400, "wrong-type", "order_id"},
    {COUPON "/revoke", "{}", 400, "missing-field", "reason"},
    {COUPON "/revoke", "{\"reason\":\"\"}", 400, "out-of-range", "reason"},
    {COUPON "/revoke", "{\"reason\":\"a\\nb\"}", 400, "invalid-value", "reason"},
    {COUPON "/reserve", "{" COUPON_USE ",\"ttl_seconds\":1}", 404, "unknown-coupon", NULL},
    {COUPON "/redeem", "{" COUPON_USE "}", 404, "unknown-coupon", NULL},
    {COUPON "/release", "{\"order_id\":\"o1\"}", 404, "unknown-coupon", NULL},
    {COUPON "/restore", "{\"order_id\":\"o1\"}", 404, "unknown-coupon", NULL},
    {COUPON "/revoke", "{\"reason\":\"r\"}", 404, "unknown-coupon", NULL},
    {"/v1/campaigns/void", "{}", 400, "missing-field", "created_by"},
    {"/v1/campaigns/void", "{\"dry_run\":false}", 400, "missing-field", "created_by"},
    {"/v1/campaigns/void", "{\"dry_run\":1}", 400, "wrong-type", "dry_run"},
    {"/v1/campaigns/void", "{\"created_by\":\"\"}", 400, "out-of-range", "created_by"},
    {"/v1/campaigns/void", "{\"created_before\":\"yesterday\"}", 400, NULL, "created_before"},
    {"/v1/campaigns/void", "{\"created_after\":7}", 400, "wrong-type", "created_after"},
    {"/v1/campaigns/void", "{\"before\":1,\"dry_run\":true}", 400, "unknown-field", "before"},
    {"/v1/nothing/here", "{}", 404, "unknown-route", NULL},
    {"/v1/campaigns/", "{}", 404, "unknown-route", NULL},
    {"/", "{}", 404, "unknown-route", NULL},
};

/* Sum of all heads: any event anywhere changes it. */
static int64_t log_size(void)
{
    return store_number(stack, "SELECT sum(head)::bigint FROM slice");
}

static void expect_row(const struct row *row, const struct http_answer *answer)
{
    if (answer->status != row->status || (row->code && strcmp(api_problem(answer), row->code) != 0))
        fail_msg("POST %s %s: expected %d %s, got %d %.*s", row->path, row->body ? row->body : "",
                 row->status, row->code ? row->code : "", answer->status, SPAN_ARG(answer->body));
    assert_true(api_problem(answer)[0] != '\0');
    if (!row->field)
        return;
    struct span field = body_text(answer->body, "field");
    if (!span_is(field, row->field))
        fail_msg("POST %s %s: expected field %s, got %.*s", row->path, row->body, row->field,
                 SPAN_ARG(field));
}

static void bad_bodies_are_named(void **)
{
    int64_t before = log_size();
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct http_answer answer = api_post(&api, bodies[i].path, bodies[i].body, NULL);
        expect_row(&bodies[i], &answer);
    }
    assert_int_equal(log_size(), before);
}

/* At the limit and one above it. */
static void texts_of_coupon_calls_are_bounded(void **)
{
    char text[REASON_MAX + 2];
    for (size_t above = 0; above <= 1; above++) {
        memset(text, 'o', sizeof text);
        text[ORDER_ID_MAX + above] = '\0';
        api_expect(
            api_post(&api, "/v1/coupons/c0-999999/release", textf("{\"order_id\":\"%s\"}", text), NULL),
            above ? 400 : 404, above ? "invalid-order-id" : "unknown-coupon");
        memset(text, 'r', sizeof text);
        text[REASON_MAX + above] = '\0';
        api_expect(api_post(&api, "/v1/coupons/c0-999999/revoke", textf("{\"reason\":\"%s\"}", text), NULL),
                   above ? 400 : 404, above ? "out-of-range" : "unknown-coupon");
    }
}

static struct http_answer post_with(const char *token, const char *key, const char *path, const char *body)
{
    return API_ASK(api.command, .method = "POST", .path = path, .token = token, .key = key, .body = body);
}

static void keys_and_scopes_are_checked(void **)
{
    static const struct {
        const char *path, *token; /* token: name in the env file, "" for none, other for itself */
        int status;
        const char *code;
    } rows[] = {
        {"/v1/campaigns", "", 401, "unauthenticated"},
        {"/v1/campaigns", "fc_wrong", 401, "unauthenticated"},
        {"/v1/campaigns", "ISSUE_TOKEN", 403, "forbidden"},
        {"/v1/campaigns", "REDEEM_TOKEN", 403, "forbidden"},
        {"/v1/campaigns", "READ_TOKEN", 403, "forbidden"},
        {"/v1/campaigns/x/coupons", "READ_TOKEN", 403, "forbidden"},
        {"/v1/campaigns/x/coupons", "REDEEM_TOKEN", 403, "forbidden"},
        {"/v1/campaigns/x/coupons", "ISSUE_TOKEN", 404, "unknown-campaign"},
        {"/v1/campaigns/x/coupons/batch", "READ_TOKEN", 403, "forbidden"},
        {"/v1/campaigns/x/pause", "ISSUE_TOKEN", 403, "forbidden"},
        {"/v1/campaigns/x/resume", "ISSUE_TOKEN", 403, "forbidden"},
        {"/v1/campaigns/x/close", "ISSUE_TOKEN", 403, "forbidden"},
        {"/v1/campaigns/x/release", "ISSUE_TOKEN", 403, "forbidden"},
        {"/v1/coupons/c0-9/reserve", "READ_TOKEN", 403, "forbidden"},
        {"/v1/coupons/c0-9/reserve", "ISSUE_TOKEN", 403, "forbidden"},
        {"/v1/coupons/c0-9/reserve", "REDEEM_TOKEN", 400, "missing-field"},
        {"/v1/coupons/c0-9/reserve", "", 401, "unauthenticated"},
        {"/v1/coupons/c0-9/redeem", "READ_TOKEN", 403, "forbidden"},
        {"/v1/coupons/c0-9/redeem", "ISSUE_TOKEN", 403, "forbidden"},
        {"/v1/coupons/c0-9/redeem", "REDEEM_TOKEN", 400, "missing-field"},
        {"/v1/coupons/c0-9/redeem", "", 401, "unauthenticated"},
        {"/v1/coupons/c0-9/release", "READ_TOKEN", 403, "forbidden"},
        {"/v1/coupons/c0-9/release", "ISSUE_TOKEN", 403, "forbidden"},
        {"/v1/coupons/c0-9/release", "REDEEM_TOKEN", 400, "unknown-field"},
        {"/v1/coupons/c0-9/release", "", 401, "unauthenticated"},
        {"/v1/coupons/c0-9/restore", "READ_TOKEN", 403, "forbidden"},
        {"/v1/coupons/c0-9/restore", "ISSUE_TOKEN", 403, "forbidden"},
        {"/v1/coupons/c0-9/restore", "REDEEM_TOKEN", 400, "unknown-field"},
        {"/v1/coupons/c0-9/restore", "", 401, "unauthenticated"},
        {"/v1/coupons/c0-9/revoke", "READ_TOKEN", 403, "forbidden"},
        {"/v1/coupons/c0-9/revoke", "ISSUE_TOKEN", 403, "forbidden"},
        {"/v1/coupons/c0-9/revoke", "", 401, "unauthenticated"},
        {"/v1/coupons/c0-9/revoke", "REDEEM_TOKEN", 403, "forbidden"},
        {"/v1/coupons/c0-9/revoke", "ADMIN_TOKEN", 400, "unknown-field"},
        {"/v1/campaigns/void", "READ_TOKEN", 403, "forbidden"},
        {"/v1/campaigns/void", "ISSUE_TOKEN", 403, "forbidden"},
        {"/v1/campaigns/void", "REDEEM_TOKEN", 403, "forbidden"},
    };
    int64_t before = log_size();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *token = rows[i].token;
        if (strstr(token, "_TOKEN"))
            token = stack_env(stack, token);
        struct http_answer answer =
            api_expect(post_with(*token ? token : NULL, api_fresh_key(), rows[i].path, "{\"user_id\":\"u\"}"),
                       rows[i].status, rows[i].code);
        if (rows[i].status == 401)
            assert_true(span_starts(http_answer_header(&answer, "WWW-Authenticate"), SPAN("Bearer")));
    }
    assert_int_equal(log_size(), before);
}

static void idempotency_keys_are_checked(void **)
{
    const char *admin = stack_env(stack, "ADMIN_TOKEN");
    char long_key[258];
    memset(long_key, 'k', sizeof long_key);
    long_key[256] = '\0';
    api_expect(post_with(admin, NULL, "/v1/campaigns/x/pause", "{}"), 400, "idempotency-key-missing");
    api_expect(post_with(admin, long_key, "/v1/campaigns/x/pause", "{}"), 400, "idempotency-key-invalid");
    long_key[255] = '\0';
    api_expect(post_with(admin, long_key, "/v1/campaigns/x/pause", "{}"), 404, "unknown-campaign");
    api_expect(post_with(admin, "a b", "/v1/campaigns/x/pause", "{}"), 400, "idempotency-key-invalid");
    api_expect(post_with(admin, "\"\"", "/v1/campaigns/x/pause", "{}"), 400, "idempotency-key-invalid");
}

/* Two keys in one request: which of them would have had the effect? */
static void two_idempotency_keys_are_refused(void **)
{
    static const char *const second[] = {"Idempotency-Key: b", NULL};
    api_expect(API_ASK(api.command, .method = "POST", .path = "/v1/campaigns/x/pause",
                       .token = stack_env(stack, "ADMIN_TOKEN"), .key = "a", .headers = second, .body = "{}"),
               400, "idempotency-key-invalid");
}

static void wrong_methods_name_the_right_ones(void **)
{
    static const char *const methods[] = {"GET", "PUT", "DELETE", "PATCH"};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        struct http_answer answer =
            api_expect(API_ASK(api.command, .method = methods[i], .path = "/v1/campaigns/x/pause",
                               .token = stack_env(stack, "ADMIN_TOKEN")),
                       405, "method-not-allowed");
        assert_true(span_is(http_answer_header(&answer, "Allow"), "POST, OPTIONS"));
    }
}

static void methods_of_nobody_are_not_implemented(void **)
{
    static const char *const paths[] = {"/v1/campaigns/x/pause", "/nowhere"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        api_expect(API_ASK(api.command, .method = "BREW", .path = paths[i],
                           .token = stack_env(stack, "ADMIN_TOKEN")),
                   501, "not-implemented");
    }
}

/* A body of exactly `limit` bytes is read, one more is not. */
static void expect_limit(const char *path, const char *json, size_t limit)
{
    char *body = mem_alloc(limit + 2);
    memset(body, ' ', limit + 1);
    memcpy(body, json, strlen(json));
    body[limit] = '\0';
    api_expect(api_post(&api, path, body, NULL), 404, "unknown-campaign");
    body[limit] = ' ';
    body[limit + 1] = '\0';
    api_expect(api_post(&api, path, body, NULL), 413, "body-too-large");
    mem_free(body);
}

static void large_bodies_are_refused_at_the_limit(void **)
{
    expect_limit("/v1/campaigns/x/coupons", "{\"user_id\":\"u\"}", 64 * 1024);
    expect_limit("/v1/campaigns/x/coupons/batch", "{\"user_ids\":[\"u\"]}", 2 * 1024 * 1024);
}

static void ambiguous_framing_is_refused_and_closed(void **)
{
    static const char *const framings[] = {
        "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 15\r\n",
        "Content-Length: 15\r\nContent-Length: 15\r\n",
        "Content-Length: 15\r\nContent-Length: 16\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    };
    int64_t before = log_size();
    for (size_t i = 0; i < COUNT_OF(framings); i++) {
        struct http_answer answer;
        struct buf bytes;
        buf_init(&bytes, 4096);
        buf_printf(&bytes,
                   "POST /v1/campaigns/x/coupons HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                   "Idempotency-Key: %s\r\n%s\r\n{\"user_id\":\"u\"}"
                   "POST /v1/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
                   stack_env(stack, "ADMIN_TOKEN"), api_fresh_key(), framings[i]);
        http_client_close(api.command);
        assert_int_equal(http_client_send(api.command, buf_span(&bytes), 60000), HTTP_ANSWERED);
        assert_int_equal(http_client_read(api.command, 60000, &answer), HTTP_ANSWERED);
        api_expect(answer, 400, "malformed-request");
        assert_true(
            http_client_await_close(api.command, 60000)); /* and nothing answered for what was smuggled */
        buf_deinit(&bytes);
    }
    http_client_close(api.command);
    assert_int_equal(log_size(), before);
}

static int setup(void **state)
{
    stack = api_setup(state, &api, STACK_ALL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_bodies_are_named),
        cmocka_unit_test(texts_of_coupon_calls_are_bounded),
        cmocka_unit_test(keys_and_scopes_are_checked),
        cmocka_unit_test(idempotency_keys_are_checked),
        cmocka_unit_test(two_idempotency_keys_are_refused),
        cmocka_unit_test(wrong_methods_name_the_right_ones),
        cmocka_unit_test(methods_of_nobody_are_not_implemented),
        cmocka_unit_test(large_bodies_are_refused_at_the_limit),
        cmocka_unit_test(ambiguous_framing_is_refused_and_closed),
    };
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
