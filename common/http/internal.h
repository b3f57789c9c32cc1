/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the HTTP server share. Not for anyone else. The way of a request:
 *   door.c     listens, accepts, hands sockets to the event loops, refuses whom there is no room for
 *   loop.c     the event loops: whose turn it is
 *   input.c    reads a connection until one request is complete, or is refused
 *   framing.c  where a request begins and ends (pure)
 *   screen.c   what is refused once the head is known (pure), with router.c for targets and routes
 *   proxies.c  whose request it is where proxies pass it on (pure)
 *   coding.c   which coding of an answer a client asks for (pure)
 *   cors.c     OPTIONS, and who may read an answer in a browser (pure)
 *   request.c  what handlers read from a request and write into its answer
 *   output.c   sends answers, and what then becomes of the connection
 *   limits.c   the phase of a connection, and what ends it: time, and others who need its room
 *   server.c   starting, draining, ending */
#pragma once

#include <netinet/in.h>
#include <pthread.h>
#include <sys/queue.h>

#include "common/base/clock.h"
#include "common/base/metrics.h"
#include "common/base/notify.h"
#include "common/http/http.h"

enum {
    HTTP_METHODS = 5,         /* of enum http_method */
    HTTP_ALLOW_BYTES = 56,    /* all of them, HEAD and OPTIONS, as a list */
    HTTP_HEADERS_MAX = 100,   /* fields in a request; above: 431 */
    HTTP_SEGMENTS_MAX = 8,    /* of a path */
    HTTP_QUERY_MAX = 16,      /* parameters */
    HTTP_ADDED_MAX = 12,      /* headers a handler may add */
    HTTP_ADDED_BYTES = 3072,  /* of their values */
    HTTP_KEEP_BYTES = 4096,   /* a buffer larger than this is given back after the request */
    HTTP_INPUT_BYTES = 2048,  /* first size of what a connection receives into */
    HTTP_SWALLOW_MAX = 65536, /* body bytes read and dropped so that a refused request keeps its connection */
    HTTP_LINGER_MAX = 1 << 20, /* bytes read and dropped after an answer that closes the connection */
    HTTP_REPLY_MAX = 16 << 20,
    HTTP_BACKLOG = 4096,
    HTTP_PROXIES_MAX = 64, /* networks of --trusted-proxies */
    HTTP_ADDRESS_HASH = 1024,
    HTTP_TURN_REQUESTS = 16,    /* of one connection, until it is others' turn */
    HTTP_TURN_BYTES = 65536,    /* read from or written to one connection, until it is others' turn */
    HTTP_CHUNK_LINE_MAX = 1024, /* size and extension of a chunk, or one trailer */
    HTTP_CHUNK_OVERHEAD_MAX =
        16384, /* what may be around the chunks of a body, beyond as much as is in them */
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
    X(HTTP_REASON_FIELDS, "fields")           \
    X(HTTP_REASON_BODY, "body")               \
    X(HTTP_REASON_MEMORY, "memory")           \
    X(HTTP_REASON_ADMISSION, "admission")     \
    X(HTTP_REASON_CONNECTIONS, "connections") \
    X(HTTP_REASON_ADDRESS, "address")         \
    X(HTTP_REASON_DESCRIPTORS, "descriptors") \
    X(HTTP_REASON_SLOW, "slow")               \
    X(HTTP_REASON_EVICTED, "evicted")
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
    char allow[HTTP_ALLOW_BYTES];         /* those methods and OPTIONS, set when only path_known */
};

bool http_router_init(struct http_router *router, const struct http_route *routes, size_t count, char *reason,
                      size_t reason_size);
void http_router_deinit(struct http_router *router);
/* Makes the metrics of an endpoint; `name` is its label. */
void http_endpoint_measure(struct http_endpoint *endpoint, const char *name);
/* `method` may be HTTP_METHOD_UNKNOWN. */
struct http_match http_router_find(const struct http_router *router, const struct http_path *path,
                                   unsigned method);
unsigned http_method_of(struct span name); /* HEAD counts as GET */

/* --- Proxies --- */

struct http_network {
    struct in6_addr address; /* IPv4 as it is mapped into IPv6 */
    unsigned bits;           /* of it that count */
};

struct http_proxies {
    struct http_network networks[HTTP_PROXIES_MAX];
    size_t count;
};

/* Addresses and networks ("10.0.0.0/8"), separated by commas; empty or NULL: none. */
bool http_proxies_parse(const char *list, struct http_proxies *ret);
bool http_proxies_trust(const struct http_proxies *proxies, const struct in6_addr *address);
struct http_request;
/* The client's address, of a request whose head is here and whose connection comes from `peer`. */
struct in6_addr http_client_of(const struct http_proxies *proxies, const struct http_request *request,
                               const struct in6_addr *peer);

/* --- Requests --- */

struct http_pair {
    struct span name, value;
};

/* A field of the head, as it lies behind http_request.head. Its value is without blanks around it. */
struct http_field {
    uint16_t name_at, name_len, value_at, value_len;
};

/* Where a connection is. Only its loop thread reads or writes this; http_phase_set (limits.c) changes it.
 *
 *          first byte      head read       all of it read        answered        all of it sent
 *   IDLE ------------> HEAD --------> BODY --------------> HANDLER ------> SENDING --+---> IDLE
 *                        |              | refused, or late                 ^         +---> CLOSING: input is
 *                        +--------------+----------------------------------+         |     still to be
 * dropped
 *                                                                                    +---> over: it closes
 * A stream goes from SENDING back to HANDLER for each of its pieces but the last.
 *
 * Over, from any but HANDLER: the client left, was there for too long, or had to make room for others. */
enum http_phase {
    HTTP_PHASE_IDLE,    /* no byte of a request */
    HTTP_PHASE_HEAD,    /* a part of a head is here */
    HTTP_PHASE_BODY,    /* the head is here and counted as in flight */
    HTTP_PHASE_HANDLER, /* all of it is here; if deferred, some other thread has it */
    HTTP_PHASE_SENDING, /* it is answered */
    HTTP_PHASE_CLOSING, /* the answer is sent; the rest of the input is read and dropped */
    HTTP_PHASES
};

enum http_chunk_state {
    HTTP_CHUNK_SIZE,
    HTTP_CHUNK_DATA,
    HTTP_CHUNK_DATA_END,
    HTTP_CHUNK_TRAILER,
    HTTP_CHUNK_END
};

/* One per connection, reused for every request on it. Whoever owns the request (the loop thread, or after
 * http_defer the thread it was handed to) owns the reply fields; everything above them does not change once
 * the handler is called. */
struct http_request {
    struct http_server *server;
    struct http_loop *loop;
    STAILQ_ENTRY(http_request) next_answered; /* in loop.answered */
    const struct http_endpoint *endpoint;
    const struct api_key *key;
    int64_t arrived_us, received_us;
    char id[HTTP_REQUEST_ID_LEN + 1];

    /* The head, in the memory of its connection's input, which stays where it is until the answer is sent. */
    const char *head;
    size_t head_len; /* up to the end of the last line that was read */
    unsigned lines;
    unsigned method;
    bool is_head;    /* HEAD: the answer has no body */
    bool is_options; /* OPTIONS: `allow` is what its target knows, empty for "*" */
    char allow[HTTP_ALLOW_BYTES];
    bool http_1_0, closes, close_asked, expects_continue;
    size_t target_at, target_len;
    unsigned framed, hosts; /* fields that frame the body; Host fields */
    uint64_t content_length;
    bool chunked;
    enum http_chunk_state chunk_state;
    uint64_t chunk_left;
    size_t chunk_overhead; /* bytes around the chunks so far */
    struct http_field fields[HTTP_HEADERS_MAX];
    size_t fields_count;

    struct span path, query_text;
    struct span params[HTTP_PARAMS_MAX];
    struct http_pair query[HTTP_QUERY_MAX];
    size_t query_count;
    char *decoded; /* what had escapes in the target */
    size_t decoded_size, decoded_len;
    const char *body; /* in the input, or body_own */
    char *body_own;
    size_t body_len, body_size;

    bool may_wait, waits; /* for admission; see struct http_admission */
    unsigned line;
    const struct problem *refusal; /* NULL: the handler is called */
    const char *refusal_detail;
    int64_t refusal_retry_ms;
    bool refusal_closes;
    size_t dropped; /* body bytes read for nothing */

    bool deferred; /* set by the loop thread before it gives the request away */

    struct buf reply, added_text;
    struct { /* a body that is somebody else's, instead of `reply`; release NULL: none */
        struct span body;
        void (*release)(void *owner);
        void *owner;
    } shared;
    struct http_stream stream; /* release NULL: the answer is whole */
    enum http_piece piece;     /* of the stream, in `reply` */
    bool head_sent;            /* of the stream: a piece was sent before this one */
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
void http_request_end(struct http_request *request); /* forgets everything, keeps small buffers */
void http_request_deinit(struct http_request *request);
void http_request_set_id(struct http_request *request);

enum http_reading {
    HTTP_READING_MORE, /* all that is here was read, and it is not the end */
    HTTP_READING_PART, /* a part of a body */
    HTTP_READING_DONE,
    HTTP_READING_FAULT /* the request was refused, and nothing after it may be read */
};

/* Reads on in a head of which `len` bytes are here; `data` may have moved since the last call. */
enum http_reading http_head_read(struct http_request *request, const char *data, size_t len);
/* Takes the next piece of a chunked body off `in`. */
enum http_reading http_chunks_read(struct http_request *request, struct span *in, struct span *ret_data);

/* Splits and decodes; false when the target is malformed. */
bool http_target_parse(struct http_request *request, struct http_path *path);
bool http_query_parse(struct http_request *request);

/* Decides what becomes of a request whose head is complete: sets endpoint, key and parameters, or a refusal.
 */
void http_screen(struct http_request *request);
/* The last part of it, again, of one that waits. */
void http_screen_admission(struct http_request *request);
/* Turns the request into a refused one. */
void http_refuse(struct http_request *request, const struct problem *problem, enum http_reason reason,
                 const char *detail);
/* The same, where the rest of the input cannot be trusted, or is not worth reading. */
void http_refuse_and_close(struct http_request *request, const struct problem *problem,
                           enum http_reason reason, const char *detail);
/* cors.c: what OPTIONS is answered by, and the fields that let a configured origin read the answer. */
void http_options_init(struct http_endpoint *endpoint);
void http_cors_append(const struct http_request *request, struct buf *out);
/* Answers with the problem document of the refusal. */
void http_refusal_reply(struct http_request *request);
struct span http_answer_body(const struct http_request *request);
/* Whether the time for a stream, if it is one, is over. */
bool http_stream_is_late(const struct http_request *request, int64_t now_us);
/* Gives back what the answer has of others. */
void http_answer_release(struct http_request *request);
/* Appends the head of the answer as it goes over the wire. */
void http_answer_head(const struct http_request *request, bool closes, struct buf *out);
/* Appends what goes before a piece of a stream, after its head; and what goes behind it. */
void http_piece_head(const struct http_request *request, struct buf *out);
struct span http_piece_tail(const struct http_request *request);

/* --- Connections and the server --- */

TAILQ_HEAD(http_conns, http_conn);
STAILQ_HEAD(http_requests, http_request);
STAILQ_HEAD(http_newcomers, http_newcomer); /* see loop.c */

/* An event loop: one thread, which alone touches its connections. */
struct http_loop {
    struct http_server *server;
    pthread_t thread;
    int epoll_fd, wake_fd;
    int64_t now_us;                          /* when the connection whose turn it is got it */
    int64_t learned_us;                      /* what is not known yet arrived later than this */
    struct http_conns phases[HTTP_PHASES];   /* its connections, in each phase by since when */
    struct http_conns ready;                 /* those that can do something, who waits longest first */
    struct http_conns ready_slow;            /* the same of those that have been slow so far */
    unsigned turns;                          /* of connections: one in some is a slow one's */
    unsigned first_line;                     /* of held_back, the next time: each begins in turn */
    struct http_conns held_back[HTTP_LINES]; /* those that wait for admission, in the same order */
    size_t held_back_count;                  /* in all lines */
    int64_t refuse_us;                       /* from when on it may refuse one more at once */
    int64_t tick_us, sample_us; /* when to look at time limits, and at answers being sent, next */
    unsigned pressed_seen;      /* of server.pressed */
    atomic_bool stop_wanted;
    atomic_uint connections;
    pthread_mutex_t lock; /* guards what other threads hand over, and whether they have to wake the loop */
    struct http_requests answered; /* deferred requests that have their answer */
    struct http_newcomers newcomers;
    bool sleeping;
    struct heartbeat heartbeat;
};

/* What one client address has. An IPv6 client is its /64 network: it has all of its addresses. */
struct http_address {
    struct http_address *next;
    struct in6_addr network;
    unsigned connections;           /* under door.lock */
    _Atomic int64_t evict_again_us; /* no loop had one of it that could go, so none looks before */
    atomic_size_t held;             /* bytes, see http_hold */
};

/* What was received and is not used up: [start, end) of `data`; of a request in progress the bytes up to
 * `used` are taken. */
struct http_input {
    char *data;
    size_t size, start, used, end;
};

/* All of its loop's thread. */
struct http_conn {
    struct http_request request;               /* first: an http_request is part of a connection */
    TAILQ_ENTRY(http_conn) in_phase, in_ready; /* the second: in *ready, or in a line of loop.held_back */
    int fd;
    struct in6_addr peer;
    struct in6_addr client; /* of the request: the peer, or whom a trusted proxy passed it on for */
    bool from_proxy;        /* the peer is a trusted proxy, which many clients share */
    struct http_address *address;

    bool readable, writable;      /* the socket may have, or take, something */
    bool ended;                   /* the client's end came, or the connection broke: stays readable */
    struct http_conns *ready;     /* is in that one of loop.ready and loop.ready_slow; NULL: in neither */
    int64_t ready_us;             /* and since when; what is read in this turn had arrived by then */
    struct http_conns *held_back; /* is in that line of loop.held_back; NULL: in none */
    size_t turn_bytes;
    unsigned turn_requests;

    enum http_phase phase;
    int64_t since_us; /* it is in this phase */
    bool late;        /* it was there for too long: answered so when nothing more is to be read */
    uint64_t moved;   /* bytes of the body that came */

    struct http_input input;
    struct buf output; /* head of the answer */
    size_t sent;       /* of head and body */
    bool closes;       /* after this answer */
    size_t dropped;    /* in HTTP_PHASE_CLOSING */

    size_t held, held_by_key; /* bytes that its request holds, see http_hold; those on its key's account */
    uint32_t held_key;
    bool counted; /* its request is in flight */
    bool away;    /* its request is some other thread's */

    /* Of the answer being sent, when it was last looked at. */
    int64_t sampled_us;     /* 0: not yet */
    uint64_t sampled_acked; /* bytes that the client's host had acknowledged */
    int64_t stalled_us;     /* since when there was no progress */
    bool reads_slowly;
};

struct http_door {
    int listen_fd, wake_fd;
    uint16_t port;
    pthread_t thread;
    bool started;
    atomic_bool close_wanted, stop_wanted;
    atomic_uint connections;
    atomic_uint displacing;         /* newcomers for whom a loop has yet to make room */
    _Atomic int64_t evict_again_us; /* as of an address, of all */
    /* Bytes: in all, and of those what http_hold was asked for. */
    atomic_size_t held, held_by_requests;
    pthread_mutex_t lock; /* guards what is below */
    pthread_cond_t changed;
    bool closed;                 /* nothing is accepted any more */
    struct http_request refused; /* for answers to connections that are not let in */
    struct buf refusal;          /* such an answer, without its request id */
    size_t refusal_id_at;
    int64_t refusal_second;
    struct http_address *addresses[HTTP_ADDRESS_HASH];
};

struct http_server {
    struct http_options options;
    struct http_router router;
    struct http_proxies proxies;
    struct http_endpoint unrouted, options_endpoint;
    struct http_loop *loops;
    unsigned loops_count;
    struct http_door door;
    /* How long each part of a request may take in total. Atomic, because tests shorten them. */
    _Atomic int64_t head_ms, body_ms, send_ms, linger_ms;
    _Atomic int64_t idle_evict_ms; /* from when on an idle connection may go for others */
    _Atomic int64_t refusal_us;    /* each loop refuses one in so long at once */
    atomic_bool draining;          /* every answer closes its connection */
    atomic_bool hanging_up;        /* connections without a request are closed */
    atomic_uint pressed;           /* grows when some request found no room for its bytes */
    _Atomic int64_t in_flight;
    atomic_size_t key_held[AUTH_KEYS_MAX]; /* bytes by api_key.index */
    struct metric *in_flight_gauge, *connections_gauge, *held_gauge, *waiting_gauge;
    struct metric *refused[HTTP_REASON_COUNT];
};

/* door.c */
bool http_door_open(struct http_server *server, char *reason, size_t reason_size);
void http_door_start(struct http_server *server);
void http_door_close(struct http_server *server); /* returns when nothing is accepted any more */
void http_door_stop(struct http_server *server);  /* ends its thread */
void http_door_deinit(struct http_server *server);
/* Answers that there is no room, and closes. From any thread. */
void http_door_refuse(struct http_server *server, int fd, enum http_reason reason);
/* A loop has made room for one more of those beyond the limits, or refused it. */
void http_door_displaced(struct http_door *door);

/* limits.c */
/* Counts one more connection of a client. *ret: whether it has room (HTTP_REASON_COUNT), or why it has none;
 * then there is none of memory, and NULL, or somebody has to go first (http_limits_evict). */
struct http_address *http_limits_admit(struct http_server *server, const struct sockaddr *from,
                                       enum http_reason *ret);
/* Until when nobody looks for somebody who could go for such a newcomer, because nobody could. */
static inline _Atomic int64_t *http_evict_again(struct http_door *door, struct http_address *address,
                                                enum http_reason full)
{
    return full == HTTP_REASON_ADDRESS ? &address->evict_again_us : &door->evict_again_us;
}
/* Counts a connection out that never got to http_limits_enter. */
void http_limits_forget(struct http_server *server, struct http_address *address);
void http_limits_enter(struct http_loop *loop, struct http_conn *conn);
void http_limits_leave(struct http_loop *loop, struct http_conn *conn);
/* Where a connection is from now on. */
void http_phase_set(struct http_conn *conn, enum http_phase phase);
/* Holds that many bytes more for the request of a connection, until http_let_go; false where the server, the
 * address or the key has no room for them. */
bool http_hold(struct http_conn *conn, size_t bytes) MUST_USE;
void http_let_go(struct http_conn *conn);
/* Ends one connection of this loop, of one address or (NULL) of any. false: all of them are at work. */
bool http_limits_evict(struct http_loop *loop, struct http_address *address);
/* Ends what has been where it is for too long; what is slow too, where bytes are short. */
void http_limits_tick(struct http_loop *loop);
/* Ends what has no request and has sent nothing that is not read. */
void http_limits_hang_up(struct http_loop *loop);
struct in6_addr http_address_mapped(const struct sockaddr *address); /* IPv4 as it is mapped into IPv6 */
void http_limits_deinit(struct http_server *server);

/* What a step of a connection leads to. */
enum http_step {
    HTTP_STEP_ON,   /* to the next one */
    HTTP_STEP_WAIT, /* for the client, or for whoever has the request */
    HTTP_STEP_END   /* the connection is over */
};

/* input.c */
/* In the phases IDLE, HEAD, BODY and CLOSING. */
enum http_step http_input_step(struct http_conn *conn);
/* Of one that waited for admission: on its way, or refused. */
enum http_step http_input_admitted(struct http_conn *conn);
/* What is left to read from the client, read or not. */
bool http_input_has_more(const struct http_conn *conn);
/* Lets the request's part of the input go. */
void http_input_next(struct http_conn *conn);

/* output.c */
/* The request has its answer, or a refusal without one. Sending begins. */
void http_output_begin(struct http_conn *conn);
/* In the phase SENDING. */
enum http_step http_output_step(struct http_conn *conn);
void http_count_in(struct http_conn *conn); /* its request is in flight */
/* The request is over, answered or not. */
void http_finish(struct http_conn *conn);

/* loop.c */
bool http_loop_start(struct http_server *server, struct http_loop *loop); /* false: errno says why */
void http_loop_stop(struct http_loop *loop);                              /* ends its thread */
void http_loop_deinit(struct http_loop *loop);       /* all are stopped, and every request is answered */
void http_loops_hang_up(struct http_server *server); /* has every loop call http_limits_hang_up from now on */
/* Gives an accepted socket to the event loop that has the fewest. `full`: HTTP_REASON_COUNT, or why somebody
 * has to go first. */
void http_loop_add(struct http_server *server, int fd, const struct sockaddr *peer,
                   struct http_address *address, enum http_reason full);
/* A deferred request is its loop's again. From any thread. */
void http_loop_answered(struct http_request *request);
/* It shall have a turn; what it has for it is known since then. */
void http_conn_ready(struct http_conn *conn, int64_t since_us);
/* Whether a request that is not admitted may wait instead of being refused; one was refused. */
bool http_loop_rations(const struct http_loop *loop);
void http_loop_refused(struct http_loop *loop);
/* Until there is room for its request, but not for long. */
void http_loop_hold_back(struct http_conn *conn);
void http_conn_destroy(struct http_conn *conn);
