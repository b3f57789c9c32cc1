/* SPDX-License-Identifier: Apache-2.0 */
/* What read models say against what the log says. */
#include "bench/storm/checker_world.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/base/mem.h"

struct read_case {
    struct world world;
    struct json_doc *doc;
    struct read_difference why;
};

static const struct json_value *parse(struct read_case *read, const char *text)
{
    struct json_fault fault;
    json_destroy(read->doc);
    read->doc = json_parse(span_of(text), &fault);
    assert_non_null(read->doc);
    return json_root(read->doc);
}

static int read_setup(void **state)
{
    struct read_case *read = mem_zalloc(sizeof *read);
    world_init(&read->world);
    world_play(&read->world);
    *state = read;
    return 0;
}

static int read_teardown(void **state)
{
    struct read_case *read = *state;
    json_destroy(read->doc);
    world_deinit(&read->world);
    mem_free(read);
    return 0;
}

static bool campaign_agrees(struct read_case *read, const char *text)
{
    return checker_campaign_agrees(read->world.checker, parse(read, text), &read->why);
}

static void campaign_reads_as_the_log(void **state)
{
    struct read_case *read = *state;
    assert_true(campaign_agrees(
        read, "{\"id\":\"storm-test\",\"issued\":3,\"remaining\":0,\"quantity\":3,\"status\":\"sold_out\"}"));
    assert_false(campaign_agrees(
        read, "{\"id\":\"storm-test\",\"issued\":2,\"remaining\":0,\"quantity\":3,\"status\":\"sold_out\"}"));
    assert_non_null(strstr(read->why.text, "issued"));
    assert_false(campaign_agrees(
        read, "{\"id\":\"storm-test\",\"issued\":3,\"remaining\":1,\"quantity\":3,\"status\":\"sold_out\"}"));
    assert_false(campaign_agrees(
        read, "{\"id\":\"storm-test\",\"issued\":3,\"remaining\":0,\"quantity\":4,\"status\":\"sold_out\"}"));
    assert_false(campaign_agrees(
        read, "{\"id\":\"storm-test\",\"issued\":3,\"remaining\":0,\"quantity\":3,\"status\":\"active\"}"));
    assert_false(campaign_agrees(
        read,
        "{\"id\":\"storm-toast\",\"issued\":3,\"remaining\":0,\"quantity\":3,\"status\":\"sold_out\"}"));
    assert_false(campaign_agrees(read, "{\"issued\":\"3\"}"));
}

static void a_read_that_never_agreed_is_a_violation(void **state)
{
    struct read_case *read = *state;
    struct read_difference why = {"it differs"};
    const struct verdict *verdict = checker_verdict(read->world.checker);
    checker_read_done(read->world.checker, RULE_READ_CAMPAIGN, NULL);
    assert_int_equal(verdict->violations, 0);
    assert_int_equal(verdict->checked[RULE_READ_CAMPAIGN], 1);
    checker_read_done(read->world.checker, RULE_READ_CAMPAIGN, &why);
    assert_int_equal(verdict->violated[RULE_READ_CAMPAIGN], 1);
    assert_string_equal(verdict->first[0].text, "it differs");
}

static bool holder_agrees(struct read_case *read, int64_t index, size_t line, const char *from,
                          const char *to)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    write_coupon(&read->world, line, &text);
    if (from)
        replace(&text, from, to);
    bool agrees = checker_holder_agrees(read->world.checker, index, parse(read, text.data), &read->why);
    buf_deinit(&text);
    return agrees;
}

static void holders_read_as_the_log(void **state)
{
    struct read_case *read = *state;
    for (size_t i = 0; i < 3; i++)
        assert_true(holder_agrees(read, (int64_t)i, i + 1, NULL, NULL));
    assert_true(checker_holder_agrees(read->world.checker, 3, NULL, &read->why));
    assert_false(holder_agrees(read, 0, 2, NULL, NULL));                           /* another place */
    assert_false(holder_agrees(read, 3, 3, NULL, NULL));                           /* one too many */
    assert_false(checker_holder_agrees(read->world.checker, 2, NULL, &read->why)); /* one missing */
    assert_false(holder_agrees(read, 0, 1, "test-00000000", "test-00000003"));
    assert_false(holder_agrees(read, 0, 1, "\"sequence\":1", "\"sequence\":9"));
    assert_false(holder_agrees(read, 0, 1, "\"coupon_id\"", "\"id\""));
}

static bool user_agrees(struct read_case *read, uint32_t user, const char *format, int slice)
{
    char text[256];
    struct buf made;
    buf_init(&made, sizeof text);
    buf_append_text(&made, format);
    if (slice >= 0) {
        snprintf(text, sizeof text, "c%d-", slice);
        replace(&made, "@", text);
    }
    bool agrees = checker_user_agrees(read->world.checker, user, parse(read, made.data), &read->why);
    buf_deinit(&made);
    return agrees;
}

static void users_read_as_the_log(void **state)
{
    struct read_case *read = *state;
    int slice = slice_of(span_of(campaign_id));
    assert_true(user_agrees(read, 1, "{\"issued\":1,\"sequence\":2,\"coupon_ids\":[\"@3\"]}", slice));
    assert_true(user_agrees(read, 4, "{\"issued\":0,\"sequence\":null,\"coupon_ids\":[]}", -1));
    assert_false(user_agrees(read, 1, "{\"issued\":0,\"coupon_ids\":[]}", -1));
    assert_false(user_agrees(read, 4, "{\"issued\":1,\"sequence\":2,\"coupon_ids\":[\"@3\"]}", slice));
    assert_false(user_agrees(read, 1, "{\"issued\":1,\"sequence\":1,\"coupon_ids\":[\"@3\"]}", slice));
    assert_false(user_agrees(read, 1, "{\"issued\":1,\"sequence\":2,\"coupon_ids\":[\"@2\"]}", slice));
    assert_false(user_agrees(read, 1, "{\"issued\":1,\"sequence\":2,\"coupon_ids\":[]}", -1));
    assert_false(user_agrees(read, 4, "{\"issued\":0,\"sequence\":null,\"coupon_ids\":[\"@3\"]}", slice));
    assert_false(user_agrees(read, 1, "{\"issued\":2,\"sequence\":2,\"coupon_ids\":[\"@3\"]}", slice));
    assert_false(user_agrees(read, 1, "{\"issued\":1,\"sequence\":2,\"coupon_ids\":[\"@3\"]}", slice ^ 1));
    assert_false(user_agrees(read, 4, "{\"issued\":0}", -1));
    assert_null(strstr(read->why.text, names.prefix));
}

static bool ranking_agrees(struct read_case *read, const char *items)
{
    char text[512];
    snprintf(text, sizeof text, "{\"items\":[%s]}", items);
    return checker_ranking_agrees(read->world.checker, parse(read, text), 2, &read->why);
}

static void ranking_reads_as_the_log(void **state)
{
    struct read_case *read = *state;
    const char *above =
        "{\"rank\":1,\"campaign_id\":\"a\",\"count\":5},{\"rank\":2,\"campaign_id\":\"b\",\"count\":4}";
    assert_true(ranking_agrees(read, "{\"rank\":1,\"campaign_id\":\"storm-test\",\"count\":3}"));
    assert_false(ranking_agrees(read, "{\"rank\":1,\"campaign_id\":\"storm-test\",\"count\":2}"));
    assert_false(ranking_agrees(read, "{\"rank\":2,\"campaign_id\":\"storm-test\",\"count\":3}"));
    assert_true(ranking_agrees(read, above)); /* the page is full of bigger ones */
    assert_false(ranking_agrees(read, "{\"rank\":1,\"campaign_id\":\"a\",\"count\":5}")); /* there was room */
    assert_false(ranking_agrees(read,
                                "{\"rank\":1,\"campaign_id\":\"a\",\"count\":5},"
                                "{\"rank\":2,\"campaign_id\":\"b\",\"count\":2}")); /* it belongs before b */
    assert_false(ranking_agrees(read, "{\"rank\":1,\"campaign_id\":\"a\",\"count\":4},"
                                      "{\"rank\":2,\"campaign_id\":\"b\",\"count\":5}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(campaign_reads_as_the_log, read_setup, read_teardown),
        cmocka_unit_test_setup_teardown(a_read_that_never_agreed_is_a_violation, read_setup, read_teardown),
        cmocka_unit_test_setup_teardown(holders_read_as_the_log, read_setup, read_teardown),
        cmocka_unit_test_setup_teardown(users_read_as_the_log, read_setup, read_teardown),
        cmocka_unit_test_setup_teardown(ranking_reads_as_the_log, read_setup, read_teardown),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
