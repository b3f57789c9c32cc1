/* SPDX-License-Identifier: Apache-2.0 */
/* From the bytes of a connection to one complete request, or its refusal. The library is told of nothing but
 * complete, well-formed requests (loop.c), so whatever a client sends gets exactly one answer, and it is
 * ours.
 *
 * A refused request whose end is known keeps its connection: its body is dropped, and the answer goes
 * straight to the socket, because what refuses must be far cheaper than what decides. Where the end is not
 * known, or not worth waiting for, the answer goes out, the sending side is shut, and what still comes is
 * dropped until the client closes or has sent enough: closing at once would reset the connection, and a
 * client that is still sending would never see the answer. */
#include <errno.h>
#include <sys/socket.h>

#include "common/base/mem.h"
#include "common/http/internal.h"

enum { BODY_FIRST_BYTES = 16384, SCRATCH_BYTES = 16384 };

/* What a step of the state machine leads to. */
enum step {
    STEP_ON,      /* to the next one */
    STEP_REFUSED, /* the same, and a request was refused and answered */
    STEP_WAIT,
    STEP_REQUEST,
    STEP_END
};

/* --- The end of a request --- */

static void measure(const struct http_request *request)
{
    unsigned class = request->status > 0 ? (unsigned)request->status / 100 : 0;
    if (!request->answered || class >= COUNT_OF(request->endpoint->requests))
        return;
    if (request->endpoint->requests[class])
        metric_add(request->endpoint->requests[class], 1);
    metric_observe_us(request->endpoint->duration, clock_mono_us() - request->arrived_us);
}

static void count_in(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    struct http_server *server = request->server;
    request->endpoint = &server->unrouted;
    request->arrived_us = request->loop->heard_us;
    http_request_set_id(request);
    conn->counted = true;
    atomic_fetch_add(&server->in_flight, 1);
    metric_add(server->in_flight_gauge, 1);
}

static void count_out(struct http_conn *conn)
{
    struct http_server *server = conn->request.server;
    conn->counted = false;
    metric_add(server->in_flight_gauge, (uint64_t)-1);
    if (atomic_fetch_sub(&server->in_flight, 1) == 1 && atomic_load(&server->draining)) {
        pthread_mutex_lock(&server->door.lock);
        pthread_cond_broadcast(&server->door.changed);
        pthread_mutex_unlock(&server->door.lock);
    }
}

void http_input_finish(struct http_conn *conn)
{
    struct http_input *input = &conn->input;
    if (conn->counted) {
        measure(&conn->request);
        count_out(conn);
    }
    http_request_end(&conn->request);
    http_let_go(conn);
    input->start = input->used;
    if (input->start == input->end) {
        input->start = input->used = input->end = 0;
        if (input->size > HTTP_INPUT_BYTES) {
            mem_free(input->data);
            input->data = NULL;
            input->size = 0;
        }
    }
    http_phase_set(conn, HTTP_PHASE_IDLE, (int64_t)conn->request.server->options.idle_timeout_s * 1000);
}

bool http_input_has_more(const struct http_conn *conn)
{
    return conn->input.start < conn->input.end || !conn->input.drained;
}

/* --- Refusals --- */

static bool send_now(struct http_conn *conn, struct span text)
{
    return send(conn->fd, text.ptr, text.len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)text.len;
}

/* Where the client left no room for a few hundred bytes in its socket it gets a part of the answer, or none.
 */
static bool answer_send(struct http_conn *conn, bool closes)
{
    struct buf answer;
    buf_init(&answer, HTTP_REPLY_MAX);
    http_refusal_reply(&conn->request);
    http_raw_answer(&conn->request, closes, &answer);
    bool sent = send_now(conn, buf_span(&answer));
    buf_deinit(&answer);
    return sent;
}

static enum step refuse_and_close(struct http_conn *conn)
{
    (void)answer_send(conn, true);
    shutdown(conn->fd, SHUT_WR);
    conn->input.used = conn->input.end;
    http_input_finish(conn);
    http_phase_set(conn, HTTP_PHASE_CLOSING, conn->request.server->linger_ms);
    return STEP_ON;
}

static enum step refuse(struct http_conn *conn)
{
    struct http_server *server = conn->request.server;
    if (conn->request.closes || atomic_load_explicit(&server->draining, memory_order_relaxed))
        return refuse_and_close(conn);
    bool sent = answer_send(conn, false);
    http_input_finish(conn);
    return sent ? STEP_REFUSED : STEP_END;
}

static enum step refuse_for_memory(struct http_conn *conn)
{
    http_refuse_and_close(&conn->request, &problem_overloaded, HTTP_REASON_MEMORY,
                          "there is no room for this request's bytes now");
    conn->request.refusal_retry_ms = 1000;
    return refuse_and_close(conn);
}

/* --- Receiving --- */

/* STEP_ON: something came, *ret bytes of it. */
static enum step receive(struct http_conn *conn, char *to, size_t room, size_t *ret)
{
    ssize_t got;
    do
        got = recv(conn->fd, to, room, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    conn->input.drained = got < (ssize_t)room;
    if (got > 0) {
        conn->input.read += (size_t)got;
        *ret = (size_t)got;
        return STEP_ON;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return STEP_WAIT;
    enum http_phase phase = conn->request.phase;
    if (got < 0 || !atomic_load(&conn->late) || (phase != HTTP_PHASE_HEAD && phase != HTTP_PHASE_BODY))
        return STEP_END;
    if (!conn->counted)
        count_in(conn);
    http_refuse_and_close(&conn->request, &problem_request_timeout, HTTP_REASON_SLOW, NULL);
    (void)refuse_and_close(conn);
    return STEP_END;
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

static enum step receive_head(struct http_conn *conn)
{
    struct http_input *input = &conn->input;
    size_t got;
    if (input->start > 0 && input->end == input->size) {
        memmove(input->data, input->data + input->start, input->end - input->start);
        input->end -= input->start;
        input->start = input->used = 0;
    }
    if (input->end == input->size && !input_grow(conn, input->size ? 2 * input->size : HTTP_INPUT_BYTES)) {
        count_in(conn);
        return refuse_for_memory(conn);
    }
    enum step step = receive(conn, input->data + input->end, input->size - input->end, &got);
    if (step == STEP_ON)
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

/* The head is complete and well-formed. From here on the input stays where it is until the request is over,
 * so room for what of a body is read into it is made now. */
static enum step head_complete(struct http_conn *conn)
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
    http_screen(request);
    bool has_body = request->chunked || request->content_length > 0;
    if (request->refusal && (request->refusal_closes || (request->expects_continue && has_body) ||
                             request->content_length > HTTP_SWALLOW_MAX))
        return refuse_and_close(conn);
    if (request->expects_continue && has_body && input->used == input->end &&
        !send_now(conn, SPAN("HTTP/1.1 100 Continue\r\n\r\n")))
        return STEP_END;
    return STEP_ON;
}

static enum step head_step(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    struct http_input *input = &conn->input;
    skip_empty_lines(input);
    if (input->start == input->end)
        return receive_head(conn);
    if (request->phase == HTTP_PHASE_IDLE)
        http_phase_set(conn, HTTP_PHASE_HEAD, request->server->head_ms);
    enum http_reading reading =
        http_head_read(request, input->data + input->start, input->end - input->start);
    if (reading == HTTP_READING_MORE)
        return receive_head(conn);
    count_in(conn);
    if (reading == HTTP_READING_FAULT)
        return refuse_and_close(conn);
    http_phase_set(conn, HTTP_PHASE_BODY, request->server->body_ms);
    return head_complete(conn);
}

/* --- Bodies --- */

static enum step body_complete(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    if (request->refusal)
        return refuse(conn);
    request->received_us = clock_mono_us();
    http_phase_set(conn, HTTP_PHASE_HANDLER, 0);
    return STEP_REQUEST;
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

static enum step body_take(struct http_conn *conn, struct span part)
{
    struct http_request *request = &conn->request;
    atomic_fetch_add_explicit(&conn->moved, part.len, memory_order_relaxed);
    if (request->refusal) {
        request->dropped += part.len;
        return request->dropped > HTTP_SWALLOW_MAX ? refuse_and_close(conn) : STEP_ON;
    }
    if (part.len > request->endpoint->body_max - request->body_len) {
        http_refuse(request, &problem_body_too_large, HTTP_REASON_BODY, NULL);
        return refuse_and_close(conn);
    }
    if (!body_reserve(conn, part.len))
        return refuse_for_memory(conn);
    memcpy(request->body_own + request->body_len, part.ptr, part.len);
    request->body_len += part.len;
    return STEP_ON;
}

static enum step receive_chunks(struct http_conn *conn)
{
    struct http_input *input = &conn->input;
    size_t head_end = input->start + conn->request.head_len, got;
    if (input->used > head_end) {
        memmove(input->data + head_end, input->data + input->used, input->end - input->used);
        input->end -= input->used - head_end;
        input->used = head_end;
    }
    CHECK(input->end < input->size);
    enum step step = receive(conn, input->data + input->end, input->size - input->end, &got);
    if (step == STEP_ON)
        input->end += got;
    return step;
}

static enum step chunks_step(struct http_conn *conn)
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
static enum step body_in_place_step(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    struct http_input *input = &conn->input;
    size_t got, len = (size_t)request->content_length;
    if (input->end - input->used >= len) {
        request->body_len = request->refusal ? 0 : len;
        input->used += len;
        return body_complete(conn);
    }
    enum step step = receive(conn, input->data + input->end, input->size - input->end, &got);
    if (step != STEP_ON)
        return step;
    input->end += got;
    atomic_fetch_add_explicit(&conn->moved, got, memory_order_relaxed);
    return STEP_ON;
}

/* Any other is first taken from the input, then received where it is to be, or dropped. */
static enum step body_step(struct http_conn *conn)
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
    enum step step = receive(conn, to, room, &got);
    if (step != STEP_ON)
        return step;
    if (request->refusal)
        return body_take(conn, (struct span){to, got});
    request->body_len += got;
    atomic_fetch_add_explicit(&conn->moved, got, memory_order_relaxed);
    return STEP_ON;
}

static enum step closing_step(struct http_conn *conn)
{
    char scratch[SCRATCH_BYTES];
    size_t got;
    enum step step = receive(conn, scratch, sizeof scratch, &got);
    if (step != STEP_ON)
        return step;
    conn->request.dropped += got;
    return conn->request.dropped > HTTP_LINGER_MAX ? STEP_END : STEP_ON;
}

/* --- All together --- */

static enum step step_of(struct http_conn *conn)
{
    switch (conn->request.phase) {
    case HTTP_PHASE_IDLE:
    case HTTP_PHASE_HEAD:
        return head_step(conn);
    case HTTP_PHASE_BODY:
        return body_step(conn);
    case HTTP_PHASE_CLOSING:
        return closing_step(conn);
    case HTTP_PHASE_HANDLER:
    case HTTP_PHASE_SENDING:
        break;
    }
    return STEP_WAIT; /* the answer comes first */
}

enum http_input_verdict http_input_read(struct http_conn *conn)
{
    conn->input.read = 0;
    for (unsigned refused = 0; refused < HTTP_DIRECT_MAX && conn->input.read < HTTP_TURN_BYTES;) {
        switch (step_of(conn)) {
        case STEP_ON:
            break;
        case STEP_REFUSED:
            refused++;
            break;
        case STEP_WAIT:
            return HTTP_INPUT_WAIT;
        case STEP_REQUEST:
            return HTTP_INPUT_REQUEST;
        case STEP_END:
            return HTTP_INPUT_END;
        }
    }
    return HTTP_INPUT_AGAIN;
}
