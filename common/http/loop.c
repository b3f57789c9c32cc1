/* SPDX-License-Identifier: Apache-2.0 */
/* The event loops of the HTTP server. The only file that knows libmicrohttpd.
 *
 * The library watches the sockets, keeps connections alive and sends answers. It does not read from sockets:
 * its recv() is http_library_recv here (tools/make/rules.mk renames it in a copy of Debian's archive), which
 * hands it a request line of ours for each request that input.c has read completely and found good. Version
 * 0.9.75 would answer some malformed requests by itself, twice, takes a bare LF for the end of a line, folds
 * lines, and counts neither bytes nor time; it has no hook for any of that. Nothing that a client sends
 * reaches its parser.
 *
 * Each loop is a thread of ours around a daemon without threads. The library's own threads call epoll_wait a
 * second time whenever exactly 128 events came at once, with a timeout as long as the idle timeout, and leave
 * those 128 clients waiting. Called without waiting (MHD_run), it cannot.
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

enum { LOOP_WAIT_MS = 1000, LIBRARY_CONNECTIONS_MAX = 1 << 20, BY_FD_FIRST = 256 };

#if MHD_VERSION != 0x00097500
#error "what is known of libmicrohttpd here, and in rules.mk, is known of 0.9.75"
#endif

/* --- Answers --- */

static void headers_add(struct MHD_Response *response, const struct http_request *request)
{
    bool good = MHD_add_response_header(response, "X-Request-Id", request->id);
    if (http_answer_body(request).len)
        good = good && MHD_add_response_header(response, "Content-Type", request->content_type);
    for (size_t i = 0; i < request->added_count; i++)
        good = good && MHD_add_response_header(response, request->added[i].name,
                                               request->added_text.data + request->added[i].at);
    CHECK(good); /* it fails only for control characters, which http_add_header refuses, and without memory */
}

/* An answer for which there is no room becomes a refusal. What took effect has done so: asked again with the
 * same key, the answer is the same. */
static void refuse_for_memory(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    http_shared_release(request);
    buf_deinit(&request->reply);
    buf_clear(&request->added_text);
    request->added_count = 0;
    request->answered = request->deferred = false;
    http_refuse(request, &problem_overloaded, HTTP_REASON_MEMORY, "there is no room for this answer now");
    request->refusal_retry_ms = 1000;
    http_refusal_reply(request);
}

/* The body stays as it is until the answer is sent, so the library need not copy it. */
static enum MHD_Result answer_queue(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    size_t own = request->shared.release ? 0 : request->reply.capacity;
    if (own > HTTP_KEEP_BYTES && !http_hold(conn, own))
        refuse_for_memory(conn);
    http_phase_set(conn, HTTP_PHASE_SENDING, request->server->send_ms);
    struct span body = http_answer_body(request);
    struct MHD_Response *response = MHD_create_response_from_buffer(
        body.len, body.len ? (void *)(uintptr_t)body.ptr : NULL, MHD_RESPMEM_PERSISTENT);
    CHECK(response != NULL);
    headers_add(response, request);
    if (!conn->ending && atomic_load_explicit(&request->server->draining, memory_order_relaxed)) {
        conn->ending = true;
        CHECK(MHD_add_response_header(response, "Connection", "close") == MHD_YES);
    }
    enum MHD_Result queued = MHD_queue_response(request->connection, (unsigned)request->status, response);
    MHD_destroy_response(response);
    return queued;
}

/* --- Requests, as the library is told of them --- */

/* What it needs to know to answer: whether the answer has a body, and what becomes of the connection. */
static struct span request_text(struct http_conn *conn)
{
    static const struct span texts[2][3] = {
        {SPAN("GET / HTTP/1.1\r\n\r\n"), SPAN("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"),
         SPAN("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")},
        {SPAN("HEAD / HTTP/1.1\r\n\r\n"), SPAN("HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n"),
         SPAN("HEAD / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")}};
    const struct http_request *request = &conn->request;
    conn->ending = request->closes;
    conn->called = false;
    return texts[request->is_head][request->closes ? 1 : request->http_1_0 ? 2 : 0];
}

static _Thread_local struct http_loop *this_loop; /* of a loop's thread */

/* What the library calls for recv(). It must not go on to its own answers, so there is none of its errors
 * that this may lead to. EINTR: it will ask again in its next turn, without waiting for the socket. */
ssize_t http_library_recv(int fd, void *to, size_t size, int flags);
ssize_t http_library_recv(int fd, void *to, size_t size, int flags)
{
    struct http_loop *loop = this_loop;
    struct http_conn *conn = loop && (size_t)fd < loop->by_fd_size ? loop->by_fd[fd] : NULL;
    (void)flags;
    errno = ECONNRESET;
    if (!conn)
        return -1;
    switch (http_input_read(conn)) {
    case HTTP_INPUT_WAIT:
        errno = EAGAIN;
        return -1;
    case HTTP_INPUT_AGAIN:
        errno = EINTR;
        return -1;
    case HTTP_INPUT_END:
        return 0;
    case HTTP_INPUT_REQUEST:
        break;
    }
    struct span text = request_text(conn);
    CHECK(text.len <= size);
    memcpy(to, text.ptr, text.len);
    return (ssize_t)text.len;
}

/* Called by the library when it has the head of a request, when it has all of it, and again when a suspended
 * connection was resumed. An answer queued in the first of these calls would close the connection. After the
 * call of the handler a deferred request may already be answered by another thread: only `deferred`, which is
 * this thread's own, may be looked at. */
static enum MHD_Result on_access(void *context, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data, size_t *data_len,
                                 void **request_context)
{
    struct http_conn *conn = *request_context;
    (void)context, (void)url, (void)method, (void)version, (void)data, (void)data_len;
    if (!conn) {
        conn = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
        *request_context = conn;
        CHECK(conn->request.phase == HTTP_PHASE_HANDLER);
        return MHD_YES;
    }
    if (!conn->called) {
        conn->called = true;
        conn->request.endpoint->route->handler(&conn->request, conn->request.server->options.context);
        if (conn->request.deferred)
            return MHD_YES;
    }
    CHECK(conn->request.answered);
    return answer_queue(conn);
}

/* The answer is sent, or the connection broke. No deferred request gets here before it is answered, because
 * the library leaves suspended connections alone. What came behind the request is in our input, and the
 * library waits for the socket: the loop has to tell it. */
static void on_completed(void *context, struct MHD_Connection *connection, void **request_context,
                         enum MHD_RequestTerminationCode reason)
{
    struct http_loop *loop = context;
    struct http_conn *conn = *request_context;
    (void)connection;
    if (!conn)
        return;
    http_input_finish(conn);
    if (reason != MHD_REQUEST_TERMINATED_COMPLETED_OK || conn->ending || conn->unread ||
        !http_input_has_more(conn))
        return;
    conn->unread = true;
    conn->next_unread = loop->unread;
    loop->unread = conn;
}

/* A resumed connection counts as ready to be read, in the next turn. false: there was none. */
static bool wake_unread(struct http_loop *loop)
{
    bool any = loop->unread != NULL;
    while (loop->unread) {
        struct http_conn *conn = loop->unread;
        loop->unread = conn->next_unread;
        conn->unread = false;
        MHD_suspend_connection(conn->request.connection);
        MHD_resume_connection(conn->request.connection);
    }
    return any;
}

/* --- Connections --- */

static void by_fd_set(struct http_loop *loop, int fd, struct http_conn *conn)
{
    size_t size = loop->by_fd_size ? loop->by_fd_size : BY_FD_FIRST;
    while (size <= (size_t)fd)
        size *= 2;
    if (size > loop->by_fd_size) {
        loop->by_fd = mem_realloc(loop->by_fd, size * sizeof *loop->by_fd);
        memset(loop->by_fd + loop->by_fd_size, 0, (size - loop->by_fd_size) * sizeof *loop->by_fd);
        loop->by_fd_size = size;
    }
    loop->by_fd[fd] = conn;
}

static void conn_create(struct http_loop *loop, struct MHD_Connection *connection, void **socket_context)
{
    struct http_server *server = loop->server;
    struct http_conn *conn = mem_zalloc(sizeof *conn);
    http_request_init(&conn->request, server);
    conn->request.loop = loop;
    conn->request.connection = connection;
    conn->address = loop->entering;
    conn->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    by_fd_set(loop, conn->fd, conn);
    http_phase_set(conn, HTTP_PHASE_IDLE, (int64_t)server->options.idle_timeout_s * 1000);
    http_limits_enter(server, conn,
                      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
    *socket_context = conn;
    loop->entered++;
}

static void conn_destroy(struct http_loop *loop, struct http_conn *conn)
{
    struct http_conn **at = &loop->unread;
    while (*at && *at != conn)
        at = &(*at)->next_unread;
    if (*at)
        *at = conn->next_unread;
    if (conn->counted) /* it came to no answer */
        http_input_finish(conn);
    http_let_go(conn);
    loop->by_fd[conn->fd] = NULL;
    http_limits_leave(loop->server, conn);
    atomic_fetch_sub(&loop->connections, 1);
    http_request_deinit(&conn->request);
    mem_free(conn->input.data);
    mem_free(conn);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        conn_create(context, connection, socket_context);
    else
        conn_destroy(context, *socket_context);
}

/* --- Handing over to a loop --- */

struct http_newcomer {
    struct http_newcomer *next;
    struct http_address *counted;
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

void http_loop_add(struct http_server *server, int fd, const struct sockaddr *peer, socklen_t len,
                   struct http_address *address)
{
    struct http_loop *best = &server->loops[0];
    for (unsigned i = 1; i < server->loops_count; i++)
        if (atomic_load(&server->loops[i].connections) < atomic_load(&best->connections))
            best = &server->loops[i];
    struct http_newcomer *newcomer = mem_zalloc(sizeof *newcomer);
    newcomer->fd = fd;
    newcomer->len = len;
    newcomer->counted = address;
    memcpy(&newcomer->address, peer, len);
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
    loop->entering = newcomer->counted;
    if (MHD_add_connection(loop->daemon, newcomer->fd, address, newcomer->len) == MHD_YES)
        return;
    if (loop->entered != entered)
        return;
    http_limits_forget(loop->server, newcomer->counted);
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
    if (!atomic_load(&loop->answered) && !atomic_load(&loop->newcomers) && !atomic_load(&loop->stop_wanted)) {
        (void)poll(fds, COUNT_OF(fds), wait_ms);
        loop->run_us = clock_mono_us(); /* what is there now came while this thread slept, or just now */
    }
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
    this_loop = loop;
    while (!atomic_load(&loop->stop_wanted)) {
        loop->heard_us = loop->run_us ? loop->run_us : clock_mono_us();
        loop->run_us = clock_mono_us();
        take_newcomers(loop);
        take_answered(loop);
        MHD_run(loop->daemon);
        bool more = wake_unread(loop);
        if (atomic_load_explicit(&loop->server->hanging_up, memory_order_relaxed))
            http_limits_hang_up(loop);
        if (!more)
            loop_wait(loop);
    }
    return NULL;
}

static void on_panic(void *context, const char *file, unsigned line, const char *what)
{
    (void)context;
    check_failed(file, (int)line, "libmicrohttpd", what ? what : "panic");
}

bool http_library_known(char *reason, size_t reason_size)
{
    if (strcmp(MHD_get_version(), "0.9.75") == 0)
        return true;
    snprintf(reason, reason_size, "libmicrohttpd is %s: how requests are kept apart is known of 0.9.75 only",
             MHD_get_version());
    return false;
}

bool http_loop_start(struct http_server *server, struct http_loop *loop)
{
    loop->server = server;
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0)
        return false;
    MHD_set_panic_func(on_panic, NULL);
    /* Limits on connections and time are ours; the library's are only kept out of the way. */
    loop->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_access, loop,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, loop, MHD_OPTION_NOTIFY_CONNECTION, on_connection, loop,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)LIBRARY_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTP_POOL_BYTES, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
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
    mem_free(loop->by_fd);
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
