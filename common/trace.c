/* SPDX-License-Identifier: Apache-2.0 */
/* The queue, the JSON of the protocol, and the thread that posts it. */
#include "common/trace.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/base/process.h"
#include "common/base/thread.h"
#include "common/json.h"

enum {
    QUEUE_MAX = 2048,
    BATCH_MAX = 256,
    BODY_MAX = 2 * 1024 * 1024, /* BATCH_MAX spans with all their links */
    GATHER_MS = 500,            /* spans wait this long for company */
    POST_MS = 2000,
    CONNECT_MS = 500,
    STOP_MS = 1000
};

static struct {
    atomic_bool on;
    _Atomic int64_t until_us; /* of clock_mono_us: from when on nothing is sent any more; 0: not to stop */
    const char *service;
    CURL *curl;
    struct curl_slist *headers;
    struct metric *sent, *no_room, *not_taken;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t came;
    struct trace_span *queue; /* ring of QUEUE_MAX */
    size_t first, count;
} tracer = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};

/* Loaded where traces are on: with some twenty libraries behind it, libcurl would cost each start of a
 * service about eight milliseconds. */
#define CURL_FUNCTIONS(X) \
    X(global_init)        \
    X(global_cleanup)     \
    X(easy_init)          \
    X(easy_setopt)        \
    X(easy_getinfo)       \
    X(easy_perform)       \
    X(easy_cleanup)       \
    X(slist_append)       \
    X(slist_free_all)
static struct {
#define CURL_MEMBER(name) __typeof__(curl_##name) *name;
    CURL_FUNCTIONS(CURL_MEMBER)
} curl;

static bool load_curl(char *reason, size_t reason_size)
{
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    bool loaded = library != NULL;
#define CURL_LOAD(name) loaded = loaded && (*(void **)&curl.name = dlsym(library, "curl_" #name));
    CURL_FUNCTIONS(CURL_LOAD)
    if (!loaded)
        snprintf(reason, reason_size, "%s", dlerror());
    return loaded;
}

bool trace_on(void)
{
    return atomic_load_explicit(&tracer.on, memory_order_relaxed);
}

void trace_new_id(uint8_t ret[TRACE_SPAN_BYTES])
{
    crypto_random(ret, TRACE_SPAN_BYTES);
    ret[0] |= 1; /* all zero is no id */
}

int64_t trace_wall_us(int64_t mono_us)
{
    return clock_wall_us() - (clock_mono_us() - mono_us);
}

void trace_put(const struct trace_span *span)
{
    CHECK(trace_on() && span->links_count <= TRACE_LINKS_MAX);
    pthread_mutex_lock(&tracer.lock);
    bool room = tracer.count < QUEUE_MAX;
    if (room)
        tracer.queue[(tracer.first + tracer.count++) % QUEUE_MAX] = *span;
    if (tracer.count == BATCH_MAX)
        pthread_cond_signal(&tracer.came);
    pthread_mutex_unlock(&tracer.lock);
    if (!room)
        metric_add(tracer.no_room, 1);
}

/* --- The protocol: ids in hexadecimal digits, 64-bit numbers as text --- */

static void put_id(struct buf *out, const char *key, const uint8_t *id, size_t len)
{
    struct buf hex;
    buf_init(&hex, 2 * TRACE_ID_BYTES + 1);
    hex_encode(&hex, id, len);
    json_put_string(out, key, buf_span(&hex));
    buf_deinit(&hex);
}

static void put_long(struct buf *out, const char *key, int64_t value, const char *zeros)
{
    char text[40];
    (void)snprintf(text, sizeof text, "%" PRId64 "%s", value, zeros);
    json_put_string(out, key, span_of(text));
}

static void put_text_attribute(struct buf *out, const char *key, const char *value)
{
    json_open(out, NULL, '{');
    json_put_string(out, "key", span_of(key));
    json_open(out, "value", '{');
    json_put_string(out, "stringValue", span_of(value));
    json_close(out, '}');
    json_close(out, '}');
}

static void put_attributes(struct buf *out, const struct trace_span *span)
{
    json_open(out, "attributes", '[');
    if (span->attribute) {
        json_open(out, NULL, '{');
        json_put_string(out, "key", span_of(span->attribute));
        json_open(out, "value", '{');
        put_long(out, "intValue", span->value, "");
        json_close(out, '}');
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void put_links(struct buf *out, const struct trace_span *span)
{
    json_open(out, "links", '[');
    for (size_t i = 0; i < span->links_count; i++) {
        json_open(out, NULL, '{');
        put_id(out, "traceId", span->links[i].trace, TRACE_ID_BYTES);
        put_id(out, "spanId", span->links[i].span, TRACE_SPAN_BYTES);
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void put_span(struct buf *out, const struct trace_span *span)
{
    static const uint8_t none[TRACE_SPAN_BYTES];
    json_open(out, NULL, '{');
    put_id(out, "traceId", span->trace, TRACE_ID_BYTES);
    put_id(out, "spanId", span->id, TRACE_SPAN_BYTES);
    if (memcmp(span->parent, none, sizeof none) != 0)
        put_id(out, "parentSpanId", span->parent, TRACE_SPAN_BYTES);
    json_put_string(out, "name", span_of(span->name));
    json_put_int(out, "kind", span->kind);
    put_long(out, "startTimeUnixNano", span->begin_us, "000");
    put_long(out, "endTimeUnixNano", span->end_us > span->begin_us ? span->end_us : span->begin_us, "000");
    put_attributes(out, span);
    put_links(out, span);
    json_open(out, "status", '{');
    json_put_int(out, "code", span->failed ? 2 : 0); /* STATUS_CODE_ERROR, STATUS_CODE_UNSET */
    json_close(out, '}');
    json_close(out, '}');
}

static void put_request(struct buf *out, const struct trace_span *spans, size_t count)
{
    json_open(out, NULL, '{');
    json_open(out, "resourceSpans", '[');
    json_open(out, NULL, '{');
    json_open(out, "resource", '{');
    json_open(out, "attributes", '[');
    put_text_attribute(out, "service.name", tracer.service);
    put_text_attribute(out, "service.namespace", "firstcome");
    put_text_attribute(out, "service.version", program_version());
    json_close(out, ']');
    json_close(out, '}');
    json_open(out, "scopeSpans", '[');
    json_open(out, NULL, '{');
    json_open(out, "scope", '{');
    json_put_string(out, "name", SPAN("firstcome"));
    json_close(out, '}');
    json_open(out, "spans", '[');
    for (size_t i = 0; i < count; i++)
        put_span(out, &spans[i]);
    json_close(out, ']');
    json_close(out, '}');
    json_close(out, ']');
    json_close(out, '}');
    json_close(out, ']');
    json_close(out, '}');
}

/* --- The thread --- */

static size_t ignore(char *data, size_t size, size_t count, void *context)
{
    (void)data;
    (void)context;
    return size * count;
}

static void post(const struct trace_span *spans, size_t count)
{
    struct buf body;
    long status = 0;
    buf_init(&body, BODY_MAX);
    put_request(&body, spans, count);
    CHECK(!body.overflow);
    curl.easy_setopt(tracer.curl, CURLOPT_POSTFIELDS, body.data);
    curl.easy_setopt(tracer.curl, CURLOPT_POSTFIELDSIZE, (long)body.len);
    bool answered = curl.easy_perform(tracer.curl) == CURLE_OK &&
                    curl.easy_getinfo(tracer.curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK;
    metric_add(answered && status >= 200 && status < 300 ? tracer.sent : tracer.not_taken, count);
    buf_deinit(&body);
}

/* Whether it is to send what there is, and end. */
static bool is_ending(void)
{
    return atomic_load(&tracer.until_us) != 0;
}

/* Until there is a batch, some have waited long enough, or it ends; how many were taken
 * out. */
static size_t take(struct trace_span *ret)
{
    size_t taken = 0;
    pthread_mutex_lock(&tracer.lock);
    int64_t until_us = clock_deadline_us(GATHER_MS);
    while (!is_ending() && tracer.count < BATCH_MAX && cond_wait_until(&tracer.came, &tracer.lock, until_us))
        continue;
    for (; taken < BATCH_MAX && tracer.count > 0; tracer.count--, taken++) {
        ret[taken] = tracer.queue[tracer.first];
        tracer.first = (tracer.first + 1) % QUEUE_MAX;
    }
    pthread_mutex_unlock(&tracer.lock);
    return taken;
}

/* Whether the time to stop is over; curl asks about once a second while a batch is on its way. */
static int is_over(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    int64_t until_us = atomic_load(&tracer.until_us);
    (void)context, (void)a, (void)b, (void)c, (void)d;
    return until_us != 0 && clock_mono_us() >= until_us;
}

static void *run(void *context)
{
    struct trace_span *batch = context;
    pthread_setname_np(pthread_self(), "traces");
    for (bool ends = false, more = true; !ends || more;) {
        ends = is_ending();
        size_t count = take(batch);
        more = count > 0;
        if (count > 0 && !is_over(NULL, 0, 0, 0, 0))
            post(batch, count);
        else
            metric_add(tracer.not_taken, count);
    }
    mem_free(batch);
    return NULL;
}

static void set_up_curl(const char *url)
{
    CHECK(curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK && (tracer.curl = curl.easy_init()));
    tracer.headers = curl.slist_append(NULL, "Content-Type: application/json");
    tracer.headers = curl.slist_append(tracer.headers, "Expect:"); /* no round trip before the body */
    curl.easy_setopt(tracer.curl, CURLOPT_URL, url);
    curl.easy_setopt(tracer.curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.easy_setopt(tracer.curl, CURLOPT_HTTPHEADER, tracer.headers);
    curl.easy_setopt(tracer.curl, CURLOPT_NOSIGNAL, 1L);
    curl.easy_setopt(tracer.curl, CURLOPT_TIMEOUT_MS, (long)POST_MS);
    curl.easy_setopt(tracer.curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl.easy_setopt(tracer.curl, CURLOPT_QUICK_EXIT,
                     1L); /* a name server that is silent is not waited for */
    curl.easy_setopt(tracer.curl, CURLOPT_NOPROGRESS, 0L);
    curl.easy_setopt(tracer.curl, CURLOPT_XFERINFOFUNCTION, is_over);
    curl.easy_setopt(tracer.curl, CURLOPT_WRITEFUNCTION, ignore);
}

bool trace_start(const char *url, const char *service, char *reason, size_t reason_size)
{
    struct span is = span_of(url);
    static const char dropped[] = "Spans that were dropped, by reason";
    tracer.sent = metric_counter("coupon_trace_spans_total", "Spans that the collector took", NULL);
    tracer.no_room = metric_counter("coupon_trace_dropped_total", dropped, "reason=\"queue\"");
    tracer.not_taken = metric_counter("coupon_trace_dropped_total", dropped, "reason=\"collector\"");
    if (is.len == 0)
        return true;
    if (!span_starts(is, SPAN("http://")) && !span_starts(is, SPAN("https://"))) {
        snprintf(reason, reason_size, "it is http:// or https:// and a host, most often with /v1/traces");
        return false;
    }
    if (!load_curl(reason, reason_size))
        return false;
    set_up_curl(url);
    tracer.service = service;
    tracer.queue = mem_zalloc(QUEUE_MAX * sizeof *tracer.queue);
    atomic_store(&tracer.until_us, 0);
    CHECK(pthread_create(&tracer.thread, NULL, run, mem_zalloc(BATCH_MAX * sizeof(struct trace_span))) == 0);
    atomic_store(&tracer.on, true);
    return true;
}

void trace_stop(void)
{
    if (!trace_on())
        return;
    atomic_store(&tracer.on, false);
    pthread_mutex_lock(&tracer.lock);
    atomic_store(&tracer.until_us, clock_deadline_us(STOP_MS));
    pthread_cond_signal(&tracer.came);
    pthread_mutex_unlock(&tracer.lock);
    CHECK(pthread_join(tracer.thread, NULL) == 0);
    curl.easy_cleanup(tracer.curl);
    curl.slist_free_all(tracer.headers);
    curl.global_cleanup();
    mem_free(tracer.queue);
    tracer.queue = NULL;
}
