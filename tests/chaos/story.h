/* SPDX-License-Identifier: Apache-2.0 */
/* The history of a chaos run: every ask, every attempt to have it answered, and what came back. Each client
 * writes a story of its own; they are joined for the judge. */
#pragma once

#include "tests/chaos/ask.h"
#include "tests/chaos/wire.h"

/* As Jepsen has it: it happened, it did not, or nobody knows. */
enum told {
    TOLD_DONE,     /* 2xx */
    TOLD_REFUSED,  /* decided against: 403, 404, 409, 410, 422 */
    TOLD_LATER,    /* not decided: 409 in-flight, 429, 503, or not even sent. This attempt did nothing */
    TOLD_UNKNOWN,  /* any other 5xx, connection lost, no answer in time */
    TOLD_NONSENSE, /* an answer that no rule of the API explains */
    TOLD_COUNT,
};
const char *told_text(enum told told);

enum { PROBLEM_CODE_MAX = 32 };

struct attempt {
    uint32_t ask;    /* index in the story */
    uint32_t number; /* of this ask, from 0 */
    uint8_t service;
    uint8_t told;
    bool replayed;                  /* Idempotency-Replayed */
    bool closing;                   /* asked again after all was healed */
    uint16_t status;                /* 0: no answer */
    char problem[PROBLEM_CODE_MAX]; /* code of the problem document, "" without one */
    struct position token;          /* Consistency-Token, position 0: none */
    int64_t sent_us, done_us;       /* monotonic; unknown: when the client gave up */
    size_t body_at, body_len;       /* 2xx: in story.bodies */
};

struct story {
    struct ask *asks;
    size_t asks_count, asks_capacity;
    struct attempt *attempts;
    size_t attempts_count, attempts_capacity;
    struct buf bodies;
    size_t first_ask[CHAOS_CLIENTS_MAX + 1]; /* joined: where each client's asks begin */
};

enum { STORY_BODIES_MAX = 1024 * 1024 * 1024 };

void story_init(struct story *story);
void story_deinit(struct story *story);
/* Index of the new ask. */
uint32_t story_ask(struct story *story, const struct ask *ask);
/* What became of an attempt; `response` is looked at where it was answered. Returned until the next call. */
const struct attempt *story_add(struct story *story, const struct attempt *begun, enum wire_outcome outcome,
                                const struct http_response *response);
/* Appends a client's whole story; clients in order, each once. */
void story_join(struct story *story, const struct story *of_client, uint32_t client);
/* After joining: the ask that (client, number) names, UINT32_MAX where there is none. */
uint32_t story_find(const struct story *story, uint32_t client, uint32_t number);
/* The ask whose Idempotency-Key this one has; itself for most. */
uint32_t story_key(const struct story *story, uint32_t ask);
/* Whether the attempt may have had an effect though nobody was told. A void is done slice by slice, so
 * "later" may be said of a part of it. */
bool story_doubtful(const struct story *story, const struct attempt *attempt);
struct span story_body(const struct story *story, const struct attempt *attempt);
