/* SPDX-License-Identifier: Apache-2.0 */
/* Recording operations and attempts. */
#include "tests/chaos/history.h"

#include "common/base/mem.h"
#include "common/json.h"

const char *outcome_text(enum outcome outcome)
{
    static const char *const texts[OUTCOME_COUNT] = {
        [OUTCOME_DONE] = "done",       [OUTCOME_REFUSED] = "refused",   [OUTCOME_LATER] = "later",
        [OUTCOME_UNKNOWN] = "unknown", [OUTCOME_NONSENSE] = "nonsense",
    };
    return texts[outcome];
}

void history_init(struct history *history)
{
    *history = (struct history){0};
    buf_init(&history->bodies, HISTORY_BODIES_MAX);
}

void history_deinit(struct history *history)
{
    buf_deinit(&history->bodies);
    mem_free(history->ops);
    mem_free(history->attempts);
}

/* Makes room for one more; sizes double. */
static void *grow(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? 2 * *capacity : 1024;
    return mem_realloc(items, *capacity * size);
}

uint32_t history_op(struct history *history, const struct operation *op)
{
    history->ops = grow(history->ops, history->ops_count, &history->ops_capacity, sizeof *history->ops);
    history->ops[history->ops_count] = *op;
    return (uint32_t)history->ops_count++;
}

static struct attempt *append(struct history *history, const struct attempt *attempt)
{
    history->attempts = grow(history->attempts, history->attempts_count, &history->attempts_capacity,
                             sizeof *history->attempts);
    history->attempts[history->attempts_count] = *attempt;
    return &history->attempts[history->attempts_count++];
}

static void read_problem(struct attempt *attempt, struct span body)
{
    struct json_fault fault;
    struct span code;
    struct json_doc *doc = json_parse(body, &fault);
    if (doc && json_as_text(json_member(json_root(doc), "code"), &code))
        snprintf(attempt->problem, sizeof attempt->problem, "%.*s", SPAN_ARG(code));
    json_destroy(doc);
}

static enum outcome tell(const struct attempt *attempt)
{
    switch (attempt->status) {
    case 200:
    case 201:
    case 204:
        return OUTCOME_DONE;
    case 400: /* the one fault of a request that depends on when it is decided */
        return strcmp(attempt->problem, "invalid-window") == 0 ? OUTCOME_REFUSED : OUTCOME_NONSENSE;
    case 409:
        return strcmp(attempt->problem, "in-flight") == 0 ? OUTCOME_LATER : OUTCOME_REFUSED;
    case 403:
    case 404:
    case 410:
    case 422:
        return OUTCOME_REFUSED;
    case 429:
    case 503:
        return OUTCOME_LATER;
    case 500:
    case 502: /* the edge's, for a service that ended without an answer */
    case 504:
        return OUTCOME_UNKNOWN;
    default:
        return OUTCOME_NONSENSE;
    }
}

static void take_answer(struct history *history, struct attempt *attempt,
                        const struct http_response *response)
{
    attempt->status = (uint16_t)response->status;
    attempt->replayed = response->replayed;
    if (response->status >= 400)
        read_problem(attempt, response->body);
    attempt->outcome = (uint8_t)tell(attempt);
    if (attempt->outcome != OUTCOME_DONE)
        return;
    if (response->token.ptr && !consistency_token_parse(response->token, &attempt->token))
        attempt->outcome = OUTCOME_NONSENSE;
    attempt->body_at = history->bodies.len;
    attempt->body_len = response->body.len;
    buf_append_span(&history->bodies, response->body);
    CHECK(!history->bodies.overflow); /* a history with holes proves nothing */
}

const struct attempt *history_add(struct history *history, const struct attempt *begun, enum exchange outcome,
                                  const struct http_response *response)
{
    struct attempt *attempt = append(history, begun);
    if (outcome == EXCHANGE_ANSWERED)
        take_answer(history, attempt, response);
    else if (outcome == EXCHANGE_UNSENT)
        attempt->outcome = OUTCOME_LATER;
    else
        attempt->outcome = outcome == EXCHANGE_MALFORMED ? OUTCOME_NONSENSE : OUTCOME_UNKNOWN;
    return attempt;
}

void history_join(struct history *history, const struct history *of_client, uint32_t client)
{
    size_t ops_before = history->ops_count, bodies_before = history->bodies.len;
    CHECK(client < CHAOS_CLIENTS_MAX);
    history->first_op[client] = ops_before;
    for (size_t i = 0; i < of_client->ops_count; i++)
        history_op(history, &of_client->ops[i]);
    for (size_t i = client + 1; i <= CHAOS_CLIENTS_MAX; i++)
        history->first_op[i] = history->ops_count;
    for (size_t i = 0; i < of_client->attempts_count; i++) {
        struct attempt *attempt = append(history, &of_client->attempts[i]);
        attempt->op += (uint32_t)ops_before;
        attempt->body_at += bodies_before;
    }
    buf_append_span(&history->bodies, buf_span(&of_client->bodies));
    CHECK(!history->bodies.overflow);
}

uint32_t history_find(const struct history *history, uint32_t client, uint32_t number)
{
    if (client >= CHAOS_CLIENTS_MAX)
        return UINT32_MAX;
    size_t index = history->first_op[client] + number;
    return index < history->first_op[client + 1] ? (uint32_t)index : UINT32_MAX;
}

uint32_t history_key(const struct history *history, uint32_t op)
{
    const struct operation *is = &history->ops[op];
    return op - (is->number - is->key);
}

bool history_doubtful(const struct history *history, const struct attempt *attempt)
{
    bool in_parts = history->ops[attempt->op].kind == OP_VOID && attempt->status != 0;
    return attempt->outcome == OUTCOME_UNKNOWN || attempt->outcome == OUTCOME_NONSENSE ||
           (attempt->outcome == OUTCOME_LATER && in_parts);
}

struct span history_body(const struct history *history, const struct attempt *attempt)
{
    return (struct span){history->bodies.data + attempt->body_at, attempt->body_len};
}
