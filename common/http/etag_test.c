/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags and their comparison. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/crypto.h"
#include "common/http/http.h"

static void tags_are_strong_and_of_the_body(void **)
{
    struct buf one, two;
    buf_init(&one, HTTP_ETAG_MAX);
    buf_init(&two, HTTP_ETAG_MAX);
    http_etag_write(&one, SPAN("{}"));
    http_etag_write(&two, SPAN("{ }"));
    assert_int_equal(one.len, HTTP_ETAG_MAX);
    assert_int_equal(one.data[0], '"');
    assert_false(span_equal(buf_span(&one), buf_span(&two)));
    buf_deinit(&one);
    buf_deinit(&two);
}

static void a_list_has_a_tag_or_has_not(void **)
{
    static const char *const with[] = {"\"abc\"", " \"x\" ,\t\"abc\" ", "*", " * ", ",\"abc\",,"};
    static const char *const without[] = {"", ",,", "abc", "\"abcd\"", "\"x\", *", "*, \"x\"", "\"ab\"c"};
    const struct span tag = SPAN("\"abc\"");
    for (size_t i = 0; i < COUNT_OF(with); i++) {
        assert_true(http_etag_listed(span_of(with[i]), tag, HTTP_WEAKLY));
        assert_true(http_etag_listed(span_of(with[i]), tag, HTTP_STRONGLY));
    }
    for (size_t i = 0; i < COUNT_OF(without); i++) {
        assert_false(http_etag_listed(span_of(without[i]), tag, HTTP_WEAKLY));
        assert_false(http_etag_listed(span_of(without[i]), tag, HTTP_STRONGLY));
    }
    assert_false(http_etag_listed((struct span){NULL, 0}, tag, HTTP_WEAKLY));
}

/* A weak tag is enough to keep what one has, and not enough to change something. */
static void weak_tags_match_weakly_only(void **)
{
    const struct span tag = SPAN("\"abc\"");
    assert_true(http_etag_listed(SPAN("W/\"abc\""), tag, HTTP_WEAKLY));
    assert_false(http_etag_listed(SPAN("W/\"abc\""), tag, HTTP_STRONGLY));
    assert_true(http_etag_listed(SPAN("W/\"abc\", \"abc\""), tag, HTTP_STRONGLY));
    assert_false(http_etag_listed(SPAN("w/\"abc\""), tag, HTTP_WEAKLY));
}

int main(void)
{
    crypto_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_strong_and_of_the_body),
        cmocka_unit_test(a_list_has_a_tag_or_has_not),
        cmocka_unit_test(weak_tags_match_weakly_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
