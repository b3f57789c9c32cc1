/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the store share: sql.c has the statements, store.c the connection, load.c locks and
 * loads, append.c writes and commits. For nobody else. */
#pragma once

#include "command-service/store/known.h"
#include "command-service/store/store.h"
#include "common/pg/pg.h"
#include "events/holder.h"

enum statement {
    SQL_DURABLE,
    SQL_AS_LOGIN,
    SQL_EVICT,
    SQL_BEGIN,
    SQL_LOCK,
    SQL_SECRET,
    SQL_CAMPAIGNS,
    SQL_COUPONS,
    SQL_VOID_FOUND,
    SQL_VOIDABLE,
    SQL_QUOTAS,
    SQL_CLAIMS,
    SQL_REQUESTS,
    SQL_HOLDINGS,
    SQL_SEEN,
    SQL_ISSUED,
    SQL_APPEND,
    SQL_REMEMBER,
    SQL_NEW_CAMPAIGNS,
    SQL_REDEFINED_CAMPAIGNS,
    SQL_CHANGED_CAMPAIGNS,
    SQL_COUPON_STATES,
    SQL_CONTROL,
    SQL_QUOTAS_USED,
    SQL_CLAIM,
    SQL_FENCE,
    SQL_RUNS,
    SQL_HEAD,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_COUNT,
};

/* Every statement, with STORE_SLICE where the number of the slice is to stand. */
#define STORE_SLICE "@@"
extern const struct pg_statement store_statements[SQL_COUNT];
/* The same of one slice; what `ret` had from here before is freed. Zeroed at first. NULL: nothing, any more.
 */
void store_statements_of(const int16_t *slice, struct pg_statement ret[SQL_COUNT]);

/* Columns of SQL_COUPONS and of SQL_REQUESTS: see there. */
enum { STORE_RESULTS_MAX = 40, KEY_BYTES = 16 };

struct store {
    struct pg *pg;
    int16_t connected_for;                     /* slice: all batches are of it */
    struct pg_statement statements[SQL_COUNT]; /* of that slice */
    struct pg_args args;
    struct pg_rows *results[STORE_RESULTS_MAX]; /* what the loaded batch borrows from */
    size_t results_count;
    bool has_all;      /* its database is that of all slices */
    bool elsewhere;    /* the slice is another database's */
    const char *fault; /* what is wrong with a server that can be reached; NULL for nothing */

    /* What is known of the slice; forgotten with the connection, which may lead to another server the next
     * time. */
    int16_t slice; /* -1: of none */
    struct slice_secret secret;
    struct known *known;
    int64_t head;    /* after the last batch that was committed; -1: none was */
    unsigned shared; /* for so many batches to come somebody else is expected to write in between */
    bool probe_all;  /* an index refused what a filter had let through: look for everything the next time */

    /* Of the batch that is loaded. */
    struct known_campaign *campaigns[BATCH_MAX]; /* by its campaign_list; NULL: not known */
    uint8_t (*holders)[HOLDER_BYTES]; /* by its holding_list: first coupon of the user; in the arena */
    uint32_t *holding_campaigns;      /* by its holding_list: index of its campaign; in the arena */
    bool *holding_probed, request_probed[BATCH_MAX];
    bool seen_asked; /* what others issued is added to filters with it */
};

/* Frees what the last loaded batch borrowed. */
void store_forget(struct store *store);
/* Ends the transaction without effect; `status` is why, and is returned unless the connection is lost. */
enum store_status store_end(struct store *store, enum store_status status, int64_t deadline_us);
/* The database does not own the slice (any more): nothing of it is to be believed. STORE_LOST. */
enum store_status store_left(struct store *store);
/* What a refusal means for the batch, whose transaction common/pg has rolled back. */
enum store_status store_rolled_back(struct store *store);
/* Receives `count` results of a round into `ret` (NULL where a statement was refused). */
enum pg_status store_receive(struct store *store, size_t count, struct pg_rows **ret, int64_t deadline_us);

/* The columns `key` of event, and `key_hash` and `operation` of table idempotency. */
void store_key(const struct request_id *id, uint8_t ret[KEY_BYTES]);
struct span store_key_hash(const struct request_id *id);
int64_t store_operation(const struct request_id *id);

/* What filters are asked for: the user of a holder, and a key. */
uint64_t store_hash64(const uint8_t bytes[8]);

/* One array argument for each column of a list of rows; NULL instead of an array of NULLs, which unnest() of
 * several arrays takes for the same and which costs nothing (so one column must always have values). A column
 * is read from the row at its offset: int64_t for PG_INT2 and PG_INT8 (STORE_NULL: NULL), int64_t of wall µs
 * for PG_TIMESTAMPTZ (0: NULL), struct span otherwise (absent: NULL). `once`: two arguments, what all rows
 * have in common, and NULL or the array; the statement coalesces them. */
#define STORE_NULL INT64_MIN
struct store_column {
    enum pg_element element;
    size_t at;
    bool once;
};
void store_columns(struct pg_args *args, const struct store_column *columns, size_t columns_count,
                   const void *rows, size_t rows_count, size_t row_size);
