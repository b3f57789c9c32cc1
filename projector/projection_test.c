/* SPDX-License-Identifier: Apache-2.0 */
/* The projection against an in-memory Redis that does what projection.h says of each kind of mutation:
 * whatever the size of the batches, and however often one is applied, the models are the same and equal the
 * fold. */
#include "projector/projection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/clock.h"
#include "events/coupon.h"

/* --- an in-memory Redis: hashes, sorted sets and strings (field "") as cells --- */

enum { CELLS_MAX = 8192, CAMPAIGNS = 6, GOES = 4, EVENTS = 900 };

struct cell {
    char *key, *field, *value;
    size_t value_len;
};

struct store {
    struct cell cells[CELLS_MAX];
    size_t count;
    bool begun[USER_BUCKETS];
};

static char *copy_text(struct span text)
{
    char *copy = mem_alloc(text.len + 1);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return copy;
}

static struct cell *store_find(struct store *store, struct span key, struct span field)
{
    for (size_t i = 0; i < store->count; i++)
        if (span_is(key, store->cells[i].key) && span_is(field, store->cells[i].field))
            return &store->cells[i];
    return NULL;
}

static void store_put(struct store *store, struct span key, struct span field, struct span value)
{
    struct cell *cell = store_find(store, key, field);
    if (!cell) {
        assert_true(store->count < CELLS_MAX);
        cell = &store->cells[store->count++];
        *cell = (struct cell){.key = copy_text(key), .field = copy_text(field)};
    }
    mem_free(cell->value);
    cell->value = copy_text(value);
    cell->value_len = value.len;
}

static void store_remove_at(struct store *store, size_t i)
{
    mem_free(store->cells[i].key);
    mem_free(store->cells[i].field);
    mem_free(store->cells[i].value);
    store->cells[i] = store->cells[--store->count];
}

static void store_unlink(struct store *store, struct span key)
{
    for (size_t i = store->count; i-- > 0;)
        if (span_is(key, store->cells[i].key))
            store_remove_at(store, i);
}

static void store_clear(struct store *store)
{
    while (store->count)
        store_remove_at(store, 0);
}

static int64_t store_number(struct store *store, struct span key, const char *field)
{
    const struct cell *cell = store_find(store, key, span_of(field));
    int64_t value;
    if (!cell)
        return -1;
    assert_true(parse_i64(span_of(cell->value), INT64_MIN, INT64_MAX, &value));
    return value;
}

static int compare_cells(const void *a, const void *b)
{
    const struct cell *left = a, *right = b;
    int keys = strcmp(left->key, right->key);
    return keys ? keys : strcmp(left->field, right->field);
}

static void assert_same(struct store *a, struct store *b)
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

static void put_number(struct store *store, struct span key, const char *field, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    store_put(store, key, span_of(field), span_of(text));
}

static int64_t number_of(struct span text)
{
    int64_t value;
    assert_true(parse_i64(text, INT64_MIN, INT64_MAX, &value));
    return value;
}

static void apply_campaign(struct store *store, const struct mutation *mutation)
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

static void store_drop(struct store *store, struct span key, struct span field)
{
    const struct cell *cell = store_find(store, key, field);
    if (cell)
        store_remove_at(store, (size_t)(cell - store->cells));
}

/* A text in hexadecimal: cells compare keys and fields as text. */
static struct span hex_of(struct buf *out, struct span bytes)
{
    buf_clear(out);
    hex_encode(out, bytes.ptr, bytes.len);
    return buf_span(out);
}

/* The record in the campaign's field, which begins its member. */
static void apply_activity(struct store *store, const struct mutation *mutation, const char *field, int64_t count)
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

static void apply_rank(struct store *store, const struct mutation *mutation)
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

static void apply_trim(struct store *store, const struct mutation *mutation)
{
    assert_true(span_is(mutation->args[0], "-inf") && mutation->args[1].ptr[0] == '(');
    int64_t below = number_of((struct span){mutation->args[1].ptr + 1, mutation->args[1].len - 1});
    for (size_t i = store->count; i-- > 0;)
        if (span_is(mutation->key, store->cells[i].key) && number_of(span_of(store->cells[i].value)) < below)
            store_remove_at(store, i);
}

static void apply_fields(struct store *store, const struct mutation *mutation, size_t first)
{
    for (size_t i = first; i < mutation->args_count; i += 2)
        store_put(store, mutation->key, mutation->args[i], mutation->args[i + 1]);
}

static void apply_hold(struct store *store, const struct mutation *mutation)
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

static void apply_one(struct store *store, const struct mutation *mutation)
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
static void apply(struct store *store, const struct projection *projection, enum outcome outcome)
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

static uint32_t next_random(struct log *log, uint32_t below)
{
    log->random = log->random * 1664525u + 1013904223u;
    return (log->random >> 8) % below;
}

/* Adds an event whose type, campaign and payload are set. */
static void log_add(struct log *log, size_t campaign, struct event event)
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

static void log_create(struct log *log, size_t campaign)
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

static void log_issue(struct log *log, size_t campaign)
{
    struct buf *user = &log->users[log->count];
    buf_init(user, USER_ID_MAX);
    buf_printf(user, "user-%u", next_random(log, 60));
    log_add(log, campaign,
            (struct event){.type = EVENT_CouponIssued,
                           .user_id = buf_span(user),
                           .coupon_issued = {.sequence = log->campaigns[campaign].issued + 1, .nth = 1}});
}

static size_t campaign_of(struct span id)
{
    for (size_t i = 0; i < CAMPAIGNS; i++)
        if (span_is(id, campaign_ids[i]))
            return i;
    fail_msg("no such campaign");
    return 0;
}

/* An event that the coupon's state allows. */
static struct event next_event_of(struct log *log, const struct coupon *coupon)
{
    bool reserved = coupon->state == COUPON_RESERVED;
    struct span order = SPAN("order-7");
    switch (next_random(log, coupon->state == COUPON_ISSUED ? 3 : 5)) {
    case 0:
        return (struct event){.type = EVENT_CouponReserved,
                              .coupon_reserved = {order, 900, 90, log->now_us + 5, reserved}};
    case 1:
        return (struct event){.type = EVENT_CouponRevoked, .coupon_revoked = {SPAN("why"), SPAN("a"), reserved}};
    case 2:
        return (struct event){.type = EVENT_CouponRedeemed, .coupon_redeemed = {order, 800, 80, reserved}};
    case 3:
        return (struct event){.type = EVENT_ReservationReleased, .reservation_released = {order}};
    default:
        return (struct event){.type = EVENT_ReservationExpired, .reservation_expired = {order, 5}};
    }
}

static void log_use(struct log *log)
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

static void log_control(struct log *log)
{
    struct event event = {.type = EVENT_SettingChanged,
                          .slice = model.slice,
                          .position = (int64_t)log->count + 1,
                          .version = 1,
                          .campaign_id = SPAN("~"),
                          .recorded_at_us = INT64_C(1800000000000000) + log->now_us};
    log->events[log->count++] = event;
}

static void log_release(struct log *log, size_t campaign)
{
    struct campaign *is = &log->campaigns[campaign];
    int64_t step = next_random(log, 2) ? is->plan_done + 1 : 0;
    log_add(log, campaign,
            (struct event){.type = EVENT_StockReleased,
                           .stock_released = {.quantity = 1 + next_random(log, 9), .plan_step = step}});
}

static void log_anything(struct log *log)
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
        log_add(log, campaign, (struct event){.type = EVENT_CampaignDeleted, .campaign_deleted = {SPAN("a")}});
    else if (log->coupons_count && next_random(log, 3) == 0)
        log_use(log);
    else if (next_random(log, 20) == 0)
        log_release(log, campaign);
    else if (next_random(log, 30) == 0)
        log_add(log, campaign, (struct event){.type = states[next_random(log, COUNT_OF(states))]});
    else
        log_issue(log, campaign);
}

static struct log *log_make(uint32_t seed)
{
    struct log *log = mem_zalloc(sizeof *log);
    log->random = seed;
    while (log->count < EVENTS)
        log_anything(log);
    return log;
}

static void log_destroy(struct log *log)
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

static void replay(struct store *store, struct log *log, const struct replay *how)
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

/* --- tests --- */

static struct store one, other;

static int clear_stores(void **state)
{
    (void)state;
    store_clear(&one);
    store_clear(&other);
    return 0;
}

static void batches_of_any_size_make_the_same_models(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 5; seed++) {
        struct log *log = log_make(seed);
        replay(&one, log, &(struct replay){.to = EVENTS, .size = 1, .times = 1});
        replay(&other, log, &(struct replay){.to = EVENTS, .size = EVENTS, .times = 1});
        assert_same(&one, &other);
        store_clear(&other);
        replay(&other, log, &(struct replay){.to = EVENTS, .size = 0, .times = 1});
        assert_same(&one, &other);
        log_destroy(log);
        clear_stores(NULL);
    }
}

static void applying_a_batch_twice_changes_nothing(void **state)
{
    (void)state;
    struct log *log = log_make(7);
    replay(&one, log, &(struct replay){.to = EVENTS, .size = 37, .times = 1});
    replay(&other, log, &(struct replay){.to = EVENTS, .size = 0, .times = 2});
    assert_same(&one, &other);
    log_destroy(log);
}

static void replaying_over_what_is_left_heals(void **state)
{
    (void)state;
    struct log *log = log_make(8);
    replay(&one, log, &(struct replay){.to = EVENTS, .size = 100, .times = 1});
    replay(&other, log, &(struct replay){.to = EVENTS, .size = 64, .times = 1});
    for (size_t i = other.count; i-- > 0;) /* some campaigns vanish, their members of the sorted sets stay */
        if (strncmp(other.cells[i].key, "fc:1:{3}:c:", 11) == 0 && other.cells[i].key[11] != 'h')
            store_remove_at(&other, i);
    replay(&other, log, &(struct replay){.to = EVENTS, .size = 50, .times = 1});
    assert_same(&one, &other);
    log_destroy(log);
}

static void models_equal_the_fold(void **state)
{
    (void)state;
    struct log *log = log_make(9);
    replay(&one, log, &(struct replay){.to = EVENTS, .size = 0, .times = 1});
    for (size_t i = 0; i < CAMPAIGNS; i++) {
        const struct campaign *is = &log->campaigns[i];
        struct buf key;
        buf_init(&key, KEY_TEXT_MAX);
        key_campaign(&key, model, span_of(campaign_ids[i]));
        if (i == GOES) {
            assert_int_equal(is->state, CAMPAIGN_DELETED);
            assert_null(store_find(&one, buf_span(&key), SPAN("d")));
            assert_null(store_find(&one, SPAN("fc:1:{3}:cs"), is->id));
            buf_deinit(&key);
            continue;
        }
        assert_int_equal(store_number(&one, buf_span(&key), "redeemed"), is->redeemed);
        assert_int_equal(store_number(&one, buf_span(&key), "reserved"), is->reserved);
        assert_int_equal(store_number(&one, buf_span(&key), "halted"), is->plan_halted);
        assert_int_equal(store_number(&one, buf_span(&key), "pos"), is->position);
        assert_int_equal(store_number(&one, buf_span(&key), "first"), is->first);
        assert_int_equal(store_number(&one, buf_span(&key), "t"), is->created_at_us);
        assert_int_equal(store_number(&one, buf_span(&key), "released"), is->released);
        assert_int_equal(store_number(&one, buf_span(&key), "issued"), is->issued);
        assert_int_equal(store_number(&one, buf_span(&key), "plan"), is->plan_done);
        assert_int_equal(store_number(&one, buf_span(&key), "state"), is->state);
        const struct cell *data = store_find(&one, buf_span(&key), SPAN("d"));
        const struct span bytes = log->events[is->first - 1].data;
        assert_int_equal(data->value_len, bytes.len);
        assert_memory_equal(data->value, bytes.ptr, bytes.len);
        buf_deinit(&key);
    }
    log_destroy(log);
}

/* How often the coupon is in its user's bucket of store `one`. */
static size_t times_held(const struct event *event)
{
    size_t found = 0;
    struct buf key;
    struct user_place place = user_place(event->user_id);
    buf_init(&key, KEY_TEXT_MAX);
    key_users(&key, model, place.bucket);
    const struct cell *bucket = store_find(&one, buf_span(&key), SPAN(""));
    assert_int_equal(bucket->value_len % HOLDING_BYTES, 0);
    for (size_t at = 0; at < bucket->value_len; at += HOLDING_BYTES) {
        struct holding is = holding_read(bucket->value + at);
        found += is.position == event->position && is.at_us == event->recorded_at_us &&
                 is.user == place.tag && is.campaign == campaign_tag(event->campaign_id);
    }
    buf_deinit(&key);
    return found;
}

static struct span field_of(const struct coupon *coupon, enum coupon_field which)
{
    struct buf key, field;
    buf_init(&key, KEY_TEXT_MAX);
    buf_init(&field, KEY_TEXT_MAX);
    key_coupons(&key, model, coupon->at.position);
    buf_append_i64(&field, key_coupon_field(coupon->at.position, which));
    const struct cell *cell = store_find(&one, buf_span(&key), buf_span(&field));
    buf_deinit(&key);
    buf_deinit(&field);
    return cell ? (struct span){cell->value, cell->value_len} : (struct span){NULL, 0};
}

static void assert_record_is(const struct coupon *coupon)
{
    struct event issued;
    assert_true(coupon_issue_decode(field_of(coupon, COUPON_FIELD_ISSUE), field_of(coupon, COUPON_FIELD_USER),
                                    &issued));
    issued.slice = model.slice, issued.position = coupon->at.position;
    struct coupon read = coupon_from_event(&issued);
    struct span state = field_of(coupon, COUPON_FIELD_STATE);
    assert_int_equal(!state.ptr, coupon->last == coupon->at.position);
    if (state.ptr)
        assert_true(coupon_state_decode(state, field_of(coupon, COUPON_FIELD_NOTE), &read));
    assert_true(span_equal(read.user_id, coupon->user_id) && span_equal(read.campaign_id, coupon->campaign_id));
    assert_int_equal(read.sequence, coupon->sequence);
    assert_int_equal(read.state, coupon->state);
    assert_int_equal(read.last, coupon->last);
    assert_true(read.changed_at_us == coupon->changed_at_us);
    assert_int_equal(read.order_amount, coupon->order_amount);
    assert_int_equal(read.discount_amount, coupon->discount_amount);
    assert_true(read.reserved_until_us == coupon->reserved_until_us);
    assert_true(span_equal(read.order_id, coupon->order_id) && span_equal(read.reason, coupon->reason));
}

static void every_coupon_is_found_three_ways(void **state)
{
    (void)state;
    struct log *log = log_make(10);
    size_t seen[COUPON_REVOKED + 1] = {0};
    replay(&one, log, &(struct replay){.to = EVENTS, .size = 0, .times = 1});
    struct buf key, field;
    buf_init(&key, KEY_TEXT_MAX);
    buf_init(&field, KEY_TEXT_MAX);
    for (size_t i = 0; i < log->coupons_count; i++) {
        const struct coupon *coupon = &log->coupons[i];
        seen[coupon->state]++;
        assert_record_is(coupon);
        assert_int_equal(times_held(&log->events[coupon->at.position - 1]), 1);
        buf_clear(&key), buf_clear(&field);
        key_holders(&key, model, coupon->campaign_id, coupon->sequence);
        buf_append_i64(&field, coupon->sequence);
        assert_int_equal(store_number(&one, buf_span(&key), field.data), coupon->at.position);
    }
    for (size_t i = COUPON_ISSUED; i <= COUPON_REVOKED; i++)
        assert_true(seen[i] > 5);
    buf_deinit(&key);
    buf_deinit(&field);
    log_destroy(log);
}

/* A chunk that vanished, or has come to its end, is not begun anew by what happens to its coupons later. */
static void a_state_without_its_coupon_is_not_written(void **state)
{
    (void)state;
    struct log *log = log_make(12);
    replay(&one, log, &(struct replay){.to = EVENTS / 2, .size = 0, .times = 1});
    store_unlink(&one, SPAN("fc:1:{3}:p:0"));
    replay(&one, log, &(struct replay){.from = EVENTS / 2, .to = EVENTS, .size = 0, .times = 1});
    for (size_t i = 0; i < one.count; i++)
        assert_string_not_equal(one.cells[i].key, "fc:1:{3}:p:0");
    log_destroy(log);
}

/* How often `counted` went up, less how often it went down, since then. */
static int64_t counted_since(const struct log *log, const char *campaign, enum counted counted, int64_t since_us)
{
    int64_t count = 0;
    for (size_t i = 0; i < log->count; i++) {
        const struct event *event = &log->events[i];
        if (!span_is(event->campaign_id, campaign) || event->recorded_at_us < since_us)
            continue;
        if (counted == COUNTED_ISSUED)
            count += event->type == EVENT_CouponIssued;
        else
            count += (event->type == EVENT_CouponRedeemed) - (event->type == EVENT_CouponRestored);
    }
    return count;
}

/* What the campaign's record says of each window is what is in the log, at the last event and hours later. */
static void windows_equal_the_log(void **state)
{
    (void)state;
    struct log *log = log_make(13);
    replay(&one, log, &(struct replay){.to = EVENTS, .size = 0, .times = 1});
    int64_t last_us = log->events[log->count - 1].recorded_at_us;
    size_t nonzero = 0;
    for (size_t i = 0; i < 2 * CAMPAIGNS; i++) {
        enum counted counted = i % 2 ? COUNTED_REDEEMED : COUNTED_ISSUED;
        char key[32], field[20];
        struct activity activity;
        struct span rest;
        snprintf(key, sizeof key, "fc:1:{3}:c:%s", campaign_ids[i / 2]);
        snprintf(field, sizeof field, "a:%s", counted_label(counted));
        const struct cell *cell = store_find(&one, span_of(key), span_of(field));
        if (!cell)
            continue;
        assert_true(activity_read((struct span){cell->value, cell->value_len}, &activity, &rest));
        for (enum window window = 0; window < WINDOW_COUNT; window++)
            for (int64_t hours = 0; hours < 30; hours++) {
                int64_t now_us = last_us + hours * 3600 * US_PER_S;
                int64_t count = activity_in(&activity, window, now_us);
                assert_int_equal(count, counted_since(log, campaign_ids[i / 2], counted,
                                                      window_since_us(window, now_us)));
                nonzero += count != 0;
            }
    }
    assert_true(nonzero > 200);
    log_destroy(log);
}

/* Whoever was last active so long ago that no window sees it leaves; the ranking of all time keeps it. */
static void the_long_inactive_leave(void **state)
{
    (void)state;
    static const int64_t days[] = {7, 9};
    for (size_t i = 0; i < COUNT_OF(days); i++) {
        struct log *log = mem_zalloc(sizeof *log);
        size_t active = 0, ranked = 0;
        log_create(log, 0);
        log_issue(log, 0);
        log->now_us += days[i] * US_PER_DAY;
        log_create(log, 1);
        log_issue(log, 1);
        replay(&one, log, &(struct replay){.to = log->count, .size = i ? 1 : log->count, .times = 1});
        for (size_t cell = 0; cell < one.count; cell++) {
            active += strcmp(one.cells[cell].key, "fc:1:{3}:a:issued") == 0;
            ranked += strcmp(one.cells[cell].key, "fc:1:{3}:r:issued") == 0;
        }
        assert_int_equal(active, days[i] < 8 ? 2 : 1);
        assert_int_equal(ranked, 2);
        log_destroy(log);
        clear_stores(NULL);
    }
}

/* Looks for the only mutation with that key; NULL where there is none. */
static const struct mutation *mutation_of(const struct projection *projection, const char *key)
{
    const struct mutation *found = NULL;
    for (const struct mutation *at = projection->mutations.first; at; at = at->next)
        if (span_is(at->key, key)) {
            assert_null(found);
            found = at;
        }
    return found;
}

static void a_batch_writes_each_key_once(void **state)
{
    (void)state;
    struct log *log = mem_zalloc(sizeof *log);
    struct projection projection;
    log_create(log, 0);
    while (log->count < 300)
        log_issue(log, 0);
    projection_init(&projection);
    projection_begin(&projection, model);
    for (size_t i = 1; i < log->count; i++) /* positions 2 to 300, sequences 1 to 299 */
        assert_true(projection_add(&projection, &log->events[i]));
    projection_end(&projection);
    assert_int_equal(projection.first, 2);
    assert_int_equal(projection.last, 300);
    /* 32 positions to a chunk of coupons: 2..31, 32..63, ..., 288..300; sequences 1..128, 129..256, 257..299 */
    assert_int_equal(mutation_of(&projection, "fc:1:{3}:p:0")->args_count, 2 * 2 * 30);
    assert_int_equal(mutation_of(&projection, "fc:1:{3}:p:1")->args_count, 2 * 2 * 32);
    assert_int_equal(mutation_of(&projection, "fc:1:{3}:p:9")->args_count, 2 * 2 * 13);
    assert_int_equal(mutation_of(&projection, "fc:1:{3}:p:9")->expires_at_s,
                     log->events[299].recorded_at_us / US_PER_S + KEY_KEPT_S);
    assert_int_equal(mutation_of(&projection, "fc:1:{3}:h:alpha:0")->args_count, 2 * 128);
    assert_int_equal(mutation_of(&projection, "fc:1:{3}:h:alpha:1")->args_count, 2 * 128);
    assert_int_equal(mutation_of(&projection, "fc:1:{3}:h:alpha:2")->args_count, 2 * 43);
    assert_null(mutation_of(&projection, "fc:1:{3}:cs"));
    const struct mutation *campaign = projection.mutations.first;
    assert_int_equal(campaign->kind, MUTATION_CAMPAIGN);
    assert_true(span_is(campaign->key, "fc:1:{3}:c:alpha"));
    assert_int_equal(campaign->next->kind, MUTATION_RANK);
    assert_true(span_is(campaign->next->args[RANK_CHANGE], "299"));
    projection_deinit(&projection);
    log_destroy(log);
}

static void campaigns_that_must_exist_come_first_and_holdings_last(void **state)
{
    (void)state;
    struct log *log = log_make(11);
    struct projection projection;
    projection_init(&projection);
    for (size_t at = 0; at + 90 <= EVENTS; at += 90) {
        bool others = false, holdings = false;
        projection_begin(&projection, model);
        for (size_t i = at; i < at + 90; i++)
            assert_true(projection_add(&projection, &log->events[i]));
        projection_end(&projection);
        for (const struct mutation *m = projection.mutations.first; m; m = m->next) {
            assert_false(others && m->kind == MUTATION_CAMPAIGN);
            others |= m->kind != MUTATION_CAMPAIGN;
            assert_false(holdings && m->kind != MUTATION_HOLD);
            holdings |= m->kind == MUTATION_HOLD;
        }
    }
    projection_deinit(&projection);
    log_destroy(log);
}

static void an_event_that_cannot_be_is_refused(void **state)
{
    (void)state;
    struct projection projection;
    struct event event = {
        .slice = model.slice,
        .position = 1,
        .type = EVENT_CouponIssued,
        .version = 1,
        .campaign_id = SPAN("alpha"),
        .user_id = SPAN("u"),
        .recorded_at_us = 1,
        .coupon_issued = {.sequence = 1, .nth = 1},
    };
    projection_init(&projection);
    projection_begin(&projection, model);
    struct event bad = event;
    bad.coupon_issued.sequence = 0;
    assert_false(projection_add(&projection, &bad));
    bad = event, bad.coupon_issued.nth = 0;
    assert_false(projection_add(&projection, &bad));
    bad = event, bad.user_id = (struct span){0};
    assert_false(projection_add(&projection, &bad));
    bad = event, bad.campaign_id = SPAN("");
    assert_false(projection_add(&projection, &bad));
    bad = event, bad.recorded_at_us = -1;
    assert_false(projection_add(&projection, &bad));
    static const char *const coupons[] = {"", "c3-1", "c4-0", "c3-0", "x"}; /* not of an earlier event here */
    for (size_t i = 0; i < COUNT_OF(coupons); i++) {
        bad = event, bad.type = EVENT_ReservationReleased, bad.coupon_id = span_of(coupons[i]);
        bad.reservation_released.order_id = SPAN("o");
        assert_false(projection_add(&projection, &bad));
    }
    assert_int_equal(projection.events, 0);
    assert_true(projection_add(&projection, &event));
    projection_end(&projection);
    projection_deinit(&projection);
}

static void an_empty_batch_changes_nothing(void **state)
{
    (void)state;
    struct projection projection;
    projection_init(&projection);
    projection_begin(&projection, model);
    projection_end(&projection);
    assert_null(projection.mutations.first);
    projection_deinit(&projection);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(batches_of_any_size_make_the_same_models, clear_stores),
        cmocka_unit_test_teardown(applying_a_batch_twice_changes_nothing, clear_stores),
        cmocka_unit_test_teardown(replaying_over_what_is_left_heals, clear_stores),
        cmocka_unit_test_teardown(models_equal_the_fold, clear_stores),
        cmocka_unit_test_teardown(every_coupon_is_found_three_ways, clear_stores),
        cmocka_unit_test_teardown(a_state_without_its_coupon_is_not_written, clear_stores),
        cmocka_unit_test_teardown(windows_equal_the_log, clear_stores),
        cmocka_unit_test_teardown(the_long_inactive_leave, clear_stores),
        cmocka_unit_test(a_batch_writes_each_key_once),
        cmocka_unit_test(campaigns_that_must_exist_come_first_and_holdings_last),
        cmocka_unit_test(an_event_that_cannot_be_is_refused),
        cmocka_unit_test(an_empty_batch_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
