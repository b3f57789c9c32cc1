/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of issues, committed by the service's own code or inserted barely. */
#include "bench/kit/append_run.h"

#include <stdio.h>
#include <stdlib.h>

#include "command-service/core/batch.h"
#include "command-service/store/store.h"
#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/pg/pg.h"
#include "events/codec.h"
#include "events/ids.h"

static const struct pg_statement bare_insert = {
    "bare",
    "INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id, nth, recorded_at, "
    "data, "
    "key, holder) SELECT $1::smallint, n.p, 6, 1, $2::text, n.u, n.c, 1, $3::timestamptz, n.d, n.k, n.h FROM "
    "unnest($4::bigint[], $5::text[], $6::text[], $7::bytea[], $8::uuid[], $9::uuid[]) AS n(p, u, c, d, k, "
    "h)"};

enum { ATTEMPTS = 5, CONNECT_MS = 10000, EXCHANGE_MS = 30000, USER_MAX = 40, DATA_MAX = 64, KEY_BYTES = 16 };

/* A user and a key of which nothing else is known, in no order, as real ones are. */
struct item {
    char user[USER_MAX], coupon_id[COUPON_ID_MAX + 1];
    uint8_t key[REQUEST_KEY_BYTES], holder[KEY_BYTES];
    char data[DATA_MAX];
    size_t data_len;
};

struct run {
    const struct append_options *options;
    struct item *items;
    size_t count;
    int64_t user, head;
    struct store *store;
    struct batch *batch;
    struct pg *pg; /* plain */
    struct pg_args args;
};

static _Noreturn void give_up(const char *why)
{
    fprintf(stderr, "bench: append: %s\n", why);
    exit(2);
}

static void make_items(struct run *run)
{
    struct buf hex;
    buf_init(&hex, USER_MAX);
    for (size_t i = 0; i < run->count; i++) {
        struct item *item = &run->items[i];
        char name[USER_MAX];
        int len = snprintf(name, sizeof name, "append-%lld", (long long)run->user++);
        crypto_hash(NULL, (struct span){name, (size_t)len}, item->key, sizeof item->key);
        crypto_hash(NULL, (struct span){(const char *)item->key, sizeof item->key}, item->holder,
                    sizeof item->holder);
        buf_clear(&hex);
        hex_encode(&hex, item->holder, sizeof item->holder);
        memcpy(item->user, hex.data, hex.len + 1);
    }
    buf_deinit(&hex);
}

/* --- as the service does it --- */

static struct command *make_commands(const struct run *run)
{
    struct command *list = NULL, **end = &list;
    for (size_t i = 0; i < run->count; i++) {
        struct command *command = command_create(COMMAND_ISSUE, NULL);
        command->slice = run->options->slice;
        command->campaign_id = span_of(run->options->campaign_id);
        command->actor = SPAN("bench");
        command->issue.user_id = span_of(run->items[i].user);
        command->keyed = true;
        memcpy(command->id.key_hash, run->items[i].key, sizeof command->id.key_hash);
        *end = command;
        end = &command->next;
    }
    return list;
}

/* STORE_BUSY: a machine that stood still for longer than a statement may take. */
static enum store_status try_batch(struct run *run, struct command *list, int64_t *ret_loading_us)
{
    int64_t deadline_us = clock_deadline_us(EXCHANGE_MS), start_us = clock_mono_us();
    batch_reset(run->batch);
    batch_begin(run->batch, list);
    enum store_status status = store_load(run->store, run->batch, deadline_us);
    *ret_loading_us = clock_mono_us() - start_us;
    if (status != STORE_OK)
        return status;
    batch_decide(run->batch);
    if (run->batch->events_count != run->count) /* else nothing would be appended */
        give_up("not everybody got a coupon");
    return store_commit(run->store, run->batch, deadline_us);
}

static int64_t commit_batch(struct run *run)
{
    struct command *list = make_commands(run);
    int64_t loading_us = 0;
    enum store_status status = STORE_BUSY;
    for (int attempt = 0; attempt < ATTEMPTS && status == STORE_BUSY; attempt++)
        status = try_batch(run, list, &loading_us);
    if (status != STORE_OK)
        give_up(store_error(run->store));
    batch_reset(run->batch);
    while (list) {
        struct command *command = list;
        list = command->next;
        command_destroy(command);
    }
    return loading_us;
}

/* --- barely --- */

static void complete_items(struct run *run)
{
    struct buf scratch;
    buf_init(&scratch, 256);
    for (size_t i = 0; i < run->count; i++) {
        struct item *item = &run->items[i];
        int64_t position = run->head + 1 + (int64_t)i;
        struct event event = {.type = EVENT_CouponIssued, .version = 1};
        event.coupon_issued = (struct coupon_issued){
            .sequence = position - run->options->plain_from, /* dense from 1 (I5) */
            .nth = 1,
            .code_prefix = SPAN(""),
        };
        buf_clear(&scratch);
        event_encode(&event, &scratch);
        CHECK(scratch.len <= sizeof item->data);
        memcpy(item->data, scratch.data, scratch.len);
        item->data_len = scratch.len;
        buf_clear(&scratch);
        coupon_id_write(&scratch, (struct position){run->options->slice, position});
        memcpy(item->coupon_id, scratch.data, scratch.len + 1);
    }
    buf_deinit(&scratch);
}

#define ITEM_ARRAY(element, value)                    \
    do {                                              \
        pg_array_begin(&run->args, element);          \
        for (size_t i = 0; i < run->count; i++) {     \
            const struct item *item = &run->items[i]; \
            pg_array_bytes(&run->args, value);        \
        }                                             \
        pg_array_end(&run->args);                     \
    } while (0)

static void insert_barely(struct run *run)
{
    struct pg_rows *rows = NULL;
    complete_items(run);
    pg_args_reset(&run->args);
    pg_arg_i16(&run->args, run->options->slice);
    pg_arg_bytes(&run->args, span_of(run->options->campaign_id));
    pg_arg_time(&run->args, clock_wall_us());
    pg_array_begin(&run->args, PG_INT8);
    for (size_t i = 0; i < run->count; i++)
        pg_array_i64(&run->args, ++run->head);
    pg_array_end(&run->args);
    ITEM_ARRAY(PG_TEXT, span_of(item->user));
    ITEM_ARRAY(PG_TEXT, span_of(item->coupon_id));
    ITEM_ARRAY(PG_BYTEA, ((struct span){item->data, item->data_len}));
    ITEM_ARRAY(PG_UUID, ((struct span){(const char *)item->key, sizeof item->key}));
    ITEM_ARRAY(PG_UUID, ((struct span){(const char *)item->holder, sizeof item->holder}));
    if (pg_call(run->pg, 0, &run->args, clock_deadline_us(EXCHANGE_MS), &rows) != PG_OK)
        give_up(pg_error(run->pg));
    pg_rows_destroy(rows);
}

/* --- a run --- */

static void run_init(struct run *run, const struct append_options *options)
{
    CHECK(options->per_batch > 0 && options->per_batch <= APPEND_BATCH_MAX);
    *run = (struct run){.options = options,
                        .user = options->first_user,
                        .head = options->plain_from,
                        .count = (size_t)options->per_batch,
                        .store = store_create(options->url, true),
                        .batch = batch_create(&(struct creation_limits){0}, NULL)};
    run->items = mem_zalloc(run->count * sizeof *run->items);
    run->pg = pg_create(&(struct pg_options){.url = options->url,
                                             .role = "firstcome_command",
                                             .application = "bench append",
                                             .read_write = true,
                                             .statements = &bare_insert,
                                             .statements_count = 1});
    pg_args_init(&run->args);
    if (options->plain && pg_connect(run->pg, clock_deadline_us(CONNECT_MS)) != PG_OK)
        give_up(pg_error(run->pg));
    if (!options->plain &&
        store_connect(run->store, options->slice, clock_deadline_us(CONNECT_MS)) != STORE_OK)
        give_up(store_error(run->store));
}

static void run_deinit(struct run *run)
{
    store_destroy(run->store);
    batch_destroy(run->batch);
    pg_destroy(run->pg);
    pg_args_deinit(&run->args);
    mem_free(run->items);
}

void append_run(const struct append_options *options, struct append_result *ret)
{
    struct run run;
    int64_t loading_us = 0, done = 0;
    run_init(&run, options);
    int64_t start_us = clock_mono_us();
    for (; done < options->events; done += options->per_batch) {
        make_items(&run);
        if (options->plain)
            insert_barely(&run);
        else
            loading_us += commit_batch(&run);
    }
    int64_t wall_us = clock_mono_us() - start_us;
    ret->us_per_event = (double)wall_us / (double)done;
    ret->load_share = (double)loading_us / (double)wall_us;
    run_deinit(&run);
}
