/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a hand-over. */
#include "projector/run/handover.h"

#include <string.h>

#include "common/base/clock.h"

void handover_begin(struct handover *handover, int64_t former, const int64_t shown[SLICE_COUNT],
                    int64_t now_us)
{
    CHECK(former != 0);
    handover->former = former;
    handover->began_us = now_us;
    handover->look_at_us = now_us + HANDOVER_AGAIN_MS * US_PER_MS;
    memcpy(handover->shown, shown, sizeof handover->shown);
}

void handover_forget(struct handover *handover)
{
    handover->former = 0; /* look_at_us stays: a hand-over that failed is not tried again at once */
}

int64_t handover_live(const struct handover *handover, int64_t generation)
{
    return handover->former ? handover->former : generation;
}

bool handover_may_begin(struct handover *handover, int64_t now_us)
{
    if (now_us < handover->look_at_us)
        return false;
    handover->look_at_us = now_us + HANDOVER_LOOK_MS * US_PER_MS;
    return true;
}

bool handover_too_long(const struct handover *handover, int64_t now_us)
{
    return now_us - handover->began_us > HANDOVER_BOUND_MS * US_PER_MS;
}
