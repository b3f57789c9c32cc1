/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/1.1 server: routes, limits, authentication, problem documents, deferred answers. Handlers see
 * requests whose body is complete and within its bound, whose key carries the route's scope, and whose
 * framing is unambiguous; everything else is answered here.
 *
 * Threads: `threads` event-loop threads call handlers; a handler must not block. It either answers before it
 * returns, or calls http_defer() and hands the request to another thread, which answers exactly once. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/http/auth.h"
#include "common/http/problem.h"

enum http_method { HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE };
enum { HTTP_PARAMS_MAX = 3, HTTP_BODY_DEFAULT_MAX = 64 * 1024, HTTP_REQUEST_ID_LEN = 16 };

struct http_request; /* owned by the server; valid from the handler's call until it is answered */
struct http_server;

typedef void http_handler(struct http_request *request, void *context);

/* Asked on an event-loop thread as soon as the head of a request is complete and good, before its body is
 * read: whether there is any sense in taking it. NULL: yes. Otherwise it is refused with this problem,
 * cheaply, or waits to be asked about again. Must not block, and must not answer. */
enum { HTTP_LINES = 16, HTTP_HELD_BACK_MAX_MS = 500 };
struct http_admission {
    bool may_wait; /* for room, so long at most; false: it is refused */
    bool waits;    /* set to make it wait, */
    unsigned line; /* and for what, below HTTP_LINES: who waits for the same is asked about in turn */
    int64_t retry_after_ms; /* may be set; 0 when called */
};
typedef const struct problem *http_admit(const struct http_request *request, void *context,
                                         struct http_admission *admission);

/* Of a route that changes something: its handler looks at If-Match and If-None-Match. Other such routes know
 * no conditions, and a request that has one takes no effect. */
#define HTTP_CONDITIONS (1U << 16)

/* One route. pattern: literal segments and {name} segments, e.g. "/v1/campaigns/{id}/pause"; a parameter
 * matches one non-empty percent-decoded segment. A literal segment wins over a parameter. */
struct http_route {
    enum http_method method;
    const char *pattern;
    unsigned
        scopes; /* AUTH_* bits, any one of which opens the route; 0: open without a key. HTTP_CONDITIONS */
    size_t body_max; /* bytes; 0 for HTTP_BODY_DEFAULT_MAX */
    http_handler *handler;
};

struct http_options {
    const char *bind_address; /* numeric IPv4 or IPv6 */
    uint16_t port;
    unsigned threads;
    unsigned connections_max, connections_per_address_max;
    unsigned idle_timeout_s;
    size_t header_bytes_max; /* request line and headers, at most 65535; above: 431 */
    /* Memory for connections, heads, bodies and answers: in all, and what the requests of one address or one
     * key may take of it. Above: 503. 0: no bound. */
    size_t bytes_max, bytes_per_client_max;
    const struct keyring *keyring;   /* borrowed; may be NULL where every route is open */
    const struct http_route *routes; /* borrowed for the server's life */
    size_t routes_count;
    const char *trusted_proxies; /* http_proxies_valid; read at the start; NULL or empty: none */
    const char *cors_origins; /* http_origins_valid; borrowed; NULL or empty: no page of another origin reads
                                 answers */
    http_admit *admit;        /* may be NULL */
    void *context;            /* handed to every handler and to admit */
};

/* Whether these are origins, separated by commas, as browsers send them. Empty: none. */
bool http_origins_valid(const char *list);
/* Whether these are addresses or networks ("10.0.0.0/8, ::1"), separated by commas, at most 64. Empty: none.
 */
bool http_proxies_valid(const char *list);

/* Starts listening. NULL on failure with the reason in `reason`. */
struct http_server *http_server_create(const struct http_options *options, char *reason, size_t reason_size);
/* From now on every answer says "Connection: close"; new connections are still accepted and served. For the
 * time in which clients and load balancers learn that they have to go elsewhere. */
void http_server_retire(struct http_server *server);
/* Retires, stops accepting, waits until every request is answered and every connection closed, or the
 * deadline passed. A connection without a request is closed once a moment went by in which one could have
 * come; what has come by then is answered, never cut. Deferred requests must still be answered by their
 * owners. Returns false when some were left. May be called again. */
bool http_server_drain(struct http_server *server, int64_t deadline_mono_us);
void http_server_destroy(
    struct http_server *server); /* accepts NULL; every request must have been answered */

/* What a handler may read; spans are valid until the answer is given. */
struct span http_param(const struct http_request *request, size_t index); /* in pattern order */
struct span http_query(const struct http_request *request,
                       const char *name); /* decoded; ptr NULL when absent */
/* true when the query string has only names from `known` (NULL-terminated), each at most once;
 * otherwise answers 400 invalid-parameter itself and returns false. */
bool http_query_only(struct http_request *request, const char *const *known);
struct span http_header(const struct http_request *request,
                        const char *name); /* the first; ptr NULL when absent */
/* The nth (from 0) of the lines of this name: a list may come in several lines, anything else must not. */
struct span http_header_nth(const struct http_request *request, const char *name, size_t nth);
/* The next item of such a list (RFC 9110, 5.6.1): blanks around it and empty items are passed over, commas in
 * a quoted string are its own; ptr NULL at the end. */
struct span http_list_next(struct span *rest);
struct span http_trim(struct span text);               /* without blanks and tabs around it */
bool http_text_is(struct span text, const char *want); /* whatever the case of the letters */
struct span http_body(const struct http_request *request);
const struct api_key *http_key(const struct http_request *request); /* NULL on open routes */
/* Of the client: 16 bytes in network order, an IPv4 address as ::ffff:a.b.c.d. It is that of the connection's
 * other end, or, where that is a trusted proxy, what this one says (Forwarded or X-Forwarded-For). */
struct span http_address(const struct http_request *request);
const char *http_request_id(const struct http_request *request); /* 16 hex digits + NUL */
/* W3C trace context of the request as 16+8 bytes (trace id, parent span id); false when absent or invalid. */
bool http_trace(const struct http_request *request, uint8_t ret[24]);
/* Whether its caller samples it: the last bit of the flags. */
bool http_trace_sampled(const struct http_request *request);
const struct http_route *http_route_of(const struct http_request *request);
/* Monotonic: when the last byte of the request had arrived in this host; that it then waited for the event
 * loop counts. The clock of its deadline starts here. */
int64_t http_received_us(const struct http_request *request);
/* The same of the last byte of its head, for who is asked before the body is here. */
int64_t http_arrived_us(const struct http_request *request);

/* Hands the request to another thread: from here on the handler's thread must not touch it. */
void http_defer(struct http_request *request);

/* Adds a response header (before answering). `name` is a literal, `value` is copied; CR/LF in it is a bug. */
void http_add_header(struct http_request *request, const char *name, struct span value);
/* The buffer the answer's body is written into; bounded by 16 MiB. */
struct buf *http_reply_body(struct http_request *request);
/* Answers with what is in http_reply_body, as application/json (or `content_type`). From any thread, once.
 * After this the request must not be touched. */
void http_reply(struct http_request *request, int status);
void http_reply_as(struct http_request *request, int status, const char *content_type);
/* As http_reply_as with a body that is not copied: `release(owner)` is called exactly once, from an
 * event-loop thread, when the body is not needed any more. */
void http_reply_shared(struct http_request *request, int status, const char *content_type, struct span body,
                       void (*release)(void *owner), void *owner);
/* An answer too long to be held as a whole: pieces that are made one at a time, each when the client has
 * taken what came before. In between nobody works on it, so a client that reads slowly holds one piece and no
 * thread. Who reads it sees whether all of it came: it ends with an empty chunk; to HTTP/1.0 with the end of
 * the connection. Broken off, the connection is reset. */
enum { HTTP_PIECE_MAX = 256 * 1024 }; /* a piece is shorter than this */
enum http_piece {
    HTTP_PIECE_MORE,
    HTTP_PIECE_LAST,
    HTTP_PIECE_BROKEN /* this piece is dropped, and the answer broken off */
};
struct http_stream {
    /* Asked for the next piece on an event-loop thread, so it must not block: it goes into http_reply_body,
     * and http_reply_piece is called, by it or later by another thread. While the server is destroyed only
     * the former will do. */
    void (*next)(struct http_request *request, void *owner);
    /* The answer is over, however it ended. Exactly once, from an event-loop thread. */
    void (*release)(void *owner);
    void *owner;
    int64_t deadline_us; /* monotonic: if not all of it was sent by then it is broken off */
};
/* Answers as http_reply_as does, with the first piece in http_reply_body. HEAD is asked for no piece. */
void http_reply_stream(struct http_request *request, int status, const char *content_type,
                       enum http_piece piece, const struct http_stream *stream);
void http_reply_piece(struct http_request *request, enum http_piece piece);
/* Answers with a problem document (replaces the reply body), with Retry-After where it has one. */
void http_problem(struct http_request *request, const struct problem_detail *detail);
void http_fail(struct http_request *request, const struct problem *problem, const char *detail);

/* The strong entity tag of a body, quotes included, appended to `out`. */
enum { HTTP_ETAG_MAX = 34 };
void http_etag_write(struct buf *out, struct span body);
/* Whether a line of If-Match (compared strongly) or If-None-Match (weakly) has this tag, or is "*". */
enum http_comparison { HTTP_WEAKLY, HTTP_STRONGLY };
bool http_etag_listed(struct span list, struct span etag, enum http_comparison comparison);
/* What the conditions of a read say of a thing with this tag: answer it, 304, or 412. */
enum http_condition { HTTP_CONDITION_MET, HTTP_CONDITION_NOT_MODIFIED, HTTP_CONDITION_FAILED };
enum http_condition http_read_condition(const struct http_request *request, struct span etag);

/* Whether the client asked for gzip, and at least as much as for the bytes as they are. */
bool http_accepts_gzip(const struct http_request *request);
/* Whether the client asked for this media type more than for the other one; both as "type/subtype".
 * Parameters but the weight are not looked at. */
bool http_prefers(const struct http_request *request, const char *type, const char *other);
