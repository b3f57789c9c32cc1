/* SPDX-License-Identifier: Apache-2.0 */
/* The answer parser. It looks for the end of the head first and then reads it once, line by line; answers are
 * a few hundred bytes, so starting over when more arrives costs nothing. */
#include "bench/load/http_response.h"

#include <strings.h>

enum { STATUS_LINE_MIN = sizeof "HTTP/1.1 200 " - 1 };

struct head {
    struct http_response *response;
    uint64_t length;
    bool length_known;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 201 Created"; the reason may be empty, its space may not be missing. */
static bool read_status_line(struct span line, int *ret)
{
    if (line.len < STATUS_LINE_MIN || !span_starts(line, SPAN("HTTP/1.1 ")) || line.ptr[12] != ' ')
        return false;
    const char *code = line.ptr + 9;
    if (!is_digit(code[0]) || !is_digit(code[1]) || !is_digit(code[2]))
        return false;
    *ret = (code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0');
    return *ret >= 200 && *ret <= 599; /* 1xx was never asked for */
}

static bool is_token_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static bool name_is(struct span name, struct span wanted)
{
    return name.len == wanted.len && strncasecmp(name.ptr, wanted.ptr, wanted.len) == 0;
}

static struct span trim(struct span value)
{
    while (value.len && (value.ptr[0] == ' ' || value.ptr[0] == '\t'))
        value = (struct span){value.ptr + 1, value.len - 1};
    while (value.len && (value.ptr[value.len - 1] == ' ' || value.ptr[value.len - 1] == '\t'))
        value.len--;
    return value;
}

static bool read_length(struct head *head, struct span value)
{
    bool first = !head->length_known;
    head->length_known = true;
    return first && parse_u64(value, INT64_MAX, &head->length);
}

static void read_retry_after(struct http_response *response, struct span value)
{
    uint64_t seconds;
    if (parse_u64(value, 86400, &seconds)) /* a date is allowed too; nobody here sends one */
        response->retry_after_s = (int64_t)seconds;
}

static bool read_header(struct head *head, struct span name, struct span value)
{
    if (name_is(name, SPAN("Content-Length")))
        return read_length(head, value);
    if (name_is(name, SPAN("Transfer-Encoding")))
        return false;
    if (name_is(name, SPAN("Connection")))
        head->response->close = name_is(value, SPAN("close"));
    else if (name_is(name, SPAN("Idempotency-Replayed")))
        head->response->replayed = span_is(value, "true");
    else if (name_is(name, SPAN("Consistency-Token")))
        head->response->token = value;
    else if (name_is(name, SPAN("Cache-Status")))
        head->response->cache = value;
    else if (name_is(name, SPAN("Retry-After")))
        read_retry_after(head->response, value);
    return true;
}

static bool read_header_line(struct head *head, struct span line)
{
    size_t len = 0;
    while (len < line.len && is_token_char(line.ptr[len]))
        len++;
    if (len == 0 || len == line.len || line.ptr[len] != ':')
        return false;
    for (size_t i = len; i < line.len; i++)
        if ((unsigned char)line.ptr[i] < ' ' && line.ptr[i] != '\t')
            return false;
    struct span value = trim((struct span){line.ptr + len + 1, line.len - len - 1});
    return read_header(head, (struct span){line.ptr, len}, value);
}

/* The next line of a head that is known to end in "\r\n", without its end. A lone CR or LF stays in the line
 * and is refused there. */
static struct span take_line(struct span *rest)
{
    const char *end = memmem(rest->ptr, rest->len, "\r\n", 2);
    CHECK(end != NULL);
    struct span line = {rest->ptr, (size_t)(end - rest->ptr)};
    *rest = (struct span){end + 2, rest->len - line.len - 2};
    return line;
}

static bool read_head(struct span text, struct head *head)
{
    struct span line = take_line(&text);
    if (memchr(line.ptr, '\n', line.len) || !read_status_line(line, &head->response->status))
        return false;
    while (text.len)
        if (!read_header_line(head, take_line(&text)))
            return false;
    bool bodiless = head->response->status == 204 || head->response->status == 304;
    if (bodiless)
        head->length = 0; /* a 304 may say how long the body would be */
    return head->length_known || bodiless;
}

enum response_progress http_response_parse(struct span input, size_t body_max, struct http_response *ret,
                                           size_t *used)
{
    struct head head = {.response = ret};
    *ret = (struct http_response){0};
    size_t look = input.len < RESPONSE_HEAD_MAX ? input.len : RESPONSE_HEAD_MAX;
    const char *end = memmem(input.ptr, look, "\r\n\r\n", 4);
    if (!end)
        return input.len < RESPONSE_HEAD_MAX ? RESPONSE_NEED_MORE : RESPONSE_MALFORMED;
    size_t head_len = (size_t)(end - input.ptr) + 4;
    if (!read_head((struct span){input.ptr, head_len - 2}, &head) || head.length > body_max)
        return RESPONSE_MALFORMED;
    if (input.len - head_len < head.length)
        return RESPONSE_NEED_MORE;
    ret->body = (struct span){input.ptr + head_len, (size_t)head.length};
    *used = head_len + (size_t)head.length;
    return RESPONSE_COMPLETE;
}
