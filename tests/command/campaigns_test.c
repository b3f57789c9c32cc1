/* SPDX-License-Identifier: Apache-2.0 */
/* Campaigns that vanish, end or open by themselves, and how many there may be: deleting, voiding in bulk also
 * while issues race it, what the sweep notes without anybody asking, and quotas at the limit and one above.
 */
#include "tests/lib/wait.h"

#include "events/ids.h"
#include "tests/lib/api.h"
#include "tests/lib/store.h"

enum { BOUND_MS = 120000 };

static struct stack *stack;
static struct api_client api;

/* What a query gives, written with the arguments of printf. */
#define NUMBER(...) store_numberf(stack, __VA_ARGS__)

static int64_t events_of(const char *campaign, int type)
{
    return NUMBER("SELECT count(*) FROM event WHERE type = %d AND campaign_id = '%s'", type, campaign);
}

static int64_t state_of(const char *campaign)
{
    return NUMBER("SELECT status FROM campaign WHERE id = '%s'", campaign);
}

/* All open campaigns together, as they are and as they are counted. */
static void expect_stock_is_counted(void)
{
    assert_int_equal(
        NUMBER("SELECT coalesce(sum(used), 0)::bigint FROM creation_quota WHERE scope = '#'"),
        NUMBER("SELECT coalesce(sum(quantity), 0)::bigint FROM campaign WHERE status IN (1, 2)"));
}

static void new_campaign(char id[64], int quantity, const char *more)
{
    snprintf(id, 64, "%s", api_campaign(&api, quantity, more));
}

static struct http_answer act(const char *campaign, const char *verb)
{
    return api_post(&api, textf("/v1/campaigns/%s/%s", campaign, verb), "{}", NULL);
}

static struct http_answer delete_with(const char *campaign, const char *key)
{
    char path[128];
    snprintf(path, sizeof path, "/v1/campaigns/%s", campaign);
    return API_ASK(api.command, .method = "DELETE", .path = path, .token = stack_env(stack, "ADMIN_TOKEN"),
                   .key = key);
}

static void expect_delete(const char *campaign, int status, const char *code)
{
    api_expect(delete_with(campaign, NULL), status, code);
}

static int64_t in_ms(int64_t ms)
{
    return clock_wall_us() + ms * US_PER_MS;
}

/* How many of a campaign's events of that type were recorded before a moment. */
static int64_t events_before(const char *campaign, int type, int64_t wall_us)
{
    return NUMBER("SELECT count(*) FROM event WHERE type = %d AND campaign_id = '%s' AND recorded_at < '%s'",
                  type, campaign, time_text(wall_us));
}

/* --- deleting --- */

static void what_is_deleted_is_gone_for_ever(void **)
{
    static const char *const verbs[] = {"pause", "resume", "close"};
    char id[64];
    new_campaign(id, 3, "");
    struct http_answer answer = api_expect(delete_with(id, "delete-once"), 204, NULL);
    assert_int_equal(answer.body.len, 0);
    assert_true(span_starts(http_answer_header(&answer, "Consistency-Token"), SPAN("v1.")));
    answer = api_expect(delete_with(id, "delete-once"), 204, NULL);
    assert_true(span_is(http_answer_header(&answer, "Idempotency-Replayed"), "true"));
    expect_delete(id, 204, NULL);
    api_expect(delete_with(id, "delete-again"), 204, NULL);
    assert_int_equal(events_of(id, 7), 1);
    assert_int_equal(state_of(id), 5);
    answer = api_expect(api_issue(&api, id, "ann"), 404, "unknown-campaign");
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        api_expect(act(id, verbs[i]), 404, "unknown-campaign");
    api_expect(api_create(&api, id, 3, ""), 409, "campaign-exists");
    expect_delete("never-heard-of", 404, "unknown-campaign");
    expect_stock_is_counted();
}

static void what_was_issued_of_stays(void **)
{
    char id[64];
    new_campaign(id, 3, "");
    api_give(&api, id, "ann");
    expect_delete(id, 409, "has-coupons");
    api_expect(act(id, "close"), 200, NULL);
    expect_delete(id, 409, "has-coupons");
    assert_int_equal(events_of(id, 7), 0);
    new_campaign(id, 3, "");
    (void)act(id, "close");
    expect_delete(id, 204, NULL); /* nothing was issued of it */
    expect_stock_is_counted();
}

static void who_may_delete(void **)
{
    static const char *const tokens[] = {"READ_TOKEN", "ISSUE_TOKEN", "REDEEM_TOKEN"};
    char id[64], path[128];
    new_campaign(id, 1, "");
    snprintf(path, sizeof path, "/v1/campaigns/%s", id);
    for (size_t i = 0; i < COUNT_OF(tokens); i++) {
        api_expect(
            API_ASK(api.command, .method = "DELETE", .path = path, .token = stack_env(stack, tokens[i])), 403,
            "forbidden");
    }
    assert_int_equal(state_of(id), 1);
}

/* --- voiding --- */

static struct http_answer void_with(const char *body, const char *key)
{
    return api_post(&api, "/v1/campaigns/void", body, key);
}

static void expect_counts(const struct http_answer *answer, int64_t matched, int64_t voidable, int64_t voided)
{
    api_expect(*answer, 200, NULL);
    if (body_int(answer->body, "matched") != matched || body_int(answer->body, "voidable") != voidable ||
        body_int(answer->body, "voided") != voided)
        fail_msg("%.*s, not %lld %lld %lld", SPAN_ARG(answer->body), (long long)matched, (long long)voidable,
                 (long long)voided);
}

/* As the store wrote it, so that a filter can stand right before and after it. */
static const char *created_at(const char *campaign)
{
    return time_text(NUMBER(
        "SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM campaign WHERE id = '%s'", campaign));
}

static void voids_what_fits_all_that_is_given(void **)
{
    char ids[4][64], body[512], from[64], to[64], kept[256];
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        new_campaign(ids[i], 3, "");
    api_give(&api, ids[1], "ann");
    snprintf(from, sizeof from, "%s", created_at(ids[0]));
    snprintf(to, sizeof to, "%s", created_at(ids[3]));
    /* Both ends are exclusive, so of four the two in the middle fit; of one of them something was issued. */
    snprintf(body, sizeof body, "{\"created_after\":\"%s\",\"created_before\":\"%s\",\"dry_run\":true}", from,
             to);
    struct http_answer answer = void_with(body, NULL);
    expect_counts(&answer, 2, 1, 0);
    snprintf(body, sizeof body,
             "{\"created_after\":\"%s\",\"created_before\":\"%s\",\"created_by\":\"nobody\"}", from, to);
    answer = void_with(body, NULL);
    expect_counts(&answer, 0, 0, 0);
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        assert_int_equal(state_of(ids[i]), 1);
    snprintf(body, sizeof body,
             "{\"created_after\":\"%s\",\"created_before\":\"%s\",\"created_by\":\"admin\",\"reason\":\"by a "
             "script\"}",
             from, to);
    answer = void_with(body, "void-once");
    expect_counts(&answer, 2, 1, 1);
    assert_null(http_answer_header(&answer, "Idempotency-Replayed").ptr);
    snprintf(kept, sizeof kept, "%.*s", SPAN_ARG(answer.body));
    answer = void_with(body, "void-once");
    assert_true(span_is(answer.body, kept));
    assert_true(span_is(http_answer_header(&answer, "Idempotency-Replayed"), "true"));
    api_expect(void_with("{\"created_by\":\"admin\"}", "void-once"), 422, "idempotency-key-reused");
    answer = void_with(body, NULL); /* what is gone does not fit any more */
    expect_counts(&answer, 1, 0, 0);
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        assert_int_equal(state_of(ids[i]), i == 2 ? 5 : 1);
    assert_int_equal(events_of(ids[2], 7), 1);
    assert_int_equal(NUMBER("SELECT count(*) FROM event WHERE type = 7 AND campaign_id = '%s' AND "
                            "position('by a script'::bytea IN data) > 0",
                            ids[2]),
                     1);
    api_expect(api_issue(&api, ids[2], "ann"), 404, "unknown-campaign");
    expect_stock_is_counted();
}

/* Where one slice cannot be written the whole is answered with that, and the same key then does the rest. */
static void a_void_that_failed_in_part_is_finished_by_its_key(void **)
{
    enum { CAMPAIGNS = 30 };
    char ids[CAMPAIGNS][64], body[128], sql[128], before[64];
    new_campaign(ids[0], 1, "");
    snprintf(before, sizeof before, "%s", created_at(ids[0]));
    for (size_t i = 0; i < CAMPAIGNS; i++)
        new_campaign(ids[i], 1, "");
    int64_t held = NUMBER("SELECT slice FROM campaign WHERE id = '%s'", ids[0]);
    snprintf(sql, sizeof sql, "SELECT 1 FROM slice WHERE slice = %lld FOR UPDATE", (long long)held);
    snprintf(body, sizeof body, "{\"created_after\":\"%s\"}", before);
    struct pg *holder = store_hold(stack, sql);
    struct http_answer answer = api_expect(void_with(body, "void-in-parts"), 503,
                                           NULL); /* by the command's deadline or the store's, never "done" */
    store_let_go(holder);
    assert_int_equal(events_of(ids[0], 7), 0);
    int64_t first =
        NUMBER("SELECT count(*) FROM (SELECT answer, recorded_at FROM idempotency UNION ALL SELECT answer, "
               "recorded_at FROM event) a WHERE position(convert_to('\"voided\"', 'UTF8') in answer) > 0 AND "
               "recorded_at > (SELECT created_at FROM campaign WHERE id = '%s')",
               ids[CAMPAIGNS - 1]);
    assert_true(first > 0 && first < SLICE_COUNT); /* some slices were done */
    answer = void_with(body, "void-in-parts");
    expect_counts(&answer, CAMPAIGNS, CAMPAIGNS, CAMPAIGNS);
    for (size_t i = 0; i < CAMPAIGNS; i++)
        assert_int_equal(events_of(ids[i], 7), 1); /* each once */
    expect_stock_is_counted();
}

/* A campaign is either voided or has the coupon: never both, never neither. */
static void a_void_races_issues(void **)
{
    enum { CAMPAIGNS = 24 };
    char ids[CAMPAIGNS][64], body[256], before[64];
    struct http_client *clients[CAMPAIGNS], *voider = NULL;
    new_campaign(ids[0], 1, "");
    snprintf(before, sizeof before, "%s", created_at(ids[0]));
    for (size_t i = 0; i < CAMPAIGNS; i++)
        new_campaign(ids[i], 1, "");
    snprintf(body, sizeof body, "{\"created_after\":\"%s\"}", before);
    for (size_t i = 0; i < CAMPAIGNS; i++) {
        if (i == CAMPAIGNS / 2)
            voider = api_post_begin(&api, "/v1/campaigns/void", body, "void-race", NULL);
        clients[i] = api_post_begin(&api, textf("/v1/campaigns/%s/coupons", ids[i]), "{\"user_id\":\"ann\"}",
                                    textf("void-race-%zu", i), NULL);
    }
    int64_t issued = 0, voided = 0;
    for (size_t i = 0; i < CAMPAIGNS; i++) {
        struct http_answer answer = api_post_end(clients[i]);
        bool has = answer.status == 201;
        if (!has)
            api_expect(answer, 404, "unknown-campaign");
        http_client_destroy(clients[i]);
        issued += has;
    }
    struct http_answer answer = api_expect(api_post_end(voider), 200, NULL);
    voided = body_int(answer.body, "voided");
    http_client_destroy(voider);
    assert_int_equal(issued + voided, CAMPAIGNS);
    for (size_t i = 0; i < CAMPAIGNS; i++)
        assert_int_equal(events_of(ids[i], 6) + events_of(ids[i], 7), 1);
    expect_stock_is_counted();
}

/* Incident 1 in small: one call takes back what a script created, two thousand at once. */
static void two_thousand_are_voided(void **)
{
    enum { CAMPAIGNS = 2000, CONNECTIONS = 50 };
    char body[512], key[64], before[64];
    new_campaign(key, 1, "");
    snprintf(before, sizeof before, "%s", created_at(key));
    for (int done = 0; done < CAMPAIGNS; done += CONNECTIONS) {
        struct http_client *clients[CONNECTIONS];
        for (int i = 0; i < CONNECTIONS; i++) {
            snprintf(key, sizeof key, "script-%d", done + i);
            snprintf(
                body, sizeof body,
                "{\"id\":\"%s\",\"name\":\"n\",\"discount\":{\"type\":\"fixed\",\"amount\":1},\"currency\":"
                "\"KRW\",\"quantity\":2}",
                key);
            clients[i] = api_post_begin(&api, "/v1/campaigns", body, key, NULL);
        }
        for (int i = 0; i < CONNECTIONS; i++) {
            api_expect(api_post_end(clients[i]), 201, NULL);
            http_client_destroy(clients[i]);
        }
    }
    snprintf(body, sizeof body, "{\"created_after\":\"%s\"}", before);
    struct http_answer answer = void_with(body, NULL);
    expect_counts(&answer, CAMPAIGNS, CAMPAIGNS, CAMPAIGNS);
    assert_int_equal(NUMBER("SELECT count(*) FROM campaign WHERE id LIKE 'script-%%' AND status = 5"),
                     CAMPAIGNS);
    assert_int_equal(NUMBER("SELECT count(*) FROM event WHERE campaign_id LIKE 'script-%%' AND type = 7"),
                     CAMPAIGNS);
    expect_stock_is_counted();
}

/* --- what is due by itself --- */

static void an_end_is_noted(void **)
{
    char id[64];
    int64_t ends_us = in_ms(1500);
    new_campaign(id, 5, textf(",\"ends_at\":\"%s\"", time_text(ends_us)));
    WAIT_UNTIL(clock_wall_us() >= ends_us, BOUND_MS);
    api_expect(api_issue(&api, id, "ann"), 410, "ended"); /* by the instant, noted or not */
    api_expect(act(id, "pause"), 410, "ended");
    api_expect(act(id, "close"), 200, NULL); /* it is over already */
    WAIT_UNTIL(events_of(id, 8) == 1, BOUND_MS);
    assert_int_equal(events_before(id, 8, ends_us), 0);
    assert_int_equal(events_of(id, 5), 0);
    assert_int_equal(state_of(id), 4);
    assert_int_equal(NUMBER("SELECT count(*) FROM campaign WHERE id = '%s' AND due_at IS NULL", id), 1);
    expect_stock_is_counted();
}

/* Whose coupons would be expired when they are issued is over: that is said, noted, and its stock given back.
 */
static void a_campaign_ends_with_its_coupons(void **)
{
    char id[64];
    int64_t expire_us = in_ms(1500);
    new_campaign(id, 5, textf(",\"coupon_expires_at\":\"%s\"", time_text(expire_us)));
    api_give(&api, id, "ann");
    WAIT_UNTIL(clock_wall_us() >= expire_us, BOUND_MS);
    api_expect(api_issue(&api, id, "bob"), 410, "ended");
    api_expect(act(id, "resume"), 410, "ended");
    WAIT_UNTIL(events_of(id, 8) == 1, BOUND_MS);
    assert_int_equal(state_of(id), 4);
    expect_stock_is_counted();
    char body[512];
    snprintf(body, sizeof body,
             "{\"name\":\"n\",\"discount\":{\"type\":\"fixed\",\"amount\":1},\"currency\":\"KRW\","
             "\"quantity\":1,\"coupon_expires_at\":\"%s\"}",
             time_text(clock_wall_us() - US_PER_S));
    struct http_answer answer =
        api_expect(api_post(&api, "/v1/campaigns", body, NULL), 400, "invalid-window");
    assert_non_null(strstr(answer.body.ptr, "coupon_expires_at"));
}

static void a_release_plan_is_carried_out_without_anybody(void **)
{
    char id[64], more[256];
    int64_t first_us = in_ms(800), second_us = in_ms(1600);
    int len = snprintf(more, sizeof more, ",\"released\":1,\"release_plan\":[{\"at\":\"%s\",\"quantity\":2},",
                       time_text(first_us));
    snprintf(more + len, sizeof more - (size_t)len, "{\"at\":\"%s\",\"quantity\":3}]", time_text(second_us));
    new_campaign(id, 6, more);
    WAIT_UNTIL(NUMBER("SELECT released FROM campaign WHERE id = '%s'", id) == 6, BOUND_MS);
    assert_int_equal(events_of(id, 2), 2);
    assert_int_equal(events_before(id, 2, first_us), 0);
    assert_true(events_before(id, 2, second_us) <= 1);
    assert_int_equal(NUMBER("SELECT count(*) FROM campaign WHERE id = '%s' AND due_at IS NULL", id), 1);
}

/* --- quotas --- */

#define PLENTY "1000000"

/* The command service again, with this one limit. */
static void limit_to(const char *option, int64_t most)
{
    static const char *const options[] = {"FIRSTCOME_CAMPAIGNS_PER_KEY_PER_DAY",
                                          "FIRSTCOME_CAMPAIGNS_PER_DAY", "FIRSTCOME_LIVE_COUPONS_MAX"};
    char value[32];
    for (size_t i = 0; i < COUNT_OF(options); i++)
        setenv(options[i], PLENTY, 1);
    snprintf(value, sizeof value, "%lld", (long long)most);
    setenv(option, value, 1);
    stack_service(stack, "command-service", "stop");
    stack_service(stack, "command-service", "start");
    http_client_close(api.command);
}

static int64_t used_today(const char *scope)
{
    return NUMBER("SELECT coalesce(sum(used), 0)::bigint FROM creation_quota WHERE scope = '%s' AND day IN "
                  "('epoch', (now() AT TIME ZONE 'UTC')::date)",
                  scope);
}

static void campaigns_per_key_and_day_are_bounded(void **)
{
    char id[64];
    limit_to("FIRSTCOME_CAMPAIGNS_PER_KEY_PER_DAY", used_today("key:admin") + 2);
    new_campaign(id, 1, "");
    expect_delete(id, 204, NULL); /* gives nothing back: it was created today */
    new_campaign(id, 1, "");
    api_expect(api_create(&api, "one-too-many", 1, ""), 429, "quota-exceeded");
    assert_int_equal(state_of("one-too-many"), 0);
    api_expect(api_create(&api, id, 1, ""), 409,
               "campaign-exists"); /* what is wrong with it anyway is said first */
}

static void campaigns_per_day_are_bounded(void **)
{
    char id[64];
    limit_to("FIRSTCOME_CAMPAIGNS_PER_DAY", used_today("*") + 1);
    new_campaign(id, 1, "");
    api_expect(api_create(&api, "one-too-many-of-all", 1, ""), 429, "quota-exceeded");
}

static void expect_full(void)
{
    struct http_answer answer = api_expect(api_create(&api, "too-large", 1, ""), 429, "quota-exceeded");
    assert_null(http_answer_header(&answer, "Retry-After").ptr); /* nobody knows when */
}

static void live_coupons_are_bounded(void **)
{
    char ids[3][64];
    int64_t used = used_today("#");
    limit_to("FIRSTCOME_LIVE_COUPONS_MAX", used + 20);
    new_campaign(ids[0], 10, "");
    api_expect(api_create(&api, "too-large", 11, ""), 429, "quota-exceeded");
    new_campaign(ids[1], 10, ""); /* up to the limit */
    expect_full();
    api_expect(act(ids[0], "close"), 200, NULL); /* gives its ten back */
    api_expect(api_create(&api, "ten-by-close", 10, ""), 201, NULL);
    expect_full();
    expect_delete(ids[1], 204, NULL);
    new_campaign(ids[2], 10, textf(",\"ends_at\":\"%s\"", time_text(in_ms(1500))));
    WAIT_UNTIL(events_of(ids[2], 8) == 1, BOUND_MS);
    api_expect(api_create(&api, "ten-by-end", 10, ""), 201, NULL);
    expect_full();
    assert_int_equal(used_today("#"), used + 20);
    expect_stock_is_counted();
}

static int start(void **state)
{
    setenv("FIRSTCOME_CAMPAIGNS_PER_KEY_PER_DAY", PLENTY, 1);
    stack = api_setup(state, &api, STACK_COMMAND);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_deleted_is_gone_for_ever),
        cmocka_unit_test(what_was_issued_of_stays),
        cmocka_unit_test(who_may_delete),
        cmocka_unit_test(voids_what_fits_all_that_is_given),
        cmocka_unit_test(a_void_races_issues),
        cmocka_unit_test(a_void_that_failed_in_part_is_finished_by_its_key),
        cmocka_unit_test(an_end_is_noted),
        cmocka_unit_test(a_campaign_ends_with_its_coupons),
        cmocka_unit_test(a_release_plan_is_carried_out_without_anybody),
        cmocka_unit_test(two_thousand_are_voided),
        cmocka_unit_test(live_coupons_are_bounded),
        cmocka_unit_test(campaigns_per_key_and_day_are_bounded),
        cmocka_unit_test(campaigns_per_day_are_bounded),
    };
    return cmocka_run_group_tests(tests, start, api_teardown);
}
