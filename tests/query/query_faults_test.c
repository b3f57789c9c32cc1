/* SPDX-License-Identifier: Apache-2.0 */
/* The read API while Redis, PostgreSQL or both fail, and while keys of Redis are missing or broken: true and
 * in time, or refused in time. */
#include "tests/lib/wait.h"

#include "readmodel/keys.h"
#include "tests/lib/cluster.h"
#include "tests/lib/pace.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum {
    HOLDERS = 40,
    FAST_MS = 2000,    /* a read while one dependency is gone; mostly a few, but the machine is shared */
    REFUSED_MS = 2000, /* the deadline */
    RECOVERED_MS = 120000,
};

/* That a campaign does not exist is not in the models. */
#define ONLY_IN_THE_LOG "/v1/campaigns/unheard-of"
#define SOME            ",\"per_user_limit\":2,\"tags\":[\"some\"]"

static struct stack *stack;
static struct api_client api;
static struct reads reads;

/* One campaign per slice, "f-<n>", each with a coupon; "f-0" with many. */
static void fill(void)
{
    unsigned filled = 0;
    for (int i = 0; filled != (1u << SLICE_COUNT) - 1; i++) {
        char id[32];
        snprintf(id, sizeof id, "f-%d", i);
        unsigned slice = 1u << slice_of(span_of(id));
        if (filled & slice)
            continue;
        filled |= slice;
        api_campaign_of(&api, id, 100, SOME);
        api_give(&api, id, "twice");
        api_give(&api, id, "twice");
    }
    for (int i = 1; i <= HOLDERS; i++)
        api_give(&api, "f-0", textf("holder-%d", i));
}

static int setup(void **state)
{
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1);        /* what answers is the levels behind */
    setenv("FIRSTCOME_REDIS_TIMEOUT_MS", "400", 1); /* a busy machine is not a Redis that is gone */
    stack_default_deadlines();
    stack = api_setup(state, &api, STACK_ALL);
    api_campaign_of(&api, "f-none", 100,
                    SOME); /* a slice with events, and nothing issued anywhere: Redis can tell that, too */
    reads_init(&reads, &api);
    reads_record(&reads, "/v1/rankings/campaigns");
    assert_string_equal(reads.records[0].body, "{\"items\":[],\"since\":null}");
    reads_deinit(&reads);
    fill();
    reads_init(&reads, &api);
    reads_record_pages(&reads, "/v1/campaigns?limit=5");
    reads_record_pages(&reads, "/v1/campaigns?tag=some");
    reads_record_pages(&reads, "/v1/campaigns/f-0/coupons?limit=20");
    reads_record(&reads, "/v1/campaigns/f-0");
    reads_record(&reads, "/v1/campaigns/f-0/users/twice");
    reads_record(&reads, "/v1/campaigns/f-0/users/holder-7");
    reads_record(&reads, "/v1/rankings/campaigns");
    reads_record(&reads, "/v1/users/twice/coupons?limit=100");
    reads_record_pages(&reads, "/v1/users/twice/coupons?limit=9");
    reads_record(&reads, "/v1/users/holder-7/coupons");
    reads_record(&reads, "/v1/users/nobody/coupons");
    reads_record(&reads, "/v1/campaigns/f-0/users/nobody");
    reads_record(&reads, textf("/v1/coupons/c%d-2", slice_of(SPAN("f-0"))));
    return 0;
}

static int teardown(void **state)
{
    reads_deinit(&reads);
    return api_teardown(state);
}

static void everything_is_as_before(void)
{
    reads_await_redis(&api);
    reads_compare(&reads, "redis", FAST_MS);
}

static void redis_frozen(void **)
{
    stack_signal(stack, "redis", SIGSTOP);
    for (int i = 0; i < 3; i++) /* before the breaker opens, and after */
        reads_compare(&reads, "postgres", FAST_MS);
    stack_signal(stack, "redis", SIGCONT);
    everything_is_as_before();
}

static void redis_killed(void **)
{
    stack_signal(stack, "redis", SIGKILL);
    for (int i = 0; i < 3; i++)
        reads_compare(&reads, "postgres", FAST_MS);
    stack_restart_servers(stack);
    everything_is_as_before();
}

static void redis_flushed_again_and_again(void **)
{
    for (int i = 0; i < 20; i++) {
        reads_redis(stack, "FLUSHALL", NULL);
        reads_compare(&reads, NULL, FAST_MS);
    }
    everything_is_as_before();
}

/* I7: each of these keys gone, alone, is noticed; nobody is told that something does not exist. */
static void missing_keys_are_noticed(void **)
{
    static const char *const keys[] = {"c:f-0", "h:f-0:0", "p:0", "u:0", "cs", "r:issued", "a:issued"};
    int16_t slice = slice_of(SPAN("f-0"));
    char root[24];
    snprintf(root, sizeof root, "fc:{%d}", slice);
    stack_signal(stack, "projector", SIGSTOP); /* it might repair */
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_int_equal(reads_redis(stack, "DEL", reads_key(stack, slice, keys[i]), NULL), 1);
        reads_compare(&reads, NULL, FAST_MS);
    }
    reads_redis(stack, "DEL", root, NULL);
    reads_compare(&reads, NULL, FAST_MS);
    stack_signal(stack, "projector", SIGCONT);
    reads_redis(stack, "FLUSHALL", NULL);
    everything_is_as_before();
}

/* What was lost and is begun anew by a later write has no mark, and is not taken for whole. */
static void what_is_begun_anew_is_noticed(void **)
{
    int16_t slice = slice_of(SPAN("f-0"));
    stack_signal(stack, "projector", SIGSTOP);
    for (size_t i = 0; i < 3; i++) {
        static const char *const sets[] = {"cs", "r:issued", "a:issued"};
        const char *key = reads_key(stack, slice, sets[i]);
        reads_redis(stack, "DEL", key, NULL);
        reads_redis(stack, "ZADD", key, "5", i == 1 ? "7ff9d0c4b7b1ffff1f-0" : "f-0", NULL);
    }
    const char *bucket = reads_key(stack, slice, "u:0"), *states = reads_key(stack, slice, "s:0");
    const char *holders = reads_key(stack, slice, "h:f-0:0"), *coupons = reads_key(stack, slice, "p:0");
    reads_redis(stack, "DEL", bucket, NULL);
    reads_redis(stack, "APPEND", bucket, "0123456789012345678", NULL);
    reads_redis(stack, "DEL", states, NULL);
    reads_redis(stack, "HSET", states, "63", "x", NULL);
    reads_redis(stack, "DEL", holders, NULL);
    reads_redis(stack, "SETRANGE", holders, "10", "12345", NULL);
    reads_compare(&reads, NULL, FAST_MS);
    reads_redis(stack, "DEL", coupons, NULL);
    reads_redis(stack, "SETRANGE", coupons, "100", "more", NULL);
    reads_compare(&reads, NULL, FAST_MS);
    stack_signal(stack, "projector", SIGCONT);
    everything_is_as_before(); /* readers met it, so it is made anew */
}

static void broken_keys_are_noticed(void **)
{
    int16_t slice = slice_of(SPAN("f-0"));
    char root[24];
    snprintf(root, sizeof root, "fc:{%d}", slice);
    const char *campaign = reads_key(stack, slice, "c:f-0"), *coupons = reads_key(stack, slice, "p:0");
    const char *holders = reads_key(stack, slice, "h:f-0:0"), *user = reads_key(stack, slice, "u:0");
    const char *set = reads_key(stack, slice, "cs");
    stack_signal(stack, "projector", SIGSTOP);
    reads_redis(stack, "SETRANGE", campaign, "0", "\xc1", NULL);
    reads_redis(stack, "SETRANGE", coupons, "3", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", NULL);
    reads_redis(stack, "SETRANGE", holders, "0", "zzzzz", NULL);
    reads_redis(stack, "APPEND", user, "half a holding", NULL);
    reads_redis(stack, "ZADD", set, "5", "Not An Id", NULL);
    reads_compare(&reads, NULL, FAST_MS);
    reads_redis(stack, "DEL", campaign, coupons, set, user, NULL);
    reads_redis(stack, "HSET", campaign, "another", "type", NULL);
    reads_redis(stack, "HSET", coupons, "another", "type", NULL);
    reads_redis(stack, "SET", set, "another type", NULL);
    reads_redis(stack, "HSET", user, "another", "type", NULL);
    reads_compare(&reads, NULL, FAST_MS);
    reads_redis(stack, "HSET", root, "buckets", "rubbish", NULL);
    reads_compare(&reads, NULL, FAST_MS);
    stack_signal(stack, "projector", SIGCONT);
    reads_redis(stack, "FLUSHALL", NULL);
    everything_is_as_before();
}

/* A stopped projector: its models are believed for a few seconds, then no more. */
static void old_models_are_not_believed(void **)
{
    struct http_answer answer;
    stack_signal(stack, "projector", SIGSTOP);
    WAIT_UNTIL((answer = api_get(&api, "/v1/campaigns/f-0", NULL), reads_is_from(&answer, "postgres, old")),
               60000);
    reads_compare(&reads, "postgres", FAST_MS);
    stack_signal(stack, "projector", SIGCONT);
    everything_is_as_before();
}

static struct http_answer get_in_time(const char *path)
{
    int64_t start_us = clock_mono_us();
    struct http_answer answer = api_get(&api, path, NULL);
    pace_within(start_us, REFUSED_MS * US_PER_MS, path);
    return answer;
}

/* What Redis knows goes on; what only PostgreSQL knows is refused in time. */
static void postgres_frozen(void **)
{
    struct http_answer answer;
    everything_is_as_before();
    cluster_signal_all(stack, SIGSTOP); /* the postmaster first, so that nobody connects meanwhile */
    for (int i = 0; i < 10; i++) {
        answer = api_expect(get_in_time(ONLY_IN_THE_LOG), 503, "store-unavailable");
        assert_true(http_answer_header(&answer, "Retry-After").ptr != NULL);
        WAIT_UNTIL((answer = get_in_time("/v1/campaigns/f-0"), answer.status == 200), RECOVERED_MS);
        assert_true(reads_is_from(&answer, "redis"));
    }
    reads_compare(&reads, "redis", FAST_MS); /* those of users among them */
    cluster_signal_all(stack, SIGCONT);
    WAIT_UNTIL((answer = api_get(&api, ONLY_IN_THE_LOG, NULL), answer.status == 404), RECOVERED_MS);
    everything_is_as_before();
}

/* As if the projector had last looked after the models so long ago. */
static void age_models(int64_t ago_ms)
{
    char left[24];
    snprintf(left, sizeof left, "%lld", (long long)(SEEN_KEPT_MS - ago_ms));
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        assert_int_equal(reads_redis(stack, "PEXPIRE", textf("fc:{%d}:heartbeat", slice), left, NULL), 1);
    }
}

/* Without PostgreSQL no projector knows whether the models are current. What Redis knows is told all the
 * same, with its age, for as long as copies are kept for failures; nothing that somebody is about to act on,
 * nor that there is no such thing, nor what a reader has seen more than. */
static void postgres_away_for_long(void **)
{
    enum { AGO_S = 100, ERROR_S = 600 };
    struct http_answer answer;
    int16_t slice = slice_of(SPAN("f-0"));
    int64_t age_s;
    everything_is_as_before();
    stack_signal(stack, "projector", SIGSTOP);
    stack_signal(stack, "postgresql", SIGQUIT);
    age_models(AGO_S * 1000);
    WAIT_UNTIL((answer = api_get(&api, ONLY_IN_THE_LOG, NULL), answer.status == 503), RECOVERED_MS);
    reads_compare(&reads, "redis", FAST_MS);
    answer = api_expect(api_get(&api, "/v1/campaigns/f-0", NULL), 200, NULL);
    assert_true(reads_is_from(&answer, "stale-if-error"));
    struct span age = http_answer_header(&answer, "Age");
    assert_true(parse_i64(age, 0, ERROR_S, &age_s) && age_s >= AGO_S);
    api_expect(api_get(&api, textf("/v1/coupons/c%d-2/validity?user_id=twice", slice), NULL), 503,
               "store-unavailable");
    api_expect(api_get(&api, ONLY_IN_THE_LOG, NULL), 503, "store-unavailable");
    api_expect(api_get(&api, "/v1/campaigns/f-0", textf("v1.%d.999999", slice)), 503, "store-unavailable");
    age_models(2 * ERROR_S * 1000);
    answer = api_expect(api_get(&api, "/v1/campaigns/f-0", NULL), 503, "store-unavailable");
    stack_restart_servers(stack);
    stack_signal(stack, "projector", SIGCONT);
    WAIT_UNTIL((answer = api_get(&api, ONLY_IN_THE_LOG, NULL), answer.status == 404), RECOVERED_MS);
    everything_is_as_before();
}

static void both_down(void **)
{
    struct http_answer answer;
    cluster_signal_all(stack, SIGSTOP);
    stack_signal(stack, "redis", SIGSTOP);
    for (size_t i = 0; i < reads.count; i++) {
        answer = api_expect(get_in_time(reads.records[i].path), 503, "store-unavailable");
    }
    struct http_call ready = {.path = "/readyz"};
    WAIT_UNTIL(http_client_call(api.query, &ready, &answer) == HTTP_ANSWERED && answer.status == 503,
               RECOVERED_MS);
    stack_signal(stack, "redis", SIGCONT);
    cluster_signal_all(stack, SIGCONT);
    WAIT_UNTIL(http_client_call(api.query, &ready, &answer) == HTTP_ANSWERED && answer.status == 200,
               RECOVERED_MS);
    WAIT_UNTIL((answer = api_get(&api, ONLY_IN_THE_LOG, NULL), answer.status == 404), RECOVERED_MS);
    everything_is_as_before();
}

static void postgres_restarted(void **)
{
    struct http_answer answer;
    stack_signal(stack, "postgresql", SIGQUIT); /* immediate shutdown */
    WAIT_UNTIL((answer = api_get(&api, ONLY_IN_THE_LOG, NULL), answer.status == 503), REFUSED_MS);
    reads_compare(&reads, "redis", FAST_MS);
    stack_restart_servers(stack);
    WAIT_UNTIL((answer = api_get(&api, ONLY_IN_THE_LOG, NULL), answer.status == 404), RECOVERED_MS);
    everything_is_as_before();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_frozen),
        cmocka_unit_test(redis_killed),
        cmocka_unit_test(redis_flushed_again_and_again),
        cmocka_unit_test(missing_keys_are_noticed),
        cmocka_unit_test(what_is_begun_anew_is_noticed),
        cmocka_unit_test(broken_keys_are_noticed),
        cmocka_unit_test(old_models_are_not_believed),
        cmocka_unit_test(postgres_frozen),
        cmocka_unit_test(postgres_away_for_long),
        cmocka_unit_test(both_down),
        cmocka_unit_test(postgres_restarted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
