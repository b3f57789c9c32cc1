/* SPDX-License-Identifier: Apache-2.0 */
/* I4: everything that was sent under one Idempotency-Key, looked at together. Most keys are of one ask; some
 * are of two, the second being the first one told with another payload, one after the other in a client's
 * list. */
#include "tests/chaos/judge_state.h"

enum { OPS_PER_KEY_MAX = 8 };

struct group {
    struct judge *judge;
    uint32_t ops[OPS_PER_KEY_MAX]; /* the first is the key's own */
    size_t ops_count;
    uint32_t effect;   /* the attempt that took effect, UINT32_MAX: none */
    uint32_t first;    /* the first attempt that was told of it, by time, UINT32_MAX: none */
    uint32_t taken_by; /* the operation whose payload took the key, UINT32_MAX: none did for certain */
    bool unknown;      /* some attempt's outcome was never told */
    bool emptily;      /* some attempt was told that it was accepted, and that nothing happened */
    bool remembered;   /* its answer is kept: a retry gets it again */
};

/* What has no effect and is answered with 2xx all the same leaves a row, so that pausing twice is one
 * request; but not an issue to many that got nobody anything, nor what changes nothing of a coupon, nor a
 * look at what a void would do. */
static bool kept_without_effect(const struct operation *op)
{
    return op->kind != OP_ISSUE_MANY && !op_kind_has_coupon(op->kind) && !op->dry_run;
}

/* A void is a request to each slice, with a row in each. */
static size_t rows_of(const struct operation *op)
{
    return op->kind == OP_VOID ? SLICE_COUNT : 1;
}

#define EACH_ATTEMPT(group, op, number, attempt)                    \
    for (size_t each = 0; each < (group)->ops_count; each++)        \
        for (uint32_t op = (group)->ops[each], number = 0, attempt; \
             (attempt = judge_attempt((group)->judge, op, number)) != UINT32_MAX; number++)

/* Accepted, but nothing happened, so nothing was remembered: like a refusal, it may come before the effect.
 */
static bool is_empty(const struct group *group, const struct attempt *attempt)
{
    const struct operation *op = &group->judge->in.history->ops[attempt->op];
    if (kept_without_effect(op))
        return false;
    if (group->effect == UINT32_MAX || op->kind == OP_ISSUE_MANY)
        return attempt->token.position == 0 || group->effect == UINT32_MAX;
    struct position effect = group->judge->effects[group->effect].first;
    return attempt->token.slice != effect.slice || attempt->token.position != effect.position;
}

static void find_effect(struct group *group)
{
    size_t effects = 0;
    EACH_ATTEMPT(group, op, number, index)
    {
        if (group->judge->effects[index].events == 0)
            continue;
        group->effect = index;
        group->taken_by = op;
        effects++;
    }
    /* A void may take effect in one slice by one attempt, in another by another; what is deleted twice is
     * seen as such. */
    bool in_parts = group->judge->in.history->ops[group->ops[0]].kind == OP_VOID;
    judge_expect(group->judge, JUDGE_ONCE, effects <= 1 || in_parts, "%s took effect %zu times",
                 judge_name(group->judge, group->ops[0]), effects);
}

static void look(struct group *group)
{
    const struct history *history = group->judge->in.history;
    find_effect(group);
    EACH_ATTEMPT(group, op, number, index)
    {
        const struct attempt *attempt = &history->attempts[index];
        group->unknown |= history_doubtful(history, attempt);
        if (attempt->outcome != OUTCOME_DONE)
            continue;
        if (is_empty(group, attempt))
            group->emptily = true;
        else if (group->first == UINT32_MAX || attempt->done_us < history->attempts[group->first].done_us)
            group->first = index;
    }
    if (group->taken_by == UINT32_MAX && group->first != UINT32_MAX)
        group->taken_by = history->attempts[group->first].op;
    group->remembered = group->taken_by != UINT32_MAX;
}

static bool same_answer(const struct history *history, const struct attempt *a, const struct attempt *b)
{
    return a->status == b->status && a->token.slice == b->token.slice &&
           a->token.position == b->token.position &&
           span_equal(history_body(history, a), history_body(history, b));
}

static void check_done(struct group *group, uint32_t op, uint32_t index)
{
    struct judge *judge = group->judge;
    const struct history *history = judge->in.history;
    const struct attempt *attempt = &history->attempts[index], *first = &history->attempts[group->first];
    judge_expect(judge, JUDGE_PAYLOAD, op == group->taken_by,
                 "attempt %u of %s was accepted under a key that took effect with another payload",
                 attempt->number, judge_name(judge, op));
    if (index == group->first)
        return;
    judge_expect(judge, JUDGE_SAME_BYTES, same_answer(history, attempt, first),
                 "attempt %u of %s got another answer than attempt %u", attempt->number,
                 judge_name(judge, op), first->number);
    if (attempt->sent_us > first->done_us)
        judge_expect(judge, JUDGE_MARKED, attempt->replayed, "attempt %u of %s does not say it is a repeat",
                     attempt->number, judge_name(judge, op));
}

/* Whether a request with another payload was, or may have been, under way at the same time. One whose answer
 * never came may lie in a stopped service for as long as it likes. */
static bool other_under_way(const struct group *group, uint32_t op, const struct attempt *attempt)
{
    const struct history *history = group->judge->in.history;
    EACH_ATTEMPT(group, other_op, number, index)
    {
        const struct attempt *other = &history->attempts[index];
        if (other_op != op && other->sent_us < attempt->done_us &&
            (other->done_us > attempt->sent_us || other->outcome == OUTCOME_UNKNOWN))
            return true;
    }
    return false;
}

/* A service that knows that a campaign refuses everybody for good, or before its start, says so without
 * looking for the key. To somebody who comes with a used key and another payload that is as true as 422. */
static bool refused_early(const struct judge *judge, const struct operation *op,
                          const struct attempt *attempt)
{
    if (op->kind != OP_ISSUE)
        return false;
    if (strcmp(attempt->problem, "sold-out") != 0)
        return strcmp(attempt->problem, "ended") == 0 || strcmp(attempt->problem, "not-started") == 0;
    const struct model_campaign *campaign = &judge->campaigns[op->campaign];
    bool ever = false;
    for (size_t i = 0; op->campaign < judge->campaigns_count && i < campaign->moments_count && !ever; i++)
        ever = campaign->moments[i].issued >= campaign->moments[i].quantity;
    return ever;
}

static void check_refused(struct group *group, uint32_t op, uint32_t index)
{
    struct judge *judge = group->judge;
    const struct attempt *attempt = &judge->in.history->attempts[index];
    bool reused = strcmp(attempt->problem, "idempotency-key-reused") == 0;
    bool other = group->taken_by != UINT32_MAX && group->taken_by != op;
    if (reused) { /* the one whose payload counts may be the one that nobody was told of */
        judge_expect(judge, JUDGE_PAYLOAD, other || other_under_way(group, op, attempt),
                     "%s was told that its key was used, which it was not", judge_name(judge, op));
        return;
    }
    if (strcmp(attempt->problem, "issuer-suspended") == 0)
        return; /* about who operations: a suspended key is told nothing, not even what it was told before */
    if (!group->remembered || group->first == UINT32_MAX)
        return;
    if (other && refused_early(judge, &judge->in.history->ops[op], attempt))
        return;
    const struct attempt *first = &judge->in.history->attempts[group->first];
    judge_expect(judge, JUDGE_REFUSED, attempt->sent_us <= first->done_us,
                 "attempt %u of %s was refused (%s) though its key had taken effect", attempt->number,
                 judge_name(judge, op), attempt->problem);
}

static void check_group(struct group *group, size_t *keys, bool *unknown)
{
    struct judge *judge = group->judge;
    const struct history *history = judge->in.history;
    look(group);
    *keys += group->remembered ? rows_of(&history->ops[group->ops[0]]) : 0;
    if (group->unknown && !group->remembered) {
        bool settled = group->emptily;
        EACH_ATTEMPT(group, op, number, index)
        {
            settled |=
                history->attempts[index].closing && history->attempts[index].outcome == OUTCOME_REFUSED;
        }
        *unknown |= !settled;
        judge_expect(judge, JUDGE_ANSWERED, settled, "%s never got an answer",
                     judge_name(judge, group->ops[0]));
    } else {
        judge_expect(judge, JUDGE_ANSWERED, !group->remembered || group->first != UINT32_MAX,
                     "%s took effect and nobody was ever told", judge_name(judge, group->ops[0]));
    }
    EACH_ATTEMPT(group, op, number, index)
    {
        const struct attempt *attempt = &history->attempts[index];
        bool done = attempt->outcome == OUTCOME_DONE;
        if (done && !is_empty(group, attempt))
            check_done(group, op, index);
        else if (done || attempt->outcome == OUTCOME_REFUSED)
            check_refused(group, op, index);
    }
}

void judge_keys(struct judge *judge)
{
    const struct history *history = judge->in.history;
    size_t keys = 0;
    bool unknown = false;
    for (uint32_t i = 0; i < history->ops_count;) {
        struct group group = {.judge = judge,
                              .ops = {i},
                              .ops_count = 1,
                              .effect = UINT32_MAX,
                              .first = UINT32_MAX,
                              .taken_by = UINT32_MAX};
        uint32_t key = i++;
        while (i < history->ops_count && history->ops[i].client == history->ops[key].client &&
               history_key(history, i) == key && group.ops_count < OPS_PER_KEY_MAX)
            group.ops[group.ops_count++] = i++;
        if (op_kind_keyed(history->ops[key].kind))
            check_group(&group, &keys, &unknown);
    }
    if (!unknown)
        judge_expect(judge, JUDGE_REMEMBERED, (int64_t)keys == judge->in.log->idempotency_rows,
                     "%zu keys took effect, %lld are remembered", keys,
                     (long long)judge->in.log->idempotency_rows);
}
