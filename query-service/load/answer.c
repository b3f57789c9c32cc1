/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: collecting what a reader finds, and pages. */
#include "query-service/load/answer.h"

#include "common/base/clock.h"

void answer_init(struct answer *answer)
{
    *answer = (struct answer){0};
    arena_init(&answer->arena, ANSWER_BYTES_MAX);
}

void answer_deinit(struct answer *answer)
{
    arena_deinit(&answer->arena);
}

void answer_reset(struct answer *answer)
{
    answer_deinit(answer);
    answer_init(answer);
}

void *answer_alloc(struct answer *answer, size_t size)
{
    void *ptr = arena_alloc(&answer->arena, size);
    CHECK(ptr != NULL);
    return ptr;
}

struct span answer_text(struct answer *answer, struct span text)
{
    if (!text.ptr)
        return text;
    char *copy = answer_alloc(answer, text.len);
    memcpy(copy, text.ptr, text.len);
    return (struct span){copy, text.len};
}

/* A longer array with the same entries, where there is no room for one more. The shorter one stays in the
 * arena until the end; few answers are long. */
static void *grow(struct answer *answer, const void *items, size_t size, size_t *capacity)
{
    size_t more = *capacity ? 8 * *capacity : 4;
    if (more > ANSWER_ITEMS_MAX)
        more = ANSWER_ITEMS_MAX;
    CHECK(more > *capacity);
    void *longer = answer_alloc(answer, more * size);
    if (*capacity)
        memcpy(longer, items, *capacity * size);
    *capacity = more;
    return longer;
}

static bool campaign_is_sound(const struct campaign *is)
{
    return is->state >= CAMPAIGN_ACTIVE && is->state <= CAMPAIGN_ENDED && is->redeemed >= 0 &&
           is->reserved >= 0 && is->redeemed + is->reserved <= is->issued && is->issued <= is->released &&
           is->released <= is->definition.quantity && is->first > 0 && is->position >= is->first &&
           is->created_at_us >= 0 && campaign_id_valid(is->id);
}

bool answer_add_campaign(struct answer *answer, const struct campaign *campaign, struct span definition)
{
    if (!definition.ptr || definition.len > EVENT_DATA_MAX || campaign->id.len > CAMPAIGN_ID_MAX)
        return false;
    if (answer->campaigns_count == answer->campaigns_capacity)
        answer->campaigns =
            grow(answer, answer->campaigns, sizeof *answer->campaigns, &answer->campaigns_capacity);
    struct event created = {.type = EVENT_CampaignCreated,
                            .version = event_describe(EVENT_CampaignCreated)->version,
                            .data = answer_text(answer, definition)};
    if (event_decode(&created, &answer->arena) != CODEC_OK)
        return false;
    struct campaign *is = &answer->campaigns[answer->campaigns_count];
    *is = *campaign;
    is->id = answer_text(answer, campaign->id);
    is->definition = created.campaign_created;
    is->change.by = answer_text(answer, campaign->change.by);
    is->change.reason = answer_text(answer, campaign->change.reason);
    if (!campaign_is_sound(is))
        return false;
    answer->campaigns_count++;
    return true;
}

void answer_add_coupon(struct answer *answer, const struct coupon *coupon)
{
    if (answer->coupons_count == answer->coupons_capacity)
        answer->coupons = grow(answer, answer->coupons, sizeof *answer->coupons, &answer->coupons_capacity);
    struct coupon *is = &answer->coupons[answer->coupons_count++];
    *is = *coupon;
    is->campaign_id = answer_text(answer, coupon->campaign_id);
    is->user_id = answer_text(answer, coupon->user_id);
    is->code_prefix = answer_text(answer, coupon->code_prefix);
    is->order_id = answer_text(answer, coupon->order_id);
    is->reason = answer_text(answer, coupon->reason);
    is->actor = answer_text(answer, coupon->actor);
}

/* --- of several shards --- */

static int by_number(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

/* Which of two entries comes first: < 0 the first one. As the statements order them (pg/store_sql.h). */
static int compare_campaigns(const struct answer *a, size_t i, const struct answer *b, size_t j)
{
    const struct campaign *x = &a->campaigns[i], *y = &b->campaigns[j];
    int order =
        a->counts ? by_number(b->counts[j], a->counts[i]) : by_number(y->created_at_us, x->created_at_us);
    if (order == 0 && a->reached && b->reached)
        order = by_number(a->reached[i], b->reached[j]);
    return order ? order : span_compare(y->id, x->id);
}

/* Coupons of one slice are in one part, and in order there. */
static int compare_coupons(const struct query *query, const struct coupon *x, const struct coupon *y)
{
    if (query->kind == QUERY_ORDER_COUPONS)
        return by_number(x->at.slice, y->at.slice);
    int order = by_number(y->issued_at_us, x->issued_at_us);
    return order ? order : by_number(y->at.slice, x->at.slice);
}

/* The part whose next entry comes first; count: none has one left. */
static size_t next_part(const struct answer *const *parts, size_t count, const size_t *taken, bool coupons,
                        const struct query *query)
{
    size_t first = count;
    for (size_t i = 0; i < count; i++) {
        if (taken[i] == (coupons ? parts[i]->coupons_count : parts[i]->campaigns_count))
            continue;
        if (first == count ||
            (coupons
                 ? compare_coupons(query, &parts[i]->coupons[taken[i]], &parts[first]->coupons[taken[first]])
                 : compare_campaigns(parts[i], taken[i], parts[first], taken[first])) < 0)
            first = i;
    }
    return first;
}

void answer_merge(struct answer *into, const struct answer *const *parts, size_t count,
                  const struct query *query)
{
    enum { PARTS_MAX = SLICE_COUNT };
    bool coupons = query->kind == QUERY_USER_COUPONS || query->kind == QUERY_ORDER_COUPONS;
    bool ranking = query->kind == QUERY_RANKING;
    size_t most = ranking ? (size_t)query->limit : query_scan(query) + 1, taken[PARTS_MAX] = {0}, part;
    CHECK(count <= PARTS_MAX && most <= ANSWER_ITEMS_MAX);
    into->outcome = ANSWER_FOUND;
    if (coupons)
        into->coupons = answer_alloc(into, most * sizeof *into->coupons);
    else
        into->campaigns = answer_alloc(into, most * sizeof *into->campaigns);
    if (ranking)
        into->counts = answer_alloc(into, most * sizeof *into->counts);
    for (size_t i = 0; i < most && (part = next_part(parts, count, taken, coupons, query)) < count; i++) {
        size_t at = taken[part]++;
        if (coupons)
            into->coupons[into->coupons_count++] = parts[part]->coupons[at];
        else
            into->campaigns[into->campaigns_count++] = parts[part]->campaigns[at];
        if (ranking)
            into->counts[i] = parts[part]->counts[at];
    }
    into->coupons_capacity = into->coupons_count;
    into->campaigns_capacity = into->campaigns_count;
}

/* --- what time alone changes --- */

/* Makes *first the instant `at_us` where that is the earlier one after now_us; 0 is none. */
static void note_instant(int64_t *first, int64_t at_us, int64_t now_us)
{
    if (at_us > now_us && (*first == 0 || at_us < *first))
        *first = at_us;
}

static void note_coupon(int64_t *first, const struct coupon *coupon, int64_t now_us)
{
    if (coupon->state == COUPON_ISSUED || coupon->state == COUPON_RESERVED)
        note_instant(first, coupon->expires_at_us, now_us);
    if (coupon->state == COUPON_RESERVED)
        note_instant(first, coupon->reserved_until_us, now_us);
}

static int64_t first_instant(const struct answer *answer, const struct query *query)
{
    int64_t first = answer->filter_until_us;
    for (size_t i = 0; i < answer->campaigns_count; i++)
        note_instant(&first, campaign_next_change_us(&answer->campaigns[i], query->now_us), query->now_us);
    for (size_t i = 0; i < answer->coupons_count; i++)
        note_coupon(&first, &answer->coupons[i], query->now_us);
    return first;
}

static int64_t window_edge_us(const struct query *query)
{
    int64_t grain_us = window_grain_s(query->window) * US_PER_S;
    return grain_us ? (query->now_us / grain_us + 1) * grain_us : 0;
}

int64_t answer_true_until_us(const struct answer *answer, const struct query *query)
{
    int64_t until_us = 0;
    if (answer->outcome != ANSWER_FOUND || query->past.kind != PAST_NONE)
        return INT64_MAX;
    if (query->kind == QUERY_RANKING)
        until_us = window_edge_us(query);
    else if (query->kind != QUERY_USER_IN_CAMPAIGN)
        until_us = first_instant(answer, query);
    return until_us ? until_us : INT64_MAX;
}

/* --- pages --- */

/* Cutting a page out of a scan. `last` is the entry the next page begins after. */
struct page {
    size_t limit, scan; /* entries to give, entries to look at */
    size_t seen, given, last;
    bool more;
};

/* Whether the next entry belongs on the page. */
static bool page_takes(struct page *page, bool matches)
{
    size_t index = page->seen++;
    if (page->more)
        return false;
    if (index >= page->scan) { /* the one after the scan: there is more, whatever it is */
        page->more = true;
        return false;
    }
    if (page->given == page->limit) {
        page->more = matches;
        return false;
    }
    page->given += matches;
    if (matches || page->given < page->limit)
        page->last = index;
    return matches;
}

static struct page page_begin(const struct query *query)
{
    return (struct page){.limit = (size_t)query->limit, .scan = query_scan(query)};
}

void answer_cut_campaigns(struct answer *answer, const struct query *query)
{
    struct page page = page_begin(query);
    struct cursor last = {.kind = CURSOR_CAMPAIGNS};
    if (query->status.ptr)
        answer->filter_until_us = first_instant(answer, query);
    size_t kept = 0;
    for (size_t i = 0; i < answer->campaigns_count; i++) {
        const struct campaign *campaign = &answer->campaigns[i];
        bool takes = page_takes(&page, query_takes_campaign(query, campaign));
        if (page.last == i) {
            last.time_us = campaign->created_at_us;
            cursor_set_id(&last, campaign->id);
        }
        if (takes)
            answer->campaigns[kept++] = *campaign;
    }
    answer->campaigns_count = kept;
    if (page.more)
        answer->next = last;
}

void answer_cut_coupons(struct answer *answer, const struct query *query)
{
    struct page page = page_begin(query);
    if (query->status.ptr)
        answer->filter_until_us = first_instant(answer, query);
    struct cursor last = {.kind = query->kind == QUERY_HOLDERS         ? CURSOR_HOLDERS
                                  : query->kind == QUERY_ORDER_COUPONS ? CURSOR_ORDER
                                                                       : CURSOR_COUPONS};
    size_t kept = 0;
    for (size_t i = 0; i < answer->coupons_count; i++) {
        const struct coupon *coupon = &answer->coupons[i];
        bool takes = page_takes(&page, query_takes_coupon(query, coupon));
        if (page.last == i && last.kind == CURSOR_HOLDERS)
            last.number = coupon->sequence;
        else if (page.last == i && last.kind == CURSOR_ORDER)
            last = (struct cursor){
                .kind = CURSOR_ORDER, .slice = coupon->at.slice, .number = coupon->at.position};
        else if (page.last == i)
            last = (struct cursor){
                CURSOR_COUPONS, coupon->issued_at_us, coupon->at.position, coupon->at.slice, 0, {0}};
        if (takes)
            answer->coupons[kept++] = *coupon;
    }
    answer->coupons_count = kept;
    if (page.more)
        answer->next = last;
}
