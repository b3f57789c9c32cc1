/* SPDX-License-Identifier: Apache-2.0 */
/* What a process knows of campaigns: definitions decoded once, filters that never say no to what is there,
 * bounded memory. */
#include "command-service/store/known.h"

#include "common/base/crypto.h"
#include "common/base/testing.h"

enum { MANY = 40000, ROOM = 1024 * 1024 };

static struct known *known;

static int setup(void **)
{
    known = known_create(8, ROOM);
    return 0;
}

static int teardown(void **)
{
    known_destroy(known);
    return 0;
}

static struct span definition(struct buf *data, int64_t quantity)
{
    struct event event = {.type = EVENT_CampaignCreated, .version = 1};
    event.campaign_created =
        (struct campaign_created){.name = SPAN("n"), .quantity = quantity, .per_user_limit = 1};
    buf_clear(data);
    event_encode(&event, data);
    return buf_span(data);
}

static void a_definition_is_decoded_once(void **)
{
    struct buf data;
    struct campaign_created first, again;
    buf_init(&data, EVENT_DATA_MAX);
    struct known_campaign *campaign = known_get(known, SPAN("spring"));
    assert_true(known_define(campaign, 1, definition(&data, 5), &first));
    assert_true(known_define(campaign, 1, definition(&data, 5), &again));
    assert_ptr_equal(first.name.ptr, again.name.ptr);
    assert_true(known_define(campaign, 1, definition(&data, 6), &again)); /* it may change */
    assert_int_equal(again.quantity, 6);
    assert_false(known_define(campaign, 1, SPAN("\xC1"), &again));
    assert_true(known_define(campaign, 1, definition(&data, 5), &again)); /* after one that cannot be read */
    assert_int_equal(again.quantity, 5);
    buf_deinit(&data);
}

static void a_filter_never_says_no_to_what_is_in_it(void **)
{
    struct known_campaign *campaign = known_get(known, SPAN("spring"));
    size_t wrong = 0;
    assert_true(known_has(campaign, 7)); /* without a filter everything may be there */
    known_follow(known, campaign);
    assert_false(known_has(campaign, 7));
    for (uint64_t i = 0; i < MANY; i++)
        known_add(known, campaign, i * 2654435761u);
    for (uint64_t i = 0; i < MANY; i++)
        assert_true(known_has(campaign, i * 2654435761u));
    for (uint64_t i = 0; i < MANY; i++)
        wrong += known_has(campaign, (i + MANY) * 2654435761u);
    assert_true(wrong < MANY / 50);
    assert_true(campaign->followed);
}

static void filters_are_bounded_together(void **)
{
    struct known_campaign *old = known_get(known, SPAN("old"));
    known_follow(known, old);
    known_add(known, old, 1);
    known_trim(known, 1);
    struct known_campaign *big = known_get(known, SPAN("big"));
    known_follow(known, big);
    for (uint64_t i = 0; big->followed; i++) {
        known_add(known, big, i);
        assert_true(known_bytes(known) <= ROOM);
    }
    assert_false(old->followed); /* it made room, and was not enough */
    assert_int_equal(known_bytes(known), 0);
    assert_true(known_has(big, 1) && known_has(old, 2));
}

static void what_is_used_stays(void **)
{
    char ids[64][16];
    for (size_t i = 0; i < 64; i++) {
        known_trim(known, 1);
        snprintf(ids[i], sizeof ids[i], "c%zu", i);
        (void)known_get(known, span_of(ids[i]));
        (void)known_get(known, SPAN("hot"));
    }
    assert_non_null(known_find(known, SPAN("hot")));
    assert_null(known_find(known, SPAN("c1")));
    known_clear(known);
    assert_null(known_find(known, SPAN("hot")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    crypto_setup();
    const struct CMUnitTest tests[] = {
        TEST(a_definition_is_decoded_once),
        TEST(a_filter_never_says_no_to_what_is_in_it),
        TEST(filters_are_bounded_together),
        TEST(what_is_used_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
