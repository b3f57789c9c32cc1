/* SPDX-License-Identifier: Apache-2.0 */
/* Every refusal must have been right at some moment between what had been answered before it was asked and
 * what was asked after it was answered: otherwise somebody was turned away who was next. */
#include "tests/chaos/judge_state.h"

#include "common/base/clock.h"

enum { CLOCK_SLACK_US = 50 * US_PER_MS, STOPPED_SLACK_US = 15 * US_PER_S };

struct refusal {
    const struct judge *judge;
    const struct attempt *attempt;
    const struct operation *op;
    int64_t from_us, until_us; /* wall clock: when it was decided */
    struct window window;
};

/* --- Campaigns --- */

static bool ended_at(const struct refusal *refusal, const struct model_campaign *campaign,
                     const struct campaign_moment *is)
{
    int64_t ends_at_us = judge_end_us(&campaign->definition);
    return is->state == MODEL_CLOSED || is->state == MODEL_ENDED ||
           (ends_at_us && refusal->until_us >= ends_at_us);
}

/* How many coupons the user had by that position. */
static int64_t held_at(const struct judge *judge, const struct model_campaign *campaign, uint32_t user,
                       int64_t position)
{
    int64_t held = 0;
    for (size_t i = 0; i < campaign->coupons_count; i++) {
        const struct model_coupon *coupon = &judge->coupons[campaign->coupons[i]];
        held += coupon->user == user && coupon->at.position <= position;
    }
    return held;
}

static int64_t still_planned(const struct model_campaign *campaign, const struct campaign_moment *is)
{
    int64_t sum = 0;
    for (size_t i = (size_t)is->plan_done; i < campaign->definition.release_plan.count; i++)
        sum += campaign->definition.release_plan.items[i].quantity;
    return sum;
}

/* One moment of a campaign that is there. */
static bool right_then(const struct refusal *refusal, const struct model_campaign *campaign,
                       const struct campaign_moment *is)
{
    const struct campaign_created *definition = &campaign->definition;
    const char *code = refusal->attempt->problem;
    if (strcmp(code, "sold-out") == 0)
        return is->issued >= is->released || refusal->from_us < is->reopens_us;
    if (strcmp(code, "paused") == 0)
        return is->state == MODEL_PAUSED;
    if (strcmp(code, "ended") == 0)
        return ended_at(refusal, campaign, is);
    if (strcmp(code, "not-started") == 0)
        return refusal->from_us < definition->starts_at_us;
    if (strcmp(code, "already-issued") == 0)
        return held_at(refusal->judge, campaign, refusal->op->user, refusal->window.high) >= is->limit;
    if (strcmp(code, "campaign-exists") == 0)
        return true;
    if (strcmp(code, "exceeds-quantity") == 0)
        return refusal->op->quantity > is->quantity - is->released - still_planned(campaign, is);
    if (strcmp(code, "below-promise") == 0)
        return op_change_quantity(refusal->op) < is->quantity ||
               (op_change_limit(refusal->op) && op_change_limit(refusal->op) < is->limit);
    if (strcmp(code, "has-coupons") == 0)
        return is->issued > 0;
    return false;
}

static bool no_campaign_then(const struct campaign_moment *is)
{
    return !is || is->state == MODEL_DELETED;
}

static bool campaign_refusal_right(const struct refusal *refusal, const struct model_campaign *campaign)
{
    const char *code = refusal->attempt->problem;
    bool unknown = strcmp(code, "unknown-campaign") == 0;
    bool exists =
        strcmp(code, "campaign-exists") == 0; /* an id is never used again, not even of the deleted */
    const struct campaign_moment *first = campaign_moment_at(campaign, refusal->window.low);
    if (no_campaign_then(first) ? unknown || (exists && first) : right_then(refusal, campaign, first))
        return true;
    size_t next = first ? (size_t)(first - campaign->moments) + 1 : 0;
    for (; next < campaign->moments_count; next++) {
        const struct campaign_moment *is = &campaign->moments[next];
        if (is->position > refusal->window.high)
            return false;
        if (no_campaign_then(is) ? unknown || exists : right_then(refusal, campaign, is))
            return true;
    }
    return false;
}

/* --- Coupons --- */

static bool coupon_right_then(const struct refusal *refusal, const struct model_coupon *coupon,
                              const struct coupon_moment *is)
{
    const char *code = refusal->attempt->problem;
    const struct operation *op = refusal->op;
    bool held = is->state == MODEL_RESERVED && refusal->from_us < is->until_us;
    if (strcmp(code, "reserved") == 0)
        return held && is->order != op->order;
    if (strcmp(code, "already-redeemed") == 0)
        return is->state == MODEL_REDEEMED;
    if (strcmp(code, "not-redeemed") == 0)
        return is->state != MODEL_REDEEMED || is->order != op->order;
    if (strcmp(code, "revoked") == 0)
        return is->state == MODEL_REVOKED;
    if (strcmp(code, "expired") == 0)
        return coupon->expires_us && refusal->until_us >= coupon->expires_us;
    if (strcmp(code, "below-minimum") == 0)
        return op->amount < refusal->judge->campaigns[coupon->campaign].definition.min_order_amount;
    if (strcmp(code, "no-discount") == 0)
        return judge_discount(&refusal->judge->campaigns[coupon->campaign].definition, op->amount) == 0;
    if (strcmp(code, "not-holder") == 0)
        return op->user != coupon->user;
    return false;
}

static bool coupon_refusal_right(const struct refusal *refusal, const struct model_coupon *coupon)
{
    if (strcmp(refusal->attempt->problem, "unknown-coupon") == 0)
        return !coupon || coupon->at.position > refusal->window.low;
    if (!coupon)
        return false;
    for (size_t i = 0; i < coupon->moments_count; i++) {
        bool held_in_window =
            coupon->moments[i].position <= refusal->window.high &&
            (i + 1 == coupon->moments_count || coupon->moments[i + 1].position > refusal->window.low);
        if (held_in_window && coupon_right_then(refusal, coupon, &coupon->moments[i]))
            return true;
    }
    return false;
}

/* --- All --- */

/* Looked at with everything else that was sent under that key. */
static bool decided_elsewhere(const struct attempt *attempt)
{
    return strcmp(attempt->problem, "idempotency-key-reused") == 0;
}

/* What a service knows of a key holds until it hears something else; it cannot while the store is down, nor
 * while it is stopped itself, which is for as long as schedule.c says. */
static bool suspended_then(const struct refusal *refusal)
{
    enum issuer issuer = op_issuer(refusal->op);
    int64_t heard_us = judge_last_commit_us(refusal->judge, refusal->from_us) - STOPPED_SLACK_US;
    return issuer != ISSUER_NONE &&
           judge_suspended(refusal->judge, issuer, heard_us, refusal->until_us, false);
}

/* A creation whose coupons would have expired when it was decided. */
static bool born_expired(const struct refusal *refusal)
{
    struct definition_room room;
    const struct judge *judge = refusal->judge;
    struct campaign_created is =
        op_definition(judge->in.seed, refusal->op->campaign, refusal->op->variant, judge->in.base_us, &room);
    return refusal->op->kind == OP_CREATE && is.coupon_expires_at_us &&
           refusal->until_us >= is.coupon_expires_at_us;
}

static bool right(struct refusal *refusal)
{
    const struct judge *judge = refusal->judge;
    const struct attempt *attempt = refusal->attempt;
    if (strcmp(attempt->problem, "issuer-suspended") == 0)
        return suspended_then(refusal);
    if (strcmp(attempt->problem, "invalid-window") == 0)
        return born_expired(refusal);
    if (op_kind_has_coupon(refusal->op->kind)) {
        refusal->window = judge_window(judge, attempt, refusal->op->coupon.slice);
        return coupon_refusal_right(refusal, judge_coupon(judge, refusal->op->coupon));
    }
    const struct model_campaign never = {0};
    const struct model_campaign *campaign = &never;
    struct buf id;
    buf_init(&id, CAMPAIGN_ID_MAX);
    campaign_name_write(&id, refusal->op->campaign);
    refusal->window = judge_window(judge, attempt, slice_of(buf_span(&id)));
    buf_deinit(&id);
    if (refusal->op->campaign < judge->campaigns_count)
        campaign = &judge->campaigns[refusal->op->campaign];
    return campaign_refusal_right(refusal, campaign);
}

void judge_refusals(struct judge *judge)
{
    const struct history *history = judge->in.history;
    for (size_t i = 0; i < history->attempts_count; i++) {
        const struct attempt *attempt = &history->attempts[i];
        if (attempt->outcome != OUTCOME_REFUSED || decided_elsewhere(attempt))
            continue;
        struct refusal refusal = {
            .judge = judge,
            .attempt = attempt,
            .op = &history->ops[attempt->op],
            .from_us = attempt->sent_us + judge->in.wall_offset_us - CLOCK_SLACK_US,
            .until_us = attempt->done_us + judge->in.wall_offset_us + CLOCK_SLACK_US,
        };
        judge_expect(judge, JUDGE_JUSTIFIED, right(&refusal), "attempt %u of %s was told '%s' (user %u)",
                     attempt->number, judge_name(judge, attempt->op), attempt->problem, refusal.op->user);
    }
}
