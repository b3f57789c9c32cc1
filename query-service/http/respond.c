/* SPDX-License-Identifier: Apache-2.0 */
/* From what was found, or kept, to an HTTP answer. */
#include "query-service/http/respond.h"

#include "common/base/clock.h"
#include "events/problems.h"
#include "query-service/http/render.h"
#include "query-service/metrics.h"
#include "query-service/pg/store_sql.h"

enum { HEADER_MAX = 160, BODY_MAX = 16 << 20, RETRY_MIN_MS = 500, RETRY_SPREAD_MS = 2500 };

static struct {
    struct respond_options options;
    char far_events[HEADER_MAX], far_campaigns[HEADER_MAX];
} setup; /* written once, before threads start */

void respond_setup(const struct respond_options *options)
{
    setup.options = *options;
    snprintf(setup.far_events, sizeof setup.far_events,
             "more than %lld events would have to be looked at; ask for a later moment",
             (long long)options->past_events_max);
    snprintf(setup.far_campaigns, sizeof setup.far_campaigns,
             "more than %d campaigns would have to be looked at; ask for a shorter window or for a tag",
             STORE_ACTIVE_MAX);
}

/* RFC 9211: this service is the cache in front of the log. A hit is of a copy in process or of Redis; the
 * detail says which, and why not. `ttl` is the freshness left, negative where it is past. */
static void add_cache_status(struct http_request *request, const struct entry *entry,
                             const struct respond_how *how)
{
    char text[HEADER_MAX];
    const char *collapsed = how->collapsed ? "; collapsed" : "";
    long long ttl = entry_fresh_left_us(entry, how->life, how->moment) / US_PER_S;
    switch (how->kind) {
    case RESPOND_HIT:
        snprintf(text, sizeof text, "firstcome-query; hit; ttl=%lld; detail=memory", ttl);
        break;
    case RESPOND_STALE:
        snprintf(text, sizeof text, "firstcome-query; hit; ttl=%lld; detail=\"memory, revalidating\"", ttl);
        break;
    case RESPOND_KEPT:
        snprintf(text, sizeof text,
                 "firstcome-query; fwd=stale; fwd-status=503; ttl=%lld; detail=\"memory, stale-if-error\"",
                 ttl);
        break;
    case RESPOND_LOADED:
        if (how->source == SOURCE_REDIS)
            snprintf(text, sizeof text, "firstcome-query; hit; detail=redis%s", collapsed);
        else
            snprintf(text, sizeof text, "firstcome-query; fwd=%s; detail=\"postgres, %s\"%s",
                     how->fallback == FALLBACK_BEHIND || how->fallback == FALLBACK_OLD ? "stale" : "miss",
                     fallback_label(how->fallback), collapsed);
        break;
    }
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

static void refuse_ahead(struct http_request *request)
{
    http_add_header(request, "Cache-Control", SPAN("no-store"));
    http_problem(request, &(struct problem_detail){.problem = &problem_invalid_parameter,
                                                   .detail = "the log has not reached this position",
                                                   .field = SPAN("as_of")});
}

void respond_failure(struct http_request *request, enum read_failure failure)
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
    case READ_FAR_EVENTS:
        fail(request, &problem_past_too_far, setup.far_events);
        return;
    case READ_FAR_CAMPAIGNS:
        fail(request, &problem_past_too_far, setup.far_campaigns);
        return;
    case READ_AHEAD:
        refuse_ahead(request);
        return;
    case READ_INTERNAL:
        fail(request, &problem_internal, "the event store has an entry this version does not understand");
        return;
    case READ_GOOD:
        break;
    }
    UNREACHABLE("a good read is no failure");
}

/* --- rendering --- */

static const struct problem *problem_of(enum answer_outcome outcome)
{
    switch (outcome) {
    case ANSWER_NO_CAMPAIGN:
        return &problem_unknown_campaign;
    case ANSWER_NO_COUPON:
        return &problem_unknown_coupon;
    case ANSWER_FOUND:
        break;
    }
    UNREACHABLE("what was found is no problem");
}

int respond_render(const struct read *read, struct buf *body, char *ret_etag)
{
    struct buf tag;
    buf_init(body, BODY_MAX);
    if (read->answer.outcome != ANSWER_FOUND) {
        const struct problem *problem = problem_of(read->answer.outcome);
        problem_write(body, &(struct problem_detail){.problem = problem});
        ret_etag[0] = '\0';
        return problem->status;
    }
    render_answer(body, &read->query, &read->answer, setup.options.code_key);
    CHECK(!body->overflow); /* the size of answers is bounded far below */
    buf_init(&tag, ETAG_MAX);
    render_etag(&tag, buf_span(body));
    CHECK(!tag.overflow && tag.len <= ENTRY_ETAG_MAX);
    memcpy(ret_etag, tag.data, tag.len + 1);
    buf_deinit(&tag);
    return 200;
}

/* --- answering --- */

static void add_age(struct http_request *request, const struct entry *entry, int64_t now_us)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)entry_age_s(entry, now_us));
    http_add_header(request, "Age", span_of(text));
}

/* If-None-Match is a list, and a list may come in several lines. */
static bool has_it(const struct http_request *request, struct span etag)
{
    struct span line;
    for (size_t nth = 0; (line = http_header_nth(request, "If-None-Match", nth)).ptr; nth++)
        if (etag_matches(line, etag))
            return true;
    return false;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What others may do with the answer. All three spans are counted from the load, which Age tells: so together
 * they reach no further than the instant at which it stops being true. */
static void add_cache_control(struct http_request *request, const struct entry *entry,
                              const struct entry_rendering *rendering, const struct respond_how *how)
{
    char text[HEADER_MAX];
    int64_t most_s = INT64_MAX;
    if (rendering->until_us != ENTRY_FOREVER)
        most_s =
            entry_age_s(entry, how->moment->now_us) + (rendering->until_us - how->moment->log_us) / US_PER_S;
    int64_t fresh_s = least(how->life->fresh_us / US_PER_S, most_s);
    if (entry->settled)
        snprintf(text, sizeof text, "private, max-age=%lld, immutable", (long long)ENTRY_SETTLED_S);
    else if (entry->no_stale)
        snprintf(text, sizeof text, "private, max-age=%lld, must-revalidate", (long long)fresh_s);
    else
        snprintf(text, sizeof text, "private, max-age=%lld, stale-while-revalidate=%lld, stale-if-error=%lld",
                 (long long)fresh_s, (long long)least(how->life->stale_us / US_PER_S, most_s - fresh_s),
                 (long long)least(how->life->error_us / US_PER_S, most_s - fresh_s));
    http_add_header(request, "Cache-Control", span_of(text));
}

void respond_entry(struct http_request *request, const struct entry *entry, const struct respond_how *how)
{
    const struct entry_rendering *is = entry_at(entry, how->moment->log_us);
    CHECK(is != NULL);
    add_cache_status(request, entry, how);
    add_age(request, entry, how->moment->now_us);
    if (entry->status != 200) {
        http_add_header(request, "Cache-Control", SPAN("no-store"));
        buf_append_span(http_reply_body(request), is->body);
        http_reply_as(request, entry->status, "application/problem+json");
        return;
    }
    http_add_header(request, "ETag", span_of(is->etag));
    add_cache_control(request, entry, is, how);
    if (has_it(request, span_of(is->etag))) {
        metric_add(query_metrics.not_modified, 1);
        http_reply(request, 304);
        return;
    }
    buf_append_span(http_reply_body(request), is->body);
    http_reply(request, 200);
}
