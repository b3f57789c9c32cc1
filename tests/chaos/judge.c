/* SPDX-License-Identifier: Apache-2.0 */
/* The judge's frame: verdicts, names, windows, and the order of things. */
#include "tests/chaos/judge.h"

#include <stdarg.h>

#include "common/base/mem.h"
#include "tests/chaos/judge_state.h"

static const struct judge_rule_text rule_texts[] = {
#define RULE_ROW(name, invariant, holds, counted) [JUDGE_##name] = {invariant, holds, counted},
    JUDGE_RULES(RULE_ROW)
#undef RULE_ROW
};

const struct judge_rule_text *judge_rule_text(enum judge_rule rule)
{
    return &rule_texts[rule];
}

bool judge_expect(struct judge *judge, enum judge_rule rule, bool holds, const char *format, ...)
{
    struct judgement *verdict = judge->verdict;
    verdict->checked[rule]++;
    if (holds)
        return true;
    verdict->violated[rule]++;
    if (verdict->violations < JUDGE_KEPT) {
        va_list args;
        va_start(args, format);
        verdict->first[verdict->violations].rule = rule;
        vsnprintf(verdict->first[verdict->violations].text, JUDGE_TEXT_MAX, format, args);
        va_end(args);
    }
    verdict->violations++;
    return false;
}

const char *judge_name(const struct judge *judge, uint32_t index)
{
    static char texts[4][96];
    static unsigned next;
    const struct operation *op = &judge->in.history->ops[index];
    char *text = texts[next++ % COUNT_OF(texts)];
    if (op_kind_has_coupon(op->kind))
        snprintf(text, sizeof texts[0], "client %u operation %u (%s c%d-%lld)", op->client, op->number,
                 op_kind_name(op->kind), op->coupon.slice, (long long)op->coupon.position);
    else
        snprintf(text, sizeof texts[0], "client %u operation %u (%s, campaign %u)", op->client, op->number,
                 op_kind_name(op->kind), op->campaign);
    return text;
}

void *judge_grow(void *list, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return list;
    *capacity = *capacity ? 2 * *capacity : 8;
    return mem_realloc(list, *capacity * size);
}

struct model_coupon *judge_coupon(const struct judge *judge, struct position at)
{
    size_t low = 0, high = judge->coupons_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct model_coupon *coupon = &judge->coupons[middle];
        if (coupon->at.slice == at.slice && coupon->at.position == at.position)
            return coupon;
        if (coupon->at.slice < at.slice ||
            (coupon->at.slice == at.slice && coupon->at.position < at.position))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct campaign_moment *campaign_moment_at(const struct model_campaign *campaign, int64_t position)
{
    size_t low = 0, high = campaign->moments_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (campaign->moments[middle].position <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &campaign->moments[low - 1] : NULL;
}

uint32_t judge_attempt(const struct judge *judge, uint32_t op, uint32_t number)
{
    size_t from = judge->attempts_from[op], until = judge->attempts_from[op + 1];
    return number < until - from ? judge->attempts[from + number] : UINT32_MAX;
}

/* --- Windows --- */

static int by_time(const void *a, const void *b)
{
    int64_t left = ((const struct mark *)a)->at_us, right = ((const struct mark *)b)->at_us;
    return (left > right) - (left < right);
}

static void add_mark(struct marks *marks, int64_t at_us, int64_t position)
{
    marks->list[marks->count++] = (struct mark){at_us, position};
}

static void sort_marks(struct marks *marks, bool highest_so_far)
{
    if (marks->count == 0)
        return;
    qsort(marks->list, marks->count, sizeof *marks->list, by_time);
    for (size_t i = 1; i < marks->count && highest_so_far; i++)
        if (marks->list[i - 1].position > marks->list[i].position)
            marks->list[i].position = marks->list[i - 1].position;
    for (size_t i = marks->count - 1; i-- > 0 && !highest_so_far;)
        if (marks->list[i + 1].position < marks->list[i].position)
            marks->list[i].position = marks->list[i + 1].position;
}

/* The marks of a slice are as many as attempts at most; half a gigabyte would be 30 million of them. */
void judge_marks(struct judge *judge)
{
    const struct history *history = judge->in.history;
    size_t answered[SLICE_COUNT] = {0}, asked[SLICE_COUNT] = {0};
    for (size_t i = 0; i < history->attempts_count; i++) {
        answered[history->attempts[i].token.slice] += history->attempts[i].token.position > 0;
        asked[judge->effects[i].first.slice] += judge->effects[i].first.position > 0;
    }
    for (size_t slice = 0; slice < SLICE_COUNT; slice++) {
        judge->answered[slice].list = mem_alloc((answered[slice] + 1) * sizeof(struct mark));
        judge->asked[slice].list = mem_alloc((asked[slice] + 1) * sizeof(struct mark));
    }
    for (size_t i = 0; i < history->attempts_count; i++) {
        const struct attempt *attempt = &history->attempts[i];
        const struct effect *effect = &judge->effects[i];
        if (attempt->token.position)
            add_mark(&judge->answered[attempt->token.slice], attempt->done_us, attempt->token.position);
        if (effect->first.position)
            add_mark(&judge->asked[effect->first.slice], attempt->sent_us, effect->first.position);
    }
    for (size_t slice = 0; slice < SLICE_COUNT; slice++) {
        sort_marks(&judge->answered[slice], true);
        sort_marks(&judge->asked[slice], false);
    }
}

/* How many marks lie before an instant, or at it where `inclusive`. */
static size_t marks_until(const struct marks *marks, int64_t at_us, bool inclusive)
{
    size_t low = 0, high = marks->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int64_t mark_us = marks->list[middle].at_us;
        if (mark_us < at_us || (inclusive && mark_us == at_us))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct window judge_window_between(const struct judge *judge, int16_t slice, int64_t from_us,
                                   int64_t until_us)
{
    const struct marks *answered = &judge->answered[slice], *asked = &judge->asked[slice];
    size_t before = marks_until(answered, from_us, false);
    size_t after = marks_until(asked, until_us, true);
    return (struct window){
        .low = before ? answered->list[before - 1].position : 0,
        .high = after < asked->count ? asked->list[after].position - 1 : judge->in.log->slices[slice].head,
    };
}

struct window judge_window(const struct judge *judge, const struct attempt *attempt, int16_t slice)
{
    return judge_window_between(judge, slice, attempt->sent_us, attempt->done_us);
}

static void judge_order(struct judge *judge)
{
    const struct history *history = judge->in.history;
    for (size_t i = 0; i < history->attempts_count; i++) {
        const struct attempt *attempt = &history->attempts[i];
        struct position first = judge->effects[i].first;
        if (first.position == 0)
            continue;
        struct window window = judge_window(judge, attempt, first.slice);
        judge_expect(judge, JUDGE_ORDER, first.position > window.low,
                     "%s is at %lld of slice %d, but %lld had been answered before it was asked",
                     judge_name(judge, attempt->op), (long long)first.position, first.slice,
                     (long long)window.low);
    }
}

/* --- Issuers --- */

bool judge_suspended(const struct judge *judge, enum issuer issuer, int64_t from_us, int64_t until_us,
                     bool always)
{
    const struct model_issuer *model = &judge->issuers[issuer];
    bool before = false, ever = false, never = false;
    for (size_t i = 0; i < model->moments_count && model->moments[i].recorded_us <= until_us; i++) {
        bool suspended = model->moments[i].suspended;
        if (model->moments[i].recorded_us <= from_us) {
            before = suspended;
            continue;
        }
        ever |= suspended;
        never |= !suspended;
    }
    return always ? before && !never : before || ever;
}

static int by_instant(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* Who is suspended is in slice 0, so only what is in one store with it says that a service could hear. */
static bool elsewhere(const struct judge *judge, size_t slice)
{
    return judge->in.elsewhere_from && slice >= judge->in.elsewhere_from;
}

static void list_commits(struct judge *judge)
{
    const struct image_slice *slices = judge->in.log->slices;
    size_t count = 0;
    for (size_t slice = 0; slice < SLICE_COUNT; slice++)
        count += slices[slice].events_count;
    judge->commits_us = mem_alloc((count + 1) * sizeof *judge->commits_us);
    for (size_t slice = 0; slice < SLICE_COUNT && !elsewhere(judge, slice); slice++)
        for (size_t i = 0; i < slices[slice].events_count; i++)
            judge->commits_us[judge->commits_count++] = slices[slice].events[i].recorded_at_us;
    qsort(judge->commits_us, judge->commits_count, sizeof *judge->commits_us, by_instant);
}

int64_t judge_last_commit_us(const struct judge *judge, int64_t before_us)
{
    size_t low = 0, high = judge->commits_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (judge->commits_us[middle] < before_us)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? judge->commits_us[low - 1] : 0;
}

/* A service looks a few times a second whether a key is suspended; the design gives it one second, and this
 * machine is busy. One that took longer for its answer had been stopped, and knew no better.
 * In another store than slice 0's writing goes on while that is away: by what was last heard of it, which is
 * late where it is slow. */
static void judge_issuers(struct judge *judge)
{
    enum { WITHIN_US = 1000000, SLACK_US = 500000, STOPPED_US = 1000000, SLOW_US = 6000000 };
    const struct history *history = judge->in.history;
    for (size_t i = 0; i < history->attempts_count; i++) {
        const struct attempt *attempt = &history->attempts[i];
        enum issuer issuer = op_issuer(&history->ops[attempt->op]);
        struct position first = judge->effects[i].first;
        bool stopped = attempt->done_us - attempt->sent_us > STOPPED_US;
        if (first.position == 0 || issuer == ISSUER_NONE || stopped)
            continue;
        const struct event *event = &judge->in.log->slices[first.slice].events[first.position - 1];
        int64_t from_us = attempt->sent_us + judge->in.wall_offset_us - WITHIN_US - SLACK_US;
        if (elsewhere(judge, (size_t)first.slice))
            from_us = judge_last_commit_us(judge, from_us) - SLOW_US;
        judge_expect(judge, JUDGE_SUSPENDED,
                     !judge_suspended(judge, issuer, from_us, event->recorded_at_us, true),
                     "attempt %u of %s (service %u) took effect while its key was suspended", attempt->number,
                     judge_name(judge, attempt->op), attempt->service);
    }
}

/* --- Rows --- */

static bool campaign_row_right(const struct image_campaign *row, const struct campaign_moment *is)
{
    return row->released == is->released && row->issued == is->issued && row->redeemed == is->redeemed &&
           row->reserved == is->reserved && row->status == (int64_t)is->state &&
           row->plan_done == is->plan_done && row->position == is->position && row->plan_halted == is->halted;
}

static void judge_campaign_row(struct judge *judge, const struct image_campaign *row)
{
    uint32_t number;
    const struct model_campaign *model = NULL;
    if (campaign_name_parse(row->id, &number) && number < judge->campaigns_count)
        model = &judge->campaigns[number];
    bool known = model && model->moments_count;
    bool right = known && campaign_row_right(row, &model->moments[model->moments_count - 1]);
    judge_expect(judge, JUDGE_COUNTERS, right, "the row of %.*s does not say what its events say",
                 SPAN_ARG(row->id));
}

static void judge_coupon_row(struct judge *judge, const struct image_coupon *row)
{
    const struct model_coupon *coupon = judge_coupon(judge, row->at);
    const struct coupon_moment *is = coupon ? &coupon->moments[coupon->moments_count - 1] : NULL;
    uint32_t order = 0;
    bool has_order = is && (is->state == MODEL_RESERVED || is->state == MODEL_REDEEMED);
    bool right = is && coupon->moments_count > 1 && row->state == (int64_t)is->state &&
                 row->last == is->position && row->order_amount == is->amount &&
                 row->discount_amount == is->discount && row->reserved_until_us == is->until_us &&
                 (row->order_id.ptr != NULL) == has_order;
    if (right && has_order)
        right = order_name_parse(row->order_id, &order) && order == is->order;
    judge_expect(judge, JUDGE_COUNTERS, right, "the row of coupon c%d-%lld does not say what its events say",
                 row->at.slice, (long long)row->at.position);
}

void judge_rows(struct judge *judge)
{
    const struct log_image *log = judge->in.log;
    size_t campaigns = 0, coupons = 0;
    for (size_t i = 0; i < log->campaigns_count; i++)
        judge_campaign_row(judge, &log->campaigns[i]);
    for (size_t i = 0; i < log->coupons_count; i++)
        judge_coupon_row(judge, &log->coupons[i]);
    for (uint32_t i = 0; i < judge->campaigns_count; i++)
        campaigns += judge->campaigns[i].moments_count > 0;
    for (size_t i = 0; i < judge->coupons_count; i++)
        coupons += judge->coupons[i].moments_count > 1;
    judge_expect(judge, JUDGE_COUNTERS, campaigns == log->campaigns_count,
                 "%zu campaigns in the log, %zu rows", campaigns, log->campaigns_count);
    judge_expect(judge, JUDGE_COUNTERS, coupons == log->coupons_count,
                 "%zu coupons in the log have a history, %zu rows", coupons, log->coupons_count);
}

/* --- Life --- */

static void sort_attempts(struct judge *judge)
{
    const struct history *history = judge->in.history;
    judge->attempts_from = mem_zalloc((history->ops_count + 2) * sizeof *judge->attempts_from);
    judge->attempts = mem_zalloc((history->attempts_count + 1) * sizeof *judge->attempts);
    judge->effects = mem_zalloc((history->attempts_count + 1) * sizeof *judge->effects);
    for (size_t i = 0; i < history->attempts_count; i++)
        judge->attempts_from[history->attempts[i].op + 1]++;
    for (size_t i = 0; i < history->ops_count; i++)
        judge->attempts_from[i + 1] += judge->attempts_from[i];
    for (size_t i = 0; i < history->attempts_count; i++) {
        const struct attempt *attempt = &history->attempts[i];
        judge->attempts[judge->attempts_from[attempt->op] + attempt->number] = (uint32_t)i;
    }
}

static void count_campaigns(struct judge *judge)
{
    uint32_t number;
    for (size_t slice = 0; slice < SLICE_COUNT; slice++)
        for (size_t i = 0; i < judge->in.log->slices[slice].events_count; i++)
            if (campaign_name_parse(judge->in.log->slices[slice].events[i].campaign_id, &number) &&
                number >= judge->campaigns_count)
                judge->campaigns_count = number + 1;
    judge->campaigns = mem_zalloc((judge->campaigns_count + (size_t)1) * sizeof *judge->campaigns);
}

static void judge_deinit(struct judge *judge)
{
    for (uint32_t i = 0; i < judge->campaigns_count; i++) {
        mem_free(judge->campaigns[i].moments);
        mem_free(judge->campaigns[i].coupons);
    }
    for (size_t i = 0; i < judge->coupons_count; i++)
        mem_free(judge->coupons[i].moments);
    for (size_t i = 0; i < CHAOS_USERS; i++)
        mem_free(judge->held[i].coupons);
    for (size_t i = 0; i < ISSUER_COUNT; i++)
        mem_free(judge->issuers[i].moments);
    for (size_t slice = 0; slice < SLICE_COUNT; slice++) {
        mem_free(judge->answered[slice].list);
        mem_free(judge->asked[slice].list);
    }
    mem_free(judge->campaigns);
    mem_free(judge->commits_us);
    mem_free(judge->coupons);
    mem_free(judge->attempts_from);
    mem_free(judge->attempts);
    mem_free(judge->effects);
}

void judge(const struct judge_input *input, struct judgement *ret)
{
    struct judge judge = {.in = *input, .verdict = ret};
    *ret = (struct judgement){0};
    sort_attempts(&judge);
    count_campaigns(&judge);
    list_commits(&judge);
    judge_log(&judge);
    judge_marks(&judge);
    judge_order(&judge);
    judge_issuers(&judge);
    judge_keys(&judge);
    judge_answers(&judge);
    judge_refusals(&judge);
    judge_rows(&judge);
    judge_reads(&judge);
    judge_deinit(&judge);
}
