/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the projection share: an in-memory Redis that does what projection.h says of each kind of
 * mutation, and logs of chance that are valid and the same in every run. Only for *_test.c files. */
#pragma once

#include "common/base/clock.h"
#include "common/base/testing.h"
#include "events/coupon.h"
#include "readmodel/projection.h"

/* --- an in-memory Redis: hashes, sorted sets and strings (field "") as cells --- */

enum { CELLS_MAX = 8192, CAMPAIGNS = 6, GOES = 4, EVENTS = 900 };

struct cell {
    uint64_t hash; /* of key and field: most cells are told apart by it */
    char *key, *field, *value;
    size_t value_len;
};

struct store {
    struct cell cells[CELLS_MAX];
    size_t count;
    bool begun[USER_BUCKETS];
};

static inline char *copy_text(struct span text)
{
    char *copy = mem_alloc(text.len + 1);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return copy;
}

static inline uint64_t cell_hash(struct span key, struct span field)
{
    return 31 * span_hash(key) + span_hash(field);
}

static inline struct cell *store_find(struct store *store, struct span key, struct span field)
{
    uint64_t hash = cell_hash(key, field);
    for (size_t i = 0; i < store->count; i++)
        if (store->cells[i].hash == hash && span_is(key, store->cells[i].key) &&
            span_is(field, store->cells[i].field))
            return &store->cells[i];
    return NULL;
}

static inline void store_put(struct store *store, struct span key, struct span field, struct span value)
{
    struct cell *cell = store_find(store, key, field);
    if (!cell) {
        assert_true(store->count < CELLS_MAX);
        cell = &store->cells[store->count++];
        *cell =
            (struct cell){.hash = cell_hash(key, field), .key = copy_text(key), .field = copy_text(field)};
    }
    mem_free(cell->value);
    cell->value = copy_text(value);
    cell->value_len = value.len;
}

static inline void store_remove_at(struct store *store, size_t i)
{
    mem_free(store->cells[i].key);
    mem_free(store->cells[i].field);
    mem_free(store->cells[i].value);
    store->cells[i] = store->cells[--store->count];
}

static inline void store_unlink(struct store *store, struct span key)
{
    for (size_t i = store->count; i-- > 0;)
        if (span_is(key, store->cells[i].key))
            store_remove_at(store, i);
}

static inline void store_clear(struct store *store)
{
    while (store->count)
        store_remove_at(store, 0);
}

static inline int64_t store_number(struct store *store, struct span key, const char *field)
{
    const struct cell *cell = store_find(store, key, span_of(field));
    int64_t value;
    if (!cell)
        return -1;
    assert_true(parse_i64(span_of(cell->value), INT64_MIN, INT64_MAX, &value));
    return value;
}

static inline int compare_cells(const void *a, const void *b)
{
    const struct cell *left = a, *right = b;
    int keys = strcmp(left->key, right->key);
    return keys ? keys : strcmp(left->field, right->field);
}

static inline void assert_same(struct store *a, struct store *b)
{
    qsort(a->cells, a->count, sizeof *a->cells, compare_cells);
    qsort(b->cells, b->count, sizeof *b->cells, compare_cells);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_string_equal(a->cells[i].key, b->cells[i].key);
        assert_string_equal(a->cells[i].field, b->cells[i].field);
        assert_int_equal(a->cells[i].value_len, b->cells[i].value_len);
        assert_memory_equal(a->cells[i].value, b->cells[i].value, a->cells[i].value_len);
    }
}

/* --- mutations --- */

static inline void put_number(struct store *store, struct span key, const char *field, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    store_put(store, key, span_of(field), span_of(text));
}

static inline int64_t number_of(struct span text)
{
    int64_t value;
    assert_true(parse_i64(text, INT64_MIN, INT64_MAX, &value));
    return value;
}

static inline void apply_campaign(struct store *store, const struct mutation *mutation)
{
    static const char *const counts[] = {"released", "redeemed", "reserved"};
    int64_t position = number_of(mutation->args[0]);
    assert_non_null(store_find(store, mutation->key, SPAN("d")));
    if (store_number(store, mutation->key, "pos") >= position)
        return;
    put_number(store, mutation->key, "pos", position);
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        put_number(store, mutation->key, counts[i],
                   store_number(store, mutation->key, counts[i]) + number_of(mutation->args[i + 1]));
    for (size_t i = 4; i < mutation->args_count; i += 2)
        store_put(store, mutation->key, mutation->args[i], mutation->args[i + 1]);
}

static inline void store_drop(struct store *store, struct span key, struct span field)
{
    const struct cell *cell = store_find(store, key, field);
    if (cell)
        store_remove_at(store, (size_t)(cell - store->cells));
}

/* A text in hexadecimal: cells compare keys and fields as text. */
static inline struct span hex_of(struct buf *out, struct span bytes)
{
    buf_clear(out);
    hex_encode(out, bytes.ptr, bytes.len);
    return buf_span(out);
}

/* The record in the campaign's field, which begins its member. */
static inline void apply_activity(struct store *store, const struct mutation *mutation, const char *field,
                                  int64_t count)
{
    struct activity activity = {0};
    struct buf member, hex;
    struct span rest;
    const struct cell *former = store_find(store, mutation->key, span_of(field));
    buf_init(&member, ACTIVITY_BYTES_MAX + CAMPAIGN_ID_MAX);
    buf_init(&hex, 2 * (ACTIVITY_BYTES_MAX + CAMPAIGN_ID_MAX));
    if (former) {
        struct span record = {former->value, former->value_len};
        assert_true(activity_read(record, &activity, &rest));
        buf_append_span(&member, record);
        buf_append_span(&member, mutation->args[RANK_CAMPAIGN]);
        store_drop(store, mutation->more_keys[1], hex_of(&hex, buf_span(&member)));
    }
    int64_t before = count - number_of(mutation->args[RANK_CHANGE]);
    for (size_t i = RANK_MARKS; i < mutation->args_count; i += 2)
        activity_mark(&activity, number_of(mutation->args[i]) * US_PER_S,
                      before + number_of(mutation->args[i + 1]));
    activity.count = count;
    buf_clear(&member);
    activity_write(&member, &activity);
    store_put(store, mutation->key, span_of(field), buf_span(&member));
    buf_append_span(&member, mutation->args[RANK_CAMPAIGN]);
    store_put(store, mutation->more_keys[1], hex_of(&hex, buf_span(&member)), mutation->args[RANK_REACHED]);
    buf_deinit(&member);
    buf_deinit(&hex);
}

static inline void apply_rank(struct store *store, const struct mutation *mutation)
{
    char counted[16], rank[20], active[20], text[24];
    snprintf(counted, sizeof counted, "%.*s", SPAN_ARG(mutation->args[RANK_COUNTED]));
    snprintf(rank, sizeof rank, "r:%s", counted);
    snprintf(active, sizeof active, "a:%s", counted);
    int64_t count = store_number(store, mutation->key, counted);
    const struct cell *former = store_find(store, mutation->key, span_of(rank));
    if (former)
        store_drop(store, mutation->more_keys[0], span_of(former->value));
    snprintf(text, sizeof text, "%lld", (long long)count);
    if (count > 0)
        store_put(store, mutation->more_keys[0], mutation->args[RANK_MEMBER], span_of(text));
    store_put(store, mutation->key, span_of(rank), mutation->args[RANK_MEMBER]);
    apply_activity(store, mutation, active, count);
}

static inline void apply_trim(struct store *store, const struct mutation *mutation)
{
    assert_true(span_is(mutation->args[0], "-inf") && mutation->args[1].ptr[0] == '(');
    int64_t below = number_of((struct span){mutation->args[1].ptr + 1, mutation->args[1].len - 1});
    for (size_t i = store->count; i-- > 0;)
        if (span_is(mutation->key, store->cells[i].key) && number_of(span_of(store->cells[i].value)) < below)
            store_remove_at(store, i);
}

static inline void apply_fields(struct store *store, const struct mutation *mutation, size_t first)
{
    for (size_t i = first; i < mutation->args_count; i += 2)
        store_put(store, mutation->key, mutation->args[i], mutation->args[i + 1]);
}

static inline void apply_hold(struct store *store, const struct mutation *mutation)
{
    int64_t bucket;
    struct buf value;
    assert_int_equal(mutation->args_count, 2);
    assert_true(parse_i64(mutation->args[0], 0, USER_BUCKETS - 1, &bucket));
    const struct cell *cell = store_find(store, mutation->key, SPAN(""));
    buf_init(&value, EVENTS * HOLDING_BYTES);
    if (store->begun[bucket])
        buf_append(&value, cell->value, cell->value_len);
    buf_append_span(&value, mutation->args[1]);
    assert_false(value.overflow);
    store_put(store, mutation->key, SPAN(""), buf_span(&value));
    store->begun[bucket] = true;
    buf_deinit(&value);
}

static inline void apply_one(struct store *store, const struct mutation *mutation)
{
    switch (mutation->kind) {
    case MUTATION_CAMPAIGN:
        apply_campaign(store, mutation);
        return;
    case MUTATION_RANK:
        apply_rank(store, mutation);
        return;
    case MUTATION_HSET:
    case MUTATION_ROW:
        apply_fields(store, mutation, 0);
        return;
    case MUTATION_STATE:
        if (store_find(store, mutation->key, mutation->args[0]))
            apply_fields(store, mutation, 1);
        return;
    case MUTATION_ZADD:
        for (size_t i = 0; i < mutation->args_count; i += 2)
            store_put(store, mutation->key, mutation->args[i + 1], mutation->args[i]);
        return;
    case MUTATION_ZREM:
        for (size_t i = 0; i < mutation->args_count; i++)
            store_drop(store, mutation->key, mutation->args[i]);
        return;
    case MUTATION_ZREMRANGEBYSCORE:
        apply_trim(store, mutation);
        return;
    case MUTATION_UNLINK:
        store_unlink(store, mutation->key);
        return;
    case MUTATION_HOLD:
        apply_hold(store, mutation);
        return;
    }
}

enum outcome { FAILED_HALF_WAY, APPLIED };

/* A script that fails half way has not come to the holdings. */
static inline void apply(struct store *store, const struct projection *projection, enum outcome outcome)
{
    size_t count = 0;
    if (projection->first == 1)
        memset(store->begun, 0, sizeof store->begun);
    for (const struct mutation *at = projection->mutations.first; at; at = at->next, count++)
        if (outcome == APPLIED || at->kind != MUTATION_HOLD)
            apply_one(store, at);
    assert_int_equal(count, projection->mutations.count);
}

/* --- a log --- */

static const struct model model = {.generation = 1, .slice = 3};

struct log {
    struct event events[EVENTS];
    struct campaign campaigns[CAMPAIGNS]; /* the fold */
    struct coupon coupons[EVENTS];
    struct buf data[EVENTS], users[EVENTS], ids[EVENTS]; /* ids of the coupons that events are about */
    size_t count, coupons_count;
    int64_t now_us;
    uint32_t random;
};

static const char *const campaign_ids[CAMPAIGNS] = {"alpha", "beta", "gamma", "delta", "goes", "hot"};

static inline uint32_t next_random(struct log *log, uint32_t below)
{
    log->random = log->random * 1664525u + 1013904223u;
    return (log->random >> 8) % below;
}

/* Adds an event whose type, campaign and payload are set. */
static inline void log_add(struct log *log, size_t campaign, struct event event)
{
    struct buf *data = &log->data[log->count];
    event.slice = model.slice;
    event.position = (int64_t)log->count + 1;
    event.version = 1;
    event.campaign_id = span_of(campaign_ids[campaign]);
    log->now_us += next_random(log, 4) ? 1000 : (int64_t)next_random(log, 6 * 3600) * US_PER_S;
    event.recorded_at_us = INT64_C(1800000000000000) + log->now_us;
    buf_init(data, EVENT_DATA_MAX);
    event_encode(&event, data);
    event.data = buf_span(data);
    log->events[log->count++] = event;
    campaign_apply(&log->campaigns[campaign], &event);
    if (event.type == EVENT_CouponIssued)
        log->coupons[log->coupons_count++] = coupon_from_event(&event);
}

static inline void log_create(struct log *log, size_t campaign)
{
    log_add(log, campaign,
            (struct event){.type = EVENT_CampaignCreated,
                           .campaign_created = {.name = SPAN("test"),
                                                .discount_value = 10,
                                                .currency = SPAN("EUR"),
                                                .quantity = 100000,
                                                .released = 50000,
                                                .per_user_limit = 100}});
}

static inline void log_issue(struct log *log, size_t campaign)
{
    struct buf *user = &log->users[log->count];
    buf_init(user, USER_ID_MAX);
    buf_printf(user, "user-%u", next_random(log, 60));
    log_add(log, campaign,
            (struct event){.type = EVENT_CouponIssued,
                           .user_id = buf_span(user),
                           .coupon_issued = {.sequence = log->campaigns[campaign].issued + 1, .nth = 1}});
}

static inline size_t campaign_of(struct span id)
{
    for (size_t i = 0; i < CAMPAIGNS; i++)
        if (span_is(id, campaign_ids[i]))
            return i;
    fail_msg("no such campaign");
    return 0;
}

/* An event that the coupon's state allows. */
static inline struct event next_event_of(struct log *log, const struct coupon *coupon)
{
    bool reserved = coupon->state == COUPON_RESERVED;
    struct span order = SPAN("order-7");
    switch (next_random(log, coupon->state == COUPON_ISSUED ? 3 : 5)) {
    case 0:
        return (struct event){.type = EVENT_CouponReserved,
                              .coupon_reserved = {order, 900, 90, log->now_us + 5, reserved}};
    case 1:
        return (struct event){.type = EVENT_CouponRevoked,
                              .coupon_revoked = {SPAN("why"), SPAN("a"), reserved}};
    case 2:
        return (struct event){.type = EVENT_CouponRedeemed, .coupon_redeemed = {order, 800, 80, reserved}};
    case 3:
        return (struct event){.type = EVENT_ReservationReleased, .reservation_released = {order}};
    default:
        return (struct event){.type = EVENT_ReservationExpired, .reservation_expired = {order, 5}};
    }
}

static inline void log_use(struct log *log)
{
    struct coupon *coupon = &log->coupons[next_random(log, (uint32_t)log->coupons_count)];
    struct event event = next_event_of(log, coupon);
    if (coupon->state == COUPON_REVOKED)
        return;
    if (coupon->state == COUPON_REDEEMED)
        event = (struct event){.type = EVENT_CouponRestored, .coupon_restored = {SPAN("order-7")}};
    struct buf *id = &log->ids[log->count];
    buf_init(id, COUPON_ID_MAX);
    coupon_id_write(id, coupon->at);
    event.coupon_id = buf_span(id);
    event.user_id = coupon->user_id;
    log_add(log, campaign_of(coupon->campaign_id), event);
    coupon_apply(coupon, &log->events[log->count - 1]);
}

static inline void log_control(struct log *log)
{
    struct event event = {.type = EVENT_SettingChanged,
                          .slice = model.slice,
                          .position = (int64_t)log->count + 1,
                          .version = 1,
                          .campaign_id = SPAN("~"),
                          .recorded_at_us = INT64_C(1800000000000000) + log->now_us};
    log->events[log->count++] = event;
}

static inline void log_release(struct log *log, size_t campaign)
{
    struct campaign *is = &log->campaigns[campaign];
    int64_t step = next_random(log, 2) ? is->plan_done + 1 : 0;
    log_add(log, campaign,
            (struct event){.type = EVENT_StockReleased,
                           .stock_released = {.quantity = 1 + next_random(log, 9), .plan_step = step}});
}

static inline void log_anything(struct log *log)
{
    static const enum event_type states[] = {EVENT_CampaignPaused, EVENT_CampaignResumed, EVENT_CampaignEnded,
                                             EVENT_CampaignClosed, EVENT_ReleasePlanHalted};
    size_t campaign = next_random(log, 3) ? CAMPAIGNS - 1 : next_random(log, CAMPAIGNS);
    if (next_random(log, 100) == 0)
        log_control(log);
    else if (log->campaigns[campaign].state == CAMPAIGN_DELETED)
        return; /* nothing ever comes after that */
    else if (log->campaigns[campaign].first == 0)
        log_create(log, campaign);
    else if (campaign == GOES && log->campaigns[GOES].issued == 0)
        log_add(log, campaign,
                (struct event){.type = EVENT_CampaignDeleted, .campaign_deleted = {SPAN("a")}});
    else if (log->coupons_count && next_random(log, 3) == 0)
        log_use(log);
    else if (next_random(log, 20) == 0)
        log_release(log, campaign);
    else if (next_random(log, 30) == 0)
        log_add(log, campaign, (struct event){.type = states[next_random(log, COUNT_OF(states))]});
    else
        log_issue(log, campaign);
}

static inline struct log *log_make(uint32_t seed)
{
    struct log *log = mem_zalloc(sizeof *log);
    log->random = seed;
    while (log->count < EVENTS)
        log_anything(log);
    return log;
}

static inline void log_destroy(struct log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        buf_deinit(&log->data[i]);
        buf_deinit(&log->users[i]);
        buf_deinit(&log->ids[i]);
    }
    mem_free(log);
}

/* Projects events [from, to) in batches of `size` (0: random sizes), each applied `times`. */
struct replay {
    size_t from, to, size, times;
};

static inline void replay(struct store *store, struct log *log, const struct replay *how)
{
    struct projection projection;
    projection_init(&projection);
    for (size_t at = how->from; at < how->to;) {
        size_t size = how->size ? how->size : 1 + next_random(log, 200);
        projection_begin(&projection, model);
        for (size_t end = at + size < how->to ? at + size : how->to; at < end; at++)
            assert_true(projection_add(&projection, &log->events[at]));
        projection_end(&projection);
        for (size_t i = 1; i < how->times; i++)
            apply(store, &projection, FAILED_HALF_WAY);
        apply(store, &projection, APPLIED);
    }
    projection_deinit(&projection);
}
