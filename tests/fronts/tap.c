/* SPDX-License-Identifier: Apache-2.0 */
/* One poll loop over pairs of sockets. */
#include "tests/fronts/tap.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"

enum { PAIRS_MAX = 4096, OPEN_MAX = 256, CHUNK_BYTES = 64 * 1024, TURN_MS = 20 };

struct pair {
    int proxy, service; /* -1: closed */
    struct tapped said;
};

struct tap {
    int listener, target_port;
    pthread_t thread;
    atomic_bool stop;
    atomic_int label;
    struct pair *pairs;
    size_t count;
};

static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static void hang_up(struct pair *pair, bool service_closed)
{
    close(pair->proxy);
    close(pair->service);
    pair->proxy = pair->service = -1;
    pair->said.service_closed = service_closed;
}

static void take_connection(struct tap *tap)
{
    struct sockaddr_in to = local(tap->target_port);
    int proxy = accept4(tap->listener, NULL, NULL, SOCK_CLOEXEC);
    int service = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(proxy >= 0 && service >= 0 && tap->count < PAIRS_MAX);
    CHECK(connect(service, (struct sockaddr *)&to, sizeof to) == 0);
    struct pair *pair = &tap->pairs[tap->count++];
    *pair = (struct pair){.proxy = proxy, .service = service};
    pair->said.first_label = pair->said.last_label = atomic_load(&tap->label);
    buf_init(&pair->said.asked, TAP_BYTES_MAX);
    buf_init(&pair->said.answered, TAP_BYTES_MAX);
}

/* False where the sender has closed. */
static bool pass(int from, int to, struct buf *said)
{
    char chunk[CHUNK_BYTES];
    ssize_t len = recv(from, chunk, sizeof chunk, 0);
    if (len <= 0)
        return false;
    buf_append(said, chunk, (size_t)len);
    for (ssize_t sent = 0, n; sent < len; sent += n)
        if ((n = send(to, chunk + sent, (size_t)(len - sent), MSG_NOSIGNAL)) <= 0)
            return true; /* the other end has closed, which is seen when it is read */
    return true;
}

/* What both say at once is passed on in both directions, the service's words first: it may close after them.
 */
static void turn(struct tap *tap, struct pair *pair, short from_proxy, short from_service)
{
    if (from_service && !pass(pair->service, pair->proxy, &pair->said.answered)) {
        hang_up(pair, true);
        return;
    }
    if (from_proxy) {
        pair->said.last_label = atomic_load(&tap->label);
        if (!pass(pair->proxy, pair->service, &pair->said.asked))
            hang_up(pair, false);
    }
}

static void *tap_main(void *context)
{
    struct tap *tap = context;
    while (!atomic_load(&tap->stop)) {
        struct pollfd fds[1 + 2 * OPEN_MAX] = {{.fd = tap->listener, .events = POLLIN}};
        struct pair *open[OPEN_MAX];
        size_t count = 0;
        for (size_t i = 0; i < tap->count; i++)
            if (tap->pairs[i].proxy >= 0) {
                CHECK(count < OPEN_MAX);
                fds[1 + 2 * count] = (struct pollfd){.fd = tap->pairs[i].proxy, .events = POLLIN};
                fds[2 + 2 * count] = (struct pollfd){.fd = tap->pairs[i].service, .events = POLLIN};
                open[count++] = &tap->pairs[i];
            }
        (void)poll(fds, 1 + 2 * count, TURN_MS);
        for (size_t i = 0; i < count; i++)
            turn(tap, open[i], fds[1 + 2 * i].revents, fds[2 + 2 * i].revents);
        if (fds[0].revents)
            take_connection(tap);
    }
    for (size_t i = 0; i < tap->count; i++)
        if (tap->pairs[i].proxy >= 0)
            hang_up(&tap->pairs[i], false);
    return NULL;
}

struct tap *tap_start(int listen_port, int target_port)
{
    struct tap *tap = mem_zalloc(sizeof *tap);
    struct sockaddr_in address = local(listen_port);
    int one = 1;
    tap->target_port = target_port;
    tap->pairs = mem_zalloc(PAIRS_MAX * sizeof *tap->pairs);
    tap->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(tap->listener >= 0 && setsockopt(tap->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
    CHECK(bind(tap->listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(tap->listener, SOMAXCONN) == 0);
    CHECK(pthread_create(&tap->thread, NULL, tap_main, tap) == 0);
    return tap;
}

void tap_label(struct tap *tap, int label)
{
    atomic_store(&tap->label, label);
}

void tap_stop(struct tap *tap)
{
    atomic_store(&tap->stop, true);
    CHECK(pthread_join(tap->thread, NULL) == 0);
    close(tap->listener);
}

size_t tap_count(const struct tap *tap)
{
    return tap->count;
}

const struct tapped *tap_at(const struct tap *tap, size_t index)
{
    return &tap->pairs[index].said;
}

void tap_destroy(struct tap *tap)
{
    for (size_t i = 0; i < tap->count; i++) {
        buf_deinit(&tap->pairs[i].said.asked);
        buf_deinit(&tap->pairs[i].said.answered);
    }
    mem_free(tap->pairs);
    mem_free(tap);
}
