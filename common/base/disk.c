/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the kernel how full a file system is, and judges the answer. */
#include "common/base/disk.h"

#include <sys/statvfs.h>

#include "common/base/check.h"

enum { HYSTERESIS_POINTS = 1 };

static int64_t used_percent(uint64_t used, uint64_t available)
{
    __extension__ typedef unsigned __int128 wide; /* or 2^58 blocks would not fit */
    wide total = (wide)used + available;
    return total == 0 ? 0 : (int64_t)((wide)used * 100 / total);
}

int64_t disk_percent(const struct disk_room *room)
{
    int64_t blocks = used_percent(room->blocks_used, room->blocks_available);
    int64_t inodes = used_percent(room->inodes_used, room->inodes_available);
    return blocks > inodes ? blocks : inodes;
}

bool disk_used_percent(const char *path, int64_t *ret_percent)
{
    struct statvfs found;
    if (statvfs(path, &found) != 0)
        return false;
    *ret_percent = disk_percent(&(struct disk_room){
        .blocks_used = found.f_blocks - found.f_bfree,
        .blocks_available = found.f_bavail,
        .inodes_used = found.f_files - found.f_ffree,
        .inodes_available = found.f_favail,
    });
    return true;
}

bool disk_available_bytes(const char *path, int64_t *ret_bytes)
{
    struct statvfs found;
    if (statvfs(path, &found) != 0)
        return false;
    *ret_bytes = (int64_t)(found.f_bavail * found.f_frsize);
    return true;
}

enum disk_verdict disk_judge(int64_t percent, const struct disk_thresholds *thresholds,
                             enum disk_verdict former)
{
    const int64_t from[] = {
        [DISK_OK] = INT64_MIN,
        [DISK_WARN] = thresholds->warn,
        [DISK_REFUSE_NEW] = thresholds->refuse_new,
        [DISK_REFUSE_WRITES] = thresholds->refuse_writes,
    };
    enum disk_verdict verdict = DISK_REFUSE_WRITES;
    while (verdict > DISK_OK && percent < from[verdict] - (verdict <= former ? HYSTERESIS_POINTS : 0))
        verdict--;
    return verdict;
}
