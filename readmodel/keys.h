/* SPDX-License-Identifier: Apache-2.0 */
/* Builders for the Redis keys of readmodel/redis_keys.def, the one registry of read-model keys. Each writes
 * the key at the end of `out`. Pure. */
#pragma once

#include "events/ids.h"
#include "readmodel/activity.h"

enum redis_key {
#define K(name, pattern, type, owner, ttl, bound, content) KEY_##name,
#include "readmodel/redis_keys.def"
#undef K
    KEY_COUNT
};

struct redis_key_description {
    const char *name, *pattern, *type, *owner, *ttl, *bound, *content;
};
extern const struct redis_key_description redis_keys[KEY_COUNT];

/* A hash of at most 128 fields whose values have at most 64 bytes is what Redis, as it comes, keeps as one
 * compact piece of memory. So coupons take several short fields each instead of one long one, and have their
 * own chunk.
 */
enum { KEY_CHUNK = 128, KEY_TEXT_MAX = 256 };
enum coupon_field {
    COUPON_FIELD_USER,  /* the user id as it is */
    COUPON_FIELD_ISSUE, /* coupon_issue_encode() */
    COUPON_FIELD_STATE, /* coupon_state_encode(); not there until something happens to it after issue */
    COUPON_FIELD_NOTE,  /* order id or reason as it is, comes and goes with the state */
    COUPON_FIELDS,
    COUPON_CHUNK = KEY_CHUNK / COUPON_FIELDS,
};

/* Chunks of coupons and of holders are kept this long after the last coupon in them was issued; after that
 * they are not known here any more, and PostgreSQL answers. By the log's time, so a rebuild keeps the same.
 */
enum { KEY_KEPT_S = 90 * 86400 };

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
void key_generations(struct buf *out);
void key_checkpoint(struct buf *out, struct model model);
void key_campaign(struct buf *out, struct model model, struct span campaign_id);
void key_coupons(struct buf *out, struct model model, int64_t position);
int64_t key_coupon_field(int64_t position, enum coupon_field field); /* its name in that hash: a number */
void key_holders(struct buf *out, struct model model, struct span campaign_id, int64_t sequence);
void key_users(struct buf *out, struct model model, int64_t bucket);
void key_users_begun(struct buf *out, struct model model);
void key_ranking(struct buf *out, struct model model, enum counted counted);
void key_active(struct buf *out, struct model model, enum counted counted);

/* The sorted sets of a slice, which appear with their first member. The checkpoint says of each, in this
 * order, whether it has one (a text of '0' and '1'): so one that is not there was either lost or never begun,
 * and both projector and readers can tell. */
enum model_index {
    INDEX_CAMPAIGNS,
    INDEX_RANKING_ISSUED,
    INDEX_RANKING_REDEEMED,
    INDEX_ACTIVE_ISSUED,
    INDEX_ACTIVE_REDEEMED,
    INDEX_COUNT,
};
void key_index(struct buf *out, struct model model, enum model_index index);

/* The member of RANKING, and the campaign id in one (absent where it is not one). */
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
