/* SPDX-License-Identifier: Apache-2.0 */
/* The door of the HTTP server: one thread that listens, accepts, keeps the limits on connections, hands
 * sockets to the event loops, and ends connections that take too long over one request. It accepts itself
 * rather than leave that to libmicrohttpd, because MHD_quiesce_daemon races with its own threads (its failure
 * to remove the listening socket twice aborts the process), and because running out of descriptors must not
 * become a busy loop. No requests, no library. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/http/internal.h"

enum { ACCEPTS_PER_TURN = 64, PAUSE_MS = 100, DROP_BYTES = 4096 };

/* --- Addresses --- */

struct http_address {
    struct http_address *next;
    struct in6_addr key;
    unsigned connections;
};

/* IPv4 as it is mapped into IPv6. */
static struct in6_addr address_key(const struct sockaddr *address)
{
    struct in6_addr key = {0};
    if (address->sa_family == AF_INET6) {
        key = ((const struct sockaddr_in6 *)address)->sin6_addr;
    } else if (address->sa_family == AF_INET) {
        key.s6_addr[10] = key.s6_addr[11] = 0xFF;
        memcpy(&key.s6_addr[12], &((const struct sockaddr_in *)address)->sin_addr, 4);
    }
    return key;
}

static struct http_address **address_find(struct http_door *door, const struct in6_addr *key)
{
    uint64_t hash = span_hash((struct span){(const char *)key, sizeof *key});
    struct http_address **at = &door->addresses[hash % HTTP_CONNECTION_HASH];
    while (*at && memcmp(&(*at)->key, key, sizeof *key) != 0)
        at = &(*at)->next;
    return at;
}

/* Counts one more connection of an address, unless it has as many as it may. */
static bool address_take(struct http_server *server, const struct in6_addr *key)
{
    struct http_door *door = &server->door;
    pthread_mutex_lock(&door->lock);
    struct http_address **at = address_find(door, key);
    if (!*at) {
        *at = mem_zalloc(sizeof **at);
        (*at)->key = *key;
    }
    bool room = (*at)->connections < server->options.connections_per_address_max;
    (*at)->connections += room;
    pthread_mutex_unlock(&door->lock);
    return room;
}

static void address_give_locked(struct http_door *door, const struct in6_addr *key)
{
    struct http_address **at = address_find(door, key), *address = *at;
    CHECK(address && address->connections > 0);
    if (--address->connections > 0)
        return;
    *at = address->next;
    mem_free(address);
}

/* --- Connections --- */

void http_door_enter(struct http_server *server, struct http_conn *conn, const struct sockaddr *address)
{
    struct http_door *door = &server->door;
    conn->address = address_key(address);
    pthread_mutex_lock(&door->lock);
    conn->next = door->conns;
    if (door->conns)
        door->conns->previous = conn;
    door->conns = conn;
    pthread_mutex_unlock(&door->lock);
}

struct span http_address(const struct http_request *request)
{
    /* Handlers only ever see the request of a connection, which is a part of it. */
    const struct http_conn *conn =
        (const struct http_conn *)((const char *)request - offsetof(struct http_conn, request));
    return (struct span){(const char *)&conn->address, sizeof conn->address};
}

static void connection_gone_locked(struct http_server *server, const struct in6_addr *key)
{
    address_give_locked(&server->door, key);
    metric_add(server->connections_gauge, (uint64_t)-1);
    if (atomic_fetch_sub(&server->door.connections, 1) == 1 && atomic_load(&server->draining))
        pthread_cond_broadcast(&server->door.changed);
}

void http_door_leave(struct http_server *server, struct http_conn *conn)
{
    struct http_door *door = &server->door;
    pthread_mutex_lock(&door->lock);
    if (conn->previous)
        conn->previous->next = conn->next;
    else
        door->conns = conn->next;
    if (conn->next)
        conn->next->previous = conn->previous;
    connection_gone_locked(server, &conn->address);
    pthread_mutex_unlock(&door->lock);
}

void http_door_forget(struct http_server *server, const struct sockaddr *address)
{
    struct in6_addr key = address_key(address);
    pthread_mutex_lock(&server->door.lock);
    connection_gone_locked(server, &key);
    pthread_mutex_unlock(&server->door.lock);
}

/* Only the receiving side is shut: the loop then reads what has arrived, answers it, and sees the end only
 * after that. A whole close would reset the connection under a request that is already here. */
void http_door_hang_up(struct http_loop *loop)
{
    struct http_door *door = &loop->server->door;
    pthread_mutex_lock(&door->lock);
    for (struct http_conn *conn = door->conns; conn; conn = conn->next)
        if (conn->request.loop == loop && conn->request.phase == HTTP_PHASE_IDLE)
            shutdown(conn->fd, SHUT_RD);
    pthread_mutex_unlock(&door->lock);
}

/* Ends connections whose current request is overdue. Their loop sees the end of the stream and cleans up; it
 * leaves the list before it closes the socket, so the descriptor cannot be someone else's by now. */
static void sweep(struct http_server *server)
{
    struct http_door *door = &server->door;
    int64_t now_us = clock_mono_us();
    pthread_mutex_lock(&door->lock);
    for (struct http_conn *conn = door->conns; conn; conn = conn->next) {
        int64_t deadline_us = atomic_load_explicit(&conn->deadline_us, memory_order_relaxed);
        if (deadline_us == 0 || deadline_us > now_us ||
            !atomic_compare_exchange_strong(&conn->deadline_us, &deadline_us, 0))
            continue;
        metric_add(server->refused[HTTP_REASON_SLOW], 1); /* first, so that who sees the end sees this too */
        shutdown(conn->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&door->lock);
}

/* --- Accepting --- */

/* Reads and drops what has arrived, so that closing does not reset the connection under the answer. */
static void drop_input(int fd)
{
    char dropped[DROP_BYTES];
    (void)recv(fd, dropped, sizeof dropped, MSG_DONTWAIT);
}

static void refuse(struct http_server *server, int fd, enum http_reason reason)
{
    struct http_request *request = &server->door.refused;
    struct buf answer;
    buf_init(&answer, HTTP_KEEP_BYTES);
    http_request_set_id(request);
    http_refuse(request, &problem_overloaded, reason, "this instance has as many connections as it may");
    http_refusal_reply(request);
    http_raw_answer(request, &answer);
    drop_input(fd);
    (void)send(fd, answer.data, answer.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(fd, SHUT_WR);
    drop_input(fd);
    close(fd);
    buf_deinit(&answer);
    http_request_end(request);
}

static void admit(struct http_server *server, int fd, const struct sockaddr *address, socklen_t len)
{
    struct http_door *door = &server->door;
    struct in6_addr key = address_key(address);
    if (atomic_load(&door->connections) >= server->options.connections_max) {
        refuse(server, fd, HTTP_REASON_CONNECTIONS);
        return;
    }
    if (!address_take(server, &key)) {
        refuse(server, fd, HTTP_REASON_ADDRESS);
        return;
    }
    atomic_fetch_add(&door->connections, 1);
    metric_add(server->connections_gauge, 1);
    http_loop_add(server, fd, address, len);
}

enum accepted { ACCEPT_MORE, ACCEPT_DONE, ACCEPT_STARVED };

static enum accepted accept_one(struct http_server *server)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    int fd = accept4(server->door.listen_fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        admit(server, fd, (const struct sockaddr *)&address, len);
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
    for (size_t i = 0; i < count_max && last == ACCEPT_MORE; i++)
        last = accept_one(server);
    return last;
}

static void wake(struct http_door *door)
{
    uint64_t one = 1;
    ssize_t written = write(door->wake_fd, &one, sizeof one);
    CHECK(written == sizeof one || errno == EAGAIN);
}

static void listen_end(struct http_server *server)
{
    struct http_door *door = &server->door;
    if (!door->closed) {
        /* Whoever is in the queue has a connection already; closing now would reset it. */
        accept_some(server, HTTP_BACKLOG);
        close(door->listen_fd);
        door->listen_fd = -1;
    }
    pthread_mutex_lock(&door->lock);
    door->closed = true;
    pthread_cond_broadcast(&door->changed);
    pthread_mutex_unlock(&door->lock);
}

/* One turn: waits for a client, a command or the next sweep. Out of descriptors, it looks away from the
 * listening socket for a moment instead of being told about the same client for ever. */
static bool door_turn(struct http_server *server, bool starved)
{
    struct http_door *door = &server->door;
    struct pollfd fds[] = {{.fd = door->wake_fd, .events = POLLIN},
                           {.fd = starved ? -1 : door->listen_fd, .events = POLLIN}};
    (void)poll(fds, COUNT_OF(fds), starved ? PAUSE_MS : HTTP_SWEEP_MS);
    if (fds[0].revents) {
        uint64_t count;
        ssize_t got = read(door->wake_fd, &count, sizeof count);
        CHECK(got == sizeof count || errno == EAGAIN);
    }
    if (fds[1].revents)
        return accept_some(server, ACCEPTS_PER_TURN) == ACCEPT_STARVED;
    return false;
}

static void *door_run(void *argument)
{
    struct http_server *server = argument;
    struct http_door *door = &server->door;
    int64_t sweep_us = clock_deadline_us(HTTP_SWEEP_MS);
    bool starved = false;
    while (!atomic_load(&door->stop_wanted)) {
        starved = door_turn(server, starved);
        if (atomic_load(&door->close_wanted) && door->listen_fd >= 0)
            listen_end(server);
        if (clock_mono_us() < sweep_us)
            continue;
        sweep(server);
        sweep_us = clock_deadline_us(HTTP_SWEEP_MS);
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

/* SO_REUSEADDR, so that a restart after kill -9 need not wait for the connections of the dead process. */
static int listen_on(struct endpoint *endpoint)
{
    int on = 1;
    int fd = socket(endpoint->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
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
    wake(door);
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
    wake(door);
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
    for (size_t i = 0; i < HTTP_CONNECTION_HASH; i++)
        while (door->addresses[i]) {
            struct http_address *next = door->addresses[i]->next;
            mem_free(door->addresses[i]);
            door->addresses[i] = next;
        }
    pthread_cond_destroy(&door->changed);
    pthread_mutex_destroy(&door->lock);
}
