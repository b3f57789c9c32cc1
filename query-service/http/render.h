/* SPDX-License-Identifier: Apache-2.0 */
/* Answers as JSON (design §9). The bytes depend on query and answer only, never on who answered. Pure. */
#pragma once

#include "query-service/load/answer.h"

/* The member `next` of a list: the cursor as text, bound to the list; or null. */
void render_cursor(struct buf *out, const struct query *query, const struct cursor *next);
/* The answer must be one that was found. */
void render_answer(struct buf *out, const struct query *query, const struct answer *answer,
                   const struct code_key *code_key);
