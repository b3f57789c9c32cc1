/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the query services over the bus what a batch changed, once Redis has said that it is in the models:
 * so who drops a copy and reads again finds what was announced. One thread. */
#pragma once

#include "common/bus.h"
#include "events/codec.h"
#include "projector/run/redis_writer.h"
#include "readmodel/keys.h"

enum {
    ANNOUNCE_MESSAGES_MAX = 4, /* for one batch; more is told as `everything` */
    ANNOUNCE_CAMPAIGNS_MAX = ANNOUNCE_MESSAGES_MAX * HINT_CAMPAIGNS_MAX,
    ANNOUNCE_USERS_MAX = ANNOUNCE_MESSAGES_MAX * HINT_USERS_MAX,
};

/* The messages of one batch that is on its way to Redis, one after the other in one buffer. */
struct announcement {
    struct buf bytes;
    size_t ends[ANNOUNCE_MESSAGES_MAX];
    size_t count;
};

struct announcer {
    struct bus_publisher *bus; /* borrowed; NULL: nobody is told anything */
    /* What the batch that is being made changes. */
    char campaigns[ANNOUNCE_CAMPAIGNS_MAX][CAMPAIGN_ID_MAX];
    uint8_t campaign_lengths[ANNOUNCE_CAMPAIGNS_MAX];
    size_t campaigns_count;
    int16_t users[ANNOUNCE_USERS_MAX];
    size_t users_count;
    uint8_t users_seen[USER_GROUPS / 8];
    bool rankings, everything;
    /* Ring: what is on its way, in the order in which the outcomes will come. */
    struct announcement queued[WRITES_PENDING_MAX];
    size_t queued_first, queued_count;
};

/* bus NULL: everything here does nothing. */
void announcer_init(struct announcer *announcer, struct bus_publisher *bus);
void announcer_deinit(struct announcer *announcer);

void announcer_begin(struct announcer *announcer); /* another batch */
void announcer_add(struct announcer *announcer, const struct event *event);
/* The batch was sent: in Redis, the slice will be at `position`. */
void announcer_sent(struct announcer *announcer, int16_t slice, int64_t position);
/* Something was sent that changes nothing. */
void announcer_sent_nothing(struct announcer *announcer);
/* The outcome of the oldest that was sent is there: it is published where it was applied. */
void announcer_settled(struct announcer *announcer, bool applied);
/* No more outcomes will come. */
void announcer_forget(struct announcer *announcer);

/* A campaign that opens soon, which is in the models up to `position`. */
void announcer_opening(struct announcer *announcer, struct span campaign, int64_t position);
