/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the read API share: parts of a request. Each fills the query or answers the request, and
 * returns false, where they are wrong. For nobody else. */
#pragma once

#include "query-service/http/api.h"

bool api_take_campaign_id(struct http_request *request, struct span id, struct query *query);
bool api_take_user_id(struct http_request *request, struct span id, struct query *query);
bool api_take_order_id(struct http_request *request, struct span id, struct query *query);
bool api_take_limit(struct http_request *request, struct query *query);
bool api_take_as_of(struct http_request *request, struct query *query); /* after the id */
bool api_take_cursor(struct http_request *request, enum cursor_kind kind,
                     struct query *query); /* after ids and filters */
bool api_take_tokens(struct http_request *request, struct query *query);
bool api_take_coupon(struct http_request *request, const struct api *api, struct query *query);

/* api_history.c */
http_handler api_get_coupon_history, api_get_campaign_history, api_get_audit, api_get_order_coupons,
    api_get_decision;
