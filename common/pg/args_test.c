/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments byte by byte, as PostgreSQL's binary format has them. That a server reads them is tests/pg_test.
 */
#include "common/pg/pg.h"

#include <setjmp.h>

#include <cmocka.h>

#include "common/pg/wire.h"

static void assert_value(const struct pg_args *args, int index, struct span expected)
{
    assert_true(index < args->count);
    struct span value = {args->data.data + args->values[index].offset, (size_t)args->values[index].length};
    assert_int_equal(value.len, expected.len);
    assert_memory_equal(value.ptr, expected.ptr, expected.len);
}

static void scalars(void **)
{
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_i16(&args, -2);
    pg_arg_i32(&args, 0x01020304);
    pg_arg_i64(&args, INT64_MIN);
    pg_arg_bool(&args, true);
    pg_arg_bytes(&args, SPAN("a\0b"));
    pg_arg_bytes(&args, SPAN(""));
    pg_arg_bytes(&args, (struct span){0});
    pg_arg_null(&args);
    pg_arg_time(&args, PG_EPOCH_US + 1);
    assert_int_equal(args.count, 9);
    assert_value(&args, 0, SPAN("\xff\xfe"));
    assert_value(&args, 1, SPAN("\1\2\3\4"));
    assert_value(&args, 2, SPAN("\x80\0\0\0\0\0\0\0"));
    assert_value(&args, 3, SPAN("\1"));
    assert_value(&args, 4, SPAN("a\0b"));
    assert_value(&args, 5, SPAN(""));
    assert_int_equal(args.values[6].length, -1);
    assert_int_equal(args.values[7].length, -1);
    assert_value(&args, 8, SPAN("\0\0\0\0\0\0\0\1"));
    pg_args_deinit(&args);
}

static void arrays(void **)
{
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_bool(&args, false);
    pg_array_begin(&args, PG_INT2);
    pg_array_i16(&args, 1);
    pg_array_i16(&args, -1);
    pg_array_end(&args);
    pg_array_begin(&args, PG_TEXT);
    pg_array_bytes(&args, SPAN("x"));
    pg_array_bytes(&args, (struct span){0});
    pg_array_bytes(&args, SPAN(""));
    pg_array_end(&args);
    pg_array_begin(&args, PG_TIMESTAMPTZ);
    pg_array_time(&args, PG_EPOCH_US);
    pg_array_end(&args);
    pg_array_begin(&args, PG_UUID);
    pg_array_end(&args);
    pg_arg_i16(&args, 3);
    assert_value(&args, 0, SPAN("\0"));
    assert_value(&args, 1, SPAN("\0\0\0\1\0\0\0\0\0\0\0\25\0\0\0\2\0\0\0\1\0\0\0\2\0\1\0\0\0\2\xff\xff"));
    assert_value(&args, 2,
                 SPAN("\0\0\0\1\0\0\0\1\0\0\0\31\0\0\0\3\0\0\0\1\0\0\0\1x\xff\xff\xff\xff\0\0\0\0"));
    assert_value(&args, 3, SPAN("\0\0\0\1\0\0\0\0\0\0\4\xa0\0\0\0\1\0\0\0\1\0\0\0\x8\0\0\0\0\0\0\0\0"));
    assert_value(&args, 4, SPAN("\0\0\0\0\0\0\0\0\0\0\xb\x86"));
    assert_value(&args, 5, SPAN("\0\3"));
    pg_args_deinit(&args);
}

static void reset_starts_anew(void **)
{
    struct pg_args args;
    pg_args_init(&args);
    for (int16_t round = 0; round < 3; round++) {
        pg_args_reset(&args);
        pg_array_begin(&args, PG_INT8);
        pg_array_i64(&args, round);
        pg_array_end(&args);
        pg_arg_i16(&args, round);
        assert_int_equal(args.count, 2);
        assert_int_equal(args.values[0].length, 20 + 12);
        assert_int_equal(args.values[1].length, 2);
    }
    pg_args_deinit(&args);
}

static void times_saturate(void **)
{
    assert_int_equal(pg_time_to_wire(0), -PG_EPOCH_US);
    assert_int_equal(pg_time_from_wire(0), PG_EPOCH_US);
    assert_int_equal(pg_time_to_wire(INT64_MAX), INT64_MAX);
    assert_int_equal(pg_time_to_wire(INT64_MIN), INT64_MIN);
    assert_int_equal(pg_time_to_wire(INT64_MIN + 1), INT64_MIN);
    assert_int_equal(pg_time_from_wire(INT64_MAX), INT64_MAX);
    assert_int_equal(pg_time_from_wire(INT64_MAX - 1), INT64_MAX);
    assert_int_equal(pg_time_from_wire(INT64_MIN), INT64_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars),
        cmocka_unit_test(arrays),
        cmocka_unit_test(reset_starts_anew),
        cmocka_unit_test(times_saturate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
