/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a query service by hand. */
#include "tests/lib/another.h"

#include <limits.h>
#include <stdlib.h>

#include "bench/lib/child.h"
#include "tests/lib/wait.h"

enum { READY_MS = 60000, TEXT_MAX = 1024 };

/* The URL of the stack's Redis with another port: it ends in ":<port>". */
static void write_redis_url(const struct stack *stack, int port, char *ret, size_t size)
{
    const char *url = stack_env(stack, "QUERY_REDIS_URL"), *colon = strrchr(url, ':');
    assert_non_null(colon);
    if (port)
        snprintf(ret, size, "REDIS_URL=%.*s:%d", (int)(colon - url), url, port);
    else
        snprintf(ret, size, "REDIS_URL=%s", url);
}

void another_start(struct another *another, struct stack *stack, int port_offset, int redis_port)
{
    char path[PATH_MAX], log[PATH_MAX], keys[PATH_MAX], code[PATH_MAX];
    char port[32], database[TEXT_MAX], redis[TEXT_MAX], url[64];
    const char *directory = stack_directory(stack), *bin = getenv("BIN_DIR");
    assert_non_null(bin); /* stack_start has set it */
    snprintf(path, sizeof path, "%s/query-service", bin);
    snprintf(log, sizeof log, "%s/log/query-service-%d.log", directory, port_offset);
    snprintf(port, sizeof port, "PORT=%d", stack_port_base(stack) + port_offset);
    snprintf(database, sizeof database, "DATABASE_URL=%s", stack_env(stack, "QUERY_DATABASE_URL"));
    write_redis_url(stack, redis_port, redis, sizeof redis);
    snprintf(keys, sizeof keys, "API_KEYS_FILE=%s/secrets/api-keys", directory);
    snprintf(code, sizeof code, "CODE_KEY_FILE=%s/secrets/code.key", directory);
    const char *argv[] = {path, NULL};
    const char *environment[] = {port, database, redis, keys, code, "BUS_URL=", NULL};
    another->pid = child_start(&(struct child_spec){argv, environment, log});
    snprintf(url, sizeof url, "http://127.0.0.1:%d", stack_port_base(stack) + port_offset);
    another->api = (struct api_client){.stack = stack,
                                       .command = http_client_create(stack_env(stack, "COMMAND_URL")),
                                       .query = http_client_create(url)};
    struct http_answer answer;
    struct http_call ready = {.method = "GET", .path = "/readyz"};
    WAIT_UNTIL(http_client_call(another->api.query, &ready, &answer) == HTTP_ANSWERED && answer.status == 200,
               READY_MS);
}

void another_stop(struct another *another)
{
    child_stop(another->pid);
    api_close(&another->api);
}
