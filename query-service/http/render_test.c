/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags and their comparison. The JSON itself is compared between Redis and PostgreSQL in tests/. */
#include "query-service/http/render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void tags_are_strong_and_of_the_body(void **state)
{
    (void)state;
    struct buf one, two;
    buf_init(&one, ETAG_MAX);
    buf_init(&two, ETAG_MAX);
    render_etag(&one, SPAN("{}"));
    render_etag(&two, SPAN("{ }"));
    assert_int_equal(one.len, ETAG_MAX);
    assert_int_equal(one.data[0], '"');
    assert_false(span_equal(buf_span(&one), buf_span(&two)));
    buf_deinit(&one);
    buf_deinit(&two);
}

static void if_none_match(void **state)
{
    (void)state;
    const struct span tag = SPAN("\"abc\"");
    assert_true(etag_matches(SPAN("\"abc\""), tag));
    assert_true(etag_matches(SPAN("W/\"abc\""), tag));
    assert_true(etag_matches(SPAN(" \"x\" ,\t\"abc\" "), tag));
    assert_true(etag_matches(SPAN("*"), tag));
    assert_true(etag_matches(SPAN(" * "), tag));
    assert_false(etag_matches((struct span){NULL, 0}, tag));
    assert_false(etag_matches(SPAN(""), tag));
    assert_false(etag_matches(SPAN(",,"), tag));
    assert_false(etag_matches(SPAN("abc"), tag));
    assert_false(etag_matches(SPAN("\"abcd\""), tag));
    assert_false(etag_matches(SPAN("\"x\", *"), tag));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_strong_and_of_the_body),
        cmocka_unit_test(if_none_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
