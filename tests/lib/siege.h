/* SPDX-License-Identifier: Apache-2.0 */
/* A crowd that goes on issuing coupons of one campaign while a test does something terrible to the servers,
 * and the judgement afterwards: who was promised what. Each command service has a crowd and a thread of its
 * own; whoever gets no definite answer sends the same key again. What goes wrong fails the test. */
#pragma once

#include "bench/storm/checker.h"
#include "tests/lib/stack.h"

enum { SIEGE_CROWDS_MAX = 4 };

struct siege_options {
    const char *const *urls; /* of the command services; at most SIEGE_CROWDS_MAX */
    size_t urls_count;
    int64_t per_second;       /* users who come to each */
    size_t connections;       /* to each */
    const char *database_url; /* the log is read from here in the end; NULL: the stack's own */
    unsigned slices;          /* the campaign is in one of these, as bits; 0: in any */
    int64_t slack_ms;         /* answers may come so much later, because a service stands still */
    /* So many users for so many coupons, as fast as there are connections, who are waited for to the last;
     * 0: users come for as long as the siege lasts, and there are coupons for all. */
    uint32_t users;
    int64_t quantity;
    bool may_break; /* connections may break and requests get no answer, because a service is killed */
};

struct siege;
/* Creates the campaign and begins; returns when every crowd has been issued something, where there is enough
 * for all. */
struct siege *siege_begin(struct stack *stack, const struct siege_options *options);
/* Coupons issued so far, by the crowd of one service. Any thread. */
int64_t siege_issued(const struct siege *siege, size_t crowd);
/* The same number, to be read while the siege is there. */
const _Atomic int64_t *siege_issued_counter(const struct siege *siege);
const char *siege_campaign(const struct siege *siege); /* valid as long as the siege */
/* Waits until each crowd's service issues again: a coupon that was asked for after this was called. */
void siege_await_issuing(struct siege *siege);
/* Waits until each service issues again; then nobody new comes, and everybody gets a definite answer. Then
 * judges: every answer in time, every refusal a problem that says when to come back, nothing promised lost,
 * nothing double, no gap. Destroys. */
void siege_end(struct siege *siege);

/* What became of everybody. */
struct siege_outcome {
    struct attempts attempts; /* the caller deinits it */
    struct verdict verdict;   /* of the answers against the log */
    uint32_t came, unresolved;
    int64_t back_ms; /* from siege_mark_back to the next coupon; -1: none came */
    int64_t gap_ms;  /* the longest time in which nobody was issued anything */
    int16_t slice;   /* of the campaign */
};
/* Instead of siege_end, for those who judge themselves; then siege_free. */
void siege_finish(struct siege *siege, struct siege_outcome *ret);
void siege_free(struct siege *siege);

/* From the test's thread, before siege_end: whatever was gone has been back for `ago_us` by now. siege_end
 * prints how long it took from there to the next coupon, and fails when that was far too long. */
void siege_mark_back(struct siege *siege, const char *what, int64_t ago_us);
