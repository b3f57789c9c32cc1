/* SPDX-License-Identifier: Apache-2.0 */
/* The readers of a chaos run: threads that ask the query services for what the clients are busy with, now
 * and then with the Consistency-Tokens of what was answered before, and record every answer. */
#pragma once

#include "tests/chaos/board.h"
#include "tests/chaos/read.h"

struct readers_options {
    uint64_t seed;
    const char *token; /* of an API key that may read and redeem */
    struct board *board;
    const struct target *targets; /* of the query services */
    uint32_t readers, services;
};

struct readers;
/* Starts the threads. Texts, targets and board are borrowed until readers_destroy. */
struct readers *readers_start(const struct readers_options *options);
int64_t readers_count(const struct readers *readers); /* reads so far; any thread */
/* Ends the reading; joins what was read into `ret` (initialised). */
void readers_stop(struct readers *readers, struct readings *ret);
void readers_destroy(struct readers *readers); /* after readers_stop */
