/* SPDX-License-Identifier: Apache-2.0 */
/* Several command services on one database: one is killed, one stands still for longer than every timeout,
 * one is restarted, all under load on one hot campaign; and the same request reaches two of them at once. No
 * leader, no lease: the row lock of the slice decides, and PostgreSQL lets go of the lock of whoever stands
 * still. */
#include "tests/lib/wait.h"

#include <inttypes.h>
#include <pthread.h>

#include "tests/lib/api.h"
#include "tests/lib/instance.h"
#include "tests/lib/siege.h"
#include "tests/lib/store.h"

enum { SERVICES = 3, PER_SECOND = 300, CONNECTIONS = 16, LONG_MS = 120000, STILL_MS = 4000, HELD_MS = 150 };
enum { ROUNDS = 20, TRIES_MAX = 200, MOMENT_MS = 300 };

static struct stack *stack;
static struct instance *services[SERVICES];

static struct siege *begin(bool may_break, int64_t slack_ms)
{
    const char *urls[SERVICES];
    for (size_t i = 0; i < SERVICES; i++)
        urls[i] = instance_url(services[i]);
    struct siege_options options = {.urls = urls,
                                    .urls_count = SERVICES,
                                    .per_second = PER_SECOND,
                                    .connections = CONNECTIONS,
                                    .may_break = may_break,
                                    .slack_ms = slack_ms};
    return siege_begin(stack, &options);
}

/* What happens to one service happens for so long; the others must go on meanwhile. */
static void others_go_on(const struct siege *siege, size_t but, int64_t ms)
{
    int64_t until_us = clock_deadline_us(ms), before[SERVICES];
    for (size_t i = 0; i < SERVICES; i++)
        before[i] = siege_issued(siege, i);
    WAIT_UNTIL(clock_mono_us() >= until_us, 2 * ms);
    for (size_t i = 0; i < SERVICES; i++)
        if (i != but)
            WAIT_UNTIL(siege_issued(siege, i) > before[i] + CONNECTIONS, LONG_MS);
}

static void one_is_killed(void **)
{
    struct siege *siege = begin(true, 0);
    for (size_t i = 0; i < SERVICES; i++) {
        instance_kill(services[i]);
        others_go_on(siege, i, MOMENT_MS);
        instance_again(services[i]);
        siege_mark_back(siege, "one of three killed", 0);
        siege_await_issuing(siege);
    }
    siege_end(siege);
}

static char restarted_path[128];

/* Asks one service again and again, as its listener goes and comes back. */
static void *ask_until_issued(void *context)
{
    struct http_client *client = http_client_create(instance_url(services[0]));
    struct http_call call = {.method = "POST",
                             .path = restarted_path,
                             .token = stack_env(stack, "ISSUE_TOKEN"),
                             .key = "first",
                             .body = "{\"user_id\":\"first\"}"};
    struct http_answer answer = {0};
    int *ret = context;
    for (int64_t until_us = clock_deadline_us(LONG_MS); *ret == 0 && clock_remaining_ms(until_us) > 0;) {
        if (http_client_call(client, &call, &answer) == HTTP_ANSWERED)
            *ret = answer.status;
        http_client_close(client);
        wait_moment();
    }
    http_client_destroy(client);
    return NULL;
}

/* The first answer of a service that was started again is no refusal: it waits for what it needs to know. */
static void the_first_answer_is_a_coupon(void **)
{
    struct api_client api;
    instance_open_api(services[1], &api);
    snprintf(restarted_path, sizeof restarted_path, "/v1/campaigns/%s/coupons",
             api_campaign(&api, ROUNDS, ""));
    for (int round = 0; round < 3; round++) {
        int status = 0;
        pthread_t thread;
        instance_kill(services[0]);
        assert_int_equal(pthread_create(&thread, NULL, ask_until_issued, &status), 0);
        instance_again(services[0]);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(status, 201);
    }
    api_close(&api);
}

static void one_is_restarted(void **)
{
    struct siege *siege =
        begin(true, 0); /* its listener is gone for a while; rolling_restart_test.c is strict */
    for (size_t i = 0; i < SERVICES; i++) {
        instance_stop(services[i]);
        instance_again(services[i]);
        siege_mark_back(siege, "one of three restarted", 0);
        siege_await_issuing(siege);
    }
    siege_end(siege);
}

/* Transactions of a command service that stand still, with their lock on a slice in hand. */
#define HOLDERS(how)                                                                              \
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'firstcome command' AND " how \
    " AND clock_timestamp() - xact_start > interval '100 ms'"

/* Stops the service at a moment when it holds the lock: between loading and committing. */
static void stop_with_the_lock(const struct instance *service)
{
    for (int try = 0; try < TRIES_MAX; try++) {
        instance_signal(service, SIGSTOP);
        int64_t until_us = clock_deadline_us(HELD_MS);
        while (clock_mono_us() < until_us)
            if (store_number(stack, HOLDERS("state = 'idle in transaction'")) > 0)
                return;
        instance_signal(service, SIGCONT);
    }
    fail_msg("the service never held the lock when it was stopped");
}

static void one_stands_still_with_the_lock(void **)
{
    struct siege *siege = begin(false, LONG_MS);
    stop_with_the_lock(services[0]);
    int64_t stopped_us = clock_mono_us(), before = siege_issued(siege, 1) + siege_issued(siege, 2);
    WAIT_UNTIL(siege_issued(siege, 1) + siege_issued(siege, 2) > before + 2 * CONNECTIONS, LONG_MS);
    printf("    others issued again %" PRId64 " ms after one stopped with the lock in hand\n",
           (clock_mono_us() - stopped_us) / US_PER_MS + HELD_MS);
    others_go_on(siege, 0, STILL_MS);
    instance_signal(services[0], SIGCONT);
    siege_mark_back(siege, "one of three stood still for 4 s", 0);
    siege_end(siege);
}

/* The worst moment to stand still: part of a pipeline has been sent. PostgreSQL waits for the rest, for which
 * none of its timeouts counts, with the lock in hand. */
static void one_stands_still_in_the_middle_of_sending(void **)
{
    enum { BEGIN, LOCK, PAD, PAD_BYTES = 64 * 1024 };
    static const struct pg_statement statements[] = {
        [BEGIN] = {"begin", "BEGIN"},
        [LOCK] = {"lock", "SELECT FROM slice FOR UPDATE"},
        [PAD] = {"pad", "SELECT length($1::bytea)"},
    };
    static const char padding[PAD_BYTES];
    struct pg_args args;
    struct pg *pg = pg_create(&(struct pg_options){.url = stack_env(stack, "COMMAND_DATABASE_URL"),
                                                   .application = "firstcome command",
                                                   .statement_timeout_ms = 800,
                                                   .idle_in_transaction_timeout_ms = 1000,
                                                   .statements = statements,
                                                   .statements_count = COUNT_OF(statements)});
    assert_int_equal(pg_connect(pg, clock_deadline_us(LONG_MS)), PG_OK);
    struct siege *siege = begin(false, 0);
    pg_args_init(&args);
    pg_arg_bytes(&args, (struct span){padding, sizeof padding});
    pg_send(pg, BEGIN, NULL);
    pg_send(pg, LOCK, NULL);
    pg_send(pg, PAD, &args); /* more than libpq keeps back */
    WAIT_UNTIL(store_number(stack, HOLDERS("state = 'active' AND wait_event = 'ClientRead'")) > 0, LONG_MS);
    siege_mark_back(siege, "a transaction stood still in the middle of sending", 0);
    siege_await_issuing(siege);
    siege_end(siege);
    assert_int_equal(store_number(stack, HOLDERS("wait_event = 'ClientRead'")), 0);
    pg_args_deinit(&args);
    pg_destroy(pg);
}

/* --- The same request to two services at once --- */

static struct http_client *clients[2];

static void send_to(size_t index, const char *path, const char *key, const char *body)
{
    struct http_call call = {.method = "POST",
                             .path = path,
                             .token = stack_env(stack, "ADMIN_TOKEN"),
                             .key = key,
                             .body = body,
                             .timeout_ms = LONG_MS};
    assert_int_equal(http_client_begin(clients[index], &call), HTTP_ANSWERED);
}

/* One of the two took effect, the other is its replay. Either may be the first. */
static void ask_both(const char *path, const char *body, int status)
{
    struct http_answer answers[2];
    const char *key = api_fresh_key();
    int replayed = 0;
    send_to(0, path, key, body);
    send_to(1, path, key, body);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(http_client_read(clients[i], LONG_MS, &answers[i]), HTTP_ANSWERED);
        api_expect(answers[i], status, NULL);
        replayed += span_is(http_answer_header(&answers[i], "Idempotency-Replayed"), "true");
    }
    assert_int_equal(replayed, 1);
    assert_true(span_equal(answers[0].body, answers[1].body));
    assert_true(span_equal(http_answer_header(&answers[0], "Consistency-Token"),
                           http_answer_header(&answers[1], "Consistency-Token")));
}

static void one_key_has_one_effect(void **)
{
    char body[256], id[64];
    for (size_t i = 0; i < 2; i++)
        clients[i] = http_client_create(instance_url(services[i]));
    for (int round = 0; round < ROUNDS; round++) {
        snprintf(id, sizeof id, "twice-%" PRId64 "-%d", clock_wall_us(), round);
        snprintf(body, sizeof body,
                 "{\"id\":\"%s\",\"name\":\"Twice\",\"discount\":{\"type\":\"percent\",\"percent\":10},"
                 "\"currency\":\"EUR\",\"quantity\":10,\"released\":1,\"per_user_limit\":5}",
                 id);
        ask_both("/v1/campaigns", body, 201);
        ask_both(textf("/v1/campaigns/%s/release", id), "{\"quantity\":3}", 200);
        ask_both(textf("/v1/campaigns/%s/coupons", id), "{\"user_id\":\"somebody\"}", 201);
        ask_both(textf("/v1/campaigns/%s/pause", id), "{}", 200);
        ask_both(textf("/v1/campaigns/%s/resume", id), "{}", 200);
    }
    assert_int_equal(store_number(stack, "SELECT count(*) FROM event WHERE campaign_id LIKE 'twice-%'"),
                     5 * ROUNDS);
    assert_int_equal(store_number(stack,
                                  "SELECT count(*) FROM campaign WHERE id LIKE 'twice-%' AND issued = 1"
                                  " AND released = 4"),
                     ROUNDS);
    for (size_t i = 0; i < 2; i++)
        http_client_destroy(clients[i]);
}

static int setup(void **)
{
    static const char *const names[SERVICES] = {"a", "b", "c"};
    stack = stack_start(STACK_SERVERS);
    for (size_t i = 0; i < SERVICES; i++)
        services[i] = INSTANCE_START(stack, "command-service", names[i], 7 + (int)i);
    return 0;
}

static int teardown(void **)
{
    for (size_t i = 0; i < SERVICES; i++)
        instance_destroy(services[i]);
    stack_stop(stack);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_key_has_one_effect),
        cmocka_unit_test(one_is_killed),
        cmocka_unit_test(the_first_answer_is_a_coupon),
        cmocka_unit_test(one_is_restarted),
        cmocka_unit_test(one_stands_still_with_the_lock),
        cmocka_unit_test(one_stands_still_in_the_middle_of_sending),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
