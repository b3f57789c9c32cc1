/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts at smuggling: requests that two programs may delimit differently. Each framing of a body is
 * combined with each body; lines that are odd for other reasons stand by themselves. */
#pragma once

#include "common/base/bytes.h"

/* Calls back with each, in the same order each time; how many there were. */
size_t payloads_each(void (*take)(void *context, int number, const char *name, struct span bytes),
                     void *context);
