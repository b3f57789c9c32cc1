/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers and clients see of each other through the HTTP server: routes and parameters, keys and
 * scopes, queries, headers, trace context, problem documents, HEAD, pipelining, deferred answers. */
#include "common/http/test_kit.h"

#define LINE(method, target) method " " target " HTTP/1.1\r\n" KIT_HOST

static struct kit *kit;

static int setup(void **state)
{
    (void)state;
    kit = kit_start((struct http_options){.port = 0});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_stop(kit);
    return 0;
}

static void parameters_are_decoded(void **state)
{
    (void)state;
    kit_expect(kit, LINE("GET", "/v1/parts/abc") "\r\n", 200, "616263;absent;absent;absent");
    kit_expect(kit, LINE("GET", "/v1/parts/a%2Fb%2f") "\r\n", 200, "612f622f;"); /* not a separator */
    kit_expect(kit, LINE("GET", "/v1/parts/%00%ff%25") "\r\n", 200, "00ff25;");  /* the handler's business */
    kit_expect(kit, LINE("GET", "/v1/parts/a+b") "\r\n", 200, "612b62;");
    kit_expect(kit, LINE("GET", "/v1/parts/x%41/of/%42y") "\r\n", 200, "7841;4279;");
    kit_expect(kit, LINE("GET", "/v1/%70arts/%41?q=%41+%2b") "X-Test: z \r\n\r\n", 200,
               "41;absent;41202b;7a");
}

static void a_literal_wins_over_a_parameter(void **state)
{
    (void)state;
    kit_expect(kit, LINE("GET", "/v1/parts/fixed") "\r\n", 200, "{\"ok\":true}");
    kit_expect(kit, LINE("GET", "/v1/parts/fixed/of/b") "\r\n", 200, "6669786564;62;");
}

static void queries_are_decoded(void **state)
{
    (void)state;
    kit_expect(kit, LINE("GET", "/v1/parts/a?q=1&q=2") "\r\n", 200, "61;absent;31;");
    kit_expect(kit, LINE("GET", "/v1/parts/a?q") "\r\n", 200, "61;absent;;absent"); /* there, and empty */
    kit_expect(kit, LINE("GET", "/v1/parts/a?p=1") "\r\n", 200, "61;absent;absent;absent");
    kit_expect(kit, LINE("GET", "/v1/parts/a?%71=1%3D2=3") "\r\n", 200, "61;absent;313d323d33;");
    kit_expect(kit, LINE("GET", "/v1/only?limit=5&cursor=x") "\r\n", 204, "");
    kit_expect(kit, LINE("GET", "/v1/only?limit=5&limit=6") "\r\n", 400, "\"field\":\"limit\"");
    kit_expect(kit, LINE("GET", "/v1/only?limits=5") "\r\n", 400, "\"field\":\"limits\"");
    kit_expect(kit, LINE("GET", "/v1/only?a%22%0A=5") "\r\n", 400, "\"field\":\"a\\\"\\n\"");
    kit_expect(kit, LINE("GET", "/v1/only?a=%4") "\r\n", 400, "\"code\":\"invalid-parameter\"");
}

/* --- Who may do what --- */

static void keys_and_scopes(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        int get, post; /* GET /v1/items is for read or admin, POST for issue */
    } rows[] = {
        {"", 401, 401},
        {"Authorization: Bearer issue-token\r\n", 403, 200},
        {"Authorization: Bearer admin-token\r\n", 200, 403},
        {"Authorization: Bearer read-token\r\n", 200, 403},
        {"authorization: bearer read-token\r\n", 200, 403},
        {"Authorization: BEARER read-token\t \r\n", 200, 403},
        {"Authorization: Bearer nobody\r\n", 401, 401},
        {"Authorization: Bearer \r\n", 401, 401},
        {"Authorization: Bearer\r\n", 401, 401},
        {"Authorization: Bearer read-token x\r\n", 401, 401},
        {"Authorization: Bearer  read-token\r\n", 200, 403}, /* RFC 6750: one blank or more */
        {"Authorization: Bearer read-token=\r\n", 401, 401},
        {"Authorization: Bearer read\ttoken\r\n", 401, 401},
        {"Authorization: Bearer\tread-token\r\n", 401, 401},
        {"Authorization: Bearer \"read-token\"\r\n", 401, 401},
        {"Authorization: Bearer =\r\n", 401, 401},
        {"Authorization: Bearerread-token\r\n", 401, 401},
        {"Authorization: Basic read-token\r\n", 401, 401},
        {"Authorization: read-token\r\n", 401, 401},
        {"Authorization: Bearer read-token\r\nAuthorization: Bearer read-token\r\n", 400, 400},
    };
    static const char *const starts[] = {LINE("GET", "/v1/items"), LINE("POST", "/v1/items")};
    for (size_t i = 0; i < COUNT_OF(rows) * 2; i++) {
        char request[512];
        int want = i % 2 ? rows[i / 2].post : rows[i / 2].get;
        snprintf(request, sizeof request, "%s%s\r\n", starts[i % 2], rows[i / 2].headers);
        struct kit_talk *talk = kit_ask(kit, request);
        if (talk->replies[0] != want)
            fail_msg("%s: %d, not %d", request, talk->replies[0], want);
        assert_int_equal(span_starts(kit_header(talk, "WWW-Authenticate"), SPAN("Bearer")), want != 200);
        kit_close(talk);
    }
}

/* RFC 6750, 3: what is wrong with the credentials, and nothing where there were none. */
static void refusals_of_a_key_say_what_is_wrong_with_it(void **state)
{
    (void)state;
    static const struct {
        const char *headers, *challenge;
    } rows[] = {
        {"", "Bearer realm=\"firstcome\""},
        {"Authorization: Basic YTpi\r\n", "Bearer realm=\"firstcome\""},
        {"Authorization: Bearer nobody\r\n", "Bearer realm=\"firstcome\", error=\"invalid_token\""},
        {"Authorization: Bearer\r\n", "Bearer realm=\"firstcome\", error=\"invalid_token\""},
        {"Authorization: Bearer a b\r\n", "Bearer realm=\"firstcome\", error=\"invalid_token\""},
        {"Authorization: Bearer read-token\r\nAuthorization: Basic YTpi\r\n",
         "Bearer realm=\"firstcome\", error=\"invalid_request\""},
        {"Authorization: Bearer issue-token\r\n",
         "Bearer realm=\"firstcome\", error=\"insufficient_scope\", scope=\"admin read\""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char request[512];
        snprintf(request, sizeof request, LINE("GET", "/v1/items") "%s\r\n", rows[i].headers);
        struct kit_talk *talk = kit_ask(kit, request);
        struct span is = kit_header(talk, "WWW-Authenticate");
        if (!span_is(is, rows[i].challenge))
            fail_msg("%s: %.*s, not %s", rows[i].headers, SPAN_ARG(is), rows[i].challenge);
        kit_close(talk);
    }
}

/* Each request is wrong in several ways; which one is named is part of the contract. */
static void refusals_come_in_order(void **state)
{
    (void)state;
    kit_expect(kit, "POST /v1/nothing HTTP/1.1\r\n\r\n", 400, "malformed-request");
    kit_expect(kit, LINE("POST", "/v1/nothing") "Content-Length: 99999999\r\n\r\n", 404, "unknown-route");
    kit_expect(kit, LINE("DELETE", "/v1/items") "Content-Length: 99999999\r\n\r\n", 405,
               "method-not-allowed");
    kit_expect(kit, LINE("POST", "/v1/items?a=%") "Content-Length: 99999999\r\n\r\n", 401, "unauthenticated");
    kit_expect(kit, LINE("POST", "/v1/items?a=%") KIT_ADMIN "Content-Length: 99999999\r\n\r\n", 403,
               "forbidden");
    kit_expect(kit, LINE("POST", "/v1/items?a=%") KIT_ISSUE "Content-Length: 99999999\r\n\r\n", 400,
               "invalid-parameter");
    kit_expect(kit, LINE("POST", "/v1/items") KIT_ISSUE "Content-Length: 99999999\r\n\r\n", 413,
               "body-too-large");
}

static void allow_lists_the_methods(void **state)
{
    (void)state;
    struct kit_talk *talk = kit_ask(kit, LINE("DELETE", "/v1/items") "\r\n");
    assert_true(span_is(kit_header(talk, "Allow"), "GET, HEAD, POST, OPTIONS"));
    kit_close(talk);
}

/* --- Answers --- */

static bool id_valid(struct span id)
{
    uint8_t bytes[8];
    return id.len == HTTP_REQUEST_ID_LEN && hex_decode(id, bytes, sizeof bytes);
}

static void every_answer_has_its_headers(void **state)
{
    (void)state;
    static const char *const requests[] = {
        LINE("GET", "/v1/touch") "\r\n",
        LINE("GET", "/v1/nothing") "\r\n",
        LINE("POST", "/v1/items") KIT_ISSUE "Content-Length: 5000\r\n\r\n",
        "GET /v1/touch HTTP/1.1\r\n\r\n",
    };
    char last[HTTP_REQUEST_ID_LEN] = "";
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        struct kit_talk *talk = kit_ask(kit, requests[i]);
        struct span id = kit_header(talk, "X-Request-Id");
        assert_true(id_valid(id));
        assert_memory_not_equal(id.ptr, last, sizeof last);
        memcpy(last, id.ptr, sizeof last);
        assert_non_null(kit_header(talk, "Content-Length").ptr);
        assert_non_null(kit_header(talk, "Date").ptr);
        assert_null(kit_header(talk, "Server").ptr);
        assert_true(span_is(kit_header(talk, "Content-Type"),
                            i == 0 ? "application/json" : "application/problem+json"));
        kit_close(talk);
    }
}

static void problems_carry_what_the_handler_said(void **state)
{
    (void)state;
    struct kit_talk *talk = kit_ask(kit, LINE("GET", "/v1/full") "\r\n");
    assert_int_equal(talk->replies[0], 503);
    assert_true(span_is(kit_header(talk, "Retry-After"), "2"));
    assert_true(span_is(kit_header(talk, "X-Extra"), "yes"));
    assert_true(span_is(kit_header(talk, "Content-Type"), "application/problem+json"));
    assert_non_null(memmem(talk->body.ptr, talk->body.len, "\"retry_after_ms\":1500", 21));
    kit_close(talk);
}

static void head_is_get_without_the_body(void **state)
{
    (void)state;
    struct kit_talk *talk = kit_open(kit);
    assert_true(kit_send(talk, SPAN(LINE("HEAD", "/v1/touch") "\r\n")));
    kit_read(talk, 1, true);
    assert_int_equal(talk->replies[0], 200);
    assert_true(span_is(kit_header(talk, "Content-Length"), "11"));
    assert_true(kit_send(talk, SPAN(LINE("HEAD", "/v1/nothing") "\r\n")));
    kit_read(talk, 2, true);
    assert_int_equal(talk->replies[1], 404);
    assert_true(kit_send(talk, SPAN(KIT_TOUCH)));
    kit_read(talk, 3, false);
    assert_int_equal(talk->replies[2], 200);
    assert_true(span_is(talk->body, "{\"ok\":true}"));
    kit_close(talk);
}

static void a_shared_body_is_given_back_once(void **state)
{
    (void)state;
    unsigned before = atomic_load(&kit->released);
    struct kit_talk *talk = kit_open(kit);
    assert_true(kit_send(talk, SPAN(LINE("GET", "/v1/shared") "\r\n" LINE("HEAD", "/v1/shared") "\r\n")));
    kit_read(talk, 1, false);
    assert_true(span_is(talk->body, "a body of somebody else's"));
    kit_read(talk, 2, true);
    assert_true(span_is(kit_header(talk, "Content-Length"), "25"));
    kit_close(talk);
    for (int64_t end_us = clock_deadline_us(KIT_WAIT_MS);
         atomic_load(&kit->released) != before + 2 && clock_remaining_ms(end_us) > 0;)
        poll(NULL, 0, 1);
    assert_int_equal(atomic_load(&kit->released), before + 2);
}

static void admission_refuses_before_the_body(void **state)
{
    (void)state;
    unsigned handled = atomic_load(&kit->handled);
    struct kit_talk *talk = kit_open(kit);
    assert_true(kit_send(talk, SPAN(LINE("POST", "/v1/items") KIT_ISSUE
                                    "X-Refuse: 1\r\nContent-Length: 2\r\n\r\n{}" KIT_TOUCH)));
    kit_read(talk, 1, false);
    assert_int_equal(talk->replies[0], 503);
    assert_true(span_is(kit_header(talk, "Retry-After"), "3"));
    assert_non_null(memmem(talk->body.ptr, talk->body.len, "\"retry_after_ms\":2500", 21));
    kit_read(talk, 2, false);
    assert_int_equal(talk->replies[1], 200);
    assert_int_equal(atomic_load(&kit->handled), handled);
    kit_close(talk);
    /* A wrong key is said first. */
    kit_expect(kit, LINE("POST", "/v1/items") "X-Refuse: 1\r\n\r\n", 401, "unauthenticated");
}

#define ASKS_FOR_ROOM(line, body)    \
    LINE("POST", "/v1/items")        \
    KIT_ISSUE "X-Wait: " line "\r\n" \
              "Content-Length: 2\r\n\r\n" body

/* Asks for room in line 2 or 3 until one is held back, and returns when that one was about to be sent. Before
 * it some are refused at once, and then nobody for ever, so that it does not matter how fast this asks. */
enum { FOR_EVER_US = 1000000000 };
static int64_t fill(struct kit_talk *talk, unsigned line)
{
    static const char *const asks[] = {[2] = ASKS_FOR_ROOM("2", "{}"), [3] = ASKS_FOR_ROOM("3", "{}")};
    unsigned held_back = atomic_load(&kit->held_back[line]);
    struct pollfd answer = {.fd = talk->fd, .events = POLLIN};
    atomic_fetch_or(&kit->full, 1U << line);
    atomic_store(&kit->server->refusal_us, FOR_EVER_US);
    int64_t sent_us = 0;
    for (;;) {
        talk->count = 0;
        sent_us = clock_mono_us();
        assert_true(kit_send(talk, span_of(asks[line])));
        while (poll(&answer, 1, 1) == 0 && atomic_load(&kit->held_back[line]) == held_back)
            ;
        if (atomic_load(&kit->held_back[line]) > held_back)
            break;
        kit_read(talk, 1, false);
        assert_int_equal(talk->replies[0], 503);
    }
    talk->count = 0;
    return sent_us;
}

static void a_full_loop_refuses_some_and_lets_others_wait_for_room(void **state)
{
    (void)state;
    struct kit_talk *talk = kit_open(kit), *other = kit_open(kit);
    fill(talk, 3);
    /* Nobody else waits for it. */
    assert_true(kit_send(other, SPAN(KIT_TOUCH)));
    kit_read(other, 1, false);
    assert_int_equal(other->replies[0], 200);
    atomic_store(&kit->full, 0);
    kit_read(talk, 1, false);
    assert_int_equal(talk->replies[0], 200);
    assert_true(span_is(talk->body, "{}"));
    kit_close(other);
    kit_close(talk);
}

static void who_waits_for_room_is_refused_in_the_end(void **state)
{
    (void)state;
    struct kit_talk *talk = kit_open(kit), *leaves = kit_open(kit);
    fill(talk, 3);
    assert_true(kit_send(leaves, SPAN(ASKS_FOR_ROOM("3", "{"))));
    kit_close(leaves);
    kit_read(talk, 1, false); /* within the kit's bound */
    assert_int_equal(talk->replies[0], 503);
    assert_true(kit_send(talk, SPAN(KIT_TOUCH)));
    kit_read(talk, 2, false);
    assert_int_equal(talk->replies[1], 200);
    kit_close(talk);
}

/* true: one that waits for something else was answered while the first went on waiting. */
static bool is_not_behind(struct kit_talk *talk, struct kit_talk *other)
{
    enum { SURELY_MS = 400 }; /* nobody waits for so short in vain */
    struct pollfd answer = {.fd = talk->fd, .events = POLLIN};
    int64_t until_us = fill(talk, 3) + SURELY_MS * US_PER_MS;
    fill(other, 2);
    atomic_store(&kit->full, 1U << 3);
    kit_read(other, 1, false);
    bool waits = poll(&answer, 1, 0) == 0;
    bool in_time = clock_remaining_ms(until_us) > 0;
    kit_read(talk, 1, false);
    assert_true(waits || !in_time);
    return in_time && other->replies[0] == 200;
}

static void who_waits_for_one_thing_is_not_behind_who_waits_for_another(void **state)
{
    (void)state;
    struct kit_talk *talk = kit_open(kit), *elsewhere = kit_open(kit), *other = kit_open(kit);
    bool seen = false;                                /* the first and the third share one of two loops */
    for (int tries = 0; tries < 50 && !seen; tries++) /* a busy machine may take longer than they wait */
        seen = is_not_behind(talk, other);
    assert_true(seen);
    atomic_store(&kit->full, 0);
    kit_close(other);
    kit_close(elsewhere);
    kit_close(talk);
}

/* Its clock starts with its last byte, however long the others took. */
static void a_request_is_as_old_as_its_last_byte(void **state)
{
    (void)state;
    enum { BETWEEN_MS = 1000 }; /* more than a busy machine lets a loop wait */
    uint64_t age_ms = UINT64_MAX;
    struct kit_talk *talk = kit_open(kit);
    struct pollfd answer = {.fd = talk->fd, .events = POLLIN};
    assert_true(kit_send(talk, SPAN(LINE("GET", "/v1/turn") "Content-Length: 2\r\n\r\n{")));
    assert_int_equal(poll(&answer, 1, BETWEEN_MS), 0); /* nothing is answered before */
    int64_t sent_us = clock_mono_us();
    assert_true(kit_send(talk, SPAN("}")));
    kit_read(talk, 1, false);
    int64_t took_ms = (clock_mono_us() - sent_us) / US_PER_MS;
    assert_int_equal(talk->replies[0], 200);
    struct span body = talk->body;
    assert_true(parse_u64(span_cut(&body, ' '), UINT64_MAX - 1, &age_ms));
    assert_true((int64_t)age_ms < took_ms + BETWEEN_MS);
    kit_close(talk);
}

static void trace_context_is_strict(void **state)
{
    (void)state;
#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
    static const struct {
        const char *value;
        bool valid;
    } rows[] = {
        {"00-" TRACE "-01", true},
        {"00-" TRACE "-00", true},
        {"01-" TRACE "-01", true},
        {"01-" TRACE "-01-more", true},
        {"00-" TRACE "-01-more", false},
        {"00-" TRACE "-01-", false},
        {"01-" TRACE "-01more", false},
        {"ff-" TRACE "-01", false},
        {"00-" TRACE "-0", false},
        {"00-" TRACE "-0g", false},
        {"00-" TRACE, false},
        {"0-" TRACE "-01", false},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false},
        {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01", false},
        {"00_" TRACE "_01", false},
        {"", false},
    };
    kit_expect(kit, LINE("GET", "/v1/trace") "\r\n", 200, "none");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char request[256];
        snprintf(request, sizeof request, LINE("GET", "/v1/trace") "Traceparent: %s\r\n\r\n", rows[i].value);
        kit_expect(kit, request, 200,
                   rows[i].valid ? "4bf92f3577b34da6a3ce929d0e0e473600f067aa0ba902b7" : "none");
    }
}

static void the_client_has_an_address(void **state)
{
    (void)state;
    kit_expect(kit, LINE("GET", "/v1/address") "\r\n", 200, "00000000000000000000ffff7f000001");
}

/* --- Several requests on one connection --- */

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    enum { COUNT = 30 };
    struct kit_talk *talk = kit_open(kit);
    struct buf data;
    buf_init(&data, 65536);
    for (int i = 0; i < COUNT; i++) {
        const char *path = i % 3 == 0 ? "items" : i % 3 == 1 ? "later" : "both";
        buf_printf(&data, "POST /v1/%s HTTP/1.1\r\n" KIT_HOST KIT_ISSUE "Content-Length: 2\r\n\r\n%02d", path,
                   i);
    }
    assert_true(kit_send(talk, buf_span(&data)));
    for (int i = 0; i < COUNT; i++) {
        char want[16];
        snprintf(want, sizeof want, "%02d", i);
        kit_read(talk, (size_t)i + 1, false);
        assert_int_equal(talk->replies[i], i % 3 == 1 ? 201 : 200);
        assert_true(span_is(talk->body, i % 3 == 2 ? "both" : want));
    }
    buf_deinit(&data);
    kit_close(talk);
}

static void a_request_may_come_byte_by_byte(void **state)
{
    (void)state;
    struct kit_talk *talk = kit_open(kit);
    struct span request = SPAN(LINE("POST", "/v1/later") KIT_ISSUE "Content-Length: 3\r\n\r\nabc");
    for (size_t i = 0; i < request.len; i++)
        assert_true(kit_send(talk, (struct span){request.ptr + i, 1}));
    kit_read(talk, 1, false);
    assert_int_equal(talk->replies[0], 201);
    assert_true(span_is(talk->body, "abc"));
    assert_true(span_is(kit_header(talk, "X-Worker"), "1"));
    kit_close(talk);
}

static void both_families_are_served(void **state)
{
    (void)state;
    char reason[256];
    struct http_options options = {.bind_address = "::1",
                                   .threads = 1,
                                   .connections_max = 4,
                                   .connections_per_address_max = 4,
                                   .idle_timeout_s = 5,
                                   .header_bytes_max = 4096};
    struct http_server *server = http_server_create(&options, reason, sizeof reason);
    if (!server && strstr(reason, "cannot listen"))
        skip(); /* a machine without IPv6 */
    assert_non_null(server);
    http_server_destroy(server);
}

static void what_cannot_be_started_says_why(void **state)
{
    (void)state;
    static const struct http_route twice[] = {{HTTP_GET, "/a/{x}", 0, 0, kit_touch},
                                              {HTTP_GET, "/a/{y}", 0, 0, kit_touch}};
    static const struct http_route bad[] = {{HTTP_GET, "a", 0, 0, kit_touch}};
    static const struct http_route keyed[] = {{HTTP_GET, "/a", AUTH_READ, 0, kit_touch}};
    const struct http_options good = {.bind_address = "127.0.0.1",
                                      .threads = 1,
                                      .connections_max = 1,
                                      .connections_per_address_max = 1,
                                      .header_bytes_max = 4096};
    struct http_options rows[] = {good, good, good, good, good};
    static const char *const reasons[] = {"numeric", "cannot listen", "there twice", "malformed", "keyring"};
    rows[0].bind_address = "localhost";
    rows[1].port = kit->server->door.port;
    rows[2].routes = twice;
    rows[2].routes_count = 2;
    rows[3].routes = bad;
    rows[3].routes_count = 1;
    rows[4].routes = keyed;
    rows[4].routes_count = 1;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char reason[256] = "";
        assert_null(http_server_create(&rows[i], reason, sizeof reason));
        if (!strstr(reason, reasons[i]))
            fail_msg("%s: not %s", reason, reasons[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_decoded),
        cmocka_unit_test(a_literal_wins_over_a_parameter),
        cmocka_unit_test(queries_are_decoded),
        cmocka_unit_test(keys_and_scopes),
        cmocka_unit_test(refusals_of_a_key_say_what_is_wrong_with_it),
        cmocka_unit_test(refusals_come_in_order),
        cmocka_unit_test(allow_lists_the_methods),
        cmocka_unit_test(every_answer_has_its_headers),
        cmocka_unit_test(problems_carry_what_the_handler_said),
        cmocka_unit_test(head_is_get_without_the_body),
        cmocka_unit_test(a_shared_body_is_given_back_once),
        cmocka_unit_test(admission_refuses_before_the_body),
        cmocka_unit_test(a_full_loop_refuses_some_and_lets_others_wait_for_room),
        cmocka_unit_test(who_waits_for_room_is_refused_in_the_end),
        cmocka_unit_test(who_waits_for_one_thing_is_not_behind_who_waits_for_another),
        cmocka_unit_test(a_request_is_as_old_as_its_last_byte),
        cmocka_unit_test(trace_context_is_strict),
        cmocka_unit_test(the_client_has_an_address),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_request_may_come_byte_by_byte),
        cmocka_unit_test(both_families_are_served),
        cmocka_unit_test(what_cannot_be_started_says_why),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, setup, teardown);
}
