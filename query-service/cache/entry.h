/* SPDX-License-Identifier: Apache-2.0 */
/* A cache entry: an answer as it is kept in process (L1), rendered, immutable, shared, with the positions of
 * the log it stands on. Whether it may be given now is decided here and nowhere else, by two clocks: how old
 * it is, and whether it is still true by the log's clock (I13). What changes at a known instant is rendered
 * for before and for after that instant when it is loaded, so that an opening needs no load. Pure: callers
 * say what time it is. */
#pragma once

#include <stdatomic.h>

#include "events/ids.h"

enum { ENTRY_ETAG_MAX = 34, ENTRY_NO_BUCKET = -1, ENTRY_CAMPAIGN_SLOTS = 4096, ENTRY_RENDERINGS_MAX = 2 };
#define ENTRY_SETTLED_S   INT64_C(86400)   /* how long what cannot change any more is fresh */
#define ENTRY_NEGATIVE_US INT64_C(1000000) /* how long "there is no such thing" is; it is never stale */
#define ENTRY_FOREVER     INT64_MAX        /* nothing changes it but events */

/* How long entries live, in microseconds. Not part of an entry: what is set while services run holds for what
 * is there already. */
struct entry_life {
    int64_t fresh_us; /* given without a thought */
    int64_t stale_us; /* then: given at once, and loaded anew behind the reader's back */
    int64_t error_us; /* instead of a failure, counted from the end of freshness as well */
};

/* What a change can be about, so that a hint finds the entries it concerns. */
struct entry_subject {
    uint16_t campaign_slot; /* entry_campaign_slot, ENTRY_CAMPAIGN_SLOTS: of no campaign */
    int32_t bucket;         /* of the user (events/keys.h), ENTRY_NO_BUCKET: of no user */
    bool every;             /* a list over all campaigns */
    uint16_t slices;        /* bits: the slices it depends on */
};

/* The answer up to an instant. */
struct entry_rendering {
    struct span body;
    char etag[ENTRY_ETAG_MAX + 1];
    int64_t until_us; /* by the log's clock: not true any more from then on; ENTRY_FOREVER */
};

struct entry {
    _Atomic unsigned references;
    _Atomic int64_t retry_us; /* a refresh failed: no other before */
    int64_t loaded_us;        /* when the load began: it knows of nothing that happened later */
    int64_t ended_us;         /* when it was there */
    uint64_t log_epoch;       /* which log it is of (feed/log_identity.h) */
    uint16_t jitter;          /* 0..1000: of freshness */
    uint16_t status;          /* of HTTP */
    bool from_models, every, no_stale, settled;
    uint16_t slices;
    uint16_t campaign_slot; /* ENTRY_CAMPAIGN_SLOTS: of none */
    int32_t bucket;
    const int64_t *positions;                                /* of each slice in `slices`, ascending */
    struct entry_rendering renderings[ENTRY_RENDERINGS_MAX]; /* in order of time */
    size_t renderings_count;
    size_t bytes; /* what the allocator took for all of it */
};

uint16_t entry_campaign_slot(struct span campaign_id);

/* What an entry is made of. */
struct entry_source {
    const struct entry_rendering *renderings; /* 1..ENTRY_RENDERINGS_MAX; bodies are copied */
    size_t renderings_count;
    uint16_t status;
    bool from_models;
    bool no_stale; /* somebody may be about to act on it */
    bool settled;  /* of the past: no event that comes can change it */
    const struct entry_subject *subject;
    const int64_t *stands_on; /* SLICE_COUNT positions, those in subject->slices count */
    int64_t began_us, ended_us;
    uint64_t log_epoch;
};

/* With one reference. `jitter` from 0 to 1 spreads the end of freshness by a tenth either way, so that what
 * was loaded together does not expire together. */
struct entry *entry_create(const struct entry_source *source, double jitter);
struct entry *entry_keep(struct entry *entry); /* one more reference; accepts NULL */
void entry_release(struct entry *entry);       /* from any thread; accepts NULL */

/* I9: every position that is asked for in a slice of the entry is in it. */
bool entry_reaches(const struct entry *entry, const int64_t at_least[SLICE_COUNT]);
/* Whether `entry`, which was just loaded, is not to take the place of `other`: it knows less of some slice,
 * more of none, of the same log, and the loads of both may have been under way together. */
bool entry_is_behind(const struct entry *entry, const struct entry *other);

/* What is true at that instant of the log's clock; NULL where nothing of it is. */
const struct entry_rendering *entry_at(const struct entry *entry, int64_t log_us);

enum entry_verdict {
    ENTRY_FRESH,
    ENTRY_EARLY,   /* fresh; whoever reads it now loads it anew (XFetch) */
    ENTRY_STALE,   /* given; whoever reads it now loads it anew */
    ENTRY_CHANGED, /* known to be overtaken: the first reader waits for the load, others get it meanwhile */
    ENTRY_EXPIRED, /* only instead of a failure */
    ENTRY_DEAD,
};

struct entry_moment {
    int64_t now_us;     /* monotonic */
    int64_t log_us;     /* the log's clock */
    uint64_t log_epoch; /* the log that is read now */
    double chance;      /* evenly distributed in (0, 1] */
    bool changed;       /* a hint says that the log went on */
    bool quick;         /* Redis answers, so a load costs little */
};

enum {
    /* Hints do not make an entry stale before that age: the bound on the loads they cause. The longer one is
     * for what PostgreSQL had to answer. */
    ENTRY_PACE_US = 50 * 1000,
    ENTRY_DEAR_PACE_US = 1000 * 1000,
    ENTRY_VISIBLE_US = 100 * 1000, /* a change that is known is visible by then, where loads are quick */
    /* No load takes longer, so an entry that is older than that was not loaded beside another. */
    ENTRY_RACE_US = 10 * 1000 * 1000,
};

enum entry_verdict entry_judge(const struct entry *entry, const struct entry_life *life,
                               const struct entry_moment *moment);
/* Freshness that is left; negative where it is over. */
int64_t entry_fresh_left_us(const struct entry *entry, const struct entry_life *life,
                            const struct entry_moment *moment);
int64_t entry_age_s(const struct entry *entry, int64_t now_us);
