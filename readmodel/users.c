/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets and what is in them. */
#include "readmodel/users.h"

#include "readmodel/varint.h"

enum { POSITION_BYTES = 5, TIME_BYTES = 7, USER_BYTES = 5, CAMPAIGN_BYTES = 2 };
_Static_assert(POSITION_BYTES + TIME_BYTES + USER_BYTES + CAMPAIGN_BYTES == HOLDING_BYTES, "an entry");

int64_t users_buckets(int64_t coupons)
{
    return 1 + coupons / USERS_PER_BUCKET;
}

/* The greatest power of two that is at most `n`, which is at least 1. */
static int64_t power_within(int64_t n)
{
    return INT64_C(1) << (63 - __builtin_clzll((unsigned long long)n));
}

int64_t users_bucket(uint64_t user_hash, int64_t buckets)
{
    int64_t power = power_within(buckets),
            bucket = (int64_t)(user_tag(user_hash) & (uint64_t)(2 * power - 1));
    return bucket < buckets ? bucket : bucket - power;
}

int64_t users_parent(int64_t bucket)
{
    return bucket - power_within(bucket);
}

uint64_t user_tag(uint64_t user_hash)
{
    return user_hash & ((UINT64_C(1) << (8 * USER_BYTES)) - 1);
}

uint16_t campaign_tag(struct span campaign_id)
{
    uint8_t hash[CAMPAIGN_BYTES];
    crypto_hash(NULL, campaign_id, hash, sizeof hash);
    return (uint16_t)big_endian_read((const char *)hash, sizeof hash);
}

void holding_write(char bytes[HOLDING_BYTES], const struct holding *holding)
{
    CHECK(holding->position >= 1 && holding->position < INT64_C(1) << (8 * POSITION_BYTES));
    CHECK(holding->at_us >= 0 && holding->at_us < INT64_C(1) << (8 * TIME_BYTES));
    big_endian_write(bytes, POSITION_BYTES, (uint64_t)holding->position);
    big_endian_write(bytes + POSITION_BYTES, TIME_BYTES, (uint64_t)holding->at_us);
    big_endian_write(bytes + POSITION_BYTES + TIME_BYTES, USER_BYTES, holding->user);
    big_endian_write(bytes + HOLDING_BYTES - CAMPAIGN_BYTES, CAMPAIGN_BYTES, holding->campaign);
}

struct holding holding_read(const char bytes[HOLDING_BYTES])
{
    const char *time = bytes + POSITION_BYTES, *user = time + TIME_BYTES, *campaign = user + USER_BYTES;
    return (struct holding){
        .position = (int64_t)big_endian_read(bytes, POSITION_BYTES),
        .at_us = (int64_t)big_endian_read(time, TIME_BYTES),
        .user = big_endian_read(user, USER_BYTES),
        .campaign = (uint16_t)big_endian_read(campaign, CAMPAIGN_BYTES),
    };
}

bool users_entries(struct span bucket, struct span *ret)
{
    size_t mark = sizeof USERS_MARK - 1;
    if (!bucket.ptr || !span_starts(bucket, SPAN(USERS_MARK)) || (bucket.len - mark) % HOLDING_BYTES != 0)
        return false;
    *ret = (struct span){bucket.ptr + mark, bucket.len - mark};
    return true;
}
