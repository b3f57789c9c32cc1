/* SPDX-License-Identifier: Apache-2.0 */
/* From verdicts to answers, for whoever is to be told: the command's HTTP request, the gathering it is a part
 * of, or nobody. Each function tells them exactly once, and from then on the command has nobody to tell. */
#pragma once

#include "command-service/core/batch.h"
#include "common/http/http.h"

/* Whether Location may begin with it: an absolute URL without a slash at its end, or empty. */
bool answer_public_url_valid(const char *url);
/* Once, before the first answer. `public_url` is borrowed for good. */
void answer_setup(const char *public_url);

/* With a verdict that is durable (or a refusal). */
void answer_verdict(struct command *command, const struct verdict *verdict, const struct code_key *code_key);
/* With one occurrence of a problem. */
void answer_detail(struct command *command, const struct problem_detail *detail);
/* With a problem; retry_after_ms 0 for none. */
void answer_problem(struct command *command, const struct problem *problem, int64_t retry_after_ms);
/* That it is accepted and what becomes of it will be known: for a queue, which then owns the rest of the
 * command. `idempotency_key` as it was sent. */
void answer_accepted(struct http_request *request, struct span idempotency_key);
