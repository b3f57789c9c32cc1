/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the HTTP server: what it is made of, starting, draining, ending. */
#include <errno.h>

#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/http/internal.h"

/* How long the parts of a request may take in total, however steadily they trickle in. */
enum { HEAD_MS = 10000, BODY_MS = 30000, SEND_MS = 60000, LINGER_MS = 5000 };

/* A client that comes back sooner would lose its request to a connection that closes meanwhile, and come
 * again with a new one. */
enum { IDLE_EVICT_MS = 5000 };

enum { REFUSAL_US = 500 };

/* How long a drain waits for the first request of whoever connected as the door closed, and for the next one
 * of whoever keeps a connection. */
enum { LAST_REQUEST_MS = 100 };

static void server_measure(struct http_server *server)
{
    static const char *const labels[] = {
#define REASON_LABEL(name, label) [name] = "reason=\"" label "\"",
        HTTP_REASONS(REASON_LABEL)};
    for (size_t i = 0; i < HTTP_REASON_COUNT; i++)
        server->refused[i] = metric_counter(
            "coupon_http_refused_total", "HTTP requests and connections refused before a handler", labels[i]);
    server->in_flight_gauge = metric_gauge("coupon_http_in_flight",
                                           "HTTP requests between complete headers and a sent answer", NULL);
    server->waiting_gauge =
        metric_gauge("coupon_http_waiting_for_room", "HTTP requests that wait to be admitted", NULL);
    server->held_gauge =
        metric_gauge("coupon_http_held_bytes", "memory of connections, heads, bodies and answers", NULL);
    server->connections_gauge =
        metric_gauge("coupon_http_connections", "HTTP connections that are open", NULL);
    metric_set(metric_gauge("coupon_http_connections_limit", "HTTP connections that may be open", NULL),
               server->options.connections_max);
    if (server->options.bytes_max != SIZE_MAX)
        metric_set(metric_gauge("coupon_http_held_limit_bytes", "memory that HTTP may hold", NULL),
                   (int64_t)server->options.bytes_max);
    http_endpoint_measure(&server->unrouted, "none");
    http_options_init(&server->options_endpoint);
}

static bool loops_start(struct http_server *server, char *reason, size_t reason_size)
{
    server->loops = mem_zalloc(server->options.threads * sizeof *server->loops);
    for (unsigned i = 0; i < server->options.threads; i++) {
        if (!http_loop_start(server, &server->loops[i])) {
            snprintf(reason, reason_size, "cannot start an event loop: %s", strerror(errno));
            return false;
        }
        server->loops_count++;
    }
    return true;
}

static const char *options_fault(const struct http_options *options)
{
    if (options->threads == 0 || options->connections_max == 0 || options->connections_per_address_max == 0)
        return "threads and connections must be at least 1";
    if (options->header_bytes_max < 1024 || options->header_bytes_max > UINT16_MAX)
        return "header_bytes_max must be 1024 to 65535";
    for (size_t i = 0; i < options->routes_count; i++)
        if (options->routes[i].scopes && !options->keyring)
            return "a route needs a key, but there is no keyring";
    return NULL;
}

struct http_server *http_server_create(const struct http_options *options, char *reason, size_t reason_size)
{
    const char *fault = options_fault(options);
    if (fault) {
        snprintf(reason, reason_size, "%s", fault);
        return NULL;
    }
    struct http_server *server = mem_zalloc(sizeof *server);
    server->options = *options;
    if (options->bytes_max == 0)
        server->options.bytes_max = SIZE_MAX;
    if (options->bytes_per_client_max == 0)
        server->options.bytes_per_client_max = SIZE_MAX;
    if (!http_proxies_parse(options->trusted_proxies, &server->proxies)) {
        snprintf(reason, reason_size, "the trusted proxies are not addresses or networks");
        mem_free(server);
        return NULL;
    }
    server->head_ms = HEAD_MS;
    server->body_ms = BODY_MS;
    server->send_ms = SEND_MS;
    server->linger_ms = LINGER_MS;
    server->idle_evict_ms = IDLE_EVICT_MS;
    server->refusal_us = REFUSAL_US;
    server_measure(server);
    if (!http_router_init(&server->router, options->routes, options->routes_count, reason, reason_size)) {
        mem_free(server);
        return NULL;
    }
    if (!http_door_open(server, reason, reason_size)) {
        http_router_deinit(&server->router);
        mem_free(server);
        return NULL;
    }
    if (!loops_start(server, reason, reason_size)) {
        http_server_destroy(server);
        return NULL;
    }
    http_door_start(server);
    return server;
}

void http_server_retire(struct http_server *server)
{
    atomic_store(&server->draining, true);
}

static bool is_empty(const struct http_server *server)
{
    return atomic_load(&server->in_flight) == 0 && atomic_load(&server->door.connections) == 0;
}

static void await_empty(struct http_server *server, int64_t deadline_us)
{
    struct http_door *door = &server->door;
    bool in_time = true;
    pthread_mutex_lock(&door->lock);
    while (!is_empty(server) && in_time)
        in_time = cond_wait_until(&door->changed, &door->lock, deadline_us);
    pthread_mutex_unlock(&door->lock);
}

bool http_server_drain(struct http_server *server, int64_t deadline_mono_us)
{
    int64_t last_request_us = clock_deadline_us(LAST_REQUEST_MS);
    http_server_retire(server);
    http_door_close(server);
    await_empty(server, last_request_us < deadline_mono_us ? last_request_us : deadline_mono_us);
    http_loops_hang_up(server);
    await_empty(server, deadline_mono_us);
    return atomic_load(&server->in_flight) == 0;
}

void http_server_destroy(struct http_server *server)
{
    if (!server)
        return;
    http_door_stop(server);
    for (unsigned i = 0; i < server->loops_count; i++)
        http_loop_stop(&server->loops[i]);
    for (unsigned i = 0; i < server->loops_count; i++)
        http_loop_deinit(&server->loops[i]);
    http_door_deinit(server);
    http_router_deinit(&server->router);
    mem_free(server->loops);
    mem_free(server);
}
