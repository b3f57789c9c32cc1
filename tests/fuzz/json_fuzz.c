/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON reader against a table with every kind of field, and the writer: what was read and written again
 * reads the same. */
#include "common/json.h"
#include "tests/fuzz/fuzz.h"

struct body {
    struct span text;
    int64_t number, time_us;
    bool yes;
    const struct json_value *object, *list, *any;
};

static const struct json_field fields[] = {
    {"text", JSON_STRING, JSON_OPTIONAL, offsetof(struct body, text), 0, 64},
    {"number", JSON_INTEGER, JSON_OPTIONAL, offsetof(struct body, number), -5, INT64_MAX},
    {"time", JSON_TIME, JSON_OPTIONAL, offsetof(struct body, time_us), 0, 0},
    {"yes", JSON_BOOLEAN, JSON_OPTIONAL, offsetof(struct body, yes), 0, 0},
    {"object", JSON_OBJECT, JSON_OPTIONAL, offsetof(struct body, object), 0, 0},
    {"list", JSON_ARRAY, JSON_OPTIONAL, offsetof(struct body, list), 0, 8},
    {"any", JSON_ANY, JSON_OPTIONAL, offsetof(struct body, any), 0, 0},
};

static void write(const struct body *body, struct buf *out)
{
    json_open(out, NULL, '{');
    json_put_string(out, "text", body->text);
    json_put_int(out, "number", body->number);
    json_put_time(out, "time", body->time_us);
    json_put_bool(out, "yes", body->yes);
    json_close(out, '}');
}

static void same_again(const struct body *body)
{
    const struct json_object_reader reader = {fields, COUNT_OF(fields), ""};
    struct json_fault fault;
    struct body again = {0};
    struct buf out;
    buf_init(&out, 4096);
    write(body, &out);
    CHECK(!out.overflow);
    struct json_doc *doc = json_parse(buf_span(&out), &fault);
    CHECK(doc && json_read_object(json_root(doc), &reader, &again, &fault));
    CHECK(span_equal(again.text, body->text) && (again.text.ptr == NULL) == (body->text.ptr == NULL));
    CHECK(again.number == body->number && again.time_us == body->time_us && again.yes == body->yes);
    json_destroy(doc);
    buf_deinit(&out);
}

static void look_inside(const struct body *body)
{
    struct json_fault fault;
    struct span text;
    int64_t number;
    bool yes;
    for (size_t i = 0; body->list && i < json_array_length(body->list); i++)
        if (json_read_string_at(json_array_at(body->list, i), 0, "list", &text, &fault))
            CHECK(utf8_valid(text));
    const struct json_value *member = json_member(body->any, "any");
    if (json_as_text(member, &text))
        CHECK(utf8_valid(text));
    (void)json_as_int(member, &number);
    (void)json_as_bool(member, &yes);
}

FUZZ_TARGET(json)
{
    const struct json_object_reader reader = {fields, COUNT_OF(fields), ""};
    struct json_fault fault;
    struct body body = {0};
    struct json_doc *doc = json_parse(fuzz_text(data, size), &fault);
    if (!doc) {
        CHECK(fault.detail.problem && fault.detail.problem->status == 400);
        return 0;
    }
    if (json_read_object(json_root(doc), &reader, &body, &fault)) {
        CHECK(!body.text.ptr || utf8_valid(body.text));
        look_inside(&body);
        same_again(&body);
    }
    json_destroy(doc);
    return 0;
}
