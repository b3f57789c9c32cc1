/* SPDX-License-Identifier: Apache-2.0 */
/* Folding a slice, by the meaning of each event as events/catalog.h says it. */
#include "verify/facts.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "events/campaign.h"
#include "events/coupon.h"
#include "readmodel/users.h"

enum { USERS_BITS_MAX = 24, COUPONS_PER_USERS = 16 };

void facts_init(struct facts *facts, size_t memory)
{
    *facts = (struct facts){.memory = {.bytes_max = memory}};
    verify_table_init(&facts->campaigns, &facts->memory, sizeof(struct fact_campaign));
    verify_table_init(&facts->marks, &facts->memory, sizeof(struct fact_marks));
    verify_table_init(&facts->chunks, &facts->memory, sizeof(struct fact_chunk));
    verify_table_init(&facts->states, &facts->memory, sizeof(struct fact_state));
    verify_table_init(&facts->holders, &facts->memory, sizeof(struct fact_holders));
}

void facts_deinit(struct facts *facts)
{
    verify_memory_clear(&facts->memory);
    mem_free(facts->users);
    facts->users = NULL;
}

static void begin_pass(struct facts *facts)
{
    mem_free(facts->users);
    facts->users = mem_zalloc(((size_t)1 << facts->users_bits) * sizeof *facts->users);
    facts->position = facts->at_us = facts->coupons = 0;
    memset(facts->counted_at_us, 0, sizeof facts->counted_at_us);
}

/* As many sums for users as there will be buckets, and twice that; bounded as everything is. */
void facts_begin(struct facts *facts, int16_t slice, int64_t head)
{
    size_t bound = facts->memory.bytes_max / 4;
    facts->slice = slice;
    verify_memory_begin(&facts->memory);
    facts->users_bits = 0;
    while (facts->users_bits < USERS_BITS_MAX && COUPONS_PER_USERS << facts->users_bits < head &&
           (sizeof(struct fact_users) << (facts->users_bits + 1)) <= bound)
        facts->users_bits++;
    begin_pass(facts);
}

bool facts_again(struct facts *facts)
{
    if (!verify_memory_again(&facts->memory))
        return false;
    begin_pass(facts);
    return true;
}

static void *remember(struct verify_table *table, struct verify_name name)
{
    return verify_table_follow(table, name, 0); /* facts are compared, nothing is reported as of a position */
}

/* --- names and hashes --- */

static struct verify_name name_of(struct span id)
{
    return verify_name_of(id, (struct span){NULL, 0});
}

/* The number-th thing of a campaign, in the same part as the campaign. */
static struct verify_name name_within(struct verify_name campaign, int64_t number)
{
    struct verify_name numbered = verify_name_of_number(number);
    return (struct verify_name){(campaign.slot * 3 ^ numbered.slot * 5 ^ (uint64_t)number << 8) | 1,
                                campaign.part};
}

/* The campaign of an event, most often that of the event before. */
static struct verify_name campaign_name(struct facts *facts, struct span id)
{
    struct fact_id *last = &facts->last;
    if (last->len != id.len || memcmp(last->text, id.ptr, id.len) != 0) {
        memcpy(last->text, id.ptr, id.len);
        last->len = id.len;
        last->name = name_of(id);
        last->tag = campaign_tag(id);
    }
    return last->name;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
    return hash ^ (hash >> 29);
}

static uint64_t mix_text(uint64_t hash, struct span text)
{
    return mix(hash, text.len ? name_of(text).part : 0);
}

uint64_t fact_issue_hash(const struct fact_issue *issue)
{
    const int64_t numbers[] = {issue->position, issue->sequence, issue->nth, issue->at_us,
                               issue->expires_at_us};
    uint64_t hash = 1;
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        hash = mix(hash, (uint64_t)numbers[i]);
    return mix_text(mix_text(mix_text(hash, issue->user_id), issue->campaign_id), issue->code_prefix);
}

uint64_t fact_state_hash(const struct fact_coupon_state *state)
{
    const int64_t numbers[] = {state->position,         state->state,        state->last,
                               state->changed_at_us,    state->order_amount, state->discount_amount,
                               state->reserved_until_us};
    uint64_t hash = 2;
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        hash = mix(hash, (uint64_t)numbers[i]);
    return mix_text(mix_text(hash, state->note), state->by);
}

uint64_t fact_change_hash(int64_t at_us, struct span by, struct span reason)
{
    return at_us ? mix_text(mix_text(mix(4, (uint64_t)at_us), by), reason) : 0;
}

uint64_t fact_holder_hash(uint64_t before, int64_t position)
{
    return mix(before + 1, (uint64_t)position);
}

uint64_t fact_holding_hash(int64_t position, int64_t at_us, uint64_t tag, uint16_t campaign)
{
    return mix(mix(mix(mix(3, (uint64_t)position), (uint64_t)at_us), tag), campaign);
}

void fact_definition_hash(struct span data, uint8_t ret[FACT_HASH_BYTES])
{
    crypto_hash(NULL, data, ret, FACT_HASH_BYTES);
}

/* --- counts --- */

static void add_mark(struct fact_grains *grains, int64_t grain, int64_t before)
{
    if (grains->count && grains->items[(grains->count - 1) % FACT_MARKS_MAX].grain >= grain)
        return;
    grains->items[grains->count % FACT_MARKS_MAX].grain = grain;
    grains->items[grains->count % FACT_MARKS_MAX].before = before;
    grains->count++;
}

/* The last thing that is done with `campaign`: its record may move. */
static void count(struct facts *facts, struct fact_campaign *campaign, enum counted counted, int64_t by,
                  int64_t at_us)
{
    struct verify_name name = name_within(campaign->name, -1 - (int64_t)counted);
    int64_t before = campaign->counted[counted].count;
    campaign->counted[counted].count += by;
    campaign->counted[counted].changed_at_us = at_us;
    struct fact_marks *marks = remember(&facts->marks, name);
    for (enum window window = 0; marks && window < WINDOW_MARKED; window++)
        add_mark(&marks->windows[window], at_us / (window_grain_s(window) * US_PER_S), before);
}

/* --- coupons --- */

static void note_issue(struct facts *facts, const struct event *event)
{
    const struct coupon_issued *is = &event->coupon_issued;
    struct fact_issue issue = {event->position,       is->sequence,      is->nth,
                               event->recorded_at_us, is->expires_at_us, event->user_id,
                               event->campaign_id,    is->code_prefix};
    uint64_t tag = user_tag(user_hash(event->user_id));
    struct fact_users *users = &facts->users[tag & (((uint64_t)1 << facts->users_bits) - 1)];
    users->sum += fact_holding_hash(event->position, event->recorded_at_us, tag, facts->last.tag);
    users->count++;
    facts->coupons++;
    struct fact_chunk *chunk =
        remember(&facts->chunks, verify_name_of_number(event->position / COUPON_CHUNK));
    if (chunk) {
        chunk->issues += fact_issue_hash(&issue);
        chunk->issued++;
        chunk->issued_at_us = event->recorded_at_us;
    }
    struct fact_holders *holders =
        remember(&facts->holders, name_within(facts->last.name, (is->sequence - 1) / HOLDERS_CHUNK));
    if (holders) {
        holders->hash = fact_holder_hash(holders->hash, event->position);
        holders->count++;
    }
}

/* What the coupon is after one of its events. */
static struct fact_coupon_state state_after(const struct event *event)
{
    struct fact_coupon_state is = {
        .state = COUPON_ISSUED, .last = event->position, .changed_at_us = event->recorded_at_us};
    switch (event->type) {
    case EVENT_CouponReserved:
        is.state = COUPON_RESERVED;
        is.note = event->coupon_reserved.order_id;
        is.order_amount = event->coupon_reserved.order_amount;
        is.discount_amount = event->coupon_reserved.discount_amount;
        is.reserved_until_us = event->coupon_reserved.reserved_until_us;
        break;
    case EVENT_CouponRedeemed:
        is.state = COUPON_REDEEMED;
        is.note = event->coupon_redeemed.order_id;
        is.order_amount = event->coupon_redeemed.order_amount;
        is.discount_amount = event->coupon_redeemed.discount_amount;
        break;
    case EVENT_CouponRevoked:
        is.state = COUPON_REVOKED;
        is.note = event->coupon_revoked.reason;
        is.by = event->coupon_revoked.actor;
        break;
    default: /* released, expired, restored: as issued */
        break;
    }
    return is;
}

static void note_state(struct facts *facts, const struct event *event)
{
    struct position at;
    if (!coupon_id_parse(event->coupon_id, &at))
        return; /* reported as a fault of the log */
    struct fact_coupon_state is = state_after(event);
    is.position = at.position;
    struct verify_name chunk_name = verify_name_of_number(at.position / COUPON_CHUNK);
    struct verify_name name = verify_name_of_number(at.position);
    name.part = chunk_name.part; /* a coupon goes with its chunk */
    struct fact_state *state = remember(&facts->states, name);
    struct fact_chunk *chunk = state ? verify_table_get(&facts->chunks, chunk_name) : NULL;
    if (!chunk)
        return;
    uint64_t hash = fact_state_hash(&is);
    chunk->states += hash - state->hash;
    chunk->changed += state->hash == 0;
    state->hash = hash;
}

/* --- campaigns --- */

static void on_created(struct fact_campaign *campaign, const struct event *event)
{
    campaign->id_len = (uint8_t)event->campaign_id.len;
    memcpy(campaign->id, event->campaign_id.ptr, event->campaign_id.len);
    campaign->created_at_us = event->recorded_at_us;
    campaign->first = event->position;
    campaign->released = event->campaign_created.released;
    campaign->state = CAMPAIGN_ACTIVE;
    fact_definition_hash(event->data, campaign->definition);
}

/* Kept everywhere as CampaignCreated would say it. */
static void on_changed(struct fact_campaign *campaign, const struct event *event)
{
    struct buf definition;
    const struct campaign_created is = campaign_changed_definition(&event->campaign_changed);
    campaign->released += event->campaign_changed.released_more;
    buf_init(&definition, EVENT_DATA_MAX);
    campaign_definition_write(&definition, &is);
    fact_definition_hash(buf_span(&definition), campaign->definition);
    buf_deinit(&definition);
}

static void on_use(struct facts *facts, struct fact_campaign *campaign, const struct event *event)
{
    switch (event->type) {
    case EVENT_CouponReserved:
        campaign->reserved += !event->coupon_reserved.renewed;
        break;
    case EVENT_CouponRedeemed:
        campaign->reserved -= event->coupon_redeemed.was_reserved;
        count(facts, campaign, COUNTED_REDEEMED, 1, event->recorded_at_us);
        break;
    case EVENT_CouponRestored:
        count(facts, campaign, COUNTED_REDEEMED, -1, event->recorded_at_us);
        break;
    case EVENT_CouponRevoked:
        campaign->reserved -= event->coupon_revoked.was_reserved;
        break;
    default: /* a reservation is over */
        campaign->reserved--;
    }
}

static void on_actor(struct fact_campaign *campaign, const struct event *event, struct span by,
                     struct span reason)
{
    campaign->change = fact_change_hash(event->recorded_at_us, by, reason);
}

static void on_campaign(struct facts *facts, struct fact_campaign *campaign, const struct event *event)
{
    campaign->position = event->position;
    switch (event->type) {
    case EVENT_CampaignCreated:
        on_created(campaign, event);
        break;
    case EVENT_StockReleased:
        campaign->released += event->stock_released.quantity;
        if (event->stock_released.plan_step)
            campaign->plan_done = event->stock_released.plan_step;
        break;
    case EVENT_CampaignChanged:
        on_changed(campaign, event);
        break;
    case EVENT_CouponIssued:
        count(facts, campaign, COUNTED_ISSUED, 1, event->recorded_at_us);
        break;
    case EVENT_CampaignPaused:
        campaign->state = CAMPAIGN_PAUSED;
        on_actor(campaign, event, event->campaign_paused.actor, event->campaign_paused.reason);
        break;
    case EVENT_CampaignResumed:
        campaign->state = CAMPAIGN_ACTIVE;
        campaign->change = 0;
        campaign->halted = false;
        break;
    case EVENT_CampaignClosed:
        campaign->state = CAMPAIGN_CLOSED;
        on_actor(campaign, event, event->campaign_closed.actor, event->campaign_closed.reason);
        break;
    case EVENT_CampaignDeleted:
        campaign->state = CAMPAIGN_DELETED;
        break;
    case EVENT_CampaignEnded:
        campaign->state = CAMPAIGN_ENDED;
        campaign->change = 0;
        break;
    case EVENT_ReleasePlanHalted:
        campaign->halted = true;
        break;
    default:
        on_use(facts, campaign, event);
    }
}

void facts_add(struct facts *facts, const struct event *event)
{
    facts->position = event->position;
    facts->at_us = event->recorded_at_us;
    if (!campaign_concerned(event) || event->campaign_id.len == 0 || event->campaign_id.len > CAMPAIGN_ID_MAX)
        return;
    if (event->type == EVENT_CouponIssued)
        facts->counted_at_us[COUNTED_ISSUED] = event->recorded_at_us;
    if (event->type == EVENT_CouponRedeemed || event->type == EVENT_CouponRestored)
        facts->counted_at_us[COUNTED_REDEEMED] = event->recorded_at_us;
    struct fact_campaign *campaign = remember(&facts->campaigns, campaign_name(facts, event->campaign_id));
    if (campaign)
        on_campaign(facts, campaign, event);
    if (event->type == EVENT_CouponIssued)
        note_issue(facts, event);
    else if (coupon_concerned(event))
        note_state(facts, event);
}

/* --- asking --- */

bool facts_have_campaign(const struct facts *facts, struct span id)
{
    return verify_part_has(&facts->memory.part, name_of(id));
}

bool facts_have_number(const struct facts *facts, int64_t number)
{
    return verify_part_has(&facts->memory.part, verify_name_of_number(number));
}

struct fact_campaign *facts_campaign(const struct facts *facts, struct span id)
{
    return verify_table_get(&facts->campaigns, name_of(id));
}

const struct fact_marks *facts_marks(const struct facts *facts, struct span id, enum counted counted)
{
    return verify_table_get(&facts->marks, name_within(name_of(id), -1 - (int64_t)counted));
}

const struct fact_chunk *facts_chunk(const struct facts *facts, int64_t number)
{
    return verify_table_get(&facts->chunks, verify_name_of_number(number));
}

const struct fact_holders *facts_holders(const struct facts *facts, struct span id, int64_t chunk)
{
    return verify_table_get(&facts->holders, name_within(name_of(id), chunk));
}

struct fact_users facts_users(const struct facts *facts, int64_t class, int bits)
{
    struct fact_users all = {0};
    for (int64_t i = class; i < INT64_C(1) << facts->users_bits; i += INT64_C(1) << bits) {
        all.sum += facts->users[i].sum;
        all.count += facts->users[i].count;
    }
    return all;
}
