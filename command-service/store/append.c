/* SPDX-License-Identifier: Apache-2.0 */
/* The writing half of the store: a decided batch as a handful of set-based statements, one array per column,
 * and the COMMIT, in one round trip. Every statement has a list of rows and a table of their columns. */
#include "command-service/answer.h"
#include "command-service/store/internal.h"
#include "common/base/log.h"
#include "events/control/state.h"
#include "events/event_log.h"
#include "events/problems.h"

#define COLUMN(row, element, member)                      \
    {                                                     \
        PG_##element, offsetof(struct row, member), false \
    }
#define ONCE(row, element, member)                       \
    {                                                    \
        PG_##element, offsetof(struct row, member), true \
    }
static void begin_args(struct store *store, const struct batch *batch)
{
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, batch->slice);
}

/* What these write has the time of the batch as its second parameter. */
static bool says_when(enum statement statement)
{
    return statement == SQL_APPEND || statement == SQL_REMEMBER || statement == SQL_NEW_CAMPAIGNS ||
           statement == SQL_QUOTAS_USED;
}

/* Returns how many results that will give. */
static size_t send_rows(struct store *store, const struct batch *batch, enum statement statement,
                        const struct store_column *columns, size_t columns_count, const void *rows,
                        size_t rows_count, size_t row_size)
{
    if (rows_count == 0)
        return 0;
    begin_args(store, batch);
    if (says_when(statement))
        pg_arg_time(&store->args, batch->now_us);
    if (statement == SQL_APPEND)
        pg_arg_i64(&store->args, batch->events[0].position); /* the others follow it (I5) */
    store_columns(&store->args, columns, columns_count, rows, rows_count, row_size);
    pg_send(store->pg, statement, &store->args);
    return 1;
}
#define SEND(store, batch, statement, columns, rows, count) \
    send_rows(store, batch, statement, columns, COUNT_OF(columns), rows, count, sizeof(rows)[0])

static struct span keep(struct batch *batch, const void *bytes, size_t len)
{
    char *copy = batch_alloc(batch, len + 1);
    if (len)
        memcpy(copy, bytes, len);
    return (struct span){copy, len};
}

/* What is kept of a first answer; absent where it is rendered from the event again. */
static struct span kept_answer(struct batch *batch, size_t index)
{
    struct buf *scratch = &batch->scratch;
    buf_clear(scratch);
    bool kept = answer_keep(scratch, batch->commands[index], &batch->verdicts[index]);
    CHECK(!scratch->overflow);
    return kept ? keep(batch, scratch->data, scratch->len) : (struct span){NULL, 0};
}

static struct span fingerprint_of(const struct command *command)
{
    return (struct span){(const char *)command->fingerprint, FINGERPRINT_BYTES};
}

static struct span key_of(struct batch *batch, const struct command *command)
{
    uint8_t key[KEY_BYTES];
    store_key(&command->id, key);
    return keep(batch, key, sizeof key);
}

/* --- events --- */

struct event_row {
    int64_t type, version, nth;
    struct span campaign_id, user_id, coupon_id, trace, data;
    struct span key, fingerprint, answer, holder;
};

static const struct store_column event_columns[] = {
    ONCE(event_row, INT2, type),        ONCE(event_row, INT2, version),
    ONCE(event_row, TEXT, campaign_id), COLUMN(event_row, TEXT, user_id),
    COLUMN(event_row, TEXT, coupon_id), ONCE(event_row, INT2, nth),
    COLUMN(event_row, BYTEA, trace),    COLUMN(event_row, BYTEA, data),
    COLUMN(event_row, UUID, key),       COLUMN(event_row, UUID, fingerprint),
    COLUMN(event_row, BYTEA, answer),   COLUMN(event_row, UUID, holder),
};

static void set_holders(const struct store *store, struct batch *batch, struct event_row *rows)
{
    uint8_t holder[HOLDER_BYTES];
    const struct event *last = NULL; /* whose place is in `holder`: a crowd has one */
    for (size_t i = 0; i < batch->events_count; i++) {
        const struct event *event = &batch->events[i];
        if (event->type != EVENT_CouponIssued)
            continue;
        if (!last || last->coupon_issued.nth != event->coupon_issued.nth ||
            !span_equal(last->campaign_id, event->campaign_id))
            holder_place(&store->secret, event->campaign_id, event->coupon_issued.nth,
                         holder + HOLDER_USER_BYTES);
        holder_user(&store->secret, event->user_id, holder);
        rows[i].holder = keep(batch, holder, sizeof holder);
        last = event;
    }
}

/* The keys go with the events that are their effects. */
static void attach_keys(struct batch *batch, struct event_row *rows)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct verdict *verdict = &batch->verdicts[i];
        const struct command *command = batch->commands[i];
        if (!verdict->remembered || verdict->effect == 0)
            continue;
        struct event_row *row = &rows[verdict->effect - batch->events[0].position];
        CHECK(!row->key.ptr);
        row->key = key_of(batch, command);
        row->answer = kept_answer(batch, i);
        if (command->kind != COMMAND_ISSUE) /* the event says the user, which is all of its payload */
            row->fingerprint = fingerprint_of(command);
    }
}

static size_t send_events(struct store *store, struct batch *batch)
{
    if (batch->events_count == 0)
        return 0;
    struct event_row *rows = batch_alloc(batch, batch->events_count * sizeof *rows);
    for (size_t i = 0; i < batch->events_count; i++) {
        const struct event *event = &batch->events[i];
        bool issued = event->type == EVENT_CouponIssued;
        CHECK(event->position == batch->events[0].position + (int64_t)i); /* which the statement counts by */
        rows[i] = (struct event_row){
            .type = event->type,
            .version = event->version,
            .nth = issued ? event->coupon_issued.nth : STORE_NULL,
            .campaign_id = event->campaign_id,
            .user_id = event->user_id,
            .coupon_id = event->coupon_id,
            .trace = event->trace,
            .data = event->data,
        };
    }
    set_holders(store, batch, rows);
    attach_keys(batch, rows);
    return SEND(store, batch, SQL_APPEND, event_columns, rows, batch->events_count);
}

/* --- effects without an event --- */

struct request_row {
    struct span key_hash, fingerprint, answer;
    int64_t operation, status, position;
};

static const struct store_column request_columns[] = {
    COLUMN(request_row, UUID, key_hash),    COLUMN(request_row, INT8, operation),
    COLUMN(request_row, UUID, fingerprint), COLUMN(request_row, INT2, status),
    COLUMN(request_row, INT8, position),    COLUMN(request_row, BYTEA, answer),
};

static size_t send_requests(struct store *store, struct batch *batch)
{
    struct request_row *rows = NULL;
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct verdict *verdict = &batch->verdicts[i];
        const struct command *command = batch->commands[i];
        if (!verdict->remembered || verdict->effect)
            continue;
        if (!rows)
            rows = batch_alloc(batch, batch->count * sizeof *rows);
        rows[count++] = (struct request_row){
            .key_hash = store_key_hash(&command->id),
            .fingerprint = fingerprint_of(command),
            .answer = kept_answer(batch, i),
            .operation = store_operation(&command->id),
            .status = answer_status(command->kind),
            .position = verdict->token.position ? verdict->token.position : STORE_NULL,
        };
    }
    return SEND(store, batch, SQL_REMEMBER, request_columns, rows, count);
}

/* --- campaigns --- */

struct campaign_row {
    struct span id, created_by, definition;
    int64_t version, quantity, released, issued, state, plan_done, first, position, due_at_us, redeemed,
        reserved, plan_halted;
};

static const struct store_column new_columns[] = {
    COLUMN(campaign_row, TEXT, id),        COLUMN(campaign_row, TEXT, created_by),
    COLUMN(campaign_row, INT2, version),   COLUMN(campaign_row, BYTEA, definition),
    COLUMN(campaign_row, INT8, quantity),  COLUMN(campaign_row, INT8, released),
    COLUMN(campaign_row, INT8, issued),    COLUMN(campaign_row, INT2, state),
    COLUMN(campaign_row, INT2, plan_done), COLUMN(campaign_row, INT8, first),
    COLUMN(campaign_row, INT8, position),  COLUMN(campaign_row, TIMESTAMPTZ, due_at_us),
};

static const struct store_column changed_columns[] = {
    COLUMN(campaign_row, TEXT, id),          COLUMN(campaign_row, INT8, released),
    COLUMN(campaign_row, INT8, issued),      COLUMN(campaign_row, INT2, state),
    COLUMN(campaign_row, INT2, plan_done),   COLUMN(campaign_row, INT8, position),
    COLUMN(campaign_row, INT8, redeemed),    COLUMN(campaign_row, INT8, reserved),
    COLUMN(campaign_row, INT2, plan_halted), COLUMN(campaign_row, TIMESTAMPTZ, due_at_us),
};

static const struct store_column redefined_columns[] = {
    COLUMN(campaign_row, TEXT, id),
    COLUMN(campaign_row, INT2, version),
    COLUMN(campaign_row, BYTEA, definition),
    COLUMN(campaign_row, INT8, quantity),
};

static struct span definition_data(struct batch *batch, const struct campaign *campaign)
{
    buf_clear(&batch->scratch);
    campaign_definition_write(&batch->scratch, &campaign->definition);
    CHECK(!batch->scratch.overflow);
    return keep(batch, batch->scratch.data, batch->scratch.len);
}

static struct campaign_row campaign_row(struct batch *batch, const struct loaded_campaign *loaded)
{
    const struct campaign *campaign = &loaded->campaign;
    bool defined = loaded->is_new || loaded->redefined;
    return (struct campaign_row){
        .id = campaign->id,
        .created_by = campaign->definition.created_by,
        .definition = defined ? definition_data(batch, campaign) : (struct span){NULL, 0},
        .version = event_describe(EVENT_CampaignCreated)->version,
        .quantity = campaign->definition.quantity,
        .released = campaign->released,
        .issued = campaign->issued,
        .state = (int64_t)campaign->state,
        .plan_done = campaign->plan_done,
        .first = campaign->first,
        .position = campaign->position,
        .due_at_us = campaign_due_at_us(campaign),
        .redeemed = campaign->redeemed,
        .reserved = campaign->reserved,
        .plan_halted = campaign->plan_halted,
    };
}

static bool is_new(const struct loaded_campaign *loaded)
{
    return loaded->changed && loaded->is_new;
}

static bool is_redefined(const struct loaded_campaign *loaded)
{
    return loaded->redefined && !loaded->is_new;
}

static bool is_changed(const struct loaded_campaign *loaded)
{
    return loaded->changed && !loaded->is_new;
}

/* The rows of the batch's campaigns that are `wanted`, in the batch's memory; returns how many. */
static size_t campaign_rows(struct batch *batch, bool (*wanted)(const struct loaded_campaign *),
                            struct campaign_row **ret)
{
    size_t count = 0;
    *ret = NULL;
    for (size_t i = 0; i < batch->campaigns_count; i++) {
        const struct loaded_campaign *loaded = batch->campaign_list[i];
        if (!wanted(loaded) || loaded->unreadable)
            continue;
        if (!*ret)
            *ret = batch_alloc(batch, batch->campaigns_count * sizeof **ret);
        (*ret)[count++] = campaign_row(batch, loaded);
    }
    return count;
}

static size_t send_campaigns(struct store *store, struct batch *batch)
{
    struct campaign_row *rows;
    size_t count = campaign_rows(batch, is_new, &rows);
    size_t sent = SEND(store, batch, SQL_NEW_CAMPAIGNS, new_columns, rows, count);
    count = campaign_rows(batch, is_redefined, &rows);
    /* before what else changed: more may be released than there was (I1 is a constraint) */
    sent += SEND(store, batch, SQL_REDEFINED_CAMPAIGNS, redefined_columns, rows, count);
    count = campaign_rows(batch, is_changed, &rows);
    return sent + SEND(store, batch, SQL_CHANGED_CAMPAIGNS, changed_columns, rows, count);
}

struct run_row {
    struct span campaign_id;
    int64_t first_sequence, first_position, last_position;
};

static const struct store_column run_columns[] = {
    COLUMN(run_row, TEXT, campaign_id),
    COLUMN(run_row, INT8, first_sequence),
    COLUMN(run_row, INT8, first_position),
    COLUMN(run_row, INT8, last_position),
};

static size_t send_runs(struct store *store, struct batch *batch)
{
    struct run_row *rows = NULL;
    size_t count = 0;
    for (size_t i = 0; i < batch->campaigns_count; i++) {
        const struct loaded_campaign *loaded = batch->campaign_list[i];
        if (loaded->run_first_sequence == 0)
            continue;
        if (!rows)
            rows = batch_alloc(batch, batch->campaigns_count * sizeof *rows);
        rows[count++] = (struct run_row){loaded->campaign.id, loaded->run_first_sequence,
                                         loaded->run_first_position, loaded->run_last_position};
    }
    return SEND(store, batch, SQL_RUNS, run_columns, rows, count);
}

/* --- coupons --- */

struct coupon_row {
    int64_t position, state, last, changed_at_us, order_amount, discount_amount, reserved_until_us;
    struct span campaign_id, order_id, reason;
};

static const struct store_column coupon_columns[] = {
    COLUMN(coupon_row, INT8, position),
    COLUMN(coupon_row, TEXT, campaign_id),
    COLUMN(coupon_row, INT2, state),
    COLUMN(coupon_row, INT8, last),
    COLUMN(coupon_row, TIMESTAMPTZ, changed_at_us),
    COLUMN(coupon_row, TEXT, order_id),
    COLUMN(coupon_row, INT8, order_amount),
    COLUMN(coupon_row, INT8, discount_amount),
    COLUMN(coupon_row, TIMESTAMPTZ, reserved_until_us),
    COLUMN(coupon_row, TEXT, reason),
};

static size_t send_coupon_states(struct store *store, struct batch *batch)
{
    struct coupon_row *rows = NULL;
    size_t count = 0;
    for (size_t i = 0; i < batch->coupons_count; i++) {
        const struct coupon *coupon = &batch->coupon_list[i]->coupon;
        if (!batch->coupon_list[i]->changed)
            continue;
        if (!rows)
            rows = batch_alloc(batch, batch->coupons_count * sizeof *rows);
        rows[count++] = (struct coupon_row){
            .position = coupon->at.position,
            .state = (int64_t)coupon->state,
            .last = coupon->last,
            .changed_at_us = coupon->changed_at_us,
            .order_amount = coupon->order_amount,
            .discount_amount = coupon->discount_amount,
            .reserved_until_us = coupon->reserved_until_us,
            .campaign_id = coupon->campaign_id,
            .order_id = coupon->order_id,
            .reason = coupon->reason,
        };
    }
    return SEND(store, batch, SQL_COUPON_STATES, coupon_columns, rows, count);
}

/* --- the service itself --- */

static const struct store_column control_columns[] = {
    COLUMN(control_row, INT2, kind),
    COLUMN(control_row, TEXT, name),
    COLUMN(control_row, TEXT, value),
    COLUMN(control_row, INT8, position),
};

/* What the last event of each name says: table control has one row for a name. */
static bool control_row_of(const struct event *event, struct control_row *ret)
{
    switch (event->type) {
    case EVENT_SettingChanged:
        *ret = (struct control_row){CONTROL_SETTING, event->setting_changed.name,
                                    event->setting_changed.value, event->position};
        break;
    case EVENT_IssuerSuspended:
        *ret = (struct control_row){CONTROL_ISSUER, event->issuer_suspended.issuer, SPAN("suspended"),
                                    event->position};
        break;
    case EVENT_IssuerResumed:
        *ret = (struct control_row){CONTROL_ISSUER, event->issuer_resumed.issuer, SPAN(""), event->position};
        break;
    default:
        return false;
    }
    if (!ret->value.ptr)
        ret->value = SPAN("");
    return true;
}

static size_t send_control(struct store *store, struct batch *batch)
{
    struct control_row row, *rows = NULL;
    size_t count = 0;
    for (size_t i = 0; batch->slice == CONTROL_SLICE && i < batch->events_count; i++) {
        size_t at = 0;
        if (!control_row_of(&batch->events[i], &row))
            continue;
        if (!rows)
            rows = batch_alloc(batch, BATCH_MAX * sizeof *rows);
        while (at < count && !(rows[at].kind == row.kind && span_equal(rows[at].name, row.name)))
            at++;
        CHECK(at < BATCH_MAX); /* each is a command's */
        rows[at] = row;
        count += at == count;
    }
    return SEND(store, batch, SQL_CONTROL, control_columns, rows, count);
}

/* --- creations --- */

static const struct store_column quota_columns[] = {
    COLUMN(loaded_quota, TEXT, scope),
    COLUMN(loaded_quota, INT8, change),
};

static size_t send_quotas(struct store *store, struct batch *batch)
{
    struct loaded_quota *rows = NULL;
    size_t count = 0;
    for (size_t i = 0; i < batch->quotas_count; i++) {
        if (batch->quotas[i].change == 0)
            continue;
        if (!rows)
            rows = batch_alloc(batch, batch->quotas_count * sizeof *rows);
        rows[count++] = batch->quotas[i];
    }
    return SEND(store, batch, SQL_QUOTAS_USED, quota_columns, rows, count);
}

struct claim_row {
    struct span key, fingerprint, campaign_id;
    int64_t attempt;
};

static const struct store_column claim_columns[] = {
    COLUMN(claim_row, UUID, key),
    COLUMN(claim_row, INT8, attempt),
    COLUMN(claim_row, UUID, fingerprint),
    COLUMN(claim_row, TEXT, campaign_id),
};
static const struct store_column fence_columns[] = {
    COLUMN(claim_row, UUID, key),
    COLUMN(claim_row, INT8, attempt),
};

static size_t send_claims(struct store *store, struct batch *batch, bool fences)
{
    struct claim_row *rows = NULL;
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct loaded_claim *claim = batch->claims[i];
        const struct command *command = batch->commands[i];
        if (!claim || !(fences ? claim->write_fence : claim->write_claim))
            continue;
        if (!rows)
            rows = batch_alloc(batch, batch->count * sizeof *rows);
        rows[count++] = (struct claim_row){
            .key = key_of(batch, command),
            .fingerprint = fingerprint_of(command),
            .campaign_id = command->campaign_id,
            .attempt = fences ? command->claim.attempt : batch->verdicts[i].claim.attempt,
        };
    }
    return fences ? SEND(store, batch, SQL_FENCE, fence_columns, rows, count)
                  : SEND(store, batch, SQL_CLAIM, claim_columns, rows, count);
}

/* --- the round trip --- */

static size_t send_head(struct store *store, struct batch *batch)
{
    struct log_chain chain;
    if (batch->events_count == 0)
        return 0;
    log_chain_begin(&chain, batch->chain);
    for (size_t i = 0; i < batch->events_count; i++)
        log_chain_add(&chain, &batch->events[i]);
    log_chain_end(&chain, batch->chain);
    begin_args(store, batch);
    pg_arg_i64(&store->args, batch->events[0].position);
    pg_arg_i64(&store->args, batch->head);
    pg_arg_bytes(&store->args, (struct span){(const char *)batch->chain, sizeof batch->chain});
    pg_arg_time(&store->args, batch->now_us);
    pg_send(store->pg, SQL_HEAD, &store->args);
    return 1;
}

/* Queues everything the batch writes; returns how many results that will give. */
static size_t send_writes(struct store *store, struct batch *batch)
{
    size_t sent = send_requests(store, batch);
    sent += send_campaigns(store, batch);
    sent += send_runs(store, batch);
    sent += send_coupon_states(store, batch);
    sent += send_control(store, batch);
    sent += send_quotas(store, batch);
    sent += send_claims(store, batch, false);
    sent += send_claims(store, batch, true);
    sent += send_events(store, batch);
    return sent + send_head(store, batch);
}

/* What nobody can read, or what contradicts the log, is for operators to mend. */
static void log_unreadable(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct command *command = batch->commands[i];
        bool coupon = command_subject(command->kind) == SUBJECT_COUPON;
        struct span id = coupon ? SPAN("-") : command->campaign_id;
        if (batch->verdicts[i].refusal == &problem_unreadable_state)
            log_error("STATE-UNREADABLE",
                      "slice %d: a row for \"%s\" cannot be read or contradicts the log: campaign %.*s, "
                      "coupon %lld",
                      batch->slice, command_name(command->kind), SPAN_ARG(id),
                      coupon ? (long long)command->coupon.at.position : 0LL);
    }
}

/* The filters have what was committed. */
static void note_committed(struct store *store, const struct batch *batch)
{
    for (size_t i = 0; i < batch->events_count; i++) {
        const struct event *event = &batch->events[i];
        uint8_t user[HOLDER_USER_BYTES];
        struct known_campaign *known =
            event->type == EVENT_CouponIssued ? known_find(store->known, event->campaign_id) : NULL;
        if (!known || !known->complete)
            continue;
        holder_user(&store->secret, event->user_id, user);
        known_add(store->known, known, store_hash64(user));
    }
    for (size_t i = 0; i < batch->count; i++) {
        const struct command *command = batch->commands[i];
        struct known_campaign *known =
            batch->verdicts[i].remembered && batch->verdicts[i].effect && command->campaign_id.ptr
                ? known_find(store->known, command->campaign_id)
                : NULL;
        if (known && known->complete)
            known_add(store->known, known, store_hash64(command->id.key_hash));
    }
    for (size_t i = 0; i < batch->campaigns_count; i++) {
        const struct loaded_campaign *loaded = batch->campaign_list[i];
        struct known_campaign *known = known_find(store->known, loaded->campaign.id);
        if (!known || !known->complete || loaded->run_first_sequence == 0)
            continue;
        known->covered = loaded->campaign.issued;
        known->run = loaded->run_first_sequence;
        known->position = loaded->run_last_position;
    }
}

enum store_status store_commit(struct store *store, struct batch *batch, int64_t deadline_us)
{
    struct pg_rows *rows[12] = {NULL};
    /* The slice's lock is in PostgreSQL's log too, so that a COMMIT waits for the standby even where nothing
     * else was written: what this transaction has read may be there alone, since the wait of whoever wrote it
     * was cut off, by a crash or an operator. */
    bool commits = batch_has_writes(batch) || batch_promises(batch);
    size_t sent = batch_has_writes(batch) ? send_writes(store, batch) : 0;
    log_unreadable(batch);
    pg_send(store->pg, commits ? SQL_COMMIT : SQL_ROLLBACK, NULL);
    pg_sync(store->pg);
    CHECK(++sent <= COUNT_OF(rows));
    enum pg_status status = store_receive(store, sent, rows, deadline_us);
    for (size_t i = 0; i < sent; i++)
        pg_rows_destroy(rows[i]);
    if (status == PG_OK) {
        store->head = batch->head;
        store->probe_all = false;
        note_committed(store, batch);
        return STORE_OK;
    }
    if (status == PG_REFUSED)
        return store_rolled_back(store);
    return commits ? STORE_UNKNOWN : STORE_LOST;
}
