/* SPDX-License-Identifier: Apache-2.0 */
/* A campaign and its first coupon in one transaction, as in a sale that people wait for with their finger on
 * the button. The test holds the lock of the slice until both are queued. Most of it is for the sanitizer:
 * what one command of a batch owns is borrowed by the answer to another. */
#include "events/ids.h"

#include "common/clock.h"
#include "common/pg.h"
#include "tests/lib/api.h"
#include "tests/lib/wait.h"

enum { CALL_MS = 10000 };
enum { LOCK, LET_GO, BEGIN };

static struct stack *stack;

static const struct pg_statement statements[] = {
    [LOCK] = {"lock", "SELECT slice FROM slice WHERE slice = $1::smallint FOR UPDATE"},
    [LET_GO] = {"let_go", "ROLLBACK"},
    [BEGIN] = {"begin", "BEGIN"},
};

static void call(struct pg *pg, size_t statement, const struct pg_args *args)
{
    struct pg_rows *rows = NULL;
    if (pg_call(pg, statement, args, clock_deadline_us(CALL_MS), &rows) != PG_OK)
        fail_msg("%s: %s", statements[statement].name, pg_error(pg));
    pg_rows_destroy(rows);
}

/* A connection that holds the lock of a slice. */
static struct pg *lock_slice(int16_t slice)
{
    struct pg_args args;
    struct pg *pg = pg_create(&(struct pg_options){.url = stack_env(stack, "DATABASE_URL"),
                                                   .application = "same_batch_test",
                                                   .statements = statements,
                                                   .statements_count = COUNT_OF(statements)});
    if (pg_connect(pg, clock_deadline_us(CALL_MS)) != PG_OK)
        fail_msg("%s", pg_error(pg));
    pg_args_init(&args);
    pg_arg_i16(&args, slice);
    call(pg, BEGIN, NULL);
    call(pg, LOCK, &args);
    pg_args_deinit(&args);
    return pg;
}

/* Sends a POST without waiting for its answer. */
static void send_post(struct http_client *client, const char *path, const char *body)
{
    struct buf text;
    buf_init(&text, 4096);
    buf_printf(&text,
               "POST %s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\nIdempotency-Key: %s\r\n"
               "Content-Length: %zu\r\n\r\n%s",
               path, stack_env(stack, "ADMIN_TOKEN"), api_fresh_key(), strlen(body), body);
    assert_false(text.overflow);
    assert_int_equal(http_client_send(client, buf_span(&text), CALL_MS), HTTP_ANSWERED);
    buf_deinit(&text);
}

/* Reads the answer and checks its status and that a text is in it. */
static void expect_answer(struct http_client *client, int status, const char *part)
{
    struct http_answer answer;
    char body[4096];
    assert_int_equal(http_client_read(client, CALL_MS, &answer), HTTP_ANSWERED);
    snprintf(body, sizeof body, "%.*s", SPAN_ARG(answer.body));
    if (answer.status != status || !strstr(body, part))
        fail_msg("%d %s", answer.status, body);
}

/* Times a transaction of the service gave up waiting for a lock. */
static int64_t gave_up(struct api_client *api)
{
    return api_metric(api, "coupon_store_errors_total{class=\"busy\"}");
}

static void campaign_and_coupon_in_one_batch(void **state)
{
    (void)state;
    struct api_client api;
    struct http_client *creator = http_client_create(stack_env(stack, "COMMAND_URL"));
    struct http_client *buyer = http_client_create(stack_env(stack, "COMMAND_URL"));
    api_open(&api, stack);
    struct pg *holder = lock_slice(slice_of(SPAN("doorbuster")));
    int64_t before = gave_up(&api);
    send_post(
        creator, "/v1/campaigns",
        "{\"id\":\"doorbuster\",\"name\":\"Doorbuster\",\"discount\":{\"type\":\"fixed\",\"amount\":500},"
        "\"currency\":\"EUR\",\"quantity\":1,\"code_prefix\":\"DOORBUSTER\"}");
    WAIT_UNTIL(gave_up(&api) > before, CALL_MS); /* the creation is queued and will be tried again, */
    before = gave_up(&api);
    send_post(buyer, "/v1/campaigns/doorbuster/coupons", "{\"user_id\":\"first-in-line\"}");
    WAIT_UNTIL(gave_up(&api) > before, CALL_MS); /* now with the coupon behind it */
    call(holder, LET_GO, NULL);
    expect_answer(creator, 201, "\"code_prefix\":\"DOORBUSTER\"");
    expect_answer(buyer, 201, "\"code\":\"DOORBUSTER-");
    pg_destroy(holder);
    http_client_destroy(creator);
    http_client_destroy(buyer);
    api_close(&api);
}

static int start(void **state)
{
    (void)state;
    setenv("REQUEST_DEADLINE_MS", "10000", 1); /* the lock is held for two lock timeouts */
    stack = stack_start(STACK_SERVERS);
    stack_service(stack, "command-service", "start");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    stack_stop(stack);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(campaign_and_coupon_in_one_batch),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
