/* SPDX-License-Identifier: Apache-2.0 */
/* The questions as statements. */
#include "projector/rebuild/log_bounds.h"

#include "common/base/clock.h"
#include "projector/run/log_reader.h"
#include "projector/sql.h"

enum {
    DEADLINE_MS = 5000,
    SETTLED_S = 5, /* PostgreSQL's clock is read under the slice lock, which is held for less */
};

bool log_limit_parse(struct span text, struct log_limit *ret)
{
    struct log_limit limit = {.kind = LOG_LIMIT_HEAD};
    struct span position = text, slice = span_cut(&position, ':');
    int64_t number;
    if (span_is(text, "head")) {
        *ret = limit;
        return true;
    }
    if (time_parse(text, &limit.time_us)) {
        limit.kind = LOG_LIMIT_TIME;
        *ret = limit;
        return true;
    }
    limit.kind = LOG_LIMIT_POSITION;
    if (!parse_i64(slice, 0, SLICE_COUNT - 1, &number) ||
        !parse_i64(position, 1, INT64_MAX, &limit.at.position))
        return false;
    limit.at.slice = (int16_t)number;
    *ret = limit;
    return true;
}

static int64_t deadline(void)
{
    return clock_deadline_us(DEADLINE_MS);
}

static enum log_answer positions_at(struct pg *pg, int64_t time_us, int64_t ret[SLICE_COUNT])
{
    struct pg_args args;
    struct pg_rows *rows;
    pg_args_init(&args);
    pg_arg_time(&args, time_us);
    enum pg_status status = pg_call(pg, SQL_AT, &args, deadline(), &rows);
    pg_args_deinit(&args);
    if (status != PG_OK)
        return LOG_FAILED;
    for (int row = 0; row < pg_rows_count(rows); row++)
        if (pg_i64(rows, row, 0) >= 0 && pg_i64(rows, row, 0) < SLICE_COUNT)
            ret[pg_i64(rows, row, 0)] = pg_i64(rows, row, 1);
    pg_rows_destroy(rows);
    return LOG_ANSWERED;
}

static enum log_answer time_of(struct pg *pg, struct position at, int64_t *ret_us)
{
    struct pg_args args;
    struct pg_rows *rows;
    pg_args_init(&args);
    pg_arg_i16(&args, at.slice);
    pg_arg_i64(&args, at.position);
    enum pg_status status = pg_call(pg, SQL_TIME_OF, &args, deadline(), &rows);
    pg_args_deinit(&args);
    if (status != PG_OK)
        return LOG_FAILED;
    bool found = pg_rows_count(rows) == 1;
    if (found)
        *ret_us = pg_time(rows, 0, 0);
    pg_rows_destroy(rows);
    return found ? LOG_ANSWERED : LOG_NO_SUCH_EVENT;
}

enum log_answer log_limit_positions(struct pg *pg, const struct log_limit *limit, int64_t ret[SLICE_COUNT])
{
    static const int64_t origin[SLICE_COUNT];
    struct log_heads now;
    int64_t time_us = limit->time_us;
    enum log_answer answer =
        log_heads_read(pg, origin, deadline(), &now) == PG_OK ? LOG_ANSWERED : LOG_FAILED;
    if (answer == LOG_ANSWERED && limit->kind == LOG_LIMIT_POSITION)
        answer = time_of(pg, limit->at, &time_us);
    if (answer != LOG_ANSWERED)
        return answer;
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        ret[slice] = now.slices[slice].head;
    if (limit->kind == LOG_LIMIT_HEAD)
        return LOG_ANSWERED;
    if (time_us > now.now_us - SETTLED_S * US_PER_S)
        return LOG_TOO_RECENT;
    answer = positions_at(pg, time_us, ret);
    if (answer == LOG_ANSWERED && limit->kind == LOG_LIMIT_POSITION)
        ret[limit->at.slice] = limit->at.position;
    return answer;
}
