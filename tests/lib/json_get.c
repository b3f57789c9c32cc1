/* SPDX-License-Identifier: Apache-2.0 */
/* Paths into documents, over common/json.h. */
#include "tests/lib/json_get.h"

#include "tests/lib/wait.h"

struct json_doc *json_get_doc(struct span text)
{
    struct json_fault fault;
    struct json_doc *doc = json_parse(text, &fault);
    if (!doc)
        fail_msg("not JSON (%s): %.*s", fault.text, (int)(text.len < 400 ? text.len : 400), text.ptr);
    return doc;
}

static const struct json_value *step(const struct json_value *value, struct span name)
{
    char text[128];
    uint64_t index;
    if (parse_u64(name, SIZE_MAX, &index) && index < json_array_length(value))
        return json_array_at(value, index);
    snprintf(text, sizeof text, "%.*s", SPAN_ARG(name));
    return json_member(value, text);
}

static const struct json_value *find(const struct json_doc *doc, const char *path)
{
    const struct json_value *value = json_root(doc);
    for (struct span rest = span_of(path); value && rest.ptr && rest.len > 0;)
        value = step(value, span_cut(&rest, '.'));
    return value;
}

bool json_get_has(const struct json_doc *doc, const char *path)
{
    return find(doc, path) != NULL;
}

const struct json_value *json_get(const struct json_doc *doc, const char *path)
{
    const struct json_value *value = find(doc, path);
    if (!value)
        fail_msg("the answer has no %s", path);
    return value;
}

struct span json_get_text(const struct json_doc *doc, const char *path)
{
    struct span text;
    if (!json_as_text(json_get(doc, path), &text))
        fail_msg("%s is no text", path);
    return text;
}

int64_t json_get_int(const struct json_doc *doc, const char *path)
{
    int64_t value;
    if (!json_as_int(json_get(doc, path), &value))
        fail_msg("%s is no whole number", path);
    return value;
}

bool json_get_bool(const struct json_doc *doc, const char *path)
{
    bool value;
    if (!json_as_bool(json_get(doc, path), &value))
        fail_msg("%s is neither true nor false", path);
    return value;
}

size_t json_get_length(const struct json_doc *doc, const char *path)
{
    return json_array_length(json_get(doc, path));
}

#define LOOK(type, look)                                 \
    type body_##look(struct span body, const char *path) \
    {                                                    \
        struct json_doc *doc = json_get_doc(body);       \
        type found = json_get_##look(doc, path);         \
        json_destroy(doc);                               \
        return found;                                    \
    }
LOOK(bool, has)
LOOK(int64_t, int)
LOOK(bool, bool)
LOOK(size_t, length)

struct span body_text(struct span body, const char *path)
{
    static _Thread_local char texts[4][4096];
    static _Thread_local size_t turn;
    char *text = texts[turn++ % COUNT_OF(texts)];
    struct json_doc *doc = json_get_doc(body);
    struct span found = json_get_text(doc, path);
    assert_true(found.len < sizeof texts[0]);
    memcpy(text, found.ptr, found.len);
    json_destroy(doc);
    return (struct span){text, found.len};
}
