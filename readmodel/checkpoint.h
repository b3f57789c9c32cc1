/* SPDX-License-Identifier: Apache-2.0 */
/* How far the models of one slice are, of which generation they are, and of which log. In ROOT for the
 * generation that readers use, in CHECKPOINT for one that is not live. Written by readmodel/apply.lua only,
 * together with the models. */
#pragma once

#include "common/redis/redis.h"
#include "readmodel/keys.h"

enum { CHAIN_BYTES = 32 };

/* X(field of the struct, name in Redis): numbers that are never negative. Those first that readers need. */
#define CHECKPOINT_READERS(X)                                                           \
    X(generation, "generation")                                                         \
    X(position, "pos")    /* events up to here are folded in */                         \
    X(behind, "behind")   /* 1: the projector is catching up, readers ask PostgreSQL */ \
    X(buckets, "buckets") /* keys of USERS */
#define CHECKPOINT_NUMBERS(X)                                                                \
    CHECKPOINT_READERS(X)                                                                    \
    X(epoch, "epoch")       /* of the projector that wrote it */                             \
    X(at_us, "at")          /* recorded_at of the event there */                             \
    X(coupons, "coupons")   /* CouponIssued up to here: entries of USERS */                  \
    X(chunk, "chunk")       /* bytes of the COUPONS that position is in; 0: there is none */ \
    X(chain_at, "chain_at") /* position of the end of a batch of the log, at or before `position`, */

struct checkpoint {
    bool present;
#define CHECKPOINT_MEMBER(member, name) int64_t member;
    CHECKPOINT_NUMBERS(CHECKPOINT_MEMBER)
#undef CHECKPOINT_MEMBER
    uint8_t chain[CHAIN_BYTES]; /* and the log's hash chain there: which history this is of (I12) */
};

/* Writes the command that asks for one, from the key in `key`: for all of it, or what readers need. */
void checkpoint_command(struct redis_command *command, struct span key);
void checkpoint_command_of_readers(struct redis_command *command, struct span key);
/* From the reply to either. A field that is missing or not a number makes it absent. */
struct checkpoint checkpoint_from_reply(const struct redis_reply *reply);
/* Adds every field and its value. */
void checkpoint_args(struct redis_command *command, const struct checkpoint *checkpoint);
/* How many arguments that are. */
size_t checkpoint_args_count(void);
