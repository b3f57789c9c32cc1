/* SPDX-License-Identifier: Apache-2.0 */
/* What Location may begin with. */
#include "command-service/http/response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_public_url_is_absolute_and_ends_without_a_slash(void **)
{
    static const char *const good[] = {"", "https://coupons.example", "http://127.0.0.1:8443/coupons",
                                       "https://[::1]:8443"};
    static const char *const bad[] = {"coupons.example",   "/coupons",        "https://",
                                      "https:///x",        "ftp://a",         "https://coupons.example/",
                                      "https://a b",       "https://a?b",     "https://a#b",
                                      "https://a\r\nX: y", "https://\xC3\xA9"};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        if (!answer_public_url_valid(good[i]))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (answer_public_url_valid(bad[i]))
            fail_msg("%s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_public_url_is_absolute_and_ends_without_a_slash)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
