/* SPDX-License-Identifier: Apache-2.0 */
/* Coupons as CSV: the grammar of RFC 4180, formulas, every state, and the longest line there is. */
#include "query-service/export/csv.h"

#include "common/base/testing.h"

static const struct code_key code_key = {.of = {{.bytes = {1, 2, 3, 4, 5, 6, 7, 8}}}};

static void texts_are_fields(void **)
{
    static const struct {
        const char *text, *field;
    } rows[] = {
        {"", ""},
        {"kim", "kim"},
        {"a b ", "a b "},
        {"a,b", "\"a,b\""},
        {"say \"x\"", "\"say \"\"x\"\"\""},
        {"two\r\nlines", "\"two\r\nlines\""},
        {"=1+1", "'=1+1"},
        {"+82", "'+82"},
        {"-1", "'-1"},
        {"@a", "'@a"},
        {"'a", "''a"},
        {"=\"x\",1", "\"'=\"\"x\"\",1\""},
        {"a=1", "a=1"},
        {"\xEF\xBC\x9Dx", "'\xEF\xBC\x9Dx"}, /* the wide = + - @ */
        {"\xEF\xBC\x8Bx", "'\xEF\xBC\x8Bx"},
        {"\xEF\xBC\x8Dx", "'\xEF\xBC\x8Dx"},
        {"\xEF\xBC\xA0x", "'\xEF\xBC\xA0x"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf out;
        buf_init(&out, 256);
        csv_write_text(&out, span_of(rows[i].text));
        assert_span(buf_span(&out), rows[i].field);
        buf_deinit(&out);
    }
}

static struct coupon coupon_of(enum coupon_state state)
{
    return (struct coupon){.at = {3, 128},
                           .campaign_id = SPAN("spring"),
                           .user_id = SPAN("kim"),
                           .code_prefix = SPAN("FRI"),
                           .sequence = 77,
                           .issued_at_us = 1790000000123456,
                           .state = state,
                           .changed_at_us = 1790000001000000,
                           .order_id = SPAN("o1"),
                           .order_amount = 900,
                           .discount_amount = 90,
                           .reserved_until_us = 1790000100000000,
                           .actor = SPAN("till"),
                           .reason = SPAN("twice")};
}

/* What comes after the code; a field is there exactly where JSON has it. */
static void each_state_has_its_fields(void **state)
{
    (void)state;
    static const struct {
        enum coupon_state state;
        int64_t now_us;
        const char *rest;
    } rows[] = {
        {COUPON_ISSUED, 1790000002000000, ",issued,2026-09-21T14:13:20.123456Z,,,,,,,,,\r\n"},
        {COUPON_RESERVED, 1790000002000000,
         ",reserved,2026-09-21T14:13:20.123456Z,,o1,900,90,2026-09-21T14:15:00.000000Z,,,,\r\n"},
        {COUPON_RESERVED, 1790000100000000, ",issued,2026-09-21T14:13:20.123456Z,,,,,,,,,\r\n"},
        {COUPON_REDEEMED, 1790000002000000,
         ",redeemed,2026-09-21T14:13:20.123456Z,,o1,900,90,,2026-09-21T14:13:21.000000Z,,,\r\n"},
        {COUPON_REVOKED, 1790000002000000,
         ",revoked,2026-09-21T14:13:20.123456Z,,,,,,,2026-09-21T14:13:21.000000Z,till,twice\r\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf out;
        struct coupon coupon = coupon_of(rows[i].state);
        buf_init(&out, CSV_ROW_MAX);
        csv_write_coupon(&out, &coupon, &code_key, rows[i].now_us);
        struct span line = buf_span(&out);
        assert_true(span_starts(line, SPAN("77,kim,c3-128,FRI")));
        size_t len = strlen(rows[i].rest);
        assert_true(line.len > len);
        assert_span(((struct span){line.ptr + line.len - len, len}), rows[i].rest);
        buf_deinit(&out);
    }
}

static void the_longest_line_fits(void **)
{
    static char quotes[256];
    struct coupon coupon = coupon_of(COUPON_REDEEMED);
    struct buf out;
    memset(quotes, '"', sizeof quotes);
    buf_init(&out, 2 * CSV_ROW_MAX);
    coupon.user_id = coupon.order_id = (struct span){quotes, USER_ID_MAX};
    coupon.order_amount = coupon.discount_amount = coupon.sequence = INT64_MAX;
    coupon.expires_at_us = coupon.issued_at_us;
    csv_write_coupon(&out, &coupon, &code_key, 1);
    size_t redeemed = out.len;
    coupon.state = COUPON_REVOKED;
    coupon.reason = (struct span){quotes, REASON_MAX};
    coupon.actor = (struct span){quotes, 64};
    csv_write_coupon(&out, &coupon, &code_key, 1);
    assert_true(redeemed < CSV_ROW_MAX && out.len - redeemed < CSV_ROW_MAX);
    buf_clear(&out);
    csv_write_names(&out);
    assert_true(out.len < CSV_ROW_MAX);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_are_fields),
                                       cmocka_unit_test(each_state_has_its_fields),
                                       cmocka_unit_test(the_longest_line_fits)};
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
