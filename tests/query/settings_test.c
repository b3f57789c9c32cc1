/* SPDX-License-Identifier: Apache-2.0 */
/* What is set, and who is suspended, while query services run: each setting of theirs seen from the reader's
 * side, within a second, in every process. */
#include "tests/lib/wait.h"

#include "events/ids.h"
#include "tests/lib/instance.h"
#include "tests/lib/reads.h"
#include "tests/lib/steer.h"
#include "tests/lib/store.h"

enum { PORT_OFFSET = 7, BUSY_MS = 120000 /* for what is not the promise */ };

static struct stack *stack;
static struct api_client api, second_api;
static struct api_client *const services[] = {&api, &second_api};
static struct instance *second;
static struct steer steer;
static char path[128];

static int setup(void **state)
{
    stack = api_setup(state, &api, STACK_ALL);
    second = INSTANCE_START(stack, "query-service", "second", PORT_OFFSET);
    instance_open_api(second, &second_api);
    steer = (struct steer){stack, api.command};
    snprintf(path, sizeof path, "/v1/campaigns/%s", api_campaign(&api, 10, ""));
    (void)reads_get(&api, path);
    return 0;
}

static int teardown(void **state)
{
    api_close(&second_api);
    instance_destroy(second);
    return api_teardown(state);
}

static bool says(struct api_client *service, const char *cache_control)
{
    struct http_answer answer = api_expect(api_get(service, path, NULL), 200, NULL);
    return span_is(http_answer_header(&answer, "Cache-Control"), cache_control);
}

/* A service has a second from the answer; the time its readings really take is told by the test's own. */
static void becomes(const char *cache_control)
{
    int64_t start_us = clock_mono_us();
    for (size_t i = 0; i < COUNT_OF(services); i++)
        WAIT_UNTIL(says(services[i], cache_control), BUSY_MS);
    print_message("%s after %lld ms\n", cache_control, (long long)(clock_mono_us() - start_us) / US_PER_MS);
}

static void put(const char *name, const char *value)
{
    api_expect(steer_put(&steer, name, value), 200, NULL);
}

static void lives_are_set_while_it_runs(void **)
{
    becomes("private, max-age=1, stale-while-revalidate=60, stale-if-error=600");
    put("fresh_ms", "7000");
    becomes("private, max-age=7, stale-while-revalidate=60, stale-if-error=600");
    put("stale_ms", "11000");
    becomes("private, max-age=7, stale-while-revalidate=11, stale-if-error=600");
    put("stale_if_error_ms", "13000");
    becomes("private, max-age=7, stale-while-revalidate=11, stale-if-error=13");
    put("fresh_ms", "null");
    put("stale_ms", "null");
    put("stale_if_error_ms", "null");
    becomes("private, max-age=1, stale-while-revalidate=60, stale-if-error=600");
}

static void a_profile_sets_all_of_them(void **)
{
    put("profile", "\"incident\"");
    becomes("private, max-age=2, stale-while-revalidate=300, stale-if-error=3600");
    put("profile", "\"normal\"");
    becomes("private, max-age=1, stale-while-revalidate=60, stale-if-error=600");
}

/* What is said of a life is what it is: with a minute every read is a fresh hit, with none
 * nobody gets one. */
static void entries_live_by_what_is_set(void **)
{
    struct http_answer answer;
    put("fresh_ms", "60000");
    becomes("private, max-age=60, stale-while-revalidate=60, stale-if-error=600");
    WAIT_UNTIL((answer = api_get(&api, path, NULL), reads_is_from(&answer, "detail=memory")), BUSY_MS);
    int64_t refreshes = reads_metric(&api, "coupon_cache_refreshes_total");
    for (int i = 0; i < 100; i++) {
        answer = api_get(&api, path, NULL);
        assert_true(reads_is_from(&answer, "detail=memory"));
    }
    assert_int_equal(reads_metric(&api, "coupon_cache_refreshes_total"), refreshes);
    put("fresh_ms", "0");
    put("stale_ms", "0");
    becomes("private, max-age=0, stale-while-revalidate=0, stale-if-error=600");
    for (int i = 0; i < 20; i++) {
        answer = api_get(&api, path, NULL);
        assert_false(reads_is_from(&answer, "memory"));
    }
    /* Nothing behind answers: the entry is given for as long as stale_if_error_ms says. */
    stack_signal(stack, "projector", SIGSTOP);
    reads_redis(stack, "FLUSHALL", NULL);
    struct pg *holder = store_hold(stack, "LOCK TABLE campaign IN ACCESS EXCLUSIVE MODE");
    WAIT_UNTIL((answer = api_get(&api, path, NULL), reads_is_from(&answer, "stale-if-error")), BUSY_MS);
    put("stale_if_error_ms", "0");
    WAIT_UNTIL((answer = api_get(&api, path, NULL), answer.status == 503), BUSY_MS);
    put("stale_if_error_ms", "null");
    WAIT_UNTIL((answer = api_get(&api, path, NULL), reads_is_from(&answer, "stale-if-error")), BUSY_MS);
    store_let_go(holder);
    stack_signal(stack, "projector", SIGCONT);
    put("fresh_ms", "null");
    put("stale_ms", "null");
}

static void the_log_level_is_that_of_all_services(void **)
{
    struct http_client *projector = http_client_create(stack_env(stack, "PROJECTOR_URL"));
    struct http_client *const all[] = {api.command, api.query, second_api.query, projector};
    static const char *const values[] = {"4", "1", "null"};
    static const int64_t levels[] = {4, 1, 2};
    for (size_t v = 0; v < COUNT_OF(values); v++) {
        put("log_level", values[v]);
        for (size_t i = 0; i < COUNT_OF(all); i++)
            WAIT_UNTIL(http_client_metric(all[i], "coupon_log_level") == levels[v], BUSY_MS);
    }
    http_client_destroy(projector);
}

static bool refused(struct api_client *service, const char *target)
{
    struct http_answer answer = api_get(service, target, NULL);
    if (answer.status == 403)
        assert_string_equal(api_problem(&answer), "issuer-suspended");
    return answer.status == 403;
}

/* The kill switch covers reads: also what is in memory, the feed and the status. */
static void a_leaked_read_key_is_cut_off(void **)
{
    const char *const targets[] = {path, "/v1/events?slice=0", "/v1/status", "/v1/campaigns"};
    steer_issuer(&steer, "read", "suspend", 200, NULL);
    int64_t start_us = clock_mono_us();
    for (size_t i = 0; i < COUNT_OF(services); i++)
        for (size_t j = 0; j < COUNT_OF(targets); j++)
            WAIT_UNTIL(refused(services[i], targets[j]), BUSY_MS);
    print_message("cut off after %lld ms\n", (long long)(clock_mono_us() - start_us) / US_PER_MS);
    steer_issuer(&steer, "read", "resume", 200, NULL);
    for (size_t i = 0; i < COUNT_OF(services); i++)
        WAIT_UNTIL(!refused(services[i], path), BUSY_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives_are_set_while_it_runs),
        cmocka_unit_test(a_profile_sets_all_of_them),
        cmocka_unit_test(the_log_level_is_that_of_all_services),
        cmocka_unit_test(a_leaked_read_key_is_cut_off),
        cmocka_unit_test(entries_live_by_what_is_set),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
