/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of Redis servers: what is accepted, what is refused, and that a refusal never repeats the URL. */
#include "common/redis/url.h"

#include <setjmp.h>

#include <cmocka.h>

#include "common/base/check.h"

static void full_url(void **)
{
    const char *reason;
    struct redis_url url;
    assert_true(redis_url_parse(SPAN("redis://us%65r:p%40ss:w@rd@cache.example:7000/12"), &url, &reason));
    assert_string_equal(url.server.host, "cache.example");
    assert_int_equal(url.server.port, 7000);
    assert_int_equal(url.database, 12);
    assert_string_equal(url.user, "user");
    assert_string_equal(url.password, "p@ss:w@rd");
    assert_string_equal(url.path, "");
}

static void defaults(void **)
{
    const char *reason;
    struct redis_url url;
    assert_true(redis_url_parse(SPAN("redis://:secret@[::1]"), &url, &reason));
    assert_string_equal(url.server.host, "::1");
    assert_int_equal(url.server.port, 6379);
    assert_int_equal(url.database, 0);
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "secret");
    assert_true(redis_url_parse(SPAN("redis://[fe80::1]:1/"), &url, &reason));
    assert_int_equal(url.server.port, 1);
    assert_true(redis_url_parse(SPAN("redis://localhost"), &url, &reason));
    assert_string_equal(url.password, "");
}

static void unix_url(void **)
{
    const char *reason;
    struct redis_url url;
    assert_true(
        redis_url_parse(SPAN("unix:///run/my%20redis/s?db=3&user=u%26&password=a%3Db"), &url, &reason));
    assert_string_equal(url.path, "/run/my redis/s");
    assert_string_equal(url.server.host, "");
    assert_int_equal(url.database, 3);
    assert_string_equal(url.user, "u&");
    assert_string_equal(url.password, "a=b");
    assert_true(redis_url_parse(SPAN("unix:///s"), &url, &reason));
}

static void sentinel_url(void **)
{
    const char *reason;
    struct redis_url url;
    assert_true(redis_url_parse(SPAN("redis+sentinel://u:p@ss@one:1,[::2],three:3/my%2Fname/4"
                                     "?sentinel_user=su&sentinel_password=s%26p"),
                                &url, &reason));
    assert_int_equal(url.sentinels_count, 3);
    assert_string_equal(url.sentinels[0].host, "one");
    assert_int_equal(url.sentinels[0].port, 1);
    assert_string_equal(url.sentinels[1].host, "::2");
    assert_int_equal(url.sentinels[1].port, 26379);
    assert_int_equal(url.sentinels[2].port, 3);
    assert_string_equal(url.primary, "my/name");
    assert_int_equal(url.database, 4);
    assert_string_equal(url.user, "u");
    assert_string_equal(url.password, "p@ss");
    assert_string_equal(url.sentinel_user, "su");
    assert_string_equal(url.sentinel_password, "s&p");
    assert_string_equal(url.server.host, "");
    assert_true(
        redis_url_parse(SPAN("redis+sentinel://a,b,c,d,e,f,g,h/n?sentinel_password=p"), &url, &reason));
    assert_int_equal(url.sentinels_count, REDIS_SENTINELS_MAX);
    assert_string_equal(url.user, "");
}

static void refused(void **)
{
    static const char *const bad[] = {
        "",
        "localhost:6379",
        "rediss://host",
        "redis://",
        "redis://user@host",
        "redis://user:@host",
        "redis://user:secret%zz@host",
        "redis://user:secret%0@host",
        "redis://user:secret%00@host",
        "redis://host:0",
        "redis://host:65536",
        "redis://host:",
        "redis://host:x",
        "redis://[::1",
        "redis://[::1]x",
        "redis://[]",
        "redis://host/-1",
        "redis://host/1000001",
        "redis://host/secret",
        "redis://host?db=1",
        "redis://ho\nst",
        "redis+sentinel://",
        "redis+sentinel://host",
        "redis+sentinel://host/",
        "redis+sentinel:///name",
        "redis+sentinel://a,/name",
        "redis+sentinel://a,,b/name",
        "redis+sentinel://a:0/name",
        "redis+sentinel://a,b,c,d,e,f,g,h,i/name",
        "redis+sentinel://a/name/secret",
        "redis+sentinel://secret@a/name",
        "redis+sentinel://a/name?sentinel_user=u",
        "redis+sentinel://a/name?sentinel_password=secret%zz",
        "redis+sentinel://a/name?db=1",
        "unix://",
        "unix:///",
        "unix://relative",
        "unix:///s?db",
        "unix:///s?db=x",
        "unix:///s?user=u",
        "unix:///s?other=1",
        "unix:///"
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        "0123456789",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const char *reason = NULL;
        struct redis_url url;
        if (redis_url_parse(span_of(bad[i]), &url, &reason))
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(reason);
        assert_null(strstr(reason, "secret"));
    }
}

static void servers_of_a_cluster(void **)
{
    const char *reason;
    struct redis_url url;
    assert_true(redis_url_parse(SPAN("redis+cluster://app:p%40ss@a:7000,[::1],c:7002"), &url, &reason));
    assert_int_equal(url.nodes_count, 3);
    assert_string_equal(url.nodes[0].host, "a");
    assert_int_equal(url.nodes[0].port, 7000);
    assert_string_equal(url.nodes[1].host, "::1");
    assert_int_equal(url.nodes[1].port, 6379);
    assert_string_equal(url.user, "app");
    assert_string_equal(url.password, "p@ss");
    assert_false(redis_url_parse(SPAN("redis+cluster://"), &url, &reason));
    assert_false(redis_url_parse(SPAN("redis+cluster://a,"), &url, &reason));
    assert_false(redis_url_parse(SPAN("redis+cluster://a/0"), &url, &reason));
    assert_false(redis_url_parse(SPAN("redis+cluster://a?x=1"), &url, &reason));
    assert_false(
        redis_url_parse(SPAN("redis+cluster://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"), &url, &reason));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_url),     cmocka_unit_test(defaults), cmocka_unit_test(unix_url),
        cmocka_unit_test(sentinel_url), cmocka_unit_test(refused),  cmocka_unit_test(servers_of_a_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
