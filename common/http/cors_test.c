/* SPDX-License-Identifier: Apache-2.0 */
/* OPTIONS, and which pages may read an answer. */
#include "common/http/test_kit.h"

#define LINE(method, target) method " " target " HTTP/1.1\r\n" KIT_HOST
#define SHOP                 "Origin: https://shop.example\r\n"

static struct kit *kit; /* lets two origins in */

static int setup(void **)
{
    crypto_setup();
    kit = kit_start((struct http_options){.cors_origins = "https://shop.example, http://localhost:3000"});
    return 0;
}

static int teardown(void **)
{
    kit_stop(kit);
    return 0;
}

static void expect_field(const struct kit_talk *talk, const char *name, const char *value)
{
    struct span is = kit_header(talk, name);
    if (value ? !span_is(is, value) : is.ptr != NULL)
        fail_msg("%s: %.*s, not %s", name, SPAN_ARG(is), value ? value : "absent");
}

static void options_need_no_key_and_say_what_is_there(void **)
{
    struct kit_talk *talk = kit_ask(kit, LINE("OPTIONS", "/v1/items") "\r\n");
    assert_int_equal(talk->replies[0], 204);
    expect_field(talk, "Allow", "GET, HEAD, POST, OPTIONS");
    expect_field(talk, "Access-Control-Allow-Methods", NULL);
    kit_close(talk);
    talk = kit_ask(kit, LINE("OPTIONS", "*") "\r\n");
    assert_int_equal(talk->replies[0], 204);
    expect_field(talk, "Allow", NULL);
    kit_close(talk);
    kit_expect(kit, LINE("OPTIONS", "/v1/nothing") "\r\n", 404, "unknown-route");
    kit_expect(kit, LINE("OPTIONS", "**") "\r\n", 400, "malformed-request");
    kit_expect(kit, LINE("GET", "*") "\r\n", 400, "malformed-request");
    /* Conditions are not for OPTIONS (RFC 9110, 13.2.1), and neither is admission. */
    talk = kit_ask(kit, LINE("OPTIONS", "/v1/items") "If-Match: \"a\"\r\n\r\n");
    assert_int_equal(talk->replies[0], 204);
    kit_close(talk);
}

static void a_preflight_of_a_configured_origin_is_granted(void **)
{
    static const char *const strangers[] = {"https://shop.example.evil.example", "https://shop.exampl",
                                            "http://shop.example", "null",
                                            "https://shop.example, http://localhost:3000"};
    struct kit_talk *talk = kit_ask(kit, LINE("OPTIONS", "/v1/items") SHOP
                                    "Access-Control-Request-Method: POST\r\n"
                                    "Access-Control-Request-Headers: idempotency-key\r\n\r\n");
    assert_int_equal(talk->replies[0], 204);
    expect_field(talk, "Access-Control-Allow-Origin", "https://shop.example");
    expect_field(talk, "Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS");
    assert_true(memmem(kit_header(talk, "Access-Control-Allow-Headers").ptr,
                       kit_header(talk, "Access-Control-Allow-Headers").len, "Idempotency-Key", 15) != NULL);
    expect_field(talk, "Access-Control-Max-Age", "600");
    expect_field(talk, "Vary", "Origin");
    kit_close(talk);
    for (size_t i = 0; i < COUNT_OF(strangers); i++) {
        char request[256];
        snprintf(request, sizeof request,
                 LINE("OPTIONS", "/v1/items") "Origin: %s\r\nAccess-Control-Request-Method: POST\r\n\r\n",
                 strangers[i]);
        talk = kit_ask(kit, request);
        assert_int_equal(talk->replies[0], 204);
        expect_field(talk, "Access-Control-Allow-Origin", NULL);
        expect_field(talk, "Access-Control-Allow-Methods", NULL);
        expect_field(talk, "Vary", "Origin");
        kit_close(talk);
    }
}

/* Refusals too: a page that cannot read why is told nothing but that it failed. */
static void answers_name_the_origin_that_asked(void **)
{
    struct kit_talk *talk = kit_ask(kit, LINE("GET", "/v1/touch") "Origin: http://localhost:3000\r\n\r\n");
    assert_int_equal(talk->replies[0], 200);
    expect_field(talk, "Access-Control-Allow-Origin", "http://localhost:3000");
    assert_true(kit_header(talk, "Access-Control-Expose-Headers").len > 0);
    kit_close(talk);
    talk = kit_ask(kit, LINE("GET", "/v1/items") SHOP "\r\n");
    assert_int_equal(talk->replies[0], 401);
    expect_field(talk, "Access-Control-Allow-Origin", "https://shop.example");
    kit_close(talk);
    talk = kit_ask(kit, LINE("GET", "/v1/touch") SHOP SHOP "\r\n"); /* who is it now? */
    expect_field(talk, "Access-Control-Allow-Origin", NULL);
    kit_close(talk);
    talk = kit_ask(kit, LINE("GET", "/v1/touch") "\r\n");
    expect_field(talk, "Access-Control-Allow-Origin", NULL);
    expect_field(talk, "Vary", "Origin"); /* a cache must not give this one to a page */
    kit_close(talk);
}

static void without_origins_nothing_is_said(void **)
{
    struct kit *closed = kit_start((struct http_options){.threads = 1});
    struct kit_talk *talk =
        kit_ask(closed, LINE("OPTIONS", "/v1/items") SHOP "Access-Control-Request-Method: POST\r\n\r\n");
    assert_int_equal(talk->replies[0], 204);
    expect_field(talk, "Access-Control-Allow-Origin", NULL);
    expect_field(talk, "Access-Control-Allow-Methods", NULL);
    expect_field(talk, "Vary", NULL);
    kit_close(talk);
    kit_stop(closed);
}

static void origins_are_as_browsers_write_them(void **)
{
    static const char *const good[] = {"", "https://shop.example", "http://localhost:3000,https://a.b",
                                       "https://[::1]:8443", "https://xn--h1alffa.example , http://10.0.0.1"};
    static const char *const bad[] = {"*",
                                      "shop.example",
                                      "https://",
                                      "https://shop.example/",
                                      "https://Shop.example",
                                      "https://shop.example:443",
                                      "http://a:80",
                                      "https://a,",
                                      ",https://a",
                                      "null",
                                      "ftp://a",
                                      "https://a:",
                                      "https://a b",
                                      "https://u@a"};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        if (!http_origins_valid(good[i]))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (http_origins_valid(bad[i]))
            fail_msg("%s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_need_no_key_and_say_what_is_there),
        cmocka_unit_test(a_preflight_of_a_configured_origin_is_granted),
        cmocka_unit_test(answers_name_the_origin_that_asked),
        cmocka_unit_test(without_origins_nothing_is_said),
        cmocka_unit_test(origins_are_as_browsers_write_them),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
