/* SPDX-License-Identifier: Apache-2.0 */
/* What connections may cost: how many there are in all and of one address, how many bytes they hold in all,
 * of one address and of one key, and how long each may be where it is. When there is no room, those go first
 * that make no progress: slow heads, slow bodies, answers nobody reads; then those that were idle the
 * longest.
 *
 * Bytes: each connection is counted with what it always has (HTTP_CONN_BYTES); what a request needs beyond
 * that, for a long head, a body, or an answer, is held until the request is over. */
#include <errno.h>
#include <linux/tcp.h>
#include <sys/socket.h>

#include "common/base/mem.h"
#include "common/http/internal.h"

enum {
    HTTP_CONN_BYTES = sizeof(struct http_conn) + HTTP_INPUT_BYTES + HTTP_POOL_BYTES + HTTP_KEEP_BYTES + 1024,
    SLOW_AFTER_MS = 1000,     /* a head takes longer than this: slow; an idle one may go for others */
    SLOW_BYTES_PER_S = 16384, /* a body or an answer that moves slower than this is slow */
    STALLED_MS = 10000,       /* nothing of an answer was read for so long: over, room or not */
    EVICTED_SHARE = 64,       /* of all connections, at once at most one in so many, and LEAVING_MAX */
    LEAVING_MAX = 128,        /* connections beyond the limit while evicted ones have not gone yet */
    EVICT_AGAIN_MS = 100,     /* when nobody could be evicted, nobody can be a moment later */
    EVICT_FEW_MS = 10,        /* when few could */
    AGE_CLASSES = 24          /* of idle connections: by powers of two of milliseconds */
};

/* --- Addresses --- */

/* IPv4 as it is mapped into IPv6. */
static struct in6_addr address_mapped(const struct sockaddr *address)
{
    struct in6_addr mapped = {0};
    if (address->sa_family == AF_INET6) {
        mapped = ((const struct sockaddr_in6 *)address)->sin6_addr;
    } else if (address->sa_family == AF_INET) {
        mapped.s6_addr[10] = mapped.s6_addr[11] = 0xFF;
        memcpy(&mapped.s6_addr[12], &((const struct sockaddr_in *)address)->sin_addr, 4);
    }
    return mapped;
}

static struct in6_addr network_of(const struct sockaddr *address)
{
    struct in6_addr network = address_mapped(address);
    if (!IN6_IS_ADDR_V4MAPPED(&network))
        memset(&network.s6_addr[8], 0, 8);
    return network;
}

static struct http_address **address_find(struct http_door *door, const struct in6_addr *network)
{
    uint64_t hash = span_hash((struct span){(const char *)network, sizeof *network});
    struct http_address **at = &door->addresses[hash % HTTP_ADDRESS_HASH];
    while (*at && memcmp(&(*at)->network, network, sizeof *network) != 0)
        at = &(*at)->next;
    return at;
}

static struct http_address *address_of(struct http_door *door, const struct sockaddr *address)
{
    struct in6_addr network = network_of(address);
    struct http_address **at = address_find(door, &network);
    if (!*at) {
        *at = mem_zalloc(sizeof **at);
        (*at)->network = network;
    }
    return *at;
}

static void address_drop_unused(struct http_door *door, struct http_address *address)
{
    if (address->connections > 0)
        return;
    *address_find(door, &address->network) = address->next;
    mem_free(address);
}

struct span http_address(const struct http_request *request)
{
    const struct http_conn *conn = (const struct http_conn *)request; /* its first member */
    return (struct span){(const char *)&conn->peer, sizeof conn->peer};
}

/* --- Bytes --- */

/* Adds to a sum unless it would go over its maximum. */
static bool sum_add(atomic_size_t *sum, size_t bytes, size_t max)
{
    size_t before = atomic_fetch_add(sum, bytes);
    if (before <= max && bytes <= max - before)
        return true;
    atomic_fetch_sub(sum, bytes);
    return false;
}

static void press(struct http_server *server)
{
    if (!atomic_exchange(&server->door.pressed, true))
        http_door_wake(server);
}

/* What large requests may not take is kept for connections, so that none of these is refused for those. */
static size_t requests_bytes_max(const struct http_options *options)
{
    size_t connections = (size_t)options->connections_max * HTTP_CONN_BYTES,
           most = options->bytes_max / 4 * 3;
    return options->bytes_max - (connections < most ? connections : most);
}

bool http_hold(struct http_conn *conn, size_t bytes)
{
    struct http_server *server = conn->request.server;
    const struct http_options *options = &server->options;
    const struct api_key *key = conn->request.key;
    bool held = sum_add(&server->door.held_by_requests, bytes, requests_bytes_max(options));
    if (held && !sum_add(&conn->address->held, bytes, options->bytes_per_client_max)) {
        atomic_fetch_sub(&server->door.held_by_requests, bytes);
        held = false;
    }
    if (held && key && !sum_add(&server->key_held[key->index], bytes, options->bytes_per_client_max)) {
        atomic_fetch_sub(&server->door.held_by_requests, bytes);
        atomic_fetch_sub(&conn->address->held, bytes);
        held = false;
    }
    if (!held) {
        press(server);
        return false;
    }
    atomic_fetch_add(&server->door.held, bytes);
    conn->held += bytes;
    conn->held_by_key += key ? bytes : 0;
    conn->held_key = key ? key->index : 0;
    metric_add(server->held_gauge, bytes);
    return true;
}

void http_let_go(struct http_conn *conn)
{
    struct http_server *server = conn->request.server;
    if (conn->held == 0)
        return;
    atomic_fetch_sub(&server->door.held, conn->held);
    atomic_fetch_sub(&server->door.held_by_requests, conn->held);
    atomic_fetch_sub(&conn->address->held, conn->held);
    atomic_fetch_sub(&server->key_held[conn->held_key], conn->held_by_key);
    metric_add(server->held_gauge, (uint64_t)0 - conn->held);
    conn->held = conn->held_by_key = 0;
}

/* --- Progress --- */

void http_phase_set(struct http_conn *conn, enum http_phase phase, int64_t timeout_ms)
{
    int64_t now_us = clock_mono_us();
    conn->request.phase = phase;
    atomic_store_explicit(&conn->stage, (int)phase, memory_order_relaxed);
    atomic_store_explicit(&conn->since_us, now_us, memory_order_relaxed);
    atomic_store_explicit(&conn->moved, 0, memory_order_relaxed);
    atomic_store_explicit(&conn->deadline_us, timeout_ms ? now_us + timeout_ms * US_PER_MS : 0,
                          memory_order_relaxed);
}

static bool moves_slowly(uint64_t bytes, int64_t duration_us)
{
    return bytes < (uint64_t)duration_us * SLOW_BYTES_PER_S / US_PER_S;
}

/* The loop does not see how far an answer has got, the kernel does. */
static void sample(struct http_conn *conn, int64_t since_us, int64_t now_us)
{
    struct tcp_info info = {.tcpi_state = 0};
    socklen_t len = sizeof info;
    if (getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return;
    if (conn->sampled_since_us != since_us) {
        conn->sampled_since_us = since_us;
        conn->stalled_us = now_us;
        conn->reads_slowly = false;
    } else {
        uint64_t moved = info.tcpi_bytes_acked - conn->sampled_acked;
        conn->reads_slowly = moves_slowly(moved, now_us - conn->sampled_us);
        if (moved > 0)
            conn->stalled_us = now_us;
    }
    conn->sampled_us = now_us;
    conn->sampled_acked = info.tcpi_bytes_acked;
}

/* An end that came in one piece with the last request was not noticed: the library waits for news. */
static bool has_left(struct http_conn *conn, int64_t since_us)
{
    char byte;
    if (conn->sampled_since_us == since_us)
        return false;
    conn->sampled_since_us = since_us;
    return recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static bool is_slow(const struct http_conn *conn, int64_t now_us)
{
    int64_t since_us = atomic_load_explicit(&conn->since_us, memory_order_relaxed);
    if (now_us - since_us < SLOW_AFTER_MS * US_PER_MS)
        return false;
    switch (atomic_load_explicit(&conn->stage, memory_order_relaxed)) {
    case HTTP_PHASE_HEAD:
    case HTTP_PHASE_CLOSING:
        return true;
    case HTTP_PHASE_BODY:
        return moves_slowly(atomic_load_explicit(&conn->moved, memory_order_relaxed), now_us - since_us);
    case HTTP_PHASE_SENDING:
        return conn->sampled_since_us == since_us && conn->reads_slowly;
    default:
        return false;
    }
}

/* --- Ending connections. All under the door's lock: a connection leaves the list before its descriptor is
 * closed, so the descriptor cannot be someone else's by now. --- */

/* How the receiving side alone is shut: the loop reads what has arrived, answers it, and sees the end only
 * after that. A whole close would reset the connection under a request that is already here. */
static void cut(struct http_server *server, struct http_conn *conn, int how)
{
    if (!conn->cut) {
        conn->cut = true;
        conn->address->leaving++;
        server->door.leaving++;
    }
    shutdown(conn->fd, how);
}

/* What is overdue: a request that is still coming is told so by its loop, which sees the end of the input. */
static void end_overdue(struct http_server *server, struct http_conn *conn, int64_t deadline_us)
{
    int stage = atomic_load_explicit(&conn->stage, memory_order_relaxed);
    int64_t again_us = stage == HTTP_PHASE_HEAD || stage == HTTP_PHASE_BODY
                           ? clock_deadline_us(atomic_load(&server->linger_ms))
                           : 0;
    if (!atomic_compare_exchange_strong(&conn->deadline_us, &deadline_us, again_us))
        return;
    if (stage == HTTP_PHASE_IDLE) {
        cut(server, conn, SHUT_RD);
    } else if (again_us && !atomic_exchange(&conn->late, true)) {
        shutdown(conn->fd, SHUT_RD);
    } else {
        if (stage == HTTP_PHASE_SENDING)
            metric_add(server->refused[HTTP_REASON_SLOW], 1); /* first, so that who sees the end sees this */
        cut(server, conn, SHUT_RDWR);
    }
}

/* Ends what is slow, of one address or of all. */
static unsigned evict_slow(struct http_server *server, const struct http_address *address, unsigned want)
{
    unsigned count = 0;
    int64_t now_us = clock_mono_us();
    for (struct http_conn *conn = server->door.conns; conn && count < want; conn = conn->next) {
        if (conn->cut || (address && conn->address != address) || !is_slow(conn, now_us))
            continue;
        metric_add(server->refused[HTTP_REASON_EVICTED], 1);
        cut(server, conn, SHUT_RDWR);
        count++;
    }
    return count;
}

/* How long a connection is idle, as a power of two of milliseconds; -1: it is not, or not long enough to go.
 */
static int idle_class(const struct http_conn *conn, const struct http_address *address, int64_t now_us)
{
    int64_t idle_ms = (now_us - atomic_load_explicit(&conn->since_us, memory_order_relaxed)) / US_PER_MS;
    if (conn->cut || (address && conn->address != address) || idle_ms < SLOW_AFTER_MS ||
        atomic_load_explicit(&conn->stage, memory_order_relaxed) != HTTP_PHASE_IDLE)
        return -1;
    int class = 0;
    while (class < AGE_CLASSES - 1 && idle_ms >> (class + 1))
        class ++;
    return class;
}

static unsigned evict_idle(struct http_server *server, const struct http_address *address, unsigned want)
{
    unsigned classes[AGE_CLASSES] = {0}, count = 0;
    int64_t now_us = clock_mono_us();
    for (struct http_conn *conn = server->door.conns; conn; conn = conn->next) {
        int class = idle_class(conn, address, now_us);
        classes[class < 0 ? 0 : class] += class >= 0;
    }
    int least = AGE_CLASSES - 1;
    for (unsigned longest = classes[least]; least > 0 && longest < want; longest += classes[least])
        least--;
    for (struct http_conn *conn = server->door.conns; conn && count < want; conn = conn->next) {
        int class = idle_class(conn, address, now_us);
        if (class < least)
            continue;
        metric_add(server->refused[HTTP_REASON_EVICTED], 1);
        cut(server, conn, SHUT_RD);
        count++;
    }
    return count;
}

static bool evict(struct http_server *server, struct http_address *address)
{
    struct http_door *door = &server->door;
    unsigned want = server->options.connections_max / EVICTED_SHARE + 1;
    int64_t now_us = clock_mono_us();
    int64_t *again_us = address ? &address->evict_again_us : &door->evict_again_us;
    if (now_us < *again_us)
        return false;
    if (want > LEAVING_MAX)
        want = LEAVING_MAX;
    unsigned count = evict_slow(server, address, want);
    if (count < want)
        count += evict_idle(server, address, want - count);
    if (count <
        want) /* all that could go went; looking through all of them for each newcomer would cost more */
        *again_us = now_us + (count ? EVICT_FEW_MS : EVICT_AGAIN_MS) * US_PER_MS;
    return count > 0;
}

static void sweep_one(struct http_server *server, struct http_conn *conn, int64_t now_us)
{
    int64_t deadline_us = atomic_load_explicit(&conn->deadline_us, memory_order_relaxed);
    int64_t since_us = atomic_load_explicit(&conn->since_us, memory_order_relaxed);
    int stage = atomic_load_explicit(&conn->stage, memory_order_relaxed);
    if (deadline_us != 0 && deadline_us <= now_us) {
        end_overdue(server, conn, deadline_us);
    } else if (conn->cut || now_us - since_us < SLOW_AFTER_MS * US_PER_MS) {
        return;
    } else if (stage == HTTP_PHASE_IDLE) {
        if (has_left(conn, since_us))
            cut(server, conn, SHUT_RDWR);
    } else if (stage == HTTP_PHASE_SENDING) {
        sample(conn, since_us, now_us);
        if (now_us - conn->stalled_us < STALLED_MS * US_PER_MS)
            return;
        metric_add(server->refused[HTTP_REASON_SLOW], 1);
        cut(server, conn, SHUT_RDWR);
    }
}

void http_limits_sweep(struct http_server *server)
{
    struct http_door *door = &server->door;
    int64_t now_us = clock_mono_us();
    bool pressed = atomic_exchange(&door->pressed, false);
    pthread_mutex_lock(&door->lock);
    for (struct http_conn *conn = door->conns; conn; conn = conn->next)
        sweep_one(server, conn, now_us);
    if (pressed)
        (void)evict_slow(server, NULL, UINT32_MAX);
    pthread_mutex_unlock(&door->lock);
}

void http_limits_hang_up(struct http_loop *loop)
{
    struct http_door *door = &loop->server->door;
    pthread_mutex_lock(&door->lock);
    for (struct http_conn *conn = door->conns; conn; conn = conn->next)
        if (conn->request.loop == loop && conn->request.phase == HTTP_PHASE_IDLE)
            shutdown(conn->fd, SHUT_RD);
    pthread_mutex_unlock(&door->lock);
}

/* --- Coming and going --- */

static bool has_room(const struct http_server *server)
{
    const struct http_door *door = &server->door;
    unsigned connections = atomic_load(&door->connections);
    return connections - door->leaving < server->options.connections_max &&
           connections < server->options.connections_max + LEAVING_MAX;
}

static bool address_has_room(const struct http_server *server, const struct http_address *address)
{
    return address->connections - address->leaving < server->options.connections_per_address_max;
}

static struct http_address *admit_locked(struct http_server *server, const struct sockaddr *from,
                                         enum http_reason *ret_reason)
{
    struct http_door *door = &server->door;
    *ret_reason = HTTP_REASON_CONNECTIONS;
    if (!has_room(server) && !(evict(server, NULL) && has_room(server)))
        return NULL;
    struct http_address *address = address_of(door, from);
    *ret_reason = HTTP_REASON_ADDRESS;
    if (!address_has_room(server, address) && !(evict(server, address) && address_has_room(server, address)))
        return NULL; /* it has connections, so it is not an entry for nothing */
    *ret_reason = HTTP_REASON_MEMORY;
    if (!sum_add(&door->held, HTTP_CONN_BYTES, server->options.bytes_max)) {
        press(server);
        address_drop_unused(door, address);
        return NULL;
    }
    address->connections++;
    return address;
}

struct http_address *http_limits_admit(struct http_server *server, const struct sockaddr *from,
                                       enum http_reason *ret_reason)
{
    pthread_mutex_lock(&server->door.lock);
    struct http_address *address = admit_locked(server, from, ret_reason);
    pthread_mutex_unlock(&server->door.lock);
    if (address) {
        atomic_fetch_add(&server->door.connections, 1);
        metric_add(server->connections_gauge, 1);
        metric_add(server->held_gauge, HTTP_CONN_BYTES);
    }
    return address;
}

static void gone_locked(struct http_server *server, struct http_address *address)
{
    struct http_door *door = &server->door;
    CHECK(address->connections > 0);
    address->connections--;
    address_drop_unused(door, address);
    atomic_fetch_sub(&door->held, HTTP_CONN_BYTES);
    metric_add(server->connections_gauge, (uint64_t)-1);
    metric_add(server->held_gauge, (uint64_t)0 - HTTP_CONN_BYTES);
    if (atomic_fetch_sub(&door->connections, 1) == 1 && atomic_load(&server->draining))
        pthread_cond_broadcast(&door->changed);
}

void http_limits_forget(struct http_server *server, struct http_address *address)
{
    pthread_mutex_lock(&server->door.lock);
    gone_locked(server, address);
    pthread_mutex_unlock(&server->door.lock);
}

void http_limits_enter(struct http_server *server, struct http_conn *conn, const struct sockaddr *peer)
{
    struct http_door *door = &server->door;
    conn->peer = address_mapped(peer);
    pthread_mutex_lock(&door->lock);
    conn->next = door->conns;
    if (door->conns)
        door->conns->previous = conn;
    door->conns = conn;
    pthread_mutex_unlock(&door->lock);
}

void http_limits_leave(struct http_server *server, struct http_conn *conn)
{
    struct http_door *door = &server->door;
    pthread_mutex_lock(&door->lock);
    if (conn->previous)
        conn->previous->next = conn->next;
    else
        door->conns = conn->next;
    if (conn->next)
        conn->next->previous = conn->previous;
    if (conn->cut) {
        conn->address->leaving--;
        door->leaving--;
    }
    gone_locked(server, conn->address);
    pthread_mutex_unlock(&door->lock);
}

void http_limits_deinit(struct http_server *server)
{
    for (size_t i = 0; i < HTTP_ADDRESS_HASH; i++)
        CHECK(!server->door.addresses[i]); /* each has a connection */
}
