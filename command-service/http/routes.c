/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of the write API: parse, validate, submit. Coupons have a file of their own, api_coupon.c. */
#include "command-service/http/internal.h"

#include "command-service/http/campaign_routes.h"
#include "events/api_document.h"
#include "events/console_page.h"
#include "events/problems.h"
#include "events/refusals.h"

enum { BATCH_BODY_MAX = 2 * 1024 * 1024 }; /* ISSUE_MANY_MAX of the longest ids, and spare */

/* --- parsing --- */

void api_refuse(struct command *command, const struct json_fault *fault)
{
    struct http_request *request = command->request;
    command->request = NULL;
    refusals_count(fault->detail.problem);
    http_problem(request, &fault->detail);
    command_destroy(command);
}

static void destroy_doc(void *source)
{
    json_destroy(source);
}

bool api_parse(struct command *command, enum empty_body empty, struct json_fault *fault)
{
    struct span body = http_body(command->request);
    if (body.len == 0 && empty == EMPTY_IS_OBJECT)
        body = SPAN("{}");
    command->source = json_parse(body, fault);
    command->source_destroy = destroy_doc;
    return command->source != NULL;
}

bool api_read(struct command *command, const struct json_field *fields, size_t count, enum empty_body empty,
              struct json_fault *fault)
{
    struct json_object_reader reader = {fields, count, ""};
    return api_parse(command, empty, fault) &&
           json_read_object(json_root(command->source), &reader, command, fault);
}

bool api_check_reason(const struct command *command, struct json_fault *fault)
{
    if (!text_has_control(command->reason))
        return true;
    return json_fail(fault, &problem_invalid_value, "reason", "reason has control characters");
}

bool api_read_reason(struct command *command, struct json_fault *fault)
{
    static const struct json_field fields[] = {API_REASON_FIELD};
    return api_read(command, fields, COUNT_OF(fields), EMPTY_IS_OBJECT, fault) &&
           api_check_reason(command, fault);
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
    if (api_parse(command, EMPTY_IS_MALFORMED, &fault) &&
        campaign_body_read(command, json_root(command->source), &fault))
        submit(context, command, KEY_REQUIRED);
    else
        api_refuse(command, &fault);
}

static void patch_campaign(struct http_request *request, void *context)
{
    struct command *command = command_create(COMMAND_CHANGE, request);
    struct json_fault fault;
    if (path_campaign(command, &fault) && api_parse(command, EMPTY_IS_MALFORMED, &fault) &&
        campaign_change_read(command, json_root(command->source), &fault) &&
        api_check_reason(command, &fault))
        submit(context, command, KEY_REQUIRED);
    else
        api_refuse(command, &fault);
}

static void post_state(struct http_request *request, struct api *api, enum command_kind kind)
{
    struct command *command = command_create(kind, request);
    struct json_fault fault;
    if (path_campaign(command, &fault) && api_read_reason(command, &fault))
        submit(api, command, KEY_REQUIRED);
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
        {"quantity", JSON_INTEGER, JSON_REQUIRED, offsetof(struct command, release.quantity), 1,
         QUANTITY_MAX},
        API_REASON_FIELD,
    };
    struct command *command = command_create(COMMAND_RELEASE, request);
    struct json_fault fault;
    if (path_campaign(command, &fault) &&
        api_read(command, fields, COUNT_OF(fields), EMPTY_IS_MALFORMED, &fault) &&
        api_check_reason(command, &fault))
        submit(context, command, KEY_REQUIRED);
    else
        api_refuse(command, &fault);
}

bool api_check_user(const struct command *command, struct json_fault *fault)
{
    if (user_id_valid(command_user(command)))
        return true;
    return json_fail(fault, &problem_invalid_user_id, "user_id",
                     "a user id is 1 to 128 bytes of UTF-8 without control characters");
}

static void post_coupon(struct http_request *request, void *context)
{
    static const struct json_field fields[] = {
        {"user_id", JSON_STRING, JSON_REQUIRED, offsetof(struct command, issue.user_id), 0,
         HTTP_BODY_DEFAULT_MAX},
    };
    struct command asked = {.kind = COMMAND_ISSUE, .request = request};
    struct json_fault fault;
    if (path_campaign(&asked, &fault) &&
        (json_read_lone_text(http_body(request), "user_id", &asked.issue.user_id) ||
         api_read(&asked, fields, COUNT_OF(fields), EMPTY_IS_MALFORMED, &fault)) &&
        api_check_user(&asked, &fault)) {
        submit_issue(context, &asked);
    } else {
        http_problem(request, &fault.detail);
        command_forget_source(&asked);
    }
}

static bool read_users(struct command *command, struct json_fault *fault)
{
    const struct json_value *list = NULL;
    static const struct json_field fields[] = {
        {"user_ids", JSON_ARRAY, JSON_REQUIRED, 0, 1, ISSUE_MANY_MAX},
    };
    struct json_object_reader reader = {fields, COUNT_OF(fields), ""};
    if (!json_read_object(json_root(command->source), &reader, &list, fault))
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
    command->issue_many.user_ids = users;
    command->issue_many.count = count;
    return true;
}

static void post_coupons(struct http_request *request, void *context)
{
    struct command *command = command_create(COMMAND_ISSUE_MANY, request);
    struct json_fault fault;
    if (path_campaign(command, &fault) && api_parse(command, EMPTY_IS_MALFORMED, &fault) &&
        read_users(command, &fault))
        submit(context, command, KEY_REQUIRED);
    else
        api_refuse(command, &fault);
}

static void delete_campaign(struct http_request *request, void *context)
{
    struct command *command = command_create(COMMAND_DELETE, request);
    struct json_fault fault;
    if (path_campaign(command, &fault) && api_read_reason(command, &fault))
        submit(context, command, KEY_OPTIONAL);
    else
        api_refuse(command, &fault);
}

/* What would void everything is more likely a mistake than meant. */
static bool check_filter(const struct void_filter *filter, struct json_fault *fault)
{
    if (filter->dry_run || filter->created_by.ptr || filter->created_before_us || filter->created_after_us)
        return true;
    return json_fail(fault, &problem_missing_field, "created_by",
                     "give created_by, created_before or created_after, or dry_run");
}

static void post_void(struct http_request *request, void *context)
{
#define AT(member) offsetof(struct command, voids.member)
    static const struct json_field fields[] = {
        {"created_by", JSON_STRING, JSON_OPTIONAL, AT(created_by), 1, EVENT_TEXT_MAX},
        {"created_before", JSON_TIME, JSON_OPTIONAL, AT(created_before_us), 0, 0},
        {"created_after", JSON_TIME, JSON_OPTIONAL, AT(created_after_us), 0, 0},
        {"dry_run", JSON_BOOLEAN, JSON_OPTIONAL, AT(dry_run), 0, 0},
        API_REASON_FIELD,
    };
#undef AT
    struct command *command = command_create(COMMAND_VOID, request);
    struct json_fault fault;
    if (api_read(command, fields, COUNT_OF(fields), EMPTY_IS_OBJECT, &fault) &&
        check_filter(&command->voids, &fault) && api_check_reason(command, &fault))
        submit_to_all(context, command);
    else
        api_refuse(command, &fault);
}

/* Where Location of a creation leads. */
static void get_campaign(struct http_request *request, void *context)
{
    static const char *const none[] = {NULL};
    if (!http_query_only(request, none))
        return;
    if (campaign_id_valid(http_param(request, 0)))
        submit_campaign_question(context, request);
    else
        http_problem(request, &(struct problem_detail){.problem = &problem_invalid_id,
                                                       .detail = "a campaign id is [a-z0-9][a-z0-9-]{0,63}",
                                                       .field = SPAN("id")});
}

static void get_request(struct http_request *request, void *context)
{
    submit_question(context, request, http_param(request, 0));
}

const struct http_route api_routes[] = {
    {HTTP_POST, "/v1/campaigns", AUTH_ADMIN, 0, post_campaign},
    {HTTP_GET, "/v1/campaigns/{id}", AUTH_READ | AUTH_ADMIN, 0, get_campaign},
    {HTTP_PATCH, "/v1/campaigns/{id}", AUTH_ADMIN | HTTP_CONDITIONS, 0, patch_campaign},
    {HTTP_POST, "/v1/campaigns/{id}/pause", AUTH_ADMIN | HTTP_CONDITIONS, 0, post_pause},
    {HTTP_POST, "/v1/campaigns/{id}/resume", AUTH_ADMIN | HTTP_CONDITIONS, 0, post_resume},
    {HTTP_POST, "/v1/campaigns/{id}/close", AUTH_ADMIN | HTTP_CONDITIONS, 0, post_close},
    {HTTP_POST, "/v1/campaigns/{id}/release", AUTH_ADMIN | HTTP_CONDITIONS, 0, post_release},
    {HTTP_POST, "/v1/campaigns/void", AUTH_ADMIN, 0, post_void},
    {HTTP_DELETE, "/v1/campaigns/{id}", AUTH_ADMIN | HTTP_CONDITIONS, 0, delete_campaign},
    {HTTP_POST, "/v1/campaigns/{id}/coupons", AUTH_ISSUE | AUTH_ADMIN, 0, post_coupon},
    {HTTP_POST, "/v1/campaigns/{id}/coupons/batch", AUTH_ISSUE | AUTH_ADMIN, BATCH_BODY_MAX, post_coupons},
    {HTTP_POST, "/v1/coupons/{id}/reserve", AUTH_REDEEM | AUTH_ADMIN, 0, api_post_reserve},
    {HTTP_POST, "/v1/coupons/{id}/redeem", AUTH_REDEEM | AUTH_ADMIN, 0, api_post_redeem},
    {HTTP_POST, "/v1/coupons/{id}/release", AUTH_REDEEM | AUTH_ADMIN, 0, api_post_free},
    {HTTP_POST, "/v1/coupons/{id}/restore", AUTH_REDEEM | AUTH_ADMIN, 0, api_post_restore},
    {HTTP_POST, "/v1/coupons/{id}/revoke", AUTH_ADMIN, 0, api_post_revoke},
    {HTTP_GET, "/v1/settings", AUTH_ADMIN, 0, api_get_settings},
    {HTTP_PUT, "/v1/settings/{name}", AUTH_ADMIN, 0, api_put_setting},
    {HTTP_POST, "/v1/issuers/{key-name}/suspend", AUTH_ADMIN, 0, api_post_suspend},
    {HTTP_POST, "/v1/issuers/{key-name}/resume", AUTH_ADMIN, 0, api_post_resume_issuer},
    {HTTP_GET, "/v1/status", AUTH_READ | AUTH_ADMIN, 0, api_get_status},
    API_DOCUMENT_ROUTES,
    CONSOLE_PAGE_ROUTES,
    {HTTP_GET, "/v1/requests/{key}", AUTH_ISSUE | AUTH_REDEEM | AUTH_ADMIN, 0, get_request},
};
const size_t api_routes_count = COUNT_OF(api_routes);
