/* SPDX-License-Identifier: Apache-2.0 */
/* The test client: non-blocking socket, poll, a growing input buffer that answers are cut from. */
#include "tests/lib/http_client.h"

#include "tests/lib/exchange.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/kit/metrics_text.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

enum { INPUT_MAX = 64 * 1024 * 1024, REQUEST_MAX = 16 * 1024 * 1024, TIMEOUT_MS = 60000 };

struct http_client {
    struct sockaddr_in address;
    int fd; /* -1: closed */
    bool used;
    bool bodiless;     /* what is asked is HEAD */
    struct buf input;  /* received and not given out yet */
    struct buf output; /* the request being sent */
    struct buf head, body;
};

struct http_client *http_client_create(const char *url)
{
    char host[64];
    uint64_t port;
    struct span rest = span_of(url);
    CHECK(span_starts(rest, SPAN("http://")));
    rest = (struct span){rest.ptr + 7, rest.len - 7};
    struct span name = span_cut(&rest, ':');
    struct http_client *client = mem_zalloc(sizeof *client);
    snprintf(host, sizeof host, "%.*s", SPAN_ARG(name));
    CHECK(inet_pton(AF_INET, host, &client->address.sin_addr) == 1);
    CHECK(parse_u64(span_cut(&rest, '/'), UINT16_MAX, &port));
    client->address.sin_family = AF_INET;
    client->address.sin_port = htons((uint16_t)port);
    client->fd = -1;
    buf_init(&client->input, INPUT_MAX);
    buf_init(&client->output, REQUEST_MAX);
    buf_init(&client->head, INPUT_MAX);
    buf_init(&client->body, INPUT_MAX);
    return client;
}

void http_client_close(struct http_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->used = false;
    buf_clear(&client->input);
}

void http_client_destroy(struct http_client *client)
{
    if (!client)
        return;
    http_client_close(client);
    buf_deinit(&client->input);
    buf_deinit(&client->output);
    buf_deinit(&client->head);
    buf_deinit(&client->body);
    mem_free(client);
}

static enum http_outcome wait_fd(const struct http_client *client, short events, int64_t deadline_us)
{
    for (;;) {
        struct pollfd poll_fd = {.fd = client->fd, .events = events};
        if (poll(&poll_fd, 1, clock_remaining_ms(deadline_us)) > 0)
            return HTTP_ANSWERED;
        if (clock_remaining_ms(deadline_us) == 0)
            return HTTP_LATE;
    }
}

static enum http_outcome open_connection(struct http_client *client, int64_t deadline_us)
{
    if (client->fd >= 0)
        return HTTP_ANSWERED;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(client->fd >= 0);
    if (connect(client->fd, (struct sockaddr *)&client->address, sizeof client->address) == 0)
        return HTTP_ANSWERED;
    int error = errno;
    if (error == EINPROGRESS) {
        socklen_t size = sizeof error;
        if (wait_fd(client, POLLOUT, deadline_us) == HTTP_LATE)
            return HTTP_LATE;
        CHECK(getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    }
    if (error == 0)
        return HTTP_ANSWERED;
    http_client_close(client);
    return HTTP_CLOSED;
}

static enum http_outcome send_all(struct http_client *client, struct span bytes, int64_t deadline_us)
{
    for (size_t at = 0; at < bytes.len;) {
        ssize_t sent = send(client->fd, bytes.ptr + at, bytes.len - at, MSG_NOSIGNAL);
        if (sent >= 0)
            at += (size_t)sent;
        else if (errno != EAGAIN && errno != EINTR)
            return HTTP_CLOSED; /* an answer may have come all the same */
        else if (wait_fd(client, POLLOUT, deadline_us) == HTTP_LATE)
            return HTTP_LATE;
    }
    return HTTP_ANSWERED;
}

enum http_outcome http_client_send(struct http_client *client, struct span bytes, int64_t timeout_ms)
{
    int64_t deadline_us = clock_deadline_us(timeout_ms);
    enum http_outcome outcome = open_connection(client, deadline_us);
    return outcome == HTTP_ANSWERED ? send_all(client, bytes, deadline_us) : outcome;
}

/* Receives what there is; HTTP_CLOSED at the end of the stream. */
static enum http_outcome receive_some(struct http_client *client, int64_t deadline_us)
{
    char chunk[16384];
    for (;;) {
        if (client->fd < 0)
            return HTTP_CLOSED;
        enum http_outcome outcome = wait_fd(client, POLLIN, deadline_us);
        if (outcome != HTTP_ANSWERED)
            return outcome;
        ssize_t got = recv(client->fd, chunk, sizeof chunk, 0);
        if (got > 0)
            buf_append(&client->input, chunk, (size_t)got);
        if (got > 0)
            return client->input.overflow ? HTTP_MALFORMED : HTTP_ANSWERED;
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            return HTTP_CLOSED;
    }
}

bool http_client_await_close(struct http_client *client, int64_t timeout_ms)
{
    int64_t deadline_us = clock_deadline_us(timeout_ms);
    enum http_outcome outcome = HTTP_ANSWERED;
    while (outcome == HTTP_ANSWERED) {
        buf_clear(&client->input);
        outcome = receive_some(client, deadline_us);
    }
    return outcome == HTTP_CLOSED;
}

/* Moves the first `len` bytes of the input to `to`. */
static void take(struct http_client *client, size_t len, struct buf *to)
{
    CHECK(len <= client->input.len);
    if (to)
        buf_append(to, client->input.data, len);
    client->input.len -= len;
    if (client->input.len)
        memmove(client->input.data, client->input.data + len, client->input.len);
}

static enum http_outcome need(struct http_client *client, size_t len, int64_t deadline_us)
{
    enum http_outcome outcome = HTTP_ANSWERED;
    while (outcome == HTTP_ANSWERED && client->input.len < len)
        outcome = receive_some(client, deadline_us);
    return outcome;
}

/* Waits until `end` is in the input and says how many bytes there are up to and with it. */
static enum http_outcome find(struct http_client *client, const char *end, int64_t deadline_us,
                              size_t *ret_len)
{
    for (;;) {
        struct span input = buf_span(&client->input);
        const char *at = input.len ? memmem(input.ptr, input.len, end, strlen(end)) : NULL;
        if (at) {
            *ret_len = (size_t)(at - input.ptr) + strlen(end);
            return HTTP_ANSWERED;
        }
        enum http_outcome outcome = receive_some(client, deadline_us);
        if (outcome != HTTP_ANSWERED)
            return outcome;
    }
}

static bool parse_hex_size(struct span text, size_t *ret)
{
    size_t value = 0;
    if (text.len == 0 || text.len > 8)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char digit[2] = {'0', text.ptr[i]};
        uint8_t nibble;
        if (!hex_decode((struct span){digit, 2}, &nibble, 1))
            return false;
        value = value * 16 + nibble;
    }
    *ret = value;
    return true;
}

static enum http_outcome read_chunk(struct http_client *client, int64_t deadline_us, size_t *ret_size)
{
    size_t line, size;
    enum http_outcome outcome = find(client, "\r\n", deadline_us, &line);
    if (outcome != HTTP_ANSWERED)
        return outcome;
    if (!parse_hex_size((struct span){client->input.data, line - 2}, &size))
        return HTTP_MALFORMED;
    take(client, line, NULL);
    outcome = need(client, size + 2, deadline_us);
    if (outcome != HTTP_ANSWERED)
        return outcome;
    take(client, size, &client->body);
    if (memcmp(client->input.data, "\r\n", 2) != 0)
        return HTTP_MALFORMED;
    take(client, 2, NULL);
    *ret_size = size;
    return HTTP_ANSWERED;
}

static enum http_outcome read_until_close(struct http_client *client, int64_t deadline_us)
{
    enum http_outcome outcome = HTTP_ANSWERED;
    while (outcome == HTTP_ANSWERED)
        outcome = receive_some(client, deadline_us);
    if (outcome != HTTP_CLOSED)
        return outcome;
    take(client, client->input.len, &client->body);
    return HTTP_ANSWERED;
}

static enum http_outcome read_body(struct http_client *client, int64_t deadline_us,
                                   struct http_answer *answer)
{
    uint64_t length;
    enum http_outcome outcome = HTTP_ANSWERED;
    struct span declared = http_answer_header(answer, "Content-Length");
    if (client->bodiless || answer->status == 204 || answer->status == 304)
        return HTTP_ANSWERED;
    if (span_is(http_answer_header(answer, "Transfer-Encoding"), "chunked")) {
        size_t size = 1;
        while (outcome == HTTP_ANSWERED && size > 0)
            outcome = read_chunk(client, deadline_us, &size);
        return outcome;
    }
    if (!declared.ptr) {
        answer->closing = true;
        return read_until_close(client, deadline_us);
    }
    if (!parse_u64(declared, INPUT_MAX, &length))
        return HTTP_MALFORMED;
    outcome = need(client, length, deadline_us);
    if (outcome == HTTP_ANSWERED)
        take(client, length, &client->body);
    return outcome;
}

/* Of "HTTP/1.1 200 ..." */
static bool parse_status(struct span head, int *ret)
{
    uint64_t status;
    if (!span_starts(head, SPAN("HTTP/1.1 ")) || !parse_u64((struct span){head.ptr + 9, 3}, 599, &status))
        return false;
    *ret = (int)status;
    return true;
}

enum http_outcome http_client_await_status(struct http_client *client, int64_t timeout_ms, int *ret_status)
{
    size_t len;
    enum http_outcome outcome = find(client, "\r\n", clock_deadline_us(timeout_ms), &len);
    if (outcome == HTTP_ANSWERED && !parse_status(buf_span(&client->input), ret_status))
        return HTTP_MALFORMED;
    return outcome;
}

static enum http_outcome read_head(struct http_client *client, int64_t deadline_us, struct http_answer *ret)
{
    size_t len;
    enum http_outcome outcome = find(client, "\r\n\r\n", deadline_us, &len);
    if (outcome != HTTP_ANSWERED)
        return outcome;
    buf_clear(&client->head);
    take(client, len, &client->head);
    ret->head = buf_span(&client->head);
    if (!parse_status(ret->head, &ret->status))
        return HTTP_MALFORMED;
    struct span connection = http_answer_header(ret, "Connection");
    ret->closing = connection.len == 5 && strncasecmp(connection.ptr, "close", 5) == 0;
    return HTTP_ANSWERED;
}

enum http_outcome http_client_read(struct http_client *client, int64_t timeout_ms, struct http_answer *ret)
{
    int64_t deadline_us = clock_deadline_us(timeout_ms);
    *ret = (struct http_answer){0};
    buf_clear(&client->body);
    enum http_outcome outcome = read_head(client, deadline_us, ret);
    while (outcome == HTTP_ANSWERED && ret->status < 200) /* 100 Continue */
        outcome = read_head(client, deadline_us, ret);
    if (outcome == HTTP_ANSWERED)
        outcome = read_body(client, deadline_us, ret);
    ret->body = buf_span(&client->body);
    if (outcome != HTTP_ANSWERED || ret->closing)
        http_client_close(client);
    else
        client->used = true;
    return outcome;
}

static void write_request(struct http_client *client, const struct http_call *call)
{
    struct buf *out = &client->output;
    buf_clear(out);
    const char *method = http_call_method(call);
    client->bodiless = strcmp(method, "HEAD") == 0;
    buf_printf(out, "%s %s HTTP/1.1\r\nHost: test\r\n", method, call->path);
    if (call->token)
        buf_printf(out, "Authorization: Bearer %s\r\n", call->token);
    if (call->key)
        buf_printf(out, "Idempotency-Key: %s\r\n", call->key);
    for (const char *const *line = call->headers; line && *line; line++)
        buf_printf(out, "%s\r\n", *line);
    if (call->body)
        buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(call->body));
    buf_append_text(out, "\r\n");
    if (call->body)
        buf_append_text(out, call->body);
    CHECK(!out->overflow);
}

static int64_t deadline_of(const struct http_call *call)
{
    return clock_deadline_us(call->timeout_ms ? call->timeout_ms : TIMEOUT_MS);
}

/* One that rested may have been closed for it: nothing was asked on it, so another one serves. */
static void leave_if_closed(struct http_client *client)
{
    char byte;
    if (client->fd >= 0 && recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        http_client_close(client);
}

enum http_outcome http_client_begin(struct http_client *client, const struct http_call *call)
{
    leave_if_closed(client);
    write_request(client, call);
    return http_client_send(client, buf_span(&client->output), clock_remaining_ms(deadline_of(call)));
}

static enum http_outcome try_call(struct http_client *client, int64_t deadline_us, struct http_answer *ret)
{
    *ret = (struct http_answer){0};
    enum http_outcome sent =
        http_client_send(client, buf_span(&client->output), clock_remaining_ms(deadline_us));
    if (sent == HTTP_LATE || client->fd < 0)
        return sent;
    return http_client_read(client, clock_remaining_ms(deadline_us), ret); /* also where sending broke off */
}

enum http_outcome http_client_call(struct http_client *client, const struct http_call *call,
                                   struct http_answer *ret)
{
    int64_t deadline_us = deadline_of(call);
    bool reused = client->used;
    write_request(client, call);
    enum http_outcome outcome = try_call(client, deadline_us, ret);
    if (outcome == HTTP_CLOSED && reused && ret->head.len == 0)
        outcome = try_call(client, deadline_us, ret);
    if (outcome == HTTP_ANSWERED)
        exchange_note(call, ret);
    return outcome;
}

struct span http_answer_header(const struct http_answer *answer, const char *name)
{
    size_t name_len = strlen(name);
    struct span rest = answer->head;
    while (rest.ptr && rest.len > 0) {
        struct span line = span_cut(&rest, '\n');
        if (line.len <= name_len || line.ptr[name_len] != ':' || strncasecmp(line.ptr, name, name_len) != 0)
            continue;
        struct span value = {line.ptr + name_len + 1, line.len - name_len - 1};
        while (value.len && (value.ptr[0] == ' ' || value.ptr[0] == '\t'))
            value = (struct span){value.ptr + 1, value.len - 1};
        while (value.len && (value.ptr[value.len - 1] == '\r' || value.ptr[value.len - 1] == ' '))
            value.len--;
        return value;
    }
    return (struct span){0};
}

static int64_t find_metric(struct http_client *client, const char *name,
                           bool (*read)(struct span, const char *, int64_t *))
{
    struct http_answer answer;
    const struct http_call call = {.path = "/metrics"};
    int64_t value = -1;
    if (http_client_call(client, &call, &answer) != HTTP_ANSWERED || !read(answer.body, name, &value))
        return -1;
    return value;
}

int64_t http_client_metric(struct http_client *client, const char *name)
{
    return find_metric(client, name, metrics_find);
}

int64_t http_client_metric_micro(struct http_client *client, const char *name)
{
    return find_metric(client, name, metrics_find_micro);
}
