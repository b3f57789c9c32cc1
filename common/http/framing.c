/* SPDX-License-Identifier: Apache-2.0 */
/* What is refused before a handler sees it, in this order: framing, route, key, scope, query, body size.
 * Framing comes first and is strict, because two programs that disagree about where a request ends can be
 * made to disagree about who sent the next one (request smuggling). Pure: no sockets, no library. */
#include "common/http/internal.h"

#include <strings.h>

enum { HEAD_BLANKS_MAX = 255 };

const struct problem problem_headers_too_large = {"headers-too-large", 431, false,
                                                  "The request line and headers are too large"};

void http_refuse(struct http_request *request, const struct problem *problem, enum http_reason reason,
                 const char *detail)
{
    request->refusal = problem;
    request->refusal_detail = detail;
    metric_add(request->server->refused[reason], 1);
}

/* A refusal after which the rest of the input cannot be trusted, or is not worth reading. */
static void refuse_and_close(struct http_request *request, const struct problem *problem,
                             enum http_reason reason, const char *detail)
{
    http_refuse(request, problem, reason, detail);
    request->refusal_closes = true;
}

/* --- Framing --- */

static bool token_valid(struct span name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alphanumeric && (c == '\0' || !memchr(others, c, sizeof others - 1)))
            return false;
    }
    return name.len > 0;
}

static bool value_valid(struct span value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            return false;
    }
    return true;
}

/* libmicrohttpd 0.9.75 takes a bare LF for the end of a line, folds continued lines, cuts a value at a NUL
 * and takes a line that begins with a NUL for the end of the head. It cuts the head into strings where it
 * lies, so all of these show as gaps: the head is good only if strings, separators and CRLFs account for
 * every byte. */
static bool head_exact(const struct http_request *request)
{
    const struct http_head *head = &request->head;
    if (head->url != head->method + strlen(head->method) + 1)
        return false;
    if (head->version != head->url + request->target_len + 1)
        return false;
    const char *at = head->version + strlen(head->version) + 2;
    for (size_t i = 0; i < request->headers_count; i++) {
        const struct http_pair *field = &request->headers[i];
        const char *value = field->name.ptr + field->name.len + 1;
        if (field->name.ptr != at || field->value.ptr < value || field->value.ptr > value + HEAD_BLANKS_MAX)
            return false;
        at = field->value.ptr + field->value.len + 2;
    }
    return at + 2 == head->method + head->size;
}

struct framing {
    unsigned lengths, encodings, hosts;
    struct span length, encoding;
};

static bool name_is(struct span name, const char *want, size_t len)
{
    return name.len == len && strncasecmp(name.ptr, want, len) == 0;
}

static void framing_note(struct http_request *request, const struct http_pair *field, struct framing *framing)
{
    if (name_is(field->name, "content-length", 14)) {
        framing->lengths++;
        framing->length = field->value;
    } else if (name_is(field->name, "transfer-encoding", 17)) {
        framing->encodings++;
        framing->encoding = field->value;
    } else if (name_is(field->name, "host", 4)) {
        framing->hosts++;
    } else if (name_is(field->name, "expect", 6)) {
        request->expects_continue = true;
    }
}

static const char *framing_fault(struct http_request *request)
{
    struct framing framing = {0};
    bool http_1_0 = strcmp(request->head.version, "HTTP/1.0") == 0;
    if (request->server->head_exact && !head_exact(request))
        return "a line does not end with CRLF, is folded, or has a NUL byte or stray blanks";
    for (size_t i = 0; i < request->headers_count; i++) {
        if (!token_valid(request->headers[i].name) || !value_valid(request->headers[i].value))
            return "a header has a name or value with characters that are not allowed there";
        framing_note(request, &request->headers[i], &framing);
    }
    if (framing.lengths + framing.encodings > 1)
        return "more than one Content-Length or Transfer-Encoding";
    if (framing.encodings && (http_1_0 || !name_is(framing.encoding, "chunked", 7)))
        return "the only Transfer-Encoding understood is chunked, with HTTP/1.1";
    if (framing.lengths && !parse_u64(framing.length, INT64_MAX, &request->content_length))
        return "Content-Length is not a plain decimal number";
    if (framing.hosts > 1 || (framing.hosts == 0 && !http_1_0))
        return "exactly one Host header is required";
    request->chunked = framing.encodings == 1;
    return NULL;
}

static bool screen_framing(struct http_request *request, struct http_path *path)
{
    const struct http_server *server = request->server;
    if (request->headers_count > HTTP_HEADERS_MAX || request->head.size > server->options.header_bytes_max) {
        refuse_and_close(request, &problem_headers_too_large, HTTP_REASON_HEADERS, NULL);
        return false;
    }
    const char *fault = framing_fault(request);
    if (!fault && !http_target_parse(request, path))
        fault = "the request target is not a valid path";
    if (fault)
        refuse_and_close(request, &problem_malformed_request, HTTP_REASON_FRAMING, fault);
    return fault == NULL;
}

/* --- Route, key, scope, query, size --- */

static void take_params(struct http_request *request, const struct http_shape *shape,
                        const struct http_path *path)
{
    size_t count = 0;
    for (size_t i = 0; i < shape->segments_count; i++)
        if (!shape->segments[i].ptr)
            request->params[count++] = path->segments[i];
}

static bool screen_route(struct http_request *request, const char *method, const struct http_path *path)
{
    request->method = http_method_of(method);
    struct http_match match = http_router_find(&request->server->router, path, request->method);
    if (match.endpoint) {
        request->endpoint = match.endpoint;
        take_params(request, match.shape, path);
        return true;
    }
    if (match.path_known) {
        http_refuse(request, &problem_method_not_allowed, HTTP_REASON_METHOD, NULL);
        http_add_header(request, "Allow", span_of(match.allow));
    } else {
        http_refuse(request, &problem_unknown_route, HTTP_REASON_ROUTE, NULL);
    }
    return false;
}

/* The token of the one Authorization header, absent where there is none, several, or another scheme. */
static struct span bearer_token(const struct http_request *request)
{
    static const char scheme[] = "Bearer ";
    struct span value = {NULL, 0};
    unsigned count = 0;
    for (size_t i = 0; i < request->headers_count; i++) {
        if (!name_is(request->headers[i].name, "authorization", 13))
            continue;
        value = request->headers[i].value;
        count++;
    }
    if (count != 1 || value.len < sizeof scheme || strncasecmp(value.ptr, scheme, sizeof scheme - 1) != 0)
        return (struct span){NULL, 0};
    value = (struct span){value.ptr + sizeof scheme - 1, value.len - (sizeof scheme - 1)};
    while (value.len && (value.ptr[value.len - 1] == ' ' || value.ptr[value.len - 1] == '\t'))
        value.len--;
    return value;
}

static bool screen_key(struct http_request *request)
{
    unsigned scopes = request->endpoint->route->scopes;
    if (scopes == 0 || ((scopes & AUTH_ANYBODY) && !http_header(request, "Authorization").ptr))
        return true;
    struct span token = bearer_token(request);
    request->key = token.ptr ? keyring_find(request->server->options.keyring, token) : NULL;
    if (!request->key) {
        http_refuse(request, &problem_unauthenticated, HTTP_REASON_KEY, NULL);
        http_add_header(request, "WWW-Authenticate", SPAN("Bearer"));
        return false;
    }
    if (!(request->key->scopes & scopes)) {
        http_refuse(request, &problem_forbidden, HTTP_REASON_SCOPE, NULL);
        return false;
    }
    return true;
}

static void screen_admission(struct http_request *request)
{
    const struct http_options *options = &request->server->options;
    int64_t retry_ms = 0;
    const struct problem *problem =
        options->admit ? options->admit(request, options->context, &retry_ms) : NULL;
    if (!problem)
        return;
    http_refuse(request, problem, HTTP_REASON_ADMISSION, NULL);
    request->refusal_retry_ms = retry_ms;
}

void http_screen(struct http_request *request, const char *method)
{
    struct http_path path;
    if (!screen_framing(request, &path) || !screen_route(request, method, &path) || !screen_key(request))
        return;
    if (!http_query_parse(request))
        http_refuse(request, &problem_invalid_parameter, HTTP_REASON_QUERY,
                    "the query string has a bad escape or more than 16 parameters");
    else if (request->content_length > request->endpoint->body_max)
        refuse_and_close(request, &problem_body_too_large, HTTP_REASON_BODY, NULL);
    else
        screen_admission(request);
}
