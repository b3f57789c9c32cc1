/* SPDX-License-Identifier: Apache-2.0 */
/* The writing half of the store: a decided batch as a handful of set-based statements, one array per column,
 * and the COMMIT, in one round trip. */
#include "command-service/store/internal.h"

#include "command-service/answer.h"
#include "events/control/state.h"
#include "events/event_log.h"

/* One array argument over the batch's events. */
#define EVENT_ARRAY(element, push, value)                  \
    do {                                                   \
        pg_array_begin(args, element);                     \
        for (size_t i = 0; i < batch->events_count; i++) { \
            const struct event *event = &batch->events[i]; \
            push(args, value);                             \
        }                                                  \
        pg_array_end(args);                                \
    } while (0)

static void push_nth(struct pg_args *args, const struct event *event)
{
    if (event->type == EVENT_CouponIssued)
        pg_array_i16(args, (int16_t)event->coupon_issued.nth);
    else
        pg_array_bytes(args, (struct span){NULL, 0});
}

static void send_events(struct store *store, const struct batch *batch)
{
    struct pg_args *args = &store->args;
    pg_args_reset(args);
    pg_arg_i16(args, batch->slice);
    pg_arg_time(args, batch->now_us);
    EVENT_ARRAY(PG_INT8, pg_array_i64, event->position);
    EVENT_ARRAY(PG_INT2, pg_array_i16, (int16_t)event->type);
    EVENT_ARRAY(PG_INT2, pg_array_i16, event->version);
    EVENT_ARRAY(PG_TEXT, pg_array_bytes, event->campaign_id);
    EVENT_ARRAY(PG_TEXT, pg_array_bytes, event->user_id);
    EVENT_ARRAY(PG_TEXT, pg_array_bytes, event->coupon_id);
    EVENT_ARRAY(PG_INT2, push_nth, event);
    EVENT_ARRAY(PG_BYTEA, pg_array_bytes, event->trace);
    EVENT_ARRAY(PG_BYTEA, pg_array_bytes, event->data);
    pg_send(store->pg, SQL_APPEND, args);
}

static void push_time_or_null(struct pg_args *args, int64_t wall_us)
{
    if (wall_us)
        pg_array_time(args, wall_us);
    else
        pg_array_bytes(args, (struct span){NULL, 0});
}

/* One array argument over the commands that leave an idempotency row. */
#define REMEMBERED_ARRAY(element, push, value)                   \
    do {                                                         \
        pg_array_begin(args, element);                           \
        for (size_t i = 0; i < batch->count; i++) {              \
            const struct command *command = batch->commands[i];  \
            const struct verdict *verdict = &batch->verdicts[i]; \
            if (verdict->remembered && command)                  \
                push(args, value);                               \
        }                                                        \
        pg_array_end(args);                                      \
    } while (0)

static void push_answer(struct pg_args *args, struct buf *scratch, const struct command *command,
                        const struct verdict *verdict)
{
    buf_clear(scratch);
    bool kept = answer_keep(scratch, command, verdict);
    CHECK(!scratch->overflow);
    pg_array_bytes(args, kept ? (struct span){scratch->data ? (const char *)scratch->data : "", scratch->len}
                              : (struct span){NULL, 0});
}

static void send_requests_done(struct store *store, struct batch *batch)
{
    struct pg_args *args = &store->args;
    pg_args_reset(args);
    pg_arg_time(args, batch->now_us);
    REMEMBERED_ARRAY(PG_INT2, pg_array_i16, command->request_slice);
    REMEMBERED_ARRAY(PG_UUID, pg_array_bytes, store_key_hash(&command->id));
    REMEMBERED_ARRAY(PG_INT8, pg_array_i64, store_operation(&command->id));
    REMEMBERED_ARRAY(PG_UUID, pg_array_bytes,
                     ((struct span){(const char *)command->fingerprint, FINGERPRINT_BYTES}));
    REMEMBERED_ARRAY(PG_INT2, pg_array_i16, (int16_t)answer_status(command->kind));
    REMEMBERED_ARRAY(PG_INT8, pg_array_i64, verdict->token.position);
    pg_array_begin(args, PG_BYTEA);
    for (size_t i = 0; i < batch->count; i++)
        if (batch->verdicts[i].remembered)
            push_answer(args, &batch->scratch, batch->commands[i], &batch->verdicts[i]);
    pg_array_end(args);
    pg_send(store->pg, SQL_REMEMBER, args);
}

/* One array argument over the loaded campaigns that `condition` picks. */
#define CAMPAIGN_ARRAY(condition, element, push, value)                     \
    do {                                                                    \
        pg_array_begin(args, element);                                      \
        for (size_t i = 0; i < batch->campaigns_count; i++) {               \
            const struct loaded_campaign *loaded = batch->campaign_list[i]; \
            const struct campaign *campaign = &loaded->campaign;            \
            if (campaign && (condition))                                    \
                push(args, value);                                          \
        }                                                                   \
        pg_array_end(args);                                                 \
    } while (0)

/* The bytes of the CampaignCreated that this batch appends for a campaign. */
static struct span created_data(const struct batch *batch, const struct campaign *campaign)
{
    for (size_t i = 0; i < batch->events_count; i++)
        if (batch->events[i].position == campaign->first)
            return batch->events[i].data;
    UNREACHABLE("a new campaign has its event in the batch");
}

static void send_new_campaigns(struct store *store, const struct batch *batch)
{
    struct pg_args *args = &store->args;
    int16_t version = event_describe(EVENT_CampaignCreated)->version;
    pg_args_reset(args);
    pg_arg_i16(args, batch->slice);
    pg_arg_time(args, batch->now_us);
    CAMPAIGN_ARRAY(loaded->is_new, PG_TEXT, pg_array_bytes, campaign->id);
    CAMPAIGN_ARRAY(loaded->is_new, PG_TEXT, pg_array_bytes, campaign->definition.created_by);
    CAMPAIGN_ARRAY(loaded->is_new, PG_INT2, pg_array_i16, version);
    CAMPAIGN_ARRAY(loaded->is_new, PG_BYTEA, pg_array_bytes, created_data(batch, campaign));
    CAMPAIGN_ARRAY(loaded->is_new, PG_INT8, pg_array_i64, campaign->definition.quantity);
    CAMPAIGN_ARRAY(loaded->is_new, PG_INT8, pg_array_i64, campaign->released);
    CAMPAIGN_ARRAY(loaded->is_new, PG_INT8, pg_array_i64, campaign->issued);
    CAMPAIGN_ARRAY(loaded->is_new, PG_INT2, pg_array_i16, (int16_t)campaign->state);
    CAMPAIGN_ARRAY(loaded->is_new, PG_INT2, pg_array_i16, (int16_t)campaign->plan_done);
    CAMPAIGN_ARRAY(loaded->is_new, PG_INT8, pg_array_i64, campaign->first);
    CAMPAIGN_ARRAY(loaded->is_new, PG_INT8, pg_array_i64, campaign->position);
    CAMPAIGN_ARRAY(loaded->is_new, PG_TIMESTAMPTZ, push_time_or_null, campaign_due_at_us(campaign));
    pg_send(store->pg, SQL_NEW_CAMPAIGNS, args);
}

static void send_changed_campaigns(struct store *store, const struct batch *batch)
{
    struct pg_args *args = &store->args;
    pg_args_reset(args);
    pg_arg_i16(args, batch->slice);
    CAMPAIGN_ARRAY(loaded->changed && !loaded->is_new, PG_TEXT, pg_array_bytes, campaign->id);
    CAMPAIGN_ARRAY(loaded->changed && !loaded->is_new, PG_INT8, pg_array_i64, campaign->released);
    CAMPAIGN_ARRAY(loaded->changed && !loaded->is_new, PG_INT8, pg_array_i64, campaign->issued);
    CAMPAIGN_ARRAY(loaded->changed && !loaded->is_new, PG_INT2, pg_array_i16, (int16_t)campaign->state);
    CAMPAIGN_ARRAY(loaded->changed && !loaded->is_new, PG_INT2, pg_array_i16, (int16_t)campaign->plan_done);
    CAMPAIGN_ARRAY(loaded->changed && !loaded->is_new, PG_INT8, pg_array_i64, campaign->position);
    CAMPAIGN_ARRAY(loaded->changed && !loaded->is_new, PG_INT8, pg_array_i64, campaign->redeemed);
    CAMPAIGN_ARRAY(loaded->changed && !loaded->is_new, PG_INT8, pg_array_i64, campaign->reserved);
    CAMPAIGN_ARRAY(loaded->changed && !loaded->is_new, PG_INT2, pg_array_i16, campaign->plan_halted);
    CAMPAIGN_ARRAY(loaded->changed && !loaded->is_new, PG_TIMESTAMPTZ, push_time_or_null,
                   campaign_due_at_us(campaign));
    pg_send(store->pg, SQL_CHANGED_CAMPAIGNS, args);
}

static void send_runs(struct store *store, const struct batch *batch)
{
    struct pg_args *args = &store->args;
    pg_args_reset(args);
    pg_arg_i16(args, batch->slice);
    CAMPAIGN_ARRAY(loaded->run_first_sequence, PG_TEXT, pg_array_bytes, campaign->id);
    CAMPAIGN_ARRAY(loaded->run_first_sequence, PG_INT8, pg_array_i64, loaded->run_first_sequence);
    CAMPAIGN_ARRAY(loaded->run_first_sequence, PG_INT8, pg_array_i64, loaded->run_first_position);
    CAMPAIGN_ARRAY(loaded->run_first_sequence, PG_INT8, pg_array_i64, loaded->run_last_position);
    pg_send(store->pg, SQL_RUNS, args);
}

/* One array argument over the coupons that changed. */
#define COUPON_ARRAY(element, push, value)                                \
    do {                                                                  \
        pg_array_begin(args, element);                                    \
        for (size_t i = 0; i < batch->coupons_count; i++) {               \
            const struct coupon *coupon = &batch->coupon_list[i]->coupon; \
            if (batch->coupon_list[i]->changed)                           \
                push(args, value);                                        \
        }                                                                 \
        pg_array_end(args);                                               \
    } while (0)

static void send_coupon_states(struct store *store, const struct batch *batch)
{
    struct pg_args *args = &store->args;
    pg_args_reset(args);
    pg_arg_i16(args, batch->slice);
    COUPON_ARRAY(PG_INT8, pg_array_i64, coupon->at.position);
    COUPON_ARRAY(PG_TEXT, pg_array_bytes, coupon->campaign_id);
    COUPON_ARRAY(PG_INT2, pg_array_i16, (int16_t)coupon->state);
    COUPON_ARRAY(PG_INT8, pg_array_i64, coupon->last);
    COUPON_ARRAY(PG_TIMESTAMPTZ, pg_array_time, coupon->changed_at_us);
    COUPON_ARRAY(PG_TEXT, pg_array_bytes, coupon->order_id);
    COUPON_ARRAY(PG_INT8, pg_array_i64, coupon->order_amount);
    COUPON_ARRAY(PG_INT8, pg_array_i64, coupon->discount_amount);
    COUPON_ARRAY(PG_TIMESTAMPTZ, push_time_or_null, coupon->reserved_until_us);
    COUPON_ARRAY(PG_TEXT, pg_array_bytes, coupon->reason);
    pg_send(store->pg, SQL_COUPON_STATES, args);
}

/* What the last event of each name says: table control has one row for a name. */
static bool control_row_of(const struct event *event, struct control_row *ret)
{
    switch (event->type) {
    case EVENT_SettingChanged:
        *ret = (struct control_row){CONTROL_SETTING, event->setting_changed.name,
                                    event->setting_changed.value, event->position};
        return true;
    case EVENT_IssuerSuspended:
        *ret = (struct control_row){CONTROL_ISSUER, event->issuer_suspended.issuer, SPAN("suspended"),
                                    event->position};
        return true;
    case EVENT_IssuerResumed:
        *ret = (struct control_row){CONTROL_ISSUER, event->issuer_resumed.issuer, SPAN(""), event->position};
        return true;
    default:
        return false;
    }
}

static size_t control_rows(const struct batch *batch, struct control_row ret[BATCH_MAX])
{
    struct control_row row;
    size_t count = 0;
    for (size_t i = 0; i < batch->events_count; i++) {
        size_t at = 0;
        if (!control_row_of(&batch->events[i], &row))
            continue;
        while (at < count && !(ret[at].kind == row.kind && span_equal(ret[at].name, row.name)))
            at++;
        CHECK(at < BATCH_MAX); /* each is a command's */
        ret[at] = row;
        count += at == count;
    }
    return count;
}

static void send_control(struct store *store, const struct control_row *rows, size_t count)
{
    struct pg_args *args = &store->args;
    pg_args_reset(args);
    pg_arg_i16(args, CONTROL_SLICE);
    pg_array_begin(args, PG_INT2);
    for (size_t i = 0; i < count; i++)
        pg_array_i16(args, (int16_t)rows[i].kind);
    pg_array_end(args);
    pg_array_begin(args, PG_TEXT);
    for (size_t i = 0; i < count; i++)
        pg_array_bytes(args, rows[i].name);
    pg_array_end(args);
    pg_array_begin(args, PG_TEXT);
    for (size_t i = 0; i < count; i++)
        pg_array_bytes(args, rows[i].value.ptr ? rows[i].value : SPAN(""));
    pg_array_end(args);
    pg_array_begin(args, PG_INT8);
    for (size_t i = 0; i < count; i++)
        pg_array_i64(args, rows[i].position);
    pg_array_end(args);
    pg_send(store->pg, SQL_CONTROL, args);
}

static void send_quotas_used(struct store *store, const struct batch *batch)
{
    struct pg_args *args = &store->args;
    pg_args_reset(args);
    pg_array_begin(args, PG_TEXT);
    for (size_t i = 0; i < batch->quotas_count; i++)
        pg_array_bytes(args, batch->quotas[i].scope);
    pg_array_end(args);
    pg_array_begin(args, PG_TEXT);
    for (size_t i = 0; i < batch->quotas_count; i++)
        pg_array_bytes(args, batch->quotas[i].day);
    pg_array_end(args);
    pg_array_begin(args, PG_INT8);
    for (size_t i = 0; i < batch->quotas_count; i++)
        pg_array_i64(args, batch->quotas[i].used);
    pg_array_end(args);
    pg_send(store->pg, SQL_QUOTAS_USED, args);
}

static void send_batch_and_head(struct store *store, struct batch *batch)
{
    struct log_chain chain;
    log_chain_begin(&chain, batch->chain);
    for (size_t i = 0; i < batch->events_count; i++)
        log_chain_add(&chain, &batch->events[i]);
    log_chain_end(&chain, batch->chain);
    struct span link = {(const char *)batch->chain, sizeof batch->chain};
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, batch->slice);
    pg_arg_i64(&store->args, batch->events[0].position);
    pg_arg_i64(&store->args, batch->head);
    pg_arg_bytes(&store->args, link);
    pg_arg_time(&store->args, batch->now_us);
    pg_send(store->pg, SQL_BATCH, &store->args);
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, batch->slice);
    pg_arg_i64(&store->args, batch->head);
    pg_arg_bytes(&store->args, link);
    pg_arg_time(&store->args, batch->now_us);
    pg_send(store->pg, SQL_HEAD, &store->args);
}

/* Which of the tables a batch writes to. */
struct kinds {
    bool requests, new_campaigns, changed_campaigns, runs, coupons, quotas;
};

static struct kinds kinds_of(const struct batch *batch)
{
    struct kinds kinds = {false};
    for (size_t i = 0; i < batch->count; i++)
        kinds.requests |= batch->verdicts[i].remembered;
    for (size_t i = 0; i < batch->campaigns_count; i++) {
        const struct loaded_campaign *loaded = batch->campaign_list[i];
        kinds.new_campaigns |= loaded->is_new;
        kinds.changed_campaigns |= loaded->changed && !loaded->is_new;
        kinds.runs |= loaded->run_first_sequence > 0;
    }
    for (size_t i = 0; i < batch->coupons_count; i++)
        kinds.coupons |= batch->coupon_list[i]->changed;
    for (size_t i = 0; i < batch->quotas_count; i++)
        kinds.quotas |= batch->quotas[i].changed;
    return kinds;
}

/* The state rows. Returns how many results that will give. */
static size_t send_states(struct store *store, const struct batch *batch, const struct kinds *kinds)
{
    struct control_row controls[BATCH_MAX];
    size_t controls_count = batch->slice == CONTROL_SLICE ? control_rows(batch, controls) : 0;
    if (kinds->new_campaigns)
        send_new_campaigns(store, batch);
    if (kinds->changed_campaigns)
        send_changed_campaigns(store, batch);
    if (kinds->runs)
        send_runs(store, batch);
    if (kinds->coupons)
        send_coupon_states(store, batch);
    if (controls_count)
        send_control(store, controls, controls_count);
    if (kinds->quotas)
        send_quotas_used(store, batch);
    return (size_t)kinds->new_campaigns + kinds->changed_campaigns + kinds->runs + kinds->coupons +
           (controls_count > 0) + kinds->quotas;
}

/* Queues everything the batch writes; returns how many results that will give. */
static size_t send_writes(struct store *store, struct batch *batch)
{
    struct kinds kinds = kinds_of(batch);
    size_t sent = 0;
    if (kinds.requests) {
        send_requests_done(store, batch);
        sent++;
    }
    sent += send_states(store, batch, &kinds);
    if (batch->events_count == 0)
        return sent;
    send_events(store, batch);
    send_batch_and_head(store, batch);
    return sent + 3;
}

enum store_status store_commit(struct store *store, struct batch *batch, int64_t deadline_us)
{
    struct pg_rows *rows[12] = {NULL};
    bool writes = batch_has_writes(batch);
    size_t sent = writes ? send_writes(store, batch) : 0;
    pg_send(store->pg, writes ? SQL_COMMIT : SQL_ROLLBACK, NULL);
    pg_sync(store->pg);
    CHECK(++sent <= COUNT_OF(rows));
    enum pg_status status = store_receive(store, sent, rows, deadline_us);
    for (size_t i = 0; i < sent; i++)
        pg_rows_destroy(rows[i]);
    if (status == PG_OK)
        return STORE_OK;
    if (status == PG_REFUSED)
        return store_rolled_back(store);
    return writes ? STORE_UNKNOWN : STORE_LOST;
}
