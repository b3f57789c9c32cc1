/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of the feed and its lists: `incoming` by the HTTP threads under the lock, the rest its own. */
#include "query-service/feed/feed.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/json.h"
#include "events/event_json.h"
#include "events/event_log.h"
#include "events/problems.h"

enum {
    TICK_MS = 500,
    SCAN_MAX = 1000,        /* events looked at for one answer; a filter may take none of them */
    ANSWER_BYTES = 4 << 20, /* an answer that is longer ends before the limit */
    ARENA_BYTES = 64 << 20, /* of the decoded events of one read: never reached */
    RETRY_MS = 250,         /* between attempts to connect */
    PACE_MS = 20,           /* between two looks at the log, however many hints come */
};

enum feed_statement { FEED_HEADS, FEED_READ, FEED_STATEMENTS };
static const struct pg_statement statements[FEED_STATEMENTS] = {
    [FEED_HEADS] = {"feed_heads", "SELECT slice, head FROM slice"},
    [FEED_READ] = {"feed_read", LOG_READ_SQL},
};

struct follower {
    struct follower *next;
    struct http_request *request;
    struct feed_query query;
    int64_t until_us; /* answered by then, with or without news */
};

struct feed {
    struct feed_options options;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows up to the next comment */
    pthread_cond_t came;
    struct follower *incoming, **incoming_last;
    size_t count; /* incoming and waiting */
    bool woken;
    bool stopping;
    /* the thread's own */
    struct pg *pg;
    struct pg_args args;
    struct follower *waiting;
    int64_t retry_us;
    bool hurry; /* a filter took nothing of what was looked at, and there is more */
    /* for anyone */
    _Atomic int64_t heads[SLICE_COUNT];
    _Atomic unsigned wanted; /* slices somebody waits for */
    atomic_bool usable, retiring;
};

/* --- answering --- */

static void forget(struct feed *feed, struct follower *follower)
{
    pthread_mutex_lock(&feed->lock);
    feed->count--;
    pthread_mutex_unlock(&feed->lock);
    mem_free(follower);
}

/* A page of the log: items and where the next one begins. */
struct page {
    struct buf items;
    size_t count;
    int64_t next;
};

static void answer(struct feed *feed, struct follower *follower, const struct page *page)
{
    struct buf *body = http_reply_body(follower->request);
    json_open(body, NULL, '{');
    json_put_raw(body, "items", buf_span(&page->items));
    json_put_int(body, "next", page->next);
    json_close(body, '}');
    http_add_header(follower->request, "Cache-Control", SPAN("no-store"));
    http_reply(follower->request, 200);
    forget(feed, follower);
}

static void answer_nothing(struct feed *feed, struct follower *follower)
{
    struct page page = {.next = follower->query.after};
    buf_init(&page.items, 8);
    buf_append_text(&page.items, "[]");
    answer(feed, follower, &page);
    buf_deinit(&page.items);
}

static void refuse(struct http_request *request, const struct problem *problem, const char *why)
{
    http_add_header(request, "Cache-Control", SPAN("no-store"));
    http_problem(request, &(struct problem_detail){.problem = problem,
                                                   .detail = why,
                                                   .retry_after_ms = problem->retryable ? 1000 : 0});
}

static void fail(struct feed *feed, struct follower *follower, const struct problem *problem, const char *why)
{
    refuse(follower->request, problem, why);
    forget(feed, follower);
}

/* --- reading --- */

static bool ready(struct feed *feed, int64_t deadline_us)
{
    if (pg_connected(feed->pg))
        return true;
    if (clock_mono_us() < feed->retry_us)
        return false;
    feed->retry_us = clock_deadline_us(RETRY_MS);
    if (pg_connect(feed->pg, deadline_us) == PG_OK)
        return true;
    log_warn("FEED-FAILED", "connecting: %s", pg_error(feed->pg));
    return false;
}

/* One statement, once more where the connection turns out to have been closed. NULL on failure. */
static struct pg_rows *ask(struct feed *feed, enum feed_statement statement, const struct pg_args *args)
{
    struct pg_rows *rows = NULL;
    int64_t deadline_us = clock_deadline_us(feed->options.timeout_ms);
    for (int attempt = 0; attempt < 2 && ready(feed, deadline_us); attempt++) {
        enum pg_status status = pg_call(feed->pg, statement, args, deadline_us, &rows);
        atomic_store(&feed->usable, status == PG_OK);
        if (status == PG_OK)
            return rows;
        log_warn("FEED-FAILED", "reading: %s", pg_error(feed->pg));
        if (status != PG_LOST)
            return NULL;
        feed->retry_us = 0;
    }
    atomic_store(&feed->usable, false);
    return NULL;
}

static bool read_heads(struct feed *feed)
{
    struct pg_rows *rows = ask(feed, FEED_HEADS, NULL);
    if (!rows)
        return false;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        int64_t slice = pg_i64(rows, row, 0);
        if (slice >= 0 && slice < SLICE_COUNT)
            atomic_store(&feed->heads[slice], pg_i64(rows, row, 1));
    }
    pg_rows_destroy(rows);
    return true;
}

static bool takes(const struct feed_query *query, const struct event *event, int64_t type_id)
{
    if (query->type != EVENT_TYPE_END && type_id != (int64_t)query->type)
        return false;
    return query->campaign_id_len == 0 ||
           span_equal(event->campaign_id, (struct span){query->campaign_id, query->campaign_id_len});
}

/* Settings and suspended issuers are for administrators. Others see that something is at this position: for
 * them, too, positions have no gap. */
static void write_item(struct buf *items, const struct feed_query *query, const struct event *event,
                       bool decoded, int64_t type_id)
{
    if (query->control || !span_equal(event->campaign_id, CONTROL_STREAM))
        event_write_json(items, event, decoded, type_id);
    else
        event_write_json_bare(items, event, decoded, type_id);
}

/* False where the log has something no version of this program wrote. */
static bool take_rows(const struct pg_rows *rows, const struct feed_query *query, struct page *page)
{
    enum { TYPE_COLUMN = 1 };
    bool good = true;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    for (int row = 0; good && row < pg_rows_count(rows) && page->items.len < ANSWER_BYTES; row++) {
        struct event event;
        int64_t type_id = pg_i64(rows, row, TYPE_COLUMN);
        enum codec_status status = event_log_row(rows, row, 0, &arena, &event);
        good = status != CODEC_CORRUPT;
        if (good && takes(query, &event, type_id)) {
            if (page->count == (size_t)query->limit)
                break;
            write_item(&page->items, query, &event, status == CODEC_OK, type_id);
            page->count++;
        }
        page->next = event.position;
        arena_reset(&arena);
    }
    arena_deinit(&arena);
    return good && !page->items.overflow;
}

enum outcome { READ_PAGE, READ_FAILED, READ_BROKEN };

/* Fills a page; the caller deinits its items. */
static enum outcome read_page(struct feed *feed, const struct feed_query *query, struct page *page)
{
    bool filters = query->type != EVENT_TYPE_END || query->campaign_id_len;
    enum outcome outcome = READ_FAILED;
    *page = (struct page){.next = query->after};
    buf_init(&page->items, 2 * ANSWER_BYTES);
    json_open(&page->items, NULL, '[');
    event_log_read_args(&feed->args, query->slice, query->after, filters ? SCAN_MAX : query->limit);
    struct pg_rows *rows = ask(feed, FEED_READ, &feed->args);
    if (rows) {
        outcome = take_rows(rows, query, page) ? READ_PAGE : READ_BROKEN;
        json_close(&page->items, ']');
    }
    pg_rows_destroy(rows);
    return outcome;
}

/* --- serving --- */

static bool asks_the_same(const struct feed_query *a, const struct feed_query *b)
{
    return a->slice == b->slice && a->after == b->after && a->limit == b->limit && a->type == b->type &&
           a->campaign_id_len == b->campaign_id_len && a->control == b->control &&
           memcmp(a->campaign_id, b->campaign_id, a->campaign_id_len) == 0;
}

static bool is_over(const struct feed *feed, const struct follower *follower)
{
    return atomic_load(&feed->retiring) || clock_mono_us() >= follower->until_us;
}

/* Serves the first of the list and all who ask for the same; who got nothing yet goes to `waiting`, further
 * on where a filter took nothing of what was looked at. Returns the rest of the list. */
static struct follower *serve_alike(struct feed *feed, struct follower *list)
{
    struct page page;
    struct feed_query query = list->query;
    struct follower *rest = NULL, **last = &rest;
    enum outcome outcome = read_page(feed, &query, &page);
    while (list) {
        struct follower *follower = list;
        list = list->next;
        follower->next = NULL;
        if (!asks_the_same(&follower->query, &query)) {
            *last = follower;
            last = &follower->next;
        } else if (outcome == READ_BROKEN) {
            fail(feed, follower, &problem_internal, "the log has an entry this version does not understand");
        } else if (outcome == READ_FAILED && is_over(feed, follower)) {
            fail(feed, follower, &problem_store_unavailable, "the event store did not answer in time");
        } else if (outcome == READ_PAGE && (page.count > 0 || is_over(feed, follower))) {
            answer(feed, follower, &page);
        } else {
            feed->hurry |= page.next > follower->query.after;
            follower->query.after = page.next;
            follower->next = feed->waiting;
            feed->waiting = follower;
        }
    }
    buf_deinit(&page.items);
    return rest;
}

static void serve_all(struct feed *feed, struct follower *list)
{
    while (list)
        list = serve_alike(feed, list);
}

/* Takes out of `waiting` whose slice has news, or whose time is over. */
static struct follower *take_due(struct feed *feed)
{
    struct follower *due = NULL, **last = &due, **link = &feed->waiting;
    while (*link) {
        struct follower *follower = *link;
        if (atomic_load(&feed->heads[follower->query.slice]) <= follower->query.after &&
            !is_over(feed, follower)) {
            link = &follower->next;
            continue;
        }
        *link = follower->next;
        follower->next = NULL;
        *last = follower;
        last = &follower->next;
    }
    return due;
}

static void note_wanted(struct feed *feed)
{
    unsigned wanted = 0;
    for (struct follower *follower = feed->waiting; follower; follower = follower->next)
        wanted |= 1u << follower->query.slice;
    atomic_store(&feed->wanted, wanted);
}

static struct follower *take_incoming(struct feed *feed, int64_t until_us, bool *ret_woken, bool *ret_stop)
{
    struct timespec until = {until_us / US_PER_S, until_us % US_PER_S * 1000};
    pthread_mutex_lock(&feed->lock);
    while (!feed->incoming && !feed->woken && !feed->stopping && clock_mono_us() < until_us)
        (void)pthread_cond_timedwait(&feed->came, &feed->lock, &until);
    struct follower *list = feed->incoming;
    feed->incoming = NULL;
    feed->incoming_last = &feed->incoming;
    *ret_woken = feed->woken;
    *ret_stop = feed->stopping;
    feed->woken = false;
    pthread_mutex_unlock(&feed->lock);
    return list;
}

static void end(struct feed *feed, struct follower *list)
{
    pthread_mutex_lock(&feed->lock);
    *feed->incoming_last = list; /* what came until now, too */
    list = feed->incoming;
    feed->incoming = NULL;
    pthread_mutex_unlock(&feed->lock);
    struct follower *const lists[] = {list, feed->waiting};
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        for (struct follower *follower = lists[i], *next; follower; follower = next) {
            next = follower->next;
            answer_nothing(feed, follower);
        }
    feed->waiting = NULL;
}

static void *run(void *context)
{
    struct feed *feed = context;
    int64_t poll_us = 0, tick_us = 0, looked_us = 0;
    bool woken, stop;
    pthread_setname_np(pthread_self(), "feed");
    for (;;) {
        int64_t until_us = feed->waiting && poll_us < tick_us ? poll_us : tick_us;
        struct follower *list = take_incoming(feed, until_us, &woken, &stop);
        if (stop) {
            end(feed, list);
            return NULL;
        }
        serve_all(feed, list);
        int64_t now_us = clock_mono_us(), soon_us = looked_us + PACE_MS * US_PER_MS;
        bool ticks = now_us >= tick_us;
        if ((woken || feed->hurry) && soon_us < poll_us)
            poll_us = soon_us;
        if (ticks || (feed->waiting && now_us >= poll_us)) {
            feed->hurry = false;
            (void)read_heads(feed);
            serve_all(feed, take_due(feed));
            looked_us = now_us;
            poll_us = clock_deadline_us(feed->hurry ? PACE_MS : FEED_POLL_MS);
        }
        note_wanted(feed);
        if (ticks) {
            feed->options.tick(feed->options.context);
            tick_us = clock_deadline_us(TICK_MS);
        }
    }
}

/* --- life --- */

struct feed *feed_create(const struct feed_options *options)
{
    struct feed *feed = mem_zalloc(sizeof *feed);
    pthread_condattr_t monotonic;
    feed->options = *options;
    feed->incoming_last = &feed->incoming;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        atomic_init(&feed->heads[slice], -1);
    feed->pg = pg_create(&(struct pg_options){
        .url = options->database_url,
        .role = "firstcome_query",
        .application = "firstcome query",
        .statement_timeout_ms = options->timeout_ms,
        .lock_timeout_ms = options->timeout_ms,
        .idle_in_transaction_timeout_ms = options->timeout_ms,
        .statements = statements,
        .statements_count = FEED_STATEMENTS,
    });
    pg_args_init(&feed->args);
    pthread_condattr_init(&monotonic);
    CHECK(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&feed->came, &monotonic) == 0);
    CHECK(pthread_mutex_init(&feed->lock, NULL) == 0);
    pthread_condattr_destroy(&monotonic);
    return feed;
}

void feed_start(struct feed *feed)
{
    CHECK(pthread_create(&feed->thread, NULL, run, feed) == 0);
}

void feed_retire(struct feed *feed)
{
    atomic_store(&feed->retiring, true);
    pthread_mutex_lock(&feed->lock);
    feed->woken = true;
    pthread_cond_signal(&feed->came);
    pthread_mutex_unlock(&feed->lock);
}

void feed_stop(struct feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    feed->stopping = true;
    pthread_cond_signal(&feed->came);
    pthread_mutex_unlock(&feed->lock);
    CHECK(pthread_join(feed->thread, NULL) == 0);
    CHECK(feed->count == 0);
}

void feed_destroy(struct feed *feed)
{
    pg_destroy(feed->pg);
    pg_args_deinit(&feed->args);
    pthread_cond_destroy(&feed->came);
    pthread_mutex_destroy(&feed->lock);
    mem_free(feed);
}

/* --- from other threads --- */

void feed_submit(struct feed *feed, struct http_request *request, const struct feed_query *query)
{
    struct follower *follower = mem_zalloc(sizeof *follower);
    follower->request = request;
    follower->query = *query;
    follower->until_us = http_received_us(request) + query->wait_s * US_PER_S;
    http_defer(request);
    pthread_mutex_lock(&feed->lock);
    bool taken = !feed->stopping && feed->count < (size_t)feed->options.waiting_max;
    if (taken) {
        *feed->incoming_last = follower;
        feed->incoming_last = &follower->next;
        feed->count++;
        pthread_cond_signal(&feed->came);
    }
    pthread_mutex_unlock(&feed->lock);
    if (taken)
        return;
    refuse(request, &problem_overloaded, "too many followers are waiting for events, or the service ends");
    mem_free(follower);
}

void feed_wake(struct feed *feed, int16_t slice)
{
    unsigned bit = 1u << slice;
    if (!(atomic_load_explicit(&feed->wanted, memory_order_relaxed) & bit))
        return;
    pthread_mutex_lock(&feed->lock);
    feed->woken = true;
    pthread_cond_signal(&feed->came);
    pthread_mutex_unlock(&feed->lock);
}

size_t feed_waiting(struct feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    size_t count = feed->count;
    pthread_mutex_unlock(&feed->lock);
    return count;
}

int64_t feed_head(struct feed *feed, int16_t slice)
{
    return atomic_load(&feed->heads[slice]);
}

bool feed_usable(struct feed *feed)
{
    return atomic_load(&feed->usable);
}
