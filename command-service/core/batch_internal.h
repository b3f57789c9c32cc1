/* SPDX-License-Identifier: Apache-2.0 */
/* What batch.c, batch_decide.c and batch_many.c share. For nobody else. */
#pragma once

#include "command-service/core/batch.h"

struct span batch_keep(struct batch *batch, struct span text);

/* Keys of the batch's maps, and the quota of an API key. Those that return scratch live until its next use.
 */
struct span batch_holding_key(struct batch *batch, struct span campaign_id, struct span user_id);
struct span batch_coupon_key(const struct position *at); /* borrows from `at` */
struct span batch_key_scope(struct batch *batch, struct span actor);

/* The count of a scope, added where no command of the batch asked for it. */
struct loaded_quota *batch_quota(struct batch *batch, struct span scope);

/* Gives the event its place and time, encodes it, and folds it into its campaign and its coupon (either may
 * be NULL). NULL, and nothing done: the state that was loaded contradicts the log, since the rules allow the
 * event. */
const struct event *batch_append(struct batch *batch, struct loaded_campaign *campaign,
                                 struct loaded_coupon *coupon, const struct event *decided);
/* A coupon of this batch: now held by its user, and in the campaign's run. */
void batch_note_issued(struct batch *batch, struct loaded_campaign *loaded, const struct event *issued);
struct holding *batch_holding(struct batch *batch, struct span campaign_id, struct span user_id);
void batch_release_due(struct batch *batch, struct loaded_campaign *loaded);

/* The first answer again, from batch->records[index]. */
void batch_replay(struct batch *batch, size_t index);

void batch_decide_many(struct batch *batch);
void batch_decide_void(struct batch *batch);
