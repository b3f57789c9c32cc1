/* SPDX-License-Identifier: Apache-2.0 */
/* Read models in tests: events written straight into the log, and what the projector made of them in Redis,
 * as text that two states can be compared by. Whatever fails here fails the test. One thread at a time. */
#pragma once

#include "common/pg/pg.h"
#include "common/redis/redis.h"
#include "events/event.h"
#include "tests/lib/stack.h"
#include "tests/lib/text.h"

enum { MODELS_CAMPAIGNS_MAX = 32 };

struct models {
    struct stack *stack; /* borrowed */
    struct pg *pg;
    struct redis *redis; /* as the default user, who may do everything */
    struct {
        char id[40];
        int64_t issued;
    } campaigns[MODELS_CAMPAIGNS_MAX];
    size_t campaigns_count;
    const char *users; /* what the ids of users begin with; NULL: "user-" */
};

void models_open(struct models *models, struct stack *stack);
void models_close(struct models *models);

/* Appends a CampaignCreated to the slice of a fresh id; returns which campaign it is, from 0. */
size_t models_create(struct models *models);
/* Appends `count` CouponIssued, to users user-<sequence> (or `users`), in one transaction. */
void models_issue(struct models *models, size_t campaign, int count);
/* Appends a CouponRedeemed for each of its coupons, with a long order id, in one transaction. */
void models_redeem(struct models *models, size_t campaign);
void models_release(struct models *models, size_t campaign, int64_t quantity);
void models_close_campaign(struct models *models, size_t campaign);
/* Appends an event of a type no program knows. */
void models_poison(struct models *models, size_t campaign);
int16_t models_slice(const struct models *models, size_t campaign);

/* Sends a command to Redis, connecting again where that is needed; the reply lives until the next call. */
const struct redis_reply *models_call(struct models *models, const char *const *words);
#define MODELS_CALL(models, ...) models_call((models), (const char *[]){__VA_ARGS__, NULL})
int64_t models_info(struct models *models, const char *name); /* a number of INFO */
/* A field of the slice's root as a number, -1 where there is none. */
int64_t models_checkpoint(struct models *models, int16_t slice, const char *field);
int64_t models_generation(struct models *models, int16_t slice); /* the live one, -1 where there is none */
/* A key of the live generation, by what comes after "fc:<g>:{<slice>}:"; valid for three more calls. */
const char *models_key(struct models *models, int16_t slice, const char *rest);
/* What Redis has of a campaign; valid until the next call. False where it is not there. */
struct campaign_record;
bool models_campaign(struct models *models, int16_t slice, const char *id, struct campaign_record *ret);

/* Every checkpoint of the live generation is at its head and says so. */
bool models_current(struct models *models);
void models_await_current(struct models *models); /* within a minute */
/* Waits until the models are current and compares every key with what a replay of the whole log makes of an
 * emptied Redis. Leaves that replay. */
void models_assert_equal_the_log(struct models *models);
/* Every key of the service, sorted, with its content, also sorted; without generation, who wrote it and when.
 */
void models_dump(struct models *models, struct buf *out);
