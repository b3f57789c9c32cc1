/* SPDX-License-Identifier: Apache-2.0 */
/* Recording and classifying answers. Runs between two requests of a load, so it does no more than it must:
 * bodies of 201s are copied and read later, of a problem document only the code is looked for. */
#include "bench/storm/history.h"

#include "common/base/mem.h"

enum { ATTEMPTS_FIRST = 4096 };

static const char code_overflow[] = "(other)";

/* --- Names of users --- */

void user_name_write(const struct user_names *names, uint32_t user, struct buf *out)
{
    CHECK(user < USER_COUNT_MAX);
    buf_append_text(out, names->prefix);
    buf_printf(out, "%0*u", USER_DIGITS, user);
}

bool user_name_parse(const struct user_names *names, struct span name, uint32_t *ret)
{
    struct span prefix = span_of(names->prefix);
    if (!name.ptr || name.len != prefix.len + USER_DIGITS || !span_starts(name, prefix))
        return false;
    uint32_t user = 0;
    for (size_t i = prefix.len; i < name.len; i++) {
        if (name.ptr[i] < '0' || name.ptr[i] > '9')
            return false;
        user = 10 * user + (uint32_t)(name.ptr[i] - '0');
    }
    *ret = user;
    return true;
}

/* --- Outcomes --- */

const char *outcome_text(enum outcome outcome)
{
    static const char *const texts[OUTCOME_COUNT] = {
        [OUTCOME_ISSUED] = "issued",
        [OUTCOME_REFUSED] = "refused",
        [OUTCOME_IN_FLIGHT] = "in flight",
        [OUTCOME_LATER] = "try later",
        [OUTCOME_UNKNOWN] = "outcome unknown",
        [OUTCOME_LOST] = "connection lost",
        [OUTCOME_TIMED_OUT] = "timed out",
        [OUTCOME_MALFORMED] = "malformed answer",
        [OUTCOME_UNEXPECTED] = "unexpected answer",
    };
    CHECK(outcome < OUTCOME_COUNT);
    return texts[outcome];
}

bool outcome_unsure(enum outcome outcome)
{
    return outcome == OUTCOME_UNKNOWN || outcome == OUTCOME_LOST || outcome == OUTCOME_TIMED_OUT ||
           outcome == OUTCOME_MALFORMED;
}

bool outcome_definite(enum outcome outcome)
{
    return outcome == OUTCOME_ISSUED || outcome == OUTCOME_REFUSED;
}

static enum outcome outcome_of_status(int status, const char *problem)
{
    switch (status) {
    case 201:
        return OUTCOME_ISSUED;
    case 409:
        return strcmp(problem, "in-flight") == 0 ? OUTCOME_IN_FLIGHT : OUTCOME_REFUSED;
    case 404:
    case 410:
        return OUTCOME_REFUSED;
    case 429:
    case 500:
    case 503:
        return OUTCOME_LATER;
    case 504:
        return OUTCOME_UNKNOWN;
    default:
        return OUTCOME_UNEXPECTED;
    }
}

static enum outcome outcome_without_answer(enum load_outcome outcome)
{
    switch (outcome) {
    case LOAD_LOST:
        return OUTCOME_LOST;
    case LOAD_TIMED_OUT:
        return OUTCOME_TIMED_OUT;
    case LOAD_MALFORMED:
        return OUTCOME_MALFORMED;
    case LOAD_ANSWERED:
        break;
    }
    UNREACHABLE("answers have a status");
}

/* --- Problem codes --- */

/* The value of "code" in a problem document, absent where there is none. */
static struct span find_code(struct span body)
{
    struct span key = SPAN("\"code\":");
    const char *at = body.len ? memmem(body.ptr, body.len, key.ptr, key.len) : NULL;
    if (!at)
        return (struct span){NULL, 0};
    struct span rest = {at + key.len, body.len - (size_t)(at + key.len - body.ptr)};
    while (rest.len && rest.ptr[0] == ' ')
        rest = (struct span){rest.ptr + 1, rest.len - 1};
    if (!span_starts(rest, SPAN("\"")))
        return (struct span){NULL, 0};
    rest = (struct span){rest.ptr + 1, rest.len - 1};
    return span_cut(&rest, '"');
}

/* The last place is for all the codes that have none of their own. */
static uint8_t intern(struct history *history, struct span code)
{
    if (!code.ptr)
        return 0;
    if (code.len > HISTORY_CODE_MAX)
        code = span_of(code_overflow);
    for (size_t i = 0; i < history->problems_count; i++)
        if (span_is(code, history->problems[i]))
            return (uint8_t)i;
    if (history->problems_count == HISTORY_PROBLEMS_MAX)
        return HISTORY_PROBLEMS_MAX - 1;
    if (history->problems_count == HISTORY_PROBLEMS_MAX - 1)
        code = span_of(code_overflow);
    memcpy(history->problems[history->problems_count], code.ptr, code.len);
    return (uint8_t)history->problems_count++;
}

/* --- Recording --- */

void history_init(struct history *history, size_t bodies_max)
{
    *history = (struct history){.problems_count = 1};
    buf_init(&history->bodies, bodies_max);
}

void history_deinit(struct history *history)
{
    mem_free(history->attempts);
    buf_deinit(&history->bodies);
}

static struct attempt *append(struct history *history)
{
    if (history->count == history->capacity) {
        history->capacity = history->capacity ? 2 * history->capacity : ATTEMPTS_FIRST;
        history->attempts = mem_realloc(history->attempts, history->capacity * sizeof *history->attempts);
    }
    struct attempt *attempt = &history->attempts[history->count++];
    *attempt = (struct attempt){0};
    return attempt;
}

static void keep_body(struct history *history, struct attempt *attempt, struct span body)
{
    attempt->body_at = history->bodies.len;
    attempt->body_len = (uint32_t)body.len;
    buf_append_span(&history->bodies, body);
}

static void record_answer(struct history *history, struct attempt *attempt,
                          const struct http_response *response)
{
    attempt->status = (uint16_t)response->status;
    attempt->replayed = response->replayed;
    attempt->retry_after = response->retry_after_s > 0;
    if (response->status >= 400)
        attempt->problem = intern(history, find_code(response->body));
    attempt->outcome = (uint8_t)outcome_of_status(response->status, history_problem(history, attempt));
    if (attempt->outcome != OUTCOME_ISSUED)
        return;
    keep_body(history, attempt, response->body);
    if (!response->token.ptr || !consistency_token_parse(response->token, &attempt->token))
        attempt->token = (struct position){0, 0};
}

const struct attempt *history_add(struct history *history, uint32_t user, uint32_t key,
                                  const struct load_result *result)
{
    struct attempt *attempt = append(history);
    attempt->user = user;
    attempt->key = key;
    attempt->intended_us = result->intended_us;
    attempt->sent_us = result->sent_us;
    attempt->done_us = result->done_us;
    if (result->outcome == LOAD_ANSWERED)
        record_answer(history, attempt, &result->response);
    else
        attempt->outcome = (uint8_t)outcome_without_answer(result->outcome);
    return attempt;
}

void history_merge(struct history *history, const struct history *other)
{
    for (size_t i = 0; i < other->count; i++) {
        struct attempt *attempt = append(history);
        *attempt = other->attempts[i];
        attempt->problem = 0;
        if (other->attempts[i].problem)
            attempt->problem = intern(history, span_of(history_problem(other, &other->attempts[i])));
        if (attempt->outcome == OUTCOME_ISSUED)
            keep_body(history, attempt, history_body(other, &other->attempts[i]));
    }
    if (other->bodies.overflow)
        history->bodies.overflow = true;
}

struct span history_body(const struct history *history, const struct attempt *attempt)
{
    if (attempt->outcome != OUTCOME_ISSUED || attempt->body_at + attempt->body_len > history->bodies.len)
        return (struct span){"", 0}; /* the bodies overflowed */
    return (struct span){history->bodies.data + attempt->body_at, attempt->body_len};
}

const char *history_problem(const struct history *history, const struct attempt *attempt)
{
    CHECK(attempt->problem < history->problems_count);
    return history->problems[attempt->problem];
}
