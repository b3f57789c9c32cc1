/* SPDX-License-Identifier: Apache-2.0 */
/* Spawning and collecting. */
#include "tests/lib/projector.h"

#include <limits.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/http_client.h"

extern char **environ;

enum { OUTPUT_MAX = 256 * 1024 };

static void set_environment(const struct stack *stack)
{
    const char *redis = getenv("SERVICES_REDIS_URL"); /* as tools/stack does */
    setenv("DATABASE_URL", stack_env(stack, "PROJECTOR_DATABASE_URL"), 1);
    setenv("REDIS_URL", redis ? redis : stack_env(stack, "PROJECTOR_REDIS_URL"), 1);
    setenv("FIRSTCOME_API_KEYS_FILE", stack_env(stack, "FIRSTCOME_API_KEYS_FILE"), 1);
}

pid_t projector_spawn(struct stack *stack, const char *const *arguments, FILE *output)
{
    pid_t pid;
    posix_spawn_file_actions_t actions;
    const char *argv[18] = {"projector"};
    char program[PATH_MAX];
    for (size_t i = 0; arguments[i]; i++) {
        assert_true(i + 2 < COUNT_OF(argv));
        argv[i + 1] = arguments[i];
    }
    snprintf(program, sizeof program, "%s/projector", getenv("BIN_DIR"));
    set_environment(stack);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(output), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fileno(output), STDERR_FILENO);
    assert_int_equal(posix_spawn(&pid, program, &actions, NULL, (char *const *)argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

int projector_run(struct stack *stack, const char *const *arguments, struct buf *ret)
{
    char chunk[4096];
    int status;
    FILE *output = tmpfile();
    assert_non_null(output);
    pid_t pid = projector_spawn(stack, arguments, output);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    rewind(output);
    for (size_t len; (len = fread(chunk, 1, sizeof chunk, output)) > 0;)
        buf_append(ret, chunk, len);
    fclose(output);
    return WEXITSTATUS(status);
}

void projector_assert_verify_clean(struct stack *stack)
{
    struct buf said;
    buf_init(&said, OUTPUT_MAX);
    if (PROJECTOR_RUN(stack, &said, "verify") != 0)
        fail_msg("%s", said.data);
    buf_deinit(&said);
}

int64_t projector_metric_at(const char *url, const char *name)
{
    struct http_client *client = http_client_create(url);
    int64_t value = http_client_metric(client, name);
    http_client_destroy(client);
    return value;
}

int64_t projector_metric(struct stack *stack, const char *name)
{
    return projector_metric_at(stack_env(stack, "PROJECTOR_URL"), name);
}

int projector_ready_status(struct stack *stack)
{
    struct http_answer answer = {0};
    struct http_client *client = http_client_create(stack_env(stack, "PROJECTOR_URL"));
    const struct http_call call = {.path = "/readyz"};
    enum http_outcome outcome = http_client_call(client, &call, &answer);
    http_client_destroy(client);
    return outcome == HTTP_ANSWERED ? answer.status : 0;
}
