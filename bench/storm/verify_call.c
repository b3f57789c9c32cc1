/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the projector with one argument list. */
#include "bench/storm/verify_call.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/kit/child.h"

enum { VERIFY_MS = 300000, VARIABLE_MAX = 4200 };

static void find_program(char ret[PATH_MAX])
{
    static const char name[] = "projector";
    const char *directory = getenv("BIN_DIR");
    ssize_t len = 0;
    if (!directory && (len = readlink("/proc/self/exe", ret, PATH_MAX - sizeof name)) > 0) {
        ret[len] = '\0';
        char *slash = strrchr(ret, '/');
        memcpy(slash ? slash + 1 : ret, name, sizeof name);
        return;
    }
    snprintf(ret, PATH_MAX, "%s/%s", directory ? directory : ".", name);
}

int verify_call(const struct verify_call *call)
{
    char program[PATH_MAX], slice[16], database[VARIABLE_MAX], redis[VARIABLE_MAX];
    find_program(program);
    snprintf(slice, sizeof slice, "%d", call->slice);
    snprintf(database, sizeof database, "%s=%s", call->shards_file ? "SHARDS_FILE" : "DATABASE_URL",
             call->shards_file ? call->shards_file : call->database_url);
    snprintf(redis, sizeof redis, "REDIS_URL=%s", call->redis_url ? call->redis_url : "");
    const char *const arguments[] = {program, "verify", "--slice", slice, call->redis_url ? NULL : "--log",
                                     NULL};
    const char *const environment[] = {database, redis, NULL};
    pid_t pid = child_start(
        &(struct child_spec){.argv = arguments, .environment = environment, .output_path = call->output});
    int status = child_wait(pid, VERIFY_MS);
    if (status == -1)
        child_kill(pid);
    return status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
