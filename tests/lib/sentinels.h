/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis with one or two replicas and three sentinels that watch over them, beside a stack and on its ports.
 * All of them end when this program ends, however it ends. Whatever fails here fails the test. Not
 * thread-safe. */
#pragma once

#include "tests/lib/redis_server.h"

enum sentinels_process {
    SENTINELS_REDIS_1, /* the primary at first */
    SENTINELS_REDIS_2,
    SENTINELS_REDIS_3, /* where two replicas are wanted */
    SENTINELS_WATCH_1,
    SENTINELS_WATCH_2,
    SENTINELS_WATCH_3,
    SENTINELS_PROCESSES,
};

struct sentinels {
    struct stack *stack; /* borrowed */
    int replicas;        /* 1 or 2 */
    int dead_after_ms;   /* of silence a sentinel takes a server for dead */
    struct redis_server servers[SENTINELS_PROCESSES];
    char url[512];
};

/* Returns when the replicas are in step and the sentinels know of them and of each other. */
void sentinels_start(struct sentinels *sentinels, struct stack *stack, int replicas, int dead_after_ms);
void sentinels_stop(struct sentinels *sentinels);

/* redis+sentinel://... of all three, with the passwords of servers and sentinels. */
const char *sentinels_url(const struct sentinels *sentinels);
void sentinels_signal(const struct sentinels *sentinels, enum sentinels_process process, int signal_number);
/* SIGKILL, and waits for the end. */
void sentinels_kill(struct sentinels *sentinels, enum sentinels_process process);
/* One command to one of them; the status it came to. *ret_text (NULL: not wanted) gets a textual reply, or
 * the first element of a list, as text; size is its size. */
enum redis_status sentinels_call(const struct sentinels *sentinels, enum sentinels_process process,
                                 const char *const *words, char *ret_text, size_t size);
#define SENTINELS_CALL(sentinels, process, ret, ...) \
    sentinels_call((sentinels), (process), (const char *[]){__VA_ARGS__, NULL}, (ret), sizeof(ret))
/* "master" or "slave", as the server sees itself; "" where it does not answer. Valid until the next call. */
const char *sentinels_role(const struct sentinels *sentinels, enum sentinels_process process);
/* Whether all sentinels know that `primary` is it: one that has not heard of a failover may begin another. */
bool sentinels_agree(const struct sentinels *sentinels, enum sentinels_process primary);
