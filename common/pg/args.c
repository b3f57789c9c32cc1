/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL's binary format: big-endian numbers, times as microseconds since 2000, arguments of a statement
 * with one-dimensional arrays; and its error codes. Pure: knows the protocol, not libpq. */
#include <endian.h>

#include "common/pg/pg.h"
#include "common/pg/wire.h"

/* What one statement may carry. Callers bound their batches; this only stops a bug from eating the machine.
 */
enum { PG_ARGS_BYTES_MAX = 256 * 1024 * 1024 };

/* The header of an array on the wire: dimensions, "has NULL" flag, element type, then length and lower bound
 * of the one dimension. An empty array has no dimension and stops after the type. */
enum { ARRAY_HEADER_BYTES = 20, ARRAY_EMPTY_BYTES = 12, ARRAY_NULLS_AT = 4, ARRAY_TYPE_AT = 8 };
enum { ARRAY_LENGTH_AT = 12, ARRAY_BOUND_AT = 16 };

static void put_i32(char *at, int32_t value)
{
    uint32_t wire = htobe32((uint32_t)value);
    memcpy(at, &wire, sizeof wire);
}

int64_t pg_time_to_wire(int64_t wall_us)
{
    if (wall_us == INT64_MAX || wall_us < INT64_MIN + PG_EPOCH_US)
        return wall_us == INT64_MAX ? INT64_MAX : INT64_MIN; /* infinity, -infinity */
    return wall_us - PG_EPOCH_US;
}

int64_t pg_time_from_wire(int64_t pg_us)
{
    if (pg_us == INT64_MIN || pg_us > INT64_MAX - PG_EPOCH_US)
        return pg_us == INT64_MIN ? INT64_MIN : INT64_MAX;
    return pg_us + PG_EPOCH_US;
}

int64_t pg_number_from_wire(const char *value, int length)
{
    uint64_t wire = 0;
    switch (length) {
    case 0:
        return 0;
    case 1:
        return value[0];
    case 2:
        memcpy(&wire, value, 2);
        return (int16_t)be16toh((uint16_t)wire);
    case 4:
        memcpy(&wire, value, 4);
        return (int32_t)be32toh((uint32_t)wire);
    case 8:
        memcpy(&wire, value, 8);
        return (int64_t)be64toh(wire);
    default:
        UNREACHABLE("the column is not a number: the statement lacks a cast");
    }
}

bool pg_error_ends_connection(const char *severity, const char *sqlstate)
{
    return strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0 ||
           strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "57P", 3) == 0 ||
           strcmp(sqlstate, "25006") == 0 || strcmp(sqlstate, "0A000") == 0 || sqlstate[0] == '\0';
}

void pg_args_init(struct pg_args *args)
{
    *args = (struct pg_args){0};
    buf_init(&args->data, PG_ARGS_BYTES_MAX);
}

void pg_args_deinit(struct pg_args *args)
{
    buf_deinit(&args->data);
}

void pg_args_reset(struct pg_args *args)
{
    buf_clear(&args->data);
    args->count = 0;
    args->open_array = false;
}

static void add_value(struct pg_args *args, const void *value, size_t len)
{
    CHECK(!args->open_array && args->count < PG_ARGS_MAX && len <= PG_ARGS_BYTES_MAX);
    args->values[args->count].offset = args->data.len;
    args->values[args->count].length = (int)len;
    args->count++;
    buf_append(&args->data, value, len);
}

void pg_arg_null(struct pg_args *args)
{
    add_value(args, "", 0);
    args->values[args->count - 1].length = -1;
}

void pg_arg_i16(struct pg_args *args, int16_t value)
{
    uint16_t wire = htobe16((uint16_t)value);
    add_value(args, &wire, sizeof wire);
}

void pg_arg_i32(struct pg_args *args, int32_t value)
{
    uint32_t wire = htobe32((uint32_t)value);
    add_value(args, &wire, sizeof wire);
}

void pg_arg_i64(struct pg_args *args, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    add_value(args, &wire, sizeof wire);
}

void pg_arg_bool(struct pg_args *args, bool value)
{
    char wire = value;
    add_value(args, &wire, sizeof wire);
}

void pg_arg_time(struct pg_args *args, int64_t wall_us)
{
    pg_arg_i64(args, pg_time_to_wire(wall_us));
}

void pg_arg_bytes(struct pg_args *args, struct span value)
{
    if (!value.ptr)
        pg_arg_null(args);
    else
        add_value(args, value.ptr, value.len);
}

void pg_array_begin(struct pg_args *args, enum pg_element element)
{
    char header[ARRAY_HEADER_BYTES] = {0};
    put_i32(header, 1);
    put_i32(header + ARRAY_TYPE_AT, (int32_t)element);
    put_i32(header + ARRAY_BOUND_AT, 1);
    args->array_start = args->data.len;
    args->array_elements = 0;
    add_value(args, header, sizeof header);
    args->open_array = true;
}

/* A length and a number in one append: this is the inner loop of every batch. */
static void add_element(struct pg_args *args, uint64_t big_endian, size_t len)
{
    char wire[4 + sizeof big_endian];
    CHECK(args->open_array && args->array_elements < INT32_MAX);
    put_i32(wire, (int32_t)len);
    memcpy(wire + 4, &big_endian, sizeof big_endian);
    buf_append(&args->data, wire, 4 + len);
    args->array_elements++;
}

void pg_array_i16(struct pg_args *args, int16_t value)
{
    uint64_t wire = 0;
    uint16_t big_endian = htobe16((uint16_t)value);
    memcpy(&wire, &big_endian, sizeof big_endian);
    add_element(args, wire, sizeof big_endian);
}

void pg_array_i64(struct pg_args *args, int64_t value)
{
    add_element(args, htobe64((uint64_t)value), sizeof value);
}

void pg_array_time(struct pg_args *args, int64_t wall_us)
{
    pg_array_i64(args, pg_time_to_wire(wall_us));
}

void pg_array_bytes(struct pg_args *args, struct span value)
{
    char length[4];
    CHECK(args->open_array && args->array_elements < INT32_MAX && value.len <= PG_ARGS_BYTES_MAX);
    args->array_elements++;
    put_i32(length, value.ptr ? (int32_t)value.len : -1);
    buf_append(&args->data, length, sizeof length);
    if (value.ptr)
        buf_append(&args->data, value.ptr, value.len);
    else if (!args->data.overflow)
        put_i32(args->data.data + args->array_start + ARRAY_NULLS_AT, 1);
}

void pg_array_end(struct pg_args *args)
{
    CHECK(args->open_array);
    args->open_array = false;
    if (args->data.overflow)
        return; /* caught when it is sent */
    char *header = args->data.data + args->array_start;
    put_i32(header + ARRAY_LENGTH_AT, args->array_elements);
    if (args->array_elements == 0) {
        put_i32(header, 0);
        args->data.len = args->array_start + ARRAY_EMPTY_BYTES;
    }
    args->values[args->count - 1].length = (int)(args->data.len - args->array_start);
}
