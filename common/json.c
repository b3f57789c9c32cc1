/* SPDX-License-Identifier: Apache-2.0 */
/* Strict reading of JSON against tables, and appending JSON to a buffer. Knows nothing of what the fields
 * mean. The only file that knows jansson. Texts of faults never repeat what the client sent: they go into
 * answers. */
#include "common/json.h"

/* jansson names its types as we name ours. Ours are in every caller, so jansson's are renamed, here only; its
 * json_is_object() and the like must therefore not be used below, json_typeof() with these names is. */
#define JSON_OBJECT  JANSSON_OBJECT
#define JSON_ARRAY   JANSSON_ARRAY
#define JSON_STRING  JANSSON_STRING
#define JSON_INTEGER JANSSON_INTEGER
#include <jansson.h>
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_INTEGER

#include <math.h>
#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum { DEPTH_MAX = 16, KEY_LEN_MAX = 64, FIELDS_MAX = 64 };

/* Documents and values are jansson's own nodes under another name. */
static const json_t *node_of(const struct json_value *value)
{
    return (const json_t *)(const void *)value;
}

static const struct json_value *value_of(const json_t *node)
{
    return (const struct json_value *)(const void *)node;
}

static bool is_type(const json_t *node, json_type type)
{
    return node && json_typeof(node) == type;
}

/* --- Faults --- */

static bool fail_with(struct json_fault *fault, const struct problem *problem, const char *path,
                      const char *format, va_list args) PRINTF_LIKE(4, 0);

static bool fail_with(struct json_fault *fault, const struct problem *problem, const char *path,
                      const char *format, va_list args)
{
    /* The path may be the fault's own, so it is moved and not printed into itself. */
    size_t len = path ? strnlen(path, sizeof fault->path - 1) : 0;
    if (len)
        memmove(fault->path, path, len);
    fault->path[len] = '\0';
    vsnprintf(fault->text, sizeof fault->text, format, args);
    fault->detail = (struct problem_detail){.problem = problem, .detail = fault->text};
    if (len)
        fault->detail.field = (struct span){fault->path, len};
    return false;
}

bool json_fail(struct json_fault *fault, const struct problem *problem, const char *path, const char *format,
               ...)
{
    va_list args;
    va_start(args, format);
    fail_with(fault, problem, path, format, args);
    va_end(args);
    return false;
}

/* A field that is being read, for faults: the path is only built when something is wrong. */
struct place {
    const char *at;
    const struct json_field *field;
    struct json_fault *fault;
};

static bool fail_at(const struct place *place, const struct problem *problem, const char *format, ...)
    PRINTF_LIKE(3, 4);

static bool fail_at(const struct place *place, const struct problem *problem, const char *format, ...)
{
    char path[sizeof place->fault->path];
    va_list args;
    snprintf(path, sizeof path, "%s%s%s", place->at, place->at[0] ? "." : "", place->field->name);
    va_start(args, format);
    fail_with(place->fault, problem, path, format, args);
    va_end(args);
    return false;
}

/* --- Parsing --- */

/* Nesting is counted before jansson recurses. On text that is not JSON the count may be wrong, but only after
 * the place where jansson stops. */
static bool nested_too_deep(struct span text)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '"')
            in_string = !in_string;
        else if (in_string)
            i += c == '\\';
        else if ((c == '{' || c == '[') && ++depth > DEPTH_MAX)
            return true;
        else if ((c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return false;
}

static const char *parse_error_text(enum json_error_code code)
{
    if (code == json_error_duplicate_key)
        return "the same key twice in one object";
    if (code == json_error_invalid_utf8)
        return "invalid UTF-8";
    if (code == json_error_null_character || code == json_error_null_byte_in_key)
        return "NUL in a text";
    if (code == json_error_premature_end_of_input)
        return "the document ends too early";
    if (code == json_error_end_of_input_expected)
        return "something follows the document";
    return "syntax error";
}

static void skip_blanks(struct span *text)
{
    while (text->len && (*text->ptr == ' ' || *text->ptr == '\t' || *text->ptr == '\n' || *text->ptr == '\r'))
        *text = (struct span){text->ptr + 1, text->len - 1};
}

/* Takes one character, with blanks in front of it. */
static bool take_char(struct span *text, char want)
{
    skip_blanks(text);
    if (text->len == 0 || *text->ptr != want)
        return false;
    *text = (struct span){text->ptr + 1, text->len - 1};
    return true;
}

/* A text without escapes, of ASCII only. */
static bool take_plain_text(struct span *text, struct span *ret)
{
    size_t len = 0;
    if (!take_char(text, '"'))
        return false;
    while (len < text->len && text->ptr[len] >= 0x20 && text->ptr[len] < 0x7F && text->ptr[len] != '"' &&
           text->ptr[len] != '\\')
        len++;
    *ret = (struct span){text->ptr, len};
    *text = (struct span){text->ptr + len, text->len - len};
    return text->len && text->ptr[0] == '"' && take_char(text, '"');
}

bool json_read_lone_text(struct span text, const char *name, struct span *ret)
{
    struct span key, value;
    if (!take_char(&text, '{') || !take_plain_text(&text, &key) || !span_is(key, name) ||
        !take_char(&text, ':') || !take_plain_text(&text, &value) || !take_char(&text, '}'))
        return false;
    skip_blanks(&text);
    if (text.len)
        return false;
    *ret = value;
    return true;
}

/* jansson calls a document malformed where it had no memory for it; ours ends the process instead. */
static void use_our_memory(void)
{
    json_set_alloc_funcs(mem_alloc, mem_free);
}

struct json_doc *json_parse(struct span text, struct json_fault *fault)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    json_error_t error;
    CHECK(pthread_once(&once, use_our_memory) == 0);
    if (nested_too_deep(text)) {
        json_fail(fault, &problem_malformed_json, NULL, "nested deeper than %d levels", (int)DEPTH_MAX);
        return NULL;
    }
    json_t *root =
        json_loadb(text.len ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (root)
        return (struct json_doc *)(void *)root;
    enum json_error_code code = json_error_code(&error);
    if (code == json_error_numeric_overflow)
        json_fail(fault, &problem_out_of_range, NULL, "the number at line %d, column %d is too large",
                  error.line, error.column);
    else
        json_fail(fault, &problem_malformed_json, NULL, "%s at line %d, column %d", parse_error_text(code),
                  error.line, error.column);
    return NULL;
}

void json_destroy(struct json_doc *doc)
{
    json_decref((json_t *)(void *)doc);
}

const struct json_value *json_root(const struct json_doc *doc)
{
    return (const struct json_value *)(const void *)doc;
}

/* --- Reading --- */

static bool read_string(const json_t *node, const struct place *place, struct span *ret)
{
    const struct json_field *field = place->field;
    if (!is_type(node, JANSSON_STRING))
        return fail_at(place, &problem_wrong_type, "must be a string");
    size_t len = json_string_length(node);
    if ((int64_t)len < field->min || (int64_t)len > field->max)
        return fail_at(place, &problem_out_of_range, "must be %jd to %jd bytes long", (intmax_t)field->min,
                       (intmax_t)field->max);
    *ret = (struct span){json_string_value(node), len};
    return true;
}

static bool read_integer(const json_t *node, const struct place *place, int64_t *ret)
{
    const struct json_field *field = place->field;
    if (!is_type(node, JANSSON_INTEGER))
        return fail_at(place, &problem_wrong_type,
                       "must be a whole number, written without point or exponent");
    int64_t value = json_integer_value(node);
    if (value < field->min || value > field->max)
        return fail_at(place, &problem_out_of_range, "must be %jd to %jd", (intmax_t)field->min,
                       (intmax_t)field->max);
    *ret = value;
    return true;
}

/* What has two decimals has no exact double, but one that is nearest to it: it is the number that was written
 * when writing it with two decimals gives the same double again. */
static bool read_hundredths(const json_t *node, const struct place *place, int64_t *ret)
{
    const struct json_field *field = place->field;
    bool real = is_type(node, JSON_REAL);
    if (!real && !is_type(node, JANSSON_INTEGER))
        return fail_at(place, &problem_wrong_type, "must be a number");
    double number = real ? json_real_value(node) : (double)json_integer_value(node);
    if (!(number >= (double)field->min / 100 && number <= (double)field->max / 100))
        return fail_at(place, &problem_out_of_range, "must be %jd.%02jd to %jd.%02jd",
                       (intmax_t)field->min / 100, (intmax_t)field->min % 100, (intmax_t)field->max / 100,
                       (intmax_t)field->max % 100);
    double hundredths = nearbyint(number * 100);
    if (hundredths / 100 != number)
        return fail_at(place, &problem_out_of_range, "must have at most two decimals");
    *ret = (int64_t)hundredths;
    return true;
}

static bool read_time(const json_t *node, const struct place *place, int64_t *ret)
{
    int64_t wall_us;
    if (!is_type(node, JANSSON_STRING))
        return fail_at(place, &problem_wrong_type, "must be a string with an RFC 3339 time");
    if (!time_parse((struct span){json_string_value(node), json_string_length(node)}, &wall_us))
        return fail_at(place, &problem_invalid_value,
                       "must be an RFC 3339 time with offset, from 1970 to 9999, like 2026-11-20T13:00:00Z");
    if (wall_us == 0) /* stands for "no time" everywhere inside, so it must not come in as one */
        return fail_at(place, &problem_out_of_range, "must be after 1970-01-01T00:00:00Z");
    *ret = wall_us;
    return true;
}

static bool read_boolean(const json_t *node, const struct place *place, bool *ret)
{
    if (!is_type(node, JSON_TRUE) && !is_type(node, JSON_FALSE))
        return fail_at(place, &problem_wrong_type, "must be true or false");
    *ret = json_typeof(node) == JSON_TRUE;
    return true;
}

static bool read_object(const json_t *node, const struct place *place, const struct json_value **ret)
{
    if (!is_type(node, JANSSON_OBJECT))
        return fail_at(place, &problem_wrong_type, "must be an object");
    *ret = value_of(node);
    return true;
}

static bool read_array(const json_t *node, const struct place *place, const struct json_value **ret)
{
    const struct json_field *field = place->field;
    if (!is_type(node, JANSSON_ARRAY))
        return fail_at(place, &problem_wrong_type, "must be an array");
    int64_t length = (int64_t)json_array_size(node);
    if (length < field->min || length > field->max)
        return fail_at(place, &problem_out_of_range, "must have %jd to %jd elements", (intmax_t)field->min,
                       (intmax_t)field->max);
    *ret = value_of(node);
    return true;
}

static bool read_field(const json_t *node, const struct place *place, void *ret)
{
    void *to = (char *)ret + place->field->offset;
    switch (place->field->kind) {
    case JSON_STRING:
        return read_string(node, place, to);
    case JSON_INTEGER:
        return read_integer(node, place, to);
    case JSON_HUNDREDTHS:
        return read_hundredths(node, place, to);
    case JSON_TIME:
        return read_time(node, place, to);
    case JSON_BOOLEAN:
        return read_boolean(node, place, to);
    case JSON_OBJECT:
        return read_object(node, place, to);
    case JSON_ARRAY:
        return read_array(node, place, to);
    case JSON_ANY:
        *(const struct json_value **)to = value_of(node);
        return true;
    }
    UNREACHABLE("every kind is above");
}

/* A name that the client made up goes into the answer only where it is short and harmless. */
static bool fail_unknown(const char *name, const char *at, struct json_fault *fault)
{
    size_t len = 0;
    while (name[len] > 0x20 && name[len] < 0x7F && len <= KEY_LEN_MAX)
        len++;
    if (name[len] != '\0' || len == 0 || len > KEY_LEN_MAX)
        return json_fail(fault, &problem_unknown_field, at,
                         "an object has a field that this call does not know");
    struct json_field unknown = {.name = name};
    return fail_at(&(struct place){at, &unknown, fault}, &problem_unknown_field,
                   "this call does not know this field");
}

static const struct json_field *find_field(const struct json_object_reader *reader, const char *name)
{
    for (size_t i = 0; i < reader->count; i++)
        if (strcmp(reader->fields[i].name, name) == 0)
            return &reader->fields[i];
    return NULL;
}

/* Goes through the object, not the table: objects are small or end at their first unknown field, so this is
 * at most count * (count + 1) comparisons whatever a client sends. */
bool json_read_object(const struct json_value *value, const struct json_object_reader *reader, void *ret,
                      struct json_fault *fault)
{
    uint64_t seen = 0;
    CHECK(reader->count <= FIELDS_MAX);
    json_t *object = (json_t *)(uintptr_t)node_of(value); /* jansson iterates non-const only */
    if (!is_type(object, JANSSON_OBJECT))
        return json_fail(fault, &problem_wrong_type, reader->at, "must be an object");
    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i)) {
        const json_t *node = json_object_iter_value(i);
        const struct json_field *field = find_field(reader, json_object_iter_key(i));
        if (!field)
            return fail_unknown(json_object_iter_key(i), reader->at, fault);
        if (is_type(node, JSON_NULL) && field->kind != JSON_ANY)
            continue;
        if (!read_field(node, &(struct place){reader->at, field, fault}, ret))
            return false;
        seen |= UINT64_C(1) << (field - reader->fields);
    }
    for (size_t i = 0; i < reader->count; i++) {
        const struct json_field *field = &reader->fields[i];
        if (field->presence == JSON_REQUIRED && !(seen >> i & 1))
            return fail_at(&(struct place){reader->at, field, fault}, &problem_missing_field,
                           "this field is required");
    }
    return true;
}

size_t json_array_length(const struct json_value *array)
{
    return json_array_size(node_of(array));
}

const struct json_value *json_array_at(const struct json_value *array, size_t index)
{
    return value_of(json_array_get(node_of(array), index));
}

bool json_read_string_at(const struct json_value *array, size_t index, const char *at, struct span *ret,
                         struct json_fault *fault)
{
    char path[sizeof fault->path];
    if (json_as_text(json_array_at(array, index), ret))
        return true;
    snprintf(path, sizeof path, "%s[%zu]", at, index);
    return json_fail(fault, &problem_wrong_type, path, "must be a string");
}

const struct json_value *json_member(const struct json_value *object, const char *name)
{
    return value_of(json_object_get(node_of(object), name));
}

bool json_as_text(const struct json_value *value, struct span *ret)
{
    const json_t *node = node_of(value);
    if (!is_type(node, JANSSON_STRING))
        return false;
    *ret = (struct span){json_string_value(node), json_string_length(node)};
    return true;
}

bool json_as_int(const struct json_value *value, int64_t *ret)
{
    const json_t *node = node_of(value);
    if (!is_type(node, JANSSON_INTEGER))
        return false;
    *ret = json_integer_value(node);
    return true;
}

bool json_as_bool(const struct json_value *value, bool *ret)
{
    const json_t *node = node_of(value);
    if (!is_type(node, JSON_TRUE) && !is_type(node, JSON_FALSE))
        return false;
    *ret = json_typeof(node) == JSON_TRUE;
    return true;
}

bool json_as_null(const struct json_value *value)
{
    return is_type(node_of(value), JSON_NULL);
}

/* --- Writing --- */

/* A comma is due unless the last thing written opens something or a new line of JSON lines begins. Commas and
 * key in one append: this runs for every field of every answer. */
static void put_key(struct buf *out, const char *key)
{
    char text[KEY_LEN_MAX + 4];
    size_t len = 0;
    char last = out->len ? out->data[out->len - 1] : '[';
    if (last != '{' && last != '[' && last != ',' && last != ':' && last != '\n')
        text[len++] = ',';
    if (key) {
        size_t key_len = strlen(key);
        CHECK(key_len <= KEY_LEN_MAX);
        text[len++] = '"';
        memcpy(text + len, key, key_len);
        len += key_len;
        text[len++] = '"';
        text[len++] = ':';
    }
    if (len)
        buf_append(out, text, len);
}

void json_open(struct buf *out, const char *key, char bracket)
{
    CHECK(bracket == '{' || bracket == '[');
    put_key(out, key);
    buf_append_char(out, bracket);
}

void json_close(struct buf *out, char bracket)
{
    CHECK(bracket == '}' || bracket == ']');
    buf_append_char(out, bracket);
}

/* One byte that may not stand in a JSON text as it is. */
static void put_escaped(struct buf *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef", from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = c ? strchr(from, c) : NULL;
    if (at)
        buf_append(out, (const char[]){'\\', to[at - from]}, 2);
    else
        buf_append(out, (const char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

/* How many bytes from the start can be copied as they are. */
static size_t plain_run(struct span text)
{
    size_t len = 0;
    while (len < text.len) {
        unsigned char c = (unsigned char)text.ptr[len];
        if (c < 0x20 || c == '"' || c == '\\')
            break;
        size_t step = c < 0x80 ? 1 : utf8_sequence((struct span){text.ptr + len, text.len - len});
        if (step == 0)
            break;
        len += step;
    }
    return len;
}

void json_put_string(struct buf *out, const char *key, struct span value)
{
    if (!value.ptr) {
        json_put_null(out, key);
        return;
    }
    put_key(out, key);
    buf_append_char(out, '"');
    while (value.len) {
        size_t run = plain_run(value);
        if (run)
            buf_append(out, value.ptr, run);
        value = (struct span){value.ptr + run, value.len - run};
        if (value.len == 0)
            break;
        unsigned char c = (unsigned char)value.ptr[0];
        if (c < 0x80)
            put_escaped(out, c);
        else
            buf_append(out, "\xEF\xBF\xBD", 3); /* U+FFFD for each byte that is not UTF-8 */
        value = (struct span){value.ptr + 1, value.len - 1};
    }
    buf_append_char(out, '"');
}

void json_put_int(struct buf *out, const char *key, int64_t value)
{
    put_key(out, key);
    buf_append_i64(out, value);
}

void json_put_hundredths(struct buf *out, const char *key, int64_t value)
{
    char text[32];
    CHECK(value >= 0);
    int len = snprintf(text, sizeof text, "%jd.%02d", (intmax_t)(value / 100), (int)(value % 100));
    while (text[len - 1] == '0' || text[len - 1] == '.')
        if (text[--len] == '.')
            break;
    json_put_raw(out, key, (struct span){text, (size_t)len});
}

void json_put_bool(struct buf *out, const char *key, bool value)
{
    put_key(out, key);
    buf_append_text(out, value ? "true" : "false");
}

void json_put_time(struct buf *out, const char *key, int64_t wall_us)
{
    if (wall_us == 0) {
        json_put_null(out, key);
        return;
    }
    put_key(out, key);
    buf_append_char(out, '"');
    time_format(out, wall_us);
    buf_append_char(out, '"');
}

void json_put_null(struct buf *out, const char *key)
{
    put_key(out, key);
    buf_append(out, "null", 4);
}

/* White space at the end is cut: a newline there would look like the start of a new document. */
void json_put_raw(struct buf *out, const char *key, struct span json)
{
    while (json.len && memchr(" \t\r\n", json.ptr[json.len - 1], 4))
        json.len--;
    if (json.len == 0) {
        json_put_null(out, key);
        return;
    }
    put_key(out, key);
    buf_append_span(out, json);
}
