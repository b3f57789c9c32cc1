/* SPDX-License-Identifier: Apache-2.0 */
/* How the answers of the write API read: JSON bodies of verdicts, and the bytes that are kept of those that
 * cannot be rendered from their event again (I4). Pure. */
#pragma once

#include "command-service/core/batch.h"
#include "common/base/crypto.h"

/* The HTTP status of a command that was not refused. */
int answer_status(enum command_kind kind);
/* The body of a verdict that is no refusal; nothing for a DELETE. */
void answer_write(struct buf *out, const struct command *command, const struct verdict *verdict,
                  const struct code_key *code_key);
/* The members of an already-issued refusal: `"coupon_ids":[...]`. */
void answer_write_held(struct buf *out, int16_t slice, const struct holding *held);
/* The members of other refusals, or nothing. */
void answer_write_next(struct buf *out, const struct refusal_next *next);
/* The body of a void: of one slice, or of all. */
void answer_write_counts(struct buf *out, const struct void_counts *counts);
/* The batch's condition: compares the tags with that of the body which a read would have. */
bool answer_condition_holds(const struct command *command, const struct campaign *campaign, int64_t now_us);

/* What is kept of an answer: of a campaign or a setting its body, of many coupons who got what (a JSON array
 * with the position of the coupon or the code of the refusal for each user in order: codes of coupons are not
 * kept), of a void its counts. false: nothing, the answer is rendered from the event again. */
bool answer_keep(struct buf *out, const struct command *command, const struct verdict *verdict);
/* Puts what was kept back into the record of a retry of `command`; coupons have nothing but their place yet.
 * `results` has room for one for each user of an ISSUE_MANY. false: not an answer that this program wrote. */
bool answer_recall(const struct command *command, struct request_record *record,
                   struct issue_result *results) MUST_USE;
