/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration, life, questions. */
#include "tests/lib/redis_server.h"

#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/lib/redis_kit.h"
#include "tests/lib/wait.h"

extern char **environ;

enum { CALL_MS = 1000 };

/* setpriv has the kernel end it with this process. */
static void start(struct redis_server *server)
{
    char config[PATH_MAX];
    const char *const mode = server->sentinel ? "--sentinel" : NULL;
    const char *const argv[] = {"setpriv", "--pdeathsig", "KILL", "redis-server", config, mode, NULL};
    snprintf(config, sizeof config, "%s/redis.conf", server->directory);
    assert_int_equal(posix_spawnp(&server->pid, argv[0], NULL, NULL, (char *const *)argv, environ), 0);
}

void redis_server_start(struct redis_server *server, struct stack *stack, const char *name, int port,
                        const char *config)
{
    char path[PATH_MAX];
    int len = snprintf(server->directory, sizeof server->directory, "%s/%s", stack_directory(stack), name);
    assert_in_range(len, 1, sizeof server->directory - 1);
    assert_int_equal(mkdir(server->directory, 0700), 0);
    snprintf(path, sizeof path, "%s/redis.conf", server->directory);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file, "bind 127.0.0.1\nport %d\ndir \"%s\"\nlogfile \"%s/log\"\n%s", port, server->directory,
            server->directory, config);
    assert_int_equal(fclose(file), 0);
    snprintf(server->url.server.host, sizeof server->url.server.host, "127.0.0.1");
    server->url.server.port = (uint16_t)port;
    start(server);
}

void redis_server_again(struct redis_server *server)
{
    assert_int_equal(server->pid, 0);
    start(server);
}

void redis_server_signal(const struct redis_server *server, int signal_number)
{
    assert_true(server->pid > 0);
    assert_int_equal(kill(server->pid, signal_number), 0);
}

void redis_server_kill(struct redis_server *server)
{
    int status;
    redis_server_signal(server, SIGKILL);
    assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
    server->pid = 0;
}

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

struct redis *redis_server_connect(const struct redis_server *server, int64_t deadline_us)
{
    struct redis *redis = redis_create_parsed(&server->url);
    if (redis_connect_to_any(redis, deadline_us) == REDIS_OK)
        return redis;
    redis_destroy(redis);
    return NULL;
}

enum redis_status redis_server_call(const struct redis_server *server, const char *const *words,
                                    char *ret_text, size_t size)
{
    const struct redis_reply *reply;
    int64_t deadline_us = clock_deadline_us(CALL_MS);
    struct redis *redis = redis_server_connect(server, deadline_us);
    ret_text[0] = '\0';
    if (!redis)
        return REDIS_LOST;
    redis_kit_send(redis, words);
    enum redis_status status = redis_receive(redis, deadline_us, &reply);
    if (status == REDIS_OK)
        write_text(reply, ret_text, size);
    redis_destroy(redis);
    return status;
}
