/* SPDX-License-Identifier: Apache-2.0 */
/* Assertions that stay on in release builds. A failed CHECK is a broken invariant: the process says where and
 * dies, because a coupon service that goes on with a wrong state is worse than one that restarts from its
 * log. */
#pragma once

/* Prints "file:line: function: what" to stderr and aborts. Never returns. */
_Noreturn void check_failed(const char *file, int line, const char *function, const char *what);

#define CHECK(condition) \
    ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, __func__, "CHECK(" #condition ")"))

/* For a branch that cannot be reached; `why` says why not. */
#define UNREACHABLE(why) check_failed(__FILE__, __LINE__, __func__, "unreachable: " why)

#define MUST_USE                         __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first) __attribute__((format(printf, format_index, first)))
#define COUNT_OF(array)                  (sizeof(array) / sizeof((array)[0]))
