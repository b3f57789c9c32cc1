/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that a benchmark or a test starts itself, because it has to know to the microsecond when they
 * ended and began: the services it kills, the servers it compares them with. Failing to start one ends the
 * process. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct child_spec {
    const char *const *argv;        /* argv[0] is the program's path; NULL-terminated */
    const char *const *environment; /* "NAME=value", on top of this process's and instead of what it has */
    const char *output_path;        /* stdout and stderr are appended there; NULL: as this process's */
    const char *directory;          /* where it works; NULL: where this process does */
};

pid_t child_start(const struct child_spec *spec);
/* Waits; its status as from waitpid, or -1 when it did not end in time. */
int child_wait(pid_t pid, int64_t timeout_ms);
/* SIGTERM, then SIGKILL; waits. pid 0: nothing to do. */
void child_stop(pid_t pid);
/* SIGKILL; waits. */
void child_kill(pid_t pid);
