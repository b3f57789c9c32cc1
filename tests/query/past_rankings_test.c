/* SPDX-License-Identifier: Apache-2.0 */
/* Time travel over a log that goes back nine days: rankings and counts as of any moment are those of the log
 * up to it, with Redis or without; and what would cost too much is refused. */
#include "tests/lib/wait.h"

#include "events/ids.h"
#include "tests/lib/past.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum { EVENTS_MAX = 100, CAMPAIGNS = 6, STEPS = 300, PATH_BYTES = 512 };

#define HOUR (3600 * (int64_t)US_PER_S)

static struct stack *stack;
static struct api_client api;
static struct past past;
static uint32_t random_state = 11;
static int64_t began_us; /* of the past */

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

/* --- a past of nine days --- */

static void step(size_t index, int64_t at_us)
{
    struct past_campaign *campaign = &past.campaigns[index];
    struct coupon *coupon =
        campaign->coupons_count ? &campaign->coupons[next_random((uint32_t)campaign->coupons_count)] : NULL;
    if (!coupon || coupon->state != COUPON_ISSUED || next_random(2) == 0) {
        if (coupon && coupon->state == COUPON_REDEEMED && next_random(3) == 0)
            past_restore(&past, campaign, coupon, at_us);
        else
            (void)past_issue(&past, campaign, at_us);
    } else {
        past_redeem(&past, campaign, coupon, at_us);
    }
}

static void make_past(void)
{
    int64_t now_us = clock_wall_us();
    began_us = now_us - 9 * 24 * HOUR;
    for (size_t i = 0; i < CAMPAIGNS; i++)
        (void)past_create(&past, textf("past-%zu", i), i % 2 ? "odd" : "even", began_us);
    for (int64_t i = 0; i < STEPS; i++)
        step(next_random(CAMPAIGNS), began_us + HOUR + i * 8 * 24 * HOUR / STEPS);
}

static int set_up(void **)
{
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1); /* what answers is the levels behind */
    setenv("FIRSTCOME_PAST_EVENTS_MAX", "100", 1);
    stack = stack_start(STACK_ALL);
    api_open(&api, stack);
    past_open(&past, stack);
    make_past();
    past_commit(&past);
    return 0;
}

static int tear_down(void **)
{
    past_close(&past);
    api_close(&api);
    stack_stop(stack);
    return 0;
}

/* --- what the log of the past says --- */

/* Whether it was answered, not refused for what it costs. */
static bool check_ranking(enum counted by, enum window window, bool odd, int64_t until_us)
{
    char path[PATH_BYTES];
    struct buf expected, found;
    buf_init(&expected, 1024);
    buf_init(&found, 1024);
    snprintf(path, sizeof path, "/v1/rankings/campaigns?by=%s&window=%s%s", counted_label(by),
             window_label(window), odd ? "&tag=odd" : "");
    int64_t since_us = window_since_us(window, until_us);
    size_t counted = past_ranking(&past, by, odd ? "odd" : "", since_us, until_us, &expected);
    struct http_answer answer = reads_at(&api, path, until_us);
    bool far = by == COUNTED_REDEEMED && counted > EVENTS_MAX;
    api_expect(answer, far ? 422 : 200, far ? "past-too-far" : NULL);
    if (!far) {
        struct json_doc *doc = json_get_doc(answer.body);
        reads_ranking(doc, &found);
        if (strcmp(found.len ? found.data : "", expected.len ? expected.data : "") != 0)
            fail_msg("%s at %lld:\n%s\nthe log says\n%s", path, (long long)until_us, found.data,
                     expected.data);
        json_destroy(doc);
    }
    buf_deinit(&expected);
    buf_deinit(&found);
    return !far;
}

static void rankings_are_the_logs_then(void **)
{
    size_t answered = 0, refused = 0;
    for (int64_t day = 0; day <= 8; day += 2)
        for (enum counted by = 0; by < COUNTED_COUNT; by++)
            for (enum window window = 0; window < WINDOW_COUNT; window++)
                for (int odd = 0; odd < 2; odd++) {
                    /* An event's own instant is within; a microsecond before it is not. */
                    int64_t until_us = past.changes[(size_t)day * (STEPS - 1) / 8].at_us - (odd == 0);
                    bool good = check_ranking(by, window, odd, until_us);
                    answered += good;
                    refused += !good;
                }
    assert_true(answered >= 70 && refused >= 1);
}

/* More were active than may be looked at: for the past, too, but nobody has to try again. */
static void too_many_campaigns_are_refused(void **)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "INSERT INTO campaign (slice, id, created_at, created_by, version, definition, quantity,"
             " released, issued, status, plan_done, first, position) SELECT %d, 'crowd-' || n, now(),"
             " 'test', 1, '', 1, 1, 1, 1, 0, 1, 1000000000 FROM generate_series(1, 2001) AS n",
             slice_of(span_of("past-0")));
    store_run_as(stack, "DATABASE_URL", sql);
    struct http_answer answer =
        api_expect(reads_at(&api, "/v1/rankings/campaigns?window=7d", past.changes[STEPS / 2].at_us), 422,
                   "past-too-far");
    assert_non_null(memmem(answer.body.ptr, answer.body.len, "2000 campaigns", strlen("2000 campaigns")));
    store_run_as(stack, "DATABASE_URL", "DELETE FROM campaign WHERE id LIKE 'crowd-%'");
    assert_true(check_ranking(COUNTED_ISSUED, WINDOW_WEEK, false, past.changes[STEPS / 2].at_us));
}

/* Campaigns whose every coupon is a commit of its own, at moments all over the past. */
static void campaigns_are_the_logs_then(void **)
{
    for (size_t i = 0; i < STEPS; i += 25)
        for (size_t n = 0; n < CAMPAIGNS; n++) {
            int64_t counts[COUNTED_COUNT] = {0};
            for (size_t c = 0; c <= i; c++)
                if (past.changes[c].campaign == n)
                    counts[past.changes[c].counted] += past.changes[c].by;
            struct http_answer answer = api_expect(
                reads_at(&api, textf("/v1/campaigns/past-%zu", n), past.changes[i].at_us), 200, NULL);
            assert_int_equal(body_int(answer.body, "issued"), counts[COUNTED_ISSUED]);
            assert_int_equal(body_int(answer.body, "redeemed"), counts[COUNTED_REDEEMED]);
        }
    api_expect(reads_at(&api, "/v1/campaigns/past-0", began_us - 1), 404, "unknown-campaign");
    api_expect(reads_at(&api, "/v1/campaigns/past-0", began_us), 200, NULL);
}

static void it_needs_no_redis(void **)
{
    stack_signal(stack, "redis", SIGSTOP);
    bool ranked = check_ranking(COUNTED_ISSUED, WINDOW_ALL, true, past.changes[STEPS / 2].at_us);
    struct http_answer answer = reads_at(&api, "/v1/campaigns/past-0", past.changes[STEPS / 8].at_us);
    stack_signal(stack, "redis", SIGCONT);
    assert_true(ranked && answer.status == 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rankings_are_the_logs_then),
        cmocka_unit_test(too_many_campaigns_are_refused),
        cmocka_unit_test(campaigns_are_the_logs_then),
        cmocka_unit_test(it_needs_no_redis),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
