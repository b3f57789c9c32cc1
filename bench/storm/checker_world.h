/* SPDX-License-Identifier: Apache-2.0 */
/* For the checker's tests only: a small campaign in which all is well, as a log and as what users were told,
 * to bend and then play to a checker. */
#pragma once

#include "bench/storm/checker.h"
#include "events/coupon.h"

enum { LINES_MAX = 16, REPLIES_MAX = 40, USERS = 6, TEXT_MAX = 1024 };
static const char campaign_id[] = "storm-test";
static const struct user_names names = {"test-"};

/* One coupon of the log to be. */
struct line {
    uint32_t user; /* USERS: nobody's */
    int64_t position, time_us, sequence;
};

/* One attempt of a user. */
struct reply {
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
    struct reply replies[REPLIES_MAX];
    size_t lines_count, replies_count;
    int64_t demand;
    struct attempts attempts;
    struct checker *checker;
};

/* --- A world in which all is well --- */

static inline struct line *add_line(struct world *world, uint32_t user, int64_t sequence)
{
    int64_t position = (int64_t)world->lines_count + 2; /* 1 is the campaign's creation */
    world->lines[world->lines_count] = (struct line){user, position, 1000 * position, sequence};
    return &world->lines[world->lines_count++];
}

static inline struct reply *add_reply(struct world *world, struct reply reply)
{
    world->replies[world->replies_count] = reply;
    return &world->replies[world->replies_count++];
}

/* Lines 0..2: users 0..2 get the three coupons. Attempts 0..2 are theirs, 3 user 0 again, 4 and 5 user 2's
 * twin and a later try, 6 and 7 users 3 and 4, sold out. User 5 does not ask. */
static inline void world_init(struct world *world)
{
    *world = (struct world){.demand = 5};
    for (uint32_t user = 0; user < 3; user++)
        add_line(world, user, user + 1);
    for (uint32_t user = 0; user < 3; user++)
        add_reply(world, (struct reply){.user = user, .line = user, .sent_us = 100, .done_us = 200 + user});
    add_reply(world, (struct reply){.user = 0, .line = 0, .sent_us = 300, .done_us = 400, .replayed = true});
    add_reply(world, (struct reply){.user = 2, .problem = "in-flight", .sent_us = 100, .done_us = 150});
    add_reply(world, (struct reply){.user = 2, .line = 2, .sent_us = 300, .done_us = 410, .replayed = true});
    add_reply(world, (struct reply){.user = 3, .problem = "sold-out", .sent_us = 100, .done_us = 500});
    add_reply(world, (struct reply){.user = 4, .problem = "sold-out", .sent_us = 450, .done_us = 500});
}

/* --- Playing it to the checker --- */

static inline struct event make_event(const struct line *line, struct buf *user)
{
    buf_clear(user);
    if (line->user < USERS)
        user_name_write(&names, line->user, user);
    else
        buf_append_text(user, "a-stranger");
    return (struct event){.slice = slice_of(span_of(campaign_id)),
                          .position = line->position,
                          .type = EVENT_CouponIssued,
                          .version = 1,
                          .campaign_id = span_of(campaign_id),
                          .user_id = buf_span(user),
                          .recorded_at_us = line->time_us,
                          .coupon_issued = {.sequence = line->sequence, .nth = 1}};
}

static inline void play_log(struct world *world)
{
    struct buf user;
    buf_init(&user, TEXT_MAX);
    for (size_t i = 0; i < world->lines_count; i++) {
        struct event event = make_event(&world->lines[i], &user);
        checker_coupon(world->checker, &event);
    }
    buf_deinit(&user);
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
    static const struct code_key code_key;
    struct buf user;
    buf_init(&user, TEXT_MAX);
    struct event event = make_event(&world->lines[line], &user);
    struct coupon coupon = coupon_from_event(&event);
    coupon_write_json(out, NULL, &coupon, &code_key, 0);
    buf_deinit(&user);
}

static inline void play_reply(struct world *world, const struct reply *reply)
{
    struct load_result result = {
        .sent_us = reply->sent_us, .done_us = reply->done_us, .outcome = reply->lost};
    struct buf body, token;
    buf_init(&body, TEXT_MAX), buf_init(&token, CONSISTENCY_TOKEN_MAX);
    if (reply->problem)
        buf_printf(&body, "{\"code\":\"%s\"}", reply->problem);
    else if (!reply->lost)
        write_coupon(world, reply->line, &body);
    if (reply->from)
        replace(&body, reply->from, reply->to);
    int16_t slice = (int16_t)(slice_of(span_of(campaign_id)) ^ (reply->token_elsewhere ? 1 : 0));
    consistency_token_write(&token,
                            (struct position){slice, world->lines[reply->line].position - reply->token_off});
    result.response = (struct http_response){.status = reply->problem ? 409 : 201,
                                             .replayed = reply->replayed,
                                             .token = buf_span(&token),
                                             .body = buf_span(&body)};
    attempts_add(&world->attempts, reply->user, reply->other_key ? USERS - 1 : reply->user, &result);
    buf_deinit(&body), buf_deinit(&token);
}

static inline void world_play(struct world *world)
{
    struct checked_campaign campaign = {.id = span_of(campaign_id),
                                        .quantity = 3,
                                        .users = USERS,
                                        .keys = USERS,
                                        .demand = world->demand,
                                        .names = &names};
    world->checker = checker_create(&campaign);
    attempts_init(&world->attempts, 64 * TEXT_MAX);
    play_log(world);
    for (size_t i = 0; i < world->replies_count; i++)
        play_reply(world, &world->replies[i]);
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
