/* SPDX-License-Identifier: Apache-2.0 */
/* Redis keys, from the registry. */
#include "events/keys.h"

const struct redis_key_description redis_keys[KEY_COUNT] = {
#define K(name, pattern, type, owner, bound, content) {#name, pattern, type, owner, bound, content},
#include "schema/redis_keys.def"
#undef K
};

/* "fc:<g>:{<slice>}:" */
static void key_begin(struct buf *out, struct model model)
{
    buf_append_text(out, "fc:");
    buf_append_i64(out, model.generation);
    buf_append_text(out, ":{");
    buf_append_i64(out, model.slice);
    buf_append_text(out, "}:");
}

void key_live(struct buf *out)
{
    buf_append_text(out, "fc:live");
}

void key_checkpoint(struct buf *out, struct model model)
{
    key_begin(out, model);
    buf_append_text(out, "cp");
}

void key_campaign(struct buf *out, struct model model, struct span campaign_id)
{
    key_begin(out, model);
    buf_append_text(out, "c:");
    buf_append_span(out, campaign_id);
}

void key_campaigns(struct buf *out, struct model model)
{
    key_begin(out, model);
    buf_append_text(out, "cs");
}

void key_coupons(struct buf *out, struct model model, int64_t position)
{
    key_begin(out, model);
    buf_append_text(out, "k:");
    buf_append_i64(out, position / KEY_CHUNK);
}

void key_holders(struct buf *out, struct model model, struct span campaign_id, int64_t sequence)
{
    CHECK(sequence >= 1);
    key_begin(out, model);
    buf_append_text(out, "h:");
    buf_append_span(out, campaign_id);
    buf_append_char(out, ':');
    buf_append_i64(out, (sequence - 1) / KEY_CHUNK);
}

void key_user(struct buf *out, struct model model, struct span user_id)
{
    key_begin(out, model);
    buf_append_text(out, "u:");
    buf_append_span(out, user_id);
}

void key_rank_issued(struct buf *out, struct model model)
{
    key_begin(out, model);
    buf_append_text(out, "r:issued");
}

enum { RANK_TIME_CHARS = 16 };

void rank_member_write(struct buf *out, int64_t reached_at_us, struct span campaign_id)
{
    CHECK(reached_at_us >= 0);
    buf_printf(out, "%016llx", (unsigned long long)(INT64_MAX - reached_at_us));
    buf_append_span(out, campaign_id);
}

struct span rank_member_campaign(struct span member, int64_t *ret_reached_at_us)
{
    uint8_t bytes[RANK_TIME_CHARS / 2];
    uint64_t inverted = 0;
    if (member.len <= RANK_TIME_CHARS ||
        !hex_decode((struct span){member.ptr, RANK_TIME_CHARS}, bytes, sizeof bytes))
        return (struct span){NULL, 0};
    for (size_t i = 0; i < sizeof bytes; i++)
        inverted = inverted << 8 | bytes[i];
    *ret_reached_at_us = INT64_MAX - (int64_t)(inverted & INT64_MAX);
    return (struct span){member.ptr + RANK_TIME_CHARS, member.len - RANK_TIME_CHARS};
}
