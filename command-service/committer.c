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

#include "command-service/http/response.h"
#include "command-service/store/store.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "events/problems.h"

enum {
    EXCHANGE_MS = 1000,      /* longest load or commit; statement_timeout is below it */
    EXCHANGE_FLOOR_MS = 300, /* a command with less time than this left is not begun */
    COMMIT_FLOOR_MS = 100,   /* nor is a COMMIT sent with less */
    CONNECT_MS = 500,
    IDLE_WAIT_MS = 200,
    IDLE_CHECK_MS = 1000,
    SWEEP_MS = 200, /* how late what is due by itself may be noted; decisions go by the instant anyway */
    NAP_MS = 10,
    BUSY_NAP_MAX_MS = 20,
    BACKOFF_MIN_MS = 20,
    BACKOFF_MAX_MS = 250,  /* the service is back within a second of the database (design §6) */
    UNAVAILABLE_AFTER = 3, /* failed connects before new commands are refused at once */
    EVICT_AFTER = 3,       /* lock timeouts in a row before looking for who stands still with the lock */
};

struct committer {
    pthread_t thread;
    const struct committer_options *options;
    struct inbox *inbox;
    struct store *store;
    struct batch *batch;
    struct committers *all;
    bool counted; /* in all->connected */
    unsigned failed_connects, busy_in_a_row;
    int16_t slices[SLICE_COUNT]; /* its share */
    size_t slices_count;
    int64_t sweep_us;  /* when to look next for what is due by itself */
    int64_t heard_us;  /* when the connection was last used to write, or asked whether it could be */
    size_t one_by_one; /* > 0: so many commands are committed alone, to find the one the store refuses */
};

struct committers {
    struct committer_options options;
    struct service_part *ready; /* when every committer is connected */
    pthread_mutex_t
        lock; /* guards connected and the setting of ready, so that the last one to tell is right */
    size_t connected;
    struct committer *list;
};

static struct {
    struct metric *batch_size, *commit_seconds, *issued, *accepted, *refused, *replayed, *swept,
        *store_errors[STORE_BROKEN + 1];
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
        metric_histogram_seconds("coupon_commit_seconds", "Lock to COMMIT, per transaction", NULL);
    metrics.issued = metric_counter("coupon_issued_total", "Coupons issued by this process", NULL);
    metrics.accepted = metric_counter("coupon_commands_total", "Commands by outcome", "outcome=\"accepted\"");
    metrics.refused = metric_counter("coupon_commands_total", "Commands by outcome", "outcome=\"refused\"");
    metrics.replayed = metric_counter("coupon_commands_total", "Commands by outcome", "outcome=\"replayed\"");
    metrics.swept = metric_counter(
        "coupon_swept_total",
        "Tranches, ends, lapsed reservations and halted plans: events that nobody asked for", NULL);
    for (size_t i = STORE_LOST; i <= STORE_BROKEN; i++)
        metrics.store_errors[i] =
            metric_counter("coupon_store_errors_total", "Failed transactions by class", classes[i]);
}

/* Answers a list with one problem and frees it. */
static void fail_all(struct committer *self, struct command *list, const struct problem *problem,
                     int64_t retry_after_ms)
{
    while (list) {
        struct command *command = list;
        list = command->next;
        inbox_done(self->inbox, command);
        answer_problem(command, command->commit_was_sent ? &problem_outcome_unknown : problem,
                       retry_after_ms);
        command_destroy(command);
    }
}

/* Answers those who would be answered too late after another `busy_ms`. */
static void fail_expired(struct committer *self, int64_t busy_ms)
{
    const struct problem *problem =
        store_connected(self->store) ? &problem_overloaded : &problem_store_unavailable;
    fail_all(self, inbox_take_expired(self->inbox, clock_deadline_us(busy_ms)), problem, 1000);
}

static void nap(int64_t duration_ms)
{
    struct timespec duration = {.tv_nsec = duration_ms * 1000000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, NULL);
}

/* Waits between two connects, answering whoever's deadline passes meanwhile. */
static void back_off(struct committer *self)
{
    unsigned step = self->failed_connects < 5 ? self->failed_connects : 5;
    int64_t base_ms = (int64_t)BACKOFF_MIN_MS << step;
    if (base_ms > BACKOFF_MAX_MS)
        base_ms = BACKOFF_MAX_MS;
    int64_t until_us = clock_deadline_us(base_ms / 2 + crypto_random_below((uint32_t)base_ms / 2 + 1));
    while (clock_mono_us() < until_us && !inbox_finished(self->inbox)) {
        nap(NAP_MS);
        fail_expired(self, NAP_MS);
    }
}

/* A slice without its committer cannot be written to, so the service is ready when all are connected. */
static void tell_readiness(struct committer *self, bool connected)
{
    struct committers *all = self->all;
    if (connected == self->counted)
        return;
    self->counted = connected;
    pthread_mutex_lock(&all->lock);
    all->connected = connected ? all->connected + 1 : all->connected - 1;
    service_part_set(all->ready, all->connected == all->options.count);
    pthread_mutex_unlock(&all->lock);
}

static bool connected(struct committer *self)
{
    if (store_connected(self->store))
        return true;
    tell_readiness(self, false);
    fail_expired(self, CONNECT_MS); /* a frozen server makes this thread wait so long */
    if (store_connect(self->store, clock_deadline_us(CONNECT_MS)) == STORE_OK) {
        log_info("STORE-CONNECTED", "connected to the event store after %u failed attempts",
                 self->failed_connects);
        self->failed_connects = 0;
        inbox_set_available(self->inbox, true);
        tell_readiness(self, true);
        return true;
    }
    log_warn("STORE-CONNECT", "cannot connect to the event store: %s", store_error(self->store));
    if (++self->failed_connects >= UNAVAILABLE_AFTER)
        inbox_set_available(self->inbox, false);
    back_off(self);
    return false;
}

/* Refuses the commands that have no time left to be begun; returns the others. */
static struct command *drop_late(struct committer *self, struct command *list)
{
    int64_t latest_us = clock_deadline_us(EXCHANGE_FLOOR_MS);
    struct command *late = NULL, *rest = NULL, **late_end = &late, **rest_end = &rest;
    while (list) {
        struct command *command = list, ***end = command->deadline_us < latest_us ? &late_end : &rest_end;
        list = command->next;
        command->next = NULL;
        **end = command;
        *end = &command->next;
    }
    fail_all(self, late, &problem_overloaded, 1000);
    return rest;
}

/* Below the deadline of each command, which is at least EXCHANGE_FLOOR_MS away (I11). */
static int64_t exchange_deadline_us(const struct command *list)
{
    int64_t deadline_us = clock_deadline_us(EXCHANGE_MS);
    for (; list; list = list->next)
        if (list->deadline_us < deadline_us)
            deadline_us = list->deadline_us;
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
    if (command->kind >= COMMAND_LOOKUP) /* nobody's commands */
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

/* Everything is durable: the one place where success is answered (I3). */
static void answer_all(struct committer *self)
{
    struct batch *batch = self->batch;
    for (size_t i = 0; i < batch->count; i++) {
        struct command *command = batch->commands[i];
        count_verdict(command, &batch->verdicts[i]);
        inbox_done(self->inbox, command);
        note_control(self, command, &batch->verdicts[i]);
        answer_verdict(command, &batch->verdicts[i], self->options->code_key);
    }
    /* Not before: a verdict may borrow from another command of the batch, as a coupon's code prefix from the
     * command that created the campaign. */
    for (size_t i = 0; i < batch->count; i++)
        command_destroy(batch->commands[i]);
}

/* COMMIT was sent and its outcome is not known: this concerns those who would have had an effect, not
 * refusals and replays. */
static void mark_effects(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        batch->commands[i]->commit_was_sent |= !batch->verdicts[i].refusal && !batch->verdicts[i].replayed;
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
    int64_t start_us = clock_mono_us(), deadline_us = exchange_deadline_us(list);
    batch->limits = limits_now(self);
    batch_begin(batch, list);
    enum store_status status = store_load(self->store, batch, deadline_us);
    /* A COMMIT sent with no time left would most likely end as an unknown outcome, which helps nobody. */
    if (status == STORE_OK && clock_remaining_ms(deadline_us) < COMMIT_FLOOR_MS)
        status = store_abandon(self->store, deadline_us);
    if (status == STORE_OK) {
        batch_decide(batch);
        status = store_commit(self->store, batch, deadline_us);
    }
    if (status == STORE_OK) {
        int64_t duration_us = clock_mono_us() - start_us;
        metric_observe(metrics.batch_size, batch->count);
        metric_observe_us(metrics.commit_seconds, duration_us);
        inbox_note_batch(self->inbox, duration_us);
        if (list->kind >= COMMAND_TEND)
            metric_add(metrics.swept, batch->events_count);
        hint_readers(self, batch);
        tell_watch(self);
        early_note_batch(self->options->early, batch);
        answer_all(self);
    }
    if (status == STORE_UNKNOWN)
        mark_effects(batch);
    batch_reset(batch);
    return status;
}

static size_t list_length(const struct command *list)
{
    size_t length = 0;
    for (; list; list = list->next)
        length++;
    return length;
}

/* Somebody else is at it; at once again would only be in the way. Unless it stands still. */
static void give_way(struct committer *self)
{
    int64_t evicted = 0;
    if (++self->busy_in_a_row >= EVICT_AFTER)
        evicted = store_evict(self->store, clock_deadline_us(CONNECT_MS));
    if (evicted > 0)
        log_warn("STORE-EVICTED", "ended %lld transactions that stood still with a lock", (long long)evicted);
    nap(1 + crypto_random_below(BUSY_NAP_MAX_MS));
}

/* Nobody of the list was answered: what becomes of it. */
static void recover(struct committer *self, struct command *list, enum store_status status)
{
    metric_add(metrics.store_errors[status], 1);
    log_warn("STORE-ERROR", "transaction failed (class %d): %s", (int)status, store_error(self->store));
    if (status == STORE_FULL) {
        fail_all(self, list, &problem_store_unavailable, 5000);
        return;
    }
    if (status == STORE_BROKEN && !list->next) {
        fail_all(self, list, &problem_internal, 0);
        return;
    }
    if (status == STORE_BROKEN)
        self->one_by_one = list_length(list);
    inbox_put_back(self->inbox, list);
    if (status == STORE_BUSY)
        give_way(self);
}

/* A connection that nobody uses breaks unnoticed: readiness would lie, and the next command would pay for it.
 */
static void look_after_idle_connection(struct committer *self)
{
    if (clock_mono_us() - self->heard_us < IDLE_CHECK_MS * US_PER_MS)
        return;
    self->heard_us = clock_mono_us();
    if (store_check(self->store, clock_deadline_us(CONNECT_MS)) != STORE_OK)
        log_warn("STORE-IDLE", "an idle connection to the event store is of no use: %s",
                 store_error(self->store));
}

/* The setting narrows what the option allows. */
static void bound_queue(struct committer *self)
{
    const struct settings *settings = &control_now(self->options->control)->settings;
    size_t queue_max = self->options->queue_max;
    int64_t set = settings_get(settings, SETTING_queue_max);
    if (set > 0 && (size_t)set < queue_max)
        queue_max = (size_t)set;
    inbox_set_queue_max(self->inbox, queue_max);
}

/* --- the sweep: what is due by itself --- */

/* A command of the service's own: nobody waits for it. */
static struct command *own_command(enum command_kind kind, int16_t slice, struct span campaign_id)
{
    struct command *command = command_create(kind, NULL);
    command->slice = command->request_slice = slice;
    command->deadline_us = clock_deadline_us(EXCHANGE_MS);
    command->actor = SPAN("");
    CHECK(campaign_id.len <= sizeof command->campaign_id_text);
    memcpy(command->campaign_id_text, campaign_id.ptr, campaign_id.len);
    command->campaign_id = (struct span){command->campaign_id_text, campaign_id.len};
    return command;
}

static void drop(struct command *list)
{
    while (list) {
        struct command *command = list;
        list = command->next;
        command_destroy(command);
    }
}

/* Consumes the list. What fails is found again by the next sweep, of this or another process: nothing is owed
 * to anybody. */
static bool run_own(struct committer *self, struct command *list)
{
    enum store_status status = run_batch(self, list);
    if (status == STORE_OK)
        return true;
    metric_add(metrics.store_errors[status], 1);
    log_warn("SWEEP-ERROR", "what was due could not be noted (class %d): %s", (int)status,
             store_error(self->store));
    drop(list);
    return false;
}

/* One transaction for what is due in one slice. */
static void sweep_slice(struct committer *self, int16_t slice, const struct due *due, size_t due_count)
{
    struct command *list = NULL, **end = &list;
    for (size_t i = 0; i < due_count; i++) {
        if (due[i].slice != slice)
            continue;
        struct span id = {due[i].campaign_id, due[i].campaign_id_len};
        *end = own_command(id.len ? COMMAND_TEND : COMMAND_LAPSE, slice, id);
        (*end)->coupon.at = (struct position){slice, due[i].position};
        end = &(*end)->next;
    }
    if (list)
        (void)run_own(self, list);
}

/* Plans whose last tranche goes badly, in this committer's slices. */
static void halt_plans(struct committer *self)
{
    struct watch_finding finding;
    const struct settings *settings = &control_now(self->options->control)->settings;
    const struct watch_limits limits = {
        .min_calls = settings_get(settings, SETTING_plan_halt_min_calls),
        .success_permille = 10 * settings_get(settings, SETTING_plan_halt_success_percent),
        .p95_ms = settings_get(settings, SETTING_plan_halt_p95_ms),
    };
    size_t cursor = 0;
    watch_set_limits(self->options->watch, &limits);
    while (store_connected(self->store) && watch_find_bad(self->options->watch, &cursor, &finding)) {
        struct span id = {finding.campaign_id, finding.campaign_id_len};
        if ((size_t)slice_of(id) % self->options->count != (size_t)self->slices[0])
            continue;
        struct command *command = own_command(COMMAND_HALT, slice_of(id), id);
        command->halt = finding.figures;
        if (!run_own(self, command))
            return;
        log_warn("PLAN-HALTED",
                 "a release plan goes badly: of %lld calls %lld per mille answered, p95 %lld ms",
                 (long long)finding.figures.calls, (long long)finding.figures.success_permille,
                 (long long)finding.figures.p95_ms);
    }
}

static void sweep(struct committer *self)
{
    struct due due[DUE_MAX];
    size_t count;
    if (clock_mono_us() < self->sweep_us)
        return;
    self->sweep_us = clock_deadline_us(SWEEP_MS / 2 + crypto_random_below(SWEEP_MS));
    if (store_find_due(self->store, self->slices, self->slices_count, clock_deadline_us(CONNECT_MS), due,
                       &count) != STORE_OK) {
        log_warn("SWEEP-LOOK", "cannot look for what is due: %s", store_error(self->store));
        return;
    }
    for (size_t i = 0; count > 0 && i < self->slices_count && store_connected(self->store); i++)
        sweep_slice(self, self->slices[i], due, count);
    halt_plans(self);
}

static void turn(struct committer *self)
{
    bound_queue(self);
    size_t count_max = self->one_by_one > 0 ? 1 : self->options->batch_max;
    struct command *list = inbox_take(self->inbox, count_max, clock_deadline_us(IDLE_WAIT_MS));
    if (self->one_by_one > 0)
        self->one_by_one--;
    list = list ? drop_late(self, list) : NULL;
    if (!list) {
        look_after_idle_connection(self);
        return;
    }
    self->heard_us = clock_mono_us();
    enum store_status status = run_batch(self, list);
    if (status != STORE_BUSY)
        self->busy_in_a_row = 0;
    if (status != STORE_OK)
        recover(self, list, status);
}

static void *committer_main(void *context)
{
    struct committer *self = context;
    while (!inbox_finished(self->inbox)) {
        fail_expired(self, 0);
        if (connected(self))
            sweep(self);
        if (store_connected(self->store))
            turn(self);
    }
    return NULL;
}

struct committers *committers_start(const struct committer_options *options)
{
    struct committers *committers = mem_zalloc(sizeof *committers);
    CHECK(options->count >= 1 && options->count <= SLICE_COUNT);
    CHECK(options->batch_max >= 1 && options->batch_max <= BATCH_MAX);
    metrics_setup();
    committers->options = *options;
    committers->ready = service_part_create("event store");
    CHECK(pthread_mutex_init(&committers->lock, NULL) == 0);
    committers->list = mem_zalloc(options->count * sizeof *committers->list);
    for (size_t i = 0; i < options->count; i++) {
        struct committer *self = &committers->list[i];
        self->options = &committers->options;
        self->inbox = inbox_create(options->queue_max, options->batch_max);
        self->store = store_create(options->database_url);
        self->batch = batch_create(&(struct creation_limits){0});
        for (int16_t slice = (int16_t)i; slice < SLICE_COUNT; slice = (int16_t)(slice + (int)options->count))
            self->slices[self->slices_count++] = slice;
        self->all = committers;
        CHECK(pthread_create(&self->thread, NULL, committer_main, self) == 0);
    }
    return committers;
}

struct inbox *committers_inbox(struct committers *committers, int16_t slice)
{
    return committers->list[(size_t)slice % committers->options.count].inbox;
}

const uint8_t *committers_code_key(const struct committers *committers)
{
    return committers->options.code_key;
}

void committers_stop(struct committers *committers)
{
    for (size_t i = 0; i < committers->options.count; i++)
        inbox_close(committers->list[i].inbox);
    for (size_t i = 0; i < committers->options.count; i++)
        CHECK(pthread_join(committers->list[i].thread, NULL) == 0);
}

void committers_destroy(struct committers *committers)
{
    for (size_t i = 0; i < committers->options.count; i++) {
        struct committer *self = &committers->list[i];
        inbox_destroy(self->inbox);
        store_destroy(self->store);
        batch_destroy(self->batch);
    }
    pthread_mutex_destroy(&committers->lock);
    mem_free(committers->list);
    mem_free(committers);
}
