/* SPDX-License-Identifier: Apache-2.0 */
/* How the last tranche of a release plan is going, as this process sees it (incident 4 reopened a sale in
 * tranches by hand, looking at exactly these two figures): how many issue requests were answered instead of
 * failed, and how fast. What goes badly is found by the committers' sweep, which halts the plan for
 * everybody.
 *
 * Bounded: follows at most WATCH_MAX campaigns, those heard of last. Thread-safe. */
#pragma once

#include "events/campaign.h"

enum { WATCH_MAX = 128 };

struct watch_limits {
    int64_t min_calls;        /* fewer say nothing */
    int64_t success_permille; /* below it is bad */
    int64_t p95_ms;           /* above it is bad */
};

extern const struct watch_limits watch_no_halt; /* nothing is bad */

struct watch;
struct watch *watch_create(const struct watch_limits *limits);
void watch_destroy(struct watch *watch); /* accepts NULL */
void watch_set_limits(struct watch *watch, const struct watch_limits *limits);

/* What a committer knows after a commit: begins, goes on or stops to follow the campaign. A new tranche
 * begins with new figures. */
void watch_campaign(struct watch *watch, const struct campaign *campaign);
/* An issue request to the campaign was answered, after so long; `failed`: with a 5xx. Costs nothing while no
 * plan is under way. */
void watch_note(struct watch *watch, struct span campaign_id, bool failed, int64_t duration_us);

struct watch_finding {
    char campaign_id[CAMPAIGN_ID_MAX];
    size_t campaign_id_len;
    struct release_plan_halted figures;
};
/* The next campaign, after index *cursor (begin with 0), whose last tranche goes badly; false when there is
 * none left. */
bool watch_find_bad(struct watch *watch, size_t *cursor, struct watch_finding *ret);
