/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of the write API: parse, validate, name the request, queue. */
#include "command-service/api.h"

#include "command-service/answer.h"
#include "command-service/api_campaign.h"
#include "command-service/api_control.h"
#include "common/clock.h"
#include "events/problems.h"

enum {
    IDEMPOTENCY_KEY_MAX = 255,
    KEY_MADE_UP_BYTES = 32,
    BATCH_BODY_MAX = 1024 * 1024,
    HASHED_TEXT_MAX = 64 * 1024 + ISSUE_MANY_MAX * (USER_ID_MAX + 1),
};

/* --- naming the request (I4) --- */

/* A visible-ASCII key, with or without the quotes that draft-ietf-httpapi-idempotency-key-header writes. */
static bool idempotency_key_read(struct span *key)
{
    if (key->len >= 2 && key->ptr[0] == '"' && key->ptr[key->len - 1] == '"')
        *key = (struct span){key->ptr + 1, key->len - 2};
    if (key->len < 1 || key->len > IDEMPOTENCY_KEY_MAX)
        return false;
    for (size_t i = 0; i < key->len; i++)
        if (key->ptr[i] < 0x21 || key->ptr[i] > 0x7E)
            return false;
    return true;
}

/* Hash of texts, each followed by a NUL that none of them contains. */
static void hash_texts(struct span first, struct span second, uint8_t *ret, size_t ret_len)
{
    struct buf text;
    buf_init(&text, HASHED_TEXT_MAX);
    buf_append_span(&text, first);
    buf_append_char(&text, '\0');
    buf_append_span(&text, second);
    CHECK(!text.overflow);
    crypto_hash(NULL, buf_span(&text), ret, ret_len);
    buf_deinit(&text);
}

/* What the payload means, not how it was spelled: a retry with other white space is the same request. */
static void fingerprint(struct command *command)
{
    struct buf payload;
    buf_init(&payload, HASHED_TEXT_MAX);
    buf_append_i64(&payload, command->kind);
    buf_append_char(&payload, ' ');
    buf_append_i64(&payload, command->quantity);
    buf_append_char(&payload, ' ');
    buf_append_span(&payload, command->user_id);
    for (size_t i = 0; i < command->users_count; i++) {
        buf_append_char(&payload, '\0'); /* user ids have none */
        buf_append_span(&payload, command->user_ids[i]);
    }
    if (command->kind == COMMAND_CREATE) {
        struct event event = {.type = EVENT_CampaignCreated, .campaign_created = command->definition};
        buf_append_span(&payload, command->campaign_id);
        buf_append_char(&payload, ' ');
        event_encode(&event, &payload);
    }
    if (command_is_control(command->kind)) {
        buf_append_span(&payload, command->name);
        buf_append_char(&payload, ' '); /* names have none */
        buf_append_span(&payload, command->value);
    }
    CHECK(!payload.overflow);
    crypto_hash(NULL, buf_span(&payload), command->fingerprint, sizeof command->fingerprint);
    buf_deinit(&payload);
}

/* A campaign without an id gets one that is a function of the request, so that a retry means the same
 * campaign. Its idempotency row lives in a slice of the key's, because the id in the payload may differ
 * between two requests with the same key and both must find the one row. */
static void name_request(struct command *command, struct span idempotency_key)
{
    struct span actor = command->actor;
    struct span target = command->kind == COMMAND_CREATE     ? SPAN("")
                         : command_is_control(command->kind) ? command->name
                                                             : command->campaign_id;
    hash_texts(actor, idempotency_key, command->id.key_hash, sizeof command->id.key_hash);
    hash_texts(span_of(command_name(command->kind)), target, command->id.operation,
               sizeof command->id.operation);
    fingerprint(command);
    if (command_is_control(command->kind)) {
        command->campaign_id = CONTROL_STREAM;
        command->slice = command->request_slice = CONTROL_SLICE;
        return;
    }
    if (!command->campaign_id.ptr) {
        struct buf id;
        buf_init(&id, CAMPAIGN_ID_MAX);
        campaign_id_generate(&id, actor, idempotency_key);
        memcpy(command->campaign_id_text, id.data, id.len);
        command->campaign_id = (struct span){command->campaign_id_text, id.len};
        buf_deinit(&id);
    }
    command->slice = slice_of(command->campaign_id);
    command->request_slice =
        command->kind == COMMAND_CREATE ? command->id.key_hash[0] & (SLICE_COUNT - 1) : command->slice;
}

/* --- queueing --- */

static void refuse_offer(struct command *command, enum inbox_verdict verdict, int64_t wait_ms)
{
    static const struct problem *const problems[] = {
        [INBOX_IN_FLIGHT] = &problem_in_flight,  [INBOX_REUSED] = &problem_idempotency_key_reused,
        [INBOX_FULL] = &problem_overloaded,      [INBOX_UNAVAILABLE] = &problem_store_unavailable,
        [INBOX_CLOSED] = &problem_shutting_down,
    };
    /* Spread over the predicted drain, so that those refused now do not come back all at once. */
    int64_t spread_ms = wait_ms > 1000 ? wait_ms : 1000;
    int64_t retry_after_ms = 500 + crypto_random_below((uint32_t)(spread_ms < 30000 ? spread_ms : 30000));
    bool retryable = problems[verdict]->retryable;
    answer_problem(command, problems[verdict], retryable ? retry_after_ms : 0);
    command_destroy(command);
}

/* The request's Idempotency-Key. A PUT does the same each time anyway, so it may come without one, and then
 * is a request unlike any other. NULL, or what is wrong with it. */
static const struct problem *read_key(struct command *command, struct span *ret)
{
    *ret = http_header(command->request, "Idempotency-Key");
    if (!ret->ptr && command->kind == COMMAND_SET) {
        char *made_up = arena_alloc(&command->arena, KEY_MADE_UP_BYTES);
        crypto_random(made_up, KEY_MADE_UP_BYTES);
        *ret = (struct span){made_up, KEY_MADE_UP_BYTES};
        return NULL;
    }
    if (!ret->ptr)
        return &problem_idempotency_key_missing;
    bool twice = http_header_nth(command->request, "Idempotency-Key", 1).ptr != NULL;
    return twice || !idempotency_key_read(ret) ? &problem_idempotency_key_invalid : NULL;
}

void api_submit(struct api *api, struct command *command)
{
    struct http_request *request = command->request;
    struct span key;
    int64_t wait_ms;
    const struct problem *wrong = read_key(command, &key);
    if (wrong)
        answer_problem(command, wrong, 0);
    if (wrong || !gate_admit(&api->gate, command)) {
        command_destroy(command);
        return;
    }
    command->actor = span_of(http_key(request)->name);
    if (http_trace(request, command->trace_bytes))
        command->trace = (struct span){(const char *)command->trace_bytes, TRACE_BYTES};
    command->deadline_us = http_received_us(request) + api->request_deadline_ms * US_PER_MS;
    name_request(command, key);
    http_defer(request); /* before the committer can see it */
    enum inbox_verdict verdict =
        inbox_offer(committers_inbox(api->committers, command->slice), command, &wait_ms);
    if (verdict != INBOX_TAKEN)
        refuse_offer(command, verdict, wait_ms);
}

void api_refuse(struct command *command, const struct json_fault *fault)
{
    struct http_request *request = command->request;
    command->request = NULL;
    http_problem(request, &fault->detail);
    command_destroy(command);
}

bool api_parse_body(struct command *command, enum empty_body empty, struct json_fault *fault)
{
    struct span body = http_body(command->request);
    if (body.len == 0 && empty == EMPTY_IS_OBJECT)
        body = SPAN("{}");
    command->doc = json_parse(body, fault);
    return command->doc != NULL;
}

/* The campaign in the path. */
static bool path_campaign(struct command *command, struct json_fault *fault)
{
    command->campaign_id = http_param(command->request, 0);
    if (campaign_id_valid(command->campaign_id))
        return true;
    return json_fail(fault, &problem_invalid_id, "id", "a campaign id is [a-z0-9][a-z0-9-]{0,63}");
}

/* --- handlers --- */

static void post_campaign(struct http_request *request, void *context)
{
    struct command *command = command_create(COMMAND_CREATE, request);
    struct json_fault fault;
    if (api_parse_body(command, EMPTY_IS_MALFORMED, &fault) &&
        campaign_body_read(command, json_root(command->doc), &fault))
        api_submit(context, command);
    else
        api_refuse(command, &fault);
}

static void post_state(struct http_request *request, struct api *api, enum command_kind kind)
{
    struct command *command = command_create(kind, request);
    struct json_object_reader nothing = {.fields = NULL, .count = 0, .at = ""};
    struct json_fault fault;
    if (path_campaign(command, &fault) && api_parse_body(command, EMPTY_IS_OBJECT, &fault) &&
        json_read_object(json_root(command->doc), &nothing, command, &fault))
        api_submit(api, command);
    else
        api_refuse(command, &fault);
}

static void post_pause(struct http_request *request, void *context)
{
    post_state(request, context, COMMAND_PAUSE);
}

static void post_resume(struct http_request *request, void *context)
{
    post_state(request, context, COMMAND_RESUME);
}

static void post_close(struct http_request *request, void *context)
{
    post_state(request, context, COMMAND_CLOSE);
}

static void post_release(struct http_request *request, void *context)
{
    static const struct json_field fields[] = {
        {"quantity", JSON_INTEGER, JSON_REQUIRED, offsetof(struct command, quantity), 1, QUANTITY_MAX},
    };
    struct json_object_reader reader = {fields, COUNT_OF(fields), ""};
    struct command *command = command_create(COMMAND_RELEASE, request);
    struct json_fault fault;
    if (path_campaign(command, &fault) && api_parse_body(command, EMPTY_IS_MALFORMED, &fault) &&
        json_read_object(json_root(command->doc), &reader, command, &fault))
        api_submit(context, command);
    else
        api_refuse(command, &fault);
}

static bool read_user(struct command *command, struct json_fault *fault)
{
    static const struct json_field fields[] = {
        {"user_id", JSON_STRING, JSON_REQUIRED, offsetof(struct command, user_id), 0, HTTP_BODY_DEFAULT_MAX},
    };
    struct json_object_reader reader = {fields, COUNT_OF(fields), ""};
    if (!json_read_object(json_root(command->doc), &reader, command, fault))
        return false;
    if (user_id_valid(command->user_id))
        return true;
    return json_fail(fault, &problem_invalid_user_id, "user_id",
                     "a user id is 1 to 128 bytes of UTF-8 without control characters");
}

static void post_coupon(struct http_request *request, void *context)
{
    struct command *command = command_create(COMMAND_ISSUE, request);
    struct json_fault fault;
    if (path_campaign(command, &fault) && api_parse_body(command, EMPTY_IS_MALFORMED, &fault) &&
        read_user(command, &fault))
        api_submit(context, command);
    else
        api_refuse(command, &fault);
}

static bool read_users(struct command *command, struct json_fault *fault)
{
    const struct json_value *list = NULL;
    static const struct json_field fields[] = {
        {"user_ids", JSON_ARRAY, JSON_REQUIRED, 0, 1, ISSUE_MANY_MAX},
    };
    struct json_object_reader reader = {fields, COUNT_OF(fields), ""};
    if (!json_read_object(json_root(command->doc), &reader, &list, fault))
        return false;
    size_t count = json_array_length(list);
    struct span *users = arena_alloc(&command->arena, count * sizeof *users);
    CHECK(users); /* the arena has room for ISSUE_MANY_MAX */
    for (size_t i = 0; i < count; i++) {
        if (!json_read_string_at(list, i, "user_ids", &users[i], fault))
            return false;
        if (!user_id_valid(users[i]))
            return json_fail(fault, &problem_invalid_user_id, "user_ids",
                             "a user id is 1 to 128 bytes of UTF-8 without control characters");
    }
    command->user_ids = users;
    command->users_count = count;
    return true;
}

static void post_coupons(struct http_request *request, void *context)
{
    struct command *command = command_create(COMMAND_ISSUE_MANY, request);
    struct json_fault fault;
    if (path_campaign(command, &fault) && api_parse_body(command, EMPTY_IS_MALFORMED, &fault) &&
        read_users(command, &fault))
        api_submit(context, command);
    else
        api_refuse(command, &fault);
}

const struct http_route api_routes[] = {
    {HTTP_POST, "/v1/campaigns", AUTH_ADMIN, 0, post_campaign},
    {HTTP_POST, "/v1/campaigns/{id}/pause", AUTH_ADMIN, 0, post_pause},
    {HTTP_POST, "/v1/campaigns/{id}/resume", AUTH_ADMIN, 0, post_resume},
    {HTTP_POST, "/v1/campaigns/{id}/close", AUTH_ADMIN, 0, post_close},
    {HTTP_POST, "/v1/campaigns/{id}/release", AUTH_ADMIN, 0, post_release},
    {HTTP_POST, "/v1/campaigns/{id}/coupons", AUTH_ISSUE | AUTH_ADMIN, 0, post_coupon},
    {HTTP_POST, "/v1/campaigns/{id}/coupons/batch", AUTH_ISSUE | AUTH_ADMIN, BATCH_BODY_MAX, post_coupons},
    {HTTP_GET, "/v1/settings", AUTH_ADMIN, 0, api_get_settings},
    {HTTP_PUT, "/v1/settings/{name}", AUTH_ADMIN, 0, api_put_setting},
    {HTTP_POST, "/v1/issuers/{key-name}/suspend", AUTH_ADMIN, 0, api_post_suspend},
    {HTTP_POST, "/v1/issuers/{key-name}/resume", AUTH_ADMIN, 0, api_post_resume_issuer},
};
const size_t api_routes_count = COUNT_OF(api_routes);
