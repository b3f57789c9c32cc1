/* SPDX-License-Identifier: Apache-2.0 */
/* Sending and receiving, each with a deadline. */
#include "tests/chaos/wire.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

void wire_init(struct wire *wire, const struct target *target)
{
    size_t size = RESPONSE_HEAD_MAX + WIRE_BODY_MAX;
    *wire = (struct wire){.target = target, .fd = -1, .input = mem_alloc(size), .input_size = size};
}

static void hang_up(struct wire *wire)
{
    if (wire->fd >= 0)
        close(wire->fd);
    wire->fd = -1;
}

void wire_deinit(struct wire *wire)
{
    hang_up(wire);
    mem_free(wire->input);
}

static bool await(const struct wire *wire, short events, int64_t deadline_us)
{
    struct pollfd poll_fd = {.fd = wire->fd, .events = events};
    int n;
    do
        n = poll(&poll_fd, 1, clock_remaining_ms(deadline_us));
    while (n < 0 && errno == EINTR);
    return n > 0;
}

/* Whether the server has closed a connection that rests (or said something nobody asked for). */
static bool gone_stale(const struct wire *wire)
{
    char byte;
    ssize_t n = recv(wire->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n >= 0 || errno != EAGAIN;
}

static bool connected(struct wire *wire, int64_t deadline_us)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (wire->fd >= 0 && gone_stale(wire))
        hang_up(wire);
    if (wire->fd >= 0)
        return true;
    wire->fd = target_connect(wire->target);
    if (wire->fd >= 0 && await(wire, POLLOUT, deadline_us) &&
        getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0)
        return true;
    hang_up(wire);
    return false;
}

void wire_send(struct wire *wire, struct span request, int64_t deadline_us)
{
    size_t sent = 0;
    wire->input_len = 0;
    wire->state = WIRE_ANSWERED;
    if (!connected(wire, deadline_us)) {
        wire->state = WIRE_UNSENT;
        return;
    }
    while (sent < request.len) {
        ssize_t n = send(wire->fd, request.ptr + sent, request.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            sent += (size_t)n;
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
            break;
        else if (!await(wire, POLLOUT, deadline_us))
            break;
    }
    if (sent < request.len) {
        wire->state = WIRE_LOST;
        hang_up(wire);
    }
}

static enum wire_outcome give_up(struct wire *wire, enum wire_outcome outcome)
{
    hang_up(wire);
    return outcome;
}

enum wire_outcome wire_receive(struct wire *wire, int64_t deadline_us, struct http_response *ret)
{
    while (wire->state == WIRE_ANSWERED) {
        size_t used;
        struct span input = {wire->input, wire->input_len};
        enum response_progress progress = http_response_parse(input, WIRE_BODY_MAX, ret, &used);
        if (progress == RESPONSE_COMPLETE && used == wire->input_len) {
            if (ret->close)
                hang_up(wire);
            return WIRE_ANSWERED;
        }
        if (progress != RESPONSE_NEED_MORE || wire->input_len == wire->input_size)
            return give_up(wire, WIRE_MALFORMED);
        if (!await(wire, POLLIN, deadline_us))
            return give_up(wire, WIRE_LATE);
        ssize_t n =
            recv(wire->fd, wire->input + wire->input_len, wire->input_size - wire->input_len, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return give_up(wire, WIRE_LOST);
        wire->input_len += n > 0 ? (size_t)n : 0;
    }
    return wire->state;
}
