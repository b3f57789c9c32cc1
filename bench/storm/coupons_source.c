/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the log in pages; what is of another campaign is passed over. */
#include "bench/storm/coupons_source.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "events/event_log.h"

enum { EVENTS_PER_PAGE = 2000, STATEMENT_MS = 30000, ARENA_MAX = 64 * 1024 * 1024 };

static const struct pg_statement statements[] = {{"events", LOG_READ_SQL}};

struct source {
    struct pg *pg;
    struct pg_args args;
    struct arena arena;
    const struct coupons_range *range;
    struct checker *checker;
    int64_t after; /* position of the last event read */
    const char *wrong;
};

static bool feed_page(struct source *source, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct event event;
        if (event_log_row(rows, row, 0, &source->arena, &event) != CODEC_OK) {
            source->wrong = "an event cannot be decoded";
            return false;
        }
        source->after = event.position;
        if (event.type == EVENT_CouponIssued && span_equal(event.campaign_id, source->range->campaign_id))
            checker_coupon(source->checker, &event);
    }
    return true;
}

static bool feed(struct source *source)
{
    int count = EVENTS_PER_PAGE;
    bool fed = pg_connect(source->pg, clock_deadline_us(STATEMENT_MS)) == PG_OK;
    while (fed && count == EVENTS_PER_PAGE) {
        struct pg_rows *rows = NULL;
        arena_reset(&source->arena);
        event_log_read_args(&source->args, source->range->created_at.slice, source->after, EVENTS_PER_PAGE);
        fed = pg_call(source->pg, 0, &source->args, clock_deadline_us(STATEMENT_MS), &rows) == PG_OK;
        count = fed ? pg_rows_count(rows) : 0;
        fed = fed && feed_page(source, rows);
        pg_rows_destroy(rows);
    }
    return fed;
}

bool coupons_source_feed(const struct coupons_range *range, struct checker *checker, char *reason,
                         size_t reason_size)
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
    struct source source = {.pg = pg_create(&options),
                            .range = range,
                            .checker = checker,
                            .after = range->created_at.position - 1};
    pg_args_init(&source.args);
    arena_init(&source.arena, ARENA_MAX);
    bool fed = feed(&source);
    if (!fed)
        snprintf(reason, reason_size, "%s", source.wrong ? source.wrong : pg_error(source.pg));
    arena_deinit(&source.arena);
    pg_args_deinit(&source.args);
    pg_destroy(source.pg);
    return fed;
}
