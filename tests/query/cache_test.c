/* SPDX-License-Identifier: Apache-2.0 */
/* The copies that the query service keeps in process: what is answered from them and how it says so, that
 * changes show, that a Consistency-Token is honoured, that a crowd at one cold target is one load, and what
 * is left when nothing behind them answers. */
#include "tests/lib/wait.h"

#include <pthread.h>

#include "events/ids.h"
#include "readmodel/keys.h"
#include "tests/lib/cluster.h"
#include "tests/lib/instance.h"
#include "tests/lib/pace.h"
#include "tests/lib/reads.h"
#include "tests/lib/rush.h"
#include "tests/lib/store.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { CROWD = 1500 };
#else
enum { CROWD = 10000 }; /* connections of this process, and of the service: as many as a usual limit allows */
#endif
enum { SHOWS_MS = 120000, REFUSED_MS = 2500, PORT_OFFSET = 7 };

#define POSTGRES_LOADS "coupon_read_loads_total{source=\"postgres\"}"

static struct stack *stack;
static struct api_client api;

/* Copies do not grow old in these tests, unless a test says so: what shows is not for lack of time. */
static void set_lives(const char *fresh_ms, const char *stale_ms, const char *error_ms)
{
    setenv("FIRSTCOME_FRESH_MS", fresh_ms, 1);
    setenv("FIRSTCOME_STALE_MS", stale_ms, 1);
    setenv("FIRSTCOME_STALE_IF_ERROR_MS", error_ms, 1);
}

static int setup(void **state)
{
    set_lives("60000", "3600000", "3600000");
    setenv("FIRSTCOME_DRAIN_GRACE_MS", "0", 1); /* it is restarted often */
    setenv("FIRSTCOME_CONNECTIONS_MAX", "12000", 1);
    setenv("FIRSTCOME_CONNECTIONS_PER_ADDRESS_MAX", "12000", 1);
    stack_default_deadlines();
    stack = api_setup(state, &api, STACK_ALL);
    return 0;
}

static struct http_answer get(const char *path)
{
    return api_get(&api, path, NULL);
}

static struct http_answer get_if(const char *path, const char *etags)
{
    char header[256];
    const char *const headers[] = {header, NULL};
    snprintf(header, sizeof header, "If-None-Match: %s", etags);
    return API_ASK(api.query, .path = path, .token = stack_env(stack, "READ_TOKEN"), .headers = headers);
}

static const char *path_of(const char *campaign)
{
    static char path[128];
    snprintf(path, sizeof path, "/v1/campaigns/%s", campaign);
    return path;
}

static int64_t issued_in(const struct http_answer *answer)
{
    api_expect(*answer, 200, NULL);
    return body_int(answer->body, "issued");
}

/* --- hits --- */

static void the_second_read_is_from_memory(void **)
{
    char path[128], body[2048], etag[64], etags[160];
    snprintf(path, sizeof path, "%s", path_of(api_campaign(&api, 10, "")));
    struct http_answer answer = api_expect(reads_get(&api, path), 200, NULL); /* once the models have it */
    WAIT_UNTIL((answer = get(path), reads_is_from(&answer, "memory")), SHOWS_MS);
    assert_true(reads_is_from(&answer, "firstcome-query; hit; ttl="));
    assert_true(answer.body.len < sizeof body);
    snprintf(body, sizeof body, "%.*s", SPAN_ARG(answer.body));
    snprintf(etag, sizeof etag, "%.*s", SPAN_ARG(http_answer_header(&answer, "ETag")));
    assert_true(span_is(http_answer_header(&answer, "Cache-Control"),
                        "private, max-age=60, stale-while-revalidate=3600, stale-if-error=3600"));
    int64_t age;
    assert_true(parse_i64(http_answer_header(&answer, "Age"), 0, 3600, &age));

    answer = get(path);
    assert_true(span_is(answer.body, body));
    assert_true(span_is(http_answer_header(&answer, "ETag"), etag));
    snprintf(etags, sizeof etags, "\"x\", W/%s", etag);
    const char *const same[] = {etag, "*", etags};
    for (size_t i = 0; i < COUNT_OF(same); i++) {
        answer = get_if(path, same[i]);
        assert_int_equal(answer.status, 304);
        assert_int_equal(answer.body.len, 0);
        assert_true(span_is(http_answer_header(&answer, "ETag"), etag));
        assert_true(http_answer_header(&answer, "Cache-Status").ptr != NULL);
    }
    api_expect(get_if(path, "\"x\", W/\"y\""), 200, NULL);
}

/* Somebody is about to act on it: no cache on the way may give it stale either. */
static void validity_is_never_stale(void **)
{
    const char *coupon = api_coupon(&api, api_campaign(&api, 10, ""), "kim");
    struct http_answer answer =
        api_expect(reads_get(&api, textf("/v1/coupons/%s/validity?user_id=kim", coupon)), 200, NULL);
    assert_true(
        span_is(http_answer_header(&answer, "Cache-Control"), "private, max-age=60, must-revalidate"));
    assert_true(body_bool(answer.body, "valid"));
}

/* Who may not read gets nothing from memory either. */
static void a_copy_is_for_readers_only(void **)
{
    char path[128];
    snprintf(path, sizeof path, "%s", path_of(api_campaign(&api, 10, "")));
    struct http_answer answer = reads_get(&api, path);
    WAIT_UNTIL((answer = get(path), reads_is_from(&answer, "memory")), SHOWS_MS);
    struct http_call call = {.path = path};
    api_expect(api_ask(api.query, &call), 401, "unauthenticated");
    call.token = stack_env(stack, "ISSUE_TOKEN");
    api_expect(api_ask(api.query, &call), 403, "forbidden");
}

/* Who spells a target in many ways fills nothing and causes no loads: `paths` ask the same. */
static void are_one_entry(const char *const *paths)
{
    struct http_answer answer = api_expect(reads_get(&api, paths[0]), 200, NULL);
    WAIT_UNTIL((answer = get(paths[0]), reads_is_from(&answer, "detail=memory")), SHOWS_MS);
    for (size_t i = 1; paths[i]; i++) {
        answer = get(paths[i]);
        if (answer.status != 200 || !reads_is_from(&answer, "memory"))
            fail_msg("%s is not answered from the entry of %s", paths[i], paths[0]);
    }
}

static void what_is_asked_is_one_entry(void **)
{
    char id[64], id_percent[80], paths[4][2600];
    const char *list[5] = {paths[0], paths[1], paths[2], paths[3], NULL};
    snprintf(id, sizeof id, "%s", api_campaign(&api, 10, ",\"tags\":[\"one-entry\"]"));
    snprintf(id_percent, sizeof id_percent, "%%%02x%s", (unsigned char)id[0], id + 1);
    snprintf(paths[0], sizeof paths[0], "/v1/campaigns/%s", id);
    snprintf(paths[1], sizeof paths[1], "/v1/campaigns/%s", id_percent);
    snprintf(paths[2], sizeof paths[2], "/v1/%%63ampaigns/%s?", id);
    snprintf(paths[3], sizeof paths[3], "/v1/campaigns/%s?%02100d", id, 0);
    memset(strchr(paths[3], '?') + 1, '&', 2100);
    are_one_entry(list);
    snprintf(paths[0], sizeof paths[0], "/v1/campaigns/%s/users/kim=", id);
    snprintf(paths[1], sizeof paths[1], "/v1/campaigns/%s/users/kim%%3d", id);
    snprintf(paths[2], sizeof paths[2], "/v1/campaigns/%s/users/%%6Bim%%3D", id);
    snprintf(paths[3], sizeof paths[3], "/v1/campaigns/%s/users/%%6b%%69%%6d%%3D", id_percent);
    are_one_entry(list);
    snprintf(paths[0], sizeof paths[0], "/v1/campaigns?tag=one-entry&status=active");
    snprintf(paths[1], sizeof paths[1], "/v1/campaigns?status=active&tag=one-entry");
    snprintf(paths[2], sizeof paths[2], "/v1/campaigns?tag=one%%2Dentry&status=active&limit=20");
    snprintf(paths[3], sizeof paths[3], "/v1/campaigns?&tag=%%6fne-entry&&%%73tatus=active&");
    are_one_entry(list);
}

/* --- changes --- */

/* The bus connects some time after the service has started; what is said before is lost. */
static void await_bus(void)
{
    WAIT_UNTIL((api_campaign(&api, 1, ""), reads_metric(&api, "coupon_read_hints_total") > 0), SHOWS_MS);
}

/* Copies are fresh for an hour here: what shows is shown by the hint. */
static void a_hint_shows_a_change(void **)
{
    struct http_answer answer;
    char id[64], campaign[128], user[160], list[] = "/v1/campaigns?limit=3";
    await_bus();
    snprintf(id, sizeof id, "%s", api_campaign(&api, 10, ""));
    snprintf(campaign, sizeof campaign, "%s", path_of(id));
    snprintf(user, sizeof user, "/v1/campaigns/%s/users/kim", id);
    const char *const paths[] = {campaign, user};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        answer = reads_get(&api, paths[i]);
        WAIT_UNTIL((answer = get(paths[i]), reads_is_from(&answer, "memory")), SHOWS_MS);
        assert_int_equal(issued_in(&answer), 0);
    }
    (void)get(list);
    answer = api_expect(api_issue(&api, id, "kim"), 201, NULL);
    for (size_t i = 0; i < COUNT_OF(paths); i++)
        WAIT_UNTIL((answer = get(paths[i]), issued_in(&answer) == 1), SHOWS_MS);
    snprintf(id, sizeof id, "%s", api_campaign(&api, 10, ""));
    WAIT_UNTIL((answer = get(list), memmem(answer.body.ptr, answer.body.len, id, strlen(id)) != NULL),
               SHOWS_MS);
}

/* A hint that is lost: here to a service that hears none. What changed shows when freshness ends, to whoever
 * reads on: first the old copy, which has it loaded anew, then the new one. */
static void without_a_hint_time_does(void **)
{
    static const char *const environment[] = {"FIRSTCOME_FRESH_MS=1000", "FIRSTCOME_STALE_MS=60000",
                                              "FIRSTCOME_BUS_URL=", NULL};
    struct api_client deaf;
    char id[64], path[128];
    struct instance *instance =
        INSTANCE_START(stack, "query-service", "deaf", PORT_OFFSET, .environment = environment);
    instance_open_api(instance, &deaf);
    snprintf(id, sizeof id, "%s", api_campaign(&api, 10, ""));
    snprintf(path, sizeof path, "%s", path_of(id));
    struct http_answer answer = reads_get(&deaf, path);
    WAIT_UNTIL((answer = api_get(&deaf, path, NULL), reads_is_from(&answer, "detail=memory")), SHOWS_MS);
    int64_t refreshes = reads_metric(&deaf, "coupon_cache_refreshes_total");
    api_give(&api, id, "unheard");
    WAIT_UNTIL((answer = api_get(&deaf, path, NULL), issued_in(&answer) == 1), SHOWS_MS);
    assert_true(reads_metric(&deaf, "coupon_cache_refreshes_total") > refreshes);
    assert_int_equal(reads_metric(&deaf, "coupon_read_hints_total"), 0);
    api_close(&deaf);
    instance_destroy(instance);
}

/* I9: never from before the token, whatever is in memory. */
static void a_token_is_honoured(void **)
{
    char id[64], path[128], token[64];
    snprintf(id, sizeof id, "%s", api_campaign(&api, 100, ""));
    snprintf(path, sizeof path, "%s", path_of(id));
    for (int i = 1; i <= 50; i++) {
        char user[32];
        snprintf(user, sizeof user, "token-%d", i);
        (void)get(path); /* there is a copy, mostly of before */
        struct http_answer answer = api_expect(api_issue(&api, id, user), 201, NULL);
        snprintf(token, sizeof token, "%.*s", SPAN_ARG(http_answer_header(&answer, "Consistency-Token")));
        answer = api_get(&api, path, token);
        assert_int_equal(issued_in(&answer), i);
    }
    struct http_answer answer = api_get(&api, path, token); /* and now the copy stands where it should */
    assert_int_equal(issued_in(&answer), 50);
}

/* A token of an event that does not exist yet: refused in time, and nobody else has to suffer for it. */
static void a_token_from_the_future_is_refused(void **)
{
    char path[128], token[64];
    const char *id = api_campaign(&api, 10, "");
    snprintf(path, sizeof path, "%s", path_of(id));
    snprintf(token, sizeof token, "v1.%d.900000000", slice_of(span_of(id)));
    (void)reads_get(&api, path);
    api_expect(api_get(&api, path, token), 503, "store-unavailable");
    api_expect(get(path), 200, NULL);
}

/* "There is none" is remembered for a second only, and not at all for who knows better. */
static void what_did_not_exist_comes_to_be(void **)
{
    struct http_answer answer;
    WAIT_UNTIL((answer = get("/v1/campaigns/not-yet"), api_expect(answer, 404, "unknown-campaign"),
                reads_is_from(&answer, "memory")),
               SHOWS_MS);
    api_campaign_of(&api, "not-yet", 1, "");
    answer = api_expect(reads_get(&api, "/v1/campaigns/not-yet"), 200, NULL);
    WAIT_UNTIL((answer = get("/v1/campaigns/not-yet"), answer.status == 200), SHOWS_MS);
}

/* --- the crowd --- */

struct readers {
    struct rush_options options;
    struct rush_result result;
    size_t different; /* from the first answer */
    char first[4096];
};

static void take(void *context, size_t number, const struct load_result *result)
{
    struct readers *readers = context;
    struct span body = result->response.body;
    (void)number;
    if (!*readers->first && body.len < sizeof readers->first)
        snprintf(readers->first, sizeof readers->first, "%.*s", SPAN_ARG(body));
    readers->different += result->response.status != 200 || !span_is(body, readers->first);
}

static void *run_readers(void *context)
{
    struct readers *readers = context;
    readers->result = rush_run(&readers->options);
    return NULL;
}

static int64_t waiting_now(void)
{
    struct http_answer answer = api_expect(get("/v1/status"), 200, NULL);
    return body_int(answer.body, "waiting.is");
}

/* Redis is empty and stays so, and what PostgreSQL would read is locked until all of them wait, on whatever
 * connection it is asked: then one load answers them all. */
static void a_crowd_at_a_cold_target_is_one_load(void **)
{
    static struct readers readers;
    char path[128];
    pthread_t thread;
    setenv("FIRSTCOME_STORE_TIMEOUT_MS", "60000", 1);
    setenv("FIRSTCOME_REQUEST_DEADLINE_MS", "60000", 1);
    snprintf(path, sizeof path, "%s", path_of(api_campaign(&api, 10, "")));
    reads_restart_service(&api);
    readers.options = (struct rush_options){.url = stack_env(stack, "QUERY_URL"),
                                            .token = stack_env(stack, "READ_TOKEN"),
                                            .requests = CROWD,
                                            .connections = CROWD,
                                            .path = path,
                                            .answered = take,
                                            .context = &readers};
    stack_signal(stack, "projector", SIGSTOP);
    reads_redis(stack, "FLUSHALL", NULL);
    struct http_answer answer;
    WAIT_UNTIL((answer = get("/v1/campaigns/warm-up"), answer.status == 404), SHOWS_MS); /* connected */
    int64_t loads = reads_metric(&api, POSTGRES_LOADS);
    struct pg *holder = store_hold(stack, "LOCK TABLE campaign IN ACCESS EXCLUSIVE MODE");
    assert_int_equal(pthread_create(&thread, NULL, run_readers, &readers), 0);
    WAIT_UNTIL(waiting_now() == CROWD - 1, 120000);
    store_let_go(holder);
    pthread_join(thread, NULL);
    assert_int_equal(readers.result.answered, CROWD);
    assert_int_equal(readers.different, 0);
    assert_int_equal(reads_metric(&api, POSTGRES_LOADS) - loads, 1);
    stack_signal(stack, "projector", SIGCONT);
    unsetenv("FIRSTCOME_STORE_TIMEOUT_MS");
    unsetenv("FIRSTCOME_REQUEST_DEADLINE_MS");
}

/* --- nothing behind --- */

static void both_down_what_is_in_memory_is_served(void **)
{
    char path[128], body[2048];
    set_lives("1000", "1000", "600000");
    reads_restart_service(&api);
    snprintf(path, sizeof path, "%s", path_of(api_campaign(&api, 10, "")));
    struct http_answer answer = api_expect(reads_get(&api, path), 200, NULL);
    snprintf(body, sizeof body, "%.*s", SPAN_ARG(answer.body));
    cluster_signal_all(stack, SIGSTOP); /* the postmaster first, so that nobody connects meanwhile */
    stack_signal(stack, "redis", SIGSTOP);
    WAIT_UNTIL((answer = get(path), api_expect(answer, 200, NULL), reads_is_from(&answer, "stale-if-error")),
               SHOWS_MS);
    for (int i = 0; i < 20; i++) {
        int64_t start_us = clock_mono_us();
        answer = api_expect(get(path), 200, NULL);
        assert_true(span_is(answer.body, body));
        assert_true(reads_is_from(&answer, "fwd=stale; fwd-status=503"));
        pace_within(start_us, REFUSED_MS * US_PER_MS, "an answer");
        start_us = clock_mono_us();
        answer = api_expect(get("/v1/campaigns/never-read"), 503, "store-unavailable");
        pace_within(start_us, REFUSED_MS * US_PER_MS, "an answer");
    }
    int64_t age;
    answer = get(path);
    assert_true(parse_i64(http_answer_header(&answer, "Age"), 1, 3600, &age));
    answer = get("/v1/status");
    assert_true(span_is(body_text(answer.body, "mode"), "memory-only"));
    assert_true(
        span_starts(body_text(answer.body, "bottleneck"), SPAN("PostgreSQL and Redis do not answer")));
    stack_signal(stack, "redis", SIGCONT);
    cluster_signal_all(stack, SIGCONT);
    WAIT_UNTIL((answer = get("/v1/campaigns/never-read"), answer.status == 404), SHOWS_MS);
    WAIT_UNTIL((answer = get(path), reads_is_from(&answer, "hit; ttl=0")), SHOWS_MS);
}

/* The models stay where they were when their projector stopped; PostgreSQL was asked after that, and then it
 * is gone, too. Nobody is told again what was so before. */
static void a_copy_is_kept_against_models_that_are_older(void **)
{
    enum { AGO_MS = 20000 };
    char campaign[CAMPAIGN_ID_MAX + 1], path[128], left[24];
    struct http_answer answer;
    set_lives("1000", "1000", "600000");
    reads_restart_service(&api);
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 10, ""));
    snprintf(path, sizeof path, "%s", path_of(campaign));
    api_give(&api, campaign, "first");
    reads_await_redis(&api);
    stack_signal(stack, "projector", SIGSTOP);
    snprintf(left, sizeof left, "%d", SEEN_KEPT_MS - AGO_MS);
    for (int slice = 0; slice < SLICE_COUNT; slice++) {
        assert_int_equal(reads_redis(stack, "PEXPIRE", textf("fc:{%d}:heartbeat", slice), left, NULL), 1);
    }
    api_give(&api, campaign, "second");
    WAIT_UNTIL((answer = get(path), issued_in(&answer) == 2), SHOWS_MS);
    cluster_signal_all(stack, SIGSTOP);
    WAIT_UNTIL((answer = get(path), assert_int_equal(issued_in(&answer), 2),
                reads_is_from(&answer, "fwd=stale; fwd-status=503")),
               SHOWS_MS);
    cluster_signal_all(stack, SIGCONT);
    stack_signal(stack, "projector", SIGCONT);
    WAIT_UNTIL((answer = get("/v1/campaigns/never-read"), answer.status == 404), SHOWS_MS);
}

static void status_names_what_is_wrong(void **)
{
    struct http_answer answer = reads_get(&api, path_of(api_campaign(&api, 10, "")));
    struct json_doc *doc = NULL;
    WAIT_UNTIL(
        (json_destroy(doc), answer = get("/v1/status"), doc = json_get_doc(answer.body),
         span_is(json_get_text(doc, "mode"), "normal") && span_is(json_get_text(doc, "bottleneck"), "none")),
        SHOWS_MS);
    assert_int_equal(json_get_length(doc, "slices"), SLICE_COUNT);
    assert_true(json_get_length(doc, "hot") >= 1);
    json_destroy(doc);
    api_expect(get("/v1/status?x=1"), 400, "invalid-parameter");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_read_is_from_memory),
        cmocka_unit_test(validity_is_never_stale),
        cmocka_unit_test(a_copy_is_for_readers_only),
        cmocka_unit_test(what_is_asked_is_one_entry),
        cmocka_unit_test(a_hint_shows_a_change),
        cmocka_unit_test(without_a_hint_time_does),
        cmocka_unit_test(a_token_is_honoured),
        cmocka_unit_test(a_token_from_the_future_is_refused),
        cmocka_unit_test(what_did_not_exist_comes_to_be),
        cmocka_unit_test(a_crowd_at_a_cold_target_is_one_load),
        cmocka_unit_test(both_down_what_is_in_memory_is_served),
        cmocka_unit_test(a_copy_is_kept_against_models_that_are_older),
        cmocka_unit_test(status_names_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
