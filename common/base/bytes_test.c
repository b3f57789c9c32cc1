/* SPDX-License-Identifier: Apache-2.0 */
/* Spans, buffers, strict parsers and encodings, mostly at their edges. */
#include "common/base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h needs the two above */
#include <cmocka.h>

static void assert_span(struct span got, const char *want)
{
    if (!span_is(got, want))
        fail_msg("got '%.*s', not '%s'", SPAN_ARG(got), want);
}

static void spans_compare(void **)
{
    struct span absent = span_of(NULL);
    assert_null(absent.ptr);
    assert_int_equal(absent.len, 0);
    assert_true(span_equal(SPAN("a\0b"), (struct span){"a\0b", 3}));
    assert_false(span_equal(SPAN("a\0b"), SPAN("a\0c")));
    assert_false(span_equal(SPAN("ab"), SPAN("a")));
    assert_true(span_is(SPAN("ab"), "ab"));
    assert_true(span_is(SPAN(""), ""));
    assert_false(span_is(absent, ""));
    assert_true(span_starts(SPAN("abc"), SPAN("ab")));
    assert_true(span_starts(SPAN("abc"), SPAN("")));
    assert_true(span_starts(absent, absent));
    assert_false(span_starts(SPAN("a"), SPAN("ab")));
    assert_true(span_compare(SPAN("a"), SPAN("b")) < 0);
    assert_true(span_compare(SPAN("a"), SPAN("ab")) < 0);
    assert_true(span_compare(SPAN("\xFF"), SPAN("a")) > 0);
    assert_true(span_compare(SPAN("ab"), SPAN("ab")) == 0);
    assert_true(span_compare(absent, SPAN("")) == 0);
    assert_true(span_hash(SPAN("a")) == span_hash(SPAN("a")));
    assert_true(span_hash(SPAN("a")) != span_hash(SPAN("b")));
}

static void spans_are_cut(void **)
{
    struct span rest = SPAN("a,,b,");
    assert_span(span_cut(&rest, ','), "a");
    assert_span(span_cut(&rest, ','), "");
    assert_span(span_cut(&rest, ','), "b");
    assert_non_null(rest.ptr); /* an empty field follows the last comma */
    assert_span(span_cut(&rest, ','), "");
    assert_null(rest.ptr);
    assert_null(span_cut(&rest, ',').ptr);
}

static void buffers_grow_and_stop(void **)
{
    struct buf buf;
    buf_init(&buf, 300);
    assert_span(buf_span(&buf), "");
    buf_append(&buf, NULL, 0);
    buf_append_span(&buf, span_of(NULL));
    for (int i = 0; i < 300; i++)
        buf_append_char(&buf, 'x');
    assert_false(buf.overflow);
    assert_int_equal(buf.len, 300);
    assert_int_equal(buf.data[300], '\0');
    buf_append_char(&buf, 'y');
    assert_true(buf.overflow);
    buf_append(&buf, "", 0);
    assert_int_equal(buf.len, 300);
    buf_clear(&buf);
    assert_false(buf.overflow);
    assert_span(buf_span(&buf), "");
    buf_append_text(&buf, "a");
    buf_printf(&buf, "%300s", "too long");
    assert_true(buf.overflow);
    buf_append_text(&buf, "b"); /* would fit, but a gap must not be hidden */
    assert_span(buf_span(&buf), "a");
    buf_deinit(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.len_max, 300);
    buf_deinit(&buf);
}

static void buffers_print(void **)
{
    struct buf buf;
    buf_init(&buf, 1000);
    buf_append_u64(&buf, 0);
    buf_append_char(&buf, ' ');
    buf_append_u64(&buf, UINT64_MAX);
    buf_append_char(&buf, ' ');
    buf_append_i64(&buf, INT64_MIN);
    buf_append_char(&buf, ' ');
    buf_append_i64(&buf, -1);
    buf_printf(&buf, " %d%s %200d", 7, "x", 1);
    assert_int_equal(buf.len, strlen(buf.data));
    assert_memory_equal(buf.data, "0 18446744073709551615 -9223372036854775808 -1 7x ", 50);
    assert_int_equal(buf.len, 250);
    buf_deinit(&buf);
}

static void parses_unsigned(void **)
{
    uint64_t value = 5;
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "01",
                                      "00",
                                      "1.",
                                      "0x1",
                                      "1e1",
                                      "a",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "111111111111111111111"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(parse_u64(span_of(bad[i]), UINT64_MAX, &value));
    assert_false(parse_u64(span_of(NULL), UINT64_MAX, &value));
    assert_false(parse_u64(SPAN("1\0"), UINT64_MAX, &value));
    assert_int_equal(value, 5);
    assert_true(parse_u64(SPAN("0"), 0, &value));
    assert_true(value == 0);
    assert_true(parse_u64(SPAN("18446744073709551615"), UINT64_MAX, &value));
    assert_true(value == UINT64_MAX);
    assert_true(parse_u64(SPAN("10"), 10, &value));
    assert_false(parse_u64(SPAN("11"), 10, &value));
}

static void parses_signed(void **)
{
    int64_t value = 5;
    static const char *const bad[] = {"",
                                      "-",
                                      "-0",
                                      "--1",
                                      "+1",
                                      "-01",
                                      "- 1",
                                      "1-",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "18446744073709551615"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(parse_i64(span_of(bad[i]), INT64_MIN, INT64_MAX, &value));
    assert_false(parse_i64(span_of(NULL), INT64_MIN, INT64_MAX, &value));
    assert_int_equal(value, 5);
    assert_true(parse_i64(SPAN("-9223372036854775808"), INT64_MIN, INT64_MAX, &value));
    assert_true(value == INT64_MIN);
    assert_true(parse_i64(SPAN("-9223372036854775807"), INT64_MIN, INT64_MAX, &value));
    assert_true(value == -INT64_MAX);
    assert_true(parse_i64(SPAN("9223372036854775807"), INT64_MIN, INT64_MAX, &value));
    assert_true(value == INT64_MAX);
    assert_true(parse_i64(SPAN("-5"), -5, 5, &value));
    assert_true(value == -5);
    assert_false(parse_i64(SPAN("-6"), -5, 5, &value));
    assert_false(parse_i64(SPAN("6"), -5, 5, &value));
    assert_true(parse_i64(SPAN("0"), 0, 0, &value));
}

/* The plain encoding of a code point, with no rule about which may be encoded. */
static struct span encode(uint32_t point, char ret[4])
{
    if (point < 0x80) {
        ret[0] = (char)point;
        return (struct span){ret, 1};
    }
    size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, point >>= 6)
        ret[i] = (char)(0x80 | (point & 0x3F));
    ret[0] = (char)((0xF00 >> len & 0xFF) | point);
    return (struct span){ret, len};
}

static void utf8_every_code_point(void **)
{
    char bytes[4];
    for (uint32_t point = 0; point < 0x110000; point++) {
        struct span text = encode(point, bytes);
        bool surrogate = point >= 0xD800 && point <= 0xDFFF;
        if (utf8_sequence(text) != (surrogate ? 0 : text.len))
            fail_msg("U+%04X", point);
    }
    assert_false(utf8_valid(encode(0x110000, bytes)));
    assert_false(utf8_valid(encode(0x1FFFFF, bytes)));
}

static void utf8_refuses(void **)
{
    static const char *const bad[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xE0\x80\x80",
        "\xE0\x9F\xBF",
        "\xF0\x80\x80\x80",
        "\xF0\x8F\xBF\xBF",
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xFE",
        "\xFF",
        "\xC3",
        "\xC3(",
        "\xE2\x82",
        "\xE2(\x82",
        "\xE2\x82(",
        "\xF0\x9F\x8E",
        "\xF0\x9F\x8E(",
        "ok\xC3\xA9\x80",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(utf8_valid(span_of(bad[i])));
    assert_true(utf8_valid(SPAN("")));
    assert_true(utf8_valid(span_of(NULL)));
    assert_true(utf8_valid(SPAN("a\0b")));
    assert_int_equal(utf8_sequence(SPAN("")), 0);
    assert_int_equal(utf8_sequence((struct span){"\xC3\xA9", 1}),
                     0); /* the length bounds it, not the bytes */
}

static void controls(void **)
{
    assert_false(text_has_control(SPAN("plain \xC3\xA9 \xC2\xA0 \xF0\x9F\x8E\x9F")));
    assert_true(text_has_control(SPAN("a\nb")));
    assert_true(text_has_control(SPAN("a\0b")));
    assert_true(text_has_control(SPAN("\x7F")));
    assert_true(text_has_control(SPAN("\xC2\x80")));
    assert_true(text_has_control(SPAN("\xC2\x9F")));
    assert_false(text_has_control(SPAN("")));
}

static void hexadecimal(void **)
{
    struct buf buf;
    uint8_t back[3];
    buf_init(&buf, 100);
    hex_encode(&buf, "\x00\xAb\xFF", 3);
    assert_span(buf_span(&buf), "00abff");
    assert_true(hex_decode(SPAN("00aBfF"), back, 3));
    assert_memory_equal(back, "\x00\xAB\xFF", 3);
    assert_false(hex_decode(SPAN("00abf"), back, 3));
    assert_false(hex_decode(SPAN("00abff0"), back, 3));
    assert_false(hex_decode(SPAN("00abfg"), back, 3));
    assert_false(hex_decode(SPAN("00ab f"), back, 3));
    assert_false(hex_decode(SPAN("00abf\0"), back, 3));
    assert_true(hex_decode(span_of(NULL), back, 0));
    buf_deinit(&buf);
}

static void base64url_vectors(void **)
{
    static const struct {
        struct span plain;
        const char *coded;
    } cases[] = {
        {SPAN(""), ""},
        {SPAN("f"), "Zg"},
        {SPAN("fo"), "Zm8"},
        {SPAN("foo"), "Zm9v"},
        {SPAN("foob"), "Zm9vYg"},
        {SPAN("fooba"), "Zm9vYmE"},
        {SPAN("foobar"), "Zm9vYmFy"},
        {SPAN("\xFB\xFF\xFE"), "-__-"},
        {SPAN("\0\0\0\0\0\0\0\0\0"), "AAAAAAAAAAAA"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf buf;
        char back[16];
        size_t len = 99;
        buf_init(&buf, 100);
        base64url_encode(&buf, cases[i].plain.ptr, cases[i].plain.len);
        assert_span(buf_span(&buf), cases[i].coded);
        assert_true(base64url_decode(span_of(cases[i].coded), back, cases[i].plain.len, &len));
        assert_true(span_equal((struct span){back, len}, cases[i].plain));
        buf_deinit(&buf);
    }
}

static void base64url_refuses(void **)
{
    char back[16];
    size_t len = 7;
    static const char *const bad[] = {"Z",    "Zm9vY", "Zg==",  "Zg=",    "Zh",       "Zm9",
                                      "Zm+v", "Zm/v",  "Zm 9v", "Zm9v\n", "\xC3\xA9", "ZZ"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (base64url_decode(span_of(bad[i]), back, sizeof back, &len))
            fail_msg("accepted %s", bad[i]);
    assert_false(base64url_decode(SPAN("Zm\0v"), back, sizeof back, &len));
    assert_false(base64url_decode(SPAN("Zm9v"), back, 2, &len)); /* no room */
    assert_int_equal(len, 7);
    assert_true(base64url_decode(SPAN("Zm9v"), back, 3, &len));
}

static void base64url_round_trips(void **)
{
    unsigned char data[64], back[64];
    for (size_t len = 0; len <= sizeof data; len++) {
        struct buf buf;
        size_t got;
        for (size_t i = 0; i < len; i++)
            data[i] = (unsigned char)(i * 37 + len * 101);
        buf_init(&buf, 100);
        base64url_encode(&buf, data, len);
        assert_true(base64url_decode(buf_span(&buf), back, sizeof back, &got));
        assert_int_equal(got, len);
        assert_memory_equal(data, back, len);
        buf_deinit(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_compare),
        cmocka_unit_test(spans_are_cut),
        cmocka_unit_test(buffers_grow_and_stop),
        cmocka_unit_test(buffers_print),
        cmocka_unit_test(parses_unsigned),
        cmocka_unit_test(parses_signed),
        cmocka_unit_test(utf8_every_code_point),
        cmocka_unit_test(utf8_refuses),
        cmocka_unit_test(controls),
        cmocka_unit_test(hexadecimal),
        cmocka_unit_test(base64url_vectors),
        cmocka_unit_test(base64url_refuses),
        cmocka_unit_test(base64url_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
