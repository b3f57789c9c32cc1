/* SPDX-License-Identifier: Apache-2.0 */
/* Every read against everything that can be wrong with Redis: no 5xx and no untrue answer, from the levels
 * behind the copies in process, in time, and with no more of PostgreSQL than its bulkhead. The query service
 * under test has a proxy between itself and Redis, and a steady stream of readers besides the test's own. */
#include "tests/lib/wait.h"

#include "events/ids.h"
#include "tests/lib/instance.h"
#include "tests/lib/pace.h"
#include "tests/lib/proxy.h"
#include "tests/lib/reads.h"
#include "tests/lib/redis_kit.h"
#include "tests/lib/store.h"
#include "tests/lib/stream.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { RATE = 20 };
#else
enum { RATE = 150 }; /* per second */
#endif
enum {
    PORT_OFFSET = 7,
    PROXY_OFFSET = 8,
    REDIS_OFFSET = 4,
    ROUNDS = 2,
    ANSWER_MS = 2000,                     /* on any machine */
    P95_MS = 250,                         /* what incident 2 promises, on a machine of one's own */
    STREAMED = RATE / 3,                  /* answers to the stream under each condition, at least */
    STORE_CONNECTIONS = 4,                /* as is usual */
    BULKHEAD = STORE_CONNECTIONS + 2 + 1, /* and two for dear reads, and the feed's */
    SETTLE_MS = 120000,
};

static struct stack *stack;
static struct api_client api;
static struct instance *behind_proxy;
static struct api_client through; /* its API */
static struct proxy *proxy;
static struct reads reads;

static void write_read(uint64_t number, struct load_call_request *ret)
{
    ret->method = "GET";
    ret->path = reads.records[number % reads.count].path;
}

static struct stream stream = {.name = "readers", .write = write_read, .wanted_status = 200};

/* One campaign per slice with a coupon in each, and one with two pages of holders. */
static void fill(void)
{
    unsigned filled = 0;
    for (int i = 0; filled != (1u << SLICE_COUNT) - 1; i++) {
        char id[32];
        snprintf(id, sizeof id, "m-%d", i);
        if (filled & 1u << slice_of(span_of(id)))
            continue;
        filled |= 1u << slice_of(span_of(id));
        api_campaign_of(&api, id, 100, ",\"per_user_limit\":2,\"tags\":[\"some\"]");
        api_give(&api, id, "everywhere");
    }
    for (int i = 1; i <= 25; i++)
        api_give(&api, "m-0", textf("holder-%d", i));
}

static void record(void)
{
    reads_init(&reads, &through);
    reads_record_pages(&reads, "/v1/campaigns?limit=7");
    reads_record_pages(&reads, "/v1/campaigns?tag=some&status=active");
    reads_record(&reads, "/v1/campaigns/m-0");
    reads_record_pages(&reads, "/v1/campaigns/m-0/coupons?limit=20");
    reads_record(&reads, "/v1/campaigns/m-0/users/everywhere");
    reads_record(&reads, "/v1/campaigns/m-0/users/nobody");
    reads_record_pages(&reads, "/v1/users/everywhere/coupons?limit=9");
    reads_record(&reads, "/v1/users/nobody/coupons");
    reads_record(&reads, "/v1/rankings/campaigns?limit=5");
    reads_record(&reads, textf("/v1/coupons/c%d-2", slice_of(SPAN("m-0"))));
}

static void start_behind_proxy(void)
{
    static char redis_url[1024];
    int proxy_port = stack_port_base(stack) + PROXY_OFFSET;
    proxy = proxy_start(proxy_port, stack_port_base(stack) + REDIS_OFFSET);
    proxy_url(stack_env(stack, "QUERY_REDIS_URL"), stack_port_base(stack) + REDIS_OFFSET, proxy_port,
              redis_url, sizeof redis_url);
    behind_proxy = instance_start(stack, &(struct instance_options){.service = "query-service",
                                                                    .name = "proxied",
                                                                    .port_offset = PORT_OFFSET,
                                                                    .redis_url = redis_url});
    instance_open_api(behind_proxy, &through);
}

static int setup(void **state)
{
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1); /* what answers is the levels behind */
    stack = api_setup(state, &api, STACK_ALL);
    start_behind_proxy();
    fill();
    record();
    stack_service(stack, "query-service", "stop"); /* what PostgreSQL sees is the other's */
    stream.token = stack_env(stack, "READ_TOKEN");
    stream_start(&stream, instance_url(behind_proxy), RATE);
    return 0;
}

static int teardown(void **state)
{
    stream_stop(&stream);
    reads_deinit(&reads);
    api_close(&through);
    instance_destroy(behind_proxy);
    proxy_stop(proxy);
    return api_teardown(state);
}

static int64_t backends(const char *which)
{
    char sql[192];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'firstcome query' %s", which);
    return store_number(stack, sql);
}

/* Everything as it was, nothing that does not exist, and the feed. */
static void one_round(void)
{
    static const char *const missing[] = {"/v1/campaigns/never-made", "/v1/campaigns/never-made/coupons",
                                          "/v1/coupons/c3-90000"};
    reads_compare(&reads, NULL, ANSWER_MS);
    for (size_t i = 0; i < COUNT_OF(missing); i++)
        api_expect(api_get(&through, missing[i], NULL), 404, i < 2 ? "unknown-campaign" : "unknown-coupon");
    api_expect(api_get(&through, "/v1/events?slice=1&limit=1", NULL), 200, NULL);
}

/* A few rounds, and so many reads of the stream; all of them in time, with no more of PostgreSQL than its
 * share: neither connections nor statements at one time. */
static void all_is_true(const char *condition)
{
    size_t from = stream_mark(&stream);
    int64_t start_us = clock_mono_us(), busiest = 0, active;
    for (int round = 0; round < ROUNDS; round++) {
        one_round();
        assert_in_range(backends(""), 1, BULKHEAD);
        active = backends("AND state = 'active'");
        busiest = active > busiest ? active : busiest;
    }
    WAIT_UNTIL((active = backends("AND state = 'active'"), busiest = active > busiest ? active : busiest,
                stream_mark(&stream) >= from + STREAMED),
               SETTLE_MS);
    size_t to = stream_mark(&stream);
    stream_print(&stream, condition, from, to);
    int64_t p95_us = stream_percentile_us(&stream, from, to, 950);
    print_message("    p95 goal: %d ms; at most %lld statements at once in PostgreSQL, of %d connections\n",
                  P95_MS, (long long)busiest, BULKHEAD);
    assert_in_range(p95_us, 1, ANSWER_MS * US_PER_MS + 10 * pace_late_us(start_us));
    assert_in_range(busiest, 0, BULKHEAD);
    if (stream.bad)
        fail_msg("%s: %llu of the stream were not answered with 200, for instance %d", condition,
                 (unsigned long long)stream.bad, stream.bad_status);
}

static void everything_is_as_before(void)
{
    reads_await_redis(&through);
    reads_compare(&reads, NULL, ANSWER_MS);
}

static void healthy(void **)
{
    all_is_true("healthy");
    reads_compare(&reads, "redis", ANSWER_MS);
}

static void down(void **)
{
    stack_signal(stack, "redis", SIGKILL);
    all_is_true("down");
    stack_restart_servers(stack);
    everything_is_as_before();
}

static void frozen(void **)
{
    stack_signal(stack, "redis", SIGSTOP);
    all_is_true("frozen");
    stack_signal(stack, "redis", SIGCONT);
    everything_is_as_before();
}

static void late(void **)
{
    proxy_delay(proxy, 1000);
    all_is_true("1000 ms late");
    struct http_answer answer = api_get(&through, "/v1/campaigns/m-0", NULL);
    assert_false(reads_is_from(&answer, "redis")); /* it may take 500 ms */
    proxy_delay(proxy, 0);
    everything_is_as_before();
}

static void full(void **)
{
    reads_redis(stack, "CONFIG", "SET", "maxmemory", "1", NULL);
    all_is_true("full");
    reads_redis(stack, "CONFIG", "SET", "maxmemory", "512mb", NULL);
    everything_is_as_before();
}

/* One connection from before: to a replica none is made. */
static void a_replica(void **)
{
    struct redis *redis = redis_kit_connect(stack_env(stack, "REDIS_URL"));
    REDIS_SEND(redis, "REPLICAOF", "127.0.0.1", "1");
    (void)redis_kit_receive(redis);
    all_is_true("a replica");
    REDIS_SEND(redis, "REPLICAOF", "NO", "ONE");
    (void)redis_kit_receive(redis);
    redis_destroy(redis);
    everything_is_as_before();
}

static void refusing(void **)
{
    static const char *const errors[] = {
        "-LOADING Redis is loading the dataset in memory",
        "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "-READONLY You can't write against a read only replica.",
        "-OOM command not allowed when used memory > 'maxmemory'.",
        "-NOAUTH Authentication required.",
        "-BUSY Redis is busy running a script.",
        "-ERR something else",
    };
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        proxy_refuse(proxy, errors[i]);
        all_is_true(errors[i]);
        proxy_refuse(proxy, NULL);
        everything_is_as_before();
    }
}

static void emptied(void **)
{
    stack_signal(stack, "projector", SIGSTOP);
    reads_redis(stack, "FLUSHALL", NULL);
    all_is_true("emptied");
    stack_signal(stack, "projector", SIGCONT);
    all_is_true("being filled again");
    everything_is_as_before();
}

/* Each half in turn, while the projector may repair or may not. */
static void half_gone(void **)
{
    static const char script[] = "for i,k in ipairs(redis.call('KEYS','fc:*')) do "
                                 "if i%2==tonumber(ARGV[1]) then redis.call('DEL',k) end end return 1";
    for (int half = 0; half < 4; half++) {
        if (half < 2)
            stack_signal(stack, "projector", SIGSTOP);
        reads_redis(stack, "EVAL", script, "0", half % 2 ? "1" : "0", NULL);
        all_is_true(half < 2 ? "half gone, nobody repairs" : "half gone");
        if (half < 2)
            stack_signal(stack, "projector", SIGCONT);
        reads_redis(stack, "FLUSHALL", NULL); /* what nothing builds on would not be repaired now */
        everything_is_as_before();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(healthy),  cmocka_unit_test(down),    cmocka_unit_test(frozen),
        cmocka_unit_test(late),     cmocka_unit_test(full),    cmocka_unit_test(a_replica),
        cmocka_unit_test(refusing), cmocka_unit_test(emptied), cmocka_unit_test(half_gone),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
