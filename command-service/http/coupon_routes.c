/* SPDX-License-Identifier: Apache-2.0 */
/* The calls about one coupon, which may be named by its id or by its code. */
#include "command-service/http/internal.h"

#include "command-service/http/response.h"
#include "events/problems.h"

enum { RESERVE_SECONDS_MAX = 7 * 24 * 60 * 60 };

#define AT(member) offsetof(struct command, coupon.member)
#define USER_FIELD                                                                   \
    {                                                                                \
        "user_id", JSON_STRING, JSON_REQUIRED, AT(user_id), 0, HTTP_BODY_DEFAULT_MAX \
    }
#define ORDER_FIELD                                                                    \
    {                                                                                  \
        "order_id", JSON_STRING, JSON_REQUIRED, AT(order_id), 0, HTTP_BODY_DEFAULT_MAX \
    }
#define AMOUNT_FIELD                                                                \
    {                                                                               \
        "order_amount", JSON_INTEGER, JSON_REQUIRED, AT(order_amount), 0, MONEY_MAX \
    }

#define CURRENCY_FIELD                                             \
    {                                                              \
        "currency", JSON_STRING, JSON_OPTIONAL, AT(currency), 3, 3 \
    }

static const struct json_field reserve_fields[] = {
    USER_FIELD,
    ORDER_FIELD,
    AMOUNT_FIELD,
    CURRENCY_FIELD,
    {"ttl_seconds", JSON_INTEGER, JSON_REQUIRED, AT(ttl_s), 1, RESERVE_SECONDS_MAX},
};
static const struct json_field redeem_fields[] = {USER_FIELD, ORDER_FIELD, AMOUNT_FIELD, CURRENCY_FIELD};
static const struct json_field order_fields[] = {ORDER_FIELD};
static const struct json_field revoke_fields[] = {
    {"reason", JSON_STRING, JSON_REQUIRED, offsetof(struct command, reason), 1, REASON_MAX},
};
#undef AT

/* The body of a call, by what it asks for. */
struct coupon_call {
    enum command_kind kind;
    const struct json_field *fields;
    size_t fields_count;
    bool user, order;
};

static const struct coupon_call reserve_call = {COMMAND_RESERVE, reserve_fields, COUNT_OF(reserve_fields),
                                                true, true};
static const struct coupon_call redeem_call = {COMMAND_REDEEM, redeem_fields, COUNT_OF(redeem_fields), true,
                                               true};
static const struct coupon_call free_call = {COMMAND_FREE, order_fields, COUNT_OF(order_fields), false, true};
static const struct coupon_call restore_call = {COMMAND_RESTORE, order_fields, COUNT_OF(order_fields), false,
                                                true};
static const struct coupon_call revoke_call = {COMMAND_REVOKE, revoke_fields, COUNT_OF(revoke_fields), false,
                                               false};

/* A text that names no coupon of ours is answered like a coupon that is not there: nobody learns which it is.
 * Ids can be guessed, so naming a coupon by its id is a right of its own. */
static bool path_coupon(struct api *api, struct command *command, struct json_fault *fault)
{
    struct span name = http_param(command->request, 0);
    bool by_id = coupon_id_parse(name, &command->coupon.at);
    if (by_id && !(http_key(command->request)->scopes & (AUTH_ADMIN | AUTH_REDEEM_BY_ID)))
        return json_fail(fault, &problem_forbidden, "id",
                         "this API key names coupons by their code, not by their id (redeem-by-id)");
    if (by_id || coupon_code_parse(name, committers_code_key(api->committers), &command->coupon.at))
        return true;
    return json_fail(fault, &problem_unknown_coupon, "id", "there is no such coupon");
}

static bool check_texts(const struct coupon_call *call, const struct command *command,
                        struct json_fault *fault)
{
    if (call->user && !api_check_user(command, fault))
        return false;
    if (call->order && !order_id_valid(command->coupon.order_id))
        return json_fail(fault, &problem_invalid_order_id, "order_id",
                         "an order id is 1 to 128 bytes of UTF-8 without control characters");
    return api_check_reason(command, fault);
}

static void post(struct http_request *request, struct api *api, const struct coupon_call *call)
{
    struct command *command = command_create(call->kind, request);
    struct json_fault fault;
    if (api_read(command, call->fields, call->fields_count, EMPTY_IS_MALFORMED, &fault) &&
        check_texts(call, command, &fault) && path_coupon(api, command, &fault))
        submit(api, command, KEY_REQUIRED);
    else
        api_refuse(command, &fault);
}

void api_post_reserve(struct http_request *request, void *context)
{
    post(request, context, &reserve_call);
}

void api_post_redeem(struct http_request *request, void *context)
{
    post(request, context, &redeem_call);
}

void api_post_free(struct http_request *request, void *context)
{
    post(request, context, &free_call);
}

void api_post_restore(struct http_request *request, void *context)
{
    post(request, context, &restore_call);
}

void api_post_revoke(struct http_request *request, void *context)
{
    post(request, context, &revoke_call);
}
