/* SPDX-License-Identifier: Apache-2.0 */
/* Sending and receiving, each with a deadline. */
#include "bench/load/connection.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

void connection_init(struct connection *connection, const struct target *target)
{
    size_t size = RESPONSE_HEAD_MAX + CONNECTION_BODY_MAX;
    *connection =
        (struct connection){.target = target, .fd = -1, .input = mem_alloc(size), .input_size = size};
}

static void hang_up(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
}

void connection_deinit(struct connection *connection)
{
    hang_up(connection);
    mem_free(connection->input);
}

static bool await(const struct connection *connection, short events, int64_t deadline_us)
{
    struct pollfd poll_fd = {.fd = connection->fd, .events = events};
    int n;
    do
        n = poll(&poll_fd, 1, clock_remaining_ms(deadline_us));
    while (n < 0 && errno == EINTR);
    return n > 0;
}

/* Whether the server has closed a connection that rests (or said something nobody asked for). */
static bool gone_stale(const struct connection *connection)
{
    char byte;
    ssize_t n = recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n >= 0 || errno != EAGAIN;
}

static bool connected(struct connection *connection, int64_t deadline_us)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (connection->fd >= 0 && gone_stale(connection))
        hang_up(connection);
    if (connection->fd >= 0)
        return true;
    connection->fd = target_connect(connection->target);
    if (connection->fd >= 0 && await(connection, POLLOUT, deadline_us) &&
        getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0)
        return true;
    hang_up(connection);
    return false;
}

void connection_send(struct connection *connection, struct span request, int64_t deadline_us)
{
    size_t sent = 0;
    connection->input_len = 0;
    connection->state = EXCHANGE_ANSWERED;
    if (!connected(connection, deadline_us)) {
        connection->state = EXCHANGE_UNSENT;
        return;
    }
    while (sent < request.len) {
        ssize_t n = send(connection->fd, request.ptr + sent, request.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            sent += (size_t)n;
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
            break;
        else if (!await(connection, POLLOUT, deadline_us))
            break;
    }
    if (sent < request.len) {
        connection->state = EXCHANGE_LOST;
        hang_up(connection);
    }
}

static enum exchange give_up(struct connection *connection, enum exchange outcome)
{
    hang_up(connection);
    return outcome;
}

enum exchange connection_receive(struct connection *connection, int64_t deadline_us,
                                 struct http_response *ret)
{
    while (connection->state == EXCHANGE_ANSWERED) {
        size_t used;
        struct span input = {connection->input, connection->input_len};
        enum response_progress progress = http_response_parse(input, CONNECTION_BODY_MAX, ret, &used);
        if (progress == RESPONSE_COMPLETE && used == connection->input_len) {
            if (ret->close)
                hang_up(connection);
            return EXCHANGE_ANSWERED;
        }
        if (progress != RESPONSE_NEED_MORE || connection->input_len == connection->input_size)
            return give_up(connection, EXCHANGE_MALFORMED);
        if (!await(connection, POLLIN, deadline_us))
            return give_up(connection, EXCHANGE_LATE);
        ssize_t n = recv(connection->fd, connection->input + connection->input_len,
                         connection->input_size - connection->input_len, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return give_up(connection, EXCHANGE_LOST);
        connection->input_len += n > 0 ? (size_t)n : 0;
    }
    return connection->state;
}

struct span connection_head(const struct connection *connection)
{
    struct span input = {connection->input, connection->input_len};
    const char *end = memmem(input.ptr, input.len, "\r\n\r\n", 4);
    return (struct span){input.ptr, end ? (size_t)(end - input.ptr) : input.len};
}

enum exchange connection_call(struct connection *connection, struct span request, int64_t deadline_us,
                              struct http_response *ret)
{
    bool used_before = connection->fd >= 0;
    connection_send(connection, request, deadline_us);
    enum exchange outcome = connection_receive(connection, deadline_us, ret);
    if (!used_before || (outcome != EXCHANGE_LOST && outcome != EXCHANGE_UNSENT))
        return outcome;
    connection_send(connection, request, deadline_us);
    return connection_receive(connection, deadline_us, ret);
}

const char *exchange_describe(enum exchange exchange)
{
    static const char *const texts[] = {[EXCHANGE_ANSWERED] = "answered",
                                        [EXCHANGE_UNSENT] = "nobody takes the connection",
                                        [EXCHANGE_LOST] = "the connection broke",
                                        [EXCHANGE_LATE] = "no answer in time",
                                        [EXCHANGE_MALFORMED] = "the answer is malformed"};
    return texts[exchange];
}
