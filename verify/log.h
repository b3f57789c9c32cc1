/* SPDX-License-Identifier: Apache-2.0 */
/* The log of one slice against itself, recomputed from the events alone: what the chain, the order and the
 * rules of the business say must hold after every event. Pure: rows come in, differences go to the report.
 *
 * One pass is { verify_log_begin; for each event in order of position: verify_log_batch or
 * verify_log_no_batch while verify_log_wants_batch, then verify_log_event; the remaining batches;
 * verify_log_end }. What the fold then knows of campaigns and coupons is compared with the state rows
 * (verify_state.h). verify_log_again says whether another pass is needed, for what did not fit into memory
 * (verify_table.h). Nothing that is wrong in the log is a reason to stop: every rule goes on from what it
 * found, so that one cause is reported once. */
#pragma once

#include "events/coupon.h"
#include "events/event_log.h"
#include "verify/quota.h"
#include "verify/report.h"
#include "verify/table.h"

struct verify_batch {
    int64_t first, last, recorded_at_us;
    uint8_t chain[32];
};

/* The row of table slice. */
struct verify_head {
    int64_t position, recorded_at_us;
    uint8_t chain[32];
};

/* The rows of issue_run of a campaign: how many, and a sum over their hashes that does not depend on order.
 */
struct verify_runs {
    uint64_t sum, count;
};

enum { DEFINITION_HASH_BYTES = 16 };

/* What is remembered of a campaign. */
struct verify_campaign {
    struct verify_name name;
    struct campaign campaign; /* its fold; without texts and lists */
    uint8_t definition_hash[DEFINITION_HASH_BYTES];
    char code_prefix[CODE_PREFIX_MAX];
    uint8_t code_prefix_len;
    int16_t version; /* of CampaignCreated */
    int64_t plan_count;
    uint64_t reported; /* rules of which a difference was reported already, a bit each */
    struct verify_runs runs, rows;
    int64_t run_batch, run_sequence, run_first, run_last; /* the run being made: its batch, where it begins */
    bool row_seen;
};

/* How many coupons a user holds of a campaign. */
struct verify_holding {
    struct verify_name name;
    int64_t count;
};

/* A coupon that was issued, by its position; `holder` stands for campaign and user. */
struct verify_coupon {
    struct verify_name name;
    uint64_t holder;
    int64_t expires_at_us;
};

/* What happened to it since, by the same name; only of the few to which something did. */
struct verify_coupon_life {
    struct verify_name name;
    uint64_t order; /* stands for the order id; RESERVED, REDEEMED */
    int64_t reserved_until_us, last;
    int16_t state; /* enum coupon_state */
    bool row_seen, reported;
};

/* What the control stream says last of a setting or an issuer. */
struct verify_control {
    struct verify_name name;
    int64_t position;
    uint8_t value_hash[DEFINITION_HASH_BYTES];
    char text[EVENT_TEXT_MAX]; /* name of the setting or issuer */
    uint8_t text_len, kind;
    bool row_seen;
};
enum { CONTROL_SETTING = 1, CONTROL_ISSUER = 2 }; /* column kind of table control */
#define CONTROL_SUSPENDED SPAN("suspended")

struct verify_log {
    struct verify_report *report; /* borrowed */
    struct verify_totals *totals; /* borrowed */
    struct verify_quota *quota;   /* borrowed; NULL: not counted */
    bool quota_done;              /* the pass is past the head that the quotas are of */
    int16_t slice;
    bool whole; /* the first pass of the slice, in which the rules about every event are checked */
    struct verify_memory memory;
    struct verify_table campaigns, holdings, coupons, lives, controls;
    /* places, batches and chain */
    int64_t position, recorded_at_us; /* of the last event */
    struct verify_batch batch;        /* the current one; last 0: none yet */
    bool batches_over, uncovered, chain_open;
    struct log_chain chain;
    struct buf scratch;
    /* the campaign of the last event: hot campaigns come in long rows */
    char campaign_id[CAMPAIGN_ID_MAX];
    size_t campaign_id_len;
    struct verify_name campaign_name;
    const char *campaign_fault;
};

/* `memory` in bytes bounds what is remembered at one time; at least 1 MiB. `log->quota` may be set before
 * the first slice. */
void verify_log_init(struct verify_log *log, struct verify_report *report, struct verify_totals *totals,
                     size_t memory);
void verify_log_deinit(struct verify_log *log);

/* The first pass over a slice. */
void verify_log_begin(struct verify_log *log, int16_t slice);
/* Begins the next pass over the same slice; false where none is needed. */
bool verify_log_again(struct verify_log *log) MUST_USE;

/* Whether a batch row is wanted before the event of that position can be judged. */
bool verify_log_wants_batch(const struct verify_log *log, int64_t position);
void verify_log_batch(struct verify_log *log, const struct verify_batch *batch); /* in order of `first` */
void verify_log_no_batch(struct verify_log *log); /* there was no further one */
/* Columns of an event that are not in the chain, because its data says them too. */
struct verify_columns {
    int64_t nth;       /* 0 for NULL */
    bool wrong_holder; /* column holder is not what user, campaign and nth make with the slice's secret */
};
/* `status` is what decoding said. */
void verify_log_event(struct verify_log *log, const struct event *event, enum codec_status status,
                      struct verify_columns columns);
void verify_log_end(struct verify_log *log, const struct verify_head *head);

/* --- for verify_log_*.c and verify_state.c --- */

/* Of the event that is being judged; says nothing where an earlier pass did. */
void verify_log_differ(struct verify_log *log, enum verify_rule rule, const struct event *event,
                       const char *text);
void verify_campaign_event(struct verify_log *log, struct verify_campaign *record, const struct event *event);
/* CouponIssued and 10 to 15. `holder` is the name of campaign and user. */
void verify_coupon_event(struct verify_log *log, const struct event *event, struct verify_name holder);
void verify_control_event(struct verify_log *log, const struct event *event);
struct verify_name verify_control_name(int64_t kind, struct span name);
/* The hash of one row of issue_run. */
uint64_t verify_run_hash(int64_t first_sequence, int64_t first_position, int64_t last_position);
void verify_campaign_end_run(struct verify_campaign *record);
void verify_hash_text(struct span text, uint8_t ret[DEFINITION_HASH_BYTES]);
