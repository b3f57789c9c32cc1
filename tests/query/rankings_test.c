/* SPDX-License-Identifier: Apache-2.0 */
/* Rankings over windows, and models that come to their end: a log that goes back months, read from Redis and
 * from PostgreSQL. Both say what the log says, and what the script keeps in Redis is what the fold makes. */
#include "readmodel/campaign_record.h"
#include "tests/lib/wait.h"

#include "common/base/crypto.h"
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
static struct change {
    size_t campaign;
    enum counted counted;
    int64_t by, at_us;
} changes[STEPS + ANCIENT + 1]; /* all that ever counted, in order */
static size_t changes_count;
static uint32_t random_state = 5;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

static void note(size_t campaign, enum counted counted, int64_t by, int64_t at_us)
{
    changes[changes_count++] = (struct change){campaign, counted, by, at_us};
}

static void step(size_t index, int64_t at_us)
{
    struct past_campaign *campaign = &past.campaigns[index];
    struct coupon *coupon =
        campaign->coupons_count ? &campaign->coupons[next_random((uint32_t)campaign->coupons_count)] : NULL;
    if (!coupon || next_random(3) == 0) {
        (void)past_issue(&past, campaign, at_us);
        note(index, COUNTED_ISSUED, 1, at_us);
    } else if (coupon->state == COUPON_REDEEMED && next_random(3) == 0) {
        past_restore(&past, campaign, coupon, at_us);
        note(index, COUNTED_REDEEMED, -1, at_us);
    } else if (coupon->state == COUPON_ISSUED) {
        past_redeem(&past, campaign, coupon, at_us);
        note(index, COUNTED_REDEEMED, 1, at_us);
    }
}

/* Months ago slowly, then ever faster until now; the last campaign fell silent long ago. Nothing within a
 * minute of now, so that the clock's difference to PostgreSQL's does not matter. */
static void make_past(void)
{
    static const int64_t ages[] = {99 * DAY,  9 * DAY,  7 * DAY, 2 * DAY,     25 * HOUR,
                                   22 * HOUR, 3 * HOUR, HOUR,    20 * MINUTE, MINUTE};
    int64_t now_us = clock_wall_us();
    for (size_t i = 0; i < CAMPAIGNS; i++) {
        char id[16];
        snprintf(id, sizeof id, "past-%zu", i);
        (void)past_create(&past, id, i % 2 ? "odd" : "even", now_us - 120 * DAY);
    }
    for (int i = 0; i < ANCIENT; i++) { /* the first of them is redeemed today */
        (void)past_issue(&past, &past.campaigns[CAMPAIGNS - 1], now_us - 100 * DAY);
        note(CAMPAIGNS - 1, COUNTED_ISSUED, 1, now_us - 100 * DAY);
    }
    struct coupon *ancient = &past.campaigns[CAMPAIGNS - 1].coupons[0];
    for (int64_t i = 0; i < STEPS; i++) {
        int64_t leg = i * (int64_t)(COUNT_OF(ages) - 1) / STEPS, legs = STEPS / (int64_t)(COUNT_OF(ages) - 1);
        int64_t into = i - leg * STEPS / (int64_t)(COUNT_OF(ages) - 1);
        int64_t age_us = ages[leg] - (ages[leg] - ages[leg + 1]) * into / (legs + 1);
        size_t campaign = next_random(leg < 1 ? CAMPAIGNS : CAMPAIGNS - 1);
        step(campaign, now_us - age_us);
    }
    past_redeem(&past, &past.campaigns[CAMPAIGNS - 1], ancient, now_us - MINUTE);
    note(CAMPAIGNS - 1, COUNTED_REDEEMED, 1, now_us - MINUTE);
}

static int set_up(void **state)
{
    crypto_setup();
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

struct ranking {
    enum counted by;
    enum window window;
    const char *tag;
};

/* Of every change that was ever made; "past-3 7, past-1 5" */
static void expect_from_log(const struct ranking *ranking, int64_t since_us, struct buf *ret)
{
    struct ranked ranked[CAMPAIGNS] = {0};
    size_t count = 0;
    for (size_t i = 0; i < CAMPAIGNS; i++)
        ranked[i].campaign = i;
    for (size_t i = 0; i < changes_count; i++) {
        const struct change *change = &changes[i];
        if (change->counted != ranking->by || change->at_us < since_us)
            continue;
        ranked[change->campaign].count += change->by;
        ranked[change->campaign].reached_at_us = change->at_us;
    }
    qsort(ranked, CAMPAIGNS, sizeof *ranked, compare_ranked);
    for (size_t i = 0; i < CAMPAIGNS && ranked[i].count > 0; i++) {
        const char *tag = ranked[i].campaign % 2 ? "odd" : "even";
        if (ranking->tag[0] && strcmp(tag, ranking->tag) != 0)
            continue;
        buf_printf(ret, "%s%s %lld", count++ ? ", " : "", past.campaigns[ranked[i].campaign].id,
                   (long long)ranked[i].count);
    }
}

/* --- what the API says --- */

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

/* Asked once; what the log says is taken for the beginning of the window that the answer names. */
static size_t check(const struct ranking *ranking, const char *source)
{
    char path[PATH_BYTES];
    struct buf expected, found;
    snprintf(path, sizeof path, "/v1/rankings/campaigns?by=%s&window=%s%s%s", counted_label(ranking->by),
             window_label(ranking->window), ranking->tag[0] ? "&tag=" : "", ranking->tag);
    buf_init(&expected, 1024);
    buf_init(&found, 1024);
    struct http_answer answer = reads_from(&api, path, source);
    api_expect(&answer, 200, NULL);
    struct json_doc *doc = json_get_doc(answer.body);
    int64_t since_us = 0;
    if (ranking->window != WINDOW_ALL)
        assert_true(time_parse(json_get_text(doc, "since"), &since_us));
    expect_from_log(ranking, since_us, &expected);
    text_of(doc, &found);
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

static void rankings_are_the_logs(void **state)
{
    (void)state;
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
static void the_record_says_what_the_events_say(void **state)
{
    (void)state;
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
static void a_lost_set_is_noticed(void **state)
{
    (void)state;
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
        struct http_answer answer = api_get(&api, rows[i].path, NULL);
        api_expect(&answer, 200, NULL);
        assert_true(reads_is_from(&answer, "postgres"));
        WAIT_UNTIL(redis_integer(MODELS_CALL(&models, "DEL", hole)) == 1, LONG_MS);
        MODELS_CALL(&models, "RENAME", "saved", key);
        stack_signal(stack, "projector", SIGCONT);
    }
    models_await_current(&models);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(redis_integer(MODELS_CALL(&models, "DEL", models_key(&models, slice, rows[i].set))),
                         1);
    struct http_answer answer = api_get(&api, rows[0].path, NULL);
    api_expect(&answer, 200, NULL);
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
static void old_coupons_are_postgres(void **state)
{
    (void)state;
    char rest[32], path[PATH_BYTES];
    size_t old = 0, young = 0;
    models_await_current(&models);
    for (size_t i = 0; i < CAMPAIGNS; i++)
        for (size_t n = 0; n < past.campaigns[i].coupons_count; n++) {
            const struct coupon *coupon = &past.campaigns[i].coupons[n];
            bool is_old = coupon->issued_at_us < clock_wall_us() - 91 * DAY;
            bool is_young = coupon->issued_at_us > clock_wall_us() - 80 * DAY;
            snprintf(rest, sizeof rest, "p:%lld", (long long)(coupon->at.position / COUPON_CHUNK));
            const char *key = models_key(&models, coupon->at.slice, rest);
            snprintf(path, sizeof path, "/v1/coupons/c%d-%lld", coupon->at.slice,
                     (long long)coupon->at.position);
            struct http_answer answer =
                is_young ? reads_from(&api, path, "redis") : api_get(&api, path, NULL);
            api_expect(&answer, 200, NULL);
            struct json_doc *doc = json_get_doc(answer.body);
            assert_true(span_is(json_get_text(doc, "status"),
                                coupon->state == COUPON_REDEEMED ? "redeemed" : "issued"));
            json_destroy(doc);
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
static void many_are_ranked(void **state)
{
    (void)state;
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
static void too_many_for_redis_is_postgres(void **state)
{
    (void)state;
    char now[24];
    models_await_current(&models);
    stack_signal(stack, "projector", SIGSTOP);
    const char *key = models_key(&models, slice_of(span_of(past.campaigns[0].id)), "a:issued");
    snprintf(now, sizeof now, "%lld", (long long)clock_wall_us());
    MODELS_CALL(&models, "EVAL", "for i = 1, 513 do redis.call('ZADD', KEYS[1], ARGV[1], 'crowd-' .. i) end",
                "1", key, now);
    (void)check(&(struct ranking){COUNTED_ISSUED, WINDOW_HOUR, ""}, "postgres");
    (void)check(&(struct ranking){COUNTED_REDEEMED, WINDOW_HOUR, ""}, "redis");
    MODELS_CALL(&models, "FLUSHALL");
    stack_signal(stack, "projector", SIGCONT);
    models_await_current(&models);
}

static void too_many_for_postgres_is_refused(void **state)
{
    (void)state;
    static const char *const insert = "INSERT INTO campaign (slice, id, created_at, created_by, version, "
                                      "definition, quantity, released, issued,"
                                      " status, plan_done, first, position) SELECT 0, 'crowd-' || n, now(), "
                                      "'test', 1, '', 1, 1, 1, 1, 0, 1,"
                                      " 1000000000 FROM generate_series(1, %d) AS n";
    char sql[512];
    stack_signal(stack, "projector", SIGSTOP);
    MODELS_CALL(&models, "FLUSHALL");
    snprintf(sql, sizeof sql, insert, 2000 - CAMPAIGNS);
    store_run_as(stack, "DATABASE_URL", sql);
    (void)check(&(struct ranking){COUNTED_ISSUED, WINDOW_WEEK, ""}, "postgres");
    store_run_as(stack, "DATABASE_URL", "DELETE FROM campaign WHERE id LIKE 'crowd-%'");
    snprintf(sql, sizeof sql, insert, 2001);
    store_run_as(stack, "DATABASE_URL", sql);
    static const char *const refused[] = {"/v1/rankings/campaigns?window=7d",
                                          "/v1/rankings/campaigns?window=1h&by=redeemed"};
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct http_answer answer = api_get(&api, refused[i], NULL);
        api_expect(&answer, 503, "store-unavailable");
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
