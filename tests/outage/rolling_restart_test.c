/* SPDX-License-Identifier: Apache-2.0 */
/* Two services of a kind are restarted in turn, again and again, while clients use them that do what a load
 * balancer does: they look at /readyz, and they leave when an answer says "Connection: close". None of their
 * requests may fail, and none is ever sent twice. */
#include "tests/lib/wait.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/base/crypto.h"
#include "tests/lib/api.h"
#include "tests/lib/instance.h"
#include "tests/lib/store.h"

enum { SERVICES = 2, CLIENTS = 8, LONG_MS = 120000, SERVED = 50 };
/* A balancer that looks every few milliseconds, on a machine that may keep it from looking for a second. */
#define GRACE "FIRSTCOME_DRAIN_GRACE_MS=1500"

static struct stack *stack;

struct fleet {
    struct instance *services[SERVICES];
    atomic_bool ready[SERVICES], enough;
    _Atomic int64_t served[SERVICES], failed;
    char why[160]; /* of the first that failed */
    const char *path, *token;
    bool issue; /* POST with a user of its own; otherwise GET */
};

struct client {
    struct fleet *fleet;
    pthread_t thread;
    unsigned number, requests;
    struct http_client *connections[SERVICES];
    size_t at;
};

/* --- What a load balancer does --- */

static void *watch(void *context)
{
    struct fleet *fleet = context;
    struct http_client *clients[SERVICES];
    for (size_t i = 0; i < SERVICES; i++)
        clients[i] = http_client_create(instance_url(fleet->services[i]));
    while (!atomic_load(&fleet->enough)) {
        for (size_t i = 0; i < SERVICES; i++) {
            struct http_answer answer;
            struct http_call call = {.path = "/readyz", .timeout_ms = 1000};
            atomic_store(&fleet->ready[i], http_client_call(clients[i], &call, &answer) == HTTP_ANSWERED &&
                                               answer.status == 200);
        }
        wait_moment();
    }
    for (size_t i = 0; i < SERVICES; i++)
        http_client_destroy(clients[i]);
    return NULL;
}

/* Stays where it is as long as that is ready, leaves without keeping the connection otherwise. */
static void choose(struct client *client)
{
    if (atomic_load(&client->fleet->ready[client->at]))
        return;
    http_client_close(client->connections[client->at]);
    client->at = (client->at + 1) % SERVICES;
}

static void write_request(struct client *client, struct buf *request)
{
    char body[64];
    const struct fleet *fleet = client->fleet;
    snprintf(body, sizeof body, "{\"user_id\":\"u-%u-%u\"}", client->number, client->requests);
    buf_clear(request);
    buf_printf(request, "%s %s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\n",
               fleet->issue ? "POST" : "GET", fleet->path, fleet->token);
    if (fleet->issue)
        buf_printf(request,
                   "Idempotency-Key: %s-%u-%u\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n",
                   fleet->path, client->number, client->requests, strlen(body));
    buf_append_text(request, "\r\n");
    if (fleet->issue)
        buf_append_text(request, body);
    client->requests++;
}

/* The two halves and not http_client_call, which would send again what met a closed connection. */
static void ask(struct client *client, struct buf *request)
{
    struct fleet *fleet = client->fleet;
    struct http_client *connection = client->connections[client->at];
    struct http_answer answer = {0};
    write_request(client, request);
    enum http_outcome outcome = http_client_send(connection, buf_span(request), LONG_MS);
    if (outcome == HTTP_ANSWERED)
        outcome = http_client_read(connection, LONG_MS, &answer);
    if (outcome == HTTP_ANSWERED && answer.status == (fleet->issue ? 201 : 200))
        atomic_fetch_add(&fleet->served[client->at], 1);
    else if (atomic_fetch_add(&fleet->failed, 1) == 0)
        snprintf(fleet->why, sizeof fleet->why, "outcome %d, status %d: %.*s", (int)outcome, answer.status,
                 answer.body.len < 100 ? (int)answer.body.len : 100, answer.body.ptr ? answer.body.ptr : "");
    if (answer.closing)
        client->at = (client->at + 1) % SERVICES;
}

static void *use(void *context)
{
    struct client *client = context;
    struct buf request;
    buf_init(&request, 4096);
    while (!atomic_load(&client->fleet->enough)) {
        choose(client);
        if (atomic_load(&client->fleet->ready[client->at]))
            ask(client, &request);
        if (client->number % 2) /* every other one leaves its connection idle now and then */
            wait_moment();
    }
    for (size_t i = 0; i < SERVICES; i++)
        http_client_destroy(client->connections[i]);
    buf_deinit(&request);
    return NULL;
}

/* --- Restarting --- */

static void await_served(struct fleet *fleet, size_t index)
{
    int64_t before = atomic_load(&fleet->served[index]);
    WAIT_UNTIL(atomic_load(&fleet->served[index]) >= before + SERVED || atomic_load(&fleet->failed) > 0,
               LONG_MS);
}

static bool all_ready(const struct fleet *fleet)
{
    return atomic_load(&fleet->ready[0]) && atomic_load(&fleet->ready[1]);
}

/* One is gone at a time, so those who use the other stay there: the one that comes back is idle until its
 * neighbour goes. */
static void roll(struct fleet *fleet, int rounds)
{
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < SERVICES; i++) {
            WAIT_UNTIL(all_ready(fleet), LONG_MS);
            instance_stop(fleet->services[i]);
            await_served(fleet, (i + 1) % SERVICES);
            instance_again(fleet->services[i]);
        }
}

static void run(struct fleet *fleet, const char *service, int rounds)
{
    static const char *const environment[] = {GRACE, NULL};
    static const char *const names[SERVICES] = {"one", "two"};
    struct client clients[CLIENTS] = {0};
    pthread_t watcher;
    for (size_t i = 0; i < SERVICES; i++)
        fleet->services[i] = INSTANCE_START(stack, service, names[i], 7 + (int)i, .environment = environment);
    assert_int_equal(pthread_create(&watcher, NULL, watch, fleet), 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.fleet = fleet, .number = i, .at = i % SERVICES};
        for (size_t j = 0; j < SERVICES; j++)
            clients[i].connections[j] = http_client_create(instance_url(fleet->services[j]));
        assert_int_equal(pthread_create(&clients[i].thread, NULL, use, &clients[i]), 0);
    }
    roll(fleet, rounds);
    atomic_store(&fleet->enough, true);
    for (unsigned i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
    assert_int_equal(pthread_join(watcher, NULL), 0);
    printf("    %s: %d restarts, %" PRId64 " and %" PRId64 " requests served, %" PRId64 " failed %s\n",
           service, rounds * SERVICES, atomic_load(&fleet->served[0]), atomic_load(&fleet->served[1]),
           atomic_load(&fleet->failed), fleet->why);
    for (size_t i = 0; i < SERVICES; i++)
        instance_destroy(fleet->services[i]);
    assert_int_equal(atomic_load(&fleet->failed), 0);
}

static const char *campaign(void)
{
    static char id[64];
    struct api_client api;
    struct instance *service = INSTANCE_START(stack, "command-service", "first", 6);
    api = (struct api_client){.stack = stack, .command = http_client_create(instance_url(service))};
    snprintf(id, sizeof id, "%s", api_campaign(&api, 10000000, ""));
    api_close(&api);
    instance_destroy(service);
    return id;
}

static void command_services_are_replaced_unnoticed(void **)
{
    char path[128];
    const char *id = campaign();
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", id);
    struct fleet fleet = {.path = path, .token = stack_env(stack, "ISSUE_TOKEN"), .issue = true};
    run(&fleet, "command-service", 2);
    assert_int_equal(store_number(stack, textf("SELECT issued FROM campaign WHERE id = '%s'", id)),
                     atomic_load(&fleet.served[0]) + atomic_load(&fleet.served[1]));
}

static void query_services_are_replaced_unnoticed(void **)
{
    char path[128];
    snprintf(path, sizeof path, "/v1/campaigns/%s", campaign());
    struct fleet fleet = {.path = path, .token = stack_env(stack, "READ_TOKEN")};
    run(&fleet, "query-service", 1);
}

static int64_t in_flight(const struct instance *service)
{
    struct api_client api = {.stack = stack, .command = http_client_create(instance_url(service))};
    int64_t count = api_metric(&api, "coupon_http_in_flight");
    api_close(&api);
    return count;
}

/* A long poll lasts longer than a drain; whoever waits is answered when the service is to end. */
static void a_long_poll_is_answered_at_the_end(void **)
{
    struct buf request;
    struct http_answer answer;
    struct instance *service = INSTANCE_START(stack, "query-service", "poll", 7);
    struct http_client *client = http_client_create(instance_url(service));
    buf_init(&request, 1024);
    buf_printf(&request,
               "GET /v1/events?slice=3&after=%" PRId64 "&wait=20 HTTP/1.1\r\nHost: test\r\n"
               "Authorization: Bearer %s\r\n\r\n",
               store_number(stack, "SELECT head FROM slice WHERE slice = 3"),
               stack_env(stack, "ADMIN_TOKEN"));
    assert_int_equal(http_client_send(client, buf_span(&request), LONG_MS), HTTP_ANSWERED);
    assert_int_equal(http_client_read(client, 300, &answer), HTTP_LATE); /* it does wait */
    http_client_close(client);
    assert_int_equal(http_client_send(client, buf_span(&request), LONG_MS), HTTP_ANSWERED);
    WAIT_UNTIL(in_flight(service) >= 3, LONG_MS); /* both of them, and the one that asks */
    instance_stop(service);
    assert_int_equal(http_client_read(client, LONG_MS, &answer), HTTP_ANSWERED);
    assert_int_equal(answer.status, 200);
    http_client_destroy(client);
    buf_deinit(&request);
    instance_destroy(service);
}

static int setup(void **state)
{
    crypto_setup();
    *state = stack = stack_start(STACK_SERVERS);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_services_are_replaced_unnoticed),
        cmocka_unit_test(query_services_are_replaced_unnoticed),
        cmocka_unit_test(a_long_poll_is_answered_at_the_end),
    };
    return cmocka_run_group_tests(tests, setup, stack_teardown);
}
