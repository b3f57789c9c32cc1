/* SPDX-License-Identifier: Apache-2.0 */
/* I11 while things are slow, not dead: Redis that answers every exchange, late, behind a full queue;
 * questions that PostgreSQL cannot answer in time, at the head of the queue. */
#include "tests/lib/wait.h"

#include "events/ids.h"
#include "readmodel/users.h"
#include "tests/lib/instance.h"
#include "tests/lib/models.h"
#include "tests/lib/pace.h"
#include "tests/lib/projector.h"
#include "tests/lib/proxy.h"
#include "tests/lib/reads.h"
#include "tests/lib/rush.h"
#include "tests/lib/store.h"

enum {
    PORT_OFFSET = 7,
    PROXY_OFFSET = 8,
    REDIS_OFFSET = 4,
    LONG_MS = 120000,
    PLAIN_OFFSET = 9,
    SLOW_TIMEOUT_MS = 2400, /* as in `environment` below */
    ENDED_MS = 5000,        /* the deadline of 3 s, and what it takes to send and read so many */
    PLAIN_ENDED_MS = 4000,  /* of 1.8 s */
    QUEUE_MAX = 4096,       /* what is shipped */
    COUPONS = QUEUE_MAX + 2000,
    RANKINGS = 8,
};

#define MOVED     "coupon_read_fallbacks_total{reason=\"moved\"}"
#define IO_ERRORS "coupon_redis_errors_total{class=\"io\"}"

static struct stack *stack;
static struct api_client api, slow_api, plain_api;
static struct instance *slow, *plain;
static struct proxy *proxy;
static char campaign[64];
static int64_t first_coupon; /* its position; those of the others follow */

/* One command, so that nothing comes between. */
static void give_many(void)
{
    struct http_answer answer = api_batch(&api, campaign, "user-", 0, COUPONS);
    assert_int_equal(body_int(answer.body, "issued"), COUPONS);
    struct position first;
    assert_true(coupon_id_parse(body_text(answer.body, "results.0.coupon_id"), &first));
    first_coupon = first.position;
}

static int setup(void **state)
{
    static const char *const environment[] = {"FIRSTCOME_REQUEST_DEADLINE_MS=3000",
                                              "FIRSTCOME_REDIS_TIMEOUT_MS=2400", "FIRSTCOME_MODEL_THREADS=1",
                                              NULL};
    static const char *const as_shipped[] = {"FIRSTCOME_REQUEST_DEADLINE_MS=1800",
                                             "FIRSTCOME_REDIS_TIMEOUT_MS=50",
                                             "FIRSTCOME_STORE_TIMEOUT_MS=1000", NULL};
    static char redis_url[1024];
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1); /* every read is a load */
    setenv("FIRSTCOME_CONNECTIONS_MAX", "12000", 1);
    setenv("FIRSTCOME_CONNECTIONS_PER_ADDRESS_MAX", "12000", 1);
    stack = api_setup(state, &api, STACK_ALL);
    int proxy_port = stack_port_base(stack) + PROXY_OFFSET;
    proxy = proxy_start(proxy_port, stack_port_base(stack) + REDIS_OFFSET);
    proxy_url(stack_env(stack, "QUERY_REDIS_URL"), stack_port_base(stack) + REDIS_OFFSET, proxy_port,
              redis_url, sizeof redis_url);
    slow = INSTANCE_START(stack, "query-service", "slow", PORT_OFFSET, .redis_url = redis_url,
                          .environment = environment);
    instance_open_api(slow, &slow_api);
    plain = INSTANCE_START(stack, "query-service", "plain", PLAIN_OFFSET, .redis_url = redis_url,
                           .environment = as_shipped);
    instance_open_api(plain, &plain_api);
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, COUPONS, ""));
    give_many();
    reads_await_redis(&slow_api);
    reads_await_redis(&plain_api);
    return 0;
}

static int teardown(void **state)
{
    api_close(&slow_api);
    api_close(&plain_api);
    instance_destroy(slow);
    instance_destroy(plain);
    proxy_stop(proxy);
    return api_teardown(state);
}

/* --- Redis answers, late --- */

/* Each asks for another coupon, in one exchange, so that nobody's load is another's. */
static void ask_for_a_coupon(void *context, size_t number, char ret[RUSH_PATH_MAX])
{
    struct buf id;
    (void)context;
    buf_init(&id, 64);
    coupon_id_write(&id, (struct position){slice_of(span_of(campaign)), first_coupon + (int64_t)number});
    snprintf(ret, RUSH_PATH_MAX, "/v1/coupons/%s", id.data);
    buf_deinit(&id);
}

static size_t from_redis;

static void take(void *context, size_t number, const struct load_result *result)
{
    const struct http_response *is = &result->response;
    (void)context, (void)number;
    if (is->status != 200 && is->status != 503)
        fail_msg("answered with %d", is->status);
    from_redis += is->status == 200 && memmem(is->cache.ptr, is->cache.len, "redis", strlen("redis"));
}

/* `exchange_ms`: of Redis from now on, while PostgreSQL answers nothing. Every read of a crowd ends by its
 * deadline, but for what a busy machine does to a crowd, and Redis does what it can. */
static void a_crowd_ends(const struct instance *service, struct api_client *client, int64_t exchange_ms,
                         size_t readers, int64_t deadline_ms, size_t least_from_redis)
{
    from_redis = 0;
    struct pg *holder = store_hold(stack, "LOCK TABLE slice IN ACCESS EXCLUSIVE MODE");
    proxy_delay(proxy, exchange_ms);
    int64_t start_us = clock_mono_us();
    struct rush_result result = rush_run(&(struct rush_options){.url = instance_url(service),
                                                                .token = stack_env(stack, "READ_TOKEN"),
                                                                .requests = readers,
                                                                .connections = readers,
                                                                .path_of = ask_for_a_coupon,
                                                                .answered = take});
    int64_t most_us = deadline_ms * US_PER_MS + 10 * pace_late_us(start_us);
    proxy_delay(proxy, 0);
    store_let_go(holder);
    print_message("the longest of %zu took %lld ms, %zu from Redis\n", result.answered,
                  (long long)result.longest_us / US_PER_MS, from_redis);
    assert_int_equal(result.answered, readers);
    assert_true(from_redis >= least_from_redis);
    if (result.longest_us > most_us)
        fail_msg("the longest took %lld us, of %lld", (long long)result.longest_us, (long long)most_us);
    reads_await_redis(client);
}

/* One thread with 32 reads an exchange: some 100 reads a second, and a queue for half a minute. */
static void every_read_ends_by_its_deadline_behind_a_slow_redis(void **)
{
    a_crowd_ends(slow, &slow_api, 300, 3000, ENDED_MS, 1);
}

/* Just within what a batch may take, and more readers than the queue has room for: as the service is shipped.
 * On a machine that is busy it is not within. */
static void a_full_queue_behind_a_redis_that_is_almost_too_slow(void **)
{
    a_crowd_ends(plain, &plain_api, 45, COUPONS, PLAIN_ENDED_MS, 0);
}

/* Where one exchange is within what a batch may take, and connecting and asking is not: a thread of its own
 * connects, reads go on from Redis, and none waits for that. */
static void a_slow_redis_is_reached_again(void **)
{
    char path[RUSH_PATH_MAX], two_exchanges[RUSH_PATH_MAX];
    struct http_answer answer;
    int64_t exchange_ms = SLOW_TIMEOUT_MS / 10 * 7;
    ask_for_a_coupon(NULL, 0, path);
    snprintf(two_exchanges, sizeof two_exchanges, "/v1/campaigns/%s/coupons", campaign);
    proxy_delay(proxy, 3 * SLOW_TIMEOUT_MS);
    WAIT_UNTIL((answer = api_get(&slow_api, path, NULL), reads_is_from(&answer, "postgres")), LONG_MS);
    proxy_delay(proxy, exchange_ms);
    int64_t until_us = clock_deadline_us(LONG_MS);
    for (int answered = 0; answered < 3;) {
        int64_t start_us = clock_mono_us();
        answer = api_expect(api_get(&slow_api, path, NULL), 200, NULL);
        answered += reads_is_from(&answer, "redis");
        assert_true(start_us < until_us);
        pace_within(start_us, SLOW_TIMEOUT_MS * US_PER_MS, "a read while Redis is connected to");
    }
    /* A read of two exchanges would be too late, which does not cost the others their connection. */
    int64_t start_us = clock_mono_us(), lost = reads_metric(&slow_api, IO_ERRORS);
    answer = api_expect(api_get(&slow_api, two_exchanges, NULL), 200, NULL);
    assert_true(reads_is_from(&answer, "postgres"));
    if (pace_late_us(start_us) <
        SLOW_TIMEOUT_MS / 10 * US_PER_MS) /* or an exchange of another was late as well */
        assert_int_equal(reads_metric(&slow_api, IO_ERRORS), lost);
    proxy_delay(proxy, 0);
    reads_await_redis(&slow_api);
}

/* --- what changes between the two exchanges of a read --- */

/* Of a list's newest coupon, as JSON has it. */
static void newest_status(struct span body, bool newest_first, char *ret, size_t size)
{
    size_t count = body_length(body, "items");
    char path[64];
    assert_true(count > 0);
    snprintf(path, sizeof path, "items.%zu.status", newest_first ? 0 : count - 1);
    snprintf(ret, size, "%.*s", SPAN_ARG(body_text(body, path)));
}

/* A coupon is redeemed only after the next one was issued, so at no moment is the newest of the list
 * redeemed: who sees the one must see the other (I7). */
static void is_of_one_moment(const char *of, const char *list, bool newest_first)
{
    enum { EXCHANGE_MS = 400, TRIES = 6, TRIES_MAX = 60 };
    int answered = 0;
    char request[512], coupon[64], next[64], status[32];
    snprintf(request, sizeof request,
             "GET %s?limit=100 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", list,
             stack_env(stack, "READ_TOKEN"));
    snprintf(coupon, sizeof coupon, "%s", api_coupon(&api, of, "one-after-the-other"));
    struct http_client *client = http_client_create(instance_url(slow));
    struct http_answer answer;
    for (int i = 0; answered < TRIES; i++) {
        struct models models;
        assert_true(i < TRIES_MAX);
        reads_await_redis(&slow_api);
        proxy_delay(proxy, EXCHANGE_MS);
        assert_int_equal(http_client_send(client, span_of(request), LONG_MS), HTTP_ANSWERED);
        poll(NULL, 0,
             EXCHANGE_MS / 4); /* if the first exchange has not begun by now, this try shows nothing */
        snprintf(next, sizeof next, "%s", api_coupon(&api, of, "one-after-the-other"));
        api_insist_post(&api, textf("/v1/coupons/%s/redeem", coupon),
                        "{\"user_id\":\"one-after-the-other\",\"order_id\":\"order\",\"order_amount\":20000}",
                        200);
        models_open(&models, stack);
        models_await_current(&models);
        models_close(&models);
        assert_int_equal(http_client_read(client, LONG_MS, &answer), HTTP_ANSWERED);
        proxy_delay(proxy, 0);
        snprintf(coupon, sizeof coupon, "%s", next);
        if (answer.status == 503)
            continue; /* the machine was too busy for its deadline: a try that shows nothing */
        answered++;
        api_expect(answer, 200, NULL);
        newest_status(answer.body, newest_first, status, sizeof status);
        if (strcmp(status, "redeemed") == 0)
            fail_msg("the newest of the list is redeemed: %.*s", SPAN_ARG(answer.body));
    }
    http_client_destroy(client);
}

static void holders_are_of_one_moment(void **)
{
    const char *of = api_campaign(&api, 100, ",\"per_user_limit\":100");
    is_of_one_moment(of, textf("/v1/campaigns/%s/coupons", of), false);
}

static void a_users_coupons_are_of_one_moment(void **)
{
    is_of_one_moment(api_campaign(&api, 100, ",\"per_user_limit\":100"),
                     "/v1/users/one-after-the-other/coupons", true);
}

/* The first exchange names a campaign that is deleted before the second asks for it. That is no hole, for
 * which the projector would make the slice anew; the list comes from PostgreSQL, without it. */
static void a_campaign_is_deleted_between_two_exchanges(void **)
{
    enum { EXCHANGE_MS = 800, TRIES = 20 };
    char request[512], path[96], id[64];
    struct http_answer answer;
    int64_t restarts = projector_metric(stack, "coupon_projector_restarts_total");
    int64_t before = reads_metric(&slow_api, MOVED);
    struct http_client *client = http_client_create(instance_url(slow));
    snprintf(request, sizeof request,
             "GET /v1/campaigns?limit=100 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n",
             stack_env(stack, "READ_TOKEN"));
    for (int i = 0; i < TRIES && reads_metric(&slow_api, MOVED) == before; i++) {
        struct models models;
        snprintf(id, sizeof id, "%s", api_campaign(&api, 100, ""));
        models_open(&models, stack);
        models_await_current(&models);
        reads_await_redis(&slow_api);
        proxy_delay(proxy, EXCHANGE_MS);
        assert_int_equal(http_client_send(client, span_of(request), LONG_MS), HTTP_ANSWERED);
        poll(NULL, 0, EXCHANGE_MS / 4);
        snprintf(path, sizeof path, "/v1/campaigns/%s", id);
        api_insist(api.command,
                   &(struct http_call){.method = "DELETE",
                                       .path = path,
                                       .token = stack_env(stack, "ADMIN_TOKEN"),
                                       .key = api_fresh_key()},
                   204);
        models_await_current(&models);
        models_close(&models);
        assert_int_equal(http_client_read(client, LONG_MS, &answer), HTTP_ANSWERED);
        proxy_delay(proxy, 0);
        if (answer.status != 503) /* which says that the machine was too busy for its deadline */
            api_expect(answer, 200, NULL);
    }
    assert_true(reads_metric(&slow_api, MOVED) > before); /* one of these tries met it */
    assert_null(memmem(answer.body.ptr, answer.body.len, id, strlen(id)));
    http_client_destroy(client);
    poll(NULL, 0, 1000); /* a hole is told of within some 20 ms, and the projector looks each 150 ms */
    assert_int_equal(projector_metric(stack, "coupon_projector_restarts_total"), restarts);
}

/* A campaign whose slice has one bucket, and who would be in the second of two. */
static const char *campaign_of_one_bucket(struct models *models, char *ret_user, size_t size)
{
    const char *id;
    do {
        id = api_campaign(&api, 100, "");
        models_await_current(models);
    } while (models_checkpoint(models, slice_of(span_of(id)), "buckets") != 1);
    for (int i = 0; i == 0 || users_bucket(user_hash(span_of(ret_user)), 2) != 1; i++)
        snprintf(ret_user, size, "split-%d", i);
    return id;
}

/* The user's bucket is split between the look at how many there are and its reading, which then shows nothing
 * of the user: as if the checkpoint were read before the split, and all else after it. */
static void a_bucket_is_split_while_it_is_read(void **)
{
    enum { EXCHANGE_MS = 400, TRIES = 3, TRIES_MAX = 60 };
    char user[32], coupon[64], request[512], key[32];
    struct models models;
    models_open(&models, stack);
    const char *of = campaign_of_one_bucket(&models, user, sizeof user);
    int16_t slice = slice_of(span_of(of));
    struct http_answer answer = api_expect(api_issue(&api, of, user), 201, NULL);
    struct json_doc *doc = json_get_doc(answer.body);
    snprintf(coupon, sizeof coupon, "%.*s", SPAN_ARG(json_get_text(doc, "coupon_id")));
    json_destroy(doc);
    models_await_current(&models);
    MODELS_CALL(&models, "RENAME", models_key(&models, slice, "u:0"), models_key(&models, slice, "u:1"));
    MODELS_CALL(&models, "SET", models_key(&models, slice, "u:0"), USERS_MARK);
    snprintf(key, sizeof key, "fc:{%d}", slice);
    snprintf(request, sizeof request,
             "GET /v1/users/%s/coupons HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", user,
             stack_env(stack, "READ_TOKEN"));
    struct http_client *client = http_client_create(instance_url(slow));
    for (int i = 0, answered = 0; answered < TRIES; i++) {
        assert_true(i < TRIES_MAX);
        MODELS_CALL(&models, "HSET", key, "buckets", "1");
        reads_await_redis(&slow_api);
        proxy_delay(proxy, EXCHANGE_MS);
        assert_int_equal(http_client_send(client, span_of(request), LONG_MS), HTTP_ANSWERED);
        poll(NULL, 0, EXCHANGE_MS / 4); /* if it has not begun by now, this try shows nothing */
        MODELS_CALL(&models, "HSET", key, "buckets", "2");
        assert_int_equal(http_client_read(client, LONG_MS, &answer), HTTP_ANSWERED);
        proxy_delay(proxy, 0);
        if (answer.status == 503)
            continue;
        answered++;
        api_expect(answer, 200, NULL);
        if (!memmem(answer.body.ptr, answer.body.len, coupon, strlen(coupon)))
            fail_msg("the coupon is not in the list: %.*s", SPAN_ARG(answer.body));
    }
    http_client_destroy(client);
    MODELS_CALL(&models, "FLUSHALL");
    models_await_current(&models);
    models_close(&models);
}

/* --- PostgreSQL cannot answer some questions in time --- */

/* Redis knows nothing, and what rankings count by is locked: each would take as long as it may. They have a
 * lane of their own, and say nothing about PostgreSQL: whoever asks something else is answered by it. */
static void dear_questions_cost_only_who_asks_them(void **)
{
    char path[128];
    struct http_client *clients[RANKINGS];
    struct http_answer answer;
    stack_signal(stack, "projector", SIGSTOP);
    reads_redis(stack, "FLUSHALL", NULL);
    snprintf(path, sizeof path, "/v1/campaigns/%s", campaign);
    WAIT_UNTIL((answer = api_get(&api, path, NULL), reads_is_from(&answer, "postgres")), LONG_MS);
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
        answer = api_expect(api_get(&api, path, NULL), 200, NULL);
        assert_true(reads_is_from(&answer, "postgres"));
    }
    assert_int_equal(reads_metric(&api, "coupon_read_breaker_open{dependency=\"postgres\"}"), 0);
    for (int i = 0; i < RANKINGS; i++) {
        assert_int_equal(http_client_read(clients[i], LONG_MS, &answer), HTTP_ANSWERED);
        api_expect(answer, 503, NULL);
        http_client_destroy(clients[i]);
    }
    answer = api_expect(api_get(&api, path, NULL), 200, NULL);
    assert_true(reads_is_from(&answer, "postgres")); /* still: not one of them was held against it */
    store_let_go(holder);
    stack_signal(stack, "projector", SIGCONT);
    WAIT_UNTIL((answer = api_get(&api, "/v1/rankings/campaigns?window=7d", NULL), answer.status == 200),
               LONG_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_read_ends_by_its_deadline_behind_a_slow_redis),
        cmocka_unit_test(a_full_queue_behind_a_redis_that_is_almost_too_slow),
        cmocka_unit_test(holders_are_of_one_moment),
        cmocka_unit_test(a_slow_redis_is_reached_again),
        cmocka_unit_test(a_users_coupons_are_of_one_moment),
        cmocka_unit_test(a_campaign_is_deleted_between_two_exchanges),
        cmocka_unit_test(a_bucket_is_split_while_it_is_read),
        cmocka_unit_test(dear_questions_cost_only_who_asks_them),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
