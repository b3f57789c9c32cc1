/* SPDX-License-Identifier: Apache-2.0 */
/* Incident 1 again: a program that makes campaigns on its own, a new one every ten seconds, 8,640 a day,
 * until issuing failed for everybody, noticed after two hours. Here it is stopped by its quota while others
 * go on creating and issuing, thrown out by the kill switch, and what it made is voided, but for what
 * somebody holds a coupon of. */
#include "tests/lib/wait.h"

#include "common/base/crypto.h"
#include "tests/lib/api.h"
#include "tests/lib/steer.h"
#include "tests/lib/store.h"

enum { QUOTA = 20, TRIES = 3 * QUOTA };

#define GENERATOR_TOKEN "fc_the-token-of-a-program-that-nobody-watches"

static struct stack *stack;
static struct api_client api;
static struct steer service;

static struct http_answer generate(int number)
{
    char body[256];
    struct http_answer answer;
    snprintf(body, sizeof body,
             "{\"id\":\"made-up-%d\",\"name\":\"Deal %d\",\"discount\":{\"type\":\"percent\",\"percent\":10},"
             "\"currency\":\"KRW\",\"quantity\":100}",
             number, number);
    struct http_call call = {.method = "POST",
                             .path = "/v1/campaigns",
                             .token = GENERATOR_TOKEN,
                             .key = api_fresh_key(),
                             .body = body};
    assert_int_equal(http_client_call(api.command, &call, &answer), HTTP_ANSWERED);
    return answer;
}

static void issue(const char *campaign, int user)
{
    char name[32];
    snprintf(name, sizeof name, "user-%d", user);
    struct http_answer answer = steer_issue(&service, "ISSUE_TOKEN", campaign, name);
    api_expect(&answer, 201, NULL);
}

static void it_is_stopped_at_its_quota(void **state)
{
    (void)state;
    char campaign[64], quota[16];
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 1000, ""));
    snprintf(quota, sizeof quota, "%d", QUOTA);
    struct http_answer answer = steer_put(&service, "campaigns_per_key_per_day", quota);
    api_expect(&answer, 200, NULL);
    for (int i = 1; i <= TRIES; i++) {
        answer = generate(i);
        api_expect(&answer, i <= QUOTA ? 201 : 429, i <= QUOTA ? NULL : "quota-exceeded");
        issue(campaign, i); /* nobody else notices */
    }
    api_campaign(&api, 10, ""); /* nor does who creates with another key */
    assert_int_equal(store_number(stack, "SELECT count(*) FROM campaign WHERE created_by = 'generator'"),
                     QUOTA);
}

static void it_is_thrown_out(void **state)
{
    (void)state;
    char campaign[64];
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 10, ""));
    issue("made-up-7", 1); /* somebody found one of its campaigns */
    struct http_answer answer = steer_put(&service, "campaigns_per_key_per_day", "null");
    api_expect(&answer, 200, NULL);
    answer = generate(TRIES + 1);
    api_expect(&answer, 201, NULL); /* so it is not the quota that stops it now */
    steer_issuer(&service, "generator", "suspend", 200, NULL);
    answer = generate(TRIES + 2);
    api_expect(&answer, 403, "issuer-suspended");
    issue(campaign, 1);
}

static void what_it_made_is_voided(void **state)
{
    (void)state;
    int64_t others = store_number(stack, "SELECT count(*) FROM campaign WHERE created_by = 'admin' AND "
                                         "status <> 5");
    struct http_answer answer = api_post(&api, "/v1/campaigns/void", "{\"created_by\":\"generator\"}", NULL);
    api_expect(&answer, 200, NULL);
    struct json_doc *doc = json_get_doc(answer.body);
    assert_int_equal(json_get_int(doc, "voided"), QUOTA); /* all it made but the one */
    json_destroy(doc);
    issue("made-up-7", 2);
    assert_int_equal(store_number(stack, "SELECT count(*) FROM campaign WHERE created_by = 'admin' AND "
                                         "status <> 5"),
                     others);
    answer = steer_issue(&service, "ISSUE_TOKEN", "made-up-8", "user-1");
    api_expect(&answer, 404, "unknown-campaign");
}

/* Lines that an operator adds to the key file stay; services read it when they start. */
static void add_key(void)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    struct buf hex;
    FILE *file = fopen(stack_env(stack, "FIRSTCOME_API_KEYS_FILE"), "ae");
    assert_non_null(file);
    buf_init(&hex, 2 * sizeof hash);
    crypto_sha256(SPAN(GENERATOR_TOKEN), hash);
    hex_encode(&hex, hash, sizeof hash);
    assert_true(fprintf(file, "generator admin %s\n", hex.data) > 0);
    assert_int_equal(fclose(file), 0);
    buf_deinit(&hex);
}

static int setup(void **state)
{
    stack = api_setup(state, &api, STACK_SERVERS);
    add_key();
    stack_service(stack, "command-service", "start");
    service = (struct steer){stack, api.command};
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_stopped_at_its_quota),
        cmocka_unit_test(it_is_thrown_out),
        cmocka_unit_test(what_it_made_is_voided),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
