/* SPDX-License-Identifier: Apache-2.0 */
/* What hints from the bus said: which campaigns, users' buckets and lists changed when, and how far slices
 * are. A hint causes no work by itself: it only shortens the life of the copies it concerns (copy.h), and
 * whoever reads one of them next has it loaded. So no flood of hints makes a flood of loads, a lost hint
 * costs the freshness limit, and an invented one a load.
 *
 * Bounded: campaigns share slots; a change of another in the same slot costs a load too many. Any thread. */
#pragma once

#include "events/codec.h"
#include "query-service/cache/entry.h"
#include "readmodel/keys.h"

struct invalidation {
    _Atomic int64_t campaigns[ENTRY_CAMPAIGN_SLOTS]; /* monotonic us of the last change, 0: none known */
    _Atomic int64_t buckets[USER_GROUPS];
    _Atomic int64_t lists;              /* of whatever is a list over all campaigns */
    _Atomic int64_t heads[SLICE_COUNT]; /* highest position that was hinted at, whatever changed there */
    _Atomic int64_t marks[SLICE_COUNT]; /* ... and where the hint did not say what changed */
};

void invalidation_init(struct invalidation *changes);
/* `head`: of the hint's slice, as it was read from the log within the last second or so, -1: not known. A
 * hint from further beyond it than any log grows in that time is not believed: it is of another database, or
 * invented, and would make every copy of the slice look overtaken for good. False for such a hint. */
enum { INVALIDATION_AHEAD_MAX = 1000000 };
bool invalidation_note(struct invalidation *changes, const struct hint *hint, int64_t head, int64_t now_us);
/* Whether something that the copy is about changed after it was loaded. */
bool invalidation_concerns(const struct invalidation *changes, const struct entry *entry);
