/* SPDX-License-Identifier: Apache-2.0 */
/* One thread, one connection at a time. The rules are those of the protocol's specification: ids are
 * hexadecimal digits of 16 and 8 bytes and not all zero, 64-bit numbers are text, enumerations are numbers, a
 * value is one of a oneof, a span does not end before it begins. */
#include "tests/lib/otlp_sink.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/json.h"
#include "tests/lib/wait.h"

enum { SPANS_MAX = 4096, REQUEST_MAX = 4 << 20, POLL_MS = 100 };

struct otlp_sink {
    int fd;
    char url[64];
    atomic_int status;
    atomic_bool stop;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    struct otlp_span spans[SPANS_MAX];
    size_t count;
    char broken[160]; /* the first rule */
};

/* --- The rules --- */

static void rule(struct otlp_sink *sink, bool kept, const char *what)
{
    if (!kept && !sink->broken[0])
        (void)snprintf(sink->broken, sizeof sink->broken, "%s", what);
}

static bool is_id(struct span text, size_t digits)
{
    bool any = false;
    for (size_t i = 0; i < text.len; i++) {
        if (!strchr("0123456789abcdef", text.ptr[i]))
            return false;
        any |= text.ptr[i] != '0';
    }
    return text.len == digits && any;
}

static void take_text(struct otlp_sink *sink, const struct json_value *object, const char *name, char *ret,
                      size_t size)
{
    struct span text = {NULL, 0};
    rule(sink, json_as_text(json_member(object, name), &text) && text.len > 0 && text.len < size, name);
    (void)snprintf(ret, size, "%.*s", (int)text.len, text.ptr ? text.ptr : "");
}

static void take_id(struct otlp_sink *sink, const struct json_value *object, const char *name, char *ret,
                    size_t digits)
{
    take_text(sink, object, name, ret, digits + 1);
    rule(sink, is_id(span_of(ret), digits), name);
}

static int64_t take_ns(struct otlp_sink *sink, const struct json_value *object, const char *name)
{
    struct span text = {NULL, 0};
    int64_t ns = 0;
    rule(sink, json_as_text(json_member(object, name), &text) && parse_i64(text, 1, INT64_MAX, &ns), name);
    return ns;
}

static void check_attributes(struct otlp_sink *sink, const struct json_value *list, const char *wanted,
                             char *ret, size_t size)
{
    for (size_t i = 0; i < json_array_length(list); i++) {
        const struct json_value *one = json_array_at(list, i), *value = json_member(one, "value");
        struct span key = {NULL, 0}, text = {NULL, 0};
        int64_t number;
        rule(sink, json_as_text(json_member(one, "key"), &key) && key.len > 0, "an attribute's key");
        bool is_text = json_as_text(json_member(value, "stringValue"), &text);
        bool is_number = !is_text && json_as_text(json_member(value, "intValue"), &text) &&
                         parse_i64(text, INT64_MIN, INT64_MAX, &number);
        rule(sink, is_text || is_number, "an attribute's value");
        if (wanted && is_text && span_is(key, wanted))
            (void)snprintf(ret, size, "%.*s", SPAN_ARG(text));
    }
}

static void take_links(struct otlp_sink *sink, const struct json_value *list, struct otlp_span *span)
{
    span->links = (int64_t)json_array_length(list);
    for (size_t i = 0; i < json_array_length(list); i++) {
        char trace[33], id[17];
        take_id(sink, json_array_at(list, i), "traceId", trace, 32);
        take_id(sink, json_array_at(list, i), "spanId", id, 16);
        if (i == 0)
            (void)snprintf(span->first_link, sizeof span->first_link, "%s %s", trace, id);
    }
}

static void take_span(struct otlp_sink *sink, const char *service, const struct json_value *value)
{
    struct otlp_span span = {0};
    int64_t code = -1;
    (void)snprintf(span.service, sizeof span.service, "%s", service);
    take_id(sink, value, "traceId", span.trace, 32);
    take_id(sink, value, "spanId", span.id, 16);
    if (json_member(value, "parentSpanId"))
        take_id(sink, value, "parentSpanId", span.parent, 16);
    take_text(sink, value, "name", span.name, sizeof span.name);
    rule(sink, json_as_int(json_member(value, "kind"), &span.kind) && span.kind >= 1 && span.kind <= 5,
         "kind");
    span.begin_ns = take_ns(sink, value, "startTimeUnixNano");
    span.end_ns = take_ns(sink, value, "endTimeUnixNano");
    rule(sink, span.end_ns >= span.begin_ns, "a span ends before it begins");
    check_attributes(sink, json_member(value, "attributes"), NULL, NULL, 0);
    take_links(sink, json_member(value, "links"), &span);
    rule(sink,
         json_as_int(json_member(json_member(value, "status"), "code"), &code) && code >= 0 && code <= 2,
         "status.code");
    rule(sink, sink->count < SPANS_MAX, "more spans than the sink keeps");
    if (sink->count < SPANS_MAX)
        sink->spans[sink->count++] = span;
}

static void take_body(struct otlp_sink *sink, struct span body)
{
    struct json_fault fault;
    struct json_doc *doc = json_parse(body, &fault);
    rule(sink, doc != NULL, "the body is JSON");
    if (!doc)
        return;
    const struct json_value *resources = json_member(json_root(doc), "resourceSpans");
    rule(sink, json_array_length(resources) > 0, "resourceSpans");
    for (size_t i = 0; i < json_array_length(resources); i++) {
        const struct json_value *one = json_array_at(resources, i), *scopes = json_member(one, "scopeSpans");
        char service[32] = "";
        check_attributes(sink, json_member(json_member(one, "resource"), "attributes"), "service.name",
                         service, sizeof service);
        rule(sink, service[0] != '\0', "service.name");
        rule(sink, json_array_length(scopes) > 0, "scopeSpans");
        for (size_t j = 0; j < json_array_length(scopes); j++) {
            const struct json_value *spans = json_member(json_array_at(scopes, j), "spans");
            for (size_t k = 0; k < json_array_length(spans); k++)
                take_span(sink, service, json_array_at(spans, k));
        }
    }
    json_destroy(doc);
}

/* --- HTTP --- */

/* Reads more; false: the other end closed, or the sink ends. */
static bool read_more(struct otlp_sink *sink, int fd, char *data, size_t *len)
{
    while (!sink->stop) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, POLL_MS) <= 0)
            continue;
        ssize_t got = read(fd, data + *len, REQUEST_MAX - *len - 1);
        if (got <= 0)
            return false;
        *len += (size_t)got;
        data[*len] = '\0';
        return true;
    }
    return false;
}

static void serve(struct otlp_sink *sink, int fd, char *data)
{
    size_t len = 0, body_len = 0;
    char *head_end = NULL;
    char answer[128];
    data[0] = '\0';
    while (!(head_end = strstr(data, "\r\n\r\n")))
        if (!read_more(sink, fd, data, &len))
            return;
    const char *field = strcasestr(data, "\r\nContent-Length:");
    for (const char *c = field ? field + 17 : ""; *c && *c != '\r'; c++)
        if (*c != ' ')
            body_len = 10 * body_len + (size_t)(*c - '0');
    char *body = head_end + 4;
    while (len - (size_t)(body - data) < body_len)
        if (!read_more(sink, fd, data, &len))
            return;
    int status = sink->status;
    pthread_mutex_lock(&sink->lock);
    rule(sink, strncmp(data, "POST /v1/traces HTTP/1.1\r\n", 26) == 0, "POST /v1/traces");
    rule(sink, strcasestr(data, "\r\nContent-Type: application/json\r\n") != NULL, "Content-Type");
    if (status == 200)
        take_body(sink, (struct span){body, body_len});
    pthread_mutex_unlock(&sink->lock);
    while (status == 0 && read_more(sink, fd, data, &len))
        continue;
    int written = snprintf(answer, sizeof answer,
                           "HTTP/1.1 %d x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                           "Connection: close\r\n\r\n{}",
                           status);
    (void)!write(fd, answer, (size_t)written);
}

static void *run(void *context)
{
    struct otlp_sink *sink = context;
    char *data = mem_alloc(REQUEST_MAX);
    while (!sink->stop) {
        struct pollfd ready = {.fd = sink->fd, .events = POLLIN};
        if (poll(&ready, 1, POLL_MS) <= 0)
            continue;
        int fd = accept4(sink->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        serve(sink, fd, data);
        close(fd);
    }
    mem_free(data);
    return NULL;
}

/* --- Life --- */

struct otlp_sink *otlp_sink_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct otlp_sink *sink = mem_zalloc(sizeof *sink);
    sink->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(sink->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(sink->fd, 16), 0);
    assert_int_equal(getsockname(sink->fd, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(sink->url, sizeof sink->url, "http://127.0.0.1:%d/v1/traces", ntohs(address.sin_port));
    sink->status = 200;
    assert_int_equal(pthread_mutex_init(&sink->lock, NULL), 0);
    assert_int_equal(pthread_create(&sink->thread, NULL, run, sink), 0);
    return sink;
}

void otlp_sink_stop(struct otlp_sink *sink)
{
    sink->stop = true;
    assert_int_equal(pthread_join(sink->thread, NULL), 0);
    close(sink->fd);
    pthread_mutex_destroy(&sink->lock);
    mem_free(sink);
}

const char *otlp_sink_url(const struct otlp_sink *sink)
{
    return sink->url;
}

void otlp_sink_set_status(struct otlp_sink *sink, int status)
{
    sink->status = status;
}

bool otlp_sink_find(struct otlp_sink *sink, const char *name, const char *trace, struct otlp_span *ret)
{
    bool found = false;
    pthread_mutex_lock(&sink->lock);
    for (size_t i = 0; i < sink->count && !found; i++) {
        const struct otlp_span *span = &sink->spans[i];
        found = strcmp(span->name, name) == 0 && (!trace || strcmp(span->trace, trace) == 0);
        if (found)
            *ret = *span;
    }
    pthread_mutex_unlock(&sink->lock);
    return found;
}

size_t otlp_sink_count(struct otlp_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    size_t count = sink->count;
    pthread_mutex_unlock(&sink->lock);
    return count;
}

void otlp_sink_assert_valid(struct otlp_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    char broken[160];
    (void)snprintf(broken, sizeof broken, "%s", sink->broken);
    pthread_mutex_unlock(&sink->lock);
    if (broken[0])
        fail_msg("the protocol's rule for this is broken: %s", broken);
}
