/* SPDX-License-Identifier: Apache-2.0 */
/* One request that concerns every slice: its commands go to their committers, and the last one that is done
 * answers for all. Thread-safe; frees itself with the answer. */
#pragma once

#include "command-service/core/batch.h"
#include "common/base/crypto.h"

/* How the parts make one answer. */
enum gather_kind {
    GATHER_VOID,   /* counts are added up; a part that failed fails the whole, and the same key may be sent
                      again */
    GATHER_LOOKUP, /* the one slice that knows the request answers; "unknown" where none does */
};

struct gather;

/* Answers `request` (deferred by the caller) after `parts` calls of gather_verdict or gather_problem. The
 * request must not be touched any more. `code_key` is borrowed for as long as the parts are under way. */
struct gather *gather_create(enum gather_kind kind, struct http_request *request, size_t parts,
                             const uint8_t code_key[CRYPTO_KEY_BYTES]);
void gather_verdict(struct gather *gather, const struct command *part, const struct verdict *verdict);
void gather_problem(struct gather *gather, const struct problem *problem, int64_t retry_after_ms);
