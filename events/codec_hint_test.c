/* SPDX-License-Identifier: Apache-2.0 */
/* Hints on the bus: what they say comes back, the largest fits a message, and none is trusted. */
#include "common/base/mem.h"
#include "common/bus.h"
#include "events/codec.h"
#include "events/codec_testing.h"
#include "events/ids.h"

enum { FUZZ_ROUNDS = 100000 };

static bool hint_good(struct span bytes, struct hint *ret)
{
    char *exact = mem_alloc(bytes.len);
    if (bytes.len)
        memcpy(exact, bytes.ptr, bytes.len);
    bool good = hint_decode((struct span){exact, bytes.len}, ret);
    mem_free(exact);
    return good;
}

static void hints_come_back(void **)
{
    struct hint hint = {.slice = 15, .position = INT64_C(1) << 40}, read;
    struct buf bytes;
    buf_init(&bytes, EVENT_DATA_MAX);
    hint_encode(&hint, &bytes);
    assert_hex(&bytes, "82010f02cf0000010000000000");
    assert_true(hint_good(buf_span(&bytes), &read));
    assert_int_equal(read.slice, 15);
    assert_true(read.position == hint.position);
    for (size_t len = 0; len < bytes.len; len++)
        assert_false(hint_good((struct span){bytes.data, len}, &read));
    buf_deinit(&bytes);
}

/* Each list and flag on its own, and the largest hint there can be, which must fit a message of the bus. */
static void hints_say_what_changed(void **)
{
    char id[CAMPAIGN_ID_MAX];
    struct hint hint = {
        .slice = 3, .position = INT64_MAX, .rankings = true, .everything = true, .opening = true};
    struct hint read;
    struct buf bytes;
    memset(id, 'x', sizeof id);
    for (; hint.campaigns_count < HINT_CAMPAIGNS_MAX; hint.campaigns_count++)
        hint.campaigns[hint.campaigns_count] = (struct span){id, sizeof id};
    for (; hint.users_count < HINT_USERS_MAX; hint.users_count++)
        hint.users[hint.users_count] = (int16_t)(USER_GROUPS - 1 - (int)hint.users_count);
    buf_init(&bytes, HINT_BYTES_MAX);
    hint_encode(&hint, &bytes);
    assert_false(bytes.overflow);
    assert_true(bytes.len <= BUS_MESSAGE_MAX);
    assert_true(hint_decode(buf_span(&bytes), &read));
    assert_true(read.position == INT64_MAX && read.slice == 3);
    assert_int_equal(read.campaigns_count, HINT_CAMPAIGNS_MAX);
    assert_true(span_equal(read.campaigns[HINT_CAMPAIGNS_MAX - 1], (struct span){id, sizeof id}));
    assert_int_equal(read.users_count, HINT_USERS_MAX);
    assert_memory_equal(read.users, hint.users, sizeof hint.users);
    assert_true(read.rankings && read.everything && read.opening);
    buf_clear(&bytes);
    hint_encode(&(struct hint){.slice = 1,
                               .position = 2,
                               .campaigns = {SPAN("c")},
                               .campaigns_count = 1,
                               .users = {300},
                               .users_count = 1,
                               .rankings = true},
                &bytes);
    assert_hex(&bytes, "850101020203"
                       "91a163"
                       "0491cd012c"
                       "0501");
    assert_true(hint_decode(buf_span(&bytes), &read));
    assert_true(read.rankings && !read.everything && !read.opening);
    buf_deinit(&bytes);
}

/* The bus is open to whoever reaches the port, so a hint is the least trusted of all. */
static void hints_are_not_trusted(void **)
{
    static const struct span bad[] = {
        {"", 0},
        {"\x80", 1},
        {"\x81\x01\x05", 3},
        {"\x81\x02\x05", 3},
        {"\x82\x01\x10\x02\x05", 5},
        {"\x82\x01\xFF\x02\x05", 5},
        {"\x82\x01\x05\x02\xFF", 5},
        {"\x82\x01\x05\x02\xCF\x80\0\0\0\0\0\0\0", 13},
        {"\x82\x01\x05\x02\xA1x", 6},
        {"\x82\xA1\x01\x05\x02\x05", 6},
        {"\x92\x05\x05", 3},
        {"\x82\x01\x05\x02\x05\x00", 6},
        {"\xDF\xFF\xFF\xFF\xFF", 5},
        {"\x81\x01\xDD\xFF\xFF\xFF\xFF", 7},
        {"\x83\x01\x05\x02\x06\x03\xA1x", 8},                                    /* no list */
        {"\x83\x01\x05\x02\x06\x03\x91\xA1X", 9},                                /* no campaign id */
        {"\x83\x01\x05\x02\x06\x03\x97\xA1x\xA1x\xA1x\xA1x\xA1x\xA1x\xA1x", 21}, /* one too many */
        {"\x83\x01\x05\x02\x06\x04\x91\xCD\x40\x00", 10},                        /* bucket 16384 */
        {"\x83\x01\x05\x02\x06\x05\x02", 7},
        {"\x83\x01\x05\x02\x06\x03\x91\x05", 8}, /* a number for a campaign */
        {"\x83\x01\x05\x02\x06\x04\xA1x", 8},    /* no list of users */
    };
    struct hint read;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (hint_good(bad[i], &read))
            fail_msg("bad hint %zu is taken", i);
    char crowd[9 + HINT_USERS_MAX + 1] = "\x83\x01\x05\x02\x06\x04\xDC\0"; /* as many zeros as it says */
    crowd[8] = (char)HINT_USERS_MAX;
    assert_true(hint_good((struct span){crowd, 9 + HINT_USERS_MAX}, &read));
    crowd[8] = (char)(HINT_USERS_MAX + 1);
    assert_false(hint_good((struct span){crowd, sizeof crowd}, &read));
    assert_true(hint_good(SPAN("\x83\x01\x05\x02\x06\x1F\xA1x"), &read)); /* a key from the future */
    assert_int_equal(read.position, 6);
    uint64_t chance = 3;
    for (size_t round = 0; round < FUZZ_ROUNDS; round++) {
        char bytes[24] = {(char)(0x80 | (random_next(&chance) & 3)), 1};
        size_t len = random_next(&chance) % sizeof bytes;
        for (size_t i = random_next(&chance) % 3; i < len; i++)
            bytes[i] = (char)random_next(&chance);
        if (hint_good((struct span){bytes, len}, &read))
            assert_true(read.slice >= 0 && read.slice < SLICE_COUNT && read.position >= 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hints_come_back),
        cmocka_unit_test(hints_say_what_changed),
        cmocka_unit_test(hints_are_not_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
