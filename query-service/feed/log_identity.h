/* SPDX-License-Identifier: Apache-2.0 */
/* Which log is read: whether it is still the one that was read before. After PostgreSQL was restored to an
 * earlier point, or a failover lost commits, positions that were told to others are gone, and soon taken by
 * other events. That is seen by the hash chain: what it was at the head that was read last is compared with
 * what table batch says of that position now, each time heads are read. Pure; one thread. */
#pragma once

#include "events/event.h"

enum { CHAIN_BYTES = 32 };

/* $1 the head that was read last of each slice, 0 where there was none -> slice, head, chain at the head,
 * chain at $1 (NULL: no batch ends there), and whether this server is a standby. */
#define LOG_IDENTITY_HEADS_SQL                                                        \
    "SELECT s.slice, s.head, s.chain, b.chain, pg_is_in_recovery() FROM slice s"      \
    " LEFT JOIN LATERAL (SELECT r.last, r.chain FROM batch r WHERE r.slice = s.slice" \
    " AND r.first <= ($1::bigint[])[s.slice + 1] ORDER BY r.first DESC LIMIT 1) AS b" \
    " ON b.last = ($1::bigint[])[s.slice + 1]"

struct log_identity {
    struct {
        int64_t head; /* read last; 0: none yet, or empty */
        uint8_t chain[CHAIN_BYTES];
    } slices[SLICE_COUNT];
};

struct log_identity_row {
    int16_t slice;
    int64_t head;
    struct span chain; /* at `head` */
    struct span was;   /* at the head that was asked with; absent: none */
    bool standby;
};

/* Takes a row. False where the log is not the one whose head was read before: then it goes on with the one
 * that is there now. A standby may be behind what another server said; that says nothing yet. */
bool log_identity_take(struct log_identity *identity, const struct log_identity_row *row);
