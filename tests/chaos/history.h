/* SPDX-License-Identifier: Apache-2.0 */
/* The history of a chaos run: every operation, every attempt to have it answered, and what came back. Each
 * client writes a history of its own; they are joined for the judge. */
#pragma once

#include "bench/load/connection.h"
#include "tests/chaos/op.h"

/* As Jepsen has it: it happened, it did not, or nobody knows. */
enum outcome {
    OUTCOME_DONE,     /* 2xx */
    OUTCOME_REFUSED,  /* decided against: 400 invalid-window, 403, 404, 409, 410, 422 */
    OUTCOME_LATER,    /* not decided: 409 in-flight, 429, 503, or not even sent. This attempt did nothing */
    OUTCOME_UNKNOWN,  /* any other 5xx, connection lost, no answer in time */
    OUTCOME_NONSENSE, /* an answer that no rule of the API explains */
    OUTCOME_COUNT,
};
const char *outcome_text(enum outcome outcome);

enum { PROBLEM_CODE_MAX = 32 };

struct attempt {
    uint32_t op;     /* index in the history */
    uint32_t number; /* of this operation, from 0 */
    uint8_t service;
    uint8_t outcome;
    bool replayed;                  /* Idempotency-Replayed */
    bool closing;                   /* asked again after all was healed */
    uint16_t status;                /* 0: no answer */
    char problem[PROBLEM_CODE_MAX]; /* code of the problem document, "" without one */
    struct position token;          /* Consistency-Token, position 0: none */
    int64_t sent_us, done_us;       /* monotonic; unknown: when the client gave up */
    size_t body_at, body_len;       /* 2xx: in history.bodies */
};

struct history {
    struct operation *ops;
    size_t ops_count, ops_capacity;
    struct attempt *attempts;
    size_t attempts_count, attempts_capacity;
    struct buf bodies;
    size_t first_op[CHAOS_CLIENTS_MAX + 1]; /* joined: where each client's operations begin */
};

enum { HISTORY_BODIES_MAX = 1024 * 1024 * 1024 };

void history_init(struct history *history);
void history_deinit(struct history *history);
/* Index of the new operation. */
uint32_t history_op(struct history *history, const struct operation *op);
/* What became of an attempt; `response` is looked at where it was answered. Returned until the next call. */
const struct attempt *history_add(struct history *history, const struct attempt *begun, enum exchange outcome,
                                  const struct http_response *response);
/* Appends a client's whole history; clients in order, each once. */
void history_join(struct history *history, const struct history *of_client, uint32_t client);
/* After joining: the operation that (client, number) names, UINT32_MAX where there is none. */
uint32_t history_find(const struct history *history, uint32_t client, uint32_t number);
/* The operation whose Idempotency-Key this one has; itself for most. */
uint32_t history_key(const struct history *history, uint32_t op);
/* Whether the attempt may have had an effect though nobody was told. A void is done slice by slice, so
 * "later" may be said of a part of it. */
bool history_doubtful(const struct history *history, const struct attempt *attempt);
struct span history_body(const struct history *history, const struct attempt *attempt);
