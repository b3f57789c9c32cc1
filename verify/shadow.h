/* SPDX-License-Identifier: Apache-2.0 */
/* The models of one slice as Redis should hold them, kept in memory: the same projection makes the same
 * mutations (projection.h), and here is done to a table what model_script.c does to Redis. So what the
 * expected bytes of a key are is never said a second time, only what the few kinds of mutation mean. Pure.
 *
 * Memory is bounded: when it is full, half of the keys that there is one of per so many coupons are forgotten
 * and left to another replay (verify_table.h says how). Keys that mutations of others look at stay. */
#pragma once

#include "common/base/map.h"
#include "readmodel/projection.h"
#include "verify/table.h"

enum shadow_type { SHADOW_HASH, SHADOW_ZSET, SHADOW_STRING };

struct shadow_member {
    int64_t score;
    int64_t since; /* position of the shadow when it was added */
    bool compared;
    size_t len;
    char bytes[];
};

struct shadow_key {
    struct span name; /* owned */
    enum shadow_type type;
    bool bulk;
    int64_t expires_at_s; /* wall clock; 0: never */
    bool may_lack;        /* it was over once before it was written again: what it had then may be gone */
    char *bytes;          /* SHADOW_STRING: its value. SHADOW_HASH: the fields, see shadow_field */
    size_t len, capacity;
    struct map members; /* SHADOW_ZSET: member -> struct shadow_member */
};

struct shadow {
    struct model model;
    int64_t now_s;    /* wall clock, kept by the owner: what is over by then may be gone */
    int64_t position; /* events up to here are folded in */
    struct map by_name;
    struct shadow_key **keys; /* in order of creation; NULL: forgotten or unlinked */
    size_t keys_count, keys_capacity;
    size_t bytes, bytes_max;
    struct verify_part part, todo[64];
    size_t todo_count;
    struct projection projection;
    struct buf scratch;
};

void shadow_init(struct shadow *shadow, size_t bytes_max);
void shadow_deinit(struct shadow *shadow);
/* Starts with no event and all keys. */
void shadow_begin(struct shadow *shadow, struct model model);
/* The same once more, for a part of the keys that there was no memory for; false where none is left. */
bool shadow_again(struct shadow *shadow) MUST_USE;

/* Adds the next event of the slice in position order; borrowed until shadow_apply. false, and nothing added:
 * no version of the command service writes such an event. At most PROJECTION_EVENTS_MAX until shadow_apply.
 */
bool shadow_add(struct shadow *shadow, const struct event *event) MUST_USE;
/* Folds what was added in. */
void shadow_apply(struct shadow *shadow);

/* NULL: no event makes such a key. Whether the part has it says shadow_has. */
const struct shadow_key *shadow_get(const struct shadow *shadow, struct span name);
bool shadow_has(const struct shadow *shadow, struct span name);

/* Its time is over: Redis may have it no more. */
bool shadow_is_over(const struct shadow *shadow, const struct shadow_key *key);

/* A field of a SHADOW_HASH, absent where it has none; and how many there are. */
struct span shadow_field(const struct shadow_key *key, struct span field);
size_t shadow_fields(const struct shadow_key *key);
