/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of one transaction: what was loaded for them, what was decided, what is to be written. All
 * commands are of one slice. The store fills the loaded part, batch_decide() computes the rest without I/O,
 * so that the heart of the service is tested without a database. Used by one thread; everything lives in the
 * batch's arena until batch_reset. */
#pragma once

#include "command-service/core/decide.h"
#include "common/base/map.h"
#include "common/pg/pg.h"
#include "events/coupon.h"

enum { BATCH_MAX = 1024, BATCH_RESULTS_MAX = 16, QUOTA_SCOPE_MAX = 4 + EVENT_TEXT_MAX };
_Static_assert((int)VOID_MAX <= (int)BATCH_MAX,
               "what is voided at once is loaded like campaigns of commands");

struct loaded_campaign {
    struct campaign campaign;
    bool exists, is_new, changed;
    int64_t due_at_us; /* as loaded; campaign_due_at_us() says what it should be */
    int64_t run_first_sequence, run_first_position,
        run_last_position; /* coupons issued in this batch; 0 none */
};

struct loaded_coupon {
    struct coupon coupon; /* `at` from the command */
    bool exists, changed;
    struct loaded_campaign *of;
};

/* A row of creation_quota, locked. */
struct loaded_quota {
    struct span scope, day; /* day as PostgreSQL writes it */
    int64_t used;
    bool changed;
};

/* How much may be created, and what "so far" is counted in: scopes of the table. */
struct creation_limits {
    int64_t campaigns_per_key_per_day, campaigns_per_day, open_stock;
};
#define QUOTA_OPEN_STOCK SPAN("#")
#define QUOTA_EVERYBODY  SPAN("*")
#define QUOTA_KEY_PREFIX "key:"

/* What one user of an ISSUE_MANY got. */
struct issue_result {
    const struct problem *refusal; /* NULL: the coupon */
    struct coupon coupon;
    struct span user_id;
};

/* An idempotency row: of an earlier transaction (loaded) or to be written. */
struct request_record {
    uint8_t fingerprint[FINGERPRINT_BYTES];
    int status;
    int64_t position;    /* of the event that is the effect, 0 where the answer is kept */
    struct span answer;  /* absent where it is rendered from the event */
    struct event effect; /* at `position`, once loaded */
    struct event issued; /* the CouponIssued of the coupon that `effect` is about, where that is another */
    /* ISSUE_MANY: `answer` is the outcome, a JSON array with the position of the coupon or the code of the
     * refusal for each user in order. Codes of coupons are not in it: they are rendered from the events
     * again. */
    const struct issue_result *results;
};

/* What a VOID did in one slice. */
struct void_counts {
    int64_t matched, voidable,
        voided; /* campaigns that fit the filter; of them with nothing issued; done now */
};

/* What to answer, once the transaction is committed. */
struct verdict {
    const struct problem *refusal; /* NULL: took effect */
    struct span held_ids;          /* with already-issued: JSON array of coupon ids */
    int status;
    struct span body; /* JSON; absent where `coupon` is the answer */
    struct coupon coupon;
    const struct issue_result *results; /* ISSUE_MANY: one for each user; NULL otherwise */
    struct void_counts voided;          /* VOID */
    bool replayed;
    struct position token; /* position 0: none */
};

struct batch {
    struct arena arena;
    int16_t slice;
    size_t count;
    struct command *commands[BATCH_MAX];
    struct verdict verdicts[BATCH_MAX];

    /* Loaded, under the lock. Lists are in the order they were asked for. */
    int64_t head, now_us;
    uint8_t chain[32];
    struct map campaigns; /* campaign id -> struct loaded_campaign */
    struct loaded_campaign *campaign_list[BATCH_MAX];
    size_t campaigns_count;
    struct map coupons; /* position, 8 bytes -> struct loaded_coupon */
    struct loaded_coupon *coupon_list[BATCH_MAX];
    size_t coupons_count;
    struct loaded_quota quotas[BATCH_MAX + 2]; /* in order of scope, which is the order of locking */
    size_t quotas_count;
    struct creation_limits limits;
    struct void_counts void_found; /* VOID: how many fit, whether or not they were loaded */
    struct map holdings;           /* campaign id, NUL, user id -> struct holding */
    struct holding *holding_list[ISSUE_MANY_MAX];
    struct span holding_campaigns[ISSUE_MANY_MAX], holding_users[ISSUE_MANY_MAX];
    size_t holdings_count;
    struct request_record *records[BATCH_MAX];  /* per command; NULL: not seen before */
    struct pg_rows *results[BATCH_RESULTS_MAX]; /* what the above borrows from */
    size_t results_count;

    /* Decided. */
    struct event *events;
    size_t events_count, events_capacity;
    struct request_record *writes[BATCH_MAX]; /* per command; NULL: leaves no row */
    struct buf scratch;
};

struct batch *batch_create(const struct creation_limits *limits); /* limits may be changed between batches */
void batch_destroy(struct batch *batch);
/* Takes the commands of a list (keeps pointers, not ownership) and lists what must be loaded for them. */
void batch_begin(struct batch *batch, struct command *list);
/* Decides every command in order. Pure: reads the loaded part, writes the decided part and the verdicts. */
void batch_decide(struct batch *batch);
/* For a replayed ISSUE_MANY: one result for each user from the recorded outcome, coupons with nothing but
 * their place yet. NULL where the outcome is not one. Lives in the batch. */
struct issue_result *batch_outcome_read(struct batch *batch);
/* For the store: the campaign of that id, put on the list where no command named it. NULL: the list is full.
 */
struct loaded_campaign *batch_campaign(struct batch *batch, struct span id);
bool batch_has_writes(const struct batch *batch);
void batch_reset(struct batch *batch);
