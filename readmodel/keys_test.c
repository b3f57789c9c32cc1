/* SPDX-License-Identifier: Apache-2.0 */
/* Redis keys: the registry and the builders say the same, everything of a slice has its hash tag, chunks
 * begin where they should, and members of rankings sort as they must. */
#include "readmodel/keys.h"

#include "common/base/testing.h"

static const struct model model = {2, 7};

static void expect_key(const struct buf *key, const char *expected)
{
    assert_false(key->overflow);
    assert_string_equal(key->data, expected);
}

static void builders_are_frozen(void **state)
{
    (void)state;
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    key_live(&key);
    expect_key(&key, "fc:live");
    buf_clear(&key);
    key_checkpoint(&key, model);
    expect_key(&key, "fc:2:{7}:cp");
    buf_clear(&key);
    key_campaign(&key, model, SPAN("spring"));
    expect_key(&key, "fc:2:{7}:c:spring");
    buf_clear(&key);
    static const char *const indexes[INDEX_COUNT] = {"fc:2:{7}:cs", "fc:2:{7}:r:issued",
                                                     "fc:2:{7}:r:redeemed", "fc:2:{7}:a:issued",
                                                     "fc:2:{7}:a:redeemed"};
    for (enum model_index index = 0; index < INDEX_COUNT; index++) {
        key_index(&key, model, index);
        expect_key(&key, indexes[index]);
        buf_clear(&key);
    }
    key_users(&key, model, 16383);
    expect_key(&key, "fc:2:{7}:u:16383");
    buf_clear(&key);
    key_users_begun(&key, model);
    expect_key(&key, "fc:2:{7}:ub");
    buf_clear(&key);
    key_ranking(&key, model, COUNTED_REDEEMED);
    expect_key(&key, "fc:2:{7}:r:redeemed");
    buf_clear(&key);
    key_active(&key, model, COUNTED_ISSUED);
    expect_key(&key, "fc:2:{7}:a:issued");
    buf_clear(&key);
    key_coupons(&key, model, 300);
    expect_key(&key, "fc:2:{7}:p:9");
    buf_clear(&key);
    key_holders(&key, model, SPAN("spring"), 129);
    expect_key(&key, "fc:2:{7}:h:spring:1");
    buf_deinit(&key);
}

static void expect_chunk_of_holders(int64_t sequence, const char *holders)
{
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    key_holders(&key, model, SPAN("s"), sequence);
    expect_key(&key, holders);
    buf_deinit(&key);
}

/* A chunk of holders has exactly 128 of them, so that Redis keeps it small. */
static void chunks_begin_where_they_should(void **state)
{
    (void)state;
    expect_chunk_of_holders(1, "fc:2:{7}:h:s:0");
    expect_chunk_of_holders(128, "fc:2:{7}:h:s:0");
    expect_chunk_of_holders(129, "fc:2:{7}:h:s:1");
    expect_chunk_of_holders(256, "fc:2:{7}:h:s:1");
    expect_chunk_of_holders(257, "fc:2:{7}:h:s:2");
}

/* No two coupons of a chunk share a field, and all fields together are as many as Redis keeps small. */
static void coupons_have_fields_of_their_own(void **state)
{
    (void)state;
    struct buf key, first;
    bool taken[KEY_CHUNK] = {false};
    buf_init(&key, KEY_TEXT_MAX);
    buf_init(&first, KEY_TEXT_MAX);
    key_coupons(&first, model, 5 * COUPON_CHUNK);
    for (int64_t position = 5 * COUPON_CHUNK; position < 6 * COUPON_CHUNK; position++) {
        buf_clear(&key);
        key_coupons(&key, model, position);
        assert_string_equal(key.data, first.data);
        for (enum coupon_field field = 0; field < COUPON_FIELDS; field++) {
            int64_t name = key_coupon_field(position, field);
            assert_in_range(name, 0, KEY_CHUNK - 1);
            assert_false(taken[name]);
            taken[name] = true;
        }
    }
    buf_clear(&key);
    key_coupons(&key, model, 6 * COUPON_CHUNK);
    assert_string_not_equal(key.data, first.data);
    assert_int_equal(key_coupon_field(33, COUPON_FIELD_STATE), 4 + 2);
    buf_deinit(&key);
    buf_deinit(&first);
}

static void holders_of_none(void *unused)
{
    (void)unused;
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    key_holders(&key, model, SPAN("s"), 0);
}

static void sequences_begin_at_one(void **state)
{
    (void)state;
    assert_true(dies(holders_of_none, NULL));
}

/* The longest key fits. */
static void long_ids_fit(void **state)
{
    (void)state;
    const struct model last = {INT64_MAX, SLICE_COUNT - 1};
    char text[CAMPAIGN_ID_MAX];
    struct buf key;
    memset(text, 'x', sizeof text);
    buf_init(&key, KEY_TEXT_MAX);
    key_holders(&key, last, (struct span){text, CAMPAIGN_ID_MAX}, QUANTITY_MAX);
    assert_false(key.overflow);
    buf_deinit(&key);
}

/* Each pattern of the registry, with its places filled in, is what the builder makes. */
static void registry_matches_the_builders(void **state)
{
    (void)state;
    static const char *const patterns[KEY_COUNT] = {
        [KEY_LIVE] = "fc:live",
        [KEY_GENERATIONS] = "fc:generations",
        [KEY_CHECKPOINT] = "fc:<g>:{<slice>}:cp",
        [KEY_CAMPAIGN] = "fc:<g>:{<slice>}:c:<campaign>",
        [KEY_CAMPAIGNS] = "fc:<g>:{<slice>}:cs",
        [KEY_COUPONS] = "fc:<g>:{<slice>}:p:<position / 32>",
        [KEY_HOLDERS] = "fc:<g>:{<slice>}:h:<campaign>:<(sequence - 1) / 128>",
        [KEY_USERS] = "fc:<g>:{<slice>}:u:<bucket>",
        [KEY_USERS_BEGUN] = "fc:<g>:{<slice>}:ub",
        [KEY_RANKING] = "fc:<g>:{<slice>}:r:<issued or redeemed>",
        [KEY_ACTIVE] = "fc:<g>:{<slice>}:a:<issued or redeemed>",
    };
    assert_int_equal(KEY_CHUNK, 128);
    assert_int_equal(COUPON_CHUNK, 32);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct redis_key_description *is = &redis_keys[i];
        if (!patterns[i])
            fail_msg("%s is new: add its builder to this test", is->name);
        assert_string_equal(is->pattern, patterns[i]);
        assert_true(i == KEY_LIVE || i == KEY_GENERATIONS || strstr(is->pattern, "{<slice>}"));
        assert_true(strcmp(is->type, "string") == 0 || strcmp(is->type, "hash") == 0 ||
                    strcmp(is->type, "zset") == 0);
        assert_string_equal(is->owner, "projector");
        assert_true(is->ttl[0] && is->bound[0] && is->content[0]);
    }
}

/* --- members of rankings --- */

static void member(struct buf *ret, int64_t reached_at_us, const char *campaign)
{
    buf_init(ret, KEY_TEXT_MAX);
    rank_member_write(ret, reached_at_us, span_of(campaign));
}

static void rank_members_come_back(void **state)
{
    (void)state;
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
static void earlier_sorts_higher(void **state)
{
    (void)state;
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

static void foreign_members_are_absent(void **state)
{
    (void)state;
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

static void times_are_not_negative(void **state)
{
    (void)state;
    assert_true(dies(write_negative, NULL));
}

/* --- who holds what --- */

/* What is in Redis was written with these, so they do not change. */
static void places_and_tags_are_frozen(void **state)
{
    (void)state;
    assert_int_equal(user_place(SPAN("user-1")).bucket, 6828);
    assert_int_equal(user_place(SPAN("user-1")).tag, 0x21eae188);
    assert_int_equal(user_place(SPAN("한국 사용자")).bucket, 5052);
    assert_int_equal(campaign_tag(SPAN("spring")), 0x7160);
}

static void users_are_spread_evenly(void **state)
{
    (void)state;
    enum { USERS = 64 * 1024, GROUPS = 64 };
    int counts[GROUPS] = {0};
    for (int i = 0; i < USERS; i++) {
        char user[16];
        snprintf(user, sizeof user, "%d", i);
        int64_t bucket = user_place(span_of(user)).bucket;
        assert_true(bucket >= 0 && bucket < USER_BUCKETS);
        counts[bucket / (USER_BUCKETS / GROUPS)]++;
    }
    for (int i = 0; i < GROUPS; i++)
        assert_in_range(counts[i], USERS / GROUPS * 3 / 4, USERS / GROUPS * 5 / 4);
}

static void holdings_come_back(void **state)
{
    (void)state;
    static const struct holding holdings[] = {
        {1, 0, 0, 0},
        {0x0102030405, 1790000000123456, 0x80ff0102, 0xfe01},
        {(INT64_C(1) << 48) - 1, INT64_MAX, UINT32_MAX, UINT16_MAX},
    };
    struct buf bytes, hex;
    buf_init(&bytes, KEY_TEXT_MAX);
    buf_init(&hex, KEY_TEXT_MAX);
    for (size_t i = 0; i < COUNT_OF(holdings); i++) {
        buf_clear(&bytes);
        holding_write(&bytes, &holdings[i]);
        assert_int_equal(bytes.len, HOLDING_BYTES);
        struct holding read = holding_read(bytes.data);
        assert_true(read.position == holdings[i].position && read.at_us == holdings[i].at_us);
        assert_true(read.user == holdings[i].user && read.campaign == holdings[i].campaign);
    }
    buf_clear(&bytes);
    holding_write(&bytes, &holdings[1]);
    hex_encode(&hex, bytes.data, bytes.len);
    assert_string_equal(hex.data, "00010203040500065bfeda27c24080ff0102fe01");
    buf_deinit(&bytes);
    buf_deinit(&hex);
}

static void write_beyond_the_last_position(void *unused)
{
    (void)unused;
    struct buf bytes;
    buf_init(&bytes, KEY_TEXT_MAX);
    holding_write(&bytes, &(struct holding){.position = INT64_C(1) << 48});
}

static void key_beyond_the_last_bucket(void *unused)
{
    (void)unused;
    struct buf key;
    buf_init(&key, KEY_TEXT_MAX);
    key_users(&key, model, USER_BUCKETS);
}

static void what_does_not_fit_is_not_written(void **state)
{
    (void)state;
    assert_true(dies(write_beyond_the_last_position, NULL));
    assert_true(dies(key_beyond_the_last_bucket, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builders_are_frozen),
        cmocka_unit_test(chunks_begin_where_they_should),
        cmocka_unit_test(coupons_have_fields_of_their_own),
        cmocka_unit_test(sequences_begin_at_one),
        cmocka_unit_test(long_ids_fit),
        cmocka_unit_test(registry_matches_the_builders),
        cmocka_unit_test(rank_members_come_back),
        cmocka_unit_test(earlier_sorts_higher),
        cmocka_unit_test(foreign_members_are_absent),
        cmocka_unit_test(times_are_not_negative),
        cmocka_unit_test(places_and_tags_are_frozen),
        cmocka_unit_test(users_are_spread_evenly),
        cmocka_unit_test(holdings_come_back),
        cmocka_unit_test(what_does_not_fit_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
