/* SPDX-License-Identifier: Apache-2.0 */
/* The console as a browser gets it: page, modules, policy, and tags that say whether it is another one. */
#include "common/http/test_kit.h"
#include "events/console_page.h"

static const struct http_route routes[] = {CONSOLE_PAGE_ROUTES};
static struct kit *kit;

static int start(void **)
{
    kit = kit_start((struct http_options){.routes = routes, .routes_count = COUNT_OF(routes)});
    return 0;
}

static int stop(void **)
{
    kit_stop(kit);
    return 0;
}

static struct kit_talk *get(const char *path, const char *headers)
{
    struct buf request;
    buf_init(&request, 1024);
    buf_printf(&request, "GET %s HTTP/1.1\r\n" KIT_HOST "%s\r\n%c", path, headers, 0);
    struct kit_talk *talk = kit_ask(kit, request.data);
    buf_deinit(&request);
    return talk;
}

static void has_header(const struct kit_talk *talk, const char *name, const char *part)
{
    struct span value = kit_header(talk, name);
    if (!value.ptr || !memmem(value.ptr, value.len, part, strlen(part)))
        fail_msg("%s: %.*s has no %s", name, SPAN_ARG(value), part);
}

static void test_page(void **)
{
    struct kit_talk *talk = get("/console?whatever=1", "");
    assert_int_equal(talk->replies[0], 200);
    has_header(talk, "Content-Type", "text/html; charset=utf-8");
    has_header(talk, "Content-Security-Policy", "default-src 'none'; script-src 'self'");
    has_header(talk, "Content-Security-Policy", "require-trusted-types-for 'script'");
    has_header(talk, "Referrer-Policy", "no-referrer");
    has_header(talk, "X-Content-Type-Options", "nosniff");
    has_header(talk, "Cache-Control", "no-cache");
    assert_non_null(memmem(talk->body.ptr, talk->body.len, "/console/app.js", 15));
    kit_close(talk);
}

static void test_modules(void **)
{
    static const struct {
        const char *path, *type;
    } files[] = {
        {"/console/app.js", "text/javascript"},          {"/console/core/format.js", "text/javascript"},
        {"/console/client/index.js", "text/javascript"}, {"/console/app.css", "text/css"},
        {"/console/icon.svg", "image/svg+xml"},
    };
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct kit_talk *talk = get(files[i].path, "");
        assert_int_equal(talk->replies[0], 200);
        has_header(talk, "Content-Type", files[i].type);
        has_header(talk, "Content-Security-Policy", "default-src 'none'");
        assert_true(talk->body.len > 100);
        kit_close(talk);
    }
}

static void test_tags(void **)
{
    struct buf headers;
    struct kit_talk *first = get("/console/app.js", ""), *other = get("/console/app.css", "");
    struct span tag = kit_header(first, "ETag"), another = kit_header(other, "ETag");
    assert_int_equal(tag.len, 34);
    assert_false(span_equal(tag, another));
    buf_init(&headers, 256);
    buf_printf(&headers, "If-None-Match: \"x\", W/%.*s\r\n%c", SPAN_ARG(tag), 0);
    struct kit_talk *again = get("/console/app.js", headers.data);
    assert_int_equal(again->replies[0], 304);
    assert_int_equal(again->body.len, 0);
    assert_true(span_equal(kit_header(again, "ETag"), tag));
    kit_close(again);
    again = get("/console/app.css", headers.data);
    assert_int_equal(again->replies[0], 200);
    kit_close(again);
    buf_deinit(&headers);
    kit_close(first);
    kit_close(other);
}

static void test_nothing_else(void **)
{
    static const char *const paths[] = {
        "/console/app",
        "/console/core",
        "/console/core/app.js",
        "/console/format.js",
        "/console/core%2fformat.js",
        "/console/..%2fVERSION",
        "/console/%2e%2e/VERSION",
        "/console/core/format.jsx",
        "/console/cor/eformat.js",
    };
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct kit_talk *talk = get(paths[i], "");
        if (talk->replies[0] != 404 && talk->replies[0] != 400)
            fail_msg("%s: %d", paths[i], talk->replies[0]);
        kit_close(talk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_nothing_else),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, start, stop);
}
