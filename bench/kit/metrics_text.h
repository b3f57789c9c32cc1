/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what /metrics answers. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"

/* The whole number of the line that begins with `name`, labels included as /metrics writes them; false where
 * there is none. */
bool metrics_find(struct span text, const char *name, int64_t *ret) MUST_USE;
/* The same of a decimal fraction, in millionths of its unit. */
bool metrics_find_micro(struct span text, const char *name, int64_t *ret) MUST_USE;
