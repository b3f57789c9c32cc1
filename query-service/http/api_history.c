/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of the questions about what happened: parse, validate, submit. */
#include "query-service/http/api_internal.h"

#include "common/base/clock.h"

static struct question *begin(const struct api *api, enum history_kind kind)
{
    return question_create(kind, log_time_us(api->time, clock_mono_us()));
}

/* Consumes the question: `good` says whether the request is still unanswered and worth one. */
static void submit(struct http_request *request, const struct api *api, struct question *question, bool good)
{
    if (!good || api_refuse_suspended(request, api) || !api_take_tokens(request, &question->query)) {
        question_destroy(question);
        return;
    }
    question->item.deadline_us = http_received_us(request) + api->request_deadline_ms * US_PER_MS;
    history_submit(api->history, request, question);
}

static const char *const page_parameters[] = {"limit", "cursor", NULL};

/* The same list for another coupon has another scope: a cursor of one is refused by the other. */
void api_get_coupon_history(struct http_request *request, void *context)
{
    struct question *question = begin(context, HISTORY_COUPON);
    struct query *query = &question->query;
    submit(request, context, question,
           http_query_only(request, page_parameters) && api_take_coupon(request, context, query) &&
               api_take_limit(request, query) && api_take_cursor(request, CURSOR_HISTORY, query));
}

void api_get_campaign_history(struct http_request *request, void *context)
{
    struct question *question = begin(context, HISTORY_CAMPAIGN);
    struct query *query = &question->query;
    submit(request, context, question,
           http_query_only(request, page_parameters) &&
               api_take_campaign_id(request, http_param(request, 0), query) &&
               api_take_limit(request, query) && api_take_cursor(request, CURSOR_HISTORY, query));
}

void api_get_audit(struct http_request *request, void *context)
{
    struct question *question = begin(context, HISTORY_AUDIT);
    struct query *query = &question->query;
    submit(request, context, question,
           http_query_only(request, page_parameters) && api_take_limit(request, query) &&
               api_take_cursor(request, CURSOR_AUDIT, query));
}

void api_get_order_coupons(struct http_request *request, void *context)
{
    struct question *question = begin(context, HISTORY_ORDER);
    struct query *query = &question->query;
    submit(request, context, question,
           http_query_only(request, page_parameters) &&
               api_take_order_id(request, http_param(request, 0), query) && api_take_limit(request, query) &&
               api_take_cursor(request, CURSOR_ORDER, query));
}

void api_get_decision(struct http_request *request, void *context)
{
    static const char *const known[] = {"as_of", NULL};
    struct question *question = begin(context, HISTORY_DECISION);
    struct query *query = &question->query;
    submit(request, context, question,
           http_query_only(request, known) && api_take_campaign_id(request, http_param(request, 0), query) &&
               api_take_user_id(request, http_param(request, 1), query) && api_take_as_of(request, query));
}
