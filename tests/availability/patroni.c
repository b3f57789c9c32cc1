/* SPDX-License-Identifier: Apache-2.0 */
/* The script, Patroni's REST API, and URLs. */
#include "tests/availability/patroni.h"

#include "tests/lib/http_client.h"
#include "tests/lib/wait.h"

enum { API_PORT = 8008, ANSWER_MS = 1000 };

#define ADDRESS "10.77.0.1%d"

static void call(struct stack *stack, const char *const *arguments)
{
    const char *argv[8] = {"tests/availability/patroni"};
    for (size_t i = 0; arguments[i]; i++)
        argv[i + 1] = arguments[i];
    assert_int_equal(stack_tool(stack, argv), 0);
}

#define CALL(stack, ...) call((stack), (const char *[]){__VA_ARGS__, NULL})

static const char *text_of(int number)
{
    static char texts[2][16];
    static int next;
    next = (next + 1) % 2;
    snprintf(texts[next], sizeof texts[next], "%d", number);
    return texts[next];
}

void patroni_start(struct stack *stack)
{
    CALL(stack, "start");
}

void patroni_begin(struct stack *stack, int node)
{
    CALL(stack, "begin", text_of(node));
}

void patroni_signal(struct stack *stack, int node, const char *what, int signal_number)
{
    CALL(stack, "signal", text_of(node), text_of(signal_number), what);
}

void patroni_cut_off(struct stack *stack, int node)
{
    CALL(stack, "link", text_of(node), "down");
}

void patroni_reconnect(struct stack *stack, int node)
{
    CALL(stack, "link", text_of(node), "up");
}

bool patroni_is(int node, const char *role)
{
    char url[64], path[32];
    struct http_answer answer;
    snprintf(url, sizeof url, "http://" ADDRESS ":%d", node, API_PORT);
    snprintf(path, sizeof path, "/%s", role);
    struct http_client *client = http_client_create(url);
    bool is = http_client_call(client,
                               &(struct http_call){.method = "GET", .path = path, .timeout_ms = ANSWER_MS},
                               &answer) == HTTP_ANSWERED &&
              answer.status == 200;
    http_client_destroy(client);
    return is;
}

int patroni_find(const char *role, int except)
{
    for (int node = 1; node <= PATRONI_NODES; node++)
        if (node != except && patroni_is(node, role))
            return node;
    return 0;
}

/* "postgresql://user:password@" of a URL. */
static struct span head_of(struct stack *stack, const char *of)
{
    const char *url = stack_env(stack, of), *at = strchr(url, '@');
    CHECK(at);
    return (struct span){url, (size_t)(at - url) + 1};
}

void patroni_url(struct stack *stack, const char *of, char *ret, size_t size)
{
    struct span head = head_of(stack, of);
    snprintf(ret, size,
             "%.*s" ADDRESS ":5432," ADDRESS ":5432," ADDRESS
             ":5432/firstcome?target_session_attrs=read-write",
             SPAN_ARG(head), 1, 2, 3);
}

void patroni_url_of(struct stack *stack, const char *of, int node, char *ret, size_t size)
{
    struct span head = head_of(stack, of);
    snprintf(ret, size, "%.*s" ADDRESS ":5432/firstcome", SPAN_ARG(head), node);
}
