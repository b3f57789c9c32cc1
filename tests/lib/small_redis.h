/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis of a test's own, with its append-only file on a disk of 24 MB that can be filled: a mount namespace
 * of its own, for which no privilege is needed. Beside a stack, on a port of it, and gone with this program.
 * What goes wrong here fails the test. One thread at a time. */
#pragma once

#include "tests/lib/stack.h"

struct small_redis {
    struct stack *stack; /* borrowed */
    const char *sync;    /* appendfsync; with "always" Redis ends itself when its disk is full */
    pid_t pid, disk_pid;
    char directory[512];
    char disk[600]; /* the directory as this process sees it */
    char url[64];
};

/* Starts it; it may not answer yet. */
void small_redis_start(struct small_redis *redis, struct stack *stack, const char *sync);
void small_redis_stop(struct small_redis *redis);
/* SIGKILL; and again, with what its disk has. */
void small_redis_kill(struct small_redis *redis);
void small_redis_again(struct small_redis *redis);
/* To the last byte; and room again. */
void small_redis_fill_disk(const struct small_redis *redis);
void small_redis_free_disk(const struct small_redis *redis);
