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
    bool redefined;    /* by a CampaignChanged of this batch */
    bool unreadable;   /* there is a row, but not one that this program can read */
    int64_t due_at_us; /* as loaded; campaign_due_at_us() says what it should be */
    int64_t run_first_sequence, run_first_position,
        run_last_position; /* coupons issued in this batch; 0 none */
};

struct loaded_coupon {
    struct coupon coupon; /* `at` from the command */
    bool exists, changed, unreadable;
    bool asks_whose;            /* a command of the batch has to know which API key has it */
    struct loaded_campaign *of; /* NULL where it is not known */
};

/* What one scope of creation_quota has used. */
struct loaded_quota {
    struct span scope;
    int64_t elsewhere; /* in the other slices, as of a moment before the lock */
    int64_t here;      /* in this slice, under the lock */
    int64_t change;    /* by this batch */
};

/* What is known of the key of a creation in this slice: who claimed it, and up to which attempt it is fenced
 * off. */
struct loaded_claim {
    int64_t attempt; /* 0: nobody */
    uint8_t fingerprint[FINGERPRINT_BYTES];
    int16_t target_slice; /* of the campaign that is to be created */
    int64_t fenced;
    bool write_claim, write_fence; /* decided */
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
    bool has_fingerprint; /* false: `effect` says the payload (CouponIssued: the user) */
    bool unreadable;      /* there is something, but not what this program can read */
    int64_t position;     /* of the event that is the effect */
    struct span answer;   /* the first answer; absent where it is rendered from the event */
    struct event effect;  /* at `position`, where it is rendered */
    struct event issued;  /* the CouponIssued of the coupon that `effect` is about, where that is another */
    const struct issue_result *results; /* ISSUE_MANY: one for each user */
    struct void_counts voided;          /* VOID */
};

/* What was decided of a command; to be answered once the transaction is committed. */
struct verdict {
    const struct problem *refusal; /* NULL: took effect, or there was nothing to do */
    const struct holding *held;    /* with already-issued: what the user holds */
    struct refusal_next next;      /* with some refusals */
    bool replayed;                 /* the first answer again */
    bool remembered;               /* to be kept with its effect, so that a retry gets this answer (I4) */
    int64_t effect;                /* position of its own last event, which keeps its key; 0: none */
    bool forwarded;                /* not to be answered: it goes on, with `claim` in `slice` */
    struct claim claim;
    int16_t slice;
    struct position token; /* position 0: none */
    int64_t now_us;        /* the instant it was decided for */

    /* The answer, by the command's kind: one of these. */
    struct span kept; /* replayed: its bytes, where they were kept */
    struct coupon coupon;
    int64_t as_of_us; /* of the coupon: the instant of the effect, also where it is told again */
    const struct campaign *campaign;    /* as it was right after */
    const struct issue_result *results; /* ISSUE_MANY: one for each user */
    struct void_counts voided;          /* VOID */
};

/* Whether the campaign is, at an instant, what a read gave that answered with one of the command's tags, and
 * none that is not wanted (RFC 9110, 13.1.1 and 13.1.2). */
typedef bool batch_condition(const struct command *command, const struct campaign *campaign, int64_t now_us);

struct batch {
    struct arena arena;
    batch_condition *condition_holds;
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
    struct loaded_quota quotas[BATCH_MAX + 2];
    size_t quotas_count;
    bool creates; /* any command does, or enlarges: quotas and claims are to be loaded */
    struct loaded_claim *claims[BATCH_MAX]; /* per command; NULL but for creations */
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

/* Limits may be changed between batches. `condition_holds` may be NULL where no command has a condition. */
struct batch *batch_create(const struct creation_limits *limits, batch_condition *condition_holds);
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
/* What a slice's time is now (I13): never before `last_us`, that of its last event; else the database's
 * clock, as long as the service's own clock is no more than CLOCK_TRUST_US away. Where they disagree one of
 * them is wrong, and the log is the third witness: who is before its last event goes wrong; of two who are
 * not, the earlier is believed, because a time too late opens and ends campaigns and holds for the slice
 * until it comes true, and one too early is over when the clock is set right. */
#define CLOCK_TRUST_US (INT64_C(30) * 1000 * 1000)
int64_t batch_time(int64_t last_us, int64_t database_us, int64_t own_us);
bool batch_has_writes(const struct batch *batch);
/* Whether an answer says that something is in the log: a replay, what had been done already, which coupons a
 * user holds. It may be given only when that can no longer be lost (I3), also where the batch writes nothing.
 */
bool batch_promises(const struct batch *batch);
void batch_reset(struct batch *batch);
