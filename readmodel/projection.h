/* SPDX-License-Identifier: Apache-2.0 */
/* What the models of one slice become by a batch of its events: a list of mutations, coalesced so that a hot
 * campaign costs one write per key and batch, not one per event. Pure: no clock, no connection, no log.
 *
 * Every mutation is absolute or guarded by position, so applying one twice leaves the same bytes; only
 * holdings add up, and model_script.c writes them with the checkpoint or not at all. Events applied one by
 * one or in batches of any size leave the same models (I7, I8). What mutations mean to Redis is said here and
 * done by model_script.c. */
#pragma once

#include "common/base/map.h"
#include "common/base/mem.h"
#include "readmodel/keys.h"

enum mutation_kind {
    MUTATION_CAMPAIGN, /* key: a CAMPAIGN that exists. args: position, what released, redeemed and reserved
                          grow by, then field, value, ... Does nothing unless position is above the field pos,
                          which it sets. */
    MUTATION_RANK,  /* keys: a CAMPAIGN, after what this batch does to it; a RANKING; the ACTIVE of the same.
                       args:  struct rank_arg. Replaces the campaign's members in both. */
    MUTATION_HSET,  /* key: a hash. args: field, value, ... */
    MUTATION_ROW,   /* key: a chunk of COUPONS or HOLDERS. args: as HSET; then it lives until expires_at_s. */
    MUTATION_STATE, /* key: a chunk of COUPONS. args: the user field of a coupon, then field, value, ... Does
                       nothing where that coupon is not there: a state without a coupon says nothing. */
    MUTATION_ZADD,  /* key: a sorted set. args: score, member, ... */
    MUTATION_ZREM,  /* key: a sorted set. args: member, ... */
    MUTATION_ZREMRANGEBYSCORE, /* key: a sorted set. args: min, max as Redis has them */
    MUTATION_UNLINK,           /* key. No args */
    MUTATION_HOLD, /* key: a bucket of USERS. args: bucket, struct holding as bytes. Added at the end of the
                      bucket; or where it has not begun since the replay did, instead of what is there. */
};

/* The arguments of MUTATION_RANK; then, for each grain of WINDOW_HOUR in which the count changed, the second
 * of the first change and how much the batch had changed it by before that. */
enum rank_arg {
    RANK_COUNTED, /* label */
    RANK_CAMPAIGN,
    RANK_MEMBER,  /* of RANKING */
    RANK_REACHED, /* µs of the last change */
    RANK_CHANGE,  /* how much the batch changes the count by */
    RANK_MARKS,
};

enum { MUTATION_KEYS_MAX = 3 };

struct mutation {
    struct mutation *next;
    enum mutation_kind kind;
    struct span key, more_keys[MUTATION_KEYS_MAX - 1];
    struct span *args;
    size_t args_count, args_capacity;
    int64_t expires_at_s; /* MUTATION_ROW */
};

struct mutation_list {
    struct mutation *first, *last;
    size_t count;
};

enum { PROJECTION_EVENTS_MAX = 1000, PROJECTION_BYTES_MAX = 64 * 1024 * 1024 };

struct projection {
    struct model model;
    struct arena arena;
    struct buf scratch;
    struct map by_campaign; /* id -> struct campaign_change */
    struct map by_key;      /* key -> struct mutation of coupons and holders: MUTATION_ROW */
    struct campaign_change *campaigns, **campaigns_end;
    struct mutation_list rows;       /* the mutations of by_key */
    struct mutation_list states;     /* MUTATION_STATEs */
    struct mutation_list holdings;   /* MUTATION_HOLDs, one per coupon */
    struct mutation_list mutations;  /* the result: MUTATION_CAMPAIGNs first, MUTATION_HOLDs last */
    size_t events, bytes;            /* added since projection_begin; bytes of their texts and data */
    int64_t first, last;             /* positions of the first and last event */
    int64_t first_at_us, last_at_us; /* their recorded_at */
};

void projection_init(struct projection *projection);
void projection_deinit(struct projection *projection);

/* Starts a batch; what the former one made is gone. */
void projection_begin(struct projection *projection, struct model model);

/* Adds a decoded event of the slice, the next one in position order. Its texts and data are borrowed until
 * the next projection_begin. false, and nothing added: no version of the command service writes such an
 * event. */
bool projection_add(struct projection *projection, const struct event *event) MUST_USE;

/* Makes `mutations`, which live until the next projection_begin. */
void projection_end(struct projection *projection);
