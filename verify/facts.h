/* SPDX-License-Identifier: Apache-2.0 */
/* What the log of one slice says that its read models must say: counts and state of each campaign, when a
 * count was reached and in which stretches of time it changed, who holds which coupon, and what became of it.
 * This is a fold of its own, by the definitions of the events alone: neither events/campaign.c nor readmodel/
 * has a part in it, so that a rule that is wrong there is found. Pure.
 *
 * What there is one of for each coupon is kept as sums over hashes, so a slice of a million coupons needs
 * some megabytes. Memory is bounded all the same: when it is full, half of the names are left to another pass
 * over the log (verify/table.h). */
#pragma once

#include "events/codec.h"
#include "events/ids.h"
#include "readmodel/activity.h"
#include "readmodel/keys.h"
#include "verify/table.h"

enum { FACT_HASH_BYTES = 16, FACT_MARKS_MAX = 32 };

/* One for each campaign that was created, deleted ones too. */
struct fact_campaign {
    struct verify_name name;
    char id[CAMPAIGN_ID_MAX];
    uint8_t id_len;
    bool halted, compared;
    int16_t state; /* enum campaign_state */
    int64_t created_at_us, first, position;
    int64_t released, reserved, plan_done;
    uint64_t change; /* hash of who brought it into its state, when and why; 0 where none is shown */
    struct {
        int64_t count, changed_at_us; /* 0: never changed */
    } counted[COUNTED_COUNT];
    uint8_t definition[FACT_HASH_BYTES]; /* hash of the data of a CampaignCreated that says it */
};

/* When a count of a campaign changed for the first time in a stretch (grain) of each window, and what it was
 * before: the last FACT_MARKS_MAX of them. */
struct fact_marks {
    struct verify_name name;
    struct fact_grains {
        size_t count; /* in all; the n-th is at n % FACT_MARKS_MAX */
        struct {
            int64_t grain, before;
        } items[FACT_MARKS_MAX];
    } windows[WINDOW_MARKED];
};

/* The coupons of COUPON_CHUNK neighbouring positions. */
struct fact_chunk {
    struct verify_name name;
    uint64_t issues, states; /* sums over the hashes of what was issued, and of what became of some */
    int32_t issued, changed; /* how many */
    int64_t issued_at_us;    /* the last one */
};

/* The hash of a coupon's state, of those that something happened to. */
struct fact_state {
    struct verify_name name;
    uint64_t hash;
};

/* HOLDERS_CHUNK neighbouring holders of a campaign: a hash over their positions in order. */
struct fact_holders {
    struct verify_name name;
    uint64_t hash;
    int64_t count;
};

/* Everybody whose hash ends in the same bits: what they hold, in no order. */
struct fact_users {
    uint64_t sum;
    int64_t count;
};

struct facts {
    int16_t slice;
    int64_t position, at_us;              /* events up to here are folded in; the time of the last one */
    int64_t coupons;                      /* issued so far */
    int64_t counted_at_us[COUNTED_COUNT]; /* the last change of such a count of any campaign */
    struct verify_memory memory;
    struct verify_table campaigns, marks, chunks, states, holders;
    struct fact_users *users; /* 1 << users_bits */
    int users_bits;
    struct fact_id {
        char text[CAMPAIGN_ID_MAX];
        size_t len;
        struct verify_name name;
        uint16_t tag;
    } last; /* the campaign of the last event */
};

void facts_init(struct facts *facts, size_t memory);
void facts_deinit(struct facts *facts);
/* Starts a slice with no event and all names. `head`: about how many events there will be. */
void facts_begin(struct facts *facts, int16_t slice, int64_t head);
/* The same once more, for a part of the names that there was no memory for; false where none is left. */
bool facts_again(struct facts *facts) MUST_USE;

/* Adds the next event of the slice, decoded, in position order. */
void facts_add(struct facts *facts, const struct event *event);

bool facts_have_campaign(const struct facts *facts, struct span id); /* whether this pass follows it */
bool facts_have_number(const struct facts *facts, int64_t number);   /* a chunk by its number */
/* NULL: there is none, or another pass follows it. Valid until the next facts_add. */
struct fact_campaign *facts_campaign(const struct facts *facts, struct span id);
const struct fact_marks *facts_marks(const struct facts *facts, struct span id, enum counted counted);
const struct fact_chunk *facts_chunk(const struct facts *facts, int64_t number);
const struct fact_holders *facts_holders(const struct facts *facts, struct span id, int64_t chunk);
/* All whose hash is congruent to `class` modulo 1 << bits; bits <= users_bits. */
struct fact_users facts_users(const struct facts *facts, int64_t class, int bits);

/* --- hashes of one thing each, for what Redis says of it --- */

struct fact_issue {
    int64_t position, sequence, nth, at_us, expires_at_us;
    struct span user_id, campaign_id, code_prefix;
};
uint64_t fact_issue_hash(const struct fact_issue *issue);

struct fact_coupon_state {
    int64_t position; /* of its CouponIssued */
    int64_t state, last, changed_at_us, order_amount, discount_amount, reserved_until_us;
    struct span note; /* order id or reason; absent and empty are the same */
    struct span by;   /* who revoked it; absent in other states */
};
uint64_t fact_state_hash(const struct fact_coupon_state *state);

uint64_t fact_change_hash(int64_t at_us, struct span by, struct span reason);
uint64_t fact_holder_hash(uint64_t before, int64_t position); /* goes on from those before it, 0 at first */
uint64_t fact_holding_hash(int64_t position, int64_t at_us, uint64_t user_tag, uint16_t campaign_tag);
void fact_definition_hash(struct span data, uint8_t ret[FACT_HASH_BYTES]);
