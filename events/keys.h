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
void key_user(struct buf *out, struct model model, struct span user_id);
void key_rank_issued(struct buf *out, struct model model);

/* The member of RANK_ISSUED, and the campaign id in one (absent where it is not one). */
void rank_member_write(struct buf *out, int64_t reached_at_us, struct span campaign_id);
struct span rank_member_campaign(struct span member, int64_t *ret_reached_at_us);
