/* SPDX-License-Identifier: Apache-2.0 */
/* A past for tests: events written straight into the log with times of the test's choosing, together with the
 * rows that the command service would have written in the same transaction (campaign, coupon, issue_run),
 * which are derived by the same folds. For what takes days: windows, and models that come to their end. A
 * batch has no hash chain. Whatever fails here fails the test. One thread at a time; nobody else may write to
 * the slices. */
#pragma once

#include "common/pg/pg.h"
#include "events/coupon.h"
#include "readmodel/activity.h"
#include "tests/lib/stack.h"

enum { PAST_CAMPAIGNS_MAX = 16, PAST_COUPONS_MAX = 512, PAST_CHANGES_MAX = 4096 };

struct past_campaign {
    char id[40], tag[16];
    struct campaign fold;
    struct activity activity[COUNTED_COUNT]; /* as the log makes it */
    int64_t changed_at_us[COUNTED_COUNT];    /* last change of each count, 0: none */
    struct buf definition;
    struct coupon coupons[PAST_COUPONS_MAX]; /* in order of issue */
    size_t coupons_count;
};

struct past {
    struct pg *pg;
    struct pg_args args;
    struct past_campaign campaigns[PAST_CAMPAIGNS_MAX];
    size_t campaigns_count;
    struct past_change {
        size_t campaign;
        enum counted counted;
        int64_t by, at_us;
    } changes[PAST_CHANGES_MAX]; /* all that ever counted, in order */
    size_t changes_count;
};

void past_open(struct past *past, struct stack *stack);
void past_commit(struct past *past); /* nobody sees anything before; once, at the end */
void past_close(struct past *past);

/* A campaign with a stock of 500, in any slice; tag "" for none. Times within a slice may not run backwards.
 */
struct past_campaign *past_create(struct past *past, const char *id, const char *tag, int64_t at_us);
/* A coupon to user "past-<sequence>", one commit. */
struct coupon *past_issue(struct past *past, struct past_campaign *campaign, int64_t at_us);
void past_redeem(struct past *past, struct past_campaign *campaign, struct coupon *coupon, int64_t at_us);
void past_restore(struct past *past, struct past_campaign *campaign, struct coupon *coupon, int64_t at_us);

/* The ranking of what was counted between two instants, "past-3 7, past-1 5", as reads_ranking writes it; tag
 * "": of all campaigns. How many changes of that kind it is made of. */
size_t past_ranking(const struct past *past, enum counted by, const char *tag, int64_t since_us,
                    int64_t until_us, struct buf *ret);
