/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the store share: store.c has the statements and the connection, store_load.c locks and
 * loads, store_append.c writes and commits. For nobody else. */
#pragma once

#include "command-service/store/store.h"
#include "common/pg/pg.h"

enum statement {
    SQL_DURABLE,
    SQL_EVICT,
    SQL_BEGIN,
    SQL_LOCK,
    SQL_LOOK,
    SQL_NOW,
    SQL_CAMPAIGNS,
    SQL_COUPONS,
    SQL_COUPON_CAMPAIGNS,
    SQL_VOID_FOUND,
    SQL_VOIDABLE,
    SQL_QUOTAS,
    SQL_REQUESTS,
    SQL_LOOKUPS,
    SQL_HOLDINGS,
    SQL_ISSUED,
    SQL_APPEND,
    SQL_REMEMBER,
    SQL_NEW_CAMPAIGNS,
    SQL_CHANGED_CAMPAIGNS,
    SQL_COUPON_STATES,
    SQL_CONTROL,
    SQL_QUOTAS_USED,
    SQL_RUNS,
    SQL_BATCH,
    SQL_HEAD,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_COUNT,
};

enum { STORE_RESULTS_MAX = 16 };

struct store {
    struct pg *pg;
    struct pg_args args;
    struct pg_rows *results[STORE_RESULTS_MAX]; /* what the loaded batch borrows from */
    size_t results_count;
    const char *fault; /* what is wrong with a server that can be reached; NULL for nothing */
};

/* Frees what the last loaded batch borrowed. */
void store_forget(struct store *store);
/* Ends the transaction without effect; `status` is why, and is returned unless the connection is lost. */
enum store_status store_end(struct store *store, enum store_status status, int64_t deadline_us);
/* What a refusal means for the batch, whose transaction common/pg has rolled back. */
enum store_status store_rolled_back(const struct store *store);
/* Receives `count` results of a round into `ret` (NULL where a statement was refused). */
enum pg_status store_receive(struct store *store, size_t count, struct pg_rows **ret, int64_t deadline_us);
int64_t store_operation(const struct request_id *id);
struct span store_key_hash(const struct request_id *id);
