/* SPDX-License-Identifier: Apache-2.0 */
/* Talking to a stack's services in tests: one client per service, keys made up, problems looked into. A call
 * that gets no answer at all fails the test. One thread at a time. */
#pragma once

#include "tests/lib/http_client.h"
#include "tests/lib/json_get.h"
#include "tests/lib/stack.h"
#include "tests/lib/text.h"

struct api_client {
    struct stack *stack; /* borrowed */
    struct http_client *command, *query;
};

void api_open(struct api_client *api, struct stack *stack);
void api_close(struct api_client *api);
/* Fixtures of a group of tests: a stack, and a client of it that becomes cmocka's state of the group; and the
 * end of both. */
struct stack *api_setup(void **state, struct api_client *api, enum stack_parts parts);
int api_teardown(void **state);

/* Any call of whomever the client talks to; and of the command service. */
struct http_answer api_ask(struct http_client *client, const struct http_call *call);
#define API_ASK(client, ...) api_ask((client), &(struct http_call){__VA_ARGS__})
struct http_answer api_call(struct api_client *api, const struct http_call *call);
/* POSTs to the command service with the admin token. key NULL: a fresh Idempotency-Key. */
struct http_answer api_post(struct api_client *api, const char *path, const char *body, const char *key);
/* A POST with the admin token whose answer is read later, over a connection of its own. headers: more lines,
 * ended by NULL; NULL for none. */
struct http_client *api_post_begin(struct api_client *api, const char *path, const char *body,
                                   const char *key, const char *const *headers);
/* Issues with the issuer's token over a connection of the caller's, which reads the answer. */
void api_issue_begin(struct api_client *api, struct http_client *client, const char *campaign,
                     const char *user, const char *key);
/* Reads the answer to api_post_begin; valid until the caller destroys the client. */
struct http_answer api_post_end(struct http_client *client);
/* GETs from the query service with the read token. token NULL: no Consistency-Token. */
struct http_answer api_get(struct api_client *api, const char *path, const char *consistency_token);

/* Creates a campaign of 10 % with this id and the given extra members (", \"per_user_limit\":2" or ""). */
struct http_answer api_create(struct api_client *api, const char *id, int64_t quantity, const char *more);
void api_campaign_of(struct api_client *api, const char *id, int64_t quantity, const char *more); /* 201 */
/* The same with a fresh id, which it returns, valid until the next call. */
const char *api_campaign(struct api_client *api, int quantity, const char *more);
/* Issues to a user with a fresh key. */
struct http_answer api_issue(struct api_client *api, const char *campaign, const char *user);
void api_give(struct api_client *api, const char *campaign, const char *user); /* who must get it: 201 */
const char *api_coupon(struct api_client *api, const char *campaign,
                       const char *user); /* and its id, by textf */

/* Sends as callers are told to: again under its key until the outcome is known, which a busy machine may not
 * do within the second that PostgreSQL has for a batch. Then it has to have the status. What tests need done,
 * and do not test, is done so. */
struct http_answer api_insist(struct http_client *client, const struct http_call *call, int status);
struct http_answer api_insist_post(struct api_client *api, const char *path, const char *body, int status);
/* Issues to <prefix><first> and so on in one batch: 200. */
struct http_answer api_batch(struct api_client *api, const char *campaign, const char *prefix, int64_t first,
                             int64_t count);

/* A metric of the command service, by its name and labels as /metrics writes them; -1 where it is not there.
 */
int64_t api_metric(struct api_client *api, const char *name);

const char *api_fresh_key(void); /* valid until the next call */
/* The code of a problem document; "" where the answer is not one. Valid until the next call. */
const char *api_problem(const struct http_answer *answer);
/* Fails unless it has this status, and this code where one is given; the answer once more. */
struct http_answer api_expect(struct http_answer answer, int status, const char *problem_code);
