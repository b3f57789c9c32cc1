/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer means, and joining the stories of clients. */
#include "tests/chaos/story.h"

#include "common/base/testing.h"

static enum told told(enum wire_outcome outcome, int status, const char *code)
{
    struct story story;
    struct buf body;
    story_init(&story);
    buf_init(&body, 128);
    buf_printf(&body, "{\"code\":\"%s\"}", code);
    struct http_response response = {.status = status, .body = buf_span(&body)};
    struct ask ask = {.kind = ASK_ISSUE};
    struct attempt begun = {.ask = story_ask(&story, &ask)};
    enum told result = (enum told)story_add(&story, &begun, outcome, &response)->told;
    buf_deinit(&body);
    story_deinit(&story);
    return result;
}

static void what_an_answer_means(void **state)
{
    (void)state;
    static const int done[] = {200, 201, 204}, refused[] = {403, 404, 410, 422}, later[] = {429, 503},
                     unknown[] = {500, 504}, nonsense[] = {202, 301, 400, 401, 405, 413, 418};
    for (size_t i = 0; i < COUNT_OF(done); i++)
        assert_int_equal(told(WIRE_ANSWERED, done[i], ""), TOLD_DONE);
    for (size_t i = 0; i < COUNT_OF(refused); i++)
        assert_int_equal(told(WIRE_ANSWERED, refused[i], "x"), TOLD_REFUSED);
    for (size_t i = 0; i < COUNT_OF(later); i++)
        assert_int_equal(told(WIRE_ANSWERED, later[i], "x"), TOLD_LATER);
    for (size_t i = 0; i < COUNT_OF(unknown); i++)
        assert_int_equal(told(WIRE_ANSWERED, unknown[i], "x"), TOLD_UNKNOWN);
    for (size_t i = 0; i < COUNT_OF(nonsense); i++)
        assert_int_equal(told(WIRE_ANSWERED, nonsense[i], "x"), TOLD_NONSENSE);
    assert_int_equal(told(WIRE_ANSWERED, 409, "sold-out"), TOLD_REFUSED);
    assert_int_equal(told(WIRE_ANSWERED, 409, "in-flight"), TOLD_LATER);
}

static void what_no_answer_means(void **state)
{
    (void)state;
    assert_int_equal(told(WIRE_UNSENT, 0, ""), TOLD_LATER);
    assert_int_equal(told(WIRE_LOST, 0, ""), TOLD_UNKNOWN);
    assert_int_equal(told(WIRE_LATE, 0, ""), TOLD_UNKNOWN);
    assert_int_equal(told(WIRE_MALFORMED, 0, ""), TOLD_NONSENSE);
}

static void a_token_that_cannot_be_read_is_nonsense(void **state)
{
    (void)state;
    struct story story;
    struct attempt begun = {0};
    struct http_response response = {.status = 201, .body = SPAN("{}"), .token = SPAN("v1.3.")};
    story_init(&story);
    begun.ask = story_ask(&story, &(struct ask){.kind = ASK_ISSUE});
    assert_int_equal(story_add(&story, &begun, WIRE_ANSWERED, &response)->told, TOLD_NONSENSE);
    response.token = SPAN("v1.3.7");
    const struct attempt *good = story_add(&story, &begun, WIRE_ANSWERED, &response);
    assert_int_equal(good->told, TOLD_DONE);
    assert_int_equal(good->token.slice, 3);
    assert_int_equal(good->token.position, 7);
    story_deinit(&story);
}

/* A void is done in parts, so that "later" may be true of one of them only. */
static void what_may_have_happened(void **state)
{
    (void)state;
    struct story story;
    story_init(&story);
    struct attempt issue = {.ask = story_ask(&story, &(struct ask){.kind = ASK_ISSUE}), .status = 503};
    struct attempt void_all = {.ask = story_ask(&story, &(struct ask){.kind = ASK_VOID}), .status = 503};
    issue.told = void_all.told = TOLD_LATER;
    assert_false(story_doubtful(&story, &issue));
    assert_true(story_doubtful(&story, &void_all));
    void_all.status = 0; /* not even sent */
    assert_false(story_doubtful(&story, &void_all));
    issue.told = TOLD_UNKNOWN;
    assert_true(story_doubtful(&story, &issue));
    story_deinit(&story);
}

static void stories_are_joined(void **state)
{
    (void)state;
    struct story all, of[3];
    struct http_response response = {.status = 200};
    story_init(&all);
    for (uint32_t client = 0; client < COUNT_OF(of); client++) {
        story_init(&of[client]);
        for (uint32_t number = 0; number < 2 + client; number++) {
            struct ask ask = {.client = client, .number = number, .key = number ? number - 1 : 0};
            struct attempt begun = {.ask = story_ask(&of[client], &ask)};
            response.body = client == 1 ? SPAN("one") : SPAN("another");
            story_add(&of[client], &begun, WIRE_ANSWERED, &response);
        }
        story_join(&all, &of[client], client);
        story_deinit(&of[client]);
    }
    assert_int_equal(all.asks_count, 9);
    assert_int_equal(all.attempts_count, 9);
    uint32_t index = story_find(&all, 1, 2);
    assert_int_equal(all.asks[index].client, 1);
    assert_int_equal(all.asks[index].number, 2);
    assert_int_equal(all.attempts[index].ask, index);
    assert_int_equal(story_key(&all, index), story_find(&all, 1, 1));
    assert_span(story_body(&all, &all.attempts[index]), "one");
    assert_int_equal(story_find(&all, 1, 3), UINT32_MAX);
    assert_int_equal(story_find(&all, 3, 0), UINT32_MAX);
    assert_int_equal(story_find(&all, 4000, 0), UINT32_MAX);
    story_deinit(&all);
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
