/* SPDX-License-Identifier: Apache-2.0 */
/* The shared moves of tests that talk to the services. */
#include "tests/lib/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/lib/wait.h"

enum { KNOWN_MS = 300000 };

void api_open(struct api_client *api, struct stack *stack)
{
    *api = (struct api_client){
        .stack = stack,
        .command = http_client_create(stack_env(stack, "COMMAND_URL")),
        .query = http_client_create(stack_env(stack, "QUERY_URL")),
    };
}

void api_close(struct api_client *api)
{
    http_client_destroy(api->command);
    http_client_destroy(api->query);
    *api = (struct api_client){0};
}

struct stack *api_setup(void **state, struct api_client *api, enum stack_parts parts)
{
    api_open(api, stack_start(parts));
    *state = api;
    return api->stack;
}

int api_teardown(void **state)
{
    struct api_client *api = *state;
    if (!api)
        return 0; /* the setup failed early */
    struct stack *stack = api->stack;
    api_close(api);
    stack_stop(stack);
    return 0;
}

const char *api_fresh_key(void)
{
    static _Thread_local char key[64];
    static atomic_uint count;
    snprintf(key, sizeof key, "k-%ld-%lld-%u", (long)getpid(), (long long)clock_wall_us(),
             atomic_fetch_add(&count, 1));
    return key;
}

struct http_answer api_ask(struct http_client *client, const struct http_call *call)
{
    struct http_answer answer;
    assert_int_equal(http_client_call(client, call, &answer), HTTP_ANSWERED);
    return answer;
}

struct http_answer api_call(struct api_client *api, const struct http_call *call)
{
    return api_ask(api->command, call);
}

struct http_answer api_post(struct api_client *api, const char *path, const char *body, const char *key)
{
    return API_ASK(api->command, .method = "POST", .path = path,
                   .token = stack_env(api->stack, "ADMIN_TOKEN"), .key = key ? key : api_fresh_key(),
                   .body = body);
}

struct http_client *api_post_begin(struct api_client *api, const char *path, const char *body,
                                   const char *key, const char *const *headers)
{
    struct http_client *client = http_client_create(stack_env(api->stack, "COMMAND_URL"));
    struct http_call call = {.method = "POST",
                             .path = path,
                             .token = stack_env(api->stack, "ADMIN_TOKEN"),
                             .key = key,
                             .headers = headers,
                             .body = body};
    assert_int_equal(http_client_begin(client, &call), HTTP_ANSWERED);
    return client;
}

void api_issue_begin(struct api_client *api, struct http_client *client, const char *campaign,
                     const char *user, const char *key)
{
    char path[128], body[256];
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", campaign);
    snprintf(body, sizeof body, "{\"user_id\":\"%s\"}", user);
    struct http_call call = {.method = "POST",
                             .path = path,
                             .token = stack_env(api->stack, "ISSUE_TOKEN"),
                             .key = key,
                             .body = body};
    assert_int_equal(http_client_begin(client, &call), HTTP_ANSWERED);
}

struct http_answer api_post_end(struct http_client *client)
{
    struct http_answer answer;
    assert_int_equal(http_client_read(client, 60000, &answer), HTTP_ANSWERED);
    return answer;
}

struct http_answer api_get(struct api_client *api, const char *path, const char *consistency_token)
{
    char header[64];
    const char *const headers[] = {header, NULL};
    struct http_call call = {.path = path, .token = stack_env(api->stack, "READ_TOKEN")};
    if (consistency_token) {
        snprintf(header, sizeof header, "Consistency-Token: %s", consistency_token);
        call.headers = headers;
    }
    return api_ask(api->query, &call);
}

struct http_answer api_insist(struct http_client *client, const struct http_call *call, int status)
{
    struct http_answer answer;
    WAIT_UNTIL((answer = api_ask(client, call), answer.status != 503 && answer.status != 504), KNOWN_MS);
    return api_expect(answer, status, NULL);
}

struct http_answer api_insist_post(struct api_client *api, const char *path, const char *body, int status)
{
    char key[64];
    snprintf(key, sizeof key, "%s", api_fresh_key());
    return api_insist(api->command,
                      &(struct http_call){.method = "POST",
                                          .path = path,
                                          .token = stack_env(api->stack, "ADMIN_TOKEN"),
                                          .key = key,
                                          .body = body},
                      status);
}

static const char *campaign_body(const char *id, int64_t quantity, const char *more)
{
    static _Thread_local char body[4096];
    snprintf(body, sizeof body,
             "{\"id\":\"%s\",\"name\":\"%s\",\"discount\":{\"type\":\"percent\",\"percent\":10},"
             "\"currency\":\"KRW\",\"quantity\":%lld%s}",
             id, id, (long long)quantity, more);
    return body;
}

struct http_answer api_create(struct api_client *api, const char *id, int64_t quantity, const char *more)
{
    return api_post(api, "/v1/campaigns", campaign_body(id, quantity, more), NULL);
}

void api_campaign_of(struct api_client *api, const char *id, int64_t quantity, const char *more)
{
    api_insist_post(api, "/v1/campaigns", campaign_body(id, quantity, more), 201);
}

const char *api_campaign(struct api_client *api, int quantity, const char *more)
{
    static char id[64];
    static unsigned count;
    snprintf(id, sizeof id, "test-%ld-%u", (long)getpid(), ++count);
    api_campaign_of(api, id, quantity, more);
    return id;
}

struct http_answer api_issue(struct api_client *api, const char *campaign, const char *user)
{
    return api_post(api, textf("/v1/campaigns/%s/coupons", campaign), textf("{\"user_id\":\"%s\"}", user),
                    NULL);
}

static struct http_answer issued(struct api_client *api, const char *campaign, const char *user)
{
    return api_insist_post(api, textf("/v1/campaigns/%s/coupons", campaign),
                           textf("{\"user_id\":\"%s\"}", user), 201);
}

const char *api_coupon(struct api_client *api, const char *campaign, const char *user)
{
    struct http_answer answer = issued(api, campaign, user);
    return textf("%.*s", SPAN_ARG(body_text(answer.body, "coupon_id")));
}

void api_give(struct api_client *api, const char *campaign, const char *user)
{
    (void)issued(api, campaign, user);
}

struct http_answer api_batch(struct api_client *api, const char *campaign, const char *prefix, int64_t first,
                             int64_t count)
{
    char path[128];
    struct buf body;
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons/batch", campaign);
    buf_init(&body, 64 + (size_t)count * (strlen(prefix) + 24));
    buf_append_text(&body, "{\"user_ids\":[");
    for (int64_t i = 0; i < count; i++)
        buf_printf(&body, "%s\"%s%lld\"", i ? "," : "", prefix, (long long)(first + i));
    buf_append_text(&body, "]}");
    struct http_answer answer = api_insist_post(api, path, body.data, 200);
    buf_deinit(&body);
    return answer;
}

int64_t api_metric(struct api_client *api, const char *name)
{
    return http_client_metric(api->command, name);
}

const char *api_problem(const struct http_answer *answer)
{
    static _Thread_local char code[64];
    code[0] = '\0';
    if (!span_is(http_answer_header(answer, "Content-Type"), "application/problem+json"))
        return code;
    struct json_doc *doc = json_get_doc(answer->body);
    struct span text = json_get_text(doc, "code");
    snprintf(code, sizeof code, "%.*s", SPAN_ARG(text));
    assert_int_equal(json_get_int(doc, "status"), answer->status);
    json_destroy(doc);
    return code;
}

struct http_answer api_expect(struct http_answer answer, int status, const char *problem_code)
{
    if (answer.status != status)
        fail_msg("expected %d, got %d: %.*s", status, answer.status, SPAN_ARG(answer.body));
    if (problem_code)
        assert_string_equal(api_problem(&answer), problem_code);
    assert_int_equal(http_answer_header(&answer, "X-Request-Id").len, 16);
    return answer;
}
