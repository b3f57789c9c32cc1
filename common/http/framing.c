/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request begins and ends: heads (RFC 9112 sections 2 to 7, RFC 9110 section 5) and chunked bodies,
 * read strictly and in one pass over the bytes as they came. Strictly, because two programs that disagree
 * about where a request ends can be made to disagree about who sent the next one (request smuggling). What is
 * not exactly as the grammar has it is refused, and nothing after it is read. Pure: no sockets. */
#include "common/http/internal.h"

#include <strings.h>

enum { VERSION_LEN = 8, CHUNK_DIGITS_MAX = 15, METHOD_LEN_MAX = 32 };

/* --- Characters --- */

/* tchar of RFC 9110; bytes above 127 and NUL are not. */
static const bool token_char[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1,
    ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1,  ['0'] = 1, ['1'] = 1, ['2'] = 1,
    ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1,  ['9'] = 1, ['A'] = 1, ['B'] = 1,
    ['C'] = 1, ['D'] = 1, ['E'] = 1, ['F'] = 1, ['G'] = 1, ['H'] = 1,  ['I'] = 1, ['J'] = 1, ['K'] = 1,
    ['L'] = 1, ['M'] = 1, ['N'] = 1, ['O'] = 1, ['P'] = 1, ['Q'] = 1,  ['R'] = 1, ['S'] = 1, ['T'] = 1,
    ['U'] = 1, ['V'] = 1, ['W'] = 1, ['X'] = 1, ['Y'] = 1, ['Z'] = 1,  ['a'] = 1, ['b'] = 1, ['c'] = 1,
    ['d'] = 1, ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1,  ['j'] = 1, ['k'] = 1, ['l'] = 1,
    ['m'] = 1, ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1,  ['s'] = 1, ['t'] = 1, ['u'] = 1,
    ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1};

static size_t token_len(struct span text)
{
    size_t len = 0;
    while (len < text.len && token_char[(unsigned char)text.ptr[len]])
        len++;
    return len;
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

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct span http_trim(struct span text)
{
    while (text.len && is_blank(text.ptr[0]))
        text = (struct span){text.ptr + 1, text.len - 1};
    while (text.len && is_blank(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

bool http_text_is(struct span text, const char *want)
{
    size_t len = strlen(want);
    return text.len == len && strncasecmp(text.ptr, want, len) == 0;
}

/* Up to the next comma that no quoted string has. */
static size_t item_len(struct span text)
{
    bool quoted = false;
    size_t len = 0;
    for (; len < text.len && (quoted || text.ptr[len] != ','); len++) {
        if (text.ptr[len] == '"')
            quoted = !quoted;
        else if (quoted && text.ptr[len] == '\\' && len + 1 < text.len)
            len++;
    }
    return len;
}

struct span http_list_next(struct span *rest)
{
    struct span item = {NULL, 0};
    while (rest->ptr && item.len == 0) {
        size_t len = item_len(*rest);
        item = http_trim((struct span){rest->ptr, len});
        *rest = len < rest->len ? (struct span){rest->ptr + len + 1, rest->len - len - 1}
                                : (struct span){NULL, 0};
    }
    return item.len ? item : (struct span){NULL, 0};
}

/* uri-host [":" port] of RFC 3986, as far as its characters go: nothing that ends an authority, no user, no
 * list. An empty one is what a request without authority has. */
static bool host_valid(struct span host)
{
    static const char allowed[] = "-._~!$&'()*+;=:%[]";
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alphanumeric && (c == '\0' || !memchr(allowed, c, sizeof allowed - 1)))
            return false;
    }
    return true;
}

/* --- The request line --- */

static bool fault(struct http_request *request, const char *detail)
{
    http_refuse_and_close(request, &problem_malformed_request, HTTP_REASON_FRAMING, detail);
    return false;
}

/* HTTP/1.2 and later mean to a server what HTTP/1.1 means; another major version it does not speak. */
static bool version_read(struct http_request *request, struct span text)
{
    bool version = text.len == VERSION_LEN && memcmp(text.ptr, "HTTP/", 5) == 0 && text.ptr[6] == '.' &&
                   text.ptr[5] >= '1' && text.ptr[5] <= '9' && text.ptr[7] >= '0' && text.ptr[7] <= '9';
    if (!version)
        return fault(request, "the request line is not method, target and HTTP/1.1, one blank apart");
    if (text.ptr[5] != '1') {
        http_refuse_and_close(request, &problem_http_version, HTTP_REASON_FRAMING, NULL);
        return false;
    }
    request->http_1_0 = request->closes = text.ptr[7] == '0';
    return true;
}

static bool request_line_read(struct http_request *request, struct span line)
{
    size_t len = token_len(line);
    struct span method = {line.ptr, len};
    request->method = http_method_of(method);
    request->is_head = span_is(method, "HEAD");
    request->is_options = span_is(method, "OPTIONS");
    if (len == 0 || len > METHOD_LEN_MAX || len == line.len || line.ptr[len] != ' ')
        return fault(request, "the request line does not begin with a method and one blank");
    struct span rest = {line.ptr + len + 1, line.len - len - 1};
    struct span target = span_cut(&rest, ' ');
    if (!rest.ptr || target.len == 0)
        return fault(request, "the request line is not method, target and HTTP/1.1, one blank apart");
    request->target_at = (size_t)(target.ptr - request->head);
    request->target_len = target.len;
    return version_read(request, rest);
}

/* --- Fields --- */

/* `raw` is the value with the blanks behind it, which the fields that frame a body may not have. */
static bool framing_field_read(struct http_request *request, struct span name, struct span value,
                               struct span raw)
{
    if (http_text_is(name, "content-length")) {
        if (request->framed++)
            return fault(request, "more than one Content-Length or Transfer-Encoding");
        if (!parse_u64(raw, INT64_MAX, &request->content_length))
            return fault(request, "Content-Length is not a plain decimal number");
    } else if (http_text_is(name, "transfer-encoding")) {
        if (request->framed++)
            return fault(request, "more than one Content-Length or Transfer-Encoding");
        if (request->http_1_0 || !http_text_is(raw, "chunked"))
            return fault(request, "the only Transfer-Encoding understood is chunked, with HTTP/1.1");
        request->chunked = true;
    } else if (http_text_is(name, "host")) {
        if (request->hosts++ || !host_valid(value))
            return fault(request, "exactly one Host header is required, and it names a host");
    } else if (http_text_is(name, "expect")) {
        request->expects_continue = !request->http_1_0; /* or anything else, see screen.c */
    } else if (http_text_is(name, "connection")) {
        for (struct span item = http_list_next(&value); item.ptr; item = http_list_next(&value)) {
            if (http_text_is(item, "close"))
                request->closes = request->close_asked = true;
            else if (request->http_1_0 && http_text_is(item, "keep-alive"))
                request->closes = request->close_asked;
        }
    }
    return true;
}

static bool field_read(struct http_request *request, struct span line)
{
    size_t len = token_len(line);
    if (len == 0 || len == line.len || line.ptr[len] != ':')
        return fault(request, "a header line is not a name, a colon and a value, or is folded");
    struct span name = {line.ptr, len}, raw = {line.ptr + len + 1, line.len - len - 1};
    if (!value_valid(raw))
        return fault(request, "a header value has characters that are not allowed there");
    if (request->fields_count == HTTP_HEADERS_MAX) {
        http_refuse_and_close(request, &problem_headers_too_large, HTTP_REASON_HEADERS, NULL);
        return false;
    }
    struct span value = http_trim(raw);
    while (raw.len && is_blank(raw.ptr[0]))
        raw = (struct span){raw.ptr + 1, raw.len - 1};
    request->fields[request->fields_count++] = (struct http_field){
        .name_at = (uint16_t)(name.ptr - request->head),
        .name_len = (uint16_t)name.len,
        .value_at = (uint16_t)((value.len ? value.ptr : name.ptr) - request->head),
        .value_len = (uint16_t)value.len,
    };
    return framing_field_read(request, name, value, raw);
}

static bool head_end(struct http_request *request)
{
    return request->hosts || request->http_1_0 ||
           fault(request, "exactly one Host header is required, and it names a host");
}

static bool line_read(struct http_request *request, struct span line)
{
    if (request->lines++ == 0)
        return request_line_read(request, line);
    return line.len ? field_read(request, line) : head_end(request);
}

enum http_reading http_head_read(struct http_request *request, const char *data, size_t len)
{
    size_t max = request->server->options.header_bytes_max;
    request->head = data;
    for (;;) {
        size_t at = request->head_len;
        const char *end = len > at ? memchr(data + at, '\n', len - at) : NULL;
        if (!end && len <= max)
            return HTTP_READING_MORE;
        if (!end || (size_t)(end + 1 - data) > max) {
            http_refuse_and_close(request, &problem_headers_too_large, HTTP_REASON_HEADERS, NULL);
            return HTTP_READING_FAULT;
        }
        struct span line = {data + at, (size_t)(end - data) - at};
        if (line.len == 0 || line.ptr[line.len - 1] != '\r') {
            fault(request, "a line does not end with CRLF");
            return HTTP_READING_FAULT;
        }
        line.len--;
        request->head_len = (size_t)(end + 1 - data);
        if (!line_read(request, line))
            return HTTP_READING_FAULT;
        if (line.len == 0)
            return HTTP_READING_DONE;
    }
}

/* --- Chunked bodies --- */

/* Cuts a line that CRLF ends off `in`; ptr NULL where there is none yet. */
static struct span line_cut(struct span *in)
{
    const char *end = in->len ? memchr(in->ptr, '\n', in->len) : NULL;
    struct span line = {NULL, 0};
    if (!end)
        return line;
    line = (struct span){in->ptr, (size_t)(end - in->ptr)};
    *in = (struct span){end + 1, in->len - line.len - 1};
    return line;
}

static bool chunk_size_read(struct http_request *request, struct span line)
{
    uint64_t size = 0;
    size_t len = 0;
    for (int digit; len < line.len && (digit = hex_digit(line.ptr[len])) >= 0; len++) {
        if (len >= CHUNK_DIGITS_MAX) {
            http_refuse_and_close(request, &problem_body_too_large, HTTP_REASON_BODY, NULL);
            return false;
        }
        size = size << 4 | (unsigned)digit;
    }
    struct span extension = {line.ptr + len, line.len - len};
    if (len == 0 || (extension.len && extension.ptr[0] != ';') || !value_valid(extension))
        return fault(request, "a chunk does not begin with its size in hex digits");
    request->chunk_left = size;
    request->chunk_state = size ? HTTP_CHUNK_DATA : HTTP_CHUNK_TRAILER;
    return true;
}

/* A trailer says nothing that this server would use; it must be well-formed all the same. */
static bool trailer_read(struct http_request *request, struct span line)
{
    size_t len = token_len(line);
    struct span value = {line.ptr + len, line.len - len};
    if (line.len && (len == 0 || value.len == 0 || value.ptr[0] != ':' || !value_valid(value)))
        return fault(request, "a trailer line is not a name, a colon and a value, or is folded");
    if (line.len == 0)
        request->chunk_state = HTTP_CHUNK_END;
    return true;
}

static bool chunk_end_read(struct http_request *request, struct span line)
{
    request->chunk_state = HTTP_CHUNK_SIZE;
    return line.len == 0 || fault(request, "a chunk is longer than its size");
}

static enum http_reading chunk_line_read(struct http_request *request, struct span *in)
{
    size_t before = in->len;
    struct span line = line_cut(in);
    request->chunk_overhead += before - in->len;
    if (!line.ptr && in->len <= HTTP_CHUNK_LINE_MAX)
        return HTTP_READING_MORE;
    if (!line.ptr ||
        request->chunk_overhead > request->body_len + request->dropped + HTTP_CHUNK_OVERHEAD_MAX) {
        fault(request, "chunks have more around them than in them");
        return HTTP_READING_FAULT;
    }
    if (line.len == 0 || line.ptr[line.len - 1] != '\r') {
        fault(request, "a line does not end with CRLF");
        return HTTP_READING_FAULT;
    }
    line.len--;
    bool good;
    if (request->chunk_state == HTTP_CHUNK_SIZE)
        good = chunk_size_read(request, line);
    else if (request->chunk_state == HTTP_CHUNK_TRAILER)
        good = trailer_read(request, line);
    else
        good = chunk_end_read(request, line);
    return good ? HTTP_READING_DONE : HTTP_READING_FAULT;
}

enum http_reading http_chunks_read(struct http_request *request, struct span *in, struct span *ret_data)
{
    *ret_data = (struct span){NULL, 0};
    while (request->chunk_state != HTTP_CHUNK_END) {
        if (request->chunk_state != HTTP_CHUNK_DATA) {
            enum http_reading read = chunk_line_read(request, in);
            if (read != HTTP_READING_DONE)
                return read;
            continue;
        }
        if (in->len == 0)
            return HTTP_READING_MORE;
        size_t len = in->len < request->chunk_left ? in->len : (size_t)request->chunk_left;
        *ret_data = (struct span){in->ptr, len};
        *in = (struct span){in->ptr + len, in->len - len};
        request->chunk_left -= len;
        if (request->chunk_left == 0)
            request->chunk_state = HTTP_CHUNK_DATA_END;
        return HTTP_READING_PART;
    }
    return HTTP_READING_DONE;
}
