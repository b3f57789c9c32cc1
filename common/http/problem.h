/* SPDX-License-Identifier: Apache-2.0 */
/* Problem documents (RFC 9457): what every refusal looks like from outside. A problem is a constant with a
 * stable code; callers compare pointers or codes, never texts. Services add tables of their own. */
#pragma once

#include <stdbool.h>

#include "common/base/bytes.h"

struct problem {
    const char *code;  /* stable, becomes type urn:firstcome:problem:<code> */
    int status;        /* HTTP status */
    bool retryable;    /* true: the same request may succeed later, unchanged */
    const char *title; /* one line, the same for every occurrence */
};

/* Problems that any HTTP service has. X(name, code, status, retryable, title) */
#define COMMON_PROBLEMS(X)                                                                             \
    X(malformed_request, "malformed-request", 400, false, "The HTTP request is malformed")             \
    X(malformed_json, "malformed-json", 400, false, "The body is not valid JSON")                      \
    X(wrong_type, "wrong-type", 400, false, "A field has the wrong type")                              \
    X(unknown_field, "unknown-field", 400, false, "The body has a field that this call does not know") \
    X(missing_field, "missing-field", 400, false, "A required field is missing")                       \
    X(out_of_range, "out-of-range", 400, false, "A value is outside its allowed range")                \
    X(invalid_value, "invalid-value", 400, false, "A value is not of the allowed form")                \
    X(invalid_parameter, "invalid-parameter", 400, false, "A query parameter is invalid")              \
    X(unauthenticated, "unauthenticated", 401, false, "A valid API key is required")                   \
    X(forbidden, "forbidden", 403, false, "This API key does not have the scope for this call")        \
    X(unknown_route, "unknown-route", 404, false, "There is nothing at this path")                     \
    X(method_not_allowed, "method-not-allowed", 405, false, "This path does not know this method")     \
    X(request_timeout, "request-timeout", 408, true, "The request took too long to arrive")            \
    X(precondition_failed, "precondition-failed", 412, false, "A condition of the request is not met") \
    X(body_too_large, "body-too-large", 413, false, "The body is larger than this call accepts")       \
    X(unsupported_media, "unsupported-media-type", 415, false, "The body's coding or type is unknown") \
    X(expectation_failed, "expectation-failed", 417, false, "The only expectation is 100-continue")    \
    X(internal, "internal", 500, true, "An unexpected error occurred")                                 \
    X(not_implemented, "not-implemented", 501, false, "This server does not know this method")         \
    X(overloaded, "overloaded", 503, true, "The service is at its limit, try again later")             \
    X(http_version, "http-version-not-supported", 505, false, "This server speaks HTTP/1.1")           \
    X(shutting_down, "shutting-down", 503, true, "This instance is shutting down, try again")

#define PROBLEM_DECLARE(name, code, status, retryable, title) extern const struct problem problem_##name;
#define PROBLEM_DEFINE(name, code, status, retryable, title) \
    const struct problem problem_##name = {code, status, retryable, title};
COMMON_PROBLEMS(PROBLEM_DECLARE)

/* One occurrence: which problem, where, and numbers a client can act on. Borrowed texts. */
struct problem_detail {
    const struct problem *problem;
    const char *detail; /* what was wrong this time, for a person; NULL for the title alone. No user data. */
    struct span field;  /* JSON path or parameter name at fault, ptr NULL where none */
    int64_t retry_after_ms; /* > 0: also sent as Retry-After, rounded up to whole seconds */
    struct span extension;  /* more JSON members, as `"key":value,...` without braces; ptr NULL where none */
};

/* Appends the application/problem+json body. */
void problem_write(struct buf *body, const struct problem_detail *detail);
