/* SPDX-License-Identifier: Apache-2.0 */
/* How far the models in Redis are, and whether that is good enough for a read. Pure. */
#pragma once

#include "query-service/load/read.h"
#include "readmodel/checkpoint.h"

/* The state of all models at one moment: what the first commands of every pipeline ask for. */
struct model_state {
    struct checkpoint slices[SLICE_COUNT];
    int64_t seen_ago_ms[SLICE_COUNT]; /* a projector led and found it as it left it; INT64_MAX: not known */
    unsigned away;                    /* bit per slice whose server of the cluster does not answer */
};

/* The oldest look at one of these slices, INT64_MAX where one is not known. */
int64_t model_state_seen_ago_ms(const struct model_state *state, unsigned slices);
/* FALLBACK_NONE when every slice the query depends on is current: there, not catching up, looked after less
 * than `old_ms` ago (SEEN_MS, unless nobody else answers), and at or past the consistency token.
 * FALLBACK_BEHIND only where waiting a moment may help, FALLBACK_AWAY where nothing else is wrong. */
enum fallback model_state_judge(const struct model_state *state, const struct query *query, int64_t old_ms);
/* Whether keys of these slices that were made by `before` were the right ones when `after` was the state: of
 * the same generations (no two have the same number, so what was flushed, lost or made anew has another) and,
 * for what a user holds, of the same buckets. FALLBACK_MOVED where not. */
enum fallback model_state_compare(const struct model_state *before, const struct model_state *after,
                                  const struct query *query, unsigned slices);
