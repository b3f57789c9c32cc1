/* SPDX-License-Identifier: Apache-2.0 */
/* A commit that is to wait for its standby and does not: an operator cancels the wait, ends its session, or
 * the server crashes and recovers. Then an event is on the primary alone, where everybody can see it, and is
 * gone when the standby takes over. Nobody may be told of it before the standby has it: not who asked first,
 * nor who asks again with the same key (I3, I4). */
#include "tests/lib/wait.h"

#include "bench/storm/verify_call.h"
#include "common/base/crypto.h"
#include "events/ids.h"
#include "tests/lib/api.h"
#include "tests/lib/cluster.h"
#include "tests/lib/instance.h"
#include "tests/lib/store.h"

enum { LONG_MS = 120000, URL_MAX = 512 };

#define WAITING "wait_event = 'SyncRep' AND application_name = 'firstcome command'"

static struct stack *stack;
static struct instance *service;
static struct api_client api;
static const char campaign[] = "sync";

static int64_t coupons_of(const char *user)
{
    return store_numberf(stack, "SELECT count(*) FROM event WHERE type = 6 AND user_id = '%s'", user);
}

static int issue(const char *user, bool *ret_replayed)
{
    struct http_answer answer = {0};
    struct http_client *client = http_client_create(instance_url(service));
    api_issue_begin(&api, client, campaign, user, user);
    assert_int_equal(http_client_read(client, LONG_MS, &answer), HTTP_ANSWERED);
    /* Or the service still has the first attempt with this key, and says just that. */
    int status = strcmp(api_problem(&answer), "in-flight") == 0 ? 503 : answer.status;
    if (ret_replayed)
        *ret_replayed = http_answer_header(&answer, "Idempotency-Replayed").ptr != NULL;
    http_client_destroy(client);
    return status;
}

/* Somebody's coupon is committed on the primary, whose standby is frozen. */
static struct http_client *begin_waiting(const char *user)
{
    struct http_client *client = http_client_create(instance_url(service));
    cluster_standby_signal_all(stack, SIGSTOP);
    for (int64_t waiting = 0; waiting == 0;) { /* a busy machine may have it refused before it gets there */
        api_issue_begin(&api, client, campaign, user, user);
        WAIT_UNTIL((waiting = cluster_sql(stack, "SELECT count(*) FROM pg_stat_activity WHERE " WAITING)) >
                           0 ||
                       http_client_await_status(client, 0, &(int){0}) == HTTP_ANSWERED,
                   LONG_MS);
        if (waiting == 0)
            http_client_close(client);
    }
    return client;
}

/* What GET /v1/requests says of the user's key. */
static bool is_done(const char *user)
{
    char path[64];
    snprintf(path, sizeof path, "/v1/requests/%s", user);
    struct http_answer answer = API_ASK(api.command, .path = path, .token = stack_env(stack, "ISSUE_TOKEN"));
    return answer.status == 200 && memmem(answer.body.ptr, answer.body.len, "\"done\"", 6) != NULL;
}

static void expect_silence(const char *user)
{
    bool told = coupons_of(user) == 1;
    if (is_done(user))
        fail_msg("%s is told that what no standby has is done", user);
    for (int i = 0; i < 2; i++) {
        int status = issue(user, NULL);
        if (status < 500)
            fail_msg("%s is told %d of what no standby has", user, status);
    }
    assert_true(told); /* or there was nothing to tell */
}

static void expect_told_in_the_end(const char *user)
{
    bool replayed = false;
    WAIT_UNTIL(issue(user, &replayed) == 201, LONG_MS);
    WAIT_UNTIL(issue(user, &replayed) == 201, LONG_MS);
    assert_true(replayed);
    WAIT_UNTIL(is_done(user), LONG_MS);
}

static void expect_no_promise(struct http_client *client)
{
    struct http_answer answer = {0};
    assert_int_equal(http_client_read(client, LONG_MS, &answer), HTTP_ANSWERED);
    if (answer.status < 500)
        fail_msg("told %d of what no standby has", answer.status);
    http_client_destroy(client);
}

static void cut_off(const char *function)
{
    assert_true(cluster_sql(stack, textf("SELECT count(%s(pid)) FROM pg_stat_activity WHERE " WAITING,
                                         function)) > 0);
}

static void a_cancelled_wait_promises_nothing(void **)
{
    struct http_client *client = begin_waiting("ann");
    cut_off("pg_cancel_backend");
    WAIT_UNTIL(coupons_of("ann") == 1, LONG_MS);
    expect_no_promise(client);
    expect_silence("ann");
    cluster_standby_signal_all(stack, SIGCONT);
    expect_told_in_the_end("ann");
}

static void an_ended_session_promises_nothing(void **)
{
    struct http_client *client = begin_waiting("ben");
    cut_off("pg_terminate_backend");
    WAIT_UNTIL(coupons_of("ben") == 1, LONG_MS);
    expect_no_promise(client);
    expect_silence("ben");
    cluster_standby_signal_all(stack, SIGCONT);
    expect_told_in_the_end("ben");
}

/* PostgreSQL restarts all of itself when one of its processes is killed. */
static void a_server_that_recovered_promises_nothing(void **)
{
    struct http_client *client = begin_waiting("cat");
    pid_t backend = (pid_t)cluster_sql(stack, "SELECT min(pid) FROM pg_stat_activity WHERE " WAITING);
    assert_true(backend > 0);
    assert_int_equal(kill(backend, SIGKILL), 0);
    expect_no_promise(client);
    WAIT_UNTIL(cluster_sql_try(stack, "SELECT 1"), LONG_MS);
    expect_silence("cat");
    cluster_standby_signal_all(stack, SIGCONT);
    expect_told_in_the_end("cat");
}

/* The setting that has commits leave out the standby, whatever synchronous_standby_names says. */
static void a_store_that_leaves_out_its_standby_is_refused(void **)
{
    store_run_as(stack, "COMMAND_DATABASE_URL", "ALTER ROLE CURRENT_USER SET synchronous_commit = local");
    store_signal_backends(stack, "firstcome command", SIGTERM);
    WAIT_UNTIL(!instance_ready(service), LONG_MS);
    assert_in_range(issue("dan", NULL), 500, 599);
    store_run_as(stack, "COMMAND_DATABASE_URL", "ALTER ROLE CURRENT_USER RESET synchronous_commit");
    WAIT_UNTIL(issue("dan", NULL) == 201, LONG_MS);
}

/* The last, because the standby is the primary then: what was told is there, and what was not has one effect
 * when it is asked for again. */
static void nothing_told_is_lost_with_the_primary(void **)
{
    char standby_url[URL_MAX];
    static const char *const told[] = {"ann", "ben", "cat", "dan"};
    cluster_standby_url(stack, "DATABASE_URL", standby_url, sizeof standby_url);
    struct http_client *client = begin_waiting("eve");
    cut_off("pg_terminate_backend");
    expect_no_promise(client);
    expect_silence("eve");
    cluster_signal_all(stack, SIGKILL);
    cluster_standby_signal_all(stack, SIGCONT);
    cluster_promote(stack);
    expect_told_in_the_end("eve");
    for (size_t i = 0; i < COUNT_OF(told); i++) {
        bool replayed = false;
        WAIT_UNTIL(issue(told[i], &replayed) == 201, LONG_MS);
        assert_true(replayed);
    }
    assert_int_equal(
        verify_call(&(struct verify_call){.database_url = standby_url, .slice = slice_of(span_of(campaign))}),
        0);
}

static bool created(void)
{
    static const char body[] =
        "{\"id\":\"sync\",\"name\":\"n\",\"discount\":{\"type\":\"fixed\",\"amount\":1},"
        "\"currency\":\"KRW\",\"quantity\":1000}";
    return api_post(&api, "/v1/campaigns", body, "create").status == 201;
}

static int setup(void **state)
{
    char url[URL_MAX];
    crypto_setup();
    stack_default_deadlines();
    *state = stack = stack_start(STACK_SERVERS);
    cluster_standby_start(stack);
    cluster_both_url(stack, "COMMAND_DATABASE_URL", url, sizeof url);
    service = INSTANCE_START(stack, "command-service", "sync", 7, .database_url = url);
    instance_open_api(service, &api);
    WAIT_UNTIL(created(), LONG_MS);
    return 0;
}

static int teardown(void **state)
{
    api_close(&api);
    instance_destroy(service);
    return stack_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_wait_promises_nothing),
        cmocka_unit_test(an_ended_session_promises_nothing),
        cmocka_unit_test(a_server_that_recovered_promises_nothing),
        cmocka_unit_test(a_store_that_leaves_out_its_standby_is_refused),
        cmocka_unit_test(nothing_told_is_lost_with_the_primary),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
