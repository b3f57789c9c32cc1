/* SPDX-License-Identifier: Apache-2.0 */
/* Asking. A client's choices (what, of whom, how often) are drawn before anything is sent; only how many
 * attempts an ask needs, and which coupon lies in a slot, depends on what happens. */
#include "tests/chaos/client.h"

#include <poll.h>
#include <pthread.h>

#include "bench/load/http_load.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/json.h"

enum { ATTEMPT_MS = 3000, RETRY_PAUSE_MS = 20, SETTLE_PAUSE_MS = 50, DRAW_SERVICE = 3 };

/* A coupon that somebody was issued, for whoever asks for one next, and the order that last used it. */
struct slot {
    struct position coupon;
    uint32_t user, order;
    bool used;
};

struct client {
    struct clients *clients;
    pthread_t thread;
    uint32_t number;
    struct planner planner;
    struct draw services; /* which service is asked */
    struct wire wires[CHAOS_SERVICES_MAX];
    struct buf request;
    struct story story;
};

struct clients {
    struct clients_options options;
    struct client_counts counts;
    atomic_bool stopping;
    pthread_mutex_t mutex; /* slots */
    struct slot slots[CHAOS_SLOTS];
    struct client clients[CHAOS_CLIENTS_MAX];
};

static void rest(int64_t ms)
{
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    (void)ppoll(NULL, 0, &pause, NULL);
}

/* --- Slots --- */

static void take_from_slot(struct clients *clients, struct ask *ask)
{
    pthread_mutex_lock(&clients->mutex);
    struct slot slot = clients->slots[ask->slot];
    pthread_mutex_unlock(&clients->mutex);
    ask->coupon = slot.coupon;
    if (ask->holder && slot.coupon.position)
        ask->user = slot.user;
    if (ask->same_order && slot.used)
        ask->order = slot.order;
}

/* After something was done: a coupon comes into the slot, or an order used the one in it. */
static void note_in_slot(struct clients *clients, const struct ask *ask, struct position coupon)
{
    pthread_mutex_lock(&clients->mutex);
    struct slot *slot = &clients->slots[ask->slot];
    if (ask->kind == ASK_ISSUE && (ask->offers || slot->coupon.position == 0))
        *slot = (struct slot){.coupon = coupon, .user = ask->user};
    if (ask->kind == ASK_RESERVE || ask->kind == ASK_REDEEM) {
        slot->order = ask->order;
        slot->used = true;
    }
    pthread_mutex_unlock(&clients->mutex);
}

/* --- Attempts --- */

static struct attempt begin(struct client *client, uint32_t ask, uint32_t number, uint32_t service)
{
    const struct clients_options *options = &client->clients->options;
    struct attempt attempt = {.ask = ask, .number = number, .service = (uint8_t)service};
    buf_clear(&client->request);
    ask_write(&client->story.asks[ask], number, &options->context, &options->targets[service],
              &client->request);
    attempt.sent_us = clock_mono_us();
    wire_send(&client->wires[service], buf_span(&client->request), attempt.sent_us + ATTEMPT_MS * US_PER_MS);
    return attempt;
}

static enum told finish(struct client *client, struct attempt *attempt)
{
    struct http_response response;
    int64_t deadline_us = attempt->sent_us + ATTEMPT_MS * US_PER_MS;
    enum wire_outcome outcome = wire_receive(&client->wires[attempt->service], deadline_us, &response);
    attempt->done_us = clock_mono_us();
    const struct attempt *added = story_add(&client->story, attempt, outcome, &response);
    const struct ask *ask = &client->story.asks[attempt->ask];
    if (added->told == TOLD_DONE && added->token.position)
        note_in_slot(client->clients, ask, added->token);
    atomic_fetch_add_explicit(&client->clients->counts.told[added->told], 1, memory_order_relaxed);
    return (enum told)added->told;
}

static bool definite(enum told told)
{
    return told == TOLD_DONE || told == TOLD_REFUSED || told == TOLD_NONSENSE;
}

/* Sends once, or to two services at once. The next number of an attempt is left in *number. */
static enum told try(struct client *client, uint32_t ask, uint32_t *number, uint32_t service)
{
    uint32_t services = client->clients->options.services;
    struct attempt first = begin(client, ask, (*number)++, service);
    if (client->story.asks[ask].manner != MANNER_AT_ONCE || services < 2)
        return finish(client, &first);
    struct attempt second = begin(client, ask, (*number)++, (service + 1) % services);
    enum told one = finish(client, &first), other = finish(client, &second);
    return definite(one) ? one : other;
}

/* A change without a key is not repeated where its outcome is unknown: that would be another change. */
static bool may_repeat(const struct ask *ask, enum told told)
{
    return ask_kind_keyed(ask->kind) || told == TOLD_LATER;
}

static void pursue(struct client *client, uint32_t index)
{
    const struct ask ask = client->story.asks[index];
    uint32_t services = client->clients->options.services, number = 0;
    uint32_t service = draw_below(&client->services, services);
    enum told told = try(client, index, &number, service);
    for (uint32_t i = 0; !definite(told) && i < ask.patience && may_repeat(&ask, told); i++) {
        rest(RETRY_PAUSE_MS);
        told = try(client, index, &number, ++service % services);
    }
    if (told == TOLD_DONE && ask.manner == MANNER_AGAIN && ask_kind_keyed(ask.kind))
        (void)try(client, index, &number, ++service % services);
}

static void prepare(struct client *client, struct ask *ask)
{
    if (!ask_kind_keyed(ask->kind))
        ask->manner = MANNER_ONCE;
    if (!ask_kind_has_coupon(ask->kind))
        return;
    const struct ask *first = ask->key == ask->number ? NULL : &client->story.asks[ask->key];
    if (!first) {
        take_from_slot(client->clients, ask);
        return;
    }
    bool of_order = ask->kind == ASK_GIVE_BACK || ask->kind == ASK_RESTORE;
    ask->coupon = first->coupon; /* the same request but for its payload */
    ask->user = first->user;
    ask->order = of_order ? first->order + 1 : first->order;
}

static void *run(void *context)
{
    struct client *client = context;
    struct clients *clients = client->clients;
    while (!atomic_load_explicit(&clients->stopping, memory_order_relaxed)) {
        struct ask ask = planner_next(&client->planner);
        prepare(client, &ask);
        pursue(client, story_ask(&client->story, &ask));
        atomic_fetch_add_explicit(&clients->counts.asks, 1, memory_order_relaxed);
        rest(ask.pause_ms);
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
    client->services = draw_of(clients->options.context.seed, DRAW_SERVICE, number);
    for (uint32_t i = 0; i < clients->options.services; i++)
        wire_init(&client->wires[i], &clients->options.targets[i]);
    buf_init(&client->request, LOAD_REQUEST_MAX);
    story_init(&client->story);
}

struct clients *clients_start(const struct clients_options *options)
{
    CHECK(options->clients > 0 && options->clients <= CHAOS_CLIENTS_MAX);
    CHECK(options->services > 0 && options->services <= CHAOS_SERVICES_MAX);
    struct clients *clients = mem_zalloc(sizeof *clients);
    clients->options = *options;
    CHECK(pthread_mutex_init(&clients->mutex, NULL) == 0);
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
            wire_deinit(&client->wires[j]);
        buf_deinit(&client->request);
        story_deinit(&client->story);
    }
    pthread_mutex_destroy(&clients->mutex);
    mem_free(clients);
}

/* --- Settling --- */

/* What is known of an ask of one client. */
struct standing {
    bool done, doubtful; /* some 2xx; some attempt whose outcome nobody told */
    uint32_t attempts;
};

static struct standing *standings(const struct story *story)
{
    struct standing *list = mem_zalloc((story->asks_count + 1) * sizeof *list);
    for (size_t i = 0; i < story->attempts_count; i++) {
        const struct attempt *attempt = &story->attempts[i];
        struct standing *of = &list[attempt->ask];
        of->done |= attempt->told == TOLD_DONE;
        of->doubtful |= story_doubtful(story, attempt);
        of->attempts++;
    }
    return list;
}

/* The last answer says no more than that the key it came with is suspended. */
static bool suspended(const struct story *story)
{
    return strcmp(story->attempts[story->attempts_count - 1].problem, "issuer-suspended") == 0;
}

/* Until a definite answer. A refusal settles it too: everything is healed and what was under way is over. */
static bool settle_one(struct client *client, uint32_t ask, uint32_t *number, int64_t deadline_us)
{
    uint32_t services = client->clients->options.services;
    for (uint32_t service = ask % services;; service++) {
        struct attempt attempt = begin(client, ask, (*number)++, service % services);
        attempt.closing = true;
        if (definite(finish(client, &attempt)) && !suspended(&client->story))
            return true;
        if (clock_remaining_ms(deadline_us) == 0)
            return false;
        rest(SETTLE_PAUSE_MS);
    }
}

static size_t settle(struct client *client, int64_t deadline_us)
{
    struct standing *list = standings(&client->story);
    size_t unknown = 0, asks = client->story.asks_count;
    for (uint32_t i = 0; i < asks; i++)
        if (ask_kind_keyed(client->story.asks[i].kind) && list[i].doubtful && !list[i].done)
            unknown += !settle_one(client, i, &list[i].attempts, deadline_us);
    mem_free(list);
    return unknown;
}

/* Nobody is told anything under a suspended key, so both keys are resumed first. */
static void readmit(struct client *client, int64_t deadline_us)
{
    for (uint32_t user = 0; user < ISSUER_COUNT;
         user++) { /* the even one is of one key, the odd of the other */
        uint32_t number = (uint32_t)client->story.asks_count, attempts = 0;
        struct ask ask = {.kind = ASK_READMIT, .client = client->number, .number = number, .key = number};
        ask.user = user;
        (void)settle_one(client, story_ask(&client->story, &ask), &attempts, deadline_us);
    }
}

size_t clients_settle(struct clients *clients, int64_t deadline_us, struct story *ret)
{
    size_t unknown = 0;
    readmit(&clients->clients[0], deadline_us);
    for (uint32_t i = 0; i < clients->options.clients; i++) {
        unknown += settle(&clients->clients[i], deadline_us);
        story_join(ret, &clients->clients[i].story, i);
    }
    return unknown;
}
