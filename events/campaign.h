/* SPDX-License-Identifier: Apache-2.0 */
/* A campaign as the fold of its events, and how it reads as JSON. Used to decide (command service), to
 * project and to answer (query service), so that all three mean the same. Pure; the structs are plain values.
 */
#pragma once

#include <stdbool.h>

#include "common/http/problem.h"
#include "events/codec.h"

enum campaign_state {
    CAMPAIGN_ACTIVE = 1,
    CAMPAIGN_PAUSED = 2,
    CAMPAIGN_CLOSED = 3,
    CAMPAIGN_ENDED = 4,   /* ends_at has passed and the log says so; by the instant it was over already */
    CAMPAIGN_DELETED = 5, /* reads as unknown; its id is not used again */
};

/* Who brought a campaign into its state, when and why. */
struct status_change {
    int64_t at_us;          /* 0: time or its creation did, or nobody knows */
    struct span by, reason; /* name of the API key; for people, empty where none was given. Borrowed */
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
    struct status_change change; /* PAUSED, CLOSED, DELETED: of the event that said so; absent otherwise */
};

/* Folds one event of this campaign in (I7: the same function everywhere). CampaignCreated fills an empty
 * struct; the struct then borrows from the event. Asserts what decide() guarantees: dense sequences (I5),
 * stock (I1). */
void campaign_apply(struct campaign *campaign, const struct event *event);
/* What such an event says, for who has the state from somewhere else and the event at hand; absent for
 * others. */
struct status_change status_change_of(const struct event *event);
/* The same from the columns CHANGE_COLUMNS of a row of table campaign, borrowed from `data`; absent for a
 * state that shows none. False: `data` is not what such an event says. */
bool status_change_read(enum campaign_state state, int64_t at_us, struct span data, struct arena *arena,
                        struct status_change *ret) MUST_USE;
/* Whether a state has one. */
static inline bool campaign_state_changed(enum campaign_state state)
{
    return state == CAMPAIGN_PAUSED || state == CAMPAIGN_CLOSED || state == CAMPAIGN_DELETED;
}
/* Whether it would assert nothing: for who has the campaign from somewhere it may be wrong. */
bool campaign_can_apply(const struct campaign *campaign, const struct event *event);

/* Whether an event is about a campaign at all, and so for campaign_apply. */
bool campaign_concerned(const struct event *event);

/* What a campaign is at an instant. Whoever issues, reads, lists, counts quotas, sweeps or verifies means the
 * same by these words. */
enum campaign_phase {
    PHASE_SCHEDULED, /* its start has not come */
    PHASE_ACTIVE,
    PHASE_SOLD_OUT, /* as active, but all of its quantity is issued, or was a moment ago */
    PHASE_PAUSED,
    PHASE_ENDED, /* its end, or the instant its coupons expire at, has come. From here on for good: */
    PHASE_CLOSED,
    PHASE_DELETED,
};
/* At the wall time `now_us`; by the log alone where that is 0: nothing starts or ends by itself then. */
enum campaign_phase campaign_phase(const struct campaign *campaign, int64_t now_us);
/* Nothing will ever be issued again. */
static inline bool campaign_over(const struct campaign *campaign, int64_t now_us)
{
    return campaign_phase(campaign, now_us) >= PHASE_ENDED;
}
/* The word for the phase: scheduled, active, sold_out, paused, ended, closed or deleted. */
const char *campaign_status(const struct campaign *campaign, int64_t now_us);

/* The campaign as it is at that instant: tranches of the release plan whose time has come are released,
 * whether or not the log says so yet. 0: by the log alone. Borrows as the campaign does. */
struct campaign campaign_at(const struct campaign *campaign, int64_t now_us);
/* Why a coupon would be refused at that instant to somebody who was issued `held` of them already; NULL: it
 * would be issued. Stock is what the log says: ask of campaign_at() where a tranche may be due. The one rule
 * behind issuing, and behind saying afterwards why somebody was refused (I1, I2). */
const struct problem *campaign_issue_refusal(const struct campaign *campaign, int64_t held, int64_t now_us);

/* For so long after somebody saw that all of the quantity is issued, others may be told that it is sold out
 * without a look: who lets more in waits as long (definition.reopens_at_us). */
enum { EARLY_LEASE_MS = 1000 };

/* The definition that a CampaignChanged says, and any definition as the data of a CampaignCreated, which is
 * how it is kept. */
struct campaign_created campaign_changed_definition(const struct campaign_changed *from);
struct campaign_changed campaign_unchanged(const struct campaign_created *from); /* the way back */
void campaign_definition_write(struct buf *out, const struct campaign_created *definition);

/* When it ends by itself: at ends_at, or when a coupon issued then would have expired already. 0: never. */
int64_t campaign_ends_at_us(const struct campaign_created *definition);
/* The next instant at which something is due by itself: the next tranche of the release plan, or the end. 0:
 * never. */
int64_t campaign_due_at_us(const struct campaign *campaign);
/* The first instant after `now_us` at which what is said of it changes by itself: start, tranche or end. 0:
 * never. */
int64_t campaign_next_change_us(const struct campaign *campaign, int64_t now_us);

/* When a coupon of this campaign that is issued at that instant expires, 0 never. Days are 24 hours from the
 * issue, or, with an offset from UTC, end at the local midnight that is at least so many days away. */
int64_t campaign_coupon_expiry_us(const struct campaign_created *definition, int64_t issued_at_us);
/* "+09:00" and its code in an event; the code is never 0. `ret` has room for "+hh:mm" and a NUL. */
bool utc_offset_parse(struct span text, int64_t *ret_code) MUST_USE;
void utc_offset_write(int64_t code, char ret[static 7]);
bool campaign_has_tag(const struct campaign *campaign, struct span tag);

/* At most so many bytes: every byte of a text may become six. */
enum { CAMPAIGN_JSON_MAX = 64 * 1024 };
/* The JSON object of design §9. `position` tells the reader's client where the state stands. */
void campaign_write_json(struct buf *out, const char *key, const struct campaign *is, int64_t now_us);
