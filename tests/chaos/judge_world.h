/* SPDX-License-Identifier: Apache-2.0 */
/* For the judge's tests only: a small run in which all is well, as a log and as what two clients asked and
 * were told, to bend and then have judged. */
#pragma once

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "events/coupon.h"
#include "tests/chaos/judge.h"

enum { LINES_MAX = 32, REPLIES_MAX = 40, WORLD_TEXT_MAX = 2048, WORLD_SEED = 1 };
#define WORLD_BASE_US INT64_C(1760000000000000)

/* One event of the log to be. It says what its operation says, unless told otherwise here. */
struct line {
    enum event_type type;
    uint32_t op, attempt; /* which operation; NOBODY_ASKED: none */
    int64_t position, time_us;
    uint32_t user;
    struct position coupon;
    uint32_t order;
    int64_t amount, discount, quantity, sequence, nth, step, until_off_us;
    bool flag; /* renewed, was_reserved */
    bool bad_chain;
};
#define NOBODY_ASKED UINT32_MAX

/* One attempt. */
struct reply {
    uint32_t op, number;
    int64_t sent_us, done_us;
    int status;
    const char *problem;
    bool replayed;
    struct position token;
    char body[WORLD_TEXT_MAX];
};

struct world {
    struct campaign_created definition;
    struct definition_room room;
    uint32_t campaign, variant;
    char id[CAMPAIGN_ID_MAX + 1]; /* of the campaign */
    struct position slice;        /* .slice is the campaign's */
    struct operation ops[REPLIES_MAX];
    size_t ops_count;
    struct line lines[LINES_MAX];
    size_t lines_count;
    struct reply replies[REPLIES_MAX];
    size_t replies_count;
    struct image_campaign row;
    struct image_coupon coupon_rows[4];
    size_t coupon_rows_count;
    int64_t idempotency_rows, head_off;
    int64_t now_us; /* monotonic, of the last attempt */
    struct readings reads;
    struct judgement judgement;
};

/* A definition that is in nobody's way: open for ever, two coupons each, stock to release, any order. */
static inline bool plain(const struct campaign_created *is)
{
    return !is->starts_at_us && !is->ends_at_us && !is->coupon_expires_at_us && is->release_plan.count == 0 &&
           is->released >= 5 && is->released + 5 <= is->quantity && is->per_user_limit == 2 &&
           is->min_order_amount > 0;
}

/* A campaign of slice 0, so that what happens to the service itself is in the same log. */
static inline void choose_campaign(struct world *world)
{
    struct buf id;
    buf_init(&id, CAMPAIGN_ID_MAX);
    campaign_name_write(&id, world->campaign);
    while (slice_of(buf_span(&id)) != CONTROL_SLICE) {
        buf_clear(&id);
        campaign_name_write(&id, ++world->campaign);
    }
    world->slice.slice = CONTROL_SLICE;
    memcpy(world->id, id.data, id.len + 1);
    buf_deinit(&id);
}

static inline void choose_definition(struct world *world)
{
    choose_campaign(world);
    for (world->variant = 0;; world->variant++) {
        world->definition =
            op_definition(WORLD_SEED, world->campaign, world->variant, WORLD_BASE_US, &world->room);
        if (plain(&world->definition))
            break;
    }
    world->definition.created_by = SPAN("admin");
}

/* --- Adding --- */

static inline struct operation *add_op(struct world *world, struct operation op)
{
    op.number = (uint32_t)world->ops_count;
    op.key = op.key ? op.key : op.number; /* no operation tells number 0 otherwise */
    op.campaign = world->campaign;
    op.variant = world->variant;
    world->ops[world->ops_count] = op;
    return &world->ops[world->ops_count++];
}

static inline struct line *add_line(struct world *world, struct line line)
{
    line.position = (int64_t)world->lines_count + 1;
    line.time_us = WORLD_BASE_US + 1000 * line.position;
    world->lines[world->lines_count] = line;
    return &world->lines[world->lines_count++];
}

static inline struct reply *add_reply(struct world *world, struct reply reply)
{
    reply.sent_us = world->now_us += 10;
    reply.done_us = world->now_us += 10;
    world->replies[world->replies_count] = reply;
    return &world->replies[world->replies_count++];
}

static inline struct position here(const struct world *world, int64_t position)
{
    return (struct position){world->slice.slice, position};
}

/* What the API says of the campaign after so much. */
static inline void say_campaign(struct world *world, struct reply *reply, const char *status, int64_t issued,
                                int64_t released, int64_t redeemed)
{
    snprintf(reply->body, sizeof reply->body,
             "{\"id\":\"chaos-%u\",\"status\":\"%s\",\"issued\":%lld,\"remaining\":%lld,\"released\":%lld,"
             "\"redeemed\":%lld,\"quantity\":%lld,\"per_user_limit\":2,\"position\":{\"slice\":%d,"
             "\"position\":%lld}}",
             world->campaign, status, (long long)issued, (long long)(released - issued), (long long)released,
             (long long)redeemed, (long long)world->definition.quantity, reply->token.slice,
             (long long)reply->token.position);
}

/* And of a coupon. The campaign's coupons expire by days or never. */
static inline void say_coupon(struct world *world, struct reply *reply, int64_t position, uint32_t user,
                              int64_t sequence, const char *status, const char *more)
{
    struct buf text, name;
    int64_t issued_us = WORLD_BASE_US + 1000 * position;
    int64_t days = world->definition.coupon_valid_days;
    buf_init(&text, WORLD_TEXT_MAX), buf_init(&name, USER_ID_MAX);
    user_number_write(&name, user);
    buf_printf(&text, "{\"coupon_id\":\"c%d-%lld\",\"campaign_id\":\"chaos-%u\",\"user_id\":\"%s\",",
               world->slice.slice, (long long)position, world->campaign, name.data);
    buf_printf(&text, "\"sequence\":%lld,\"status\":\"%s\",\"issued_at\":\"", (long long)sequence, status);
    time_format(&text, issued_us);
    buf_append_text(&text, "\",\"expires_at\":");
    if (days) {
        buf_append_char(&text, '"');
        time_format(&text, issued_us + days * US_PER_DAY);
        buf_append_char(&text, '"');
    } else {
        buf_append_text(&text, "null");
    }
    buf_printf(&text, "%s}", more);
    memcpy(reply->body, text.data, text.len + 1);
    buf_deinit(&text), buf_deinit(&name);
}

/* --- Playing --- */

static inline struct span keep_text(struct arena *arena, const struct buf *text)
{
    char *copy = arena_alloc(arena, text->len + 1);
    memcpy(copy, text->data, text->len);
    return (struct span){copy, text->len};
}

static inline struct span coupon_text(struct arena *arena, struct position at)
{
    struct buf text;
    buf_init(&text, COUPON_ID_MAX);
    coupon_id_write(&text, at);
    struct span kept = keep_text(arena, &text);
    buf_deinit(&text);
    return kept;
}

/* What one of the writers of names in op.h makes of a number. */
static inline struct span name_text(struct arena *arena, void (*write)(struct buf *out, uint32_t number),
                                    uint32_t number)
{
    struct buf text;
    buf_init(&text, WORLD_TEXT_MAX);
    write(&text, number);
    struct span kept = keep_text(arena, &text);
    buf_deinit(&text);
    return kept;
}

static inline struct span order_text(struct arena *arena, uint32_t order)
{
    return name_text(arena, order_name_write, order);
}

static inline struct span user_text(struct arena *arena, uint32_t user)
{
    return name_text(arena, user_number_write, user);
}

/* As put_trace in op.c writes it, taken from a request so that there is one place that knows. */
static inline struct span trace_of(struct arena *arena, const struct world *world, const struct line *line)
{
    struct target target = {.authority = "x"};
    struct op_context context = {
        .seed = WORLD_SEED, .admin_token = "a", .issue_token = "a", .redeem_token = "a"};
    struct buf request;
    if (line->op == NOBODY_ASKED)
        return (struct span){NULL, 0};
    buf_init(&request, WORLD_TEXT_MAX * 4);
    op_write(&world->ops[line->op], line->attempt, &context, &target, &request);
    const char *at = strstr(request.data, "traceparent: 00-");
    char *trace = arena_alloc(arena, TRACE_BYTES);
    CHECK(at && hex_decode((struct span){at + 16, 32}, trace, 16) &&
          hex_decode((struct span){at + 49, 16}, trace + 16, 8));
    buf_deinit(&request);
    return (struct span){trace, TRACE_BYTES};
}

static inline void fill_payload(struct arena *arena, const struct world *world, const struct line *line,
                                struct event *event)
{
    int64_t days = world->definition.coupon_valid_days;
    switch (line->type) {
    case EVENT_CampaignCreated:
        event->campaign_created = world->definition;
        break;
    case EVENT_StockReleased:
        event->stock_released = (struct stock_released){.quantity = line->quantity, .plan_step = line->step};
        break;
    case EVENT_CampaignChanged:
        event->campaign_changed = campaign_unchanged(&world->definition);
        event->campaign_changed.quantity += line->quantity;
        event->campaign_changed.reopens_at_us = line->until_off_us;
        event->campaign_changed.reason = SPAN("chaos");
        break;
    case EVENT_CouponIssued:
        event->coupon_issued = (struct coupon_issued){
            .sequence = line->sequence,
            .nth = line->nth,
            .expires_at_us = days ? line->time_us + days * US_PER_DAY : 0,
            .code_prefix = world->definition.code_prefix,
        };
        break;
    case EVENT_CouponReserved:
        event->coupon_reserved = (struct coupon_reserved){
            order_text(arena, line->order), line->amount, line->discount,
            line->time_us + world->ops[line->op].ttl_s * US_PER_S + line->until_off_us, line->flag};
        break;
    case EVENT_CouponRedeemed:
        event->coupon_redeemed = (struct coupon_redeemed){order_text(arena, line->order), line->amount,
                                                          line->discount, line->flag};
        break;
    case EVENT_CouponRestored:
        event->coupon_restored.order_id = order_text(arena, line->order);
        break;
    case EVENT_CouponRevoked:
        event->coupon_revoked =
            (struct coupon_revoked){SPAN("chaos"), SPAN("admin"), .was_reserved = line->flag};
        break;
    case EVENT_IssuerSuspended:
        event->issuer_suspended = (struct issuer_suspended){SPAN("issue"), SPAN("admin")};
        break;
    default:
        break; /* nothing but an actor, which is not looked at */
    }
}

static inline struct event make_event(struct arena *arena, const struct world *world, const struct line *line)
{
    struct buf data, id;
    bool has_coupon = line->type == EVENT_CouponIssued || line->coupon.position;
    struct event event = {.slice = world->slice.slice,
                          .position = line->position,
                          .type = line->type,
                          .version = 1,
                          .recorded_at_us = line->time_us};
    buf_init(&data, EVENT_DATA_MAX), buf_init(&id, CAMPAIGN_ID_MAX);
    buf_append_text(
        &id, line->type >= EVENT_IssuerSuspended && line->type <= EVENT_SettingChanged ? "~" : world->id);
    event.campaign_id = keep_text(arena, &id);
    event.trace = trace_of(arena, world, line);
    if (has_coupon) {
        event.coupon_id =
            coupon_text(arena, line->type == EVENT_CouponIssued ? here(world, line->position) : line->coupon);
        event.user_id = user_text(arena, line->user);
    }
    fill_payload(arena, world, line, &event);
    event_encode(&event, &data);
    event.data = keep_text(arena, &data);
    buf_deinit(&data), buf_deinit(&id);
    return event;
}

/* Every event is a batch. */
static inline void make_log(const struct world *world, struct log_image *log)
{
    struct image_slice *slice = &log->slices[world->slice.slice];
    slice->events = mem_zalloc((world->lines_count + 1) * sizeof *slice->events);
    slice->batches = mem_zalloc((world->lines_count + 1) * sizeof *slice->batches);
    slice->events_count = slice->batches_count = world->lines_count;
    slice->head = (int64_t)world->lines_count + world->head_off;
    for (size_t i = 0; i < world->lines_count; i++) {
        struct image_batch *batch = &slice->batches[i];
        struct log_chain hash;
        slice->events[i] = make_event(&log->arena, world, &world->lines[i]);
        *batch = (struct image_batch){.first = world->lines[i].position,
                                      .last = world->lines[i].position,
                                      .recorded_at_us = world->lines[i].time_us};
        log_chain_begin(&hash, slice->chain);
        log_chain_add(&hash, &slice->events[i]);
        log_chain_end(&hash, slice->chain);
        slice->chain[0] ^= world->lines[i].bad_chain;
        memcpy(batch->chain, slice->chain, 32);
    }
}

static inline void make_story(const struct world *world, struct history *history)
{
    struct history own;
    history_init(&own);
    for (size_t i = 0; i < world->ops_count; i++)
        history_op(&own, &world->ops[i]);
    for (size_t i = 0; i < world->replies_count; i++) {
        const struct reply *reply = &world->replies[i];
        struct attempt attempt = {
            .op = reply->op, .number = reply->number, .sent_us = reply->sent_us, .done_us = reply->done_us};
        struct buf body, token;
        buf_init(&body, WORLD_TEXT_MAX), buf_init(&token, CONSISTENCY_TOKEN_MAX);
        if (reply->problem)
            buf_printf(&body, "{\"code\":\"%s\"}", reply->problem);
        else
            buf_append_text(&body, reply->body);
        consistency_token_write(&token, reply->token);
        struct http_response response = {.status = reply->status,
                                         .body = buf_span(&body),
                                         .replayed = reply->replayed,
                                         .token = reply->token.position ? buf_span(&token)
                                                                        : (struct span){NULL, 0}};
        history_add(&own, &attempt, reply->status ? EXCHANGE_ANSWERED : EXCHANGE_LOST, &response);
        buf_deinit(&body), buf_deinit(&token);
    }
    history_join(history, &own, 0);
    history_deinit(&own);
}

static inline void judge_world(struct world *world)
{
    struct history history;
    struct log_image log = {.campaigns = mem_zalloc(sizeof *log.campaigns),
                            .campaigns_count = 1,
                            .coupons = mem_zalloc(4 * sizeof *log.coupons),
                            .coupons_count = world->coupon_rows_count,
                            .idempotency_rows = world->idempotency_rows};
    arena_init(&log.arena, 1024 * 1024);
    history_init(&history);
    log.campaigns[0] = world->row;
    memcpy(log.coupons, world->coupon_rows, world->coupon_rows_count * sizeof *log.coupons);
    make_log(world, &log);
    make_story(world, &history);
    struct judge_input input = {.history = &history,
                                .log = &log,
                                .reads = &world->reads,
                                .seed = WORLD_SEED,
                                .base_us = WORLD_BASE_US,
                                .wall_offset_us = WORLD_BASE_US};
    judge(&input, &world->judgement);
    log_image_deinit(&log);
    history_deinit(&history);
    readings_deinit(&world->reads);
}
