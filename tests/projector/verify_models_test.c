/* SPDX-License-Identifier: Apache-2.0 */
/* The models half of projector verify on a real stack: whatever is missing, altered or too much in Redis is
 * found and named, and nothing else is; what cannot be compared is said as such. */
#include "events/ids.h"
#include "tests/lib/api.h"
#include "tests/lib/json_get.h"
#include "tests/lib/models.h"
#include "tests/lib/projector.h"
#include "tests/lib/wait.h"

enum { OUTPUT_MAX = 256 * 1024, USERS = 130, WORDS_MAX = 6, TEXT_MAX = 256 };

static struct stack *stack;
static struct models models;
static struct api_client api;
static struct buf output;
static char hot[64], other[64]; /* campaigns: with coupons; with none */
static int16_t slice;           /* of the hot one */

#define VERIFY(...) (buf_clear(&output), PROJECTOR_RUN(stack, &output, "verify", "--json", __VA_ARGS__))

static void expect_clean(void)
{
    int status = VERIFY(NULL);
    if (status != 0 || !strstr(output.data, "\"differences\":0,"))
        fail_msg("exit %d:\n%s", status, output.data);
}

/* --- coupons in every state, and a campaign without any --- */

static void use(const char *coupon, const char *action, int user)
{
    char body[160];
    snprintf(body, sizeof body, "{\"user_id\":\"user-%d\",\"order_id\":\"order-%d\",\"order_amount\":1000%s}",
             user, user, strcmp(action, "reserve") == 0 ? ",\"ttl_seconds\":3600" : "");
    api_expect(api_post(&api, textf("/v1/coupons/%s/%s", coupon, action),
                        strcmp(action, "revoke") == 0 ? "{\"reason\":\"test\"}" : body, NULL),
               200, NULL);
}

static void make_traffic(void)
{
    char coupon[64];
    static const char *const actions[] = {"reserve", "redeem", "revoke", NULL};
    snprintf(hot, sizeof hot, "%s", api_campaign(&api, 1000, ""));
    snprintf(other, sizeof other, "%s", api_campaign(&api, 10, ""));
    slice = slice_of(span_of(hot));
    for (int i = 0; i < USERS; i++) {
        const char *action = actions[(size_t)i % COUNT_OF(actions)];
        snprintf(coupon, sizeof coupon, "%s", api_coupon(&api, hot, textf("user-%d", i)));
        if (action)
            use(coupon, action, i);
    }
}

/* --- edits --- */

/* In words and keys, "$C" at the end becomes the hot campaign's id. Keys are without what they all begin
 * with. */
struct edit {
    const char *key, *words[WORDS_MAX]; /* the command: verb, then what comes after the key */
};

static const struct edit edits[] = {
    {"c:$C", {"DEL"}},
    {"c:$C", {"SETRANGE", "3", "x"}},
    {"p:0", {"DEL"}},
    {"p:1", {"SETRANGE", "70", "zzz"}},
    {"p:0", {"PERSIST"}},
    {"p:1", {"EXPIRE", "1000"}},
    {"s:0", {"DEL"}},
    {"s:1", {"HDEL", ""}},
    {"s:0", {"HSET", "63", "x"}},
    {"h:$C:0", {"DEL"}},
    {"h:$C:0", {"SETRANGE", "9", "x"}},
    {"h:$C:0", {"APPEND", "12345"}},
    {"u:0", {"DEL"}},
    {"u:1", {"SETRANGE", "6", "x"}},
    {"u:1", {"SET", "u"}},
    {"cs", {"DEL"}},
    {"cs", {"ZREM", "$C"}},
    {"cs", {"ZADD", "7", "$C"}},
    {"cs", {"ZADD", "7", "nobody"}},
    {"cs", {"ZREM", ""}},
    {"r:issued", {"ZADD", "7", "nobody"}},
    {"r:redeemed", {"DEL"}},
    {"a:issued", {"ZREM", "$C"}},
    {"a:redeemed", {"ZADD", "7", "$C"}},
    /* what no event makes */
    {"c:nobody", {"SET", "x"}},
    {"p:9999", {"SET", "c"}},
    {"s:9999", {"HSET", "", ""}},
    {"h:$C:1", {"SET", "12345"}},
    {"u:9999", {"SET", "u"}},
    {"x:1", {"SET", "1"}},
    {"r:sold", {"ZADD", "1", "x"}},
};

static const char *with_campaign(const char *text, char ret[TEXT_MAX])
{
    const char *at = strstr(text, "$C");
    if (at)
        snprintf(ret, TEXT_MAX, "%.*s%s%s", (int)(at - text), text, hot, at + 2);
    else
        snprintf(ret, TEXT_MAX, "%s", text);
    return ret;
}

static void apply(const struct edit *edit, const char *key)
{
    char texts[WORDS_MAX][TEXT_MAX];
    const char *words[WORDS_MAX + 2] = {edit->words[0], key};
    for (size_t i = 1; i < WORDS_MAX && edit->words[i]; i++)
        words[i + 1] = with_campaign(edit->words[i], texts[i]);
    assert_true(redis_kind(models_call(&models, words)) != REDIS_NIL);
}

static void every_edit_is_found(void **)
{
    char rest[TEXT_MAX], key[TEXT_MAX], wanted[2 * TEXT_MAX], number[8];
    snprintf(number, sizeof number, "%d", slice);
    for (size_t i = 0; i < COUNT_OF(edits); i++) {
        snprintf(key, sizeof key, "%s", models_key(&models, slice, with_campaign(edits[i].key, rest)));
        bool there = redis_integer(MODELS_CALL(&models, "COPY", key, "saved", "REPLACE")) == 1;
        apply(&edits[i], key);
        int status = VERIFY("--slice", number);
        snprintf(wanted, sizeof wanted, "\"key\":\"%s\"", key);
        if (status != 1 || !strstr(output.data, wanted))
            fail_msg("%s %s: exit %d, not named in:\n%s", edits[i].words[0], key, status, output.data);
        MODELS_CALL(&models, "DEL", key);
        if (there)
            MODELS_CALL(&models, "COPY", "saved", key);
    }
    MODELS_CALL(&models, "DEL", "saved");
    expect_clean();
}

/* Nothing moves, so each time the same is compared and the same is said. */
static void three_times_the_same(void **)
{
    char first[OUTPUT_MAX], *at;
    for (int i = 0; i < 3; i++) {
        expect_clean();
        at = strstr(output.data, "\"log_events_per_second\"");
        assert_non_null(at);
        *at = '\0'; /* how fast it was is another matter */
        if (i > 0)
            assert_string_equal(output.data, first);
        snprintf(first, sizeof first, "%s", output.data);
    }
}

static void what_one_slice_lost_is_said_and_the_others_are_compared(void **)
{
    char root[32];
    struct buf name;
    buf_init(&name, 64);
    buf_printf(&name, "fc:{%d}", slice);
    snprintf(root, sizeof root, "%s", name.data);
    buf_deinit(&name);
    MODELS_CALL(&models, "RENAME", root, "saved");
    assert_int_equal(VERIFY(NULL), 69);
    assert_non_null(strstr(output.data, textf("no models of slice %d", slice)));
    assert_non_null(strstr(output.data, "\"differences\":0,"));
    assert_null(strstr(output.data, "\"keys\":0,"));
    MODELS_CALL(&models, "RENAME", "saved", root);
    expect_clean();
}

static void a_checkpoint_of_another_history_is_found(void **)
{
    char root[32];
    snprintf(root, sizeof root, "fc:{%d}", slice);
    MODELS_CALL(&models, "COPY", root, "saved", "REPLACE");
    MODELS_CALL(&models, "HSET", root, "chain",
                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    assert_int_equal(VERIFY(NULL), 1);
    assert_non_null(strstr(output.data, "another history"));
    MODELS_CALL(&models, "DEL", root);
    MODELS_CALL(&models, "RENAME", "saved", root);
    expect_clean();
}

static void an_empty_redis_is_no_difference(void **)
{
    MODELS_CALL(&models, "FLUSHALL");
    assert_int_equal(VERIFY(NULL), 69);
    assert_non_null(strstr(output.data, "there are no models of slice"));
    assert_non_null(strstr(output.data, "\"complete\":false"));
    stack_service(stack, "projector", "start");
    expect_clean(); /* it waits for what is being made */
    assert_null(strstr(output.data, "\"keys\":0,"));
}

static int set_up(void **state)
{
    stack = api_setup(state, &api, STACK_ALL);
    buf_init(&output, OUTPUT_MAX);
    models_open(&models, stack);
    make_traffic();
    models_await_current(&models);
    stack_service(stack, "projector", "stop");
    return 0;
}

static int tear_down(void **state)
{
    models_close(&models);
    buf_deinit(&output);
    return api_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_times_the_same),
        cmocka_unit_test(every_edit_is_found),
        cmocka_unit_test(what_one_slice_lost_is_said_and_the_others_are_compared),
        cmocka_unit_test(a_checkpoint_of_another_history_is_found),
        cmocka_unit_test(an_empty_redis_is_no_difference),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
