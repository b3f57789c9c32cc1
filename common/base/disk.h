/* SPDX-License-Identifier: Apache-2.0 */
/* How full a file system is, and what that means. A database that runs out of disk stops as a whole, in the
 * middle of whatever it does; refusing in time leaves room to read, to vacuum and to clear up. Pure, but for
 * disk_used_percent and disk_available_bytes. Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* In rising order: each includes those before it. */
enum disk_verdict {
    DISK_OK,
    DISK_WARN,          /* somebody should look */
    DISK_REFUSE_NEW,    /* nothing new is begun; what exists is served */
    DISK_REFUSE_WRITES, /* nothing is written */
};

/* From which percentage on each verdict holds. */
struct disk_thresholds {
    int64_t warn, refuse_new, refuse_writes;
};

/* How full, in whole percent rounded down: what is used, of what is used or available to a process that is
 * not root (as df counts, which rounds up). Inodes count as well as blocks, because running out of either
 * ends the same way. Nothing used and nothing available: the file system does not say, which counts as empty.
 */
struct disk_room {
    uint64_t blocks_used, blocks_available, inodes_used, inodes_available;
};
int64_t disk_percent(const struct disk_room *room);

/* disk_percent of the file system that `path` lies on; false with errno where it cannot be asked. May block
 * as long as the file system does. */
bool disk_used_percent(const char *path, int64_t *ret_percent) __attribute__((warn_unused_result));

/* What a process that is not root may still write there, in bytes; false with errno as above. */
bool disk_available_bytes(const char *path, int64_t *ret_bytes) __attribute__((warn_unused_result));

/* What a percentage means after `former`. A verdict begins at its threshold and ends only when the percentage
 * is more than one point below it, so that a level around a threshold does not open and close the service by
 * turns. Thresholds may be in any order: the severest one that is reached counts. */
enum disk_verdict disk_judge(int64_t percent, const struct disk_thresholds *thresholds,
                             enum disk_verdict former);
