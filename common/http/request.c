/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers read from a request and write into its answer, and the life of a request object, which
 * belongs to a connection and is used again for each request on it. No sockets. */
#include <strings.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/http/internal.h"

/* --- Life --- */

void http_request_init(struct http_request *request, struct http_server *server)
{
    memset(request, 0, sizeof *request);
    request->server = server;
    buf_init(&request->reply, HTTP_REPLY_MAX);
    buf_init(&request->added_text, HTTP_ADDED_BYTES);
}

static void buf_retire(struct buf *buf)
{
    if (buf->capacity > HTTP_KEEP_BYTES)
        buf_deinit(buf);
    else
        buf_clear(buf);
}

void http_answer_release(struct http_request *request)
{
    if (request->shared.release)
        request->shared.release(request->shared.owner);
    memset(&request->shared, 0, sizeof request->shared);
    if (request->stream.release)
        request->stream.release(request->stream.owner);
    memset(&request->stream, 0, sizeof request->stream);
    request->head_sent = false;
}

void http_request_end(struct http_request *request)
{
    mem_free(request->body_own);
    request->body_own = NULL;
    request->body = NULL;
    request->body_size = 0;
    buf_retire(&request->reply);
    buf_retire(&request->added_text);
    request->endpoint = NULL;
    request->key = NULL;
    request->head = NULL;
    request->head_len = request->target_len = request->decoded_len = request->body_len = request->dropped = 0;
    request->lines = request->framed = request->hosts = 0;
    request->is_options = false;
    request->is_head = request->http_1_0 = request->closes = request->close_asked = false;
    request->expects_continue = request->chunked = false;
    request->content_length = 0;
    request->chunk_state = HTTP_CHUNK_SIZE;
    request->chunk_left = request->chunk_overhead = 0;
    memset(request->params, 0, sizeof request->params);
    request->query_count = request->fields_count = request->added_count = 0;
    http_answer_release(request);
    request->may_wait = request->waits = false;
    request->refusal = NULL;
    request->refusal_retry_ms = 0;
    request->refusal_closes = request->deferred = request->answered = false;
    request->status = 0;
}

void http_request_deinit(struct http_request *request)
{
    mem_free(request->decoded);
    mem_free(request->body_own);
    buf_deinit(&request->reply);
    buf_deinit(&request->added_text);
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Unique enough to find a request in the logs, not a secret: a counter from a random start per thread, mixed
 * (splitmix64) and keyed so that one id does not give away the next. */
void http_request_set_id(struct http_request *request)
{
    static _Thread_local struct {
        uint64_t counter, key;
    } state;
    static const char digits[] = "0123456789abcdef";
    if (state.key == 0)
        crypto_random(&state, sizeof state);
    state.counter += 0x9E3779B97F4A7C15u;
    uint64_t id = mix(mix(state.counter) ^ state.key);
    for (size_t i = HTTP_REQUEST_ID_LEN; i > 0; i--, id >>= 4)
        request->id[i - 1] = digits[id & 15];
}

/* --- Reading --- */

struct span http_param(const struct http_request *request, size_t index)
{
    CHECK(index < HTTP_PARAMS_MAX);
    return request->params[index];
}

struct span http_query(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->query_count; i++)
        if (span_is(request->query[i].name, name))
            return request->query[i].value;
    return (struct span){NULL, 0};
}

static bool query_known(const struct http_request *request, size_t index, const char *const *known)
{
    struct span name = request->query[index].name;
    for (size_t i = 0; i < index; i++)
        if (span_equal(name, request->query[i].name))
            return false;
    for (size_t i = 0; known[i]; i++)
        if (span_is(name, known[i]))
            return true;
    return false;
}

bool http_query_only(struct http_request *request, const char *const *known)
{
    for (size_t i = 0; i < request->query_count; i++) {
        if (query_known(request, i, known))
            continue;
        http_problem(request,
                     &(struct problem_detail){.problem = &problem_invalid_parameter,
                                              .detail = "the parameter is unknown here, or there twice",
                                              .field = request->query[i].name});
        return false;
    }
    return true;
}

struct span http_header_nth(const struct http_request *request, const char *name, size_t nth)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < request->fields_count; i++) {
        const struct http_field *field = &request->fields[i];
        if (field->name_len != len || strncasecmp(request->head + field->name_at, name, len) != 0)
            continue;
        if (nth-- == 0)
            return (struct span){request->head + field->value_at, field->value_len};
    }
    return (struct span){NULL, 0};
}

struct span http_header(const struct http_request *request, const char *name)
{
    return http_header_nth(request, name, 0);
}

struct span http_body(const struct http_request *request)
{
    return (struct span){request->body_len ? request->body : "", request->body_len};
}

/* Path and query lie behind each other in the head, with the '?' in between. */
const struct api_key *http_key(const struct http_request *request)
{
    return request->key;
}

const char *http_request_id(const struct http_request *request)
{
    return request->id;
}

int64_t http_received_us(const struct http_request *request)
{
    return request->received_us;
}

int64_t http_arrived_us(const struct http_request *request)
{
    return request->arrived_us;
}

const struct http_route *http_route_of(const struct http_request *request)
{
    return request->endpoint->route;
}

/* hex_decode takes capitals, which the trace context does not allow. */
static bool trace_hex(struct span text, uint8_t *ret, size_t len)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] >= 'A' && text.ptr[i] <= 'F')
            return false;
    return hex_decode(text, ret, len);
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= bytes[i];
    return any == 0;
}

/* W3C Trace Context: version "00" has exactly four parts; a later version may have more after them. */
static bool trace_parse(const struct http_request *request, uint8_t ret[24], uint8_t *ret_flags)
{
    enum { VERSION_00_LEN = 55 };
    struct span text = http_header(request, "traceparent"), rest = text;
    uint8_t version, flags, ids[24];
    if (!text.ptr)
        return false;
    struct span part[4];
    for (size_t i = 0; i < COUNT_OF(part); i++)
        part[i] = span_cut(&rest, '-');
    if (!part[3].ptr || !trace_hex(part[0], &version, 1) || !trace_hex(part[3], &flags, 1))
        return false;
    if (version == 0xFF || (version == 0 && text.len != VERSION_00_LEN))
        return false;
    if (!trace_hex(part[1], ids, 16) || !trace_hex(part[2], ids + 16, 8))
        return false;
    if (all_zero(ids, 16) || all_zero(ids + 16, 8))
        return false;
    memcpy(ret, ids, sizeof ids);
    *ret_flags = flags;
    return true;
}

bool http_trace(const struct http_request *request, uint8_t ret[24])
{
    uint8_t flags;
    return trace_parse(request, ret, &flags);
}

bool http_trace_sampled(const struct http_request *request)
{
    uint8_t ids[24], flags;
    return trace_parse(request, ids, &flags) && (flags & 1) != 0;
}

/* --- Answering --- */

void http_add_header(struct http_request *request, const char *name, struct span value)
{
    CHECK(request->added_count < HTTP_ADDED_MAX);
    CHECK(!value.len || (!memchr(value.ptr, '\r', value.len) && !memchr(value.ptr, '\n', value.len) &&
                         !memchr(value.ptr, '\0', value.len)));
    request->added[request->added_count].name = name;
    request->added[request->added_count].at = request->added_text.len;
    request->added_count++;
    buf_append_span(&request->added_text, value);
    buf_append(&request->added_text, "", 1);
    CHECK(!request->added_text.overflow);
}

struct buf *http_reply_body(struct http_request *request)
{
    return &request->reply;
}

void http_reply(struct http_request *request, int status)
{
    http_reply_as(request, status, "application/json");
}

void http_problem(struct http_request *request, const struct problem_detail *detail)
{
    buf_clear(&request->reply);
    problem_write(&request->reply, detail);
    if (detail->retry_after_ms > 0) {
        char seconds[24];
        snprintf(seconds, sizeof seconds, "%lld", (long long)((detail->retry_after_ms + 999) / 1000));
        http_add_header(request, "Retry-After", span_of(seconds));
    }
    http_reply_as(request, detail->problem->status, "application/problem+json");
}

void http_defer(struct http_request *request)
{
    CHECK(((struct http_conn *)request)->phase == HTTP_PHASE_HANDLER); /* its first member */
    CHECK(!request->deferred && !request->answered);
    request->deferred = true;
}

void http_reply_as(struct http_request *request, int status, const char *content_type)
{
    CHECK(!request->answered);
    if (request->reply.overflow) {
        http_fail(request, &problem_internal, "the answer is too large");
        return;
    }
    request->status = status;
    request->content_type = content_type;
    request->answered = true;
    if (request->deferred)
        http_loop_answered(request);
}

void http_fail(struct http_request *request, const struct problem *problem, const char *detail)
{
    http_problem(request, &(struct problem_detail){.problem = problem, .detail = detail});
}

void http_reply_shared(struct http_request *request, int status, const char *content_type, struct span body,
                       void (*release)(void *owner), void *owner)
{
    request->shared.body = body;
    request->shared.release = release;
    request->shared.owner = owner;
    http_reply_as(request, status, content_type);
}

void http_reply_stream(struct http_request *request, int status, const char *content_type,
                       enum http_piece piece, const struct http_stream *stream)
{
    CHECK(piece != HTTP_PIECE_BROKEN && request->reply.len < HTTP_PIECE_MAX);
    request->stream = *stream;
    request->piece = piece;
    http_reply_as(request, status, content_type);
}

void http_reply_piece(struct http_request *request, enum http_piece piece)
{
    CHECK(request->stream.release && request->deferred && !request->answered);
    CHECK(request->reply.len < HTTP_PIECE_MAX);
    request->piece = piece;
    request->answered = true;
    http_loop_answered(request);
}

bool http_stream_is_late(const struct http_request *request, int64_t now_us)
{
    return request->stream.release && now_us >= request->stream.deadline_us;
}

struct span http_answer_body(const struct http_request *request)
{
    return request->shared.release ? request->shared.body : buf_span(&request->reply);
}

void http_refusal_reply(struct http_request *request)
{
    http_problem(request, &(struct problem_detail){.problem = request->refusal,
                                                   .detail = request->refusal_detail,
                                                   .retry_after_ms = request->refusal_retry_ms});
}

/* RFC 9110 wants a Date on refusals too. Made once a second by each thread. */
static void date_append(struct buf *out)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    static _Thread_local char text[48];
    static _Thread_local time_t made;
    time_t seconds = (time_t)(clock_wall_us() / US_PER_S);
    struct tm tm;
    if (made != seconds) {
        CHECK(gmtime_r(&seconds, &tm));
        snprintf(text, sizeof text, "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n", days[tm.tm_wday],
                 tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
        made = seconds;
    }
    buf_append_text(out, text);
}

static void line_append(struct buf *out, const char *name, const char *value)
{
    buf_append_text(out, name);
    buf_append_text(out, ": ");
    buf_append_text(out, value);
    buf_append_text(out, "\r\n");
}

static const char *status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {{200, "OK"},
                 {201, "Created"},
                 {202, "Accepted"},
                 {204, "No Content"},
                 {304, "Not Modified"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {408, "Request Timeout"},
                 {409, "Conflict"},
                 {410, "Gone"},
                 {412, "Precondition Failed"},
                 {413, "Content Too Large"},
                 {415, "Unsupported Media Type"},
                 {417, "Expectation Failed"},
                 {422, "Unprocessable Content"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {500, "Internal Server Error"},
                 {501, "Not Implemented"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"},
                 {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "";
}

/* Without printf: a refusal must be far cheaper than what it refuses. */
void http_answer_head(const struct http_request *request, bool closes, struct buf *out)
{
    struct span body = http_answer_body(request);
    buf_append_text(out, "HTTP/1.1 ");
    buf_append_u64(out, (uint64_t)request->status);
    buf_append_char(out, ' ');
    buf_append_text(out, status_text(request->status));
    buf_append_text(out, "\r\n");
    date_append(out);
    if (closes)
        line_append(out, "Connection", "close");
    else if (request->http_1_0)
        line_append(out, "Connection", "keep-alive");
    line_append(out, "X-Request-Id", request->id);
    if (body.len || request->stream.release)
        line_append(out, "Content-Type", request->content_type);
    for (size_t i = 0; i < request->added_count; i++)
        line_append(out, request->added[i].name, request->added_text.data + request->added[i].at);
    http_cors_append(request, out);
    if (request->stream.release) {
        if (!request->http_1_0)
            line_append(out, "Transfer-Encoding", "chunked");
    } else if (request->status != 204 && request->status != 304) {
        buf_append_text(out, "Content-Length: ");
        buf_append_u64(out, body.len);
        buf_append_text(out, "\r\n");
    }
    buf_append_text(out, "\r\n");
    CHECK(!out->overflow);
}

/* An empty chunk would be the end (RFC 9112, 7.1). */
void http_piece_head(const struct http_request *request, struct buf *out)
{
    if (request->http_1_0 || request->reply.len == 0)
        return;
    buf_printf(out, "%zx\r\n", request->reply.len);
    CHECK(!out->overflow);
}

struct span http_piece_tail(const struct http_request *request)
{
    bool empty = request->reply.len == 0;
    if (request->http_1_0 || !request->stream.release)
        return SPAN("");
    if (request->piece == HTTP_PIECE_LAST)
        return empty ? SPAN("0\r\n\r\n") : SPAN("\r\n0\r\n\r\n");
    return empty ? SPAN("") : SPAN("\r\n");
}
