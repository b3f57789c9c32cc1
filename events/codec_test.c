/* SPDX-License-Identifier: Apache-2.0 */
/* The codec against bytes made by hand: bounds from the catalogue, and input that no version of this program
 * wrote. */
#include "events/codec.h"

#include "events/codec_testing.h"

enum { FUZZ_ROUNDS = 100000 };

#define EXPECT(type, literal, expected) expect_bytes(type, SPAN(literal), expected, #literal)

static void catalogue_is_sound(void **)
{
    assert_null(event_describe(0));
    assert_null(event_describe(-1));
    assert_null(event_describe(EVENT_TYPE_END));
    assert_int_equal(EVENT_TYPE_END, 20);
    for (int type = 1; type < EVENT_TYPE_END; type++) {
        const struct event_description *is = event_describe(type);
        assert_int_equal(is->type, type);
        assert_true(is->version >= 1);
        for (size_t i = 0; i < is->fields_count; i++) {
            assert_true(is->fields[i].key > (i ? is->fields[i - 1].key : 0));
            assert_true(is->fields[i].max > 0);
        }
    }
}

/* --- reading --- */

static void absent_is_default(void **)
{
    for (int type = 1; type < EVENT_TYPE_END; type++) {
        struct event event, empty = {.type = (enum event_type)type};
        struct arena arena;
        arena_init(&arena, 1 << 20);
        assert_int_equal(decode_as((enum event_type)type, SPAN("\x80"), &arena, &event), CODEC_OK);
        assert_payload_equal(&event, &empty);
        mem_free((char *)event.data.ptr);
        arena_deinit(&arena);
    }
}

static void unknown_keys_are_skipped(void **)
{
    /* 2 plan_step 3; 60 -1; 61 nil; 62 [1,{1:2}]; 63 1.5; 64 bin; 65 ext; 66 true; 2^63: a text */
    static const char bytes[] =
        "\x89\x02\x03\x3C\xFF\x3D\xC0\x3E\x92\x01\x81\x01\x02\x3F\xCB\x3F\xF8\0\0\0\0\0\0"
        "\x40\xC4\x02zz\x41\xD4\x05q\x42\xC3\xCF\x80\0\0\0\0\0\0\0\xA3xyz";
    struct event event;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct span data = {bytes, sizeof bytes - 1};
    assert_int_equal(decode_as(EVENT_StockReleased, data, &arena, &event), CODEC_OK);
    assert_int_equal(event.stock_released.plan_step, 3);
    assert_int_equal(event.stock_released.quantity, 0);
    assert_int_equal(event.stock_released.actor.len, 0);
    mem_free((char *)event.data.ptr);
    arena_deinit(&arena);
}

/* A payload with this one field, whose size or value is `value`. */
static void put_one_field(struct buf *out, const struct event_field *field, uint64_t value)
{
    buf_clear(out);
    put_map(out, 1);
    put_uint(out, (uint64_t)field->key);
    if (field->kind == FIELD_INT)
        put_uint(out, value);
    else if (field->kind == FIELD_TEXT)
        put_text(out, value);
    else
        put_array(out, field->kind == FIELD_RELEASES ? 2 * value : value);
    for (uint64_t i = 0; field->kind == FIELD_TEXTS && i < value; i++)
        put_text(out, 0);
    for (uint64_t i = 0; field->kind == FIELD_RELEASES && i < 2 * value; i++)
        put_uint(out, 0);
}

static void every_bound_holds(void **)
{
    struct buf bytes;
    buf_init(&bytes, 2 * EVENT_DATA_MAX);
    for (int type = 1; type < EVENT_TYPE_END; type++) {
        const struct event_description *is = event_describe(type);
        for (size_t i = 0; i < is->fields_count; i++) {
            const struct event_field *field = &is->fields[i];
            put_one_field(&bytes, field, 0);
            expect_bytes(is->type, buf_span(&bytes), CODEC_OK, field->name);
            put_one_field(&bytes, field, (uint64_t)field->max);
            expect_bytes(is->type, buf_span(&bytes), CODEC_OK, field->name);
            put_one_field(&bytes, field, (uint64_t)field->max + 1);
            expect_bytes(is->type, buf_span(&bytes), CODEC_CORRUPT, field->name);
        }
    }
    buf_deinit(&bytes);
}

static void bounds_inside_lists_hold(void **)
{
    struct buf bytes;
    buf_init(&bytes, EVENT_DATA_MAX);
    for (size_t over = 0; over <= 1; over++) {
        enum codec_status expected = over ? CODEC_CORRUPT : CODEC_OK;
        buf_clear(&bytes);
        buf_append(&bytes, "\x81\x0E\x91", 3);
        put_text(&bytes, EVENT_TEXT_MAX + over);
        expect_bytes(EVENT_CampaignCreated, buf_span(&bytes), expected, "tag");
        buf_clear(&bytes);
        buf_append(&bytes, "\x81\x10\x92\x01", 4);
        put_uint(&bytes, QUANTITY_MAX + over);
        expect_bytes(EVENT_CampaignCreated, buf_span(&bytes), expected, "quantity in the plan");
        buf_clear(&bytes);
        buf_append(&bytes, "\x81\x10\x92", 3);
        put_uint(&bytes, (uint64_t)INT64_MAX + over);
        put_uint(&bytes, 1);
        expect_bytes(EVENT_CampaignCreated, buf_span(&bytes), expected, "time in the plan");
    }
    EXPECT(EVENT_CampaignCreated, "\x81\x10\x93\x01\x02\x03", CODEC_CORRUPT); /* one and a half pairs */
    EXPECT(EVENT_CampaignCreated, "\x81\x10\x92\x01\xA1x", CODEC_CORRUPT);
    EXPECT(EVENT_CampaignCreated, "\x81\x0E\x91\x01", CODEC_CORRUPT);
    buf_deinit(&bytes);
}

/* Lists that do not fit where they are to go. */
static void lists_take_no_more_than_the_arena(void **)
{
    static const struct span lists[] = {{"\x81\x0E\x91\xA1x", 5}, {"\x81\x10\x92\x01\x02", 5}};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        struct arena arena;
        struct event event = {.type = EVENT_CampaignCreated, .version = 1, .data = lists[i]};
        arena_init(&arena, 1);
        assert_int_equal(event_decode(&event, &arena), CODEC_CORRUPT);
        arena_deinit(&arena);
    }
}

static void wrong_kinds_are_corrupt(void **)
{
    static const struct {
        struct span bytes;
        unsigned good_for; /* bit per kind */
    } values[] = {
        {{"\xC0", 1}, 0},
        {{"\xC2", 1}, 0},
        {{"\xFF", 1}, 0}, /* -1 */
        {{"\xD3\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE", 9}, 0},
        {{"\xCB\x3F\xF0\0\0\0\0\0\0", 9}, 0}, /* 1.0 */
        {{"\xC4\x01x", 3}, 0},
        {{"\xD4\x01x", 3}, 0},
        {{"\x80", 1}, 0},
        {{"\x01", 1}, 1u << FIELD_INT},
        {{"\xA1x", 2}, 1u << FIELD_TEXT},
        {{"\x91\xA1x", 3}, 1u << FIELD_TEXTS},
        {{"\x92\x01\x01", 3}, 1u << FIELD_RELEASES},
        {{"\x90", 1}, 1u << FIELD_TEXTS | 1u << FIELD_RELEASES},
    };
    struct buf bytes;
    buf_init(&bytes, EVENT_DATA_MAX);
    for (int type = 1; type < EVENT_TYPE_END; type++) {
        const struct event_description *is = event_describe(type);
        for (size_t i = 0; i < is->fields_count * COUNT_OF(values); i++) {
            const struct event_field *field = &is->fields[i / COUNT_OF(values)];
            size_t value = i % COUNT_OF(values);
            buf_clear(&bytes);
            put_map(&bytes, 1);
            put_uint(&bytes, (uint64_t)field->key);
            buf_append_span(&bytes, values[value].bytes);
            bool good = values[value].good_for >> field->kind & 1;
            expect_bytes(is->type, buf_span(&bytes), good ? CODEC_OK : CODEC_CORRUPT, field->name);
        }
    }
    buf_deinit(&bytes);
}

static void keys_ascend(void **)
{
    EXPECT(EVENT_StockReleased, "\x82\x01\x05\x02\x06", CODEC_OK);
    EXPECT(EVENT_StockReleased, "\x82\x02\x06\x01\x05", CODEC_CORRUPT);
    EXPECT(EVENT_StockReleased, "\x82\x01\x05\x01\x06", CODEC_CORRUPT);
    EXPECT(EVENT_StockReleased, "\x82\x40\x05\x40\x06", CODEC_CORRUPT); /* unknown keys too */
    EXPECT(EVENT_StockReleased, "\x82\x40\x05\x01\x06", CODEC_CORRUPT);
    EXPECT(EVENT_StockReleased, "\x81\x00\x05", CODEC_CORRUPT);
    EXPECT(EVENT_StockReleased, "\x81\xFF\x05", CODEC_CORRUPT);
    EXPECT(EVENT_StockReleased, "\x81\xA1\x01\x05", CODEC_CORRUPT);
    EXPECT(EVENT_StockReleased, "\x81\xC0\x05", CODEC_CORRUPT);
}

static void exactly_one_map_fills_the_bytes(void **)
{
    struct buf bytes;
    EXPECT(EVENT_CouponIssued, "", CODEC_CORRUPT);
    EXPECT(EVENT_CouponIssued, "\x81\x01\x05\x00", CODEC_CORRUPT);
    EXPECT(EVENT_CouponIssued, "\x80\x80", CODEC_CORRUPT);
    EXPECT(EVENT_CouponIssued, "\x90", CODEC_CORRUPT);
    EXPECT(EVENT_CouponIssued, "\x01", CODEC_CORRUPT);
    EXPECT(EVENT_CouponIssued, "\xC1", CODEC_CORRUPT); /* never used */
    buf_init(&bytes, 2 * EVENT_DATA_MAX);
    for (size_t over = 0; over <= 1; over++) {
        buf_clear(&bytes);
        buf_append(&bytes, "\x81\x7F", 2);
        put_text(&bytes, EVENT_DATA_MAX - 7 + over);
        assert_int_equal(bytes.len, EVENT_DATA_MAX + over);
        expect_bytes(EVENT_CouponIssued, buf_span(&bytes), over ? CODEC_CORRUPT : CODEC_OK, "EVENT_DATA_MAX");
    }
    buf_deinit(&bytes);
}

/* A length that is not there must neither be believed nor reserved. */
static void claimed_lengths_are_not_believed(void **)
{
    struct buf bytes;
    EXPECT(EVENT_CampaignCreated, "\xDF\xFF\xFF\xFF\xFF", CODEC_CORRUPT);
    EXPECT(EVENT_CampaignCreated, "\xDE\xFF\xFF", CODEC_CORRUPT);
    EXPECT(EVENT_CampaignCreated, "\x81\x01\xDB\xFF\xFF\xFF\xFF", CODEC_CORRUPT);
    EXPECT(EVENT_CampaignCreated, "\x81\x01\xDB\xFF\xFF\xFF\xFFxx", CODEC_CORRUPT);
    EXPECT(EVENT_CampaignCreated, "\x81\x01\xDA\xFF\xFF", CODEC_CORRUPT);
    EXPECT(EVENT_CampaignCreated, "\x81\x0E\xDD\xFF\xFF\xFF\xFF", CODEC_CORRUPT);
    EXPECT(EVENT_CampaignCreated, "\x81\x10\xDD\x7F\xFF\xFF\xFE\x01\x01", CODEC_CORRUPT);
    EXPECT(EVENT_CampaignCreated, "\x81\x63\xDD\xFF\xFF\xFF\xFF", CODEC_CORRUPT); /* an unknown key */
    EXPECT(EVENT_CampaignCreated, "\x81\x63\xDF\xFF\xFF\xFF\xFF", CODEC_CORRUPT);
    EXPECT(EVENT_CampaignCreated, "\x81\x63\xC6\xFF\xFF\xFF\xFF", CODEC_CORRUPT);
    EXPECT(EVENT_CampaignCreated, "\x81\x63\xC9\xFF\xFF\xFF\xFF\x01", CODEC_CORRUPT);
    buf_init(&bytes, EVENT_DATA_MAX);
    buf_append(&bytes, "\x81\x63", 2);
    for (size_t i = 0; i < 1000; i++)
        put_array(&bytes, 1 << 20);
    expect_bytes(EVENT_CampaignCreated, buf_span(&bytes), CODEC_CORRUPT, "arrays that claim a lot");
    buf_clear(&bytes);
    buf_append(&bytes, "\x81\x63", 2);
    for (size_t i = 0; i < 4000; i++)
        buf_append_char(&bytes, (char)0x91);
    buf_append_char(&bytes, 1);
    expect_bytes(EVENT_CampaignCreated, buf_span(&bytes), CODEC_CORRUPT, "nested deeply");
    buf_deinit(&bytes);
}

static void the_future_is_unknown_not_corrupt(void **)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    for (int type = 1; type < EVENT_TYPE_END; type++) {
        int16_t version = event_describe(type)->version;
        struct event event = {.type = (enum event_type)type, .version = version, .data = SPAN("\x80")};
        assert_int_equal(event_decode(&event, &arena), CODEC_OK);
        event.version = (int16_t)(version + 1);
        assert_int_equal(event_decode(&event, &arena), CODEC_UNKNOWN_TYPE);
        event.data = SPAN("not even msgpack");
        assert_int_equal(event_decode(&event, &arena), CODEC_UNKNOWN_TYPE);
        event = (struct event){.type = (enum event_type)type, .version = 0, .data = SPAN("\x80")};
        assert_int_equal(event_decode(&event, &arena), CODEC_CORRUPT); /* versions count from 1 */
        event.version = -1;
        assert_int_equal(event_decode(&event, &arena), CODEC_CORRUPT);
    }
    struct event event = {.type = (enum event_type)EVENT_TYPE_END, .version = 1, .data = SPAN("\x80")};
    assert_int_equal(event_decode(&event, &arena), CODEC_UNKNOWN_TYPE);
    event.type = (enum event_type)0;
    assert_int_equal(event_decode(&event, &arena), CODEC_UNKNOWN_TYPE);
    arena_deinit(&arena);
}

/* --- chance --- */

static void random_bytes_are_survived(void **)
{
    char bytes[64];
    uint64_t chance = 1;
    for (size_t round = 0; round < FUZZ_ROUNDS; round++) {
        size_t len = random_next(&chance) % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)random_next(&chance);
        if (len && round % 2)
            bytes[0] = (char)(0x80 | (bytes[0] & 0x0F)); /* a map gets further */
        (void)survives((enum event_type)(1 + random_next(&chance) % (EVENT_TYPE_END - 1)),
                       (struct span){bytes, len});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(catalogue_is_sound),
        cmocka_unit_test(absent_is_default),
        cmocka_unit_test(unknown_keys_are_skipped),
        cmocka_unit_test(every_bound_holds),
        cmocka_unit_test(bounds_inside_lists_hold),
        cmocka_unit_test(lists_take_no_more_than_the_arena),
        cmocka_unit_test(wrong_kinds_are_corrupt),
        cmocka_unit_test(keys_ascend),
        cmocka_unit_test(exactly_one_map_fills_the_bytes),
        cmocka_unit_test(claimed_lengths_are_not_believed),
        cmocka_unit_test(the_future_is_unknown_not_corrupt),
        cmocka_unit_test(random_bytes_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
