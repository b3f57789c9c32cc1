/* SPDX-License-Identifier: Apache-2.0 */
/* Joining the parts of a request that concerns every slice. */
#include "command-service/http/gather.h"

#include <pthread.h>

#include "command-service/answer.h"
#include "command-service/http/requests.h"
#include "command-service/http/response.h"
#include "events/problems.h"

struct gather {
    pthread_mutex_t lock; /* guards everything below */
    enum gather_kind kind;
    struct http_request *request;
    const uint8_t *code_key;
    size_t left;
    const struct problem *problem; /* the worst of what went wrong, NULL for nothing */
    int64_t retry_after_ms;
    bool replayed;
    struct void_counts voided;
    int16_t found_slice; /* GATHER_LOOKUP: the lowest slice that knows the request; SLICE_COUNT: none yet */
    struct buf found;    /* what it says */
};

struct gather *gather_create(enum gather_kind kind, struct http_request *request, size_t parts,
                             const uint8_t code_key[CRYPTO_KEY_BYTES])
{
    struct gather *gather = mem_zalloc(sizeof *gather);
    CHECK(parts > 0 && pthread_mutex_init(&gather->lock, NULL) == 0);
    gather->kind = kind;
    gather->request = request;
    gather->left = parts;
    gather->code_key = code_key;
    gather->found_slice = SLICE_COUNT;
    buf_init(&gather->found, REQUEST_OUTCOME_MAX);
    return gather;
}

static void answer_void(struct gather *gather)
{
    struct buf *body = http_reply_body(gather->request);
    const struct void_counts *counts = &gather->voided;
    if (gather->replayed)
        http_add_header(gather->request, "Idempotency-Replayed", SPAN("true"));
    answer_write_counts(body, counts);
    http_reply(gather->request, 200);
}

static void answer_lookup(struct gather *gather)
{
    struct buf *body = http_reply_body(gather->request);
    if (gather->found_slice < SLICE_COUNT)
        buf_append_span(body, buf_span(&gather->found));
    else
        request_outcome_write(body, &(struct request_outcome){.state = REQUEST_UNKNOWN});
    http_reply(gather->request, 200);
}

static void answer(struct gather *gather)
{
    bool found = gather->kind == GATHER_LOOKUP && gather->found_slice < SLICE_COUNT;
    if (gather->problem && !found)
        http_problem(gather->request, &(struct problem_detail){.problem = gather->problem,
                                                               .retry_after_ms = gather->retry_after_ms});
    else if (gather->kind == GATHER_VOID)
        answer_void(gather);
    else
        answer_lookup(gather);
    pthread_mutex_destroy(&gather->lock);
    buf_deinit(&gather->found);
    mem_free(gather);
}

/* Unlocks, and answers after the last part. */
static void part_done(struct gather *gather)
{
    bool last = --gather->left == 0;
    pthread_mutex_unlock(&gather->lock);
    if (last)
        answer(gather);
}

static void note_found(struct gather *gather, const struct command *part, const struct verdict *verdict)
{
    if (verdict->found_status == 0 || part->slice > gather->found_slice)
        return;
    gather->found_slice = part->slice;
    buf_clear(&gather->found);
    struct buf text;
    buf_init(&text, REQUEST_OUTCOME_MAX);
    answer_write(&text, part, verdict, gather->code_key);
    request_outcome_write(&gather->found, &(struct request_outcome){.state = REQUEST_DONE,
                                                                    .http_status = verdict->found_status,
                                                                    .answer = buf_span(&text)});
    CHECK(!text.overflow && !gather->found.overflow);
    buf_deinit(&text);
}

void gather_verdict(struct gather *gather, const struct command *part, const struct verdict *verdict)
{
    if (verdict->refusal) {
        gather_problem(gather, verdict->refusal, 0);
        return;
    }
    pthread_mutex_lock(&gather->lock);
    if (gather->kind == GATHER_LOOKUP)
        note_found(gather, part, verdict);
    gather->voided.matched += verdict->voided.matched;
    gather->voided.voidable += verdict->voided.voidable;
    gather->voided.voided += verdict->voided.voided;
    gather->replayed |= verdict->replayed;
    part_done(gather);
}

void gather_problem(struct gather *gather, const struct problem *problem, int64_t retry_after_ms)
{
    pthread_mutex_lock(&gather->lock);
    /* What may have happened is told before what surely has not. */
    if (!gather->problem || problem == &problem_outcome_unknown) {
        gather->problem = problem;
        gather->retry_after_ms = retry_after_ms;
    }
    part_done(gather);
}
