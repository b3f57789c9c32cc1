/* SPDX-License-Identifier: Apache-2.0 */
/* Redis keys, from the registry. */
#include "readmodel/keys.h"

#include "readmodel/varint.h"

const struct redis_key_description redis_keys[KEY_COUNT] = {
#define K(name, pattern, type, owner, ttl, bound, content) {#name, pattern, type, owner, ttl, bound, content},
#include "readmodel/redis_keys.def"
#undef K
};

void key_root(struct buf *out, int16_t slice)
{
    buf_append_text(out, "fc:{");
    buf_append_i64(out, slice);
    buf_append_char(out, '}');
}

void key_seen(struct buf *out, int16_t slice)
{
    key_root(out, slice);
    buf_append_text(out, ":heartbeat");
}

void key_hole(struct buf *out, int16_t slice)
{
    key_root(out, slice);
    buf_append_text(out, ":hole");
}

/* Who follows some slices only drops and names nothing of others, so it has a registry of its own. */
void key_generations(struct buf *out, unsigned slices)
{
    int lowest = __builtin_ctz(slices);
    buf_append_text(out, "fc:generations");
    if (lowest > 0)
        buf_printf(out, ":%d", lowest);
}

void key_begin(struct buf *out, struct model model)
{
    buf_append_text(out, "fc:");
    buf_append_i64(out, model.generation);
    buf_append_text(out, ":{");
    buf_append_i64(out, model.slice);
    buf_append_text(out, "}:");
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

void key_coupons(struct buf *out, struct model model, int64_t position)
{
    key_begin(out, model);
    buf_append_text(out, "p:");
    buf_append_i64(out, position / COUPON_CHUNK);
}

void key_states(struct buf *out, struct model model, int64_t position)
{
    key_begin(out, model);
    buf_append_text(out, "s:");
    buf_append_i64(out, position / COUPON_CHUNK);
}

void key_holders(struct buf *out, struct model model, struct span campaign_id, int64_t sequence)
{
    CHECK(sequence >= 1);
    key_begin(out, model);
    buf_append_text(out, "h:");
    buf_append_span(out, campaign_id);
    buf_append_char(out, ':');
    buf_append_i64(out, (sequence - 1) / HOLDERS_CHUNK);
}

void key_users(struct buf *out, struct model model, int64_t bucket)
{
    key_begin(out, model);
    buf_append_text(out, "u:");
    buf_append_i64(out, bucket);
}

enum model_index index_ranking(enum counted counted)
{
    return counted == COUNTED_ISSUED ? INDEX_RANKING_ISSUED : INDEX_RANKING_REDEEMED;
}

enum model_index index_active(enum counted counted)
{
    return counted == COUNTED_ISSUED ? INDEX_ACTIVE_ISSUED : INDEX_ACTIVE_REDEEMED;
}

void key_index(struct buf *out, struct model model, enum model_index index)
{
    static const char *const names[INDEX_COUNT] = {[INDEX_CAMPAIGNS] = "cs",
                                                   [INDEX_RANKING_ISSUED] = "r:issued",
                                                   [INDEX_RANKING_REDEEMED] = "r:redeemed",
                                                   [INDEX_ACTIVE_ISSUED] = "a:issued",
                                                   [INDEX_ACTIVE_REDEEMED] = "a:redeemed"};
    CHECK((size_t)index < INDEX_COUNT);
    key_begin(out, model);
    buf_append_text(out, names[index]);
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
    if (member.len <= RANK_TIME_CHARS ||
        !hex_decode((struct span){member.ptr, RANK_TIME_CHARS}, bytes, sizeof bytes))
        return (struct span){NULL, 0};
    uint64_t inverted = big_endian_read((const char *)bytes, sizeof bytes);
    if (inverted > INT64_MAX)
        return (struct span){NULL, 0};
    *ret_reached_at_us = INT64_MAX - (int64_t)inverted;
    return (struct span){member.ptr + RANK_TIME_CHARS, member.len - RANK_TIME_CHARS};
}

void holder_write(struct buf *out, int64_t position)
{
    char bytes[HOLDER_BYTES];
    CHECK(position >= 1 && position < INT64_C(1) << (8 * HOLDER_BYTES));
    big_endian_write(bytes, sizeof bytes, (uint64_t)position);
    buf_append(out, bytes, sizeof bytes);
}

int64_t holder_read(const char bytes[HOLDER_BYTES])
{
    return (int64_t)big_endian_read(bytes, HOLDER_BYTES);
}

int64_t holder_offset(int64_t sequence)
{
    return (sequence - 1) % HOLDERS_CHUNK * HOLDER_BYTES;
}
