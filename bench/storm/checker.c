/* SPDX-License-Identifier: Apache-2.0 */
/* The checker's life, its verdict, and who holds the coupons. */
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

/* --- Coupons --- */

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

void checker_coupon(struct checker *checker, const struct event *event)
{
    CHECK(event->type == EVENT_CouponIssued && span_equal(event->campaign_id, checker->campaign.id));
    const struct coupon_row *row = add_row(checker, event);
    bool asked = row->user < checker->campaign.users;
    checker_expect(checker, RULE_ASKED, asked, "sequence %" PRId64 " belongs to somebody who never asked",
                   row->sequence);
    if (asked)
        checker->users[row->user].held++;
}
