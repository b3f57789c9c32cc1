/* SPDX-License-Identifier: Apache-2.0 */
/* The queue in front of a committer. */
#include "command-service/queue.h"

#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/metrics.h"
#include "common/base/thread.h"

struct queue {
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t changed;
    struct command *first, *last;
    size_t depth;        /* commands waiting */
    int64_t earliest_us; /* no deadline in the queue is before this one */
    size_t queue_max, batch_max;
    bool busy;            /* the committer has a batch under way */
    struct map in_flight; /* hash of a key -> its commands, from offer to done */
    int64_t batch_us;     /* how long a batch takes, moving average; 0 until known */
    bool available, closed;
    bool wanted;                /* a command for it is held elsewhere */
    int64_t closing_us;         /* once closed: until when who was accepted may still be served */
    struct metric *depth_gauge; /* of all queues of the process together */
};

struct queue *queue_create(size_t queue_max, size_t batch_max)
{
    struct queue *queue = mem_zalloc(sizeof *queue);
    CHECK(pthread_mutex_init(&queue->lock, NULL) == 0);
    CHECK(pthread_cond_init(&queue->changed, NULL) == 0);
    map_init(&queue->in_flight);
    queue->queue_max = queue_max;
    queue->batch_max = batch_max;
    queue->available = true;
    queue->earliest_us = INT64_MAX;
    queue->depth_gauge = metric_gauge("coupon_queue_depth", "Commands waiting for their committer", NULL);
    return queue;
}

void queue_destroy(struct queue *queue)
{
    if (!queue)
        return;
    CHECK(queue->depth == 0 && queue->in_flight.count == 0);
    map_deinit(&queue->in_flight);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    mem_free(queue);
}

/* --- admission --- */

/* Until a command that came now is committed: the batch under way, and those that the queue makes. Counted in
 * batches, because a batch of one takes about as long as one of hundreds: a rate of commands measured while
 * idle would refuse the first moments of every storm. */
static int64_t predicted_wait_us(const struct queue *queue)
{
    if (queue->depth == 0)
        return 0; /* or an average that once grew too high would never be measured again */
    return (int64_t)(queue->busy + queue->depth / queue->batch_max + 1) * queue->batch_us;
}

/* The time that a command needs to have left when it is begun. Where more wait than one batch takes and
 * batches take long, that is a batch and a quarter: with less, the exchange would end at the deadline of one
 * command what all of the batch need. Not where few wait: an average that once grew too high is measured
 * again by whoever is begun. */
static int64_t floor_us(const struct queue *queue)
{
    int64_t least_us = COMMAND_FLOOR_MS * US_PER_MS, batch_us = queue->batch_us + queue->batch_us / 4;
    return queue->depth > queue->batch_max && batch_us > least_us ? batch_us : least_us;
}

/* In time for its request, or else in time for who asks later, or not at all. The last moments before a
 * deadline are of no use: the committer begins nothing then. */
static enum queue_verdict admit_wait(const struct queue *queue, const struct command *command,
                                     bool may_accept, int64_t wait_us)
{
    int64_t done_us = clock_mono_us() + floor_us(queue) + wait_us;
    if (may_accept && wait_us > command->accept_above_us)
        return done_us > command->accepted_deadline_us ? QUEUE_FULL : QUEUE_ACCEPTED;
    return done_us > command->deadline_us ? QUEUE_FULL : QUEUE_TAKEN;
}

static struct span key_of(const struct command *command)
{
    return (struct span){(const char *)command->id.key_hash, REQUEST_KEY_BYTES};
}

/* What is in flight under the same key for the same thing. */
static const struct command *find_twin(const struct queue *queue, const struct command *command)
{
    const struct command *twin = command->keyed ? map_get(&queue->in_flight, key_of(command)) : NULL;
    while (twin && memcmp(&twin->id, &command->id, sizeof twin->id) != 0)
        twin = twin->same_key;
    return twin;
}

static void note_in_flight(struct queue *queue, struct command *command)
{
    if (!command->keyed)
        return;
    command->same_key = map_remove(&queue->in_flight, key_of(command));
    map_put(&queue->in_flight, key_of(command), command);
}

static void forget_in_flight(struct queue *queue, struct command *command)
{
    struct command *first = map_remove(&queue->in_flight, key_of(command)), **at = &first;
    while (*at != command) {
        CHECK(*at);
        at = &(*at)->same_key;
    }
    *at = command->same_key;
    if (first)
        map_put(&queue->in_flight, key_of(first), first);
}

void queue_in_flight(struct queue *queue, const uint8_t key_hash[REQUEST_KEY_BYTES],
                     void (*visit)(const struct command *command, void *context), void *context)
{
    struct span key = {(const char *)key_hash, REQUEST_KEY_BYTES};
    pthread_mutex_lock(&queue->lock);
    for (const struct command *at = map_get(&queue->in_flight, key); at; at = at->same_key)
        visit(at, context);
    pthread_mutex_unlock(&queue->lock);
}

static enum queue_verdict has_room(const struct queue *queue)
{
    if (!queue->available)
        return QUEUE_UNAVAILABLE;
    return queue->depth >= queue->queue_max ? QUEUE_FULL : QUEUE_TAKEN;
}

static enum queue_verdict admit(const struct queue *queue, const struct command *command, bool may_accept)
{
    const struct command *twin = find_twin(queue, command);
    if (queue->closed)
        return QUEUE_CLOSED;
    if (twin)
        return memcmp(twin->fingerprint, command->fingerprint, FINGERPRINT_BYTES) == 0 ? QUEUE_IN_FLIGHT
                                                                                       : QUEUE_REUSED;
    return has_room(queue) == QUEUE_TAKEN ? admit_wait(queue, command, may_accept, predicted_wait_us(queue))
                                          : has_room(queue);
}

void queue_want(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->wanted = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

enum queue_verdict queue_would(struct queue *queue, int64_t deadline_us, int64_t *ret_wait_ms, bool *ret_soon)
{
    pthread_mutex_lock(&queue->lock);
    int64_t wait_us = predicted_wait_us(queue);
    enum queue_verdict verdict = has_room(queue);
    bool in_time = clock_mono_us() + floor_us(queue) + wait_us <= deadline_us;
    *ret_soon = verdict == QUEUE_FULL && in_time;
    if (verdict == QUEUE_TAKEN && !in_time)
        verdict = QUEUE_FULL;
    *ret_wait_ms = wait_us / US_PER_MS;
    pthread_mutex_unlock(&queue->lock);
    return verdict;
}

enum { CLOSING_MS = 2000 };

/* On shutdown: no client waits for an accepted command, so it does not keep the process for its whole
 * deadline when the store is gone. */
static void clamp_deadline(const struct queue *queue, struct command *command)
{
    if (queue->closed && command->accepted && command->deadline_us > queue->closing_us)
        command->deadline_us = queue->closing_us;
}

static void append(struct queue *queue, struct command *command)
{
    command->next = NULL;
    *(queue->last ? &queue->last->next : &queue->first) = command;
    queue->last = command;
    queue->depth++;
    if (command->deadline_us < queue->earliest_us)
        queue->earliest_us = command->deadline_us;
}

enum queue_verdict queue_offer(struct queue *queue, struct command *command, bool may_accept,
                               int64_t *ret_wait_ms)
{
    pthread_mutex_lock(&queue->lock);
    enum queue_verdict verdict = admit(queue, command, may_accept);
    *ret_wait_ms = predicted_wait_us(queue) / US_PER_MS;
    if (verdict == QUEUE_ACCEPTED) {
        command->request = NULL; /* before the committer can see it */
        command->accepted = true;
        command->watch = NULL; /* its client was answered now, however long it waits */
        command->deadline_us = command->accepted_deadline_us;
    }
    if (verdict == QUEUE_TAKEN || verdict == QUEUE_ACCEPTED) {
        command_change_state(command, COMMAND_QUEUED);
        append(queue, command);
        metric_add(queue->depth_gauge, 1);
        command->home = queue;
        note_in_flight(queue, command);
        if (queue->depth == 1)
            pthread_cond_signal(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    return verdict;
}

/* --- the committer's side --- */

/* A command for many users is a batch in itself. */
static bool travels_alone(const struct command *command)
{
    return command->alone || command_is_solo(command->kind);
}

/* How many from the front make the next batch. */
static size_t batch_length(const struct queue *queue, size_t count_max)
{
    size_t length = 0;
    const struct command *command = queue->first;
    if (command && travels_alone(command))
        return 1;
    for (; command && length < count_max && !travels_alone(command); command = command->next)
        length++;
    return length;
}

static struct command *cut(struct queue *queue, size_t count)
{
    struct command *list = queue->first, *last = list;
    if (count == 0)
        return NULL;
    command_change_state(last, COMMAND_TAKEN);
    for (size_t i = 1; i < count; i++) {
        last = last->next;
        command_change_state(last, COMMAND_TAKEN);
    }
    queue->first = last->next;
    if (!queue->first) {
        queue->last = NULL;
        queue->earliest_us = INT64_MAX;
    }
    last->next = NULL;
    queue->depth -= count;
    metric_add(queue->depth_gauge, -(uint64_t)count);
    return list;
}

static void wait_for_command(struct queue *queue, int64_t until_us)
{
    while (queue->depth == 0 && !queue->closed && !queue->wanted)
        if (!cond_wait_until(&queue->changed, &queue->lock, until_us))
            return;
}

struct command *queue_take(struct queue *queue, size_t count_max, int64_t wait_until_us)
{
    pthread_mutex_lock(&queue->lock);
    queue->busy = false;
    wait_for_command(queue, wait_until_us);
    queue->wanted = false;
    struct command *list = cut(queue, batch_length(queue, count_max));
    queue->busy = list != NULL;
    pthread_mutex_unlock(&queue->lock);
    return list;
}

bool queue_await(struct queue *queue, int64_t until_us)
{
    pthread_mutex_lock(&queue->lock);
    wait_for_command(queue, until_us);
    bool came = queue->depth > 0 || queue->closed || queue->wanted;
    queue->wanted = false;
    pthread_mutex_unlock(&queue->lock);
    return came;
}

void queue_put_back(struct queue *queue, struct command *list)
{
    struct command *last = list;
    if (!list)
        return;
    pthread_mutex_lock(&queue->lock);
    for (struct command *command = list; command; command = command->next) {
        command_change_state(command, COMMAND_QUEUED);
        clamp_deadline(queue, command);
        if (command->deadline_us < queue->earliest_us)
            queue->earliest_us = command->deadline_us;
        last = command;
        queue->depth++;
        metric_add(queue->depth_gauge, 1);
    }
    last->next = queue->first;
    queue->first = list;
    if (!queue->last)
        queue->last = last;
    pthread_mutex_unlock(&queue->lock);
}

bool queue_forward(struct queue *to, struct command *command)
{
    pthread_mutex_lock(&to->lock);
    bool open = !to->closed; /* its committer may have ended */
    if (open) {
        command_change_state(command, COMMAND_QUEUED);
        append(to, command);
        metric_add(to->depth_gauge, 1);
        pthread_cond_signal(&to->changed);
    }
    pthread_mutex_unlock(&to->lock);
    return open;
}

void queue_done(struct command *const *commands, size_t count)
{
    struct queue *locked = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!commands[i]->keyed)
            continue;
        if (commands[i]->home != locked) {
            if (locked)
                pthread_mutex_unlock(&locked->lock);
            locked = commands[i]->home;
            pthread_mutex_lock(&locked->lock);
        }
        forget_in_flight(locked, commands[i]);
    }
    if (locked)
        pthread_mutex_unlock(&locked->lock);
}

/* Not only those in front: a request whose body came slowly stands behind younger ones. */
static struct command *cut_expired(struct queue *queue, int64_t now_us)
{
    struct command *expired = NULL, **end = &expired, *command = queue->first;
    size_t before = queue->depth;
    queue->first = queue->last = NULL;
    queue->depth = 0;
    queue->earliest_us = INT64_MAX;
    while (command) {
        struct command *next = command->next;
        if (command->deadline_us <= now_us) {
            command_change_state(command, COMMAND_TAKEN);
            command->next = NULL;
            *end = command;
            end = &command->next;
        } else {
            append(queue, command);
        }
        command = next;
    }
    metric_add(queue->depth_gauge, queue->depth - before);
    return expired;
}

struct command *queue_take_late(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    int64_t from_us = clock_mono_us() + floor_us(queue);
    struct command *late = queue->earliest_us <= from_us ? cut_expired(queue, from_us) : NULL;
    pthread_mutex_unlock(&queue->lock);
    return late;
}

struct command *queue_take_expired(struct queue *queue, int64_t now_us)
{
    pthread_mutex_lock(&queue->lock);
    struct command *expired = queue->earliest_us <= now_us ? cut_expired(queue, now_us) : NULL;
    pthread_mutex_unlock(&queue->lock);
    return expired;
}

void queue_note_batch(struct queue *queue, int64_t duration_us)
{
    enum { WEIGHT = 8 }; /* the average follows about the last eight batches */
    pthread_mutex_lock(&queue->lock);
    if (queue->batch_us == 0)
        queue->batch_us = duration_us;
    queue->batch_us += (duration_us - queue->batch_us) / WEIGHT;
    pthread_mutex_unlock(&queue->lock);
}

void queue_set_available(struct queue *queue, bool available)
{
    pthread_mutex_lock(&queue->lock);
    queue->available = available;
    pthread_mutex_unlock(&queue->lock);
}

void queue_set_max(struct queue *queue, size_t queue_max)
{
    pthread_mutex_lock(&queue->lock);
    queue->queue_max = queue_max;
    pthread_mutex_unlock(&queue->lock);
}

/* --- the end --- */

void queue_close(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    queue->closing_us = clock_deadline_us(CLOSING_MS);
    for (struct command *command = queue->first; command; command = command->next) {
        clamp_deadline(queue, command);
        if (command->deadline_us < queue->earliest_us)
            queue->earliest_us = command->deadline_us;
    }
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

bool queue_finished(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    bool finished = queue->closed && queue->depth == 0;
    pthread_mutex_unlock(&queue->lock);
    return finished;
}

void queue_sleep(struct queue *queue, int64_t until_us)
{
    pthread_mutex_lock(&queue->lock);
    while (!queue->closed && clock_mono_us() < until_us)
        if (!cond_wait_until(&queue->changed, &queue->lock, until_us))
            break;
    pthread_mutex_unlock(&queue->lock);
}

struct queue_facts queue_look(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct queue_facts facts = {queue->depth, queue->queue_max, predicted_wait_us(queue), queue->available};
    pthread_mutex_unlock(&queue->lock);
    return facts;
}
