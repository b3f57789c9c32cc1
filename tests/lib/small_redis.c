/* SPDX-License-Identifier: Apache-2.0 */
/* A sleeper holds the namespace while Redis comes and goes. */
#include "tests/lib/small_redis.h"

#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/full_disk.h"
#include "tests/lib/wait.h"

extern char **environ;

enum { PORT_OFFSET = 14, LONG_MS = 120000 };

static pid_t spawn(const char *const *argv)
{
    pid_t pid;
    assert_int_equal(posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ), 0);
    return pid;
}

static void end_process(pid_t pid)
{
    int status;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static bool disk_is_there(const struct small_redis *redis)
{
    struct stat inside, outside;
    return stat(redis->disk, &inside) == 0 && stat(redis->directory, &outside) == 0 &&
           inside.st_dev != outside.st_dev;
}

static void start_disk(struct small_redis *redis)
{
    char script[1200];
    snprintf(script, sizeof script,
             "mount -t tmpfs -o size=24m tmpfs '%s' && exec setpriv --pdeathsig KILL sleep infinity",
             redis->directory);
    redis->disk_pid =
        spawn((const char *[]){"unshare", "--map-root-user", "--mount", "sh", "-c", script, NULL});
    snprintf(redis->disk, sizeof redis->disk, "/proc/%d/root%s", (int)redis->disk_pid, redis->directory);
    WAIT_UNTIL(disk_is_there(redis), LONG_MS);
}

void small_redis_again(struct small_redis *redis)
{
    char port[16], target[16], log[600];
    snprintf(port, sizeof port, "%d", stack_port_base(redis->stack) + PORT_OFFSET);
    snprintf(target, sizeof target, "%d", (int)redis->disk_pid);
    snprintf(log, sizeof log, "%s.log", redis->directory);
    redis->pid = spawn((const char *[]){"nsenter",
                                        "--target",
                                        target,
                                        "--user",
                                        "--mount",
                                        "--preserve-credentials",
                                        "setpriv",
                                        "--pdeathsig",
                                        "KILL",
                                        "redis-server",
                                        "--port",
                                        port,
                                        "--bind",
                                        "127.0.0.1",
                                        "--dir",
                                        redis->directory,
                                        "--logfile",
                                        log,
                                        "--save",
                                        "",
                                        "--appendonly",
                                        "yes",
                                        "--appendfsync",
                                        redis->sync,
                                        "--auto-aof-rewrite-percentage",
                                        "0",
                                        NULL});
}

void small_redis_start(struct small_redis *redis, struct stack *stack, const char *sync)
{
    *redis = (struct small_redis){.stack = stack, .sync = sync};
    snprintf(redis->directory, sizeof redis->directory, "%s/small-disk", stack_directory(stack));
    assert_int_equal(mkdir(redis->directory, 0700), 0);
    snprintf(redis->url, sizeof redis->url, "redis://127.0.0.1:%d", stack_port_base(stack) + PORT_OFFSET);
    start_disk(redis);
    small_redis_again(redis);
}

void small_redis_kill(struct small_redis *redis)
{
    end_process(redis->pid);
}

void small_redis_stop(struct small_redis *redis)
{
    end_process(redis->pid);
    end_process(redis->disk_pid);
}

/* --- Its disk --- */

void small_redis_fill_disk(const struct small_redis *redis)
{
    full_disk_begin(redis->disk);
}

void small_redis_free_disk(const struct small_redis *redis)
{
    full_disk_end(redis->disk);
}
