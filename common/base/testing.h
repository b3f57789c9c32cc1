/* SPDX-License-Identifier: Apache-2.0 */
/* What unit tests share: a failed CHECK as a result, and chance that is the same in every run. Only for
 * *_test.c files. */
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka.h needs some of the above */
#include <cmocka.h>

#include "common/base/bytes.h"

/* Whether a child process that does this ends by a failed CHECK. */
static inline bool dies(void (*action)(void *), void *context)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(3);
        action(context);
        _exit(0);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        fail_msg("the child exited with %d", WEXITSTATUS(status));
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* splitmix64 */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline void assert_span(struct span got, const char *want)
{
    if (!span_is(got, want))
        fail_msg("'%.*s' is not '%s'", SPAN_ARG(got), want);
}
