/* SPDX-License-Identifier: Apache-2.0 */
/* When whoever leads goes from the live generation over to one that a rebuild has made ready. Pure: a plain
 * value and the rules on it.
 *
 * Readers must not see a step back, and nothing can be done atomically in all slices at once. So the leader
 * stops bringing the old generation forward, brings the new one past what the old one showed, and only then
 * makes it the live one. That takes a few rounds; for so long readers see what they saw. Nobody else writes
 * to either meanwhile: the leader's epoch fences the rebuild out. Dying at any point leaves the old
 * generation live and the new one ready, for the next leader to begin again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "events/event.h"

enum {
    HANDOVER_LOOK_MS = 500,   /* between looks for a generation that is ready */
    HANDOVER_BOUND_MS = 1000, /* readers wait no longer for what is new; then the old one is gone on with */
    HANDOVER_AGAIN_MS = 3000, /* after which it is tried again */
};

struct handover {
    int64_t former;               /* the generation that is still live; 0: no hand-over is going on */
    int64_t shown[SLICE_COUNT];   /* what that one shows */
    int64_t began_us, look_at_us; /* monotonic */
};

void handover_begin(struct handover *handover, int64_t former, const int64_t shown[SLICE_COUNT],
                    int64_t now_us);
/* It is over, or what was known is lost. */
void handover_forget(struct handover *handover);
/* Which generation should be live while `generation` is written. */
int64_t handover_live(const struct handover *handover, int64_t generation);
/* Whether it is time to look for one; if so the next time is later. */
bool handover_may_begin(struct handover *handover, int64_t now_us);
bool handover_too_long(const struct handover *handover, int64_t now_us);
