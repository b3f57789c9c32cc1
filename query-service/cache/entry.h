/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of an answer as it is kept in process (L1): rendered, immutable, shared, with the positions of the
 * log it stands on and the instants up to which it may be given. Whether it may be given now is decided here
 * and nowhere else. Pure: callers say what time it is (monotonic microseconds). */
#pragma once

#include <stdatomic.h>

#include "events/ids.h"

enum { ENTRY_ETAG_MAX = 34, ENTRY_NO_BUCKET = -1, ENTRY_CAMPAIGN_SLOTS = 4096 };
#define ENTRY_SETTLED_S INT64_C(86400) /* how long what cannot change any more is fresh */

/* How long copies live, in microseconds. */
struct entry_life {
    int64_t fresh_us;    /* given without a thought */
    int64_t stale_us;    /* then: given at once, and loaded anew behind the reader's back */
    int64_t error_us;    /* instead of a failure, counted from the end of freshness as well */
    int64_t negative_us; /* "there is no such thing" is fresh so long, and never stale */
};

/* What a change can be about, so that a hint finds the copies it concerns. */
struct entry_subject {
    uint16_t campaign_slot; /* entry_campaign_slot, ENTRY_CAMPAIGN_SLOTS: of no campaign */
    int32_t bucket;         /* of the user (readmodel/keys.h), ENTRY_NO_BUCKET: of no user */
    bool every;             /* a list over all campaigns */
    uint16_t slices;        /* bits: the slices it depends on */
};

struct entry {
    _Atomic unsigned references;
    _Atomic int64_t retry_us; /* a refresh failed: no other before */
    int64_t loaded_us;        /* when the load began: it knows of nothing that happened later */
    int64_t cost_us;          /* how long the load took */
    int64_t fresh_until_us, stale_until_us, error_until_us;
    uint16_t status; /* of HTTP */
    bool from_models, every, brief, settled;
    uint16_t slices;
    uint16_t campaign_slot; /* ENTRY_CAMPAIGN_SLOTS: of none */
    int32_t bucket;
    const int64_t *positions; /* of each slice in `slices`, ascending */
    char etag[ENTRY_ETAG_MAX + 1];
    struct span body;
    size_t bytes; /* all of it */
};

uint16_t entry_campaign_slot(struct span campaign_id);

/* What a copy is made of. */
struct entry_source {
    struct span body;
    const char *etag;
    uint16_t status;
    bool from_models;
    bool brief;   /* never stale: somebody may be about to act on it */
    bool settled; /* of the past: no event that comes can change it */
    const struct entry_subject *subject;
    const int64_t *stands_on; /* SLICE_COUNT positions, those in subject->slices count */
    int64_t began_us, ended_us;
};

/* With one reference. `jitter` from 0 to 1 spreads the end of freshness by a tenth either way, so that what
 * was loaded together does not expire together. */
struct entry *entry_create(const struct entry_source *source, const struct entry_life *life, double jitter);
struct entry *entry_keep(struct entry *entry); /* one more reference; accepts NULL */
void entry_release(struct entry *entry);       /* from any thread; accepts NULL */

/* I9: every position that is asked for in a slice of the copy is in it. */
bool entry_reaches(const struct entry *entry, const int64_t at_least[SLICE_COUNT]);
/* `copy` knows less of some slice than `other`, and more of none. */
bool entry_is_behind(const struct entry *entry, const struct entry *other);

enum entry_verdict {
    ENTRY_FRESH,
    ENTRY_EARLY,   /* fresh; whoever reads it now loads it anew (XFetch) */
    ENTRY_STALE,   /* given; whoever reads it now loads it anew */
    ENTRY_CHANGED, /* known to be overtaken: the first reader waits for the load, the others get it meanwhile
                    */
    ENTRY_EXPIRED, /* only instead of a failure */
    ENTRY_DEAD,
};

struct entry_moment {
    int64_t now_us;
    double chance; /* evenly distributed in (0, 1] */
    bool changed;  /* a hint says that the log went on */
    bool quick;    /* Redis answers, so a load costs little */
};

enum {
    /* Hints do not make a copy stale before that age: the bound on the loads they cause. The longer one is
     * for what PostgreSQL had to answer. */
    ENTRY_PACE_US = 50 * 1000,
    ENTRY_DEAR_PACE_US = 1000 * 1000,
    ENTRY_VISIBLE_US = 100 * 1000, /* a change that is known is visible by then, where loads are quick */
};

enum entry_verdict entry_judge(const struct entry *entry, const struct entry_moment *moment);
int64_t entry_age_s(const struct entry *entry, int64_t now_us);
