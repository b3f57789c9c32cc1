/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/requests/{key}: every use of an Idempotency-Key that took effect, from whatever service took it,
 * and what is under way in this one; who set the settings that hold; and what a campaign is. A thread with
 * connections of its own, which only reads; bounded, and each question has a deadline. With several shards
 * each has such a thread, so that a shard that is away costs the campaigns of the others nothing; and one
 * more asks all of them about keys: where one does not answer, nobody knows what became of a key, which is
 * 503. Thread-safe. */
#pragma once

#include "command-service/committer.h"
#include "command-service/store/uses.h"

struct requests;

struct requests_options {
    const struct shards *shards;   /* borrowed */
    struct committers *committers; /* borrowed: what is in flight */
    int64_t deadline_ms;
};

struct requests *requests_start(const struct requests_options *options);
/* Answers what was asked; from here on questions are refused. */
void requests_stop(struct requests *requests);
void requests_destroy(struct requests *requests); /* after requests_stop, when nobody can ask any more */
/* Takes the request over and answers it. */
void requests_ask(struct requests *requests, struct http_request *request,
                  const uint8_t key_hash[REQUEST_KEY_BYTES]);

/* Writes an answer of which the store knows a part: `count` changes, or -1 where the store did not say. */
typedef void requests_writer(struct buf *out, const struct control_change *changes, int count, void *context);
/* Takes the request over and answers it 200 with what `write` says, from the thread of the questions. */
void requests_ask_changes(struct requests *requests, struct http_request *request, requests_writer *write,
                          void *context);
/* Takes the request over and answers it with the campaign, which its first parameter names. */
void requests_ask_campaign(struct requests *requests, struct http_request *request);
