/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds what: users share buckets, because a key of its own costs each of them more than what it says.
 *
 * The buckets of a slice grow with its coupons by linear hashing: there is one for every USERS_PER_BUCKET,
 * and the next one takes its entries from a single older one. So a reader gets some thirty to sixty entries
 * however many coupons were ever issued, and few coupons cost few keys. How many there are is in the
 * checkpoint; every one of them exists and begins with the mark, so one that is absent, or has no mark, was
 * lost. readmodel/apply.lua splits them. Pure. */
#pragma once

#include "events/ids.h"

#define USERS_MARK "u"
enum { USERS_PER_BUCKET = 32, HOLDING_BYTES = 19 };

/* How many buckets there are for so many coupons: at least one. */
int64_t users_buckets(int64_t coupons);
/* Where the user's coupons are, 0..buckets - 1. */
int64_t users_bucket(uint64_t user_hash, int64_t buckets);
/* The bucket that `bucket` takes its entries from when it comes into being. */
int64_t users_parent(int64_t bucket);

/* Tags tell a user's entries from others' in the bucket. Others may have the same: whose coupon it is, only
 * its record says. */
uint64_t user_tag(uint64_t user_hash);
uint16_t campaign_tag(struct span campaign_id);

/* One coupon in a bucket: HOLDING_BYTES, big-endian: position (5), recorded at µs (7), tags of user (5) and
 * campaign (2). */
struct holding {
    int64_t position, at_us;
    uint64_t user;
    uint16_t campaign;
};
void holding_write(char bytes[HOLDING_BYTES], const struct holding *holding);
struct holding holding_read(const char bytes[HOLDING_BYTES]);

/* The entries in a bucket as Redis has it; false where it was lost, or is not one. */
bool users_entries(struct span bucket, struct span *ret) MUST_USE;
