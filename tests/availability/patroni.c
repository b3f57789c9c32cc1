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

enum { API_PORT = 8008, ANSWER_MS = 1000, SHARD = 10 };

#define ADDRESS              "10.77.%d.%d"
#define ADDRESS_ARG(machine) (machine) / SHARD, (machine) % SHARD

static int nodes_of_a_shard;

static void call(struct stack *stack, const char *const *arguments)
{
    const char *argv[8] = {"tests/availability/patroni"};
    for (size_t i = 0; arguments[i]; i++)
        argv[i + 1] = arguments[i];
    if (stack_tool(stack, argv) != 0) {
        fprintf(stderr, "%s %s %s fails\n", argv[0], argv[1], argv[2]); /* whoever calls it, and from where */
        fail();
    }
}

#define CALL(stack, ...) call((stack), (const char *[]){__VA_ARGS__, NULL})

static const char *text_of(int number)
{
    static char texts[3][16];
    static int next;
    next = (next + 1) % 3;
    snprintf(texts[next], sizeof texts[next], "%d", number);
    return texts[next];
}

void patroni_start(struct stack *stack, int shard, int nodes, int ttl_s)
{
    CHECK(nodes >= 1 && nodes <= 9);
    nodes_of_a_shard = nodes;
    CALL(stack, "start", text_of(shard), text_of(nodes), text_of(ttl_s));
}

void patroni_begin(struct stack *stack, int machine)
{
    CALL(stack, "begin", text_of(machine));
}

void patroni_signal(struct stack *stack, int machine, const char *what, int signal_number)
{
    CALL(stack, "signal", text_of(machine), text_of(signal_number), what);
}

void patroni_cut_off(struct stack *stack, int machine)
{
    CALL(stack, "link", text_of(machine), "down");
}

void patroni_reconnect(struct stack *stack, int machine)
{
    CALL(stack, "link", text_of(machine), "up");
}

void patroni_silence(struct stack *stack, int machine, bool silent)
{
    CALL(stack, "service", text_of(machine), silent ? "down" : "up");
}

bool patroni_switchover(struct stack *stack, int from, int to)
{
    return stack_tool(stack, (const char *[]){"tests/availability/patroni", "switchover", text_of(from),
                                              text_of(to), NULL}) == 0;
}

int patroni_next(int machine)
{
    return machine - machine % SHARD + machine % SHARD % nodes_of_a_shard + 1;
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
bool patroni_is(int machine, const char *role)
{
    char text[4096];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(API_PORT)};
    int64_t deadline_us = clock_deadline_us(ANSWER_MS);
    snprintf(text, sizeof text, ADDRESS, ADDRESS_ARG(machine));
    assert_int_equal(inet_pton(AF_INET, text, &address.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    text[0] = '\0';
    if (send_request(fd, &address, role, deadline_us))
        receive(fd, text, sizeof text, deadline_us);
    close(fd);
    return strncmp(text, "HTTP/1.0 200", 12) == 0 && strstr(text, "\"state\": \"running\"");
}

int patroni_find(int shard, const char *role, int except)
{
    for (int machine = shard * SHARD + 1; machine <= shard * SHARD + nodes_of_a_shard; machine++)
        if (machine != except && patroni_is(machine, role))
            return machine;
    return 0;
}

bool patroni_led(int shard, int except)
{
    int primary = patroni_find(shard, "primary", except), standby = patroni_find(shard, "sync", except);
    return primary && standby && primary != standby;
}

/* "postgresql://user:password@" of a URL. */
static struct span head_of(struct stack *stack, const char *of)
{
    const char *url = stack_env(stack, of), *at = strchr(url, '@');
    CHECK(at);
    return (struct span){url, (size_t)(at - url) + 1};
}

void patroni_url(struct stack *stack, int shard, const char *of, char *ret, size_t size)
{
    struct span head = head_of(stack, of);
    int len = snprintf(ret, size, "%.*s", SPAN_ARG(head));
    for (int node = 1; node <= nodes_of_a_shard; node++)
        len +=
            snprintf(ret + len, size - (size_t)len, "%s" ADDRESS ":5432", node > 1 ? "," : "", shard, node);
    snprintf(ret + len, size - (size_t)len, "/firstcome?target_session_attrs=read-write");
}

void patroni_url_of(struct stack *stack, const char *of, int machine, char *ret, size_t size)
{
    struct span head = head_of(stack, of);
    snprintf(ret, size, "%.*s" ADDRESS ":5432/firstcome", SPAN_ARG(head), ADDRESS_ARG(machine));
}
