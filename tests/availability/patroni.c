/* SPDX-License-Identifier: Apache-2.0 */
/* The script, Patroni's REST API, and URLs. */
#include "tests/availability/patroni.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "tests/lib/wait.h"

enum { API_PORT = 8008, ANSWER_MS = 1000 };

#define ADDRESS "10.77.0.1%d"

static void call(struct stack *stack, const char *const *arguments)
{
    const char *argv[8] = {"tests/availability/patroni"};
    for (size_t i = 0; arguments[i]; i++)
        argv[i + 1] = arguments[i];
    assert_int_equal(stack_tool(stack, argv), 0);
}

#define CALL(stack, ...) call((stack), (const char *[]){__VA_ARGS__, NULL})

static const char *text_of(int number)
{
    static char texts[2][16];
    static int next;
    next = (next + 1) % 2;
    snprintf(texts[next], sizeof texts[next], "%d", number);
    return texts[next];
}

void patroni_start(struct stack *stack)
{
    CALL(stack, "start");
}

void patroni_begin(struct stack *stack, int node)
{
    CALL(stack, "begin", text_of(node));
}

void patroni_signal(struct stack *stack, int node, const char *what, int signal_number)
{
    CALL(stack, "signal", text_of(node), text_of(signal_number), what);
}

void patroni_cut_off(struct stack *stack, int node)
{
    CALL(stack, "link", text_of(node), "down");
}

void patroni_reconnect(struct stack *stack, int node)
{
    CALL(stack, "link", text_of(node), "up");
}

/* Waits until the socket can do that; false at the deadline. */
static bool await(int fd, short events, int64_t deadline_us)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    return poll(&poll_fd, 1, clock_remaining_ms(deadline_us)) == 1;
}

static bool send_request(int fd, const struct sockaddr_in *address, const char *role, int64_t deadline_us)
{
    char text[64];
    int error = 0, len = snprintf(text, sizeof text, "GET /%s HTTP/1.0\r\n\r\n", role);
    socklen_t size = sizeof error;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno != EINPROGRESS)
        return false;
    return await(fd, POLLOUT, deadline_us) && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 &&
           error == 0 && send(fd, text, (size_t)len, MSG_NOSIGNAL) == len;
}

/* All of an answer, which ends with the connection; "" where it does not come. */
static void receive(int fd, char *ret, size_t size, int64_t deadline_us)
{
    size_t len = 0;
    ssize_t got = 1;
    while (got > 0 && len + 1 < size) {
        got = await(fd, POLLIN, deadline_us) ? recv(fd, ret + len, size - 1 - len, 0) : -1;
        len += got > 0 ? (size_t)got : 0;
    }
    ret[got == 0 ? len : 0] = '\0';
}

/* Its API speaks HTTP/1.0, which our own client takes for a fault. A primary is one that holds the key in
 * etcd, whether or not its PostgreSQL is there: that is in the body. */
bool patroni_is(int node, const char *role)
{
    char text[4096];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(API_PORT)};
    int64_t deadline_us = clock_deadline_us(ANSWER_MS);
    snprintf(text, sizeof text, ADDRESS, node);
    assert_int_equal(inet_pton(AF_INET, text, &address.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    text[0] = '\0';
    if (send_request(fd, &address, role, deadline_us))
        receive(fd, text, sizeof text, deadline_us);
    close(fd);
    return strncmp(text, "HTTP/1.0 200", 12) == 0 && strstr(text, "\"state\": \"running\"");
}

int patroni_find(const char *role, int except)
{
    for (int node = 1; node <= PATRONI_NODES; node++)
        if (node != except && patroni_is(node, role))
            return node;
    return 0;
}

/* "postgresql://user:password@" of a URL. */
static struct span head_of(struct stack *stack, const char *of)
{
    const char *url = stack_env(stack, of), *at = strchr(url, '@');
    CHECK(at);
    return (struct span){url, (size_t)(at - url) + 1};
}

void patroni_url(struct stack *stack, const char *of, char *ret, size_t size)
{
    struct span head = head_of(stack, of);
    snprintf(ret, size,
             "%.*s" ADDRESS ":5432," ADDRESS ":5432," ADDRESS
             ":5432/firstcome?target_session_attrs=read-write",
             SPAN_ARG(head), 1, 2, 3);
}

void patroni_url_of(struct stack *stack, const char *of, int node, char *ret, size_t size)
{
    struct span head = head_of(stack, of);
    snprintf(ret, size, "%.*s" ADDRESS ":5432/firstcome", SPAN_ARG(head), node);
}
