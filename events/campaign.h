/* SPDX-License-Identifier: Apache-2.0 */
/* A campaign as the fold of its events, and how it reads as JSON. Used to decide (command service), to
 * project and to answer (query service), so that all three mean the same. Pure; the structs are plain values.
 */
#pragma once

#include <stdbool.h>

#include "events/codec.h"

enum campaign_state {
    CAMPAIGN_ACTIVE = 1,
    CAMPAIGN_PAUSED = 2,
    CAMPAIGN_CLOSED = 3,
    CAMPAIGN_ENDED = 4,   /* ends_at has passed and the log says so; by the instant it was over already */
    CAMPAIGN_DELETED = 5, /* reads as unknown; its id is not used again */
};

struct campaign {
    struct span id;
    struct campaign_created definition; /* borrowed texts and lists */
    int64_t created_at_us;
    int64_t first;    /* position of CampaignCreated */
    int64_t position; /* position of its last event */
    int64_t released, issued;
    int64_t redeemed, reserved; /* of the issued ones, now */
    int64_t plan_done;          /* tranches of the release plan that were released */
    bool plan_halted;           /* no further tranche until the campaign is resumed */
    enum campaign_state state;
};

/* Folds one event of this campaign in (I7: the same function everywhere). CampaignCreated fills an empty
 * struct; the struct then borrows from the event. Asserts what decide() guarantees: dense sequences (I5),
 * stock (I1). */
void campaign_apply(struct campaign *campaign, const struct event *event);

/* Whether an event is about a campaign at all, and so for campaign_apply. */
bool campaign_concerned(const struct event *event);

/* The next instant at which something is due by itself: the next tranche of the release plan, or the end. 0:
 * never. */
int64_t campaign_due_at_us(const struct campaign *campaign);

/* What a person would call it at that instant: scheduled, active, sold_out, paused, ended, closed or deleted.
 */
/* When a coupon of this campaign that is issued at that instant expires, 0 never. Days are 24 hours from the
 * issue, or, with an offset from UTC, end at the local midnight that is at least so many days away. */
int64_t campaign_coupon_expiry_us(const struct campaign_created *definition, int64_t issued_at_us);
/* "+09:00" and its code in an event; the code is never 0. `ret` has room for "+hh:mm" and a NUL. */
bool utc_offset_parse(struct span text, int64_t *ret_code) MUST_USE;
void utc_offset_write(int64_t code, char ret[static 7]);
const char *campaign_status(const struct campaign *campaign, int64_t now_us);
bool campaign_has_tag(const struct campaign *campaign, struct span tag);

/* The JSON object of design §9. `position` tells the reader's client where the state stands. */
void campaign_write_json(struct buf *out, const char *key, const struct campaign *campaign, int64_t now_us);
