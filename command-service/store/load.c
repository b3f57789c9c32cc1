/* SPDX-License-Identifier: Apache-2.0 */
/* The reading half of the store: one round trip that begins a transaction, locks the slice and loads all that
 * the batch's commands are about. Only what a batch needs is sent: a batch of issues costs the same whatever
 * else the service can do, and nobody is looked for who cannot be there (known.h).
 *
 * A second round trip under the lock is needed where another process issued coupons since this one's filter
 * was last complete, and somebody of the batch may be among them; and for the first answer of a command for
 * many users. */
#include "command-service/answer.h"
#include "command-service/store/campaign_row.h"
#include "command-service/store/internal.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "events/event_log.h"

enum {
    FOLLOW_MIN = 8, /* issues of a batch from which on its campaign gets a filter */
    SEEN_MIN =
        256, /* coupons that are added to a filter with one batch, and as many as that for each command */
    SEEN_EACH = 4,
    SHARED_BATCHES = 100, /* so long somebody who wrote is expected to write again */
    ROUND_MAX = 12,
};

/* Statements of a round, and what takes their rows, in order. A row handler returns false for what a schema
 * that is ours cannot answer. */
typedef bool row_handler(struct store *store, struct batch *batch, const struct pg_rows *rows);
struct round {
    row_handler *handlers[ROUND_MAX];
    size_t count;
};

static void send(struct store *store, struct round *round, enum statement statement, row_handler *handler)
{
    CHECK(round->count < ROUND_MAX);
    pg_send(store->pg, statement, &store->args);
    round->handlers[round->count++] = handler;
}

/* The loaded batch borrows from rows until the next one is loaded. */
static void keep_rows(struct store *store, struct pg_rows *rows)
{
    CHECK(store->results_count < STORE_RESULTS_MAX);
    store->results[store->results_count++] = rows;
}

static void begin_args(struct store *store, const struct batch *batch)
{
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, batch->slice);
}

/* --- the slice --- */

static bool take_begin(struct store *store, struct batch *batch, const struct pg_rows *rows)
{
    (void)store, (void)batch, (void)rows;
    return true;
}

static bool take_secret(struct store *store, const struct pg_rows *rows, int column)
{
    struct span secret = pg_bytes(rows, 0, column);
    if (secret.len != sizeof store->secret)
        return false;
    bool same = store->slice >= 0 && memcmp(store->secret.bytes, secret.ptr, secret.len) == 0;
    memcpy(store->secret.bytes, secret.ptr, secret.len);
    return same;
}

/* Once for a connection: what holders are hashed with must be known before the lock. */
static enum store_status learn_slice(struct store *store, const struct batch *batch, int64_t deadline_us)
{
    struct pg_rows *rows = NULL;
    CHECK(batch->slice == store->connected_for);
    if (store->slice == batch->slice)
        return STORE_OK;
    store->slice = -1;
    store->head = -1;
    store->shared = 0;
    known_clear(store->known);
    begin_args(store, batch);
    enum pg_status status = pg_call(store->pg, SQL_SECRET, &store->args, deadline_us, &rows);
    if (status == PG_OK && pg_rows_count(rows) == 1) {
        (void)take_secret(store, rows, 0);
        store->slice = batch->slice;
    }
    pg_rows_destroy(rows);
    if (status == PG_REFUSED)
        return store_rolled_back(store);
    if (status != PG_OK)
        return STORE_LOST;
    return store->slice < 0 ? store_left(store) : STORE_OK;
}

static bool take_slice(struct store *store, struct batch *batch, const struct pg_rows *rows)
{
    enum { WARN_US = US_PER_S };
    store->elsewhere = pg_rows_count(rows) != 1;
    if (store->elsewhere)
        return false;
    struct span chain = pg_bytes(rows, 0, 1);
    int64_t database_us = pg_time(rows, 0, 4), own_us = clock_wall_us();
    CHECK(chain.len == sizeof batch->chain);
    memcpy(batch->chain, chain.ptr, chain.len);
    batch->head = pg_i64(rows, 0, 0);
    if (store->head >= 0 && batch->head != store->head)
        store->shared = SHARED_BATCHES;
    else
        store->shared -= store->shared > 0;
    batch->now_us = batch_time(pg_time(rows, 0, 2), database_us, own_us);
    if (batch->now_us > own_us + CLOCK_TRUST_US + WARN_US || database_us > own_us + CLOCK_TRUST_US ||
        database_us < own_us - CLOCK_TRUST_US)
        log_warn("CLOCK-DISAGREES",
                 "slice %d: the database's clock is %lld s, the last event %lld s after this service's clock",
                 batch->slice, (long long)((database_us - own_us) / US_PER_S),
                 (long long)((pg_time(rows, 0, 2) - own_us) / US_PER_S));
    if (!take_secret(store, rows, 3))
        store->slice = -1; /* the schema moved on between two batches */
    return true;
}

/* --- campaigns --- */

static void send_campaigns(struct store *store, const struct batch *batch)
{
    begin_args(store, batch);
    pg_array_begin(&store->args, PG_TEXT);
    for (size_t i = 0; i < batch->campaigns_count; i++)
        pg_array_bytes(&store->args, batch->campaign_list[i]->campaign.id);
    pg_array_end(&store->args);
}

/* The campaign of a row, put on the batch's list where no command named it. NULL: the list is full. */
static struct loaded_campaign *take_campaign(struct store *store, struct batch *batch,
                                             const struct pg_rows *rows, int row, int column)
{
    struct span name = pg_bytes(rows, row, column);
    struct loaded_campaign *loaded = name.ptr ? batch_campaign(batch, name) : NULL;
    if (!loaded || loaded->exists)
        return loaded;
    struct span id = loaded->campaign.id; /* the batch's own */
    loaded->exists = true;
    loaded->due_at_us = pg_time(rows, row, column + CAMPAIGN_COLUMN_DUE_AT);
    loaded->unreadable = !campaign_row_read(rows, row, column, batch->head, known_get(store->known, id),
                                            &batch->arena, &loaded->campaign);
    loaded->campaign.id = id;
    return loaded;
}

static bool take_campaigns(struct store *store, struct batch *batch, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_rows_count(rows); row++)
        if (!take_campaign(store, batch, rows, row, 0))
            return false;
    return true;
}

/* --- coupons --- */

enum {
    COUPON_STATE = 1 + LOG_COLUMN_COUNT,
    COUPON_CAMPAIGN = COUPON_STATE + 8,
    COUPON_LAST = COUPON_CAMPAIGN + CAMPAIGN_COLUMN_COUNT
};

static void send_coupons(struct store *store, const struct batch *batch)
{
    begin_args(store, batch);
    pg_array_begin(&store->args, PG_INT8);
    for (size_t i = 0; i < batch->coupons_count; i++)
        pg_array_i64(&store->args, batch->coupon_list[i]->coupon.at.position);
    pg_array_end(&store->args);
    pg_array_begin(&store->args, PG_INT2);
    for (size_t i = 0; i < batch->coupons_count; i++)
        pg_array_i16(&store->args, batch->coupon_list[i]->asks_whose);
    pg_array_end(&store->args);
}

static bool take_state(struct coupon *coupon, const struct pg_rows *rows, int row)
{
    int64_t state = pg_i64(rows, row, COUPON_STATE);
    coupon->last = pg_i64(rows, row, COUPON_STATE + 1);
    coupon->changed_at_us = pg_time(rows, row, COUPON_STATE + 2);
    coupon->order_id = pg_bytes(rows, row, COUPON_STATE + 3);
    coupon->order_amount = pg_i64(rows, row, COUPON_STATE + 4);
    coupon->discount_amount = pg_i64(rows, row, COUPON_STATE + 5);
    coupon->reserved_until_us = pg_time(rows, row, COUPON_STATE + 6);
    coupon->reason = pg_bytes(rows, row, COUPON_STATE + 7);
    if (state < COUPON_ISSUED || state > COUPON_REVOKED)
        return false;
    coupon->state = (enum coupon_state)state;
    return true;
}

/* Which API key has it, as its last event says. False: that cannot be read. */
static bool take_actor(struct batch *batch, const struct pg_rows *rows, int row, struct coupon *coupon)
{
    struct event last;
    if (pg_is_null(rows, row, COUPON_LAST))
        return true; /* nobody asked, or nothing happened to it */
    if (event_log_row(rows, row, COUPON_LAST, &batch->arena, &last) != CODEC_OK)
        return false;
    if (last.type == EVENT_CouponReserved)
        coupon->actor = last.coupon_reserved.actor;
    if (last.type == EVENT_CouponRedeemed)
        coupon->actor = last.coupon_redeemed.actor;
    return true;
}

static bool take_coupons(struct store *store, struct batch *batch, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct loaded_coupon *loaded = batch->coupon_list[pg_i64(rows, row, 0) - 1];
        struct position at = loaded->coupon.at;
        struct event issued;
        loaded->exists = true;
        loaded->unreadable = event_log_row(rows, row, 1, &batch->arena, &issued) != CODEC_OK;
        if (!loaded->unreadable)
            loaded->coupon = coupon_from_event(&issued);
        if (!loaded->unreadable && !pg_is_null(rows, row, COUPON_STATE)) /* something happened to it since */
            loaded->unreadable =
                !take_state(&loaded->coupon, rows, row) || !take_actor(batch, rows, row, &loaded->coupon);
        loaded->of = take_campaign(store, batch, rows, row, COUPON_CAMPAIGN);
        loaded->unreadable |= !loaded->of;
        loaded->coupon.at = at; /* which the list is kept by */
    }
    return true;
}

/* --- voiding --- */

static void arg_time_or_null(struct pg_args *args, int64_t wall_us)
{
    if (wall_us)
        pg_arg_time(args, wall_us);
    else
        pg_arg_null(args);
}

static void send_void(struct store *store, const struct batch *batch, enum statement statement)
{
    const struct void_filter *filter = &batch->commands[0]->voids;
    begin_args(store, batch);
    pg_arg_bytes(&store->args, filter->created_by);
    arg_time_or_null(&store->args, filter->created_before_us);
    arg_time_or_null(&store->args, filter->created_after_us);
    if (statement == SQL_VOIDABLE)
        pg_arg_i64(&store->args, VOID_MAX);
}

static bool take_void_found(struct store *store, struct batch *batch, const struct pg_rows *rows)
{
    (void)store;
    batch->void_found.matched = pg_i64(rows, 0, 0);
    batch->void_found.voidable = pg_i64(rows, 0, 1);
    return true;
}

/* --- creations --- */

static void send_quotas(struct store *store, const struct batch *batch, int16_t slice)
{
    pg_args_reset(&store->args);
    pg_arg_i16(&store->args, slice);
    pg_array_begin(&store->args, PG_TEXT);
    for (size_t i = 0; i < batch->quotas_count; i++)
        pg_array_bytes(&store->args, batch->quotas[i].scope);
    pg_array_end(&store->args);
    pg_arg_i64(&store->args, clock_wall_us() / US_PER_DAY - 1);
}

static void add_quotas(struct batch *batch, const struct pg_rows *rows, int64_t now_us, bool here)
{
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct loaded_quota *quota = &batch->quotas[pg_i64(rows, row, 0) - 1];
        int64_t day = pg_i64(rows, row, 1);
        if (day == 0 || day == now_us / US_PER_DAY)
            *(here ? &quota->here : &quota->elsewhere) += pg_i64(rows, row, 2);
    }
}

static bool take_quotas(struct store *store, struct batch *batch, const struct pg_rows *rows)
{
    (void)store;
    add_quotas(batch, rows, batch->now_us, true);
    return true;
}

/* What the other slices have counted, outside of the transaction and without their locks: creations that are
 * under way there at this instant are not in it. So a limit may be passed by as many campaigns as are being
 * created at once in other slices, which is what a limit against a runaway script is exact enough with; in
 * the slice itself it is exact. */
static enum store_status load_elsewhere(struct store *store, struct batch *batch, int64_t deadline_us)
{
    struct pg_rows *rows[SLICE_COUNT] = {NULL};
    size_t count = 0;
    if (!batch->creates)
        return STORE_OK;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (slice == batch->slice)
            continue;
        send_quotas(store, batch, slice);
        pg_send(store->pg, SQL_QUOTAS, &store->args);
        count++;
    }
    pg_sync(store->pg);
    enum pg_status status = store_receive(store, count, rows, deadline_us);
    for (size_t i = 0; i < count; i++) {
        if (status == PG_OK)
            add_quotas(batch, rows[i], clock_wall_us(), false);
        pg_rows_destroy(rows[i]);
    }
    if (status == PG_REFUSED)
        return store_rolled_back(store);
    return status == PG_OK ? STORE_OK : STORE_LOST;
}

static void send_claims(struct store *store, const struct batch *batch)
{
    begin_args(store, batch);
    pg_array_begin(&store->args, PG_UUID);
    for (size_t i = 0; i < batch->count; i++) {
        uint8_t key[KEY_BYTES];
        store_key(&batch->commands[i]->id, key);
        pg_array_bytes(&store->args, batch->claims[i] ? (struct span){(const char *)key, sizeof key}
                                                      : (struct span){NULL, 0});
    }
    pg_array_end(&store->args);
}

static bool take_claims(struct store *store, struct batch *batch, const struct pg_rows *rows)
{
    (void)store;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct loaded_claim *claim = batch->claims[pg_i64(rows, row, 0) - 1];
        struct span fingerprint = pg_bytes(rows, row, 2), target = pg_bytes(rows, row, 3);
        if (!claim)
            continue;
        if (fingerprint.ptr) {
            claim->attempt = pg_i64(rows, row, 1);
            CHECK(fingerprint.len == FINGERPRINT_BYTES);
            memcpy(claim->fingerprint, fingerprint.ptr, fingerprint.len);
            claim->target_slice = slice_of(target);
        }
        claim->fenced = pg_is_null(rows, row, 4) ? 0 : pg_i64(rows, row, 4);
    }
    return true;
}

/* --- requests --- */

enum { REQUEST_EFFECT = 4, REQUEST_ISSUED = REQUEST_EFFECT + LOG_COLUMN_COUNT };

/* What issues leaves nothing but its event. */
static bool may_be_without_event(const struct command *command)
{
    enum command_subject subject = command_subject(command->kind);
    return subject != SUBJECT_HOLDER && subject != SUBJECT_HOLDERS;
}

static void send_requests(struct store *store, const struct batch *batch, const bool *wanted)
{
    struct pg_args *args = &store->args;
    const struct span nothing = {NULL, 0};
    begin_args(store, batch);
    pg_array_begin(args, PG_UUID);
    for (size_t i = 0; i < batch->count; i++) {
        uint8_t key[KEY_BYTES];
        store_key(&batch->commands[i]->id, key);
        pg_array_bytes(args, wanted[i] ? (struct span){(const char *)key, sizeof key} : nothing);
    }
    pg_array_end(args);
    pg_array_begin(args, PG_UUID);
    for (size_t i = 0; i < batch->count; i++)
        pg_array_bytes(args, wanted[i] && may_be_without_event(batch->commands[i])
                                 ? store_key_hash(&batch->commands[i]->id)
                                 : nothing);
    pg_array_end(args);
    pg_array_begin(args, PG_INT8);
    for (size_t i = 0; i < batch->count; i++)
        pg_array_i64(args, store_operation(&batch->commands[i]->id));
    pg_array_end(args);
}

static bool take_event(struct batch *batch, const struct pg_rows *rows, int row, int column,
                       struct event *ret)
{
    return !pg_is_null(rows, row, column) && event_log_row(rows, row, column, &batch->arena, ret) == CODEC_OK;
}

static bool take_requests(struct store *store, struct batch *batch, const struct pg_rows *rows)
{
    (void)store;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        size_t index = (size_t)pg_i64(rows, row, 0) - 1;
        struct request_record *record = batch_alloc(batch, sizeof *record);
        struct span fingerprint = pg_bytes(rows, row, 1);
        record->has_fingerprint = fingerprint.len == FINGERPRINT_BYTES;
        if (record->has_fingerprint)
            memcpy(record->fingerprint, fingerprint.ptr, fingerprint.len);
        record->position = pg_is_null(rows, row, 2) ? 0 : pg_i64(rows, row, 2);
        record->answer = pg_bytes(rows, row, 3);
        if (!record->answer.ptr) {
            record->unreadable = !take_event(batch, rows, row, REQUEST_EFFECT, &record->effect);
            if (!record->unreadable && coupon_concerned(&record->effect))
                record->unreadable = !take_event(batch, rows, row, REQUEST_ISSUED, &record->issued);
        }
        batch->records[index] = record;
    }
    return true;
}

/* --- holdings --- */

static uint64_t user_hash64(const struct store *store, size_t holding)
{
    return store_hash64(store->holders[holding]);
}

static uint64_t key_hash64(const struct command *command)
{
    return store_hash64(command->id.key_hash);
}

static struct known_campaign *known_of_holding(const struct store *store, size_t holding)
{
    return store->campaigns[store->holding_campaigns[holding]];
}

/* NULL: it is no issue. */
static struct known_campaign *known_of_command(struct store *store, const struct command *command)
{
    enum command_subject subject = command_subject(command->kind);
    bool issues = subject == SUBJECT_HOLDER || subject == SUBJECT_HOLDERS;
    return issues ? known_find(store->known, command->campaign_id) : NULL;
}

static bool is_complete(const struct known_campaign *campaign)
{
    return campaign && campaign->followed && campaign->complete;
}

static bool must_probe_holding(const struct store *store, size_t holding)
{
    const struct known_campaign *campaign = known_of_holding(store, holding);
    return store->probe_all || !is_complete(campaign) || known_has(campaign, user_hash64(store, holding));
}

static bool must_probe_request(struct store *store, const struct command *command)
{
    const struct known_campaign *campaign = known_of_command(store, command);
    return command->keyed &&
           (store->probe_all || !is_complete(campaign) || known_has(campaign, key_hash64(command)));
}

/* The batch's campaigns as they are known, and who asks for them. Allocates what lives as long as the batch.
 */
static void prepare_holdings(struct store *store, struct batch *batch)
{
    uint8_t place[HOLDER_BYTES - HOLDER_USER_BYTES];
    size_t campaign = BATCH_MAX;
    for (size_t i = 0; i < batch->campaigns_count; i++)
        store->campaigns[i] = known_find(store->known, batch->campaign_list[i]->campaign.id);
    store->holders = batch_alloc(batch, (batch->holdings_count + 1) * sizeof *store->holders);
    store->holding_campaigns =
        batch_alloc(batch, (batch->holdings_count + 1) * sizeof *store->holding_campaigns);
    store->holding_probed = batch_alloc(batch, (batch->holdings_count + 1) * sizeof *store->holding_probed);
    for (size_t i = 0; i < batch->holdings_count; i++) {
        struct span id = batch->holding_campaigns[i];
        if (campaign == BATCH_MAX || !span_equal(batch->campaign_list[campaign]->campaign.id, id)) {
            for (campaign = 0; !span_equal(batch->campaign_list[campaign]->campaign.id, id);)
                campaign++;
            holder_place(&store->secret, id, 1, place);
        }
        store->holding_campaigns[i] = (uint32_t)campaign;
        holder_user(&store->secret, batch->holding_users[i], store->holders[i]);
        memcpy(store->holders[i] + HOLDER_USER_BYTES, place, sizeof place);
    }
}

static void push_range(struct pg_args *args, const uint8_t holder[HOLDER_BYTES], int rest)
{
    uint8_t end[HOLDER_BYTES];
    memcpy(end, holder, sizeof end);
    if (rest >= 0)
        memset(end + HOLDER_USER_BYTES, rest, sizeof end - HOLDER_USER_BYTES);
    pg_array_bytes(args, (struct span){(const char *)end, sizeof end});
}

static void send_holdings(struct store *store, const struct batch *batch, const bool *wanted)
{
    static const int ends[] = {-1, 0, 0xFF};
    struct pg_args *args = &store->args;
    const struct span nothing = {NULL, 0};
    begin_args(store, batch);
    for (size_t end = 0; end < COUNT_OF(ends); end++) {
        pg_array_begin(args, PG_UUID);
        for (size_t i = 0; i < batch->holdings_count; i++)
            if (wanted[i])
                push_range(args, store->holders[i], ends[end]);
            else
                pg_array_bytes(args, nothing);
        pg_array_end(args);
    }
    pg_array_begin(args, PG_TEXT);
    for (size_t i = 0; i < batch->holdings_count; i++)
        pg_array_bytes(args, wanted[i] ? batch->holding_campaigns[i] : nothing);
    pg_array_end(args);
    pg_array_begin(args, PG_TEXT);
    for (size_t i = 0; i < batch->holdings_count; i++)
        pg_array_bytes(args, wanted[i] ? batch->holding_users[i] : nothing);
    pg_array_end(args);
}

static bool take_holdings(struct store *store, struct batch *batch, const struct pg_rows *rows)
{
    (void)store;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct holding *held = batch->holding_list[pg_i64(rows, row, 0) - 1];
        if (held->count < PER_USER_LIMIT_MAX)
            batch_hold(batch, held, pg_i64(rows, row, 2));
    }
    return true;
}

/* --- filters --- */

static int64_t seen_max(const struct batch *batch)
{
    return SEEN_MIN + SEEN_EACH * (int64_t)batch->holdings_count;
}

/* Asks for what was issued of the campaigns that have a filter since it was last complete, by whomever. */
static void send_seen(struct store *store, const struct batch *batch)
{
    struct pg_args *args = &store->args;
    begin_args(store, batch);
    pg_array_begin(args, PG_TEXT);
    for (size_t i = 0; i < batch->campaigns_count; i++)
        pg_array_bytes(args, store->campaigns[i] && store->campaigns[i]->followed ? store->campaigns[i]->id
                                                                                  : (struct span){NULL, 0});
    pg_array_end(args);
    pg_array_begin(args, PG_INT8);
    for (size_t i = 0; i < batch->campaigns_count; i++)
        pg_array_i64(args, store->campaigns[i] ? store->campaigns[i]->run : 0);
    pg_array_end(args);
    pg_array_begin(args, PG_INT8);
    for (size_t i = 0; i < batch->campaigns_count; i++)
        pg_array_i64(args, store->campaigns[i] ? store->campaigns[i]->position : 0);
    pg_array_end(args);
    pg_arg_i64(args, seen_max(batch));
}

static bool take_seen(struct store *store, struct batch *batch, const struct pg_rows *rows)
{
    (void)batch;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct known_campaign *campaign = store->campaigns[pg_i64(rows, row, 0) - 1];
        struct span holder = pg_bytes(rows, row, 3), key = pg_bytes(rows, row, 4);
        if (holder.len == HOLDER_BYTES)
            known_add(store->known, campaign, store_hash64((const uint8_t *)holder.ptr));
        if (key.len == KEY_BYTES)
            known_add(store->known, campaign, store_hash64((const uint8_t *)key.ptr));
        campaign->run = pg_i64(rows, row, 1);
        campaign->position = pg_i64(rows, row, 2);
        campaign->covered += holder.len == HOLDER_BYTES; /* or it never is complete */
    }
    return true;
}

/* Whether a filter of the batch is not complete, or is not expected to be when the slice is locked. Where one
 * was expected to be and is not, everybody is looked for in the second round trip. */
static bool any_behind(const struct store *store, const struct batch *batch)
{
    for (size_t i = 0; batch->holdings_count > 0 && i < batch->campaigns_count; i++)
        if (store->campaigns[i] && store->campaigns[i]->followed &&
            (!store->campaigns[i]->complete || store->shared > 0))
            return true;
    return false;
}

/* Which campaigns have a filter from here on, and whether it is complete. true: one is not, against what was
 * expected. */
static bool judge_filters(struct store *store, struct batch *batch)
{
    bool disappoints = false;
    uint32_t *asked = batch_alloc(batch, (batch->campaigns_count + 1) * sizeof *asked);
    for (size_t i = 0; i < batch->holdings_count; i++)
        asked[store->holding_campaigns[i]]++;
    for (size_t i = 0; i < batch->campaigns_count; i++) {
        const struct loaded_campaign *loaded = batch->campaign_list[i];
        struct known_campaign *known = known_find(store->known, loaded->campaign.id);
        store->campaigns[i] = known;
        if (!known || !loaded->exists || loaded->unreadable || asked[i] == 0)
            continue;
        const struct campaign *campaign = &loaded->campaign;
        bool expected = known->complete;
        if (!known->followed && (campaign->issued == 0 || asked[i] >= FOLLOW_MIN))
            known_follow(store->known, known);
        if (known->followed && known->covered > campaign->issued)
            known_follow(store->known, known); /* of another history */
        known->complete = known->followed && known->covered == campaign->issued;
        disappoints |= expected && !known->complete;
    }
    return disappoints;
}

/* --- round trips --- */

/* Sends what is still to be looked for; false where there is nothing. */
static bool send_probes(struct store *store, struct batch *batch, struct round *round)
{
    bool holdings = false, requests = false, request_wanted[BATCH_MAX] = {false};
    bool *holding_wanted = batch_alloc(batch, (batch->holdings_count + 1) * sizeof *holding_wanted);
    for (size_t i = 0; i < batch->holdings_count; i++) {
        holding_wanted[i] = !store->holding_probed[i] && must_probe_holding(store, i);
        store->holding_probed[i] |= holding_wanted[i];
        holdings |= holding_wanted[i];
    }
    for (size_t i = 0; i < batch->count; i++) {
        request_wanted[i] = !store->request_probed[i] && must_probe_request(store, batch->commands[i]);
        store->request_probed[i] |= request_wanted[i];
        requests |= request_wanted[i];
    }
    if (holdings) {
        send_holdings(store, batch, holding_wanted);
        send(store, round, SQL_HOLDINGS, take_holdings);
    }
    if (requests) {
        send_requests(store, batch, request_wanted);
        send(store, round, SQL_REQUESTS, take_requests);
    }
    return holdings || requests;
}

static bool any_of(const struct batch *batch, enum command_subject subject)
{
    for (size_t i = 0; i < batch->count; i++)
        if (command_subject(batch->commands[i]->kind) == subject)
            return true;
    return false;
}

static void send_subjects(struct store *store, struct batch *batch, struct round *round)
{
    if (batch->campaigns_count) {
        send_campaigns(store, batch);
        send(store, round, SQL_CAMPAIGNS, take_campaigns);
    }
    if (batch->coupons_count) {
        send_coupons(store, batch);
        send(store, round, SQL_COUPONS, take_coupons);
    }
    if (any_of(batch, SUBJECT_SLICE)) {
        send_void(store, batch, SQL_VOID_FOUND);
        send(store, round, SQL_VOID_FOUND, take_void_found);
        send_void(store, batch, SQL_VOIDABLE);
        send(store, round, SQL_VOIDABLE, take_campaigns);
    }
    if (batch->creates) {
        send_quotas(store, batch, batch->slice);
        send(store, round, SQL_QUOTAS, take_quotas);
        send_claims(store, batch);
        send(store, round, SQL_CLAIMS, take_claims);
    }
    store->seen_asked = any_behind(store, batch);
    if (store->seen_asked) {
        send_seen(store, batch);
        send(store, round, SQL_SEEN, take_seen);
    }
}

static enum store_status take_round(struct store *store, struct batch *batch, const struct round *round,
                                    int64_t deadline_us)
{
    struct pg_rows *rows[ROUND_MAX] = {NULL};
    enum pg_status status = store_receive(store, round->count, rows, deadline_us);
    for (size_t i = 0; i < round->count; i++)
        keep_rows(store, rows[i]);
    if (status == PG_REFUSED)
        return store_rolled_back(store);
    if (status != PG_OK)
        return STORE_LOST;
    for (size_t i = 0; i < round->count; i++)
        if (!round->handlers[i](store, batch, rows[i]))
            return store->elsewhere ? store_left(store) : store_end(store, STORE_BROKEN, deadline_us);
    return STORE_OK;
}

/* The coupons that a command for many users was answered with. */
static enum store_status load_issued_many(struct store *store, struct batch *batch, int64_t deadline_us)
{
    const size_t users = batch->commands[0]->issue_many.count;
    struct request_record *record = batch->records[0];
    struct issue_result *results = batch_alloc(batch, users * sizeof *results), *asked[ISSUE_MANY_MAX];
    struct pg_rows *rows = NULL;
    size_t count = 0;
    record->unreadable = !answer_recall(batch->commands[0], record, results);
    if (record->unreadable)
        return STORE_OK;
    begin_args(store, batch);
    pg_array_begin(&store->args, PG_INT8);
    for (size_t i = 0; i < users; i++) {
        if (results[i].refusal)
            continue;
        pg_array_i64(&store->args, results[i].coupon.at.position);
        asked[count++] = &results[i];
    }
    pg_array_end(&store->args);
    enum pg_status status = pg_call(store->pg, SQL_ISSUED, &store->args, deadline_us, &rows);
    if (status == PG_REFUSED)
        return store_rolled_back(store);
    if (status != PG_OK)
        return STORE_LOST;
    keep_rows(store, rows);
    record->unreadable = (size_t)pg_rows_count(rows) != count;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct event issued;
        if (!take_event(batch, rows, row, 1, &issued)) {
            record->unreadable = true;
            break;
        }
        asked[pg_i64(rows, row, 0) - 1]->coupon = coupon_from_event(&issued);
    }
    return STORE_OK;
}

/* Another payload under the same key is refused and needs nothing; only the same one is answered again. */
static bool replays(const struct batch *batch, enum command_kind kind)
{
    const struct command *command = batch->commands[0];
    const struct request_record *record = batch->records[0];
    return command->kind == kind && record &&
           memcmp(record->fingerprint, command->fingerprint, FINGERPRINT_BYTES) == 0;
}

static enum store_status load_first_answer(struct store *store, struct batch *batch, int64_t deadline_us)
{
    if (replays(batch, COMMAND_ISSUE_MANY))
        return load_issued_many(store, batch, deadline_us);
    if (replays(batch, COMMAND_VOID))
        batch->records[0]->unreadable = !answer_recall(batch->commands[0], batch->records[0], NULL);
    return STORE_OK;
}

static enum store_status begin_and_load(struct store *store, struct batch *batch, int64_t deadline_us)
{
    struct round round = {.count = 0};
    pg_args_reset(&store->args);
    send(store, &round, SQL_BEGIN, take_begin);
    begin_args(store, batch);
    send(store, &round, SQL_LOCK, take_slice);
    send_subjects(store, batch, &round);
    (void)send_probes(store, batch, &round);
    pg_sync(store->pg);
    enum store_status status = take_round(store, batch, &round, deadline_us);
    if (status == STORE_OK && store->slice < 0)
        return store_end(store, STORE_BUSY, deadline_us);
    return status;
}

static enum store_status load_what_is_missing(struct store *store, struct batch *batch, int64_t deadline_us)
{
    struct round round = {.count = 0};
    /* Else whoever may be there has been looked for. */
    bool unsure = judge_filters(store, batch) || store->seen_asked;
    if (!unsure || !send_probes(store, batch, &round))
        return STORE_OK;
    pg_sync(store->pg);
    return take_round(store, batch, &round, deadline_us);
}

enum store_status store_load(struct store *store, struct batch *batch, int64_t deadline_us)
{
    store_forget(store);
    known_trim(store->known, BATCH_MAX);
    enum store_status status = learn_slice(store, batch, deadline_us);
    if (status == STORE_OK)
        status = load_elsewhere(store, batch, deadline_us);
    if (status != STORE_OK)
        return status;
    memset(store->request_probed, 0, sizeof store->request_probed);
    prepare_holdings(store, batch);
    status = begin_and_load(store, batch, deadline_us);
    if (status == STORE_OK)
        status = load_what_is_missing(store, batch, deadline_us);
    return status == STORE_OK ? load_first_answer(store, batch, deadline_us) : status;
}

enum store_status store_abandon(struct store *store, int64_t deadline_us)
{
    return store_end(store, STORE_BUSY, deadline_us);
}
