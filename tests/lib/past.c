/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a past. */
#include "tests/lib/past.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum { PATIENCE_MS = 120000, STOCK = 500 };

enum { SQL_BEGIN, SQL_COMMIT, SQL_EVENT, SQL_CAMPAIGN, SQL_COUPON, SQL_RUN, SQL_COUNT };

/* $1 slice, $2 type, $3 campaign, $4 user, $5 coupon, $6 nth, $7 at, $8 data: the position it got. */
static const struct pg_statement statements[SQL_COUNT] = {
    [SQL_BEGIN] = {"begin", "BEGIN"},
    [SQL_COMMIT] = {"commit", "COMMIT"},
    [SQL_EVENT] =
        {"event",
         "WITH s AS (UPDATE slice SET head = head + 1, recorded_at = $7::timestamptz"
         " WHERE slice = $1::smallint AND recorded_at <= $7::timestamptz RETURNING head, secret)"
         " INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id,"
         " nth, recorded_at, data, holder) SELECT $1::smallint, s.head, $2::smallint, 1, $3::text,"
         " $4::text, $5::text, $6::smallint, $7::timestamptz, $8::bytea,"
         " CASE $2::smallint WHEN 6 THEN holder_of(s.secret, $4::text, $3::text, $6::smallint) END FROM s"
         " RETURNING position"},
    [SQL_CAMPAIGN] =
        {"campaign", "INSERT INTO campaign (slice, id, created_at, created_by, version, definition, quantity,"
                     " released, issued, status, plan_done, first, position, redeemed)"
                     " VALUES ($1::smallint, $2::text, $3::timestamptz, 'past', 1, $4::bytea, $5::bigint,"
                     " $5::bigint, $6::bigint, 1, 0, $7::bigint, $8::bigint, $9::bigint)"
                     " ON CONFLICT (slice, id) DO UPDATE SET issued = excluded.issued,"
                     " position = excluded.position, redeemed = excluded.redeemed"},
    [SQL_COUPON] = {"coupon",
                    "INSERT INTO coupon (slice, position, campaign_id, state, last, changed_at,"
                    " order_id, order_amount, discount_amount) VALUES ($1::smallint, $2::bigint,"
                    " $3::text, $4::smallint, $5::bigint, $6::timestamptz, $7::text, $8::bigint,"
                    " $9::bigint) ON CONFLICT (slice, position) DO UPDATE SET state = excluded.state,"
                    " last = excluded.last, changed_at = excluded.changed_at,"
                    " order_id = excluded.order_id, order_amount = excluded.order_amount,"
                    " discount_amount = excluded.discount_amount"},
    [SQL_RUN] = {"run", "INSERT INTO issue_run VALUES ($1::smallint, $2::text, $3::bigint, $4::bigint,"
                        " $4::bigint)"},
};

static int64_t call(struct past *past, size_t statement)
{
    struct pg_rows *rows;
    if (pg_call(past->pg, statement, &past->args, clock_deadline_us(PATIENCE_MS), &rows) != PG_OK)
        fail_msg("%s: %s", statements[statement].name, pg_error(past->pg));
    int64_t number = pg_rows_count(rows) ? pg_i64(rows, 0, 0) : 0;
    pg_rows_destroy(rows);
    pg_args_reset(&past->args);
    return number;
}

void past_open(struct past *past, struct stack *stack)
{
    *past = (struct past){.pg = pg_create(&(struct pg_options){
                              .url = stack_env(stack, "DATABASE_URL"),
                              .application = "test past",
                              .statements = statements,
                              .statements_count = SQL_COUNT,
                          })};
    pg_args_init(&past->args);
    if (pg_connect(past->pg, clock_deadline_us(PATIENCE_MS)) != PG_OK)
        fail_msg("%s", pg_error(past->pg));
    (void)call(past, SQL_BEGIN);
}

void past_commit(struct past *past)
{
    (void)call(past, SQL_COMMIT);
}

void past_close(struct past *past)
{
    for (size_t i = 0; i < past->campaigns_count; i++)
        buf_deinit(&past->campaigns[i].definition);
    pg_args_deinit(&past->args);
    pg_destroy(past->pg);
}

static void write_campaign(struct past *past, const struct past_campaign *campaign)
{
    const struct campaign *is = &campaign->fold;
    pg_arg_i16(&past->args, slice_of(is->id));
    pg_arg_bytes(&past->args, is->id);
    pg_arg_time(&past->args, is->created_at_us);
    pg_arg_bytes(&past->args, buf_span(&campaign->definition));
    pg_arg_i64(&past->args, STOCK);
    pg_arg_i64(&past->args, is->issued);
    pg_arg_i64(&past->args, is->first);
    pg_arg_i64(&past->args, is->position);
    pg_arg_i64(&past->args, is->redeemed);
    (void)call(past, SQL_CAMPAIGN);
}

/* The event has type, payload and, where it is about them, user and coupon. */
static void append(struct past *past, struct past_campaign *campaign, struct event *event, int64_t at_us)
{
    struct buf data;
    buf_init(&data, EVENT_DATA_MAX);
    event_encode(event, &data);
    event->slice = slice_of(span_of(campaign->id));
    event->campaign_id = span_of(campaign->id);
    event->recorded_at_us = at_us;
    pg_arg_i16(&past->args, event->slice);
    pg_arg_i16(&past->args, (int16_t)event->type);
    pg_arg_bytes(&past->args, event->campaign_id);
    pg_arg_bytes(&past->args, event->user_id);
    pg_arg_bytes(&past->args, event->coupon_id);
    if (event->type == EVENT_CouponIssued)
        pg_arg_i16(&past->args, 1);
    else
        pg_arg_null(&past->args);
    pg_arg_time(&past->args, at_us);
    pg_arg_bytes(&past->args, buf_span(&data));
    event->position = call(past, SQL_EVENT);
    assert_true(event->position > 0); /* or time ran backwards */
    campaign_apply(&campaign->fold, event);
    buf_deinit(&data);
    write_campaign(past, campaign);
}

static void count(struct past *past, struct past_campaign *campaign, enum counted counted, int64_t by,
                  int64_t at_us)
{
    assert_true(past->changes_count < PAST_CHANGES_MAX);
    past->changes[past->changes_count++] =
        (struct past_change){(size_t)(campaign - past->campaigns), counted, by, at_us};
    struct activity *activity = &campaign->activity[counted];
    activity_mark(activity, at_us, activity->count);
    activity->count += by;
    campaign->changed_at_us[counted] = at_us;
}

struct past_campaign *past_create(struct past *past, const char *id, const char *tag, int64_t at_us)
{
    assert_true(past->campaigns_count < PAST_CAMPAIGNS_MAX);
    struct past_campaign *campaign = &past->campaigns[past->campaigns_count++];
    struct span tags[] = {span_of(tag)};
    struct event event = {.type = EVENT_CampaignCreated,
                          .campaign_created = {.name = span_of(campaign->id),
                                               .discount_value = 10,
                                               .currency = SPAN("KRW"),
                                               .quantity = STOCK,
                                               .released = STOCK,
                                               .per_user_limit = 1,
                                               .tags = {tags, tag[0] ? 1 : 0}}};
    snprintf(campaign->id, sizeof campaign->id, "%s", id);
    snprintf(campaign->tag, sizeof campaign->tag, "%s", tag);
    event.campaign_created.name = span_of(campaign->id);
    buf_init(&campaign->definition, EVENT_DATA_MAX);
    event_encode(&event, &campaign->definition);
    append(past, campaign, &event, at_us);
    campaign->fold.definition.tags = (struct text_list){NULL, 0};
    return campaign;
}

struct coupon *past_issue(struct past *past, struct past_campaign *campaign, int64_t at_us)
{
    char user[32];
    int64_t sequence = campaign->fold.issued + 1;
    assert_true(campaign->coupons_count < PAST_COUPONS_MAX);
    snprintf(user, sizeof user, "past-%lld", (long long)sequence);
    struct event event = {.type = EVENT_CouponIssued,
                          .user_id = span_of(user),
                          .coupon_issued = {.sequence = sequence, .nth = 1}};
    append(past, campaign, &event, at_us);
    pg_arg_i16(&past->args, event.slice);
    pg_arg_bytes(&past->args, event.campaign_id);
    pg_arg_i64(&past->args, sequence);
    pg_arg_i64(&past->args, event.position);
    (void)call(past, SQL_RUN);
    count(past, campaign, COUNTED_ISSUED, 1, at_us);
    struct coupon *coupon = &campaign->coupons[campaign->coupons_count++];
    *coupon = coupon_from_event(&event);
    coupon->user_id = (struct span){NULL, 0}; /* "past-<sequence>", not kept */
    return coupon;
}

static void change(struct past *past, struct past_campaign *campaign, struct coupon *coupon,
                   struct event *event, int64_t at_us)
{
    struct buf id;
    char user[32];
    buf_init(&id, COUPON_ID_MAX);
    coupon_id_write(&id, coupon->at);
    snprintf(user, sizeof user, "past-%lld", (long long)coupon->sequence);
    event->coupon_id = buf_span(&id);
    event->user_id = span_of(user);
    append(past, campaign, event, at_us);
    coupon_apply(coupon, event);
    buf_deinit(&id);
    pg_arg_i16(&past->args, coupon->at.slice);
    pg_arg_i64(&past->args, coupon->at.position);
    pg_arg_bytes(&past->args, span_of(campaign->id));
    pg_arg_i16(&past->args, (int16_t)coupon->state);
    pg_arg_i64(&past->args, coupon->last);
    pg_arg_time(&past->args, coupon->changed_at_us);
    pg_arg_bytes(&past->args, coupon->order_id);
    pg_arg_i64(&past->args, coupon->order_amount);
    pg_arg_i64(&past->args, coupon->discount_amount);
    (void)call(past, SQL_COUPON);
}

void past_redeem(struct past *past, struct past_campaign *campaign, struct coupon *coupon, int64_t at_us)
{
    struct event event = {
        .type = EVENT_CouponRedeemed,
        .coupon_redeemed = {.order_id = SPAN("order"), .order_amount = 100, .discount_amount = 10}};
    change(past, campaign, coupon, &event, at_us);
    count(past, campaign, COUNTED_REDEEMED, 1, at_us);
}

void past_restore(struct past *past, struct past_campaign *campaign, struct coupon *coupon, int64_t at_us)
{
    struct event event = {.type = EVENT_CouponRestored, .coupon_restored = {.order_id = SPAN("order")}};
    change(past, campaign, coupon, &event, at_us);
    count(past, campaign, COUNTED_REDEEMED, -1, at_us);
}

struct ranked {
    const char *id;
    int64_t count, reached_at_us;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    if (x->reached_at_us != y->reached_at_us)
        return x->reached_at_us < y->reached_at_us ? -1 : 1;
    return strcmp(y->id, x->id);
}

size_t past_ranking(const struct past *past, enum counted by, const char *tag, int64_t since_us,
                    int64_t until_us, struct buf *ret)
{
    struct ranked ranked[PAST_CAMPAIGNS_MAX] = {0};
    size_t changes = 0;
    for (size_t i = 0; i < past->campaigns_count; i++)
        ranked[i].id = past->campaigns[i].id;
    for (size_t i = 0; i < past->changes_count; i++) {
        const struct past_change *change = &past->changes[i];
        if (change->counted != by || change->at_us < since_us || change->at_us > until_us ||
            (*tag && strcmp(past->campaigns[change->campaign].tag, tag) != 0))
            continue;
        changes++;
        ranked[change->campaign].count += change->by;
        ranked[change->campaign].reached_at_us = change->at_us;
    }
    qsort(ranked, past->campaigns_count, sizeof *ranked, compare_ranked);
    for (size_t i = 0; i < past->campaigns_count && ranked[i].count > 0; i++)
        buf_printf(ret, "%s%s %lld", i ? ", " : "", ranked[i].id, (long long)ranked[i].count);
    return changes;
}
