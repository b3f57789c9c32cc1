/* SPDX-License-Identifier: Apache-2.0 */
/* The event store as the committer sees it: one round trip that locks and loads, one that appends and
 * commits. All SQL of the command service is in store.c. One thread at a time; every call is bounded by the
 * deadline it is given. */
#pragma once

#include "command-service/core/batch.h"

struct store;

enum store_status {
    STORE_OK,
    STORE_LOST,    /* connection gone before COMMIT was sent: nothing happened */
    STORE_UNKNOWN, /* connection gone after COMMIT was sent: it may have happened; decide the same commands
                      again, the slice lock makes that wait for the former transaction's end and the
                      idempotency rows tell */
    STORE_BUSY,    /* rolled back: lock or statement timeout, deadlock, serialization; worth another try */
    STORE_FULL,    /* rolled back: the disk or a quota is full */
    STORE_BROKEN,  /* rolled back: something the schema refuses; a bug or a foreign row (see store_error) */
};

/* `has_all`: the database is that of all slices; otherwise one that owns them all was given none by a map,
 * and is not written to. */
struct store *store_create(const char *database_url, bool has_all);
void store_destroy(struct store *store); /* accepts NULL */
/* For commands of one slice; and store_check. */
enum store_status store_connect(struct store *store, int16_t slice, int64_t deadline_us);
/* Asks the server whether it is there, owns the slice (shards.h) and flushes commits to disk: on one that
 * does not, an answer after COMMIT would promise what a crash can take back (I3). STORE_LOST: disconnected.
 */
enum store_status store_check(struct store *store, int16_t slice, int64_t deadline_us);
/* Ends the transactions of other command services that have stood still for most of a second, with their
 * locks in hand, and says how many. PostgreSQL does so itself (idle_in_transaction_session_timeout), but not
 * where a client stopped in the middle of sending a pipeline: no timeout of version 15 counts there. Nothing
 * is lost: such a transaction is not committed, and its service decides again. Needs the same login role.
 * Outside a transaction. */
int64_t store_evict(struct store *store, int64_t deadline_us);
bool store_connected(const struct store *store);
const char *store_error(const struct store *store); /* no user data */

/* Begins a transaction, locks the slices, fills the loaded part of the batch. */
enum store_status store_load(struct store *store, struct batch *batch, int64_t deadline_us);
/* Ends the transaction that store_load began, without effect: STORE_BUSY, or STORE_LOST. */
enum store_status store_abandon(struct store *store, int64_t deadline_us);
/* Writes the decided part and commits with fsync, and on the synchronous standby where there is one (I3);
 * commits as well what only repeats a promise. Just ends the transaction where all are refused. */
enum store_status store_commit(struct store *store, struct batch *batch, int64_t deadline_us);
