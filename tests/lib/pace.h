/* SPDX-License-Identifier: Apache-2.0 */
/* How late this machine is with everything: what a test adds to a bound on time, so that a busy machine is
 * not taken for a slow product. A thread looks all the while how late it is woken and how much longer than at
 * best a fixed piece of work takes it. stack_start starts it. Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/wait.h"

/* Does nothing when it runs already. */
void pace_start(void);

/* The longest delay seen since from_us (of clock_mono_us) and in the second before it, in µs. */
int64_t pace_late_us(int64_t from_us);

/* Whether no more than bound_us have passed since from_us, and a few dozen times the longest delay: an answer
 * passes through that many hands. */
bool pace_kept(int64_t from_us, int64_t bound_us);

/* Fails the test where it is not kept. `what` is for the message. */
#define pace_within(from_us, bound_us, what)                                          \
    do {                                                                              \
        if (!pace_kept(from_us, bound_us))                                            \
            fail_msg("%s took %lld us, of %lld; the machine was late by %lld", what,  \
                     (long long)(clock_mono_us() - (from_us)), (long long)(bound_us), \
                     (long long)pace_late_us(from_us));                               \
    } while (0)
