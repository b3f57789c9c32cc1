/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors come back as they were, and nothing else is one. */
#include "query-service/load/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct span scope = {"5:promo-1:-1:", 13};

static struct cursor campaigns_cursor(const char *id)
{
    struct cursor cursor = {.kind = CURSOR_CAMPAIGNS, .time_us = 1763646000123456};
    cursor_set_id(&cursor, span_of(id));
    return cursor;
}

static void check_round_trip(const struct cursor *cursor)
{
    struct buf text;
    struct cursor back;
    buf_init(&text, CURSOR_TEXT_MAX);
    cursor_write(&text, cursor, scope);
    assert_false(text.overflow);
    assert_true(cursor_parse(buf_span(&text), cursor->kind, scope, &back));
    assert_memory_equal(&back, cursor, sizeof back);
    buf_deinit(&text);
}

static void round_trips(void **)
{
    struct cursor longest =
        campaigns_cursor("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    struct cursor shortest = campaigns_cursor("a");
    struct cursor holders = {.kind = CURSOR_HOLDERS, .number = QUANTITY_MAX};
    struct cursor coupons = {.kind = CURSOR_COUPONS, .time_us = INT64_MAX, .number = INT64_MAX, .slice = 15};
    struct cursor order = {.kind = CURSOR_ORDER, .number = INT64_MAX, .slice = 15};
    assert_int_equal(longest.id_len, CAMPAIGN_ID_MAX);
    check_round_trip(&longest);
    check_round_trip(&shortest);
    check_round_trip(&holders);
    check_round_trip(&coupons);
    check_round_trip(&order);
}

static void every_changed_character_is_noticed(void **)
{
    struct buf text;
    struct cursor cursor = campaigns_cursor("promo"), back;
    buf_init(&text, CURSOR_TEXT_MAX);
    cursor_write(&text, &cursor, scope);
    for (size_t i = 0; i < text.len; i++) {
        char was = text.data[i];
        for (int c = 0; c < 256; c++) {
            text.data[i] = (char)c;
            bool parsed = cursor_parse(buf_span(&text), CURSOR_CAMPAIGNS, scope, &back);
            assert_true(parsed == (text.data[i] == was));
        }
        text.data[i] = was;
        assert_false(cursor_parse((struct span){text.data, i}, CURSOR_CAMPAIGNS, scope, &back));
    }
    buf_deinit(&text);
}

static void belongs_to_its_list(void **)
{
    struct buf text;
    struct cursor cursor = {.kind = CURSOR_HOLDERS, .number = 7}, back;
    buf_init(&text, CURSOR_TEXT_MAX);
    cursor_write(&text, &cursor, scope);
    assert_false(cursor_parse(buf_span(&text), CURSOR_HOLDERS, SPAN("5:promo-2:-1:"), &back));
    assert_false(cursor_parse(buf_span(&text), CURSOR_COUPONS, scope, &back));
    assert_false(cursor_parse(buf_span(&text), CURSOR_CAMPAIGNS, scope, &back));
    buf_deinit(&text);
}

/* What cursor_write makes of values outside the contract has a good sum; the bounds must catch it. */
static void values_are_bounded(void **)
{
    struct cursor bad[] = {
        {.kind = CURSOR_HOLDERS, .number = 0},
        {.kind = CURSOR_HOLDERS, .number = QUANTITY_MAX + 1},
        {.kind = CURSOR_COUPONS, .time_us = 1, .number = 0, .slice = 0},
        {.kind = CURSOR_COUPONS, .time_us = 1, .number = 1, .slice = 16},
        {.kind = CURSOR_ORDER, .number = 0, .slice = 0},
        {.kind = CURSOR_ORDER, .number = 1, .slice = 16},
        campaigns_cursor("Upper"),
        campaigns_cursor(""),
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct buf text;
        struct cursor back;
        buf_init(&text, CURSOR_TEXT_MAX);
        cursor_write(&text, &bad[i], scope);
        assert_false(cursor_parse(buf_span(&text), bad[i].kind, scope, &back));
        buf_deinit(&text);
    }
}

static void rubbish_is_no_cursor(void **)
{
    static const char *const texts[] = {"", "a", "AAAA", "====", "null", "AWgAAAAAAAAAAraLdCw=", " "};
    struct cursor back;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_false(cursor_parse(span_of(texts[i]), CURSOR_HOLDERS, scope, &back));
    char longest[4096];
    memset(longest, 'A', sizeof longest);
    assert_false(cursor_parse((struct span){longest, sizeof longest}, CURSOR_HOLDERS, scope, &back));
}

int main(void)
{
    crypto_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),          cmocka_unit_test(every_changed_character_is_noticed),
        cmocka_unit_test(belongs_to_its_list),  cmocka_unit_test(values_are_bounded),
        cmocka_unit_test(rubbish_is_no_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
