/* SPDX-License-Identifier: Apache-2.0 */
/* Asking PostgreSQL for heads and events. */
#include "projector/run/log_reader.h"

#include "events/event_log.h"
#include "projector/sql.h"

void log_reader_init(struct log_reader *reader, struct pg *pg)
{
    reader->pg = pg;
    pg_args_init(&reader->args);
}

void log_reader_deinit(struct log_reader *reader)
{
    pg_args_deinit(&reader->args);
}

static void ask_heads(struct log_reader *reader, const int64_t positions[SLICE_COUNT])
{
    pg_args_reset(&reader->args);
    pg_array_begin(&reader->args, PG_INT8);
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        pg_array_i64(&reader->args, positions[slice]);
    pg_array_end(&reader->args);
    pg_send(reader->pg, SQL_HEADS, &reader->args);
}

int log_reader_page(unsigned wanted)
{
    int slices = __builtin_popcount(wanted);
    int page = LOG_ROUND_ROWS / (slices ? slices : 1);
    return page > LOG_ROWS_MAX ? LOG_ROWS_MAX : page < LOG_ROWS_MIN ? LOG_ROWS_MIN : page;
}

void log_reader_ask(struct log_reader *reader, const int64_t positions[SLICE_COUNT], unsigned wanted)
{
    /* The heads first: the events are then read by a later snapshot and reach at least up to them. */
    ask_heads(reader, positions);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (!(wanted & 1U << slice))
            continue;
        event_log_read_args(&reader->args, slice, positions[slice], log_reader_page(wanted));
        pg_send(reader->pg, SQL_READ, &reader->args);
    }
    pg_sync(reader->pg);
}

/* What a statement of ours is refused for (a timeout, a lost right) does not go away on this connection. */
static enum pg_status receive(struct log_reader *reader, int64_t deadline_us, struct pg_rows **ret)
{
    enum pg_status status = pg_receive(reader->pg, deadline_us, ret);
    if (status == PG_REFUSED)
        pg_disconnect(reader->pg);
    return status;
}

enum pg_status log_reader_heads(struct log_reader *reader, int64_t deadline_us, struct log_heads *ret)
{
    struct pg_rows *rows;
    enum pg_status status = receive(reader, deadline_us, &rows);
    if (status != PG_OK)
        return status;
    *ret = (struct log_heads){.now_us = pg_rows_count(rows) ? pg_time(rows, 0, 3) : 0};
    for (int row = 0; row < pg_rows_count(rows); row++) {
        int64_t slice = pg_i64(rows, row, 5);
        struct span chain = pg_bytes(rows, row, 4);
        CHECK(slice >= 0 && slice < SLICE_COUNT); /* fixed by the schema */
        ret->slices[slice] = (struct log_head){
            .known = true,
            .head = pg_i64(rows, row, 0),
            .head_at_us = pg_time(rows, row, 1),
            .oldest_us = pg_time(rows, row, 2),
            .chain_known = true,
        };
        CHECK(chain.len == sizeof ret->slices[slice].chain);
        memcpy(ret->slices[slice].chain, chain.ptr, chain.len);
    }
    pg_rows_destroy(rows);
    return PG_OK;
}

enum pg_status log_heads_read(struct pg *pg, const int64_t positions[SLICE_COUNT], int64_t deadline_us,
                              struct log_heads *ret)
{
    struct log_reader reader;
    log_reader_init(&reader, pg);
    log_reader_ask(&reader, positions, 0);
    enum pg_status status = log_reader_heads(&reader, deadline_us, ret);
    log_reader_deinit(&reader);
    return status;
}

enum pg_status log_reader_rows(struct log_reader *reader, int64_t deadline_us, struct pg_rows **ret)
{
    return receive(reader, deadline_us, ret);
}
