/* SPDX-License-Identifier: Apache-2.0 */
/* A command on its way from the HTTP thread that parsed it, through its slice's queue, to the committer that
 * decides, appends and answers it. Owned by exactly one of the three at a time; never shared. */
#pragma once

#include "common/base/mem.h"
#include "events/campaign.h"
#include "events/ids.h"

/* X(KIND, "name", subject). Name and place in the list go into hashes that are kept, so both are for ever.
 * The subject is what must be loaded to decide: see enum command_subject. */
#define COMMANDS(X)                                                                            \
    X(CREATE, "create", CAMPAIGN)                                                              \
    X(PAUSE, "pause", CAMPAIGN)                                                                \
    X(RESUME, "resume", CAMPAIGN)                                                              \
    X(CLOSE, "close", CAMPAIGN)                                                                \
    X(RELEASE, "release", CAMPAIGN)                                                            \
    X(ISSUE, "issue", HOLDER)                                                                  \
    X(ISSUE_MANY, "issue many", HOLDERS)                                                       \
    X(DELETE, "delete", CAMPAIGN)                                                              \
    X(VOID, "void", SLICE)                                                                     \
    X(RESERVE, "reserve", COUPON)                                                              \
    X(REDEEM, "redeem", COUPON)                                                                \
    X(FREE, "release coupon", COUPON)                                                          \
    X(RESTORE, "restore", COUPON)                                                              \
    X(REVOKE, "revoke", COUPON)                                                                \
    X(SUSPEND, "suspend issuer", CONTROL)                                                      \
    X(RESUME_ISSUER, "resume issuer", CONTROL)                                                 \
    X(SET, "set", CONTROL)                                                                     \
    X(TEND, "tend", CAMPAIGN) /* the sweep: what is due by itself */                           \
    X(LAPSE, "lapse", COUPON) /* the sweep: a reservation is over */                           \
    X(HALT, "halt", CAMPAIGN) /* the watch: the last tranche of the release plan went badly */ \
    X(CHANGE, "change", CAMPAIGN)

enum command_kind {
#define COMMAND_ENUM(KIND, name, subject) COMMAND_##KIND,
    COMMANDS(COMMAND_ENUM)
#undef COMMAND_ENUM
        COMMAND_KINDS
};

enum command_subject {
    SUBJECT_CAMPAIGN, /* campaign_id */
    SUBJECT_HOLDER,   /* and what issue.user_id holds of it */
    SUBJECT_HOLDERS,  /* and what issue_many.user_ids hold of it; always the only command of its batch */
    SUBJECT_COUPON,   /* coupon.at, and the campaign it is of */
    SUBJECT_SLICE,   /* the campaigns of the slice that `voids` picks; always the only command of its batch */
    SUBJECT_CONTROL, /* nothing */
};

enum {
    IDEMPOTENCY_KEY_MAX = 255,
    REQUEST_KEY_BYTES = 16,
    FINGERPRINT_BYTES = 16,
    ISSUE_MANY_MAX = 10000,
    VOID_MAX = 1000
};

/* Names one request for ever (I4): who with which Idempotency-Key, doing what. Unpadded, compared as bytes.
 */
struct request_id {
    uint8_t key_hash[REQUEST_KEY_BYTES]; /* of API key name and Idempotency-Key */
    uint8_t operation[8];                /* of the kind and the campaign, coupon or name in the path */
};

/* Which campaigns to void: those that fit all that is given. */
struct void_filter {
    struct span created_by;                      /* absent: anybody */
    int64_t created_before_us, created_after_us; /* exclusive; 0: not given */
    bool dry_run;
};

/* What a CHANGE asks for; 0 and absent: it is not named. In the command's arena. */
struct campaign_change {
    struct span name;
    int64_t quantity, per_user_limit, ends_at_us;
    bool has_tags;
    struct text_list tags;
    struct text_list fields; /* the names of what is named */
    struct span field_items[CHANGED_FIELDS_MAX];
};

/* A creation's way to the slice of its campaign. Where that is not the slice of its key, the key is claimed
 * first, in a transaction of its own:
 *
 *   WANTED --claimed--> HELD (in the campaign's slice) --> created or refused
 *     |--over a quota--> REFUSED (in the campaign's slice, which knows whether it exists) --> refused, or
 * WANTED again |  ^                                         DIRECT (key and campaign in one slice) -->
 * created or refused another payload has the claim                  |  ^ v  | v  | FENCE (in the slice of
 * that payload's campaign: it took effect, and this one is refused; or it no longer can)
 *
 * Who dies on the way leaves a claim that a retry goes on with, and that nobody else is kept from taking
 * over. */
enum claim_step { CLAIM_DIRECT, CLAIM_WANTED, CLAIM_HELD, CLAIM_REFUSED, CLAIM_FENCE };
struct claim {
    enum claim_step step;
    int16_t home;    /* slice of the key */
    int64_t attempt; /* HELD: ours; FENCE: of the claim that is in the way */
    int64_t fenced;  /* up to which attempt others cannot take effect any more */
};

/*       control_hold         queue_offer          queue_take, queue_take_expired
 *   HELD <-------> NEW --------------------> QUEUED --------------------> TAKEN
 *         resume    |                          ^                          |   |
 *                   |                          +--------------------------+   |
 *                   |                          queue_put_back, queue_forward  |
 *                   +----------------------> ANSWERED <-----------------------+
 *                       refused before it      the verdict, or its deadline passed
 *                       is queued
 *
 * Only command_change_state() changes it. Who takes a command off a list owns it from then on. ANSWERED:
 * whoever was to be told has been, once; of the sweep's commands, the sweeper. */
enum command_state { COMMAND_NEW, COMMAND_HELD, COMMAND_QUEUED, COMMAND_TAKEN, COMMAND_ANSWERED };

struct command {
    enum command_state state;
    struct command *next;     /* in its slice's queue, or held */
    struct queue *home;       /* the queue it was offered to, which knows it as in flight */
    struct command *same_key; /* in flight there under the same Idempotency-Key, for something else */
    enum command_kind kind;
    int16_t slice; /* where its next transaction is, and in the end its events */
    bool alone;    /* goes in a batch of its own: the store refused one it was in */
    bool keyed;    /* has an Idempotency-Key: takes effect once (I4) */
    bool
        commit_was_sent; /* an earlier attempt may have taken effect: its outcome must be read, not guessed */
    struct request_id id;
    uint8_t fingerprint[FINGERPRINT_BYTES]; /* of the payload */
    struct span campaign_id;                /* of every kind whose subject has a campaign, but COUPON */
    struct span actor;                      /* name of the API key */
    bool by_admin;                          /* which has that scope */
    struct span if_match, if_none_match;    /* as in the request, in the arena; absent: no condition */
    struct span reason; /* for people; of what steers, and of REVOKE; absent: none given */
    uint8_t trace_bytes[TRACE_BYTES];
    struct span trace;      /* trace_bytes, or absent */
    uint8_t caller_span[8]; /* while traces are on: its span in the trace, instead of which trace_bytes has
                               ours */
    bool sampled;           /* its spans are sent */
    int64_t received_us;    /* monotonic */
    int64_t deadline_us;    /* monotonic; past it nothing new is begun for it */

    /* ISSUE with "Prefer: respond-async": where the wait is predicted to be longer, it is accepted instead,
     * and has until accepted_deadline_us. */
    int64_t accept_above_us, accepted_deadline_us;
    struct sweeper *sweeper; /* whose command it is, instead of a client's; NULL: a client's */

    /* Who is told, exactly once: one of these, or nobody (the service's own commands). */
    struct http_request *request;
    struct gather *gather; /* it is one of several that are answered together */
    bool accepted;         /* 202 was answered: nobody */
    struct watch *watch;   /* ISSUE, ISSUE_MANY: who is told how it went; NULL for nobody */

    /* What its kind needs besides. */
    union {
        struct {
            struct span user_id; /* in user_text, or in the source */
            char user_text[USER_ID_MAX];
        } issue;
        struct {
            const struct span *user_ids; /* who, in order; in the arena */
            size_t count;                /* 1..ISSUE_MANY_MAX */
        } issue_many;
        struct {
            int64_t quantity;
        } release;
        struct {
            struct campaign_created *create; /* in the arena */
            struct claim claim;
        };
        struct void_filter voids;
        struct campaign_change *change;
        struct {
            struct position at;          /* its CouponIssued */
            struct span user_id;         /* RESERVE, REDEEM */
            struct span order_id;        /* RESERVE, REDEEM, FREE, RESTORE */
            struct span currency;        /* RESERVE, REDEEM; absent: not said */
            int64_t order_amount, ttl_s; /* RESERVE, REDEEM; RESERVE */
        } coupon;
        struct {
            struct span name, value; /* of the API key or the setting; SET: what it is set to */
        } control;
        struct release_plan_halted halt; /* what the watch saw */
    };

    void *source; /* what the texts above point into, freed with the command; NULL: nothing of its own */
    void (*source_destroy)(void *source);
    struct arena arena;
    char campaign_id_text[CAMPAIGN_ID_MAX]; /* for an id that is generated, or outlives its request */
};

/* Not all changes are possible: see the drawing. */
void command_change_state(struct command *command, enum command_state state);
const char *command_name(enum command_kind kind);
enum command_subject command_subject(enum command_kind kind);
/* Whether it must be the only one of its batch. */
bool command_is_solo(enum command_kind kind);
/* Sends a creation on its way: the first step, and the next (see struct claim). */
void command_route_creation(struct command *command, int16_t home);
void command_forward(struct command *command, const struct claim *claim, int16_t slice);
/* The one user it is about; absent where there is none or many. */
struct span command_user(const struct command *command);
struct command *command_create(enum command_kind kind, struct http_request *request);
void command_forget_source(struct command *command);
void command_destroy(struct command *command); /* accepts NULL; whoever is to be told must have been */
