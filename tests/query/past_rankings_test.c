/* SPDX-License-Identifier: Apache-2.0 */
/* Time travel over a log that goes back nine days: rankings and counts as of any moment are those of the log
 * up to it, with Redis or without; and what would cost too much is refused. */
#include "tests/lib/wait.h"

#include "common/base/crypto.h"
#include "events/ids.h"
#include "tests/lib/past.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum { EVENTS_MAX = 100, CAMPAIGNS = 6, STEPS = 300, PATH_BYTES = 512 };

#define HOUR (3600 * (int64_t)US_PER_S)

static struct stack *stack;
static struct api_client api;
static struct past past;
static struct change {
    size_t campaign;
    enum counted counted;
    int64_t by, at_us;
} changes[STEPS];
static size_t changes_count;
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
    struct change change = {index, COUNTED_REDEEMED, 1, at_us};
    struct coupon *coupon =
        campaign->coupons_count ? &campaign->coupons[next_random((uint32_t)campaign->coupons_count)] : NULL;
    if (!coupon || coupon->state != COUPON_ISSUED || next_random(2) == 0) {
        if (coupon && coupon->state == COUPON_REDEEMED && next_random(3) == 0) {
            past_restore(&past, campaign, coupon, at_us);
            change.by = -1;
        } else {
            (void)past_issue(&past, campaign, at_us);
            change.counted = COUNTED_ISSUED;
        }
    } else {
        past_redeem(&past, campaign, coupon, at_us);
    }
    changes[changes_count++] = change;
}

static void make_past(void)
{
    int64_t now_us = clock_wall_us();
    began_us = now_us - 9 * 24 * HOUR;
    for (size_t i = 0; i < CAMPAIGNS; i++) {
        char id[32];
        snprintf(id, sizeof id, "past-%zu", i);
        (void)past_create(&past, id, i % 2 ? "odd" : "even", began_us);
    }
    for (int64_t i = 0; i < STEPS; i++)
        step(next_random(CAMPAIGNS), began_us + HOUR + i * 8 * 24 * HOUR / STEPS);
}

static int set_up(void **)
{
    crypto_setup();
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

static void write_time(int64_t at_us, char ret[40])
{
    struct buf text;
    buf_init(&text, 39);
    time_format(&text, at_us);
    memcpy(ret, text.data, text.len + 1);
    buf_deinit(&text);
}

static struct http_answer get_at(const char *path, int64_t at_us)
{
    char at[40], target[PATH_BYTES];
    write_time(at_us, at);
    snprintf(target, sizeof target, "%s%sas_of=%s", path, strchr(path, '?') ? "&" : "?", at);
    return api_get(&api, target, NULL);
}

/* --- what the log of the past says --- */

struct ranked {
    size_t campaign;
    int64_t count, reached_at_us;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    if (x->reached_at_us != y->reached_at_us)
        return x->reached_at_us < y->reached_at_us ? -1 : 1;
    return strcmp(past.campaigns[y->campaign].id, past.campaigns[x->campaign].id);
}

/* "past-3 7, past-1 5"; returns how many redemptions and restorings are in the window. */
static size_t expect_ranking(enum counted by, bool odd, int64_t since_us, int64_t until_us, struct buf *ret)
{
    struct ranked ranked[CAMPAIGNS] = {0};
    size_t count = 0, looked_at = 0;
    for (size_t i = 0; i < CAMPAIGNS; i++)
        ranked[i].campaign = i;
    for (size_t i = 0; i < changes_count; i++) {
        const struct change *change = &changes[i];
        if (change->counted != by || change->at_us < since_us || change->at_us > until_us ||
            (odd && change->campaign % 2 == 0))
            continue;
        looked_at += by == COUNTED_REDEEMED;
        ranked[change->campaign].count += change->by;
        ranked[change->campaign].reached_at_us = change->at_us;
    }
    qsort(ranked, CAMPAIGNS, sizeof *ranked, compare_ranked);
    for (size_t i = 0; i < CAMPAIGNS && ranked[i].count > 0; i++)
        buf_printf(ret, "%s%s %lld", count++ ? ", " : "", past.campaigns[ranked[i].campaign].id,
                   (long long)ranked[i].count);
    return looked_at;
}

static void text_of(const struct json_doc *doc, struct buf *ret)
{
    for (size_t i = 0; i < json_get_length(doc, "items"); i++) {
        char at[40];
        snprintf(at, sizeof at, "items.%zu.campaign_id", i);
        buf_printf(ret, "%s%.*s ", i ? ", " : "", SPAN_ARG(json_get_text(doc, at)));
        snprintf(at, sizeof at, "items.%zu.count", i);
        buf_append_i64(ret, json_get_int(doc, at));
    }
}

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
    size_t looked_at = expect_ranking(by, odd, since_us, until_us, &expected);
    struct http_answer answer = get_at(path, until_us);
    bool far = looked_at > EVENTS_MAX;
    api_expect(&answer, far ? 422 : 200, far ? "past-too-far" : NULL);
    if (!far) {
        struct json_doc *doc = json_get_doc(answer.body);
        text_of(doc, &found);
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
                    int64_t until_us = changes[(size_t)day * (STEPS - 1) / 8].at_us - (odd == 0);
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
    struct http_answer answer = get_at("/v1/rankings/campaigns?window=7d", changes[STEPS / 2].at_us);
    api_expect(&answer, 422, "past-too-far");
    assert_non_null(memmem(answer.body.ptr, answer.body.len, "2000 campaigns", strlen("2000 campaigns")));
    store_run_as(stack, "DATABASE_URL", "DELETE FROM campaign WHERE id LIKE 'crowd-%'");
    assert_true(check_ranking(COUNTED_ISSUED, WINDOW_WEEK, false, changes[STEPS / 2].at_us));
}

/* Campaigns whose every coupon is a commit of its own, at moments all over the past. */
static void campaigns_are_the_logs_then(void **)
{
    for (size_t i = 0; i < STEPS; i += 25)
        for (size_t n = 0; n < CAMPAIGNS; n++) {
            char path[PATH_BYTES];
            int64_t counts[COUNTED_COUNT] = {0};
            for (size_t c = 0; c <= i; c++)
                if (changes[c].campaign == n)
                    counts[changes[c].counted] += changes[c].by;
            snprintf(path, sizeof path, "/v1/campaigns/past-%zu", n);
            struct http_answer answer = get_at(path, changes[i].at_us);
            api_expect(&answer, 200, NULL);
            struct json_doc *doc = json_get_doc(answer.body);
            assert_int_equal(json_get_int(doc, "issued"), counts[COUNTED_ISSUED]);
            assert_int_equal(json_get_int(doc, "redeemed"), counts[COUNTED_REDEEMED]);
            json_destroy(doc);
        }
    struct http_answer answer = get_at("/v1/campaigns/past-0", began_us - 1);
    api_expect(&answer, 404, "unknown-campaign");
    answer = get_at("/v1/campaigns/past-0", began_us);
    api_expect(&answer, 200, NULL);
}

static void it_needs_no_redis(void **)
{
    stack_signal(stack, "redis", SIGSTOP);
    bool ranked = check_ranking(COUNTED_ISSUED, WINDOW_ALL, true, changes[STEPS / 2].at_us);
    struct http_answer answer = get_at("/v1/campaigns/past-0", changes[STEPS / 8].at_us);
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
