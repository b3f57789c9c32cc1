/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a slice's progress. */
#include "projector/run/slice_progress.h"

void progress_load(struct progress *progress, int64_t position, int64_t at_us)
{
    progress->position = progress->confirmed = position;
    progress->at_us = at_us;
    progress->behind = true;
    if (progress->stuck_at <= position)
        progress->stuck_at = 0; /* somebody newer got past it */
}

void progress_log(struct progress *progress, const struct log_head *log)
{
    progress->log = *log;
}

void progress_log_reaches(struct progress *progress, int64_t position, int64_t at_us)
{
    if (position <= progress->log.head)
        return;
    progress->log.head = position;
    progress->log.head_at_us = at_us;
    progress->log.chain_known = false;
}

bool progress_move(struct progress *progress, int64_t position, int64_t at_us)
{
    const struct log_head *log = &progress->log;
    progress->position = position;
    progress->at_us = at_us;
    if (position == log->head)
        progress->behind = false;
    else if (progress_beyond_log(progress) ||
             (log->head - position > BEHIND_EVENTS && log->head_at_us - at_us > BEHIND_US))
        progress->behind = true;
    return progress->behind;
}

void progress_confirm(struct progress *progress, int64_t position)
{
    CHECK(position <= progress->position);
    progress->confirmed = position;
}

bool progress_wants(const struct progress *progress)
{
    return progress->log.head > progress->position && progress->position + 1 != progress->stuck_at;
}

bool progress_beyond_log(const struct progress *progress)
{
    return progress->position > progress->log.head;
}

void progress_stick(struct progress *progress, int64_t at)
{
    CHECK(at > progress->position);
    progress->stuck_at = at;
    progress->behind = true;
}

int64_t progress_lag_events(const struct progress *progress)
{
    int64_t lag = progress->log.head - progress->confirmed;
    return lag > 0 ? lag : 0;
}

int64_t progress_lag_us(const struct progress *progress, int64_t now_us)
{
    if (progress_lag_events(progress) == 0 || progress->log.oldest_us == 0)
        return 0;
    int64_t age = now_us - progress->log.oldest_us;
    return age > 0 ? age : 0;
}
