/* SPDX-License-Identifier: Apache-2.0 */
/* What query services are told: after Redis has it, all of it, in bounded messages. */
#include "projector/run/announce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"

enum { LONG_MS = 20000, HELLO = 1 };

/* What the subscriber's thread got, in order; read when `count` says so. */
static struct {
    struct hint hints[64];
    atomic_size_t count;
    atomic_bool met; /* by a first word, of which any number may come, and late */
} got;

static void receive(struct span message, void *context)
{
    (void)context;
    size_t at = atomic_load(&got.count);
    if (at == COUNT_OF(got.hints) || !hint_decode(message, &got.hints[at]))
        return;
    if (got.hints[at].position == HELLO)
        atomic_store(&got.met, true);
    else
        atomic_store(&got.count, at + 1);
}

static bool await(size_t count)
{
    int64_t deadline_us = clock_deadline_us(LONG_MS);
    while (atomic_load(&got.count) < count && clock_remaining_ms(deadline_us) > 0)
        (void)poll(NULL, 0, 1);
    return atomic_load(&got.count) >= count;
}

static struct announcer announcer;
static struct bus_publisher *publisher;
static struct bus_subscriber *subscriber;

/* Hints may get lost until the two have found each other. */
static int set_up(void **)
{
    char reason[128];
    crypto_setup();
    subscriber = bus_subscriber_create("inproc://announcer", receive, NULL, reason, sizeof reason);
    publisher = bus_publisher_create("inproc://announcer", reason, sizeof reason);
    assert_true(subscriber && publisher);
    announcer_init(&announcer, publisher);
    for (int i = 0; i < 1000 && !atomic_load(&got.met); i++) {
        announcer_opening(&announcer, SPAN("hello"), HELLO);
        (void)poll(NULL, 0, 10);
    }
    assert_true(atomic_load(&got.met));
    return 0;
}

static int tear_down(void **)
{
    announcer_deinit(&announcer);
    bus_publisher_destroy(publisher);
    bus_subscriber_destroy(subscriber);
    return 0;
}

/* Sends a hint of its own behind the others; everything before it has then arrived. Returns how many came. */
static size_t arrived(size_t before)
{
    size_t seen = before;
    announcer_opening(&announcer, SPAN("end"), 77);
    do
        assert_true(await(++seen));
    while (got.hints[seen - 1].position != 77);
    return seen - 1 - before;
}

static void add_issued(const char *campaign, const char *user)
{
    struct event event = {
        .type = EVENT_CouponIssued, .campaign_id = span_of(campaign), .user_id = span_of(user)};
    announcer_add(&announcer, &event);
}

static void told_when_applied_and_only_then(void **)
{
    atomic_store(&got.count, 0);
    announcer_begin(&announcer);
    add_issued("spring", "ann");
    add_issued("spring", "bob");
    add_issued("spring", "ann");
    announcer_sent(&announcer, 5, 100);
    announcer_begin(&announcer);
    add_issued("summer", "ann");
    announcer_sent(&announcer, 6, 200);
    announcer_sent_nothing(&announcer);
    assert_int_equal(arrived(0), 0);
    announcer_settled(&announcer, true);
    announcer_settled(&announcer, false);
    announcer_settled(&announcer, true);
    assert_int_equal(arrived(1), 1);
    const struct hint *hint = &got.hints[1];
    assert_int_equal(hint->slice, 5);
    assert_true(hint->position == 100);
    assert_int_equal(hint->campaigns_count, 1);
    assert_int_equal(hint->users_count, 2);
    assert_int_equal(hint->users[0], user_group(user_hash(SPAN("ann"))));
    assert_true(hint->rankings && !hint->everything && !hint->opening);
}

static void long_lists_take_several_messages_and_very_long_ones_are_everything(void **)
{
    char name[24];
    atomic_store(&got.count, 0);
    announcer_begin(&announcer);
    for (int i = 0; i < 2 * HINT_CAMPAIGNS_MAX + 1; i++) {
        struct event event = {.type = EVENT_CampaignPaused, .campaign_id = {name, 0}};
        event.campaign_id.len = (size_t)snprintf(name, sizeof name, "c-%d", i);
        announcer_add(&announcer, &event);
    }
    announcer_sent(&announcer, 1, 5);
    announcer_settled(&announcer, true);
    assert_int_equal(arrived(0), 3);
    assert_false(got.hints[0].rankings);
    assert_int_equal(got.hints[2].campaigns_count, 1);
    atomic_store(&got.count, 0);
    announcer_begin(&announcer);
    for (int i = 0; i < ANNOUNCE_USERS_MAX + 200; i++) {
        snprintf(name, sizeof name, "user-%d", i);
        add_issued("spring", name);
    }
    announcer_sent(&announcer, 1, 6);
    announcer_settled(&announcer, true);
    assert_int_equal(arrived(0), 1);
    assert_true(got.hints[0].everything);
}

static void the_control_stream_is_no_campaign(void **)
{
    atomic_store(&got.count, 0);
    announcer_begin(&announcer);
    announcer_add(&announcer, &(struct event){.type = EVENT_SettingChanged, .campaign_id = SPAN("~")});
    announcer_sent(&announcer, 0, 9);
    announcer_forget(&announcer); /* the connection to Redis was lost */
    assert_int_equal(arrived(0), 0);
    announcer_sent(&announcer, 0, 9);
    announcer_settled(&announcer, true);
    assert_int_equal(arrived(1), 0); /* without names it would be about all of slice 0 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_when_applied_and_only_then),
        cmocka_unit_test(long_lists_take_several_messages_and_very_long_ones_are_everything),
        cmocka_unit_test(the_control_stream_is_no_campaign),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
