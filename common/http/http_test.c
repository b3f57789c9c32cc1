/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol side of the HTTP server, over real sockets: hostile framing, the order of refusals, bodies,
 * connections kept and closed, what handlers read. Load, limits and draining are in http_load_test.c. */
#include "common/http/test_kit.h"

#define LINE(method, target) method " " target " HTTP/1.1\r\n" KIT_HOST
#define POST                 LINE("POST", "/v1/items") KIT_ISSUE
#define GET                  LINE("GET", "/v1/touch")

static struct kit *kit;

static int setup(void **)
{
    kit = kit_start((struct http_options){.port = 0});
    return 0;
}

static int teardown(void **)
{
    kit_stop(kit);
    return 0;
}

/* --- Hostile framing --- */

/* Requests that are refused and after which the connection is closed, each sent in one piece with an innocent
 * request behind it, which must never be answered: that is what smuggling would need. */
static const struct {
    const char *name;
    struct span request;
    int status;
} refused[] = {
    {"length and chunked", SPAN(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     400},
    {"chunked and length", SPAN(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
     400},
    {"two lengths", SPAN(POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"), 400},
    {"the same length twice", SPAN(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), 400},
    {"chunked twice", SPAN(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     400},
    {"gzip, chunked", SPAN(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 400},
    {"chunked, identity", SPAN(POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 400},
    {"identity", SPAN(POST "Transfer-Encoding: identity\r\n\r\n"), 400},
    {"empty encoding", SPAN(POST "Transfer-Encoding:\r\n\r\n"), 400},
    {"chunked with a blank", SPAN(POST "Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n"), 400},
    {"chunked with a vertical tab",
     SPAN(POST "Transfer-Encoding: \x0b"
               "chunked\r\n\r\n0\r\n\r\n"),
     400},
    {"chunked in HTTP/1.0", SPAN("POST /v1/items HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     400},
    {"encoding with a blank before the colon", SPAN(POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
     400},
    {"length +3", SPAN(POST "Content-Length: +3\r\n\r\nabc"), 400},
    {"length -3", SPAN(POST "Content-Length: -3\r\n\r\nabc"), 400},
    {"length 0x3", SPAN(POST "Content-Length: 0x3\r\n\r\nabc"), 400},
    {"length 3,3", SPAN(POST "Content-Length: 3,3\r\n\r\nabc"), 400},
    {"length 003", SPAN(POST "Content-Length: 003\r\n\r\nabc"), 400},
    {"length with a blank behind", SPAN(POST "Content-Length: 3 \r\n\r\nabc"), 400},
    {"length empty", SPAN(POST "Content-Length:\r\n\r\nabc"), 400},
    {"length 2^64-1", SPAN(POST "Content-Length: 18446744073709551615\r\n\r\nabc"), 400},
    {"length 2^64", SPAN(POST "Content-Length: 18446744073709551616\r\n\r\nabc"), 400},
    {"length folded", SPAN(POST "Content-Length: 3\r\n 0\r\n\r\nabc"), 400},
    {"length in two names", SPAN(POST "Content-Length\r\n: 3\r\n\r\nabc"), 400},
    {"LF after the request line", SPAN("GET /v1/touch HTTP/1.1\n" KIT_HOST "\r\n"), 400},
    {"LF after a header", SPAN(GET "X-A: 1\nX-B: 2\r\n\r\n"), 400},
    {"LF before the end", SPAN(GET "X-A: 1\n\r\n"), 400},
    {"LF for the end", SPAN(GET "X-A: 1\r\n\n"), 400},
    {"CR in a value", SPAN(GET "X-A: 1\rX-B: 2\r\n\r\n"), 400},
    {"fold in the middle", SPAN(GET "X-A: 1\r\n 2\r\nX-B: 3\r\n\r\n"), 400},
    {"fold at the end", SPAN(GET "X-A: 1\r\n\t2\r\n\r\n"), 400},
    {"fold at the start", SPAN("GET /v1/touch HTTP/1.1\r\n X-A: 1\r\n" KIT_HOST "\r\n"), 400},
    {"blank before a colon", SPAN(GET "X-A : 1\r\n\r\n"), 400},
    {"no colon", SPAN(GET "X-A\r\n\r\n"), 400},
    {"no name", SPAN(GET ": 1\r\n\r\n"), 400},
    {"name with bytes above 127", SPAN(GET "X-\xc3\xa4: 1\r\n\r\n"), 400},
    {"NUL in a value",
     SPAN(GET "X-A: 1\0"
              "2\r\n\r\n"),
     400},
    {"NUL at the end of a value", SPAN(GET "X-A: 1\0\r\n\r\n"), 400},
    {"NUL in a name", SPAN(GET "X\0A: 1\r\n\r\n"), 400},
    {"NUL before a line", SPAN(POST "\0X-A: 1\r\nContent-Length: 3\r\n\r\nabc"), 400},
    {"NUL in the target", SPAN("GET /v1/touch\0x HTTP/1.1\r\n" KIT_HOST "\r\n"), 400},
    {"NUL in the method", SPAN("G\0ET /v1/touch HTTP/1.1\r\n" KIT_HOST "\r\n"), 400},
    {"control character in a value", SPAN(GET "X-A: \x01\r\n\r\n"), 400},
    {"no Host", SPAN("GET /v1/touch HTTP/1.1\r\n\r\n"), 400},
    {"two Hosts", SPAN(GET KIT_HOST "\r\n"), 400},
    {"two blanks after the method", SPAN("GET  /v1/touch HTTP/1.1\r\n" KIT_HOST "\r\n"), 400},
    {"blank after the version", SPAN("GET /v1/touch HTTP/1.1 \r\n" KIT_HOST "\r\n"), 400},
    {"blank in the target", SPAN(LINE("GET", "/v1/ touch") "\r\n"), 400},
    {"fragment in the target", SPAN(LINE("GET", "/v1/touch#x") "\r\n"), 400},
    {"bytes above 127 in the target", SPAN(LINE("GET", "/v1/parts/\xc3\xa4") "\r\n"), 400},
    {"% at the end", SPAN(LINE("GET", "/v1/parts/a%") "\r\n"), 400},
    {"%a at the end", SPAN(LINE("GET", "/v1/parts/a%a") "\r\n"), 400},
    {"%zz", SPAN(LINE("GET", "/v1/parts/%zz") "\r\n"), 400},
    {"authority for a target", SPAN("CONNECT t:80 HTTP/1.1\r\n" KIT_HOST "\r\n"), 400},
    {"asterisk for a target", SPAN("GET * HTTP/1.1\r\n" KIT_HOST "\r\n"), 400},
    {"https target", SPAN(LINE("GET", "https://t/v1/touch") "\r\n"), 400},
    {"HTTP/0.9", SPAN("GET /v1/touch\r\n"), 400},
    {"HTTP/2.0", SPAN("GET /v1/touch HTTP/2.0\r\n" KIT_HOST "\r\n"), 505},
    {"http/1.1 in small letters", SPAN("GET /v1/touch http/1.1\r\n" KIT_HOST "\r\n"), 400},
    {"garbage", SPAN("\xff\xfe\xfd\r\n\r\n"), 400},
    {"chunk size zz", SPAN(POST "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"), 400},
    {"chunk size -3", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n"), 400},
    {"chunk without its end", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"), 400},
    {"chunk size with a blank", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n"), 400},
    {"chunk size 0x3", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"), 400},
    {"chunk size ended by LF", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n"), 400},
    {"chunk ended by LF", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n"), 400},
    {"CR in a chunk extension", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;a\rb\r\nabc\r\n0\r\n\r\n"),
     400},
    {"trailer folded", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n 2\r\n\r\n"), 400},
    {"trailer ended by LF", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\n\r\n"), 400},
    {"two hosts in one", SPAN("GET /v1/touch HTTP/1.1\r\nHost: a, b\r\n\r\n"), 400},
    {"user in Host", SPAN("GET /v1/touch HTTP/1.1\r\nHost: a@b\r\n\r\n"), 400},
    {"path in Host", SPAN("GET /v1/touch HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400},
    {"chunk size too large",
     SPAN(POST "Transfer-Encoding: chunked\r\n\r\n"
               "1ffffffffffffffff\r\na\r\n"),
     413},
    {"request line that seems to end early",
     SPAN("GET /v1/touch\0HTTP/1.1\0\0?a&b HTTP/1.1\r\n" KIT_HOST "\r\n"), 400},
};

static void refused_framing_ends_the_connection(void **)
{
    unsigned touched = atomic_load(&kit->touched), handled = atomic_load(&kit->handled);
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct kit_talk *talk = kit_open(kit);
        struct buf data;
        buf_init(&data, 65536);
        buf_append_span(&data, refused[i].request);
        buf_append_text(&data, KIT_TOUCH);
        kit_send(talk, buf_span(&data));
        kit_read(talk, 1, false);
        int got = talk->count ? talk->replies[0] : 0;
        if (got != refused[i].status)
            fail_msg("%s: %d, not %d", refused[i].name, got, refused[i].status);
        kit_read_end(talk);
        if (talk->count != 1 || talk->parsed != talk->text.len)
            fail_msg("%s: answered %zu times, or more than answered", refused[i].name, talk->count);
        if (atomic_load(&kit->touched) != touched || atomic_load(&kit->handled) != handled)
            fail_msg("%s: a handler ran", refused[i].name);
        buf_deinit(&data);
        kit_close(talk);
    }
}

/* HEAD has no body, also where it is refused. */
static void refused_heads_have_no_body(void **)
{
    static const char *const requests[] = {
        LINE("HEAD", "/v1/touch") "X-A: 1\nX-B: 2\r\n\r\n",
        LINE("HEAD", "/v1/touch") "Content-Length: 18446744073709551616\r\n\r\n",
        LINE("HEAD", "/v1/nothing") "Connection: close\r\n\r\n",
        "HEAD /v1/touch HTTP/1.1\r\n\r\n",
        "HEAD /v1/touch HTTP/3.0\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        struct kit_talk *talk = kit_open(kit);
        assert_true(kit_send(talk, span_of(requests[i])));
        kit_read(talk, 1, true);
        assert_in_range(talk->replies[0], 400, 505);
        kit_read(talk, 2, true);
        assert_true(talk->ended);
        assert_int_equal(talk->parsed, talk->text.len);
        kit_close(talk);
    }
}

/* Fields that change what a request means: understood, or refused for what they are. */
static void fields_that_are_not_understood_are_refused(void **)
{
#define BODY2 "Content-Length: 2\r\n\r\n{}"
    kit_expect(kit, POST "Content-Encoding: gzip\r\n" BODY2, 415, "unsupported-media-type");
    kit_expect(kit, POST "Content-Encoding: identity, br\r\n" BODY2, 415, "unsupported-media-type");
    kit_expect(kit, POST "Content-Encoding: identity\r\n" BODY2, 200, "{}");
    kit_expect(kit, POST "Content-Type: text/xml\r\n" BODY2, 415, "unsupported-media-type");
    kit_expect(kit, POST "Content-Type: application/json; charset=euc-kr\r\n" BODY2, 415,
               "unsupported-media");
    kit_expect(kit, POST "Content-Type: application/JSON ; charset=\"UTF-8\"\r\n" BODY2, 200, "{}");
    kit_expect(kit, POST "Content-Type: application/x-www-form-urlencoded\r\n" BODY2, 200, "{}");
    kit_expect(kit, POST "Content-Type: application/vnd.shop+json\r\n" BODY2, 200, "{}");
    kit_expect(kit, POST "Expect: 200-ok\r\n" BODY2, 417, "expectation-failed");
    kit_expect(kit, POST "If-Match: \"a\"\r\n" BODY2, 412, "precondition-failed");
    kit_expect(kit, POST "If-None-Match: *\r\n" BODY2, 412, "precondition-failed");
    kit_expect(kit, POST "If-Unmodified-Since: Mon, 30 Nov 2026 00:00:00 GMT\r\n" BODY2, 200,
               "{}"); /* nothing here has a date */
#define KNOWN LINE("POST", "/v1/known") KIT_ISSUE
    kit_expect(kit, KNOWN "If-Match: \"a\"\r\n" BODY2, 200, "{}"); /* its handler looks at it */
    kit_expect(kit, KNOWN "If-None-Match: *\r\n" BODY2, 200, "{}");
    kit_expect(kit, POST "If-Modified-Since: Mon, 30 Nov 2026 00:00:00 GMT\r\n" BODY2, 200,
               "{}"); /* of reads */
    kit_expect(kit, POST "Range: bytes=0-1\r\n" BODY2, 200, "{}");
    struct kit_talk *talk = kit_ask(kit, POST "Content-Encoding: gzip\r\n" BODY2);
    assert_true(span_is(kit_header(talk, "Accept-Encoding"), "identity"));
    kit_close(talk);
}

/* Well-formed, if unusual: answered, and so is the request behind it on the same connection. */
static const struct {
    const char *name;
    struct span request;
    int status;
} kept[] = {
    {"empty lines first", SPAN("\r\n\r\n" GET "\r\n"), 200},
    {"no blank after the colon", SPAN(GET "X-A:1\r\n\r\n"), 200},
    {"many blanks after the colon", SPAN(GET "X-A: \t  1\r\n\r\n"), 200},
    {"blanks behind a value", SPAN(GET "X-A: 1  \r\n\r\n"), 200},
    {"empty value", SPAN(GET "X-A:\r\nX-B: \r\n\r\n"), 200},
    {"UTF-8 in a value", SPAN(GET "X-A: \xc3\xa4\r\n\r\n"), 200},
    {"absolute target", SPAN(LINE("GET", "http://t:80/v1/touch") "\r\n"), 200},
    {"absolute target in capitals", SPAN(LINE("GET", "HTTP://T/v1/touch") "\r\n"), 200},
    {"escapes in a literal segment", SPAN(LINE("GET", "/v1/%74ouch") "\r\n"), 200},
    {"query on a call that ignores it", SPAN(LINE("GET", "/v1/touch?a=b&&c") "\r\n"), 200},
    {"kept alive in HTTP/1.0", SPAN("GET /v1/touch HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 200},
    {"body on GET", SPAN(GET "Content-Length: 3\r\n\r\nabc"), 200},
    {"length 0", SPAN(POST "Content-Length: 0\r\n\r\n"), 200},
    {"no body", SPAN(POST "\r\n"), 200},
    {"chunked", SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), 200},
    {"Chunked", SPAN(POST "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), 200},
    {"chunk extension and trailer",
     SPAN(POST "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"), 200},
    {"trailer named like a length",
     SPAN(POST "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\n\r\n"), 200},
    {"unknown path", SPAN(LINE("GET", "/v1/nothing") "\r\n"), 404},
    {"unknown path with a body", SPAN(LINE("POST", "/v1/nothing") "Content-Length: 3\r\n\r\nabc"), 404},
    {"unknown path with chunks",
     SPAN(LINE("POST", "/") "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"), 404},
    {"path with nine segments", SPAN(LINE("GET", "/1/2/3/4/5/6/7/8/9") "\r\n"), 404},
    {"slash at the end", SPAN(LINE("GET", "/v1/touch/") "\r\n"), 404},
    {"empty parameter", SPAN(LINE("GET", "/v1/parts/") "\r\n"), 404},
    {"NUL in an escape", SPAN(LINE("GET", "/v1/touch%00") "\r\n"), 404},
    {"wrong method with a body", SPAN(LINE("PUT", "/v1/items") "Content-Length: 3\r\n\r\nabc"), 405},
    {"a method that the path does not know", SPAN(LINE("PATCH", "/v1/items") "\r\n"), 405},
    {"TRACE", SPAN(LINE("TRACE", "/v1/items") "\r\n"), 501},
    {"a method of nobody", SPAN(LINE("BREW", "/nowhere") "Content-Length: 3\r\n\r\nabc"), 501},
    {"a method in small letters", SPAN(LINE("get", "/v1/items") "\r\n"), 501},
    {"no key, with a body", SPAN(LINE("POST", "/v1/items") "Content-Length: 3\r\n\r\nabc"), 401},
    {"wrong scope, with a body", SPAN(LINE("POST", "/v1/items") KIT_ADMIN "Content-Length: 3\r\n\r\nabc"),
     403},
    {"bad escape in the query", SPAN(LINE("GET", "/v1/touch?a=%f") "\r\n"), 400},
    {"17 parameters", SPAN(LINE("GET", "/v1/touch?1&2&3&4&5&6&7&8&9&a&b&c&d&e&f&g&h") "\r\n"), 400},
};

static void answered_requests_keep_the_connection(void **)
{
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        struct kit_talk *talk = kit_open(kit);
        assert_true(kit_send(talk, kept[i].request));
        assert_true(kit_send(talk, SPAN(KIT_TOUCH)));
        kit_read(talk, 2, false);
        if (talk->count != 2 || talk->replies[0] != kept[i].status || talk->replies[1] != 200)
            fail_msg("%s: %zu answers, first %d, not %d and 200", kept[i].name, talk->count, talk->replies[0],
                     kept[i].status);
        kit_close(talk);
    }
}

static void connections_close_when_asked_to(void **)
{
    static const struct span requests[] = {SPAN(GET "Connection: close\r\n\r\n"),
                                           SPAN("GET /v1/touch HTTP/1.0\r\n\r\n")};
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        struct kit_talk *talk = kit_open(kit);
        assert_true(kit_send(talk, requests[i]));
        kit_read(talk, 1, false);
        assert_true(span_is(kit_header(talk, "Connection"), "close"));
        kit_read_end(talk);
        assert_int_equal(talk->count, 1);
        kit_close(talk);
    }
}

/* A head of exactly `size` bytes. */
static void head_of(struct buf *out, size_t size)
{
    static const char start[] = GET "X-Fill: ";
    buf_append_text(out, start);
    while (out->len < size - 4)
        buf_append_char(out, 'a');
    buf_append_text(out, "\r\n\r\n");
}

static void heads_are_bounded(void **)
{
    static const size_t sizes[] = {8192, 8193, 12000, 100000};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct kit_talk *talk = kit_open(kit);
        struct buf head;
        buf_init(&head, 200000);
        head_of(&head, sizes[i]);
        kit_send(talk, buf_span(&head));
        kit_read(talk, 1, false);
        assert_int_equal(talk->count, 1);
        assert_int_equal(talk->replies[0], i == 0 ? 200 : 431);
        if (i > 0) {
            kit_read_end(talk);
            assert_int_equal(talk->count, 1);
            assert_int_equal(talk->parsed, talk->text.len);
        }
        buf_deinit(&head);
        kit_close(talk);
    }
}

static void header_fields_are_bounded(void **)
{
    for (size_t count = HTTP_HEADERS_MAX; count <= HTTP_HEADERS_MAX + 1; count++) {
        struct kit_talk *talk = kit_open(kit);
        struct buf head;
        buf_init(&head, 65536);
        buf_append_text(&head, GET);
        for (size_t i = 1; i < count; i++)
            buf_printf(&head, "X-Field-%03zu: %060d\r\n", i, 0); /* close to the bound on bytes, too */
        buf_append_text(&head, "\r\n");
        assert_true(kit_send(talk, buf_span(&head)));
        kit_read(talk, 1, false);
        assert_int_equal(talk->replies[0], count == HTTP_HEADERS_MAX ? 200 : 431);
        buf_deinit(&head);
        kit_close(talk);
    }
}

/* --- Bodies --- */

/* POST with `size` bytes of body, chunked or not; the head says `claim` bytes. */
static struct kit_talk *post_body(const char *head, size_t claim, size_t size)
{
    struct kit_talk *talk = kit_open(kit);
    struct buf data;
    buf_init(&data, 32 << 20);
    buf_append_text(&data, head);
    if (claim)
        buf_printf(&data, "Content-Length: %zu\r\n\r\n", claim);
    else
        buf_printf(&data, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", size);
    for (size_t i = 0; i < size; i++)
        buf_append_char(&data, (char)('a' + i % 26));
    if (!claim)
        buf_append_text(&data, "\r\n0\r\n\r\n");
    kit_send(talk, buf_span(&data)); /* all of it before reading anything; the server may cut us off */
    buf_deinit(&data);
    kit_read(talk, 1, false);
    assert_int_equal(talk->count, 1);
    return talk;
}

static void body_fits(const char *head, size_t claim, size_t size)
{
    struct kit_talk *talk = post_body(head, claim, size);
    assert_int_equal(talk->replies[0], 200);
    assert_int_equal(talk->body.len, size);
    for (size_t i = 0; i < size; i++)
        if (talk->body.ptr[i] != (char)('a' + i % 26))
            fail_msg("byte %zu of %zu differs", i, size);
    assert_true(kit_send(talk, SPAN(KIT_TOUCH)));
    kit_read(talk, 2, false);
    assert_int_equal(talk->replies[1], 200);
    kit_close(talk);
}

static void bodies_arrive_whole(void **)
{
    static const size_t sizes[] = {1, 1000, KIT_BODY_MAX};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        body_fits(POST, sizes[i], sizes[i]);
        body_fits(POST, 0, sizes[i]);
    }
    body_fits(LINE("POST", "/v1/large") KIT_ISSUE, 65536, 65536);
    body_fits(LINE("POST", "/v1/large") KIT_ISSUE, 0, 65536);
    body_fits(LINE("POST", "/v1/huge") KIT_ISSUE, 1 << 20, 1 << 20);
    body_fits(LINE("POST", "/v1/huge") KIT_ISSUE, 0, 1 << 20);
}

static void body_refused(const char *head, size_t claim, size_t size, int status)
{
    unsigned handled = atomic_load(&kit->handled);
    struct kit_talk *talk = post_body(head, claim, size);
    assert_int_equal(talk->replies[0], status);
    assert_true(span_is(kit_header(talk, "Connection"), "close"));
    kit_read_end(talk);
    assert_int_equal(talk->count, 1);
    assert_int_equal(atomic_load(&kit->handled), handled);
    kit_close(talk);
}

static void large_bodies_are_refused_and_the_answer_arrives(void **)
{
    const char *large = LINE("POST", "/v1/large") KIT_ISSUE;
    body_refused(POST, KIT_BODY_MAX + 1, 0, 413); /* at once, nothing of the body was sent */
    body_refused(POST, KIT_BODY_MAX + 1, KIT_BODY_MAX + 1, 413);
    body_refused(POST, 0, KIT_BODY_MAX + 1, 413);
    body_refused(large, 200 * 1024, 200 * 1024, 413);
    body_refused(large, 0, 200 * 1024, 413);
    body_refused(large, 1000 * 1024, 1000 * 1024, 413);
    body_refused(large, INT64_MAX, 100, 413);
    body_refused(LINE("POST", "/v1/nothing"), 200 * 1024, 200 * 1024, 404);
    body_refused(LINE("POST", "/v1/items"), 0, 200 * 1024, 401);
}

static void a_body_without_end_is_cut_off(void **)
{
    char piece[65536];
    struct kit_talk *talk = kit_open(kit);
    memset(piece, 'a', sizeof piece);
    assert_true(kit_send(talk, SPAN(POST "Content-Length: 100000000000\r\n\r\n")));
    bool open = true;
    for (size_t sent = 0; open && sent < (size_t)64 << 20; sent += sizeof piece)
        open = kit_send(talk, (struct span){piece, sizeof piece});
    assert_false(open);
    kit_close(talk);
}

static void expect_continue_is_honoured(void **)
{
    struct kit_talk *talk = kit_open(kit);
    assert_true(kit_send(talk, SPAN(POST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")));
    kit_read(talk, 1, false);
    assert_int_equal(talk->replies[0], 100);
    assert_true(kit_send(talk, SPAN("abc")));
    kit_read(talk, 2, false);
    assert_int_equal(talk->replies[1], 200);
    kit_close(talk);
    /* Refused without asking for the body. */
    kit_expect(kit, LINE("POST", "/v1/items") "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", 401,
               "unauthenticated");
    kit_expect(kit, POST "Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n", 413, "body-too-large");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_framing_ends_the_connection),
        cmocka_unit_test(refused_heads_have_no_body),
        cmocka_unit_test(fields_that_are_not_understood_are_refused),
        cmocka_unit_test(answered_requests_keep_the_connection),
        cmocka_unit_test(connections_close_when_asked_to),
        cmocka_unit_test(heads_are_bounded),
        cmocka_unit_test(header_fields_are_bounded),
        cmocka_unit_test(bodies_arrive_whole),
        cmocka_unit_test(large_bodies_are_refused_and_the_answer_arrives),
        cmocka_unit_test(a_body_without_end_is_cut_off),
        cmocka_unit_test(expect_continue_is_honoured),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, setup, teardown);
}
