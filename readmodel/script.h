/* SPDX-License-Identifier: Apache-2.0 */
/* The two scripts that write to what readers see: apply.lua and switch.lua, which are in this folder and in
 * the program. Building their arguments, and what they answer. */
#pragma once

#include "common/redis/redis.h"
#include "readmodel/checkpoint.h"
#include "readmodel/fold.h"

enum script { SCRIPT_APPLY, SCRIPT_SWITCH, SCRIPT_COUNT };
struct span script_text(enum script script);

enum script_result {
    SCRIPT_APPLIED,
    SCRIPT_FENCED, /* a projector with a higher epoch was here; value: that epoch */
    SCRIPT_MOVED,  /* it is not where it was expected; value: the position where it is */
    SCRIPT_BEHIND, /* switch: readers would be taken back; value: the position they see */
};
/* False where the reply is none of these. */
bool script_result(const struct redis_reply *reply, enum script_result *ret, int64_t *ret_value) MUST_USE;

/* What a fold hands over, kept until it is sent. */
struct script_batch {
    struct fold_sink sink;
    struct model model;
    int64_t buckets;                            /* of the slice before this batch */
    struct redis_command commands;              /* of each: how many words, then these */
    struct redis_command holdings, bucket_keys; /* an entry each, and for whose bucket */
    struct redis_command states, state_keys;    /* field and record of each; its coupons and its states */
    struct redis_command other_keys;            /* scratch of script_apply */
    struct buf key;
};
void script_batch_init(struct script_batch *batch);
void script_batch_deinit(struct script_batch *batch);
/* Empties it. `buckets`: of the model now. */
void script_batch_begin(struct script_batch *batch, struct model model, int64_t buckets);

/* EVALSHA of SCRIPT_APPLY on the checkpoint in `key`, which must be at `expected` and becomes `next`. All
 * keys that the script touches are named: while a slot moves between servers of a cluster some are here and
 * some there, and only what is named has Redis refuse the script as a whole (TRYAGAIN) instead of failing
 * half way. */
void script_apply(struct redis_command *command, struct span sha, struct span key,
                  const struct checkpoint *expected, const struct checkpoint *next,
                  struct script_batch *batch);
/* EVALSHA of SCRIPT_SWITCH. */
void script_switch(struct redis_command *command, struct span sha, struct model model, int64_t live,
                   bool may_go_back);
