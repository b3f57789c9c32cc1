/* SPDX-License-Identifier: Apache-2.0 */
/* Paths, bodies, keys and statements of tests, written where they are used. */
#pragma once

#include <stdint.h>

#include "common/base/check.h"

/* As by printf, at most 4095 bytes; stays until the sixteenth call after it. For who hands it on and is done:
 * what is kept, or goes to a loop that writes texts itself, has a buffer of its own. Each thread has its own
 * turns. */
const char *textf(const char *format, ...) PRINTF_LIKE(1, 2);
/* The same of an instant of the wall clock, as the API takes and gives it. */
const char *time_text(int64_t wall_us);
