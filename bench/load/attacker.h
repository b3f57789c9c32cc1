/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that take room and give nothing: heads and bodies that do not end, answers that nobody reads, all
 * at once and for as long as it runs. A connection that the server ends is made anew. One thread of its own.
 */
#pragma once

#include "bench/load/target.h"

struct attack_options {
    const struct target *target; /* borrowed for the attack's life */
    size_t heads;                /* connections that send a head, a byte a second */
    size_t bodies;               /* that send a large body, slowly, but for its last byte */
    size_t unread;               /* that ask and ask, and read no answer */
    struct span asks;            /* what the last ones send, a whole request; borrowed */
    struct span post;            /* the head of a request with a body of ATTACK_BODY bytes; borrowed */
    int64_t opens_per_second;    /* of connections, at most */
};
enum { ATTACK_BODY = 1000000 };

struct attack;
struct attack *attack_start(const struct attack_options *options);
/* How many connections it has, and how many it has made. */
size_t attack_connections(const struct attack *attack);
uint64_t attack_made(const struct attack *attack);
void attack_stop(struct attack *attack); /* closes them all; accepts NULL */
