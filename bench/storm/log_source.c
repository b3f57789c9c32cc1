/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the log for the checker. The slice's head is read first and nothing past it, so that a log which
 * other campaigns go on writing to has an end. */
#include "bench/storm/log_source.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "events/event_log.h"

enum { BATCHES_PER_PAGE = 500, EVENTS_PER_PAGE = 2000, STATEMENT_MS = 30000, ARENA_MAX = 64 * 1024 * 1024 };

enum statement { READ_HEAD, READ_FIRST, READ_BATCHES, READ_EVENTS };

static const struct pg_statement statements[] = {
    [READ_HEAD] = {"head", "SELECT head FROM slice WHERE slice = $1::smallint"},
    /* The batch that has position $2, and the one before it. */
    [READ_FIRST] = {"first",
                    "SELECT first, last, chain FROM batch WHERE slice = $1::smallint AND first <= $2::bigint"
                    " ORDER BY first DESC LIMIT 2"},
    [READ_BATCHES] = {"batches",
                      "SELECT first, last, chain, recorded_at FROM batch WHERE slice = $1::smallint"
                      " AND first > $2::bigint AND first <= $3::bigint ORDER BY first LIMIT $4::bigint"},
    [READ_EVENTS] = {"events", LOG_READ_SQL},
};

struct log_source {
    struct pg *pg;
    struct pg_args args;
    const struct log_range *range;
    struct checker *checker;
    int64_t head;
    /* the page of events that is being read, and how far */
    struct pg_rows *events;
    struct arena arena;
    int event_next;
    int64_t event_last; /* position of the last event read */
    const char *wrong;  /* why reading ended early */
};

static bool stop(struct log_source *source, const char *wrong)
{
    source->wrong = wrong;
    return false;
}

static bool query(struct log_source *source, enum statement statement, struct pg_rows **ret)
{
    int64_t deadline_us = clock_deadline_us(STATEMENT_MS);
    if (pg_call(source->pg, statement, &source->args, deadline_us, ret) != PG_OK)
        return stop(source, pg_error(source->pg));
    return true;
}

static bool read_head(struct log_source *source)
{
    struct pg_rows *rows = NULL;
    pg_args_reset(&source->args);
    pg_arg_i16(&source->args, source->range->slice);
    if (!query(source, READ_HEAD, &rows))
        return false;
    bool one = pg_rows_count(rows) == 1;
    if (one)
        source->head = pg_i64(rows, 0, 0);
    pg_rows_destroy(rows);
    return one ? true : stop(source, "the slice has no row");
}

static bool chain_of(const struct pg_rows *rows, int row, uint8_t ret[32])
{
    struct span chain = pg_bytes(rows, row, 2);
    if (chain.len != 32)
        return false;
    memcpy(ret, chain.ptr, 32);
    return true;
}

/* Tells the checker where the log begins for it. */
static bool begin(struct log_source *source)
{
    struct pg_rows *rows = NULL;
    uint8_t chain[32] = {0};
    pg_args_reset(&source->args);
    pg_arg_i16(&source->args, source->range->slice);
    pg_arg_i64(&source->args, source->range->from);
    if (!query(source, READ_FIRST, &rows))
        return false;
    int count = pg_rows_count(rows);
    bool found = count > 0 && pg_i64(rows, 0, 1) >= source->range->from;
    found = found && (count == 1 || chain_of(rows, 1, chain));
    if (found) {
        source->event_last = count == 1 ? 0 : pg_i64(rows, 1, 1);
        checker_log_begin(source->checker, source->event_last, chain);
    }
    pg_rows_destroy(rows);
    return found ? true : stop(source, "the batch that created the campaign is not in the log");
}

static bool next_page(struct log_source *source)
{
    pg_rows_destroy(source->events);
    source->events = NULL;
    arena_reset(&source->arena);
    source->event_next = 0;
    event_log_read_args(&source->args, source->range->slice, source->event_last, EVENTS_PER_PAGE);
    return query(source, READ_EVENTS, &source->events);
}

/* Feeds the events up to position `last`, or as many of them as there are. */
static bool feed_events(struct log_source *source, int64_t last)
{
    while (source->event_last < last) {
        struct event event;
        if (!source->events || source->event_next == pg_rows_count(source->events)) {
            if (!next_page(source))
                return false;
            if (pg_rows_count(source->events) == 0)
                return true; /* a gap at the end: the checker sees it */
        }
        int64_t position = pg_i64(source->events, source->event_next, 0);
        if (position > last)
            return true; /* a gap before it */
        if (event_log_row(source->events, source->event_next, 0, &source->arena, &event) != CODEC_OK)
            return stop(source, "an event cannot be decoded");
        source->event_next++;
        source->event_last = position;
        checker_event(source->checker, &event);
    }
    return true;
}

static bool feed_batch(struct log_source *source, const struct pg_rows *rows, int row, int64_t *first)
{
    struct checked_batch batch = {
        .first = pg_i64(rows, row, 0), .last = pg_i64(rows, row, 1), .recorded_at_us = pg_time(rows, row, 3)};
    *first = batch.first;
    if (!chain_of(rows, row, batch.chain))
        return stop(source, "a batch has no hash");
    checker_batch_begin(source->checker, &batch);
    bool fed = feed_events(source, batch.last);
    checker_batch_end(source->checker);
    return fed;
}

static bool feed_batches(struct log_source *source)
{
    int64_t after = source->event_last;
    for (;;) {
        struct pg_rows *rows = NULL;
        pg_args_reset(&source->args);
        pg_arg_i16(&source->args, source->range->slice);
        pg_arg_i64(&source->args, after);
        pg_arg_i64(&source->args, source->head);
        pg_arg_i64(&source->args, BATCHES_PER_PAGE);
        if (!query(source, READ_BATCHES, &rows))
            return false;
        int count = pg_rows_count(rows);
        bool fed = true;
        for (int row = 0; row < count && fed; row++)
            fed = feed_batch(source, rows, row, &after);
        pg_rows_destroy(rows);
        if (!fed || count < BATCHES_PER_PAGE)
            return fed;
    }
}

static bool feed(struct log_source *source)
{
    if (pg_connect(source->pg, clock_deadline_us(STATEMENT_MS)) != PG_OK)
        return stop(source, pg_error(source->pg));
    return read_head(source) && begin(source) && feed_batches(source);
}

bool log_source_feed(const struct log_range *range, struct checker *checker, char *reason, size_t reason_size)
{
    struct pg_options options = {
        .url = range->database_url,
        .application = "storm",
        .statement_timeout_ms = STATEMENT_MS,
        .lock_timeout_ms = STATEMENT_MS,
        .idle_in_transaction_timeout_ms = STATEMENT_MS,
        .statements = statements,
        .statements_count = COUNT_OF(statements),
    };
    struct log_source source = {.pg = pg_create(&options), .range = range, .checker = checker};
    pg_args_init(&source.args);
    arena_init(&source.arena, ARENA_MAX);
    bool fed = feed(&source);
    if (fed)
        checker_log_end(checker);
    else
        snprintf(reason, reason_size, "%s", source.wrong);
    pg_rows_destroy(source.events);
    arena_deinit(&source.arena);
    pg_args_deinit(&source.args);
    pg_destroy(source.pg);
    return fed;
}
