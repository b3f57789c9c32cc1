/* SPDX-License-Identifier: Apache-2.0 */
/* Spans of sampled requests, sent to a collector by OTLP over HTTP as JSON (OpenTelemetry Protocol 1.x). Off
 * until trace_start, and then trace_on() is all that it costs. One thread sends, in order, what waits in a
 * bounded queue; it tries each batch once. What finds no room, or is not taken, is dropped and counted:
 * nobody who makes a span ever waits. The only file that knows libcurl. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"

enum { TRACE_ID_BYTES = 16, TRACE_SPAN_BYTES = 8, TRACE_LINKS_MAX = 32 };

enum trace_kind { TRACE_INTERNAL = 1, TRACE_SERVER = 2, TRACE_CLIENT = 3 }; /* as the protocol numbers them */

struct trace_link {
    uint8_t trace[TRACE_ID_BYTES], span[TRACE_SPAN_BYTES];
};

struct trace_span {
    const char *name; /* a literal: never a user, a key, a token (I10) */
    enum trace_kind kind;
    uint8_t trace[TRACE_ID_BYTES], id[TRACE_SPAN_BYTES];
    uint8_t parent[TRACE_SPAN_BYTES]; /* all zero: none */
    int64_t begin_us, end_us;         /* wall clock */
    bool failed;
    const char *attribute; /* the name, a literal, of `value`; NULL: none */
    int64_t value;
    struct trace_link links[TRACE_LINKS_MAX];
    size_t links_count;
};

/* Once, before threads that make spans. An empty URL starts nothing. false with a reason where it is no
 * http(s) URL. `service` is a literal. */
bool trace_start(const char *url, const char *service, char *reason, size_t reason_size) MUST_USE;
/* Sends what waits for a second or two, then joins the thread. After threads that make spans have ended. */
void trace_stop(void);

bool trace_on(void); /* from any thread */
/* Copies the span into the queue, or drops it. Any thread, only while on. */
void trace_put(const struct trace_span *span);
void trace_new_id(uint8_t ret[TRACE_SPAN_BYTES]);
/* An instant of the monotonic clock as wall clock. */
int64_t trace_wall_us(int64_t mono_us);
