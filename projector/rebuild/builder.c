/* SPDX-License-Identifier: Apache-2.0 */
/* Reading, folding, writing, catching up and switching. */
#include "projector/rebuild/builder.h"

#include <poll.h>

#include "common/base/clock.h"
#include "events/event_log.h"
#include "projector/rebuild/generations.h"
#include "projector/sql.h"

/* Of the advisory lock that makes two rebuilds of one database take turns; see lead.h. */
#define REBUILD_LOCK_KEY INT64_C(7310005004)

enum {
    STORE_MS = 10000,
    REDIS_MS = 10000,
    SWITCH_MS = 5000, /* readers' models move on while a new one catches up */
    LIVE_BATCH = 500,
    PAGES = 2, /* that are being read at a time */
    DECODED_BYTES_MAX = 64 * 1024 * 1024,
    BYTES_PER_COUPON = 130, /* in Redis, at first; what a slice really takes is seen on the way */
    ROOM_PAGES = 8,         /* between two looks at Redis' memory */
};
#define ROOM_SHARE 0.95 /* of maxmemory: whoever follows the log must never be refused for a rebuild */

struct page {
    struct pg *pg;
    struct pg_args args;
    bool asked;
};

struct builder {
    struct redis_writer *writer;
    struct pg *lock;
    struct page pages[PAGES];
    struct fold fold;
    struct bulk_writer bulk;
    struct script_batch batch;
    struct arena decoded;
    const struct build *build; /* the one that is going on */
    int64_t head;              /* as far as it goes, so far */
    uint8_t chain[CHAIN_BYTES];
    char error[200];
};

#define BUILD_PHASE_LABEL(name, label) [name] = label,
const char *build_phase_label(enum build_phase phase)
{
    static const char *const labels[] = {BUILD_PHASES(BUILD_PHASE_LABEL)};
    CHECK((size_t)phase < BUILD_PHASE_COUNT);
    return labels[phase];
}

struct builder *builder_create(const struct shard *shard, const char *redis_url, char *reason,
                               size_t reason_size)
{
    struct redis_writer *writer = redis_writer_create(redis_url, shard->slices, reason, reason_size);
    if (!writer)
        return NULL;
    struct builder *builder = mem_zalloc(sizeof *builder);
    builder->writer = writer;
    builder->lock = sql_create(shard->url);
    for (size_t i = 0; i < PAGES; i++) {
        builder->pages[i].pg = sql_create(shard->url);
        pg_args_init(&builder->pages[i].args);
    }
    fold_init(&builder->fold);
    bulk_init(&builder->bulk);
    script_batch_init(&builder->batch);
    arena_init(&builder->decoded, DECODED_BYTES_MAX);
    return builder;
}

void builder_destroy(struct builder *builder)
{
    if (!builder)
        return;
    redis_writer_destroy(builder->writer);
    pg_destroy(builder->lock);
    for (size_t i = 0; i < PAGES; i++) {
        pg_destroy(builder->pages[i].pg);
        pg_args_deinit(&builder->pages[i].args);
    }
    fold_deinit(&builder->fold);
    bulk_deinit(&builder->bulk);
    script_batch_deinit(&builder->batch);
    arena_deinit(&builder->decoded);
    mem_free(builder);
}

const char *builder_error(const struct builder *builder)
{
    return builder->error;
}

struct redis_writer *builder_writer(struct builder *builder)
{
    return builder->writer;
}

struct pg *builder_pg(struct builder *builder)
{
    return builder->lock;
}

static int64_t store_deadline(void)
{
    return clock_deadline_us(STORE_MS);
}

static int64_t redis_deadline(void)
{
    return clock_deadline_us(REDIS_MS);
}

enum pg_status builder_lock(struct builder *builder, bool *ret)
{
    struct pg_args args;
    struct pg_rows *rows;
    *ret = false;
    enum pg_status status = PG_OK;
    if (!pg_connected(builder->lock))
        status = pg_connect(builder->lock, store_deadline());
    if (status != PG_OK)
        return status;
    pg_args_init(&args);
    pg_arg_i64(&args, REBUILD_LOCK_KEY);
    status = pg_call(builder->lock, SQL_LOCK_PLAIN, &args, store_deadline(), &rows);
    pg_args_deinit(&args);
    *ret = status == PG_OK && pg_i64(rows, 0, 0) != 0;
    pg_rows_destroy(rows);
    return status;
}

/* --- failures --- */

static enum build_result failed(struct builder *builder, const char *what, const char *why)
{
    snprintf(builder->error, sizeof builder->error, "%s: %s", what, why);
    return BUILD_FAILED;
}

static enum build_result store_failed(struct builder *builder, struct pg *pg)
{
    failed(builder, "PostgreSQL", pg_error(pg));
    pg_disconnect(pg);
    return BUILD_FAILED;
}

static enum build_result redis_failed(struct builder *builder, enum redis_status status)
{
    snprintf(builder->error, sizeof builder->error, "Redis: class %s", redis_status_label(status));
    return status == REDIS_OOM ? BUILD_NO_ROOM : BUILD_FAILED;
}

static enum build_result bad_log(struct builder *builder, int64_t position)
{
    snprintf(builder->error, sizeof builder->error,
             "slice %d: the event at %lld is none that this program can fold", builder->build->slice,
             (long long)position);
    return BUILD_BAD_LOG;
}

enum build_result builder_room(struct builder *builder, int16_t slice, int64_t events)
{
    struct redis_health memory;
    int64_t more = events * BYTES_PER_COUPON;
    enum redis_status status = redis_writer_health(
        builder->writer, redis_writer_server_of(builder->writer, slice), redis_deadline(), &memory);
    if (status != REDIS_OK)
        return redis_failed(builder, status);
    if (memory.max == 0 || (double)(memory.used + more) <= ROOM_SHARE * (double)memory.max)
        return BUILD_DONE;
    snprintf(builder->error, sizeof builder->error,
             "it does not fit: Redis uses %lld MiB of %lld, and slice %d needs some %lld more",
             (long long)(memory.used >> 20), (long long)(memory.max >> 20), slice, (long long)(more >> 20));
    return BUILD_NO_ROOM;
}

static enum build_result tell(struct builder *builder, enum build_phase phase)
{
    const struct build *build = builder->build;
    if (!build->progress || build->progress(build->context, phase, builder->fold.at.position, builder->head))
        return BUILD_DONE;
    snprintf(builder->error, sizeof builder->error, "stopped");
    return BUILD_STOPPED;
}

/* --- reading --- */

static enum build_result connect_stores(struct builder *builder)
{
    for (size_t i = 0; i < PAGES; i++) {
        builder->pages[i].asked = false;
        if (pg_connect(builder->pages[i].pg, store_deadline()) != PG_OK)
            return store_failed(builder, builder->pages[i].pg);
    }
    enum redis_status status = redis_writer_connect(builder->writer, redis_deadline());
    if (status != REDIS_OK)
        return failed(builder, "Redis", redis_writer_error(builder->writer));
    return BUILD_DONE;
}

static enum build_result find_head(struct builder *builder)
{
    static const int64_t origin[SLICE_COUNT];
    struct log_heads heads;
    struct pg *pg = builder->pages[0].pg;
    if (log_heads_read(pg, origin, store_deadline(), &heads) != PG_OK)
        return store_failed(builder, pg);
    const struct log_head *is = &heads.slices[builder->build->slice];
    if (!is->known) /* what is left of its log here is not to be told, least of all as an empty one */
        return failed(builder, "PostgreSQL", "the database does not own the slice: the shard map is another");
    builder->head = is->head;
    memcpy(builder->chain, is->chain, CHAIN_BYTES);
    if (builder->build->limit && builder->build->limit < is->head)
        builder->head = builder->build->limit;
    return BUILD_DONE;
}

static void ask(struct builder *builder, struct page *page, int64_t after, int64_t count)
{
    event_log_read_args(&page->args, builder->build->slice, after, count);
    pg_send(page->pg, SQL_READ, &page->args);
    pg_sync(page->pg);
    page->asked = true;
}

/* --- folding --- */

static enum build_result load_campaign(struct builder *builder, struct span id)
{
    const struct redis_reply *reply = NULL;
    /* Everything that was sent comes first; its replies are the bulk writer's. */
    if (!bulk_settle(&builder->bulk, redis_deadline()))
        return redis_failed(builder, builder->bulk.failure);
    key_campaign(redis_writer_key(builder->writer), builder->fold.model, id);
    enum redis_status status = redis_writer_call(builder->writer, redis_writer_begin(builder->writer, "GET"),
                                                 redis_deadline(), &reply);
    if (status != REDIS_OK)
        return redis_failed(builder, status);
    if (!fold_load(&builder->fold, id, redis_text(reply)))
        return failed(builder, "Redis", "a campaign that was written is not there");
    return BUILD_DONE;
}

static enum build_result add_row(struct builder *builder, const struct pg_rows *rows, int row,
                                 const struct fold_sink *sink)
{
    struct event event;
    struct fold *fold = &builder->fold;
    enum codec_status status = event_log_row(rows, row, 0, &builder->decoded, &event);
    if (status != CODEC_OK || event.position != fold->at.position + 1)
        return bad_log(builder, fold->at.position + 1);
    if (campaign_concerned(&event) && event.type != EVENT_CampaignCreated &&
        !fold_knows(fold, event.campaign_id)) {
        enum build_result result = load_campaign(builder, event.campaign_id);
        if (result != BUILD_DONE)
            return result;
    }
    return fold_add(fold, &event, sink) ? BUILD_DONE : bad_log(builder, event.position);
}

static enum build_result add_rows(struct builder *builder, const struct pg_rows *rows,
                                  const struct fold_sink *sink)
{
    enum build_result result = BUILD_DONE;
    arena_reset(&builder->decoded);
    for (int row = 0; result == BUILD_DONE && row < pg_rows_count(rows); row++)
        result = add_row(builder, rows, row, sink);
    fold_flush(&builder->fold, sink);
    fold_trim(&builder->fold);
    return result;
}

/* --- in bulk --- */

static int64_t page_of(int64_t after, int64_t head)
{
    return head - after < BULK_PAGE_MAX ? head - after : BULK_PAGE_MAX;
}

static enum build_result take_page(struct builder *builder, struct page *page, int64_t *asked)
{
    struct pg_rows *rows;
    page->asked = false;
    if (pg_receive(page->pg, store_deadline(), &rows) != PG_OK)
        return store_failed(builder, page->pg);
    if (*asked < builder->head) {
        int64_t count = page_of(*asked, builder->head);
        ask(builder, page, *asked, count);
        *asked += count;
    }
    enum build_result result = pg_rows_count(rows) > 0 ? add_rows(builder, rows, &builder->bulk.sink)
                                                       : bad_log(builder, builder->fold.at.position + 1);
    pg_rows_destroy(rows);
    if (result == BUILD_DONE && !bulk_turn(&builder->bulk, redis_deadline()))
        result = redis_failed(builder, builder->bulk.failure);
    return result;
}

static enum build_result read_all(struct builder *builder)
{
    int64_t asked = 0, pages = 0;
    enum build_result result = BUILD_DONE;
    for (size_t i = 0; i < PAGES && asked < builder->head; i++) {
        int64_t count = page_of(asked, builder->head);
        ask(builder, &builder->pages[i], asked, count);
        asked += count;
    }
    for (size_t i = 0; result == BUILD_DONE && builder->fold.at.position < builder->head;
         i = (i + 1) % PAGES) {
        result = take_page(builder, &builder->pages[i], &asked);
        if (result == BUILD_DONE)
            result = tell(builder, BUILD_READING);
        if (result != BUILD_DONE || ++pages % ROOM_PAGES != 0)
            continue;
        result = bulk_settle(&builder->bulk, redis_deadline())
                     ? builder_room(builder, builder->build->slice, 0)
                     : redis_failed(builder, builder->bulk.failure);
    }
    return result;
}

static enum build_result build_bulk(struct builder *builder)
{
    const struct build *build = builder->build;
    struct model model = {build->generation, build->slice};
    struct checkpoint start = {.present = true, .generation = build->generation, .behind = 0, .buckets = 1};
    enum build_result result = find_head(builder);
    if (result == BUILD_DONE)
        result = builder_room(builder, build->slice, builder->head + build->beside);
    if (result != BUILD_DONE)
        return result;
    int64_t now_s = clock_wall_us() / US_PER_S;
    fold_start(&builder->fold, model, &start, (struct span){0}, now_s);
    bulk_begin(&builder->bulk, redis_writer_redis(builder->writer), model, builder->head, now_s);
    result = read_all(builder);
    if (result == BUILD_DONE && !bulk_settle(&builder->bulk, redis_deadline()))
        result = redis_failed(builder, builder->bulk.failure);
    if (result != BUILD_DONE)
        return result;
    struct checkpoint *at = &builder->fold.at;
    if (!build->limit) {
        at->chain_at = at->position;
        memcpy(at->chain, builder->chain, CHAIN_BYTES);
    }
    result = builder_room(builder, build->slice, 0);
    if (result != BUILD_DONE)
        return result;
    return bulk_end(&builder->bulk, at, redis_deadline()) ? BUILD_DONE
                                                          : redis_failed(builder, builder->bulk.failure);
}

/* --- catching up and switching --- */

static enum build_result apply_batch(struct builder *builder, const struct pg_rows *rows)
{
    struct fold *fold = &builder->fold;
    struct checkpoint before = fold->at;
    struct model_outcome outcome;
    script_batch_begin(&builder->batch, fold->model, before.buckets);
    enum build_result result = add_rows(builder, rows, &builder->batch.sink);
    if (result != BUILD_DONE)
        return result;
    if (users_buckets(fold->at.coupons) > fold->at.buckets)
        fold->at.buckets = users_buckets(fold->at.coupons);
    struct model_write write = {
        .model = fold->model, .expected = before, .next = fold->at, .batch = &builder->batch};
    redis_writer_send(builder->writer, &write);
    enum redis_status status = redis_writer_receive(builder->writer, redis_deadline(), &outcome);
    if (status != REDIS_OK)
        return redis_failed(builder, status);
    return outcome.result == SCRIPT_APPLIED
               ? BUILD_DONE
               : failed(builder, "Redis", "the generation was changed meanwhile");
}

/* What the log has got since; *ret_more: there may be more. */
static enum build_result catch_up(struct builder *builder, bool *ret_more)
{
    struct page *page = &builder->pages[0];
    struct pg_rows *rows;
    ask(builder, page, builder->fold.at.position, LIVE_BATCH);
    page->asked = false;
    if (pg_receive(page->pg, store_deadline(), &rows) != PG_OK)
        return store_failed(builder, page->pg);
    *ret_more = pg_rows_count(rows) == LIVE_BATCH;
    enum build_result result = pg_rows_count(rows) > 0 ? apply_batch(builder, rows) : BUILD_DONE;
    pg_rows_destroy(rows);
    return result;
}

/* Whoever leads moves the root on meanwhile, so a switch right after a batch may come too late: then the next
 * batch is small, and the next switch sooner. */
static enum build_result switch_over(struct builder *builder, int64_t live)
{
    int64_t until_us = clock_deadline_us(SWITCH_MS);
    enum script_result switched = SCRIPT_BEHIND;
    enum build_result result = tell(builder, BUILD_CATCHING_UP);
    bool more = true;
    while (result == BUILD_DONE && switched == SCRIPT_BEHIND) {
        if (clock_mono_us() > until_us)
            return failed(builder, "switch", "the log moves on faster than a new generation catches up");
        result = catch_up(builder, &more);
        if (builder->fold.at.position > builder->head)
            builder->head = builder->fold.at.position;
        if (result == BUILD_DONE && more) {
            until_us = clock_deadline_us(SWITCH_MS); /* it gets on */
            result = tell(builder, BUILD_CATCHING_UP);
            continue;
        }
        if (result == BUILD_DONE)
            result = tell(builder, BUILD_SWITCHING);
        if (result != BUILD_DONE)
            break;
        enum redis_status status =
            redis_writer_switch(builder->writer, builder->fold.model, live, builder->build->may_go_back,
                                redis_deadline(), &switched);
        if (status != REDIS_OK)
            return redis_failed(builder, status);
    }
    if (result == BUILD_DONE && switched != SCRIPT_APPLIED)
        return failed(builder, "switch", "the live generation is another one than it was");
    return result;
}

static enum build_result run(struct builder *builder, const struct build *build)
{
    struct slice_roots roots;
    int16_t slice = build->slice;
    enum build_result result = connect_stores(builder);
    if (result != BUILD_DONE)
        return result;
    enum redis_status status = redis_writer_clean_roots(builder->writer, redis_deadline(), &roots);
    if (status != REDIS_OK && roots.found[slice] != REDIS_OK)
        return redis_failed(builder, status);
    result = build_bulk(builder);
    if (result != BUILD_DONE || build->limit)
        return result;
    return switch_over(builder, roots.roots[slice].generation);
}

enum build_result builder_run(struct builder *builder, const struct build *build)
{
    builder->build = build;
    builder->error[0] = '\0';
    enum build_result result = run(builder, build);
    if (result != BUILD_DONE) { /* replies may be on their way that nobody waits for */
        redis_disconnect(redis_writer_redis(builder->writer));
        for (size_t i = 0; i < PAGES; i++)
            pg_disconnect(builder->pages[i].pg);
    }
    builder->build = NULL;
    return result;
}

enum redis_status builder_drop(struct builder *builder, int64_t *ret_dropped)
{
    struct drop drop;
    enum redis_status status = redis_writer_connect(builder->writer, redis_deadline());
    drop_begin(&drop);
    while (status == REDIS_OK && !drop.done) {
        status = drop_step(&drop, builder->writer, redis_deadline());
        (void)poll(NULL, 0, 1); /* others first */
    }
    *ret_dropped = drop.dropped;
    return status == REDIS_OK && drop.missed ? REDIS_AWAY : status;
}
