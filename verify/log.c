/* SPDX-License-Identifier: Apache-2.0 */
/* Places, batches, chain, bytes and envelopes of the events of a slice, and who holds how many. What
 * campaigns may do is in verify_campaign.c, what coupons may do in verify_coupon.c. */
#include "verify/log.h"

#include <string.h>

#include "events/ids.h"

void verify_log_init(struct verify_log *log, struct verify_report *report, struct verify_totals *totals,
                     size_t memory)
{
    *log = (struct verify_log){.report = report, .totals = totals, .memory = {.bytes_max = memory}};
    verify_table_init(&log->campaigns, &log->memory, sizeof(struct verify_campaign));
    verify_table_init(&log->holdings, &log->memory, sizeof(struct verify_holding));
    verify_table_init(&log->coupons, &log->memory, sizeof(struct verify_coupon));
    verify_table_init(&log->lives, &log->memory, sizeof(struct verify_coupon_life));
    verify_table_init(&log->controls, &log->memory, sizeof(struct verify_control));
    buf_init(&log->scratch, 2 * EVENT_DATA_MAX);
}

void verify_log_deinit(struct verify_log *log)
{
    verify_memory_clear(&log->memory);
    buf_deinit(&log->scratch);
}

/* --- passes --- */

static void begin_pass(struct verify_log *log)
{
    log->position = log->recorded_at_us = 0;
    log->batch = (struct verify_batch){0};
    log->campaign_id_len = 0;
    log->batches_over = log->uncovered = log->chain_open = log->quota_done = false;
    log->totals->passes++;
}

void verify_log_begin(struct verify_log *log, int16_t slice)
{
    log->slice = slice;
    log->whole = true;
    verify_memory_begin(&log->memory);
    log->totals->slices++;
    begin_pass(log);
}

bool verify_log_again(struct verify_log *log)
{
    if (!verify_memory_again(&log->memory))
        return false;
    log->whole = false;
    begin_pass(log);
    return true;
}

/* --- reporting --- */

void verify_log_differ(struct verify_log *log, enum verify_rule rule, const struct event *event,
                       const char *text)
{
    if (event->position <= log->memory.part.reported)
        return;
    struct verify_place place = {.slice = log->slice,
                                 .position = event->position,
                                 .campaign = campaign_id_valid(event->campaign_id) ? event->campaign_id
                                                                                   : (struct span){0}};
    verify_differ(log->report, rule, &place, "%s", text);
}

#define DIFFER_AT(log, rule, at, ...)                                                                   \
    verify_differ((log)->report, rule, &(struct verify_place){.slice = (log)->slice, .position = (at)}, \
                  __VA_ARGS__)

/* --- batches and chain --- */

bool verify_log_wants_batch(const struct verify_log *log, int64_t position)
{
    return !log->batches_over && log->batch.last < position;
}

/* The chain goes on from what the row says, so that one altered batch is one difference. */
static void end_batch(struct verify_log *log)
{
    uint8_t chain[32];
    if (!log->chain_open)
        return;
    log->chain_open = false;
    log_chain_end(&log->chain, chain);
    if (memcmp(chain, log->batch.chain, sizeof chain) != 0)
        DIFFER_AT(log, VERIFY_CHAIN, log->batch.first,
                  "the events of positions %lld to %lld do not make the hash of their batch",
                  (long long)log->batch.first, (long long)log->batch.last);
    if (log->position < log->batch.last)
        DIFFER_AT(log, VERIFY_BATCHES, log->batch.first, "the batch of positions %lld to %lld ends at %lld",
                  (long long)log->batch.first, (long long)log->batch.last, (long long)log->position);
}

void verify_log_batch(struct verify_log *log, const struct verify_batch *batch)
{
    CHECK(!log->batches_over);
    if (log->whole) {
        uint8_t before[32];
        end_batch(log);
        memcpy(before, log->batch.chain, sizeof before);
        if (batch->first != log->batch.last + 1)
            DIFFER_AT(log, VERIFY_BATCHES, batch->first,
                      "a batch begins here, but the one before it ends at %lld", (long long)log->batch.last);
        log_chain_begin(&log->chain, before);
        log->chain_open = true;
        log->totals->batches++;
    }
    log->batch = *batch;
}

void verify_log_no_batch(struct verify_log *log)
{
    log->batches_over = true;
}

static void check_batch(struct verify_log *log, const struct event *event)
{
    const struct verify_batch *batch = &log->batch;
    bool covered = event->position >= batch->first && event->position <= batch->last;
    if (!covered) {
        if (!log->uncovered)
            DIFFER_AT(log, VERIFY_BATCHES, event->position, "no batch has the events from here on");
        log->uncovered = true;
        return;
    }
    log->uncovered = false;
    if (event->recorded_at_us != batch->recorded_at_us)
        DIFFER_AT(log, VERIFY_CLOCK, event->position, "recorded at another time than its batch");
    if (event->data.len > 0) /* what never was an event has no canonical bytes; the hash will not be right */
        log_chain_add(&log->chain, event);
}

static void check_place(struct verify_log *log, const struct event *event)
{
    if (event->position != log->position + 1)
        DIFFER_AT(log, VERIFY_POSITIONS, event->position, "follows position %lld", (long long)log->position);
    if (event->recorded_at_us < log->recorded_at_us)
        DIFFER_AT(log, VERIFY_CLOCK, event->position, "recorded %lld us before the event before it",
                  (long long)(log->recorded_at_us - event->recorded_at_us));
}

/* --- bytes and envelope --- */

/* What follows from the campaign's id alone, once for all events of it in a row. */
static void note_campaign(struct verify_log *log, struct span id)
{
    if (log->campaign_id_len > 0 && span_equal(id, (struct span){log->campaign_id, log->campaign_id_len}))
        return;
    bool valid = campaign_id_valid(id);
    log->campaign_id_len = id.len <= sizeof log->campaign_id ? id.len : 0;
    if (log->campaign_id_len)
        memcpy(log->campaign_id, id.ptr, id.len);
    log->campaign_name = verify_name_of(id, (struct span){0});
    if (!valid)
        log->campaign_fault = "campaign_id is not one";
    else
        log->campaign_fault = slice_of(id) == log->slice ? NULL : "the campaign lives in another slice";
}

static bool check_bytes(struct verify_log *log, const struct event *event, enum codec_status status)
{
    if (status == CODEC_UNKNOWN_TYPE)
        DIFFER_AT(log, VERIFY_BYTES, event->position, "a type or version that this program does not know");
    else if (status != CODEC_OK)
        DIFFER_AT(log, VERIFY_BYTES, event->position, "no version of this program writes such data");
    if (status != CODEC_OK)
        return false;
    buf_clear(&log->scratch);
    event_encode(event, &log->scratch);
    if (!span_equal(buf_span(&log->scratch), event->data))
        DIFFER_AT(log, VERIFY_BYTES, event->position, "the data is not how this program writes it");
    return true;
}

static bool names_this_event(struct verify_log *log, const struct event *event)
{
    buf_clear(&log->scratch);
    coupon_id_write(&log->scratch, (struct position){log->slice, event->position});
    return span_equal(event->coupon_id, buf_span(&log->scratch));
}

static bool names_an_earlier_event(const struct verify_log *log, const struct event *event)
{
    struct position at;
    return coupon_id_parse(event->coupon_id, &at) && at.slice == log->slice && at.position < event->position;
}

static const char *fault_of_coupon(struct verify_log *log, const struct event *event,
                                   struct verify_columns columns)
{
    bool issued = event->type == EVENT_CouponIssued;
    if (!user_id_valid(event->user_id))
        return "user_id is not one";
    if (issued ? !names_this_event(log, event) : !names_an_earlier_event(log, event))
        return "coupon_id names another place";
    if (columns.wrong_holder)
        return "column holder is not that of user, campaign and nth";
    return columns.nth == (issued ? event->coupon_issued.nth : 0) ? NULL
                                                                  : "column nth is not what the data says";
}

static const char *fault_of_stream(const struct verify_log *log, const struct event *event)
{
    if (!campaign_concerned(event))
        return log->slice == CONTROL_SLICE && span_equal(event->campaign_id, CONTROL_STREAM)
                   ? NULL
                   : "an event of the control stream in another stream";
    return log->campaign_fault;
}

static const char *fault_of_envelope(struct verify_log *log, const struct event *event,
                                     struct verify_columns columns)
{
    if (event->trace.ptr && event->trace.len != TRACE_BYTES)
        return "trace has another length";
    const char *fault = fault_of_stream(log, event);
    if (fault)
        return fault;
    if (event->type == EVENT_CouponIssued || coupon_concerned(event))
        return fault_of_coupon(log, event, columns);
    if (columns.nth || columns.wrong_holder)
        return "column nth or holder is set, but it is no CouponIssued";
    return event->user_id.ptr || event->coupon_id.ptr ? "names a user or a coupon, but is about neither"
                                                      : NULL;
}

/* --- events --- */

static void follow_holding(struct verify_log *log, const struct event *event, struct verify_name holder)
{
    struct verify_holding *holding = verify_table_follow(&log->holdings, holder, event->position);
    if (!holding)
        return;
    if (event->coupon_issued.nth != holding->count + 1)
        verify_log_differ(log, VERIFY_LIMIT, event,
                          "nth is not one more than the coupons that the user has of this campaign");
    holding->count = event->coupon_issued.nth;
}

static void follow(struct verify_log *log, const struct event *event)
{
    if (!campaign_concerned(event)) {
        verify_control_event(log, event);
        return;
    }
    struct verify_campaign *campaign =
        verify_table_follow(&log->campaigns, log->campaign_name, event->position);
    if (campaign)
        verify_campaign_event(log, campaign, event);
    bool issued = event->type == EVENT_CouponIssued;
    if (!event->user_id.ptr || (!issued && !coupon_concerned(event)))
        return; /* no user, but one is needed: reported as a fault of the envelope */
    struct verify_name holder = verify_name_of(event->campaign_id, event->user_id);
    if (issued)
        follow_holding(log, event, holder);
    verify_coupon_event(log, event, holder);
}

/* Where the slice stood when the quotas were read. A pass that was split off later has nothing to add: its
 * half was counted before. */
static void count_open_stock(struct verify_log *log)
{
    int64_t stock = 0;
    size_t at = 0;
    log->quota_done = true;
    if (log->memory.part.reported >= log->quota->heads[log->slice] && !log->whole)
        return;
    for (const struct verify_campaign *record; (record = verify_table_next(&log->campaigns, &at));)
        if (!campaign_over(&record->campaign, 0))
            stock += record->campaign.definition.quantity;
    verify_quota_open(log->quota, stock);
}

static void count_quota(struct verify_log *log, const struct event *event)
{
    if (!log->quota)
        return;
    if (!log->quota_done && event->position > log->quota->heads[log->slice])
        count_open_stock(log);
    if (log->whole && event->type == EVENT_CampaignCreated)
        verify_quota_created(log->quota, event);
}

void verify_log_event(struct verify_log *log, const struct event *event, enum codec_status status,
                      struct verify_columns columns)
{
    bool readable = status == CODEC_OK;
    note_campaign(log, event->campaign_id);
    if (log->whole) {
        check_place(log, event);
        check_batch(log, event);
        readable = check_bytes(log, event, status);
        const char *fault = readable ? fault_of_envelope(log, event, columns) : NULL;
        if (fault)
            verify_log_differ(log, VERIFY_ENVELOPE, event, fault);
        log->totals->events++;
    }
    log->position = event->position;
    log->recorded_at_us = event->recorded_at_us;
    if (!readable || event->campaign_id.len == 0)
        return;
    count_quota(log, event);
    follow(log, event);
}

/* --- the end --- */

static void check_head(struct verify_log *log, const struct verify_head *head)
{
    if (log->position != head->position)
        DIFFER_AT(log, VERIFY_SLICE_ROW, head->position, "the head is here, but the last event at %lld",
                  (long long)log->position);
    if (log->batch.last != log->position)
        DIFFER_AT(log, VERIFY_BATCHES, log->batch.last,
                  "the last batch ends here, but the last event is at %lld", (long long)log->position);
    if (memcmp(log->batch.chain, head->chain, sizeof head->chain) != 0)
        DIFFER_AT(log, VERIFY_CHAIN, head->position, "the slice's hash is not that of its last batch");
    if (log->recorded_at_us != head->recorded_at_us)
        DIFFER_AT(log, VERIFY_SLICE_ROW, head->position, "recorded_at is not that of the last event");
}

void verify_log_end(struct verify_log *log, const struct verify_head *head)
{
    size_t at = 0;
    for (struct verify_campaign *record; (record = verify_table_next(&log->campaigns, &at));)
        verify_campaign_end_run(record);
    if (log->quota && !log->quota_done)
        count_open_stock(log);
    if (!log->whole)
        return;
    end_batch(log);
    check_head(log, head);
}
