/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP/1.1 client for tests: one connection, blocking, every call with a deadline, and able to send
 * what no proper client would. It opens its connection when it needs one and keeps it alive. One thread at a
 * time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct http_client;

enum http_outcome {
    HTTP_ANSWERED,
    HTTP_CLOSED,    /* refused, reset or closed before the whole answer was there */
    HTTP_LATE,      /* the deadline passed */
    HTTP_MALFORMED, /* what came is not HTTP/1.1 */
};

/* The last answer; valid until the next call with the same client. */
struct http_answer {
    int status;
    struct span head; /* status line and headers, as received */
    struct span body; /* de-chunked */
    bool closing;     /* the server will close, or has closed */
};

struct http_call {
    const char *method, *path;  /* NULL: GET; path may be any text, it is sent as it is */
    const char *token;          /* NULL: no Authorization */
    const char *key;            /* NULL: no Idempotency-Key */
    const char *const *headers; /* more lines "Name: value", ended by NULL; NULL for none */
    const char *body;           /* NULL: none, and no Content-Length */
    int64_t timeout_ms;         /* 0: a minute */
};
static inline const char *http_call_method(const struct http_call *call)
{
    return call->method ? call->method : "GET";
}

/* url: http://<numeric address>:<port>. Does not connect. */
struct http_client *http_client_create(const char *url);
void http_client_destroy(struct http_client *client); /* accepts NULL */
/* Drops the connection, if any; the next call opens a new one. */
void http_client_close(struct http_client *client);

/* Sends a request and reads its answer. When a kept-alive connection turns out to have been closed by the
 * server before it answered anything, the request is sent once more on a new one. */
enum http_outcome http_client_call(struct http_client *client, const struct http_call *call,
                                   struct http_answer *ret);

/* Sends a request only (HTTP_ANSWERED: all of it), and only once; http_client_read gives its answer. */
enum http_outcome http_client_begin(struct http_client *client, const struct http_call *call);

/* Waits for the status line of the answer, which stays there for http_client_read: a long answer has begun.
 */
enum http_outcome http_client_await_status(struct http_client *client, int64_t timeout_ms, int *ret_status);

/* The two halves, for malformed or pipelined bytes. */
enum http_outcome http_client_send(struct http_client *client, struct span bytes, int64_t timeout_ms);
enum http_outcome http_client_read(struct http_client *client, int64_t timeout_ms, struct http_answer *ret);
/* True when the server closes the connection within the time, whatever it says before. */
bool http_client_await_close(struct http_client *client, int64_t timeout_ms);

/* A header's value without the space around it; absent span where there is none. */
struct span http_answer_header(const struct http_answer *answer, const char *name);

/* A metric of whoever the client talks to, by its name and labels as /metrics writes them; -1 where it is not
 * there or nobody answers. */
int64_t http_client_metric(struct http_client *client, const char *name);
/* The same of a decimal fraction, in millionths. */
int64_t http_client_metric_micro(struct http_client *client, const char *name);
