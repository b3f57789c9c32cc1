/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of CouponIssued, sent as the command service sends them. */
#include "bench/kit/replay.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "events/event_log.h"
#include "events/ids.h"

enum statement {
    BEGIN,
    LOCK,
    NOW,
    CAMPAIGNS,
    REQUESTS,
    HOLDINGS,
    APPEND,
    REMEMBER,
    CHANGED_CAMPAIGNS,
    RUNS,
    BATCH,
    HEAD,
    COMMIT,
    STATEMENTS
};

/* replay_test.c compares them with the originals. */
const struct pg_statement replay_statements[STATEMENTS] = {
    [BEGIN] = {"begin", "BEGIN ISOLATION LEVEL READ COMMITTED"},
    [LOCK] = {"lock", "SELECT slice, head, chain, recorded_at FROM slice WHERE slice = ANY ($1::smallint[]) "
                      "ORDER BY slice FOR UPDATE"},
    [NOW] = {"now", "SELECT clock_timestamp()"},
    [CAMPAIGNS] =
        {"campaigns",
         "SELECT c.id, c.created_at, c.version, c.definition, c.released, c.issued, c.status, c.plan_done, "
         "c.first, c.position, c.redeemed, c.reserved, c.plan_halted, c.due_at FROM unnest($2::text[]) AS "
         "w(id) "
         "CROSS JOIN LATERAL "
         "(SELECT * FROM campaign c WHERE c.slice = $1::smallint AND c.id = w.id LIMIT 1) c"},
    [REQUESTS] =
        {"requests",
         "SELECT w.nr, i.fingerprint, i.status, i.position, i.answer FROM "
         "unnest($1::smallint[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS w(slice, key_hash, operation, "
         "nr) CROSS JOIN LATERAL (SELECT * FROM idempotency i WHERE i.slice = w.slice AND i.key_hash = "
         "w.key_hash AND i.operation = w.operation LIMIT 1) i"},
    [HOLDINGS] =
        {"holdings",
         "SELECT w.nr, e.nth, e.position FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS "
         "w(campaign_id, user_id, nr) CROSS JOIN LATERAL (SELECT e.nth, e.position FROM event e WHERE "
         "e.slice = $1::smallint AND e.user_id = w.user_id AND e.campaign_id = w.campaign_id AND e.type = 6 "
         "ORDER BY e.nth LIMIT 100) e ORDER BY 1, 2"},
    [APPEND] =
        {"append",
         "INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id, nth, "
         "recorded_at, trace, data) SELECT $1::smallint, n.p, n.t, n.v, n.c, n.u, n.k, n.nth, "
         "$2::timestamptz, n.tr, n.d FROM unnest($3::bigint[], $4::smallint[], $5::smallint[], $6::text[], "
         "$7::text[], $8::text[], $9::smallint[], $10::bytea[], $11::bytea[]) AS n(p, t, v, c, u, k, nth, "
         "tr, d)"},
    [REMEMBER] =
        {"remember",
         "INSERT INTO idempotency (slice, key_hash, operation, fingerprint, status, position, answer, "
         "recorded_at) SELECT n.s, n.k, n.o, n.f, n.st, n.p, n.a, $1::timestamptz FROM "
         "unnest($2::smallint[], $3::uuid[], $4::bigint[], $5::uuid[], $6::smallint[], $7::bigint[], "
         "$8::bytea[]) AS n(s, k, o, f, st, p, a)"},
    [CHANGED_CAMPAIGNS] =
        {"changed_campaigns",
         "UPDATE campaign c SET released = n.r, issued = n.i, status = n.s, plan_done = n.pl, "
         "position = n.p, redeemed = n.rd, reserved = n.rs, plan_halted = n.h <> 0, due_at = n.due FROM "
         "(SELECT l.at, w.* FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::smallint[], "
         "$6::smallint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::smallint[], $11::timestamptz[]) AS "
         "w(id, r, i, s, pl, p, rd, rs, h, due) CROSS JOIN LATERAL "
         "(SELECT c.ctid AS at FROM campaign c WHERE c.slice = $1::smallint AND c.id = w.id LIMIT 1) l) AS n "
         "WHERE c.ctid = n.at"},
    [RUNS] = {"runs",
              "INSERT INTO issue_run (slice, campaign_id, first_sequence, first_position, last_position) "
              "SELECT $1::smallint, n.c, n.s, n.f, n.l FROM unnest($2::text[], $3::bigint[], $4::bigint[], "
              "$5::bigint[]) AS n(c, s, f, l)"},
    [BATCH] = {"batch",
               "INSERT INTO batch (slice, first, last, chain, recorded_at) VALUES ($1::smallint, $2::bigint, "
               "$3::bigint, $4::bytea, $5::timestamptz)"},
    [HEAD] = {"head", "UPDATE slice SET head = $2::bigint, chain = $3::bytea, recorded_at = $4::timestamptz "
                      "WHERE slice = $1::smallint"},
    [COMMIT] = {"commit", "COMMIT"},
};

enum { CONNECT_MS = 10000, EXCHANGE_MS = 30000, ROUND_MAX = 8, USER_MAX = 40, KEY_BYTES = 16, DATA_MAX = 64 };

struct item {
    struct event event;
    char user[USER_MAX], coupon_id[COUPON_ID_MAX + 1];
    uint8_t key[KEY_BYTES];
    char data[DATA_MAX];
};

struct replay {
    const struct replay_options *options;
    struct pg *pg;
    struct pg_args args;
    struct item *items;
    size_t count;
    int64_t user, head, issued, now_us;
    uint8_t chain[32];
    struct buf scratch;
};

const size_t replay_statements_count = STATEMENTS;

static void must(struct replay *replay, bool good)
{
    if (good)
        return;
    fprintf(stderr, "bench: append: %s\n", pg_error(replay->pg));
    exit(2);
}

static struct span campaign_of(const struct replay *replay)
{
    return span_of(replay->options->campaign_id);
}

/* --- The commands of a batch --- */

static void make_users(struct replay *replay)
{
    uint8_t hash[KEY_BYTES];
    for (size_t i = 0; i < replay->count; i++) {
        struct item *item = &replay->items[i];
        snprintf(item->user, sizeof item->user, "replay-%lld", (long long)replay->user++);
        crypto_hash(NULL, span_of(item->user), item->key, sizeof item->key);
        crypto_hash(NULL, (struct span){(const char *)item->key, sizeof item->key}, hash, sizeof hash);
        buf_clear(&replay->scratch);
        hex_encode(&replay->scratch, hash, sizeof hash); /* in no order, as real ids are */
        memcpy(item->user, replay->scratch.data, replay->scratch.len + 1);
    }
}

/* A copy that the item owns. */
static struct span keep(const struct buf *from, char *at, size_t size)
{
    CHECK(!from->overflow && from->len < size);
    memcpy(at, from->data, from->len);
    return (struct span){at, from->len};
}

static void make_event(struct replay *replay, struct item *item)
{
    struct event *event = &item->event;
    *event = (struct event){.slice = replay->options->slice,
                            .position = ++replay->head,
                            .type = EVENT_CouponIssued,
                            .version = event_describe(EVENT_CouponIssued)->version,
                            .campaign_id = campaign_of(replay),
                            .user_id = span_of(item->user),
                            .recorded_at_us = replay->now_us};
    event->coupon_issued.sequence = ++replay->issued;
    event->coupon_issued.nth = 1;
    event->coupon_issued.code_prefix = SPAN("");
    buf_clear(&replay->scratch);
    event_encode(event, &replay->scratch);
    event->data = keep(&replay->scratch, item->data, sizeof item->data);
    buf_clear(&replay->scratch);
    coupon_id_write(&replay->scratch, (struct position){event->slice, event->position});
    event->coupon_id = keep(&replay->scratch, item->coupon_id, sizeof item->coupon_id);
}

/* --- First round trip --- */

#define ITEM_ARRAY(element, push, value)                 \
    do {                                                 \
        pg_array_begin(args, element);                   \
        for (size_t i = 0; i < replay->count; i++) {     \
            const struct item *item = &replay->items[i]; \
            CHECK(item);                                 \
            push(args, value);                           \
        }                                                \
        pg_array_end(args);                              \
    } while (0)

static struct span key_of(const struct item *item)
{
    return (struct span){(const char *)item->key, sizeof item->key};
}

static void send_probes(struct replay *replay)
{
    struct pg_args *args = &replay->args;
    pg_args_reset(args);
    pg_arg_i16(args, replay->options->slice);
    pg_array_begin(args, PG_TEXT);
    pg_array_bytes(args, campaign_of(replay));
    pg_array_end(args);
    pg_send(replay->pg, CAMPAIGNS, args);
    pg_args_reset(args);
    ITEM_ARRAY(PG_INT2, pg_array_i16, replay->options->slice);
    ITEM_ARRAY(PG_UUID, pg_array_bytes, key_of(item));
    ITEM_ARRAY(PG_INT8, pg_array_i64, 1);
    pg_send(replay->pg, REQUESTS, args);
    pg_args_reset(args);
    pg_arg_i16(args, replay->options->slice);
    ITEM_ARRAY(PG_TEXT, pg_array_bytes, campaign_of(replay));
    ITEM_ARRAY(PG_TEXT, pg_array_bytes, span_of(item->user));
    pg_send(replay->pg, HOLDINGS, args);
}

static void receive(struct replay *replay, struct pg_rows **rows, size_t count)
{
    int64_t deadline_us = clock_deadline_us(EXCHANGE_MS);
    for (size_t i = 0; i < count; i++)
        must(replay, pg_receive(replay->pg, deadline_us, &rows[i]) == PG_OK);
}

static void forget(struct pg_rows **rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pg_rows_destroy(rows[i]);
}

static void load(struct replay *replay)
{
    enum { BEGUN, LOCKED, TIME, CAMPAIGN, SEEN, HELD, ROUND };
    struct pg_rows *rows[ROUND] = {NULL};
    struct pg_args *args = &replay->args;
    pg_send(replay->pg, BEGIN, NULL);
    pg_args_reset(args);
    pg_array_begin(args, PG_INT2);
    pg_array_i16(args, replay->options->slice);
    pg_array_end(args);
    pg_send(replay->pg, LOCK, args);
    pg_send(replay->pg, NOW, NULL);
    send_probes(replay);
    pg_sync(replay->pg);
    receive(replay, rows, ROUND);
    CHECK(pg_rows_count(rows[LOCKED]) == 1 && pg_rows_count(rows[CAMPAIGN]) == 1);
    CHECK(pg_rows_count(rows[SEEN]) == 0 &&
          pg_rows_count(rows[HELD]) == 0); /* else nothing would be appended */
    replay->head = pg_i64(rows[LOCKED], 0, 1);
    replay->issued = pg_i64(rows[CAMPAIGN], 0, 5);
    replay->now_us = pg_time(rows[TIME], 0, 0);
    memcpy(replay->chain, pg_bytes(rows[LOCKED], 0, 2).ptr, sizeof replay->chain);
    forget(rows, ROUND);
}

/* --- Second round trip --- */

static void send_events(struct replay *replay)
{
    struct pg_args *args = &replay->args;
    const struct span none = {NULL, 0};
    pg_args_reset(args);
    pg_arg_i16(args, replay->options->slice);
    pg_arg_time(args, replay->now_us);
    ITEM_ARRAY(PG_INT8, pg_array_i64, item->event.position);
    ITEM_ARRAY(PG_INT2, pg_array_i16, (int16_t)item->event.type);
    ITEM_ARRAY(PG_INT2, pg_array_i16, item->event.version);
    ITEM_ARRAY(PG_TEXT, pg_array_bytes, item->event.campaign_id);
    ITEM_ARRAY(PG_TEXT, pg_array_bytes, item->event.user_id);
    ITEM_ARRAY(PG_TEXT, pg_array_bytes, item->event.coupon_id);
    ITEM_ARRAY(PG_INT2, pg_array_i16, 1);
    ITEM_ARRAY(PG_BYTEA, pg_array_bytes, none);
    ITEM_ARRAY(PG_BYTEA, pg_array_bytes, item->event.data);
    pg_send(replay->pg, APPEND, args);
}

static void send_requests_done(struct replay *replay)
{
    struct pg_args *args = &replay->args;
    const struct span none = {NULL, 0};
    pg_args_reset(args);
    pg_arg_time(args, replay->now_us);
    ITEM_ARRAY(PG_INT2, pg_array_i16, replay->options->slice);
    ITEM_ARRAY(PG_UUID, pg_array_bytes, key_of(item));
    ITEM_ARRAY(PG_INT8, pg_array_i64, 1);
    ITEM_ARRAY(PG_UUID, pg_array_bytes, key_of(item));
    ITEM_ARRAY(PG_INT2, pg_array_i16, 201);
    ITEM_ARRAY(PG_INT8, pg_array_i64, item->event.position);
    ITEM_ARRAY(PG_BYTEA, pg_array_bytes, none);
    pg_send(replay->pg, REMEMBER, args);
}

/* An array argument of one element. */
#define ONE(element, push, value)      \
    do {                               \
        pg_array_begin(args, element); \
        push(args, value);             \
        pg_array_end(args);            \
    } while (0)

static void send_campaign_and_run(struct replay *replay)
{
    struct pg_args *args = &replay->args;
    int64_t count = (int64_t)replay->count;
    pg_args_reset(args);
    pg_arg_i16(args, replay->options->slice);
    ONE(PG_TEXT, pg_array_bytes, campaign_of(replay));
    ONE(PG_INT8, pg_array_i64, QUANTITY_MAX);
    ONE(PG_INT8, pg_array_i64, replay->issued);
    ONE(PG_INT2, pg_array_i16, 1);
    ONE(PG_INT2, pg_array_i16, 0);
    ONE(PG_INT8, pg_array_i64, replay->head);
    ONE(PG_INT8, pg_array_i64, 0);
    ONE(PG_INT8, pg_array_i64, 0);
    ONE(PG_INT2, pg_array_i16, 0);
    ONE(PG_TIMESTAMPTZ, pg_array_bytes, ((struct span){NULL, 0}));
    pg_send(replay->pg, CHANGED_CAMPAIGNS, args);
    pg_args_reset(args);
    pg_arg_i16(args, replay->options->slice);
    ONE(PG_TEXT, pg_array_bytes, campaign_of(replay));
    ONE(PG_INT8, pg_array_i64, replay->issued - count + 1);
    ONE(PG_INT8, pg_array_i64, replay->head - count + 1);
    ONE(PG_INT8, pg_array_i64, replay->head);
    pg_send(replay->pg, RUNS, args);
}

static void send_link(struct replay *replay)
{
    struct pg_args *args = &replay->args;
    struct log_chain chain;
    log_chain_begin(&chain, replay->chain);
    for (size_t i = 0; i < replay->count; i++)
        log_chain_add(&chain, &replay->items[i].event);
    log_chain_end(&chain, replay->chain);
    struct span link = {(const char *)replay->chain, sizeof replay->chain};
    pg_args_reset(args);
    pg_arg_i16(args, replay->options->slice);
    pg_arg_i64(args, replay->items[0].event.position);
    pg_arg_i64(args, replay->head);
    pg_arg_bytes(args, link);
    pg_arg_time(args, replay->now_us);
    pg_send(replay->pg, BATCH, args);
    pg_args_reset(args);
    pg_arg_i16(args, replay->options->slice);
    pg_arg_i64(args, replay->head);
    pg_arg_bytes(args, link);
    pg_arg_time(args, replay->now_us);
    pg_send(replay->pg, HEAD, args);
}

static void commit(struct replay *replay)
{
    struct pg_rows *rows[ROUND_MAX] = {NULL};
    size_t sent = replay->options->plain ? 3 : 7;
    for (size_t i = 0; i < replay->count; i++)
        make_event(replay, &replay->items[i]);
    if (replay->options->plain)
        pg_send(replay->pg, BEGIN, NULL);
    else
        send_requests_done(replay);
    send_events(replay);
    if (!replay->options->plain) {
        send_campaign_and_run(replay);
        send_link(replay);
    }
    pg_send(replay->pg, COMMIT, NULL);
    pg_sync(replay->pg);
    receive(replay, rows, sent);
    forget(rows, sent);
}

/* --- A run --- */

static void replay_init(struct replay *replay, const struct replay_options *options)
{
    CHECK(options->per_batch > 0 && options->per_batch <= REPLAY_BATCH_MAX);
    *replay = (struct replay){.options = options,
                              .user = options->first_user,
                              .head = options->plain_from,
                              .now_us = clock_wall_us(),
                              .count = (size_t)options->per_batch};
    replay->items = mem_zalloc(replay->count * sizeof *replay->items);
    replay->pg = pg_create(&(struct pg_options){.url = options->url,
                                                .role = "firstcome_command",
                                                .application = "bench append",
                                                .read_write = true,
                                                .statements = replay_statements,
                                                .statements_count = STATEMENTS});
    pg_args_init(&replay->args);
    buf_init(&replay->scratch, 4096);
    must(replay, pg_connect(replay->pg, clock_deadline_us(CONNECT_MS)) == PG_OK);
}

static void replay_deinit(struct replay *replay)
{
    pg_destroy(replay->pg);
    pg_args_deinit(&replay->args);
    buf_deinit(&replay->scratch);
    mem_free(replay->items);
}

void replay_run(const struct replay_options *options, struct replay_result *ret)
{
    struct replay replay;
    int64_t loading_us = 0, done = 0;
    replay_init(&replay, options);
    int64_t start_us = clock_mono_us();
    for (; done < options->events; done += options->per_batch) {
        int64_t batch_us = clock_mono_us();
        make_users(&replay);
        if (!options->plain)
            load(&replay);
        loading_us += clock_mono_us() - batch_us;
        commit(&replay);
    }
    int64_t wall_us = clock_mono_us() - start_us;
    ret->us_per_event = (double)wall_us / (double)done;
    ret->load_share = (double)loading_us / (double)wall_us;
    replay_deinit(&replay);
}
