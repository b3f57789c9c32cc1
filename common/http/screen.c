/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a request whose head is complete and well-formed, in this order: target, route, key, scope,
 * query, what its fields ask for (expectation, coding and type of the body, conditions), size of the body,
 * admission. Pure: no sockets. */
#include "common/http/internal.h"

#include <strings.h>

const struct problem problem_headers_too_large = {"headers-too-large", 431, false,
                                                  "The request line and headers are too large"};

void http_refuse(struct http_request *request, const struct problem *problem, enum http_reason reason,
                 const char *detail)
{
    request->refusal = problem;
    request->refusal_detail = detail;
    metric_add(request->server->refused[reason], 1);
}

void http_refuse_and_close(struct http_request *request, const struct problem *problem,
                           enum http_reason reason, const char *detail)
{
    http_refuse(request, problem, reason, detail);
    request->refusal_closes = true;
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

/* A method that nobody has is refused whatever the path is (RFC 9110, 9.1). */
static bool screen_route(struct http_request *request, const struct http_path *path)
{
    if (request->method == HTTP_METHOD_UNKNOWN && !request->is_options) {
        http_refuse(request, &problem_not_implemented, HTTP_REASON_METHOD, NULL);
        return false;
    }
    struct http_match match = http_router_find(&request->server->router, path, request->method);
    if (match.endpoint) {
        request->endpoint = match.endpoint;
        take_params(request, match.shape, path);
        return true;
    }
    if (match.path_known && request->is_options) {
        request->endpoint = &request->server->options_endpoint;
        snprintf(request->allow, sizeof request->allow, "%s", match.allow);
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

static bool token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           memchr("-._~+/", c, 6);
}

/* RFC 6750, 2.1: "Bearer", blanks, and a b64token, which may end in "=". Absent: another scheme, or none.
 * Empty: the scheme, and no token behind it. */
static struct span bearer_token(struct span value)
{
    static const char scheme[] = "Bearer";
    const size_t scheme_len = sizeof scheme - 1;
    if (value.len < scheme_len || strncasecmp(value.ptr, scheme, scheme_len) != 0 ||
        (value.len > scheme_len && value.ptr[scheme_len] != ' '))
        return (struct span){NULL, 0};
    struct span token = {value.ptr + scheme_len, value.len - scheme_len};
    while (token.len && token.ptr[0] == ' ')
        token = (struct span){token.ptr + 1, token.len - 1};
    size_t len = 0;
    while (len < token.len && token_char(token.ptr[len]))
        len++;
    size_t end = len;
    while (end < token.len && token.ptr[end] == '=')
        end++;
    return len > 0 && end == token.len ? token : (struct span){"", 0};
}

/* RFC 6750, 3: who gave no credentials is told no error. */
static void challenge(struct http_request *request, const char *error, unsigned scopes)
{
    struct buf value;
    buf_init(&value, 160);
    buf_append_text(&value, "Bearer realm=\"firstcome\""); /* the scheme needs a parameter */
    if (error)
        buf_printf(&value, ", error=\"%s\"", error);
    if (scopes) {
        buf_append_text(&value, ", scope=\"");
        auth_scopes_write(&value, scopes);
        buf_append_char(&value, '"');
    }
    CHECK(!value.overflow);
    http_add_header(request, "WWW-Authenticate", buf_span(&value));
    buf_deinit(&value);
}

static bool screen_key(struct http_request *request)
{
    unsigned scopes = request->endpoint->route->scopes;
    if (scopes == 0 || ((scopes & AUTH_ANYBODY) && !http_header(request, "Authorization").ptr))
        return true;
    if (http_header_nth(request, "Authorization", 1).ptr) {
        http_refuse(request, &problem_malformed_request, HTTP_REASON_KEY, "Authorization is one header");
        challenge(request, "invalid_request", 0);
        return false;
    }
    struct span token = bearer_token(http_header(request, "Authorization"));
    request->key = token.len ? keyring_find(request->server->options.keyring, token) : NULL;
    if (!request->key) {
        http_refuse(request, &problem_unauthenticated, HTTP_REASON_KEY, NULL);
        challenge(request, token.ptr ? "invalid_token" : NULL, 0);
        return false;
    }
    if (!(request->key->scopes & scopes)) {
        http_refuse(request, &problem_forbidden, HTTP_REASON_SCOPE, NULL);
        challenge(request, "insufficient_scope", scopes);
        return false;
    }
    return true;
}

/* --- What the fields ask for --- */

/* RFC 9110 section 10.1.1: the one expectation there is. HTTP/1.0 knows none. */
static bool screen_expectation(struct http_request *request)
{
    struct span value;
    for (size_t i = 0; !request->http_1_0 && (value = http_header_nth(request, "Expect", i)).ptr; i++)
        for (struct span item = http_list_next(&value); item.ptr; item = http_list_next(&value)) {
            if (http_text_is(item, "100-continue"))
                continue;
            http_refuse_and_close(request, &problem_expectation_failed, HTTP_REASON_FIELDS, NULL);
            return false;
        }
    return true;
}

/* Section 8.4: the codings that were applied to the body. None is taken off here, so none may be there. */
static bool screen_coding(struct http_request *request)
{
    struct span value;
    for (size_t i = 0; (value = http_header_nth(request, "Content-Encoding", i)).ptr; i++)
        for (struct span item = http_list_next(&value); item.ptr; item = http_list_next(&value)) {
            if (http_text_is(item, "identity"))
                continue;
            http_refuse(request, &problem_unsupported_media, HTTP_REASON_FIELDS,
                        "a body must come without a content coding");
            http_add_header(request, "Accept-Encoding", SPAN("identity"));
            return false;
        }
    return true;
}

static bool type_known(struct span type)
{
    static const char suffix[] = "+json", tree[] = "application/";
    size_t tree_len = sizeof tree - 1, suffix_len = sizeof suffix - 1;
    /* What curl -d says of every body, whatever is in it. */
    if (http_text_is(type, "application/json") || http_text_is(type, "application/x-www-form-urlencoded"))
        return true;
    return type.len > tree_len + suffix_len && strncasecmp(type.ptr, tree, tree_len) == 0 &&
           strncasecmp(type.ptr + type.len - suffix_len, suffix, suffix_len) == 0;
}

/* JSON in UTF-8, or nothing said. */
static bool screen_type(struct http_request *request)
{
    struct span rest = http_header(request, "Content-Type");
    if (!rest.ptr)
        return true;
    bool good =
        type_known(http_trim(span_cut(&rest, ';'))) && !http_header_nth(request, "Content-Type", 1).ptr;
    while (good && rest.ptr) {
        struct span value = http_trim(span_cut(&rest, ';')), name = span_cut(&value, '=');
        if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
            value = (struct span){value.ptr + 1, value.len - 2};
        good = !http_text_is(name, "charset") || http_text_is(value, "utf-8") || http_text_is(value, "utf8");
    }
    if (good)
        return true;
    http_refuse(request, &problem_unsupported_media, HTTP_REASON_FIELDS,
                "a body must be application/json in UTF-8");
    http_add_header(request, "Accept", SPAN("application/json"));
    return false;
}

/* Section 13: a request must not take effect where its condition is false. Of the calls that change something
 * some can tell; of the others a request that has a condition takes no effect. If-Unmodified-Since is for
 * what has a date, and nothing here has one (13.1.4). */
static bool screen_conditions(struct http_request *request)
{
    static const char *const names[] = {"If-Match", "If-None-Match"};
    if (request->method == HTTP_GET || request->is_options ||
        (request->endpoint->route->scopes & HTTP_CONDITIONS))
        return true;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (!http_header(request, names[i]).ptr)
            continue;
        http_refuse(request, &problem_precondition_failed, HTTP_REASON_FIELDS,
                    "this call knows no conditions; nothing was done");
        return false;
    }
    return true;
}

static bool screen_fields(struct http_request *request)
{
    bool has_body = request->chunked || request->content_length > 0;
    return screen_expectation(request) && (!has_body || (screen_coding(request) && screen_type(request))) &&
           screen_conditions(request);
}

void http_screen_admission(struct http_request *request)
{
    const struct http_options *options = &request->server->options;
    struct http_admission admission = {.may_wait = request->may_wait};
    const struct problem *problem =
        options->admit && !request->is_options ? options->admit(request, options->context, &admission) : NULL;
    request->waits = problem && admission.waits;
    request->line = admission.line;
    if (!problem || admission.waits)
        return;
    http_refuse(request, problem, HTTP_REASON_ADMISSION, NULL);
    request->refusal_retry_ms = admission.retry_after_ms;
}

/* "OPTIONS *" asks about the server as a whole (RFC 9112, 3.2.4). */
static bool about_server(struct http_request *request)
{
    if (!request->is_options || request->target_len != 1 || request->head[request->target_at] != '*')
        return false;
    request->path = (struct span){request->head + request->target_at, 1};
    request->query_text = (struct span){NULL, 0};
    request->endpoint = &request->server->options_endpoint;
    request->allow[0] = '\0';
    return true;
}

void http_screen(struct http_request *request)
{
    struct http_path path;
    if (about_server(request))
        return;
    if (!http_target_parse(request, &path)) {
        http_refuse_and_close(request, &problem_malformed_request, HTTP_REASON_FRAMING,
                              "the request target is not a valid path");
        return;
    }
    if (!screen_route(request, &path) || !screen_key(request))
        return;
    if (!http_query_parse(request))
        http_refuse(request, &problem_invalid_parameter, HTTP_REASON_QUERY,
                    "the query string has a bad escape or more than 16 parameters");
    else if (screen_fields(request) && request->content_length > request->endpoint->body_max)
        http_refuse_and_close(request, &problem_body_too_large, HTTP_REASON_BODY, NULL);
    else if (!request->refusal)
        http_screen_admission(request);
}
