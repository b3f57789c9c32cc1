/* SPDX-License-Identifier: Apache-2.0 */
/* Signals, common options, liveness, readiness and metrics of a service process. What is here has the life of
 * the process, so it is static and never torn down. */
#include "common/service.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/json.h"
#include "common/pg/pg.h"

enum {
    PARTS_MAX = 16,
    HEADER_BYTES_MAX = 8192,
    DESCRIPTORS_SPARE = 256, /* for everything that is not a client: stores, logs, the listening socket */
    CONNECTIONS_MIN = 16,
    EXIT_BAD_USAGE = 64 /* EX_USAGE */
};

#define OPTION(member) offsetof(struct service_options, member)

const struct config_option service_option_table[] = {
    {"bind-address", CONFIG_STRING, OPTION(bind_address), "127.0.0.1", 2, 45, "",
     "numeric IPv4 or IPv6 address to listen on"},
    {"port-base", CONFIG_INT, OPTION(port_base), "8080", 1, 65000, "", "first port of the stack, see port"},
    {"port", CONFIG_INT, OPTION(port), "0", 0, 65535, "",
     "port to listen on; 0: port-base plus the service's own"},
    {"http-threads", CONFIG_INT, OPTION(http_threads), "2", 1, 64, "threads", "event loops that serve HTTP"},
    {"connections-max", CONFIG_INT, OPTION(connections_max), "10000", 1, 1000000, "connections",
     "open connections; further ones get 503"},
    {"connections-per-address-max", CONFIG_INT, OPTION(connections_per_address_max), "10000", 1, 1000000,
     "connections", "of one client address; lower it where clients, not one proxy or test, connect directly"},
    {"idle-timeout-s", CONFIG_INT, OPTION(idle_timeout_s), "60", 1, 3600, "s",
     "silence after which a connection is closed"},
    {"drain-grace-ms", CONFIG_INT, OPTION(drain_grace_ms), "1000", 0, 600000, "ms",
     "how long to serve on after SIGTERM while /readyz says no; longer than load balancers need to notice"},
    {"drain-ms", CONFIG_INT, OPTION(drain_ms), "5000", 0, 600000, "ms",
     "how long requests in flight may take after that"},
    {"api-keys-file", CONFIG_STRING, OPTION(api_keys_file), NULL, 1, 4096, "",
     "lines of <name> <scope,scope> <sha256 of the token in hex>"},
    {"log-level", CONFIG_STRING, OPTION(log_level), "info", 4, 5, "", "debug, info, warn or error"},
    {.name = NULL},
};

/* --- Readiness --- */

struct service_part {
    const char *name;
    atomic_bool ready;
};

static struct service_part parts[PARTS_MAX];
static atomic_size_t parts_count;
static atomic_bool stopping;

struct service_part *service_part_create(const char *name)
{
    size_t index = atomic_load(&parts_count);
    CHECK(index < PARTS_MAX); /* parts are made one after the other, at setup */
    parts[index].name = name;
    atomic_store(&parts_count, index + 1);
    return &parts[index];
}

void service_part_set(struct service_part *part, bool ready)
{
    atomic_store(&part->ready, ready);
}

bool service_stopping(void)
{
    return atomic_load(&stopping);
}

bool service_ready(void)
{
    bool ready = !service_stopping();
    for (size_t i = 0; i < atomic_load(&parts_count); i++)
        ready = ready && atomic_load(&parts[i].ready);
    return ready;
}

/* --- What every service answers --- */

static void livez(struct http_request *request, void *context)
{
    (void)context;
    json_open(http_reply_body(request), NULL, '{');
    json_put_bool(http_reply_body(request), "live", true);
    json_close(http_reply_body(request), '}');
    http_reply(request, 200);
}

static void readyz(struct http_request *request, void *context)
{
    struct buf *body = http_reply_body(request);
    bool ready = service_ready();
    (void)context;
    json_open(body, NULL, '{');
    json_put_bool(body, "ready", ready);
    json_put_bool(body, "stopping", service_stopping());
    json_open(body, "parts", '{');
    for (size_t i = 0; i < atomic_load(&parts_count); i++)
        json_put_bool(body, parts[i].name, atomic_load(&parts[i].ready));
    json_close(body, '}');
    json_close(body, '}');
    http_reply(request, ready ? 200 : 503);
}

static void metrics(struct http_request *request, void *context)
{
    (void)context;
    metrics_render(http_reply_body(request));
    http_reply_as(request, 200, "text/plain; version=0.0.4");
}

static const struct http_route own_routes[] = {
    {.method = HTTP_GET, .pattern = "/livez", .handler = livez},
    {.method = HTTP_GET, .pattern = "/readyz", .handler = readyz},
    {.method = HTTP_GET, .pattern = "/metrics", .handler = metrics},
};

/* --- Life --- */

static enum log_level level_of(const char *text)
{
    static const char *const names[] = {
        [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(text, names[i]) == 0)
            return (enum log_level)i;
    fprintf(stderr, "log-level: must be debug, info, warn or error\n");
    exit(EXIT_BAD_USAGE);
}

static void signals_wanted(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
}

static void signals_block(void)
{
    sigset_t wanted;
    signals_wanted(&wanted);
    CHECK(pthread_sigmask(SIG_BLOCK, &wanted, NULL) == 0);
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR); /* a write to a gone client is an error, not the end */
}

/* Makes room for the descriptors of all connections, or for fewer connections. */
static void descriptors_reserve(struct service_options *options)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    rlim_t want = (rlim_t)options->connections_max + DESCRIPTORS_SPARE;
    if (limit.rlim_cur < want) {
        limit.rlim_cur = limit.rlim_max;
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    }
    if (limit.rlim_cur >= want)
        return;
    int64_t room = (int64_t)limit.rlim_cur - DESCRIPTORS_SPARE;
    options->connections_max = room > CONNECTIONS_MIN ? room : CONNECTIONS_MIN;
    log_warn("DESCRIPTORS-FEW", "connections-max is %lld because the process may have only %llu descriptors",
             (long long)options->connections_max, (unsigned long long)limit.rlim_cur);
}

void service_setup(const char *name, uint16_t port_offset, struct service_options *options)
{
    enum log_level level = level_of(options->log_level);
    signals_block();
    log_setup(name, level);
    crypto_setup();
    if (options->port == 0)
        options->port = options->port_base + port_offset;
    CHECK(options->port <= UINT16_MAX); /* port-base ends at 65000 */
    descriptors_reserve(options);
}

_Noreturn void service_bad_option(const char *option, const char *reason)
{
    log_error("BAD-OPTION", "%s: %s", option, reason);
    exit(EXIT_BAD_USAGE);
}

void service_check_database_url(const char *url)
{
    char reason[256];
    if (!pg_url_check(url, reason, sizeof reason))
        service_bad_option("--database-url", reason);
}

static const struct http_route *routes_join(const struct http_route *routes, size_t count)
{
    static struct http_route *joined; /* static, so that what lives as long as the process is no leak */
    CHECK(!joined);
    joined = mem_alloc((count + COUNT_OF(own_routes)) * sizeof *joined);
    memcpy(joined, own_routes, sizeof own_routes);
    if (count)
        memcpy(joined + COUNT_OF(own_routes), routes, count * sizeof *routes);
    return joined;
}

const struct keyring *service_keyring(const struct service_options *options)
{
    static struct keyring *keyring;
    char reason[512];
    if (!keyring)
        keyring = keyring_load(options->api_keys_file, reason, sizeof reason);
    if (!keyring)
        service_bad_option("--api-keys-file", reason);
    return keyring;
}

struct http_server *service_serve(const struct service_options *options, const struct http_route *routes,
                                  size_t routes_count, void *context)
{
    char reason[512];
    struct http_options http = {
        .bind_address = options->bind_address,
        .port = (uint16_t)options->port,
        .threads = (unsigned)options->http_threads,
        .connections_max = (unsigned)options->connections_max,
        .connections_per_address_max = (unsigned)options->connections_per_address_max,
        .idle_timeout_s = (unsigned)options->idle_timeout_s,
        .header_bytes_max = HEADER_BYTES_MAX,
        .keyring = service_keyring(options),
        .routes = routes_join(routes, routes_count),
        .routes_count = routes_count + COUNT_OF(own_routes),
        .context = context,
    };
    struct http_server *server = http_server_create(&http, reason, sizeof reason);
    if (!server)
        service_bad_option("--bind-address or --port", reason);
    log_info("HTTP-STARTED", "listening on %s port %lld", options->bind_address, (long long)options->port);
    return server;
}

void service_wait_for_stop(void)
{
    sigset_t wanted;
    int signal_number = 0;
    signals_wanted(&wanted);
    CHECK(sigwait(&wanted, &signal_number) == 0);
    atomic_store(&stopping, true);
    log_info("STOPPING", "signal %d", signal_number);
}

/* The signals stay blocked, so that a second one ends the wait and not the process. */
static void wait_grace(int64_t duration_ms)
{
    sigset_t wanted;
    int64_t until_us = clock_deadline_us(duration_ms), left_us;
    signals_wanted(&wanted);
    while ((left_us = until_us - clock_mono_us()) > 0) {
        struct timespec left = {.tv_sec = left_us / US_PER_S, .tv_nsec = left_us % US_PER_S * 1000};
        if (sigtimedwait(&wanted, NULL, &left) > 0)
            return;
    }
}

bool service_drain(const struct service_options *options, struct http_server *server)
{
    http_server_retire(server);
    wait_grace(options->drain_grace_ms);
    return http_server_drain(server, clock_deadline_us(options->drain_ms));
}
