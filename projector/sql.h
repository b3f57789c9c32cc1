/* SPDX-License-Identifier: Apache-2.0 */
/* Every statement the projector says to PostgreSQL, and how it connects. The waits belong to the callers. */
#pragma once

#include "common/pg/pg.h"

enum sql {
    SQL_LOCK, /* $1 lock key, $2 slices -> got it, and the database owns them? and the settings a leader's
                 session needs */
    SQL_LOCK_PLAIN, /* $1 lock key -> got it? */
    SQL_BUMP,       /* $1 least former epoch -> new epoch of the lease */
    SQL_HEADS, /* $1 positions of slices 0..15 -> of those that the database owns: head, its time, time of the
                  event after the position, now, chain, slice */
    SQL_READ,  /* events/event_log.h */
    SQL_LEASE, /* $1 lock key -> epoch of the lease, whether somebody holds the lock */
    SQL_AT,    /* events/event_log.h: how far the log went at an instant */
    SQL_TIME_OF,   /* $1 slice, $2 position -> recorded_at, or no row */
    SQL_CAMPAIGNS, /* $1 slice, $2 after which id, $3 how many -> slice, id, version, definition of campaigns
                      that are not over */
    SQL_CAMPAIGN_KNOWN, /* $1 slice, $2 id -> a row where it is there and not over */
    SQL_HISTORY, /* of slices 0..15: $1 positions, $2 their times, $3 positions of ends of batches, $4 chains
                    there -> of those that the database owns: slice, whether this log has them */
    SQL_SETTING, /* $1 slice, $2 kind, $3 name -> value or NULL; no row: the slice is another database's */
    SQL_COUNT,
};

/* Does not connect. Owner: pg_destroy. `url` is borrowed. */
struct pg *sql_create(const char *url);
