/* SPDX-License-Identifier: Apache-2.0 */
/* Recording asks and attempts. */
#include "tests/chaos/story.h"

#include "common/base/mem.h"
#include "common/json.h"

const char *told_text(enum told told)
{
    static const char *const texts[TOLD_COUNT] = {
        [TOLD_DONE] = "done",       [TOLD_REFUSED] = "refused",   [TOLD_LATER] = "later",
        [TOLD_UNKNOWN] = "unknown", [TOLD_NONSENSE] = "nonsense",
    };
    return texts[told];
}

void story_init(struct story *story)
{
    *story = (struct story){0};
    buf_init(&story->bodies, STORY_BODIES_MAX);
}

void story_deinit(struct story *story)
{
    buf_deinit(&story->bodies);
    mem_free(story->asks);
    mem_free(story->attempts);
}

/* Makes room for one more; sizes double. */
static void *grow(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? 2 * *capacity : 1024;
    return mem_realloc(items, *capacity * size);
}

uint32_t story_ask(struct story *story, const struct ask *ask)
{
    story->asks = grow(story->asks, story->asks_count, &story->asks_capacity, sizeof *story->asks);
    story->asks[story->asks_count] = *ask;
    return (uint32_t)story->asks_count++;
}

static struct attempt *append(struct story *story, const struct attempt *attempt)
{
    story->attempts =
        grow(story->attempts, story->attempts_count, &story->attempts_capacity, sizeof *story->attempts);
    story->attempts[story->attempts_count] = *attempt;
    return &story->attempts[story->attempts_count++];
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

static enum told tell(const struct attempt *attempt)
{
    switch (attempt->status) {
    case 200:
    case 201:
    case 204:
        return TOLD_DONE;
    case 409:
        return strcmp(attempt->problem, "in-flight") == 0 ? TOLD_LATER : TOLD_REFUSED;
    case 403:
    case 404:
    case 410:
    case 422:
        return TOLD_REFUSED;
    case 429:
    case 503:
        return TOLD_LATER;
    case 500:
    case 504:
        return TOLD_UNKNOWN;
    default:
        return TOLD_NONSENSE;
    }
}

static void take_answer(struct story *story, struct attempt *attempt, const struct http_response *response)
{
    attempt->status = (uint16_t)response->status;
    attempt->replayed = response->replayed;
    if (response->status >= 400)
        read_problem(attempt, response->body);
    attempt->told = (uint8_t)tell(attempt);
    if (attempt->told != TOLD_DONE)
        return;
    if (response->token.ptr && !consistency_token_parse(response->token, &attempt->token))
        attempt->told = TOLD_NONSENSE;
    attempt->body_at = story->bodies.len;
    attempt->body_len = response->body.len;
    buf_append_span(&story->bodies, response->body);
    CHECK(!story->bodies.overflow); /* a history with holes proves nothing */
}

const struct attempt *story_add(struct story *story, const struct attempt *begun, enum wire_outcome outcome,
                                const struct http_response *response)
{
    struct attempt *attempt = append(story, begun);
    if (outcome == WIRE_ANSWERED)
        take_answer(story, attempt, response);
    else if (outcome == WIRE_UNSENT)
        attempt->told = TOLD_LATER;
    else
        attempt->told = outcome == WIRE_MALFORMED ? TOLD_NONSENSE : TOLD_UNKNOWN;
    return attempt;
}

void story_join(struct story *story, const struct story *of_client, uint32_t client)
{
    size_t asks_before = story->asks_count, bodies_before = story->bodies.len;
    CHECK(client < CHAOS_CLIENTS_MAX);
    story->first_ask[client] = asks_before;
    for (size_t i = 0; i < of_client->asks_count; i++)
        story_ask(story, &of_client->asks[i]);
    for (size_t i = client + 1; i <= CHAOS_CLIENTS_MAX; i++)
        story->first_ask[i] = story->asks_count;
    for (size_t i = 0; i < of_client->attempts_count; i++) {
        struct attempt *attempt = append(story, &of_client->attempts[i]);
        attempt->ask += (uint32_t)asks_before;
        attempt->body_at += bodies_before;
    }
    buf_append_span(&story->bodies, buf_span(&of_client->bodies));
    CHECK(!story->bodies.overflow);
}

uint32_t story_find(const struct story *story, uint32_t client, uint32_t number)
{
    if (client >= CHAOS_CLIENTS_MAX)
        return UINT32_MAX;
    size_t index = story->first_ask[client] + number;
    return index < story->first_ask[client + 1] ? (uint32_t)index : UINT32_MAX;
}

uint32_t story_key(const struct story *story, uint32_t ask)
{
    const struct ask *is = &story->asks[ask];
    return ask - (is->number - is->key);
}

bool story_doubtful(const struct story *story, const struct attempt *attempt)
{
    bool in_parts = story->asks[attempt->ask].kind == ASK_VOID && attempt->status != 0;
    return attempt->told == TOLD_UNKNOWN || attempt->told == TOLD_NONSENSE ||
           (attempt->told == TOLD_LATER && in_parts);
}

struct span story_body(const struct story *story, const struct attempt *attempt)
{
    return (struct span){story->bodies.data + attempt->body_at, attempt->body_len};
}
