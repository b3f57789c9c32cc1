/* SPDX-License-Identifier: Apache-2.0 */
/* Publisher and subscriber over nng 1.5.
 *
 * The subscriber never leaves a receive pending in nng. Up to 1.5.2 a pending receive on a SUB socket that
 * times out or is cancelled at the moment a message arrives is taken off its list twice and crashes the
 * process (nanomsg/nng issue 1523, fixed in 1.6.0). So its thread polls the socket's descriptor, takes what
 * is there without blocking, and is told to stop through a descriptor of its own. */
#include "common/bus.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/metrics.h"

enum {
    RECONNECT_MIN_MS = 50,
    RECONNECT_MAX_MS = 1000,
    SEND_BUFFER = 256,  /* messages per subscriber; the oldest is dropped when one is slow */
    RECV_BUFFER = 1024, /* messages; the oldest is dropped */
    URL_MAX = 256,
    POLL_MS = 1000, /* only so that no wait is without end */
    CLOSE_S = 1,
};

struct bus_publisher {
    nng_socket socket;
    struct metric *sent;
};

struct bus_subscriber {
    nng_socket socket;
    int recv_fd, stop_fd;
    pthread_t thread;
    bus_receive *receive;
    void *context;
};

static bool explain(char *reason, size_t reason_size, const char *what, int error)
{
    snprintf(reason, reason_size, "%s: %s", what, nng_strerror(error));
    return false;
}

static void *run_close(void *socket)
{
    nng_close(*(nng_socket *)socket);
    mem_free(socket);
    return NULL;
}

static void close_socket(nng_socket socket)
{
    pthread_t thread;
    struct timespec until;
    nng_socket *copy = mem_alloc(sizeof *copy);
    *copy = socket;
    CHECK(pthread_create(&thread, NULL, run_close, copy) == 0);
    CHECK(clock_gettime(CLOCK_REALTIME, &until) == 0);
    until.tv_sec += CLOSE_S;
    if (pthread_timedjoin_np(thread, NULL, &until) != 0)
        CHECK(pthread_detach(thread) == 0);
}

/* Dials in the background: an address nobody listens on is no error, one that is no address is. */
static bool dial(nng_socket socket, struct span url, char *reason, size_t reason_size)
{
    char text[URL_MAX];
    if (url.len == 0 || url.len >= sizeof text) {
        snprintf(reason, reason_size, "an empty bus URL, or one longer than %d bytes", URL_MAX - 1);
        return false;
    }
    memcpy(text, url.ptr, url.len);
    text[url.len] = '\0';
    int error = nng_dial(socket, text, NULL, NNG_FLAG_NONBLOCK);
    return error == 0 || explain(reason, reason_size, text, error);
}

static bool dial_all(nng_socket socket, const char *urls, char *reason, size_t reason_size)
{
    struct span rest = span_of(urls);
    for (int count = 0; rest.ptr; count++) {
        if (count == BUS_URLS_MAX) {
            snprintf(reason, reason_size, "more than %d bus URLs", BUS_URLS_MAX);
            return false;
        }
        if (!dial(socket, span_cut(&rest, ','), reason, reason_size))
            return false;
    }
    return true;
}

static bool set_up_publisher(nng_socket socket, const char *urls, char *reason, size_t reason_size)
{
    int error = nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
    if (error == 0)
        error = nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS);
    if (error == 0)
        error = nng_socket_set_int(socket, NNG_OPT_SENDBUF, SEND_BUFFER);
    if (error != 0)
        return explain(reason, reason_size, "setting up the publisher", error);
    return dial_all(socket, urls, reason, reason_size);
}

struct bus_publisher *bus_publisher_create(const char *urls, char *reason, size_t reason_size)
{
    nng_socket socket;
    int error = nng_pub0_open(&socket);
    if (error != 0) {
        explain(reason, reason_size, "opening the publisher", error);
        return NULL;
    }
    if (!set_up_publisher(socket, urls, reason, reason_size)) {
        close_socket(socket);
        return NULL;
    }
    struct bus_publisher *publisher = mem_zalloc(sizeof *publisher);
    publisher->socket = socket;
    publisher->sent = metric_counter("coupon_bus_sent_total", "Hints that were sent on the bus", NULL);
    return publisher;
}

void bus_publish(struct bus_publisher *publisher, struct span message)
{
    CHECK(message.len <= BUS_MESSAGE_MAX);
    /* nng copies; PUB never waits; what fails to be sent is a hint that got lost */
    metric_add(publisher->sent, 1);
    (void)nng_send(publisher->socket, (void *)message.ptr, message.len, NNG_FLAG_NONBLOCK);
}

void bus_publisher_destroy(struct bus_publisher *publisher)
{
    if (!publisher)
        return;
    close_socket(publisher->socket);
    mem_free(publisher);
}

/* Takes what has arrived, at most a buffer's worth so that a flood cannot hold up the stop. */
static void drain(struct bus_subscriber *subscriber)
{
    nng_msg *message;
    for (int i = 0; i < RECV_BUFFER; i++) {
        if (nng_recvmsg(subscriber->socket, &message, NNG_FLAG_NONBLOCK) != 0)
            return;
        struct span body = {nng_msg_body(message), nng_msg_len(message)};
        if (body.len <= BUS_MESSAGE_MAX)
            subscriber->receive(body, subscriber->context);
        nng_msg_free(message);
    }
}

static void *run_subscriber(void *argument)
{
    struct bus_subscriber *subscriber = argument;
    pthread_setname_np(pthread_self(), "bus");
    for (;;) {
        struct pollfd fds[] = {{.fd = subscriber->recv_fd, .events = POLLIN},
                               {.fd = subscriber->stop_fd, .events = POLLIN}};
        int ready = poll(fds, COUNT_OF(fds), POLL_MS);
        CHECK(ready >= 0 || errno == EINTR);
        if (ready > 0 && fds[1].revents)
            return NULL;
        drain(subscriber);
    }
}

static bool set_up_subscriber(nng_socket socket, const char *url, int *ret_fd, char *reason,
                              size_t reason_size)
{
    int error = nng_socket_set_int(socket, NNG_OPT_RECVBUF, RECV_BUFFER);
    if (error == 0)
        error = nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ,
                                    BUS_MESSAGE_MAX); /* nng hangs up on a longer one */
    if (error == 0)
        error = nng_socket_set(socket, NNG_OPT_SUB_SUBSCRIBE, "", 0);
    if (error == 0)
        error = nng_socket_get_int(socket, NNG_OPT_RECVFD, ret_fd);
    if (error != 0)
        return explain(reason, reason_size, "setting up the subscriber", error);
    error = nng_listen(socket, url, NULL, 0);
    return error == 0 || explain(reason, reason_size, url, error);
}

struct bus_subscriber *bus_subscriber_create(const char *url, bus_receive *receive, void *context,
                                             char *reason, size_t reason_size)
{
    nng_socket socket;
    int recv_fd;
    int error = nng_sub0_open(&socket);
    if (error != 0) {
        explain(reason, reason_size, "opening the subscriber", error);
        return NULL;
    }
    if (!set_up_subscriber(socket, url, &recv_fd, reason, reason_size)) {
        close_socket(socket);
        return NULL;
    }
    struct bus_subscriber *subscriber = mem_zalloc(sizeof *subscriber);
    *subscriber = (struct bus_subscriber){.socket = socket,
                                          .recv_fd = recv_fd,
                                          .stop_fd = eventfd(0, EFD_CLOEXEC),
                                          .receive = receive,
                                          .context = context};
    CHECK(subscriber->stop_fd >= 0);
    CHECK(pthread_create(&subscriber->thread, NULL, run_subscriber, subscriber) == 0);
    return subscriber;
}

void bus_subscriber_destroy(struct bus_subscriber *subscriber)
{
    if (!subscriber)
        return;
    CHECK(eventfd_write(subscriber->stop_fd, 1) == 0);
    CHECK(pthread_join(subscriber->thread, NULL) == 0);
    close_socket(subscriber->socket);
    close(subscriber->stop_fd);
    mem_free(subscriber);
}
