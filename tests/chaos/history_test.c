/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer means, and joining the stories of clients. */
#include "tests/chaos/history.h"

#include "common/base/testing.h"

static enum outcome outcome(enum exchange outcome, int status, const char *code)
{
    struct history history;
    struct buf body;
    history_init(&history);
    buf_init(&body, 128);
    buf_printf(&body, "{\"code\":\"%s\"}", code);
    struct http_response response = {.status = status, .body = buf_span(&body)};
    struct operation op = {.kind = OP_ISSUE};
    struct attempt begun = {.op = history_op(&history, &op)};
    enum outcome result = (enum outcome)history_add(&history, &begun, outcome, &response)->outcome;
    buf_deinit(&body);
    history_deinit(&history);
    return result;
}

static void what_an_answer_means(void **)
{
    static const int done[] = {200, 201, 204}, refused[] = {403, 404, 410, 422}, later[] = {429, 503},
                     unknown[] = {500, 502, 504}, nonsense[] = {202, 301, 400, 401, 405, 413, 418};
    for (size_t i = 0; i < COUNT_OF(done); i++)
        assert_int_equal(outcome(EXCHANGE_ANSWERED, done[i], ""), OUTCOME_DONE);
    for (size_t i = 0; i < COUNT_OF(refused); i++)
        assert_int_equal(outcome(EXCHANGE_ANSWERED, refused[i], "x"), OUTCOME_REFUSED);
    for (size_t i = 0; i < COUNT_OF(later); i++)
        assert_int_equal(outcome(EXCHANGE_ANSWERED, later[i], "x"), OUTCOME_LATER);
    for (size_t i = 0; i < COUNT_OF(unknown); i++)
        assert_int_equal(outcome(EXCHANGE_ANSWERED, unknown[i], "x"), OUTCOME_UNKNOWN);
    for (size_t i = 0; i < COUNT_OF(nonsense); i++)
        assert_int_equal(outcome(EXCHANGE_ANSWERED, nonsense[i], "x"), OUTCOME_NONSENSE);
    assert_int_equal(outcome(EXCHANGE_ANSWERED, 409, "sold-out"), OUTCOME_REFUSED);
    assert_int_equal(outcome(EXCHANGE_ANSWERED, 409, "in-flight"), OUTCOME_LATER);
}

static void what_no_answer_means(void **)
{
    assert_int_equal(outcome(EXCHANGE_UNSENT, 0, ""), OUTCOME_LATER);
    assert_int_equal(outcome(EXCHANGE_LOST, 0, ""), OUTCOME_UNKNOWN);
    assert_int_equal(outcome(EXCHANGE_LATE, 0, ""), OUTCOME_UNKNOWN);
    assert_int_equal(outcome(EXCHANGE_MALFORMED, 0, ""), OUTCOME_NONSENSE);
}

static void a_token_that_cannot_be_read_is_nonsense(void **)
{
    struct history history;
    struct attempt begun = {0};
    struct http_response response = {.status = 201, .body = SPAN("{}"), .token = SPAN("v1.3.")};
    history_init(&history);
    begun.op = history_op(&history, &(struct operation){.kind = OP_ISSUE});
    assert_int_equal(history_add(&history, &begun, EXCHANGE_ANSWERED, &response)->outcome, OUTCOME_NONSENSE);
    response.token = SPAN("v1.3.7");
    const struct attempt *good = history_add(&history, &begun, EXCHANGE_ANSWERED, &response);
    assert_int_equal(good->outcome, OUTCOME_DONE);
    assert_int_equal(good->token.slice, 3);
    assert_int_equal(good->token.position, 7);
    history_deinit(&history);
}

/* A void is done in parts, so that "later" may be true of one of them only. */
static void what_may_have_happened(void **)
{
    struct history history;
    history_init(&history);
    struct attempt issue = {.op = history_op(&history, &(struct operation){.kind = OP_ISSUE}), .status = 503};
    struct attempt void_all = {.op = history_op(&history, &(struct operation){.kind = OP_VOID}),
                               .status = 503};
    issue.outcome = void_all.outcome = OUTCOME_LATER;
    assert_false(history_doubtful(&history, &issue));
    assert_true(history_doubtful(&history, &void_all));
    void_all.status = 0; /* not even sent */
    assert_false(history_doubtful(&history, &void_all));
    issue.outcome = OUTCOME_UNKNOWN;
    assert_true(history_doubtful(&history, &issue));
    history_deinit(&history);
}

static void stories_are_joined(void **)
{
    struct history all, of[3];
    struct http_response response = {.status = 200};
    history_init(&all);
    for (uint32_t client = 0; client < COUNT_OF(of); client++) {
        history_init(&of[client]);
        for (uint32_t number = 0; number < 2 + client; number++) {
            struct operation op = {.client = client, .number = number, .key = number ? number - 1 : 0};
            struct attempt begun = {.op = history_op(&of[client], &op)};
            response.body = client == 1 ? SPAN("one") : SPAN("another");
            history_add(&of[client], &begun, EXCHANGE_ANSWERED, &response);
        }
        history_join(&all, &of[client], client);
        history_deinit(&of[client]);
    }
    assert_int_equal(all.ops_count, 9);
    assert_int_equal(all.attempts_count, 9);
    uint32_t index = history_find(&all, 1, 2);
    assert_int_equal(all.ops[index].client, 1);
    assert_int_equal(all.ops[index].number, 2);
    assert_int_equal(all.attempts[index].op, index);
    assert_int_equal(history_key(&all, index), history_find(&all, 1, 1));
    assert_span(history_body(&all, &all.attempts[index]), "one");
    assert_int_equal(history_find(&all, 1, 3), UINT32_MAX);
    assert_int_equal(history_find(&all, 3, 0), UINT32_MAX);
    assert_int_equal(history_find(&all, 4000, 0), UINT32_MAX);
    history_deinit(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_answer_means),
        cmocka_unit_test(what_no_answer_means),
        cmocka_unit_test(a_token_that_cannot_be_read_is_nonsense),
        cmocka_unit_test(what_may_have_happened),
        cmocka_unit_test(stories_are_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
