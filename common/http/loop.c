/* SPDX-License-Identifier: Apache-2.0 */
/* The event loops of the HTTP server, and the phases of a request that they take it through. The only file
 * that knows libmicrohttpd. What the library makes us do:
 *
 * Each loop is a thread of ours around a daemon without threads. The library's own threads call epoll_wait a
 * second time whenever exactly 128 events came at once, with a timeout as long as the idle timeout, and leave
 * those 128 clients waiting. Called without waiting (MHD_run), it cannot.
 *
 * An answer queued before the body is read closes the connection, so answers wait for the end of the body,
 * even of a refused request, unless that is too long.
 *
 * In the middle of a body no answer can be queued at all. What must be refused there is written to the socket
 * directly (http_raw_answer) and the sending side shut. The library goes on reading, and what it reads is
 * dropped until the client closes or has sent enough. Closing at once would reset the connection, and a
 * client that is still sending would never see the answer.
 *
 * A deferred request is a suspended connection, which is not watched: a client that goes away is noticed when
 * the answer is sent. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "common/base/mem.h"
#include "common/http/internal.h"

enum {
    LOOP_WAIT_MS = 1000,
    POOL_SLACK_BYTES = 4096, /* for the head of the answer and the bookkeeping of a usual request's headers */
    LIBRARY_CONNECTIONS_MAX = 1 << 20
};

/* --- Answers --- */

static void deadline_set(struct http_conn *conn, int64_t timeout_ms)
{
    int64_t deadline_us = timeout_ms ? clock_deadline_us(timeout_ms) : 0;
    atomic_store_explicit(&conn->deadline_us, deadline_us, memory_order_relaxed);
}

static void headers_add(struct MHD_Response *response, const struct http_request *request)
{
    bool good = MHD_add_response_header(response, "X-Request-Id", request->id);
    if (http_answer_body(request).len)
        good = good && MHD_add_response_header(response, "Content-Type", request->content_type);
    for (size_t i = 0; i < request->added_count; i++)
        good = good && MHD_add_response_header(response, request->added[i].name,
                                               request->added_text.data + request->added[i].at);
    if (atomic_load_explicit(&request->server->draining, memory_order_relaxed))
        good = good && MHD_add_response_header(response, "Connection", "close");
    CHECK(good); /* it fails only for control characters, which http_add_header refuses, and without memory */
}

/* The reply buffer stays as it is until the answer is sent, so the library need not copy it. */
static enum MHD_Result answer_queue(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    request->phase = HTTP_PHASE_SENDING;
    deadline_set(conn, request->server->send_ms);
    struct span body = http_answer_body(request);
    struct MHD_Response *response = MHD_create_response_from_buffer(
        body.len, body.len ? (void *)(uintptr_t)body.ptr : NULL, MHD_RESPMEM_PERSISTENT);
    CHECK(response != NULL);
    headers_add(response, request);
    enum MHD_Result queued = MHD_queue_response(request->connection, (unsigned)request->status, response);
    MHD_destroy_response(response);
    return queued;
}

/* The rest of the input is of no use: answers now and reads only to let the answer arrive. A client that left
 * no room in its socket for a few hundred bytes gets none. */
static enum MHD_Result answer_raw(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    struct buf answer;
    buf_init(&answer, HTTP_REPLY_MAX);
    http_refusal_reply(request);
    http_raw_answer(request, &answer);
    (void)send(conn->fd, answer.data, answer.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(conn->fd, SHUT_WR);
    buf_deinit(&answer);
    request->phase = HTTP_PHASE_CLOSING;
    deadline_set(conn, request->server->linger_ms);
    return MHD_YES;
}

/* --- Phases of a request --- */

static enum MHD_Result header_take(void *context, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                   const char *value, size_t value_len)
{
    struct http_request *request = context;
    (void)kind;
    if (request->headers_count < HTTP_HEADERS_MAX)
        request->headers[request->headers_count] =
            (struct http_pair){{name, name_len}, {value ? value : "", value_len}};
    request->headers_count++; /* one too many is refused later */
    return MHD_YES;
}

static enum MHD_Result head_complete(struct http_conn *conn, const struct http_head *head)
{
    struct http_request *request = &conn->request;
    struct http_server *server = request->server;
    request->phase = HTTP_PHASE_BODY;
    request->arrived_us = clock_mono_us();
    request->head = *head;
    request->endpoint = &server->unrouted;
    atomic_fetch_add(&server->in_flight, 1);
    metric_add(server->in_flight_gauge, 1);
    deadline_set(conn, server->body_ms);
    http_request_set_id(request);
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, header_take, request);
    http_screen(request, head->method);
    if (!request->refusal)
        return MHD_YES;
    bool swallow =
        !request->refusal_closes && !request->expects_continue && request->content_length <= HTTP_SWALLOW_MAX;
    return swallow ? MHD_YES : answer_raw(conn);
}

static enum MHD_Result body_part(struct http_conn *conn, const char *data, size_t len)
{
    struct http_request *request = &conn->request;
    if (request->phase == HTTP_PHASE_CLOSING || request->refusal) {
        request->dropped += len;
        if (request->phase == HTTP_PHASE_CLOSING)
            return request->dropped > HTTP_LINGER_MAX ? MHD_NO : MHD_YES;
        return request->dropped > HTTP_SWALLOW_MAX ? answer_raw(conn) : MHD_YES;
    }
    if (len > request->endpoint->body_max - request->body_len) {
        http_refuse(request, &problem_body_too_large, HTTP_REASON_BODY, NULL);
        return answer_raw(conn);
    }
    http_body_append(request, data, len);
    return MHD_YES;
}

/* The whole request is here. After the call a deferred request may already be answered by another thread:
 * only `deferred` and `phase`, which are this thread's own, may be looked at. */
static enum MHD_Result request_complete(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    deadline_set(conn, 0);
    request->received_us = clock_mono_us();
    request->phase = HTTP_PHASE_HANDLER;
    if (request->refusal)
        http_refusal_reply(request);
    else
        request->endpoint->route->handler(request, request->server->options.context);
    if (request->deferred)
        return MHD_YES;
    CHECK(request->answered);
    return answer_queue(conn);
}

/* Called by the library when the head is complete, for each part of the body, when the body is complete, and
 * again when a suspended connection was resumed. */
static enum MHD_Result on_access(void *context, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data, size_t *data_len,
                                 void **request_context)
{
    struct http_conn *conn = *request_context;
    size_t len = *data_len;
    (void)context;
    *data_len = 0; /* everything is taken, always */
    if (len)
        return body_part(conn, data, len);
    switch (conn->request.phase) {
    case HTTP_PHASE_HEAD: {
        const union MHD_ConnectionInfo *size =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
        struct http_head head = {method, url, version, size ? size->header_size : 0};
        return head_complete(conn, &head);
    }
    case HTTP_PHASE_BODY:
        return request_complete(conn);
    case HTTP_PHASE_HANDLER:
        CHECK(conn->request.answered);
        return answer_queue(conn);
    case HTTP_PHASE_CLOSING:
        return MHD_NO;
    case HTTP_PHASE_IDLE:
    case HTTP_PHASE_SENDING:
        break;
    }
    UNREACHABLE("the library calls for a request only between its first line and its answer");
}

/* The request line is here, still as it was sent. Next the library would cut the query into parameters, and
 * when those need more memory than there is, forget to answer: so it gets to see an empty query. The buffer
 * is its own and writable, whatever the type says. What this returns is the request's context in the other
 * callbacks. */
static void *on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    struct http_loop *loop = context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_conn *conn = info->socket_context;
    CHECK(conn->request.phase == HTTP_PHASE_IDLE);
    http_request_begin(&conn->request, target ? target : "");
    char *query = target ? strchr(target, '?') : NULL;
    if (query)
        query[1] = '\0';
    deadline_set(conn, loop->server->head_ms);
    return conn;
}

/* Decoding is done in http_route.c, where it is strict and keeps lengths. */
static size_t on_unescape(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

static void request_measure(const struct http_request *request)
{
    unsigned class = request->status > 0 ? (unsigned)request->status / 100 : 0;
    if (!request->answered || class >= COUNT_OF(request->endpoint->requests))
        return;
    if (request->endpoint->requests[class])
        metric_add(request->endpoint->requests[class], 1);
    metric_observe_us(request->endpoint->duration, clock_mono_us() - request->arrived_us);
}

/* The answer is sent, or the connection broke. No deferred request gets here before it is answered, because
 * the library leaves suspended connections alone. */
static void on_completed(void *context, struct MHD_Connection *connection, void **request_context,
                         enum MHD_RequestTerminationCode reason)
{
    struct http_loop *loop = context;
    struct http_server *server = loop->server;
    struct http_conn *conn = *request_context;
    (void)connection;
    (void)reason;
    if (!conn)
        return;
    bool counted = conn->request.phase != HTTP_PHASE_HEAD;
    if (counted)
        request_measure(&conn->request);
    http_request_end(&conn->request);
    deadline_set(conn, (int64_t)server->options.idle_timeout_s * 1000 + server->head_ms);
    if (!counted)
        return;
    metric_add(server->in_flight_gauge, (uint64_t)-1);
    if (atomic_fetch_sub(&server->in_flight, 1) == 1 && atomic_load(&server->draining)) {
        pthread_mutex_lock(&server->door.lock);
        pthread_cond_broadcast(&server->door.changed);
        pthread_mutex_unlock(&server->door.lock);
    }
}

/* --- Connections --- */

static void conn_create(struct http_loop *loop, struct MHD_Connection *connection, void **socket_context)
{
    struct http_server *server = loop->server;
    struct http_conn *conn = mem_zalloc(sizeof *conn);
    http_request_init(&conn->request, server);
    conn->request.loop = loop;
    conn->request.connection = connection;
    conn->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    deadline_set(conn, (int64_t)server->options.idle_timeout_s * 1000 + server->head_ms);
    http_door_enter(server, conn,
                    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
    *socket_context = conn;
    loop->entered++;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_loop *loop = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        conn_create(loop, connection, socket_context);
        return;
    }
    struct http_conn *conn = *socket_context;
    http_door_leave(loop->server, conn);
    atomic_fetch_sub(&loop->connections, 1);
    http_request_deinit(&conn->request);
    mem_free(conn);
}

/* --- Handing over to a loop --- */

struct http_newcomer {
    struct http_newcomer *next;
    int fd;
    socklen_t len;
    struct sockaddr_storage address;
};

/* Whoever put something into a list calls this after it: either the loop is awake and will look, or it said
 * that it sleeps before it looked for the last time. */
static void loop_wake(struct http_loop *loop)
{
    uint64_t one = 1;
    if (!atomic_exchange(&loop->sleeping, false))
        return;
    ssize_t written = write(loop->wake_fd, &one, sizeof one);
    CHECK(written == sizeof one || errno == EAGAIN);
}

void http_loop_add(struct http_server *server, int fd, const struct sockaddr *address, socklen_t len)
{
    struct http_loop *best = &server->loops[0];
    for (unsigned i = 1; i < server->loops_count; i++)
        if (atomic_load(&server->loops[i].connections) < atomic_load(&best->connections))
            best = &server->loops[i];
    struct http_newcomer *newcomer = mem_zalloc(sizeof *newcomer);
    newcomer->fd = fd;
    newcomer->len = len;
    memcpy(&newcomer->address, address, len);
    atomic_fetch_add(&best->connections, 1);
    newcomer->next = atomic_load(&best->newcomers);
    while (!atomic_compare_exchange_weak(&best->newcomers, &newcomer->next, newcomer))
        ;
    loop_wake(best);
}

/* The library owns the socket from here on. It tells on_connection of those it starts to serve, and of their
 * end; of one that it does not take it says nothing. */
static void newcomer_enter(struct http_loop *loop, struct http_newcomer *newcomer)
{
    const struct sockaddr *address = (const struct sockaddr *)&newcomer->address;
    uint64_t entered = loop->entered;
    if (MHD_add_connection(loop->daemon, newcomer->fd, address, newcomer->len) == MHD_YES)
        return;
    if (loop->entered != entered)
        return;
    http_door_forget(loop->server, address);
    atomic_fetch_sub(&loop->connections, 1);
}

static void take_newcomers(struct http_loop *loop)
{
    if (!atomic_load_explicit(&loop->newcomers, memory_order_relaxed))
        return;
    struct http_newcomer *newcomer = atomic_exchange(&loop->newcomers, NULL);
    while (newcomer) {
        struct http_newcomer *next = newcomer->next;
        newcomer_enter(loop, newcomer);
        mem_free(newcomer);
        newcomer = next;
    }
}

static void put_answered(struct http_request *request)
{
    struct http_loop *loop = request->loop;
    request->next_answered = atomic_load(&loop->answered);
    while (!atomic_compare_exchange_weak(&loop->answered, &request->next_answered, request))
        ;
    loop_wake(loop); /* the request is its loop's again, and may be gone */
}

static void take_answered(struct http_loop *loop)
{
    if (!atomic_load_explicit(&loop->answered, memory_order_relaxed))
        return;
    struct http_request *request = atomic_exchange(&loop->answered, NULL);
    while (request) {
        struct http_request *next = request->next_answered;
        MHD_resume_connection(request->connection);
        request = next;
    }
}

/* --- The loop --- */

static void loop_wait(struct http_loop *loop)
{
    MHD_UNSIGNED_LONG_LONG left_ms;
    int wait_ms = LOOP_WAIT_MS;
    if (MHD_get_timeout(loop->daemon, &left_ms) == MHD_YES && left_ms < LOOP_WAIT_MS)
        wait_ms = (int)left_ms;
    if (wait_ms == 0)
        return;
    int epoll_fd = MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    struct pollfd fds[] = {{.fd = epoll_fd, .events = POLLIN}, {.fd = loop->wake_fd, .events = POLLIN}};
    atomic_store(&loop->sleeping, true);
    if (!atomic_load(&loop->answered) && !atomic_load(&loop->newcomers) && !atomic_load(&loop->stop_wanted))
        (void)poll(fds, COUNT_OF(fds), wait_ms);
    atomic_store(&loop->sleeping, false);
    if (fds[1].revents) {
        uint64_t count;
        ssize_t got = read(loop->wake_fd, &count, sizeof count);
        CHECK(got == sizeof count || errno == EAGAIN);
    }
}

static void *loop_run(void *argument)
{
    struct http_loop *loop = argument;
    while (!atomic_load(&loop->stop_wanted)) {
        take_newcomers(loop);
        take_answered(loop);
        MHD_run(loop->daemon);
        if (atomic_load_explicit(&loop->server->hanging_up, memory_order_relaxed))
            http_door_hang_up(loop);
        loop_wait(loop);
    }
    return NULL;
}

static void on_panic(void *context, const char *file, unsigned line, const char *what)
{
    (void)context;
    check_failed(file, (int)line, "libmicrohttpd", what ? what : "panic");
}

bool http_loop_start(struct http_server *server, struct http_loop *loop)
{
    const struct http_options *options = &server->options;
    size_t pool_bytes = 2 * options->header_bytes_max + POOL_SLACK_BYTES;
    loop->server = server;
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0)
        return false;
    MHD_set_panic_func(on_panic, NULL);
    server->head_exact = strcmp(MHD_get_version(), "0.9.75") == 0;
    /* Limits on connections are the door's; the library's is only kept out of the way. */
    loop->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_access, loop,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, loop, MHD_OPTION_NOTIFY_CONNECTION, on_connection, loop,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, loop, MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, NULL,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)LIBRARY_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        options->idle_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, pool_bytes,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!loop->daemon) {
        close(loop->wake_fd);
        return false;
    }
    /* Signals are for the main thread, and a client that is gone is no signal. */
    sigset_t all, before;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    CHECK(pthread_create(&loop->thread, NULL, loop_run, loop) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    pthread_setname_np(loop->thread, "http-loop");
    return true;
}

void http_loops_hang_up(struct http_server *server)
{
    atomic_store(&server->hanging_up, true);
    for (unsigned i = 0; i < server->loops_count; i++)
        loop_wake(&server->loops[i]);
}

void http_loop_stop(struct http_loop *loop)
{
    atomic_store(&loop->stop_wanted, true);
    loop_wake(loop);
    pthread_join(loop->thread, NULL);
    take_newcomers(loop); /* so that they are closed with the others */
    take_answered(loop);
    MHD_stop_daemon(loop->daemon);
    close(loop->wake_fd);
}

/* --- What handlers call --- */

void http_defer(struct http_request *request)
{
    CHECK(request->phase == HTTP_PHASE_HANDLER && !request->deferred && !request->answered);
    request->deferred = true;
    MHD_suspend_connection(request->connection);
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
        put_answered(request);
}
