/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that steer, and the second command service. */
#include "tests/lib/steer.h"

#include "bench/lib/child.h"
#include "tests/lib/api.h"
#include "tests/lib/wait.h"

enum { START_MS = 30000 };

struct http_answer steer_put(const struct steer *to, const char *name, const char *value)
{
    char path[128], body[256];
    struct http_answer answer;
    snprintf(path, sizeof path, "/v1/settings/%s", name);
    snprintf(body, sizeof body, "{\"value\":%s}", value);
    struct http_call call = {
        .method = "PUT", .path = path, .token = stack_env(to->stack, "ADMIN_TOKEN"), .body = body};
    assert_int_equal(http_client_call(to->client, &call, &answer), HTTP_ANSWERED);
    return answer;
}

struct json_doc *steer_settings(const struct steer *to)
{
    struct http_answer answer;
    struct http_call call = {
        .method = "GET", .path = "/v1/settings", .token = stack_env(to->stack, "ADMIN_TOKEN")};
    assert_int_equal(http_client_call(to->client, &call, &answer), HTTP_ANSWERED);
    api_expect(&answer, 200, NULL);
    return json_get_doc(answer.body);
}

int64_t steer_setting(const struct steer *to, const char *name, const char *member, char ret[32])
{
    struct json_doc *doc = steer_settings(to);
    int64_t number = -1;
    char path[64];
    for (size_t i = 0; i < json_get_length(doc, "settings"); i++) {
        snprintf(path, sizeof path, "settings.%zu.name", i);
        if (!span_is(json_get_text(doc, path), name))
            continue;
        snprintf(path, sizeof path, "settings.%zu.%s", i, member);
        if (ret)
            snprintf(ret, 32, "%.*s", SPAN_ARG(json_get_text(doc, path)));
        else
            number = json_get_int(doc, path);
        json_destroy(doc);
        return number;
    }
    fail_msg("GET /v1/settings has no %s", name);
    return number;
}

struct http_answer steer_issue(const struct steer *to, const char *token, const char *campaign,
                               const char *user)
{
    char path[128], body[256];
    struct http_answer answer;
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", campaign);
    snprintf(body, sizeof body, "{\"user_id\":\"%s\"}", user);
    struct http_call call = {.method = "POST",
                             .path = path,
                             .token = stack_env(to->stack, token),
                             .key = api_fresh_key(),
                             .body = body};
    assert_int_equal(http_client_call(to->client, &call, &answer), HTTP_ANSWERED);
    return answer;
}

void steer_issuer(const struct steer *to, const char *issuer, const char *verb, int status, const char *code)
{
    char path[128];
    struct http_answer answer;
    snprintf(path, sizeof path, "/v1/issuers/%s/%s", issuer, verb);
    struct http_call call = {.method = "POST",
                             .path = path,
                             .token = stack_env(to->stack, "ADMIN_TOKEN"),
                             .key = api_fresh_key(),
                             .body = "{}"};
    assert_int_equal(http_client_call(to->client, &call, &answer), HTTP_ANSWERED);
    api_expect(&answer, status, code);
}

int64_t steer_refusals(const struct steer *to, const char *reason)
{
    char name[96];
    struct api_client at = {.stack = to->stack, .command = to->client};
    snprintf(name, sizeof name, "coupon_gate_refused_total{reason=\"%s\"}", reason);
    return api_metric(&at, name);
}

bool steer_answers(const struct steer *to, const char *path)
{
    struct http_answer answer;
    struct http_call call = {.method = "GET", .path = path};
    return http_client_call(to->client, &call, &answer) == HTTP_ANSWERED && answer.status == 200;
}

struct second second_start(struct stack *stack, const char *path)
{
    static char environment[8][4096];
    char program[4096], port[16], log[4096], url[64];
    const char *const names[][2] = {{"DATABASE_URL", "COMMAND_DATABASE_URL"},
                                    {"API_KEYS_FILE", "API_KEYS_FILE"},
                                    {"CODE_KEY_FILE", "CODE_KEY_FILE"}};
    const char *list[8] = {environment[0], environment[1], environment[2], environment[3], NULL};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        snprintf(environment[i], sizeof environment[i], "%s=%s", names[i][0], stack_env(stack, names[i][1]));
    snprintf(environment[3], sizeof environment[3], "FIRSTCOME_PROCESS=command-service@%s",
             stack_directory(stack));
    snprintf(program, sizeof program, "%s/command-service", getenv("BIN_DIR"));
    snprintf(port, sizeof port, "%d", stack_port_base(stack) + 12);
    snprintf(log, sizeof log, "%s/log/second.log", stack_directory(stack));
    snprintf(url, sizeof url, "http://127.0.0.1:%s", port);
    const char *const argv[] = {program, "--port", port, NULL};
    struct second second = {
        .pid = child_start(&(struct child_spec){argv, list, log}),
        .steer = {stack, http_client_create(url)},
    };
    WAIT_UNTIL(steer_answers(&second.steer, path), START_MS);
    return second;
}

void second_stop(struct second *second)
{
    http_client_destroy(second->steer.client);
    child_stop(second->pid);
}
