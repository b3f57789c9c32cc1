/* SPDX-License-Identifier: Apache-2.0 */
/* What one API key may do with a coupon that another one has, and what it is told: tills of two shops, whose
 * keys name coupons by their codes only. */
#include "tests/lib/api.h"
#include "tests/lib/wait.h"

#include "common/base/crypto.h"

enum { WAIT_MS = 120000, PATH_BYTES = 160, TEXT_BYTES = 256 };

static struct stack *stack;
static struct api_client api;

static const char *const tills[] = {"fc_test_till_of_shop_a", "fc_test_till_of_shop_b"};

static char campaign[80], id[64], code[64];

static void keep(const struct json_doc *doc, const char *name, char ret[64])
{
    snprintf(ret, 64, "%.*s", SPAN_ARG(json_get_text(doc, name)));
}

static void fresh(void)
{
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 5, ""));
    struct http_answer answer = api_expect(api_issue(&api, campaign, "ann"), 201, NULL);
    struct json_doc *doc = json_get_doc(answer.body);
    keep(doc, "coupon_id", id);
    keep(doc, "code", code);
    json_destroy(doc);
}

static struct http_answer act(const char *token, const char *coupon, const char *verb, const char *body)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/v1/coupons/%s/%s", coupon, verb);
    return API_ASK(api.command, .method = "POST", .path = path, .token = token, .key = api_fresh_key(),
                   .body = body);
}

/* Neither whose the coupon is nor its code. */
static void expect_untold(const struct http_answer *answer)
{
    char text[4096];
    snprintf(text, sizeof text, "%.*s", SPAN_ARG(answer->body));
    assert_null(strstr(text, "ann"));
    assert_null(strstr(text, code));
}

static void expect(const char *token, const char *coupon, const char *verb, const char *body, int status,
                   const char *problem)
{
    struct http_answer answer = api_expect(act(token, coupon, verb, body), status, problem);
    if (problem)
        expect_untold(&answer);
}

#define USE  "{\"user_id\":\"ann\",\"order_id\":\"o1\",\"order_amount\":900}"
#define HOLD "{\"user_id\":\"ann\",\"order_id\":\"o1\",\"order_amount\":900,\"ttl_seconds\":600}"
#define MINE "{\"order_id\":\"o1\"}"

/* Which order has a coupon is told to the key whose order it is. */
static void expect_order_told(const char *token, bool told)
{
    struct http_answer answer = api_expect(
        act(token, code, "redeem", "{\"user_id\":\"ann\",\"order_id\":\"o2\",\"order_amount\":900}"), 409,
        "already-redeemed");
    assert_true(body_has(answer.body, "order_id") == told);
    if (told)
        assert_true(span_is(body_text(answer.body, "order_id"), "o1"));
}

static void what_one_key_did_another_cannot_undo(void **)
{
    fresh();
    expect(tills[0], code, "reserve", HOLD, 200, NULL);
    expect(tills[1], code, "release", MINE, 403, "other-key");
    expect(tills[0], code, "release", MINE, 200, NULL);
    expect(tills[0], code, "redeem", USE, 200, NULL);
    expect_order_told(tills[0], true);
    expect_order_told(tills[1], false);
    expect(tills[1], code, "restore", MINE, 403, "other-key");
    expect(tills[0], code, "restore", MINE, 200, NULL);
    expect(tills[0], code, "redeem", USE, 200, NULL);
    expect(stack_env(stack, "ADMIN_TOKEN"), id, "restore", MINE, 200, NULL);
    expect(tills[1], code, "redeem", USE, 200, NULL);
    expect(tills[0], code, "restore", MINE, 403, "other-key");
    stack_service(stack, "command-service", "kill");
    stack_service(stack, "command-service", "start");
    expect(tills[0], code, "restore", MINE, 403, "other-key"); /* from the log, not from memory */
    expect(tills[1], code, "restore", MINE, 200, NULL);
}

static void who_has_nothing_is_told_nothing(void **)
{
    fresh();
    struct http_answer answer = api_expect(act(tills[0], code, "release", MINE), 200, NULL);
    expect_untold(&answer);
    answer = api_expect(act(stack_env(stack, "ADMIN_TOKEN"), code, "release", MINE), 200, NULL);
    assert_true(span_is(body_text(answer.body, "user_id"), "ann"));
}

static struct http_answer read_as(const char *token, const char *coupon, const char *more)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/v1/coupons/%s%s", coupon, more);
    return API_ASK(api.query, .path = path, .token = token);
}

/* Ids are counted up; whoever has one has seen them all. */
static void a_coupon_is_named_by_its_code(void **)
{
    fresh();
    expect(tills[0], id, "reserve", HOLD, 403, "forbidden");
    expect(tills[0], id, "redeem", USE, 403, "forbidden");
    expect(tills[0], id, "release", MINE, 403, "forbidden");
    expect(tills[0], id, "restore", MINE, 403, "forbidden");
    expect(tills[0], "c3-999999999", "redeem", USE, 403, "forbidden"); /* whether or not there is one */
    struct http_answer answer;
    WAIT_UNTIL((answer = read_as(stack_env(stack, "READ_TOKEN"), id, ""), answer.status == 200), WAIT_MS);
    api_expect(read_as(tills[0], id, ""), 403, "forbidden"); /* of which there is a copy */
    api_expect(read_as(tills[0], id, "/validity"), 403, "forbidden");
    api_expect(read_as(tills[0], code, "/validity"), 200, NULL);
    expect(stack_env(stack, "REDEEM_TOKEN"), id, "redeem", USE, 200, NULL); /* redeem-by-id */
}

/* Services read the file again where it changes. */
static void add_keys(void)
{
    FILE *file = fopen(stack_env(stack, "FIRSTCOME_API_KEYS_FILE"), "ae");
    assert_non_null(file);
    for (size_t i = 0; i < COUNT_OF(tills); i++) {
        uint8_t hash[CRYPTO_HASH_BYTES];
        struct buf hex;
        buf_init(&hex, 2 * sizeof hash);
        crypto_sha256(span_of(tills[i]), hash);
        hex_encode(&hex, hash, sizeof hash);
        assert_true(fprintf(file, "till-%zu redeem %s\n", i, hex.data) > 0);
        buf_deinit(&hex);
    }
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    stack = api_setup(state, &api, STACK_ALL);
    add_keys();
    struct http_answer answer;
    fresh();
    for (size_t i = 0; i < COUNT_OF(tills); i++) {
        WAIT_UNTIL((answer = act(tills[i], code, "release", MINE), answer.status == 200), WAIT_MS);
        WAIT_UNTIL((answer = read_as(tills[i], code, ""), answer.status == 200), WAIT_MS);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_key_did_another_cannot_undo),
        cmocka_unit_test(who_has_nothing_is_told_nothing),
        cmocka_unit_test(a_coupon_is_named_by_its_code),
    };
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
