/* SPDX-License-Identifier: Apache-2.0 */
/* Asking PostgreSQL for heads and events. */
#include "projector/run/log_reader.h"

#include "events/event_log.h"
#include "projector/sql.h"

void feed_init(struct feed *feed, struct pg *pg)
{
    feed->pg = pg;
    pg_args_init(&feed->args);
}

void feed_deinit(struct feed *feed)
{
    pg_args_deinit(&feed->args);
}

static void ask_heads(struct feed *feed, const int64_t positions[SLICE_COUNT])
{
    pg_args_reset(&feed->args);
    pg_array_begin(&feed->args, PG_INT8);
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        pg_array_i64(&feed->args, positions[slice]);
    pg_array_end(&feed->args);
    pg_send(feed->pg, SQL_HEADS, &feed->args);
}

/* How many rows to ask for: the log has no gaps, so a limit by position is one by count. */
static int64_t rows_of(int64_t position, const int64_t *limit, int page)
{
    CHECK(!limit || *limit > position);
    return limit && *limit - position < page ? *limit - position : page;
}

int feed_page(unsigned wanted)
{
    int slices = __builtin_popcount(wanted);
    int page = FEED_ROUND_ROWS / (slices ? slices : 1);
    return page > FEED_ROWS_MAX ? FEED_ROWS_MAX : page < FEED_ROWS_MIN ? FEED_ROWS_MIN : page;
}

void feed_ask(struct feed *feed, const int64_t positions[SLICE_COUNT], unsigned wanted, const int64_t *limits)
{
    /* The heads first: the events are then read by a later snapshot and reach at least up to them. */
    ask_heads(feed, positions);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(wanted & 1U << slice))
            continue;
        event_log_read_args(&feed->args, slice, positions[slice],
                            rows_of(positions[slice], limits ? &limits[slice] : NULL, feed_page(wanted)));
        pg_send(feed->pg, SQL_READ, &feed->args);
    }
    pg_sync(feed->pg);
}

/* What a statement of ours is refused for (a timeout, a lost right) does not go away on this connection. */
static enum pg_status receive(struct feed *feed, int64_t deadline_us, struct pg_rows **ret)
{
    enum pg_status status = pg_receive(feed->pg, deadline_us, ret);
    if (status == PG_REFUSED)
        pg_disconnect(feed->pg);
    return status;
}

enum pg_status feed_receive_heads(struct feed *feed, int64_t deadline_us, struct feed_heads *ret)
{
    struct pg_rows *rows;
    enum pg_status status = receive(feed, deadline_us, &rows);
    if (status != PG_OK)
        return status;
    CHECK(pg_rows_count(rows) == SLICE_COUNT); /* fixed by the schema */
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        ret->slices[slice] = (struct feed_head){
            .head = pg_i64(rows, slice, 0),
            .head_at_us = pg_time(rows, slice, 1),
            .oldest_us = pg_time(rows, slice, 2),
        };
    ret->now_us = pg_time(rows, 0, 3);
    pg_rows_destroy(rows);
    return PG_OK;
}

enum pg_status feed_receive_rows(struct feed *feed, int64_t deadline_us, struct pg_rows **ret)
{
    return receive(feed, deadline_us, ret);
}
