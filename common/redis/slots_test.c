/* SPDX-License-Identifier: Apache-2.0 */
/* The slot of a key, who has it by CLUSTER NODES, and where a redirection points: also by servers that lie.
 */
#include "common/redis/slots.h"

#include <setjmp.h>

#include <cmocka.h>

#include "common/base/check.h"

static const struct redis_endpoint said_by = {"10.0.0.9", 7009};

/* As CLUSTER KEYSLOT of a server has them. */
static void slots_of_keys(void **)
{
    assert_int_equal(redis_slot(SPAN("123456789")), 0x31c3);
    assert_int_equal(redis_slot(SPAN("foo")), 12182);
    assert_int_equal(redis_slot(SPAN("")), 0);
    assert_int_equal(redis_slot(SPAN("{foo}.x")), 12182);
    assert_int_equal(redis_slot(SPAN("a{foo}{bar}")), 12182);
    assert_int_equal(redis_slot(SPAN("{}foo")), redis_slot(SPAN("{}foo")));
    assert_int_not_equal(redis_slot(SPAN("{}foo")), redis_slot(SPAN("foo")));
    assert_int_not_equal(redis_slot(SPAN("foo{bar")), redis_slot(SPAN("bar")));
    assert_int_equal(redis_slot(SPAN("fc:1:{3}:c:x")), redis_slot(SPAN("3")));
}

static void three_primaries(void **)
{
    static struct redis_slot_map map;
    assert_true(redis_slot_map_parse(
        SPAN("a 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460 [77->-b] [5-<-c]\n"
             "b 127.0.0.1:7001@17001,name.example slave a 0 1 1 connected\n"
             "c ::1:7002@17002 master - 0 1 2 connected 5461-10922 16383\n"
             "d :7003@17003 master,fail - 0 1 3 disconnected 10923-16381\n"
             "e 127.0.0.1:7004@17004 master - 0 1 3 connected\n"),
        &said_by, &map));
    assert_int_equal(map.count, 3);
    assert_string_equal(map.primaries[0].host, "127.0.0.1");
    assert_int_equal(map.primaries[0].port, 7000);
    assert_string_equal(map.primaries[1].host, "::1");
    assert_string_equal(map.primaries[2].host, "10.0.0.9"); /* it does not know its own */
    assert_int_equal(map.primaries[2].port, 7003);
    assert_int_equal(map.owners[0], 0);
    assert_int_equal(map.owners[77], 0);
    assert_int_equal(map.owners[5460], 0);
    assert_int_equal(map.owners[5461], 1);
    assert_int_equal(map.owners[16383], 1);
    assert_int_equal(map.owners[16381], 2);
    assert_int_equal(map.owners[16382], REDIS_NO_OWNER);
}

static void refuses_map(const char *text)
{
    static struct redis_slot_map map;
    if (redis_slot_map_parse(span_of(text), &said_by, &map))
        fail_msg("accepted: %s", text);
}

static void maps_that_are_none(void **)
{
    refuses_map("");
    refuses_map("\n\n");
    refuses_map("OK");
    refuses_map("a 127.0.0.1:1@2 slave b 0 0 1 connected\n");
    refuses_map("a 127.0.0.1:1@2 master - 0 0 1 connected\n");
    refuses_map("a 127.0.0.1:1@2 master - 0 0 1 connected 0-16384\n");
    refuses_map("a 127.0.0.1:1@2 master - 0 0 1 connected 9-8\n");
    refuses_map("a 127.0.0.1:1@2 master - 0 0 1 connected -8\n");
    refuses_map("a 127.0.0.1:1@2 master - 0 0 1 connected x\n");
    refuses_map("a 127.0.0.1:0@2 master - 0 0 1 connected 1\n");
    refuses_map("a 127.0.0.1:65536@2 master - 0 0 1 connected 1\n");
    refuses_map("a 127.0.0.1 master - 0 0 1 connected 1\n");
}

static void more_primaries_than_fit(void **)
{
    static struct redis_slot_map map;
    struct buf text;
    buf_init(&text, 65536);
    for (int i = 0; i < REDIS_PRIMARIES_MAX; i++)
        buf_printf(&text, "id 127.0.0.1:%d@1 master - 0 0 1 connected %d\n", 7000 + i, i);
    assert_true(redis_slot_map_parse(buf_span(&text), &said_by, &map));
    assert_int_equal(map.owners[REDIS_PRIMARIES_MAX - 1], REDIS_PRIMARIES_MAX - 1);
    buf_append_text(&text, "id 127.0.0.1:6999@1 master - 0 0 1 connected 999\n");
    assert_false(redis_slot_map_parse(buf_span(&text), &said_by, &map));
    buf_deinit(&text);
}

static void a_host_that_is_too_long(void **)
{
    static struct redis_slot_map map;
    struct buf text;
    buf_init(&text, 65536);
    buf_append_text(&text, "id ");
    for (int i = 0; i < REDIS_URL_TEXT_MAX; i++)
        buf_append_char(&text, 'h');
    buf_append_text(&text, ":7000@1 master - 0 0 1 connected 1\n");
    assert_false(redis_slot_map_parse(buf_span(&text), &said_by, &map));
    buf_deinit(&text);
}

static void redirections(void **)
{
    struct redis_redirection to;
    assert_true(redis_redirection_parse(SPAN("MOVED 3999 127.0.0.1:6381"), &said_by, &to));
    assert_false(to.ask);
    assert_int_equal(to.slot, 3999);
    assert_string_equal(to.to.host, "127.0.0.1");
    assert_int_equal(to.to.port, 6381);
    assert_true(redis_redirection_parse(SPAN("ASK 0 fe80::1:6381"), &said_by, &to));
    assert_true(to.ask);
    assert_string_equal(to.to.host, "fe80::1");
    assert_true(redis_redirection_parse(SPAN("MOVED 1 :6381"), &said_by, &to));
    assert_string_equal(to.to.host, "10.0.0.9");
    assert_true(redis_redirection_parse(SPAN("MOVED 1 ?:6381"), &said_by, &to));
    assert_string_equal(to.to.host, "10.0.0.9");
}

static void redirections_that_are_none(void **)
{
    static const char *const texts[] = {
        "",
        "MOVED",
        "MOVED 1",
        "MOVED 1 ",
        "MOVED 16384 h:1",
        "MOVED -1 h:1",
        "MOVED x h:1",
        "MOVED 1 h",
        "MOVED 1 h:",
        "MOVED 1 h:0",
        "MOVED 1 h:99999",
        "MOVED 1 a b:1",
        "moved 1 h:1",
        "ASKING 1 h:1",
        "ERR MOVED 1 h:1",
    };
    struct redis_redirection to;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (redis_redirection_parse(span_of(texts[i]), &said_by, &to))
            fail_msg("accepted: %s", texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_of_keys),
        cmocka_unit_test(three_primaries),
        cmocka_unit_test(maps_that_are_none),
        cmocka_unit_test(more_primaries_than_fit),
        cmocka_unit_test(a_host_that_is_too_long),
        cmocka_unit_test(redirections),
        cmocka_unit_test(redirections_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
