/* SPDX-License-Identifier: Apache-2.0 */
/* The decisions: from a command and the state read under the slice lock to events or a refusal. Pure
 * functions, no clock, no I/O; this is the file to read to know the rules. */
#pragma once

#include "command-service/command.h"

/* What a user holds of the campaign. */
struct holding {
    int64_t count;                         /* coupons issued to the user */
    int64_t positions[PER_USER_LIMIT_MAX]; /* of their CouponIssued, in order of issue */
};

struct decision {
    const struct problem *refusal; /* NULL: accepted */
    bool has_event;                /* accepted without: nothing changes (pausing what is paused) */
    struct event event;            /* type, ids and payload; the batch gives it its place and time */
};

/* campaign is NULL where there is none with that id, held is NULL for commands that are not about a user. The
 * event borrows from the command and the campaign. */
void decide(const struct command *command, const struct campaign *campaign, const struct holding *held,
            int64_t now_us, struct decision *ret);

/* The next tranche of the release plan whose time has come, as a StockReleased event. Decided from the
 * instant, not by a timer: a late or dead timer can neither open a sale late nor early. */
bool decide_due_release(const struct campaign *campaign, int64_t now_us, struct event *ret);
