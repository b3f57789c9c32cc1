/* SPDX-License-Identifier: Apache-2.0 */
/* The lane of exports: where one begins, its pages, and what becomes of it. An export is one thread's at a
 * time: the HTTP thread's that submits it or asks for the next page, then the pool's and a worker's, and
 * after an answer was given the HTTP server's again. */
#include "query-service/export/export.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "events/problems.h"
#include "query-service/export/csv.h"
#include "query-service/export/export_sql.h"
#include "query-service/http/respond.h"
#include "query-service/load/breaker.h"
#include "query-service/metrics.h"

enum {
    THREADS = 2, /* each with a connection */
    CLIENT_SPARE_MS = 200,
    PAGE_TRIES = 5, /* each with the time for a statement; then it is given up */
    PAGE_ROWS = 1000,
    PAGE_ROWS_MIN = 50, /* fewer each time PostgreSQL did not answer in time */
    RETRY_AFTER_MS = 5000,
    ARENA_BYTES = 64 * 1024
};

enum statement { SQL_HEAD, SQL_LOG_AT, SQL_AT, SQL_PAGE, SQL_COUNT };

static const struct pg_statement statements[SQL_COUNT] = {
    [SQL_HEAD] = {"export_head", EXPORT_HEAD_SQL},
    [SQL_LOG_AT] = {"export_log_at", LOG_AT_SQL},
    [SQL_AT] = {"export_at", EXPORT_AT_SQL},
    [SQL_PAGE] = {"export_page", EXPORT_PAGE_SQL},
};

struct worker {
    struct exports *exports;
    struct pg *pg;
    struct pg_args args;
};

struct exports {
    struct exports_options options;
    struct worker_pool *pool;
    struct worker workers[THREADS];
    struct breaker breaker;
    atomic_int_fast64_t running;
};

struct export
{
    struct work_item item; /* first, so that the pool's item is the export */
    struct exports *exports;
    struct http_request *request;
    struct query query;
    int64_t broken_off_us; /* its deadline */
    uint64_t log_epoch;
    bool begun;             /* its first piece is with the HTTP server */
    struct position at;     /* of the log */
    int64_t count, written; /* coupons that it has, and of those how many were written */
    int64_t last;           /* position of the last one written */
    int64_t rows;           /* of a page */
};

/* What came of a page or of the beginning. */
enum outcome {
    OUTCOME_GOOD,
    OUTCOME_AGAIN,   /* PostgreSQL did not answer */
    OUTCOME_WRONG,   /* the log is not what it was */
    OUTCOME_ANSWERED /* with a problem: the export is gone */
};

struct export *export_create(int64_t now_us)
{
    struct export *export = mem_zalloc(sizeof *export);
    query_init(&export->query, QUERY_HOLDERS, now_us);
    export->rows = PAGE_ROWS;
    return export;
}

struct query *export_query(struct export *export)
{
    return &export->query;
}

void export_destroy(struct export *export)
{
    mem_free(export);
}

static void end(struct export *export)
{
    metric_add(query_metrics.exports_running, (uint64_t)-1);
    atomic_fetch_sub(&export->exports->running, 1);
    export_destroy(export);
}

/* The HTTP server has no more to ask for. */
static void release(void *owner)
{
    struct export *export = owner;
    bool complete = export->written == export->count;
    metric_add(complete ? query_metrics.exports_complete : query_metrics.exports_broken, 1);
    end(export);
}

/* Not begun yet: a problem says so. */
static void refuse(struct export *export, enum read_failure failure)
{
    respond_failure(export->request, failure);
    end(export);
}

/* --- asking --- */

static bool ask(struct worker *worker, enum statement statement, int64_t deadline_us, struct pg_rows **ret)
{
    pg_send(worker->pg, statement, &worker->args);
    pg_sync(worker->pg);
    return pg_receive(worker->pg, deadline_us, ret) == PG_OK;
}

/* The head, and what was asked with it at the same instant. False, with nothing, where PostgreSQL did not
 * answer both, or the slice is another database's. */
static bool receive_two(struct worker *worker, int64_t deadline_us, struct pg_rows **ret_head,
                        struct pg_rows **ret)
{
    pg_sync(worker->pg);
    *ret = NULL;
    enum pg_status status = pg_receive(worker->pg, deadline_us, ret_head);
    if (status == PG_OK || status == PG_REFUSED) {
        enum pg_status second = pg_receive(worker->pg, deadline_us, ret);
        if (status == PG_OK && second == PG_OK && pg_rows_count(*ret_head) == 1)
            return true;
    }
    pg_rows_destroy(*ret_head);
    pg_rows_destroy(*ret);
    return false;
}

static bool connected(struct worker *worker, int64_t deadline_us)
{
    return pg_connected(worker->pg) || pg_connect(worker->pg, deadline_us) == PG_OK;
}

static void begin_args(struct worker *worker, const struct export *export)
{
    pg_args_reset(&worker->args);
    pg_arg_i16(&worker->args, slice_of(export->query.campaign_id));
}

/* --- the beginning --- */

/* The position that is asked for, or the one the log is at. False: PostgreSQL did not answer. */
static bool find_position(struct worker *worker, struct export *export, int64_t deadline_us,
                          int64_t *ret_head)
{
    const struct query *query = &export->query;
    struct pg_rows *rows;
    export->at.slice = slice_of(query->campaign_id);
    begin_args(worker, export);
    if (!ask(worker, SQL_HEAD, deadline_us, &rows))
        return false;
    bool owned = pg_rows_count(rows) > 0; /* or the slice is another database's */
    *ret_head = owned ? pg_i64(rows, 0, 0) : 0;
    pg_rows_destroy(rows);
    if (!owned)
        return false;
    export->at.position = query->past.kind == PAST_POSITION ? query->past.at.position : *ret_head;
    if (query->past.kind != PAST_INSTANT)
        return true;
    pg_args_reset(&worker->args);
    pg_arg_time(&worker->args, query->past.at_us);
    if (!ask(worker, SQL_LOG_AT, deadline_us, &rows))
        return false;
    owned = slices_of(rows) >> export->at.slice & 1;
    for (int row = 0; row < pg_rows_count(rows); row++)
        if (pg_i64(rows, row, 0) == export->at.slice)
            export->at.position = pg_i64(rows, row, 1);
    pg_rows_destroy(rows);
    return owned;
}

static enum outcome refused(struct export *export, enum read_failure failure)
{
    refuse(export, failure);
    return OUTCOME_ANSWERED;
}

static enum outcome begin(struct worker *worker, struct export *export, int64_t deadline_us)
{
    struct query *query = &export->query;
    struct pg_rows *heads, *rows;
    int64_t head;
    if (!find_position(worker, export, deadline_us, &head))
        return OUTCOME_AGAIN;
    if (query_at_least(query, export->at.slice) > head)
        return refused(export, READ_NOT_REACHED);
    if (export->at.position > head)
        return refused(export, READ_AHEAD);
    begin_args(worker, export);
    pg_send(worker->pg, SQL_HEAD, &worker->args);
    pg_arg_bytes(&worker->args, query->campaign_id);
    pg_arg_i64(&worker->args, export->at.position);
    pg_send(worker->pg, SQL_AT, &worker->args);
    if (!receive_two(worker, deadline_us, &heads, &rows))
        return OUTCOME_AGAIN;
    pg_rows_destroy(heads);
    bool there = pg_rows_count(rows) == 1 && pg_i64(rows, 0, 0) <= export->at.position;
    export->count = there ? pg_i64(rows, 0, 2) : 0;
    if (there && query->past.kind == PAST_POSITION)
        query->now_us = pg_time(rows, 0, 1);
    pg_rows_destroy(rows);
    if (there)
        return OUTCOME_GOOD;
    respond_problem(export->request, &(struct problem_detail){.problem = &problem_unknown_campaign});
    end(export);
    return OUTCOME_ANSWERED;
}

/* --- a page --- */

static bool take_event(const struct pg_rows *rows, int row, int column, struct arena *arena,
                       struct event *ret)
{
    return !pg_is_null(rows, row, column) && event_log_row(rows, row, column, arena, ret) == CODEC_OK;
}

/* A coupon as it was at the position: each of its events says all of its state. */
static bool take_coupon(const struct pg_rows *rows, int row, const struct export *export, struct arena *arena,
                        struct coupon *ret)
{
    enum { ISSUED = 0, LAST = LOG_COLUMN_COUNT, BEFORE = 2 * LOG_COLUMN_COUNT };
    struct event event;
    if (!take_event(rows, row, ISSUED, arena, &event) || event.type != EVENT_CouponIssued)
        return false;
    *ret = coupon_from_event(&event);
    if (pg_is_null(rows, row, LAST))
        return true; /* nothing happened to it */
    int column = pg_i64(rows, row, LAST) <= export->at.position ? LAST : BEFORE;
    if (column == BEFORE && pg_is_null(rows, row, BEFORE))
        return true; /* nothing had happened to it by then */
    if (!take_event(rows, row, column, arena, &event) || !coupon_concerned(&event))
        return false;
    coupon_apply(ret, &event);
    return true;
}

/* Coupons are counted without a gap, so those of the log that was asked at first are told from others. */
static enum outcome write_rows(const struct pg_rows *rows, struct export *export, struct buf *out)
{
    struct arena arena;
    enum outcome outcome = pg_rows_count(rows) > 0 ? OUTCOME_GOOD : OUTCOME_WRONG;
    arena_init(&arena, ARENA_BYTES);
    for (int row = 0; row < pg_rows_count(rows) && out->len + CSV_ROW_MAX < HTTP_PIECE_MAX; row++) {
        struct coupon coupon;
        arena_reset(&arena);
        if (!take_coupon(rows, row, export, &arena, &coupon) || coupon.sequence != export->written + 1 ||
            coupon.at.position > export->at.position) {
            outcome = OUTCOME_WRONG;
            break;
        }
        csv_write_coupon(out, &coupon, &export->exports->options.code_key, export->query.now_us);
        export->written++;
        export->last = coupon.at.position;
    }
    arena_deinit(&arena);
    return outcome;
}

static enum outcome page(struct worker *worker, struct export *export, int64_t deadline_us)
{
    struct buf *out = http_reply_body(export->request);
    struct pg_rows *head, *rows;
    int64_t left = export->count - export->written;
    if (atomic_load(export->exports->options.log_epoch) != export->log_epoch)
        return OUTCOME_WRONG;
    begin_args(worker, export);
    pg_send(worker->pg, SQL_HEAD, &worker->args);
    pg_arg_bytes(&worker->args, export->query.campaign_id);
    pg_arg_i64(&worker->args, export->written);
    pg_arg_i64(&worker->args, left < export->rows ? left : export->rows);
    pg_arg_i64(&worker->args, export->at.position);
    pg_arg_i64(&worker->args, export->last);
    pg_send(worker->pg, SQL_PAGE, &worker->args);
    if (!receive_two(worker, deadline_us, &head, &rows))
        return OUTCOME_AGAIN;
    enum outcome outcome =
        pg_i64(head, 0, 0) < export->at.position ? OUTCOME_AGAIN : write_rows(rows, export, out);
    pg_rows_destroy(head);
    pg_rows_destroy(rows);
    return outcome;
}

/* --- one export's turn --- */

static void next(struct http_request *request, void *owner)
{
    struct export *export = owner;
    export->request = request;
    export->item.deadline_us = clock_deadline_us(PAGE_TRIES * export->exports->options.timeout_ms);
    if (!pool_submit(export->exports->pool, &export->item))
        http_reply_piece(request, HTTP_PIECE_BROKEN);
}

static void name(struct export *export)
{
    struct http_request *request = export->request;
    struct buf text;
    buf_init(&text, CAMPAIGN_ID_MAX + 128);
    consistency_token_write(&text, export->at);
    http_add_header(request, "Consistency-Token", buf_span(&text));
    buf_clear(&text);
    buf_printf(&text, "attachment; filename=\"%.*s-%d-%lld.csv\"", SPAN_ARG(export->query.campaign_id),
               export->at.slice, (long long)export->at.position);
    http_add_header(request, "Content-Disposition", buf_span(&text));
    http_add_header(request, "Vary", SPAN("Accept"));
    http_add_header(request, "Cache-Control", SPAN("no-store"));
    buf_deinit(&text);
}

/* Hands the page over; from here on the export is the HTTP server's. */
static void send_page(struct export *export)
{
    enum http_piece piece = export->written == export->count ? HTTP_PIECE_LAST : HTTP_PIECE_MORE;
    if (export->begun) {
        http_reply_piece(export->request, piece);
        return;
    }
    name(export);
    export->begun = true;
    http_reply_stream(
        export->request, 200, "text/csv; charset=utf-8; header=present", piece,
        &(struct http_stream){
            .next = next, .release = release, .owner = export, .deadline_us = export->broken_off_us});
}

static void give_up(struct export *export, enum read_failure failure)
{
    buf_clear(http_reply_body(export->request));
    if (export->begun)
        http_reply_piece(export->request, HTTP_PIECE_BROKEN);
    else
        refuse(export, failure);
}

/* As much of it as one turn gives: the first also finds out what the export is of. */
static enum outcome turn(struct worker *worker, struct export *export)
{
    int64_t deadline_us = clock_deadline_us(worker->exports->options.timeout_ms + CLIENT_SPARE_MS);
    enum outcome outcome = OUTCOME_GOOD;
    if (export->item.deadline_us < deadline_us)
        deadline_us = export->item.deadline_us;
    buf_clear(http_reply_body(export->request)); /* it may be asked again */
    if (!connected(worker, deadline_us))
        return OUTCOME_AGAIN;
    if (!export->begun) {
        outcome = begin(worker, export, deadline_us);
        if (outcome == OUTCOME_GOOD)
            csv_write_names(http_reply_body(export->request));
    }
    return outcome == OUTCOME_GOOD && export->count > 0 ? page(worker, export, deadline_us) : outcome;
}

static void ask_again(struct export *export)
{
    if (clock_mono_us() >= export->item.deadline_us)
        give_up(export, READ_UNAVAILABLE);
    else
        pool_park(export->exports->pool, &export->item);
}

static void run(struct worker *worker, struct export *export)
{
    struct exports *exports = worker->exports;
    if (!breaker_allows(&exports->breaker, clock_mono_us())) {
        ask_again(export);
        return;
    }
    enum outcome outcome = turn(worker, export);
    if (outcome == OUTCOME_AGAIN) {
        breaker_failure(&exports->breaker, clock_mono_us());
        log_warn("EXPORT-FAILED", "reading holders: %s", pg_error(worker->pg));
        export->rows = export->rows / 2 > PAGE_ROWS_MIN ? export->rows / 2 : PAGE_ROWS_MIN;
        ask_again(export);
        return;
    }
    breaker_success(&exports->breaker);
    if (outcome == OUTCOME_GOOD) {
        export->rows = export->rows < PAGE_ROWS / 2 ? 2 * export->rows : PAGE_ROWS;
        send_page(export);
    } else if (outcome == OUTCOME_WRONG) {
        log_error("EXPORT-BROKEN", "the log is not the one that an export began with, or not understood");
        give_up(export, READ_INTERNAL);
    }
}

static void work(void *state, struct work_item *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        run(state, (struct export *)items[i]);
}

/* Nobody got to it in time. */
static void expire(void *context, struct work_item *item)
{
    (void)context;
    give_up((struct export *)item, READ_UNAVAILABLE);
}

/* --- life --- */

static void worker_init(struct exports *exports, struct worker *worker)
{
    const struct exports_options *options = &exports->options;
    worker->exports = exports;
    worker->pg = pg_create(&(struct pg_options){
        .url = options->shard->url,
        .role = "firstcome_query",
        .application = "firstcome query export",
        .statement_timeout_ms = options->timeout_ms,
        .lock_timeout_ms = options->timeout_ms,
        .idle_in_transaction_timeout_ms = options->timeout_ms,
        .snapshot = true,
        .statements = statements,
        .statements_count = SQL_COUNT,
        .schema = SCHEMA_MIN,
    });
    pg_args_init(&worker->args);
}

struct exports *exports_create(const struct exports_options *options)
{
    struct exports *exports = mem_zalloc(sizeof *exports);
    void *state[THREADS];
    exports->options = *options;
    breaker_init(&exports->breaker);
    for (size_t i = 0; i < THREADS; i++) {
        worker_init(exports, &exports->workers[i]);
        state[i] = &exports->workers[i];
    }
    exports->pool = pool_create(&(struct pool_options){.name = "export",
                                                       .threads = THREADS,
                                                       .items_max = (size_t)options->running_max,
                                                       .batch_max = 1,
                                                       .state = state,
                                                       .work = work,
                                                       .expire = expire});
    return exports;
}

void exports_start(struct exports *exports)
{
    pool_start(exports->pool);
}

void exports_stop(struct exports *exports)
{
    pool_stop(exports->pool);
}

void exports_destroy(struct exports *exports)
{
    CHECK(atomic_load(&exports->running) == 0);
    pool_destroy(exports->pool);
    for (size_t i = 0; i < THREADS; i++) {
        pg_destroy(exports->workers[i].pg);
        pg_args_deinit(&exports->workers[i].args);
    }
    breaker_deinit(&exports->breaker);
    mem_free(exports);
}

void exports_submit(struct exports *exports, struct http_request *request, struct export *export,
                    int64_t first_us)
{
    int64_t running = atomic_fetch_add(&exports->running, 1) + 1;
    export->exports = exports;
    export->request = request;
    export->item.deadline_us = first_us;
    export->broken_off_us = http_received_us(request) + exports->options.deadline_ms * US_PER_MS;
    export->log_epoch = atomic_load(exports->options.log_epoch);
    metric_add(query_metrics.exports_running, 1);
    http_defer(request);
    if (running <= exports->options.running_max && pool_submit(exports->pool, &export->item))
        return;
    metric_add(query_metrics.exports_refused, 1);
    respond_problem(request, &(struct problem_detail){.problem = &problem_overloaded,
                                                      .detail = "as many exports run as may (exports-max)",
                                                      .retry_after_ms = RETRY_AFTER_MS});
    end(export);
}
