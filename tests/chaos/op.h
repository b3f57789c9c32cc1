/* SPDX-License-Identifier: Apache-2.0 */
/* What the clients of a chaos run ask for. Everything is a number here (campaigns, users, orders, keys), and
 * the sequence of a client's operations is a function of the seed alone: an operation that needs a coupon
 * names one of a few shared slots, and which coupon lies in the slot when the time comes is all that depends
 * on timing. */
#pragma once

#include "bench/load/target.h"
#include "events/ids.h"
#include "tests/chaos/rng.h"

/* X(NAME, text, changes a coupon, takes an Idempotency-Key) */
#define OP_KINDS(X)                      \
    X(CREATE, "create", 0, 1)            \
    X(PAUSE, "pause", 0, 1)              \
    X(RESUME, "resume", 0, 1)            \
    X(CLOSE, "close", 0, 1)              \
    X(RELEASE, "release stock", 0, 1)    \
    X(DELETE, "delete", 0, 0)            \
    X(VOID, "void", 0, 1)                \
    X(ISSUE, "issue", 0, 1)              \
    X(ISSUE_MANY, "issue to many", 0, 1) \
    X(RESERVE, "reserve", 1, 1)          \
    X(REDEEM, "redeem", 1, 1)            \
    X(GIVE_BACK, "give back", 1, 1)      \
    X(RESTORE, "restore", 1, 1)          \
    X(REVOKE, "revoke", 1, 1)            \
    X(SUSPEND, "suspend issuer", 0, 1)   \
    X(READMIT, "resume issuer", 0, 1)    \
    X(SET, "change setting", 0, 0)       \
    X(CHANGE, "change campaign", 0, 1)

enum op_kind {
#define OP_ENUM(name, text, coupon, keyed) OP_##name,
    OP_KINDS(OP_ENUM)
#undef OP_ENUM
        OP_KIND_COUNT
};
const char *op_kind_name(enum op_kind kind);
bool op_kind_has_coupon(enum op_kind kind);
bool op_kind_keyed(enum op_kind kind);

enum {
    CHAOS_CLIENTS_MAX = 32,
    CHAOS_SERVICES_MAX = 7, /* with the query services and the projector, ten ports */
    CHAOS_QUERIES_MAX = 2,
    CHAOS_USERS = 60,
    CHAOS_SLOTS = 48,  /* places that a coupon was last put into, shared by all clients */
    CHAOS_ORDERS = 90, /* few enough to meet */
    CHAOS_MANY_MAX = 12,
    CHAOS_CAMPAIGNS_MAX = 100000,
};

/* How a client goes about it. */
enum op_manner {
    MANNER_ONCE,
    MANNER_AGAIN,  /* after a definite answer the same request goes to another service */
    MANNER_AT_ONCE /* two services get the same request at the same time */
};

struct operation {
    enum op_kind kind;
    enum op_manner manner;
    uint32_t client, number; /* the number-th operation of this client, from 0 */
    uint32_t key; /* the number of the operation whose Idempotency-Key it has: its own, unless it is an
                     earlier operation told with another payload */
    uint32_t campaign;
    uint32_t variant;     /* CREATE: which definition */
    uint32_t user, users; /* ISSUE_MANY: so many, from this one on, modulo CHAOS_USERS */
    int64_t quantity;
    uint32_t slot;          /* where its coupon comes from, or goes to */
    struct position coupon; /* what was in the slot when it was sent, position 0: nothing */
    bool holder;            /* reserve, redeem: as the coupon's holder, whoever that is; else as `user` */
    bool same_order;        /* as the order that last used what is in the slot; else as `order` */
    bool offers;            /* ISSUE: puts its coupon into the slot even where one is in it */
    uint32_t order;
    int64_t amount, ttl_s;
    bool dry_run;
    bool by_issuer; /* where it can be: with the key that may only issue or redeem, not with the admin's */
    uint32_t patience,
        pause_ms; /* how often it is sent again without an answer; rest before the next operation */
};

/* The API keys that are suspended and resumed now and then, and which of them an operation is made with (or
 * is about); ISSUER_NONE: the admin's. */
enum issuer { ISSUER_ISSUE, ISSUER_REDEEM, ISSUER_COUNT, ISSUER_NONE = ISSUER_COUNT };
const char *issuer_name(enum issuer issuer);
enum issuer op_issuer(const struct operation *op);           /* whose key it is sent with */
enum issuer op_issuer_concerned(const struct operation *op); /* SUSPEND, READMIT: which it is about */

/* What a CHANGE asks for: often more, sometimes less than there is, which is refused. Limit 0: not named. */
int64_t op_change_quantity(const struct operation *op);
int64_t op_change_limit(const struct operation *op);

/* A setting that is in nobody's way, of OP_SET. */
struct span op_setting_name(const struct operation *op);
void op_setting_value_write(struct buf *out, const struct operation *op); /* as in the log */

/* A campaign as the number of its definition makes it: a function of the seed, its number and the variant.
 * Texts are borrowed from `room`; instants are `base_us` (the wall clock at the start of the run) and some
 * seconds, so that some windows open or close while the run lasts. */
struct definition_room {
    char name[64];
    struct span tags[2];
    struct release plan[3];
};
struct campaign_created op_definition(uint64_t seed, uint32_t campaign, uint32_t variant, int64_t base_us,
                                      struct definition_room *room);

/* The operations of one client, one after another. */
struct planner {
    uint64_t seed;
    uint32_t client, number;
    struct rng rng;
    struct operation last; /* the one before, for telling it with another payload */
};
void planner_init(struct planner *planner, uint64_t seed, uint32_t client);
struct operation planner_next(struct planner *planner);

/* --- Names --- */

void campaign_name_write(struct buf *out, uint32_t campaign);
bool campaign_name_parse(struct span id, uint32_t *ret) MUST_USE;
void user_number_write(struct buf *out, uint32_t user);
bool user_number_parse(struct span id, uint32_t *ret) MUST_USE;
void order_name_write(struct buf *out, uint32_t order);
bool order_name_parse(struct span id, uint32_t *ret) MUST_USE;

/* Which attempt an event comes from: its trace says so, because the service keeps the traceparent of the
 * request that took effect. */
struct origin {
    uint32_t client, number, attempt;
};
bool origin_parse(struct span trace, struct origin *ret) MUST_USE; /* TRACE_BYTES, as in the log */

/* --- The request --- */

struct op_context {
    uint64_t seed;
    int64_t base_us;
    const char *admin_token, *issue_token, *redeem_token;
};
/* The whole HTTP request; `attempt` counts from 0 and goes into its traceparent. `out` must hold
 * LOAD_REQUEST_MAX. */
void op_write(const struct operation *op, uint32_t attempt, const struct op_context *context,
              const struct target *target, struct buf *out);
