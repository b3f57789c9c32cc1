/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about keys: the thread that reads, and how the uses read as JSON. */
#include "command-service/http/requests.h"

#include <pthread.h>

#include "command-service/answer.h"
#include "command-service/http/submit.h"
#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/json.h"
#include "events/problems.h"

enum { ASKED_MAX = 256, ARENA_MAX = 1024 * 1024, ANSWER_MS = 20 };

struct question {
    struct http_request *request;
    uint8_t key_hash[REQUEST_KEY_BYTES];
    requests_writer *write; /* asks for changes; NULL: for the uses of the key, */
    bool of_campaign;       /* or for a campaign */
    void *context;
    int64_t deadline_us;
};

/* A thread, and whom it asks: one shard, or all. */
struct worker {
    const struct requests_options *options;
    size_t first_shard, shards_count;
    struct reader readers[SHARDS_MAX]; /* by the shard's number; the thread's alone, like the arena */
    struct arena arena;
    pthread_t thread;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t came;
    struct question asked[ASKED_MAX]; /* in a ring */
    size_t first, count;
    bool stop;
};

struct requests {
    struct requests_options options;
    struct worker *workers[SHARDS_MAX + 1]; /* one of each shard; the last asks all */
    size_t count;
};

/* --- JSON --- */

/* The bytes after it are the status and the answer. */
static void open_item(struct buf *out, const char *operation, struct span target, const char *state)
{
    json_open(out, NULL, '{');
    json_put_string(out, "operation", span_of(operation));
    json_put_string(out, "target", target);
    json_put_string(out, "state", span_of(state));
}

/* What was in flight before the store was read: what is found there by then is done, and told as that. */
enum { IN_FLIGHT_MAX = 64 };
struct in_flight {
    enum command_kind kind;
    uint8_t operation[8];
    char target[SUBMIT_TARGET_MAX];
    size_t target_len;
    bool done;
};
struct in_flight_list {
    struct in_flight items[IN_FLIGHT_MAX];
    size_t count;
};

static void note_in_flight(const struct command *command, void *context)
{
    struct in_flight_list *list = context;
    struct buf room;
    if (list->count == IN_FLIGHT_MAX)
        return;
    struct in_flight *item = &list->items[list->count++];
    *item = (struct in_flight){.kind = command->kind};
    memcpy(item->operation, command->id.operation, sizeof item->operation);
    buf_init(&room, SUBMIT_TARGET_MAX);
    struct span target = submit_target(command, &room);
    CHECK(target.len <= sizeof item->target);
    memcpy(item->target, target.ptr, target.len);
    item->target_len = target.len;
    buf_deinit(&room);
}

static void note_done(struct in_flight_list *list, const struct key_use *use)
{
    for (size_t i = 0; i < list->count; i++)
        list->items[i].done |= memcmp(list->items[i].operation, use->operation, use->operation_len) == 0;
}

static void write_in_flight(struct buf *out, const struct in_flight_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct in_flight *item = &list->items[i];
        if (item->done)
            continue;
        open_item(out, command_name(item->kind), (struct span){item->target, item->target_len}, "in-flight");
        json_close(out, '}');
    }
}

/* What a use was of. The row has a hash of it, so each kind is tried with what its event is about. */
struct named {
    enum command_kind kind;
    struct span target;
};

static struct span control_name(const struct event *event)
{
    if (event->type == EVENT_SettingChanged)
        return event->setting_changed.name;
    if (event->type == EVENT_IssuerSuspended || event->type == EVENT_IssuerResumed)
        return event->issuer_suspended.issuer; /* both have the same fields */
    return (struct span){NULL, 0};
}

/* The campaign that was created, as the answer says it: its event is in a slice of its own. */
static struct span created_id(struct span answer, struct buf *room)
{
    struct json_fault fault;
    struct span id;
    struct json_doc *doc = json_parse(answer, &fault);
    buf_clear(room);
    if (doc && json_as_text(json_member(json_root(doc), "id"), &id))
        buf_append_span(room, id);
    json_destroy(doc);
    return buf_span(room);
}

static struct named name_of(const struct key_use *use, struct buf *room)
{
    const struct span nothing = {NULL, 0};
    buf_append_i64(room, use->slice);
    for (enum command_kind kind = 0; kind < COMMAND_KINDS; kind++) {
        uint8_t operation[sizeof use->operation];
        struct span target;
        if (kind == COMMAND_CREATE)
            target = SPAN("");
        else if (command_subject(kind) == SUBJECT_SLICE)
            target = buf_span(room);
        else if (!use->has_effect)
            continue;
        else if (command_subject(kind) == SUBJECT_CONTROL)
            target = control_name(&use->effect);
        else if (command_subject(kind) == SUBJECT_COUPON)
            target = use->effect.coupon_id;
        else
            target = use->effect.campaign_id;
        if (!target.ptr)
            continue;
        submit_operation(kind, target, operation);
        if (memcmp(operation, use->operation, use->operation_len) != 0)
            continue;
        if (kind == COMMAND_CREATE)
            target = created_id(use->answer, room);
        return (struct named){kind, command_subject(kind) == SUBJECT_SLICE ? nothing : target};
    }
    return (struct named){COMMAND_KINDS, nothing};
}

/* As it was right after its last event. */
static void write_coupon(struct buf *out, const struct key_use *use, const struct code_key *code_key)
{
    struct coupon coupon = coupon_from_event(use->has_issued ? &use->issued : &use->effect);
    if (use->has_issued)
        coupon_apply(&coupon, &use->effect);
    coupon.actor = (struct span){NULL, 0}; /* as in the answer that was given (write_coupon in answer.c) */
    coupon_write_json(out, "answer", &coupon, code_key, coupon.changed_at_us);
}

static void write_done(struct buf *out, const struct key_use *use, const struct named *named,
                       const struct code_key *code_key)
{
    bool about_coupon = use->has_effect && (use->has_issued || use->effect.type == EVENT_CouponIssued);
    open_item(out, named->kind < COMMAND_KINDS ? command_name(named->kind) : "unknown", named->target,
              "done");
    json_put_int(out, "status", use->status);
    if (!use->answer.ptr && about_coupon)
        write_coupon(out, use, code_key);
    else if (use->answer.len > 0 && named->kind != COMMAND_ISSUE_MANY) /* of that only a retry can tell */
        json_put_raw(out, "answer", use->answer);
    json_close(out, '}');
}

/* The parts of a void are one use. false: what is kept is not what this program wrote. */
static bool add_counts(struct span answer, struct void_counts *counts)
{
    struct json_fault fault;
    int64_t matched, voidable, voided;
    struct json_doc *doc = json_parse(answer, &fault);
    const struct json_value *root = doc ? json_root(doc) : NULL;
    bool good = doc && json_as_int(json_member(root, "matched"), &matched) &&
                json_as_int(json_member(root, "voidable"), &voidable) &&
                json_as_int(json_member(root, "voided"), &voided);
    if (good) {
        counts->matched += matched;
        counts->voidable += voidable;
        counts->voided += voided;
    }
    json_destroy(doc);
    return good;
}

static void write_void(struct buf *out, const struct void_counts *counts)
{
    open_item(out, command_name(COMMAND_VOID), (struct span){NULL, 0}, "done");
    json_put_int(out, "status", answer_status(COMMAND_VOID));
    struct buf answer;
    buf_init(&answer, 256);
    answer_write_counts(&answer, counts);
    json_put_raw(out, "answer", buf_span(&answer));
    buf_deinit(&answer);
    json_close(out, '}');
}

/* What the uses come to, as they are read. */
struct uses {
    struct void_counts voided;
    bool any_void;
    struct in_flight_list in_flight;
};

/* false: a row cannot be read. */
static bool write_uses(struct worker *worker, struct buf *out, const struct pg_rows *rows, struct uses *uses)
{
    const struct code_key *code_key = committers_code_key(worker->options->committers);
    bool good = true;
    struct buf room;
    buf_init(&room, SUBMIT_TARGET_MAX);
    for (int row = 0; good && row < pg_rows_count(rows); row++) {
        struct key_use use;
        buf_clear(&room);
        good = uses_row(rows, row, &worker->arena, &use);
        note_done(&uses->in_flight, &use);
        struct named named = good ? name_of(&use, &room) : (struct named){COMMAND_KINDS, {NULL, 0}};
        if (named.kind == COMMAND_VOID)
            uses->any_void = good = add_counts(use.answer, &uses->voided);
        else if (good)
            write_done(out, &use, &named, code_key);
    }
    buf_deinit(&room);
    return good;
}

/* The uses in all shards, one after the other; *ret_read false: one did not answer. false: a row cannot be
 * read, or that. */
static bool write_all_uses(struct worker *worker, struct buf *out, const struct question *question,
                           struct uses *uses, bool *ret_read)
{
    bool good = true;
    *ret_read = true;
    for (size_t i = 0; good && i < worker->shards_count; i++) {
        struct pg_rows *rows = NULL;
        const struct shard *shard = &worker->options->shards->list[worker->first_shard + i];
        *ret_read = uses_read(&worker->readers[worker->first_shard + i], shard->slices, question->key_hash,
                              question->deadline_us, &rows);
        if (!*ret_read)
            log_warn("REQUESTS-READ", "slices %s: cannot read what became of a request: %s", shard->name,
                     pg_error(worker->readers[worker->first_shard + i].pg));
        good = *ret_read && write_uses(worker, out, rows, uses);
        pg_rows_destroy(rows);
    }
    if (good && uses->any_void)
        write_void(out, &uses->voided);
    return good;
}

/* --- answering --- */

static void fail(struct http_request *request, const struct problem *problem)
{
    http_problem(request, &(struct problem_detail){.problem = problem,
                                                   .retry_after_ms = 500 + crypto_random_below(1000)});
}

/* What is in flight is looked at first: what ends meanwhile is found in the store. */
static void answer(struct worker *worker, const struct question *question)
{
    struct uses uses = {.any_void = false};
    bool read;
    struct buf *out = http_reply_body(question->request);
    json_open(out, NULL, '{');
    json_open(out, "items", '[');
    committers_in_flight(worker->options->committers, question->key_hash, note_in_flight, &uses.in_flight);
    bool good = write_all_uses(worker, out, question, &uses, &read);
    write_in_flight(out, &uses.in_flight);
    json_close(out, ']');
    json_close(out, '}');
    if (good)
        http_reply(question->request, 200);
    else
        fail(question->request, read ? &problem_internal : &problem_store_unavailable);
    arena_reset(&worker->arena);
}

/* What holds is known without the store; only who set it is not. */
static void answer_changes(struct worker *worker, const struct question *question)
{
    struct reader *reader = &worker->readers[worker->options->shards->of[CONTROL_SLICE]];
    struct pg_rows *rows = NULL;
    struct control_change *changes = NULL;
    int count = -1;
    if (changes_read(reader, question->deadline_us, &rows)) {
        changes = arena_alloc(&worker->arena, ((size_t)pg_rows_count(rows) + 1) * sizeof *changes);
        count = changes ? 0 : -1;
        for (int row = 0; changes && row < pg_rows_count(rows); row++)
            count += changes_row(rows, row, &worker->arena, &changes[count]);
    } else {
        log_warn("CHANGES-READ", "cannot read who set the settings: %s", pg_error(reader->pg));
    }
    question->write(http_reply_body(question->request), changes, count, question->context);
    http_reply(question->request, 200);
    pg_rows_destroy(rows);
    arena_reset(&worker->arena);
}

static void reply_campaign(struct http_request *request, const struct campaign *campaign, int64_t now_us)
{
    struct buf etag;
    struct buf *out = http_reply_body(request);
    buf_init(&etag, HTTP_ETAG_MAX);
    campaign_write_json(out, NULL, campaign, now_us);
    http_etag_write(&etag, buf_span(out));
    http_add_header(request, "ETag", buf_span(&etag));
    http_add_header(request, "Cache-Control", SPAN("private, no-cache"));
    enum http_condition condition = http_read_condition(request, buf_span(&etag));
    if (condition != HTTP_CONDITION_MET)
        buf_clear(out);
    if (condition == HTTP_CONDITION_FAILED)
        http_problem(request, &(struct problem_detail){.problem = &problem_precondition_failed});
    else
        http_reply(request, condition == HTTP_CONDITION_MET ? 200 : 304);
    buf_deinit(&etag);
}

/* The same bytes as a read of the query service, of this instant. */
static void answer_campaign(struct worker *worker, const struct question *question)
{
    struct pg_rows *rows = NULL;
    struct campaign campaign;
    int64_t now_us;
    struct http_request *request = question->request;
    struct span id = http_param(request, 0);
    struct reader *reader = &worker->readers[worker->options->shards->of[slice_of(id)]];
    if (!campaign_read(reader, id, question->deadline_us, &rows)) {
        log_warn("CAMPAIGN-READ", "cannot read a campaign: %s", pg_error(reader->pg));
        fail(request, &problem_store_unavailable);
    } else if (pg_rows_count(rows) == 0) {
        http_fail(request, &problem_unknown_campaign, NULL);
    } else if (!campaign_read_row(rows, &worker->arena, &campaign, &now_us)) {
        fail(request, &problem_unreadable_state);
    } else {
        reply_campaign(request, &campaign, now_us);
    }
    pg_rows_destroy(rows);
    arena_reset(&worker->arena);
}

/* false: there is none, and it is time to stop. */
static bool next(struct worker *worker, struct question *ret)
{
    pthread_mutex_lock(&worker->lock);
    while (worker->count == 0 && !worker->stop)
        (void)cond_wait_until(&worker->came, &worker->lock, INT64_MAX);
    bool found = worker->count > 0;
    if (found) {
        *ret = worker->asked[worker->first];
        worker->first = (worker->first + 1) % ASKED_MAX;
        worker->count--;
    }
    pthread_mutex_unlock(&worker->lock);
    return found;
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    struct question question;
    pthread_setname_np(pthread_self(), "requests");
    while (next(worker, &question)) {
        if (question.write)
            answer_changes(worker, &question);
        else if (clock_mono_us() >= question.deadline_us)
            fail(question.request, &problem_overloaded);
        else if (question.of_campaign)
            answer_campaign(worker, &question);
        else
            answer(worker, &question);
    }
    return NULL;
}

static void ask(struct worker *worker, struct question question)
{
    struct http_request *request = question.request;
    question.deadline_us = http_received_us(request) + (worker->options->deadline_ms - ANSWER_MS) * US_PER_MS;
    http_defer(request);
    pthread_mutex_lock(&worker->lock);
    bool room = worker->count < ASKED_MAX && !worker->stop;
    if (room) {
        worker->asked[(worker->first + worker->count++) % ASKED_MAX] = question;
        pthread_cond_signal(&worker->came);
    }
    pthread_mutex_unlock(&worker->lock);
    if (!room)
        fail(request, &problem_overloaded);
}

static struct worker *worker_of(struct requests *requests, int16_t slice)
{
    return requests->workers[requests->options.shards->of[slice]];
}

void requests_ask(struct requests *requests, struct http_request *request,
                  const uint8_t key_hash[REQUEST_KEY_BYTES])
{
    struct question question = {.request = request};
    memcpy(question.key_hash, key_hash, sizeof question.key_hash);
    ask(requests->workers[requests->count - 1], question);
}

void requests_ask_changes(struct requests *requests, struct http_request *request, requests_writer *write,
                          void *context)
{
    ask(worker_of(requests, CONTROL_SLICE),
        (struct question){.request = request, .write = write, .context = context});
}

void requests_ask_campaign(struct requests *requests, struct http_request *request)
{
    ask(worker_of(requests, slice_of(http_param(request, 0))),
        (struct question){.request = request, .of_campaign = true});
}

/* --- life --- */

static void worker_start(struct requests *requests, size_t first_shard, size_t shards_count)
{
    struct worker *worker = mem_zalloc(sizeof *worker);
    requests->workers[requests->count++] = worker;
    worker->options = &requests->options;
    worker->first_shard = first_shard;
    worker->shards_count = shards_count;
    for (size_t i = first_shard; i < first_shard + shards_count; i++)
        uses_init(&worker->readers[i], requests->options.shards->list[i].url);
    arena_init(&worker->arena, ARENA_MAX);
    CHECK(pthread_mutex_init(&worker->lock, NULL) == 0);
    CHECK(pthread_cond_init(&worker->came, NULL) == 0);
    CHECK(pthread_create(&worker->thread, NULL, worker_main, worker) == 0);
}

struct requests *requests_start(const struct requests_options *options)
{
    struct requests *requests = mem_zalloc(sizeof *requests);
    const size_t shards = options->shards->count;
    requests->options = *options;
    for (size_t i = 0; i < shards; i++)
        worker_start(requests, i, 1);
    if (shards > 1) /* where there is one, asking it is asking all */
        worker_start(requests, 0, shards);
    return requests;
}

void requests_stop(struct requests *requests)
{
    for (size_t i = 0; i < requests->count; i++) {
        struct worker *worker = requests->workers[i];
        pthread_mutex_lock(&worker->lock);
        worker->stop = true;
        pthread_cond_signal(&worker->came);
        pthread_mutex_unlock(&worker->lock);
        CHECK(pthread_join(worker->thread, NULL) == 0);
    }
}

void requests_destroy(struct requests *requests)
{
    for (size_t i = 0; i < requests->count; i++) {
        struct worker *worker = requests->workers[i];
        for (size_t at = 0; at < worker->shards_count; at++)
            reader_deinit(&worker->readers[worker->first_shard + at]);
        arena_deinit(&worker->arena);
        pthread_cond_destroy(&worker->came);
        pthread_mutex_destroy(&worker->lock);
        mem_free(worker);
    }
    mem_free(requests);
}
