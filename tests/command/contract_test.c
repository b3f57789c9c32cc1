/* SPDX-License-Identifier: Apache-2.0 */
/* Every operation of docs/openapi.yaml, taken through what any operation of its kind is refused for: bodies,
 * keys, ids, parameters, cursors, tokens, conditions. What only some operations know has a row of its own.
 * tools/contract-check compares what was asked and answered with the document, and says which of its cases
 * nobody met. */
#include "tests/lib/wait.h"

#include "common/base/mem.h"
#include "tests/lib/api.h"

enum { TEXT_BYTES = 512, BOUND_MS = 120000 };

static struct stack *stack;
static struct api_client api;

/* What a fresh campaign gave: {c} in a path is its id, {k} the id of ann's coupon. */
static char campaign[80], coupon[80];

static void fill(char ret[static TEXT_BYTES], const char *from, const char *more)
{
    struct buf out;
    buf_init(&out, TEXT_BYTES - 1);
    for (; *from; from++) {
        if (from[0] != '{') {
            buf_append_char(&out, *from);
            continue;
        }
        buf_append_text(&out, from[1] == 'c' ? campaign : coupon);
        from += 2;
    }
    buf_append_text(&out, more);
    snprintf(ret, TEXT_BYTES, "%.*s", SPAN_ARG(buf_span(&out)));
    buf_deinit(&out);
}

static void fresh(void)
{
    snprintf(campaign, sizeof campaign, "%s",
             api_campaign(&api, 5, ",\"released\":3,\"min_order_amount\":100"));
    snprintf(coupon, sizeof coupon, "%s", api_coupon(&api, campaign, "ann"));
}

/* --- writing --- */

static struct http_answer write_to(const char *method, const char *path, const char *body, const char *key)
{
    char at[TEXT_BYTES];
    fill(at, path, "");
    return API_ASK(api.command, .method = method, .path = at, .token = stack_env(stack, "ADMIN_TOKEN"),
                   .key = key, .body = body);
}

static void expect(const char *what, const struct http_answer *answer, int status, const char *code)
{
    if (answer->status != status || (code && strcmp(api_problem(answer), code) != 0))
        fail_msg("%s: expected %d %s, got %d %.*s", what, status, code ? code : "", answer->status,
                 SPAN_ARG(answer->body));
}

static void expect_write(const char *method, const char *path, const char *body, int status, const char *code)
{
    struct http_answer answer = write_to(method, path, body, api_fresh_key());
    expect(textf("%s %s %s", method, path, body ? body : ""), &answer, status, code);
}

enum { ID = 1, KEY = 2, REASON = 4, EMPTY_IS_TAKEN = 8 };

struct operation {
    const char *method, *path;
    const char *wrong_id;     /* the path with an id of no allowed form; with ID */
    const char *body, *other; /* two it takes */
    const char *fields;       /* what its body needs besides a reason, with a comma behind it */
    unsigned knows;
};

#define USE "\"user_id\":\"ann\",\"order_id\":\"o1\",\"order_amount\":"
static const struct operation operations[] = {
    {"POST", "/v1/campaigns", NULL,
     "{\"name\":\"n\",\"discount\":{\"type\":\"fixed\",\"amount\":1},\"currency\":\"KRW\",\"quantity\":1}",
     "{\"name\":\"o\",\"discount\":{\"type\":\"fixed\",\"amount\":1},\"currency\":\"KRW\",\"quantity\":1}",
     "", KEY},
    {"PATCH", "/v1/campaigns/{c}", "/v1/campaigns/No", "{\"quantity\":6}", "{\"quantity\":7}",
     "\"quantity\":6,", ID | KEY | REASON},
    {"POST", "/v1/campaigns/{c}/pause", "/v1/campaigns/No/pause", "{}", "{\"reason\":\"b\"}", "",
     ID | KEY | REASON | EMPTY_IS_TAKEN},
    {"POST", "/v1/campaigns/{c}/resume", "/v1/campaigns/No/resume", "{}", "{\"reason\":\"b\"}", "",
     ID | KEY | REASON | EMPTY_IS_TAKEN},
    {"POST", "/v1/campaigns/{c}/close", "/v1/campaigns/No/close", "{}", "{\"reason\":\"b\"}", "",
     ID | KEY | REASON | EMPTY_IS_TAKEN},
    {"POST", "/v1/campaigns/{c}/release", "/v1/campaigns/No/release", "{\"quantity\":1}",
     "{\"quantity\":1,\"reason\":\"b\"}", "\"quantity\":1,", ID | KEY | REASON},
    {"POST", "/v1/campaigns/void", NULL, "{\"created_by\":\"nobody\"}", "{\"created_by\":\"nobodys\"}",
     "\"created_by\":\"nobody\",", KEY | REASON | EMPTY_IS_TAKEN},
    {"POST", "/v1/campaigns/{c}/coupons", "/v1/campaigns/No/coupons", "{\"user_id\":\"bob\"}",
     "{\"user_id\":\"cyd\"}", "", ID | KEY},
    {"POST", "/v1/campaigns/{c}/coupons/batch", "/v1/campaigns/No/coupons/batch", "{\"user_ids\":[\"bob\"]}",
     "{\"user_ids\":[\"cyd\"]}", "", ID | KEY},
    {"POST", "/v1/coupons/{k}/reserve", NULL, "{" USE "900,\"ttl_seconds\":600}",
     "{" USE "901,\"ttl_seconds\":600}", "", KEY},
    {"POST", "/v1/coupons/{k}/redeem", NULL, "{" USE "900}", "{" USE "901}", "", KEY},
    {"POST", "/v1/coupons/{k}/release", NULL, NULL, NULL, "", KEY},
    {"POST", "/v1/coupons/{k}/restore", NULL, NULL, NULL, "", KEY},
    {"POST", "/v1/coupons/{k}/revoke", NULL, "{\"reason\":\"a\"}", "{\"reason\":\"b\"}", "", KEY | REASON},
    {"POST", "/v1/issuers/issue/suspend", NULL, "{}", "{\"reason\":\"b\"}", "",
     KEY | REASON | EMPTY_IS_TAKEN},
    {"POST", "/v1/issuers/issue/resume", NULL, "{}", "{\"reason\":\"b\"}", "", KEY | REASON | EMPTY_IS_TAKEN},
    {"PUT", "/v1/settings/queue_max", NULL, "{\"value\":5000}", "{\"value\":5001}", "\"value\":5000,",
     REASON},
};

static void refuse_bodies(const struct operation *is)
{
    expect_write(is->method, is->path, "{", 400, "malformed-json");
    expect_write(is->method, is->path, "[]", 400, "wrong-type");
    expect_write(is->method, is->path, "{\"surprise\":1}", 400, "unknown-field");
    if (!(is->knows & EMPTY_IS_TAKEN))
        expect_write(is->method, is->path, "{}", 400, "missing-field");
    if (!(is->knows & REASON))
        return;
    expect_write(is->method, is->path, textf("{%s\"reason\":\"\"}", is->fields), 400, "out-of-range");
    expect_write(is->method, is->path, textf("{%s\"reason\":\"a\\nb\"}", is->fields), 400, "invalid-value");
    expect_write(is->method, is->path, textf("{%s\"reason\":7}", is->fields), 400, "wrong-type");
}

/* What gives something back is taken only of who has it. */
static const char *prepare(const struct operation *is)
{
    fresh();
    if (is->body)
        return is->body;
    if (strstr(is->path, "release"))
        expect_write("POST", "/v1/coupons/{k}/reserve", "{" USE "900,\"ttl_seconds\":600}", 200, NULL);
    else
        expect_write("POST", "/v1/coupons/{k}/redeem", "{" USE "900}", 200, NULL);
    return "{\"order_id\":\"o1\"}";
}

static void refuse_keys(const struct operation *is)
{
    char key[64];
    const char *body = prepare(is);
    snprintf(key, sizeof key, "%s", api_fresh_key());
    struct http_answer answer = write_to(is->method, is->path, body, NULL);
    if (is->knows & KEY)
        expect(is->path, &answer, 400, "idempotency-key-missing");
    answer = write_to(is->method, is->path, body, "a b");
    expect(is->path, &answer, 400, "idempotency-key-invalid");
    answer = write_to(is->method, is->path, body, key);
    expect(is->path, &answer, answer.status == 201 ? 201 : 200, NULL);
    answer = write_to(is->method, is->path, is->other ? is->other : "{\"order_id\":\"o2\"}", key);
    expect(is->path, &answer, 422, "idempotency-key-reused");
}

static void what_changes_something_is_refused_alike(void **)
{
    for (size_t i = 0; i < COUNT_OF(operations); i++) {
        const struct operation *is = &operations[i];
        fresh();
        refuse_bodies(is);
        if (is->knows & ID)
            expect_write(is->method, is->wrong_id, is->body, 400, "invalid-id");
        refuse_keys(is);
    }
}

/* DELETE needs no key and no body. */
static void deleting_is_refused_alike(void **)
{
    fresh();
    expect_write("DELETE", "/v1/campaigns/{c}", NULL, 409, "has-coupons");
    expect_write("DELETE", "/v1/campaigns/No", NULL, 400, "invalid-id");
    expect_write("DELETE", "/v1/campaigns/nobodys", NULL, 404, "unknown-campaign");
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 5, ""));
    refuse_bodies(
        &(struct operation){"DELETE", "/v1/campaigns/{c}", NULL, NULL, NULL, "", REASON | EMPTY_IS_TAKEN});
    struct http_answer answer = write_to("DELETE", "/v1/campaigns/{c}", NULL, "a b");
    expect("DELETE", &answer, 400, "idempotency-key-invalid");
    answer = write_to("DELETE", "/v1/campaigns/{c}", NULL, "delete-1");
    expect("DELETE", &answer, 204, NULL);
    answer = write_to("DELETE", "/v1/campaigns/{c}", "{\"reason\":\"b\"}", "delete-1");
    expect("DELETE", &answer, 422, "idempotency-key-reused");
}

struct row {
    const char *path, *body;
    int status;
    const char *code;
};

static void expect_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_write("POST", rows[i].path, rows[i].body, rows[i].status, rows[i].code);
}

/* In order, of one campaign and of ann's coupon of it. */
static const struct row one_life[] = {
    {"/v1/campaigns/{c}/coupons", "{\"user_id\":\"ann\"}", 409, "already-issued"},
    {"/v1/campaigns/{c}/coupons", "{\"user_id\":\"\"}", 400, "invalid-user-id"},
    {"/v1/campaigns/{c}/coupons/batch", "{\"user_ids\":[]}", 400, "out-of-range"},
    {"/v1/campaigns/{c}/coupons/batch", "{\"user_ids\":[\"\"]}", 400, "invalid-user-id"},
    {"/v1/campaigns/nobodys/coupons/batch", "{\"user_ids\":[\"u\"]}", 404, "unknown-campaign"},
    {"/v1/campaigns/{c}/release", "{\"quantity\":3}", 409, "exceeds-quantity"},
    {"/v1/campaigns/nobodys/pause", "{}", 404, "unknown-campaign"},
    {"/v1/campaigns/nobodys/resume", "{}", 404, "unknown-campaign"},
    {"/v1/campaigns/nobodys/close", "{}", 404, "unknown-campaign"},
    {"/v1/campaigns/nobodys/release", "{\"quantity\":1}", 404, "unknown-campaign"},
    {"/v1/campaigns/{c}/pause", "{}", 200, NULL},
    {"/v1/campaigns/{c}/coupons", "{\"user_id\":\"bob\"}", 409, "paused"},
    {"/v1/campaigns/{c}/coupons/batch", "{\"user_ids\":[\"bob\"]}", 409, "paused"},
    {"/v1/campaigns/{c}/resume", "{}", 200, NULL},
    {"/v1/campaigns/{c}/coupons", "{\"user_id\":\"bob\"}", 201, NULL},
    {"/v1/campaigns/{c}/coupons", "{\"user_id\":\"cyd\"}", 201, NULL},
    {"/v1/campaigns/{c}/coupons", "{\"user_id\":\"dan\"}", 409, "sold-out"},
    {"/v1/coupons/{k}/reserve", "{" USE "900,\"ttl_seconds\":0}", 400, "out-of-range"},
    {"/v1/coupons/{k}/reserve", "{\"user_id\":\"\",\"order_id\":\"o1\",\"order_amount\":1,\"ttl_seconds\":1}",
     400, "invalid-user-id"},
    {"/v1/coupons/{k}/reserve", "{\"user_id\":\"a\",\"order_id\":\"\",\"order_amount\":1,\"ttl_seconds\":1}",
     400, "invalid-order-id"},
    {"/v1/coupons/c0-999999999/reserve", "{" USE "900,\"ttl_seconds\":1}", 404, "unknown-coupon"},
    {"/v1/coupons/{k}/reserve",
     "{\"user_id\":\"bob\",\"order_id\":\"o\",\"order_amount\":900,\"ttl_seconds\":1}", 403, "not-holder"},
    {"/v1/coupons/{k}/reserve", "{" USE "99,\"ttl_seconds\":1}", 422, "below-minimum"},
    {"/v1/coupons/{k}/reserve", "{" USE "900,\"currency\":\"USD\",\"ttl_seconds\":1}", 422,
     "currency-mismatch"},
    {"/v1/coupons/{k}/redeem", "{" USE "-1}", 400, "out-of-range"},
    {"/v1/coupons/{k}/redeem", "{\"user_id\":\"\",\"order_id\":\"o1\",\"order_amount\":1}", 400,
     "invalid-user-id"},
    {"/v1/coupons/{k}/redeem", "{\"user_id\":\"a\",\"order_id\":\"\",\"order_amount\":1}", 400,
     "invalid-order-id"},
    {"/v1/coupons/c0-999999999/redeem", "{" USE "900}", 404, "unknown-coupon"},
    {"/v1/coupons/{k}/redeem", "{\"user_id\":\"bob\",\"order_id\":\"o\",\"order_amount\":900}", 403,
     "not-holder"},
    {"/v1/coupons/{k}/redeem", "{" USE "99}", 422, "below-minimum"},
    {"/v1/coupons/{k}/redeem", "{" USE "900,\"currency\":\"USD\"}", 422, "currency-mismatch"},
    {"/v1/coupons/{k}/reserve", "{" USE "900,\"ttl_seconds\":600}", 200, NULL},
    {"/v1/coupons/{k}/reserve",
     "{\"user_id\":\"ann\",\"order_id\":\"o2\",\"order_amount\":900,\"ttl_seconds\":1}", 409, "reserved"},
    {"/v1/coupons/{k}/redeem", "{\"user_id\":\"ann\",\"order_id\":\"o2\",\"order_amount\":900}", 409,
     "reserved"},
    {"/v1/coupons/{k}/release", "{\"order_id\":\"o2\"}", 409, "reserved"},
    {"/v1/coupons/{k}/release", "{\"order_id\":\"\"}", 400, "invalid-order-id"},
    {"/v1/coupons/c0-999999999/release", "{\"order_id\":\"o1\"}", 404, "unknown-coupon"},
    {"/v1/coupons/{k}/restore", "{\"order_id\":\"o1\"}", 409, "not-redeemed"},
    {"/v1/coupons/{k}/restore", "{\"order_id\":\"\"}", 400, "invalid-order-id"},
    {"/v1/coupons/c0-999999999/restore", "{\"order_id\":\"o1\"}", 404, "unknown-coupon"},
    {"/v1/coupons/{k}/redeem", "{" USE "900}", 200, NULL},
    {"/v1/coupons/{k}/reserve", "{" USE "900,\"ttl_seconds\":1}", 409, "already-redeemed"},
    {"/v1/coupons/{k}/redeem", "{" USE "900}", 409, "already-redeemed"},
    {"/v1/coupons/{k}/release", "{\"order_id\":\"o1\"}", 409, "already-redeemed"},
    {"/v1/coupons/{k}/revoke", "{\"reason\":\"r\"}", 409, "already-redeemed"},
    {"/v1/coupons/{k}/restore", "{\"order_id\":\"o1\"}", 200, NULL},
    {"/v1/coupons/{k}/revoke", "{\"reason\":\"r\"}", 200, NULL},
    {"/v1/coupons/c0-999999999/revoke", "{\"reason\":\"r\"}", 404, "unknown-coupon"},
    {"/v1/coupons/{k}/reserve", "{" USE "900,\"ttl_seconds\":1}", 410, "revoked"},
    {"/v1/coupons/{k}/redeem", "{" USE "900}", 410, "revoked"},
    {"/v1/coupons/{k}/release", "{\"order_id\":\"o1\"}", 410, "revoked"},
    {"/v1/coupons/{k}/restore", "{\"order_id\":\"o1\"}", 410, "revoked"},
    {"/v1/campaigns/{c}/close", "{}", 200, NULL},
    {"/v1/campaigns/{c}/coupons", "{\"user_id\":\"dan\"}", 410, "ended"},
    {"/v1/campaigns/{c}/coupons/batch", "{\"user_ids\":[\"dan\"]}", 410, "ended"},
    {"/v1/campaigns/{c}/pause", "{}", 410, "ended"},
    {"/v1/campaigns/{c}/resume", "{}", 410, "ended"},
    {"/v1/campaigns/{c}/release", "{\"quantity\":1}", 410, "ended"},
    {"/v1/campaigns/void", "{}", 400, "missing-field"},
    {"/v1/issuers/nobody/suspend", "{}", 404, "unknown-issuer"},
    {"/v1/issuers/nobody/resume", "{}", 404, "unknown-issuer"},
    {"/v1/issuers/admin/suspend", "{}", 409, "own-key"},
};

static void what_only_some_operations_know(void **)
{
    fresh();
    expect_rows(one_life, COUNT_OF(one_life));
    expect_write("PATCH", "/v1/campaigns/{c}", "{\"quantity\":9}", 410, "ended");
    expect_write("PATCH", "/v1/campaigns/nobodys", "{\"quantity\":9}", 404, "unknown-campaign");
    expect_write("PUT", "/v1/settings/nothing", "{\"value\":1}", 404, "unknown-setting");
    expect_write("PUT", "/v1/settings/queue_max", "{\"value\":-1}", 400, "out-of-range");
}

/* In force within a moment, and gone again. */
static void what_only_a_change_knows(void **)
{
    struct http_answer answer;
    snprintf(campaign, sizeof campaign, "%s",
             api_campaign(&api, 5, ",\"coupon_expires_at\":\"2999-01-01T00:00:00Z\""));
    expect_write("PATCH", "/v1/campaigns/{c}", "{\"quantity\":4}", 409, "below-promise");
    expect_write("PATCH", "/v1/campaigns/{c}", "{\"ends_at\":\"2998-12-31T00:00:00Z\"}", 409,
                 "below-promise");
    expect_write("PUT", "/v1/settings/live_coupons_max", "{\"value\":1000}", 200, NULL);
    WAIT_UNTIL((answer = write_to("PATCH", "/v1/campaigns/{c}", "{\"quantity\":5000}", api_fresh_key()),
                answer.status == 429),
               BOUND_MS);
    expect("PATCH", &answer, 429, "quota-exceeded");
    expect_write("PUT", "/v1/settings/live_coupons_max", "{\"value\":null}", 200, NULL);
    WAIT_UNTIL((answer = write_to("PATCH", "/v1/campaigns/{c}", "{\"quantity\":6000}", api_fresh_key()),
                answer.status == 200),
               BOUND_MS);
    snprintf(campaign, sizeof campaign, "%s",
             api_campaign(&api, 5,
                          ",\"ends_at\":\"2998-01-01T00:00:00Z\",\"coupon_expires_at\":"
                          "\"2999-01-01T00:00:00Z\""));
    expect_write("PATCH", "/v1/campaigns/{c}", "{\"ends_at\":\"2999-01-02T00:00:00Z\"}", 400,
                 "invalid-window");
}

/* A till reserves and redeems; nobody but it, or an admin, undoes that. */
static void what_only_another_key_is_told(void **)
{
    static const struct {
        const char *verb, *body;
        int status;
        const char *code;
    } rows[] = {
        {"release", "{\"order_id\":\"o1\"}", 403, "other-key"},
        {"redeem", "{" USE "900}", 200, NULL},
        {"restore", "{\"order_id\":\"o1\"}", 403, "other-key"},
    };
    fresh();
    expect_write("POST", "/v1/coupons/{k}/reserve", "{" USE "900,\"ttl_seconds\":600}", 200, NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char path[TEXT_BYTES], at[TEXT_BYTES];
        snprintf(path, sizeof path, "/v1/coupons/{k}/%s", rows[i].verb);
        fill(at, path, "");
        bool refused = rows[i].code != NULL;
        struct http_answer answer =
            API_ASK(api.command, .method = "POST", .path = at,
                    .token = stack_env(stack, refused ? "REDEEM_TOKEN" : "ADMIN_TOKEN"),
                    .key = api_fresh_key(), .body = rows[i].body);
        expect(at, &answer, rows[i].status, rows[i].code);
    }
}

/* A campaign that is yet to start, and one whose discount is too small for some orders. */
static void what_only_some_campaigns_know(void **)
{
    static const struct row rows[] = {
        {"/v1/coupons/{k}/reserve", "{" USE "1,\"ttl_seconds\":1}", 422, "no-discount"},
        {"/v1/coupons/{k}/redeem", "{" USE "1}", 422, "no-discount"},
    };
    snprintf(campaign, sizeof campaign, "%s",
             api_campaign(&api, 1, ",\"starts_at\":\"2999-01-01T00:00:00Z\""));
    expect_write("POST", "/v1/campaigns/{c}/coupons", "{\"user_id\":\"ann\"}", 409, "not-started");
    expect_write("POST", "/v1/campaigns/{c}/coupons/batch", "{\"user_ids\":[\"ann\"]}", 409, "not-started");
    api_expect(api_post(&api, "/v1/campaigns",
                        "{\"id\":\"one-percent\",\"name\":\"n\",\"discount\":{\"type\":\"percent\","
                        "\"percent\":1},\"currency\":\"KRW\",\"quantity\":1}",
                        NULL),
               201, NULL);
    snprintf(coupon, sizeof coupon, "%s", api_coupon(&api, "one-percent", "ann"));
    expect_rows(rows, COUNT_OF(rows));
}

/* --- reading --- */

enum { USER = 16, CURSOR = 32, TOKEN = 64, COPY = 128, LIMIT = 256, AS_OF = 512, ORDER = 1024 };

struct question {
    const char *path, *wrong_id, *wrong_user; /* the last two with ID and USER */
    unsigned knows;
};

static const struct question questions[] = {
    {"/v1/campaigns", NULL, NULL, CURSOR | TOKEN | COPY | LIMIT},
    {"/v1/campaigns/{c}", "/v1/campaigns/No", NULL, ID | TOKEN | COPY | AS_OF},
    {"/v1/campaigns/{c}/coupons", "/v1/campaigns/No/coupons", NULL, ID | CURSOR | TOKEN | COPY | LIMIT},
    {"/v1/campaigns/{c}/users/ann", "/v1/campaigns/No/users/ann", "/v1/campaigns/{c}/users/a%01b",
     ID | USER | TOKEN | COPY},
    {"/v1/campaigns/{c}/history", "/v1/campaigns/No/history", NULL, ID | CURSOR | TOKEN | LIMIT},
    {"/v1/campaigns/{c}/users/ann/decision", "/v1/campaigns/No/users/ann/decision",
     "/v1/campaigns/{c}/users/a%01b/decision", ID | USER | TOKEN | AS_OF},
    {"/v1/coupons/{k}", NULL, NULL, TOKEN | COPY},
    {"/v1/coupons/{k}/history", NULL, NULL, CURSOR | TOKEN | LIMIT},
    {"/v1/coupons/{k}/validity", NULL, "/v1/coupons/{k}/validity?user_id=", USER | ORDER | TOKEN | COPY},
    {"/v1/users/ann/coupons", NULL, "/v1/users/a%01b/coupons", USER | CURSOR | TOKEN | COPY | LIMIT},
    {"/v1/rankings/campaigns", NULL, NULL, TOKEN | COPY | LIMIT | AS_OF},
    {"/v1/audit", NULL, NULL, CURSOR | TOKEN | LIMIT},
};

static struct http_answer ask(const char *path, const char *more, const char *header)
{
    char at[TEXT_BYTES];
    const char *const headers[] = {header, NULL};
    fill(at, path, more);
    return API_ASK(api.query, .path = at, .token = stack_env(stack, "ADMIN_TOKEN"),
                   .headers = header ? headers : NULL);
}

static void expect_read(const char *path, const char *more, const char *header, int status, const char *code)
{
    struct http_answer answer = ask(path, more, header);
    expect(textf("GET %s%s %s", path, more, header ? header : ""), &answer, status, code);
}

/* With the tag that its answer had. Between the two the answer may have become another one. */
static void expect_current(const char *path)
{
    WAIT_UNTIL(({
                   struct http_answer answer = ask(path, "", NULL);
                   expect(path, &answer, 200, NULL);
                   answer = ask(path, "",
                                textf("If-None-Match: %.*s", SPAN_ARG(http_answer_header(&answer, "ETag"))));
                   answer.status == 304;
               }),
               BOUND_MS);
}

static void questions_are_refused_alike(void **)
{
    fresh();
    for (size_t i = 0; i < COUNT_OF(questions); i++) {
        const struct question *is = &questions[i];
        if (is->knows & COPY)
            expect_current(is->path);
        else
            expect_read(is->path, "", NULL, 200, NULL);
        expect_read(is->path, "?surprise=1", NULL, 400, "invalid-parameter");
        expect_read(is->path, "", "Consistency-Token: x", 400, "invalid-token");
        if (is->knows & ID)
            expect_read(is->wrong_id, "", NULL, 400, "invalid-id");
        if (is->knows & USER)
            expect_read(is->wrong_user, "", NULL, 400, "invalid-user-id");
        if (is->knows & CURSOR)
            expect_read(is->path, "?cursor=x", NULL, 400, "invalid-cursor");
        if (is->knows & LIMIT)
            expect_read(is->path, "?limit=0", NULL, 400, "invalid-parameter");
        if (is->knows & AS_OF)
            expect_read(is->path, "?as_of=x", NULL, 400, "invalid-parameter");
        if (is->knows & ORDER)
            expect_read(is->path, "?order_id=", NULL, 400, "invalid-order-id");
    }
}

static void what_only_some_questions_know(void **)
{
    static const struct row rows[] = {
        {"/v1/campaigns/nobodys", NULL, 404, "unknown-campaign"},
        {"/v1/campaigns/nobodys/coupons", NULL, 404, "unknown-campaign"},
        {"/v1/campaigns/nobodys/users/ann", NULL, 404, "unknown-campaign"},
        {"/v1/campaigns/nobodys/users/ann/decision", NULL, 404, "unknown-campaign"},
        {"/v1/campaigns/nobodys/history", NULL, 404, "unknown-campaign"},
        {"/v1/coupons/c0-999999999", NULL, 404, "unknown-coupon"},
        {"/v1/coupons/c0-999999999/history", NULL, 404, "unknown-coupon"},
        {"/v1/coupons/c0-999999999/validity", NULL, 404, "unknown-coupon"},
        {"/v1/events?slice=3", NULL, 200, NULL},
        {"/v1/events?slice=99", NULL, 400, "invalid-parameter"},
        {"/v1/events?slice=3&after=999999999", NULL, 409, "beyond-head"},
        {"/v1/status", NULL, 200, NULL},
        {"/v1/status?surprise=1", NULL, 400, "invalid-parameter"},
    };
    static const struct row commands[] = {
        {"/v1/settings", NULL, 200, NULL},
        {"/v1/status", NULL, 200, NULL},
        {"/v1/status?surprise=1", NULL, 400, "invalid-parameter"},
        {"/v1/requests/nobodys", NULL, 200, NULL},
        {"/v1/requests/a%20b", NULL, 400, "idempotency-key-invalid"},
        {"/v1/nothing", NULL, 404, "unknown-route"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_read(rows[i].path, "", NULL, rows[i].status, rows[i].code);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        expect_write("GET", commands[i].path, NULL, commands[i].status, commands[i].code);
}

static void a_command_service_says_how_it_is(void **)
{
    struct http_answer answer = write_to("GET", "/v1/status", NULL, NULL);
    expect("status", &answer, 200, NULL);
    assert_int_equal(body_length(answer.body, "slices"), 16);
    assert_int_equal(body_int(answer.body, "slices.3.slice"), 3);
    assert_true(body_int(answer.body, "slices.3.waiting_max") > 0);
    assert_true(body_int(answer.body, "limits.live_coupons_max") > 0);
    assert_true(span_is(body_text(answer.body, "profile"), "normal"));
    assert_true(body_text(answer.body, "bottleneck").len > 0);
    assert_true(body_text(answer.body, "instance").len > 0 && body_text(answer.body, "since").len > 0);
    int64_t before = api_metric(&api, "coupon_refusals_total{code=\"unknown-campaign\"}");
    expect_write("POST", "/v1/campaigns/nobodys/pause", "{}", 404, "unknown-campaign");
    assert_int_equal(api_metric(&api, "coupon_refusals_total{code=\"unknown-campaign\"}"), before + 1);
}

/* --- whatever the operation --- */

/* The first answer again, byte for byte, and a header that says so (I4). */
static void a_retry_is_answered_as_before(void **)
{
    char id[80], path[128], key[64];
    static const struct {
        const char *verb, *body;
        bool of_issuer;
    } rows[] = {
        {"pause", "{\"reason\":\"r\"}", false},  {"resume", "{}", false},
        {"release", "{\"quantity\":1}", false},  {"close", "{}", false},
        {"suspend", "{\"reason\":\"r\"}", true}, {"resume", "{}", true},
    };
    snprintf(id, sizeof id, "%s", api_campaign(&api, 5, ",\"released\":1"));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf first;
        buf_init(&first, 1 << 16);
        if (rows[i].of_issuer)
            snprintf(path, sizeof path, "/v1/issuers/issue/%s", rows[i].verb);
        else
            snprintf(path, sizeof path, "/v1/campaigns/%s/%s", id, rows[i].verb);
        snprintf(key, sizeof key, "%s", api_fresh_key());
        struct http_answer answer = api_post(&api, path, rows[i].body, key);
        expect(path, &answer, 200, NULL);
        assert_null(http_answer_header(&answer, "Idempotency-Replayed").ptr);
        buf_append_span(&first, answer.body);
        answer = api_post(&api, path, rows[i].body, key);
        expect(path, &answer, 200, NULL);
        assert_true(span_is(http_answer_header(&answer, "Idempotency-Replayed"), "true"));
        assert_true(span_equal(answer.body, buf_span(&first)));
        buf_deinit(&first);
    }
}

static void any_operation_may_be_refused_for_its_fields(void **)
{
    static const struct {
        const char *header;
        int status;
        const char *code;
    } rows[] = {
        {"Expect: a-pony", 417, "expectation-failed"},
        {"Content-Encoding: gzip", 415, "unsupported-media-type"},
        {"If-None-Match: *", 412, "precondition-failed"},
        {"Transfer-Encoding: chunked", 400, "malformed-request"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *const headers[] = {rows[i].header, NULL};
        struct http_answer answer = API_ASK(api.command, .method = "POST", .path = "/v1/campaigns/x/coupons",
                                            .token = stack_env(stack, "ADMIN_TOKEN"), .key = api_fresh_key(),
                                            .headers = headers, .body = "{\"user_id\":\"ann\"}");
        expect(rows[i].header, &answer, rows[i].status, rows[i].code);
    }
}

static int setup(void **state)
{
    stack = api_setup(state, &api, STACK_ALL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_changes_something_is_refused_alike),
        cmocka_unit_test(deleting_is_refused_alike),
        cmocka_unit_test(what_only_some_operations_know),
        cmocka_unit_test(what_only_a_change_knows),
        cmocka_unit_test(what_only_another_key_is_told),
        cmocka_unit_test(what_only_some_campaigns_know),
        cmocka_unit_test(questions_are_refused_alike),
        cmocka_unit_test(what_only_some_questions_know),
        cmocka_unit_test(a_command_service_says_how_it_is),
        cmocka_unit_test(any_operation_may_be_refused_for_its_fields),
        cmocka_unit_test(a_retry_is_answered_as_before),
    };
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
