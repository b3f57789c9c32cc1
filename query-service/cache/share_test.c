/* SPDX-License-Identifier: Apache-2.0 */
/* Shared answers: what is written is read again, what is not of this form is refused, and what is good
 * enough. */
#include "query-service/cache/share.h"

#include "common/base/testing.h"

enum { SECOND = 1000 * 1000 };

static const struct copy_life life = {SECOND, SECOND, SECOND, SECOND};

static struct copy *make(int64_t loaded_us)
{
    static const int64_t positions[SLICE_COUNT] = {[2] = 20, [7] = 70};
    struct copy_subject subject = {
        .slices = 1 << 2 | 1 << 7, .bucket = COPY_NO_BUCKET, .campaign_slot = 5, .every = true};
    return copy_create(&(struct copy_source){.body = SPAN("{\"a\": 1}\n2"),
                                             .etag = "\"abc\"",
                                             .status = 200,
                                             .subject = &subject,
                                             .stands_on = positions,
                                             .began_us = loaded_us,
                                             .ended_us = loaded_us},
                       &life, 0.5);
}

static void it_comes_back(void **state)
{
    (void)state;
    struct buf text;
    struct share share;
    struct copy *copy = make(7 * SECOND);
    buf_init(&text, 4096);
    share_encode(copy, 7 * SECOND + 300, 1000 * SECOND + 300, &text); /* the other's clocks, 300 us later */
    assert_true(share_decode(buf_span(&text), 90 * SECOND, 1000 * SECOND + 400, &share));
    assert_int_equal(share.age_us, 400);
    struct copy *other = copy_create(&share.source, &life, 0.5);
    assert_span(other->body, "{\"a\": 1}\n2");
    assert_string_equal(other->etag, "\"abc\"");
    assert_int_equal(other->loaded_us, 90 * SECOND - 400);
    assert_int_equal(other->slices, copy->slices);
    assert_int_equal(other->positions[0], 20);
    assert_int_equal(other->positions[1], 70);
    assert_int_equal(other->campaign_slot, 5);
    assert_int_equal(other->bucket, COPY_NO_BUCKET);
    assert_true(other->every);
    assert_false(other->from_models);
    copy_release(copy);
    copy_release(other);
    buf_deinit(&text);
}

static void what_is_cut_or_strange_is_refused(void **state)
{
    (void)state;
    struct buf text;
    struct share share;
    struct copy *copy = make(0);
    buf_init(&text, 4096);
    share_encode(copy, 0, SECOND, &text);
    size_t head = (size_t)(strchr(text.data, '\n') - text.data);
    for (size_t len = 0; len <= head; len++)
        assert_false(share_decode((struct span){text.data, len}, 0, SECOND, &share));
    text.data[0] = '2';
    assert_false(share_decode(buf_span(&text), 0, SECOND, &share));
    static const char *const strange[] = {
        "1 404 1 0 -1 4096 0 \"x\"\n",
        "1 200 1 65536 -1 0 0 \"x\"\n",
        "1 200 1 1 -1 0 0 \"x\"\n",
        "1 200 1 0 -2 0 0 \"x\"\n",
        "1 200 1 0 16384 0 0 \"x\"\n",
        "1 200 1 0 -1 4097 0 \"x\"\n",
        "1 200 1 0 -1 0 0 \"x\" 5\n",
        "1 200 -1 0 -1 0 0 \"x\"\n",
        "\n",
        "1 200 1 0 -1 0 0 \"0123456789012345678901234567890123456789\"\n",
    };
    for (size_t i = 0; i < COUNT_OF(strange); i++)
        if (share_decode(span_of(strange[i]), 0, SECOND, &share))
            fail_msg("taken: %s", strange[i]);
    assert_true(share_decode(SPAN("1 200 1 0 -1 4096 0 \"x\"\n"), 0, SECOND, &share));
    copy_release(copy);
    buf_deinit(&text);
}

static void young_and_far_enough_is_good_enough(void **state)
{
    (void)state;
    struct share share = {.subject = {.slices = 1 << 2}, .positions = {[2] = 20}};
    int64_t at_least[SLICE_COUNT] = {[2] = 20, [3] = 999};
    assert_true(share_usable(&share, at_least));
    at_least[2] = 21;
    assert_false(share_usable(&share, at_least));
    at_least[2] = 0;
    share.age_us = SHARE_AGE_MAX_MS * 1000;
    assert_true(share_usable(&share, at_least));
    share.age_us++;
    assert_false(share_usable(&share, at_least));
    share.age_us = -60 * 1000; /* from a clock that is ahead */
    assert_false(share_usable(&share, at_least));
}

/* Coupon codes never get into Redis. */
static void only_what_has_no_codes(void **state)
{
    (void)state;
    assert_true(share_concerns(QUERY_CAMPAIGN) && share_concerns(QUERY_CAMPAIGNS) &&
                share_concerns(QUERY_RANKING));
    assert_false(share_concerns(QUERY_COUPON) || share_concerns(QUERY_HOLDERS) ||
                 share_concerns(QUERY_USER_COUPONS) || share_concerns(QUERY_USER_IN_CAMPAIGN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_back),
        cmocka_unit_test(what_is_cut_or_strange_is_refused),
        cmocka_unit_test(young_and_far_enough_is_good_enough),
        cmocka_unit_test(only_what_has_no_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
