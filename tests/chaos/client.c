/* SPDX-License-Identifier: Apache-2.0 */
/* Asking. A client's choices (what, of whom, how often) are drawn before anything is sent; only how many
 * attempts an operation needs, and which coupon lies in a slot, depends on what happens. */
#include "tests/chaos/client.h"

#include <poll.h>
#include <pthread.h>

#include "bench/load/http_load.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/json.h"

enum { ATTEMPT_MS = 3000, RETRY_PAUSE_MS = 20, SETTLE_PAUSE_MS = 50, DRAW_SERVICE = 3 };

struct client {
    struct clients *clients;
    pthread_t thread;
    uint32_t number;
    struct planner planner;
    struct rng services; /* which service is asked */
    struct connection connections[CHAOS_SERVICES_MAX];
    struct buf request;
    struct history history;
};

struct clients {
    struct clients_options options;
    struct client_counts counts;
    atomic_bool stopping;
    struct client clients[CHAOS_CLIENTS_MAX];
};

static void rest(int64_t ms)
{
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    (void)ppoll(NULL, 0, &pause, NULL);
}

static void take_from_slot(struct clients *clients, struct operation *op)
{
    struct slot slot = board_slot(clients->options.board, op->slot);
    op->coupon = slot.coupon;
    if (op->holder && slot.coupon.position)
        op->user = slot.user;
    if (op->same_order && slot.used)
        op->order = slot.order;
}

/* --- Attempts --- */

static struct attempt begin(struct client *client, uint32_t op, uint32_t number, uint32_t service)
{
    const struct clients_options *options = &client->clients->options;
    struct attempt attempt = {.op = op, .number = number, .service = (uint8_t)service};
    buf_clear(&client->request);
    op_write(&client->history.ops[op], number, &options->context, &options->targets[service],
             &client->request);
    attempt.sent_us = clock_mono_us();
    connection_send(&client->connections[service], buf_span(&client->request),
                    attempt.sent_us + ATTEMPT_MS * US_PER_MS);
    return attempt;
}

static enum outcome finish(struct client *client, struct attempt *attempt)
{
    struct http_response response;
    int64_t deadline_us = attempt->sent_us + ATTEMPT_MS * US_PER_MS;
    enum exchange outcome =
        connection_receive(&client->connections[attempt->service], deadline_us, &response);
    attempt->done_us = clock_mono_us();
    const struct attempt *added = history_add(&client->history, attempt, outcome, &response);
    const struct operation *op = &client->history.ops[attempt->op];
    if (added->outcome == OUTCOME_DONE && added->token.position)
        board_note(client->clients->options.board, op, added->token, response.body);
    atomic_fetch_add_explicit(&client->clients->counts.outcome[added->outcome], 1, memory_order_relaxed);
    return (enum outcome)added->outcome;
}

static bool definite(enum outcome outcome)
{
    return outcome == OUTCOME_DONE || outcome == OUTCOME_REFUSED || outcome == OUTCOME_NONSENSE;
}

/* Sends once, or to two services at once. The next number of an attempt is left in *number. */
static enum outcome try(struct client *client, uint32_t op, uint32_t *number, uint32_t service)
{
    uint32_t services = client->clients->options.services;
    struct attempt first = begin(client, op, (*number)++, service);
    if (client->history.ops[op].manner != MANNER_AT_ONCE || services < 2)
        return finish(client, &first);
    struct attempt second = begin(client, op, (*number)++, (service + 1) % services);
    enum outcome one = finish(client, &first), other = finish(client, &second);
    return definite(one) ? one : other;
}

/* A change without a key is not repeated where its outcome is unknown: that would be another change. */
static bool may_repeat(const struct operation *op, enum outcome outcome)
{
    return op_kind_keyed(op->kind) || outcome == OUTCOME_LATER;
}

static void pursue(struct client *client, uint32_t index)
{
    const struct operation op = client->history.ops[index];
    uint32_t services = client->clients->options.services, number = 0;
    uint32_t service = rng_below(&client->services, services);
    enum outcome outcome = try(client, index, &number, service);
    for (uint32_t i = 0; !definite(outcome) && i < op.patience && may_repeat(&op, outcome); i++) {
        rest(RETRY_PAUSE_MS);
        outcome = try(client, index, &number, ++service % services);
    }
    if (outcome == OUTCOME_DONE && op.manner == MANNER_AGAIN && op_kind_keyed(op.kind))
        (void)try(client, index, &number, ++service % services);
}

static void prepare(struct client *client, struct operation *op)
{
    if (!op_kind_keyed(op->kind))
        op->manner = MANNER_ONCE;
    if (!op_kind_has_coupon(op->kind))
        return;
    const struct operation *first = op->key == op->number ? NULL : &client->history.ops[op->key];
    if (!first) {
        take_from_slot(client->clients, op);
        return;
    }
    bool of_order = op->kind == OP_GIVE_BACK || op->kind == OP_RESTORE;
    op->coupon = first->coupon; /* the same request but for its payload */
    op->user = first->user;
    op->order = of_order ? first->order + 1 : first->order;
}

static void *run(void *context)
{
    struct client *client = context;
    struct clients *clients = client->clients;
    while (!atomic_load_explicit(&clients->stopping, memory_order_relaxed)) {
        struct operation op = planner_next(&client->planner);
        prepare(client, &op);
        pursue(client, history_op(&client->history, &op));
        atomic_fetch_add_explicit(&clients->counts.ops, 1, memory_order_relaxed);
        rest(op.pause_ms);
    }
    return NULL;
}

/* --- Life --- */

static void client_init(struct clients *clients, uint32_t number)
{
    struct client *client = &clients->clients[number];
    client->clients = clients;
    client->number = number;
    planner_init(&client->planner, clients->options.context.seed, number);
    client->services = rng_of(clients->options.context.seed, DRAW_SERVICE, number);
    for (uint32_t i = 0; i < clients->options.services; i++)
        connection_init(&client->connections[i], &clients->options.targets[i]);
    buf_init(&client->request, LOAD_REQUEST_MAX);
    history_init(&client->history);
}

struct clients *clients_start(const struct clients_options *options)
{
    CHECK(options->clients > 0 && options->clients <= CHAOS_CLIENTS_MAX);
    CHECK(options->services > 0 && options->services <= CHAOS_SERVICES_MAX);
    struct clients *clients = mem_zalloc(sizeof *clients);
    clients->options = *options;
    for (uint32_t i = 0; i < options->clients; i++) {
        client_init(clients, i);
        CHECK(pthread_create(&clients->clients[i].thread, NULL, run, &clients->clients[i]) == 0);
    }
    return clients;
}

const struct client_counts *clients_counts(const struct clients *clients)
{
    return &clients->counts;
}

void clients_stop(struct clients *clients)
{
    atomic_store(&clients->stopping, true);
    for (uint32_t i = 0; i < clients->options.clients; i++)
        CHECK(pthread_join(clients->clients[i].thread, NULL) == 0);
}

void clients_destroy(struct clients *clients)
{
    for (uint32_t i = 0; i < clients->options.clients; i++) {
        struct client *client = &clients->clients[i];
        for (uint32_t j = 0; j < clients->options.services; j++)
            connection_deinit(&client->connections[j]);
        buf_deinit(&client->request);
        history_deinit(&client->history);
    }
    mem_free(clients);
}

/* --- Settling --- */

/* What is known of an operation of one client. */
struct standing {
    bool done, doubtful; /* some 2xx; some attempt whose outcome nobody told */
    uint32_t attempts;
};

static struct standing *standings(const struct history *history)
{
    struct standing *list = mem_zalloc((history->ops_count + 1) * sizeof *list);
    for (size_t i = 0; i < history->attempts_count; i++) {
        const struct attempt *attempt = &history->attempts[i];
        struct standing *of = &list[attempt->op];
        of->done |= attempt->outcome == OUTCOME_DONE;
        of->doubtful |= history_doubtful(history, attempt);
        of->attempts++;
    }
    return list;
}

/* The last answer says no more than that the key it came with is suspended. */
static bool suspended(const struct history *history)
{
    return strcmp(history->attempts[history->attempts_count - 1].problem, "issuer-suspended") == 0;
}

/* Until a definite answer. A refusal settles it too: everything is healed and what was under way is over. */
static bool settle_one(struct client *client, uint32_t op, uint32_t *number, int64_t deadline_us)
{
    uint32_t services = client->clients->options.services;
    for (uint32_t service = op % services;; service++) {
        struct attempt attempt = begin(client, op, (*number)++, service % services);
        attempt.closing = true;
        if (definite(finish(client, &attempt)) && !suspended(&client->history))
            return true;
        if (clock_remaining_ms(deadline_us) == 0)
            return false;
        rest(SETTLE_PAUSE_MS);
    }
}

/* Those that suspend a key, or all others. */
static size_t settle(struct client *client, bool suspending, int64_t deadline_us)
{
    struct standing *list = standings(&client->history);
    size_t unknown = 0, ops = client->history.ops_count;
    for (uint32_t i = 0; i < ops; i++) {
        enum op_kind kind = client->history.ops[i].kind;
        if ((kind == OP_SUSPEND) == suspending && op_kind_keyed(kind) && list[i].doubtful && !list[i].done)
            unknown += !settle_one(client, i, &list[i].attempts, deadline_us);
    }
    mem_free(list);
    return unknown;
}

/* Nobody is told anything under a suspended key, so both keys are resumed, after the last that suspends one
 * and before all others. */
static void readmit(struct client *client, int64_t deadline_us)
{
    for (uint32_t user = 0; user < ISSUER_COUNT;
         user++) { /* the even one is of one key, the odd of the other */
        uint32_t number = (uint32_t)client->history.ops_count, attempts = 0;
        struct operation op = {.kind = OP_READMIT, .client = client->number, .number = number, .key = number};
        op.user = user;
        (void)settle_one(client, history_op(&client->history, &op), &attempts, deadline_us);
    }
}

size_t clients_settle(struct clients *clients, int64_t deadline_us, struct history *ret)
{
    size_t unknown = 0;
    for (uint32_t i = 0; i < clients->options.clients; i++)
        unknown += settle(&clients->clients[i], true, deadline_us);
    readmit(&clients->clients[0], deadline_us);
    for (uint32_t i = 0; i < clients->options.clients; i++) {
        unknown += settle(&clients->clients[i], false, deadline_us);
        history_join(ret, &clients->clients[i].history, i);
    }
    return unknown;
}
