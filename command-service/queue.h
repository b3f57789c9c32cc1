/* SPDX-License-Identifier: Apache-2.0 */
/* Where the commands of one slice wait: a bounded FIFO between the HTTP threads that offer and the slice's
 * committer that takes. Also the index of requests in flight in this process, so that the same request sent
 * twice at once is answered `in-flight` instead of queued twice. All functions are thread-safe. The states of
 * a command are drawn above enum command_state.
 */
#pragma once

#include "command-service/core/command.h"

struct queue;

enum queue_verdict {
    QUEUE_TAKEN,       /* the queue owns the command now */
    QUEUE_ACCEPTED,    /* so it does, but its request is the caller's again, to be answered 202 */
    QUEUE_IN_FLIGHT,   /* the same request is being processed */
    QUEUE_REUSED,      /* a request with the same key but another payload is being processed */
    QUEUE_FULL,        /* the bound is reached, or the predicted wait is beyond the command's deadline */
    QUEUE_UNAVAILABLE, /* the store has been gone for a while */
    QUEUE_CLOSED,      /* shutting down */
};

/* A command with less time than this left (or than a batch takes, where many wait) is not begun, and so not
 * admitted where it is predicted to have less left when its turn comes. */
enum { COMMAND_FLOOR_MS = 300 };

/* queue_max: commands waiting. batch_max: how many of them the committer takes at most at once, which is what
 * the prediction of waits counts in. */
struct queue *queue_create(size_t queue_max, size_t batch_max);
void queue_destroy(struct queue *queue); /* must be empty; accepts NULL */

/* ret_wait_ms: how long the queue is predicted to need, for Retry-After (QUEUE_FULL). `may_accept`: it may be
 * accepted instead of answered. */
enum queue_verdict queue_offer(struct queue *queue, struct command *command, bool may_accept,
                               int64_t *ret_wait_ms);
/* A command for it has come, and is held elsewhere for now. */
void queue_want(struct queue *queue);
/* Whether a command with that deadline would be taken now (QUEUE_TAKEN), before there is one. *ret_soon: as
 * many wait as may, but who came after them would still be in time. */
enum queue_verdict queue_would(struct queue *queue, int64_t deadline_us, int64_t *ret_wait_ms,
                               bool *ret_soon);
/* Visits what is in flight under a key. Under the queue's lock: `visit` must be quick. */
void queue_in_flight(struct queue *queue, const uint8_t key_hash[REQUEST_KEY_BYTES],
                     void (*visit)(const struct command *command, void *context), void *context);

/* A list (linked by next, in FIFO order) of at most `count_max` commands. Waits until `wait_until_us` for the
 * first one; NULL when none came. The caller owns them until queue_put_back or queue_done. */
struct command *queue_take(struct queue *queue, size_t count_max, int64_t wait_until_us);
/* Takes every command off the queue that has too little time left to be begun, so that the next batch is of
 * those that have it. */
struct command *queue_take_late(struct queue *queue);
/* Puts a taken list back in front, order kept. */
void queue_put_back(struct queue *queue, struct command *list);
/* Hands a taken command on to the queue of another slice: no admission, the same deadline, and still in
 * flight in the queue it was first offered to. false: that queue is closed, the command is the caller's. */
bool queue_forward(struct queue *to, struct command *command) MUST_USE;
/* Forgets taken commands that are about to be answered: their requests are no longer in flight. */
void queue_done(struct command *const *commands, size_t count);
/* Takes every command whose deadline is not after `now_us` off the queue. */
struct command *queue_take_expired(struct queue *queue, int64_t now_us);

/* The committer tells how long a batch took, and whether the store can be reached. */
void queue_note_batch(struct queue *queue, int64_t duration_us);
void queue_set_available(struct queue *queue, bool available);
/* Another bound on the commands waiting; what waits already stays. */
void queue_set_max(struct queue *queue, size_t queue_max);
/* No more offers; queue_take returns at once when empty. Who was accepted has 2 s left. */
void queue_close(struct queue *queue);
bool queue_finished(struct queue *queue); /* closed and nothing queued */
/* Sleeps until that instant, or until the queue is closed. */
void queue_sleep(struct queue *queue, int64_t until_us);
/* Sleeps until that instant, or until a command waits or is wanted or the queue is closed, which is what it
 * returns. */
bool queue_await(struct queue *queue, int64_t until_us);
struct queue_facts {
    size_t depth, queue_max;
    int64_t wait_us; /* predicted for who comes now */
    bool available;  /* the store */
};
struct queue_facts queue_look(struct queue *queue);
