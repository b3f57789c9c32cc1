/* SPDX-License-Identifier: Apache-2.0 */
/* What happens after a coupon was issued, as the read API tells it: states, validity, counts, rankings by
 * redeemed, campaigns that vanish. Redis and PostgreSQL say the same bytes, and the write API's answer is
 * what is read afterwards. */
#include "tests/lib/wait.h"

#include "readmodel/keys.h"
#include "tests/lib/models.h"
#include "tests/lib/reads.h"

enum { ANSWER_MS = 2000, PATH_BYTES = 1024, LIVES = 7 };

#define MANY ",\"per_user_limit\":50,\"min_order_amount\":1000"

static struct stack *stack;
static struct api_client api;
static struct models models;

/* A coupon of each kind, all of one user. */
enum { UNTOUCHED, RESERVED, REDEEMED, RESTORED, REVOKED, GIVEN_BACK, TAKEN_RESERVED };
static struct life {
    char id[32], code[48];
} lives[LIVES];

static void issue(const char *campaign, const char *user, struct life *ret)
{
    struct http_answer answer = api_expect(api_issue(&api, campaign, user), 201, NULL);
    snprintf(ret->id, sizeof ret->id, "%.*s", SPAN_ARG(body_text(answer.body, "coupon_id")));
    snprintf(ret->code, sizeof ret->code, "%.*s", SPAN_ARG(body_text(answer.body, "code")));
}

/* The command's answer is the coupon; who sends its token reads exactly that, and of a revoked one by whom:
 * the answer does not say that, so that a retry of what a former version answered gets the same bytes (I4).
 */
static void use(const struct life *life, const char *verb, const char *body)
{
    char said[1024];
    struct http_answer answer =
        api_expect(api_post(&api, textf("/v1/coupons/%s/%s", life->id, verb), body, NULL), 200, NULL);
    snprintf(said, sizeof said, "%.*s", SPAN_ARG(answer.body));
    answer = api_expect(api_get(&api, textf("/v1/coupons/%s", life->code),
                                textf("%.*s", SPAN_ARG(http_answer_header(&answer, "Consistency-Token")))),
                        200, NULL);
    static const char by[] = "\"revoked_by\":\"admin\",";
    char is[1024];
    snprintf(is, sizeof is, "%.*s", SPAN_ARG(answer.body));
    char *at = strstr(is, by);
    assert_int_equal(at != NULL, strcmp(verb, "revoke") == 0);
    if (at)
        memmove(at, at + sizeof by - 1, strlen(at + sizeof by - 1) + 1);
    if (strcmp(is, said) != 0)
        fail_msg("%s said\n%s\nbut read is\n%.*s", verb, said, SPAN_ARG(answer.body));
}

#define ORDER(user, order) "{\"user_id\":\"" user "\",\"order_id\":\"" order "\",\"order_amount\":20000"

static void live(void)
{
    api_campaign_of(&api, "lives", 1000, MANY ",\"tags\":[\"lived\"]");
    for (size_t i = 0; i < LIVES; i++)
        issue("lives", "many", &lives[i]);
    use(&lives[RESERVED], "reserve", ORDER("many", "order-1") ",\"ttl_seconds\":600000}");
    use(&lives[REDEEMED], "reserve", ORDER("many", "order-2") ",\"ttl_seconds\":600}");
    use(&lives[REDEEMED], "redeem", ORDER("many", "order-2") "}");
    use(&lives[RESTORED], "redeem", ORDER("many", "order-3") "}");
    use(&lives[RESTORED], "restore", "{\"order_id\":\"order-3\"}");
    use(&lives[REVOKED], "revoke", "{\"reason\":\"bought by a machine\"}");
    use(&lives[GIVEN_BACK], "reserve", ORDER("many", "order-5") ",\"ttl_seconds\":600}");
    use(&lives[GIVEN_BACK], "release", "{\"order_id\":\"order-5\"}");
    use(&lives[TAKEN_RESERVED], "reserve", ORDER("many", "order-6") ",\"ttl_seconds\":600}");
    use(&lives[TAKEN_RESERVED], "revoke", "{\"reason\":\"stolen\"}");
}

/* Redeems that many coupons, and restores the last `restored`. */
static void redeem_in(const char *campaign, int redeemed, int restored)
{
    struct life life;
    for (int i = 0; i < redeemed; i++) {
        issue(campaign, "buyer", &life);
        use(&life, "redeem", ORDER("buyer", "order") "}");
        if (i >= redeemed - restored)
            use(&life, "restore", "{\"order_id\":\"order\"}");
    }
}

/* by redeemed: popular 3, later and sooner 2 each, lives 1, undone none */
static void fill_ranking(void)
{
    api_campaign_of(&api, "popular", 1000, MANY ",\"tags\":[\"liked\"]");
    api_campaign_of(&api, "later", 1000, MANY ",\"tags\":[\"liked\"]");
    api_campaign_of(&api, "sooner", 1000, MANY);
    api_campaign_of(&api, "undone", 1000, MANY ",\"tags\":[\"liked\"]");
    redeem_in("popular", 3, 0);
    redeem_in("sooner", 2, 0);
    redeem_in("later", 3, 1);
    redeem_in("undone", 2, 2);
}

static int set_up(void **state)
{
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1); /* what answers is the levels behind */
    stack = api_setup(state, &api, STACK_ALL);
    models_open(&models, stack);
    live();
    fill_ranking();
    models_await_current(&models);
    return 0;
}

static int tear_down(void **state)
{
    models_close(&models);
    return api_teardown(state);
}

/* --- the same bytes --- */

static void record_lives(struct reads *reads)
{
    static const char *const questions[] = {"", "?user_id=many", "?user_id=other", "?order_amount=999",
                                            "?user_id=many&order_amount=12345"};
    for (size_t i = 0; i < LIVES; i++) {
        reads_record(reads, textf("/v1/coupons/%s", lives[i].id));
        reads_record(reads, textf("/v1/coupons/%s", lives[i].code));
        for (size_t question = 0; question < COUNT_OF(questions); question++)
            reads_record(reads, textf("/v1/coupons/%s/validity%s", lives[i].id, questions[question]));
    }
}

static void record_lists(struct reads *reads)
{
    reads_record(reads, "/v1/campaigns/lives");
    reads_record(reads, "/v1/campaigns/popular");
    assert_int_equal(reads_record_pages(reads, "/v1/campaigns?tag=liked&limit=2"), 3);
    assert_int_equal(reads_record_pages(reads, "/v1/campaigns/lives/coupons?limit=3"), LIVES);
    assert_int_equal(reads_record_pages(reads, "/v1/users/many/coupons?limit=3"), LIVES);
    assert_int_equal(reads_record_pages(reads, "/v1/users/many/coupons?status=issued&limit=2"), 3);
    assert_int_equal(reads_record_pages(reads, "/v1/users/many/coupons?status=reserved&limit=9"), 1);
    assert_int_equal(reads_record_pages(reads, "/v1/users/many/coupons?status=redeemed&limit=9"), 1);
    assert_int_equal(reads_record_pages(reads, "/v1/users/many/coupons?status=revoked&limit=9"), 2);
    assert_int_equal(reads_record_pages(reads, "/v1/users/many/coupons?status=expired&limit=9"), 0);
    reads_record(reads, "/v1/campaigns/lives/users/many");
}

static void record_rankings(struct reads *reads)
{
    static const char *const tags[] = {"", "&tag=liked", "&tag=lived&limit=1", "&tag=nobody"};
    for (enum counted by = 0; by < COUNTED_COUNT; by++)
        for (enum window window = 0; window < WINDOW_COUNT; window++)
            for (size_t tag = 0; tag < COUNT_OF(tags); tag++) {
                reads_record(reads, textf("/v1/rankings/campaigns?by=%s&window=%s%s", counted_label(by),
                                          window_label(window), tags[tag]));
            }
}

static void redis_and_postgres_say_the_same_bytes(void **)
{
    static struct reads reads;
    reads_init(&reads, &api);
    record_lives(&reads);
    record_lists(&reads);
    record_rankings(&reads);
    reads_compare_sources(&reads, ANSWER_MS);
    reads_deinit(&reads);
}

/* --- what they say --- */

static struct json_doc *get(const char *path)
{
    struct http_answer answer = reads_get(&api, path);
    if (answer.status != 200)
        fail_msg("%s: %d %.*s", path, answer.status, SPAN_ARG(answer.body));
    return json_get_doc(answer.body);
}

static void coupons_say_what_happened_to_them(void **)
{
    static const struct {
        const char *status, *order_id, *time;
    } rows[LIVES] = {
        [UNTOUCHED] = {"issued", NULL, NULL},
        [RESERVED] = {"reserved", "order-1", "reserved_until"},
        [REDEEMED] = {"redeemed", "order-2", "redeemed_at"},
        [RESTORED] = {"issued", NULL, NULL},
        [REVOKED] = {"revoked", NULL, "revoked_at"},
        [GIVEN_BACK] = {"issued", NULL, NULL},
        [TAKEN_RESERVED] = {"revoked", NULL, "revoked_at"},
    };
    for (size_t i = 0; i < LIVES; i++) {
        struct json_doc *doc = get(textf("/v1/coupons/%s", lives[i].id));
        assert_true(span_is(json_get_text(doc, "status"), rows[i].status));
        assert_int_equal(json_get_has(doc, "order_id"), rows[i].order_id != NULL);
        if (rows[i].order_id) {
            assert_true(span_is(json_get_text(doc, "order_id"), rows[i].order_id));
            assert_int_equal(json_get_int(doc, "order_amount"), 20000);
            assert_int_equal(json_get_int(doc, "discount_amount"), 2000);
        }
        assert_int_equal(json_get_has(doc, "revoked_by"), strcmp(rows[i].status, "revoked") == 0);
        if (rows[i].time)
            assert_true(json_get_text(doc, rows[i].time).len > 0);
        json_destroy(doc);
    }
    struct json_doc *doc = get("/v1/campaigns/lives");
    assert_int_equal(json_get_int(doc, "issued"), LIVES);
    assert_int_equal(json_get_int(doc, "redeemed"), 1);
    assert_int_equal(json_get_int(doc, "reserved"), 1);
    json_destroy(doc);
}

static void expect_validity(size_t life, const char *question, const char *reason, int64_t discount)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/v1/coupons/%s/validity%s", lives[life].code, question);
    struct json_doc *doc = get(path);
    assert_int_equal(json_get_bool(doc, "valid"), reason == NULL);
    assert_int_equal(json_get_has(doc, "reason"), reason != NULL);
    if (reason && !span_is(json_get_text(doc, "reason"), reason))
        fail_msg("%s: %.*s", path, SPAN_ARG(json_get_text(doc, "reason")));
    if (discount >= 0)
        assert_int_equal(json_get_int(doc, "discount_amount"), discount);
    else
        assert_false(json_as_int(json_get(doc, "discount_amount"), &discount)); /* null */
    json_destroy(doc);
}

static void validity_says_whether_and_why_not(void **)
{
    expect_validity(UNTOUCHED, "", NULL, -1); /* a percentage of an order nobody named */
    expect_validity(UNTOUCHED, "?order_amount=1000", NULL, 100);
    expect_validity(UNTOUCHED, "?order_amount=999", "below-minimum", 0);
    expect_validity(UNTOUCHED, "?order_amount=12345&user_id=many", NULL, 1234);
    expect_validity(UNTOUCHED, "?order_amount=12345&user_id=man", "not-holder", 0);
    expect_validity(RESTORED, "?order_amount=5000", NULL, 500);
    expect_validity(GIVEN_BACK, "?order_amount=5000", NULL, 500);
    expect_validity(RESERVED, "?order_amount=5000", "reserved", 0);
    expect_validity(RESERVED, "?order_amount=5000&order_id=another", "reserved", 0);
    expect_validity(RESERVED, "?order_amount=5000&order_id=order-1", NULL, 500); /* its own hold */
    expect_validity(UNTOUCHED, "?order_amount=5000&currency=KRW", NULL, 500);
    expect_validity(UNTOUCHED, "?order_amount=5000&currency=USD", "currency-mismatch", 0);
    expect_validity(REDEEMED, "?order_amount=5000", "already-redeemed", 0);
    expect_validity(REVOKED, "?order_amount=5000", "revoked", 0);
    expect_validity(REVOKED, "?user_id=other", "not-holder", 0);
}

static void expect_ranking(const char *parameters, const char *expected)
{
    char path[PATH_BYTES];
    struct buf text;
    snprintf(path, sizeof path, "/v1/rankings/campaigns?%s", parameters);
    struct json_doc *doc = get(path);
    buf_init(&text, 1024);
    reads_ranking(doc, &text);
    if (!span_is(buf_span(&text), expected))
        fail_msg("%s: %s", path, text.data);
    buf_deinit(&text);
    json_destroy(doc);
}

static void rankings_count_what_is_redeemed_now(void **)
{
    static const char *const windows[] = {"1h", "24h", "7d", "all"};
    for (size_t i = 0; i < COUNT_OF(windows); i++) {
        expect_ranking(textf("by=redeemed&window=%s", windows[i]), "popular 3, sooner 2, later 2, lives 1");
        expect_ranking(textf("by=redeemed&tag=liked&window=%s&limit=2", windows[i]), "popular 3, later 2");
        expect_ranking(textf("by=issued&window=%s", windows[i]),
                       "lives 7, popular 3, later 3, sooner 2, undone 2");
    }
}

/* --- campaigns that vanish --- */

static void delete_campaign(const char *id)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/v1/campaigns/%s", id);
    struct http_answer answer = API_ASK(api.command, .method = "DELETE", .path = path,
                                        .token = stack_env(stack, "ADMIN_TOKEN"), .key = api_fresh_key());
    assert_int_equal(answer.status, 204);
}

/* In a slice where nothing else is. */
static int16_t lonely_slice(char *ret_id, size_t size, int *number)
{
    static const char *const others[] = {"lives", "popular", "later", "sooner", "undone"};
    for (;; ++*number) {
        bool lonely = true;
        snprintf(ret_id, size, "gone-%d", *number);
        for (size_t i = 0; i < COUNT_OF(others); i++)
            lonely = lonely && slice_of(span_of(others[i])) != slice_of(span_of(ret_id));
        if (lonely)
            return slice_of(span_of(ret_id));
    }
}

static void expect_gone(const char *id, int16_t slice)
{
    api_expect(reads_get(&api, textf("/v1/campaigns/%s", id)), 404, "unknown-campaign");
    api_expect(reads_get(&api, textf("/v1/campaigns/%s/coupons", id)), 404, "unknown-campaign");
    api_expect(reads_get(&api, textf("/v1/campaigns/%s/users/many", id)), 404, "unknown-campaign");
    models_await_current(&models);
    assert_int_equal(
        redis_integer(MODELS_CALL(&models, "EXISTS", models_key(&models, slice, textf("c:%s", id)))), 0);
    assert_int_equal(redis_kind(MODELS_CALL(&models, "ZSCORE", models_key(&models, slice, "cs"), id)),
                     REDIS_NIL);
}

static void expect_campaigns(size_t count, const char *source)
{
    struct http_answer answer = api_expect(reads_from(&api, "/v1/campaigns?limit=100", source), 200, NULL);
    assert_int_equal(body_length(answer.body, "items"), count);
}

/* A slice whose only campaign went is not one that lost something: nothing is made anew, and the list is
 * Redis's. */
static void deleted_campaigns_leave_nothing(void **)
{
    char id[32], next[32];
    int number = 0;
    int16_t slice = lonely_slice(id, sizeof id, &number);
    api_campaign_of(&api, id, 1000, MANY);
    models_await_current(&models);
    int64_t generation = models_generation(&models, slice);
    assert_true(generation > 0);
    delete_campaign(id);
    expect_gone(id, slice);
    expect_campaigns(5, "redis");
    do
        number++;
    while (lonely_slice(next, sizeof next, &number) != slice);
    api_campaign_of(&api, next, 1000, MANY); /* the projector goes on from there */
    models_await_current(&models);
    expect_campaigns(6, "redis");
    assert_int_equal(models_generation(&models, slice), generation);

    stack_signal(stack, "projector", SIGSTOP);
    reads_redis(stack, "FLUSHALL", NULL);
    struct http_answer answer = reads_get(&api, "/v1/rankings/campaigns");
    assert_true(reads_is_from(&answer, "postgres"));
    expect_campaigns(6, "postgres");
    stack_signal(stack, "projector", SIGCONT);
    reads_await_redis(&api);
    expect_gone(id, slice);
    expect_campaigns(6, "redis");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_and_postgres_say_the_same_bytes),
        cmocka_unit_test(coupons_say_what_happened_to_them),
        cmocka_unit_test(validity_says_whether_and_why_not),
        cmocka_unit_test(rankings_count_what_is_redeemed_now),
        cmocka_unit_test(deleted_campaigns_leave_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
