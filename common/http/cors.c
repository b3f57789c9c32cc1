/* SPDX-License-Identifier: Apache-2.0 */
/* OPTIONS (RFC 9110, 9.3.7), and the CORS protocol of Fetch for the origins that are configured. An answer
 * names the origin that asked only where it is one of them; a preflight needs no key, because a browser sends
 * none with it. */
#include "common/http/internal.h"

static const char allowed_fields[] = "Authorization, Content-Type, Idempotency-Key, Consistency-Token, "
                                     "If-Match, If-None-Match, Prefer, traceparent";
static const char exposed_fields[] =
    "ETag, Location, Retry-After, Consistency-Token, Idempotency-Replayed, "
    "Preference-Applied, Age, Cache-Status, X-Request-Id, Content-Disposition, "
    "RateLimit, RateLimit-Policy";
static const char preflight_s[] = "600"; /* how long a browser may remember a preflight */

static bool host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == ':' || c == '[' ||
           c == ']';
}

/* As a browser writes it: in small letters, without a path, and without the port that the scheme has anyway.
 */
static bool origin_valid(struct span origin)
{
    struct span rest = origin;
    bool secure = span_starts(rest, SPAN("https://"));
    size_t scheme = secure ? 8 : 7;
    if (!secure && !span_starts(rest, SPAN("http://")))
        return false;
    rest = (struct span){rest.ptr + scheme, rest.len - scheme};
    for (size_t i = 0; i < rest.len; i++)
        if (!host_char(rest.ptr[i]))
            return false;
    struct span port = secure ? SPAN(":443") : SPAN(":80");
    bool named = rest.len >= port.len && memcmp(rest.ptr + rest.len - port.len, port.ptr, port.len) == 0;
    return rest.len > 0 && rest.ptr[0] != ':' && rest.ptr[rest.len - 1] != ':' && !named;
}

bool http_origins_valid(const char *list)
{
    struct span rest = span_of(list);
    if (rest.len == 0)
        return true;
    while (rest.ptr)
        if (!origin_valid(http_trim(span_cut(&rest, ','))))
            return false;
    return true;
}

/* The one Origin of the request where it is configured, else absent. */
static struct span origin_of(const struct http_request *request)
{
    const struct span none = {NULL, 0};
    struct span origin = http_header(request, "Origin");
    struct span rest = span_of(request->server->options.cors_origins);
    if (origin.len == 0 || http_header_nth(request, "Origin", 1).ptr)
        return none;
    while (rest.ptr)
        if (span_equal(http_trim(span_cut(&rest, ',')), origin))
            return origin;
    return none;
}

static bool has_field(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->added_count; i++)
        if (strcmp(request->added[i].name, name) == 0)
            return true;
    return false;
}

static void line(struct buf *out, const char *name, struct span value)
{
    buf_append_text(out, name);
    buf_append_text(out, ": ");
    buf_append_span(out, value);
    buf_append_text(out, "\r\n");
}

void http_cors_append(const struct http_request *request, struct buf *out)
{
    const char *origins = request->server->options.cors_origins;
    if (!origins || !*origins || has_field(request, "Access-Control-Allow-Origin"))
        return;
    line(out, "Vary", SPAN("Origin"));
    struct span origin = origin_of(request);
    if (!origin.ptr)
        return;
    line(out, "Access-Control-Allow-Origin", origin);
    line(out, "Access-Control-Expose-Headers", span_of(exposed_fields));
}

static void answer_options(struct http_request *request, void *context)
{
    const char *origins = request->server->options.cors_origins;
    (void)context;
    if (request->allow[0])
        http_add_header(request, "Allow", span_of(request->allow));
    if (origins && *origins && http_header(request, "Access-Control-Request-Method").ptr &&
        origin_of(request).ptr) {
        http_add_header(request, "Access-Control-Allow-Methods", span_of(request->allow));
        http_add_header(request, "Access-Control-Allow-Headers", span_of(allowed_fields));
        http_add_header(request, "Access-Control-Max-Age", span_of(preflight_s));
    }
    http_reply(request, 204);
}

void http_options_init(struct http_endpoint *endpoint)
{
    static const struct http_route route = {.pattern = "*", .handler = answer_options};
    endpoint->route = &route;
    endpoint->body_max = HTTP_BODY_DEFAULT_MAX;
    http_endpoint_measure(endpoint, "OPTIONS");
}
