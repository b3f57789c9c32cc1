/* SPDX-License-Identifier: Apache-2.0 */
/* Builders for the Redis keys of readmodel/redis_keys.def, the one registry of read-model keys. Each writes
 * the key at the end of `out`. Pure.
 *
 * An absent key never means "none" (I7). What proves that a key is whole is the mark: something that only
 * its beginning writes, so that what was lost and is begun anew by a later write has none. */
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

enum {
    KEY_TEXT_MAX = 256,
    COUPON_CHUNK = 64,       /* positions in one key of COUPONS */
    HOLDERS_CHUNK = 1024,    /* sequences in one key of HOLDERS */
    KEY_KEPT_S = 90 * 86400, /* coupons are kept so long after the last one of their chunk was issued */
    SEEN_MS = 5000,          /* after it readers do not take the models for current any more */
    SEEN_KEPT_MS = 86400000, /* the life of SEEN, by which readers know how old it is */
};

/* Which generation of which slice. */
struct model {
    int64_t generation;
    int16_t slice;
};

void key_root(struct buf *out, int16_t slice);
void key_seen(struct buf *out, int16_t slice);
void key_hole(struct buf *out, int16_t slice);
void key_generations(struct buf *out, unsigned slices); /* of the shard that has these, as bits */
void key_begin(struct buf *out,
               struct model model); /* "fc:<g>:{<slice>}:", which all of the below begin with */
void key_checkpoint(struct buf *out, struct model model);
void key_campaign(struct buf *out, struct model model, struct span campaign_id);
void key_coupons(struct buf *out, struct model model, int64_t position);
void key_states(struct buf *out, struct model model, int64_t position);
void key_holders(struct buf *out, struct model model, struct span campaign_id, int64_t sequence);
void key_users(struct buf *out, struct model model, int64_t bucket);

/* The sorted sets of a slice. Each has a member that is the mark. */
enum model_index {
    INDEX_CAMPAIGNS,
    INDEX_RANKING_ISSUED,
    INDEX_RANKING_REDEEMED,
    INDEX_ACTIVE_ISSUED,
    INDEX_ACTIVE_REDEEMED,
    INDEX_COUNT,
};
#define INDEX_MARK       SPAN("")
#define INDEX_MARK_SCORE (-1) /* below every other */
enum model_index index_ranking(enum counted counted);
enum model_index index_active(enum counted counted);
void key_index(struct buf *out, struct model model, enum model_index index);

/* The member of RANKING, and the campaign id in one (absent where it is not one). */
void rank_member_write(struct buf *out, int64_t reached_at_us, struct span campaign_id);
struct span rank_member_campaign(struct span member, int64_t *ret_reached_at_us);

/* HOLDERS: positions as bytes. */
enum { HOLDER_BYTES = 5 };
void holder_write(struct buf *out, int64_t position);
int64_t holder_read(const char bytes[HOLDER_BYTES]); /* 0: not known */
int64_t holder_offset(int64_t sequence);             /* in its key, in bytes */
