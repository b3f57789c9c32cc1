/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that steer. */
#include "tests/lib/steer.h"

#include "tests/lib/api.h"
#include "tests/lib/wait.h"

struct http_answer steer_put(const struct steer *to, const char *name, const char *value)
{
    char path[128], body[256];
    snprintf(path, sizeof path, "/v1/settings/%s", name);
    snprintf(body, sizeof body, "{\"value\":%s}", value);
    return API_ASK(to->client, .method = "PUT", .path = path, .token = stack_env(to->stack, "ADMIN_TOKEN"),
                   .body = body);
}

struct json_doc *steer_settings(const struct steer *to)
{
    struct http_answer answer = api_expect(
        API_ASK(to->client, .path = "/v1/settings", .token = stack_env(to->stack, "ADMIN_TOKEN")), 200, NULL);
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
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", campaign);
    snprintf(body, sizeof body, "{\"user_id\":\"%s\"}", user);
    return API_ASK(to->client, .method = "POST", .path = path, .token = stack_env(to->stack, token),
                   .key = api_fresh_key(), .body = body);
}

void steer_issuer(const struct steer *to, const char *issuer, const char *verb, int status, const char *code)
{
    char path[128];
    snprintf(path, sizeof path, "/v1/issuers/%s/%s", issuer, verb);
    api_expect(API_ASK(to->client, .method = "POST", .path = path,
                       .token = stack_env(to->stack, "ADMIN_TOKEN"), .key = api_fresh_key(), .body = "{}"),
               status, code);
}

int64_t steer_refusals(const struct steer *to, const char *reason)
{
    struct api_client at = {.stack = to->stack, .command = to->client};
    return api_metric(&at, textf("coupon_gate_refused_total{reason=\"%s\"}", reason));
}

bool steer_answers(const struct steer *to, const char *path)
{
    struct http_answer answer;
    struct http_call call = {.path = path};
    return http_client_call(to->client, &call, &answer) == HTTP_ANSWERED && answer.status == 200;
}
