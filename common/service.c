/* SPDX-License-Identifier: Apache-2.0 */
/* Signals, common options, liveness, readiness and metrics of a service process. What is here has the life of
 * the process, so it is static and never torn down. */
#include "common/service.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/base/notify.h"
#include "common/base/process.h"
#include "common/base/thread.h"
#include "common/json.h"
#include "common/pg/pg.h"

enum {
    PARTS_MAX = 16,
    HEADER_BYTES_MAX = 8192,
    DESCRIPTORS_SPARE = 256, /* for everything that is not a client: stores, logs, the listening socket */
    CONNECTIONS_MIN = 16,
    METRICS_BYTES_MAX = 4 << 20,
    KEYS_LOOK_MS = 500,
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
     "open connections; for a further one the slowest or longest idle one goes, or it gets 503"},
    {"connections-per-address-max", CONFIG_INT, OPTION(connections_per_address_max), "0", 0, 1000000,
     "connections", "of one client address (IPv6: one /64 network); 0: nine tenths of connections-max"},
    {"idle-timeout-s", CONFIG_INT, OPTION(idle_timeout_s), "60", 1, 3600, "s",
     "time without a request after which a connection is closed"},
    {"http-bytes-max", CONFIG_INT, OPTION(http_bytes_max), "268435456", 1048576, 1099511627776, "bytes",
     "memory for connections, heads, bodies and answers; above, 503"},
    {"http-bytes-per-client-max", CONFIG_INT, OPTION(http_bytes_per_client_max), "67108864", 1048576,
     1099511627776, "bytes", "of which the requests of one address, or of one key, may hold so much"},
    {"drain-grace-ms", CONFIG_INT, OPTION(drain_grace_ms), "1000", 0, 600000, "ms",
     "how long to serve on after SIGTERM while /readyz says no; longer than load balancers need to notice"},
    {"drain-ms", CONFIG_INT, OPTION(drain_ms), "5000", 0, 600000, "ms",
     "how long requests in flight may take after that"},
    {"api-keys-file", CONFIG_STRING, OPTION(api_keys_file), NULL, 1, 4096, "",
     "lines of <name> <scope,scope> <sha256 of the token in hex> [<of a second one>]"},
    {"cors-origins", CONFIG_STRING, OPTION(cors_origins), "", 0, 4096, "",
     "origins whose pages may read answers, https://shop.example, separated by commas; empty: none"},
    {"trusted-proxies", CONFIG_STRING, OPTION(trusted_proxies), "", 0, 4096, "",
     "addresses or networks (10.0.0.0/8) of proxies, separated by commas, whose Forwarded or X-Forwarded-For "
     "is believed"},
    {"metrics-open", CONFIG_STRING, OPTION(metrics_open), "loopback", 4, 9, "",
     "who may read /metrics and the parts of /readyz without a key: nobody, loopback or everybody"},
    {"log-level", CONFIG_STRING, OPTION(log_level), "info", 4, 5, "", "debug, info, warn or error"},
    {"log-file", CONFIG_STRING, OPTION(log_file), "", 0, 4096, "",
     "file that log lines are added to, opened again at SIGHUP; empty: stderr"},
    {.name = NULL},
};

const char *const service_plain_names[] = {"database-url", "shards=shards-file", "redis-url", "port-base",
                                           NULL};

/* --- Readiness --- */

struct service_part {
    const char *name;
    atomic_bool ready;
};

static struct service_part parts[PARTS_MAX];
static atomic_size_t parts_count;
static atomic_bool serving; /* the HTTP server is up */
static atomic_bool stopping;

bool service_stopping(void)
{
    return atomic_load(&stopping);
}

static bool service_ready(void)
{
    bool ready = !service_stopping();
    for (size_t i = 0; i < atomic_load(&parts_count); i++)
        ready = ready && atomic_load(&parts[i].ready);
    return ready;
}

/* The service manager learns of readiness when /readyz first says so, not before: whoever waits for this
 * start may send requests then. Later changes are a line of its status, for people. */
static void readiness_tell(void)
{
    static atomic_bool told;
    bool ready = service_ready();
    if (!atomic_load(&serving) || service_stopping())
        return;
    if (ready && !atomic_exchange(&told, true))
        notify_send("READY=1\nSTATUS=ready");
    else
        notify_send("STATUS=%s", ready ? "ready" : "not ready, /readyz says which part");
}

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
    if (atomic_exchange(&part->ready, ready) != ready)
        readiness_tell();
}

/* --- What every service answers --- */

static enum metrics_open { OPEN_TO_NOBODY, OPEN_TO_LOOPBACK, OPEN_TO_EVERYBODY } metrics_open;

static void metrics_open_set(const char *text)
{
    static const char *const names[] = {"nobody", "loopback", "everybody"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(text, names[i]) == 0) {
            metrics_open = (enum metrics_open)i;
            return;
        }
    service_bad_option("--metrics-open", "must be nobody, loopback or everybody");
}

/* A proxy on this host connects from loopback too, so what a proxy passed on does not count as local. One
 * that adds none of these fields needs --metrics-open nobody. */
static bool is_local(const struct http_request *request)
{
    static const char *const passed_on[] = {"Forwarded", "X-Forwarded-For", "Via"};
    static const char mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '\xFF', '\xFF', 127},
                      loopback6[16] = {[15] = 1};
    struct span address = http_address(request);
    for (size_t i = 0; i < COUNT_OF(passed_on); i++)
        if (http_header(request, passed_on[i]).ptr)
            return false;
    return span_starts(address, (struct span){mapped, sizeof mapped}) ||
           span_equal(address, (struct span){loopback6, sizeof loopback6});
}

static bool may_see_inside(const struct http_request *request)
{
    return http_key(request) || metrics_open == OPEN_TO_EVERYBODY ||
           (metrics_open == OPEN_TO_LOOPBACK && is_local(request));
}

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
    if (may_see_inside(request)) {
        json_put_bool(body, "stopping", service_stopping());
        json_open(body, "parts", '{');
        for (size_t i = 0; i < atomic_load(&parts_count); i++)
            json_put_bool(body, parts[i].name, atomic_load(&parts[i].ready));
        json_close(body, '}');
    }
    json_close(body, '}');
    http_reply(request, ready ? 200 : 503);
}

/* --- /metrics ---
 * A thread of its own renders, once for everybody who has asked meanwhile, and rests nine times as long as
 * that took: however many ask however often, it costs no more than a tenth of one processor. */

enum { SCRAPE_SEND_US = 50, SCRAPE_REST = 9, SCRAPE_REST_MAX_MS = 1000 };

struct scrape {
    struct scrape *next;
    struct http_request *request;
};

static struct {
    pthread_mutex_t lock; /* guards `waiting` */
    pthread_cond_t came;
    struct scrape *waiting;
} scrapes = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};

/* Shared by all the answers it is sent in. */
struct rendering {
    atomic_size_t users;
    struct buf text;
};

static void rendering_release(void *owner)
{
    struct rendering *rendering = owner;
    if (atomic_fetch_sub(&rendering->users, 1) > 1)
        return;
    buf_deinit(&rendering->text);
    mem_free(rendering);
}

static void metrics(struct http_request *request, void *context)
{
    (void)context;
    if (!may_see_inside(request)) {
        http_add_header(request, "WWW-Authenticate", SPAN("Bearer"));
        http_fail(request, &problem_unauthenticated, NULL);
        return;
    }
    struct scrape *scrape = mem_alloc(sizeof *scrape);
    scrape->request = request;
    http_defer(request);
    pthread_mutex_lock(&scrapes.lock);
    scrape->next = scrapes.waiting;
    scrapes.waiting = scrape;
    pthread_cond_signal(&scrapes.came);
    pthread_mutex_unlock(&scrapes.lock);
}

static size_t scrapes_answer(struct scrape *scrape)
{
    struct rendering *rendering = mem_zalloc(sizeof *rendering);
    size_t count = 0;
    buf_init(&rendering->text, METRICS_BYTES_MAX);
    metrics_render(&rendering->text);
    process_metrics_render(&rendering->text);
    atomic_store(&rendering->users, 1);
    while (scrape) {
        struct scrape *next = scrape->next;
        atomic_fetch_add(&rendering->users, 1);
        http_reply_shared(scrape->request, 200, "text/plain; version=0.0.4", buf_span(&rendering->text),
                          rendering_release, rendering);
        mem_free(scrape);
        scrape = next;
        count++;
    }
    rendering_release(rendering);
    return count;
}

static int64_t thread_cpu_us(void)
{
    struct timespec used;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0);
    return used.tv_sec * US_PER_S + used.tv_nsec / 1000;
}

static void *scrapes_run(void *argument)
{
    int64_t rest_until_us = 0;
    (void)argument;
    pthread_mutex_lock(&scrapes.lock);
    for (;;) {
        if (clock_mono_us() < rest_until_us && !service_stopping()) {
            (void)cond_wait_until(&scrapes.came, &scrapes.lock, rest_until_us);
            continue;
        }
        if (!scrapes.waiting) {
            (void)cond_wait_until(&scrapes.came, &scrapes.lock, INT64_MAX);
            continue;
        }
        struct scrape *taken = scrapes.waiting;
        scrapes.waiting = NULL;
        pthread_mutex_unlock(&scrapes.lock);
        int64_t start_us = thread_cpu_us(), count = (int64_t)scrapes_answer(taken);
        int64_t rest_us = SCRAPE_REST * (thread_cpu_us() - start_us + count * SCRAPE_SEND_US);
        if (rest_us > SCRAPE_REST_MAX_MS * (int64_t)US_PER_MS)
            rest_us = SCRAPE_REST_MAX_MS * (int64_t)US_PER_MS;
        rest_until_us = clock_mono_us() + rest_us;
        pthread_mutex_lock(&scrapes.lock);
    }
    return NULL;
}

static void scrapes_start(void)
{
    pthread_t thread; /* lives as long as the process */
    CHECK(pthread_create(&thread, NULL, scrapes_run, NULL) == 0);
    pthread_setname_np(thread, "metrics");
    CHECK(pthread_detach(thread) == 0);
}

#define OPERATORS (AUTH_ADMIN | AUTH_READ | AUTH_ANYBODY)

static const struct http_route own_routes[] = {
    {.method = HTTP_GET, .pattern = "/livez", .handler = livez},
    {.method = HTTP_GET, .pattern = "/readyz", .scopes = OPERATORS, .handler = readyz},
    {.method = HTTP_GET, .pattern = "/metrics", .scopes = OPERATORS, .handler = metrics},
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
    sigaddset(ret, SIGHUP);
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
    char version[64];
    snprintf(version, sizeof version, "version=\"%s\"", program_version());
    metric_set(metric_gauge("coupon_build_info", "Which version runs.", version), 1);
    enum log_level level = level_of(options->log_level);
    signals_block();
    notify_setup();
    log_setup(name, level);
    if (*options->log_file && !log_open(options->log_file))
        service_bad_option("--log-file", strerror(errno));
    metrics_open_set(options->metrics_open);
    crypto_setup();
    if (options->port == 0)
        options->port = options->port_base + port_offset;
    CHECK(options->port <= UINT16_MAX); /* port-base ends at 65000 */
    descriptors_reserve(options);
}

_Noreturn void service_bad_option(const char *option, const char *reason)
{
    log_error("BAD-OPTION", "%s: %s", option, reason);
    fflush(NULL);
    _exit(EXIT_BAD_USAGE); /* threads may run: what libraries clean up at exit() is taken from under them */
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

/* --- The key file --- */

static struct keyring *keyring; /* static, so that what lives as long as the process is no leak */
static struct stat keys_as_read;

/* Whether the file is another one than when it was last read, as far as its own data say: written to,
 * replaced, or replaced by an older one. One that is missing is not another one. */
static bool keys_changed(const char *path)
{
    struct stat now;
    return stat(path, &now) == 0 &&
           (now.st_mtim.tv_sec != keys_as_read.st_mtim.tv_sec ||
            now.st_mtim.tv_nsec != keys_as_read.st_mtim.tv_nsec || now.st_ino != keys_as_read.st_ino ||
            now.st_dev != keys_as_read.st_dev || now.st_size != keys_as_read.st_size);
}

const struct keyring *service_keyring(const struct service_options *options)
{
    char reason[512] = "";
    if (!keyring) {
        (void)stat(options->api_keys_file, &keys_as_read); /* before: what changes meanwhile is read again */
        keyring = keyring_load(options->api_keys_file, reason, sizeof reason);
    }
    if (!keyring)
        service_bad_option("--api-keys-file", reason);
    return keyring;
}

static void keys_reload(const struct service_options *options)
{
    char reason[512] = "";
    (void)stat(options->api_keys_file, &keys_as_read);
    int changes = keyring_reload(keyring, options->api_keys_file, reason, sizeof reason);
    if (changes < 0)
        log_error("KEYS-UNREADABLE", "the keys stay what they were: %s", reason);
    else
        log_info("KEYS-READ", "%d keys are new, different or gone", changes);
}

static unsigned connections_per_address(const struct service_options *options)
{
    unsigned all = (unsigned)options->connections_max, set = (unsigned)options->connections_per_address_max;
    return set ? set : all - all / 10;
}

struct http_server *service_serve(const struct service_options *options, const struct service_api *api)
{
    char reason[512];
    struct http_options http = {
        .bind_address = options->bind_address,
        .port = (uint16_t)options->port,
        .threads = (unsigned)options->http_threads,
        .connections_max = (unsigned)options->connections_max,
        .connections_per_address_max = connections_per_address(options),
        .bytes_max = (size_t)options->http_bytes_max,
        .bytes_per_client_max = (size_t)options->http_bytes_per_client_max,
        .idle_timeout_s = (unsigned)options->idle_timeout_s,
        .header_bytes_max = HEADER_BYTES_MAX,
        .keyring = service_keyring(options),
        .routes = routes_join(api->routes, api->routes_count),
        .routes_count = api->routes_count + COUNT_OF(own_routes),
        .cors_origins = options->cors_origins,
        .trusted_proxies = options->trusted_proxies,
        .admit = api->admit,
        .context = api->context,
    };
    if (!http_origins_valid(options->cors_origins))
        service_bad_option("--cors-origins",
                           "an origin is http:// or https:// and a host in small letters, without path or "
                           "usual port");
    if (!http_proxies_valid(options->trusted_proxies))
        service_bad_option("--trusted-proxies",
                           "an address (192.0.2.1, 2001:db8::1) or network (10.0.0.0/8) is expected "
                           "between commas, at most 64 of them");
    scrapes_start();
    struct http_server *server = http_server_create(&http, reason, sizeof reason);
    if (!server)
        service_bad_option("--bind-address or --port", reason);
    log_info("HTTP-STARTED", "listening on %s port %lld", options->bind_address, (long long)options->port);
    atomic_store(&serving, true);
    readiness_tell();
    return server;
}

void service_wait_for_stop(const struct service_options *options)
{
    static const struct timespec look = {.tv_nsec = KEYS_LOOK_MS * 1000000L};
    sigset_t wanted;
    struct heartbeat heartbeat;
    int signal_number;
    signals_wanted(&wanted);
    heartbeat_begin(&heartbeat);
    while ((signal_number = sigtimedwait(&wanted, NULL, &look)) != SIGTERM && signal_number != SIGINT) {
        if (signal_number == SIGHUP && *options->log_file && !log_open(options->log_file))
            log_error("LOG-FILE", "cannot open %s again: %s", options->log_file, strerror(errno));
        if (signal_number == SIGHUP || keys_changed(options->api_keys_file))
            keys_reload(options);
        heartbeat_beat(&heartbeat, clock_mono_us());
    }
    heartbeat_end(&heartbeat);
    atomic_store(&stopping, true);
    notify_send("STOPPING=1\nSTATUS=draining");
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
        int signal_number = sigtimedwait(&wanted, NULL, &left);
        if (signal_number == SIGTERM || signal_number == SIGINT)
            return;
    }
}

bool service_drain(const struct service_options *options, struct http_server *server)
{
    http_server_retire(server);
    wait_grace(options->drain_grace_ms);
    return http_server_drain(server, clock_deadline_us(options->drain_ms));
}
