/* SPDX-License-Identifier: Apache-2.0 */
/* A small log in which all is well, to bend and then play to verify_log. Only for *_test.c files. A world is
 * made of events; sealing it gives them bytes, batches and a head, as the command service does. What is bent
 * before sealing is what a wrong program would have written; after it, what somebody tampered with. */
#pragma once

#include "common/base/testing.h"
#include "verify/state.h"

enum { LINES_MAX = 48, WORLD_BATCHES_MAX = 48, DATA_MAX = 512, OUTPUT_MAX = 64 * 1024, ALL_MEMORY = 1 << 20 };

struct line {
    struct event event;
    char id[COUPON_ID_MAX + 1], data[DATA_MAX];
    enum codec_status status;
    int64_t nth; /* the column */
    bool wrong_holder;
    bool ends_batch, missing;
};

struct world {
    struct line lines[LINES_MAX];
    size_t count;
    struct verify_batch batches[WORLD_BATCHES_MAX];
    size_t batches_count;
    struct verify_head head;
    struct span campaign;
    int16_t slice;
    struct verify_report report;
    struct verify_totals totals;
    struct verify_log log;
    struct buf output;
    struct arena arena; /* decoded lists of the lines */
};

static inline void world_write(void *context, struct span line)
{
    struct world *world = context;
    buf_append_span(&world->output, line);
}

static inline void world_init(struct world *world, struct span campaign)
{
    *world = (struct world){.campaign = campaign, .slice = slice_of(campaign)};
    buf_init(&world->output, OUTPUT_MAX);
    arena_init(&world->arena, 1 << 20);
    world->report = (struct verify_report){.limit = 100, .write = world_write, .context = world};
    verify_log_init(&world->log, &world->report, &world->totals, ALL_MEMORY);
}

static inline void world_deinit(struct world *world)
{
    verify_log_deinit(&world->log);
    buf_deinit(&world->output);
    arena_deinit(&world->arena);
}

/* The next event, a second after the last one, alone in its batch. */
static inline struct event *world_add(struct world *world, enum event_type type)
{
    CHECK(world->count < LINES_MAX);
    struct line *line = &world->lines[world->count++];
    line->ends_batch = true;
    line->event = (struct event){.slice = world->slice,
                                 .position = (int64_t)world->count,
                                 .type = type,
                                 .version = event_describe((int)type)->version,
                                 .campaign_id = world->campaign,
                                 .recorded_at_us = (int64_t)world->count * 1000000};
    return &line->event;
}

static inline struct event *world_create(struct world *world)
{
    struct event *event = world_add(world, EVENT_CampaignCreated);
    event->campaign_created = (struct campaign_created){.name = SPAN("x"),
                                                        .discount_value = 10,
                                                        .currency = SPAN("EUR"),
                                                        .quantity = 10,
                                                        .released = 5,
                                                        .per_user_limit = 2,
                                                        .created_by = SPAN("admin")};
    return event;
}

static inline struct event *world_issue(struct world *world, struct span user, int64_t sequence, int64_t nth)
{
    struct event *event = world_add(world, EVENT_CouponIssued);
    event->user_id = user;
    event->coupon_issued = (struct coupon_issued){.sequence = sequence, .nth = nth};
    return event;
}

static inline void line_name_coupon(struct line *line, struct position at)
{
    struct buf id;
    buf_init(&id, COUPON_ID_MAX);
    coupon_id_write(&id, at);
    memcpy(line->id, id.data, id.len);
    line->event.coupon_id = (struct span){line->id, id.len};
    buf_deinit(&id);
}

/* Something happens to the coupon that was issued at that position. */
static inline struct event *world_use(struct world *world, enum event_type type, int64_t issued_at)
{
    struct event *event = world_add(world, type);
    event->user_id = world->lines[issued_at - 1].event.user_id;
    line_name_coupon(&world->lines[world->count - 1], (struct position){world->slice, issued_at});
    return event;
}

static inline void line_seal(struct line *line)
{
    struct event *event = &line->event;
    struct buf data;
    if (event->type == EVENT_CouponIssued) {
        line_name_coupon(line, (struct position){event->slice, event->position});
        line->nth = event->coupon_issued.nth;
    }
    buf_init(&data, DATA_MAX);
    event_encode(event, &data);
    CHECK(!data.overflow);
    memcpy(line->data, data.data, data.len);
    event->data = (struct span){line->data, data.len};
    buf_deinit(&data);
}

static inline void world_seal(struct world *world)
{
    uint8_t before[32] = {0};
    for (size_t from = 0, i = 0; i < world->count; i++) {
        line_seal(&world->lines[i]);
        if (!world->lines[i].ends_batch)
            continue;
        struct verify_batch *batch = &world->batches[world->batches_count++];
        struct log_chain chain;
        *batch = (struct verify_batch){.first = world->lines[from].event.position,
                                       .last = world->lines[i].event.position,
                                       .recorded_at_us = world->lines[i].event.recorded_at_us};
        log_chain_begin(&chain, before);
        for (; from <= i; from++) {
            world->lines[from].event.recorded_at_us = batch->recorded_at_us; /* one for all of a batch */
            log_chain_add(&chain, &world->lines[from].event);
        }
        log_chain_end(&chain, batch->chain);
        memcpy(before, batch->chain, sizeof before);
        world->head = (struct verify_head){batch->last, batch->recorded_at_us, {0}};
        memcpy(world->head.chain, batch->chain, sizeof batch->chain);
    }
}

static inline void world_play_pass(struct world *world)
{
    size_t batch = 0;
    for (size_t i = 0; i <= world->count; i++) {
        struct line *line = i < world->count ? &world->lines[i] : NULL;
        if (line && line->missing)
            continue;
        while (verify_log_wants_batch(&world->log, line ? line->event.position : INT64_MAX)) {
            if (batch < world->batches_count)
                verify_log_batch(&world->log, &world->batches[batch++]);
            else
                verify_log_no_batch(&world->log);
        }
        if (line)
            verify_log_event(&world->log, &line->event, line->status,
                             (struct verify_columns){line->nth, line->wrong_holder});
    }
    verify_log_end(&world->log, &world->head);
}

/* One pass over a world that was sealed. */
static inline void world_play(struct world *world)
{
    verify_log_begin(&world->log, world->slice);
    world_play_pass(world);
}

/* Exactly one difference, of that rule, and no user or order in what was written (I10). */
static inline void world_expect(const struct world *world, enum verify_rule rule)
{
    if (world->report.differences != 1 || world->report.by_rule[rule] != 1)
        fail_msg("not one of %s:\n%.*s", verify_rule_describe(rule)->label,
                 SPAN_ARG(buf_span(&world->output)));
    if (strstr(world->output.data, "user-") || strstr(world->output.data, "order-"))
        fail_msg("names somebody: %s", world->output.data);
}

static inline void world_expect_clean(const struct world *world)
{
    if (world->report.differences)
        fail_msg("differs:\n%.*s", SPAN_ARG(buf_span(&world->output)));
}
