/* SPDX-License-Identifier: Apache-2.0 */
/* What the query service says against what the log says. */
#include <inttypes.h>

#include "bench/storm/checker_state.h"

static bool differ(struct read_difference *why, const char *format, ...) PRINTF_LIKE(2, 3);

static bool differ(struct read_difference *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return false;
}

void checker_read_done(struct checker *checker, enum rule rule, const struct read_difference *why)
{
    checker_expect(checker, rule, why == NULL, "%s", why ? why->text : "");
}

static bool int_is(const struct json_value *object, const char *name, int64_t wanted,
                   struct read_difference *why)
{
    int64_t value;
    if (!json_as_int(json_member(object, name), &value))
        return differ(why, "there is no number \"%s\"", name);
    return value == wanted ? true
                           : differ(why, "%s is %" PRId64 ", the log says %" PRId64, name, value, wanted);
}

static bool text_is(const struct json_value *object, const char *name, struct span wanted,
                    struct read_difference *why)
{
    struct span value;
    return json_as_text(json_member(object, name), &value) && span_equal(value, wanted)
               ? true
               : differ(why, "%s is not what the log says", name);
}

bool checker_campaign_agrees(const struct checker *checker, const struct json_value *campaign,
                             struct read_difference *why)
{
    int64_t issued = checker_issued(checker);
    bool sold_out = issued == checker->quantity && checker->open;
    return text_is(campaign, "id", checker->campaign.id, why) && int_is(campaign, "issued", issued, why) &&
           int_is(campaign, "remaining", checker->released - issued, why) &&
           int_is(campaign, "quantity", checker->quantity, why) &&
           (!sold_out || text_is(campaign, "status", SPAN("sold_out"), why));
}

bool checker_holder_agrees(const struct checker *checker, int64_t index, const struct json_value *item,
                           struct read_difference *why)
{
    struct coupon_view view;
    bool logged = index < checker_issued(checker);
    if (!item)
        return !logged ? true
                       : differ(why, "the list ends after %" PRId64 " of %" PRId64, index,
                                checker_issued(checker));
    if (!logged)
        return differ(why, "the list has more than the %" PRId64 " in the log", index);
    if (!coupon_view_read(item, &view))
        return differ(why, "item %" PRId64 " is not a coupon", index);
    const char *wrong = coupon_view_difference(checker, &view, &checker->coupons[index]);
    return wrong ? differ(why, "item %" PRId64 ": %s is not what the log says", index, wrong) : true;
}

/* With a limit above one only the count and the newest are compared. */
bool checker_user_agrees(const struct checker *checker, uint32_t user, const struct json_value *membership,
                         struct read_difference *why)
{
    CHECK(user < checker->campaign.users);
    const struct user_row *row = &checker->users[user];
    const struct json_value *ids = json_member(membership, "coupon_ids");
    struct read_difference inner;
    struct position at;
    struct span id;
    if (!int_is(membership, "issued", row->held, &inner))
        return differ(why, "user %" PRIu32 ": %.100s", user, inner.text);
    if (!ids || json_array_length(ids) != (size_t)row->held)
        return differ(why, "user %" PRIu32 ": coupon_ids has not %" PRId64 " ids", user, row->held);
    if (row->held != 1)
        return true;
    const struct coupon_row *coupon = &checker->coupons[row->coupon];
    if (!int_is(membership, "sequence", coupon->sequence, &inner))
        return differ(why, "user %" PRIu32 ": %.100s", user, inner.text);
    bool right = json_as_text(json_array_at(ids, 0), &id) && coupon_id_parse(id, &at) &&
                 at.slice == checker->slice && at.position == coupon->position;
    return right ? true : differ(why, "user %" PRIu32 ": coupon_ids names another coupon", user);
}

bool checker_ranking_agrees(const struct checker *checker, const struct json_value *ranking, size_t page_size,
                            struct read_difference *why)
{
    const struct json_value *items = json_member(ranking, "items");
    if (!items)
        return differ(why, "there are no items");
    int64_t count = INT64_MAX, last = INT64_MAX;
    size_t length = json_array_length(items);
    for (size_t i = 0; i < length; i++) {
        const struct json_value *item = json_array_at(items, i);
        struct span id;
        if (!json_as_int(json_member(item, "count"), &count) || count > last)
            return differ(why, "place %zu is not below the one before", i + 1);
        last = count;
        if (json_as_text(json_member(item, "campaign_id"), &id) && span_equal(id, checker->campaign.id))
            return int_is(item, "count", checker_issued(checker), why) &&
                   int_is(item, "rank", (int64_t)i + 1, why);
    }
    bool below = checker_issued(checker) == 0 || (length >= page_size && checker_issued(checker) <= last);
    return below ? true : differ(why, "the campaign is missing among %zu", length);
}
