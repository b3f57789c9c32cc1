/* SPDX-License-Identifier: Apache-2.0 */
/* From what was found, or kept, to an HTTP answer. */
#include "query-service/http/respond.h"

#include "common/base/clock.h"
#include "common/base/gzip.h"
#include "events/problems.h"
#include "events/refusals.h"
#include "query-service/http/render.h"
#include "query-service/metrics.h"
#include "query-service/pg/store_sql.h"

enum { HEADER_MAX = 160, BODY_MAX = 16 << 20, RETRY_MIN_MS = 500, RETRY_SPREAD_MS = 2500, CODED_MIN = 1024 };

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

/* A header's value under construction: on the way of every hit, so without printf. */
struct text {
    size_t len;
    char data[HEADER_MAX];
};

static void add_text(struct text *text, const char *more)
{
    size_t len = strlen(more);
    CHECK(len <= sizeof text->data - text->len);
    memcpy(text->data + text->len, more, len);
    text->len += len;
}

static void add_number(struct text *text, int64_t number)
{
    char digits[24];
    size_t at = sizeof digits;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    digits[--at] = '\0';
    do
        digits[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        digits[--at] = '-';
    add_text(text, digits + at);
}

static void add_header(struct http_request *request, const char *name, const struct text *text)
{
    http_add_header(request, name, (struct span){text->data, text->len});
}

static void add_loaded(struct text *text, const struct respond_how *how)
{
    if (how->old) {
        add_text(text, "fwd=stale; fwd-status=503; detail=\"redis, stale-if-error\"");
    } else if (how->source == SOURCE_REDIS) {
        add_text(text, "hit; detail=redis");
    } else {
        bool stale = how->fallback == FALLBACK_BEHIND || how->fallback == FALLBACK_OLD;
        add_text(text, stale ? "fwd=stale; detail=\"postgres, " : "fwd=miss; detail=\"postgres, ");
        add_text(text, fallback_label(how->fallback));
        add_text(text, "\"");
    }
    if (how->collapsed)
        add_text(text, "; collapsed");
}

/* RFC 9211: this service is the cache in front of the log. A hit is of an entry in process or of Redis; the
 * detail says which, and why not. `ttl` is the freshness left, negative where it is past. */
static void add_cache_status(struct http_request *request, const struct entry *entry,
                             const struct respond_how *how)
{
    static const char *const before[] = {[RESPOND_HIT] = "hit; ttl=",
                                         [RESPOND_STALE] = "hit; ttl=",
                                         [RESPOND_KEPT] = "fwd=stale; fwd-status=503; ttl="};
    static const char *const after[] = {[RESPOND_HIT] = "; detail=memory",
                                        [RESPOND_STALE] = "; detail=\"memory, revalidating\"",
                                        [RESPOND_KEPT] = "; detail=\"memory, stale-if-error\""};
    struct text text = {.len = 0};
    add_text(&text, "firstcome-query; ");
    if (how->kind == RESPOND_LOADED) {
        add_loaded(&text, how);
    } else {
        add_text(&text, before[how->kind]);
        add_number(&text, entry_fresh_left_us(entry, how->life, how->moment) / US_PER_S);
        add_text(&text, after[how->kind]);
    }
    add_header(request, "Cache-Status", &text);
}

void respond_problem(struct http_request *request, const struct problem_detail *detail)
{
    http_add_header(request, "Cache-Control", SPAN("no-store"));
    refusals_count(detail->problem);
    http_problem(request, detail);
}

static void fail(struct http_request *request, const struct problem *problem, const char *detail)
{
    struct problem_detail occurrence = {.problem = problem, .detail = detail};
    if (problem->retryable)
        occurrence.retry_after_ms = RETRY_MIN_MS + crypto_random_below(RETRY_SPREAD_MS);
    respond_problem(request, &occurrence);
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
        respond_problem(request, &(struct problem_detail){.problem = &problem_invalid_parameter,
                                                          .detail = "the log has not reached this position",
                                                          .field = SPAN("as_of")});
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
    render_answer(body, &read->query, &read->answer, &setup.options.code_key);
    CHECK(!body->overflow); /* the size of answers is bounded far below */
    buf_init(&tag, HTTP_ETAG_MAX);
    http_etag_write(&tag, buf_span(body));
    CHECK(!tag.overflow && tag.len <= ENTRY_ETAG_MAX);
    memcpy(ret_etag, tag.data, tag.len + 1);
    buf_deinit(&tag);
    return 200;
}

/* --- answering --- */

static void add_age(struct http_request *request, const struct entry *entry, int64_t now_us)
{
    struct text text = {.len = 0};
    add_number(&text, entry_age_s(entry, now_us));
    add_header(request, "Age", &text);
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
    struct text text = {.len = 0};
    int64_t most_s = INT64_MAX;
    if (rendering->until_us != ENTRY_FOREVER)
        most_s =
            entry_age_s(entry, how->moment->now_us) + (rendering->until_us - how->moment->log_us) / US_PER_S;
    int64_t fresh_s = least(entry->settled ? ENTRY_SETTLED_S : how->life->fresh_us / US_PER_S, most_s);
    add_text(&text, "private, max-age=");
    add_number(&text, fresh_s);
    if (entry->settled) {
        add_text(&text, ", immutable");
    } else if (entry->no_stale) {
        add_text(&text, ", must-revalidate");
    } else {
        add_text(&text, ", stale-while-revalidate=");
        add_number(&text, least(how->life->stale_us / US_PER_S, most_s - fresh_s));
        add_text(&text, ", stale-if-error=");
        add_number(&text, least(how->life->error_us / US_PER_S, most_s - fresh_s));
    }
    add_header(request, "Cache-Control", &text);
}

static void release_entry(void *entry)
{
    entry_release(entry);
}

static bool is_list(struct span body)
{
    return span_starts(body, SPAN("{\"items\":["));
}

/* No two codings of a body have the same strong tag (RFC 9110, 8.8.3). */
static void add_etag(struct text *text, const char *etag, bool coded)
{
    add_text(text, etag);
    if (!coded)
        return;
    text->len--; /* the quote */
    add_text(text, "-gzip\"");
}

void respond_entry(struct http_request *request, struct entry *entry, const struct respond_how *how)
{
    enum { SHARED_MIN = 2048 }; /* bytes from which a copy costs more than sharing */
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
    /* Single things are not worth a coding: their tags are for If-Match too, and have one form. */
    bool list = is_list(is->body), coded = list && is->body.len >= CODED_MIN && http_accepts_gzip(request);
    struct text text = {.len = 0};
    add_etag(&text, is->etag, coded);
    struct span etag = {text.data, text.len};
    http_add_header(request, "ETag", etag);
    if (list)
        http_add_header(request, "Vary", SPAN("Accept, Accept-Encoding")); /* holders come as CSV too */
    enum http_condition condition = http_read_condition(request, etag);
    if (condition == HTTP_CONDITION_FAILED) {
        respond_problem(request, &(struct problem_detail){.problem = &problem_precondition_failed});
        return;
    }
    add_cache_control(request, entry, is, how);
    if (condition == HTTP_CONDITION_NOT_MODIFIED) {
        metric_add(query_metrics.not_modified, 1);
        http_reply(request, 304);
        return;
    }
    if (coded) {
        http_add_header(request, "Content-Encoding", SPAN("gzip"));
        gzip_append(http_reply_body(request), is->body);
        http_reply(request, 200);
        return;
    }
    if (is->body.len >= SHARED_MIN) {
        http_reply_shared(request, 200, "application/json", is->body, release_entry, entry_keep(entry));
        return;
    }
    buf_append_span(http_reply_body(request), is->body);
    http_reply(request, 200);
}
