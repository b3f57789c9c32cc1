/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks when. Fresh users come from a counter; whoever has to ask at a certain time waits in a heap by
 * that time and goes before fresh ones. A user is in the heap at most once. */
#include "bench/storm/crowd.h"

#include "bench/load/load_call.h"
#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"

enum { RESENDS_MAX = 60, RESEND_FIRST_MS = 25, RESEND_MAX_MS = 1000, RESEND_DOUBLINGS = 6, NO_USER = -1 };
enum { ANSWER_BODY_MAX = 64 * 1024, GRACE_MS = 100 };

/* One user's story so far. */
struct person {
    bool twin, again; /* what kind of user */
    bool repeated;    /* the second send of `again` is under way or over */
    bool resolved;    /* has a definite answer */
    uint8_t under_way;
    uint8_t resends;
};

struct appointment {
    int64_t due_us;
    uint32_t person;
};

struct crowd {
    struct crowd_options options;
    struct crowd_counts *counts;
    struct attempts attempts;
    struct load_stats stats;
    struct person *people;
    uint32_t people_count, fresh; /* people below `fresh` have asked */
    struct appointment *heap;
    size_t heap_count;
    int64_t start_us;
    int64_t twin_of;     /* who has to be sent a second time right now, NO_USER */
    int64_t twin_due_us; /* when both are due, 0: at once */
    uint32_t under_way, unresolved;
    uint64_t seed;
    /* the request, and where in it the user's digits go */
    struct buf request;
    size_t key_at, user_at;
};

/* --- Appointments --- */

static void heap_swap(struct crowd *crowd, size_t a, size_t b)
{
    struct appointment kept = crowd->heap[a];
    crowd->heap[a] = crowd->heap[b];
    crowd->heap[b] = kept;
}

static void heap_push(struct crowd *crowd, struct appointment appointment)
{
    size_t at = crowd->heap_count++;
    CHECK(crowd->heap_count <= crowd->people_count);
    crowd->heap[at] = appointment;
    for (; at && crowd->heap[at].due_us < crowd->heap[(at - 1) / 2].due_us; at = (at - 1) / 2)
        heap_swap(crowd, at, (at - 1) / 2);
}

static struct appointment heap_pop(struct crowd *crowd)
{
    struct appointment first = crowd->heap[0];
    crowd->heap[0] = crowd->heap[--crowd->heap_count];
    for (size_t at = 0, least = 0;; at = least) {
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < crowd->heap_count; child++)
            if (crowd->heap[child].due_us < crowd->heap[least].due_us)
                least = child;
        if (least == at)
            return first;
        heap_swap(crowd, at, least);
    }
}

/* --- Requests --- */

static void write_digits(char *at, uint32_t user)
{
    for (size_t i = USER_DIGITS; i-- > 0; user /= 10)
        at[i] = (char)('0' + user % 10);
}

/* Renders the request of user 0 and remembers where the digits are. */
static void make_request(struct crowd *crowd)
{
    const struct crowd_options *is = &crowd->options;
    struct buf path, body, key;
    buf_init(&path, 256), buf_init(&body, 512), buf_init(&key, 255);
    buf_append_text(&path, "/v1/campaigns/");
    buf_append_span(&path, is->campaign_id);
    buf_append_text(&path, "/coupons");
    buf_append_text(&body, "{\"user_id\":\"");
    user_name_write(is->names, 0, &body);
    size_t digits_end = body.len;
    buf_append_text(&body, "\"}");
    buf_printf(&key, "%s%0*u", is->key_prefix, USER_DIGITS, 0u);
    struct load_call_request request = {.method = "POST",
                                        .path = path.data,
                                        .token = span_of(is->token),
                                        .key = buf_span(&key),
                                        .body = buf_span(&body)};
    buf_init(&crowd->request, LOAD_REQUEST_MAX);
    load_call_write(is->target, &request, &crowd->request);
    CHECK(!path.overflow && !body.overflow && !key.overflow && !crowd->request.overflow);
    const char *found = memmem(crowd->request.data, crowd->request.len, key.data, key.len);
    CHECK(found != NULL);
    crowd->key_at = (size_t)(found - crowd->request.data) + key.len - USER_DIGITS;
    crowd->user_at = crowd->request.len - body.len + digits_end - USER_DIGITS;
    buf_deinit(&path), buf_deinit(&body), buf_deinit(&key);
}

static uint32_t user_of(const struct crowd *crowd, uint32_t person)
{
    return crowd->options.first + person * crowd->options.step;
}

static enum load_next send_to(struct crowd *crowd, struct appointment who, struct load_job *ret,
                              struct buf *request)
{
    buf_append_span(request, buf_span(&crowd->request));
    write_digits(request->data + crowd->key_at, user_of(crowd, who.person));
    write_digits(request->data + crowd->user_at, user_of(crowd, who.person));
    crowd->people[who.person].under_way++;
    crowd->under_way++;
    *ret = (struct load_job){.tag = who.person, .due_us = who.due_us};
    return LOAD_SEND;
}

/* --- Who is next --- */

static enum load_next wait_until(struct load_job *ret, int64_t due_us)
{
    ret->due_us = due_us;
    return LOAD_WAIT;
}

/* When the next fresh user comes: 0 for at once, INT64_MAX for never. */
static int64_t fresh_due_us(const struct crowd *crowd)
{
    const struct crowd_options *is = &crowd->options;
    if (crowd->fresh == crowd->people_count || (is->enough && atomic_load(is->enough)))
        return INT64_MAX;
    return is->per_second ? crowd->start_us + (int64_t)crowd->fresh * US_PER_S / is->per_second : 0;
}

static enum load_next send_fresh(struct crowd *crowd, size_t idle, struct load_job *ret, struct buf *request)
{
    int64_t due_us = fresh_due_us(crowd);
    uint32_t person = crowd->fresh;
    if (crowd->people[person].twin && idle < 2) /* both go out together, or there is no race between them */
        return wait_until(ret, INT64_MAX);
    crowd->fresh++;
    if (crowd->people[person].twin)
        crowd->twin_of = person, crowd->twin_due_us = due_us;
    return send_to(crowd, (struct appointment){due_us, person}, ret, request);
}

static enum load_next next(void *context, size_t idle, struct load_job *ret, struct buf *request)
{
    struct crowd *crowd = context;
    int64_t now_us = clock_mono_us();
    if (crowd->twin_of != NO_USER) {
        uint32_t person = (uint32_t)crowd->twin_of;
        crowd->twin_of = NO_USER;
        return send_to(crowd, (struct appointment){crowd->twin_due_us, person}, ret, request);
    }
    if (now_us >= crowd->options.deadline_us)
        return LOAD_END;
    if (crowd->heap_count && crowd->heap[0].due_us <= now_us)
        return send_to(crowd, heap_pop(crowd), ret, request);
    int64_t due_us = fresh_due_us(crowd);
    if (due_us <= now_us)
        return send_fresh(crowd, idle, ret, request);
    if (crowd->heap_count && crowd->heap[0].due_us < due_us)
        due_us = crowd->heap[0].due_us;
    return due_us < INT64_MAX || crowd->under_way ? wait_until(ret, due_us) : LOAD_END;
}

/* --- What became of it --- */

static int64_t resend_due_us(const struct person *person, const struct load_result *result)
{
    unsigned doublings = person->resends < RESEND_DOUBLINGS ? person->resends : RESEND_DOUBLINGS;
    int64_t ms = (int64_t)RESEND_FIRST_MS << doublings;
    ms = ms < RESEND_MAX_MS ? ms : RESEND_MAX_MS;
    if (result->outcome == LOAD_ANSWERED && result->response.retry_after_s > 0)
        ms = result->response.retry_after_s * 1000;
    uint32_t half_us = (uint32_t)(ms * US_PER_MS / 2);
    return result->done_us + half_us + crypto_random_below(half_us + 1);
}

/* Everything that was under way for this user has come back; `last` is the outcome of what came last. An
 * answer that nobody expects (a wrong key, a bad request) would be the same the next time. */
static void go_on(struct crowd *crowd, uint32_t index, const struct load_result *result, enum outcome last)
{
    struct person *person = &crowd->people[index];
    bool hopeful = last != OUTCOME_UNEXPECTED && person->resends < RESENDS_MAX;
    if (!person->resolved && crowd->options.resend && hopeful) {
        int64_t due_us = resend_due_us(person, result);
        person->resends++;
        heap_push(crowd, (struct appointment){due_us, index});
    } else if (person->resolved && person->again && !person->repeated) {
        person->repeated = true;
        heap_push(crowd, (struct appointment){result->done_us, index});
    } else {
        atomic_fetch_add_explicit(&crowd->counts->users_done, 1, memory_order_relaxed);
    }
}

static void count(struct crowd *crowd, const struct attempt *attempt, bool first_answer)
{
    struct crowd_counts *counts = crowd->counts;
    enum outcome outcome = (enum outcome)attempt->outcome;
    _Atomic int64_t *counter = !outcome_definite(outcome)  ? &counts->failed
                               : outcome == OUTCOME_ISSUED ? &counts->issued
                                                           : &counts->refused;
    if (first_answer || counter == &counts->failed)
        atomic_fetch_add_explicit(counter, outcome != OUTCOME_IN_FLIGHT, memory_order_relaxed);
}

static void done(void *context, const struct load_result *result)
{
    struct crowd *crowd = context;
    uint32_t index = (uint32_t)result->tag, user = user_of(crowd, index);
    struct person *person = &crowd->people[index];
    const struct attempt *attempt = attempts_add(&crowd->attempts, user, user, result);
    enum outcome outcome = (enum outcome)attempt->outcome;
    bool definite = outcome_definite(outcome);
    count(crowd, attempt, !person->resolved);
    crowd->unresolved -= definite && !person->resolved;
    person->resolved = person->resolved || definite;
    person->under_way--;
    crowd->under_way--;
    if (person->under_way == 0 && crowd->twin_of != index) /* else one is still to be sent */
        go_on(crowd, index, result, outcome);
}

/* --- Life --- */

/* A draw below 100, the same for the same user, seed and purpose (splitmix64). */
static int64_t draw(const struct crowd *crowd, uint32_t person, uint64_t purpose)
{
    uint64_t x = crowd->seed + purpose + UINT64_C(0x9E3779B97F4A7C15) * (person + UINT64_C(1));
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return (int64_t)((x ^ x >> 31) % 100);
}

struct crowd *crowd_create(const struct crowd_options *options, struct crowd_counts *counts)
{
    CHECK(options->step > 0 && options->first < options->users && options->users <= USER_COUNT_MAX);
    struct crowd *crowd = mem_zalloc(sizeof *crowd);
    crowd->options = *options;
    crowd->counts = counts;
    crowd->people_count = (options->users - options->first + options->step - 1) / options->step;
    crowd->unresolved = crowd->people_count;
    crowd->people = mem_zalloc(crowd->people_count * sizeof *crowd->people);
    crowd->heap = mem_alloc(crowd->people_count * sizeof *crowd->heap);
    crowd->twin_of = NO_USER;
    crypto_random(&crowd->seed, sizeof crowd->seed);
    for (uint32_t i = 0; i < crowd->people_count; i++) {
        crowd->people[i].again = draw(crowd, i, 1) < options->retry_percent;
        crowd->people[i].twin = options->connections > 1 && draw(crowd, i, 2) < options->twin_percent;
    }
    attempts_init(&crowd->attempts, options->bodies_max);
    make_request(crowd);
    return crowd;
}

void crowd_destroy(struct crowd *crowd)
{
    if (!crowd)
        return;
    attempts_deinit(&crowd->attempts);
    buf_deinit(&crowd->request);
    mem_free(crowd->people);
    mem_free(crowd->heap);
    mem_free(crowd);
}

bool crowd_run(struct crowd *crowd)
{
    const struct crowd_options *is = &crowd->options;
    struct load_options options = {.target = is->target,
                                   .connections = is->connections,
                                   .timeout_ms = is->timeout_ms,
                                   .body_max = ANSWER_BODY_MAX};
    struct load_driver driver = {.next = next, .done = done, .context = crowd};
    struct load *load = load_create(&options, &driver);
    if (!load)
        return false;
    crowd->start_us = clock_mono_us();
    load_run(load, is->deadline_us + (is->timeout_ms + GRACE_MS) * US_PER_MS);
    crowd->stats = *load_stats(load);
    load_destroy(load);
    return true;
}

const struct attempts *crowd_attempts(const struct crowd *crowd)
{
    return &crowd->attempts;
}

const struct load_stats *crowd_stats(const struct crowd *crowd)
{
    return &crowd->stats;
}

uint32_t crowd_came(const struct crowd *crowd)
{
    return crowd->fresh;
}

uint32_t crowd_unresolved(const struct crowd *crowd)
{
    return crowd->unresolved;
}
