/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: what is refused and how it is named, and that what is written is always JSON. */
#include "common/json.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h needs the two above */
#include <cmocka.h>

struct body {
    struct span name;
    int64_t count, at;
    bool open;
    const struct json_value *inner, *tags;
};

static const struct json_field body_fields[] = {
    {"name", JSON_STRING, JSON_REQUIRED, offsetof(struct body, name), 1, 8},
    {"count", JSON_INTEGER, JSON_OPTIONAL, offsetof(struct body, count), -5, 100},
    {"at", JSON_TIME, JSON_OPTIONAL, offsetof(struct body, at), 0, 0},
    {"open", JSON_BOOLEAN, JSON_OPTIONAL, offsetof(struct body, open), 0, 0},
    {"inner", JSON_OBJECT, JSON_OPTIONAL, offsetof(struct body, inner), 0, 0},
    {"tags", JSON_ARRAY, JSON_OPTIONAL, offsetof(struct body, tags), 1, 2},
};

static const struct json_object_reader body_reader = {body_fields, COUNT_OF(body_fields), ""};

static void assert_span(struct span got, const char *want)
{
    if (!span_is(got, want))
        fail_msg("got '%.*s', not '%s'", SPAN_ARG(got), want);
}

/* Reads `text` as a body; checks the code and path of the fault, or that there is none (code NULL). */
static void expect(const char *text, const char *code, const char *path)
{
    struct json_fault fault;
    struct body body = {.count = 7};
    struct json_doc *doc = json_parse(span_of(text), &fault);
    bool good = doc && json_read_object(json_root(doc), &body_reader, &body, &fault);
    if (good != !code)
        fail_msg("%s: %s", text, good ? "accepted" : fault.text);
    if (code) {
        assert_string_equal(fault.detail.problem->code, code);
        assert_non_null(fault.detail.detail);
        assert_true(strlen(fault.text) > 0);
        if (path)
            assert_span(fault.detail.field, path);
        else
            assert_null(fault.detail.field.ptr);
    }
    json_destroy(doc);
}

/* What it takes is what a parser reads, and the same text; the rest it leaves to that. */
static bool lone_text(struct span text)
{
    struct json_fault fault;
    struct span got, parsed;
    if (!json_read_lone_text(text, "name", &got))
        return false;
    struct json_doc *doc = json_parse(text, &fault);
    assert_non_null(doc);
    assert_true(json_as_text(json_member(json_root(doc), "name"), &parsed));
    assert_true(span_equal(got, parsed));
    json_destroy(doc);
    return true;
}

static void a_lone_text_needs_no_parser(void **)
{
    static const char *const plain[] = {"{\"name\":\"abc\"}", " {\t\"name\" :\r\n\"\" } \n",
                                        "{\"name\":\"a b{}[],:\"}"};
    static const char *const other[] = {
        "",
        "{}",
        "{\"name\":\"a\"",
        "{\"name\":\"a",
        "{\"name\":\"a\"}}",
        "{\"name\":\"a\",}",
        "{\"name\":\"a\",\"x\":1}",
        "{\"name\":1}",
        "{\"name\":null}",
        "{\"Name\":\"a\"}",
        "{\"name\":\"a\\n\"}",
        "{\"n\\u0061me\":\"a\"}",
        "{\"name\":\"\xC3\xA9\"}",
        "{\"name\":\"a\x01\"}",
        "[\"name\",\"a\"]",
    };
    static const char alphabet[] = "{}[]\":,\\ na";
    for (size_t i = 0; i < COUNT_OF(plain); i++)
        assert_true(lone_text(span_of(plain[i])));
    for (size_t i = 0; i < COUNT_OF(other); i++)
        assert_false(lone_text(span_of(other[i])));
    uint32_t seed = 1;
    for (int round = 0; round < 200000; round++) { /* one or two characters of a good one are others */
        char text[] = "{\"name\":\"abcd\"}";
        for (int i = 0; i < 2; i++) {
            seed = seed * 1664525 + 1013904223;
            text[(seed >> 8) % (sizeof text - 1)] = alphabet[(seed >> 20) % (sizeof alphabet - 1)];
        }
        (void)lone_text(span_of(text));
    }
}

static void reads_every_kind(void **)
{
    struct json_fault fault;
    struct body body = {0};
    struct span tag;
    struct json_doc *doc = json_parse(
        SPAN("{\"name\":\"\\u00e9\\n\",\"count\":-5,\"at\":\"1970-01-01T00:00:01.5Z\",\"open\":true,"
             "\"inner\":{\"a\":1},\"tags\":[\"x\",\"y\"]}"),
        &fault);
    assert_non_null(doc);
    assert_true(json_read_object(json_root(doc), &body_reader, &body, &fault));
    assert_span(body.name, "\xC3\xA9\n");
    assert_int_equal(body.count, -5);
    assert_int_equal(body.at, 1500000);
    assert_true(body.open);
    assert_non_null(body.inner);
    assert_int_equal(json_array_length(body.tags), 2);
    assert_true(json_read_string_at(body.tags, 1, "tags", &tag, &fault));
    assert_span(tag, "y");
    assert_null(json_array_at(body.tags, 2));
    assert_int_equal(json_array_length(body.inner), 0);
    json_destroy(doc);
    json_destroy(NULL);
}

static void null_is_absent(void **)
{
    struct json_fault fault;
    struct body body = {.count = 7, .open = true};
    struct json_doc *doc = json_parse(SPAN("{\"name\":\"a\",\"count\":null,\"open\":null}"), &fault);
    assert_true(json_read_object(json_root(doc), &body_reader, &body, &fault));
    assert_int_equal(body.count, 7);
    assert_true(body.open);
    json_destroy(doc);
    expect("{\"name\":null}", "missing-field", "name");
    expect("{}", "missing-field", "name");
}

static void any_value_may_be_null(void **)
{
    static const struct json_field fields[] = {{"value", JSON_ANY, JSON_REQUIRED, 0, 0, 0}};
    const struct json_object_reader reader = {fields, COUNT_OF(fields), ""};
    const struct json_value *value = NULL;
    struct json_fault fault;
    int64_t number;
    struct span text;
    struct json_doc *doc = json_parse(SPAN("{\"value\":null}"), &fault);
    assert_true(json_read_object(json_root(doc), &reader, &value, &fault));
    assert_true(json_as_null(value) && !json_as_int(value, &number) && !json_as_text(value, &text));
    json_destroy(doc);
    doc = json_parse(SPAN("{\"value\":5}"), &fault);
    assert_true(json_read_object(json_root(doc), &reader, &value, &fault));
    assert_true(json_as_int(value, &number) && number == 5 && !json_as_null(value));
    json_destroy(doc);
    assert_false(json_as_null(NULL));
    doc = json_parse(SPAN("{}"), &fault);
    assert_false(json_read_object(json_root(doc), &reader, &value, &fault));
    assert_string_equal(fault.detail.problem->code, "missing-field");
    json_destroy(doc);
}

static void names_the_field_at_fault(void **)
{
    expect("{\"name\":5}", "wrong-type", "name");
    expect("{\"name\":\"\"}", "out-of-range", "name");
    expect("{\"name\":\"12345678\"}", NULL, NULL);
    expect("{\"name\":\"123456789\"}", "out-of-range", "name");
    expect("{\"name\":\"\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\"}", "out-of-range", "name");
    expect("{\"name\":\"a\",\"count\":101}", "out-of-range", "count");
    expect("{\"name\":\"a\",\"count\":-6}", "out-of-range", "count");
    expect("{\"name\":\"a\",\"count\":100}", NULL, NULL);
    expect("{\"name\":\"a\",\"count\":1.0}", "wrong-type", "count");
    expect("{\"name\":\"a\",\"count\":1e1}", "wrong-type", "count");
    expect("{\"name\":\"a\",\"count\":\"1\"}", "wrong-type", "count");
    expect("{\"name\":\"a\",\"count\":true}", "wrong-type", "count");
    expect("{\"name\":\"a\",\"open\":1}", "wrong-type", "open");
    expect("{\"name\":\"a\",\"at\":1}", "wrong-type", "at");
    expect("{\"name\":\"a\",\"at\":\"tomorrow\"}", "invalid-value", "at");
    expect("{\"name\":\"a\",\"at\":\"1970-01-01T00:00:00Z\"}", "out-of-range", "at");
    expect("{\"name\":\"a\",\"inner\":[]}", "wrong-type", "inner");
    expect("{\"name\":\"a\",\"tags\":{}}", "wrong-type", "tags");
    expect("{\"name\":\"a\",\"tags\":[]}", "out-of-range", "tags");
    expect("{\"name\":\"a\",\"tags\":[1,2,3]}", "out-of-range", "tags");
    expect("[]", "wrong-type", NULL);
    expect("\"name\"", "wrong-type", NULL);
    expect("null", "wrong-type", NULL);
}

static void names_unknown_fields_only_if_harmless(void **)
{
    char text[128], name[80];
    expect("{\"name\":\"a\",\"nmae\":1}", "unknown-field", "nmae");
    expect("{\"nmae\":null}", "unknown-field", "nmae");
    expect("{\"\":1}", "unknown-field", NULL);
    expect("{\"a b\":1}", "unknown-field", NULL);
    expect("{\"a\\nb\":1}", "unknown-field", NULL);
    expect("{\"\xC3\xA9\":1}", "unknown-field", NULL);
    memset(name, 'x', sizeof name);
    snprintf(text, sizeof text, "{\"%.64s\":1}", name);
    name[64] = '\0';
    expect(text, "unknown-field", name);
    name[64] = 'x';
    snprintf(text, sizeof text, "{\"%.65s\":1}", name);
    expect(text, "unknown-field", NULL);
}

static void paths_go_down(void **)
{
    struct json_fault fault;
    struct body body = {0};
    struct span tag;
    struct json_object_reader inner = {body_fields, COUNT_OF(body_fields), "discount"};
    struct json_doc *doc =
        json_parse(SPAN("{\"inner\":{\"name\":1},\"odd\":{\"x y\":1},\"tags\":[\"a\",null]}"), &fault);
    const struct json_value *root = json_root(doc);
    assert_false(json_read_object(json_member(root, "inner"), &inner, &body, &fault));
    assert_span(fault.detail.field, "discount.name");
    assert_false(json_read_object(json_member(root, "odd"), &inner, &body, &fault));
    assert_span(fault.detail.field, "discount");
    assert_false(json_read_object(NULL, &inner, &body, &fault));
    assert_span(fault.detail.field, "discount");
    assert_false(json_read_string_at(json_member(root, "tags"), 1, "tags", &tag, &fault));
    assert_span(fault.detail.field, "tags[1]");
    assert_string_equal(fault.detail.problem->code, "wrong-type");
    json_destroy(doc);
}

static void refuses_what_is_not_json(void **)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "{\"name\":\"a\"",
        "{name:1}",
        "{\"name\":'a'}",
        "{\"name\":\"a\",}",
        "{\"name\":\"a\"}x",
        "{\"name\":\"a\"}{}",
        "{\"name\":\"a\",\"name\":\"b\"}",
        "{\"name\":\"a\",\"n\\u0061me\":\"b\"}",
        "{\"name\":\"\\u0000\"}",
        "{\"\\u0000\":1}",
        "{\"name\":\"\\ud800\"}",
        "{\"name\":\"\\udc00\"}",
        "{\"name\":\"\xFF\"}",
        "{\"name\":\"\xC0\x80\"}",
        "{\"name\":\"\xED\xA0\x80\"}",
        "{\"name\":\"\xF4\x90\x80\x80\"}",
        "{\"name\":\"\n\"}",
        "{\"count\":01}",
        "{\"count\":+1}",
        "{\"count\":.5}",
        "{\"count\":1.}",
        "{\"count\":0x1}",
        "{\"count\":NaN}",
        "{\"count\":Infinity}",
        "{\"count\":-}",
        "{\"open\":True}",
        "\xEF\xBB\xBF{}",
        "{\"a\":1 /* no */}",
        "nul",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        expect(bad[i], "malformed-json", NULL);
    expect("{\"count\":9223372036854775808}", "out-of-range", NULL);
    expect("{\"count\":-9223372036854775809}", "out-of-range", NULL);
    expect("{\"count\":1e999}", "out-of-range", NULL);
    expect("{\"name\":\"a\",\"count\":9223372036854775807}", "out-of-range", "count");
    struct json_fault fault;
    assert_null(json_parse((struct span){NULL, 0}, &fault));
    assert_null(json_parse((struct span){"{}\0", 3}, &fault));
    assert_null(json_parse((struct span){"\"a\0\"", 4}, &fault));
}

static void faults_never_repeat_the_body(void **)
{
    static const char *const bad[] = {"{\"SECRET\":SECRET}", "{\"name\":\"a\",\"name\":\"SECRET\"}",
                                      "{\"SECRET\":1,\"SECRET\":2}", "[\"SECRET\\u0000\"]", "SECRET"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct json_fault fault;
        assert_null(json_parse(span_of(bad[i]), &fault));
        assert_null(strstr(fault.text, "SECRET"));
    }
}

/* `depth` opening brackets, then the closing ones. */
static bool parses_nested(size_t depth, char open, char close)
{
    struct json_fault fault;
    struct buf text;
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < depth; i++)
        buf_append_text(&text, open == '{' ? "{\"a\":" : "[");
    buf_append_text(&text, "\"]]]}}}[[[[[[[[[[[[[[[[[[[[[[\\\"{{{{{{{{{{{{{{{{{{{{{{{{{{{{\"");
    for (size_t i = 0; i < depth; i++)
        buf_append_char(&text, close);
    struct json_doc *doc = json_parse(buf_span(&text), &fault);
    bool parsed = doc != NULL;
    if (!parsed)
        assert_string_equal(fault.detail.problem->code, "malformed-json");
    json_destroy(doc);
    buf_deinit(&text);
    return parsed;
}

static void bounds_the_depth(void **)
{
    assert_true(parses_nested(0, '[', ']'));
    assert_true(parses_nested(16, '[', ']'));
    assert_true(parses_nested(16, '{', '}'));
    assert_false(parses_nested(17, '[', ']'));
    assert_false(parses_nested(17, '{', '}'));
    assert_false(parses_nested(100000, '[', ']'));
}

static void members_without_a_table(void **)
{
    struct json_fault fault;
    struct span text;
    int64_t number = 0;
    bool truth = false;
    struct json_doc *doc = json_parse(SPAN("{\"s\":\"x\",\"i\":5,\"b\":true,\"n\":null,\"r\":1.5}"), &fault);
    const struct json_value *root = json_root(doc);
    assert_true(json_as_text(json_member(root, "s"), &text));
    assert_span(text, "x");
    assert_true(json_as_int(json_member(root, "i"), &number));
    assert_int_equal(number, 5);
    assert_true(json_as_bool(json_member(root, "b"), &truth));
    assert_true(truth);
    assert_non_null(json_member(root, "n"));
    assert_false(json_as_text(json_member(root, "n"), &text));
    assert_false(json_as_int(json_member(root, "r"), &number));
    assert_false(json_as_int(json_member(root, "b"), &number));
    assert_false(json_as_bool(json_member(root, "i"), &truth));
    assert_null(json_member(root, "absent"));
    assert_null(json_member(NULL, "s"));
    assert_null(json_member(json_member(root, "s"), "s"));
    assert_false(json_as_text(NULL, &text));
    assert_false(json_as_int(NULL, &number));
    assert_false(json_as_bool(NULL, &truth));
    json_destroy(doc);
}

static void fails_by_hand(void **)
{
    struct json_fault fault;
    char longer[300];
    assert_false(json_fail(&fault, &problem_invalid_value, "ends_at", "must be after %s", "starts_at"));
    assert_span(fault.detail.field, "ends_at");
    assert_string_equal(fault.detail.detail, "must be after starts_at");
    assert_ptr_equal(fault.detail.problem, &problem_invalid_value);
    assert_false(json_fail(&fault, &problem_out_of_range, fault.path + 5, "x"));
    assert_span(fault.detail.field, "at");
    memset(longer, 'y', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_false(json_fail(&fault, &problem_out_of_range, longer, "%s", longer));
    assert_int_equal(fault.detail.field.len, sizeof fault.path - 1);
    assert_int_equal(strlen(fault.detail.detail), sizeof fault.text - 1);
}

static void writes_documents(void **)
{
    struct buf out;
    buf_init(&out, 4096);
    json_open(&out, NULL, '{');
    json_put_string(&out, "s", SPAN("a,{"));
    json_put_string(&out, "none", (struct span){NULL, 0});
    json_put_string(&out, "empty", SPAN(""));
    json_put_int(&out, "i", INT64_MIN);
    json_put_bool(&out, "b", true);
    json_put_time(&out, "t", 1500000);
    json_put_time(&out, "never", 0);
    json_put_null(&out, "n");
    json_put_raw(&out, "raw", SPAN("{\"a\":1}\n"));
    json_put_raw(&out, "raw2", (struct span){NULL, 0});
    json_open(&out, "list", '[');
    json_open(&out, NULL, '{');
    json_close(&out, '}');
    json_open(&out, NULL, '[');
    json_close(&out, ']');
    json_put_int(&out, NULL, 1);
    json_put_bool(&out, NULL, false);
    json_put_string(&out, NULL, SPAN("["));
    json_put_string(&out, NULL, SPAN("x\n"));
    json_put_null(&out, NULL);
    json_close(&out, ']');
    json_close(&out, '}');
    buf_append_char(&out, '\n');
    json_open(&out, NULL, '{');
    json_close(&out, '}');
    assert_span(buf_span(&out),
                "{\"s\":\"a,{\",\"none\":null,\"empty\":\"\",\"i\":-9223372036854775808,\"b\":true,"
                "\"t\":\"1970-01-01T00:00:01.500000Z\",\"never\":null,\"n\":null,\"raw\":{\"a\":1},"
                "\"raw2\":null,\"list\":[{},[],1,false,\"[\",\"x\\n\",null]}\n{}");
    buf_deinit(&out);
}

static void escapes(void **)
{
    static const struct {
        struct span in;
        const char *out;
    } cases[] = {
        {SPAN("\"\\/"), "\"\\\"\\\\/\""},
        {SPAN("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\""},
        {SPAN("\x01\x1F\x7F"), "\"\\u0001\\u001f\x7F\""},
        {SPAN("a\0b"), "\"a\\u0000b\""},
        {SPAN("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x8E\x9F"), "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x8E\x9F\""},
        {SPAN("a\xFF"), "\"a\xEF\xBF\xBD\""},
        {SPAN("\xE2\x82"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {SPAN("\xED\xA0\x80!"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD!\""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf out;
        buf_init(&out, 256);
        json_put_string(&out, NULL, cases[i].in);
        assert_span(buf_span(&out), cases[i].out);
        buf_deinit(&out);
    }
}

/* Any bytes written as a string parse again, and valid UTF-8 without NUL comes back as it was. */
static void writes_back_anything(void **)
{
    uint64_t seed = 42;
    for (int round = 0; round < 20000; round++) {
        char bytes[12];
        for (size_t i = 0; i < sizeof bytes; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (char)(seed >> 56 | (seed >> 40 & 1 ? 0x80 : 0x01));
        }
        struct span in = {bytes, (size_t)(seed >> 32) % (sizeof bytes + 1)}, back;
        struct buf out;
        struct json_fault fault;
        buf_init(&out, 256);
        json_put_string(&out, NULL, in);
        struct json_doc *doc = json_parse(buf_span(&out), &fault);
        assert_non_null(doc);
        assert_true(json_as_text(json_root(doc), &back));
        if (utf8_valid(in))
            assert_true(span_equal(in, back));
        json_destroy(doc);
        buf_deinit(&out);
    }
}

static void overflow_is_sticky(void **)
{
    struct buf out;
    buf_init(&out, 10);
    json_open(&out, NULL, '{');
    json_put_string(&out, "key", SPAN("too long for this"));
    json_close(&out, '}');
    assert_true(out.overflow);
    assert_true(out.len <= 10);
    buf_deinit(&out);
}

static void numbers_with_two_decimals(void **)
{
    static const struct json_field field[] = {{"n", JSON_HUNDREDTHS, JSON_REQUIRED, 0, 1, 10000}};
    static const struct {
        const char *text, *code;
        int64_t value;
    } cases[] = {
        {"12.5", NULL, 1250},
        {"12", NULL, 1200},
        {"0.01", NULL, 1},
        {"100", NULL, 10000},
        {"33.33", NULL, 3333},
        {"1.25e1", NULL, 1250},
        {"99.99", NULL, 9999},
        {"0.07", NULL, 7},
        {"0.29", NULL, 29},
        {"1.15", NULL, 115},
        {"0", "out-of-range", 0},
        {"100.01", "out-of-range", 0},
        {"12.345", "out-of-range", 0},
        {"-1", "out-of-range", 0},
        {"\"5\"", "wrong-type", 0},
        {"12.500000001", "out-of-range", 0},
    };
    struct json_fault fault;
    struct json_object_reader reader = {field, 1, ""};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[64];
        int64_t value = 0;
        snprintf(text, sizeof text, "{\"n\":%s}", cases[i].text);
        struct json_doc *doc = json_parse(span_of(text), &fault);
        assert_non_null(doc);
        bool good = json_read_object(json_root(doc), &reader, &value, &fault);
        assert_int_equal(good, cases[i].code == NULL);
        if (good)
            assert_int_equal(value, cases[i].value);
        else
            assert_string_equal(fault.detail.problem->code, cases[i].code);
        json_destroy(doc);
    }
    for (int64_t n = 0; n <= 10000; n++) { /* each that is written is read as itself */
        struct buf out;
        int64_t value = -1;
        buf_init(&out, 64);
        json_open(&out, NULL, '{');
        json_put_hundredths(&out, "n", n);
        json_close(&out, '}');
        struct json_doc *doc = json_parse(buf_span(&out), &fault);
        bool good = json_read_object(json_root(doc), &reader, &value, &fault);
        assert_true(n == 0 ? !good : good && value == n);
        json_destroy(doc);
        buf_deinit(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_text_needs_no_parser),
        cmocka_unit_test(reads_every_kind),
        cmocka_unit_test(null_is_absent),
        cmocka_unit_test(any_value_may_be_null),
        cmocka_unit_test(names_the_field_at_fault),
        cmocka_unit_test(names_unknown_fields_only_if_harmless),
        cmocka_unit_test(paths_go_down),
        cmocka_unit_test(refuses_what_is_not_json),
        cmocka_unit_test(faults_never_repeat_the_body),
        cmocka_unit_test(bounds_the_depth),
        cmocka_unit_test(members_without_a_table),
        cmocka_unit_test(fails_by_hand),
        cmocka_unit_test(writes_documents),
        cmocka_unit_test(escapes),
        cmocka_unit_test(writes_back_anything),
        cmocka_unit_test(overflow_is_sticky),
        cmocka_unit_test(numbers_with_two_decimals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
