/* SPDX-License-Identifier: Apache-2.0 */
/* One Redis process of several that a test runs beside its stack: primaries, replicas, sentinels, servers of
 * a cluster. Whatever fails here fails the test. Not thread-safe. */
#pragma once

#include <sys/types.h>

#include "common/redis/internal.h"
#include "tests/lib/stack.h"

struct redis_server {
    struct redis_url url; /* whom a test's own questions go to, and as whom */
    char directory[240];  /* of its own; its log is there */
    bool sentinel;
    pid_t pid; /* 0: not running */
};

/* A server on 127.0.0.1 in the directory `name` of the stack's. `config`: lines of its own configuration.
 * Starts it; it ends when this program ends, however it ends. */
void redis_server_start(struct redis_server *server, struct stack *stack, const char *name, int port,
                        const char *config);
void redis_server_again(struct redis_server *server); /* where it was killed, with what it left */
void redis_server_signal(const struct redis_server *server, int signal_number);
void redis_server_kill(struct redis_server *server); /* SIGKILL, and waits for the end */

/* Not by redis_connect: a replica and a sentinel are to be asked too. NULL where it does not answer. */
struct redis *redis_server_connect(const struct redis_server *server, int64_t deadline_us);
/* One command; the status it came to. ret_text gets a textual reply, or the first element of a list, as text.
 */
enum redis_status redis_server_call(const struct redis_server *server, const char *const *words,
                                    char *ret_text, size_t size);
#define REDIS_SERVER_CALL(server, ret, ...) \
    redis_server_call((server), (const char *[]){__VA_ARGS__, NULL}, (ret), sizeof(ret))
