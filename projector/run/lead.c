/* SPDX-License-Identifier: Apache-2.0 */
/* Taking and losing the lead. */
#include "projector/run/lead.h"

#include "events/shards.h"
#include "projector/sql.h"

/* `slices`: the second argument; 0: there is none. */
static enum pg_status call(struct pg *pg, enum sql statement, int64_t argument, unsigned slices,
                           int64_t deadline_us, struct pg_rows **ret)
{
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_i64(&args, argument);
    if (slices)
        slices_arg(&args, slices);
    enum pg_status status = pg_call(pg, statement, &args, deadline_us, ret);
    pg_args_deinit(&args);
    return status;
}

static enum pg_status bump(struct leader *leader, struct pg *pg, int64_t deadline_us)
{
    struct pg_rows *rows;
    enum pg_status status = call(pg, SQL_BUMP, leader->epoch_seen, 0, deadline_us, &rows);
    if (status != PG_OK)
        return status;
    if (pg_rows_count(rows) == 1) { /* no row: the schema is not ours; never lead without an epoch */
        leader->epoch = pg_i64(rows, 0, 0);
        leader->leads = true;
    }
    pg_rows_destroy(rows);
    return leader->leads ? PG_OK : PG_REFUSED;
}

enum pg_status leader_try(struct leader *leader, struct pg *pg, unsigned slices, int64_t deadline_us)
{
    struct pg_rows *rows;
    CHECK(!leader->leads);
    enum pg_status status = call(pg, SQL_LOCK, LEADER_LOCK_KEY, slices, deadline_us, &rows);
    if (status != PG_OK)
        return status;
    bool locked = pg_i64(rows, 0, 0) != 0;
    pg_rows_destroy(rows);
    return locked ? bump(leader, pg, deadline_us) : PG_OK;
}

void leader_fenced(struct leader *leader, int64_t epoch)
{
    if (epoch > leader->epoch_seen)
        leader->epoch_seen = epoch;
}

void leader_lost(struct leader *leader)
{
    leader->leads = false;
    leader->epoch = 0;
}
