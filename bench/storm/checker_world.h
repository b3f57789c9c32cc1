/* SPDX-License-Identifier: Apache-2.0 */
/* For the checker's tests only: a small campaign in which all is well, as a log and as what users were told,
 * to bend and then play to a checker. */
#pragma once

#include "bench/storm/checker.h"
#include "events/coupon.h"
#include "events/event_log.h"

enum { LINES_MAX = 16, SAID_MAX = 24, USERS = 6, TEXT_MAX = 1024 };
static const char campaign_id[] = "storm-test";
static const struct user_names names = {"test-"};

/* One event of the log to be. */
struct line {
    enum event_type type;
    uint32_t user; /* CouponIssued; USERS: nobody's */
    int64_t position, time_us, sequence, nth, quantity, released, per_user_limit;
    bool ends_batch;
    bool other_slice;
};

/* One attempt of a user. */
struct said {
    uint32_t user;
    size_t line; /* 201: the coupon of this line */
    int64_t sent_us, done_us;
    const char *problem; /* 409 with this code */
    enum load_outcome lost;
    bool replayed;
    const char *from, *to; /* in the body, the first of this text becomes that */
    int64_t token_off;     /* token is this much before the coupon */
    bool token_elsewhere;  /* token is of another slice */
    bool other_key;        /* not this user's usual key, but that of the user who does not ask */
};

struct world {
    struct line lines[LINES_MAX];
    struct said said[SAID_MAX];
    size_t lines_count, said_count;
    int64_t demand, created_at;
    size_t bad_chain;       /* the batch that ends with this line has another hash; LINES_MAX: none */
    int64_t batch_last_off; /* what the first batch says of its last position is so much off */
    int64_t last_batch_time_off;
    struct attempts attempts;
    struct checker *checker;
};

/* --- A world in which all is well --- */

static inline struct line *add_line(struct world *world, struct line line)
{
    line.position = (int64_t)world->lines_count + 1;
    line.time_us = 1000 * line.position;
    world->lines[world->lines_count] = line;
    return &world->lines[world->lines_count++];
}

static inline struct said *add_said(struct world *world, struct said said)
{
    world->said[world->said_count] = said;
    return &world->said[world->said_count++];
}

/* Lines 0: created, 1..3: users 0..2 get the three coupons. Attempts 0..2 are theirs, 3 user 0 again, 4 and 5
 * user 2's twin and a later try, 6 and 7 users 3 and 4, sold out. User 5 does not ask. */
static inline void world_init(struct world *world)
{
    *world = (struct world){.demand = 5, .created_at = 1, .bad_chain = LINES_MAX};
    add_line(world,
             (struct line){.type = EVENT_CampaignCreated, .quantity = 3, .released = 3, .per_user_limit = 1})
        ->ends_batch = true;
    for (uint32_t user = 0; user < 3; user++)
        add_line(world,
                 (struct line){.type = EVENT_CouponIssued, .user = user, .sequence = user + 1, .nth = 1});
    world->lines[2].ends_batch = world->lines[3].ends_batch = true;
    for (uint32_t user = 0; user < 3; user++)
        add_said(world, (struct said){.user = user, .line = user + 1, .sent_us = 100, .done_us = 200 + user});
    add_said(world, (struct said){.user = 0, .line = 1, .sent_us = 300, .done_us = 400, .replayed = true});
    add_said(world, (struct said){.user = 2, .problem = "in-flight", .sent_us = 100, .done_us = 150});
    add_said(world, (struct said){.user = 2, .line = 3, .sent_us = 300, .done_us = 410, .replayed = true});
    add_said(world, (struct said){.user = 3, .problem = "sold-out", .sent_us = 100, .done_us = 500});
    add_said(world, (struct said){.user = 4, .problem = "sold-out", .sent_us = 450, .done_us = 500});
}

/* --- Playing it to the checker --- */

static inline struct event make_event(const struct line *line, struct buf *user, struct buf *data)
{
    struct event event = {.slice = slice_of(span_of(campaign_id)),
                          .position = line->position,
                          .type = line->type,
                          .version = 1,
                          .campaign_id = span_of(campaign_id),
                          .recorded_at_us = line->time_us};
    event.slice = (int16_t)(event.slice ^ (line->other_slice ? 1 : 0));
    if (line->type == EVENT_CampaignCreated)
        event.campaign_created = (struct campaign_created){.name = SPAN("x"),
                                                           .discount_value = 10,
                                                           .currency = SPAN("EUR"),
                                                           .quantity = line->quantity,
                                                           .released = line->released,
                                                           .per_user_limit = line->per_user_limit};
    else if (line->type == EVENT_StockReleased)
        event.stock_released.quantity = line->quantity;
    else if (line->type == EVENT_CouponIssued)
        event.coupon_issued = (struct coupon_issued){.sequence = line->sequence, .nth = line->nth};
    buf_clear(user), buf_clear(data);
    if (line->type == EVENT_CouponIssued && line->user < USERS)
        user_name_write(&names, line->user, user);
    else if (line->type == EVENT_CouponIssued)
        buf_append_text(user, "a-stranger");
    event.user_id = user->len ? buf_span(user) : (struct span){NULL, 0};
    event_encode(&event, data);
    event.data = buf_span(data);
    return event;
}

/* The hash of lines from..to as the writer would have made it. */
static inline void chain_lines(const struct world *world, size_t from, size_t to, uint8_t chain[32])
{
    struct log_chain hash;
    struct buf user, data;
    buf_init(&user, TEXT_MAX), buf_init(&data, TEXT_MAX);
    log_chain_begin(&hash, chain);
    for (size_t i = from; i <= to; i++) {
        struct event event = make_event(&world->lines[i], &user, &data);
        log_chain_add(&hash, &event);
    }
    log_chain_end(&hash, chain);
    buf_deinit(&user), buf_deinit(&data);
}

static inline void play_batch(struct world *world, size_t from, size_t to, uint8_t chain[32])
{
    struct buf user, data;
    struct checked_batch batch = {.first = world->lines[from].position,
                                  .last = world->lines[to].position + world->batch_last_off,
                                  .recorded_at_us = world->lines[to].time_us};
    if (to + 1 == world->lines_count)
        batch.recorded_at_us += world->last_batch_time_off;
    buf_init(&user, TEXT_MAX), buf_init(&data, TEXT_MAX);
    chain_lines(world, from, to, chain);
    chain[5] ^= (uint8_t)(world->bad_chain == to);
    memcpy(batch.chain, chain, 32);
    checker_batch_begin(world->checker, &batch);
    for (size_t i = from; i <= to; i++) {
        struct event event = make_event(&world->lines[i], &user, &data);
        checker_event(world->checker, &event);
    }
    checker_batch_end(world->checker);
    world->batch_last_off = 0;
    buf_deinit(&user), buf_deinit(&data);
}

static inline void play_log(struct world *world)
{
    uint8_t chain[32] = {0};
    checker_log_begin(world->checker, 0, chain);
    for (size_t from = 0, to = 0; to < world->lines_count; to++)
        if (world->lines[to].ends_batch || to + 1 == world->lines_count) {
            play_batch(world, from, to, chain);
            from = to + 1;
        }
    checker_log_end(world->checker);
}

static inline void replace(struct buf *text, const char *from, const char *to)
{
    char *at = strstr(text->data, from);
    struct buf changed;
    CHECK(at != NULL);
    buf_init(&changed, TEXT_MAX);
    buf_append(&changed, text->data, (size_t)(at - text->data));
    buf_append_text(&changed, to);
    buf_append_text(&changed, at + strlen(from));
    buf_clear(text);
    buf_append_span(text, buf_span(&changed));
    buf_deinit(&changed);
}

static inline void write_coupon(const struct world *world, size_t line, struct buf *out)
{
    static const uint8_t code_key[CRYPTO_KEY_BYTES];
    struct buf user, data;
    buf_init(&user, TEXT_MAX), buf_init(&data, TEXT_MAX);
    struct event event = make_event(&world->lines[line], &user, &data);
    struct coupon coupon = coupon_from_event(&event);
    coupon_write_json(out, NULL, &coupon, code_key, 0);
    buf_deinit(&user), buf_deinit(&data);
}

static inline void play_said(struct world *world, const struct said *said)
{
    struct load_result result = {.sent_us = said->sent_us, .done_us = said->done_us, .outcome = said->lost};
    struct buf body, token;
    buf_init(&body, TEXT_MAX), buf_init(&token, CONSISTENCY_TOKEN_MAX);
    if (said->problem)
        buf_printf(&body, "{\"code\":\"%s\"}", said->problem);
    else if (!said->lost)
        write_coupon(world, said->line, &body);
    if (said->from)
        replace(&body, said->from, said->to);
    int16_t slice = (int16_t)(slice_of(span_of(campaign_id)) ^ (said->token_elsewhere ? 1 : 0));
    consistency_token_write(&token,
                            (struct position){slice, world->lines[said->line].position - said->token_off});
    result.response = (struct http_response){.status = said->problem ? 409 : 201,
                                             .replayed = said->replayed,
                                             .token = buf_span(&token),
                                             .body = buf_span(&body)};
    attempts_add(&world->attempts, said->user, said->other_key ? USERS - 1 : said->user, &result);
    buf_deinit(&body), buf_deinit(&token);
}

static inline void world_play(struct world *world)
{
    struct checked_campaign campaign = {.id = span_of(campaign_id),
                                        .created_at = world->created_at,
                                        .quantity = 3,
                                        .released = 3,
                                        .per_user_limit = 1,
                                        .users = USERS,
                                        .keys = USERS,
                                        .demand = world->demand,
                                        .names = &names};
    world->checker = checker_create(&campaign);
    attempts_init(&world->attempts, 64 * TEXT_MAX);
    play_log(world);
    for (size_t i = 0; i < world->said_count; i++)
        play_said(world, &world->said[i]);
    checker_answers(world->checker, &world->attempts);
}

static inline void world_deinit(struct world *world)
{
    attempts_deinit(&world->attempts);
    checker_destroy(world->checker);
}

static inline void world_print_violations(const struct world *world)
{
    const struct verdict *verdict = checker_verdict(world->checker);
    for (uint64_t i = 0; i < verdict->violations && i < VIOLATIONS_KEPT; i++)
        fprintf(stderr, "violated: %s: %s\n", rule_describe(verdict->first[i].rule)->holds,
                verdict->first[i].text);
}

/* Of a world that was played: so many violations of that rule, none of another, and no user id in any text
 * (I10). */
static inline bool world_violates_only(const struct world *world, enum rule rule, uint64_t times)
{
    const struct verdict *verdict = checker_verdict(world->checker);
    bool right = verdict->violated[rule] == times && verdict->violations == times;
    for (uint64_t i = 0; i < verdict->violations && i < VIOLATIONS_KEPT; i++)
        right = right && verdict->first[i].text[0] && !strstr(verdict->first[i].text, names.prefix);
    if (!right)
        world_print_violations(world);
    return right;
}
