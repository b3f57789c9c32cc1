/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of one transaction: what was loaded for them, what was decided, what is to be written. All
 * commands are of one slice. The store fills the loaded part, batch_decide() computes the rest without I/O,
 * so that the heart of the service is tested without a database. Used by one thread; everything lives in the
 * batch's arena until batch_reset. */
#pragma once

#include "command-service/core/decide.h"
#include "common/base/map.h"
#include "events/coupon.h"

enum {
    BATCH_MAX = 1024,
    BATCH_SCRATCH_MAX = 512 * 1024,
    QUOTA_SCOPE_MAX = 4 + EVENT_TEXT_MAX,
};
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

/* What a VOID did in one slice. */
struct void_counts {
    int64_t matched;  /* campaigns that fit the filter */
    int64_t voidable; /* of them with nothing issued */
    int64_t voided;   /* done now */
};

/* What an earlier transaction left behind of a request: its effect, and what its answer is made from. */
struct request_record {
    uint8_t fingerprint[FINGERPRINT_BYTES];
    int status;
    int64_t position;    /* of the event that is the effect */
    struct span answer;  /* the first answer; absent where it is rendered from the event */
    struct event effect; /* at `position`, where it is rendered */
    struct event issued; /* the CouponIssued of the coupon that `effect` is about, where that is another */
    const struct issue_result *results; /* ISSUE_MANY: one for each user */
    struct void_counts voided;          /* VOID */
};

/* What was decided of a command; to be answered once the transaction is committed. */
struct verdict {
    const struct problem *refusal; /* NULL: took effect, or there was nothing to do */
    const struct holding *held;    /* with already-issued: what the user holds */
    bool replayed;                 /* the first answer again */
    bool remembered;               /* to be kept with its effect, so that a retry gets this answer (I4) */
    struct position token;         /* position 0: none */
    int64_t now_us;                /* the instant it was decided for */
    int found_status;              /* LOOKUP: HTTP status of the first answer, 0 where nothing is known */

    /* The answer, by the command's kind: one of these. */
    struct span kept; /* replayed: its bytes, where they were kept */
    struct coupon coupon;
    int64_t as_of_us; /* of the coupon: the instant of the effect, also where it is told again */
    const struct campaign *campaign;    /* as it was right after */
    const struct issue_result *results; /* ISSUE_MANY: one for each user */
    struct void_counts voided;          /* VOID */
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
    struct request_record *records[BATCH_MAX]; /* per command; NULL: not seen before */

    /* Decided. */
    struct event *events;
    size_t events_count, events_capacity;
    struct buf scratch;
};

struct batch *batch_create(const struct creation_limits *limits); /* limits may be changed between batches */
void batch_destroy(struct batch *batch);
/* Takes the commands of a list (keeps pointers, not ownership) and lists what must be loaded for them. */
void batch_begin(struct batch *batch, struct command *list);
/* Decides every command in order. Pure: reads the loaded part, writes the decided part and the verdicts. */
void batch_decide(struct batch *batch);
/* For the store: in the batch's arena, zeroed. */
void *batch_alloc(struct batch *batch, size_t size);
/* For the store: the user holds one coupon more. */
void batch_hold(struct batch *batch, struct holding *held, int64_t position);
/* For the store: the campaign of that id, put on the list where no command named it. NULL: the list is full.
 */
struct loaded_campaign *batch_campaign(struct batch *batch, struct span id);
bool batch_has_writes(const struct batch *batch);
void batch_reset(struct batch *batch);
