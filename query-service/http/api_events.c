/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/events: from parameters to a question to the feed. */
#include "events/event_json.h"
#include "query-service/http/api.h"

static bool take_number(struct http_request *request, const char *name, int64_t max, int64_t *ret)
{
    struct span text = http_query(request, name);
    return !text.ptr || parse_i64(text, 0, max, ret) ||
           api_refuse_parameter(request, name, "not a whole number, or out of its range");
}

static bool take_slice(struct http_request *request, struct feed_query *query)
{
    int64_t slice = -1;
    if (!take_number(request, "slice", SLICE_COUNT - 1, &slice))
        return false;
    query->slice = (int16_t)slice;
    return slice >= 0 || api_refuse_parameter(request, "slice", "which slice, 0 to 15, has to be said");
}

static bool take_campaign(struct http_request *request, struct feed_query *query)
{
    struct span id = http_query(request, "campaign");
    if (!id.ptr)
        return true;
    if (!campaign_id_valid(id))
        return api_refuse_parameter(request, "campaign", "a campaign id is [a-z0-9][a-z0-9-]{0,63}");
    if (slice_of(id) != query->slice)
        return api_refuse_parameter(request, "campaign", "this campaign's events are in another slice");
    memcpy(query->campaign_id, id.ptr, id.len);
    query->campaign_id_len = id.len;
    return true;
}

static bool take_type(struct http_request *request, struct feed_query *query)
{
    struct span name = http_query(request, "type");
    return !name.ptr || event_type_parse(name, &query->type) ||
           api_refuse_parameter(request, "type", "the name of an event's type, such as CouponIssued");
}

void api_get_events(struct http_request *request, void *context)
{
    static const char *const known[] = {"slice", "after", "limit", "wait", "campaign", "type", NULL};
    struct api *api = context;
    if (api_refuse_suspended(request, api))
        return;
    struct feed_query query = {.limit = FEED_LIMIT_DEFAULT,
                               .type = EVENT_TYPE_END,
                               .control = http_key(request)->scopes & AUTH_ADMIN};
    bool good = http_query_only(request, known) && take_slice(request, &query) &&
                take_number(request, "after", INT64_MAX, &query.after) &&
                take_number(request, "limit", FEED_LIMIT_MAX, &query.limit) &&
                take_number(request, "wait", FEED_WAIT_MAX_S, &query.wait_s) &&
                take_campaign(request, &query) && take_type(request, &query);
    if (!good)
        return;
    if (query.limit == 0)
        (void)api_refuse_parameter(request, "limit", "limit is a whole number from 1 to 1000");
    else
        feed_submit(api->feeds[api->shards->of[query.slice]], request, &query);
}
