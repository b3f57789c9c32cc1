/* SPDX-License-Identifier: Apache-2.0 */
/* Reading log and state rows in bounded pages. */
#include "tests/chaos/log_image.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

enum { PAGE = 5000, STATEMENT_MS = 120000, ARENA_MAX = 1024 * 1024 * 1024 };
enum statement { READ_SLICES, READ_BATCHES, READ_EVENTS, READ_CAMPAIGNS, READ_COUPONS, COUNT_IDEMPOTENCY };

static const struct pg_statement statements[] = {
    [READ_SLICES] = {"slices", "SELECT slice, head, chain FROM slice ORDER BY slice"},
    [READ_BATCHES] = {"batches",
                      "SELECT first, last, chain, recorded_at FROM batch WHERE slice = $1::smallint"
                      " AND first > $2::bigint ORDER BY first LIMIT $3::bigint"},
    [READ_EVENTS] = {"events", LOG_READ_SQL},
    [READ_CAMPAIGNS] = {"campaigns", "SELECT id, released, issued, redeemed, reserved, status, plan_done,"
                                     " position, plan_halted FROM campaign ORDER BY slice, id"},
    [READ_COUPONS] = {"coupons", "SELECT slice, position, state, last, order_amount, discount_amount,"
                                 " reserved_until, order_id FROM coupon ORDER BY slice, position"},
    [COUNT_IDEMPOTENCY] =
        {"idempotency",
         "SELECT (SELECT count(*) FROM idempotency) + (SELECT count(*) FROM event WHERE key IS NOT NULL)"},
};

struct reader {
    struct pg *pg;
    struct pg_args args;
    struct log_image *image;
    bool here[SLICE_COUNT], seen[SLICE_COUNT]; /* in this database; in one so far */
    const char *wrong;
};

static bool fail(struct reader *reader, const char *wrong)
{
    reader->wrong = wrong;
    return false;
}

/* The rows live as long as the image, which borrows from them. */
static const struct pg_rows *query(struct reader *reader, enum statement statement)
{
    struct log_image *image = reader->image;
    struct pg_rows *rows = NULL;
    const struct pg_args *args = statement == READ_BATCHES || statement == READ_EVENTS ? &reader->args : NULL;
    if (pg_call(reader->pg, statement, args, clock_deadline_us(STATEMENT_MS), &rows) != PG_OK) {
        reader->wrong = pg_error(reader->pg);
        return NULL;
    }
    if (image->pages_count == image->pages_capacity) {
        image->pages_capacity = image->pages_capacity ? 2 * image->pages_capacity : 64;
        image->pages = mem_realloc(image->pages, image->pages_capacity * sizeof(struct pg_rows *));
    }
    image->pages[image->pages_count++] = rows;
    return rows;
}

static bool copy_chain(const struct pg_rows *rows, int row, int column, uint8_t ret[32])
{
    struct span chain = pg_bytes(rows, row, column);
    if (chain.len == 32)
        memcpy(ret, chain.ptr, 32);
    return chain.len == 32;
}

static bool read_slices(struct reader *reader)
{
    const struct pg_rows *rows = query(reader, READ_SLICES);
    int count = rows ? pg_rows_count(rows) : 0;
    memset(reader->here, 0, sizeof reader->here);
    for (int i = 0; i < count; i++) {
        int64_t slice = pg_i64(rows, i, 0);
        if (slice < 0 || slice >= SLICE_COUNT || reader->seen[slice])
            return fail(reader, "a slice is in two databases");
        reader->here[slice] = reader->seen[slice] = true;
        reader->image->slices[slice].head = pg_i64(rows, i, 1);
        if (!copy_chain(rows, i, 2, reader->image->slices[slice].chain))
            return fail(reader, "a slice has no hash");
    }
    return rows != NULL;
}

static bool read_events(struct reader *reader, int16_t slice)
{
    struct image_slice *image = &reader->image->slices[slice];
    for (;;) {
        int64_t after = image->events_count ? image->events[image->events_count - 1].position : 0;
        event_log_read_args(&reader->args, slice, after, PAGE);
        const struct pg_rows *rows = query(reader, READ_EVENTS);
        int count = rows ? pg_rows_count(rows) : 0;
        if (count == 0)
            return rows != NULL;
        image->events =
            mem_realloc(image->events, (image->events_count + (size_t)count) * sizeof *image->events);
        for (int i = 0; i < count; i++)
            if (event_log_row(rows, i, 0, &reader->image->arena, &image->events[image->events_count++]) !=
                CODEC_OK)
                return fail(reader, "an event cannot be decoded");
    }
}

static bool read_batches(struct reader *reader, int16_t slice)
{
    struct image_slice *image = &reader->image->slices[slice];
    for (;;) {
        pg_args_reset(&reader->args);
        pg_arg_i16(&reader->args, slice);
        pg_arg_i64(&reader->args,
                   image->batches_count ? image->batches[image->batches_count - 1].first : INT64_MIN);
        pg_arg_i64(&reader->args, PAGE);
        const struct pg_rows *rows = query(reader, READ_BATCHES);
        int count = rows ? pg_rows_count(rows) : 0;
        if (count == 0)
            return rows != NULL;
        image->batches =
            mem_realloc(image->batches, (image->batches_count + (size_t)count) * sizeof *image->batches);
        for (int i = 0; i < count; i++) {
            struct image_batch *batch = &image->batches[image->batches_count++];
            batch->first = pg_i64(rows, i, 0);
            batch->last = pg_i64(rows, i, 1);
            batch->recorded_at_us = pg_time(rows, i, 3);
            if (!copy_chain(rows, i, 2, batch->chain))
                return fail(reader, "a batch has no hash");
        }
    }
}

static bool read_campaigns(struct reader *reader)
{
    struct log_image *image = reader->image;
    const struct pg_rows *rows = query(reader, READ_CAMPAIGNS);
    int count = rows ? pg_rows_count(rows) : 0;
    image->campaigns = mem_realloc(image->campaigns,
                                   (image->campaigns_count + (size_t)count + 1) * sizeof *image->campaigns);
    for (int i = 0; i < count; i++)
        image->campaigns[image->campaigns_count++] = (struct image_campaign){
            .id = pg_bytes(rows, i, 0),
            .released = pg_i64(rows, i, 1),
            .issued = pg_i64(rows, i, 2),
            .redeemed = pg_i64(rows, i, 3),
            .reserved = pg_i64(rows, i, 4),
            .status = pg_i64(rows, i, 5),
            .plan_done = pg_i64(rows, i, 6),
            .position = pg_i64(rows, i, 7),
            .plan_halted = pg_i64(rows, i, 8) != 0,
        };
    return rows != NULL;
}

static bool read_coupons(struct reader *reader)
{
    struct log_image *image = reader->image;
    const struct pg_rows *rows = query(reader, READ_COUPONS);
    int count = rows ? pg_rows_count(rows) : 0;
    image->coupons =
        mem_realloc(image->coupons, (image->coupons_count + (size_t)count + 1) * sizeof *image->coupons);
    for (int i = 0; i < count; i++)
        image->coupons[image->coupons_count++] = (struct image_coupon){
            .at = {(int16_t)pg_i64(rows, i, 0), pg_i64(rows, i, 1)},
            .state = pg_i64(rows, i, 2),
            .last = pg_i64(rows, i, 3),
            .order_amount = pg_i64(rows, i, 4),
            .discount_amount = pg_i64(rows, i, 5),
            .reserved_until_us = pg_time(rows, i, 6),
            .order_id = pg_bytes(rows, i, 7),
        };
    return rows != NULL;
}

static bool read_all(struct reader *reader)
{
    if (pg_connect(reader->pg, clock_deadline_us(STATEMENT_MS)) != PG_OK)
        return fail(reader, pg_error(reader->pg));
    if (!read_slices(reader) || !read_campaigns(reader) || !read_coupons(reader))
        return false;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (reader->here[slice] && (!read_events(reader, slice) || !read_batches(reader, slice)))
            return false;
    const struct pg_rows *rows = query(reader, COUNT_IDEMPOTENCY);
    if (rows)
        reader->image->idempotency_rows += pg_i64(rows, 0, 0);
    return rows != NULL;
}

static bool read_database(struct reader *reader, const char *url, char *reason, size_t reason_size)
{
    struct pg_options options = {
        .url = url,
        .application = "chaos",
        .statement_timeout_ms = STATEMENT_MS,
        .lock_timeout_ms = STATEMENT_MS,
        .idle_in_transaction_timeout_ms = STATEMENT_MS,
        .statements = statements,
        .statements_count = COUNT_OF(statements),
    };
    reader->pg = pg_create(&options);
    bool read = read_all(reader);
    if (!read)
        snprintf(reason, reason_size, "%s", reader->wrong);
    pg_destroy(reader->pg);
    return read;
}

bool log_image_read(struct log_image *image, const char *const *database_urls, size_t count, char *reason,
                    size_t reason_size)
{
    *image = (struct log_image){0};
    arena_init(&image->arena, ARENA_MAX);
    struct reader reader = {.image = image};
    bool read = true;
    pg_args_init(&reader.args);
    for (size_t i = 0; i < count && read; i++)
        read = read_database(&reader, database_urls[i], reason, reason_size);
    for (size_t i = 0; i < SLICE_COUNT && read; i++)
        if (!(read = reader.seen[i]))
            snprintf(reason, reason_size, "there are not sixteen slices");
    pg_args_deinit(&reader.args);
    return read;
}

void log_image_deinit(struct log_image *image)
{
    for (size_t i = 0; i < SLICE_COUNT; i++) {
        mem_free(image->slices[i].events);
        mem_free(image->slices[i].batches);
    }
    for (size_t i = 0; i < image->pages_count; i++)
        pg_rows_destroy(image->pages[i]);
    mem_free(image->pages);
    mem_free(image->campaigns);
    mem_free(image->coupons);
    arena_deinit(&image->arena);
}
