/* SPDX-License-Identifier: Apache-2.0 */
/* Naming requests and queueing commands. */
#include "command-service/http/submit.h"
#include "command-service/spans.h"

#include <strings.h>

#include "command-service/http/gather.h"
#include "command-service/http/requests.h"
#include "command-service/http/response.h"
#include "common/base/clock.h"
#include "events/problems.h"

enum {
    HASHED_TEXT_MAX = 64 * 1024 + ISSUE_MANY_MAX * (USER_ID_MAX + 1),
    CONDITION_MAX = 16 * 1024, /* twice what a head may have */
};

/* --- naming the request (I4) --- */

static bool key_valid(struct span key)
{
    if (key.len < 1 || key.len > IDEMPOTENCY_KEY_MAX)
        return false;
    for (size_t i = 0; i < key.len; i++)
        if (key.ptr[i] < 0x21 || key.ptr[i] > 0x7E)
            return false;
    return true;
}

/* The header's value may be in the quotes that draft-ietf-httpapi-idempotency-key-header writes. They are not
 * part of the key, so in the path of its location they are not. */
static bool key_read(struct span *key)
{
    if (key->len >= 2 && key->ptr[0] == '"' && key->ptr[key->len - 1] == '"')
        *key = (struct span){key->ptr + 1, key->len - 2};
    return key_valid(*key);
}

/* Hash of texts, each followed by a NUL that none of them contains. */
static void hash_texts(struct span first, struct span second, uint8_t *ret, size_t ret_len)
{
    const size_t len = first.len + 1 + second.len;
    char room[512], *text = len <= sizeof room ? room : mem_alloc(len);
    memcpy(text, first.ptr, first.len);
    text[first.len] = '\0';
    if (second.len)
        memcpy(text + first.len + 1, second.ptr, second.len);
    crypto_hash(NULL, (struct span){text, len}, ret, ret_len);
    if (text != room)
        mem_free(text);
}

/* What a payload may have, whatever its kind: absent texts and zeros where it has not. */
struct payload {
    struct span order_id, reason, value, created_by;
    int64_t order_amount, ttl_s, created_before_us, created_after_us, dry_run;
};

static struct payload payload_of(const struct command *command)
{
    const struct void_filter *voids = &command->voids;
    switch (command_subject(command->kind)) {
    case SUBJECT_COUPON:
        return (struct payload){.order_id = command->coupon.order_id,
                                .reason = command->reason,
                                .order_amount = command->coupon.order_amount,
                                .ttl_s = command->coupon.ttl_s};
    case SUBJECT_CONTROL:
        return (struct payload){.value = command->control.value};
    case SUBJECT_SLICE:
        return (struct payload){.created_by = voids->created_by,
                                .created_before_us = voids->created_before_us,
                                .created_after_us = voids->created_after_us,
                                .dry_run = voids->dry_run};
    default:
        return (struct payload){.dry_run = 0};
    }
}

/* Of the kinds that came later; those before are hashed as they ever were, because rows of them are kept. */
static void add_later_fields(struct buf *out, const struct command *command)
{
    const struct payload payload = payload_of(command);
    const struct span texts[] = {payload.order_id, payload.reason, payload.value, payload.created_by};
    const int64_t numbers[] = {payload.order_amount, payload.ttl_s, payload.created_before_us,
                               payload.created_after_us, payload.dry_run};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        buf_append_char(out, '\0');
        buf_append_char(out, texts[i].ptr ? '+' : '-');
        buf_append_span(out, texts[i]);
    }
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        buf_append_char(out, '\0');
        buf_append_i64(out, numbers[i]);
    }
}

/* What the payload means, not how it was spelled: a retry with other white space is the same request. */
static void fingerprint(struct command *command)
{
    struct buf payload;
    buf_init(&payload, HASHED_TEXT_MAX);
    buf_append_i64(&payload, command->kind);
    buf_append_char(&payload, ' ');
    buf_append_i64(&payload, command->kind == COMMAND_RELEASE ? command->release.quantity : 0);
    buf_append_char(&payload, ' ');
    buf_append_span(&payload, command_user(command));
    for (size_t i = 0; command->kind == COMMAND_ISSUE_MANY && i < command->issue_many.count; i++) {
        buf_append_char(&payload, '\0'); /* user ids have none */
        buf_append_span(&payload, command->issue_many.user_ids[i]);
    }
    if (command->kind == COMMAND_CREATE) {
        struct event event = {.type = EVENT_CampaignCreated, .campaign_created = *command->create};
        buf_append_span(&payload, command->campaign_id);
        buf_append_char(&payload, ' ');
        event_encode(&event, &payload);
    }
    if (command->kind == COMMAND_CHANGE) {
        const struct campaign_change *change = command->change;
        struct event event = {.type = EVENT_CampaignChanged,
                              .campaign_changed = {.name = change->name,
                                                   .quantity = change->quantity,
                                                   .per_user_limit = change->per_user_limit,
                                                   .ends_at_us = change->ends_at_us,
                                                   .tags = change->tags,
                                                   .fields = change->fields}};
        event_encode(&event, &payload);
    }
    if (command->kind > COMMAND_ISSUE_MANY)
        add_later_fields(&payload, command);
    bool orders = command->kind == COMMAND_RESERVE || command->kind == COMMAND_REDEEM;
    if (orders && command->coupon.currency.ptr) { /* only where one is given: as above */
        buf_append_char(&payload, '\0');
        buf_append_span(&payload, command->coupon.currency);
    }
    if (command->reason.ptr && command->kind != COMMAND_REVOKE) { /* the same */
        buf_append_char(&payload, '\0');
        buf_append_span(&payload, command->reason);
    }
    CHECK(!payload.overflow);
    crypto_hash(NULL, buf_span(&payload), command->fingerprint, sizeof command->fingerprint);
    buf_deinit(&payload);
}

/* What names the thing in the path. */
struct span submit_target(const struct command *command, struct buf *room)
{
    switch (command_subject(command->kind)) {
    case SUBJECT_COUPON:
        coupon_id_write(room, command->coupon.at); /* whether it was named by id or by code */
        return buf_span(room);
    case SUBJECT_SLICE: /* several parts of one request are under way at once */
        buf_append_i64(room, command->slice);
        return buf_span(room);
    case SUBJECT_CONTROL:
        return command->control.name;
    default:
        return command->kind == COMMAND_CREATE ? SPAN("") : command->campaign_id;
    }
}

/* A crowd asks for one thing of one campaign: each thread keeps the last answer. */
void submit_operation(enum command_kind kind, struct span target, uint8_t ret[8])
{
    static _Thread_local struct {
        enum command_kind kind;
        char target[SUBMIT_TARGET_MAX];
        size_t len;
        uint8_t operation[8];
    } last;
    bool again = last.kind == kind && last.len > 0 && last.len == target.len &&
                 memcmp(last.target, target.ptr, target.len) == 0;
    if (!again) {
        hash_texts(span_of(command_name(kind)), target, last.operation, sizeof last.operation);
        last.kind = kind;
        last.len = target.len <= sizeof last.target ? target.len : 0;
        if (last.len)
            memcpy(last.target, target.ptr, target.len);
    }
    memcpy(ret, last.operation, sizeof last.operation);
}

static void name_key(struct command *command, struct span idempotency_key)
{
    hash_texts(command->actor, idempotency_key, command->id.key_hash, sizeof command->id.key_hash);
}

/* Where a creation's key is claimed. */
static int16_t key_slice(const struct command *command)
{
    return command->id.key_hash[0] & (SLICE_COUNT - 1);
}

/* A campaign without an id gets one that is a function of the request, so that a retry means the same
 * campaign. */
static void generate_id(struct command *command, struct span idempotency_key)
{
    struct buf id;
    buf_init(&id, CAMPAIGN_ID_MAX);
    campaign_id_generate(&id, command->actor, idempotency_key, key_slice(command));
    memcpy(command->campaign_id_text, id.data, id.len);
    command->campaign_id = (struct span){command->campaign_id_text, id.len};
    buf_deinit(&id);
}

static void find_slice(struct command *command)
{
    switch (command_subject(command->kind)) {
    case SUBJECT_COUPON:
        command->slice = command->coupon.at.slice;
        break;
    case SUBJECT_CONTROL:
        command->slice = CONTROL_SLICE;
        break;
    case SUBJECT_SLICE:
        break; /* whoever made the command says */
    default:
        command->slice = slice_of(command->campaign_id);
    }
}

/* The idempotency row of a creation lives in a slice of the key's, because the id in the payload may differ
 * between two requests with the same key and both must find the one row. */
static void name_request(struct command *command, struct span idempotency_key)
{
    struct buf room;
    buf_init(&room, COUPON_ID_MAX);
    command->keyed = true;
    name_key(command, idempotency_key);
    submit_operation(command->kind, submit_target(command, &room), command->id.operation);
    buf_deinit(&room);
    fingerprint(command);
    if (command->kind == COMMAND_CREATE && !command->campaign_id.ptr)
        generate_id(command, idempotency_key);
    find_slice(command);
    if (command->kind == COMMAND_CREATE)
        command_route_creation(command, key_slice(command));
}

/* --- queueing --- */

static const struct problem *const verdict_problems[] = {
    [QUEUE_IN_FLIGHT] = &problem_in_flight,  [QUEUE_REUSED] = &problem_idempotency_key_reused,
    [QUEUE_FULL] = &problem_overloaded,      [QUEUE_UNAVAILABLE] = &problem_store_unavailable,
    [QUEUE_CLOSED] = &problem_shutting_down,
};

/* Spread over the predicted drain, so that those refused now do not come back all at once. */
static int64_t spread_ms(int64_t wait_ms)
{
    enum { LEAST_MS = 500, SPREAD_MIN_MS = 1000, SPREAD_MAX_MS = 30000 };
    int64_t spread = wait_ms < SPREAD_MIN_MS   ? SPREAD_MIN_MS
                     : wait_ms < SPREAD_MAX_MS ? wait_ms
                                               : SPREAD_MAX_MS;
    return LEAST_MS + crypto_random_below((uint32_t)spread);
}

static void refuse_offer(struct command *command, enum queue_verdict verdict, int64_t wait_ms)
{
    const struct problem *problem = verdict_problems[verdict];
    answer_problem(command, problem, problem->retryable ? spread_ms(wait_ms) : 0);
    command_destroy(command);
}

/* The slice of what the path names; -1: it does not say, or it is for who steers. */
static int16_t slice_in_path(const struct http_request *request)
{
    struct position at;
    struct span pattern = span_of(http_route_of(request)->pattern), target = http_param(request, 0);
    if (span_starts(pattern, SPAN("/v1/campaigns/{id}/coupons")))
        return campaign_id_valid(target) ? slice_of(target) : -1;
    if (span_starts(pattern, SPAN("/v1/coupons/{id}/")))
        return coupon_id_parse(target, &at) ? at.slice : -1;
    return -1;
}

const struct problem *submit_admit(const struct http_request *request, void *context,
                                   struct http_admission *admission)
{
    struct api *api = context;
    int64_t wait_ms;
    int16_t slice = slice_in_path(request);
    if (slice < 0 || http_header(request, "Prefer").ptr) /* that one may be accepted */
        return NULL;
    int64_t deadline_us = http_arrived_us(request) + api->request_deadline_ms * US_PER_MS;
    bool soon;
    enum queue_verdict verdict =
        queue_would(committers_queue(api->committers, slice), deadline_us, &wait_ms, &soon);
    if (verdict == QUEUE_TAKEN)
        return NULL;
    admission->waits = soon && admission->may_wait && clock_remaining_ms(deadline_us) > HTTP_HELD_BACK_MAX_MS;
    admission->line = (unsigned)slice;
    if (!admission->waits)
        watch_note(api->watch, http_param(request, 0), true, 0);
    admission->retry_after_ms = spread_ms(wait_ms);
    return verdict_problems[verdict];
}

static void stamp(const struct api *api, struct command *command)
{
    struct http_request *request = command->request;
    command->actor = span_of(http_key(request)->name);
    command->by_admin = http_key(request)->scopes & AUTH_ADMIN;
    if (http_trace(request, command->trace_bytes)) {
        command->trace = (struct span){(const char *)command->trace_bytes, TRACE_BYTES};
        spans_begin(command, http_trace_sampled(request));
    }
    command->received_us = http_received_us(request);
    command->deadline_us = command->received_us + api->request_deadline_ms * US_PER_MS;
    if (command->kind == COMMAND_ISSUE || command->kind == COMMAND_ISSUE_MANY)
        command->watch = api->watch;
}

/* One of "Prefer: a; x=1, respond-async" (RFC 7240), in any of its lines. */
static bool prefers_async(const struct http_request *request)
{
    struct span line;
    for (size_t nth = 0; (line = http_header_nth(request, "Prefer", nth)).ptr; nth++)
        for (struct span item = http_list_next(&line); item.ptr; item = http_list_next(&line)) {
            struct span value = span_cut(&item, ';'), name = http_trim(span_cut(&value, '='));
            bool has_value =
                value.ptr && !span_is(http_trim(value), "") && !span_is(http_trim(value), "\"\"");
            if (http_text_is(name, "respond-async") && !has_value) /* an empty value is none */
                return true;
        }
    return false;
}

/* Whether the command may be accepted instead of answered. */
static bool may_accept(struct api *api, struct command *command)
{
    if (command->kind != COMMAND_ISSUE || !command->keyed || !prefers_async(command->request))
        return false;
    command->accept_above_us =
        settings_get(&control_now(api->control)->settings, SETTING_issue_sla_ms) * US_PER_MS;
    command->accepted_deadline_us =
        http_received_us(command->request) + api->accepted_deadline_ms * US_PER_MS;
    /* The path is the request's, which is gone once 202 is answered; the command goes on living. */
    memcpy(command->campaign_id_text, command->campaign_id.ptr, command->campaign_id.len);
    command->campaign_id.ptr = command->campaign_id_text;
    return true;
}

static void offer(struct api *api, struct command *command, struct span key)
{
    struct http_request *request = command->request;
    struct queue *queue = committers_queue(api->committers, command->slice);
    bool may = request && may_accept(api, command);
    int64_t wait_ms;
    enum queue_verdict verdict = queue_offer(queue, command, may, &wait_ms);
    if (verdict == QUEUE_ACCEPTED) { /* the command is not ours any more */
        watch_note(api->watch, http_param(request, 0), false, clock_mono_us() - http_received_us(request));
        answer_accepted(request, key);
    } else if (verdict != QUEUE_TAKEN) {
        refuse_offer(command, verdict, wait_ms);
    }
}

/* false: answered. */
static bool take_key(struct command *command, enum key_rule rule, struct span *ret)
{
    struct http_request *request = command->request;
    bool twice = http_header_nth(request, "Idempotency-Key", 1).ptr != NULL;
    *ret = http_header(request, "Idempotency-Key");
    if (!ret->ptr && rule == KEY_OPTIONAL)
        return true;
    if (ret->ptr && !twice && key_read(ret))
        return true;
    answer_problem(command, ret->ptr ? &problem_idempotency_key_invalid : &problem_idempotency_key_missing,
                   0);
    return false;
}

/* Within the limits, and not refused for good, as a crowd may be. false: answered. */
static bool admitted(struct api *api, struct command *command)
{
    if (!gate_admit(&api->gate, command))
        return false;
    struct verdict verdict = {.now_us = clock_wall_us()};
    if (command->kind == COMMAND_ISSUE)
        verdict.refusal =
            early_refusal(api->early, command->campaign_id, command->issue.user_id, &verdict.next);
    if (verdict.refusal)
        answer_verdict(command, &verdict, NULL);
    return !verdict.refusal;
}

enum submission { SUBMIT_NOW, SUBMIT_HELD }; /* the second: its request was deferred */

static void enqueue(struct api *api, struct command *command, struct span key, enum submission how)
{
    if (key.ptr)
        name_request(command, key);
    else
        find_slice(command);
    if (how == SUBMIT_NOW)
        http_defer(command->request); /* before the committer can see it */
    offer(api, command, key);
}

static void hold(struct api *api, struct command *command)
{
    int16_t slice = slice_in_path(command->request);
    if (slice >= 0)
        queue_want(committers_queue(api->committers, slice));
    http_defer(command->request);
    control_hold(api->control, command);
}

/* All lines of a field as one list. The head of a request is much smaller than an arena. */
static struct span take_list(struct command *command, const char *name)
{
    struct buf list;
    struct span line, taken = {NULL, 0};
    buf_init(&list, CONDITION_MAX);
    for (size_t nth = 0; (line = http_header_nth(command->request, name, nth)).ptr; nth++) {
        buf_append_text(&list, nth ? "," : "");
        buf_append_span(&list, line);
        taken.ptr = "";
    }
    CHECK(!list.overflow);
    if (list.len) {
        char *copy = arena_alloc(&command->arena, list.len);
        CHECK(copy);
        memcpy(copy, list.data, list.len);
        taken = (struct span){copy, list.len};
    }
    buf_deinit(&list);
    return taken;
}

void submit(struct api *api, struct command *command, enum key_rule rule)
{
    struct span key;
    command->if_match = take_list(command, "If-Match");
    command->if_none_match = take_list(command, "If-None-Match");
    if (!take_key(command, rule, &key)) {
        command_destroy(command);
        return;
    }
    stamp(api, command);
    if (!control_looked(api->control))
        hold(api, command);
    else if (admitted(api, command))
        enqueue(api, command, key, SUBMIT_NOW);
    else
        command_destroy(command);
}

void submit_held(struct command *command, void *context)
{
    struct span key; /* it was looked at before the command was held */
    if (take_key(command, KEY_OPTIONAL, &key) && admitted(context, command))
        enqueue(context, command, key, SUBMIT_HELD);
    else
        command_destroy(command);
}

/* The body belongs to the request, and the user's id is needed for longer. */
static struct command *command_of(const struct command *asked)
{
    struct command *command = command_create(COMMAND_ISSUE, asked->request);
    command->campaign_id = asked->campaign_id;
    command->issue.user_id = asked->issue.user_id;
    command->source = asked->source;
    command->source_destroy = asked->source_destroy;
    if (!command->source) {
        CHECK(asked->issue.user_id.len <= sizeof command->issue.user_text);
        memcpy(command->issue.user_text, asked->issue.user_id.ptr, asked->issue.user_id.len);
        command->issue.user_id.ptr = command->issue.user_text;
    }
    return command;
}

void submit_issue(struct api *api, struct command *asked)
{
    struct span key;
    if (!control_looked(api->control)) {
        submit(api, command_of(asked), KEY_REQUIRED);
        return;
    }
    if (take_key(asked, KEY_REQUIRED, &key)) {
        stamp(api, asked);
        if (admitted(api, asked)) {
            struct command *command = command_of(asked);
            stamp(api, command);
            enqueue(api, command, key, SUBMIT_NOW);
            return;
        }
    }
    command_forget_source(asked);
}

/* --- every slice --- */

static struct span keep(struct command *command, struct span text)
{
    if (!text.ptr)
        return text;
    char *copy = arena_alloc(&command->arena, text.len);
    CHECK(copy); /* bounded by what a body may have */
    memcpy(copy, text.ptr, text.len);
    return (struct span){copy, text.len};
}

/* `whole` without what it must not share: its request, its document, its arena. */
static struct command *part_of(const struct command *whole, int16_t slice, struct gather *gather)
{
    struct command *part = command_create(whole->kind, NULL);
    part->gather = gather;
    part->slice = slice;
    part->id = whole->id;
    part->voids = whole->voids;
    part->voids.created_by = keep(part, whole->voids.created_by);
    part->reason = keep(part, whole->reason);
    part->actor = whole->actor;
    part->by_admin = whole->by_admin;
    memcpy(part->trace_bytes, whole->trace_bytes, sizeof part->trace_bytes);
    if (whole->trace.ptr)
        part->trace = (struct span){(const char *)part->trace_bytes, TRACE_BYTES};
    part->deadline_us = whole->deadline_us;
    return part;
}

/* Consumes `whole`, whose request was deferred. */
static void offer_parts(struct api *api, struct command *whole, struct span key)
{
    struct gather *gather = gather_create(whole->request, SLICE_COUNT);
    whole->request = NULL;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        struct command *part = part_of(whole, slice, gather);
        name_request(part, key);
        offer(api, part, key);
    }
    command_destroy(whole);
}

void submit_to_all(struct api *api, struct command *command)
{
    struct span key;
    bool in = take_key(command, KEY_REQUIRED, &key);
    if (in) {
        stamp(api, command);
        in = gate_admit(&api->gate, command);
    }
    if (!in) {
        command_destroy(command);
        return;
    }
    http_defer(command->request);
    offer_parts(api, command, key);
}

void submit_question(struct api *api, struct http_request *request, struct span key)
{
    uint8_t key_hash[REQUEST_KEY_BYTES];
    if (!key_valid(key)) {
        http_fail(request, &problem_idempotency_key_invalid, NULL);
        return;
    }
    if (!gate_admit_question(&api->gate, request))
        return;
    hash_texts(span_of(http_key(request)->name), key, key_hash, sizeof key_hash);
    requests_ask(api->requests, request, key_hash);
}

void submit_campaign_question(struct api *api, struct http_request *request)
{
    if (gate_admit_question(&api->gate, request))
        requests_ask_campaign(api->requests, request);
}
