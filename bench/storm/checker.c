/* SPDX-License-Identifier: Apache-2.0 */
/* The checker's life, its verdict, and the rules about the log alone. */
#include "bench/storm/checker.h"

#include <inttypes.h>
#include <stdarg.h>

#include "bench/storm/checker_state.h"
#include "common/base/mem.h"

enum { COUPONS_FIRST = 1024 };

const struct rule_description *rule_describe(enum rule rule)
{
    static const struct rule_description table[] = {
#define RULE_ROW(name, invariant, holds, counted) {invariant, holds, counted},
        CHECKER_RULES(RULE_ROW)
#undef RULE_ROW
    };
    CHECK(rule < RULE_COUNT_OF);
    return &table[rule];
}

/* --- Life --- */

struct checker *checker_create(const struct checked_campaign *campaign)
{
    struct checker *checker = mem_zalloc(sizeof *checker);
    checker->campaign = *campaign;
    checker->slice = slice_of(campaign->id);
    checker->open = true;
    checker->users = mem_alloc(campaign->users * sizeof *checker->users);
    for (uint32_t i = 0; i < campaign->users; i++)
        checker->users[i] = (struct user_row){.coupon = NOBODY, .key = NOBODY, .first_sent_us = NEVER_US};
    checker->keys = mem_alloc(campaign->keys * sizeof *checker->keys);
    for (uint32_t i = 0; i < campaign->keys; i++)
        checker->keys[i] = (struct key_row){
            .first_sent_us = NEVER_US, .issued_us = NEVER_US, .issued_by = NOBODY, .coupon = NOBODY};
    return checker;
}

void checker_destroy(struct checker *checker)
{
    if (!checker)
        return;
    mem_free(checker->coupons);
    mem_free(checker->users);
    mem_free(checker->keys);
    mem_free(checker);
}

const struct verdict *checker_verdict(const struct checker *checker)
{
    return &checker->verdict;
}

int64_t checker_issued(const struct checker *checker)
{
    return (int64_t)checker->coupons_count;
}

int64_t checker_last_position(const struct checker *checker)
{
    return checker->last_position;
}

uint32_t checker_holder(const struct checker *checker, int64_t index)
{
    CHECK(index >= 0 && index < checker_issued(checker));
    return checker->coupons[index].user;
}

bool checker_expect(struct checker *checker, enum rule rule, bool holds, const char *format, ...)
{
    struct verdict *verdict = &checker->verdict;
    verdict->checked[rule]++;
    if (holds)
        return true;
    verdict->violated[rule]++;
    if (verdict->violations < VIOLATIONS_KEPT) {
        struct violation *violation = &verdict->first[verdict->violations];
        va_list args;
        va_start(args, format);
        violation->rule = rule;
        vsnprintf(violation->text, sizeof violation->text, format, args);
        va_end(args);
    }
    verdict->violations++;
    return false;
}

/* --- Batches: positions, times, chain --- */

void checker_log_begin(struct checker *checker, int64_t position, const uint8_t chain[32])
{
    checker->position = position;
    memcpy(checker->chain_before, chain, 32);
}

void checker_batch_begin(struct checker *checker, const struct checked_batch *batch)
{
    CHECK(!checker->batch_open);
    checker->batch = *batch;
    checker->batch_open = true;
    checker_expect(checker, RULE_GAPLESS, batch->first == checker->position + 1,
                   "a batch begins at position %" PRId64 ", after %" PRId64, batch->first, checker->position);
    checker->position = batch->first - 1;
    checker_expect(checker, RULE_CLOCK, batch->recorded_at_us >= checker->recorded_at_us,
                   "the batch at position %" PRId64 " is recorded before what came before it", batch->first);
    log_chain_begin(&checker->chain, checker->chain_before);
}

static void check_place(struct checker *checker, const struct event *event)
{
    checker_expect(checker, RULE_GAPLESS,
                   event->position == checker->position + 1 && event->slice == checker->slice,
                   "position %" PRId64 " of slice %d follows %" PRId64, event->position, event->slice,
                   checker->position);
    checker->position = event->position;
    checker_expect(checker, RULE_CLOCK, event->recorded_at_us >= checker->recorded_at_us,
                   "position %" PRId64 " is recorded %" PRId64 " us before the one before it",
                   event->position, checker->recorded_at_us - event->recorded_at_us);
    checker->recorded_at_us = event->recorded_at_us;
}

void checker_batch_end(struct checker *checker)
{
    uint8_t chain[32];
    CHECK(checker->batch_open);
    checker->batch_open = false;
    checker_expect(checker, RULE_GAPLESS, checker->position == checker->batch.last,
                   "the batch of positions %" PRId64 " to %" PRId64 " ends at %" PRId64, checker->batch.first,
                   checker->batch.last, checker->position);
    checker->position = checker->batch.last;
    log_chain_end(&checker->chain, chain);
    checker_expect(checker, RULE_CHAIN, memcmp(chain, checker->batch.chain, 32) == 0,
                   "the events of positions %" PRId64 " to %" PRId64 " do not make the batch's hash",
                   checker->batch.first, checker->batch.last);
    memcpy(checker->chain_before, checker->batch.chain, 32); /* one altered batch is one violation */
}

/* --- The campaign's events --- */

static void created(struct checker *checker, const struct event *event)
{
    const struct checked_campaign *asked = &checker->campaign;
    const struct campaign_created *is = &event->campaign_created;
    checker_expect(checker, RULE_CREATED,
                   event->position == asked->created_at && is->quantity == asked->quantity &&
                       is->released == asked->released && is->per_user_limit == asked->per_user_limit,
                   "CampaignCreated at position %" PRId64 " is not the one that was answered",
                   event->position);
    checker->created = true;
    checker->quantity = is->quantity;
    checker->released = is->released;
}

static void check_stock(struct checker *checker, const struct event *event)
{
    checker_expect(checker, RULE_STOCK,
                   checker->released <= checker->quantity && checker_issued(checker) <= checker->released,
                   "at position %" PRId64 ": %" PRId64 " issued, %" PRId64 " released of %" PRId64,
                   event->position, checker_issued(checker), checker->released, checker->quantity);
}

static void check_holder(struct checker *checker, const struct event *event, const struct coupon_row *row)
{
    bool asked = row->user < checker->campaign.users;
    if (!checker_expect(checker, RULE_ASKED, asked,
                        "sequence %" PRId64 " belongs to somebody who never asked", row->sequence))
        return;
    struct user_row *user = &checker->users[row->user];
    user->held++;
    user->coupon = (uint32_t)checker->coupons_count - 1;
    checker_expect(checker, RULE_LIMIT,
                   user->held <= checker->campaign.per_user_limit && event->coupon_issued.nth == user->held,
                   "user %" PRIu32 " gets sequence %" PRId64 " as coupon %" PRId64 " (counted as %" PRId64
                   ")",
                   row->user, row->sequence, user->held, event->coupon_issued.nth);
}

static struct coupon_row *add_row(struct checker *checker, const struct event *event)
{
    if (checker->coupons_count == checker->coupons_capacity) {
        size_t capacity = checker->coupons_capacity ? 2 * checker->coupons_capacity : COUPONS_FIRST;
        checker->coupons = mem_realloc(checker->coupons, capacity * sizeof *checker->coupons);
        checker->coupons_capacity = capacity;
    }
    struct coupon_row *row = &checker->coupons[checker->coupons_count++];
    *row = (struct coupon_row){.position = event->position,
                               .sequence = event->coupon_issued.sequence,
                               .recorded_at_us = event->recorded_at_us,
                               .user = NOBODY,
                               .key = NOBODY,
                               .first_sent_us = NEVER_US,
                               .answered_us = NEVER_US};
    if (!user_name_parse(checker->campaign.names, event->user_id, &row->user))
        row->user = NOBODY;
    return row;
}

static void issued(struct checker *checker, const struct event *event)
{
    int64_t before = checker->coupons_count ? checker->coupons[checker->coupons_count - 1].sequence : 0;
    const struct coupon_row *row = add_row(checker, event);
    checker_expect(checker, RULE_SEQUENCE, row->sequence == before + 1,
                   "position %" PRId64 " has sequence %" PRId64 " after %" PRId64, row->position,
                   row->sequence, before);
    checker_expect(checker, RULE_OPEN, checker->open,
                   "sequence %" PRId64 " was issued while closed or paused", row->sequence);
    check_holder(checker, event, row);
}

static void apply(struct checker *checker, const struct event *event)
{
    if (event->type != EVENT_CampaignCreated && !checker->created)
        checker_expect(checker, RULE_CREATED, false,
                       "position %" PRId64 " comes before the campaign's creation", event->position);
    switch (event->type) {
    case EVENT_CampaignCreated:
        created(checker, event);
        break;
    case EVENT_CouponIssued:
        issued(checker, event);
        break;
    case EVENT_StockReleased:
        checker->released += event->stock_released.quantity;
        checker->stock_moved = true;
        break;
    case EVENT_CampaignResumed:
        checker->open = checker->stock_moved = true;
        break;
    case EVENT_CampaignPaused:
    case EVENT_CampaignClosed:
        checker->open = false;
        checker->stock_moved = true;
        break;
    default: /* says nothing about stock */
        break;
    }
    check_stock(checker, event);
    checker->last_position = event->position;
}

void checker_event(struct checker *checker, const struct event *event)
{
    CHECK(checker->batch_open);
    check_place(checker, event);
    if (event->data.len > 0 && event->position > 0) /* else it is left out, and the hash does not fit */
        log_chain_add(&checker->chain, event);
    if (span_equal(event->campaign_id, checker->campaign.id))
        apply(checker, event);
}

void checker_log_end(struct checker *checker)
{
    const struct checked_campaign *asked = &checker->campaign;
    if (!checker->created)
        checker_expect(checker, RULE_CREATED, false, "the campaign is not in the log");
    if (asked->demand < 0)
        return;
    int64_t expected = asked->demand < checker->released ? asked->demand : checker->released;
    checker_expect(checker, RULE_COUNT, checker_issued(checker) == expected,
                   "%" PRId64 " coupons are issued, not %" PRId64, checker_issued(checker), expected);
}
