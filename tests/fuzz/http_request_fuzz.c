/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of requests, cut into strings where they lie as libmicrohttpd does it, through all of the screening:
 * framing, target, route, key, query. What is let through has the one framing it may have. */
#include "common/base/mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/http_room.h"

/* Ends the string before the next separator and says where the next begins; NULL: there is none. */
static char *cut(char *at, const char *separator)
{
    char *end = strstr(at, separator);
    if (!end)
        return NULL;
    *end = '\0';
    return end + strlen(separator);
}

static void take_headers(struct http_request *request, char *line)
{
    while (line && *line && strncmp(line, "\r\n", 2) != 0) {
        char *next = cut(line, "\r\n"), *value = strchr(line, ':');
        if (value)
            *value++ = '\0';
        while (value && (*value == ' ' || *value == '\t'))
            value++;
        if (request->headers_count < HTTP_HEADERS_MAX)
            request->headers[request->headers_count] =
                (struct http_pair){span_of(line), span_of(value ? value : "")};
        request->headers_count++;
        line = next;
    }
}

static void look(struct http_request *request)
{
    uint8_t trace[24];
    CHECK(request->content_length <= request->endpoint->body_max);
    CHECK(!request->chunked || request->content_length == 0);
    CHECK(http_path(request).len >= 1 && http_path(request).ptr[0] == '/');
    CHECK(http_target(request).len <= request->target_len);
    (void)http_trace(request, trace);
    (void)http_query(request, "limit");
    (void)http_header_nth(request, "traceparent", 1);
}

FUZZ_TARGET(http_request)
{
    struct http_request request;
    char *text = mem_alloc(size + 1);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    char *url = cut(text, " "), *version = url ? cut(url, " ") : NULL,
         *headers = version ? cut(version, "\r\n") : NULL;
    if (headers) {
        http_request_init(&request, room_server());
        http_request_begin(&request, url);
        request.head = (struct http_head){text, url, version, size};
        request.endpoint = &request.server->unrouted;
        take_headers(&request, headers);
        http_screen(&request, text);
        if (!request.refusal)
            look(&request);
        http_request_end(&request);
        http_request_deinit(&request);
    }
    mem_free(text);
    return 0;
}
