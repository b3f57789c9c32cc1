/* SPDX-License-Identifier: Apache-2.0 */
/* The fold of a campaign's events and its JSON. */
#include "events/campaign.h"

#include "common/base/clock.h"
#include "common/json.h"
#include "events/ids.h"
#include "events/problems.h"

static void campaign_begin(struct campaign *campaign, const struct event *event)
{
    CHECK(campaign->first == 0);
    *campaign = (struct campaign){
        .id = event->campaign_id,
        .definition = event->campaign_created,
        .created_at_us = event->recorded_at_us,
        .first = event->position,
        .released = event->campaign_created.released,
        .state = CAMPAIGN_ACTIVE,
    };
}

static void campaign_release(struct campaign *campaign, const struct stock_released *release)
{
    campaign->released += release->quantity;
    CHECK(campaign->released <= campaign->definition.quantity); /* I1 */
    if (release->plan_step == 0)
        return;
    CHECK(release->plan_step == campaign->plan_done + 1);
    campaign->plan_done = release->plan_step;
}

#define COPY(key, kind, name, max, meaning) .name = from->name,
struct campaign_created campaign_changed_definition(const struct campaign_changed *from)
{
    return (struct campaign_created){CAMPAIGN_CREATED_FIELDS(COPY)};
}

struct campaign_changed campaign_unchanged(const struct campaign_created *from)
{
    return (struct campaign_changed){CAMPAIGN_CREATED_FIELDS(COPY)};
}
#undef COPY

void campaign_definition_write(struct buf *out, const struct campaign_created *definition)
{
    struct event created = {.type = EVENT_CampaignCreated, .campaign_created = *definition};
    event_encode(&created, out);
}

static void campaign_change(struct campaign *campaign, const struct campaign_changed *changed)
{
    const struct campaign_created *was = &campaign->definition;
    CHECK(changed->quantity >= was->quantity);             /* I1 */
    CHECK(changed->per_user_limit >= was->per_user_limit); /* I2 */
    campaign->definition = campaign_changed_definition(changed);
    campaign->released += changed->released_more;
    CHECK(campaign->released <= campaign->definition.quantity); /* I1 */
}

/* How many of its coupons are reserved and redeemed after an event of one of them. */
static bool count(int64_t *reserved, int64_t *redeemed, int64_t issued, const struct event *event)
{
    switch (event->type) {
    case EVENT_CouponReserved:
        if (event->coupon_reserved.renewed)
            return *reserved > 0;
        ++*reserved;
        break;
    case EVENT_CouponRedeemed:
        *reserved -= event->coupon_redeemed.was_reserved;
        ++*redeemed;
        break;
    case EVENT_ReservationReleased:
    case EVENT_ReservationExpired:
        --*reserved;
        break;
    case EVENT_CouponRestored:
        --*redeemed;
        break;
    case EVENT_CouponRevoked:
        *reserved -= event->coupon_revoked.was_reserved;
        break;
    default:
        return event->type < EVENT_TYPE_END && campaign_concerned(event);
    }
    return *reserved >= 0 && *redeemed >= 0 && *reserved + *redeemed <= issued;
}

struct status_change status_change_of(const struct event *event)
{
    switch (event->type) {
    case EVENT_CampaignPaused:
        return (struct status_change){event->recorded_at_us, event->campaign_paused.actor,
                                      event->campaign_paused.reason};
    case EVENT_CampaignClosed:
        return (struct status_change){event->recorded_at_us, event->campaign_closed.actor,
                                      event->campaign_closed.reason};
    case EVENT_CampaignDeleted:
        return (struct status_change){event->recorded_at_us, event->campaign_deleted.actor,
                                      event->campaign_deleted.reason};
    default:
        return (struct status_change){0};
    }
}

bool status_change_read(enum campaign_state state, int64_t at_us, struct span data, struct arena *arena,
                        struct status_change *ret)
{
    bool paused = state == CAMPAIGN_PAUSED;
    *ret = (struct status_change){0};
    if (!paused && state != CAMPAIGN_CLOSED) /* what is deleted is not shown */
        return true;
    struct event event = {
        .type = paused ? EVENT_CampaignPaused : EVENT_CampaignClosed, .recorded_at_us = at_us, .data = data};
    event.version = event_describe((int)event.type)->version;
    if (!data.ptr || event_decode(&event, arena) != CODEC_OK)
        return false;
    *ret = status_change_of(&event);
    return true;
}

static void campaign_enter(struct campaign *campaign, enum campaign_state state, const struct event *event)
{
    campaign->state = state;
    campaign->change = status_change_of(event);
}

void campaign_apply(struct campaign *campaign, const struct event *event)
{
    CHECK(event->position > campaign->position);
    switch (event->type) {
    case EVENT_CampaignCreated:
        campaign_begin(campaign, event);
        break;
    case EVENT_StockReleased:
        campaign_release(campaign, &event->stock_released);
        break;
    case EVENT_CampaignChanged:
        campaign_change(campaign, &event->campaign_changed);
        break;
    case EVENT_CampaignPaused:
        campaign_enter(campaign, CAMPAIGN_PAUSED, event);
        break;
    case EVENT_CampaignResumed:
        campaign_enter(campaign, CAMPAIGN_ACTIVE, event);
        campaign->plan_halted = false;
        break;
    case EVENT_CampaignClosed:
        campaign_enter(campaign, CAMPAIGN_CLOSED, event);
        break;
    case EVENT_CouponIssued:
        CHECK(event->coupon_issued.sequence == campaign->issued + 1); /* I5 */
        campaign->issued++;
        CHECK(campaign->issued <= campaign->released); /* I1 */
        break;
    case EVENT_CampaignDeleted:
        CHECK(campaign->issued == 0);
        campaign_enter(campaign, CAMPAIGN_DELETED, event);
        break;
    case EVENT_CampaignEnded:
        campaign_enter(campaign, CAMPAIGN_ENDED, event);
        break;
    case EVENT_ReleasePlanHalted:
        campaign->plan_halted = true;
        break;
    default:
        CHECK(count(&campaign->reserved, &campaign->redeemed, campaign->issued, event)); /* I6 */
    }
    campaign->position = event->position;
}

bool campaign_can_apply(const struct campaign *campaign, const struct event *event)
{
    int64_t reserved = campaign->reserved, redeemed = campaign->redeemed;
    if (event->position <= campaign->position)
        return false;
    switch (event->type) {
    case EVENT_CampaignCreated:
        return campaign->first == 0;
    case EVENT_StockReleased:
        return campaign->released + event->stock_released.quantity <= campaign->definition.quantity &&
               (event->stock_released.plan_step == 0 ||
                event->stock_released.plan_step == campaign->plan_done + 1);
    case EVENT_CampaignChanged:
        return event->campaign_changed.quantity >= campaign->definition.quantity &&
               event->campaign_changed.per_user_limit >= campaign->definition.per_user_limit &&
               campaign->released + event->campaign_changed.released_more <= event->campaign_changed.quantity;
    case EVENT_CouponIssued:
        return event->coupon_issued.sequence == campaign->issued + 1 && campaign->issued < campaign->released;
    case EVENT_CampaignDeleted:
        return campaign->issued == 0;
    default:
        return count(&reserved, &redeemed, campaign->issued, event);
    }
}

bool campaign_concerned(const struct event *event)
{
    switch (event->type) {
    case EVENT_IssuerSuspended:
    case EVENT_IssuerResumed:
    case EVENT_SettingChanged:
        return false;
    default:
        return true;
    }
}

/* The earlier of two instants, of which 0 is never. */
static int64_t earlier(int64_t a_us, int64_t b_us)
{
    if (!a_us || !b_us)
        return a_us + b_us;
    return a_us < b_us ? a_us : b_us;
}

int64_t campaign_ends_at_us(const struct campaign_created *definition)
{
    return earlier(definition->ends_at_us, definition->coupon_expires_at_us);
}

/* 0: none is to come. */
static int64_t next_tranche_us(const struct campaign *campaign)
{
    const struct release_list *plan = &campaign->definition.release_plan;
    bool planned = !campaign->plan_halted && campaign->plan_done < (int64_t)plan->count;
    return planned ? plan->items[campaign->plan_done].at_us : 0;
}

int64_t campaign_due_at_us(const struct campaign *campaign)
{
    if (campaign_over(campaign, 0))
        return 0;
    return earlier(next_tranche_us(campaign), campaign_ends_at_us(&campaign->definition));
}

int64_t campaign_next_change_us(const struct campaign *campaign, int64_t now_us)
{
    const struct campaign at = campaign_at(campaign, now_us); /* a tranche that is due is not the next one */
    const int64_t instants[] = {campaign->definition.starts_at_us, next_tranche_us(&at),
                                campaign_ends_at_us(&campaign->definition),
                                campaign->definition.reopens_at_us};
    int64_t next_us = 0;
    if (campaign_over(campaign, now_us))
        return 0;
    for (size_t i = 0; i < COUNT_OF(instants); i++)
        if (instants[i] > now_us)
            next_us = earlier(next_us, instants[i]);
    return next_us;
}

enum campaign_phase campaign_phase(const struct campaign *campaign, int64_t now_us)
{
    int64_t ends_at_us = campaign_ends_at_us(&campaign->definition);
    if (campaign->state == CAMPAIGN_DELETED)
        return PHASE_DELETED;
    if (campaign->state == CAMPAIGN_CLOSED)
        return PHASE_CLOSED;
    if (campaign->state == CAMPAIGN_ENDED || (ends_at_us && now_us >= ends_at_us))
        return PHASE_ENDED;
    if (campaign->state == CAMPAIGN_PAUSED)
        return PHASE_PAUSED;
    if (now_us && now_us < campaign->definition.starts_at_us)
        return PHASE_SCHEDULED;
    bool lately = now_us && now_us < campaign->definition.reopens_at_us;
    return lately || campaign->issued >= campaign->definition.quantity ? PHASE_SOLD_OUT : PHASE_ACTIVE;
}

struct campaign campaign_at(const struct campaign *campaign, int64_t now_us)
{
    struct campaign at = *campaign;
    const struct release_list *plan = &campaign->definition.release_plan;
    if (now_us == 0 || campaign->plan_halted || campaign_over(campaign, now_us))
        return at;
    while (at.plan_done < (int64_t)plan->count && plan->items[at.plan_done].at_us <= now_us)
        at.released += plan->items[at.plan_done++].quantity;
    return at;
}

const struct problem *campaign_issue_refusal(const struct campaign *campaign, int64_t held, int64_t now_us)
{
    enum campaign_phase phase = campaign_phase(campaign, now_us);
    switch (phase) {
    case PHASE_SCHEDULED:
        return &problem_not_started;
    case PHASE_PAUSED:
        return &problem_paused;
    case PHASE_ENDED:
    case PHASE_CLOSED:
    case PHASE_DELETED:
        return &problem_ended;
    case PHASE_ACTIVE:
    case PHASE_SOLD_OUT:
        break;
    }
    if (held >= campaign->definition.per_user_limit) /* I2 */
        return &problem_already_issued;
    bool none_left = phase == PHASE_SOLD_OUT || campaign->issued >= campaign->released;
    return none_left ? &problem_sold_out : NULL; /* I1 */
}

const char *campaign_status(const struct campaign *campaign, int64_t now_us)
{
    static const char *const names[] = {
        [PHASE_SCHEDULED] = "scheduled", [PHASE_ACTIVE] = "active", [PHASE_SOLD_OUT] = "sold_out",
        [PHASE_PAUSED] = "paused",       [PHASE_ENDED] = "ended",   [PHASE_CLOSED] = "closed",
        [PHASE_DELETED] = "deleted",
    };
    return names[campaign_phase(campaign, now_us)];
}

int64_t campaign_coupon_expiry_us(const struct campaign_created *definition, int64_t issued_at_us)
{
    const int64_t days = definition->coupon_valid_days;
    if (definition->coupon_expires_at_us || days == 0)
        return definition->coupon_expires_at_us;
    if (definition->utc_offset_code == 0)
        return issued_at_us + days * US_PER_DAY;
    int64_t offset_us = (definition->utc_offset_code - UTC_OFFSET_CODE_ZERO) * 60 * US_PER_S;
    int64_t local_day = (issued_at_us + offset_us) / US_PER_DAY; /* after 1970 in every zone that matters */
    return (local_day + days + 1) * US_PER_DAY - offset_us;
}

static bool two_digits(const char *at, int64_t most, int64_t *ret)
{
    if (at[0] < '0' || at[0] > '9' || at[1] < '0' || at[1] > '9')
        return false;
    *ret = 10 * (at[0] - '0') + (at[1] - '0');
    return *ret <= most;
}

bool utc_offset_parse(struct span text, int64_t *ret_code)
{
    int64_t h, m;
    if (text.len != 6 || (text.ptr[0] != '+' && text.ptr[0] != '-') || text.ptr[3] != ':' ||
        !two_digits(text.ptr + 1, UTC_OFFSET_MAX_MIN / 60, &h) || !two_digits(text.ptr + 4, 59, &m) ||
        60 * h + m > UTC_OFFSET_MAX_MIN)
        return false;
    *ret_code = UTC_OFFSET_CODE_ZERO + (text.ptr[0] == '-' ? -1 : 1) * (60 * h + m);
    return true;
}

void utc_offset_write(int64_t code, char ret[static 7])
{
    int64_t minutes = code - UTC_OFFSET_CODE_ZERO;
    CHECK(minutes >= -UTC_OFFSET_MAX_MIN && minutes <= UTC_OFFSET_MAX_MIN);
    int distance = (int)(minutes < 0 ? -minutes : minutes);
    snprintf(ret, 7, "%c%02d:%02d", minutes < 0 ? '-' : '+', distance / 60 % 100, distance % 60);
}

bool campaign_has_tag(const struct campaign *campaign, struct span tag)
{
    for (size_t i = 0; i < campaign->definition.tags.count; i++)
        if (span_equal(campaign->definition.tags.items[i], tag))
            return true;
    return false;
}

static void write_discount(struct buf *out, const struct campaign_created *is)
{
    json_open(out, "discount", '{');
    if (is->discount_type == 0) {
        json_put_string(out, "type", SPAN("percent"));
        json_put_hundredths(out, "percent", 100 * is->discount_value + is->discount_hundredths);
        if (is->discount_max)
            json_put_int(out, "max_amount", is->discount_max);
    } else {
        json_put_string(out, "type", SPAN("fixed"));
        json_put_int(out, "amount", is->discount_value);
    }
    json_close(out, '}');
}

static void write_utc_offset(struct buf *out, const struct campaign_created *is)
{
    char text[7];
    utc_offset_write(is->utc_offset_code, text);
    json_put_string(out, "utc_offset", span_of(text));
}

static void write_lists(struct buf *out, const struct campaign_created *is)
{
    json_open(out, "tags", '[');
    for (size_t i = 0; i < is->tags.count; i++)
        json_put_string(out, NULL, is->tags.items[i]);
    json_close(out, ']');
    json_open(out, "release_plan", '[');
    for (size_t i = 0; i < is->release_plan.count; i++) {
        json_open(out, NULL, '{');
        json_put_time(out, "at", is->release_plan.items[i].at_us);
        json_put_int(out, "quantity", is->release_plan.items[i].quantity);
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void write_definition(struct buf *out, const struct campaign_created *is)
{
    json_put_string(out, "name", is->name);
    write_discount(out, is);
    json_put_string(out, "currency", is->currency);
    json_put_int(out, "min_order_amount", is->min_order_amount);
    json_put_int(out, "quantity", is->quantity);
    json_put_int(out, "per_user_limit", is->per_user_limit);
    json_put_time(out, "starts_at", is->starts_at_us);
    json_put_time(out, "ends_at", is->ends_at_us);
    if (is->coupon_valid_days)
        json_put_int(out, "coupon_valid_days", is->coupon_valid_days);
    if (is->coupon_expires_at_us)
        json_put_time(out, "coupon_expires_at", is->coupon_expires_at_us);
    if (is->utc_offset_code)
        write_utc_offset(out, is);
    if (is->code_prefix.len)
        json_put_string(out, "code_prefix", is->code_prefix);
    write_lists(out, is);
}

/* Only of the state that the status is the word for: a paused campaign whose end has come has ended. */
static void write_change(struct buf *out, const struct campaign *campaign, int64_t now_us)
{
    enum campaign_phase phase = campaign_phase(campaign, now_us);
    const struct status_change *change = &campaign->change;
    if (change->at_us == 0 || (phase != PHASE_PAUSED && phase != PHASE_CLOSED && phase != PHASE_DELETED))
        return;
    json_put_time(out, "status_since", change->at_us);
    json_put_string(out, "status_by", change->by);
    if (change->reason.len)
        json_put_string(out, "status_reason", change->reason);
}

void campaign_write_json(struct buf *out, const char *key, const struct campaign *is, int64_t now_us)
{
    const struct campaign now = campaign_at(is, now_us), *campaign = &now;
    json_open(out, key, '{');
    json_put_string(out, "id", campaign->id);
    json_put_string(out, "status", span_of(campaign_status(campaign, now_us)));
    json_put_int(out, "issued", campaign->issued);
    json_put_int(out, "remaining", campaign->released - campaign->issued);
    json_put_int(out, "released", campaign->released);
    json_put_int(out, "reserved", campaign->reserved);
    json_put_int(out, "redeemed", campaign->redeemed);
    write_change(out, campaign, now_us);
    write_definition(out, &campaign->definition);
    if (now_us && now_us < campaign->definition.reopens_at_us)
        json_put_time(out, "reopens_at", campaign->definition.reopens_at_us);
    if (campaign->definition.release_plan.count) {
        json_put_int(out, "plan_done", campaign->plan_done);
        json_put_bool(out, "plan_halted", campaign->plan_halted);
    }
    json_put_time(out, "created_at", campaign->created_at_us);
    json_open(out, "position", '{');
    json_put_int(out, "slice", slice_of(campaign->id));
    json_put_int(out, "position", campaign->position);
    json_close(out, '}');
    json_close(out, '}');
}
