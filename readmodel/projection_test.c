/* SPDX-License-Identifier: Apache-2.0 */
/* The projection against an in-memory Redis: whatever the size of the batches, and however often one is
 * applied, the models are the same and equal the fold. */
#include "readmodel/projection_testing.h"

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
    assert_true(span_equal(read.user_id, coupon->user_id) &&
                span_equal(read.campaign_id, coupon->campaign_id));
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
static int64_t counted_since(const struct log *log, const char *campaign, enum counted counted,
                             int64_t since_us)
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
                assert_int_equal(
                    count, counted_since(log, campaign_ids[i / 2], counted, window_since_us(window, now_us)));
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
    /* 32 positions to a chunk of coupons: 2..31, 32..63, ..., 288..300; sequences 1..128, 129..256, 257..299
     */
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
