/* SPDX-License-Identifier: Apache-2.0 */
/* The decisions: from a command and the state read under the slice lock to events or a refusal. Pure
 * functions, no clock, no I/O; decide.c and decide_coupon.c are the files to read to know the rules. */
#pragma once

#include "command-service/core/command.h"
#include "events/coupon.h"

/* What a user holds of the campaign. */
struct holding {
    int64_t count;      /* coupons issued to the user */
    int64_t *positions; /* of their CouponIssued, in order of issue; room for `capacity` */
    int64_t capacity;
};

/* How much was created already, and how much may be (incident 1). */
struct creation {
    int64_t by_key, by_all; /* campaigns of this UTC day: by the API key that asks, by everybody */
    int64_t stock;          /* quantity of all campaigns that are open */
    int64_t by_key_max, by_all_max, stock_max;
};

/* What a command is about; NULL where there is no such thing or the command is not about one. */
struct subject {
    const struct campaign *campaign;
    const struct holding *held;
    const struct coupon *coupon;
    const struct creation *creation;
};

/* What somebody who is refused needs to know next. 0 and absent: nothing to say. */
struct refusal_next {
    int64_t from_us;      /* from when the same request may be granted: a start, an end of a reservation */
    const char *from;     /* what from_us is called: a member of the problem */
    struct span order_id; /* which order used the coupon; only for the key that did, and for admins */
    bool says_held_back;
    int64_t held_back; /* of the quantity, not released yet */
};

struct decision {
    const struct problem *refusal; /* NULL: accepted */
    bool has_event;                /* accepted without: nothing changes (pausing what is paused) */
    struct event event;            /* type, ids and payload; the batch gives it its place and time */
};

/* What to say of a refusal that decide() gave for the subject. `command` may be NULL where it is no coupon's.
 */
struct refusal_next decide_next(const struct problem *refusal, const struct subject *subject,
                                const struct command *command, int64_t now_us);

/* Decides any command of one subject. The event borrows from the command and the subject. */
void decide(const struct command *command, const struct subject *subject, int64_t now_us,
            struct decision *ret);
/* ISSUE, and one user of an ISSUE_MANY: as if that user had asked alone. */
void decide_issue(const struct command *command, struct span user_id, const struct subject *subject,
                  int64_t now_us, struct decision *ret);

/* The next tranche of the release plan whose time has come, as a StockReleased event. Decided from the
 * instant, not by a timer: a late or dead timer can neither open a sale late nor early. Whoever touches a
 * campaign does what is due first. */
bool decide_due_release(const struct campaign *campaign, int64_t now_us, struct event *ret);
/* That its end has come, as a CampaignEnded event, for the sweep to note. */
bool decide_due_end(const struct campaign *campaign, int64_t now_us, struct event *ret);

/* For decide() alone: the commands about one coupon. */
void decide_coupon(const struct command *command, const struct subject *subject, int64_t now_us,
                   struct decision *ret);
struct event *decision_accept(struct decision *ret, enum event_type type, const struct command *command,
                              struct span campaign_id);
