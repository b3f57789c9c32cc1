/* SPDX-License-Identifier: Apache-2.0 */
/* "Look now" from the bus: the subscriber's thread marks slices and wakes the projector. A hint carries no
 * truth; a lost one costs a poll interval, a wrong one a look in vain. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct hints {
    _Atomic unsigned slices; /* bit per slice that has news */
    int wake_fd;             /* eventfd */
};

void hints_init(struct hints *hints);
void hints_deinit(struct hints *hints);

/* A message of the bus; any thread. What is not a hint is ignored. */
void hints_receive(struct span message, void *hints);
/* Ends a wait; any thread. */
void hints_wake(struct hints *hints);

/* The slices with news since the last call; one thread. */
unsigned hints_take(struct hints *hints);
/* Waits for a wake-up, at most until the deadline; the same thread. */
void hints_wait(struct hints *hints, int64_t deadline_us);
