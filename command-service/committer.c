/* SPDX-License-Identifier: Apache-2.0 */
/* The commit loop: take, lock and load, decide, append and commit, answer.
 *
 * What happens if the process dies: before COMMIT nothing is durable and nobody was answered; after COMMIT
 * and before the answer, the client retries with its key and gets the answer from the idempotency row. What
 * happens if PostgreSQL is slow, frozen or gone: every exchange has a deadline below the commands'; the batch
 * goes back in front of its queue and is decided again. When the COMMIT had been sent its commands are
 * marked, so that past their deadline they are answered outcome-unknown (504) and never a guess. */
#include "command-service/committer.h"

#include <pthread.h>
#include <stdatomic.h>

#include "command-service/answer.h"
#include "command-service/http/response.h"
#include "command-service/spans.h"
#include "command-service/store/store.h"
#include "command-service/sweeper.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/notify.h"
#include "common/base/thread.h"
#include "events/problems.h"

enum {
    EXCHANGE_MS = 1000,    /* longest load or commit; statement_timeout is below it */
    COMMIT_FLOOR_MS = 100, /* a COMMIT is not sent with less time left */
    ANSWER_MS = 20,        /* before a deadline: what an answer takes to reach its client */
    CONNECT_MIN_MS = 500,  /* longest first attempt; after that twice as long, because slow is not gone */
    CONNECT_DOUBLED_MAX = 3,
    CONNECTS_AT_ONCE = 1,      /* unless a command waits */
    CONNECTS_AT_ONCE_SLOW = 4, /* where they wait for the store rather than compute */
    CONNECT_TURN_MS = 2,
    YOUNG_MS = 300, /* of the process: who is not wanted lets those connect first who are */
    IDLE_WAIT_MS = 200,
    IDLE_CHECK_MS = 1000,
    EXPIRE_MS = 25, /* how often the queues are looked at for what is past its deadline, */
    SHOW_MS = 1000, /* and for what metrics say of them */
    BUSY_PAUSE_MAX_MS = 20,
    BACKOFF_MIN_MS = 20,
    BACKOFF_MAX_MS = 250,  /* the service is back within a second of the database (design §6) */
    UNAVAILABLE_AFTER = 3, /* failed connects before new commands are refused at once */
    EVICT_AFTER = 3,       /* lock timeouts in a row before looking for who stands still with the lock */
};

/*                  connected                 commands taken
 *     +--> DOWN --------------> READY <-----------------------> COMMITTING
 *     |     ^                     |      everybody answered,        |
 *     |     +---------------------+      or put back                |
 *     |      the connection is idle                                 |
 *     |      and of no use                                          |
 *     +-------------------------------------------------------------+
 *                    the connection is lost: put back
 *
 * Only change_state() changes it. */
enum committer_state { COMMITTER_DOWN, COMMITTER_READY, COMMITTER_COMMITTING };

/* What the committers of one database share: they feel each other when it is slow, those of others do not. */
struct shard_committers {
    const struct shard *shard;
    struct sweeper *sweeper;
    atomic_uint connect_doubled; /* of CONNECT_MIN_MS: what the last connection that took longer needed */
    size_t connected, connecting, hurried; /* guarded by the lock of all */
};

struct committer {
    pthread_t thread;
    const struct committer_options *options;
    struct committers *all;
    struct shard_committers *shard;
    _Atomic enum committer_state state; /* written by its own thread alone */
    int16_t slice;
    struct queue *queue;
    struct store *store;
    struct batch *batch;
    unsigned failed_connects; /* in a row */
    bool hurried;             /* it connects, or has connected, because of commands that wait for it */
    unsigned busy_in_a_row;   /* batches that met somebody else's lock */
    int64_t used_us;          /* when the connection was last used to write, or asked whether it could be */
};

struct committers {
    struct committer_options options;
    struct service_part *ready; /* when every committer of some shard is connected */
    pthread_mutex_t lock;       /* guards what follows, and the setting of ready, so that the last is right */
    pthread_cond_t stopped;
    struct shard_committers shards[SHARDS_MAX];
    int64_t young_until_us; /* monotonic; written before the threads begin */
    bool stop;              /* the expirer's */
    pthread_t expirer;
    struct committer list[SLICE_COUNT];
};

static struct {
    struct metric *batch_size, *commit_seconds, *issued, *accepted, *refused, *replayed, *swept, *queue_wait,
        *queue_limit, *queue_fullest, *connections, *store_errors[STORE_BROKEN + 1];
} metrics;

static void metrics_setup(void)
{
    static const char *const classes[STORE_BROKEN + 1] = {
        [STORE_LOST] = "class=\"lost\"",     [STORE_UNKNOWN] = "class=\"unknown\"",
        [STORE_BUSY] = "class=\"busy\"",     [STORE_FULL] = "class=\"full\"",
        [STORE_BROKEN] = "class=\"broken\"",
    };
    metrics.batch_size = metric_histogram_count("coupon_batch_commands", "Commands per transaction", NULL);
    metrics.commit_seconds =
        metric_histogram_seconds("coupon_commit_duration_seconds", "Lock to COMMIT, per transaction", NULL);
    metrics.issued = metric_counter("coupon_issued_total", "Coupons issued by this process", NULL);
    metrics.accepted = metric_counter("coupon_commands_total", "Commands by outcome", "outcome=\"accepted\"");
    metrics.refused = metric_counter("coupon_commands_total", "Commands by outcome", "outcome=\"refused\"");
    metrics.replayed = metric_counter("coupon_commands_total", "Commands by outcome", "outcome=\"replayed\"");
    metrics.swept = metric_counter(
        "coupon_swept_total",
        "Tranches, ends, lapsed reservations and halted plans: events that nobody asked for", NULL);
    metrics.queue_wait = metric_histogram_seconds(
        "coupon_queue_wait_seconds",
        "From arrival to the beginning of the transaction, of the first of each batch", NULL);
    metrics.queue_limit =
        metric_gauge("coupon_queue_limit", "Commands that may wait for one committer", NULL);
    metrics.queue_fullest =
        metric_gauge("coupon_queue_fullest_depth", "Commands waiting for the committer most wait for", NULL);
    metrics.connections =
        metric_gauge("coupon_store_connections",
                     "Committers that are connected to the event store, of one for each slice", NULL);
    for (size_t i = STORE_LOST; i <= STORE_BROKEN; i++)
        metrics.store_errors[i] =
            metric_counter("coupon_store_errors_total", "Failed transactions by class", classes[i]);
}

/* Answers a list with one problem and frees it. */
static void fail_all(struct command *list, const struct problem *problem, int64_t retry_after_ms)
{
    while (list) {
        struct command *command = list;
        list = command->next;
        queue_done(&command, 1);
        if (command->sweeper)
            sweeper_conclude(command->sweeper, command, SWEEP_LATER);
        else
            answer_problem(command, command->commit_was_sent ? &problem_outcome_unknown : problem,
                           retry_after_ms);
        command_destroy(command);
    }
}

/* --- the connection --- */

/* A slice without its committer cannot be written to. A shard that is away costs its own slices only, so the
 * service is ready when all slices of some shard can be written to. Under the lock. */
static void show_connected(struct committers *all)
{
    size_t connected = 0;
    bool ready = false;
    for (size_t i = 0; i < all->options.shards->count; i++) {
        const struct shard_committers *is = &all->shards[i];
        connected += is->connected;
        ready |= is->connected == (size_t)__builtin_popcount(is->shard->slices);
    }
    metric_set(metrics.connections, (int64_t)connected);
    service_part_set(all->ready, ready);
}

static void change_state(struct committer *self, enum committer_state state)
{
    static const bool allowed[][3] = {
        [COMMITTER_DOWN] = {[COMMITTER_READY] = true},
        [COMMITTER_READY] = {[COMMITTER_DOWN] = true, [COMMITTER_COMMITTING] = true},
        [COMMITTER_COMMITTING] = {[COMMITTER_DOWN] = true, [COMMITTER_READY] = true},
    };
    struct committers *all = self->all;
    CHECK(allowed[self->state][state]);
    int change = (self->state == COMMITTER_DOWN) - (state == COMMITTER_DOWN);
    self->state = state;
    if (change == 0)
        return;
    pthread_mutex_lock(&all->lock);
    self->shard->connected += (size_t)change;
    show_connected(all);
    pthread_mutex_unlock(&all->lock);
}

/* One at a time, so that the first commands after a start do not share the processors with connections that
 * nobody needs yet: each costs both ends some milliseconds of processor, most of them for SCRAM and for
 * preparing statements. Who has commands waiting does not wait for its turn; and for the first moments of the
 * process the others wait until those are answered. */
static void await_turn(struct committer *self)
{
    struct committers *all = self->all;
    struct shard_committers *shard = self->shard;
    for (bool turn = false; !turn;) {
        bool wanted = queue_await(self->queue, clock_deadline_us(CONNECT_TURN_MS));
        bool young = clock_remaining_ms(all->young_until_us) > 0;
        pthread_mutex_lock(&all->lock);
        bool quiet = young && (shard->hurried > 0 || !control_looked(self->options->control));
        size_t at_once = atomic_load(&shard->connect_doubled) > 0 ? CONNECTS_AT_ONCE_SLOW : CONNECTS_AT_ONCE;
        turn = wanted || (shard->connecting < at_once && !quiet);
        shard->connecting += turn;
        shard->hurried += wanted && !self->hurried;
        self->hurried |= wanted;
        pthread_mutex_unlock(&all->lock);
    }
}

static void end_turn(struct committer *self)
{
    pthread_mutex_lock(&self->all->lock);
    self->shard->connecting--;
    pthread_mutex_unlock(&self->all->lock);
}

/* It answered, or could not connect. */
static void end_hurry(struct committer *self)
{
    if (!self->hurried)
        return;
    pthread_mutex_lock(&self->all->lock);
    self->shard->hurried--;
    self->hurried = false;
    pthread_mutex_unlock(&self->all->lock);
}

static void back_off(struct committer *self)
{
    unsigned step = self->failed_connects < 5 ? self->failed_connects : 5;
    int64_t base_ms = (int64_t)BACKOFF_MIN_MS << step;
    if (base_ms > BACKOFF_MAX_MS)
        base_ms = BACKOFF_MAX_MS;
    queue_sleep(self->queue, clock_deadline_us(base_ms / 2 + crypto_random_below((uint32_t)base_ms / 2 + 1)));
}

/* One that had to wait for longer has found out how slow the store is for all of them. */
static enum store_status connect_in_turn(struct committer *self)
{
    await_turn(self);
    unsigned known = atomic_load(&self->shard->connect_doubled);
    unsigned doubled = self->failed_connects > known ? self->failed_connects : known;
    if (doubled > CONNECT_DOUBLED_MAX)
        doubled = CONNECT_DOUBLED_MAX;
    int64_t from_us = clock_mono_us();
    enum store_status status =
        store_connect(self->store, self->slice, clock_deadline_us((int64_t)CONNECT_MIN_MS << doubled));
    if (status == STORE_OK)
        atomic_store(&self->shard->connect_doubled,
                     clock_mono_us() - from_us > CONNECT_MIN_MS * US_PER_MS ? doubled : 0);
    end_turn(self);
    return status;
}

static void reconnect(struct committer *self)
{
    enum store_status status = connect_in_turn(self);
    if (status == STORE_OK) {
        log_info("STORE-CONNECTED", "slice %d: connected to the event store after %u failed attempts",
                 (int)self->slice, self->failed_connects);
        self->failed_connects = 0;
        self->used_us = clock_mono_us();
        queue_set_available(self->queue, true);
        change_state(self, COMMITTER_READY);
        return;
    }
    log_warn("STORE-CONNECT", "slice %d: cannot connect to the event store: %s", (int)self->slice,
             store_error(self->store));
    end_hurry(self);
    if (++self->failed_connects >= UNAVAILABLE_AFTER)
        queue_set_available(self->queue, false);
    back_off(self);
}

/* --- one batch --- */

/* Refuses the commands that have no time left to be begun; returns the others. */
static struct command *drop_late(struct command *list)
{
    int64_t latest_us = clock_deadline_us(COMMAND_FLOOR_MS);
    struct command *late = NULL, *rest = NULL, **late_end = &late, **rest_end = &rest;
    while (list) {
        struct command *command = list, ***end = command->deadline_us < latest_us ? &late_end : &rest_end;
        list = command->next;
        command->next = NULL;
        **end = command;
        *end = &command->next;
    }
    fail_all(late, &problem_overloaded, 1000);
    return rest;
}

/* Below the deadline of each command, which is at least COMMAND_FLOOR_MS away (I11). */
static int64_t exchange_deadline_us(const struct command *list)
{
    int64_t deadline_us = clock_deadline_us(EXCHANGE_MS);
    for (; list; list = list->next)
        if (list->deadline_us - ANSWER_MS * US_PER_MS < deadline_us)
            deadline_us = list->deadline_us - ANSWER_MS * US_PER_MS;
    return deadline_us;
}

static void hint_readers(const struct committer *self, const struct batch *batch)
{
    struct buf message;
    if (!self->options->bus || batch->events_count == 0)
        return;
    buf_init(&message, BUS_MESSAGE_MAX);
    hint_encode(&(struct hint){.slice = batch->slice, .position = batch->head}, &message);
    bus_publish(self->options->bus, buf_span(&message));
    buf_deinit(&message);
}

static void count_verdict(const struct command *command, const struct verdict *verdict)
{
    if (command->sweeper) /* no attempt at anything of a client's */
        return;
    if (verdict->refusal)
        metric_add(metrics.refused, 1);
    else if (verdict->replayed)
        metric_add(metrics.replayed, 1);
    else
        metric_add(metrics.accepted, 1);
    if (verdict->refusal || verdict->replayed)
        return;
    metric_add(metrics.issued, command->kind == COMMAND_ISSUE);
    for (size_t i = 0; command->kind == COMMAND_ISSUE_MANY && i < command->issue_many.count; i++)
        metric_add(metrics.issued, verdict->results[i].refusal == NULL);
}

/* A decision about the service itself holds here before anybody hears that it was taken. */
static void note_control(const struct committer *self, const struct command *command,
                         const struct verdict *verdict)
{
    struct control_row row = {.kind = CONTROL_ISSUER, .name = command->control.name, .value = SPAN("")};
    if (command_subject(command->kind) != SUBJECT_CONTROL || verdict->refusal || verdict->replayed)
        return;
    row.position = verdict->token.position;
    if (command->kind == COMMAND_SUSPEND)
        row.value = SPAN("suspended");
    if (command->kind == COMMAND_SET) {
        row.kind = CONTROL_SETTING;
        row.value = command->control.value;
    }
    control_note(self->options->control, &row);
}

/* What the batch noted that nobody asked for. */
static void note_swept(const struct batch *batch)
{
    for (size_t i = 0; i < batch->events_count; i++) {
        const struct event *event = &batch->events[i];
        const struct release_plan_halted *halted = &event->release_plan_halted;
        bool tranche = event->type == EVENT_StockReleased && event->stock_released.plan_step > 0;
        if (tranche || event->type == EVENT_CampaignEnded || event->type == EVENT_ReservationExpired ||
            event->type == EVENT_ReleasePlanHalted)
            metric_add(metrics.swept, 1);
        if (event->type == EVENT_ReleasePlanHalted)
            log_warn("PLAN-HALTED",
                     "a release plan goes badly: of %lld calls %lld per mille answered, p95 %lld ms",
                     (long long)halted->calls, (long long)halted->success_permille,
                     (long long)halted->p95_ms);
    }
}

/* Creations whose next step is in another slice go there, still unanswered. Moves the others to the front of
 * the list. */
static size_t forward_creations(struct committer *self, struct command **answered)
{
    struct batch *batch = self->batch;
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct verdict *verdict = &batch->verdicts[i];
        struct command *command = batch->commands[i];
        if (verdict->forwarded) {
            command_forward(command, &verdict->claim, verdict->slice);
            if (queue_forward(committers_queue(self->all, verdict->slice), command)) {
                batch->commands[i] = NULL;
                continue;
            }
            verdict->refusal = &problem_shutting_down; /* a retry goes on from here */
        }
        answered[count++] = command;
    }
    return count;
}

/* Everything is durable: the one place where success is answered (I3). */
static void answer_all(struct committer *self)
{
    struct command *answered[BATCH_MAX] = {NULL};
    struct batch *batch = self->batch;
    size_t count = forward_creations(self, answered);
    queue_done(answered, count);
    for (size_t i = 0; i < batch->count; i++) {
        struct command *command = batch->commands[i];
        if (!command)
            continue;
        count_verdict(command, &batch->verdicts[i]);
        note_control(self, command, &batch->verdicts[i]);
        if (command->sweeper)
            sweeper_conclude(command->sweeper, command,
                             batch->verdicts[i].refusal ? SWEEP_FAILED : SWEEP_DONE);
        else
            answer_verdict(command, &batch->verdicts[i], &self->options->code_key);
    }
    /* Not before: a verdict may borrow from another command of the batch, as a coupon's code prefix from the
     * command that created the campaign. */
    for (size_t i = 0; i < count; i++)
        command_destroy(answered[i]);
}

/* COMMIT was sent and its outcome is not known: this concerns those who would have had an effect, not
 * refusals and replays. */
static void mark_effects(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        batch->commands[i]->commit_was_sent |=
            !batch->verdicts[i].refusal && !batch->verdicts[i].replayed && !batch->verdicts[i].forwarded;
}

/* Read after the commands were taken, so that they meet what was set before they were sent. */
static struct creation_limits limits_now(const struct committer *self)
{
    const struct settings *settings = &control_now(self->options->control)->settings;
    return (struct creation_limits){
        .campaigns_per_key_per_day = settings_get(settings, SETTING_campaigns_per_key_per_day),
        .campaigns_per_day = settings_get(settings, SETTING_campaigns_per_day),
        .open_stock = settings_get(settings, SETTING_live_coupons_max),
    };
}

/* What quotas have used in other databases, which no transaction here sees. */
static void add_other_shards(struct committer *self)
{
    struct batch *batch = self->batch;
    for (size_t i = 0; batch->creates && i < batch->quotas_count; i++)
        batch->quotas[i].elsewhere += quotas_elsewhere(self->options->quotas, batch->quotas[i].scope,
                                                       self->options->shards->of[self->slice]);
}

static void tell_watch(const struct committer *self)
{
    for (size_t i = 0; i < self->batch->campaigns_count; i++)
        if (self->batch->campaign_list[i]->exists)
            watch_campaign(self->options->watch, &self->batch->campaign_list[i]->campaign);
}

/* Load, decide, commit. On STORE_OK everybody was answered; otherwise nobody was. */
static enum store_status run_batch(struct committer *self, struct command *list)
{
    struct batch *batch = self->batch;
    int64_t start_us = clock_mono_us(), committing_us = 0, deadline_us = exchange_deadline_us(list);
    if (list->received_us)
        metric_observe_us(metrics.queue_wait, start_us - list->received_us);
    batch->limits = limits_now(self);
    batch_begin(batch, list);
    enum store_status status = store_load(self->store, batch, deadline_us);
    /* A COMMIT sent with no time left would most likely end as an unknown outcome, which helps nobody. */
    if (status == STORE_OK && clock_remaining_ms(deadline_us) < COMMIT_FLOOR_MS)
        status = store_abandon(self->store, deadline_us);
    if (status == STORE_OK) {
        add_other_shards(self);
        batch_decide(batch);
        committing_us = clock_mono_us();
        status = store_commit(self->store, batch, deadline_us);
    }
    spans_batch(batch, start_us, committing_us, status != STORE_OK);
    if (status == STORE_OK) {
        int64_t duration_us = clock_mono_us() - start_us;
        metric_observe(metrics.batch_size, batch->count);
        metric_observe_us(metrics.commit_seconds, duration_us);
        log_debug("BATCH", "slice %d: %zu commands in %lld us", (int)self->slice, batch->count,
                  (long long)duration_us);
        queue_note_batch(self->queue, duration_us);
        hint_readers(self, batch);
        note_swept(batch);
        tell_watch(self);
        early_note_batch(self->options->early, batch, start_us);
        answer_all(self);
    }
    if (status == STORE_UNKNOWN)
        mark_effects(batch);
    batch_reset(batch);
    return status;
}

/* Another transaction holds the slice's lock: at once again would only be in its way. Unless its client
 * stands still. */
static void back_off_from_lock(struct committer *self)
{
    int64_t evicted = 0;
    if (++self->busy_in_a_row >= EVICT_AFTER)
        evicted = store_evict(self->store, clock_deadline_us(CONNECT_MIN_MS));
    if (evicted > 0)
        log_warn("STORE-EVICTED", "ended %lld transactions that stood still with a lock", (long long)evicted);
    queue_sleep(self->queue, clock_deadline_us(1 + crypto_random_below(BUSY_PAUSE_MAX_MS)));
}

/* The store refuses something of the list, and does not say what of it: its commands are tried again alone.
 * The sweep's first, so that clients pay for one batch more at most when it is one of those. */
static void isolate(struct committer *self, struct command *list)
{
    struct command *clients = NULL, *swept = NULL, **clients_end = &clients, **swept_end = &swept;
    bool single = !list->next;
    if (single && list->sweeper) {
        sweeper_conclude(list->sweeper, list, SWEEP_FAILED);
        command_destroy(list);
        return;
    }
    if (single) {
        fail_all(list, &problem_internal, 0);
        return;
    }
    for (struct command *next; list; list = next) {
        struct command ***end = list->sweeper ? &swept_end : &clients_end;
        next = list->next;
        list->next = NULL;
        **end = list;
        *end = &list->next;
    }
    for (struct command *command = swept ? swept : clients; command; command = command->next)
        command->alone = true;
    *clients_end = swept;
    queue_put_back(self->queue, clients);
}

/* Nobody of the list was answered: what becomes of it. */
static void recover(struct committer *self, struct command *list, enum store_status status)
{
    metric_add(metrics.store_errors[status], 1);
    log_warn("STORE-ERROR", "slice %d: transaction failed (class %d): %s", (int)self->slice, (int)status,
             store_error(self->store));
    switch (status) {
    case STORE_FULL:
        fail_all(list, &problem_store_unavailable, 5000);
        break;
    case STORE_BROKEN:
        isolate(self, list);
        break;
    case STORE_BUSY:
        queue_put_back(self->queue, list);
        back_off_from_lock(self);
        break;
    default:
        queue_put_back(self->queue, list);
    }
}

/* A connection that nobody uses breaks unnoticed: readiness would lie, and the next command would pay for it.
 */
static void check_idle_connection(struct committer *self)
{
    if (clock_mono_us() - self->used_us < IDLE_CHECK_MS * US_PER_MS)
        return;
    self->used_us = clock_mono_us();
    if (store_check(self->store, self->slice, clock_deadline_us(CONNECT_MIN_MS)) == STORE_OK)
        return;
    log_warn("STORE-IDLE", "slice %d: an idle connection to the event store is of no use: %s",
             (int)self->slice, store_error(self->store));
    change_state(self, COMMITTER_DOWN);
}

/* The setting narrows what the option allows. */
static void bound_queue(struct committer *self)
{
    const struct settings *settings = &control_now(self->options->control)->settings;
    size_t queue_max = self->options->queue_max;
    int64_t set = settings_get(settings, SETTING_queue_max);
    if (set > 0 && (size_t)set < queue_max)
        queue_max = (size_t)set;
    queue_set_max(self->queue, queue_max);
}

static void turn(struct committer *self)
{
    bound_queue(self);
    fail_all(queue_take_late(self->queue), &problem_overloaded, 1000);
    struct command *list =
        drop_late(queue_take(self->queue, self->options->batch_max, clock_deadline_us(IDLE_WAIT_MS)));
    if (!list) {
        check_idle_connection(self);
        return;
    }
    self->used_us = clock_mono_us();
    change_state(self, COMMITTER_COMMITTING);
    enum store_status status = run_batch(self, list);
    end_hurry(self);
    change_state(self, store_connected(self->store) ? COMMITTER_READY : COMMITTER_DOWN);
    if (status != STORE_BUSY)
        self->busy_in_a_row = 0;
    if (status != STORE_OK)
        recover(self, list, status);
}

static void *committer_main(void *context)
{
    struct committer *self = context;
    struct heartbeat heartbeat;
    pthread_setname_np(pthread_self(), "committer");
    heartbeat_begin(&heartbeat);
    while (!queue_finished(self->queue)) {
        heartbeat_beat(&heartbeat, clock_mono_us());
        if (self->state == COMMITTER_DOWN)
            reconnect(self);
        else
            turn(self);
    }
    heartbeat_end(&heartbeat);
    return NULL;
}

/* --- deadlines --- */

/* Answers what is queued and past its deadline: a committer may be in an exchange with a slow store,
 * connecting to one that is gone, or waiting for a lock. */
static void expire(struct committer *self)
{
    struct command *expired = queue_take_expired(self->queue, clock_deadline_us(ANSWER_MS));
    if (expired)
        fail_all(expired, self->state == COMMITTER_DOWN ? &problem_store_unavailable : &problem_overloaded,
                 1000);
}

static void show_queues(struct committers *all)
{
    size_t fullest = 0;
    struct queue_facts facts = {0};
    for (size_t i = 0; i < SLICE_COUNT; i++) {
        facts = queue_look(all->list[i].queue);
        fullest = facts.depth > fullest ? facts.depth : fullest;
    }
    metric_set(metrics.queue_limit, (int64_t)facts.queue_max); /* of each the same */
    metric_set(metrics.queue_fullest, (int64_t)fullest);
}

static void *expirer_main(void *context)
{
    struct committers *all = context;
    pthread_setname_np(pthread_self(), "deadlines");
    int64_t show_us = clock_mono_us();
    for (bool stop = false; !stop;) {
        int64_t until_us = clock_deadline_us(EXPIRE_MS);
        for (size_t i = 0; i < SLICE_COUNT; i++)
            expire(&all->list[i]);
        if (clock_mono_us() >= show_us) {
            show_queues(all);
            show_us = clock_deadline_us(SHOW_MS);
        }
        pthread_mutex_lock(&all->lock);
        while (!all->stop && cond_wait_until(&all->stopped, &all->lock, until_us))
            ;
        stop = all->stop;
        pthread_mutex_unlock(&all->lock);
    }
    return NULL;
}

/* --- life --- */

static void committer_start(struct committers *all, int16_t slice)
{
    struct committer *self = &all->list[slice];
    self->options = &all->options;
    self->all = all;
    self->shard = &all->shards[all->options.shards->of[slice]];
    self->slice = slice;
    self->queue = queue_create(all->options.queue_max, all->options.batch_max);
    self->store = store_create(self->shard->shard->url, self->shard->shard->slices == SLICES_ALL);
    self->batch = batch_create(&(struct creation_limits){0}, answer_condition_holds);
    CHECK(pthread_create(&self->thread, NULL, committer_main, self) == 0);
}

struct committers *committers_start(const struct committer_options *options)
{
    struct committers *all = mem_zalloc(sizeof *all);
    struct sweeper_options sweep = {
        .quotas = options->quotas, .control = options->control, .watch = options->watch};
    CHECK(options->batch_max >= 1 && options->batch_max <= BATCH_MAX);
    metrics_setup();
    all->options = *options;
    all->young_until_us = clock_deadline_us(YOUNG_MS);
    all->ready = service_part_create("event store");
    CHECK(pthread_mutex_init(&all->lock, NULL) == 0);
    CHECK(pthread_cond_init(&all->stopped, NULL) == 0);
    for (size_t i = 0; i < options->shards->count; i++)
        all->shards[i].shard = &options->shards->list[i];
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        committer_start(all, slice);
        sweep.queues[slice] = all->list[slice].queue;
    }
    CHECK(pthread_create(&all->expirer, NULL, expirer_main, all) == 0);
    for (size_t i = 0; i < options->shards->count; i++) {
        sweep.shard = all->shards[i].shard;
        sweep.number = i;
        all->shards[i].sweeper = sweeper_start(&sweep);
    }
    return all;
}

struct queue *committers_queue(struct committers *committers, int16_t slice)
{
    return committers->list[slice].queue;
}

void committers_in_flight(struct committers *committers, const uint8_t key_hash[REQUEST_KEY_BYTES],
                          void (*visit)(const struct command *command, void *context), void *context)
{
    for (size_t i = 0; i < SLICE_COUNT; i++)
        queue_in_flight(committers->list[i].queue, key_hash, visit, context);
}

const struct code_key *committers_code_key(const struct committers *committers)
{
    return &committers->options.code_key;
}

void committers_stop(struct committers *committers)
{
    for (size_t i = 0; i < committers->options.shards->count; i++)
        sweeper_stop(committers->shards[i].sweeper);
    for (size_t i = 0; i < SLICE_COUNT; i++)
        queue_close(committers->list[i].queue);
    for (size_t i = 0; i < SLICE_COUNT; i++)
        CHECK(pthread_join(committers->list[i].thread, NULL) == 0);
    pthread_mutex_lock(&committers->lock);
    committers->stop = true;
    pthread_cond_signal(&committers->stopped);
    pthread_mutex_unlock(&committers->lock);
    CHECK(pthread_join(committers->expirer, NULL) == 0);
    for (size_t i = 0; i < SLICE_COUNT; i++) /* what was handed on to a slice whose committer had ended */
        fail_all(queue_take_expired(committers->list[i].queue, INT64_MAX), &problem_shutting_down, 1000);
}

void committers_destroy(struct committers *committers)
{
    for (size_t i = 0; i < SLICE_COUNT; i++) {
        struct committer *self = &committers->list[i];
        queue_destroy(self->queue);
        store_destroy(self->store);
        batch_destroy(self->batch);
    }
    for (size_t i = 0; i < committers->options.shards->count; i++)
        sweeper_destroy(committers->shards[i].sweeper);
    pthread_cond_destroy(&committers->stopped);
    pthread_mutex_destroy(&committers->lock);
    mem_free(committers);
}
