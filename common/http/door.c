/* SPDX-License-Identifier: Apache-2.0 */
/* The door of the HTTP server: one thread that listens, accepts, and hands sockets to the event loops, or
 * refuses whom there is no room for. Running out of descriptors must not become a busy loop. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/http/internal.h"

enum {
    ACCEPTS_PER_TURN = 256,
    PAUSE_MS = 100,
    DROP_BYTES = 4096,
    REFUSAL_BYTES = 1024,
    DISPLACING_MAX = 128,    /* newcomers beyond the limits, until a loop has made room for them */
    UNSENT_BYTES_MAX = 65536 /* that a socket takes beyond what its client reads */
};

/* --- Accepting --- */

/* Reads and drops what has arrived, so that closing does not reset the connection under the answer. */
static void drop_input(int fd)
{
    char dropped[DROP_BYTES];
    (void)recv(fd, dropped, sizeof dropped, MSG_DONTWAIT);
}

/* Made once a second: nothing of it but the request's id is different each time. */
static void refusal_make(struct http_server *server)
{
    struct http_door *door = &server->door;
    int64_t second = clock_mono_us() / US_PER_S;
    if (door->refusal.len && door->refusal_second == second)
        return;
    struct http_request *request = &door->refused;
    http_request_set_id(request);
    request->refusal = &problem_overloaded;
    request->refusal_detail = "this instance has as many connections as it may";
    http_refusal_reply(request);
    buf_clear(&door->refusal);
    http_answer_head(request, true, &door->refusal);
    buf_append_span(&door->refusal, http_answer_body(request));
    const char *id = strstr(door->refusal.data, request->id);
    CHECK(id);
    door->refusal_id_at = (size_t)(id - door->refusal.data);
    door->refusal_second = second;
    http_request_end(request);
}

void http_door_refuse(struct http_server *server, int fd, enum http_reason reason)
{
    struct http_door *door = &server->door;
    char text[REFUSAL_BYTES];
    metric_add(server->refused[reason], 1);
    pthread_mutex_lock(&door->lock);
    refusal_make(server);
    http_request_set_id(&door->refused);
    size_t len = door->refusal.len;
    CHECK(len <= sizeof text);
    memcpy(text, door->refusal.data, len);
    memcpy(text + door->refusal_id_at, door->refused.id, HTTP_REQUEST_ID_LEN);
    pthread_mutex_unlock(&door->lock);
    (void)send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(fd, SHUT_WR);
    drop_input(fd);
    close(fd);
}

static void door_wake(struct http_door *door)
{
    uint64_t one = 1;
    CHECK(write(door->wake_fd, &one, sizeof one) == sizeof one);
}

static void admit(struct http_server *server, int fd, const struct sockaddr *peer)
{
    struct http_door *door = &server->door;
    enum http_reason full;
    struct http_address *address = http_limits_admit(server, peer, &full);
    if (!address) {
        http_door_refuse(server, fd, full);
        return;
    }
    if (full != HTTP_REASON_COUNT && clock_mono_us() < atomic_load(http_evict_again(door, address, full))) {
        http_limits_forget(server, address);
        http_door_refuse(server, fd, full);
        return;
    }
    if (full != HTTP_REASON_COUNT)
        atomic_fetch_add(&door->displacing, 1);
    http_loop_add(server, fd, peer, address, full);
}

/* The loops are so far behind with making room that newcomers are better off in the kernel's queue. */
static bool is_behind(struct http_door *door)
{
    return atomic_load(&door->displacing) >= DISPLACING_MAX;
}

void http_door_displaced(struct http_door *door)
{
    if (atomic_fetch_sub(&door->displacing, 1) == DISPLACING_MAX)
        door_wake(door);
}

enum accepted { ACCEPT_MORE, ACCEPT_DONE, ACCEPT_STARVED };

static enum accepted accept_one(struct http_server *server)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    int fd = accept4(server->door.listen_fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        admit(server, fd, (const struct sockaddr *)&address);
        return ACCEPT_MORE;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        metric_add(server->refused[HTTP_REASON_DESCRIPTORS], 1);
        return ACCEPT_STARVED;
    }
    /* The rest (ECONNABORTED and friends) is the trouble of one client, unless there is nothing to accept. */
    return errno == EAGAIN || errno == EWOULDBLOCK ? ACCEPT_DONE : ACCEPT_MORE;
}

static enum accepted accept_some(struct http_server *server, size_t count_max)
{
    enum accepted last = ACCEPT_MORE;
    for (size_t i = 0; i < count_max && last == ACCEPT_MORE && !is_behind(&server->door); i++)
        last = accept_one(server);
    return last;
}

static void listen_end(struct http_server *server)
{
    struct http_door *door = &server->door;
    if (!door->closed) {
        /* Whoever is in the queue has a connection already; closing now would reset it. */
        for (size_t i = 0; i < HTTP_BACKLOG && accept_one(server) == ACCEPT_MORE; i++)
            ;
        close(door->listen_fd);
        door->listen_fd = -1;
    }
    pthread_mutex_lock(&door->lock);
    door->closed = true;
    pthread_cond_broadcast(&door->changed);
    pthread_mutex_unlock(&door->lock);
}

/* Waits for a client or a command. Out of descriptors, it looks away from the listening socket for a moment
 * instead of being told about the same client for ever; with the loops behind, until one of them wakes it. */
static bool door_turn(struct http_server *server, bool starved)
{
    struct http_door *door = &server->door;
    struct pollfd fds[] = {{.fd = door->wake_fd, .events = POLLIN},
                           {.fd = starved || is_behind(door) ? -1 : door->listen_fd, .events = POLLIN}};
    (void)poll(fds, COUNT_OF(fds), starved ? PAUSE_MS : -1);
    if (fds[0].revents) {
        uint64_t count;
        CHECK(read(door->wake_fd, &count, sizeof count) == sizeof count);
    }
    return fds[1].revents && accept_some(server, ACCEPTS_PER_TURN) == ACCEPT_STARVED;
}

static void *door_run(void *argument)
{
    struct http_server *server = argument;
    struct http_door *door = &server->door;
    bool starved = false;
    while (!atomic_load(&door->stop_wanted)) {
        starved = door_turn(server, starved);
        if (atomic_load(&door->close_wanted))
            listen_end(server);
    }
    return NULL;
}

/* --- Life --- */

struct endpoint {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t len;
};

static bool endpoint_parse(const char *text, uint16_t port, struct endpoint *ret)
{
    memset(ret, 0, sizeof *ret);
    if (inet_pton(AF_INET, text, &ret->address.v4.sin_addr) == 1) {
        ret->address.v4.sin_family = AF_INET;
        ret->address.v4.sin_port = htons(port);
        ret->len = sizeof ret->address.v4;
        return true;
    }
    if (inet_pton(AF_INET6, text, &ret->address.v6.sin6_addr) == 1) {
        ret->address.v6.sin6_family = AF_INET6;
        ret->address.v6.sin6_port = htons(port);
        ret->len = sizeof ret->address.v6;
        return true;
    }
    return false;
}

/* SO_REUSEADDR, so that a restart after kill -9 need not wait for the connections of the dead process.
 * Accepted sockets inherit TCP_NODELAY, because answers are sent whole, and TCP_NOTSENT_LOWAT: of an answer
 * that its client does not read the kernel would take more than a mebibyte, which is no budget's. */
static int listen_on(struct endpoint *endpoint)
{
    int on = 1, unsent = UNSENT_BYTES_MAX;
    int fd = socket(endpoint->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent) == 0 &&
        bind(fd, &endpoint->address.any, endpoint->len) == 0 && listen(fd, HTTP_BACKLOG) == 0 &&
        getsockname(fd, &endpoint->address.any, &endpoint->len) == 0)
        return fd;
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return -1;
}

bool http_door_open(struct http_server *server, char *reason, size_t reason_size)
{
    struct http_door *door = &server->door;
    const struct http_options *options = &server->options;
    struct endpoint endpoint;
    door->listen_fd = door->wake_fd = -1;
    if (!endpoint_parse(options->bind_address, options->port, &endpoint)) {
        snprintf(reason, reason_size, "%s is not a numeric IPv4 or IPv6 address", options->bind_address);
        return false;
    }
    door->listen_fd = listen_on(&endpoint);
    if (door->listen_fd < 0) {
        snprintf(reason, reason_size, "cannot listen on %s port %u: %s", options->bind_address, options->port,
                 strerror(errno));
        return false;
    }
    bool v6 = endpoint.address.any.sa_family == AF_INET6;
    door->port = ntohs(v6 ? endpoint.address.v6.sin6_port : endpoint.address.v4.sin_port);
    door->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (door->wake_fd < 0) {
        snprintf(reason, reason_size, "cannot make an event descriptor: %s", strerror(errno));
        close(door->listen_fd);
        return false;
    }
    http_request_init(&door->refused, server);
    buf_init(&door->refusal, HTTP_REPLY_MAX);
    CHECK(pthread_mutex_init(&door->lock, NULL) == 0 && pthread_cond_init(&door->changed, NULL) == 0);
    return true;
}

void http_door_start(struct http_server *server)
{
    CHECK(pthread_create(&server->door.thread, NULL, door_run, server) == 0);
    pthread_setname_np(server->door.thread, "http-door");
    server->door.started = true;
}

void http_door_close(struct http_server *server)
{
    struct http_door *door = &server->door;
    atomic_store(&door->close_wanted, true);
    door_wake(door);
    pthread_mutex_lock(&door->lock);
    while (!door->closed)
        pthread_cond_wait(&door->changed, &door->lock);
    pthread_mutex_unlock(&door->lock);
}

void http_door_stop(struct http_server *server)
{
    struct http_door *door = &server->door;
    if (!door->started)
        return;
    atomic_store(&door->stop_wanted, true);
    door_wake(door);
    pthread_join(door->thread, NULL);
    door->started = false;
}

void http_door_deinit(struct http_server *server)
{
    struct http_door *door = &server->door;
    if (door->listen_fd >= 0)
        close(door->listen_fd);
    close(door->wake_fd);
    http_request_deinit(&door->refused);
    buf_deinit(&door->refusal);
    http_limits_deinit(server);
    pthread_cond_destroy(&door->changed);
    pthread_mutex_destroy(&door->lock);
}
