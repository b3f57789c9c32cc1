/* SPDX-License-Identifier: Apache-2.0 */
/* Redis keys: the registry and the builders say the same, everything of a slice has its hash tag, chunks
 * begin where they should, and members of rankings sort as they must. */
#include "readmodel/keys.h"

#include "common/base/testing.h"

static const struct model model = {7, 3};

static void expect(struct buf *key, const char *expected)
{
    assert_string_equal(key->data, expected);
    buf_clear(key);
}

static void builders_are_frozen(void **)
{
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    key_root(&key, 3), expect(&key, "fc:{3}");
    key_seen(&key, 3), expect(&key, "fc:{3}:heartbeat");
    key_hole(&key, 3), expect(&key, "fc:{3}:hole");
    key_generations(&key, 0xFFFF), expect(&key, "fc:generations");
    key_generations(&key, 0xFF00), expect(&key, "fc:generations:8");
    key_begin(&key, model), expect(&key, "fc:7:{3}:");
    key_checkpoint(&key, model), expect(&key, "fc:7:{3}:cp");
    key_campaign(&key, model, SPAN("x")), expect(&key, "fc:7:{3}:c:x");
    key_coupons(&key, model, 63), expect(&key, "fc:7:{3}:p:0");
    key_coupons(&key, model, 64), expect(&key, "fc:7:{3}:p:1");
    key_states(&key, model, 64), expect(&key, "fc:7:{3}:s:1");
    key_holders(&key, model, SPAN("x"), 1024), expect(&key, "fc:7:{3}:h:x:0");
    key_holders(&key, model, SPAN("x"), 1025), expect(&key, "fc:7:{3}:h:x:1");
    key_users(&key, model, 5), expect(&key, "fc:7:{3}:u:5");
    key_index(&key, model, INDEX_CAMPAIGNS), expect(&key, "fc:7:{3}:cs");
    key_index(&key, model, index_ranking(COUNTED_ISSUED)), expect(&key, "fc:7:{3}:r:issued");
    key_index(&key, model, index_active(COUNTED_REDEEMED)), expect(&key, "fc:7:{3}:a:redeemed");
    buf_deinit(&key);
}

static void positions_of_holders_come_back(void **)
{
    struct buf bytes;
    buf_init(&bytes, 64);
    holder_write(&bytes, 1);
    holder_write(&bytes, INT64_C(0xfedcba9876));
    assert_int_equal(bytes.len, 2 * HOLDER_BYTES);
    assert_int_equal(holder_read(bytes.data), 1);
    assert_int_equal(holder_read(bytes.data + HOLDER_BYTES), INT64_C(0xfedcba9876));
    assert_int_equal(holder_read("\0\0\0\0\0"), 0); /* what SETRANGE fills a hole with */
    assert_int_equal(holder_offset(1), 0);
    assert_int_equal(holder_offset(1024), 1023 * HOLDER_BYTES);
    assert_int_equal(holder_offset(1025), 0);
    buf_deinit(&bytes);
}

static void long_ids_fit(void **)
{
    char id[CAMPAIGN_ID_MAX];
    struct buf key;
    memset(id, 'x', sizeof id);
    buf_init(&key, KEY_TEXT_MAX);
    key_holders(&key, (struct model){INT64_MAX, 15}, (struct span){id, sizeof id}, QUANTITY_MAX);
    assert_false(key.overflow);
    buf_deinit(&key);
}

static void every_key_is_described(void **)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct redis_key_description *is = &redis_keys[i];
        assert_true(span_starts(span_of(is->pattern), SPAN("fc:")));
        assert_true(strlen(is->owner) > 0 && strlen(is->ttl) > 0 && strlen(is->bound) > 0);
        assert_true(strlen(is->content) > 0);
    }
}

static void member(struct buf *ret, int64_t reached_at_us, const char *campaign)
{
    buf_init(ret, KEY_TEXT_MAX);
    rank_member_write(ret, reached_at_us, span_of(campaign));
}

static void rank_members_come_back(void **)
{
    static const int64_t times[] = {0, 1, 1790000000123456, INT64_MAX};
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        struct buf text;
        int64_t reached_at_us = -1;
        member(&text, times[i], "spring");
        assert_int_equal(text.len, 16 + 6);
        assert_span(rank_member_campaign(buf_span(&text), &reached_at_us), "spring");
        assert_true(reached_at_us == times[i]);
        buf_deinit(&text);
    }
    struct buf text;
    member(&text, 1790000000123456, "s");
    assert_string_equal(text.data, "7ff9a40125d83dbfs");
    buf_deinit(&text);
}

/* Redis sorts equal scores by member, bytewise; readers take the highest first, so earlier must be greater.
 */
static void earlier_sorts_higher(void **)
{
    static const int64_t times[] = {0, 1, 255, 256, 1790000000123456, 1790000000123457, INT64_MAX};
    for (size_t i = 1; i < COUNT_OF(times); i++) {
        struct buf earlier, later;
        member(&earlier, times[i - 1], "a");
        member(&later, times[i], "z");
        assert_true(span_compare(buf_span(&earlier), buf_span(&later)) > 0);
        buf_deinit(&earlier);
        buf_deinit(&later);
    }
}

static void foreign_members_are_absent(void **)
{
    static const char *const bad[] = {"",
                                      "spring",
                                      "7ff9a40080a5bb7f",
                                      "7ff9a40080a5bb7",
                                      "7gf9a40080a5bb7fspring",
                                      "7ff9a40080a5bb7 spring"};
    int64_t reached_at_us;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_null(rank_member_campaign(span_of(bad[i]), &reached_at_us).ptr);
    assert_null(rank_member_campaign((struct span){NULL, 0}, &reached_at_us).ptr);
}

static void write_negative(void *unused)
{
    (void)unused;
    struct buf text;
    member(&text, -1, "s");
}

static void times_are_not_negative(void **)
{
    assert_true(dies(write_negative, NULL));
}

/* --- who holds what --- */

/* What is in Redis was written with these, so they do not change. */
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builders_are_frozen),
        cmocka_unit_test(positions_of_holders_come_back),
        cmocka_unit_test(long_ids_fit),
        cmocka_unit_test(every_key_is_described),
        cmocka_unit_test(rank_members_come_back),
        cmocka_unit_test(earlier_sorts_higher),
        cmocka_unit_test(foreign_members_are_absent),
        cmocka_unit_test(times_are_not_negative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
