/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of a rebuild. */
#include "projector/rebuild/rebuild_stores.h"

#include <poll.h>
#include <stdarg.h>

#include "common/base/clock.h"
#include "projector/run/model_writer.h"
#include "projector/sql.h"

/* Of the advisory lock that makes two rebuilds of one database take turns; see leader.h. */
#define REBUILD_LOCK_KEY INT64_C(7310005004)

enum { MOMENT_MS = 50, LEAD_MS = 300, LOCK_MS = 3000 };

/* --- saying and waiting --- */

bool rebuild_give_up(struct rebuild *rebuild, const char *format, ...)
{
    va_list args;
    report_end(&rebuild->report);
    va_start(args, format);
    fputs("projector rebuild: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    va_end(args);
    return false;
}

void rebuild_moment(void)
{
    (void)poll(NULL, 0, MOMENT_MS);
}

int64_t rebuild_deadline(void)
{
    return clock_deadline_us(REBUILD_DEADLINE_MS);
}

/* --- the two stores --- */

bool rebuild_store_failed(struct rebuild *rebuild)
{
    return rebuild_give_up(rebuild, "PostgreSQL: %s", pg_error(rebuild->pg));
}

static enum pg_status try_lock(struct rebuild *rebuild, bool *ret_locked)
{
    struct pg_args args;
    struct pg_rows *rows;
    pg_args_init(&args);
    pg_arg_i64(&args, REBUILD_LOCK_KEY);
    enum pg_status status = pg_call(rebuild->pg, SQL_LOCK_PLAIN, &args, rebuild_deadline(), &rows);
    pg_args_deinit(&args);
    *ret_locked = status == PG_OK && pg_i64(rows, 0, 0) != 0;
    pg_rows_destroy(rows);
    return status;
}

/* One rebuild right after another must not meet the session of the first: PostgreSQL ends it a moment after
 * the process is gone. */
bool rebuild_connect_store(struct rebuild *rebuild)
{
    bool locked = false;
    int64_t until_us = clock_deadline_us(LOCK_MS);
    if (pg_connected(rebuild->pg))
        return true;
    if (pg_connect(rebuild->pg, rebuild_deadline()) != PG_OK)
        return rebuild_store_failed(rebuild);
    while (!locked) {
        if (try_lock(rebuild, &locked) != PG_OK)
            return rebuild_store_failed(rebuild);
        if (!locked && clock_mono_us() >= until_us)
            return rebuild_give_up(rebuild, "another rebuild is running");
        if (!locked)
            rebuild_moment();
    }
    return true;
}

bool rebuild_redis_failed(struct rebuild *rebuild, enum redis_status status)
{
    return rebuild_give_up(rebuild, "Redis: class %s", redis_status_label(status));
}

struct redis *rebuild_connect_redis(struct rebuild *rebuild)
{
    struct checkpoints checkpoints;
    enum redis_status status = model_writer_peek(rebuild->writer, rebuild_deadline(), &checkpoints);
    if (status == REDIS_OK)
        return model_writer_redis(rebuild->writer);
    rebuild_give_up(rebuild, "Redis: %s", model_writer_error(rebuild->writer));
    return NULL;
}

/* --- the lead --- */

bool rebuild_try_to_lead(struct rebuild *rebuild)
{
    for (int attempt = 0; attempt < 2; attempt++) { /* a session that was silent for long was ended */
        if ((pg_connected(rebuild->lead) || pg_connect(rebuild->lead, rebuild_deadline()) == PG_OK) &&
            leader_try(&rebuild->leader, rebuild->lead, rebuild_deadline()) == PG_OK)
            return true;
        pg_disconnect(rebuild->lead);
    }
    return rebuild_give_up(rebuild, "PostgreSQL: %s", pg_error(rebuild->lead));
}

void rebuild_stop_leading(struct rebuild *rebuild)
{
    if (rebuild->leader.leads)
        pg_disconnect(rebuild->lead); /* the lead goes with the session */
    leader_lost(&rebuild->leader);
}

bool rebuild_keep_lead(struct rebuild *rebuild)
{
    struct pg_args args;
    struct pg_rows *rows;
    if (!rebuild->leader.leads || clock_mono_us() < rebuild->lead_until_us)
        return true;
    pg_args_init(&args);
    pg_arg_i64(&args, LEADER_LOCK_KEY);
    enum pg_status status = pg_call(rebuild->lead, SQL_LEASE, &args, rebuild_deadline(), &rows);
    pg_args_deinit(&args);
    pg_rows_destroy(rows);
    rebuild->lead_until_us = clock_deadline_us(LEAD_MS);
    return status == PG_OK || rebuild_give_up(rebuild, "the lead was lost: %s", pg_error(rebuild->lead));
}
