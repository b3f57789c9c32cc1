/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets and route tables: splitting and strict percent-decoding of what a client sent, and finding
 * the route it means. Pure: no sockets. */
#include "common/http/internal.h"

#include <strings.h>

#include "common/base/mem.h"

static const char *const method_names[HTTP_METHODS] = {[HTTP_GET] = "GET",
                                                       [HTTP_POST] = "POST",
                                                       [HTTP_PUT] = "PUT",
                                                       [HTTP_PATCH] = "PATCH",
                                                       [HTTP_DELETE] = "DELETE"};

unsigned http_method_of(struct span name)
{
    for (unsigned method = 0; method < HTTP_METHODS; method++)
        if (span_is(name, method_names[method]))
            return method;
    return span_is(name, "HEAD") ? (unsigned)HTTP_GET : (unsigned)HTTP_METHOD_UNKNOWN;
}

/* --- Route tables --- */

static bool pattern_split(const char *pattern, struct http_shape *shape)
{
    struct span rest = span_of(pattern);
    size_t params = 0;
    if (rest.len < 2 || span_cut(&rest, '/').len != 0)
        return false;
    while (rest.ptr) {
        struct span segment = span_cut(&rest, '/');
        if (segment.len == 0 || shape->segments_count == HTTP_SEGMENTS_MAX)
            return false;
        bool param = segment.ptr[0] == '{';
        if (param && (segment.len < 3 || segment.ptr[segment.len - 1] != '}' || ++params > HTTP_PARAMS_MAX))
            return false;
        shape->segments[shape->segments_count++] = param ? (struct span){NULL, 0} : segment;
    }
    return true;
}

static bool segment_same(struct span a, struct span b)
{
    return (a.ptr == NULL) == (b.ptr == NULL) && span_equal(a, b);
}

static bool shape_same(const struct http_shape *a, const struct http_shape *b)
{
    if (a->segments_count != b->segments_count)
        return false;
    for (size_t i = 0; i < a->segments_count; i++)
        if (!segment_same(a->segments[i], b->segments[i]))
            return false;
    return true;
}

/* Longer paths last; of one length, the one that is literal where the other has a parameter comes first. */
static int shape_order(const void *left, const void *right)
{
    const struct http_shape *a = left, *b = right;
    if (a->segments_count != b->segments_count)
        return a->segments_count < b->segments_count ? -1 : 1;
    for (size_t i = 0; i < a->segments_count; i++) {
        bool literal_a = a->segments[i].ptr != NULL, literal_b = b->segments[i].ptr != NULL;
        if (literal_a != literal_b)
            return literal_a ? -1 : 1;
    }
    return 0;
}

static struct http_shape *shape_find(struct http_router *router, const struct http_shape *shape)
{
    for (size_t i = 0; i < router->shapes_count; i++)
        if (shape_same(&router->shapes[i], shape))
            return &router->shapes[i];
    router->shapes[router->shapes_count] = *shape;
    return &router->shapes[router->shapes_count++];
}

static bool router_add(struct http_router *router, struct http_endpoint *endpoint)
{
    struct http_shape shape = {.segments_count = 0};
    if (!endpoint->route->handler || !pattern_split(endpoint->route->pattern, &shape))
        return false;
    struct http_shape *known = shape_find(router, &shape);
    if (known->methods[endpoint->route->method])
        return false;
    known->methods[endpoint->route->method] = endpoint;
    return true;
}

void http_endpoint_measure(struct http_endpoint *endpoint, const char *name)
{
    static const char *const classes[] = {NULL, NULL, "2xx", "3xx", "4xx", "5xx"};
    struct buf labels;
    buf_init(&labels, 512);
    for (size_t class = 2; class < COUNT_OF(classes); class ++) {
        buf_clear(&labels);
        buf_printf(&labels, "route=\"%s\",code=\"%s\"", name, classes[class]);
        endpoint->requests[class] =
            metric_counter("coupon_http_requests_total", "HTTP requests answered", labels.data);
    }
    buf_clear(&labels);
    buf_printf(&labels, "route=\"%s\"", name);
    endpoint->duration = metric_histogram_seconds(
        "coupon_http_request_duration_seconds", "From the arrival of the head to a sent answer", labels.data);
    buf_deinit(&labels);
}

/* "POST /v1/campaigns/{id}" as a label: braces would end the label set for simple readers, so ":id". */
static void route_name(struct buf *name, const struct http_route *route)
{
    buf_clear(name);
    buf_append_text(name, method_names[route->method]);
    buf_append_char(name, ' ');
    for (const char *c = route->pattern; *c; c++)
        if (*c != '}')
            buf_append_char(name, *c == '{' ? ':' : *c);
}

bool http_router_init(struct http_router *router, const struct http_route *routes, size_t count, char *reason,
                      size_t reason_size)
{
    struct buf name;
    buf_init(&name, 256);
    *router = (struct http_router){.endpoints = mem_zalloc(count * sizeof *router->endpoints),
                                   .shapes = mem_zalloc(count * sizeof *router->shapes)};
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        router->endpoints[i].route = &routes[i];
        router->endpoints[i].body_max = routes[i].body_max ? routes[i].body_max : HTTP_BODY_DEFAULT_MAX;
        good = router_add(router, &router->endpoints[i]);
        route_name(&name, &routes[i]);
        if (good)
            http_endpoint_measure(&router->endpoints[i], name.data);
        else
            snprintf(reason, reason_size, "route %s is malformed or there twice", name.data);
    }
    qsort(router->shapes, router->shapes_count, sizeof *router->shapes, shape_order);
    buf_deinit(&name);
    if (!good)
        http_router_deinit(router);
    return good;
}

void http_router_deinit(struct http_router *router)
{
    mem_free(router->endpoints);
    mem_free(router->shapes);
    *router = (struct http_router){.shapes_count = 0};
}

static bool shape_matches(const struct http_shape *shape, const struct http_path *path)
{
    for (size_t i = 0; i < path->count; i++) {
        struct span want = shape->segments[i], have = path->segments[i];
        if (want.ptr ? !span_equal(want, have) : have.len == 0)
            return false;
    }
    return true;
}

static void allow_write(struct http_match *match, const bool methods[HTTP_METHODS])
{
    struct buf list;
    buf_init(&list, sizeof match->allow - 1);
    for (unsigned method = 0; method < HTTP_METHODS; method++)
        if (methods[method])
            buf_printf(&list, "%s%s%s", list.len ? ", " : "", method_names[method],
                       method == HTTP_GET ? ", HEAD" : "");
    buf_append_text(&list, ", OPTIONS");
    CHECK(!list.overflow);
    memcpy(match->allow, list.data, list.len + 1);
    buf_deinit(&list);
}

struct http_match http_router_find(const struct http_router *router, const struct http_path *path,
                                   unsigned method)
{
    struct http_match match = {.endpoint = NULL};
    bool known[HTTP_METHODS] = {false};
    for (size_t i = 0; i < router->shapes_count; i++) {
        const struct http_shape *shape = &router->shapes[i];
        if (shape->segments_count != path->count || !shape_matches(shape, path))
            continue;
        if (method < HTTP_METHODS && shape->methods[method]) {
            match.endpoint = shape->methods[method];
            match.shape = shape;
            return match;
        }
        match.path_known = true;
        for (unsigned other = 0; other < HTTP_METHODS; other++)
            known[other] |= shape->methods[other] != NULL;
    }
    if (match.path_known)
        allow_write(&match, known);
    return match;
}

/* --- Targets --- */

/* Decodes a piece of the target into memory of the request's; without an escape the piece itself is the
 * answer. `plus` is what '+' means. What is decoded is never longer than what was sent, so there is always
 * room. */
static bool decode(struct http_request *request, struct span piece, char plus, struct span *ret)
{
    *ret = piece;
    if (piece.len == 0)
        return true;
    if (!memchr(piece.ptr, '%', piece.len) && (plus == '+' || !memchr(piece.ptr, '+', piece.len)))
        return true;
    if (request->decoded_size < request->target_len) { /* enough for all pieces, so that it never moves */
        CHECK(request->decoded_len == 0);
        mem_free(request->decoded);
        request->decoded_size = request->target_len;
        request->decoded = mem_alloc(request->decoded_size);
    }
    char *to = request->decoded + request->decoded_len;
    ptrdiff_t len = percent_decode(piece, plus, to);
    if (len < 0)
        return false;
    request->decoded_len += (size_t)len;
    CHECK(request->decoded_len <= request->target_len);
    *ret = (struct span){to, (size_t)len};
    return true;
}

/* Only visible ASCII may be in a target, and no fragment. */
static bool target_clean(struct span target)
{
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.ptr[i];
        if (c <= 0x20 || c >= 0x7F || c == '#')
            return false;
    }
    return true;
}

/* A proxy sends "http://host/path": what is before the path says nothing that Host does not. */
static bool target_origin(struct span *target)
{
    static const char scheme[] = "http://";
    if (target->len && target->ptr[0] == '/')
        return true;
    if (target->len < sizeof scheme - 1 || strncasecmp(target->ptr, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *authority = target->ptr + sizeof scheme - 1;
    size_t left = target->len - (sizeof scheme - 1);
    const char *path = left ? memchr(authority, '/', left) : NULL;
    if (!path)
        return false;
    *target = (struct span){path, left - (size_t)(path - authority)};
    return true;
}

bool http_target_parse(struct http_request *request, struct http_path *path)
{
    struct span target = {request->head + request->target_at, request->target_len};
    path->count = 0;
    if (!target_clean(target) || !target_origin(&target))
        return false;
    request->path = span_cut(&target, '?');
    request->query_text = target;
    struct span rest = {request->path.ptr + 1, request->path.len - 1};
    while (rest.ptr) {
        struct span segment = span_cut(&rest, '/'), decoded;
        if (!decode(request, segment, '+', &decoded))
            return false;
        if (path->count < HTTP_SEGMENTS_MAX)
            path->segments[path->count] = decoded;
        path->count++; /* above the maximum no route matches */
    }
    return true;
}

bool http_query_parse(struct http_request *request)
{
    struct span rest = request->query_text;
    while (rest.ptr) {
        struct span value = span_cut(&rest, '&');
        if (value.len == 0)
            continue;
        if (request->query_count == HTTP_QUERY_MAX)
            return false;
        struct span name = span_cut(&value, '=');
        struct http_pair *pair = &request->query[request->query_count++];
        if (!value.ptr)
            value = SPAN("");
        if (!decode(request, name, ' ', &pair->name) || !decode(request, value, ' ', &pair->value))
            return false;
    }
    return true;
}
