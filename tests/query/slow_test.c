/* SPDX-License-Identifier: Apache-2.0 */
/* I11 while things are slow, not dead: Redis that answers every exchange, late, behind a full queue;
 * questions that PostgreSQL cannot answer in time, at the head of the queue. */
#include "tests/lib/wait.h"

#include "bench/load/http_load.h"
#include "bench/load/load_call.h"
#include "common/base/crypto.h"
#include "events/ids.h"
#include "tests/lib/instance.h"
#include "tests/lib/proxy.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum {
    PORT_OFFSET = 7,
    PROXY_OFFSET = 8,
    REDIS_OFFSET = 4,
    LONG_MS = 30000,
    EXCHANGE_MS = 300, /* of Redis; two threads take 32 reads each at a time: some 200 reads a second */
    CROWD = 3000,      /* would take 14 s */
    ENDED_MS = 7000,   /* the deadline of 1 s, and what a busy machine does to a crowd */
    RANKINGS = 8,
};

static struct stack *stack;
static struct api_client api, slow_api;
static struct instance *slow;
static struct proxy *proxy;
static char campaign[64];

static int setup(void **state)
{
    static const char *const environment[] = {"FIRSTCOME_REQUEST_DEADLINE_MS=1000",
                                              "FIRSTCOME_REDIS_TIMEOUT_MS=500", NULL};
    static char redis_url[1024];
    crypto_setup();
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1); /* every read is a load */
    setenv("FIRSTCOME_CONNECTIONS_MAX", "12000", 1);
    setenv("FIRSTCOME_CONNECTIONS_PER_ADDRESS_MAX", "12000", 1);
    stack = api_setup(state, &api, STACK_ALL);
    const char *url = stack_env(stack, "QUERY_REDIS_URL"), *colon = strrchr(url, ':');
    int proxy_port = stack_port_base(stack) + PROXY_OFFSET;
    assert_non_null(colon);
    proxy = proxy_start(proxy_port, stack_port_base(stack) + REDIS_OFFSET);
    snprintf(redis_url, sizeof redis_url, "%.*s:%d", (int)(colon - url), url, proxy_port);
    slow = instance_start(stack, &(struct instance_options){.service = "query-service",
                                                            .name = "slow",
                                                            .port_offset = PORT_OFFSET,
                                                            .redis_url = redis_url,
                                                            .environment = environment});
    instance_open_api(slow, &slow_api);
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 10, ""));
    api_give(&api, campaign, "kim");
    reads_await_redis(&slow_api);
    return 0;
}

static int teardown(void **state)
{
    api_close(&slow_api);
    instance_destroy(slow);
    proxy_stop(proxy);
    return api_teardown(state);
}

/* --- Redis answers, late --- */

struct crowd {
    struct target target;
    size_t sent, answered, other;
    int64_t longest_us;
};

/* Each asks for another target, so that nobody's load is another's. */
static enum load_next crowd_next(void *context, size_t idle, struct load_job *ret, struct buf *request)
{
    struct crowd *crowd = context;
    char path[160];
    (void)idle;
    if (crowd->sent == CROWD)
        return LOAD_END;
    snprintf(path, sizeof path, "/v1/campaigns/%s/users/nobody-%zu", campaign, crowd->sent);
    load_call_write(&crowd->target,
                    &(struct load_call_request){
                        .method = "GET", .path = path, .token = span_of(stack_env(stack, "READ_TOKEN"))},
                    request);
    *ret = (struct load_job){.tag = crowd->sent++};
    return LOAD_SEND;
}

static void crowd_done(void *context, const struct load_result *result)
{
    struct crowd *crowd = context;
    int64_t took_us = result->done_us - result->sent_us;
    if (took_us > crowd->longest_us)
        crowd->longest_us = took_us;
    crowd->answered += result->outcome == LOAD_ANSWERED;
    crowd->other += result->outcome != LOAD_ANSWERED ||
                    (result->response.status != 200 && result->response.status != 503);
}

static void every_read_ends_by_its_deadline_behind_a_slow_redis(void **state)
{
    (void)state;
    static struct crowd crowd;
    char reason[128];
    assert_true(load_allow_descriptors(CROWD + 100));
    assert_true(target_init(&crowd.target, instance_url(slow), reason, sizeof reason));
    struct load_options options = {
        .target = &crowd.target, .connections = CROWD, .timeout_ms = 60000, .body_max = 65536};
    struct load_driver driver = {crowd_next, crowd_done, &crowd};
    proxy_delay(proxy, EXCHANGE_MS);
    struct load *load = load_create(&options, &driver);
    assert_non_null(load);
    load_run(load, clock_deadline_us(120000));
    load_destroy(load);
    proxy_delay(proxy, 0);
    print_message("the longest of %zu took %lld ms\n", crowd.answered,
                  (long long)crowd.longest_us / US_PER_MS);
    assert_int_equal(crowd.answered, CROWD);
    assert_int_equal(crowd.other, 0);
    assert_true(crowd.longest_us < ENDED_MS * US_PER_MS);
    reads_await_redis(&slow_api);
}

/* --- PostgreSQL cannot answer some questions in time --- */

/* Redis knows nothing, and what rankings count by is locked: each would take as long as it may. They have a
 * lane of their own, and say nothing about PostgreSQL: whoever asks something else is answered by it. */
static void dear_questions_cost_only_who_asks_them(void **state)
{
    (void)state;
    char path[128];
    struct http_client *clients[RANKINGS];
    struct http_answer answer;
    stack_signal(stack, "projector", SIGSTOP);
    reads_redis(stack, "FLUSHALL", NULL);
    snprintf(path, sizeof path, "/v1/campaigns/%s", campaign);
    WAIT_UNTIL((answer = api_get(&api, path, NULL), reads_is_from(&answer, "postgres")), LONG_MS);
    int64_t errors = reads_metric(&api, "coupon_read_store_errors_total");
    struct pg *holder = store_hold(stack, "LOCK TABLE issue_run IN ACCESS EXCLUSIVE MODE");
    for (int i = 0; i < RANKINGS; i++) {
        char request[512];
        snprintf(request, sizeof request,
                 "GET /v1/rankings/campaigns?window=7d&limit=%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                 "%s\r\n\r\n",
                 i + 1, stack_env(stack, "READ_TOKEN"));
        clients[i] = http_client_create(stack_env(stack, "QUERY_URL"));
        assert_int_equal(http_client_send(clients[i], span_of(request), LONG_MS), HTTP_ANSWERED);
    }
    while (reads_metric(&api, "coupon_read_store_refusals_total") < 4) { /* so many in a row open a breaker */
        answer = api_get(&api, path, NULL);
        api_expect(&answer, 200, NULL);
        assert_true(reads_is_from(&answer, "postgres"));
    }
    assert_int_equal(reads_metric(&api, "coupon_read_breaker_open{dependency=\"postgres\"}"), 0);
    for (int i = 0; i < RANKINGS; i++) {
        assert_int_equal(http_client_read(clients[i], LONG_MS, &answer), HTTP_ANSWERED);
        api_expect(&answer, 503, NULL);
        http_client_destroy(clients[i]);
    }
    assert_int_equal(reads_metric(&api, "coupon_read_store_errors_total"), errors);
    answer = api_get(&api, path, NULL);
    api_expect(&answer, 200, NULL);
    store_let_go(holder);
    stack_signal(stack, "projector", SIGCONT);
    WAIT_UNTIL((answer = api_get(&api, "/v1/rankings/campaigns?window=7d", NULL), answer.status == 200),
               LONG_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_read_ends_by_its_deadline_behind_a_slow_redis),
        cmocka_unit_test(dear_questions_cost_only_who_asks_them),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
