/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to PostgreSQL: pipelined, prepared statements only, binary both ways, every wait with a
 * deadline. The only file that knows libpq. One thread at a time uses a connection.
 *
 * Usage: pg_connect, then any number of rounds of { pg_send...; pg_sync; pg_receive for each send }.
 * Any result other than PG_OK and PG_REFUSED means the connection is gone: whatever was in flight has an
 * unknown outcome, and the next thing to do is pg_connect again (the caller owns back-off). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct pg;

enum pg_status {
    PG_OK,
    PG_REFUSED, /* the server refused a statement (see pg_sqlstate); the transaction is aborted, the
                   connection is usable after the round's remaining results were received */
    PG_LOST,    /* the connection broke or could not be made, or the server committed without waiting for the
                   standby that it should have waited for */
    PG_TIMEOUT, /* the deadline passed; the connection was closed because its state is unknown */
};

struct pg_statement {
    const char *name; /* unique per connection */
    const char *sql;  /* with $1...; types are inferred by the server, so write casts */
};

struct pg_options {
    const char *url;         /* postgresql://... as libpq takes it, several hosts allowed */
    const char *role;        /* role to act as after login (SET ROLE at start), NULL to stay */
    const char *application; /* application_name */
    int64_t statement_timeout_ms, lock_timeout_ms, idle_in_transaction_timeout_ms;
    bool read_write; /* insist on a server that accepts writes (target_session_attrs) */
    bool first_few;  /* its statements want the first few of what an index has in order; see session.h */
    bool snapshot;   /* the statements of a round see the database at one instant */
    const struct pg_statement *statements; /* prepared by every pg_connect; borrowed */
    size_t statements_count;
    int schema; /* the least number of schema_migration that they are written for; 0: whatever is there */
};

/* Whether libpq can read a URL; otherwise why, without repeating it. */
bool pg_url_check(const char *url, char *reason, size_t reason_size) MUST_USE;
struct pg *pg_create(const struct pg_options *options); /* does not connect */
void pg_destroy(struct pg *pg);                         /* accepts NULL */
/* Closes a former connection first. Of several hosts the one that answered last is tried first, then the
 * others in turn; each may use an equal share of the time that is left, so one that swallows packets costs no
 * more than that. With read_write a server that does not accept writes is passed over. The error is the last
 * host's. Host names are resolved without a deadline (libpq cannot otherwise). */
enum pg_status pg_connect(struct pg *pg, int64_t deadline_us) MUST_USE;
void pg_disconnect(struct pg *pg);
bool pg_connected(const struct pg *pg);
const char *pg_error(const struct pg *pg);    /* last failure, one line, no parameter values */
const char *pg_sqlstate(const struct pg *pg); /* of the last PG_REFUSED, "" otherwise */
int pg_socket(const struct pg *pg);           /* for tests and diagnosis; -1 when not connected */

/* Arguments of one statement, built in order $1, $2, ... Buffers are reused after pg_args_reset. */
enum pg_element {
    PG_INT2 = 21,
    PG_INT8 = 20,
    PG_TEXT = 25,
    PG_BYTEA = 17,
    PG_TIMESTAMPTZ = 1184,
    PG_UUID = 2950
};
enum { PG_ARGS_MAX = 24 };

struct pg_args {
    struct buf data;
    int count;
    bool open_array;
    size_t array_start;
    int32_t array_elements;
    struct {
        size_t offset;
        int length; /* -1: NULL */
    } values[PG_ARGS_MAX];
};
void pg_args_init(struct pg_args *args);
void pg_args_deinit(struct pg_args *args);
void pg_args_reset(struct pg_args *args);
void pg_arg_null(struct pg_args *args);
void pg_arg_i16(struct pg_args *args, int16_t value);
void pg_arg_i32(struct pg_args *args, int32_t value);
void pg_arg_i64(struct pg_args *args, int64_t value);
void pg_arg_bool(struct pg_args *args, bool value);
void pg_arg_time(struct pg_args *args, int64_t wall_us);
void pg_arg_bytes(struct pg_args *args, struct span value); /* text, bytea or uuid; absent span: NULL */
/* One-dimensional arrays: begin, elements of the declared type in order, end. */
void pg_array_begin(struct pg_args *args, enum pg_element element);
void pg_array_i16(struct pg_args *args, int16_t value);
void pg_array_i64(struct pg_args *args, int64_t value);
void pg_array_time(struct pg_args *args, int64_t wall_us);
void pg_array_bytes(struct pg_args *args, struct span value); /* absent span: NULL element */
void pg_array_end(struct pg_args *args);

/* Queues one statement of the table by index; args NULL for none. Never blocks. */
void pg_send(struct pg *pg, size_t statement, const struct pg_args *args);
/* Ends the round and starts transmission. */
void pg_sync(struct pg *pg);

/* The result of one statement, owned by the caller. */
struct pg_rows;
/* The next result in send order, waiting until the deadline. After a PG_REFUSED the rest of the round comes
 * back as PG_REFUSED too (with the first one's SQLSTATE). When all results of a round were received the sync
 * point is consumed as well. *ret is NULL unless PG_OK. */
enum pg_status pg_receive(struct pg *pg, int64_t deadline_us, struct pg_rows **ret) MUST_USE;
/* One statement and its result, for paths where a round trip does not matter. */
enum pg_status pg_call(struct pg *pg, size_t statement, const struct pg_args *args, int64_t deadline_us,
                       struct pg_rows **ret) MUST_USE;

void pg_rows_destroy(struct pg_rows *rows); /* accepts NULL */
int pg_rows_count(const struct pg_rows *rows);
int64_t pg_affected(const struct pg_rows *rows); /* rows touched by INSERT/UPDATE/DELETE */
bool pg_is_null(const struct pg_rows *rows, int row, int column);
int64_t pg_i64(const struct pg_rows *rows, int row, int column);  /* int2, int4, int8, bool */
int64_t pg_time(const struct pg_rows *rows, int row, int column); /* timestamptz, wall µs; 0 for NULL */
struct span pg_bytes(const struct pg_rows *rows, int row,
                     int column); /* text, bytea, uuid; absent for NULL */
