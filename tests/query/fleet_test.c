/* SPDX-License-Identifier: Apache-2.0 */
/* Two query services of one fleet: what Redis' models cannot answer is loaded by one of them; whoever has
 * lost the lease leaves nothing. */
#include "tests/lib/wait.h"

#include "common/base/crypto.h"
#include "readmodel/keys.h"
#include "tests/lib/instance.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum { PORT_OFFSET = 7, BOUND_MS = 30000 };

#define LOADS "coupon_read_loads_total{source=\"postgres\"}"

static struct stack *stack;
static struct api_client api;
static struct instance *second;
static struct api_client second_api;

static int setup(void **state)
{
    crypto_setup();
    setenv("CACHE_BYTES", "0", 1); /* so that every read is a load */
    stack = api_setup(state, &api, STACK_ALL);
    second = instance_start(
        stack,
        &(struct instance_options){.service = "query-service", .name = "second", .port_offset = PORT_OFFSET});
    instance_open_api(second, &second_api);
    stack_signal(stack, "projector", SIGSTOP);
    reads_redis(stack, "FLUSHALL", NULL);
    return 0;
}

static int teardown(void **state)
{
    api_close(&second_api);
    instance_destroy(second);
    stack_signal(stack, "projector", SIGCONT);
    return api_teardown(state);
}

/* What one loaded the other finds. A moment too late on a busy machine, and it has to load for itself: so
 * this asks for one target after the other. */
/* Whether one more answer was left for the fleet: a moment after it was given, or not at all. */
static bool left_more(int64_t before)
{
    enum { MOMENT_MS = 1000 };
    int64_t deadline_us = clock_deadline_us(MOMENT_MS);
    while (reads_metric(&api, "coupon_read_shares_total{outcome=\"left\"}") <= before) {
        if (clock_remaining_ms(deadline_us) == 0)
            return false;
        wait_moment();
    }
    return true;
}

static void what_one_loads_the_other_finds(void **state)
{
    (void)state;
    char path[128];
    int target = 0;
    struct http_answer answer;
    bool shared = false;
    while (!shared && ++target <= 100) {
        int64_t left = reads_metric(&api, "coupon_read_shares_total{outcome=\"left\"}");
        snprintf(path, sizeof path, "/v1/campaigns?limit=%d", target);
        answer = api_get(&api, path, NULL);
        api_expect(&answer, 200, NULL);
        if (!reads_is_from(&answer, "postgres"))
            fail_msg("%.*s", SPAN_ARG(http_answer_header(&answer, "Cache-Status")));
        if (!left_more(left))
            continue; /* Redis was too late on a busy machine, and the process went alone: as it should */
        int64_t loads = reads_metric(&second_api, LOADS);
        answer = api_get(&second_api, path, NULL);
        api_expect(&answer, 200, NULL);
        shared = reads_is_from(&answer, "postgres, shared");
        if (shared)
            assert_int_equal(reads_metric(&second_api, LOADS), loads);
    }
    assert_true(shared);
}

/* I9 across the fleet: a shared answer from before the token is not taken. */
static void a_token_is_honoured_across_the_fleet(void **state)
{
    (void)state;
    char path[128], token[64];
    for (int i = 1; i <= 10; i++) {
        const char *id = api_campaign(&api, 5, "");
        snprintf(path, sizeof path, "/v1/campaigns/%s", id);
        struct http_answer answer = api_get(&api, path, NULL);
        api_expect(&answer, 200, NULL);
        answer = api_issue(&api, id, "kim");
        api_expect(&answer, 201, NULL);
        snprintf(token, sizeof token, "%.*s", SPAN_ARG(http_answer_header(&answer, "Consistency-Token")));
        answer = api_get(&second_api, path, token);
        struct json_doc *doc = json_get_doc(answer.body);
        assert_int_equal(json_get_int(doc, "issued"), 1);
        json_destroy(doc);
    }
}

static void lease_key(const char *target, char ret[KEY_TEXT_MAX + 1])
{
    struct buf hex, key;
    uint8_t hash[16];
    crypto_hash(NULL, span_of(target), hash, sizeof hash);
    buf_init(&hex, 64);
    buf_init(&key, KEY_TEXT_MAX);
    hex_encode(&hex, hash, sizeof hash);
    key_shared_lease(&key, buf_span(&hex));
    memcpy(ret, key.data, key.len + 1);
    buf_deinit(&hex);
    buf_deinit(&key);
}

/* PostgreSQL stands still while the lease goes to somebody else. */
static void a_late_holder_leaves_nothing(void **state)
{
    (void)state;
    char request[512], key[KEY_TEXT_MAX + 1];
    const char *target = "/v1/campaigns?limit=99&tag=late";
    struct http_answer answer;
    lease_key(target, key);
    int64_t late = reads_metric(&api, "coupon_read_shares_total{outcome=\"late\"}");
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n",
             target, stack_env(stack, "READ_TOKEN"));
    bool tried = false;
    while (!tried) { /* until the lease was taken away while it was held */
        assert_true(store_signal_backends(stack, "firstcome query", SIGSTOP) >= 1);
        assert_int_equal(http_client_send(api.query, span_of(request), BOUND_MS), HTTP_ANSWERED);
        WAIT_UNTIL(reads_redis(stack, "EXISTS", key, NULL) == 1, BOUND_MS);
        reads_redis(stack, "SET", key, "another", NULL);
        store_signal_backends(stack, "firstcome query", SIGCONT);
        assert_int_equal(http_client_read(api.query, BOUND_MS, &answer), HTTP_ANSWERED);
        tried = answer.status == 200; /* the stand-still may have been longer than PostgreSQL has */
        if (!tried)
            reads_redis(stack, "DEL", key, NULL);
    }
    WAIT_UNTIL(reads_metric(&api, "coupon_read_shares_total{outcome=\"late\"}") > late, BOUND_MS);
    assert_int_equal(reads_redis(stack, "DEL", key, NULL), 1); /* still the other's */
}

/* A holder that never comes back holds nobody up for long. */
static void a_dead_holder_is_not_waited_for(void **state)
{
    (void)state;
    char key[KEY_TEXT_MAX + 1];
    const char *target = "/v1/campaigns?limit=98";
    lease_key(target, key);
    reads_redis(stack, "SET", key, "dead", NULL);
    int64_t waits = reads_metric(&api, "coupon_read_lease_waits_total");
    struct http_answer answer = api_get(&api, target, NULL);
    api_expect(&answer, 200, NULL);
    assert_true(reads_is_from(&answer, "postgres, "));
    assert_true(reads_metric(&api, "coupon_read_lease_waits_total") > waits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_loads_the_other_finds),
        cmocka_unit_test(a_token_is_honoured_across_the_fleet),
        cmocka_unit_test(a_late_holder_leaves_nothing),
        cmocka_unit_test(a_dead_holder_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
