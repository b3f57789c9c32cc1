/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that were answered 202: accepted, ask later. What became of each is kept here until others push it
 * out; who asks later still, or another process, is told from the idempotency rows. A 202 never means issued,
 * and nothing here survives the process: then the honest answer is "unknown", and the same key may be sent
 * again. Bounded by count; thread-safe. */
#pragma once

#include "command-service/core/command.h"

enum { REQUEST_OUTCOME_MAX = 64 * 1024 }; /* the largest campaign, whose plan alone may have 6 KB */

enum request_state { REQUEST_UNKNOWN, REQUEST_PENDING, REQUEST_DONE };

struct request_outcome {
    enum request_state state;
    int http_status;    /* DONE: what a synchronous answer would have been */
    struct span answer; /* its body: JSON; empty where only a retry can put it together: "answer":null */
};
/* The body of GET /v1/requests/{key}. */
void request_outcome_write(struct buf *out, const struct request_outcome *outcome);

struct requests;
struct requests *requests_create(size_t count_max);
void requests_destroy(struct requests *requests); /* accepts NULL */

/* Begins to remember a request as pending. false: it is pending already, or there is no room. */
bool requests_open(struct requests *requests, const uint8_t key_hash[REQUEST_KEY_BYTES]);
/* Forgets a pending one: it was not accepted after all. */
void requests_forget(struct requests *requests, const uint8_t key_hash[REQUEST_KEY_BYTES]);
/* Of a pending one: what became of it. REQUEST_UNKNOWN where COMMIT was sent and never answered. */
void requests_finish(struct requests *requests, const uint8_t key_hash[REQUEST_KEY_BYTES],
                     const struct request_outcome *outcome);
/* Appends the body; false, and nothing appended, where it is not known here. */
bool requests_find(struct requests *requests, const uint8_t key_hash[REQUEST_KEY_BYTES], struct buf *out);
