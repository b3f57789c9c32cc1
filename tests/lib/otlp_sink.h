/* SPDX-License-Identifier: Apache-2.0 */
/* A collector of our own: takes what services post as OTLP over HTTP, holds each request against the rules of
 * the protocol's JSON, and keeps its spans. What breaks a rule fails the test that looks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct otlp_sink;

struct otlp_span {
    char service[32], name[64], trace[33], id[17], parent[17]; /* parent "": none */
    int64_t kind, begin_ns, end_ns, links;
    char first_link[50]; /* trace id, a blank, span id; "": none */
};

/* Listens on a free port; its thread answers each request with the status that is set, at first 200. */
struct otlp_sink *otlp_sink_start(void);
void otlp_sink_stop(struct otlp_sink *sink);
const char *otlp_sink_url(const struct otlp_sink *sink);       /* http://127.0.0.1:<port>/v1/traces */
void otlp_sink_set_status(struct otlp_sink *sink, int status); /* 0: it takes the request and never answers */
/* The first span with this name in this trace (32 digits; NULL: any); false: there is none. */
bool otlp_sink_find(struct otlp_sink *sink, const char *name, const char *trace, struct otlp_span *ret);
size_t otlp_sink_count(struct otlp_sink *sink); /* spans kept */
/* Fails the test with the first rule that was broken. */
void otlp_sink_assert_valid(struct otlp_sink *sink);
