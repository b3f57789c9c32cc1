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
    HTTP_CONN_BYTES = sizeof(struct http_conn) + HTTP_INPUT_BYTES + HTTP_KEEP_BYTES + 2048,
    SLOW_AFTER_MS = 1000,     /* a head takes longer than this: slow */
    SLOW_BYTES_PER_S = 16384, /* a body or an answer that moves slower than this is slow */
    STALLED_MS = 10000,       /* nothing of an answer was read for so long: over, room or not */
    SAMPLE_MS = 500,
    EVICT_LOOKS_MAX = 512, /* connections of a phase that are looked at, for those that can go */
    PRESSED_EVICTIONS = 32 /* at once, of a phase: a loop that closes thousands serves nobody meanwhile */
};

/* --- Addresses --- */

struct in6_addr http_address_mapped(const struct sockaddr *address)
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
    struct in6_addr network = http_address_mapped(address);
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
    return (struct span){(const char *)&conn->client, sizeof conn->client};
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
    if (held &&
        !sum_add(&conn->address->held, bytes, conn->from_proxy ? SIZE_MAX : options->bytes_per_client_max)) {
        atomic_fetch_sub(&server->door.held_by_requests, bytes);
        held = false;
    }
    if (held && key && !sum_add(&server->key_held[key->index], bytes, options->bytes_per_client_max)) {
        atomic_fetch_sub(&server->door.held_by_requests, bytes);
        atomic_fetch_sub(&conn->address->held, bytes);
        held = false;
    }
    if (!held) {
        atomic_fetch_add(&server->pressed, 1);
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

/* --- Phases --- */

void http_phase_set(struct http_conn *conn, enum http_phase phase)
{
    struct http_loop *loop = conn->request.loop;
    TAILQ_REMOVE(&loop->phases[conn->phase], conn, in_phase);
    TAILQ_INSERT_TAIL(&loop->phases[phase], conn, in_phase);
    conn->phase = phase;
    conn->since_us = conn->stalled_us = loop->now_us;
    conn->sampled_us = 0;
    conn->moved = conn->dropped = 0;
    conn->late = conn->reads_slowly = false;
}

/* How long a connection may be in a phase; a handler has its own deadlines. */
static int64_t phase_max_ms(struct http_server *server, enum http_phase phase)
{
    switch (phase) {
    case HTTP_PHASE_IDLE:
        return (int64_t)server->options.idle_timeout_s * 1000;
    case HTTP_PHASE_HEAD:
        return atomic_load_explicit(&server->head_ms, memory_order_relaxed);
    case HTTP_PHASE_BODY:
        return atomic_load_explicit(&server->body_ms, memory_order_relaxed);
    case HTTP_PHASE_SENDING:
        return atomic_load_explicit(&server->send_ms, memory_order_relaxed);
    case HTTP_PHASE_CLOSING:
        return atomic_load_explicit(&server->linger_ms, memory_order_relaxed);
    default:
        return INT64_MAX / US_PER_MS;
    }
}

static bool moves_slowly(uint64_t bytes, int64_t duration_us)
{
    return bytes < (uint64_t)duration_us * SLOW_BYTES_PER_S / US_PER_S;
}

/* An answer is as far as its client's host has acknowledged it: what this host's kernel took says little. */
static void sample(struct http_conn *conn, int64_t now_us)
{
    struct tcp_info info = {.tcpi_state = 0};
    socklen_t len = sizeof info;
    if (getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return;
    uint64_t moved = info.tcpi_bytes_acked - conn->sampled_acked;
    if (conn->sampled_us)
        conn->reads_slowly = moves_slowly(moved, now_us - conn->sampled_us);
    if (!conn->sampled_us || moved > 0)
        conn->stalled_us = now_us;
    conn->sampled_us = now_us;
    conn->sampled_acked = info.tcpi_bytes_acked;
}

/* --- Ending connections --- */

/* Nothing has arrived but perhaps the client's end, also since the loop learned of sockets: closing cuts no
 * request. */
static bool is_silent(const struct http_conn *conn)
{
    char byte;
    return conn->input.used == conn->input.end && recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

static void end(struct http_conn *conn, enum http_reason reason)
{
    if (reason != HTTP_REASON_COUNT)
        metric_add(conn->request.server->refused[reason], 1); /* first: who sees the end shall see this */
    http_conn_destroy(conn);
}

/* A request that is late is told so, after what has arrived of it was read: it may be complete. */
static void end_overdue(struct http_conn *conn)
{
    if (conn->phase == HTTP_PHASE_HEAD || conn->phase == HTTP_PHASE_BODY) {
        conn->late = true;
        http_conn_ready(conn, conn->request.loop->now_us);
    } else if (conn->phase != HTTP_PHASE_IDLE || is_silent(conn)) {
        end(conn, conn->phase == HTTP_PHASE_SENDING ? HTTP_REASON_SLOW : HTTP_REASON_COUNT);
    }
}

/* What is slow, or idle, may go; nothing that is at work, or whose request is waiting to be read. */
static bool may_go(const struct http_conn *conn)
{
    switch (conn->phase) {
    case HTTP_PHASE_IDLE:
        return is_silent(conn);
    case HTTP_PHASE_HEAD:
    case HTTP_PHASE_CLOSING:
        return true;
    case HTTP_PHASE_BODY:
        return !conn->held_back && moves_slowly(conn->moved, conn->request.loop->now_us - conn->since_us);
    case HTTP_PHASE_SENDING:
        return conn->reads_slowly;
    default:
        return false;
    }
}

/* Ends up to `want` of a phase, who are there longest first, of those whose request holds that many bytes. */
static unsigned evict(struct http_loop *loop, enum http_phase phase, const struct http_address *address,
                      unsigned want, size_t held_min)
{
    int64_t after_us =
        US_PER_MS * (phase == HTTP_PHASE_IDLE ? atomic_load(&loop->server->idle_evict_ms) : SLOW_AFTER_MS);
    unsigned count = 0, looks = EVICT_LOOKS_MAX;
    struct http_conn *next, *conn = TAILQ_FIRST(&loop->phases[phase]);
    for (; conn && count < want && looks > 0; conn = next, looks--) {
        next = TAILQ_NEXT(conn, in_phase);
        if (loop->now_us - conn->since_us < after_us)
            break;
        if ((address && conn->address != address) || conn->held < held_min || !may_go(conn))
            continue;
        end(conn, HTTP_REASON_EVICTED);
        count++;
    }
    return count;
}

static const enum http_phase slow_phases[] = {HTTP_PHASE_CLOSING, HTTP_PHASE_HEAD, HTTP_PHASE_BODY,
                                              HTTP_PHASE_SENDING};

bool http_limits_evict(struct http_loop *loop, struct http_address *address)
{
    for (size_t i = 0; i < COUNT_OF(slow_phases); i++)
        if (evict(loop, slow_phases[i], address, 1, 0))
            return true;
    return evict(loop, HTTP_PHASE_IDLE, address, 1, 0);
}

/* Some request found no room for its bytes, or some connection: who is slow and holds any of what is short
 * makes room for the next ones. */
static void relieve(struct http_loop *loop)
{
    struct http_server *server = loop->server;
    unsigned pressed = atomic_load(&server->pressed);
    bool connections = atomic_load(&server->door.held) + HTTP_CONN_BYTES > server->options.bytes_max;
    for (size_t i = 0; i < COUNT_OF(slow_phases) && pressed != loop->pressed_seen; i++)
        (void)evict(loop, slow_phases[i], NULL, PRESSED_EVICTIONS, connections ? 0 : 1);
    loop->pressed_seen = pressed;
}

void http_limits_tick(struct http_loop *loop)
{
    struct http_server *server = loop->server;
    struct http_conn *conn, *next;
    for (unsigned phase = 0; phase < HTTP_PHASES; phase++) {
        int64_t since_us = loop->now_us - phase_max_ms(server, phase) * US_PER_MS;
        for (conn = TAILQ_FIRST(&loop->phases[phase]); conn && conn->since_us <= since_us; conn = next) {
            next = TAILQ_NEXT(conn, in_phase);
            end_overdue(conn);
        }
    }
    bool samples = loop->now_us >= loop->sample_us;
    if (samples)
        loop->sample_us = loop->now_us + SAMPLE_MS * US_PER_MS;
    for (conn = TAILQ_FIRST(&loop->phases[HTTP_PHASE_SENDING]); conn && samples; conn = next) {
        next = TAILQ_NEXT(conn, in_phase);
        sample(conn, loop->now_us);
        if (loop->now_us - conn->stalled_us >= STALLED_MS * US_PER_MS ||
            http_stream_is_late(&conn->request, loop->now_us))
            end(conn, HTTP_REASON_SLOW);
    }
    relieve(loop);
}

void http_limits_hang_up(struct http_loop *loop)
{
    struct http_conn *next, *conn = TAILQ_FIRST(&loop->phases[HTTP_PHASE_IDLE]);
    for (; conn; conn = next) {
        next = TAILQ_NEXT(conn, in_phase);
        if (is_silent(conn))
            end(conn, HTTP_REASON_COUNT);
    }
}

/* --- Coming and going --- */

static struct http_address *admit_locked(struct http_server *server, const struct sockaddr *from,
                                         enum http_reason *ret)
{
    struct http_door *door = &server->door;
    struct http_address *address = address_of(door, from);
    struct in6_addr peer = http_address_mapped(from);
    bool limited =
        !http_proxies_trust(&server->proxies, &peer); /* behind a proxy many clients have one address */
    if (!sum_add(&door->held, HTTP_CONN_BYTES, server->options.bytes_max)) {
        *ret = HTTP_REASON_MEMORY;
        atomic_fetch_add(&server->pressed, 1);
        address_drop_unused(door, address);
        return NULL;
    }
    *ret = limited && address->connections >= server->options.connections_per_address_max
               ? HTTP_REASON_ADDRESS
           : atomic_load(&door->connections) >= server->options.connections_max ? HTTP_REASON_CONNECTIONS
                                                                                : HTTP_REASON_COUNT;
    address->connections++;
    atomic_fetch_add(&door->connections, 1);
    metric_add(server->connections_gauge, 1);
    metric_add(server->held_gauge, HTTP_CONN_BYTES);
    return address;
}

struct http_address *http_limits_admit(struct http_server *server, const struct sockaddr *from,
                                       enum http_reason *ret)
{
    pthread_mutex_lock(&server->door.lock);
    struct http_address *address = admit_locked(server, from, ret);
    pthread_mutex_unlock(&server->door.lock);
    return address;
}

void http_limits_forget(struct http_server *server, struct http_address *address)
{
    struct http_door *door = &server->door;
    pthread_mutex_lock(&door->lock);
    CHECK(address->connections > 0);
    address->connections--;
    address_drop_unused(door, address);
    atomic_fetch_sub(&door->held, HTTP_CONN_BYTES);
    metric_add(server->connections_gauge, (uint64_t)-1);
    metric_add(server->held_gauge, (uint64_t)0 - HTTP_CONN_BYTES);
    if (atomic_fetch_sub(&door->connections, 1) == 1 && atomic_load(&server->draining))
        pthread_cond_broadcast(&door->changed);
    pthread_mutex_unlock(&door->lock);
}

void http_limits_enter(struct http_loop *loop, struct http_conn *conn)
{
    conn->since_us = loop->now_us;
    TAILQ_INSERT_TAIL(&loop->phases[HTTP_PHASE_IDLE], conn, in_phase);
}

void http_limits_leave(struct http_loop *loop, struct http_conn *conn)
{
    TAILQ_REMOVE(&loop->phases[conn->phase], conn, in_phase);
    http_limits_forget(loop->server, conn->address);
}

void http_limits_deinit(struct http_server *server)
{
    for (size_t i = 0; i < HTTP_ADDRESS_HASH; i++)
        CHECK(!server->door.addresses[i]); /* each has a connection */
}
