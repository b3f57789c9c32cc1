/* SPDX-License-Identifier: Apache-2.0 */
/* From verdicts to HTTP answers. */
#pragma once

#include "command-service/batch.h"

/* Answers the command's request with a verdict that is durable (or a refusal) and sets command->request to
 * NULL. */
void answer_verdict(struct command *command, const struct verdict *verdict,
                    const uint8_t code_key[CRYPTO_KEY_BYTES]);
/* Answers with one occurrence of a problem. */
void answer_detail(struct command *command, const struct problem_detail *detail);
/* Answers with a problem; retry_after_ms 0 for none. */
void answer_problem(struct command *command, const struct problem *problem, int64_t retry_after_ms);
