/* SPDX-License-Identifier: Apache-2.0 */
/* Answers on their way to the client, and the end of a request.
 *
 * A connection that closes after an answer while its client may still be sending is not closed at once: that
 * would reset it, and the client would never see the answer. The sending side is shut, and what comes is
 * dropped until the client closes, has sent enough, or has had time enough. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/http/internal.h"

/* --- The life of a request that counts --- */

void http_count_in(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    struct http_server *server = request->server;
    request->endpoint = &server->unrouted;
    request->arrived_us = conn->ready_us;
    http_request_set_id(request);
    conn->counted = true;
    atomic_fetch_add(&server->in_flight, 1);
    metric_add(server->in_flight_gauge, 1);
}

static void measure(const struct http_request *request)
{
    unsigned class = request->status > 0 ? (unsigned)request->status / 100 : 0;
    if (!request->answered || class >= COUNT_OF(request->endpoint->requests))
        return;
    if (request->endpoint->requests[class])
        metric_add(request->endpoint->requests[class], 1);
    if (!request->stream.release)
        metric_observe_us(request->endpoint->duration, clock_mono_us() - request->arrived_us);
}

static void count_out(struct http_conn *conn)
{
    struct http_server *server = conn->request.server;
    measure(&conn->request);
    conn->counted = false;
    metric_add(server->in_flight_gauge, (uint64_t)-1);
    if (atomic_fetch_sub(&server->in_flight, 1) == 1 && atomic_load(&server->draining)) {
        pthread_mutex_lock(&server->door.lock);
        pthread_cond_broadcast(&server->door.changed);
        pthread_mutex_unlock(&server->door.lock);
    }
}

void http_finish(struct http_conn *conn)
{
    if (conn->counted)
        count_out(conn);
    http_request_end(&conn->request);
    http_let_go(conn);
    if (conn->output.capacity > HTTP_KEEP_BYTES)
        buf_deinit(&conn->output);
    else
        buf_clear(&conn->output);
}

/* --- Sending --- */

/* An answer for which there is no room becomes a refusal. What took effect has done so: asked again with the
 * same key, the answer is the same. */
static void refuse_for_memory(struct http_request *request)
{
    http_answer_release(request);
    buf_deinit(&request->reply);
    buf_clear(&request->added_text);
    request->added_count = 0;
    request->answered = request->deferred = false;
    http_refuse(request, &problem_overloaded, HTTP_REASON_MEMORY, "there is no room for this answer now");
    request->refusal_retry_ms = 1000;
    http_refusal_reply(request);
}

/* Bytes of an answer that are its own. A stream holds them from its beginning to its end, so that none is
 * broken off for want of memory. */
static size_t own_bytes(const struct http_request *request)
{
    if (request->stream.release)
        return HTTP_PIECE_MAX;
    return request->shared.release ? 0 : request->reply.capacity;
}

static void begin_answer(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    size_t own = own_bytes(request);
    if (own > HTTP_KEEP_BYTES && !http_hold(conn, own))
        refuse_for_memory(request);
    conn->closes = request->closes || request->refusal_closes ||
                   (request->stream.release && request->http_1_0) || /* which knows no other end of it */
                   atomic_load_explicit(&request->server->draining, memory_order_relaxed);
    if (request->stream.release) /* how long it takes is up to its reader */
        metric_observe_us(request->endpoint->duration, clock_mono_us() - request->arrived_us);
    http_answer_head(request, conn->closes, &conn->output);
}

void http_output_begin(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    if (!request->head_sent)
        begin_answer(conn);
    if (request->stream.release && !request->is_head)
        http_piece_head(request, &conn->output);
    conn->sent = 0;
    http_phase_set(conn, HTTP_PHASE_SENDING);
}

/* A piece of a stream, not the last one, is sent: the request is its owner's until there is another. */
static enum http_step piece_sent(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    struct http_stream stream = request->stream;
    buf_clear(&request->reply);
    buf_clear(&conn->output);
    request->head_sent = request->deferred = true;
    request->answered = false;
    http_phase_set(conn, HTTP_PHASE_HANDLER);
    conn->away = true;
    stream.next(request, stream.owner); /* some other thread may have answered by now */
    return HTTP_STEP_WAIT;
}

static enum http_step all_sent(struct http_conn *conn)
{
    bool more = conn->request.refusal_closes || http_input_has_more(conn);
    http_finish(conn);
    conn->turn_requests++;
    if (!conn->closes) {
        http_input_next(conn);
        http_phase_set(conn, HTTP_PHASE_IDLE);
        return HTTP_STEP_ON;
    }
    if (!more)
        return HTTP_STEP_END;
    shutdown(conn->fd, SHUT_WR);
    http_phase_set(conn, HTTP_PHASE_CLOSING);
    return HTTP_STEP_ON;
}

/* What is left of a part after `sent` bytes of all, of which `before` lie in front of it. */
static struct iovec part_left(struct span part, size_t before, size_t sent)
{
    size_t gone = sent > before ? sent - before : 0;
    if (gone >= part.len)
        return (struct iovec){.iov_len = 0};
    return (struct iovec){.iov_base = (char *)(uintptr_t)part.ptr + gone, .iov_len = part.len - gone};
}

enum http_step http_output_step(struct http_conn *conn)
{
    const struct http_request *request = &conn->request;
    struct span head = buf_span(&conn->output), body = http_answer_body(request),
                tail = http_piece_tail(request);
    if (request->stream.release &&
        (request->piece == HTTP_PIECE_BROKEN || http_stream_is_late(request, request->loop->now_us)))
        return HTTP_STEP_END;
    if (!conn->writable)
        return HTTP_STEP_WAIT;
    if (request->is_head)
        body.len = tail.len = 0;
    struct iovec parts[] = {part_left(head, 0, conn->sent), part_left(body, head.len, conn->sent),
                            part_left(tail, head.len + body.len, conn->sent)};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = COUNT_OF(parts)};
    ssize_t sent = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN)
        return HTTP_STEP_END;
    conn->sent += sent > 0 ? (size_t)sent : 0;
    conn->turn_bytes += sent > 0 ? (size_t)sent : 0;
    bool more = request->stream.release && request->piece == HTTP_PIECE_MORE && !request->is_head;
    if (conn->sent == head.len + body.len + tail.len)
        return more ? piece_sent(conn) : all_sent(conn);
    conn->writable = false;
    return HTTP_STEP_WAIT;
}
