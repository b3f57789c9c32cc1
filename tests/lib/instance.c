/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and ending single service processes. The working directory is below the run directory of the
 * stack, by which its cleaner knows what to end when the test program died. */
#include "tests/lib/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mem.h"
#include "tests/lib/http_client.h"
#include "tests/lib/wait.h"

extern char **environ;

enum { READY_MS = 60000, END_MS = 60000, ENVIRONMENT_MAX = 512, ADDED_MAX = 16, INSTANCE_LINE_MAX = 1024 };

struct instance {
    struct stack *stack;
    struct instance_options options;
    char url[64], program[PATH_MAX], log[PATH_MAX];
    char lines[ADDED_MAX][INSTANCE_LINE_MAX];
    size_t lines_count;
    pid_t pid; /* 0: does not run */
};

static void add_line(struct instance *instance, const char *name, const char *value)
{
    CHECK(instance->lines_count < ADDED_MAX);
    char *line = instance->lines[instance->lines_count++];
    CHECK(snprintf(line, INSTANCE_LINE_MAX, "%s=%s", name, value) < INSTANCE_LINE_MAX);
}

/* Its own first: of two lines for one name, getenv() finds the first. */
static void environment_of(struct instance *instance, char *ret[ENVIRONMENT_MAX])
{
    size_t count = 0;
    for (const char *const *line = instance->options.environment; line && *line; line++)
        ret[count++] = (char *)*line;
    for (size_t i = 0; i < instance->lines_count; i++)
        ret[count++] = instance->lines[i];
    for (char **line = environ; *line; line++) {
        CHECK(count + 1 < ENVIRONMENT_MAX);
        ret[count++] = *line;
    }
    ret[count] = NULL;
}

static void spawn(struct instance *instance)
{
    char *environment[ENVIRONMENT_MAX], *argv[] = {instance->program, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    environment_of(instance, environment);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, instance->log, O_WRONLY | O_CREAT | O_APPEND,
                                     0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    posix_spawn_file_actions_addchdir_np(&actions, stack_directory(instance->stack));
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    int error = posix_spawn(&instance->pid, argv[0], &actions, &attributes, argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error)
        fail_msg("%s: %s", instance->program, strerror(error));
}

bool instance_ready(const struct instance *instance)
{
    struct http_answer answer;
    struct http_call call = {.method = "GET", .path = "/readyz", .timeout_ms = 2000};
    struct http_client *client = http_client_create(instance->url);
    bool ready = http_client_call(client, &call, &answer) == HTTP_ANSWERED && answer.status == 200;
    http_client_destroy(client);
    return ready;
}

void instance_again(struct instance *instance)
{
    int status;
    CHECK(instance->pid == 0);
    spawn(instance);
    int64_t deadline_us = clock_deadline_us(READY_MS);
    while (!instance_ready(instance)) {
        if (waitpid(instance->pid, &status, WNOHANG) != 0 || clock_remaining_ms(deadline_us) == 0)
            fail_msg("%s-%s does not get ready", instance->options.service, instance->options.name);
        wait_moment();
    }
}

struct instance *instance_start(struct stack *stack, const struct instance_options *options)
{
    char port[16];
    struct instance *instance = mem_zalloc(sizeof *instance);
    CHECK(options->port_offset >= 6 && options->port_offset < 20); /* those before are the stack's */
    instance->stack = stack;
    instance->options = *options;
    snprintf(port, sizeof port, "%d", stack_port_base(stack) + options->port_offset);
    snprintf(instance->url, sizeof instance->url, "http://127.0.0.1:%s", port);
    CHECK(getenv("BIN_DIR")); /* stack_start sets it */
    snprintf(instance->program, sizeof instance->program, "%s/%s", getenv("BIN_DIR"), options->service);
    snprintf(instance->log, sizeof instance->log, "%s/log/%s-%s.log", stack_directory(stack),
             options->service, options->name);
    bool command = strcmp(options->service, "command-service") == 0;
    const char *own = stack_env(stack, command ? "COMMAND_DATABASE_URL" : "QUERY_DATABASE_URL");
    add_line(instance, "PORT", port);
    add_line(instance, "DATABASE_URL", options->database_url ? options->database_url : own);
    /* A query service listens there, and two cannot on one address; it does without hints. */
    add_line(instance, "BUS_URL", command ? stack_env(stack, "BUS_URL") : "");
    add_line(instance, "API_KEYS_FILE", stack_env(stack, "API_KEYS_FILE"));
    add_line(instance, "CODE_KEY_FILE", stack_env(stack, "CODE_KEY_FILE"));
    if (!command)
        add_line(instance, "REDIS_URL", stack_env(stack, "QUERY_REDIS_URL"));
    instance_again(instance);
    return instance;
}

void instance_signal(const struct instance *instance, int signal_number)
{
    CHECK(instance->pid > 0);
    assert_int_equal(kill(instance->pid, signal_number), 0);
}

static bool has_ended(struct instance *instance, int *ret_status)
{
    pid_t got = waitpid(instance->pid, ret_status, WNOHANG);
    assert_true(got >= 0);
    if (got > 0)
        instance->pid = 0;
    return got > 0;
}

static int await_end(struct instance *instance)
{
    int status = 0;
    WAIT_UNTIL(has_ended(instance, &status), END_MS);
    return status;
}

static void check_end(const struct instance *instance, int status)
{
    if (status != 0)
        fail_msg("%s-%s ended with status %#x", instance->options.service, instance->options.name,
                 (unsigned)status);
}

void instance_kill(struct instance *instance)
{
    instance_signal(instance, SIGKILL);
    (void)await_end(instance);
}

void instance_stop(struct instance *instance)
{
    if (instance->pid == 0)
        return;
    instance_signal(instance, SIGTERM);
    instance_await(instance);
}

void instance_await(struct instance *instance)
{
    check_end(instance, await_end(instance));
}

static bool has_ended_urged(struct instance *instance, int *ret_status)
{
    bool ended = has_ended(instance, ret_status);
    if (!ended)
        instance_signal(instance, SIGTERM);
    return ended;
}

void instance_destroy(struct instance *instance)
{
    int status = 0;
    if (instance && instance->pid != 0)
        WAIT_UNTIL(has_ended_urged(instance, &status), END_MS);
    if (instance)
        check_end(instance, status);
    mem_free(instance);
}

const char *instance_url(const struct instance *instance)
{
    return instance->url;
}

pid_t instance_pid(const struct instance *instance)
{
    return instance->pid;
}
