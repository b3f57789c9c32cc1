/* SPDX-License-Identifier: Apache-2.0 */
/* One poll loop over pairs of sockets. */
#include "tests/lib/proxy.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

enum { PAIRS_MAX = 256, CHUNK_BYTES = 64 * 1024, LATE_MAX = 256, TURN_MS = 5, COMMAND_MAX = 1 << 20 };

/* What came from the server and is not due yet. */
struct late {
    int64_t due_us;
    size_t len;
    char *bytes;
};

struct pair {
    int client, server;  /* -1: no pair here; server -1 while refusing */
    struct buf commands; /* refusing: what is not yet a whole command */
    struct late late[LATE_MAX];
    size_t late_first, late_count;
};

struct proxy {
    int listener, target_port;
    pthread_t thread;
    atomic_bool stop, drop;
    _Atomic int64_t delay_us;
    const char *_Atomic error;
    struct pair pairs[PAIRS_MAX];
};

static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static void pair_close(struct pair *pair)
{
    for (; pair->late_count > 0; pair->late_count--) {
        mem_free(pair->late[pair->late_first % LATE_MAX].bytes);
        pair->late_first++;
    }
    if (pair->client >= 0)
        close(pair->client);
    if (pair->server >= 0)
        close(pair->server);
    buf_deinit(&pair->commands);
    *pair = (struct pair){.client = -1, .server = -1};
}

/* Small and local: what does not go out at once breaks the pair. */
static bool send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

static void accept_pair(struct proxy *proxy)
{
    int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    struct sockaddr_in address = local(proxy->target_port);
    struct pair *pair = NULL;
    for (size_t i = 0; i < PAIRS_MAX && !pair; i++)
        if (proxy->pairs[i].client < 0)
            pair = &proxy->pairs[i];
    if (client < 0)
        return;
    if (!pair) { /* as a server that has no connection left */
        close(client);
        return;
    }
    pair->client = client;
    buf_init(&pair->commands, COMMAND_MAX);
    if (atomic_load(&proxy->error))
        return;
    pair->server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(pair->server, (struct sockaddr *)&address, sizeof address) != 0)
        pair_close(pair);
}

/* The number after the type at `at`, and where the next line begins; false where the line is not whole. */
static bool line_number(struct span text, size_t *at, int64_t *ret)
{
    const char *end = *at < text.len ? memchr(text.ptr + *at, '\n', text.len - *at) : NULL;
    if (!end || end - text.ptr - (ptrdiff_t)*at < 3)
        return false;
    struct span digits = {text.ptr + *at + 1, (size_t)(end - text.ptr) - *at - 2};
    *at = (size_t)(end - text.ptr) + 1;
    return parse_i64(digits, 0, COMMAND_MAX, ret);
}

/* Bytes of the command that the text begins with, 0 where it is not whole. */
static size_t command_length(struct span text)
{
    int64_t arguments, bytes;
    size_t at = 0;
    if (!line_number(text, &at, &arguments))
        return 0;
    for (; arguments > 0; arguments--) {
        if (!line_number(text, &at, &bytes))
            return 0;
        at += (size_t)bytes + 2;
    }
    return at <= text.len ? at : 0;
}

static bool refuse_all(struct pair *pair, const char *error, struct span bytes)
{
    size_t length, at = 0;
    buf_append_span(&pair->commands, bytes);
    struct span text = buf_span(&pair->commands);
    while ((length = command_length((struct span){text.ptr + at, text.len - at})) > 0) {
        if (!send_all(pair->client, error, strlen(error)) || !send_all(pair->client, "\r\n", 2))
            return false;
        at += length;
    }
    memmove(pair->commands.data, pair->commands.data + at, text.len - at);
    pair->commands.len -= at;
    return !pair->commands.overflow;
}

static bool from_client(struct proxy *proxy, struct pair *pair)
{
    char bytes[CHUNK_BYTES];
    ssize_t len = recv(pair->client, bytes, sizeof bytes, 0);
    const char *error = atomic_load(&proxy->error);
    if (len <= 0)
        return false;
    if (pair->server < 0)
        return error && refuse_all(pair, error, (struct span){bytes, (size_t)len});
    return send_all(pair->server, bytes, (size_t)len);
}

static bool from_server(struct proxy *proxy, struct pair *pair)
{
    char bytes[CHUNK_BYTES];
    ssize_t len = recv(pair->server, bytes, sizeof bytes, 0);
    int64_t delay_us = atomic_load(&proxy->delay_us);
    if (len <= 0)
        return false;
    if (delay_us == 0 && pair->late_count == 0)
        return send_all(pair->client, bytes, (size_t)len);
    struct late *late = &pair->late[(pair->late_first + pair->late_count++) % LATE_MAX];
    *late = (struct late){clock_mono_us() + delay_us, (size_t)len, mem_alloc((size_t)len)};
    memcpy(late->bytes, bytes, (size_t)len);
    return true;
}

static bool send_due(struct pair *pair)
{
    bool good = true;
    while (good && pair->late_count > 0 &&
           pair->late[pair->late_first % LATE_MAX].due_us <= clock_mono_us()) {
        struct late *late = &pair->late[pair->late_first++ % LATE_MAX];
        pair->late_count--;
        good = send_all(pair->client, late->bytes, late->len);
        mem_free(late->bytes);
    }
    return good;
}

static void turn_pair(struct proxy *proxy, struct pair *pair, const struct pollfd *client,
                      const struct pollfd *server)
{
    bool good = !client->revents || from_client(proxy, pair);
    if (good && server->revents && pair->late_count < LATE_MAX)
        good = from_server(proxy, pair);
    if (!good || !send_due(pair))
        pair_close(pair);
}

static void *run(void *context)
{
    struct proxy *proxy = context;
    while (!atomic_load(&proxy->stop)) {
        struct pollfd fds[1 + 2 * PAIRS_MAX] = {{.fd = proxy->listener, .events = POLLIN}};
        bool drop = atomic_exchange(&proxy->drop, false);
        for (size_t i = 0; i < PAIRS_MAX; i++) {
            struct pair *pair = &proxy->pairs[i];
            if (drop)
                pair_close(pair);
            fds[1 + 2 * i] = (struct pollfd){.fd = pair->client, .events = POLLIN};
            fds[2 + 2 * i] = (struct pollfd){.fd = pair->server, .events = POLLIN};
        }
        (void)poll(fds, COUNT_OF(fds), TURN_MS);
        for (size_t i = 0; i < PAIRS_MAX; i++)
            if (proxy->pairs[i].client >= 0)
                turn_pair(proxy, &proxy->pairs[i], &fds[1 + 2 * i], &fds[2 + 2 * i]);
        if (fds[0].revents)
            accept_pair(proxy);
    }
    return NULL;
}

struct proxy *proxy_start(int listen_port, int target_port)
{
    int yes = 1;
    struct sockaddr_in address = local(listen_port);
    struct proxy *proxy = mem_zalloc(sizeof *proxy);
    proxy->target_port = target_port;
    for (size_t i = 0; i < PAIRS_MAX; i++)
        proxy->pairs[i].client = proxy->pairs[i].server = -1;
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(proxy->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    CHECK(bind(proxy->listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(proxy->listener, PAIRS_MAX) == 0);
    CHECK(pthread_create(&proxy->thread, NULL, run, proxy) == 0);
    return proxy;
}

void proxy_stop(struct proxy *proxy)
{
    if (!proxy)
        return;
    atomic_store(&proxy->stop, true);
    pthread_join(proxy->thread, NULL);
    for (size_t i = 0; i < PAIRS_MAX; i++)
        pair_close(&proxy->pairs[i]);
    close(proxy->listener);
    mem_free(proxy);
}

void proxy_url(const char *url, int port, int instead, char *ret, size_t size)
{
    char was[16];
    snprintf(was, sizeof was, ":%d/", port);
    const char *at = strstr(url, was);
    CHECK(at != NULL);
    int len = snprintf(ret, size, "%.*s:%d/%s", (int)(at - url), url, instead, at + strlen(was));
    CHECK(len > 0 && (size_t)len < size);
}

void proxy_delay(struct proxy *proxy, int64_t delay_ms)
{
    atomic_store(&proxy->delay_us, delay_ms * US_PER_MS);
}

void proxy_refuse(struct proxy *proxy, const char *error)
{
    atomic_store(&proxy->error, error);
    atomic_store(&proxy->drop, true);
}
