/* SPDX-License-Identifier: Apache-2.0 */
/* Maps that are read, maps that are refused, and that a reason never repeats a URL. */
#include "events/shards.h"

#include "common/base/testing.h"

static void reads_each_slice_once(void **)
{
    struct shards shards;
    char reason[256];
    const struct span text = SPAN("# slices  where\n"
                                  "0-7\tpostgresql://a1,a2/firstcome\r\n"
                                  "\n"
                                  "  8-11,15  postgresql://b/firstcome  \n"
                                  "12-14 postgresql://c/firstcome");
    assert_true(shards_parse(text, &shards, reason, sizeof reason));
    assert_int_equal(shards.count, 3);
    assert_string_equal(shards.list[0].url, "postgresql://a1,a2/firstcome");
    assert_string_equal(shards.list[1].url, "postgresql://b/firstcome");
    assert_string_equal(shards.list[1].name, "8-11,15");
    assert_int_equal(shards.list[2].slices, 7 << 12);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        size_t expected = slice < 8 ? 0 : slice >= 12 && slice < 15 ? 2 : 1;
        assert_ptr_equal(shards_of(&shards, slice), &shards.list[expected]);
        assert_true(shard_has(&shards.list[expected], slice));
    }
    assert_false(shard_has(&shards.list[0], 8));
    assert_ptr_equal(shards_find(&shards, SPAN("15,8-11")), &shards.list[1]);
    assert_null(shards_find(&shards, SPAN("8-11")));
    assert_null(shards_find(&shards, SPAN("")));
    shards_deinit(&shards);
}

static void each_slice_may_be_alone(void **)
{
    struct shards shards;
    struct buf text;
    char reason[256];
    buf_init(&text, 4096);
    for (int slice = SLICE_COUNT; slice-- > 0;)
        buf_printf(&text, "%d postgresql://h%d/firstcome\n", slice, slice);
    assert_true(shards_parse(buf_span(&text), &shards, reason, sizeof reason));
    assert_int_equal(shards.count, SHARDS_MAX);
    assert_string_equal(shards_of(&shards, 3)->name, "3");
    shards_deinit(&shards);
    buf_deinit(&text);
}

static void refuses_what_is_no_map(void **)
{
    static const struct {
        struct span text;
        const char *reason;
    } wrong[] = {
        {SPAN(""), "slices 0-15 are in no line"},
        {SPAN("0-7 postgresql://a/f\n9-15 postgresql://b/f"), "slices 8 are in no line"},
        {SPAN("0-15 postgresql://a/f\n3 postgresql://b/f"), "line 2: has a slice that is in a line above"},
        {SPAN("0-16 postgresql://a/f"), "line 1: must be slices (0-7 or 0-3,8) and a postgresql:// URL"},
        {SPAN("7-0 postgresql://a/f"), "line 1: must be slices (0-7 or 0-3,8) and a postgresql:// URL"},
        {SPAN("0-7,7 postgresql://a/f"), "line 1: must be slices (0-7 or 0-3,8) and a postgresql:// URL"},
        {SPAN("0- postgresql://a/f"), "line 1: must be slices (0-7 or 0-3,8) and a postgresql:// URL"},
        {SPAN("0-15"), "line 1: must be slices (0-7 or 0-3,8) and a postgresql:// URL"},
        {SPAN("postgresql://secret@a/f"), "line 1: must be slices (0-7 or 0-3,8) and a postgresql:// URL"},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct shards shards;
        char reason[256] = "";
        assert_false(shards_parse(wrong[i].text, &shards, reason, sizeof reason));
        assert_string_equal(reason, wrong[i].reason);
    }
}

static void a_url_that_is_none_is_refused_and_not_repeated(void **)
{
    struct shards shards;
    char reason[256] = "";
    assert_false(shards_parse(SPAN("0-15 http://u:geheim@h/f"), &shards, reason, sizeof reason));
    assert_non_null(strstr(reason, "line 1: "));
    assert_null(strstr(reason, "geheim"));
}

static void without_a_map_there_is_one_shard(void **)
{
    struct shards shards;
    char reason[256] = "";
    assert_true(shards_load("", "postgresql://a/firstcome", &shards, reason, sizeof reason));
    assert_int_equal(shards.count, 1);
    assert_string_equal(shards_of(&shards, 15)->url, "postgresql://a/firstcome");
    assert_string_equal(shards.list[0].name, "0-15");
    shards_deinit(&shards);
    assert_false(shards_load("", "", &shards, reason, sizeof reason));
    assert_string_equal(reason, "must be given, or a map with --shards");
    assert_false(shards_load("/nowhere/shards", "", &shards, reason, sizeof reason));
    assert_string_equal(reason, "cannot read /nowhere/shards: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_each_slice_once),
        cmocka_unit_test(each_slice_may_be_alone),
        cmocka_unit_test(refuses_what_is_no_map),
        cmocka_unit_test(a_url_that_is_none_is_refused_and_not_repeated),
        cmocka_unit_test(without_a_map_there_is_one_shard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
