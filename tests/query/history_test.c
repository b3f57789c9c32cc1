/* SPDX-License-Identifier: Apache-2.0 */
/* What happened, who did it and why, and why somebody was refused: asked of the query service after a story
 * told to the command service. */
#include "tests/lib/wait.h"

#include "tests/lib/json_get.h"
#include "tests/lib/reads.h"

enum { PATH_BYTES = 512 };

static struct stack *stack;
static struct api_client api;

static int start(void **state)
{
    stack = api_setup(state, &api, STACK_ALL);
    return 0;
}

static struct http_answer act(const char *path, const char *body)
{
    return api_expect(api_post(&api, path, body, NULL), 200, NULL);
}

static struct json_doc *read_as(const char *path, const char *token_name, int status, const char *code)
{
    struct http_answer answer =
        api_expect(API_ASK(api.query, .path = path, .token = stack_env(stack, token_name)), status, code);
    return json_get_doc(answer.body);
}

static void expect_text(const struct json_doc *doc, const char *path, const char *text)
{
    struct span is = json_get_text(doc, path);
    if (!span_is(is, text))
        fail_msg("%s is %.*s, not %s", path, SPAN_ARG(is), text);
}

static void expect_item(const struct json_doc *doc, size_t i, const char *type, const char *actor,
                        const char *reason)
{
    char path[64];
    expect_text(doc, textf("items.%zu.type", i), type);
    snprintf(path, sizeof path, "items.%zu.actor", i);
    if (actor)
        expect_text(doc, path, actor);
    snprintf(path, sizeof path, "items.%zu.reason", i);
    if (reason)
        expect_text(doc, path, reason);
    else
        assert_true(json_as_null(json_get(doc, path)));
}

static void a_campaigns_history_says_who_and_why(void **)
{
    char id[80], path[PATH_BYTES];
    snprintf(id, sizeof id, "%s", api_campaign(&api, 5, ",\"released\":2"));
    api_give(&api, id, "ann");
    act(textf("/v1/campaigns/%s/pause", id), "{\"reason\":\"price typo on the page\"}");
    act(textf("/v1/campaigns/%s/resume", id), "");
    act(textf("/v1/campaigns/%s/release", id), "{\"quantity\":1,\"reason\":\"more demand\"}");
    act(textf("/v1/campaigns/%s/close", id), "{\"reason\":\"over\"}");
    snprintf(path, sizeof path, "/v1/campaigns/%s/history", id);
    struct json_doc *doc = read_as(path, "READ_TOKEN", 200, NULL);
    assert_int_equal(json_get_length(doc, "items"), 5);
    expect_item(doc, 0, "CampaignCreated", "admin", NULL);
    expect_item(doc, 1, "CampaignPaused", "admin", "price typo on the page");
    expect_item(doc, 2, "CampaignResumed", "admin", NULL);
    expect_item(doc, 3, "StockReleased", "admin", "more demand");
    expect_item(doc, 4, "CampaignClosed", "admin", "over");
    assert_true(json_as_null(json_get(doc, "next")));
    json_destroy(doc);
    char again[2 * PATH_BYTES], cursor[160];
    snprintf(again, sizeof again, "%s?limit=2", path);
    size_t pages = 0, items = 0;
    for (bool more = true; more; pages++) {
        doc = read_as(again, "READ_TOKEN", 200, NULL);
        items += json_get_length(doc, "items");
        more = !json_as_null(json_get(doc, "next"));
        if (more) {
            snprintf(cursor, sizeof cursor, "%.*s", SPAN_ARG(json_get_text(doc, "next")));
            snprintf(again, sizeof again, "%s?limit=2&cursor=%s", path, cursor);
        }
        json_destroy(doc);
    }
    assert_int_equal(pages, 3);
    assert_int_equal(items, 5);
    json_destroy(read_as(textf("/v1/campaigns/%s/history?cursor=%s", "elsewhere", cursor), "READ_TOKEN", 400,
                         "invalid-cursor"));
    json_destroy(read_as("/v1/campaigns/nobodys/history", "READ_TOKEN", 404, "unknown-campaign"));
}

static void a_coupons_history_begins_with_its_issue(void **)
{
    char id[80], coupon[40], path[PATH_BYTES];
    snprintf(id, sizeof id, "%s", api_campaign(&api, 5, ""));
    struct http_answer answer = api_expect(api_issue(&api, id, "bob"), 201, NULL);
    struct json_doc *doc = json_get_doc(answer.body);
    snprintf(coupon, sizeof coupon, "%.*s", SPAN_ARG(json_get_text(doc, "coupon_id")));
    json_destroy(doc);
    api_give(&api, id, "another");
    act(textf("/v1/coupons/%s/reserve", coupon),
        "{\"user_id\":\"bob\",\"order_id\":\"o1\",\"order_amount\":900,\"ttl_seconds\":600}");
    act(textf("/v1/coupons/%s/redeem", coupon),
        "{\"user_id\":\"bob\",\"order_id\":\"o1\",\"order_amount\":900}");
    act(textf("/v1/coupons/%s/restore", coupon), "{\"order_id\":\"o1\"}");
    act(textf("/v1/coupons/%s/revoke", coupon), "{\"reason\":\"fraud\"}");
    snprintf(path, sizeof path, "/v1/coupons/%s/history", coupon);
    doc = read_as(path, "READ_TOKEN", 200, NULL);
    assert_int_equal(json_get_length(doc, "items"), 5);
    expect_item(doc, 0, "CouponIssued", NULL, NULL);
    expect_item(doc, 1, "CouponReserved", "admin", NULL);
    expect_item(doc, 2, "CouponRedeemed", "admin", NULL);
    expect_item(doc, 3, "CouponRestored", "admin", NULL);
    expect_item(doc, 4, "CouponRevoked", "admin", "fraud");
    expect_text(doc, "items.2.data.order_id", "o1");
    json_destroy(doc);
    json_destroy(read_as("/v1/coupons/c3-999999999/history", "READ_TOKEN", 404, "unknown-coupon"));
}

static void the_audit_is_newest_first_and_for_admins(void **)
{
    api_expect(API_ASK(api.command, .method = "PUT", .path = "/v1/settings/queue_max",
                       .token = stack_env(stack, "ADMIN_TOKEN"),
                       .body = "{\"value\":5000,\"reason\":\"a quiet night\"}"),
               200, NULL);
    api_expect(api_post(&api, "/v1/issuers/issue/suspend", "{\"reason\":\"leaked\"}", NULL), 200, NULL);
    api_expect(api_post(&api, "/v1/issuers/issue/resume", "{\"reason\":\"rotated\"}", NULL), 200, NULL);
    struct json_doc *doc = read_as("/v1/audit?limit=3", "ADMIN_TOKEN", 200, NULL);
    assert_int_equal(json_get_length(doc, "items"), 3);
    expect_item(doc, 0, "IssuerResumed", "admin", "rotated");
    expect_item(doc, 1, "IssuerSuspended", "admin", "leaked");
    expect_item(doc, 2, "SettingChanged", "admin", "a quiet night");
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/v1/audit?limit=100&cursor=%.*s", SPAN_ARG(json_get_text(doc, "next")));
    json_destroy(doc);
    doc = read_as(path, "ADMIN_TOKEN", 200, NULL);
    size_t count = json_get_length(doc, "items");
    assert_true(count >= 7); /* what the tests before this one did, from other slices */
    for (size_t i = 1; i < count; i++) {
        struct span a = json_get_text(doc, textf("items.%zu.recorded_at", i - 1)),
                    b = json_get_text(doc, textf("items.%zu.recorded_at", i));
        assert_true(a.len == b.len && memcmp(a.ptr, b.ptr, a.len) >= 0);
    }
    json_destroy(doc);
    json_destroy(read_as("/v1/audit", "READ_TOKEN", 403, "forbidden"));
}

static void expect_decision(const char *id, const char *user, const char *as_of, const char *decision,
                            int64_t held)
{
    struct json_doc *doc = read_as(
        textf("/v1/campaigns/%s/users/%s/decision%s%s", id, user, as_of ? "?as_of=" : "", as_of ? as_of : ""),
        "READ_TOKEN", 200, NULL);
    expect_text(doc, "decision", decision);
    assert_int_equal(json_get_int(doc, "held"), held);
    assert_true(json_get_text(doc, "message.en").len > 0 && json_get_text(doc, "message.ko").len > 0);
    json_destroy(doc);
}

/* For each step of a sale: what the service would have said right after it, asked when all is over. */
static void why_somebody_was_refused_is_told_for_any_moment(void **)
{
    enum { STEPS = 6 };
    char id[80], path[PATH_BYTES], moments[STEPS][64];
    snprintf(id, sizeof id, "%s", api_campaign(&api, 2, ""));
    static const char *const bodies[STEPS] = {"ann", "pause", "resume", "bob", NULL, "close"};
    for (size_t i = 0; i < STEPS; i++) {
        struct http_answer answer;
        if (i == 0 || i == 3) {
            answer = api_expect(api_issue(&api, id, bodies[i]), 201, NULL);
        } else if (bodies[i]) {
            snprintf(path, sizeof path, "/v1/campaigns/%s/%s", id, bodies[i]);
            answer = act(path, "");
        } else {
            answer = api_expect(api_issue(&api, id, "cyd"), 409, "sold-out");
            memcpy(moments[i], moments[i - 1], sizeof moments[i]);
            continue;
        }
        struct json_doc *doc = json_get_doc(answer.body);
        snprintf(moments[i], sizeof moments[i], "%lld:%lld", (long long)json_get_int(doc, "position.slice"),
                 (long long)json_get_int(doc, "position.position"));
        json_destroy(doc);
    }
    expect_decision(id, "cyd", moments[0], "issued", 0);
    expect_decision(id, "ann", moments[0], "already-issued", 1);
    expect_decision(id, "cyd", moments[1], "paused", 0);
    expect_decision(id, "cyd", moments[2], "issued", 0);
    expect_decision(id, "bob", moments[2], "issued", 0); /* the coupon came later */
    expect_decision(id, "cyd", moments[3], "sold-out", 0);
    expect_decision(id, "cyd", moments[5], "ended", 0);
    expect_decision(id, "cyd", NULL, "ended", 0);
    expect_decision(id, "cyd", "2020-01-01T00:00:00Z", "unknown-campaign", 0);
    struct json_doc *doc = read_as(textf("/v1/campaigns/%s/users/cyd/decision?as_of=%s", id, moments[4]),
                                   "READ_TOKEN", 200, NULL);
    assert_int_equal(json_get_int(doc, "issued"), 2);
    assert_int_equal(json_get_int(doc, "released"), 2);
    assert_int_equal(json_get_int(doc, "last_sequence"), 2);
    json_destroy(doc);
    json_destroy(read_as("/v1/campaigns/nobodys/users/cyd/decision", "READ_TOKEN", 404, "unknown-campaign"));
    struct http_answer misled = api_expect(
        reads_get(&api, textf("/v1/campaigns/%s/users/cyd/decision?as_of=2026-01-01T00:00:00+09:00", id)),
        400, "invalid-parameter");
    assert_true(memmem(misled.body.ptr, misled.body.len, "%2B", 3) != NULL); /* says what became of the + */
    json_destroy(read_as(textf("/v1/campaigns/%s/users/cyd/decision?as_of=2999-01-01T00:00:00Z", id),
                         "READ_TOKEN", 400, "invalid-parameter"));
}

/* A reader that has seen a position is never answered from before it; one from the future is said to be none.
 */
static void tokens_are_honoured(void **)
{
    const char *id = api_campaign(&api, 1, "");
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/v1/campaigns/%s/history", id);
    struct http_answer answer = api_get(&api, path, "v1.3.999999999999");
    assert_true(answer.status == 200 || answer.status == 503); /* another slice's token does not matter */
    for (int slice = 0; slice < 16; slice++) {
        answer = api_get(&api, path, textf("v1.%d.999999999999", slice));
        if (answer.status == 503) {
            api_expect(answer, 503, "store-unavailable");
            return;
        }
    }
    fail_msg("no token of the campaign's slice was honoured");
}

/* The last one, for it takes away whatever nothing was issued of. */
static void the_reason_of_a_void_is_kept(void **)
{
    char id[80];
    snprintf(id, sizeof id, "%s", api_campaign(&api, 5, ""));
    act("/v1/campaigns/void", "{\"created_by\":\"admin\",\"reason\":\"a script ran wild\"}");
    struct json_doc *doc = read_as(textf("/v1/campaigns/%s/history", id), "READ_TOKEN", 200, NULL);
    assert_int_equal(json_get_length(doc, "items"), 2);
    expect_item(doc, 1, "CampaignDeleted", "admin", "a script ran wild");
    json_destroy(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_campaigns_history_says_who_and_why),
        cmocka_unit_test(a_coupons_history_begins_with_its_issue),
        cmocka_unit_test(the_audit_is_newest_first_and_for_admins),
        cmocka_unit_test(why_somebody_was_refused_is_told_for_any_moment),
        cmocka_unit_test(tokens_are_honoured),
        cmocka_unit_test(the_reason_of_a_void_is_kept),
    };
    return cmocka_run_group_tests(tests, start, api_teardown);
}
