/* SPDX-License-Identifier: Apache-2.0 */
/* Steering command services in tests: settings and kill switches. Clients are of command services; a call
 * that gets no answer at all fails the test. One thread at a time. */
#pragma once

#include "tests/lib/http_client.h"
#include "tests/lib/json_get.h"
#include "tests/lib/stack.h"

struct steer {
    struct stack *stack;        /* borrowed */
    struct http_client *client; /* of the command service that is asked; borrowed */
};

/* PUT /v1/settings/<name> with this JSON for its value, without an Idempotency-Key. */
struct http_answer steer_put(const struct steer *to, const char *name, const char *value);
struct json_doc *steer_settings(const struct steer *to); /* the caller destroys it */
/* The number in a member of a setting; or its text, where `ret` is given. Fails without such a setting. */
int64_t steer_setting(const struct steer *to, const char *name, const char *member, char ret[32]);
/* POST /v1/issuers/<issuer>/<verb> with the admin token; fails unless it is answered like this. */
void steer_issuer(const struct steer *to, const char *issuer, const char *verb, int status, const char *code);
/* Issues with the token of this variable ("ISSUE_TOKEN") and a fresh key. */
struct http_answer steer_issue(const struct steer *to, const char *token, const char *campaign,
                               const char *user);
/* coupon_gate_refused_total{reason} */
int64_t steer_refusals(const struct steer *to, const char *reason);
bool steer_answers(const struct steer *to, const char *path); /* GETs it without a key: 200? */
