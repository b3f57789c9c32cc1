/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of the read API: parse, validate, submit. */
#include "query-service/http/api_internal.h"

#include "common/base/clock.h"
#include "events/api_document.h"
#include "events/console_page.h"
#include "events/problems.h"
#include "query-service/http/respond.h"

/* --- refusing --- */

/* Always false, so that a parser can say `return refuse(...)`. */
static bool refuse(struct http_request *request, const struct problem *problem, const char *field,
                   const char *why)
{
    respond_problem(request,
                    &(struct problem_detail){.problem = problem, .detail = why, .field = span_of(field)});
    return false;
}

bool api_refuse_parameter(struct http_request *request, const char *name, const char *why)
{
    return refuse(request, &problem_invalid_parameter, name, why);
}

bool api_refuse_suspended(struct http_request *request, const struct api *api)
{
    if (!control_refuses(api->control, http_key(request)))
        return false;
    (void)refuse(request, &problem_issuer_suspended, NULL, NULL);
    return true;
}

/* --- parts of a request; each answers it and returns false where they are wrong --- */

bool api_take_campaign_id(struct http_request *request, struct span id, struct query *query)
{
    if (!campaign_id_valid(id))
        return refuse(request, &problem_invalid_id, "id", "a campaign id is [a-z0-9][a-z0-9-]{0,63}");
    query->campaign_id = query_keep(query, id);
    return true;
}

bool api_take_user_id(struct http_request *request, struct span id, struct query *query)
{
    if (!user_id_valid(id))
        return refuse(request, &problem_invalid_user_id, "user",
                      "a user id is 1 to 128 bytes of UTF-8 without control characters");
    query->user_id = query_keep(query, id);
    return true;
}

bool api_take_order_id(struct http_request *request, struct span id, struct query *query)
{
    if (!order_id_valid(id))
        return refuse(request, &problem_invalid_order_id, "order_id",
                      "an order id is 1 to 128 bytes of UTF-8 without control characters");
    query->order_id = query_keep(query, id);
    return true;
}

bool api_take_limit(struct http_request *request, struct query *query)
{
    struct span text = http_query(request, "limit");
    if (text.ptr && !parse_i64(text, 1, QUERY_LIMIT_MAX, &query->limit))
        return api_refuse_parameter(request, "limit", "limit is a whole number from 1 to 100");
    return true;
}

static bool take_tag(struct http_request *request, struct query *query)
{
    struct span tag = http_query(request, "tag");
    if (!tag.ptr)
        return true;
    if (!tag_valid(tag))
        return api_refuse_parameter(
            request, "tag",
            "a tag is 1 to 64 bytes of text without control characters, no blank at its ends");
    query->tag = query_keep(query, tag);
    return true;
}

static bool take_status(struct http_request *request, struct query *query)
{
    struct span status = http_query(request, "status");
    bool campaigns = query->kind == QUERY_CAMPAIGNS;
    if (!status.ptr)
        return true;
    if (!(campaigns ? query_campaign_status_known(status) : query_coupon_status_known(status)))
        return api_refuse_parameter(request, "status",
                                    campaigns
                                        ? "status is scheduled, active, sold_out, paused, ended or closed"
                                        : "status is issued, reserved, redeemed, revoked or expired");
    query->status = query_keep(query, status);
    return true;
}

/* In a query a + is a blank, and many a time has one. */
static bool lost_plus(struct span text)
{
    char copy[64];
    struct past past;
    if (text.len > sizeof copy || !memchr(text.ptr, ' ', text.len))
        return false;
    for (size_t i = 0; i < text.len; i++)
        copy[i] = text.ptr[i] == ' ' ? '+' : text.ptr[i];
    return past_parse((struct span){copy, text.len}, &past);
}

/* After the id. `now_us` becomes the instant that is asked for. */
bool api_take_as_of(struct http_request *request, struct query *query)
{
    struct span text = http_query(request, "as_of");
    struct past *past = &query->past;
    if (!text.ptr)
        return true;
    if (!past_parse(text, past))
        return api_refuse_parameter(request, "as_of",
                                    lost_plus(text)
                                        ? "the + of the offset arrived as a blank, which is what + "
                                          "means in a query: write %2B"
                                        : "as_of is an RFC 3339 time, or <slice>:<position>");
    if (past->kind == PAST_POSITION && query->kind == QUERY_RANKING)
        return api_refuse_parameter(request, "as_of", "a ranking is over all slices: ask for a time");
    if (past->kind == PAST_POSITION && past->at.slice != slice_of(query->campaign_id))
        return api_refuse_parameter(request, "as_of", "this campaign's events are in another slice");
    if (past->kind == PAST_INSTANT && past->at_us > query->now_us)
        return api_refuse_parameter(request, "as_of", "this is in the future");
    if (past->kind == PAST_INSTANT)
        query->now_us = past->at_us;
    return true;
}

/* After ids and filters: a cursor is bound to them. */
bool api_take_cursor(struct http_request *request, enum cursor_kind kind, struct query *query)
{
    struct span text = http_query(request, "cursor");
    struct buf scope;
    if (!text.ptr)
        return true;
    buf_init(&scope, QUERY_KEY_MAX);
    query_scope(query, &scope);
    bool good = cursor_parse(text, kind, buf_span(&scope), &query->after);
    buf_deinit(&scope);
    return good ||
           refuse(request, &problem_invalid_cursor, "cursor", "use `next` of the page before, unchanged");
}

/* Consistency-Token: one or several, separated by commas or in lines of their own (I9). A line that has none
 * is a client's mistake, and to answer it from any copy would hide that. */
static bool take_token_line(struct span line, struct query *query, size_t *count)
{
    struct position token;
    struct span item = http_list_next(&line);
    bool good = item.ptr != NULL;
    for (; good && item.ptr; item = http_list_next(&line)) {
        good = ++*count <= QUERY_TOKENS_MAX && consistency_token_parse(item, &token);
        if (good)
            query_require(query, token);
    }
    return good;
}

bool api_take_tokens(struct http_request *request, struct query *query)
{
    size_t count = 0;
    struct span line;
    for (size_t nth = 0; (line = http_header_nth(request, "Consistency-Token", nth)).ptr; nth++)
        if (!take_token_line(line, query, &count))
            return refuse(request, &problem_invalid_token, NULL,
                          "send up to 16 tokens as they were given, separated by commas");
    return true;
}

/* --- handing on --- */

/* Fills the query from the request; or answers the request and returns false. */
typedef bool parser(struct http_request *request, const struct api *api, struct query *query);

static bool take_query(struct http_request *request, const struct api *api, parser *parse,
                       struct query *query)
{
    return parse(request, api, query) && api_take_tokens(request, query);
}

/* Ids of coupons can be guessed: who may read only the coupon that it redeems names it by its code, or has
 * the right to name it by its id. Asked before any copy is looked at. */
static bool refuse_by_id(struct http_request *request, enum query_kind kind)
{
    struct position at;
    bool coupon = kind == QUERY_COUPON || kind == QUERY_VALIDITY;
    if (!coupon || (http_key(request)->scopes & (AUTH_READ | AUTH_ADMIN | AUTH_REDEEM_BY_ID)) ||
        !coupon_id_parse(http_param(request, 0), &at))
        return false;
    (void)refuse(request, &problem_forbidden, "coupon",
                 "this API key names coupons by their code, not by their id (redeem-by-id)");
    return true;
}

/* A read that is not answered from memory is parsed again into what outlives the request: a query points into
 * itself. */
static void answer(struct http_request *request, struct api *api, enum query_kind kind, parser *parse)
{
    struct query query;
    struct entry_moment moment = read_through_moment(&api->reads);
    query_init(&query, kind, moment.log_us);
    if (api_refuse_suspended(request, api) || refuse_by_id(request, kind) ||
        !take_query(request, api, parse, &query) || read_through_hit(&api->reads, request, &query, &moment))
        return;
    struct read *read = read_create(kind, moment.log_us);
    CHECK(take_query(request, api, parse, &read->query));
    read->item.deadline_us = http_received_us(request) + api->request_deadline_ms * US_PER_MS;
    read->token_wait_until_us = http_received_us(request) + api->token_wait_ms * US_PER_MS;
    read->waiter.request = request;
    read_through_get(&api->reads, read, &moment);
}

/* --- handlers --- */

static const char *const no_parameters[] = {NULL};

static bool parse_campaigns(struct http_request *request, const struct api *api, struct query *query)
{
    static const char *const known[] = {"status", "tag", "limit", "cursor", NULL};
    (void)api;
    return http_query_only(request, known) && take_status(request, query) && take_tag(request, query) &&
           api_take_limit(request, query) && api_take_cursor(request, CURSOR_CAMPAIGNS, query);
}

static bool parse_campaign(struct http_request *request, const struct api *api, struct query *query)
{
    static const char *const known[] = {"as_of", NULL};
    (void)api;
    return http_query_only(request, known) && api_take_campaign_id(request, http_param(request, 0), query) &&
           api_take_as_of(request, query);
}

static bool parse_holders(struct http_request *request, const struct api *api, struct query *query)
{
    static const char *const known[] = {"limit", "cursor", NULL};
    (void)api;
    return http_query_only(request, known) && api_take_campaign_id(request, http_param(request, 0), query) &&
           api_take_limit(request, query) && api_take_cursor(request, CURSOR_HOLDERS, query);
}

static bool parse_user_in_campaign(struct http_request *request, const struct api *api, struct query *query)
{
    (void)api;
    return http_query_only(request, no_parameters) &&
           api_take_campaign_id(request, http_param(request, 0), query) &&
           api_take_user_id(request, http_param(request, 1), query);
}

/* What is neither an id nor a code of ours is answered like an id nobody has: it tells nothing about codes.
 */
bool api_take_coupon(struct http_request *request, const struct api *api, struct query *query)
{
    struct span name = http_param(request, 0);
    return coupon_code_parse(name, &api->code_key, &query->coupon) || coupon_id_parse(name, &query->coupon) ||
           refuse(request, &problem_unknown_coupon, NULL, NULL);
}

static bool parse_coupon(struct http_request *request, const struct api *api, struct query *query)
{
    return http_query_only(request, no_parameters) && api_take_coupon(request, api, query);
}

static bool take_order(struct http_request *request, struct query *query)
{
    struct span text = http_query(request, "order_amount"), id = http_query(request, "order_id"),
                currency = http_query(request, "currency");
    if (id.ptr && !api_take_order_id(request, id, query))
        return false;
    if (currency.ptr && currency.len != 3)
        return api_refuse_parameter(request, "currency", "currency is an ISO 4217 code like KRW");
    if (currency.ptr)
        query->currency = query_keep(query, currency);
    return !text.ptr || parse_i64(text, 0, MONEY_MAX, &query->order_amount) ||
           api_refuse_parameter(request, "order_amount",
                                "an amount is in minor units, from 0 to 1000000000000");
}

static bool take_holder(struct http_request *request, struct query *query)
{
    struct span user = http_query(request, "user_id");
    return !user.ptr || api_take_user_id(request, user, query);
}

static bool parse_validity(struct http_request *request, const struct api *api, struct query *query)
{
    static const char *const known[] = {"user_id", "order_id", "order_amount", "currency", NULL};
    return http_query_only(request, known) && take_holder(request, query) && take_order(request, query) &&
           api_take_coupon(request, api, query);
}

static bool parse_user_coupons(struct http_request *request, const struct api *api, struct query *query)
{
    static const char *const known[] = {"status", "limit", "cursor", NULL};
    (void)api;
    return http_query_only(request, known) && api_take_user_id(request, http_param(request, 0), query) &&
           take_status(request, query) && api_take_limit(request, query) &&
           api_take_cursor(request, CURSOR_COUPONS, query);
}

static bool take_ranking(struct http_request *request, struct query *query)
{
    struct span by = http_query(request, "by"), window = http_query(request, "window");
    if (by.ptr && !counted_parse(by, &query->by))
        return api_refuse_parameter(request, "by", "by is issued or redeemed");
    if (window.ptr && !window_parse(window, &query->window))
        return api_refuse_parameter(request, "window", "window is 1h, 24h, 7d or all");
    return true;
}

static bool parse_ranking(struct http_request *request, const struct api *api, struct query *query)
{
    static const char *const known[] = {"by", "window", "tag", "limit", "as_of", NULL};
    (void)api;
    return http_query_only(request, known) && take_ranking(request, query) && take_tag(request, query) &&
           api_take_limit(request, query) && api_take_as_of(request, query);
}

/* As CSV there is one page, of all. */
static void export_holders(struct http_request *request, struct api *api)
{
    static const char *const known[] = {"as_of", NULL};
    struct export *export = export_create(log_time_us(api->time, clock_mono_us()));
    struct query *query = export_query(export);
    if (api_refuse_suspended(request, api) || !http_query_only(request, known) ||
        !api_take_campaign_id(request, http_param(request, 0), query) || !api_take_as_of(request, query) ||
        !api_take_tokens(request, query)) {
        export_destroy(export);
        return;
    }
    exports_submit(api->exports[api->shards->of[slice_of(query->campaign_id)]], request, export,
                   http_received_us(request) + api->request_deadline_ms * US_PER_MS);
}

static void get_holders(struct http_request *request, void *context)
{
    if (http_prefers(request, "text/csv", "application/json"))
        export_holders(request, context);
    else
        answer(request, context, QUERY_HOLDERS, parse_holders);
}

#define HANDLER(name, kind)                                             \
    static void get_##name(struct http_request *request, void *context) \
    {                                                                   \
        answer(request, context, kind, parse_##name);                   \
    }
HANDLER(campaigns, QUERY_CAMPAIGNS)
HANDLER(campaign, QUERY_CAMPAIGN)
HANDLER(user_in_campaign, QUERY_USER_IN_CAMPAIGN)
HANDLER(coupon, QUERY_COUPON)
HANDLER(validity, QUERY_VALIDITY)
HANDLER(user_coupons, QUERY_USER_COUPONS)
HANDLER(ranking, QUERY_RANKING)

#define READERS (AUTH_READ | AUTH_ADMIN)

const struct http_route api_routes[] = {
    {HTTP_GET, "/v1/campaigns", READERS, 0, get_campaigns},
    {HTTP_GET, "/v1/campaigns/{id}", READERS, 0, get_campaign},
    {HTTP_GET, "/v1/campaigns/{id}/coupons", READERS, 0, get_holders},
    {HTTP_GET, "/v1/campaigns/{id}/users/{user}", READERS, 0, get_user_in_campaign},
    {HTTP_GET, "/v1/coupons/{coupon}", READERS | AUTH_REDEEM, 0, get_coupon},
    {HTTP_GET, "/v1/coupons/{coupon}/validity", READERS | AUTH_REDEEM, 0, get_validity},
    {HTTP_GET, "/v1/users/{user}/coupons", READERS, 0, get_user_coupons},
    {HTTP_GET, "/v1/rankings/campaigns", READERS, 0, get_ranking},
    API_DOCUMENT_ROUTES,
    CONSOLE_PAGE_ROUTES,
    {HTTP_GET, "/v1/coupons/{coupon}/history", READERS, 0, api_get_coupon_history},
    {HTTP_GET, "/v1/campaigns/{id}/history", READERS, 0, api_get_campaign_history},
    {HTTP_GET, "/v1/campaigns/{id}/users/{user}/decision", READERS, 0, api_get_decision},
    {HTTP_GET, "/v1/orders/{order}/coupons", READERS, 0, api_get_order_coupons},
    {HTTP_GET, "/v1/audit", AUTH_ADMIN, 0, api_get_audit},
    {HTTP_GET, "/v1/events", READERS, 0, api_get_events},
    {HTTP_GET, "/v1/status", READERS, 0, api_get_status},
};
const size_t api_routes_count = COUNT_OF(api_routes);
