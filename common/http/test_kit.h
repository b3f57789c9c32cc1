/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of the HTTP server: a server on a free loopback port with a few routes, and a client that
 * speaks raw bytes, because what is tested is what no well-behaved client library would send. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/http/internal.h"

enum { KIT_WAIT_MS = 10000, KIT_BODY_MAX = 1024, KIT_QUEUE_MAX = 4096 };

#define KIT_HOST  "Host: t\r\n"
#define KIT_ISSUE "Authorization: Bearer issue-token\r\n"
#define KIT_ADMIN "Authorization: Bearer admin-token\r\n"
#define KIT_TOUCH "GET /v1/touch HTTP/1.1\r\n" KIT_HOST "\r\n"

struct kit {
    struct http_server *server;
    struct keyring *keyring;
    atomic_uint touched, handled, released, held_back[HTTP_LINES];
    atomic_uint full; /* bits: lines without room, for who says X-Wait */
    pthread_t worker;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct http_request *queue[KIT_QUEUE_MAX]; /* deferred, in order */
    size_t queue_start, queue_end;
    bool hold, stop; /* hold: the worker leaves the queue alone */
};

/* --- Handlers; the context is the kit --- */

static inline void kit_touch(struct http_request *request, void *context)
{
    atomic_fetch_add(&((struct kit *)context)->touched, 1);
    buf_append_text(http_reply_body(request), "{\"ok\":true}");
    http_reply(request, 200);
}

static inline void kit_echo_body(struct http_request *request, void *context)
{
    atomic_fetch_add(&((struct kit *)context)->handled, 1);
    buf_append_span(http_reply_body(request), http_body(request));
    http_reply_as(request, 200, "text/plain");
}

/* a=<hex of first parameter>;b=<second>;q=<query q>;h=<header X-Test> */
static inline void kit_echo_parts(struct http_request *request, void *context)
{
    struct buf *body = http_reply_body(request);
    struct span parts[] = {http_param(request, 0), http_param(request, 1), http_query(request, "q"),
                           http_header(request, "x-test")};
    atomic_fetch_add(&((struct kit *)context)->handled, 1);
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        buf_append_text(body, i ? ";" : "");
        if (parts[i].ptr)
            hex_encode(body, parts[i].ptr, parts[i].len);
        else
            buf_append_text(body, "absent");
    }
    http_reply_as(request, 200, "text/plain");
}

static inline void kit_only(struct http_request *request, void *context)
{
    static const char *const known[] = {"limit", "cursor", NULL};
    (void)context;
    if (!http_query_only(request, known))
        return;
    http_reply(request, 204);
}

static inline void kit_trace(struct http_request *request, void *context)
{
    uint8_t trace[24];
    (void)context;
    if (http_trace(request, trace))
        hex_encode(http_reply_body(request), trace, sizeof trace);
    else
        buf_append_text(http_reply_body(request), "none");
    http_reply_as(request, 200, "text/plain");
}

static inline void kit_address(struct http_request *request, void *context)
{
    struct span address = http_address(request);
    (void)context;
    hex_encode(http_reply_body(request), address.ptr, address.len);
    http_reply_as(request, 200, "text/plain");
}

static inline void kit_coding(struct http_request *request, void *context)
{
    (void)context;
    buf_append_text(http_reply_body(request), http_accepts_gzip(request) ? "gzip" : "plain");
    http_reply_as(request, 200, "text/plain");
}

static inline void kit_type(struct http_request *request, void *context)
{
    (void)context;
    bool csv = http_prefers(request, "text/csv", "application/json");
    buf_append_text(http_reply_body(request), csv ? "csv" : "json");
    http_reply_as(request, 200, "text/plain");
}

static inline void kit_full(struct http_request *request, void *context)
{
    (void)context;
    http_add_header(request, "X-Extra", SPAN("yes"));
    http_problem(request, &(struct problem_detail){.problem = &problem_overloaded, .retry_after_ms = 1500});
}

static inline void kit_later(struct http_request *request, void *context)
{
    struct kit *kit = context;
    http_defer(request);
    pthread_mutex_lock(&kit->lock);
    CHECK(kit->queue_end - kit->queue_start < KIT_QUEUE_MAX);
    kit->queue[kit->queue_end++ % KIT_QUEUE_MAX] = request;
    pthread_cond_broadcast(&kit->changed);
    pthread_mutex_unlock(&kit->lock);
}

/* Keeps its event loop busy as long as kit_hold says, which no real handler may. */
static inline void kit_block(struct http_request *request, void *context)
{
    struct kit *kit = context;
    atomic_fetch_add(&kit->handled, 1);
    pthread_mutex_lock(&kit->lock);
    while (kit->hold)
        pthread_cond_wait(&kit->changed, &kit->lock);
    pthread_mutex_unlock(&kit->lock);
    http_reply(request, 204);
}

/* <milliseconds since it arrived> <requests to /v1/touch so far> */
static inline void kit_turn(struct http_request *request, void *context)
{
    struct kit *kit = context;
    buf_printf(http_reply_body(request), "%lld %u",
               (long long)(clock_mono_us() - http_received_us(request)) / US_PER_MS,
               atomic_load(&kit->touched));
    http_reply_as(request, 200, "text/plain");
}

static inline void kit_release(void *owner)
{
    struct kit *kit = owner;
    atomic_fetch_add(&kit->released, 1);
}

static inline void kit_shared(struct http_request *request, void *context)
{
    http_reply_shared(request, 200, "text/plain", SPAN("a body of somebody else's"), kit_release, context);
}

/* Refuses what says so in its head, or makes it wait. */
static inline const struct problem *kit_admit(const struct http_request *request, void *context,
                                              struct http_admission *admission)
{
    struct kit *kit = context;
    uint64_t line = 0;
    bool waits = parse_u64(http_header(request, "X-Wait"), HTTP_LINES - 1, &line) &&
                 (atomic_load(&kit->full) >> line & 1);
    if (!http_header(request, "X-Refuse").ptr && !waits)
        return NULL;
    admission->waits = waits && admission->may_wait;
    admission->line = (unsigned)line;
    atomic_fetch_add(&kit->held_back[line], admission->waits);
    admission->retry_after_ms = 2500;
    return &problem_overloaded;
}

/* Deferred and answered by the same thread, which is allowed too. */
static inline void kit_both(struct http_request *request, void *context)
{
    (void)context;
    http_defer(request);
    buf_append_text(http_reply_body(request), "both");
    http_reply_as(request, 200, "text/plain");
}

static inline void *kit_work(void *context)
{
    struct kit *kit = context;
    pthread_mutex_lock(&kit->lock);
    for (;;) {
        bool ready = kit->queue_start < kit->queue_end && !kit->hold;
        if (!ready && kit->stop)
            break;
        if (!ready) {
            pthread_cond_wait(&kit->changed, &kit->lock);
            continue;
        }
        struct http_request *request = kit->queue[kit->queue_start++ % KIT_QUEUE_MAX];
        pthread_mutex_unlock(&kit->lock);
        buf_append_span(http_reply_body(request), http_body(request));
        http_add_header(request, "X-Worker", SPAN("1"));
        http_reply_as(request, 201, "text/plain");
        pthread_mutex_lock(&kit->lock);
    }
    pthread_mutex_unlock(&kit->lock);
    return NULL;
}

static inline void kit_hold(struct kit *kit, bool hold)
{
    pthread_mutex_lock(&kit->lock);
    kit->hold = hold;
    pthread_cond_broadcast(&kit->changed);
    pthread_mutex_unlock(&kit->lock);
}

/* Waits until that many deferred requests are in the queue. */
static inline void kit_wait_queued(struct kit *kit, size_t count)
{
    int64_t deadline_us = clock_deadline_us(KIT_WAIT_MS);
    bool in_time = true;
    pthread_mutex_lock(&kit->lock);
    while (kit->queue_end - kit->queue_start < count && in_time)
        in_time = cond_wait_until(&kit->changed, &kit->lock, deadline_us);
    pthread_mutex_unlock(&kit->lock);
    assert_true(in_time);
}

static const struct http_route kit_routes[] = {
    {HTTP_GET, "/v1/touch", 0, 0, kit_touch},
    {HTTP_GET, "/v1/parts/{a}/of/{b}", 0, 0, kit_echo_parts},
    {HTTP_GET, "/v1/parts/{a}", 0, 0, kit_echo_parts},
    {HTTP_GET, "/v1/parts/fixed", 0, 0, kit_touch},
    {HTTP_GET, "/v1/only", 0, 0, kit_only},
    {HTTP_GET, "/v1/trace", 0, 0, kit_trace},
    {HTTP_GET, "/v1/address", 0, 0, kit_address},
    {HTTP_GET, "/v1/coding", 0, 0, kit_coding},
    {HTTP_GET, "/v1/type", 0, 0, kit_type},
    {HTTP_GET, "/v1/full", 0, 0, kit_full},
    {HTTP_GET, "/v1/block", 0, 0, kit_block},
    {HTTP_GET, "/v1/turn", 0, 0, kit_turn},
    {HTTP_GET, "/v1/shared", 0, 0, kit_shared},
    {HTTP_POST, "/v1/items", AUTH_ISSUE, KIT_BODY_MAX, kit_echo_body},
    {HTTP_GET, "/v1/items", AUTH_READ | AUTH_ADMIN, 0, kit_touch},
    {HTTP_POST, "/v1/large", AUTH_ISSUE, 0, kit_echo_body},
    {HTTP_POST, "/v1/huge", AUTH_ISSUE, 1 << 20, kit_echo_body},
    {HTTP_POST, "/v1/known", AUTH_ISSUE | HTTP_CONDITIONS, 0, kit_echo_body},
    {HTTP_POST, "/v1/later", AUTH_ISSUE, 0, kit_later},
    {HTTP_POST, "/v1/both", AUTH_ISSUE, 0, kit_both},
};

/* --- The server --- */

static inline struct keyring *kit_keyring(void)
{
    static const struct {
        const char *line, *token;
    } keys[] = {
        {"issuer issue", "issue-token"}, {"boss admin", "admin-token"}, {"reader read", "read-token"}};
    char path[] = "/tmp/firstcome-keys-XXXXXX", reason[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct buf hex;
        uint8_t hash[32];
        buf_init(&hex, 64);
        crypto_sha256(span_of(keys[i].token), hash);
        hex_encode(&hex, hash, sizeof hash);
        dprintf(fd, "%s %s\n", keys[i].line, hex.data);
        buf_deinit(&hex);
    }
    close(fd);
    struct keyring *keyring = keyring_load(path, reason, sizeof reason);
    unlink(path);
    assert_non_null(keyring);
    return keyring;
}

/* `options` may set limits; what is 0 there gets a default. */
static inline struct kit *kit_start(struct http_options options)
{
    char reason[256] = "";
    struct kit *kit = mem_zalloc(sizeof *kit);
    kit->keyring = kit_keyring();
    pthread_mutex_init(&kit->lock, NULL);
    pthread_cond_init(&kit->changed, NULL);
    options.bind_address = options.bind_address ? options.bind_address : "127.0.0.1";
    options.threads = options.threads ? options.threads : 2;
    options.connections_max = options.connections_max ? options.connections_max : 1000;
    if (options.connections_per_address_max == 0)
        options.connections_per_address_max = 1000;
    options.idle_timeout_s = options.idle_timeout_s ? options.idle_timeout_s : 30;
    options.header_bytes_max = options.header_bytes_max ? options.header_bytes_max : 8192;
    options.bytes_max = options.bytes_max ? options.bytes_max : 1 << 28;
    options.bytes_per_client_max =
        options.bytes_per_client_max ? options.bytes_per_client_max : options.bytes_max;
    options.keyring = kit->keyring;
    if (!options.routes) {
        options.routes = kit_routes;
        options.routes_count = COUNT_OF(kit_routes);
    }
    options.admit = kit_admit;
    options.context = kit;
    kit->server = http_server_create(&options, reason, sizeof reason);
    if (!kit->server)
        fail_msg("%s", reason);
    assert_int_equal(pthread_create(&kit->worker, NULL, kit_work, kit), 0);
    return kit;
}

static inline void kit_stop(struct kit *kit)
{
    pthread_mutex_lock(&kit->lock);
    kit->stop = true;
    kit->hold = false;
    pthread_cond_broadcast(&kit->changed);
    pthread_mutex_unlock(&kit->lock);
    pthread_join(kit->worker, NULL);
    http_server_destroy(kit->server);
    keyring_destroy(kit->keyring);
    pthread_cond_destroy(&kit->changed);
    pthread_mutex_destroy(&kit->lock);
    mem_free(kit);
}

/* --- The client --- */

/* What came back on a connection. `replies` holds the status of each answer in order. */
struct kit_talk {
    int fd;
    struct buf text;
    int replies[64];
    size_t count;
    bool ended;             /* the server closed */
    struct span head, body; /* of the last complete answer, into text */
    size_t parsed;
};

static inline int kit_connect(const struct kit *kit)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(kit->server->door.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static inline struct kit_talk *kit_open(const struct kit *kit)
{
    struct kit_talk *talk = mem_zalloc(sizeof *talk);
    talk->fd = kit_connect(kit);
    buf_init(&talk->text, 32 << 20);
    return talk;
}

static inline void kit_close(struct kit_talk *talk)
{
    close(talk->fd);
    buf_deinit(&talk->text);
    mem_free(talk);
}

/* Sends all of it, or as much as the server lets us; false when it broke the connection meanwhile. */
static inline bool kit_send(struct kit_talk *talk, struct span data)
{
    while (data.len) {
        ssize_t sent = send(talk->fd, data.ptr, data.len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data = (struct span){data.ptr + sent, data.len - (size_t)sent};
    }
    return true;
}

static inline struct span kit_header(const struct kit_talk *talk, const char *name)
{
    struct span rest = talk->head;
    size_t len = strlen(name);
    while (rest.ptr) {
        struct span line = span_cut(&rest, '\n');
        if (line.len > len + 2 && line.ptr[len] == ':' && strncasecmp(line.ptr, name, len) == 0)
            return (struct span){line.ptr + len + 2, line.len - len - 2 - (line.ptr[line.len - 1] == '\r')};
    }
    return (struct span){NULL, 0};
}

/* Takes the next complete answer off the text. `bodiless`: it is one to HEAD. */
static inline bool kit_parse(struct kit_talk *talk, bool bodiless)
{
    const char *start = buf_span(&talk->text).ptr + talk->parsed;
    size_t left = talk->text.len - talk->parsed;
    const char *end = left ? memmem(start, left, "\r\n\r\n", 4) : NULL;
    uint64_t status = 0, length = 0;
    if (!end || talk->count == COUNT_OF(talk->replies))
        return false;
    talk->head = (struct span){start, (size_t)(end - start) + 2};
    if (talk->head.len < 12 || !parse_u64((struct span){start + 9, 3}, 999, &status))
        fail_msg("not an answer: %.*s", SPAN_ARG(talk->head));
    if (kit_header(talk, "Content-Length").ptr)
        assert_true(parse_u64(kit_header(talk, "Content-Length"), UINT32_MAX, &length));
    length = bodiless || status < 200 || status == 204 ? 0 : length;
    if (left < talk->head.len + 2 + length)
        return false;
    talk->body = (struct span){end + 4, length};
    talk->parsed += talk->head.len + 2 + length;
    talk->replies[talk->count++] = (int)status;
    return true;
}

/* Reads until there are `count` answers, or the server closes. Without the latter, head and body are those of
 * the last answer. */
static inline void kit_read(struct kit_talk *talk, size_t count, bool bodiless)
{
    int64_t deadline_us = clock_deadline_us(KIT_WAIT_MS);
    for (;;) {
        while (talk->count < count && kit_parse(talk, bodiless))
            ;
        if (talk->count >= count || talk->ended)
            return;
        char data[65536];
        struct pollfd wait = {.fd = talk->fd, .events = POLLIN};
        if (poll(&wait, 1, clock_remaining_ms(deadline_us)) == 0)
            fail_msg("only %zu of %zu answers within %d ms", talk->count, count, KIT_WAIT_MS);
        ssize_t got = recv(talk->fd, data, sizeof data, 0);
        if (got > 0)
            buf_append(&talk->text, data, (size_t)got);
        talk->ended = got <= 0;
    }
}

static inline void kit_read_end(struct kit_talk *talk)
{
    kit_read(talk, SIZE_MAX, false);
    assert_true(talk->ended);
}

/* One request on a connection of its own; the answer must be the only one. The caller closes the talk. */
static inline struct kit_talk *kit_ask(const struct kit *kit, const char *request)
{
    struct kit_talk *talk = kit_open(kit);
    assert_true(kit_send(talk, span_of(request)));
    kit_read(talk, 1, false);
    assert_int_equal(talk->count, 1);
    return talk;
}

static inline void kit_expect(const struct kit *kit, const char *request, int status, const char *in_body)
{
    struct kit_talk *talk = kit_ask(kit, request);
    if (talk->replies[0] != status || !memmem(talk->body.ptr, talk->body.len, in_body, strlen(in_body)))
        fail_msg("%s\n-> %d, not %d with %s: %.*s", request, talk->replies[0], status, in_body,
                 SPAN_ARG(talk->body));
    kit_close(talk);
}
