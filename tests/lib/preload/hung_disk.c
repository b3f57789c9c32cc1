/* SPDX-License-Identifier: Apache-2.0 */
/* LD_PRELOAD: asking a file system how full it is never returns, as on a network file system whose server is
 * gone, from when the file named by HUNG_DISK is there; it is taken away by the first who is caught. */
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

int statvfs(const char *path, struct statvfs *ret)
{
    const char *hung = getenv("HUNG_DISK");
    (void)path;
    if (hung && unlink(hung) == 0)
        for (;;)
            pause();
    *ret = (struct statvfs){
        .f_blocks = 100, .f_bfree = 90, .f_bavail = 90, .f_files = 100, .f_ffree = 90, .f_favail = 90};
    return 0;
}
