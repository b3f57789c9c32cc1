/* SPDX-License-Identifier: Apache-2.0 */
/* From a read to its HTTP answer. */
#include "query-service/respond.h"

#include "common/clock.h"
#include "events/problems.h"
#include "query-service/metrics.h"
#include "query-service/render.h"

enum { HEADER_MAX = 128, RETRY_MIN_MS = 500, RETRY_SPREAD_MS = 2500 };

static struct {
    struct respond_options options;
    char cache_control[HEADER_MAX];
} setup; /* written once, before threads start */

void respond_setup(const struct respond_options *options)
{
    setup.options = *options;
    snprintf(setup.cache_control, sizeof setup.cache_control,
             "private, max-age=%lld, stale-while-revalidate=%lld, stale-if-error=%lld",
             (long long)options->fresh_s, (long long)options->stale_while_revalidate_s,
             (long long)options->stale_if_error_s);
}

/* RFC 9211: this service is the cache in front of the log. The detail says who answered, and why not Redis.
 */
static void add_cache_status(struct http_request *request, const struct read *read)
{
    char text[HEADER_MAX];
    if (read->source == SOURCE_REDIS)
        snprintf(text, sizeof text, "firstcome-query; hit; detail=redis");
    else
        snprintf(text, sizeof text, "firstcome-query; fwd=%s; detail=\"postgres, %s\"",
                 read->fallback == FALLBACK_BEHIND || read->fallback == FALLBACK_OLD ? "stale" : "miss",
                 fallback_label(read->fallback));
    http_add_header(request, "Cache-Status", span_of(text));
}

static void fail(struct http_request *request, const struct problem *problem, const char *detail)
{
    struct problem_detail occurrence = {.problem = problem, .detail = detail};
    if (problem->retryable)
        occurrence.retry_after_ms = RETRY_MIN_MS + crypto_random_below(RETRY_SPREAD_MS);
    http_add_header(request, "Cache-Control", SPAN("no-store"));
    http_problem(request, &occurrence);
}

static void respond_failure(struct http_request *request, enum read_failure failure)
{
    switch (failure) {
    case READ_OVERLOADED:
        fail(request, &problem_overloaded, "too many reads are waiting");
        return;
    case READ_UNAVAILABLE:
        fail(request, &problem_store_unavailable,
             "neither the read models nor the event store answered in time");
        return;
    case READ_NOT_REACHED:
        fail(request, &problem_store_unavailable,
             "the event store this service reads has not reached the Consistency-Token");
        return;
    case READ_TOO_MUCH:
        fail(request, &problem_store_unavailable,
             "the read models do not have this answer now, and it is too much to count from the event store");
        return;
    case READ_INTERNAL:
        fail(request, &problem_internal, "the event store has an entry this version does not understand");
        return;
    case READ_GOOD:
        break;
    }
    UNREACHABLE("a good read is no failure");
}

static void respond_body(struct http_request *request, const struct read *read)
{
    char tag_text[ETAG_MAX + 1];
    struct buf *body = http_reply_body(request), tag;
    render_answer(body, &read->query, &read->answer, setup.options.code_key);
    buf_init(&tag, ETAG_MAX);
    render_etag(&tag, buf_span(body));
    CHECK(!tag.overflow);
    memcpy(tag_text, tag.data, tag.len + 1);
    buf_deinit(&tag);
    http_add_header(request, "ETag", span_of(tag_text));
    http_add_header(request, "Cache-Control", span_of(setup.cache_control));
    http_add_header(request, "Age", SPAN("0"));
    if (!etag_matches(http_header(request, "If-None-Match"), span_of(tag_text))) {
        http_reply(request, 200);
        return;
    }
    buf_clear(body);
    metric_add(query_metrics.not_modified, 1);
    http_reply(request, 304);
}

void respond(struct read *read)
{
    struct http_request *request = read->request;
    if (read->failure != READ_GOOD) {
        respond_failure(request, read->failure);
    } else {
        add_cache_status(request, read);
        switch (read->answer.outcome) {
        case ANSWER_FOUND:
            respond_body(request, read);
            break;
        case ANSWER_NO_CAMPAIGN:
            fail(request, &problem_unknown_campaign, NULL);
            break;
        case ANSWER_NO_COUPON:
            fail(request, &problem_unknown_coupon, NULL);
            break;
        }
    }
    read_destroy(read);
}
