/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of the feed and its lists: `incoming` by the HTTP threads under the lock, the rest its own. */
#include "query-service/feed/feed.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/json.h"
#include "events/event_json.h"
#include "events/event_log.h"
#include "events/problems.h"
#include "query-service/feed/log_identity.h"
#include "query-service/http/respond.h"

enum {
    TICK_MS = 500,
    SCAN_MAX = 1000,        /* events looked at for one answer; a filter may take none of them */
    ANSWER_BYTES = 4 << 20, /* an answer that is longer ends before the limit */
    ARENA_BYTES = 64 << 20, /* of the decoded events of one read: never reached */
    PAGES_MAX = 16,         /* different questions in one exchange with PostgreSQL */
    RETRY_MS = 250,         /* after an exchange that failed */
    PACE_MS = 20,           /* between two looks at the log, however many hints come */
};

enum feed_statement { FEED_HEADS, FEED_READ, FEED_LOG, FEED_STATEMENTS };
static const struct pg_statement statements[FEED_STATEMENTS] = {
    [FEED_HEADS] = {"feed_heads", LOG_IDENTITY_HEADS_SQL},
    [FEED_READ] = {"feed_read", LOG_READ_SQL},
    /* A restored cluster and a promoted standby go on in a timeline of their own. */
    [FEED_LOG] = {"feed_log", "SELECT s.system_identifier, c.timeline_id FROM pg_control_system() AS s,"
                              " pg_control_checkpoint() AS c"},
};

struct follower {
    struct work_item
        item; /* first, so that an item is the follower; answered by its deadline, news or none */
    struct http_request *request;
    struct feed_query query;
    bool asked; /* the log was looked at for it */
};

struct exchange;

struct feed {
    struct feed_options options;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows up to the next comment */
    pthread_cond_t came;
    struct work_list incoming;
    size_t count; /* incoming and waiting */
    bool woken;
    bool stopping;
    /* the thread's own */
    struct pg *pg;
    struct pg_args args;
    struct work_list waiting; /* who was served without news goes to its end, so each has its turn */
    struct log_identity identity;
    struct exchange *exchange; /* the one that is going on */
    unsigned owned;            /* slices that the database had when it was asked last */
    bool standby;
    int64_t retry_us; /* no exchange before */
    uint32_t lost;    /* made of the chain of the last log that took the place of another; 0: none did */
    char log[64];     /* its name */
    /* for anyone */
    _Atomic int64_t heads[SLICE_COUNT];
    _Atomic unsigned wanted; /* slices somebody waits for */
    atomic_bool retiring;
};

static struct follower *follower_of(struct work_item *item)
{
    return (struct follower *)item; /* its first member */
}

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
    int64_t head = atomic_load(&feed->heads[follower->query.slice]);
    int64_t next = page ? page->next : follower->query.after;
    if (page && head >= 0 && next > head)
        head = next; /* the page was read a moment after the head */
    json_open(body, NULL, '{');
    json_put_raw(body, "items", page ? buf_span(&page->items) : SPAN("[]"));
    json_put_int(body, "next", next);
    if (head >= 0)
        json_put_int(body, "head", head);
    else
        json_put_null(body, "head");
    json_put_string(body, "log", span_of(feed->log));
    json_close(body, '}');
    http_add_header(follower->request, "Cache-Control", SPAN("no-store"));
    http_reply(follower->request, 200);
    forget(feed, follower);
}

static void fail(struct feed *feed, struct follower *follower, const struct problem *problem, const char *why)
{
    respond_problem(follower->request,
                    &(struct problem_detail){
                        .problem = problem, .detail = why, .retry_after_ms = problem->retryable ? 1000 : 0});
    forget(feed, follower);
}

/* The follower has read a log that went further, or is of another installation. */
static void fail_beyond(struct feed *feed, struct follower *follower)
{
    struct buf more;
    buf_init(&more, 256);
    buf_printf(&more, "\"head\":%lld,\"log\":\"%s\"",
               (long long)atomic_load(&feed->heads[follower->query.slice]), feed->log);
    respond_problem(follower->request,
                    &(struct problem_detail){.problem = &problem_beyond_head, .extension = buf_span(&more)});
    buf_deinit(&more);
    forget(feed, follower);
}

/* --- one exchange with PostgreSQL: the heads, and a page for each of some questions --- */

static void name_log(struct feed *feed, int64_t system, int64_t timeline)
{
    int len = snprintf(feed->log, sizeof feed->log, "%016llx-%lld", (unsigned long long)system,
                       (long long)timeline);
    if (feed->lost)
        snprintf(feed->log + len, sizeof feed->log - (size_t)len, "-%08x", feed->lost);
}

static bool read_log_name(struct feed *feed, int64_t deadline_us)
{
    struct pg_rows *rows = NULL;
    if (pg_call(feed->pg, FEED_LOG, NULL, deadline_us, &rows) != PG_OK)
        return false;
    if (pg_rows_count(rows) == 1)
        name_log(feed, pg_i64(rows, 0, 0), pg_i64(rows, 0, 1));
    pg_rows_destroy(rows);
    return true;
}

static bool connected(struct feed *feed, int64_t deadline_us)
{
    return pg_connected(feed->pg) ||
           (pg_connect(feed->pg, deadline_us) == PG_OK && read_log_name(feed, deadline_us));
}

static void take_heads(struct feed *feed, const struct pg_rows *rows)
{
    bool same = true;
    feed->owned = slices_of(rows);
    for (int i = 0; i < pg_rows_count(rows); i++) {
        const struct log_identity_row row = {.slice = (int16_t)pg_i64(rows, i, 0),
                                             .head = pg_i64(rows, i, 1),
                                             .chain = pg_bytes(rows, i, 2),
                                             .was = pg_bytes(rows, i, 3),
                                             .standby = pg_i64(rows, i, 4) != 0};
        if (row.slice < 0 || row.slice >= SLICE_COUNT || !shard_has(feed->options.shard, row.slice))
            continue;
        feed->standby = row.standby;
        atomic_store(&feed->heads[row.slice], row.head);
        if (log_identity_take(&feed->identity, &row))
            continue;
        same = false;
        memcpy(&feed->lost, row.chain.ptr, sizeof feed->lost);
    }
    if (same)
        return;
    log_error("LOG-REPLACED",
              "the event log is not the one that was read before: restored, or commits were lost");
    (void)read_log_name(feed, clock_deadline_us(feed->options.timeout_ms));
    feed->options.replaced(feed->options.context);
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
    json_open(&page->items, NULL, '[');
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
    json_close(&page->items, ']');
    arena_deinit(&arena);
    return good && !page->items.overflow;
}

static bool asks_the_same(const struct feed_query *a, const struct feed_query *b)
{
    return a->slice == b->slice && a->after == b->after && a->limit == b->limit && a->type == b->type &&
           a->campaign_id_len == b->campaign_id_len && a->control == b->control &&
           memcmp(a->campaign_id, b->campaign_id, a->campaign_id_len) == 0;
}

/* Followers that ask for the same. */
struct question {
    struct feed_query query;
    struct work_list followers;
};

struct exchange {
    struct question questions[PAGES_MAX];
    size_t count;
    bool more; /* others are due as well */
};

static bool is_over(const struct feed *feed, const struct follower *follower)
{
    return atomic_load(&feed->retiring) || clock_mono_us() >= follower->item.deadline_us;
}

static bool is_due(const struct feed *feed, const struct follower *follower)
{
    return !follower->asked || is_over(feed, follower) ||
           atomic_load(&feed->heads[follower->query.slice]) > follower->query.after;
}

static struct question *question_of(struct exchange *exchange, const struct feed_query *query)
{
    for (size_t i = 0; i < exchange->count; i++)
        if (asks_the_same(&exchange->questions[i].query, query))
            return &exchange->questions[i];
    if (exchange->count == PAGES_MAX)
        return NULL;
    struct question *question = &exchange->questions[exchange->count++];
    question->query = *query;
    work_list_init(&question->followers);
    return question;
}

/* Takes who is due out of those who wait, in order, as far as one exchange goes. */
static void gather(struct feed *feed, struct exchange *exchange)
{
    struct work_item **link = &feed->waiting.first;
    while (*link) {
        const struct follower *follower = follower_of(*link);
        bool due = is_due(feed, follower);
        struct question *question = due ? question_of(exchange, &follower->query) : NULL;
        exchange->more |= due && !question;
        if (question)
            work_list_add(&question->followers, work_list_take(&feed->waiting, link));
        else
            link = &(*link)->next;
    }
}

static void send_page(struct feed *feed, const struct feed_query *query)
{
    bool filters = query->type != EVENT_TYPE_END || query->campaign_id_len;
    event_log_read_args(&feed->args, query->slice, query->after, filters ? SCAN_MAX : query->limit);
    pg_send(feed->pg, FEED_READ, &feed->args);
}

/* NULL where PostgreSQL did not answer; then nothing more comes. */
static struct pg_rows *receive(struct feed *feed, int64_t deadline_us)
{
    struct pg_rows *rows = NULL;
    if (pg_connected(feed->pg) && pg_receive(feed->pg, deadline_us, &rows) != PG_OK)
        log_warn("FEED-FAILED", "reading: %s", pg_error(feed->pg));
    return rows;
}

/* Who got nothing yet goes on waiting, further on where a filter took nothing of what was looked at. */
static bool serve(struct feed *feed, struct follower *follower, const struct page *page)
{
    bool beyond = !feed->standby && follower->query.after > atomic_load(&feed->heads[follower->query.slice]);
    if (beyond) {
        fail_beyond(feed, follower);
        return false;
    }
    if (page->count > 0 || is_over(feed, follower)) {
        answer(feed, follower, page);
        return false;
    }
    bool further = page->next > follower->query.after;
    follower->asked = true;
    follower->query.after = page->next;
    work_list_add(&feed->waiting, &follower->item);
    return further;
}

/* True where somebody has more to look at. */
static bool serve_question(struct feed *feed, struct question *question, const struct pg_rows *rows)
{
    struct page page = {.next = question->query.after};
    bool further = false;
    buf_init(&page.items, 2 * ANSWER_BYTES);
    bool good = take_rows(rows, &question->query, &page);
    for (struct work_item *item = question->followers.first, *next; item; item = next) {
        struct follower *follower = follower_of(item);
        next = item->next;
        if (good)
            further |= serve(feed, follower, &page);
        else
            fail(feed, follower, &problem_internal, "the log has an entry this version does not understand");
    }
    buf_deinit(&page.items);
    return further;
}

/* What is left here of a slice that has moved goes on nowhere. */
static void refuse_question(struct feed *feed, struct question *question)
{
    log_error("SLICE-ELSEWHERE", "slice %d: the database does not own it: the shard map is another",
              question->query.slice);
    for (struct work_item *item = question->followers.first, *next; item; item = next) {
        next = item->next;
        fail(feed, follower_of(item), &problem_store_unavailable, "the slice is in another event store");
    }
}

/* PostgreSQL does not answer: whose time is over is told so, the others go on waiting. */
static void put_off(struct feed *feed, struct work_list *list)
{
    for (struct work_item *item = list->first, *next; item; item = next) {
        struct follower *follower = follower_of(item);
        next = item->next;
        if (is_over(feed, follower))
            fail(feed, follower, &problem_store_unavailable, "the event store did not answer in time");
        else
            work_list_add(&feed->waiting, &follower->item);
    }
}

static void put_off_all(struct feed *feed)
{
    struct work_list all;
    work_list_init(&all);
    work_list_append(&all, &feed->waiting);
    put_off(feed, &all);
}

static bool begin_exchange(struct feed *feed, const struct exchange *exchange, int64_t deadline_us)
{
    if (!connected(feed, deadline_us)) {
        log_warn("FEED-FAILED", "connecting: %s", pg_error(feed->pg));
        return false;
    }
    pg_args_reset(&feed->args);
    pg_array_begin(&feed->args, PG_INT8);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        pg_array_i64(&feed->args, feed->identity.slices[slice].head);
    pg_array_end(&feed->args);
    pg_send(feed->pg, FEED_HEADS, &feed->args);
    for (size_t i = 0; i < exchange->count; i++)
        send_page(feed, &exchange->questions[i].query);
    pg_sync(feed->pg);
    return true;
}

/* Serves who is due, as many as one exchange takes. Returns how soon to look again. */
static int64_t serve_due(struct feed *feed)
{
    struct exchange *exchange = feed->exchange;
    int64_t deadline_us = clock_deadline_us(feed->options.timeout_ms);
    bool further = false;
    exchange->count = 0;
    exchange->more = false;
    gather(feed, exchange);
    struct pg_rows *rows = begin_exchange(feed, exchange, deadline_us) ? receive(feed, deadline_us) : NULL;
    bool good = rows != NULL;
    struct pg_rows *heads = rows;
    struct pg_rows *pages[PAGES_MAX] = {NULL};
    for (size_t i = 0; good && i < exchange->count; i++)
        good = (pages[i] = receive(feed, deadline_us)) != NULL;
    if (heads)
        take_heads(feed, heads);
    pg_rows_destroy(heads);
    for (size_t i = 0; i < exchange->count; i++) {
        if (pages[i] && !(feed->owned >> exchange->questions[i].query.slice & 1))
            refuse_question(feed, &exchange->questions[i]);
        else if (pages[i])
            further |= serve_question(feed, &exchange->questions[i], pages[i]);
        else
            put_off(feed, &exchange->questions[i].followers);
        pg_rows_destroy(pages[i]);
    }
    if (!good) {
        feed->retry_us = clock_deadline_us(RETRY_MS); /* from now on: the exchange may have taken long */
        put_off_all(feed);
    }
    return !good ? RETRY_MS : exchange->more ? 0 : further ? PACE_MS : FEED_POLL_MS;
}

/* --- the thread --- */

static void note_wanted(struct feed *feed)
{
    unsigned wanted = 0;
    for (struct work_item *item = feed->waiting.first; item; item = item->next)
        wanted |= 1u << follower_of(item)->query.slice;
    atomic_store(&feed->wanted, wanted);
}

/* Adds who came to those who wait; true where somebody did. */
static bool take_incoming(struct feed *feed, int64_t until_us, bool *ret_woken, bool *ret_stop)
{
    pthread_mutex_lock(&feed->lock);
    while (!feed->incoming.first && !feed->woken && !feed->stopping &&
           cond_wait_until(&feed->came, &feed->lock, until_us))
        continue;
    bool came = feed->incoming.first != NULL;
    work_list_append(&feed->waiting, &feed->incoming);
    *ret_woken = feed->woken;
    *ret_stop = feed->stopping;
    feed->woken = false;
    pthread_mutex_unlock(&feed->lock);
    return came;
}

static void answer_everybody(struct feed *feed)
{
    for (struct work_item *item = feed->waiting.first, *next; item; item = next) {
        next = item->next;
        answer(feed, follower_of(item), NULL);
    }
    work_list_init(&feed->waiting);
}

static void *run(void *context)
{
    struct feed *feed = context;
    int64_t poll_us = 0, tick_us = 0, looked_us = 0;
    bool woken, stop;
    pthread_setname_np(pthread_self(), "feed");
    for (;;) {
        int64_t until_us = feed->waiting.first && poll_us < tick_us ? poll_us : tick_us;
        bool came = take_incoming(feed, until_us, &woken, &stop);
        if (stop) {
            answer_everybody(feed);
            return NULL;
        }
        int64_t now_us = clock_mono_us(), soon_us = looked_us + PACE_MS * US_PER_MS;
        bool ticks = now_us >= tick_us, due = ticks || (feed->waiting.first && now_us >= poll_us);
        if (woken && soon_us < poll_us)
            poll_us = soon_us;
        if (now_us < feed->retry_us) {
            put_off_all(feed);
            poll_us = feed->retry_us;
        } else if (came || due) {
            looked_us = now_us;
            poll_us = clock_deadline_us(serve_due(feed));
        }
        note_wanted(feed);
        if (ticks) {
            if (feed->options.tick)
                feed->options.tick(feed->options.context);
            tick_us = clock_deadline_us(TICK_MS);
        }
    }
}

/* --- life --- */

struct feed *feed_create(const struct feed_options *options)
{
    struct feed *feed = mem_zalloc(sizeof *feed);
    feed->options = *options;
    feed->exchange = mem_zalloc(sizeof *feed->exchange);
    work_list_init(&feed->incoming);
    work_list_init(&feed->waiting);
    snprintf(feed->log, sizeof feed->log, "unknown");
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        atomic_init(&feed->heads[slice], -1);
    feed->pg = pg_create(&(struct pg_options){
        .url = options->shard->url,
        .role = "firstcome_query",
        .application = "firstcome query",
        .statement_timeout_ms =
            options->timeout_ms * 3 / 4, /* the server refuses before the exchange is given up */
        .lock_timeout_ms = options->timeout_ms,
        .idle_in_transaction_timeout_ms = options->timeout_ms,
        .snapshot = true,
        .statements = statements,
        .statements_count = FEED_STATEMENTS,
        .schema = SCHEMA_MIN,
    });
    pg_args_init(&feed->args);
    CHECK(pthread_cond_init(&feed->came, NULL) == 0);
    CHECK(pthread_mutex_init(&feed->lock, NULL) == 0);
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
    mem_free(feed->exchange);
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
    follower->item.deadline_us = http_received_us(request) + query->wait_s * US_PER_S;
    http_defer(request);
    pthread_mutex_lock(&feed->lock);
    bool taken = !feed->stopping && feed->count < (size_t)feed->options.waiting_max;
    if (taken) {
        work_list_add(&feed->incoming, &follower->item);
        feed->count++;
        pthread_cond_signal(&feed->came);
    }
    pthread_mutex_unlock(&feed->lock);
    if (taken)
        return;
    respond_problem(request, &(struct problem_detail){
                                 .problem = &problem_overloaded,
                                 .detail = "too many followers are waiting for events, or the service ends",
                                 .retry_after_ms = 1000});
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
