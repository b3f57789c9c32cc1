/* SPDX-License-Identifier: Apache-2.0 */
/* Campaigns that open within the next minutes: announces them to the query services, which then keep them in
 * memory, so that the first of the crowd finds them there. Whoever leads does it by itself, again and again
 * until a campaign opens, because a hint may be lost and a query service may start; the command does it at
 * once. */
#pragma once

#include "events/shards.h"
#include "projector/run/applier.h"

enum { OPENING_MAX = 1024, PREWARM_AHEAD_S = 600 };

/* The next campaigns to open, earliest first. Pure. With more than fit the latest are left out; they come
 * back with a later look. */
struct opening {
    struct opening_campaign {
        int64_t at_us;
        size_t id_len;
        char id[CAMPAIGN_ID_MAX];
    } items[OPENING_MAX];
    size_t count;
};
void opening_add(struct opening *opening, struct span id, int64_t at_us);
/* Takes the earliest out where it opens before then. */
bool opening_take(struct opening *opening, int64_t before_us, struct opening_campaign *ret);

/* A slow walk through all campaigns, a page at a time. */
struct prewarm {
    struct opening opening;
    int16_t slice; /* where the walk is */
    size_t after_len;
    char after[CAMPAIGN_ID_MAX];
    bool round;      /* came to the end with the last page */
    int64_t next_us; /* monotonic: not before */
};

/* Reads the next page: campaigns that are not over and open after now_us and before its `PREWARM_AHEAD_S`. */
enum pg_status prewarm_page(struct prewarm *prewarm, struct pg *pg, int64_t now_us,
                            int64_t deadline_us) MUST_USE;
/* For whoever leads, between rounds; a page a second, and half a minute between walks. */
enum pg_status prewarm_turn(struct prewarm *prewarm, struct pg *pg, struct applier *applier, int64_t now_us,
                            int64_t deadline_us) MUST_USE;

struct prewarm_options {
    const struct shards *shards; /* borrowed */
    const char *bus_publish_url;
    const char *campaign; /* "": all that open soon */
};
/* The command. Exit status: 0 when every one of them exists. */
int prewarm_run(const struct prewarm_options *options);
