/* SPDX-License-Identifier: Apache-2.0 */
/* A campaign and its first coupon in one transaction, as in a sale that people wait for with their finger on
 * the button. The test holds the lock of the slice until both are queued. Most of it is for the sanitizer:
 * what one command of a batch owns is borrowed by the answer to another. */
#include "events/ids.h"

#include "tests/lib/api.h"
#include "tests/lib/store.h"
#include "tests/lib/wait.h"

enum { CALL_MS = 60000 };

static struct stack *stack;
static struct api_client api;

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
static int64_t gave_up(void)
{
    return api_metric(&api, "coupon_store_errors_total{class=\"busy\"}");
}

static void campaign_and_coupon_in_one_batch(void **)
{
    char lock[96];
    snprintf(lock, sizeof lock, "SELECT 1 FROM slice WHERE slice = %d FOR UPDATE",
             slice_of(SPAN("doorbuster")));
    struct pg *holder = store_hold(stack, lock);
    int64_t before = gave_up();
    struct http_client *creator = api_post_begin(
        &api, "/v1/campaigns",
        "{\"id\":\"doorbuster\",\"name\":\"Doorbuster\",\"discount\":{\"type\":\"fixed\",\"amount\":500},"
        "\"currency\":\"EUR\",\"quantity\":1,\"code_prefix\":\"DOORBUSTER\"}",
        api_fresh_key(), NULL);
    WAIT_UNTIL(gave_up() > before, CALL_MS); /* the creation is queued and will be tried again, */
    before = gave_up();
    struct http_client *buyer = api_post_begin(&api, "/v1/campaigns/doorbuster/coupons",
                                               "{\"user_id\":\"first-in-line\"}", api_fresh_key(), NULL);
    WAIT_UNTIL(gave_up() > before, CALL_MS); /* now with the coupon behind it */
    store_let_go(holder);
    expect_answer(creator, 201, "\"code_prefix\":\"DOORBUSTER\"");
    expect_answer(buyer, 201, "\"code\":\"DOORBUSTER-");
    http_client_destroy(creator);
    http_client_destroy(buyer);
}

static int start(void **state)
{
    setenv("FIRSTCOME_REQUEST_DEADLINE_MS", "10000", 1); /* the lock is held for two lock timeouts */
    stack = api_setup(state, &api, STACK_COMMAND);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(campaign_and_coupon_in_one_batch),
    };
    return cmocka_run_group_tests(tests, start, api_teardown);
}
