/* SPDX-License-Identifier: Apache-2.0 */
/* Turning loaded state and commands into events, rows and verdicts. */
#include "command-service/batch.h"

#include "common/json.h"
#include "events/problems.h"

enum { BATCH_ARENA_MAX = 256 * 1024 * 1024, SCRATCH_MAX = 512 * 1024 };

struct batch *batch_create(void)
{
    struct batch *batch = mem_zalloc(sizeof *batch);
    arena_init(&batch->arena, BATCH_ARENA_MAX);
    map_init(&batch->campaigns);
    map_init(&batch->holdings);
    buf_init(&batch->scratch, SCRATCH_MAX);
    return batch;
}

void batch_reset(struct batch *batch)
{
    for (size_t i = 0; i < batch->results_count; i++)
        pg_rows_destroy(batch->results[i]);
    batch->results_count = 0;
    map_clear(&batch->campaigns);
    map_clear(&batch->holdings);
    arena_reset(&batch->arena);
    batch->count = batch->campaigns_count = batch->holdings_count = batch->events_count = 0;
}

void batch_destroy(struct batch *batch)
{
    if (!batch)
        return;
    batch_reset(batch);
    map_deinit(&batch->campaigns);
    map_deinit(&batch->holdings);
    arena_deinit(&batch->arena);
    buf_deinit(&batch->scratch);
    mem_free(batch->events);
    mem_free(batch);
}

static void *batch_alloc(struct batch *batch, size_t size)
{
    void *ptr = arena_alloc(&batch->arena, size);
    CHECK(ptr); /* BATCH_MAX commands of bounded size fit by far */
    return ptr;
}

static struct span batch_keep(struct batch *batch, struct span text)
{
    char *copy = batch_alloc(batch, text.len);
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    return (struct span){copy, text.len};
}

static struct span holding_key(struct batch *batch, struct span campaign_id, struct span user_id)
{
    buf_clear(&batch->scratch);
    buf_append_span(&batch->scratch, campaign_id);
    buf_append_char(&batch->scratch, '\0'); /* campaign ids have none */
    buf_append_span(&batch->scratch, user_id);
    CHECK(!batch->scratch.overflow);
    return buf_span(&batch->scratch);
}

static void want_campaign(struct batch *batch, const struct command *command)
{
    if (map_get(&batch->campaigns, command->campaign_id))
        return;
    struct loaded_campaign *loaded = batch_alloc(batch, sizeof *loaded);
    loaded->campaign.id = command->campaign_id;
    map_put(&batch->campaigns, command->campaign_id, loaded);
    batch->campaign_list[batch->campaigns_count++] = loaded;
}

static void want_holding(struct batch *batch, struct span campaign_id, struct span user_id)
{
    struct span key = holding_key(batch, campaign_id, user_id);
    if (map_get(&batch->holdings, key))
        return;
    struct holding *held = batch_alloc(batch, sizeof *held);
    map_put(&batch->holdings, batch_keep(batch, key), held);
    batch->holding_campaigns[batch->holdings_count] = campaign_id;
    batch->holding_users[batch->holdings_count] = user_id;
    batch->holding_list[batch->holdings_count++] = held;
}

void batch_begin(struct batch *batch, struct command *list)
{
    CHECK(batch->count == 0 && list);
    CHECK(list->kind != COMMAND_ISSUE_MANY || !list->next);
    batch->slice = list->slice;
    for (struct command *command = list; command; command = command->next) {
        CHECK(batch->count < BATCH_MAX && command->slice == batch->slice);
        batch->commands[batch->count] = command;
        batch->verdicts[batch->count] = (struct verdict){0};
        batch->records[batch->count] = batch->writes[batch->count] = NULL;
        batch->count++;
        want_campaign(batch, command);
        if (command->kind == COMMAND_ISSUE)
            want_holding(batch, command->campaign_id, command->user_id);
        for (size_t i = 0; i < command->users_count; i++)
            want_holding(batch, command->campaign_id, command->user_ids[i]);
    }
}

/* Gives the event its place and time, encodes it and folds it into its campaign. */
static const struct event *append(struct batch *batch, struct loaded_campaign *loaded,
                                  const struct event *decided)
{
    if (batch->events_count == batch->events_capacity) {
        batch->events_capacity = batch->events_capacity ? 2 * batch->events_capacity : 256;
        batch->events = mem_realloc(batch->events, batch->events_capacity * sizeof *batch->events);
    }
    struct event *event = &batch->events[batch->events_count++];
    *event = *decided;
    event->slice = batch->slice;
    event->position = ++batch->head; /* I5: gapless, in commit order, because the slice is locked */
    event->recorded_at_us = batch->now_us;
    buf_clear(&batch->scratch);
    event_encode(event, &batch->scratch);
    event->data = batch_keep(batch, buf_span(&batch->scratch));
    if (event->type == EVENT_CouponIssued) {
        buf_clear(&batch->scratch);
        coupon_id_write(&batch->scratch, (struct position){event->slice, event->position});
        event->coupon_id = batch_keep(batch, buf_span(&batch->scratch));
    }
    campaign_apply(&loaded->campaign, event);
    loaded->changed = true;
    return event;
}

static void note_issued(struct batch *batch, struct loaded_campaign *loaded, const struct command *command,
                        const struct event *event)
{
    struct holding *held =
        map_get(&batch->holdings, holding_key(batch, command->campaign_id, command->user_id));
    CHECK(held->count < PER_USER_LIMIT_MAX);
    held->positions[held->count++] = event->position;
    if (loaded->run_first_sequence == 0) {
        loaded->run_first_sequence = event->coupon_issued.sequence;
        loaded->run_first_position = event->position;
    }
    loaded->run_last_position = event->position;
}

/* The ids a user holds, as a JSON array, for already-issued. */
static struct span held_ids(struct batch *batch, const struct holding *held)
{
    struct buf id;
    buf_init(&id, COUPON_ID_MAX);
    buf_clear(&batch->scratch);
    buf_append_text(&batch->scratch, "\"coupon_ids\":[");
    for (int64_t i = 0; i < held->count; i++) {
        buf_clear(&id);
        coupon_id_write(&id, (struct position){batch->slice, held->positions[i]});
        json_put_string(&batch->scratch, NULL, buf_span(&id));
    }
    buf_append_char(&batch->scratch, ']');
    buf_deinit(&id);
    return batch_keep(batch, buf_span(&batch->scratch));
}

static void answer_with_campaign(struct batch *batch, const struct loaded_campaign *loaded, int status,
                                 struct verdict *verdict)
{
    buf_clear(&batch->scratch);
    campaign_write_json(&batch->scratch, NULL, &loaded->campaign, batch->now_us);
    CHECK(!batch->scratch.overflow);
    verdict->status = status;
    verdict->body = batch_keep(batch, buf_span(&batch->scratch));
    verdict->token = (struct position){batch->slice, loaded->campaign.position};
}

static void answer_with_coupon(const struct event *issued, struct verdict *verdict)
{
    verdict->status = 201;
    verdict->coupon = coupon_from_event(issued);
    verdict->token = verdict->coupon.at;
}

static void answer_with_results(const struct issue_result *results, struct position token,
                                struct verdict *verdict)
{
    verdict->status = 200;
    verdict->results = results;
    verdict->token = token;
}

/* The row that makes a retry get the first answer (I4), written with the event or not at all. `answer` is
 * absent where it is rendered from the event again. */
static void remember(struct batch *batch, size_t index, struct span answer)
{
    const struct verdict *verdict = &batch->verdicts[index];
    struct request_record *record = batch_alloc(batch, sizeof *record);
    memcpy(record->fingerprint, batch->commands[index]->fingerprint, FINGERPRINT_BYTES);
    record->status = verdict->status;
    record->answer = answer;
    record->position = verdict->token.position;
    batch->writes[index] = record;
}

static void replay(struct batch *batch, size_t index)
{
    const struct request_record *record = batch->records[index];
    const struct command *command = batch->commands[index];
    struct verdict *verdict = &batch->verdicts[index];
    if (memcmp(record->fingerprint, command->fingerprint, FINGERPRINT_BYTES) != 0) {
        verdict->refusal = &problem_idempotency_key_reused;
        return;
    }
    /* Our own effect, found again after a lost connection, is a first answer and not a replay. */
    verdict->replayed = !command->commit_was_sent;
    if (record->results) {
        answer_with_results(record->results, (struct position){batch->slice, record->position}, verdict);
        return;
    }
    if (record->answer.ptr) {
        verdict->status = record->status;
        verdict->body = record->answer;
        verdict->token = (struct position){batch->slice, record->position};
        return;
    }
    answer_with_coupon(&record->issued, verdict);
    CHECK(verdict->status == record->status);
}

static void release_what_is_due(struct batch *batch, struct loaded_campaign *loaded)
{
    struct event event;
    while (loaded->exists && decide_due_release(&loaded->campaign, batch->now_us, &event))
        append(batch, loaded, &event);
}

static void apply_decision(struct batch *batch, size_t index, struct loaded_campaign *loaded,
                           const struct decision *decision)
{
    const struct command *command = batch->commands[index];
    struct verdict *verdict = &batch->verdicts[index];
    const struct event *event = decision->has_event ? append(batch, loaded, &decision->event) : NULL;
    if (command->kind == COMMAND_ISSUE) {
        note_issued(batch, loaded, command, event);
        answer_with_coupon(event, verdict);
    } else {
        loaded->is_new |= command->kind == COMMAND_CREATE;
        loaded->exists = true;
        answer_with_campaign(batch, loaded, command->kind == COMMAND_CREATE ? 201 : 200, verdict);
    }
    remember(batch, index, verdict->body);
}

static const struct holding *holding_of(struct batch *batch, const struct command *command)
{
    return map_get(&batch->holdings, holding_key(batch, command->campaign_id, command->user_id));
}

static void decide_one(struct batch *batch, size_t index)
{
    const struct command *command = batch->commands[index];
    struct loaded_campaign *loaded = map_get(&batch->campaigns, command->campaign_id);
    const struct holding *held = command->kind == COMMAND_ISSUE ? holding_of(batch, command) : NULL;
    struct decision decision;
    if (batch->records[index]) {
        replay(batch, index);
        return;
    }
    release_what_is_due(batch, loaded);
    decide(command, loaded->exists ? &loaded->campaign : NULL, held, batch->now_us, &decision);
    if (!decision.refusal) {
        apply_decision(batch, index, loaded, &decision);
        return;
    }
    batch->verdicts[index].refusal = decision.refusal;
    if (decision.refusal == &problem_already_issued)
        batch->verdicts[index].held_ids = held_ids(batch, held);
}

/* --- one command for many users --- */

/* The refusals of a single user; any other is about the campaign and so about all of them. */
static const struct problem *const single_refusals[] = {&problem_sold_out, &problem_already_issued};

static bool is_single_refusal(const struct problem *problem)
{
    for (size_t i = 0; i < COUNT_OF(single_refusals); i++)
        if (single_refusals[i] == problem)
            return true;
    return false;
}

/* As if the user had asked alone. */
static struct issue_result decide_user(struct batch *batch, const struct command *many, size_t user,
                                       struct loaded_campaign *loaded)
{
    struct command single = *many;
    struct decision decision;
    single.kind = COMMAND_ISSUE;
    single.user_id = many->user_ids[user];
    decide(&single, loaded->exists ? &loaded->campaign : NULL, holding_of(batch, &single), batch->now_us,
           &decision);
    struct issue_result result = {.refusal = decision.refusal, .user_id = single.user_id};
    if (!decision.refusal) {
        const struct event *event = append(batch, loaded, &decision.event);
        note_issued(batch, loaded, &single, event);
        result.coupon = coupon_from_event(event);
    }
    return result;
}

static struct span outcome_write(struct batch *batch, const struct issue_result *results, size_t count)
{
    buf_clear(&batch->scratch);
    json_open(&batch->scratch, NULL, '[');
    for (size_t i = 0; i < count; i++) {
        if (results[i].refusal)
            json_put_string(&batch->scratch, NULL, span_of(results[i].refusal->code));
        else
            json_put_int(&batch->scratch, NULL, results[i].coupon.at.position);
    }
    json_close(&batch->scratch, ']');
    CHECK(!batch->scratch.overflow);
    return batch_keep(batch, buf_span(&batch->scratch));
}

static bool result_read(const struct json_value *entry, int16_t slice, struct issue_result *ret)
{
    struct span code;
    ret->coupon.at.slice = slice;
    if (json_as_int(entry, &ret->coupon.at.position))
        return ret->coupon.at.position > 0;
    for (size_t i = 0; json_as_text(entry, &code) && i < COUNT_OF(single_refusals); i++)
        if (span_is(code, single_refusals[i]->code))
            ret->refusal = single_refusals[i];
    return ret->refusal != NULL;
}

struct issue_result *batch_outcome_read(struct batch *batch)
{
    const struct command *many = batch->commands[0];
    struct issue_result *results = batch_alloc(batch, many->users_count * sizeof *results);
    struct json_fault fault;
    struct json_doc *doc = json_parse(batch->records[0]->answer, &fault);
    bool good = doc && json_array_length(json_root(doc)) == many->users_count;
    for (size_t i = 0; good && i < many->users_count; i++) {
        results[i].user_id = many->user_ids[i];
        good = result_read(json_array_at(json_root(doc), i), batch->slice, &results[i]);
    }
    json_destroy(doc);
    return good ? results : NULL;
}

static void decide_many(struct batch *batch)
{
    const struct command *many = batch->commands[0];
    struct loaded_campaign *loaded = map_get(&batch->campaigns, many->campaign_id);
    struct verdict *verdict = &batch->verdicts[0];
    if (batch->records[0]) {
        replay(batch, 0);
        return;
    }
    struct issue_result *results = batch_alloc(batch, many->users_count * sizeof *results);
    release_what_is_due(batch, loaded);
    int64_t head = batch->head;
    for (size_t i = 0; i < many->users_count; i++) {
        results[i] = decide_user(batch, many, i, loaded);
        if (results[i].refusal && !is_single_refusal(results[i].refusal)) {
            verdict->refusal = results[i].refusal;
            return;
        }
    }
    answer_with_results(results, (struct position){batch->slice, batch->head > head ? batch->head : 0},
                        verdict);
    if (batch->head > head) /* where nobody got one, nothing happened and the key may be tried again */
        remember(batch, 0, outcome_write(batch, results, many->users_count));
}

void batch_decide(struct batch *batch)
{
    if (batch->commands[0]->kind == COMMAND_ISSUE_MANY) {
        decide_many(batch);
        return;
    }
    for (size_t i = 0; i < batch->count; i++)
        decide_one(batch, i);
}

bool batch_has_writes(const struct batch *batch)
{
    bool any = batch->events_count > 0;
    for (size_t i = 0; i < batch->count && !any; i++)
        any = batch->writes[i] != NULL;
    return any;
}
