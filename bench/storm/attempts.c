/* SPDX-License-Identifier: Apache-2.0 */
/* Recording and classifying answers. Runs between two requests of a load, so it does no more than it must:
 * bodies of 201s are copied and read later, of a problem document only the code is looked for. */
#include "bench/storm/attempts.h"

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

const char *attempt_outcome_text(enum outcome outcome)
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
static uint8_t intern(struct attempts *attempts, struct span code)
{
    if (!code.ptr)
        return 0;
    if (code.len > ATTEMPTS_CODE_MAX)
        code = span_of(code_overflow);
    for (size_t i = 0; i < attempts->problems_count; i++)
        if (span_is(code, attempts->problems[i]))
            return (uint8_t)i;
    if (attempts->problems_count == ATTEMPTS_PROBLEMS_MAX)
        return ATTEMPTS_PROBLEMS_MAX - 1;
    if (attempts->problems_count == ATTEMPTS_PROBLEMS_MAX - 1)
        code = span_of(code_overflow);
    memcpy(attempts->problems[attempts->problems_count], code.ptr, code.len);
    return (uint8_t)attempts->problems_count++;
}

/* --- Recording --- */

void attempts_init(struct attempts *attempts, size_t bodies_max)
{
    *attempts = (struct attempts){.problems_count = 1};
    buf_init(&attempts->bodies, bodies_max);
}

void attempts_deinit(struct attempts *attempts)
{
    mem_free(attempts->list);
    buf_deinit(&attempts->bodies);
}

static struct attempt *append(struct attempts *attempts)
{
    if (attempts->count == attempts->capacity) {
        attempts->capacity = attempts->capacity ? 2 * attempts->capacity : ATTEMPTS_FIRST;
        attempts->list = mem_realloc(attempts->list, attempts->capacity * sizeof *attempts->list);
    }
    struct attempt *attempt = &attempts->list[attempts->count++];
    *attempt = (struct attempt){0};
    return attempt;
}

static void keep_body(struct attempts *attempts, struct attempt *attempt, struct span body)
{
    attempt->body_at = attempts->bodies.len;
    attempt->body_len = (uint32_t)body.len;
    buf_append_span(&attempts->bodies, body);
}

static void record_answer(struct attempts *attempts, struct attempt *attempt,
                          const struct http_response *response)
{
    attempt->status = (uint16_t)response->status;
    attempt->replayed = response->replayed;
    attempt->retry_after = response->retry_after_s > 0;
    if (response->status >= 400)
        attempt->problem = intern(attempts, find_code(response->body));
    attempt->outcome = (uint8_t)outcome_of_status(response->status, attempts_problem(attempts, attempt));
    if (attempt->outcome != OUTCOME_ISSUED)
        return;
    keep_body(attempts, attempt, response->body);
    if (!response->token.ptr || !consistency_token_parse(response->token, &attempt->token))
        attempt->token = (struct position){0, 0};
}

const struct attempt *attempts_add(struct attempts *attempts, uint32_t user, uint32_t key,
                                   const struct load_result *result)
{
    struct attempt *attempt = append(attempts);
    attempt->user = user;
    attempt->key = key;
    attempt->intended_us = result->intended_us;
    attempt->sent_us = result->sent_us;
    attempt->done_us = result->done_us;
    if (result->outcome == LOAD_ANSWERED)
        record_answer(attempts, attempt, &result->response);
    else
        attempt->outcome = (uint8_t)outcome_without_answer(result->outcome);
    return attempt;
}

void attempts_merge(struct attempts *attempts, const struct attempts *other)
{
    for (size_t i = 0; i < other->count; i++) {
        struct attempt *attempt = append(attempts);
        *attempt = other->list[i];
        attempt->problem = 0;
        if (other->list[i].problem)
            attempt->problem = intern(attempts, span_of(attempts_problem(other, &other->list[i])));
        if (attempt->outcome == OUTCOME_ISSUED)
            keep_body(attempts, attempt, attempts_body(other, &other->list[i]));
    }
    if (other->bodies.overflow)
        attempts->bodies.overflow = true;
}

struct span attempts_body(const struct attempts *attempts, const struct attempt *attempt)
{
    if (attempt->outcome != OUTCOME_ISSUED || attempt->body_at + attempt->body_len > attempts->bodies.len)
        return (struct span){"", 0}; /* the bodies overflowed */
    return (struct span){attempts->bodies.data + attempt->body_at, attempt->body_len};
}

const char *attempts_problem(const struct attempts *attempts, const struct attempt *attempt)
{
    CHECK(attempt->problem < attempts->problems_count);
    return attempts->problems[attempt->problem];
}
