/* SPDX-License-Identifier: Apache-2.0 */
/* Whose request it is: a trusted proxy's word is taken and nobody else's, whatever a client writes. */
#include "common/http/test_kit.h"

#define OF(text)       \
    "0000000000000000" \
    "0000ffff" text
#define LOOPBACK OF("7f000001")
#define CLIENT   OF("c0000207") /* 192.0.2.7 */
#define PLAIN    "GET /v1/address HTTP/1.1\r\n" KIT_HOST

static struct kit *kit;

static int teardown(void **)
{
    kit_stop(kit);
    return 0;
}

static void expect_client(const char *fields, const char *client)
{
    char request[4096];
    snprintf(request, sizeof request, PLAIN "%s\r\n", fields);
    kit_expect(kit, request, 200, client);
}

static void nobody_is_trusted_unless_told(void **)
{
    kit = kit_start((struct http_options){0});
    expect_client("X-Forwarded-For: 192.0.2.7\r\n", LOOPBACK);
    expect_client("Forwarded: for=192.0.2.7\r\n", LOOPBACK);
}

static void a_stranger_is_not_believed(void **)
{
    kit = kit_start((struct http_options){.trusted_proxies = "10.0.0.0/8,::1"});
    expect_client("X-Forwarded-For: 192.0.2.7\r\n", LOOPBACK);
    expect_client("Forwarded: for=192.0.2.7\r\n", LOOPBACK);
}

static void a_proxy_is_believed(void **)
{
    static const struct {
        const char *fields, *client;
    } cases[] = {
        {"", LOOPBACK},
        {"X-Forwarded-For: 192.0.2.7\r\n", CLIENT},
        {"x-forwarded-for:192.0.2.7:1234\r\n", CLIENT},
        {"X-Forwarded-For: 2001:db8::7\r\n", "20010db8000000000000000000000007"},
        {"X-Forwarded-For: [2001:db8::7]:443\r\n", "20010db8000000000000000000000007"},
        {"X-Forwarded-For: ::ffff:192.0.2.7\r\n", CLIENT},
        {"Forwarded: for=192.0.2.7\r\n", CLIENT},
        {"Forwarded: proto=https; For=\"192.0.2.7:99\";by=203.0.113.1\r\n", CLIENT},
        {"Forwarded: for=\"[2001:db8::7]:4711\"\r\n", "20010db8000000000000000000000007"},
        /* What the client had written itself stands before what the proxy adds, in the same line or another.
         */
        {"X-Forwarded-For: 198.51.100.9, 192.0.2.7\r\n", CLIENT},
        {"X-Forwarded-For: 198.51.100.9\r\nX-Forwarded-For: 192.0.2.7\r\n", CLIENT},
        {"Forwarded: for=198.51.100.9, for=192.0.2.7\r\n", CLIENT},
        {"X-Forwarded-For: nonsense, 192.0.2.7\r\n", CLIENT},
        /* Two trusted proxies, one behind the other; a client that calls itself one of them is not asked on.
         */
        {"X-Forwarded-For: 192.0.2.7, 10.1.2.3\r\n", CLIENT},
        {"X-Forwarded-For: 198.51.100.9, 192.0.2.7, 10.1.2.3\r\n", CLIENT},
        {"X-Forwarded-For: 10.9.9.9\r\n", OF("0a090909")},
        /* Nobody is named: the proxy answers for whoever it is. */
        {"X-Forwarded-For: unknown\r\n", LOOPBACK},
        {"X-Forwarded-For: 192.0.2.7, \r\n", LOOPBACK},
        {"X-Forwarded-For: 192.0.2.7, 192.0.2.300\r\n", LOOPBACK},
        {"X-Forwarded-For: 192.0.2.7:70000\r\n", LOOPBACK},
        {"X-Forwarded-For: [192.0.2.7]\r\n", LOOPBACK},
        {"Forwarded: for=_hidden\r\n", LOOPBACK},
        {"Forwarded: by=192.0.2.7\r\n", LOOPBACK},
        /* A proxy writes one of the two fields, the client may have written the other. */
        {"Forwarded: for=198.51.100.9\r\nX-Forwarded-For: 192.0.2.7\r\n", LOOPBACK},
    };
    kit = kit_start((struct http_options){.trusted_proxies = "127.0.0.1, 10.0.0.0/8"});
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect_client(cases[i].fields, cases[i].client);
}

/* On a kept connection each request is somebody else's. */
static void each_request_has_its_own(void **)
{
    kit = kit_start((struct http_options){.trusted_proxies = "127.0.0.0/30"});
    struct kit_talk *talk = kit_open(kit);
    assert_true(kit_send(talk, SPAN(PLAIN "X-Forwarded-For: 192.0.2.7\r\n\r\n" PLAIN "\r\n")));
    kit_read(talk, 2, false);
    const char *first = strstr(talk->text.data, CLIENT), *second = strstr(talk->text.data, LOOPBACK);
    assert_true(first && second && first < second);
    kit_close(talk);
}

/* A long list costs no more than its end. */
static void of_a_long_list_the_end_counts(void **)
{
    struct buf fields;
    kit = kit_start((struct http_options){.trusted_proxies = "127.0.0.1,10.0.0.0/8"});
    buf_init(&fields, 4096);
    buf_append_text(&fields, "X-Forwarded-For: 198.51.100.9");
    for (int i = 0; i < 100; i++)
        buf_append_text(&fields, ",10.0.0.1");
    buf_append_text(&fields, "\r\n");
    expect_client(fields.data, OF("0a000001"));
    buf_deinit(&fields);
}

/* All clients of a proxy have its address: that one is not the bound of all of them. */
static void a_proxy_is_not_one_client(void **)
{
    struct kit_talk *talks[8];
    kit = kit_start((struct http_options){.connections_per_address_max = 2, .trusted_proxies = "127.0.0.1"});
    for (size_t i = 0; i < COUNT_OF(talks); i++) {
        talks[i] = kit_open(kit);
        assert_true(kit_send(talks[i], SPAN(KIT_TOUCH)));
        kit_read(talks[i], 1, false);
        assert_int_equal(talks[i]->replies[0], 200);
    }
    for (size_t i = 0; i < COUNT_OF(talks); i++) {
        assert_true(kit_send(talks[i], SPAN(KIT_TOUCH))); /* none of them had to go */
        kit_read(talks[i], 2, false);
        assert_int_equal(talks[i]->replies[1], 200);
        kit_close(talks[i]);
    }
}

static void lists_are_checked(void **)
{
    static const char *const good[] = {"", "127.0.0.1", "10.0.0.0/8, ::1,2001:db8::/32", "0.0.0.0/0", "::/0"};
    static const char *const bad[] = {"localhost",   "10.0.0.0/33",   "::/129", "10.0.0.0/",
                                      "10.0.0.0/-1", "10.0.0.1,,::1", ",",      "10.0.0.0/8 10.1.0.0/16"};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_true(http_proxies_valid(good[i]));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(http_proxies_valid(bad[i]));
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nobody_is_trusted_unless_told), TEST(a_stranger_is_not_believed),
        TEST(a_proxy_is_believed),           TEST(each_request_has_its_own),
        TEST(of_a_long_list_the_end_counts), TEST(a_proxy_is_not_one_client),
        cmocka_unit_test(lists_are_checked),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
