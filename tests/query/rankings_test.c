/* SPDX-License-Identifier: Apache-2.0 */
/* Rankings over windows, and models that come to their end: a log that goes back months, read from Redis and
 * from PostgreSQL. Both say what the log says, and what the script keeps in Redis is what the fold makes. */
#include "readmodel/campaign_record.h"
#include "tests/lib/wait.h"

#include "common/base/mem.h"
#include "readmodel/keys.h"
#include "tests/lib/models.h"
#include "tests/lib/past.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum {
    ANSWER_MS = 2000,
    LONG_MS = 120000,
    CAMPAIGNS = 8,
    STEPS = 240,
    ANCIENT = 3 * COUPON_CHUNK,
    PATH_BYTES = 1024
};

#define MINUTE (60 * (int64_t)US_PER_S)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static struct stack *stack;
static struct api_client api;
static struct models models;
static struct past past;
static uint32_t random_state = 5;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

static void step(size_t index, int64_t at_us)
{
    struct past_campaign *campaign = &past.campaigns[index];
    struct coupon *coupon =
        campaign->coupons_count ? &campaign->coupons[next_random((uint32_t)campaign->coupons_count)] : NULL;
    if (!coupon || next_random(3) == 0)
        (void)past_issue(&past, campaign, at_us);
    else if (coupon->state == COUPON_REDEEMED && next_random(3) == 0)
        past_restore(&past, campaign, coupon, at_us);
    else if (coupon->state == COUPON_ISSUED)
        past_redeem(&past, campaign, coupon, at_us);
}

/* Months ago slowly, then ever faster until now; the last campaign fell silent long ago. Nothing within a
 * minute of now, so that the clock's difference to PostgreSQL's does not matter. */
static void make_past(void)
{
    static const int64_t ages[] = {99 * DAY,  9 * DAY,  7 * DAY, 2 * DAY,     25 * HOUR,
                                   22 * HOUR, 3 * HOUR, HOUR,    20 * MINUTE, MINUTE};
    int64_t now_us = clock_wall_us();
    for (size_t i = 0; i < CAMPAIGNS; i++)
        (void)past_create(&past, textf("past-%zu", i), i % 2 ? "odd" : "even", now_us - 120 * DAY);
    for (int i = 0; i < ANCIENT; i++) /* the first of them is redeemed today */
        (void)past_issue(&past, &past.campaigns[CAMPAIGNS - 1], now_us - 100 * DAY);
    struct coupon *ancient = &past.campaigns[CAMPAIGNS - 1].coupons[0];
    for (int64_t i = 0; i < STEPS; i++) {
        int64_t leg = i * (int64_t)(COUNT_OF(ages) - 1) / STEPS, legs = STEPS / (int64_t)(COUNT_OF(ages) - 1);
        int64_t into = i - leg * STEPS / (int64_t)(COUNT_OF(ages) - 1);
        int64_t age_us = ages[leg] - (ages[leg] - ages[leg + 1]) * into / (legs + 1);
        size_t campaign = next_random(leg < 1 ? CAMPAIGNS : CAMPAIGNS - 1);
        step(campaign, now_us - age_us);
    }
    past_redeem(&past, &past.campaigns[CAMPAIGNS - 1], ancient, now_us - MINUTE);
}

static int set_up(void **state)
{
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1); /* what answers is the levels behind */
    stack = api_setup(state, &api, STACK_ALL);
    models_open(&models, stack);
    past_open(&past, stack);
    make_past();
    past_commit(&past);
    models_await_current(&models);
    return 0;
}

static int tear_down(void **state)
{
    past_close(&past);
    models_close(&models);
    return api_teardown(state);
}

/* --- what the log says --- */

struct ranking {
    enum counted by;
    enum window window;
    const char *tag;
};

/* --- what the API says --- */

/* Asked once; what the log says is taken for the beginning of the window that the answer names. */
static size_t check(const struct ranking *ranking, const char *source)
{
    char path[PATH_BYTES];
    struct buf expected, found;
    snprintf(path, sizeof path, "/v1/rankings/campaigns?by=%s&window=%s%s%s", counted_label(ranking->by),
             window_label(ranking->window), ranking->tag[0] ? "&tag=" : "", ranking->tag);
    buf_init(&expected, 1024);
    buf_init(&found, 1024);
    struct http_answer answer = api_expect(reads_from(&api, path, source), 200, NULL);
    struct json_doc *doc = json_get_doc(answer.body);
    int64_t since_us = 0;
    if (ranking->window != WINDOW_ALL)
        assert_true(time_parse(json_get_text(doc, "since"), &since_us));
    (void)past_ranking(&past, ranking->by, ranking->tag, since_us, INT64_MAX, &expected);
    reads_ranking(doc, &found);
    if (strcmp(found.len ? found.data : "", expected.len ? expected.data : "") != 0)
        fail_msg("%s from %s:\n%s\nthe log says\n%s", path, source, found.data, expected.data);
    size_t items = json_get_length(doc, "items");
    json_destroy(doc);
    buf_deinit(&expected);
    buf_deinit(&found);
    return items;
}

static void check_all(const char *source)
{
    static const char *const tags[] = {"", "odd", "even"};
    size_t items = 0;
    for (enum counted by = 0; by < COUNTED_COUNT; by++)
        for (enum window window = 0; window < WINDOW_COUNT; window++)
            for (size_t tag = 0; tag < COUNT_OF(tags); tag++)
                items += check(&(struct ranking){by, window, tags[tag]}, source);
    assert_true(items > 60);
}

static void rankings_are_the_logs(void **)
{
    check_all("redis");
    stack_signal(stack, "projector", SIGSTOP);
    reads_redis(stack, "FLUSHALL", NULL);
    check_all("postgres");
    stack_signal(stack, "projector", SIGCONT);
    models_await_current(&models);
    check_all("redis");
}

/* --- what is in Redis --- */

/* The activity of a campaign is what its events make. */
static void the_record_says_what_the_events_say(void **)
{
    size_t in_window = 0;
    for (size_t i = 0; i < CAMPAIGNS; i++) {
        const struct past_campaign *campaign = &past.campaigns[i];
        int16_t slice = slice_of(span_of(campaign->id));
        struct campaign_record record;
        assert_true(models_campaign(&models, slice, campaign->id, &record));
        for (enum counted counted = 0; counted < COUNTED_COUNT; counted++) {
            struct buf is, should;
            char rest[24];
            buf_init(&is, ACTIVITY_BYTES_MAX);
            buf_init(&should, ACTIVITY_BYTES_MAX);
            activity_write(&is, &record.counted[counted].activity);
            activity_write(&should, &campaign->activity[counted]);
            if (campaign->changed_at_us[counted])
                assert_true(span_equal(buf_span(&is), buf_span(&should)));
            snprintf(rest, sizeof rest, "a:%s", counted_label(counted));
            const char *active = models_key(&models, slice, rest);
            in_window += redis_kind(MODELS_CALL(&models, "ZSCORE", active, campaign->id)) != REDIS_NIL;
            buf_deinit(&is);
            buf_deinit(&should);
        }
    }
    assert_true(in_window > CAMPAIGNS);
}

/* A lost set is not taken for one without members, whichever it is, and the projector hears of it; and all of
 * them are made again. */
static void a_lost_set_is_noticed(void **)
{
    static const struct {
        const char *set, *path;
    } rows[] = {
        {"cs", "/v1/campaigns?limit=5"},
        {"r:issued", "/v1/rankings/campaigns"},
        {"r:redeemed", "/v1/rankings/campaigns?by=redeemed"},
        {"a:issued", "/v1/rankings/campaigns?window=7d"},
        {"a:redeemed", "/v1/rankings/campaigns?window=7d&by=redeemed"},
    };
    int16_t slice = slice_of(span_of(past.campaigns[0].id));
    char hole[24];
    snprintf(hole, sizeof hole, "fc:{%d}:hole", slice);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        models_await_current(&models);
        stack_signal(stack, "projector", SIGSTOP);
        const char *key = models_key(&models, slice, rows[i].set);
        MODELS_CALL(&models, "RENAME", key, "saved");
        struct http_answer answer = api_expect(api_get(&api, rows[i].path, NULL), 200, NULL);
        assert_true(reads_is_from(&answer, "postgres"));
        WAIT_UNTIL(redis_integer(MODELS_CALL(&models, "DEL", hole)) == 1, LONG_MS);
        MODELS_CALL(&models, "RENAME", "saved", key);
        stack_signal(stack, "projector", SIGCONT);
    }
    models_await_current(&models);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(redis_integer(MODELS_CALL(&models, "DEL", models_key(&models, slice, rows[i].set))),
                         1);
    api_expect(api_get(&api, rows[0].path, NULL), 200, NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        WAIT_UNTIL(redis_integer(MODELS_CALL(&models, "EXISTS", models_key(&models, slice, rows[i].set))) ==
                       1,
                   LONG_MS);
    models_await_current(&models);
    check_all("redis");
}

/* --- what comes to its end --- */

static int64_t expires_at(const char *key)
{
    return redis_integer(MODELS_CALL(&models, "EXPIRETIME", key));
}

/* Coupons of 100 days ago are not in Redis, those of now are, until 90 days after the last of their chunk. */
static void old_coupons_are_postgres(void **)
{
    char rest[32];
    size_t old = 0, young = 0;
    models_await_current(&models);
    for (size_t i = 0; i < CAMPAIGNS; i++)
        for (size_t n = 0; n < past.campaigns[i].coupons_count; n++) {
            const struct coupon *coupon = &past.campaigns[i].coupons[n];
            bool is_old = coupon->issued_at_us < clock_wall_us() - 91 * DAY;
            bool is_young = coupon->issued_at_us > clock_wall_us() - 80 * DAY;
            snprintf(rest, sizeof rest, "p:%lld", (long long)(coupon->at.position / COUPON_CHUNK));
            const char *key = models_key(&models, coupon->at.slice, rest);
            const char *path =
                textf("/v1/coupons/c%d-%lld", coupon->at.slice, (long long)coupon->at.position);
            struct http_answer answer =
                api_expect(is_young ? reads_from(&api, path, "redis") : api_get(&api, path, NULL), 200, NULL);
            assert_true(span_is(body_text(answer.body, "status"),
                                coupon->state == COUPON_REDEEMED ? "redeemed" : "issued"));
            if (is_young && expires_at(key) >= 0) /* the one that is not complete yet does not expire */
                assert_true(expires_at(key) * US_PER_S >=
                            coupon->issued_at_us / US_PER_S * US_PER_S + 90 * DAY);
            old += is_old && reads_is_from(&answer, "postgres");
            if (reads_is_from(&answer, "postgres")) /* nor did its redemption begin the chunk anew */
                assert_int_equal(redis_integer(MODELS_CALL(&models, "EXISTS", key)), 0);
            young += is_young;
        }
    /* An end of the run may share its chunk. */
    if (old < ANCIENT - 2 * COUPON_CHUNK || young <= 50)
        fail_msg("%zu old ones in PostgreSQL, %zu young ones", old, young);
}

/* --- more than may be looked at --- */

/* Twins of a campaign, in Redis only: of its slice, and active when it was. */
static void add_twins(const char *campaign, int count)
{
    int16_t slice = slice_of(span_of(campaign));
    char rest[2 * CAMPAIGN_ID_MAX], record[2 * CAMPAIGN_ID_MAX];
    snprintf(record, sizeof record, "c:%s", campaign);
    for (int made = 0, suffix = 0; made < count; suffix++) {
        snprintf(rest, sizeof rest, "c:twin-%d", suffix);
        if (slice_of(span_of(rest + 2)) != slice)
            continue;
        MODELS_CALL(&models, "EVAL",
                    "redis.call('COPY', KEYS[2], KEYS[3]) "
                    "redis.call('ZADD', KEYS[1], redis.call('ZSCORE', KEYS[1], ARGV[1]), ARGV[2])",
                    "3", models_key(&models, slice, "a:issued"), models_key(&models, slice, record),
                    models_key(&models, slice, rest), campaign, rest + 2);
        made++;
    }
}

/* As many active campaigns as a reader looks at, which are more than any page shows. */
static void many_are_ranked(void **)
{
    enum { TWINS = 500, PAGE = 100 };
    static const char *const path = "/v1/rankings/campaigns?window=1h&limit=100";
    char best[CAMPAIGN_ID_MAX + 1], tagged[PATH_BYTES];
    models_await_current(&models);
    struct http_answer answer = reads_get(&api, path);
    struct json_doc *doc = json_get_doc(answer.body);
    int64_t most = json_get_int(doc, "items.0.count");
    snprintf(best, sizeof best, "%.*s", SPAN_ARG(json_get_text(doc, "items.0.campaign_id")));
    json_destroy(doc);
    add_twins(best, TWINS);
    snprintf(tagged, sizeof tagged, "%s&tag=%s", path, (best[5] - '0') % 2 ? "odd" : "even");
    const char *const paths[] = {path, tagged};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        WAIT_UNTIL((answer = reads_get(&api, paths[i]), reads_is_from(&answer, "redis")), LONG_MS);
        doc = json_get_doc(answer.body);
        assert_int_equal(json_get_length(doc, "items"), PAGE);
        assert_int_equal(json_get_int(doc, "items.99.count"), most);
        json_destroy(doc);
    }
    MODELS_CALL(&models, "FLUSHALL");
    models_await_current(&models);
}

/* More active campaigns than a reader looks at. */
static void too_many_for_redis_is_postgres(void **)
{
    models_await_current(&models);
    stack_signal(stack, "projector", SIGSTOP);
    const char *key = models_key(&models, slice_of(span_of(past.campaigns[0].id)), "a:issued");
    MODELS_CALL(&models, "EVAL", "for i = 1, 513 do redis.call('ZADD', KEYS[1], ARGV[1], 'crowd-' .. i) end",
                "1", key, textf("%lld", (long long)clock_wall_us()));
    (void)check(&(struct ranking){COUNTED_ISSUED, WINDOW_HOUR, ""}, "postgres");
    (void)check(&(struct ranking){COUNTED_REDEEMED, WINDOW_HOUR, ""}, "redis");
    MODELS_CALL(&models, "FLUSHALL");
    stack_signal(stack, "projector", SIGCONT);
    models_await_current(&models);
}

static void too_many_for_postgres_is_refused(void **)
{
    static const char insert[] = "INSERT INTO campaign (slice, id, created_at, created_by, version, "
                                 "definition, quantity, released, issued,"
                                 " status, plan_done, first, position) SELECT 0, 'crowd-' || n, now(), "
                                 "'test', 1, '', 1, 1, 1, 1, 0, 1,"
                                 " 1000000000 FROM generate_series(1, %d) AS n";
    stack_signal(stack, "projector", SIGSTOP);
    MODELS_CALL(&models, "FLUSHALL");
    store_run_as(stack, "DATABASE_URL", textf(insert, 2000 - CAMPAIGNS));
    (void)check(&(struct ranking){COUNTED_ISSUED, WINDOW_WEEK, ""}, "postgres");
    store_run_as(stack, "DATABASE_URL", "DELETE FROM campaign WHERE id LIKE 'crowd-%'");
    store_run_as(stack, "DATABASE_URL", textf(insert, 2001));
    static const char *const refused[] = {"/v1/rankings/campaigns?window=7d",
                                          "/v1/rankings/campaigns?window=1h&by=redeemed"};
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct http_answer answer = api_expect(api_get(&api, refused[i], NULL), 503, "store-unavailable");
        assert_true(http_answer_header(&answer, "Retry-After").ptr != NULL);
    }
    store_run_as(stack, "DATABASE_URL", "DELETE FROM campaign WHERE id LIKE 'crowd-%'");
    check_all("postgres");
    stack_signal(stack, "projector", SIGCONT);
    models_await_current(&models);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rankings_are_the_logs),
        cmocka_unit_test(the_record_says_what_the_events_say),
        cmocka_unit_test(old_coupons_are_postgres),
        cmocka_unit_test(a_lost_set_is_noticed),
        cmocka_unit_test(many_are_ranked),
        cmocka_unit_test(too_many_for_redis_is_postgres),
        cmocka_unit_test(too_many_for_postgres_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
