/* SPDX-License-Identifier: Apache-2.0 */
/* Names of things, shared by all services: which slice a campaign lives in, coupon ids, coupon codes,
 * consistency tokens, generated campaign ids, and the rules outside ids must obey. Pure functions,
 * thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "events/code_key.h"
#include "events/event.h"

/* Where something is in the log. */
struct position {
    int16_t slice;
    int64_t position;
};

enum {
    COUPON_ID_MAX = 24,
    COUPON_CODE_MAX = CODE_PREFIX_MAX + 1 + 29, /* as it is written */
    COUPON_CODE_TYPED_MAX = 128, /* as people may send it, with blanks and dashes of their own */
    CONSISTENCY_TOKEN_MAX = 24
};

bool campaign_id_valid(struct span id);     /* [a-z0-9][a-z0-9-]{0,63} */
bool user_id_valid(struct span id);         /* 1..128 bytes UTF-8 without control characters */
bool order_id_valid(struct span id);        /* the same as a user id */
bool code_prefix_valid(struct span prefix); /* [A-Z0-9]{1,12} */
/* 1..64 bytes UTF-8 in any language, without control characters, no blank at either end */
bool tag_valid(struct span tag);
bool slug_valid(struct span name); /* [a-z0-9][a-z0-9-]{0,31} */

/* The slice of a campaign: low 4 bits of the first byte of BLAKE2b-128 of its id. Fixed for ever. */
int16_t slice_of(struct span campaign_id);

/* 64 bits of BLAKE2b of a user's id: what is said of users where their ids must not stand. */
uint64_t user_hash(struct span user_id);
/* Hints and copies name users by groups: 14 bits of that. */
enum { USER_GROUPS = 16384 };
int16_t user_group(uint64_t user_hash);

/* The id of a campaign created without one: a function of who asked and of the Idempotency-Key, so that a
 * retry means the same campaign. 28 characters, "c-" and 26 of base32. */
void campaign_id_generate(struct buf *out, struct span api_key_name, struct span idempotency_key,
                          int16_t slice);

/* A coupon's id says where its CouponIssued is: "c<slice>-<position>". Not a secret. */
void coupon_id_write(struct buf *out, struct position at);
bool coupon_id_parse(struct span id, struct position *ret) MUST_USE;

/* A coupon's code: "[PREFIX-]XXXXX-XXXXX-XXXXX-XXXXX-XXXXX" in Crockford's base32. 45 bits say where it is,
 * the other 80 are a keyed BLAKE2b over place and prefix: nobody can guess one, and looking one up needs no
 * index. */
void coupon_code_write(struct buf *out, const struct code_key *code_key, struct position at,
                       struct span prefix);
/* A code as people type it: any case, O for 0 and I or L for 1 and the other way round (in the prefix too),
 * blanks and dashes of any kind anywhere, or none. false when it is not the code of its place. The prefix is
 * checked too: it is part of what the MAC covers. Bounded work, whatever was typed. */
bool coupon_code_parse(struct span code, const struct code_key *code_key, struct position *ret) MUST_USE;

/* Opaque to clients; "v1.<slice>.<position>". */
void consistency_token_write(struct buf *out, struct position at);
bool consistency_token_parse(struct span token, struct position *ret) MUST_USE;
