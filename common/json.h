/* SPDX-License-Identifier: Apache-2.0 */
/* JSON in and out. Reading is table-driven and strict: a body is matched against a list of fields, and the
 * first thing that does not fit is reported as a problem with its path. Writing appends to a bounded buffer.
 * The only file that knows jansson. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/http/problem.h"

struct json_doc;   /* a parsed document; owns all its values and texts */
struct json_value; /* borrowed from its document */

enum json_kind {
    JSON_STRING,
    JSON_INTEGER,
    JSON_HUNDREDTHS,
    JSON_TIME,
    JSON_BOOLEAN,
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_ANY
};
enum json_presence { JSON_OPTIONAL, JSON_REQUIRED };

/* One field a body may have. What it is stored as, at `offset` in the caller's struct:
 *
 *   JSON_STRING      struct span (UTF-8, valid, borrowed from the document); min/max bound its bytes
 *   JSON_INTEGER     int64_t; min/max bound its value
 *   JSON_HUNDREDTHS  int64_t, a hundred times the number, which has at most two decimals; min/max bound this
 *   JSON_TIME        int64_t microseconds since 1970 (RFC 3339 text), never 0; min/max unused
 *   JSON_BOOLEAN     bool
 *   JSON_OBJECT      const struct json_value *
 *   JSON_ARRAY       const struct json_value *; min/max bound its length
 *   JSON_ANY         const struct json_value *, of whatever type; here null is a value, too
 *
 * An absent optional field, and one that is null, leaves the struct as it was: put defaults there first. */
struct json_field {
    const char *name;
    enum json_kind kind;
    enum json_presence presence;
    size_t offset;
    int64_t min, max;
};

/* Where and why reading failed. `field` points into `path`. */
struct json_fault {
    struct problem_detail detail;
    char path[128];
    char text[160];
};

/* Parses one JSON document: duplicate keys, trailing bytes, NUL in strings, depth over 16 are refused.
 * Returns NULL and fills `fault` (malformed-json, or out-of-range for a number that no 64 bits can hold) on
 * failure. The caller destroys the document. */
struct json_doc *json_parse(struct span text, struct json_fault *fault) MUST_USE;
void json_destroy(struct json_doc *doc); /* accepts NULL */
const struct json_value *json_root(const struct json_doc *doc);

/* Reads an object against a table. `at` is the path of the object ("" for the root, "discount" below it).
 * false and fault set at the first thing that does not fit; *ret is then partly written. */
struct json_object_reader {
    const struct json_field *fields;
    size_t count;
    const char *at;
};
bool json_read_object(const struct json_value *value, const struct json_object_reader *reader, void *ret,
                      struct json_fault *fault) MUST_USE;

/* The text of an object that is nothing but {"name":"text"}, with no escape and nothing but ASCII in it,
 * which is how nearly everybody writes it; borrowed from `text`. false: json_parse it, whatever it is. Ten
 * times as fast. */
bool json_read_lone_text(struct span text, const char *name, struct span *ret) MUST_USE;

size_t json_array_length(const struct json_value *array);
const struct json_value *json_array_at(const struct json_value *array, size_t index);
/* A string element, or false with a wrong-type fault naming path `at`[index]. */
bool json_read_string_at(const struct json_value *array, size_t index, const char *at, struct span *ret,
                         struct json_fault *fault) MUST_USE;

/* Reading without a table, for replies of other programs. json_member is NULL where there is no such member
 * or `object` is NULL or no object; json_as_* are false where the value is NULL or of another type. */
const struct json_value *json_member(const struct json_value *object, const char *name);
bool json_as_text(const struct json_value *value, struct span *ret);
bool json_as_int(const struct json_value *value, int64_t *ret);
bool json_as_bool(const struct json_value *value, bool *ret);
bool json_as_null(const struct json_value *value); /* there, and null */

/* Sets a fault by hand, for rules that a table cannot say; always returns false. */
bool json_fail(struct json_fault *fault, const struct problem *problem, const char *path, const char *format,
               ...) PRINTF_LIKE(4, 5);

/* Writing. Commas are put by looking at the last character, so there is no writer state to keep: a buffer
 * that is empty or ends with a newline begins a new document. Keys are literals of at most 64 bytes that need
 * no escape; NULL key inside arrays. Whatever bytes a string has, what is written is JSON: U+FFFD stands for
 * what is not UTF-8. */
void json_open(struct buf *out, const char *key, char bracket);            /* '{' or '[' */
void json_close(struct buf *out, char bracket);                            /* '}' or ']' */
void json_put_string(struct buf *out, const char *key, struct span value); /* absent span: null */
void json_put_int(struct buf *out, const char *key, int64_t value);
/* A hundredth of `value`, 0 or more, with as many decimals as it needs: 1250 is 12.5. */
void json_put_hundredths(struct buf *out, const char *key, int64_t value);
void json_put_bool(struct buf *out, const char *key, bool value);
void json_put_time(struct buf *out, const char *key, int64_t wall_us); /* 0: null */
void json_put_null(struct buf *out, const char *key);
void json_put_raw(struct buf *out, const char *key,
                  struct span json); /* already JSON; absent or empty: null */
