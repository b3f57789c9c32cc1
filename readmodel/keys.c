/* SPDX-License-Identifier: Apache-2.0 */
/* Redis keys, from the registry. */
#include "readmodel/keys.h"

const struct redis_key_description redis_keys[KEY_COUNT] = {
#define K(name, pattern, type, owner, ttl, bound, content) {#name, pattern, type, owner, ttl, bound, content},
#include "readmodel/redis_keys.def"
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

void key_generations(struct buf *out)
{
    buf_append_text(out, "fc:generations");
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

int64_t key_coupon_field(int64_t position, enum coupon_field field)
{
    CHECK(position >= 1 && field < COUPON_FIELDS);
    return position % COUPON_CHUNK * COUPON_FIELDS + (int64_t)field;
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

void key_users(struct buf *out, struct model model, int64_t bucket)
{
    CHECK(bucket >= 0 && bucket < USER_BUCKETS);
    key_begin(out, model);
    buf_append_text(out, "u:");
    buf_append_i64(out, bucket);
}

void key_users_begun(struct buf *out, struct model model)
{
    key_begin(out, model);
    buf_append_text(out, "ub");
}

void key_ranking(struct buf *out, struct model model, enum counted counted)
{
    key_begin(out, model);
    buf_append_text(out, "r:");
    buf_append_text(out, counted_label(counted));
}

void key_active(struct buf *out, struct model model, enum counted counted)
{
    key_begin(out, model);
    buf_append_text(out, "a:");
    buf_append_text(out, counted_label(counted));
}

void key_index(struct buf *out, struct model model, enum model_index index)
{
    switch (index) {
    case INDEX_CAMPAIGNS:
        key_begin(out, model);
        buf_append_text(out, "cs");
        return;
    case INDEX_RANKING_ISSUED:
        key_ranking(out, model, COUNTED_ISSUED);
        return;
    case INDEX_RANKING_REDEEMED:
        key_ranking(out, model, COUNTED_REDEEMED);
        return;
    case INDEX_ACTIVE_ISSUED:
        key_active(out, model, COUNTED_ISSUED);
        return;
    case INDEX_ACTIVE_REDEEMED:
        key_active(out, model, COUNTED_REDEEMED);
        return;
    case INDEX_COUNT:
        break;
    }
    UNREACHABLE("every index has a case");
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

/* --- who holds what --- */

enum { POSITION_BYTES = 6, TIME_BYTES = 8, USER_BYTES = 4, CAMPAIGN_BYTES = 2 };
_Static_assert(POSITION_BYTES + TIME_BYTES + USER_BYTES + CAMPAIGN_BYTES == HOLDING_BYTES, "no padding");
_Static_assert((USER_BUCKETS & (USER_BUCKETS - 1)) == 0 && USER_BUCKETS <= 65536, "two bytes, evenly");

static uint64_t read_number(const char *bytes, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | (unsigned char)bytes[i];
    return value;
}

static void write_number(char *bytes, size_t len, uint64_t value)
{
    for (size_t i = len; i-- > 0; value >>= 8)
        bytes[i] = (char)(unsigned char)value;
    CHECK(value == 0);
}

struct user_place user_place(struct span user_id)
{
    uint64_t value = user_hash(user_id);
    return (struct user_place){(int64_t)(value >> 48 & (USER_BUCKETS - 1)), (uint32_t)value};
}

uint16_t campaign_tag(struct span campaign_id)
{
    uint8_t hash[CAMPAIGN_BYTES];
    crypto_hash(NULL, campaign_id, hash, sizeof hash);
    return (uint16_t)read_number((const char *)hash, sizeof hash);
}

void holding_write(struct buf *out, const struct holding *holding)
{
    char bytes[HOLDING_BYTES], *at = bytes;
    CHECK(holding->position >= 1 && holding->at_us >= 0);
    write_number(at, POSITION_BYTES, (uint64_t)holding->position);
    write_number(at += POSITION_BYTES, TIME_BYTES, (uint64_t)holding->at_us);
    write_number(at += TIME_BYTES, USER_BYTES, holding->user);
    write_number(at += USER_BYTES, CAMPAIGN_BYTES, holding->campaign);
    buf_append(out, bytes, sizeof bytes);
}

struct holding holding_read(const char bytes[HOLDING_BYTES])
{
    const char *time = bytes + POSITION_BYTES, *user = time + TIME_BYTES, *campaign = user + USER_BYTES;
    return (struct holding){
        .position = (int64_t)read_number(bytes, POSITION_BYTES),
        .at_us = (int64_t)read_number(time, TIME_BYTES), /* negative: nobody wrote that */
        .user = (uint32_t)read_number(user, USER_BYTES),
        .campaign = (uint16_t)read_number(campaign, CAMPAIGN_BYTES),
    };
}
