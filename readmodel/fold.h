/* SPDX-License-Identifier: Apache-2.0 */
/* What the models of one slice become by its events: the one place that says what an event means to Redis.
 * The meaning itself is campaign_apply(), coupon_apply() and activity_mark(); Redis is told absolute values,
 * by plain commands, so that nothing there is added to, and telling it twice leaves the same.
 *
 * The one who follows the log and the one who rebuilds use the same fold, and differ in what they do with
 * what comes out of it (struct fold_sink). Batches of any size leave the same models (I7, I8). A fold
 * remembers campaigns that it has met, and what Redis said of them; whoever is not sure any more that Redis
 * has what was written starts it anew. Pure but for the commands it writes. */
#pragma once

#include "common/base/map.h"
#include "events/event.h"
#include "readmodel/campaign_record.h"
#include "readmodel/checkpoint.h"
#include "readmodel/coupon_chunk.h"
#include "readmodel/users.h"

/* Who takes what comes out. What is handed over is borrowed during the call. */
struct fold_sink {
    void *context;
    /* A command whose first argument is a key of the slice and that writes absolute values. */
    void (*command)(void *context, const struct redis_command *command);
    /* An entry for the user's bucket, behind those before it. */
    void (*holding)(void *context, uint64_t user_hash, const char entry[HOLDING_BYTES]);
    /* The state of a coupon that was issued at `position`, in place of an earlier one. */
    void (*state)(void *context, int64_t position, struct span record);
    /* The COUPONS with that position are complete and will expire then. NULL: it need not be known. */
    void (*complete)(void *context, int64_t position, int64_t expires_at_s);
};

struct fold_campaign;

struct fold {
    struct model model;
    struct checkpoint at; /* after the events that were added; chain and buckets are the caller's to set */
    struct chunk_writer chunk;
    size_t chunk_written;                     /* bytes of it that were handed over */
    bool chunk_gets_states;                   /* by the events since fold_flush */
    int64_t kept_from;                        /* coupons that were issued before this position have expired */
    struct map campaigns;                     /* id -> struct fold_campaign */
    struct fold_campaign *last;               /* the one met last: most often it comes again */
    struct fold_campaign *dirty, **dirty_end; /* what the events since fold_flush changed */
    int64_t counted_at_us[COUNTED_COUNT];     /* the last change of a count since then; 0: none */
    int64_t now_s;                            /* what has expired by then is not written any more */
    struct redis_command command;
    struct buf key, value;
};

void fold_init(struct fold *fold);
void fold_deinit(struct fold *fold);

/* Forgets everything and goes on from a checkpoint, of which `chunk` is the COUPONS it stands in, as Redis
 * has it (absent: it has none). */
void fold_start(struct fold *fold, struct model model, const struct checkpoint *at, struct span chunk,
                int64_t now_s);

/* Whether it remembers the campaign; an event of one that it does not, but for CampaignCreated, can be added
 * only after fold_load(). */
bool fold_knows(const struct fold *fold, struct span campaign_id);
/* What Redis has of a campaign. What it has not, or not rightly, was lost: nothing more is written of that
 * campaign itself, the rankings lose their marks, and readers ask PostgreSQL. False: it was. */
bool fold_load(struct fold *fold, struct span campaign_id, struct span record);

/* Adds a decoded event of the slice, the next one in position order. False, and nothing is changed: no
 * version of the command service writes such an event after those before it. */
bool fold_add(struct fold *fold, const struct event *event, const struct fold_sink *sink) MUST_USE;
/* Hands over what the events since the last time changed. `fold->at` is what Redis holds after that. */
void fold_flush(struct fold *fold, const struct fold_sink *sink);
/* Forgets what is not changed and need not be remembered, where that is much. After fold_flush. */
void fold_trim(struct fold *fold);
