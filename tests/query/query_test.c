/* SPDX-License-Identifier: Apache-2.0 */
/* The read API on a whole stack: what it says, that Redis and PostgreSQL say the same bytes, read your own
 * write, pages while coupons are being issued, conditional requests, and what it refuses. */
#include "tests/lib/wait.h"

#include "common/base/mem.h"
#include "events/ids.h"
#include "tests/lib/pace.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum { HOLDERS = 150, ANSWER_MS = 2000, LONG_MS = 120000 };

static struct stack *stack;
static struct api_client api;
static char big[64];              /* a campaign with HOLDERS coupons */
static size_t coupons_everywhere; /* of the user of that name */

/* A campaign in every slice, each with a coupon, so that every ranking exists; some with more, and ties. */
static void fill_slices(void)
{
    unsigned filled = 0;
    for (int i = 0; filled != (1u << SLICE_COUNT) - 1; i++) {
        char id[32];
        snprintf(id, sizeof id, "all-%d", i);
        unsigned slice = 1u << slice_of(span_of(id));
        if (filled & slice)
            continue;
        filled |= slice;
        api_campaign_of(&api, id, 1000,
                        i % 2 ? ",\"per_user_limit\":3,\"tags\":[\"all\",\"odd\"]"
                              : ",\"tags\":[\"all\",\"even\"]");
        api_give(&api, id, "everywhere");
        coupons_everywhere += i % 2 ? 2 : 1;
        if (i % 2) {
            api_give(&api, id, "everywhere");
            api_give(&api, id, "sometimes");
        }
    }
}

static int setup(void **state)
{
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1); /* what answers is the levels behind */
    setenv("FIRSTCOME_CORS_ORIGINS", "https://shop.example", 1);
    stack = api_setup(state, &api, STACK_ALL);
    fill_slices();
    api_campaign_of(&api, "paused", 1000, ",\"tags\":[\"odd\"],\"code_prefix\":\"OIL\"");
    api_give(&api, "paused", "한국 사용자");
    api_expect(api_post(&api, "/v1/campaigns/paused/pause", "{\"reason\":\"wrong price\"}", NULL), 200, NULL);
    api_campaign_of(&api, "nobody", 1000, "");
    snprintf(big, sizeof big, "big");
    api_campaign_of(&api, big, 1000, ",\"coupon_valid_days\":30,\"ends_at\":\"2090-01-01T00:00:00Z\"");
    for (int i = 1; i <= HOLDERS; i++)
        api_give(&api, big, textf("holder-%d", i));
    return 0;
}

/* Both ids and the code of the coupon that a user holds in `big`. */
static void coupon_names(const char *user, char *id, char *code, size_t size)
{
    struct http_answer answer = api_expect(reads_get(&api, textf("/v1/users/%s/coupons", user)), 200, NULL);
    snprintf(id, size, "%.*s", SPAN_ARG(body_text(answer.body, "items.0.coupon_id")));
    snprintf(code, size, "%.*s", SPAN_ARG(body_text(answer.body, "items.0.code")));
}

static void record_all(struct reads *reads)
{
    char id[64], code[64];
    reads_init(reads, &api);
    assert_int_equal(reads_record_pages(reads, "/v1/campaigns?limit=7"), SLICE_COUNT + 3);
    assert_int_equal(reads_record_pages(reads, "/v1/campaigns?limit=100"), SLICE_COUNT + 3);
    assert_int_equal(reads_record_pages(reads, "/v1/campaigns?tag=all&limit=1"), SLICE_COUNT);
    assert_int_equal(reads_record_pages(reads, "/v1/campaigns?status=paused"), 1);
    assert_int_equal(reads_record_pages(reads, "/v1/campaigns?status=ended&tag=all"), 0);
    reads_record(reads, "/v1/campaigns");
    reads_record(reads, "/v1/campaigns/big");
    reads_record(reads, "/v1/campaigns/paused");
    assert_int_equal(reads_record_pages(reads, "/v1/campaigns/big/coupons?limit=100"), HOLDERS);
    assert_int_equal(reads_record_pages(reads, "/v1/campaigns/big/coupons?limit=15"), HOLDERS);
    assert_int_equal(reads_record_pages(reads, "/v1/campaigns/nobody/coupons?limit=1"), 0);
    reads_record(reads, "/v1/campaigns/big/users/holder-77");
    reads_record(reads, "/v1/campaigns/all-1/users/everywhere");
    reads_record(reads, "/v1/campaigns/paused/users/%ED%95%9C%EA%B5%AD%20%EC%82%AC%EC%9A%A9%EC%9E%90");
    reads_record(reads, "/v1/campaigns/big/users/everywhere");
    reads_record(reads, "/v1/users/everywhere/coupons?limit=100");
    assert_int_equal(reads_record_pages(reads, "/v1/users/everywhere/coupons?limit=1"), coupons_everywhere);
    assert_int_equal(reads_record_pages(reads, "/v1/users/everywhere/coupons?limit=7"), coupons_everywhere);
    assert_int_equal(reads_record_pages(reads, "/v1/users/everywhere/coupons?status=issued&limit=5"),
                     coupons_everywhere);
    assert_int_equal(reads_record_pages(reads, "/v1/users/everywhere/coupons?status=revoked"), 0);
    assert_int_equal(reads_record_pages(reads, "/v1/users/holder-3/coupons?limit=1"), 1);
    reads_record(reads, "/v1/users/%ED%95%9C%EA%B5%AD%20%EC%82%AC%EC%9A%A9%EC%9E%90/coupons");
    reads_record(reads, "/v1/users/nobody/coupons");
    reads_record(reads, "/v1/campaigns/nobody/users/everywhere");
    reads_record(reads, "/v1/rankings/campaigns");
    reads_record(reads, "/v1/rankings/campaigns?by=issued&window=all&limit=3");
    reads_record(reads, "/v1/rankings/campaigns?tag=odd&limit=100");
    reads_record(reads, "/v1/rankings/campaigns?by=issued&window=1h&limit=100");
    reads_record(reads, "/v1/rankings/campaigns?by=issued&window=24h&limit=3");
    reads_record(reads, "/v1/rankings/campaigns?by=issued&window=7d&tag=odd&limit=100");
    reads_record(reads, "/v1/rankings/campaigns?by=redeemed&window=1h");
    reads_record(reads, "/v1/rankings/campaigns?by=redeemed");
    coupon_names("holder-42", id, code, sizeof id);
    reads_record(reads, textf("/v1/coupons/%s", id));
    reads_record(reads, textf("/v1/coupons/%s", code));
}

static void redis_and_postgres_say_the_same_bytes(void **)
{
    static struct reads reads;
    record_all(&reads);
    reads_compare_sources(&reads, ANSWER_MS);
    reads_deinit(&reads);
}

static void answers_say_what_happened(void **)
{
    struct http_answer answer = reads_get(&api, "/v1/campaigns/big");
    struct json_doc *doc = json_get_doc(answer.body);
    assert_int_equal(json_get_int(doc, "issued"), HOLDERS);
    assert_int_equal(json_get_int(doc, "remaining"), 1000 - HOLDERS);
    assert_int_equal(json_get_int(doc, "redeemed"), 0);
    json_destroy(doc);

    answer = reads_get(&api, "/v1/campaigns/big/users/holder-77");
    doc = json_get_doc(answer.body);
    assert_int_equal(json_get_int(doc, "issued"), 1);
    assert_int_equal(json_get_int(doc, "sequence"), 77);
    assert_int_equal(json_get_length(doc, "coupon_ids"), 1);
    json_destroy(doc);

    answer = reads_get(&api, "/v1/campaigns/all-1/users/everywhere");
    doc = json_get_doc(answer.body);
    assert_int_equal(json_get_int(doc, "issued"), 2);
    assert_int_equal(json_get_int(doc, "sequence"), 1);
    assert_int_equal(json_get_length(doc, "coupon_ids"), 2);
    json_destroy(doc);

    answer = reads_get(&api, "/v1/campaigns/big/users/never%20seen");
    doc = json_get_doc(answer.body);
    assert_int_equal(answer.status, 200);
    assert_int_equal(json_get_int(doc, "issued"), 0);
    assert_true(json_member(json_root(doc), "sequence") != NULL);
    assert_int_equal(json_get_length(doc, "coupon_ids"), 0);
    json_destroy(doc);

    answer = reads_get(&api, "/v1/rankings/campaigns?limit=1");
    doc = json_get_doc(answer.body);
    assert_int_equal(json_get_int(doc, "items.0.rank"), 1);
    assert_true(span_is(json_get_text(doc, "items.0.campaign_id"), big));
    assert_int_equal(json_get_int(doc, "items.0.count"), HOLDERS);
    json_destroy(doc);
}

/* Campaigns with the same count come in the order in which they got there. */
static void ties_go_to_who_was_earlier(void **)
{
    struct http_answer answer = reads_get(&api, "/v1/rankings/campaigns?tag=even&limit=100");
    struct json_doc *doc = json_get_doc(answer.body);
    int64_t before = -1;
    for (size_t i = 0; i < json_get_length(doc, "items"); i++) {
        int64_t number;
        struct span id = json_get_text(doc, textf("items.%zu.campaign_id", i));
        assert_true(parse_i64((struct span){id.ptr + 4, id.len - 4}, 0, 1000000, &number));
        assert_true(number > before); /* "all-<n>" were issued to in ascending order, one coupon each */
        before = number;
    }
    assert_true(before > 0);
    json_destroy(doc);
}

static void one_reads_ones_own_writes(void **)
{
    for (int i = 0; i < 100; i++) {
        char user[32];
        snprintf(user, sizeof user, "mine-%d", i);
        struct http_answer answer = api_expect(api_issue(&api, "nobody", user), 201, NULL);
        answer = api_get(&api, textf("/v1/campaigns/nobody/users/%s", user),
                         textf("%.*s", SPAN_ARG(http_answer_header(&answer, "Consistency-Token"))));
        assert_int_equal(body_int(answer.body, "issued"), 1);
        assert_int_equal(body_int(answer.body, "sequence"), i + 1);
    }
}

/* I9 also when the models stand still: PostgreSQL answers, after the wait, and the answer has the write. */
static void a_token_is_honoured_while_the_projector_is_stopped(void **)
{
    char token[64], path[128];
    reads_await_redis(&api);
    stack_signal(stack, "projector", SIGSTOP);
    struct http_answer answer = api_expect(api_issue(&api, "all-1", "late"), 201, NULL);
    snprintf(token, sizeof token, "%.*s", SPAN_ARG(http_answer_header(&answer, "Consistency-Token")));
    const char *const paths[] = {"/v1/campaigns/all-1/users/late", "/v1/campaigns/all-1",
                                 "/v1/campaigns/all-1/coupons",    "/v1/users/late/coupons",
                                 "/v1/campaigns?tag=odd",          "/v1/rankings/campaigns"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        snprintf(path, sizeof path, "%s", paths[i]);
        int64_t start_us = clock_mono_us();
        answer = api_get(&api, path, token);
        pace_within(start_us, 1000 * US_PER_MS, "an answer");
        api_expect(answer, 200, NULL);
        assert_true(reads_is_from(&answer, "postgres"));
    }
    answer = api_get(&api, paths[0], token);
    assert_int_equal(body_int(answer.body, "issued"), 1);
    stack_signal(stack, "projector", SIGCONT);
    reads_await_redis(&api);
}

/* A token that this log never gave out cannot be honoured by anybody, so it is not answered from before it.
 */
static void a_token_from_the_future_is_not_ignored(void **)
{
    char token[64];
    snprintf(token, sizeof token, "v1.%d.2000000000000", slice_of(SPAN("big")));
    int64_t start_us = clock_mono_us();
    struct http_answer answer =
        api_expect(api_get(&api, "/v1/campaigns/big", token), 503, "store-unavailable");
    assert_true(http_answer_header(&answer, "Retry-After").ptr != NULL);
    pace_within(start_us, 1000 * US_PER_MS, "an answer");
    api_expect(api_get(&api, "/v1/campaigns/big", textf("v1.%d.2000000000000", slice_of(SPAN("big")) ^ 1)),
               200, NULL); /* another slice: does not concern this answer */
}

/* The path of the page after this one; empty after the last. */
static void next_page(struct json_doc *doc, char *path, size_t size, const char *base)
{
    struct span next;
    if (json_as_text(json_member(json_root(doc), "next"), &next))
        snprintf(path, size, "%s&cursor=%.*s", base, SPAN_ARG(next));
    else
        path[0] = '\0';
}

static void holders_are_walked_without_gap_while_issuing(void **)
{
    const char *base = "/v1/campaigns/nobody/coupons?limit=10";
    char path[384];
    int64_t sequence = 0;
    int more = 0;
    snprintf(path, sizeof path, "%s", base);
    while (path[0]) {
        struct http_answer answer =
            api_expect(more % 2 ? reads_get(&api, path) : api_get(&api, path, NULL), 200, NULL);
        struct json_doc *doc = json_get_doc(answer.body);
        for (size_t i = 0; i < json_get_length(doc, "items"); i++)
            assert_int_equal(json_get_int(doc, textf("items.%zu.sequence", i)), ++sequence);
        next_page(doc, path, sizeof path, base);
        json_destroy(doc);
        for (int i = 0; i < 5 && more < 60; i++)
            api_give(&api, "nobody", textf("walk-%d", more++));
    }
    assert_true(sequence >= 100);
}

static void lists_that_grow_at_the_front_are_walked_once(void **)
{
    const char *base = "/v1/users/everywhere/coupons?limit=3";
    char path[384], before[64] = "9999";
    size_t seen = 0;
    struct http_answer answer = reads_get(&api, "/v1/users/everywhere/coupons?limit=100");
    struct json_doc *doc = json_get_doc(answer.body);
    size_t expected = json_get_length(doc, "items");
    json_destroy(doc);
    snprintf(path, sizeof path, "%s", base);
    for (int page = 0; path[0]; page++) {
        answer = reads_get(&api, path);
        doc = json_get_doc(answer.body);
        for (size_t i = 0; i < json_get_length(doc, "items"); i++) {
            struct span issued_at = json_get_text(doc, textf("items.%zu.issued_at", i));
            assert_true(span_compare(issued_at, span_of(before)) <= 0);
            snprintf(before, sizeof before, "%.*s", SPAN_ARG(issued_at));
            seen++;
        }
        next_page(doc, path, sizeof path, base);
        json_destroy(doc);
        char id[32];
        snprintf(id, sizeof id, "front-%d", page);
        api_campaign_of(&api, id, 1000, "");
        api_give(&api, id, "everywhere");
    }
    assert_int_equal(seen, expected);
}

/* Whichever level it comes from: every page that is compared between them has it too. */
static void who_paused_it_is_shown(void **)
{
    struct http_answer answer = api_expect(reads_get(&api, "/v1/campaigns/paused"), 200, NULL);
    assert_true(span_is(body_text(answer.body, "status_by"), "admin"));
    assert_true(span_is(body_text(answer.body, "status_reason"), "wrong price"));
    assert_true(body_text(answer.body, "status_since").len > 0);
    answer = reads_get(&api, "/v1/campaigns/big");
    assert_false(body_has(answer.body, "status_by"));
}

/* A list comes coded to who asks for it; its tag is not that of the same list as it is, and is good for 304.
 */
static void lists_are_coded_for_who_asks(void **)
{
    char line[128];
    const char *const headers[] = {"Accept-Encoding: br;q=1.0, gzip;q=0.8", NULL};
    const char *const again[] = {headers[0], line, NULL};
    static const char path[] = "/v1/campaigns/big/coupons?limit=100";
    struct http_answer answer = api_expect(reads_get(&api, path), 200, NULL);
    size_t plain = answer.body.len;
    assert_null(http_answer_header(&answer, "Content-Encoding").ptr);
    assert_true(span_is(http_answer_header(&answer, "Vary"), "Origin") ||
                span_is(http_answer_header(&answer, "Vary"), "Accept, Accept-Encoding"));
    struct http_call call = {.path = path, .token = stack_env(stack, "READ_TOKEN"), .headers = headers};
    answer = api_ask(api.query, &call);
    assert_int_equal(answer.status, 200);
    assert_true(span_is(http_answer_header(&answer, "Content-Encoding"), "gzip"));
    assert_true(answer.body.len < plain / 2);
    assert_int_equal(memcmp(answer.body.ptr, "\x1f\x8b\x08", 3), 0);
    struct span etag = http_answer_header(&answer, "ETag");
    assert_true(etag.len > 6 && memcmp(etag.ptr + etag.len - 6, "-gzip\"", 6) == 0);
    snprintf(line, sizeof line, "If-None-Match: %.*s", SPAN_ARG(etag));
    call.headers = again;
    answer = api_ask(api.query, &call);
    assert_int_equal(answer.status, 304);
    memcpy(line, "If-Match:     ", 14); /* of the coded list, compared strongly */
    answer = api_ask(api.query, &call);
    assert_int_equal(answer.status, 200);
    line[15] = line[15] == 'x' ? 'y' : 'x';
    api_expect(api_ask(api.query, &call), 412, "precondition-failed");
    call.path = "/v1/campaigns/paused"; /* one thing is not coded: its tag is for If-Match */
    call.headers = headers;
    answer = api_ask(api.query, &call);
    assert_null(http_answer_header(&answer, "Content-Encoding").ptr);
}

/* From the preflight to the answer, at both services; a stranger's page gets neither. */
static void a_page_of_a_configured_origin_may_read(void **)
{
    static const char *const preflight[] = {"Origin: https://shop.example",
                                            "Access-Control-Request-Method: GET",
                                            "Access-Control-Request-Headers: authorization", NULL};
    static const char *const shop[] = {"Origin: https://shop.example", NULL};
    static const char *const stranger[] = {"Origin: https://evil.example", NULL};
    struct http_client *const services[] = {api.query, api.command};
    static const char *const paths[] = {"/v1/campaigns/paused", "/v1/settings"};
    struct http_answer answer;
    for (size_t i = 0; i < COUNT_OF(services); i++) {
        struct http_call call = {.method = "OPTIONS", .path = paths[i], .headers = preflight};
        answer = api_ask(services[i], &call);
        assert_int_equal(answer.status, 204);
        assert_true(
            span_is(http_answer_header(&answer, "Access-Control-Allow-Origin"), "https://shop.example"));
        assert_true(
            span_is(http_answer_header(&answer, "Access-Control-Allow-Methods"), "GET, HEAD, OPTIONS"));
        call =
            (struct http_call){.path = paths[i], .token = stack_env(stack, "ADMIN_TOKEN"), .headers = shop};
        answer = api_ask(services[i], &call);
        assert_int_equal(answer.status, 200);
        assert_true(
            span_is(http_answer_header(&answer, "Access-Control-Allow-Origin"), "https://shop.example"));
        call.headers = stranger;
        answer = api_ask(services[i], &call);
        assert_null(http_answer_header(&answer, "Access-Control-Allow-Origin").ptr);
    }
}

static void conditional_requests(void **)
{
    char line[128];
    const char *const headers[] = {line, NULL};
    struct http_answer answer = reads_get(&api, "/v1/campaigns/paused");
    snprintf(line, sizeof line, "If-None-Match: \"x\", W/%.*s",
             SPAN_ARG(http_answer_header(&answer, "ETag")));
    struct http_call call = {
        .path = "/v1/campaigns/paused", .token = stack_env(stack, "READ_TOKEN"), .headers = headers};
    answer = api_ask(api.query, &call);
    assert_int_equal(answer.status, 304);
    assert_int_equal(answer.body.len, 0);
    assert_true(http_answer_header(&answer, "ETag").len > 2);
    assert_true(span_is(http_answer_header(&answer, "Cache-Control"),
                        "private, max-age=1, stale-while-revalidate=60, stale-if-error=600"));
    assert_true(span_is(http_answer_header(&answer, "Age"), "0"));
    assert_true(span_starts(http_answer_header(&answer, "Cache-Status"), SPAN("firstcome-query; ")));
    snprintf(line, sizeof line, "If-None-Match: \"x\"");
    answer = api_ask(api.query, &call);
    assert_int_equal(answer.status, 200);
}

/* A GET is sent right behind: the client, who takes Content-Length at its word, finds that answer where a
 * body would be. */
static void head_is_get_without_a_body(void **)
{
    char etag[64], bytes[1024];
    struct http_answer answer = reads_get(&api, "/v1/campaigns/paused");
    snprintf(etag, sizeof etag, "%.*s", SPAN_ARG(http_answer_header(&answer, "ETag")));
    const char *token = stack_env(stack, "READ_TOKEN");
    snprintf(bytes, sizeof bytes,
             "HEAD /v1/campaigns/paused HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\n\r\n"
             "GET /v1/campaigns/paused HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\n\r\n",
             token, token);
    assert_int_equal(http_client_send(api.query, span_of(bytes), LONG_MS), HTTP_ANSWERED);
    assert_int_equal(http_client_read(api.query, LONG_MS, &answer), HTTP_ANSWERED);
    assert_int_equal(answer.status, 200);
    assert_true(span_is(http_answer_header(&answer, "ETag"), etag));
    assert_true(span_starts(answer.body, SPAN("HTTP/1.1 200 ")));
    http_client_close(api.query);
}

struct row {
    const char *path;
    int status;
    const char *code;
};

#define LONG_64  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG_128 LONG_64 LONG_64

static const struct row rows[] = {
    {"/v1/campaigns?limit=0", 400, "invalid-parameter"},
    {"/v1/campaigns?limit=101", 400, "invalid-parameter"},
    {"/v1/campaigns?limit=-1", 400, "invalid-parameter"},
    {"/v1/campaigns?limit=", 400, "invalid-parameter"},
    {"/v1/campaigns?limit=1e1", 400, "invalid-parameter"},
    {"/v1/campaigns?limit=99999999999999999999", 400, "invalid-parameter"},
    {"/v1/campaigns?limit=5&limit=6", 400, "invalid-parameter"},
    {"/v1/campaigns?surprise=1", 400, "invalid-parameter"},
    {"/v1/campaigns?status=happy", 400, "invalid-parameter"},
    {"/v1/campaigns?status=", 400, "invalid-parameter"},
    {"/v1/campaigns?tag=A%0Ab", 400, "invalid-parameter"},
    {"/v1/campaigns?cursor=", 400, "invalid-cursor"},
    {"/v1/campaigns?cursor=AAAA", 400, "invalid-cursor"},
    {"/v1/campaigns?cursor=%00", 400, NULL},
    {"/v1/campaigns/big/coupons?cursor=" LONG_128 LONG_128, 400, "invalid-cursor"},
    {"/v1/campaigns/big?limit=5", 400, "invalid-parameter"},
    {"/v1/campaigns/Upper", 400, "invalid-id"},
    {"/v1/campaigns/" LONG_64, 404, "unknown-campaign"},
    {"/v1/campaigns/" LONG_64 "a", 400, "invalid-id"},
    {"/v1/campaigns/a%2fb", 400, NULL},
    {"/v1/campaigns/%27%3b--", 400, "invalid-id"},
    {"/v1/campaigns/unheard-of", 404, "unknown-campaign"},
    {"/v1/campaigns/unheard-of/coupons", 404, "unknown-campaign"},
    {"/v1/campaigns/unheard-of/users/u", 404, "unknown-campaign"},
    {"/v1/campaigns/big/users/%0a", 400, "invalid-user-id"},
    {"/v1/campaigns/big/users/%ff", 400, NULL},
    {"/v1/campaigns/big/users/" LONG_128, 200, NULL},
    {"/v1/campaigns/big/users/" LONG_128 "a", 400, "invalid-user-id"},
    {"/v1/users/" LONG_128 "a/coupons", 400, "invalid-user-id"},
    {"/v1/users/u/coupons?status=active", 400, "invalid-parameter"},
    {"/v1/users/u/coupons?status=redeemed", 200, NULL},
    {"/v1/users/u/coupons?tag=a", 400, "invalid-parameter"},
    {"/v1/users/{}:*/coupons", 200, NULL},
    {"/v1/coupons/c0-0", 404, "unknown-coupon"},
    {"/v1/coupons/c0-999999999999", 404, "unknown-coupon"},
    {"/v1/coupons/c16-1", 404, "unknown-coupon"},
    {"/v1/coupons/c0-99999999999999999999999", 404, "unknown-coupon"},
    {"/v1/coupons/00000-00001-00000-00000-00000", 404, "unknown-coupon"},
    {"/v1/coupons/" LONG_128, 404, "unknown-coupon"},
    {"/v1/coupons/x?limit=1", 400, "invalid-parameter"},
    {"/v1/rankings/campaigns?by=reserved", 400, "invalid-parameter"},
    {"/v1/rankings/campaigns?by=", 400, "invalid-parameter"},
    {"/v1/rankings/campaigns?window=2h", 400, "invalid-parameter"},
    {"/v1/rankings/campaigns?window=ALL", 400, "invalid-parameter"},
    {"/v1/rankings/campaigns?by=redeemed&window=7d", 200, NULL},
    {"/v1/coupons/c0-0/validity", 404, "unknown-coupon"},
    {"/v1/coupons/c0-999999999999/validity", 404, "unknown-coupon"},
    {"/v1/coupons/c0-1/validity?order_amount=-1", 400, "invalid-parameter"},
    {"/v1/coupons/c0-1/validity?order_amount=1000000000001", 400, "invalid-parameter"},
    {"/v1/coupons/c0-1/validity?order_amount=1.5", 400, "invalid-parameter"},
    {"/v1/coupons/c0-1/validity?user_id=", 400, "invalid-user-id"},
    {"/v1/coupons/c0-1/validity?user_id=%00", 400, NULL},
    {"/v1/coupons/c0-1/validity?limit=1", 400, "invalid-parameter"},
    {"/v1/campaigns?status=deleted", 400, "invalid-parameter"},
    {"/v1/rankings/campaigns?cursor=AAAA", 400, "invalid-parameter"},
    {"/v1/rankings/users", 404, "unknown-route"},
    {"/v1/status?x=1", 400, "invalid-parameter"},
    {"/v1/events", 400, "invalid-parameter"},
    {"/v1/campaigns/", 404, NULL},
};

static void hostile_input_is_named(void **)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_answer answer = api_get(&api, rows[i].path, NULL);
        if (answer.status != rows[i].status ||
            (rows[i].code && strcmp(api_problem(&answer), rows[i].code) != 0))
            fail_msg("%s: expected %d %s, got %d %.*s", rows[i].path, rows[i].status,
                     rows[i].code ? rows[i].code : "", answer.status, SPAN_ARG(answer.body));
    }
}

/* A cursor is of one list with its filters, and of no other. */
static void cursors_belong_to_their_list(void **)
{
    struct http_answer answer = reads_get(&api, "/v1/campaigns?tag=all&limit=2");
    struct json_doc *doc = json_get_doc(answer.body);
    const char *const others[] = {"/v1/campaigns?", "/v1/campaigns?tag=odd&", "/v1/campaigns/big/coupons?",
                                  "/v1/users/everywhere/coupons?"};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        api_expect(
            api_get(&api, textf("%scursor=%.*s", others[i], SPAN_ARG(json_get_text(doc, "next"))), NULL), 400,
            "invalid-cursor");
    }
    json_destroy(doc);
}

static void bad_tokens_are_refused(void **)
{
    static const char *const tokens[] = {"",
                                         ", ,",
                                         "v1",
                                         "v2.0.1",
                                         "v1.16.1",
                                         "v1.0.-1",
                                         "v1.0.1,\"",
                                         "v1.0.1 v1.0.2",
                                         "v1.0.1;v1.1.1",
                                         "v1.0.9999999999999",
                                         "null"};
    for (size_t i = 0; i < COUNT_OF(tokens); i++)
        api_expect(api_get(&api, "/v1/campaigns/big", tokens[i]), 400, "invalid-token");
    struct buf line;
    struct http_answer answer;
    buf_init(&line, 1024);
    buf_append_text(&line, "Consistency-Token: v1.0.0");
    for (int count = 2; count <= 17; count++) {
        buf_append_text(&line, " , v1.0.0");
        const char *const headers[] = {line.data, NULL};
        answer = API_ASK(api.query, .path = "/v1/campaigns/big", .token = stack_env(stack, "READ_TOKEN"),
                         .headers = headers);
        assert_int_equal(answer.status, count <= 16 ? 200 : 400);
    }
    buf_deinit(&line);
}

static void scopes_are_asked_for(void **)
{
    struct http_call call = {.path = "/v1/campaigns/big"};
    api_expect(api_ask(api.query, &call), 401, "unauthenticated");
    call.token = stack_env(stack, "ISSUE_TOKEN");
    api_expect(api_ask(api.query, &call), 403, "forbidden");
    call.token = stack_env(stack, "ADMIN_TOKEN");
    api_expect(api_ask(api.query, &call), 200, NULL);
    call.token =
        stack_env(stack, "REDEEM_TOKEN"); /* may ask about the coupon it is shown, and nothing else */
    api_expect(api_ask(api.query, &call), 403, "forbidden");
    call.path = "/v1/coupons/c0-999999/validity";
    api_expect(api_ask(api.query, &call), 404, "unknown-coupon");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_and_postgres_say_the_same_bytes),
        cmocka_unit_test(answers_say_what_happened),
        cmocka_unit_test(ties_go_to_who_was_earlier),
        cmocka_unit_test(one_reads_ones_own_writes),
        cmocka_unit_test(a_token_is_honoured_while_the_projector_is_stopped),
        cmocka_unit_test(a_token_from_the_future_is_not_ignored),
        cmocka_unit_test(holders_are_walked_without_gap_while_issuing),
        cmocka_unit_test(lists_that_grow_at_the_front_are_walked_once),
        cmocka_unit_test(who_paused_it_is_shown),
        cmocka_unit_test(a_page_of_a_configured_origin_may_read),
        cmocka_unit_test(lists_are_coded_for_who_asks),
        cmocka_unit_test(conditional_requests),
        cmocka_unit_test(head_is_get_without_a_body),
        cmocka_unit_test(hostile_input_is_named),
        cmocka_unit_test(cursors_belong_to_their_list),
        cmocka_unit_test(bad_tokens_are_refused),
        cmocka_unit_test(scopes_are_asked_for),
    };
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
