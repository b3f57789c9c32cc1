/* SPDX-License-Identifier: Apache-2.0 */
/* The log on its own and against what was asked: is every event one that could follow those before it, and
 * did somebody ask for it? Builds the models on the way. */
#include "tests/chaos/judge_state.h"

#include "common/base/clock.h"
#include "events/campaign.h"
#include "events/coupon.h"

/* --- Who asked --- */

static bool made_by_time(const struct event *event)
{
    return (event->type == EVENT_StockReleased && event->stock_released.plan_step > 0) ||
           event->type == EVENT_CampaignEnded || event->type == EVENT_ReleasePlanHalted ||
           event->type == EVENT_ReservationExpired;
}

static bool kind_makes(const struct operation *op, enum event_type type)
{
    static const enum event_type types[OP_KIND_COUNT] = {
        [OP_CREATE] = EVENT_CampaignCreated,  [OP_PAUSE] = EVENT_CampaignPaused,
        [OP_RESUME] = EVENT_CampaignResumed,  [OP_CLOSE] = EVENT_CampaignClosed,
        [OP_RELEASE] = EVENT_StockReleased,   [OP_DELETE] = EVENT_CampaignDeleted,
        [OP_VOID] = EVENT_CampaignDeleted,    [OP_ISSUE] = EVENT_CouponIssued,
        [OP_ISSUE_MANY] = EVENT_CouponIssued, [OP_RESERVE] = EVENT_CouponReserved,
        [OP_REDEEM] = EVENT_CouponRedeemed,   [OP_GIVE_BACK] = EVENT_ReservationReleased,
        [OP_RESTORE] = EVENT_CouponRestored,  [OP_REVOKE] = EVENT_CouponRevoked,
        [OP_SUSPEND] = EVENT_IssuerSuspended, [OP_READMIT] = EVENT_IssuerResumed,
        [OP_SET] = EVENT_SettingChanged,      [OP_CHANGE] = EVENT_CampaignChanged,
    };
    return types[op->kind] == type && !(op->kind == OP_VOID && op->dry_run);
}

static bool same_definition(const struct judge *judge, const struct operation *op,
                            const struct campaign_created *is)
{
    struct definition_room room;
    struct buf wanted, got;
    struct event event = {.type = EVENT_CampaignCreated,
                          .campaign_created = op_definition(judge->in.seed, op->campaign, op->variant,
                                                            judge->in.base_us, &room)};
    buf_init(&wanted, EVENT_DATA_MAX), buf_init(&got, EVENT_DATA_MAX);
    event_encode(&event, &wanted);
    event.campaign_created = *is;
    event.campaign_created.created_by = (struct span){NULL, 0};
    event_encode(&event, &got);
    bool same = span_equal(buf_span(&wanted), buf_span(&got)) && span_is(is->created_by, "admin");
    buf_deinit(&wanted), buf_deinit(&got);
    return same;
}

static bool same_bytes(const struct campaign_changed *changed, const struct campaign_created *definition)
{
    const struct campaign_created is = campaign_changed_definition(changed);
    struct buf got, wanted;
    buf_init(&got, EVENT_DATA_MAX), buf_init(&wanted, EVENT_DATA_MAX);
    campaign_definition_write(&got, &is);
    campaign_definition_write(&wanted, definition);
    bool same = span_equal(buf_span(&got), buf_span(&wanted));
    buf_deinit(&got), buf_deinit(&wanted);
    return same;
}

static bool order_is(struct span order_id, uint32_t order)
{
    uint32_t number;
    return order_name_parse(order_id, &number) && number == order;
}

static bool user_was_asked_for(const struct operation *op, struct span user_id)
{
    uint32_t user;
    if (!user_number_parse(user_id, &user))
        return false;
    uint32_t offset = (user + CHAOS_USERS - op->user) % CHAOS_USERS;
    return op->kind == OP_ISSUE ? offset == 0 : offset < op->users;
}

static bool coupon_id_is(struct span id, struct position at)
{
    struct position is;
    return coupon_id_parse(id, &is) && is.slice == at.slice && is.position == at.position;
}

static bool same_setting(const struct operation *op, const struct setting_changed *is)
{
    struct buf value;
    buf_init(&value, EVENT_TEXT_MAX);
    op_setting_value_write(&value, op);
    bool same = span_equal(is->name, op_setting_name(op)) && span_equal(is->value, buf_span(&value));
    buf_deinit(&value);
    return same;
}

/* Whether the event says what the operation said, member by member. */
static bool as_asked(const struct judge *judge, const struct operation *op, const struct event *event)
{
    uint32_t campaign;
    bool named = campaign_name_parse(event->campaign_id, &campaign);
    bool its = named && campaign == op->campaign;
    switch (event->type) {
    case EVENT_CampaignCreated:
        return its && same_definition(judge, op, &event->campaign_created);
    case EVENT_CampaignChanged:
        return its && event->campaign_changed.quantity == op_change_quantity(op) &&
               (!op_change_limit(op) || event->campaign_changed.per_user_limit == op_change_limit(op)) &&
               span_is(event->campaign_changed.reason, "chaos");
    case EVENT_StockReleased:
        return its && event->stock_released.quantity == op->quantity;
    case EVENT_CampaignDeleted:
        return op->kind == OP_VOID ? named : its;
    case EVENT_CampaignPaused:
    case EVENT_CampaignResumed:
    case EVENT_CampaignClosed:
        return its;
    case EVENT_CouponIssued:
        return its && user_was_asked_for(op, event->user_id) &&
               coupon_id_is(event->coupon_id, (struct position){event->slice, event->position});
    case EVENT_CouponReserved:
        return coupon_id_is(event->coupon_id, op->coupon) &&
               order_is(event->coupon_reserved.order_id, op->order) &&
               event->coupon_reserved.order_amount == op->amount;
    case EVENT_CouponRedeemed:
        return coupon_id_is(event->coupon_id, op->coupon) &&
               order_is(event->coupon_redeemed.order_id, op->order) &&
               event->coupon_redeemed.order_amount == op->amount;
    case EVENT_ReservationReleased:
        return coupon_id_is(event->coupon_id, op->coupon) &&
               order_is(event->reservation_released.order_id, op->order);
    case EVENT_CouponRestored:
        return coupon_id_is(event->coupon_id, op->coupon) &&
               order_is(event->coupon_restored.order_id, op->order);
    case EVENT_CouponRevoked:
        return coupon_id_is(event->coupon_id, op->coupon) && span_is(event->coupon_revoked.reason, "chaos");
    case EVENT_IssuerSuspended:
        return span_is(event->issuer_suspended.issuer, issuer_name(op_issuer_concerned(op)));
    case EVENT_IssuerResumed:
        return span_is(event->issuer_resumed.issuer, issuer_name(op_issuer_concerned(op)));
    case EVENT_SettingChanged:
        return same_setting(op, &event->setting_changed);
    default:
        return false; /* nobody can ask for it */
    }
}

/* Finds the attempt an event comes from and notes it as that attempt's effect. NULL: nobody asked. */
static const struct operation *find_op(struct judge *judge, const struct event *event)
{
    const struct history *history = judge->in.history;
    struct origin origin;
    uint32_t op = UINT32_MAX, attempt = UINT32_MAX;
    if (origin_parse(event->trace, &origin))
        op = history_find(history, origin.client, origin.number);
    if (op != UINT32_MAX)
        attempt = judge_attempt(judge, op, origin.attempt);
    bool asked = attempt != UINT32_MAX && kind_makes(&history->ops[op], event->type) &&
                 as_asked(judge, &history->ops[op], event);
    judge_expect(judge, JUDGE_ASKED, asked, "%s at %lld of slice %d is not what %s asked for",
                 event_describe((int)event->type)->name, (long long)event->position, event->slice,
                 op == UINT32_MAX ? "anybody" : judge_name(judge, op));
    if (attempt == UINT32_MAX)
        return NULL;
    struct effect *effect = &judge->effects[attempt];
    if (effect->events++ == 0)
        effect->first = (struct position){event->slice, event->position};
    effect->last = (struct position){event->slice, event->position};
    enum outcome outcome = (enum outcome)history->attempts[attempt].outcome;
    bool nothing = outcome == OUTCOME_REFUSED || outcome == OUTCOME_LATER;
    judge_expect(judge, JUDGE_REFUSED, !nothing || history_doubtful(history, &history->attempts[attempt]),
                 "attempt %u of %s was told '%s', yet it is at %lld of slice %d", origin.attempt,
                 judge_name(judge, op), history->attempts[attempt].problem, (long long)event->position,
                 event->slice);
    return asked ? &history->ops[op] : NULL;
}

/* --- Campaigns --- */

static int64_t planned_from(const struct campaign_created *is, int64_t step)
{
    int64_t sum = 0;
    for (size_t i = (size_t)step; i < is->release_plan.count; i++)
        sum += is->release_plan.items[i].quantity;
    return sum;
}

int64_t judge_end_us(const struct campaign_created *campaign)
{
    int64_t ends_us = campaign->ends_at_us, expires_us = campaign->coupon_expires_at_us;
    return !ends_us || (expires_us && expires_us < ends_us) ? expires_us : ends_us;
}

static bool over(const struct model_campaign *campaign, const struct campaign_moment *was, int64_t at_us)
{
    int64_t ends_at_us = judge_end_us(&campaign->definition);
    return was->state == MODEL_CLOSED || was->state == MODEL_ENDED || (ends_at_us && at_us >= ends_at_us);
}

static void on_released(struct judge *judge, struct model_campaign *campaign,
                        const struct campaign_moment *was, struct campaign_moment *is,
                        const struct event *event)
{
    const struct campaign_created *definition = &campaign->definition;
    const struct stock_released *release = &event->stock_released;
    is->released += release->quantity;
    if (release->plan_step == 0) {
        int64_t kept = planned_from(definition, was->plan_done);
        judge_expect(judge, JUDGE_STOCK, is->released + kept <= is->quantity,
                     "%.*s has %lld released and %lld planned of %lld", SPAN_ARG(event->campaign_id),
                     (long long)is->released, (long long)kept, (long long)is->quantity);
    } else {
        size_t step = (size_t)was->plan_done;
        bool planned = step < definition->release_plan.count && release->plan_step == was->plan_done + 1 &&
                       !was->halted && definition->release_plan.items[step].quantity == release->quantity &&
                       definition->release_plan.items[step].at_us <= event->recorded_at_us;
        judge_expect(judge, JUDGE_PLAN, planned, "tranche %lld of %.*s was not due",
                     (long long)release->plan_step, SPAN_ARG(event->campaign_id));
        is->plan_done = release->plan_step;
    }
    judge_expect(judge, JUDGE_STOCK, is->released <= is->quantity, "%.*s has %lld released of %lld",
                 SPAN_ARG(event->campaign_id), (long long)is->released, (long long)is->quantity);
    judge_expect(judge, JUDGE_STATE, !over(campaign, was, event->recorded_at_us),
                 "stock of %.*s was released after its end", SPAN_ARG(event->campaign_id));
}

/* More and never less; and who was told that all was issued is told nothing else by anybody for a second. */
static void on_changed(struct judge *judge, struct model_campaign *campaign,
                       const struct campaign_moment *was, struct campaign_moment *is,
                       const struct event *event)
{
    const struct campaign_changed *changed = &event->campaign_changed;
    struct campaign_changed same = *changed;
    long long position = event->position;
    bool held_back = was->released + planned_from(&campaign->definition, was->plan_done) < was->quantity;
    int64_t more = changed->quantity - was->quantity;
    is->quantity = changed->quantity;
    is->limit = changed->per_user_limit;
    is->released += changed->released_more;
    if (more > 0 && was->issued >= was->quantity)
        is->reopens_us = event->recorded_at_us + US_PER_S;
    judge_expect(judge, JUDGE_STOCK, more >= 0 && changed->released_more == (held_back ? 0 : more),
                 "%lld of slice %d releases %lld of %lld more", position, event->slice,
                 (long long)changed->released_more, (long long)more);
    judge_expect(judge, JUDGE_LIMIT, is->limit >= was->limit,
                 "%lld of slice %d takes back what a user may have", position, event->slice);
    judge_expect(judge, JUDGE_OPEN, changed->reopens_at_us == is->reopens_us,
                 "%lld of slice %d opens the campaign again at another time than it should", position,
                 event->slice);
    judge_expect(judge, JUDGE_STATE, !over(campaign, was, event->recorded_at_us),
                 "%.*s was changed after its end", SPAN_ARG(event->campaign_id));
    same.quantity = campaign->definition.quantity;
    same.per_user_limit = campaign->definition.per_user_limit;
    same.reopens_at_us = 0;
    judge_expect(judge, JUDGE_STATE, same_bytes(&same, &campaign->definition),
                 "%lld of slice %d changes what nobody asked for", position, event->slice);
}

static int64_t expiry(const struct campaign_created *is, int64_t issued_us)
{
    if (is->coupon_expires_at_us)
        return is->coupon_expires_at_us;
    if (is->coupon_valid_days == 0)
        return 0;
    int64_t until_us = issued_us + is->coupon_valid_days * US_PER_DAY;
    if (is->utc_offset_code == 0)
        return until_us;
    /* The first local midnight after so many days. */
    int64_t east_us = (is->utc_offset_code - UTC_OFFSET_CODE_ZERO) * 60 * US_PER_S;
    return until_us + US_PER_DAY - (until_us + east_us) % US_PER_DAY;
}

static void add_coupon(struct judge *judge, struct model_campaign *campaign, const struct event *event,
                       uint32_t user)
{
    judge->coupons =
        judge_grow(judge->coupons, judge->coupons_count, &judge->coupons_capacity, sizeof *judge->coupons);
    uint32_t number = (uint32_t)(campaign - judge->campaigns);
    struct model_coupon *coupon = &judge->coupons[judge->coupons_count];
    *coupon = (struct model_coupon){
        .at = {event->slice, event->position},
        .campaign = number,
        .user = user,
        .sequence = event->coupon_issued.sequence,
        .issued_us = event->recorded_at_us,
        .expires_us = event->coupon_issued.expires_at_us,
        .code_prefix = event->coupon_issued.code_prefix,
    };
    coupon->moments = judge_grow(NULL, 0, &coupon->moments_capacity, sizeof *coupon->moments);
    coupon->moments[coupon->moments_count++] =
        (struct coupon_moment){event->position, event->recorded_at_us, MODEL_ISSUED, 0, 0, 0, 0};
    campaign->coupons = judge_grow(campaign->coupons, campaign->coupons_count, &campaign->coupons_capacity,
                                   sizeof *campaign->coupons);
    campaign->coupons[campaign->coupons_count++] = judge->coupons_count;
    struct held *held = &judge->held[user];
    held->coupons = judge_grow(held->coupons, held->count, &held->capacity, sizeof *held->coupons);
    held->coupons[held->count++] = judge->coupons_count++;
}

static void on_issued(struct judge *judge, struct model_campaign *campaign, const struct campaign_moment *was,
                      struct campaign_moment *is, const struct event *event)
{
    const struct campaign_created *definition = &campaign->definition;
    const struct coupon_issued *coupon = &event->coupon_issued;
    int64_t at_us = event->recorded_at_us;
    long long position = event->position;
    uint32_t user = 0;
    bool known = user_number_parse(event->user_id, &user);
    is->issued++;
    judge_expect(judge, JUDGE_STOCK, is->issued <= was->released, "%lld of slice %d is coupon %lld of %lld",
                 position, event->slice, (long long)is->issued, (long long)was->released);
    judge_expect(judge, JUDGE_SEQUENCE, coupon->sequence == is->issued,
                 "%lld of slice %d has sequence %lld and is coupon %lld", position, event->slice,
                 (long long)coupon->sequence, (long long)is->issued);
    judge_expect(judge, JUDGE_OPEN,
                 was->state == MODEL_ACTIVE && !over(campaign, was, at_us) &&
                     at_us >= definition->starts_at_us && at_us >= was->reopens_us,
                 "%lld of slice %d was issued though %.*s was not open", position, event->slice,
                 SPAN_ARG(event->campaign_id));
    uint32_t held = known ? ++campaign->held[user] : UINT32_MAX;
    judge_expect(judge, JUDGE_LIMIT, held <= was->limit && coupon->nth == held,
                 "user %u has coupon %u of %lld at %lld of slice %d", user, held, (long long)was->limit,
                 position, event->slice);
    judge_expect(judge, JUDGE_LIFE,
                 coupon->expires_at_us == expiry(definition, at_us) &&
                     span_equal(coupon->code_prefix, definition->code_prefix),
                 "expiry or prefix of %lld of slice %d is not its campaign's", position, event->slice);
    add_coupon(judge, campaign, event, user);
}

static void on_state(struct judge *judge, struct model_campaign *campaign, const struct campaign_moment *was,
                     struct campaign_moment *is, const struct event *event)
{
    bool may = false;
    bool open = was->state == MODEL_ACTIVE || was->state == MODEL_PAUSED;
    switch (event->type) {
    case EVENT_CampaignPaused:
        may = was->state == MODEL_ACTIVE;
        is->state = MODEL_PAUSED;
        break;
    case EVENT_CampaignResumed:
        may = was->state == MODEL_PAUSED || (was->state == MODEL_ACTIVE && was->halted);
        is->state = MODEL_ACTIVE;
        is->halted = false;
        break;
    case EVENT_CampaignClosed:
        may = open;
        is->state = MODEL_CLOSED;
        break;
    case EVENT_CampaignEnded:
        may = open && event->campaign_ended.due_at_us == judge_end_us(&campaign->definition) &&
              over(campaign, was, event->recorded_at_us);
        is->state = MODEL_ENDED;
        break;
    case EVENT_ReleasePlanHalted:
        may = open && !was->halted && (size_t)was->plan_done < campaign->definition.release_plan.count;
        is->halted = true;
        break;
    default:
        UNREACHABLE("on_campaign_event calls for these only");
    }
    judge_expect(judge, JUDGE_STATE, may, "%s at %lld of slice %d does not follow from the state before",
                 event_describe((int)event->type)->name, (long long)event->position, event->slice);
}

static void on_created(struct judge *judge, struct model_campaign *campaign, struct campaign_moment *is,
                       const struct event *event)
{
    const struct campaign_created *definition = &event->campaign_created;
    judge_expect(judge, JUDGE_STATE, campaign->moments_count == 0, "%.*s was created twice",
                 SPAN_ARG(event->campaign_id));
    judge_expect(judge, JUDGE_STOCK,
                 definition->released + planned_from(definition, 0) <= definition->quantity,
                 "%.*s begins with more than there is", SPAN_ARG(event->campaign_id));
    campaign->definition = *definition;
    campaign->created_us = event->recorded_at_us;
    campaign->slice = event->slice;
    *is = (struct campaign_moment){.released = definition->released,
                                   .quantity = definition->quantity,
                                   .limit = definition->per_user_limit,
                                   .state = MODEL_ACTIVE};
}

/* Deleting and what happens to the deleted; and what happens to what never was. */
static bool alive(struct judge *judge, const struct campaign_moment *was, const struct event *event)
{
    bool there = was && was->state != MODEL_DELETED;
    judge_expect(judge, JUDGE_DELETED, there && (event->type != EVENT_CampaignDeleted || was->issued == 0),
                 "%s at %lld of slice %d: %s", event_describe((int)event->type)->name,
                 (long long)event->position, event->slice,
                 there ? "it has coupons"
                 : was ? "it is deleted"
                       : "it was never created");
    return there;
}

static void on_campaign_event(struct judge *judge, struct model_campaign *campaign, const struct event *event,
                              const struct operation *op)
{
    const struct campaign_moment none = {0};
    struct campaign_moment was =
        campaign->moments_count ? campaign->moments[campaign->moments_count - 1] : none;
    struct campaign_moment is = was;
    if (event->type == EVENT_CampaignCreated)
        on_created(judge, campaign, &is, event);
    else if (!alive(judge, campaign->moments_count ? &was : NULL, event))
        return;
    else if (event->type == EVENT_StockReleased)
        on_released(judge, campaign, &was, &is, event);
    else if (event->type == EVENT_CampaignChanged)
        on_changed(judge, campaign, &was, &is, event);
    else if (event->type == EVENT_CouponIssued)
        on_issued(judge, campaign, &was, &is, event);
    else if (event->type == EVENT_CampaignDeleted)
        is.state = MODEL_DELETED;
    else if (event->type >= EVENT_CouponReserved && event->type <= EVENT_CouponRevoked) {
        judge_coupon_event(judge, campaign, event, op);
        return; /* it has moved the campaign on by itself */
    } else {
        on_state(judge, campaign, &was, &is, event);
    }
    is.position = event->position;
    campaign->moments = judge_grow(campaign->moments, campaign->moments_count, &campaign->moments_capacity,
                                   sizeof *campaign->moments);
    campaign->moments[campaign->moments_count++] = is;
}

static void on_issuer(struct judge *judge, const struct event *event)
{
    bool suspended = event->type == EVENT_IssuerSuspended;
    struct span name = suspended ? event->issuer_suspended.issuer : event->issuer_resumed.issuer;
    for (int i = 0; i < ISSUER_COUNT; i++) {
        struct model_issuer *issuer = &judge->issuers[i];
        if (!span_is(name, issuer_name((enum issuer)i)))
            continue;
        issuer->moments = judge_grow(issuer->moments, issuer->moments_count, &issuer->moments_capacity,
                                     sizeof *issuer->moments);
        issuer->moments[issuer->moments_count++] = (struct issuer_moment){event->recorded_at_us, suspended};
    }
}

static void on_event(struct judge *judge, const struct event *event)
{
    uint32_t number;
    const struct operation *op = made_by_time(event) ? NULL : find_op(judge, event);
    if (!campaign_concerned(event)) {
        if (event->type != EVENT_SettingChanged)
            on_issuer(judge, event);
        judge_expect(judge, JUDGE_STATE, event->slice == 0 && span_is(event->campaign_id, "~"),
                     "an event about the service is at %lld of slice %d", (long long)event->position,
                     event->slice);
        return;
    }
    bool ours =
        campaign_name_parse(event->campaign_id, &number) && slice_of(event->campaign_id) == event->slice;
    if (judge_expect(judge, JUDGE_ASKED, ours, "%lld of slice %d is about a campaign of nobody",
                     (long long)event->position, event->slice))
        on_campaign_event(judge, &judge->campaigns[number], event, op);
}

/* --- Batches --- */

static void check_batch(struct judge *judge, const struct image_slice *slice, size_t index,
                        size_t *next_event, uint8_t chain[32])
{
    const struct image_batch *batch = &slice->batches[index];
    int64_t expected = index ? slice->batches[index - 1].last + 1 : 1;
    struct log_chain hash;
    judge_expect(judge, JUDGE_GAPLESS, batch->first == expected && batch->last >= batch->first,
                 "a batch says %lld..%lld where %lld comes next", (long long)batch->first,
                 (long long)batch->last, (long long)expected);
    log_chain_begin(&hash, chain);
    bool one_time = true;
    while (*next_event < slice->events_count && slice->events[*next_event].position <= batch->last) {
        const struct event *event = &slice->events[(*next_event)++];
        one_time = one_time && event->recorded_at_us == batch->recorded_at_us;
        log_chain_add(&hash, event);
    }
    log_chain_end(&hash, chain);
    judge_expect(judge, JUDGE_CLOCK, one_time, "events of batch %lld..%lld have another time than the batch",
                 (long long)batch->first, (long long)batch->last);
    judge_expect(judge, JUDGE_CHAIN, memcmp(chain, batch->chain, 32) == 0,
                 "the hash of batch %lld..%lld is another", (long long)batch->first, (long long)batch->last);
    memcpy(chain, batch->chain, 32); /* one wrong batch is one violation */
}

static void check_slice(struct judge *judge, int16_t number)
{
    const struct image_slice *slice = &judge->in.log->slices[number];
    uint8_t chain[32] = {0};
    size_t next_event = 0;
    int64_t before_us = 0;
    for (size_t i = 0; i < slice->events_count; i++) {
        const struct event *event = &slice->events[i];
        judge_expect(judge, JUDGE_GAPLESS, event->position == (int64_t)i + 1, "%lld of slice %d follows %zu",
                     (long long)event->position, number, i);
        judge_expect(judge, JUDGE_CLOCK, event->recorded_at_us >= before_us,
                     "%lld of slice %d is earlier than the one before", (long long)event->position, number);
        before_us = event->recorded_at_us;
        on_event(judge, event);
    }
    for (size_t i = 0; i < slice->batches_count; i++)
        check_batch(judge, slice, i, &next_event, chain);
    judge_expect(judge, JUDGE_GAPLESS,
                 slice->head == (int64_t)slice->events_count && next_event == slice->events_count,
                 "slice %d says it ends at %lld", number, (long long)slice->head);
    judge_expect(judge, JUDGE_CHAIN, memcmp(chain, slice->chain, 32) == 0,
                 "slice %d has another hash than its last batch", number);
}

void judge_log(struct judge *judge)
{
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        check_slice(judge, slice);
}
