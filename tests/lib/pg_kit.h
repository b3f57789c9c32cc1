/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of common/pg share: a stack, a table of statements and short ways to use them. A call that
 * should succeed and does not fails the test. */
#pragma once

#include "common/pg/pg.h"
#include "tests/lib/stack.h"
#include "tests/lib/wait.h"

enum { LONG_MS = 120000, SHORT_MS = 300, LATE_MS = 3000 };

enum statement {
    ECHO_VALUES,
    ECHO_ARRAYS,
    COUNT_ARRAY,
    INSERT_ITEM,
    INSERT_ITEMS,
    COUNT_ITEMS,
    CLEAR_ITEMS,
    LOCK_ITEM,
    INSERT_CHILD,
    CAST_UUID,
    SLEEP,
    BACKEND_PID,
    TERMINATE,
    BACKEND_EXISTS,
    ECHO_BYTES,
    SETTING,
    WHO,
    READ_ONLY,
    BEGIN,
    COMMIT,
    STATEMENTS
};

extern struct stack *pg_kit_stack;

/* Fixtures: start and stop the stack, and make tables "item" and "child" in it. */
int pg_kit_set_up(void **state);
int pg_kit_tear_down(void **state);

struct pg_options pg_kit_options_of(const char *url);
struct pg *pg_kit_connect_with(const struct pg_options *options);
struct pg *pg_kit_connected(void);
struct pg_rows *pg_kit_receive(struct pg *pg);
struct pg_rows *pg_kit_call(struct pg *pg, enum statement statement, const struct pg_args *args);
/* The one number that a statement with at most one int4 as argument answers, or the rows it touched. */
int64_t pg_kit_ask(struct pg *pg, enum statement statement, int32_t argument);
void pg_kit_send_i64(struct pg *pg, enum statement statement, int64_t value);
void pg_kit_send_i32(struct pg *pg, enum statement statement, int32_t value);
/* The status of the next result, which is thrown away. */
enum pg_status pg_kit_next(struct pg *pg, int64_t timeout_ms);
void pg_kit_assert_usable(struct pg *pg);
