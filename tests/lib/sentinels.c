/* SPDX-License-Identifier: Apache-2.0 */
/* Five or six Redis processes: configuration, life, questions. */
#include "tests/lib/sentinels.h"

#include <limits.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/redis/sentinel.h"
#include "tests/lib/wait.h"

extern char **environ;

enum { PORT_OFFSET = 8, READY_MS = 60000, CALL_MS = 1000 };

#define SERVER_PASSWORD   "server"
#define SENTINEL_PASSWORD "watch"
#define PRIMARY           "first come"

static int port_of(const struct sentinels *sentinels, enum sentinels_process process)
{
    return stack_port_base(sentinels->stack) + PORT_OFFSET + (int)process;
}

static bool is_server(enum sentinels_process process)
{
    return process < SENTINELS_WATCH_1;
}

static bool is_wanted(const struct sentinels *sentinels, enum sentinels_process process)
{
    return !is_server(process) || (int)process <= (int)SENTINELS_REDIS_1 + sentinels->replicas;
}

/* --- configuration --- */

static void write_server(const struct sentinels *sentinels, FILE *file, enum sentinels_process process)
{
    fprintf(file, "requirepass " SERVER_PASSWORD "\nmasterauth " SERVER_PASSWORD "\nsave \"\"\n"
                  "repl-diskless-sync yes\nrepl-diskless-sync-delay 0\nrepl-backlog-size 64mb\n");
    if (process != SENTINELS_REDIS_1)
        fprintf(file, "replicaof 127.0.0.1 %d\n", port_of(sentinels, SENTINELS_REDIS_1));
}

static void write_sentinel(const struct sentinels *sentinels, FILE *file)
{
    fprintf(file,
            "requirepass " SENTINEL_PASSWORD "\nsentinel sentinel-pass " SENTINEL_PASSWORD "\n"
            "sentinel monitor \"" PRIMARY "\" 127.0.0.1 %d 2\n"
            "sentinel auth-pass \"" PRIMARY "\" " SERVER_PASSWORD "\n"
            "sentinel down-after-milliseconds \"" PRIMARY "\" %d\n"
            "sentinel failover-timeout \"" PRIMARY "\" 5000\n",
            port_of(sentinels, SENTINELS_REDIS_1), sentinels->dead_after_ms);
}

static void write_config(const struct sentinels *sentinels, enum sentinels_process process, char *ret_path)
{
    char directory[PATH_MAX - 32];
    int len = snprintf(directory, sizeof directory, "%s/sentinels-%d", stack_directory(sentinels->stack),
                       (int)process);
    assert_in_range(len, 1, sizeof directory - 1);
    assert_int_equal(mkdir(directory, 0700), 0);
    snprintf(ret_path, PATH_MAX, "%s/redis.conf", directory);
    FILE *file = fopen(ret_path, "we");
    assert_non_null(file);
    fprintf(file, "bind 127.0.0.1\nport %d\ndir \"%s\"\nlogfile \"%s/log\"\n", port_of(sentinels, process),
            directory, directory);
    if (is_server(process))
        write_server(sentinels, file, process);
    else
        write_sentinel(sentinels, file);
    assert_int_equal(fclose(file), 0);
}

/* --- life --- */

/* setpriv has the kernel end it with this process. */
static void start(struct sentinels *sentinels, enum sentinels_process process, const char *config)
{
    const char *const mode = is_server(process) ? NULL : "--sentinel";
    const char *const argv[] = {"setpriv", "--pdeathsig", "KILL", "redis-server", config, mode, NULL};
    pid_t *pid = &sentinels->pids[process];
    assert_int_equal(posix_spawnp(pid, argv[0], NULL, NULL, (char *const *)argv, environ), 0);
}

void sentinels_signal(const struct sentinels *sentinels, enum sentinels_process process, int signal_number)
{
    assert_true(sentinels->pids[process] > 0);
    assert_int_equal(kill(sentinels->pids[process], signal_number), 0);
}

void sentinels_kill(struct sentinels *sentinels, enum sentinels_process process)
{
    int status;
    sentinels_signal(sentinels, process, SIGKILL);
    assert_int_equal(waitpid(sentinels->pids[process], &status, 0), sentinels->pids[process]);
    sentinels->pids[process] = 0;
}

/* All of them, which it says among much else of the primary. */
static bool knows_replicas(const struct sentinels *sentinels, enum sentinels_process process)
{
    char text[8192], wanted[32];
    snprintf(wanted, sizeof wanted, "slaves=%d,sentinels=3", sentinels->replicas);
    return SENTINELS_CALL(sentinels, process, text, "INFO", "sentinel") == REDIS_OK && strstr(text, wanted);
}

static bool sentinel_ready(const struct sentinels *sentinels, enum sentinels_process process)
{
    char quorum[128];
    return SENTINELS_CALL(sentinels, process, quorum, "SENTINEL", "CKQUORUM", PRIMARY) == REDIS_OK &&
           strncmp(quorum, "OK 3 usable", 11) == 0 && knows_replicas(sentinels, process);
}

static void await_ready(const struct sentinels *sentinels)
{
    char link[128], replicas[8];
    snprintf(replicas, sizeof replicas, "%d", sentinels->replicas);
    WAIT_UNTIL(SENTINELS_CALL(sentinels, SENTINELS_REDIS_2, link, "ROLE") == REDIS_OK, READY_MS);
    WAIT_UNTIL(SENTINELS_CALL(sentinels, SENTINELS_REDIS_1, link, "WAIT", replicas, "1000") == REDIS_OK &&
                   strcmp(link, replicas) == 0,
               READY_MS);
    for (int process = SENTINELS_WATCH_1; process <= SENTINELS_WATCH_3; process++)
        WAIT_UNTIL(sentinel_ready(sentinels, (enum sentinels_process)process), READY_MS);
}

void sentinels_start(struct sentinels *sentinels, struct stack *stack, int replicas, int dead_after_ms)
{
    char config[PATH_MAX];
    *sentinels = (struct sentinels){.stack = stack, .replicas = replicas, .dead_after_ms = dead_after_ms};
    snprintf(sentinels->url, sizeof sentinels->url,
             "redis+sentinel://:" SERVER_PASSWORD "@127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/first%%20come"
             "?sentinel_password=" SENTINEL_PASSWORD,
             port_of(sentinels, SENTINELS_WATCH_1), port_of(sentinels, SENTINELS_WATCH_2),
             port_of(sentinels, SENTINELS_WATCH_3));
    for (int process = 0; process < SENTINELS_PROCESSES; process++) {
        if (!is_wanted(sentinels, (enum sentinels_process)process))
            continue;
        write_config(sentinels, (enum sentinels_process)process, config);
        start(sentinels, (enum sentinels_process)process, config);
    }
    await_ready(sentinels);
}

void sentinels_stop(struct sentinels *sentinels)
{
    for (int process = SENTINELS_PROCESSES - 1; process >= 0; process--)
        if (sentinels->pids[process] > 0)
            sentinels_kill(sentinels, (enum sentinels_process)process);
}

const char *sentinels_url(const struct sentinels *sentinels)
{
    return sentinels->url;
}

/* --- questions --- */

static void write_text(const struct redis_reply *reply, char *ret, size_t size)
{
    while (reply && redis_kind(reply) == REDIS_ARRAY)
        reply = redis_length(reply) > 0 ? redis_at(reply, 0) : NULL;
    if (!reply)
        ret[0] = '\0';
    else if (redis_kind(reply) == REDIS_INTEGER)
        snprintf(ret, size, "%lld", (long long)redis_integer(reply));
    else
        snprintf(ret, size, "%.*s", SPAN_ARG(redis_text(reply)));
}

/* Not by redis_connect: a replica and a sentinel are to be asked too. */
static struct redis *connect_to(const struct sentinels *sentinels, enum sentinels_process process,
                                int64_t deadline_us)
{
    struct redis_url url = {.server = {"127.0.0.1", (uint16_t)port_of(sentinels, process)}};
    snprintf(url.password, sizeof url.password, "%s",
             is_server(process) ? SERVER_PASSWORD : SENTINEL_PASSWORD);
    struct redis *redis = redis_create_parsed(&url);
    if (redis_connect_to_any(redis, deadline_us) == REDIS_OK)
        return redis;
    redis_destroy(redis);
    return NULL;
}

enum redis_status sentinels_call(const struct sentinels *sentinels, enum sentinels_process process,
                                 const char *const *words, char *ret_text, size_t size)
{
    struct redis_command command;
    const struct redis_reply *reply;
    int64_t deadline_us = clock_deadline_us(CALL_MS);
    struct redis *redis = connect_to(sentinels, process, deadline_us);
    ret_text[0] = '\0';
    if (!redis)
        return REDIS_LOST;
    redis_command_init(&command);
    for (; *words; words++)
        redis_arg_text(&command, *words);
    enum redis_status status = redis_call(redis, &command, deadline_us, &reply);
    if (status == REDIS_OK)
        write_text(reply, ret_text, size);
    redis_command_deinit(&command);
    redis_destroy(redis);
    return status;
}

const char *sentinels_role(const struct sentinels *sentinels, enum sentinels_process process)
{
    static char role[32];
    (void)SENTINELS_CALL(sentinels, process, role, "ROLE");
    return role;
}

bool sentinels_agree(const struct sentinels *sentinels, enum sentinels_process primary)
{
    char text[8192], wanted[64];
    snprintf(wanted, sizeof wanted, "status=ok,address=127.0.0.1:%d,", port_of(sentinels, primary));
    for (int process = SENTINELS_WATCH_1; process <= SENTINELS_WATCH_3; process++)
        if (SENTINELS_CALL(sentinels, (enum sentinels_process)process, text, "INFO", "sentinel") !=
                REDIS_OK ||
            !strstr(text, wanted))
            return false;
    return true;
}
