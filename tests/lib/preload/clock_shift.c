/* SPDX-License-Identifier: Apache-2.0 */
/* Loaded into a process with LD_PRELOAD: its wall clock is CLOCK_LATE_S seconds late, its monotonic one is
 * not. So a test has a host whose clock is wrong, without the product knowing. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long late_s(void)
{
    const char *text = getenv("CLOCK_LATE_S");
    long seconds = 0;
    for (; text && *text >= '0' && *text <= '9'; text++)
        seconds = 10 * seconds + (*text - '0');
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    long status = syscall(SYS_clock_gettime, clock, ret);
    if (status == 0 && clock == CLOCK_REALTIME)
        ret->tv_sec -= late_s();
    return (int)status;
}
