/* SPDX-License-Identifier: Apache-2.0 */
/* Answers over HTTP: bodies, conditional requests, caching headers, problems. Any thread. */
#pragma once

#include "common/http/http.h"
#include "query-service/cache/entry.h"
#include "query-service/load/read.h"

struct respond_options {
    int64_t past_events_max; /* told to whoever asks for more */
    struct code_key code_key;
};

/* Once, before the first read. */
void respond_setup(const struct respond_options *options);

/* Renders what was found as it is at the query's instant: the body into `body` (initialised here, the caller
 * deinits it), its entity tag, of at most ENTRY_ETAG_MAX characters and empty for a problem. Returns the
 * status. */
int respond_render(const struct read *read, struct buf *body, char *ret_etag);

enum respond_kind {
    RESPOND_LOADED, /* just now, by Redis or PostgreSQL */
    RESPOND_HIT,    /* a fresh copy */
    RESPOND_STALE,  /* a copy past its freshness that is being loaded anew */
    RESPOND_KEPT,   /* a copy, because nothing behind it answers */
};
struct respond_how {
    enum respond_kind kind;
    enum read_source source; /* RESPOND_LOADED */
    enum fallback fallback;  /* RESPOND_LOADED: why not Redis */
    bool collapsed;          /* RESPOND_LOADED: another request's load */
    bool old; /* RESPOND_LOADED: of models that are not current, because nothing behind them answers */
    const struct entry_moment *moment; /* something of the entry is true at it */
    const struct entry_life *life;
};

/* Answers with what is true of the entry now, or with 304 where the request has it already. What caches on
 * the way are told of its life ends when it stops being true (I13). */
void respond_entry(struct http_request *request, struct entry *entry, const struct respond_how *how);
void respond_failure(struct http_request *request, enum read_failure failure);
/* Answers with a problem, which no cache keeps. */
void respond_problem(struct http_request *request, const struct problem_detail *detail);
