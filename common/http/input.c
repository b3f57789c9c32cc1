/* SPDX-License-Identifier: Apache-2.0 */
/* From the bytes of a connection to one complete request, or its refusal.
 *
 * A refused request whose end is known keeps its connection: its body is dropped. Where the end is not known,
 * or not worth waiting for, it is answered at once, and what still comes is dropped after that. */
#include <errno.h>
#include <sys/socket.h>

#include "common/base/mem.h"
#include "common/http/internal.h"

enum { BODY_FIRST_BYTES = 16384, SCRATCH_BYTES = 16384 };

/* --- Refusals --- */

static enum http_step refuse(struct http_conn *conn)
{
    http_refusal_reply(&conn->request);
    http_output_begin(conn);
    return HTTP_STEP_ON;
}

static enum http_step refuse_and_close(struct http_conn *conn)
{
    conn->request.refusal_closes = true;
    return refuse(conn);
}

static enum http_step refuse_for_memory(struct http_conn *conn)
{
    http_refuse_and_close(&conn->request, &problem_overloaded, HTTP_REASON_MEMORY,
                          "there is no room for this request's bytes now");
    conn->request.refusal_retry_ms = 1000;
    return refuse(conn);
}

static enum http_step refuse_for_lateness(struct http_conn *conn)
{
    if (!conn->counted)
        http_count_in(conn);
    http_refuse_and_close(&conn->request, &problem_request_timeout, HTTP_REASON_SLOW, NULL);
    return refuse(conn);
}

/* --- Receiving --- */

/* HTTP_STEP_ON: something came, *ret bytes of it. */
static enum http_step receive(struct http_conn *conn, char *to, size_t room, size_t *ret)
{
    if (!conn->readable)
        return HTTP_STEP_WAIT;
    ssize_t got = recv(conn->fd, to, room, MSG_DONTWAIT);
    if (got < (ssize_t)room)
        conn->readable = conn->ended;
    if (got > 0) {
        conn->turn_bytes += (size_t)got;
        *ret = (size_t)got;
        return HTTP_STEP_ON;
    }
    return got < 0 && errno == EAGAIN ? HTTP_STEP_WAIT : HTTP_STEP_END;
}

/* Makes the memory for input larger; nothing may point into it yet. */
static bool input_grow(struct http_conn *conn, size_t size)
{
    struct http_input *input = &conn->input;
    if (size > HTTP_INPUT_BYTES && !http_hold(conn, size - input->size))
        return false;
    input->data = mem_realloc(input->data, size);
    input->size = size;
    return true;
}

static enum http_step receive_head(struct http_conn *conn)
{
    struct http_input *input = &conn->input;
    size_t got;
    if (input->start > 0 && input->end == input->size) {
        memmove(input->data, input->data + input->start, input->end - input->start);
        input->end -= input->start;
        input->start = input->used = 0;
    }
    if (input->end == input->size && !input_grow(conn, input->size ? 2 * input->size : HTTP_INPUT_BYTES)) {
        http_count_in(conn);
        return refuse_for_memory(conn);
    }
    enum http_step step = receive(conn, input->data + input->end, input->size - input->end, &got);
    if (step == HTTP_STEP_ON)
        input->end += got;
    return step;
}

/* --- Heads --- */

/* Empty lines in front of a request are allowed (RFC 9112 section 2.2). */
static void skip_empty_lines(struct http_input *input)
{
    while (input->end - input->start >= 2 && memcmp(input->data + input->start, "\r\n", 2) == 0)
        input->start += 2;
}

/* Where the client left no room for it in its socket, it waits for nothing any more. */
static bool send_continue(const struct http_conn *conn)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    return send(conn->fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof text - 1;
}

/* The head is complete and well-formed. From here on the input stays where it is until the request is over,
 * so room for what of a body is read into it is made now. */
static enum http_step head_complete(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    struct http_input *input = &conn->input;
    size_t head_end = input->start + request->head_len;
    if (request->chunked && input->size - head_end < 2 * HTTP_CHUNK_LINE_MAX &&
        !input_grow(conn, head_end + 2 * HTTP_CHUNK_LINE_MAX))
        return refuse_for_memory(conn);
    request->head = input->data + input->start;
    input->used = head_end;
    request->body = input->data + head_end;
    if (conn->from_proxy)
        conn->client = http_client_of(&request->server->proxies, request, &conn->peer);
    request->may_wait = http_loop_rations(request->loop);
    http_screen(request);
    if (request->waits) {
        http_loop_hold_back(conn);
        return HTTP_STEP_WAIT;
    }
    return http_input_admitted(conn);
}

enum http_step http_input_admitted(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    const struct http_input *input = &conn->input;
    if (request->refusal)
        http_loop_refused(request->loop);
    bool has_body = request->chunked || request->content_length > 0;
    if (request->refusal && (request->refusal_closes || (request->expects_continue && has_body) ||
                             request->content_length > HTTP_SWALLOW_MAX))
        return refuse_and_close(conn);
    if (request->expects_continue && has_body && input->used == input->end && !send_continue(conn))
        return HTTP_STEP_END;
    return HTTP_STEP_ON;
}

static enum http_step head_step(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    struct http_input *input = &conn->input;
    skip_empty_lines(input);
    if (input->start == input->end)
        return receive_head(conn);
    if (conn->phase == HTTP_PHASE_IDLE)
        http_phase_set(conn, HTTP_PHASE_HEAD);
    enum http_reading reading =
        http_head_read(request, input->data + input->start, input->end - input->start);
    if (reading == HTTP_READING_MORE)
        return receive_head(conn);
    http_count_in(conn);
    if (reading == HTTP_READING_FAULT)
        return refuse_and_close(conn);
    http_phase_set(conn, HTTP_PHASE_BODY);
    return head_complete(conn);
}

/* --- Bodies --- */

static enum http_step body_complete(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    if (request->refusal)
        return refuse(conn);
    request->received_us = conn->ready_us;
    http_phase_set(conn, HTTP_PHASE_HANDLER);
    return HTTP_STEP_ON;
}

/* Makes room for `len` bytes of a body that is not read in place: not more at once than came, and as much
 * again, whatever its head says. */
static bool body_reserve(struct http_conn *conn, size_t len)
{
    struct http_request *request = &conn->request;
    size_t need = request->body_len + len, size = request->body_size ? request->body_size : BODY_FIRST_BYTES;
    if (need <= request->body_size)
        return true;
    while (size < need)
        size *= 2;
    if (!request->chunked && size > request->content_length)
        size = (size_t)request->content_length;
    if (!http_hold(conn, size - request->body_size))
        return false;
    request->body_own = mem_realloc(request->body_own, size);
    request->body = request->body_own;
    request->body_size = size;
    return true;
}

static enum http_step body_take(struct http_conn *conn, struct span part)
{
    struct http_request *request = &conn->request;
    conn->moved += part.len;
    if (request->refusal) {
        request->dropped += part.len;
        return request->dropped > HTTP_SWALLOW_MAX ? refuse_and_close(conn) : HTTP_STEP_ON;
    }
    if (part.len > request->endpoint->body_max - request->body_len) {
        http_refuse(request, &problem_body_too_large, HTTP_REASON_BODY, NULL);
        return refuse_and_close(conn);
    }
    if (!body_reserve(conn, part.len))
        return refuse_for_memory(conn);
    memcpy(request->body_own + request->body_len, part.ptr, part.len);
    request->body_len += part.len;
    return HTTP_STEP_ON;
}

static enum http_step receive_chunks(struct http_conn *conn)
{
    struct http_input *input = &conn->input;
    size_t head_end = input->start + conn->request.head_len, got;
    if (input->used > head_end) {
        memmove(input->data + head_end, input->data + input->used, input->end - input->used);
        input->end -= input->used - head_end;
        input->used = head_end;
    }
    CHECK(input->end < input->size);
    enum http_step step = receive(conn, input->data + input->end, input->size - input->end, &got);
    if (step == HTTP_STEP_ON)
        input->end += got;
    return step;
}

static enum http_step chunks_step(struct http_conn *conn)
{
    struct http_input *input = &conn->input;
    struct span in = {input->data + input->used, input->end - input->used}, part;
    enum http_reading reading = http_chunks_read(&conn->request, &in, &part);
    input->used = input->end - in.len;
    switch (reading) {
    case HTTP_READING_MORE:
        return receive_chunks(conn);
    case HTTP_READING_PART:
        return body_take(conn, part);
    case HTTP_READING_DONE:
        return body_complete(conn);
    case HTTP_READING_FAULT:
        break;
    }
    return refuse_and_close(conn);
}

/* A body of a known length that fits behind the head in the input is read there. */
static enum http_step body_in_place_step(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    struct http_input *input = &conn->input;
    size_t got, len = (size_t)request->content_length;
    if (input->end - input->used >= len) {
        request->body_len = request->refusal ? 0 : len;
        input->used += len;
        return body_complete(conn);
    }
    enum http_step step = receive(conn, input->data + input->end, input->size - input->end, &got);
    if (step != HTTP_STEP_ON)
        return step;
    input->end += got;
    conn->moved += got;
    return HTTP_STEP_ON;
}

/* Any other is first taken from the input, then received where it is to be, or dropped. */
static enum http_step body_step(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    struct http_input *input = &conn->input;
    char scratch[SCRATCH_BYTES], *to = scratch;
    if (request->chunked)
        return chunks_step(conn);
    if (request->content_length <= input->size - (input->start + request->head_len))
        return body_in_place_step(conn);
    size_t got = input->end - input->used,
           left = (size_t)request->content_length - request->body_len - request->dropped;
    if (left == 0)
        return body_complete(conn);
    if (got > 0) {
        struct span part = {input->data + input->used, got};
        input->used = input->end;
        return body_take(conn, part);
    }
    size_t room = left < sizeof scratch ? left : sizeof scratch;
    if (!request->refusal) {
        if (!body_reserve(conn, 1))
            return refuse_for_memory(conn);
        to = request->body_own + request->body_len;
        room = request->body_size - request->body_len;
    }
    enum http_step step = receive(conn, to, room, &got);
    if (step != HTTP_STEP_ON)
        return step;
    if (request->refusal)
        return body_take(conn, (struct span){to, got});
    request->body_len += got;
    conn->moved += got;
    return HTTP_STEP_ON;
}

static enum http_step closing_step(struct http_conn *conn)
{
    char scratch[SCRATCH_BYTES];
    size_t got;
    enum http_step step = receive(conn, scratch, sizeof scratch, &got);
    if (step != HTTP_STEP_ON)
        return step;
    conn->dropped += got;
    return conn->dropped > HTTP_LINGER_MAX ? HTTP_STEP_END : HTTP_STEP_ON;
}

/* --- All together --- */

void http_input_next(struct http_conn *conn)
{
    struct http_input *input = &conn->input;
    input->start = input->used;
    if (input->start < input->end)
        return;
    input->start = input->used = input->end = 0;
    if (input->size > HTTP_INPUT_BYTES) {
        mem_free(input->data);
        input->data = NULL;
        input->size = 0;
    }
}

bool http_input_has_more(const struct http_conn *conn)
{
    return conn->input.used < conn->input.end || conn->readable;
}

static enum http_step read_on(struct http_conn *conn)
{
    switch (conn->phase) {
    case HTTP_PHASE_BODY:
        return body_step(conn);
    case HTTP_PHASE_CLOSING:
        return closing_step(conn);
    default:
        return head_step(conn);
    }
}

enum http_step http_input_step(struct http_conn *conn)
{
    enum http_step step = read_on(conn);
    return step == HTTP_STEP_WAIT && conn->late ? refuse_for_lateness(conn) : step;
}
