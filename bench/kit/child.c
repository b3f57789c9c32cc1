/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and ending programs. */
#include "bench/kit/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

extern char **environ;

enum { STOP_MS = 10000, KILLED_MS = 120000 }; /* a disk that syncs holds up even who is killed */

static bool names_same(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");
    return strncmp(a, b, len + 1) == 0;
}

static bool is_overridden(const char *variable, const char *const *by)
{
    for (size_t i = 0; by[i]; i++)
        if (names_same(by[i], variable))
            return true;
    return false;
}

/* The caller frees the list, not the texts. */
static const char **merge_environment(const char *const *on_top)
{
    size_t count = 0, used = 0;
    while (environ[count])
        count++;
    for (size_t i = 0; on_top[i]; i++)
        count++;
    const char **list = mem_alloc((count + 1) * sizeof *list);
    for (size_t i = 0; on_top[i]; i++)
        list[used++] = on_top[i];
    for (size_t i = 0; environ[i]; i++)
        if (!is_overridden(environ[i], on_top))
            list[used++] = environ[i];
    list[used] = NULL;
    return list;
}

pid_t child_start(const struct child_spec *spec)
{
    pid_t pid;
    posix_spawn_file_actions_t actions;
    const char **environment = merge_environment(spec->environment);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (spec->output_path) {
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, spec->output_path,
                                         O_WRONLY | O_CREAT | O_APPEND, 0600);
        posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    }
    if (spec->directory)
        posix_spawn_file_actions_addchdir_np(&actions, spec->directory);
    int error = posix_spawn(&pid, spec->argv[0], &actions, NULL, (char *const *)spec->argv,
                            (char *const *)environment);
    posix_spawn_file_actions_destroy(&actions);
    mem_free(environment);
    if (error) {
        fprintf(stderr, "cannot start %s: %s\n", spec->argv[0], strerror(error));
        exit(2);
    }
    return pid;
}

int child_wait(pid_t pid, int64_t timeout_ms)
{
    int status = -1, fd = pidfd_open(pid, 0);
    int64_t deadline_us = clock_deadline_us(timeout_ms);
    if (fd < 0) {
        fprintf(stderr, "cannot wait for process %d: %s\n", (int)pid, strerror(errno));
        exit(2);
    }
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    while (poll(&poll_fd, 1, clock_remaining_ms(deadline_us)) < 0 && errno == EINTR)
        ;
    close(fd);
    if (!(poll_fd.revents & POLLIN))
        return -1;
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

void child_kill(pid_t pid)
{
    CHECK(kill(pid, SIGKILL) == 0); /* ours and not waited for yet, so it is there */
    CHECK(child_wait(pid, KILLED_MS) != -1);
}

void child_stop(pid_t pid)
{
    if (pid == 0)
        return;
    CHECK(kill(pid, SIGTERM) == 0);
    if (child_wait(pid, STOP_MS) == -1)
        child_kill(pid);
}
