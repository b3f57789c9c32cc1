/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the HTTP server share. Not for anyone else.
 *   http.c         the event loops; the only file that knows libmicrohttpd
 *   http_server.c  starting, draining, ending
 *   http_door.c    listening, accepting, limits, and the sweep that ends slow connections
 *   http_route.c   request targets and route tables
 *   http_screen.c  what is refused before a handler sees it
 *   http_request.c what handlers read from a request and write into its answer */
#pragma once

#include <netinet/in.h>
#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/metrics.h"
#include "common/http/http.h"

enum {
    HTTP_METHODS = 4,         /* of enum http_method */
    HTTP_HEADERS_MAX = 100,   /* fields in a request; above: 431 */
    HTTP_SEGMENTS_MAX = 8,    /* of a path */
    HTTP_QUERY_MAX = 16,      /* parameters */
    HTTP_ADDED_MAX = 8,       /* headers a handler may add */
    HTTP_KEEP_BYTES = 16384,  /* a buffer larger than this is given back after the request */
    HTTP_SWALLOW_MAX = 65536, /* body bytes read and dropped so that a refused request keeps its connection */
    HTTP_LINGER_MAX = 1 << 20, /* bytes read and dropped after an answer that closes the connection */
    HTTP_REPLY_MAX = 16 << 20,
    HTTP_BACKLOG = 4096,
    HTTP_SWEEP_MS = 500,
    HTTP_CONNECTION_HASH = 1024,
};

/* Why a request or connection was refused, as the metric calls it. X(name, label) */
#define HTTP_REASONS(X)                       \
    X(HTTP_REASON_FRAMING, "framing")         \
    X(HTTP_REASON_HEADERS, "headers")         \
    X(HTTP_REASON_ROUTE, "route")             \
    X(HTTP_REASON_METHOD, "method")           \
    X(HTTP_REASON_KEY, "key")                 \
    X(HTTP_REASON_SCOPE, "scope")             \
    X(HTTP_REASON_QUERY, "query")             \
    X(HTTP_REASON_BODY, "body")               \
    X(HTTP_REASON_ADMISSION, "admission")     \
    X(HTTP_REASON_CONNECTIONS, "connections") \
    X(HTTP_REASON_ADDRESS, "address")         \
    X(HTTP_REASON_DESCRIPTORS, "descriptors") \
    X(HTTP_REASON_SLOW, "slow")
#define HTTP_REASON_ENUM(name, label) name,
enum http_reason { HTTP_REASONS(HTTP_REASON_ENUM) HTTP_REASON_COUNT };

extern const struct problem problem_headers_too_large; /* 431, the one problem only this server has */

/* --- Routes --- */

enum { HTTP_METHOD_UNKNOWN = HTTP_METHODS };

/* A route with what it is measured by. */
struct http_endpoint {
    const struct http_route *route; /* NULL for requests that match no route */
    size_t body_max;                /* of the route, with the default put in */
    struct metric *requests[6];     /* by status / 100 */
    struct metric *duration;
};

/* All routes of one pattern. */
struct http_shape {
    struct span segments[HTTP_SEGMENTS_MAX]; /* ptr NULL: a parameter */
    size_t segments_count;
    const struct http_endpoint *methods[HTTP_METHODS];
};

struct http_router {
    struct http_endpoint *endpoints;
    struct http_shape *shapes; /* by number of segments, then literals before parameters */
    size_t shapes_count;
};

struct http_path {
    struct span segments[HTTP_SEGMENTS_MAX]; /* decoded */
    size_t count;
};

struct http_match {
    const struct http_endpoint *endpoint; /* NULL where no route has path and method */
    const struct http_shape *shape;       /* of the endpoint */
    bool path_known;                      /* another method would have matched */
    char allow[40];                       /* those methods, set when only path_known */
};

bool http_router_init(struct http_router *router, const struct http_route *routes, size_t count, char *reason,
                      size_t reason_size);
void http_router_deinit(struct http_router *router);
/* Makes the metrics of an endpoint; `name` is its label. */
void http_endpoint_measure(struct http_endpoint *endpoint, const char *name);
/* `method` may be HTTP_METHOD_UNKNOWN. */
struct http_match http_router_find(const struct http_router *router, const struct http_path *path,
                                   unsigned method);
unsigned http_method_of(const char *name); /* HEAD counts as GET */

/* --- Requests --- */

struct http_pair {
    struct span name, value;
};

/* The request line as it lies in memory, to prove that nothing but CRLF separates its lines. */
struct http_head {
    const char *method, *url, *version;
    size_t size; /* bytes from the method to the end of the empty line */
};

/* Where a request is. Only the loop thread of its connection reads or writes this. */
enum http_phase {
    HTTP_PHASE_IDLE,    /* no request */
    HTTP_PHASE_HEAD,    /* the request line is here */
    HTTP_PHASE_BODY,    /* the head is here and counted as in flight */
    HTTP_PHASE_HANDLER, /* the handler was called; answered or deferred */
    HTTP_PHASE_SENDING, /* the answer is queued */
    HTTP_PHASE_CLOSING  /* answered around the library, the rest of the input is dropped */
};

/* One per connection, reused for every request on it. Whoever owns the request (the loop thread, or after
 * http_defer the thread it was handed to) owns the reply fields; everything above them does not change once
 * the handler is called. */
struct http_request {
    struct http_server *server;
    struct http_loop *loop;
    void *connection;                   /* the library's */
    struct http_request *next_answered; /* in loop.answered */
    const struct http_endpoint *endpoint;
    const struct api_key *key;
    int64_t arrived_us, received_us;
    char id[HTTP_REQUEST_ID_LEN + 1];
    unsigned method;
    bool expects_continue, chunked;
    uint64_t content_length;

    char *text; /* target_len bytes as sent, then as many for what is decoded */
    size_t target_len, text_size, decoded_len;
    struct span path, query_text;
    struct span params[HTTP_PARAMS_MAX];
    struct http_pair query[HTTP_QUERY_MAX];
    size_t query_count;
    struct http_pair headers[HTTP_HEADERS_MAX]; /* borrowed from the library until the request is answered */
    size_t headers_count;
    struct http_head head;
    char *body;
    size_t body_len, body_size;

    const struct problem *refusal; /* NULL: the handler is called */
    const char *refusal_detail;
    int64_t refusal_retry_ms;
    bool refusal_closes;
    size_t dropped; /* body bytes read for nothing */

    enum http_phase phase;
    bool deferred; /* set by the loop thread before it gives the request away */

    struct buf reply, added_text;
    struct { /* a body that is somebody else's, instead of `reply`; release NULL: none */
        struct span body;
        void (*release)(void *owner);
        void *owner;
    } shared;
    struct {
        const char *name;
        size_t at; /* into added_text, NUL-terminated there */
    } added[HTTP_ADDED_MAX];
    size_t added_count;
    const char *content_type;
    int status;
    bool answered;
};

void http_request_init(struct http_request *request, struct http_server *server);
/* A request line has arrived; copies the raw target. */
void http_request_begin(struct http_request *request, const char *target);
void http_request_end(struct http_request *request); /* forgets everything, keeps small buffers */
void http_request_deinit(struct http_request *request);
void http_request_set_id(struct http_request *request);
void http_body_append(struct http_request *request, const char *data, size_t len);
/* Splits and decodes; false when the target is malformed. */
bool http_target_parse(struct http_request *request, struct http_path *path);
bool http_query_parse(struct http_request *request);

/* Decides what becomes of a request whose head is complete: sets endpoint, key and parameters, or a refusal.
 */
void http_screen(struct http_request *request, const char *method);
/* Turns the request into a refused one. */
void http_refuse(struct http_request *request, const struct problem *problem, enum http_reason reason,
                 const char *detail);
/* Answers with the problem document of the refusal. */
void http_refusal_reply(struct http_request *request);
struct span http_answer_body(const struct http_request *request);
void http_shared_release(struct http_request *request);
/* Writes the whole answer as it goes over the wire, for the few that the library cannot send. */
void http_raw_answer(const struct http_request *request, struct buf *out);

/* --- Connections and the server --- */

struct http_newcomer; /* an accepted socket on its way to a loop */

/* An event loop: one thread around one daemon of the library, which only that thread touches. Other threads
 * put something into one of the two lists and wake the loop if it sleeps. */
struct http_loop {
    struct http_server *server;
    void *daemon;
    pthread_t thread;
    int wake_fd;
    uint64_t entered; /* connections that the library took, ever */
    atomic_bool sleeping, stop_wanted;
    atomic_uint connections;
    _Atomic(struct http_request *) answered; /* deferred requests that have their answer */
    _Atomic(struct http_newcomer *) newcomers;
};

struct http_conn {
    struct http_request request;
    struct http_conn *previous, *next; /* under door.lock */
    int fd;
    struct in6_addr address;
    _Atomic int64_t deadline_us; /* the sweep ends the connection after this; 0: the service's turn */
};

struct http_address; /* how many connections one client address has */

struct http_door {
    int listen_fd, wake_fd;
    uint16_t port;
    pthread_t thread;
    bool started;
    atomic_bool close_wanted, stop_wanted;
    atomic_uint connections;
    struct http_request refused; /* for answers to connections that are not let in */
    pthread_mutex_t lock;        /* guards what is below */
    pthread_cond_t changed;
    bool closed; /* nothing is accepted any more */
    struct http_conn *conns;
    struct http_address *addresses[HTTP_CONNECTION_HASH];
};

struct http_server {
    struct http_options options;
    struct http_router router;
    struct http_endpoint unrouted;
    struct http_loop *loops;
    unsigned loops_count;
    struct http_door door;
    bool head_exact; /* the library leaves heads in place, see http_screen.c */
    /* How long each part of a request may take in total; the idle timeout is the library's. */
    _Atomic int64_t head_ms, body_ms, send_ms, linger_ms; /* atomic, because tests shorten them */
    atomic_bool draining;                                 /* every answer closes its connection */
    atomic_bool hanging_up;                               /* connections without a request are closed */
    _Atomic int64_t in_flight;
    struct metric *in_flight_gauge, *connections_gauge, *refused[HTTP_REASON_COUNT];
};

bool http_door_open(struct http_server *server, char *reason, size_t reason_size);
void http_door_start(struct http_server *server);
void http_door_close(struct http_server *server); /* returns when nothing is accepted any more */
void http_door_stop(struct http_server *server);  /* ends its thread */
void http_door_deinit(struct http_server *server);
void http_door_enter(struct http_server *server, struct http_conn *conn, const struct sockaddr *address);
void http_door_leave(struct http_server *server, struct http_conn *conn);
/* Ends the connections of a loop that have no request; called by its thread. What has arrived on them by now
 * is still read and answered. */
void http_door_hang_up(struct http_loop *loop);

/* Counts a connection out that never got to http_door_enter. */
void http_door_forget(struct http_server *server, const struct sockaddr *address);

bool http_loop_start(struct http_server *server, struct http_loop *loop); /* false: errno says why */
void http_loop_stop(struct http_loop *loop);                              /* every request is answered */
void http_loops_hang_up(struct http_server *server); /* has every loop call http_door_hang_up from now on */
/* Gives an accepted socket to the event loop that has the fewest. */
void http_loop_add(struct http_server *server, int fd, const struct sockaddr *address, socklen_t len);
