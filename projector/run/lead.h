/* SPDX-License-Identifier: Apache-2.0 */
/* Which of several projectors leads: the one whose PostgreSQL session holds the advisory lock. The lock goes
 * with the session, so whoever loses the session has lost the lead; the epoch of the lease, bumped at every
 * change, is what the script in Redis refuses a former leader by who has not noticed yet. */
#pragma once

#include "common/pg/pg.h"

/* Of the advisory lock; 7310005001 and 7310005002 serialise setting up the database. */
#define LEADER_LOCK_KEY INT64_C(7310005003)

struct leader {
    bool leads;
    int64_t epoch;      /* of this lead; 0 when it does not lead */
    int64_t epoch_seen; /* highest one found in Redis */
};

/* Tries to take the lead on a connection that has not got it. PG_OK also when somebody else leads, or the
 * database does not own all of these slices: see leader->leads. Anything else means the connection is to be
 * given up. */
enum pg_status leader_try(struct leader *leader, struct pg *pg, unsigned slices,
                          int64_t deadline_us) MUST_USE;

/* Redis knows a higher epoch. The next leader_try goes above it: with the lock held there is nobody else who
 * could rightly use it, so it stems from a former leader or from another life of the database. */
void leader_fenced(struct leader *leader, int64_t epoch);

/* The connection is lost or was given up. */
void leader_lost(struct leader *leader);
