/* SPDX-License-Identifier: Apache-2.0 */
/* Loaded into a process with LD_PRELOAD: its wall clock is CLOCK_SHIFT_S seconds off, its monotonic one is not. So a
 * test has a host whose clock is wrong, without the product knowing. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    long status = syscall(SYS_clock_gettime, clock, ret);
    const char *shift = clock == CLOCK_REALTIME ? getenv("CLOCK_SHIFT_S") : NULL;
    if (status == 0 && shift)
        ret->tv_sec += atol(shift);
    return (int)status;
}
