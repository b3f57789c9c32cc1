/* SPDX-License-Identifier: Apache-2.0 */
/* The register of accepted requests: its bound, what it forgets first, the same key again, and threads. */
#include "command-service/http/requests.h"

#include <pthread.h>

#include "common/base/testing.h"

static const uint8_t *key(uint32_t number)
{
    static _Thread_local uint8_t keys[4][REQUEST_KEY_BYTES];
    static _Thread_local size_t turn;
    uint8_t *at = keys[turn++ % COUNT_OF(keys)];
    memset(at, 0, REQUEST_KEY_BYTES);
    memcpy(at + 3, &number, sizeof number);
    return at;
}

static void finish(struct requests *requests, uint32_t number, int status, const char *answer)
{
    requests_finish(
        requests, key(number),
        &(struct request_outcome){.state = REQUEST_DONE, .http_status = status, .answer = span_of(answer)});
}

static void expect(struct requests *requests, uint32_t number, const char *body)
{
    struct buf out;
    buf_init(&out, REQUEST_OUTCOME_MAX);
    assert_true(requests_find(requests, key(number), &out));
    assert_span(buf_span(&out), body);
    buf_deinit(&out);
}

static void expect_forgotten(struct requests *requests, uint32_t number)
{
    struct buf out;
    buf_init(&out, REQUEST_OUTCOME_MAX);
    assert_false(requests_find(requests, key(number), &out));
    assert_int_equal(out.len, 0); /* nothing appended */
    buf_deinit(&out);
}

#define PENDING "{\"status\":\"pending\"}"

static void pending_then_done(void **state)
{
    (void)state;
    char answer[] = "{\"coupon_id\":\"c1-2\"}";
    struct requests *requests = requests_create(4);
    expect_forgotten(requests, 1);
    assert_true(requests_open(requests, key(1)));
    expect(requests, 1, PENDING);
    expect_forgotten(requests, 2);
    finish(requests, 1, 201, answer);
    memset(answer, 'x', sizeof answer - 1); /* it was copied */
    expect(requests, 1, "{\"status\":\"done\",\"http_status\":201,\"answer\":{\"coupon_id\":\"c1-2\"}}");
    requests_destroy(requests);
    requests_destroy(NULL);
}

/* COMMIT was sent and never answered: honest is that nobody knows. */
static void an_unknown_outcome_says_what_to_do(void **state)
{
    (void)state;
    struct requests *requests = requests_create(4);
    struct buf out;
    buf_init(&out, REQUEST_OUTCOME_MAX);
    assert_true(requests_open(requests, key(1)));
    requests_finish(requests, key(1), &(struct request_outcome){.state = REQUEST_UNKNOWN});
    assert_true(requests_find(requests, key(1), &out));
    assert_true(span_starts(buf_span(&out), SPAN("{\"status\":\"unknown\",\"detail\":\"")));
    assert_non_null(strstr(out.data, "same Idempotency-Key"));
    buf_deinit(&out);
    requests_destroy(requests);
}

static void an_empty_answer_is_null(void **state)
{
    (void)state;
    struct requests *requests = requests_create(4);
    assert_true(requests_open(requests, key(1)));
    finish(requests, 1, 204, "");
    expect(requests, 1, "{\"status\":\"done\",\"http_status\":204,\"answer\":null}");
    requests_destroy(requests);
}

static void what_is_pending_is_never_pushed_out(void **state)
{
    (void)state;
    struct requests *requests = requests_create(3);
    for (uint32_t i = 1; i <= 3; i++)
        assert_true(requests_open(requests, key(i)));
    assert_false(requests_open(requests, key(4))); /* no room */
    assert_false(requests_open(requests, key(2))); /* pending already */
    requests_forget(requests, key(2));             /* it was not accepted after all */
    expect_forgotten(requests, 2);
    assert_true(requests_open(requests, key(4)));
    assert_false(requests_open(requests, key(5)));
    for (uint32_t i = 1; i <= 4; i++)
        if (i != 2)
            finish(requests, i, 201, "{}");
    requests_destroy(requests);
}

/* The first that was done goes first, whenever it was opened. */
static void forgets_in_order_of_finishing(void **state)
{
    (void)state;
    struct requests *requests = requests_create(4);
    static const uint32_t done[] = {3, 1, 2};
    for (uint32_t i = 1; i <= 4; i++)
        assert_true(requests_open(requests, key(i)));
    for (size_t i = 0; i < COUNT_OF(done); i++)
        finish(requests, done[i], 201, "{}");
    for (size_t i = 0; i < COUNT_OF(done); i++) {
        assert_true(requests_open(requests, key(10 + (uint32_t)i)));
        expect_forgotten(requests, done[i]);
        for (size_t later = i + 1; later < COUNT_OF(done); later++)
            expect(requests, done[later], "{\"status\":\"done\",\"http_status\":201,\"answer\":{}}");
    }
    assert_false(requests_open(requests, key(20))); /* all are pending */
    expect(requests, 4, PENDING);
    for (uint32_t i = 10; i <= 12; i++)
        requests_forget(requests, key(i));
    requests_forget(requests, key(4));
    requests_destroy(requests);
}

/* Taken out of the first place, the middle and the last one. */
static void the_same_key_again_is_a_new_attempt(void **state)
{
    (void)state;
    for (uint32_t again = 1; again <= 3; again++) {
        struct requests *requests = requests_create(3);
        uint32_t order[3] = {0}, count = 0;
        for (uint32_t i = 1; i <= 3; i++) {
            assert_true(requests_open(requests, key(i)));
            finish(requests, i, 201, "{}");
            if (i != again)
                order[count++] = i;
        }
        assert_true(requests_open(requests, key(again)));
        expect(requests, again, PENDING);
        finish(requests, again, 409, "{\"code\":\"paused\"}");
        expect(requests, again, "{\"status\":\"done\",\"http_status\":409,\"answer\":{\"code\":\"paused\"}}");
        order[count++] = again; /* now the youngest */
        for (uint32_t i = 0; i < count; i++) {
            assert_true(requests_open(requests, key(10 + i)));
            expect_forgotten(requests, order[i]);
        }
        for (uint32_t i = 0; i < count; i++)
            requests_forget(requests, key(10 + i));
        requests_destroy(requests);
    }
}

static void finish_unopened(void *requests)
{
    finish(requests, 1, 201, "{}");
}

static void forget_done(void *requests)
{
    finish(requests, 2, 201, "{}");
    requests_forget(requests, key(2));
}

static void only_what_is_pending_ends(void **state)
{
    (void)state;
    struct requests *requests = requests_create(3);
    assert_true(requests_open(requests, key(2)));
    assert_true(dies(finish_unopened, requests));
    assert_true(dies(forget_done, requests));
    requests_forget(requests, key(2));
    requests_destroy(requests);
}

/* --- threads --- */

enum { THREADS = 4, ROUNDS = 20000, KEYS = 12, ROOM = 8 };

struct worker {
    pthread_t thread;
    struct requests *requests;
    uint64_t chance;
    size_t opened;
    bool wrong;
};

/* Opens, looks and ends keys that others are at as well. An open that succeeded is this thread's to end. */
static void *work(void *context)
{
    struct worker *self = context;
    struct buf out;
    buf_init(&out, REQUEST_OUTCOME_MAX);
    for (size_t i = 0; i < ROUNDS; i++) {
        uint32_t number = (uint32_t)(random_next(&self->chance) % KEYS);
        buf_clear(&out);
        bool known = requests_find(self->requests, key(number), &out);
        self->wrong |=
            known && !(span_is(buf_span(&out), PENDING) ||
                       span_is(buf_span(&out), "{\"status\":\"done\",\"http_status\":201,\"answer\":{}}"));
        if (!requests_open(self->requests, key(number)))
            continue;
        self->opened++;
        if (random_next(&self->chance) % 4 == 0)
            requests_forget(self->requests, key(number));
        else
            finish(self->requests, number, 201, "{}");
    }
    buf_deinit(&out);
    return NULL;
}

static void threads_share_it(void **state)
{
    (void)state;
    struct requests *requests = requests_create(ROOM);
    struct worker workers[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.requests = requests, .chance = i + 1};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_false(workers[i].wrong);
        assert_true(workers[i].opened > 0);
    }
    for (uint32_t i = 100; i < 100 + ROOM; i++) /* none is pending any more: there is room for as many */
        assert_true(requests_open(requests, key(i)));
    assert_false(requests_open(requests, key(200)));
    for (uint32_t i = 100; i < 100 + ROOM; i++)
        requests_forget(requests, key(i));
    requests_destroy(requests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pending_then_done),
        cmocka_unit_test(an_unknown_outcome_says_what_to_do),
        cmocka_unit_test(an_empty_answer_is_null),
        cmocka_unit_test(what_is_pending_is_never_pushed_out),
        cmocka_unit_test(forgets_in_order_of_finishing),
        cmocka_unit_test(the_same_key_again_is_a_new_attempt),
        cmocka_unit_test(only_what_is_pending_ends),
        cmocka_unit_test(threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
