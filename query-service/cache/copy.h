/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of an answer as it is kept in process (L1): rendered, immutable, shared, with the positions of the
 * log it stands on and the instants up to which it may be given. Whether it may be given now is decided here
 * and nowhere else. Pure: callers say what time it is (monotonic microseconds). */
#pragma once

#include <stdatomic.h>

#include "events/ids.h"

enum { COPY_ETAG_MAX = 34, COPY_NO_BUCKET = -1, COPY_CAMPAIGN_SLOTS = 4096 };
#define COPY_SETTLED_S INT64_C(86400) /* how long what cannot change any more is fresh */

/* How long copies live, in microseconds. */
struct copy_life {
    int64_t fresh_us;    /* given without a thought */
    int64_t stale_us;    /* then: given at once, and loaded anew behind the reader's back */
    int64_t error_us;    /* instead of a failure, counted from the end of freshness as well */
    int64_t negative_us; /* "there is no such thing" is fresh so long, and never stale */
};

/* What a change can be about, so that a hint finds the copies it concerns. */
struct copy_subject {
    uint16_t campaign_slot; /* copy_campaign_slot, COPY_CAMPAIGN_SLOTS: of no campaign */
    int32_t bucket;         /* of the user (readmodel/keys.h), COPY_NO_BUCKET: of no user */
    bool every;             /* a list over all campaigns */
    uint16_t slices;        /* bits: the slices it depends on */
};

struct copy {
    _Atomic unsigned references;
    _Atomic int64_t retry_us; /* a refresh failed: no other before */
    int64_t loaded_us;        /* when the load began: it knows of nothing that happened later */
    int64_t cost_us;          /* how long the load took */
    int64_t fresh_until_us, stale_until_us, error_until_us;
    uint16_t status; /* of HTTP */
    bool from_models, every, brief, settled;
    uint16_t slices;
    uint16_t campaign_slot; /* COPY_CAMPAIGN_SLOTS: of none */
    int32_t bucket;
    const int64_t *positions; /* of each slice in `slices`, ascending */
    char etag[COPY_ETAG_MAX + 1];
    struct span body;
    size_t bytes; /* all of it */
};

uint16_t copy_campaign_slot(struct span campaign_id);

/* What a copy is made of. */
struct copy_source {
    struct span body;
    const char *etag;
    uint16_t status;
    bool from_models;
    bool brief;   /* never stale: somebody may be about to act on it */
    bool settled; /* of the past: no event that comes can change it */
    const struct copy_subject *subject;
    const int64_t *stands_on; /* SLICE_COUNT positions, those in subject->slices count */
    int64_t began_us, ended_us;
};

/* With one reference. `jitter` from 0 to 1 spreads the end of freshness by a tenth either way, so that what
 * was loaded together does not expire together. */
struct copy *copy_create(const struct copy_source *source, const struct copy_life *life, double jitter);
struct copy *copy_keep(struct copy *copy); /* one more reference; accepts NULL */
void copy_release(struct copy *copy);      /* from any thread; accepts NULL */

/* I9: every position that is asked for in a slice of the copy is in it. */
bool copy_reaches(const struct copy *copy, const int64_t at_least[SLICE_COUNT]);
/* `copy` knows less of some slice than `other`, and more of none. */
bool copy_is_behind(const struct copy *copy, const struct copy *other);

enum copy_verdict {
    COPY_FRESH,
    COPY_EARLY,   /* fresh; whoever reads it now loads it anew (XFetch) */
    COPY_STALE,   /* given; whoever reads it now loads it anew */
    COPY_CHANGED, /* known to be overtaken: the first reader waits for the load, the others get it meanwhile
                   */
    COPY_EXPIRED, /* only instead of a failure */
    COPY_DEAD,
};

struct copy_moment {
    int64_t now_us;
    double chance; /* evenly distributed in (0, 1] */
    bool changed;  /* a hint says that the log went on */
    bool quick;    /* Redis answers, so a load costs little */
};

enum {
    /* Hints do not make a copy stale before that age: the bound on the loads they cause. The longer one is
     * for what PostgreSQL had to answer. */
    COPY_PACE_US = 50 * 1000,
    COPY_DEAR_PACE_US = 1000 * 1000,
    COPY_VISIBLE_US = 100 * 1000, /* a change that is known is visible by then, where loads are quick */
};

enum copy_verdict copy_judge(const struct copy *copy, const struct copy_moment *moment);
int64_t copy_age_s(const struct copy *copy, int64_t now_us);
