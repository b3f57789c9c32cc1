/* SPDX-License-Identifier: Apache-2.0 */
/* Builders for the Redis keys of schema/redis_keys.def, the one registry of read-model keys. Each writes the
 * key at the end of `out`. Pure. */
#pragma once

#include "events/ids.h"

enum redis_key {
#define K(name, pattern, type, owner, bound, content) KEY_##name,
#include "schema/redis_keys.def"
#undef K
    KEY_COUNT
};

struct redis_key_description {
    const char *name, *pattern, *type, *owner, *bound, *content;
};
extern const struct redis_key_description redis_keys[KEY_COUNT];

enum { KEY_CHUNK = 128, KEY_TEXT_MAX = 256 }; /* 128: where Redis keeps a small hash as one listpack */

/* Users share buckets, because a key of its own costs each of them more than what it says. A reader gets all
 * of a bucket: with this many, a slice with a million coupons has 61 of 20 bytes in each. More would be keys
 * with hardly anything in them wherever coupons are fewer. */
enum { USER_BUCKETS = 16384, HOLDING_BYTES = 20 };

/* Which generation of which slice. */
struct model {
    int64_t generation;
    int16_t slice;
};

void key_live(struct buf *out);
void key_checkpoint(struct buf *out, struct model model);
void key_campaign(struct buf *out, struct model model, struct span campaign_id);
void key_campaigns(struct buf *out, struct model model);
void key_coupons(struct buf *out, struct model model, int64_t position);
void key_holders(struct buf *out, struct model model, struct span campaign_id, int64_t sequence);
void key_users(struct buf *out, struct model model, int64_t bucket);
void key_users_begun(struct buf *out, struct model model);
void key_rank_issued(struct buf *out, struct model model);
/* Of no generation: of the query services, by the hash of what was asked for. */
void key_shared_answer(struct buf *out, struct span target_hash);
void key_shared_lease(struct buf *out, struct span target_hash);

/* The member of RANK_ISSUED, and the campaign id in one (absent where it is not one). */
void rank_member_write(struct buf *out, int64_t reached_at_us, struct span campaign_id);
struct span rank_member_campaign(struct span member, int64_t *ret_reached_at_us);

/* Where a user's holdings are, and what they are told from others there by. */
struct user_place {
    int64_t bucket; /* 0..USER_BUCKETS - 1 */
    uint32_t tag;
};
struct user_place user_place(struct span user_id);
uint16_t campaign_tag(struct span campaign_id);

/* One coupon in USERS: HOLDING_BYTES, big-endian: position (6), recorded at µs (8), tags of user (4) and
 * campaign (2). Others may have the same tags: whose coupon it is, only its record says. */
struct holding {
    int64_t position, at_us;
    uint32_t user;
    uint16_t campaign;
};
void holding_write(struct buf *out, const struct holding *holding);
struct holding holding_read(const char bytes[HOLDING_BYTES]);
