/* SPDX-License-Identifier: Apache-2.0 */
/* Single calls, blocking with a deadline. */
#include "bench/load/load_call.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum { INPUT_FIRST = 16 * 1024 };

static void add_header(struct buf *out, const char *name, struct span value)
{
    if (!value.ptr)
        return;
    buf_append_text(out, name);
    buf_append_span(out, value);
    buf_append_text(out, "\r\n");
}

void load_call_write(const struct target *target, const struct load_call_request *request, struct buf *out)
{
    buf_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\n", request->method, request->path, target->authority);
    add_header(out, "Authorization: Bearer ", request->token);
    add_header(out, "Idempotency-Key: ", request->key);
    add_header(out, "Consistency-Token: ", request->consistency);
    if (request->body.ptr)
        buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", request->body.len);
    buf_append_text(out, "\r\n");
    if (request->body.ptr)
        buf_append_span(out, request->body);
}

void load_call_init(struct load_call *call, const struct target *target, size_t body_max)
{
    *call = (struct load_call){.target = target, .fd = -1, .body_max = body_max, .error = ""};
}

static void hang_up(struct load_call *call)
{
    if (call->fd >= 0)
        close(call->fd);
    call->fd = -1;
}

void load_call_deinit(struct load_call *call)
{
    hang_up(call);
    mem_free(call->input);
    call->input = NULL;
}

static bool fail(struct load_call *call, const char *error)
{
    call->error = error;
    hang_up(call);
    return false;
}

static bool wait_for(struct load_call *call, short events, int64_t deadline_us)
{
    struct pollfd poll_fd = {.fd = call->fd, .events = events};
    while (poll(&poll_fd, 1, clock_remaining_ms(deadline_us)) <= 0)
        if (clock_remaining_ms(deadline_us) == 0)
            return fail(call, "no answer in time");
    return true;
}

static bool connect_to(struct load_call *call, int64_t deadline_us)
{
    int error = 0;
    socklen_t len = sizeof error;
    call->fd = target_connect(call->target);
    if (call->fd < 0)
        return fail(call, strerror(errno));
    if (!wait_for(call, POLLOUT, deadline_us))
        return false;
    if (getsockopt(call->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
        return fail(call, strerror(error));
    return true;
}

static bool write_all(struct load_call *call, struct span request, int64_t deadline_us)
{
    while (request.len) {
        ssize_t n = send(call->fd, request.ptr, request.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return fail(call, "the connection broke");
        if (n > 0)
            request = (struct span){request.ptr + n, request.len - (size_t)n};
        else if (!wait_for(call, POLLOUT, deadline_us))
            return false;
    }
    return true;
}

static bool read_some(struct load_call *call, int64_t deadline_us)
{
    size_t size_max = call->body_max + RESPONSE_HEAD_MAX;
    if (call->input_len == call->input_size) {
        call->input_size = call->input_size ? 2 * call->input_size : INPUT_FIRST;
        call->input_size = call->input_size < size_max ? call->input_size : size_max;
        call->input = mem_realloc(call->input, call->input_size);
    }
    CHECK(call->input_len < call->input_size);
    for (;;) {
        ssize_t n = recv(call->fd, call->input + call->input_len, call->input_size - call->input_len, 0);
        if (n > 0) {
            call->input_len += (size_t)n;
            return true;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return fail(call, "the connection broke");
        if (!wait_for(call, POLLIN, deadline_us))
            return false;
    }
}

static bool exchange(struct load_call *call, struct span request, int64_t deadline_us,
                     struct http_response *ret)
{
    if ((call->fd < 0 && !connect_to(call, deadline_us)) || !write_all(call, request, deadline_us))
        return false;
    call->input_len = 0;
    for (;;) {
        size_t used = 0;
        if (!read_some(call, deadline_us))
            return false;
        struct span input = {call->input, call->input_len};
        enum response_progress progress = http_response_parse(input, call->body_max, ret, &used);
        if (progress == RESPONSE_MALFORMED || (progress == RESPONSE_COMPLETE && used != call->input_len))
            return fail(call, "the answer is malformed");
        if (progress == RESPONSE_COMPLETE)
            break;
    }
    if (ret->close)
        hang_up(call);
    return true;
}

bool load_call_send(struct load_call *call, struct span request, int64_t deadline_us,
                    struct http_response *ret)
{
    bool used_before = call->fd >= 0;
    if (exchange(call, request, deadline_us, ret))
        return true;
    return used_before && clock_remaining_ms(deadline_us) > 0 && exchange(call, request, deadline_us, ret);
}
