/* SPDX-License-Identifier: Apache-2.0 */
/* One void that concerns every slice: its commands go to their committers, and the last one that is done
 * answers for all. A part that failed fails the whole, and the same key may be sent again. Thread-safe; frees
 * itself with the answer. */
#pragma once

#include "command-service/core/batch.h"

struct gather;

/* Answers `request` (deferred by the caller) after `parts` calls of gather_verdict or gather_problem. The
 * request must not be touched any more. */
struct gather *gather_create(struct http_request *request, size_t parts);
void gather_verdict(struct gather *gather, const struct verdict *verdict);
void gather_problem(struct gather *gather, const struct problem *problem, int64_t retry_after_ms);
