/* SPDX-License-Identifier: Apache-2.0 */
/* I7, I9, I13: every answer of the read API against the log. An answer speaks of one slice or of all; what it
 * says of a slice must be true of one moment of that slice's log. Which moments may be, go by positions: not
 * before what had been answered by anybody when the read was sent, less what its Age allows; not before its
 * Consistency-Token; and before whatever was sent after the answer had come. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "events/campaign.h"
#include "tests/chaos/judge_view.h"

enum {
    MODEL_AGE_US =
        5 * US_PER_S,   /* models count as current for so long after they were compared with the log */
    BUSY_US = US_PER_S, /* this machine: between a clock that was read and what goes by it */
    INSTANT_SLACK_US = 300 * US_PER_MS,
    BOUNDARIES_MAX = 8,
    ITEMS_MAX = 64,
};

enum match {
    MATCH_NO,
    MATCH_FACTS, /* but for what the clock changes, of which it says what is true of another instant */
    MATCH_FULL,
};

/* One item of a list over all slices: which campaign or coupon it is about. */
struct item {
    const struct json_value *json;
    int16_t slice; /* -1: about nothing that there ever was */
    const struct model_campaign *campaign;
    struct position coupon;
};

/* What one read says of one slice. */
struct view {
    struct judge *judge;
    const struct read *read;
    const struct json_value *body;  /* NULL: a refusal */
    const struct json_value *items; /* of a list */
    struct item list[ITEMS_MAX];
    size_t list_count;
    bool more; /* of a list: there is a next page */
    int16_t slice;
    int64_t from_us, until_us; /* wall clock: when it was answered */
    int64_t *changes;          /* positions after which something it is about was another */
    size_t changes_count, changes_capacity;
};

/* Adds the positions in (low, high] at which what the read is about changed. */
typedef void gather_changes(struct view *view, int64_t low, int64_t high);
/* Compares with the log as it was at a position. */
typedef enum match match_at(struct view *view, int64_t position);

static void add_change(struct view *view, int64_t position)
{
    view->changes =
        judge_grow(view->changes, view->changes_count, &view->changes_capacity, sizeof *view->changes);
    view->changes[view->changes_count++] = position;
}

static enum match worse(enum match a, enum match b)
{
    return a < b ? a : b;
}

static bool refused_as(const struct view *view, const char *code)
{
    return view->read->status_code == 404 && strcmp(view->read->problem, code) == 0;
}

/* --- The clock --- */

/* Instants at which something changes by itself. */
struct boundaries {
    int64_t list[BOUNDARIES_MAX];
    size_t count;
};

/* Whether what `says` of an instant is what the answer says, at one at which it may have been given, or at
 * any at all. */
typedef bool says(const void *what, int64_t now_us);

static enum match match_instant(const struct view *view, const struct boundaries *boundaries, says *claims,
                                const void *what)
{
    if (claims(what, view->from_us) || claims(what, view->until_us))
        return MATCH_FULL;
    bool ever = claims(what, 1);
    for (size_t i = 0; i < boundaries->count; i++) {
        int64_t at_us = boundaries->list[i];
        bool then = at_us && claims(what, at_us);
        if (then && at_us > view->from_us && at_us < view->until_us)
            return MATCH_FULL;
        ever |= then;
    }
    return ever ? MATCH_FACTS : MATCH_NO;
}

/* --- Coupons --- */

static const struct coupon_moment *coupon_then(const struct model_coupon *coupon, int64_t position)
{
    const struct coupon_moment *is = NULL;
    for (size_t i = 0; i < coupon->moments_count && coupon->moments[i].position <= position; i++)
        is = &coupon->moments[i];
    return is;
}

static void gather_coupon(struct view *view, const struct model_coupon *coupon, int64_t low, int64_t high)
{
    for (size_t i = 0; i < coupon->moments_count; i++)
        if (coupon->moments[i].position > low && coupon->moments[i].position <= high)
            add_change(view, coupon->moments[i].position);
}

struct coupon_claim {
    const struct view *view;
    const struct json_value *body;
    const struct model_coupon *coupon;
    const struct coupon_moment *is;
};

static bool says_coupon(const void *what, int64_t now_us)
{
    const struct coupon_claim *claim = what;
    return !view_coupon_state(claim->view->judge, claim->body, claim->coupon, claim->is, now_us);
}

/* A coupon object; `is` NULL: it was not issued then. */
static enum match match_coupon(const struct view *view, const struct json_value *body,
                               const struct model_coupon *coupon, const struct coupon_moment *is)
{
    if (!is || view_coupon(view->judge, body, coupon))
        return MATCH_NO;
    struct coupon_claim claim = {view, body, coupon, is};
    struct boundaries boundaries = {{is->until_us, coupon->expires_us}, 2};
    return match_instant(view, &boundaries, says_coupon, &claim);
}

static void gather_read_coupon(struct view *view, int64_t low, int64_t high)
{
    const struct model_coupon *coupon = judge_coupon(view->judge, view->read->coupon);
    if (coupon)
        gather_coupon(view, coupon, low, high);
}

static enum match match_read_coupon(struct view *view, int64_t position)
{
    const struct model_coupon *coupon = judge_coupon(view->judge, view->read->coupon);
    const struct coupon_moment *is = coupon ? coupon_then(coupon, position) : NULL;
    if (!view->body)
        return !is && refused_as(view, "unknown-coupon") ? MATCH_FULL : MATCH_NO;
    return coupon ? match_coupon(view, view->body, coupon, is) : MATCH_NO;
}

static bool says_validity(const void *what, int64_t now_us)
{
    const struct coupon_claim *claim = what;
    const struct read *read = claim->view->read;
    const struct campaign_created *definition =
        &claim->view->judge->campaigns[claim->coupon->campaign].definition;
    const char *refusal = view_refusal(claim->view->judge, claim->coupon, claim->is,
                                       read->says_user ? read->user : UINT32_MAX, read->amount, now_us);
    bool valid = false;
    int64_t discount = json_number_of(claim->body, "discount_amount");
    if (!json_as_bool(json_member(claim->body, "valid"), &valid) || valid != !refusal)
        return false;
    if (refusal)
        return span_is(json_text_of(claim->body, "reason"), refusal) && discount == 0;
    if (read->amount >= 0)
        return discount == judge_discount(definition, read->amount);
    return discount == (definition->discount_type == 0 ? -1 : definition->discount_value);
}

static enum match match_validity(struct view *view, int64_t position)
{
    const struct model_coupon *coupon = judge_coupon(view->judge, view->read->coupon);
    const struct coupon_moment *is = coupon ? coupon_then(coupon, position) : NULL;
    if (!view->body || !is)
        return !view->body && !is && refused_as(view, "unknown-coupon") ? MATCH_FULL : MATCH_NO;
    struct coupon_claim claim = {view, view->body, coupon, is};
    struct boundaries boundaries = {{is->until_us, coupon->expires_us}, 2};
    return match_instant(view, &boundaries, says_validity, &claim);
}

/* --- One campaign --- */

static const struct model_campaign *campaign_of(const struct view *view, uint32_t number)
{
    static const struct model_campaign never = {0};
    return number < view->judge->campaigns_count ? &view->judge->campaigns[number] : &never;
}

static const struct campaign_moment *campaign_then(const struct model_campaign *campaign, int64_t position)
{
    const struct campaign_moment *is = campaign_moment_at(campaign, position);
    return is && is->state != MODEL_DELETED ? is : NULL;
}

static void gather_campaign(struct view *view, const struct model_campaign *campaign, int64_t low,
                            int64_t high)
{
    const struct campaign_moment *is = campaign_moment_at(campaign, low);
    for (size_t i = is ? (size_t)(is - campaign->moments) + 1 : 0;
         i < campaign->moments_count && campaign->moments[i].position <= high; i++)
        add_change(view, campaign->moments[i].position);
}

static void gather_read_campaign(struct view *view, int64_t low, int64_t high)
{
    gather_campaign(view, campaign_of(view, view->read->campaign), low, high);
}

struct campaign_claim {
    const struct json_value *body; /* NULL: only the status */
    const struct model_campaign *campaign;
    const struct campaign_moment *is;
    const char *status;
};

static bool says_campaign(const void *what, int64_t now_us)
{
    const struct campaign_claim *claim = what;
    if (!claim->body)
        return strcmp(claim->status, view_campaign_status(claim->campaign, claim->is, now_us)) == 0;
    return !view_campaign_now(claim->body, claim->campaign, claim->is, now_us);
}

static enum match match_campaign(const struct view *view, const struct json_value *body,
                                 const struct model_campaign *campaign, const struct campaign_moment *is)
{
    if (!is || view_campaign(body, campaign, is))
        return MATCH_NO;
    const struct campaign_created *definition = &campaign->definition;
    struct campaign_claim claim = {body, campaign, is, NULL};
    struct boundaries boundaries = {
        {definition->starts_at_us, definition->ends_at_us, definition->coupon_expires_at_us, is->reopens_us},
        4};
    for (size_t i = 0; i < definition->release_plan.count && boundaries.count < BOUNDARIES_MAX; i++)
        boundaries.list[boundaries.count++] = definition->release_plan.items[i].at_us;
    return match_instant(view, &boundaries, says_campaign, &claim);
}

/* Whether the answer and the log agree that there is no such campaign; false where there is. */
static bool both_without(const struct view *view, const struct campaign_moment *is, enum match *ret)
{
    if (view->body && is)
        return false;
    *ret = !view->body && !is && refused_as(view, "unknown-campaign") ? MATCH_FULL : MATCH_NO;
    return true;
}

static enum match match_read_campaign(struct view *view, int64_t position)
{
    const struct model_campaign *campaign = campaign_of(view, view->read->campaign);
    const struct campaign_moment *is = campaign_then(campaign, position);
    uint32_t number;
    enum match match;
    if (both_without(view, is, &match))
        return match;
    if (!campaign_name_parse(json_text_of(view->body, "id"), &number) || number != view->read->campaign)
        return MATCH_NO;
    return match_campaign(view, view->body, campaign, is);
}

/* A page of holders: sequences 1 to limit, each coupon as it was then. */
static enum match match_holders(struct view *view, int64_t position)
{
    const struct model_campaign *campaign = campaign_of(view, view->read->campaign);
    const struct campaign_moment *is = campaign_then(campaign, position);
    enum match match = MATCH_FULL;
    if (both_without(view, is, &match))
        return match;
    int64_t count = is->issued < view->read->limit ? is->issued : view->read->limit;
    if ((int64_t)view->list_count != count || view->more != (is->issued > count))
        return MATCH_NO;
    for (int64_t i = 0; i < count && match != MATCH_NO; i++) {
        const struct model_coupon *coupon = &view->judge->coupons[campaign->coupons[i]];
        match = worse(match, match_coupon(view, json_array_at(view->items, (size_t)i), coupon,
                                          coupon_then(coupon, position)));
    }
    return match;
}

static enum match match_place(struct view *view, int64_t position)
{
    const struct model_campaign *campaign = campaign_of(view, view->read->campaign);
    const struct campaign_moment *is = campaign_then(campaign, position);
    const struct json_value *ids = json_member(view->body, "coupon_ids");
    int64_t held = 0, sequence = -1;
    enum match match;
    if (both_without(view, is, &match))
        return match;
    for (int64_t i = 0; i < is->issued; i++) {
        const struct model_coupon *coupon = &view->judge->coupons[campaign->coupons[i]];
        struct span id;
        struct position at = {0};
        if (coupon->user != view->read->user)
            continue;
        sequence = held == 0 ? coupon->sequence : sequence;
        if (!json_as_text(json_array_at(ids, (size_t)held++), &id) || !coupon_id_parse(id, &at) ||
            at.slice != coupon->at.slice || at.position != coupon->at.position)
            return MATCH_NO;
    }
    bool same = json_number_of(view->body, "issued") == held &&
                json_number_of(view->body, "sequence") == sequence && (int64_t)json_array_length(ids) == held;
    return same ? MATCH_FULL : MATCH_NO;
}

/* --- Lists over all slices: their part of one --- */

#define EACH_CAMPAIGN_OF_SLICE(view, campaign)                                             \
    for (const struct model_campaign *campaign = (view)->judge->campaigns;                 \
         campaign < (view)->judge->campaigns + (view)->judge->campaigns_count; campaign++) \
        if (campaign->moments_count && campaign->slice == (view)->slice)

static void gather_slice(struct view *view, int64_t low, int64_t high)
{
    EACH_CAMPAIGN_OF_SLICE(view, campaign)
    {
        gather_campaign(view, campaign, low, high);
    }
}

static struct item read_item(const struct view *view, const struct json_value *json)
{
    struct item item = {.json = json, .slice = -1};
    uint32_t number;
    const char *member = view->read->kind == READ_CAMPAIGNS ? "id" : "campaign_id";
    if (view->read->kind == READ_USER) {
        if (coupon_id_parse(json_text_of(json, "coupon_id"), &item.coupon))
            item.slice = item.coupon.slice;
    } else if (campaign_name_parse(json_text_of(json, member), &number) &&
               number < view->judge->campaigns_count && view->judge->campaigns[number].moments_count) {
        item.campaign = &view->judge->campaigns[number];
        item.slice = item.campaign->slice;
    }
    return item;
}

static void read_items(struct view *view)
{
    size_t count = json_array_length(view->items);
    view->list_count = count < ITEMS_MAX ? count : ITEMS_MAX;
    view->more = json_text_of(view->body, "next").ptr != NULL;
    for (size_t i = 0; i < view->list_count; i++)
        view->list[i] = read_item(view, json_array_at(view->items, i));
}

/* How many items are of this slice; and of no slice, which are too many for each. */
static size_t items_of_slice(const struct view *view)
{
    size_t count = 0;
    for (size_t i = 0; i < view->list_count; i++)
        count += view->list[i].slice == view->slice || view->list[i].slice < 0;
    return count;
}

static const struct json_value *item_of(const struct view *view, const struct model_campaign *campaign)
{
    for (size_t i = 0; i < view->list_count; i++)
        if (view->list[i].campaign == campaign)
            return view->list[i].json;
    return NULL;
}

static const struct json_value *last_item(const struct view *view)
{
    return view->list_count ? view->list[view->list_count - 1].json : NULL;
}

/* A campaign that the page of campaigns has not: it was not there, is older than the page goes, or had
 * another status than was asked for. */
static enum match match_left_out(const struct view *view, const struct model_campaign *campaign,
                                 const struct campaign_moment *is)
{
    const struct json_value *last = last_item(view);
    if (!is || (view->more && (!last || campaign->created_us <= json_time_of(last, "created_at"))))
        return MATCH_FULL;
    if (!view->read->status)
        return MATCH_NO;
    struct campaign_claim claim = {NULL, campaign, is, view->read->status};
    bool had = says_campaign(&claim, view->from_us) && says_campaign(&claim, view->until_us);
    return had ? MATCH_FACTS : MATCH_FULL;
}

static enum match match_campaigns(struct view *view, int64_t position)
{
    enum match match = MATCH_FULL;
    size_t found = 0;
    EACH_CAMPAIGN_OF_SLICE(view, campaign)
    {
        const struct json_value *item = item_of(view, campaign);
        const struct campaign_moment *is = campaign_then(campaign, position);
        found += item != NULL;
        if (!item)
            match = worse(match, match_left_out(view, campaign, is));
        else if (view->read->status && !span_is(json_text_of(item, "status"), view->read->status))
            match = MATCH_NO;
        else
            match = worse(match, match_campaign(view, item, campaign, is));
        if (match == MATCH_NO)
            return match;
    }
    return found == items_of_slice(view) ? match : MATCH_NO;
}

static enum match match_ranking(struct view *view, int64_t position)
{
    bool full = (int64_t)view->list_count == view->read->limit;
    const struct json_value *last = last_item(view);
    size_t found = 0;
    EACH_CAMPAIGN_OF_SLICE(view, campaign)
    {
        const struct campaign_moment *is = campaign_then(campaign, position);
        const struct json_value *item = item_of(view, campaign);
        int64_t count = !is ? 0 : view->read->redeemed ? is->redeemed : is->issued;
        found += item != NULL;
        if (item && (json_number_of(item, "count") != count || count == 0 ||
                     !span_equal(json_text_of(item, "name"), campaign->definition.name)))
            return MATCH_NO;
        if (!item && count > (full ? json_number_of(last, "count") : 0))
            return MATCH_NO;
    }
    return found == items_of_slice(view) ? MATCH_FULL : MATCH_NO;
}

#define EACH_COUPON_OF_USER(view, coupon)                                                        \
    for (size_t each = 0; each < (view)->judge->held[(view)->read->user].count; each++)          \
        for (const struct model_coupon *coupon =                                                 \
                 &(view)->judge->coupons[(view)->judge->held[(view)->read->user].coupons[each]]; \
             coupon && coupon->at.slice == (view)->slice; coupon = NULL)

static void gather_user(struct view *view, int64_t low, int64_t high)
{
    EACH_COUPON_OF_USER(view, coupon)
    {
        gather_coupon(view, coupon, low, high);
    }
}

static const struct json_value *item_of_coupon(const struct view *view, const struct model_coupon *coupon)
{
    for (size_t i = 0; i < view->list_count; i++)
        if (view->list[i].coupon.position == coupon->at.position && view->list[i].slice == coupon->at.slice)
            return view->list[i].json;
    return NULL;
}

/* Newest first: what is older than the last item is on the next page. */
static enum match match_user(struct view *view, int64_t position)
{
    const struct json_value *last = last_item(view);
    int64_t until_us = last ? json_time_of(last, "issued_at") : view->more ? INT64_MAX : 0;
    enum match match = MATCH_FULL;
    size_t found = 0;
    EACH_COUPON_OF_USER(view, coupon)
    {
        const struct coupon_moment *is = coupon_then(coupon, position);
        const struct json_value *item = coupon->issued_us >= until_us ? item_of_coupon(view, coupon) : NULL;
        found += item != NULL;
        if (item)
            match = worse(match, match_coupon(view, item, coupon, is));
        else if (is && (!view->more || coupon->issued_us > until_us))
            match = MATCH_NO;
        if (match == MATCH_NO)
            return match;
    }
    return found == items_of_slice(view) ? match : MATCH_NO;
}

/* --- One read --- */

static const struct {
    gather_changes *gather;
    match_at *match;
} rules[READ_KIND_COUNT] = {
    [READ_CAMPAIGN] = {gather_read_campaign, match_read_campaign},
    [READ_HOLDERS] = {gather_read_campaign, match_holders},
    [READ_PLACE] = {gather_read_campaign, match_place},
    [READ_COUPON] = {gather_read_coupon, match_read_coupon},
    [READ_CODE] = {gather_read_coupon, match_read_coupon},
    [READ_VALIDITY] = {gather_read_coupon, match_validity},
    [READ_CAMPAIGNS] = {gather_slice, match_campaigns},
    [READ_USER] = {gather_user, match_user},
    [READ_RANKING] = {gather_slice, match_ranking},
};

static int descending(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left < right) - (left > right);
}

/* The best match with any moment from `low` to `high`, newest first. */
static enum match search(struct view *view, int64_t low, int64_t high)
{
    enum match best = MATCH_NO;
    view->changes_count = 0;
    add_change(view, low);
    rules[view->read->kind].gather(view, low, high);
    qsort(view->changes, view->changes_count, sizeof *view->changes, descending);
    for (size_t i = 0; i < view->changes_count && best != MATCH_FULL; i++) {
        if (i > 0 && view->changes[i] == view->changes[i - 1])
            continue;
        enum match match = rules[view->read->kind].match(view, view->changes[i]);
        best = match > best ? match : best;
    }
    return best;
}

static const char *name_of(const struct read *read)
{
    static char text[160];
    snprintf(text, sizeof text, "reader %u read %u (%s, campaign %u, user %u, coupon c%d-%lld, service %u)",
             read->reader, read->number, read_kind_name(read->kind), read->campaign, read->user,
             read->coupon.slice, (long long)read->coupon.position, read->service);
    return text;
}

/* By how much older than its sending a read may be. What is answered from PostgreSQL is as old as its Age
 * says, in whole seconds; what comes from the models may be as much older as those count as current. */
static int64_t allowance_us(const struct read *read)
{
    return (read->age_s + 1) * US_PER_S + (read->from_store ? 0 : MODEL_AGE_US) + BUSY_US;
}

static void judge_slice(struct view *view)
{
    struct judge *judge = view->judge;
    const struct read *read = view->read;
    struct window window =
        judge_window_between(judge, view->slice, read->sent_us - allowance_us(read), read->done_us);
    int64_t token = read->tokens[view->slice], fresh = window.low < window.high ? window.low : window.high;
    int64_t low = token > fresh ? token : fresh;
    enum match match = search(view, low, low > window.high ? low : window.high);
    bool early = match == MATCH_NO && token > fresh && search(view, fresh, token - 1) != MATCH_NO;
    bool old = match == MATCH_NO && !early && fresh > 0 && search(view, 0, fresh - 1) != MATCH_NO;
    judge_expect(judge, JUDGE_READ_TRUE, match != MATCH_NO || early || old,
                 "%s: slice %d was never so up to %lld: %s from %s, Age %lld s: %.*s", name_of(read),
                 view->slice, (long long)window.high, read->status_code == 200 ? "200" : read->problem,
                 read->from_store ? "PostgreSQL" : "the models", (long long)read->age_s,
                 SPAN_ARG(readings_body(judge->in.reads, read)));
    judge_expect(judge, JUDGE_READ_AGE, !old, "%s: Age %lld s, but slice %d was not so from %lld on",
                 name_of(read), (long long)read->age_s, view->slice, (long long)fresh);
    if (token)
        judge_expect(judge, JUDGE_READ_TOKEN, !early, "%s: slice %d was so only before its token %lld",
                     name_of(read), view->slice, (long long)token);
    judge_expect(judge, JUDGE_READ_INSTANT, match != MATCH_FACTS,
                 "%s: true of slice %d, but not of the instant", name_of(read), view->slice);
}

/* --- Order --- */

static bool in_order(const struct view *view)
{
    int64_t before = INT64_MAX;
    size_t count = json_array_length(view->items);
    for (size_t i = 0; i < count; i++) {
        const struct json_value *item = json_array_at(view->items, i);
        bool ranking = view->read->kind == READ_RANKING;
        int64_t is = ranking                              ? json_number_of(item, "count")
                     : view->read->kind == READ_USER      ? json_time_of(item, "issued_at")
                     : view->read->kind == READ_CAMPAIGNS ? json_time_of(item, "created_at")
                                                          : -json_number_of(item, "sequence");
        if (is > before || (ranking && json_number_of(item, "rank") != (int64_t)i + 1))
            return false;
        before = is;
    }
    return view->items && (int64_t)count <= view->read->limit;
}

/* --- The feed --- */

static bool same_text(const struct json_value *item, const char *name, struct span text)
{
    return span_equal(json_text_of(item, name), text.len ? text : (struct span){NULL, 0});
}

/* What a key that may only read is not told (the control stream) comes without its content. */
static bool same_event(const struct json_value *item, const struct event *event)
{
    if (json_number_of(item, "slice") != event->slice ||
        json_number_of(item, "position") != event->position ||
        !span_is(json_text_of(item, "type"), event_describe((int)event->type)->name))
        return false;
    if (!json_member(item, "campaign_id"))
        return !campaign_concerned(event);
    return json_time_of(item, "recorded_at") == event->recorded_at_us &&
           same_text(item, "campaign_id", event->campaign_id) && same_text(item, "user_id", event->user_id) &&
           same_text(item, "coupon_id", event->coupon_id);
}

static const char *feed_difference(const struct view *view)
{
    const struct image_slice *slice = &view->judge->in.log->slices[view->slice];
    int64_t after = view->read->coupon.position, count = (int64_t)json_array_length(view->items);
    struct window window = judge_window_between(
        view->judge, view->slice, view->read->sent_us - US_PER_S - BUSY_US, view->read->done_us);
    if (!view->items || count > view->read->limit)
        return "there are no items, or more than were asked for";
    if (after + count > window.high)
        return "it goes beyond what had been written";
    for (int64_t i = 0; i < count; i++)
        if (!same_event(json_array_at(view->items, (size_t)i), &slice->events[after + i]))
            return "an item is not the event at its position";
    if (count == 0 && window.low > after)
        return "it ends before what was answered a second before";
    int64_t head = json_number_of(view->body, "head");
    if (head >= 0 && (head < after + count || head > window.high))
        return "its head is not that of the log";
    return json_number_of(view->body, "next") == after + count ? NULL : "next is not after the last item";
}

static void judge_feed(const struct view *view)
{
    const char *wrong = feed_difference(view);
    judge_expect(view->judge, JUDGE_READ_FEED, !wrong, "%s: %s", name_of(view->read), wrong ? wrong : "");
}

/* --- All --- */

static bool answered_later(const struct read *read)
{
    return read->status_code == 0 || read->status_code == 429 || read->status_code == 502 ||
           read->status_code == 503 || read->status_code == 504;
}

static bool makes_sense(const struct read *read, const struct view *view)
{
    bool feed = read->kind == READ_FEED;
    if (read->status_code == 404)
        return !read_kind_of_all_slices(read->kind) && !feed && read->problem[0];
    return read->status_code == 200 && view->body && (feed || read->has_age) &&
           (feed || read->age_s <= read->life_s + 1);
}

static void judge_read(struct judge *judge, const struct read *read, struct view *view)
{
    struct json_fault fault;
    struct json_doc *doc =
        read->status_code == 200 ? json_parse(readings_body(judge->in.reads, read), &fault) : NULL;
    view->read = read;
    view->body = doc ? json_root(doc) : NULL;
    view->items = json_member(view->body, "items");
    read_items(view);
    view->from_us = read->sent_us + judge->in.wall_offset_us - INSTANT_SLACK_US;
    view->until_us = read->done_us + judge->in.wall_offset_us + INSTANT_SLACK_US;
    bool all = read_kind_of_all_slices(read->kind);
    bool list = all || (read->kind == READ_HOLDERS && view->body);
    if (judge_expect(judge, JUDGE_SENSE, makes_sense(read, view), "%s got status %u '%s', Age %lld",
                     name_of(read), read->status_code, read->problem, (long long)read->age_s)) {
        if (list)
            judge_expect(judge, JUDGE_READ_ORDER, in_order(view), "%s: not in order", name_of(read));
        view->slice = all ? 0 : read_slice(read);
        int16_t last = all ? SLICE_COUNT - 1 : view->slice;
        for (; view->slice <= last; view->slice++)
            if (read->kind == READ_FEED)
                judge_feed(view);
            else
                judge_slice(view);
    }
    json_destroy(doc);
}

void judge_reads(struct judge *judge)
{
    struct view view = {.judge = judge};
    for (size_t i = 0; judge->in.reads && i < judge->in.reads->count; i++)
        if (!answered_later(&judge->in.reads->list[i]))
            judge_read(judge, &judge->in.reads->list[i], &view);
    mem_free(view.changes);
}
