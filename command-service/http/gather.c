/* SPDX-License-Identifier: Apache-2.0 */
/* Joining the parts of a void. */
#include "command-service/http/gather.h"

#include <pthread.h>

#include "command-service/answer.h"
#include "command-service/http/response.h"
#include "common/http/http.h"
#include "events/problems.h"
#include "events/refusals.h"

struct gather {
    pthread_mutex_t lock; /* guards everything below */
    struct http_request *request;
    size_t left;
    const struct problem *problem; /* the worst of what went wrong, NULL for nothing */
    int64_t retry_after_ms;
    bool replayed;
    struct void_counts voided;
};

struct gather *gather_create(struct http_request *request, size_t parts)
{
    struct gather *gather = mem_zalloc(sizeof *gather);
    CHECK(parts > 0 && pthread_mutex_init(&gather->lock, NULL) == 0);
    gather->request = request;
    gather->left = parts;
    return gather;
}

static void answer(struct gather *gather)
{
    struct http_request *request = gather->request;
    if (gather->problem) {
        refusals_count(gather->problem);
        http_problem(request, &(struct problem_detail){.problem = gather->problem,
                                                       .retry_after_ms = gather->retry_after_ms});
    } else {
        if (gather->replayed)
            http_add_header(request, "Idempotency-Replayed", SPAN("true"));
        answer_write_counts(http_reply_body(request), &gather->voided);
        http_reply(request, answer_status(COMMAND_VOID));
    }
    pthread_mutex_destroy(&gather->lock);
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

void gather_verdict(struct gather *gather, const struct verdict *verdict)
{
    if (verdict->refusal) {
        gather_problem(gather, verdict->refusal, 0);
        return;
    }
    pthread_mutex_lock(&gather->lock);
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
