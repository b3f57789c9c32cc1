/* SPDX-License-Identifier: Apache-2.0 */
/* The queues in front of a committer. */
#include "command-service/queue.h"

#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/metrics.h"

struct queue {
    struct command *first, *last;
    size_t count;
    int64_t earliest_us; /* no deadline in the queue is before this one */
};

struct inbox {
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t came;
    struct queue queues[SLICE_COUNT]; /* a committer uses only its own slices' */
    size_t queue_max, batch_max, depth;
    int16_t turn;         /* slice to look at next */
    struct map in_flight; /* request id -> command, from offer to done */
    int64_t batch_us;     /* how long a batch takes, moving average; 0 until known */
    bool available, closed;
    int64_t closing_us;         /* once closed: until when who was accepted may still be served */
    struct metric *depth_gauge; /* of all inboxes of the process together */
};

static void depth_add(struct inbox *inbox, size_t count)
{
    inbox->depth += count;
    metric_add(inbox->depth_gauge, count);
}

static void depth_take(struct inbox *inbox, size_t count)
{
    inbox->depth -= count;
    metric_add(inbox->depth_gauge, -(uint64_t)count);
}

struct inbox *inbox_create(size_t queue_max, size_t batch_max)
{
    struct inbox *inbox = mem_zalloc(sizeof *inbox);
    pthread_condattr_t attributes;
    CHECK(pthread_mutex_init(&inbox->lock, NULL) == 0);
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&inbox->came, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    map_init(&inbox->in_flight);
    inbox->queue_max = queue_max;
    inbox->batch_max = batch_max;
    inbox->available = true;
    inbox->depth_gauge = metric_gauge("coupon_queue_depth", "Commands waiting for their committer", NULL);
    return inbox;
}

void inbox_destroy(struct inbox *inbox)
{
    if (!inbox)
        return;
    CHECK(inbox->depth == 0 && inbox->in_flight.count == 0);
    map_deinit(&inbox->in_flight);
    pthread_cond_destroy(&inbox->came);
    pthread_mutex_destroy(&inbox->lock);
    mem_free(inbox);
}

/* Until a command that came to this slice now is committed: the batch under way, those of its own queue, and
 * as many of each other queue, because slices take turns. Counted in batches, because a batch of one takes
 * about as long as one of hundreds: a rate of commands measured while idle would refuse the first moments of
 * every storm. */
static int64_t predicted_wait_us(const struct inbox *inbox, int16_t slice)
{
    size_t turns = inbox->queues[slice].count / inbox->batch_max + 1, batches = 0;
    if (inbox->depth == 0)
        return 0; /* or an average that once grew too high would never be measured again */
    for (int16_t other = 0; other < SLICE_COUNT; other++) {
        size_t queued = (inbox->queues[other].count + inbox->batch_max - 1) / inbox->batch_max;
        batches += queued < turns ? queued : turns;
    }
    return (int64_t)(1 + batches) * inbox->batch_us;
}

enum { CLOSING_MS = 2000 };

/* Nobody waits for who was accepted, and what is not known of it after the process says so honestly. So it
 * does not keep a process that is told to end for its whole deadline when the store is gone. */
static void hurry(const struct inbox *inbox, struct command *command)
{
    if (inbox->closed && command->accepted_in && command->deadline_us > inbox->closing_us)
        command->deadline_us = inbox->closing_us;
}

static void note_deadline(struct queue *queue, const struct command *command)
{
    if (queue->count == 0 || command->deadline_us < queue->earliest_us)
        queue->earliest_us = command->deadline_us;
}

/* In time for its request, or else in time for who asks later, or not at all. */
static enum inbox_verdict admit_wait(const struct command *command, bool may_accept, int64_t wait_us)
{
    int64_t done_us = clock_mono_us() + wait_us;
    if (may_accept && wait_us > command->accept_above_us)
        return done_us > command->accepted_deadline_us ? INBOX_FULL : INBOX_ACCEPTED;
    return done_us > command->deadline_us ? INBOX_FULL : INBOX_TAKEN;
}

static enum inbox_verdict admit(const struct inbox *inbox, const struct command *command, bool may_accept)
{
    const struct command *twin =
        command->keyed ? map_get(&inbox->in_flight, request_id_span(&command->id)) : NULL;
    if (inbox->closed)
        return INBOX_CLOSED;
    if (twin)
        return memcmp(twin->fingerprint, command->fingerprint, FINGERPRINT_BYTES) == 0 ? INBOX_IN_FLIGHT
                                                                                       : INBOX_REUSED;
    if (!inbox->available)
        return INBOX_UNAVAILABLE;
    if (inbox->queues[command->slice].count >= inbox->queue_max)
        return INBOX_FULL;
    return admit_wait(command, may_accept, predicted_wait_us(inbox, command->slice));
}

enum inbox_verdict inbox_offer(struct inbox *inbox, struct command *command, struct requests *accepts,
                               int64_t *ret_wait_ms)
{
    pthread_mutex_lock(&inbox->lock);
    enum inbox_verdict verdict = admit(inbox, command, accepts != NULL);
    *ret_wait_ms = predicted_wait_us(inbox, command->slice) / US_PER_MS;
    if (verdict == INBOX_ACCEPTED) {
        command->request = NULL; /* before the committer can see it */
        command->accepted_in = accepts;
        command->deadline_us = command->accepted_deadline_us;
    }
    if (verdict == INBOX_TAKEN || verdict == INBOX_ACCEPTED) {
        struct queue *queue = &inbox->queues[command->slice];
        command->next = NULL;
        note_deadline(queue, command);
        if (queue->last)
            queue->last->next = command;
        else
            queue->first = command;
        queue->last = command;
        queue->count++;
        if (command->keyed)
            map_put(&inbox->in_flight, request_id_span(&command->id), command);
        if (inbox->depth == 0)
            pthread_cond_signal(&inbox->came);
        depth_add(inbox, 1);
    }
    pthread_mutex_unlock(&inbox->lock);
    return verdict;
}

static void wait_for_command(struct inbox *inbox, int64_t wait_until_us)
{
    struct timespec until = {.tv_sec = wait_until_us / US_PER_S, .tv_nsec = wait_until_us % US_PER_S * 1000};
    while (inbox->depth == 0 && !inbox->closed)
        if (pthread_cond_timedwait(&inbox->came, &inbox->lock, &until) != 0)
            return;
}

/* Cuts the first `count` commands off a queue. */
static struct command *queue_cut(struct inbox *inbox, struct queue *queue, size_t count)
{
    struct command *list = queue->first, *last = list;
    if (count == 0)
        return NULL;
    for (size_t i = 1; i < count; i++)
        last = last->next;
    queue->first = last->next;
    if (!queue->first)
        queue->last = NULL;
    last->next = NULL;
    queue->count -= count;
    depth_take(inbox, count);
    return list;
}

/* How many from the front make the next batch: a command for many users travels alone, because it is a batch
 * in itself. */
static size_t batch_length(const struct queue *queue, size_t count_max)
{
    size_t length = 0;
    const struct command *command = queue->first;
    if (command && command_is_solo(command->kind))
        return 1;
    for (; command && length < count_max && !command_is_solo(command->kind); command = command->next)
        length++;
    return length;
}

struct command *inbox_take(struct inbox *inbox, size_t count_max, int64_t wait_until_us)
{
    struct command *list = NULL;
    pthread_mutex_lock(&inbox->lock);
    wait_for_command(inbox, wait_until_us);
    for (int16_t looked = 0; looked < SLICE_COUNT && !list; looked++) {
        struct queue *queue = &inbox->queues[inbox->turn];
        inbox->turn = (int16_t)((inbox->turn + 1) % SLICE_COUNT);
        list = queue_cut(inbox, queue, batch_length(queue, count_max));
    }
    pthread_mutex_unlock(&inbox->lock);
    return list;
}

void inbox_put_back(struct inbox *inbox, struct command *list)
{
    if (!list)
        return;
    pthread_mutex_lock(&inbox->lock);
    struct queue *queue = &inbox->queues[list->slice];
    struct command *last = list;
    for (struct command *command = list; command; command = command->next) {
        hurry(inbox, command);
        note_deadline(queue, command);
        last = command;
        queue->count++;
        depth_add(inbox, 1);
    }
    last->next = queue->first;
    queue->first = list;
    if (!queue->last)
        queue->last = last;
    pthread_mutex_unlock(&inbox->lock);
}

void inbox_done(struct inbox *inbox, const struct command *command)
{
    if (!command->keyed)
        return;
    pthread_mutex_lock(&inbox->lock);
    CHECK(map_remove(&inbox->in_flight, request_id_span(&command->id)) == command);
    pthread_mutex_unlock(&inbox->lock);
}

/* Moves the expired commands of a queue to the end of a list. Not only those in front: a request whose body
 * came slowly stands behind younger ones. */
static void queue_move_expired(struct queue *queue, int64_t now_us, struct command **end)
{
    struct command *command = queue->first;
    *queue = (struct queue){0};
    while (command) {
        struct command *next = command->next;
        command->next = NULL;
        if (command->deadline_us <= now_us) {
            *end = command;
            end = &command->next;
        } else {
            note_deadline(queue, command);
            *(queue->last ? &queue->last->next : &queue->first) = command;
            queue->last = command;
            queue->count++;
        }
        command = next;
    }
}

struct command *inbox_take_expired(struct inbox *inbox, int64_t now_us)
{
    struct command *expired = NULL, **end = &expired;
    pthread_mutex_lock(&inbox->lock);
    for (size_t slice = 0; slice < SLICE_COUNT; slice++) {
        struct queue *queue = &inbox->queues[slice];
        size_t before = queue->count;
        if (before == 0 || queue->earliest_us > now_us)
            continue;
        queue_move_expired(queue, now_us, end);
        depth_take(inbox, before - queue->count);
        while (*end)
            end = &(*end)->next;
    }
    pthread_mutex_unlock(&inbox->lock);
    return expired;
}

void inbox_note_batch(struct inbox *inbox, int64_t duration_us)
{
    enum { WEIGHT = 8 }; /* the average follows about the last eight batches */
    pthread_mutex_lock(&inbox->lock);
    if (inbox->batch_us == 0)
        inbox->batch_us = duration_us;
    inbox->batch_us += (duration_us - inbox->batch_us) / WEIGHT;
    pthread_mutex_unlock(&inbox->lock);
}

void inbox_set_available(struct inbox *inbox, bool available)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->available = available;
    pthread_mutex_unlock(&inbox->lock);
}

void inbox_set_queue_max(struct inbox *inbox, size_t queue_max)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->queue_max = queue_max;
    pthread_mutex_unlock(&inbox->lock);
}

void inbox_close(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->closed = true;
    inbox->closing_us = clock_deadline_us(CLOSING_MS);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        for (struct command *command = inbox->queues[slice].first; command; command = command->next) {
            hurry(inbox, command);
            note_deadline(&inbox->queues[slice], command);
        }
    pthread_cond_broadcast(&inbox->came);
    pthread_mutex_unlock(&inbox->lock);
}

bool inbox_finished(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    bool finished = inbox->closed && inbox->depth == 0;
    pthread_mutex_unlock(&inbox->lock);
    return finished;
}

size_t inbox_depth(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    size_t depth = inbox->depth;
    pthread_mutex_unlock(&inbox->lock);
    return depth;
}
