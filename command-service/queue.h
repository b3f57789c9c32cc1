/* SPDX-License-Identifier: Apache-2.0 */
/* Where commands wait: one bounded FIFO per slice, between the HTTP threads that offer and the one committer
 * that takes. Also the index of requests in flight in this process, so that the same request sent twice at
 * once is answered `in-flight` instead of queued twice. All functions are thread-safe. */
#pragma once

#include "command-service/core/command.h"

struct inbox;

enum inbox_verdict {
    INBOX_TAKEN,       /* the inbox owns the command now */
    INBOX_ACCEPTED,    /* so it does, but its request is the caller's again, to be answered 202 */
    INBOX_IN_FLIGHT,   /* the same request is being processed */
    INBOX_REUSED,      /* a request with the same key but another payload is being processed */
    INBOX_FULL,        /* the slice's queue is full, or the predicted wait is beyond the command's deadline */
    INBOX_UNAVAILABLE, /* the store has been gone for a while */
    INBOX_CLOSED,      /* shutting down */
};

/* queue_max: commands waiting per slice. batch_max: how many of them the committer takes at most at once,
 * which is what the prediction of waits counts in. */
struct inbox *inbox_create(size_t queue_max, size_t batch_max);
void inbox_destroy(struct inbox *inbox); /* must be empty; accepts NULL */

/* ret_wait_ms: how long the queue is predicted to need, for Retry-After (INBOX_FULL). `accepts`: where a
 * command that may be accepted instead of answered is to be finished (pending there already); NULL where it
 * may not. */
enum inbox_verdict inbox_offer(struct inbox *inbox, struct command *command, struct requests *accepts,
                               int64_t *ret_wait_ms);

/* A list (linked by next, in FIFO order) of at most `count_max` commands of ONE slice; slices take turns.
 * Waits until `wait_until_us` for the first one; NULL when none came. The caller owns them until
 * inbox_put_back or inbox_done. */
struct command *inbox_take(struct inbox *inbox, size_t count_max, int64_t wait_until_us);
/* Puts a taken list back in front, order kept. */
void inbox_put_back(struct inbox *inbox, struct command *list);
/* Forgets a taken command that is about to be answered: its request is no longer in flight. */
void inbox_done(struct inbox *inbox, const struct command *command);
/* Takes every command whose deadline is not after `now_us` off the queues. */
struct command *inbox_take_expired(struct inbox *inbox, int64_t now_us);

/* The committer tells how long a batch took, and whether the store can be reached. */
void inbox_note_batch(struct inbox *inbox, int64_t duration_us);
void inbox_set_available(struct inbox *inbox, bool available);
/* Another bound on the commands waiting per slice; what waits already stays. */
void inbox_set_queue_max(struct inbox *inbox, size_t queue_max);
/* No more offers; inbox_take returns at once when empty. Who was accepted has 2 s left. */
void inbox_close(struct inbox *inbox);
bool inbox_finished(struct inbox *inbox); /* closed and nothing queued */
size_t inbox_depth(struct inbox *inbox);
