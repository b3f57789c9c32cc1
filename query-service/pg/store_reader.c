/* SPDX-License-Identifier: Apache-2.0 */
/* One round trip per read: the statements of store_sql.h, their rows as an answer. */
#include "query-service/pg/store_internal.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "query-service/metrics.h"
#include "query-service/pg/past_sql.h"

static const struct pg_statement statements[STORE_STATEMENT_COUNT] = {
#define STORE_STATEMENT(name, sql) [STORE_##name] = {#name, sql},
    STORE_STATEMENTS(STORE_STATEMENT)};

/* The server refuses a statement before the reader gives up on the connection, so that a question that takes
 * too long is told from a server that does not answer. */
static int64_t server_timeout_ms(int64_t budget_ms)
{
    enum { MARGIN_MS = 100, MARGIN_DIVISOR = 4 };
    int64_t margin_ms = budget_ms / MARGIN_DIVISOR < MARGIN_MS ? budget_ms / MARGIN_DIVISOR : MARGIN_MS;
    return budget_ms - margin_ms > 1 ? budget_ms - margin_ms : 1;
}

struct store_reader *store_reader_create(const struct store_reader_options *options)
{
    struct store_reader *reader = mem_zalloc(sizeof *reader);
    reader->options = *options;
    reader->pg = pg_create(&(struct pg_options){
        .url = options->shard->url,
        .role = "firstcome_query",
        .application = "firstcome query",
        .statement_timeout_ms = server_timeout_ms(options->timeout_ms),
        .lock_timeout_ms = options->timeout_ms,
        .idle_in_transaction_timeout_ms = options->timeout_ms,
        .snapshot = true,
        .statements = statements,
        .statements_count = STORE_STATEMENT_COUNT,
        .schema = SCHEMA_MIN,
    });
    pg_args_init(&reader->args);
    return reader;
}

void store_reader_destroy(struct store_reader *reader)
{
    if (!reader)
        return;
    pg_destroy(reader->pg);
    pg_args_deinit(&reader->args);
    mem_free(reader);
}

/* --- asking --- */

/* A text that strings of a definition contain exactly when they are the tag: with its length before it. The
 * codec writes it: a definition that has this one tag and nothing else, without the three bytes (map, key,
 * array) that come before. */
static struct span tag_bytes(struct buf *out, struct span tag)
{
    enum { BEFORE = 3 };
    struct event event = {.type = EVENT_CampaignCreated, .campaign_created = {.tags = {&tag, 1}}};
    event_encode(&event, out);
    return (struct span){out->data + BEFORE, out->len - BEFORE};
}

void store_ranking_args(struct store_reader *reader, const struct query *query)
{
    struct buf encoded;
    buf_init(&encoded, EVENT_DATA_MAX);
    pg_arg_i64(&reader->args, query->tag.ptr ? ANSWER_ITEMS_MAX : query->limit);
    if (query->tag.ptr)
        pg_arg_bytes(&reader->args, tag_bytes(&encoded, query->tag));
    else
        pg_arg_null(&reader->args);
    buf_deinit(&encoded);
    slices_arg(&reader->args, reader->options.shard->slices);
}

void store_window_args(struct store_reader *reader, const struct query *query)
{
    pg_arg_time(&reader->args, window_since_us(query->window, query->now_us));
    pg_arg_i64(&reader->args, STORE_ACTIVE_MAX);
}

static void ask_ranking(struct store_reader *reader, const struct query *query)
{
    store_ranking_args(reader, query);
    if (query->window == WINDOW_ALL) {
        pg_send(reader->pg, STORE_RANKING_ISSUED + query->by, &reader->args);
    } else {
        store_window_args(reader, query);
        pg_send(reader->pg, STORE_ACTIVE_ISSUED + query->by, &reader->args);
    }
}

void store_ask_campaign_by(struct store_reader *reader, const struct query *query, size_t statement)
{
    pg_arg_i16(&reader->args, slice_of(query->campaign_id));
    pg_arg_bytes(&reader->args, query->campaign_id);
    pg_send(reader->pg, statement, &reader->args);
    pg_args_reset(&reader->args);
}

static void ask_campaign(struct store_reader *reader, const struct query *query)
{
    store_ask_campaign_by(reader, query, STORE_CAMPAIGN);
}

static void ask_campaigns(struct store_reader *reader, const struct query *query)
{
    bool first = query->after.kind == CURSOR_NONE;
    /* As far in the future as the type of the column goes comfortably: the year 9999. */
    pg_arg_time(&reader->args, first ? INT64_C(253402300799000000) : query->after.time_us);
    pg_arg_bytes(&reader->args, first ? SPAN("") : cursor_id(&query->after));
    pg_arg_i64(&reader->args, (int64_t)query_scan(query) + 1);
    slices_arg(&reader->args, reader->options.shard->slices);
    pg_send(reader->pg, STORE_CAMPAIGNS, &reader->args);
}

static void ask_holders(struct store_reader *reader, const struct query *query)
{
    ask_campaign(reader, query);
    pg_arg_i16(&reader->args, slice_of(query->campaign_id));
    pg_arg_bytes(&reader->args, query->campaign_id);
    pg_arg_i64(&reader->args, query->after.number);
    pg_arg_i64(&reader->args, query->limit + 1);
    pg_send(reader->pg, STORE_HOLDERS, &reader->args);
}

static void ask_user_in_campaign(struct store_reader *reader, const struct query *query)
{
    ask_campaign(reader, query);
    pg_arg_i16(&reader->args, slice_of(query->campaign_id));
    pg_arg_bytes(&reader->args, query->user_id);
    pg_arg_bytes(&reader->args, query->campaign_id);
    pg_send(reader->pg, STORE_USER_IN_CAMPAIGN, &reader->args);
}

static void ask_user_coupons(struct store_reader *reader, const struct query *query)
{
    bool first = query->after.kind == CURSOR_NONE;
    pg_arg_bytes(&reader->args, query->user_id);
    pg_arg_time(&reader->args, first ? INT64_C(253402300799000000) : query->after.time_us);
    pg_arg_i16(&reader->args, query->after.slice);
    pg_arg_i64(&reader->args, query->after.number);
    pg_arg_i64(&reader->args, (int64_t)query_scan(query) + 1);
    slices_arg(&reader->args, reader->options.shard->slices);
    pg_send(reader->pg, STORE_USER_COUPONS, &reader->args);
}

static void ask_order_coupons(struct store_reader *reader, const struct query *query)
{
    struct buf id;
    buf_init(&id, COUPON_ID_MAX);
    if (query->after.kind != CURSOR_NONE)
        coupon_id_write(&id, (struct position){query->after.slice, query->after.number});
    pg_arg_bytes(&reader->args, query->order_id);
    pg_arg_i16(&reader->args, query->after.slice);
    pg_arg_bytes(&reader->args, buf_span(&id));
    pg_arg_i64(&reader->args, query->limit + 1);
    slices_arg(&reader->args, reader->options.shard->slices);
    pg_send(reader->pg, STORE_ORDER_COUPONS, &reader->args);
    buf_deinit(&id);
}

static void ask_coupon(struct store_reader *reader, const struct query *query)
{
    pg_arg_i16(&reader->args, query->coupon.slice);
    pg_arg_i64(&reader->args, query->coupon.position);
    pg_send(reader->pg, STORE_COUPON, &reader->args);
    if (query->kind == QUERY_VALIDITY)
        pg_send(reader->pg, STORE_COUPON_CAMPAIGN, &reader->args);
}

/* --- rows as answers; false where they are not what the command service writes --- */

bool store_take_campaign(const struct pg_rows *rows, int row, struct answer *answer)
{
    int64_t state = pg_i64(rows, row, CAMPAIGN_COLUMN_STATUS);
    struct campaign campaign = {
        .id = pg_bytes(rows, row, 0),
        .created_at_us = pg_time(rows, row, 2),
        .first = pg_i64(rows, row, 3),
        .position = pg_i64(rows, row, 4),
        .released = pg_i64(rows, row, 5),
        .issued = pg_i64(rows, row, 6),
        .redeemed = pg_i64(rows, row, 7),
        .reserved = pg_i64(rows, row, 8),
        .plan_done = pg_i64(rows, row, 9),
        .plan_halted = pg_i64(rows, row, 10) != 0,
    };
    if (state < CAMPAIGN_ACTIVE || state > CAMPAIGN_ENDED)
        return false;
    campaign.state = (enum campaign_state)state;
    if (!status_change_read(campaign.state, pg_time(rows, row, CAMPAIGN_COLUMN_STATUS + 1),
                            pg_bytes(rows, row, CAMPAIGN_COLUMN_STATUS + 2), &answer->arena,
                            &campaign.change))
        return false;
    return answer_add_campaign(answer, &campaign, pg_bytes(rows, row, 1));
}

static bool take_campaigns(const struct pg_rows *rows, struct read *read)
{
    for (int row = 0; row < pg_rows_count(rows); row++)
        if (!store_take_campaign(rows, row, &read->answer))
            return false;
    return true;
}

/* What the columns after the event say happened since. */
static bool take_state(const struct pg_rows *rows, int row, struct arena *arena, struct coupon *coupon)
{
    enum {
        STATE = LOG_COLUMN_COUNT,
        LAST,
        CHANGED_AT,
        NOTE,
        ORDER_AMOUNT,
        DISCOUNT,
        RESERVED_UNTIL,
        REVOKED
    };
    if (pg_is_null(rows, row, STATE))
        return true;
    int64_t state = pg_i64(rows, row, STATE);
    if (state < COUPON_ISSUED || state > COUPON_REVOKED)
        return false;
    coupon->state = (enum coupon_state)state;
    coupon->last = pg_i64(rows, row, LAST);
    coupon->changed_at_us = pg_time(rows, row, CHANGED_AT);
    coupon->order_amount = pg_i64(rows, row, ORDER_AMOUNT);
    coupon->discount_amount = pg_i64(rows, row, DISCOUNT);
    coupon->reserved_until_us = pg_time(rows, row, RESERVED_UNTIL);
    if (coupon->state == COUPON_REVOKED) {
        struct event revoked = {.type = EVENT_CouponRevoked,
                                .version = event_describe(EVENT_CouponRevoked)->version,
                                .data = pg_bytes(rows, row, REVOKED)};
        if (!revoked.data.ptr || event_decode(&revoked, arena) != CODEC_OK)
            return false;
        coupon->actor = revoked.coupon_revoked.actor;
    }
    return coupon_take_note(coupon, pg_bytes(rows, row, NOTE));
}

static bool take_coupons(const struct pg_rows *rows, struct read *read)
{
    struct answer *answer = &read->answer;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        struct event event;
        if (event_log_row(rows, row, 0, &answer->arena, &event) != CODEC_OK)
            return false;
        struct coupon coupon = coupon_from_event(&event);
        if (!take_state(rows, row, &answer->arena, &coupon))
            return false;
        answer_add_coupon(answer, &coupon);
    }
    return true;
}

/* Position and slice name an event of any type; a type from the future is no coupon either. */
static bool take_coupon(const struct pg_rows *rows, struct read *read)
{
    enum { TYPE_COLUMN = 1 };
    bool is_coupon = pg_rows_count(rows) == 1 && pg_i64(rows, 0, TYPE_COLUMN) == EVENT_CouponIssued;
    read->answer.outcome = is_coupon ? ANSWER_FOUND : ANSWER_NO_COUPON;
    return !is_coupon || take_coupons(rows, read);
}

static bool take_coupons_campaign(const struct pg_rows *rows, struct read *read)
{
    if (read->answer.outcome != ANSWER_FOUND)
        return true;
    return pg_rows_count(rows) == 1 && take_campaigns(rows, read);
}

/* Tags were looked for in bytes; here they are looked at. */
bool store_take_ranking(const struct pg_rows *rows, struct read *read)
{
    enum { COUNT = CAMPAIGN_COLUMN_COUNT, REACHED, LOOKED_AT };
    struct answer *answer = &read->answer;
    const struct query *query = &read->query;
    int count = pg_rows_count(rows);
    bool beyond = count > 0 && pg_i64(rows, 0, LOOKED_AT) > STORE_ACTIVE_MAX;
    answer->counts = answer_alloc(answer, (size_t)query->limit * sizeof *answer->counts);
    answer->reached = answer_alloc(answer, (size_t)query->limit * sizeof *answer->reached);
    for (int row = 0; row < count && answer->campaigns_count < (size_t)query->limit; row++) {
        if (pg_is_null(rows, row, 0))
            continue; /* says how many were looked at, and that none is ranked */
        if (!store_take_campaign(rows, row, answer))
            return false;
        size_t last = answer->campaigns_count - 1;
        if (query_takes_campaign(query, &answer->campaigns[last])) {
            answer->counts[last] = pg_i64(rows, row, COUNT);
            answer->reached[last] = pg_time(rows, row, REACHED);
        } else {
            answer->campaigns_count--;
        }
    }
    if (query->tag.ptr && count == ANSWER_ITEMS_MAX && answer->campaigns_count < (size_t)query->limit)
        beyond = true; /* too many whose bytes look like the tag */
    if (beyond)
        read->failure = READ_TOO_MUCH;
    return true;
}

/* The campaign is only looked up to tell "unknown" from "none". */
static bool take_existence(const struct pg_rows *rows, struct read *read)
{
    read->answer.outcome = pg_rows_count(rows) ? ANSWER_FOUND : ANSWER_NO_CAMPAIGN;
    return true;
}

static bool take_campaign(const struct pg_rows *rows, struct read *read)
{
    return take_existence(rows, read) && take_campaigns(rows, read);
}

/* --- one read --- */

/* What is sent, what is made of each of its results, and of the list they are; `cut` NULL: no list. */
static const struct present {
    void (*ask)(struct store_reader *reader, const struct query *query);
    bool (*take[2])(const struct pg_rows *rows, struct read *read); /* the second NULL: one result */
    void (*cut)(struct answer *answer, const struct query *query);
} presents[QUERY_KIND_COUNT] = {
    [QUERY_CAMPAIGN] = {ask_campaign, {take_campaign}, NULL},
    [QUERY_CAMPAIGNS] = {ask_campaigns, {take_campaigns}, answer_cut_campaigns},
    [QUERY_HOLDERS] = {ask_holders, {take_existence, take_coupons}, answer_cut_coupons},
    [QUERY_USER_IN_CAMPAIGN] = {ask_user_in_campaign, {take_existence, take_coupons}, NULL},
    [QUERY_COUPON] = {ask_coupon, {take_coupon}, NULL},
    [QUERY_VALIDITY] = {ask_coupon, {take_coupon, take_coupons_campaign}, NULL},
    [QUERY_USER_COUPONS] = {ask_user_coupons, {take_coupons}, answer_cut_coupons},
    [QUERY_RANKING] = {ask_ranking, {store_take_ranking}, NULL},
    [QUERY_ORDER_COUPONS] = {ask_order_coupons, {take_coupons}, answer_cut_coupons},
};

/* The heads are of the instant of the rest. On a replica, or after a restore, the log may end before what the
 * client has already seen (I9): whoever gets the answer compares. A database that does not own what it is
 * asked for at that instant has moved it elsewhere: what is left there is not to be told. */
bool store_owns(const struct store_reader *reader, const struct pg_rows *heads, struct read *read)
{
    if (!(query_slices(&read->query) & reader->options.shard->slices & ~slices_of(heads)))
        return true;
    log_error("SLICE-ELSEWHERE", "slices %s: the database does not own all of them: the shard map is another",
              reader->options.shard->name);
    read->failure = READ_UNAVAILABLE;
    return false;
}

void store_take_heads(const struct store_reader *reader, const struct pg_rows *heads, struct read *read)
{
    for (int row = 0; row < pg_rows_count(heads); row++) {
        int64_t slice = pg_i64(heads, row, 0);
        if (slice >= 0 && slice < SLICE_COUNT && shard_has(reader->options.shard, (int16_t)slice))
            read->stands_on[slice] = pg_i64(heads, row, 1);
    }
    (void)store_owns(reader, heads, read);
}

/* The next result of the round, NULL where there is none. After a refusal the others come back refused too,
 * and have to be fetched all the same. */
struct pg_rows *store_receive(struct store_reader *reader, int64_t deadline_us, enum pg_status *status)
{
    struct pg_rows *rows = NULL;
    if (*status != PG_OK && *status != PG_REFUSED)
        return NULL;
    enum pg_status here = pg_receive(reader->pg, deadline_us, &rows);
    if (*status == PG_OK || here != PG_REFUSED)
        *status = here;
    return rows;
}

bool store_ask_timeout(struct store_reader *reader, int64_t deadline_us)
{
    int64_t whole_ms = server_timeout_ms(reader->options.timeout_ms);
    int64_t left_ms = server_timeout_ms(clock_remaining_ms(deadline_us));
    int64_t wanted_ms = left_ms > whole_ms * 9 / 10 ? whole_ms : left_ms;
    char text[24];
    if (wanted_ms == reader->session_timeout_ms)
        return false;
    snprintf(text, sizeof text, "%lld", (long long)wanted_ms);
    pg_args_reset(&reader->args);
    pg_arg_bytes(&reader->args, span_of(text));
    pg_send(reader->pg, STORE_TIMEOUT, &reader->args);
    reader->session_timeout_ms = wanted_ms;
    return true;
}

void store_take_timeout(struct store_reader *reader, bool asked, int64_t deadline_us, enum pg_status *status)
{
    if (asked)
        pg_rows_destroy(store_receive(reader, deadline_us, status));
}

static enum pg_status present_round(struct store_reader *reader, struct read *read, int64_t deadline_us)
{
    const struct present *is = &presents[read->query.kind];
    enum pg_status status = PG_OK;
    bool asked = store_ask_timeout(reader, deadline_us);
    pg_send(reader->pg, STORE_HEADS, NULL);
    pg_args_reset(&reader->args);
    is->ask(reader, &read->query);
    pg_sync(reader->pg);
    store_take_timeout(reader, asked, deadline_us, &status);
    struct pg_rows *heads = store_receive(reader, deadline_us, &status);
    if (heads)
        store_take_heads(reader, heads, read);
    pg_rows_destroy(heads);
    for (size_t i = 0; i < COUNT_OF(is->take) && is->take[i]; i++) {
        struct pg_rows *rows = store_receive(reader, deadline_us, &status);
        if (rows && read->failure == READ_GOOD && !is->take[i](rows, read))
            read->failure = READ_INTERNAL;
        pg_rows_destroy(rows);
    }
    return status;
}

static enum pg_status round_trip(struct store_reader *reader, struct read *read, int64_t deadline_us)
{
    answer_reset(&read->answer);
    read->failure = READ_GOOD;
    memset(read->stands_on, 0, sizeof read->stands_on);
    return read->query.past.kind == PAST_NONE ? present_round(reader, read, deadline_us)
                                              : store_past_rounds(reader, read, deadline_us);
}

static enum pg_status connect_store(struct store_reader *reader, int64_t deadline_us)
{
    if (pg_connected(reader->pg))
        return PG_OK;
    reader->session_timeout_ms = server_timeout_ms(reader->options.timeout_ms);
    return pg_connect(reader->pg, deadline_us);
}

static enum pg_status attempt(struct store_reader *reader, struct read *read, int64_t deadline_us)
{
    bool was_connected = pg_connected(reader->pg);
    enum pg_status status = connect_store(reader, deadline_us);
    if (status == PG_OK)
        status = round_trip(reader, read, deadline_us);
    if (status != PG_OK)
        reader->session_timeout_ms = 0; /* what was set in a round that failed is taken back */
    if (status != PG_LOST || !was_connected)
        return status;
    /* The server was restarted since: a read may simply be sent again. */
    status = connect_store(reader, deadline_us);
    return status == PG_OK ? round_trip(reader, read, deadline_us) : status;
}

static int64_t deadline_of(const struct store_reader *reader, int64_t read_deadline_us)
{
    int64_t own_us = clock_deadline_us(reader->options.timeout_ms);
    return own_us < read_deadline_us ? own_us : read_deadline_us;
}

/* What the server refuses because of the question is no failure of the server: it took too long for this one
 * (57014), or is beyond what a program may ask (class 54). */
static bool question_is_at_fault(const struct store_reader *reader, enum pg_status status)
{
    const char *sqlstate = pg_sqlstate(reader->pg);
    return status == PG_REFUSED && (strcmp(sqlstate, "57014") == 0 || strncmp(sqlstate, "54", 2) == 0);
}

static void conclude(struct store_reader *reader, struct read *read, enum pg_status status)
{
    const char *kind = query_kind_label(read->query.kind);
    if (status == PG_OK) {
        breaker_success(reader->options.breaker);
    } else if (question_is_at_fault(reader, status)) {
        breaker_success(reader->options.breaker);
        read->failure = READ_TOO_MUCH;
        metric_add(query_metrics.store_refusals, 1);
        log_warn("STORE-REFUSED", "reading %s: %s", kind, pg_error(reader->pg));
    } else {
        breaker_failure(reader->options.breaker, clock_mono_us());
        read->failure = READ_UNAVAILABLE;
        metric_add(query_metrics.store_errors, 1);
        log_warn("STORE-FAILED", "reading %s: %s", kind, pg_error(reader->pg));
    }
    if (read->failure == READ_INTERNAL)
        log_error("STORE-CORRUPT", "reading %s: a row is not what this version understands", kind);
    if (read->failure != READ_GOOD)
        answer_reset(&read->answer);
    else if (!read->is_part)
        store_reader_cut(read);
}

void store_reader_cut(struct read *read)
{
    if (presents[read->query.kind].cut)
        presents[read->query.kind].cut(&read->answer, &read->query);
}

void store_reader_run(struct store_reader *reader, struct read *read)
{
    enum { TIME_MIN_US = 20 * US_PER_MS }; /* with less there is no asking */
    int64_t start_us = clock_mono_us();
    if (start_us + TIME_MIN_US >= read->item.deadline_us ||
        !breaker_allows(reader->options.breaker, start_us)) {
        read->failure = READ_UNAVAILABLE;
        return;
    }
    conclude(reader, read, attempt(reader, read, deadline_of(reader, read->item.deadline_us)));
    metric_observe_us(query_metrics.store_seconds, clock_mono_us() - start_us);
}

bool store_reader_probe(struct store_reader *reader)
{
    int64_t deadline_us = clock_deadline_us(reader->options.timeout_ms);
    if (!breaker_allows(reader->options.breaker, clock_mono_us()))
        return false;
    struct pg_rows *rows = NULL;
    enum pg_status status = connect_store(reader, deadline_us);
    if (status == PG_OK)
        status = pg_call(reader->pg, STORE_HEADS, NULL, deadline_us, &rows);
    if (status == PG_LOST && (status = connect_store(reader, deadline_us)) == PG_OK)
        status = pg_call(reader->pg, STORE_HEADS, NULL, deadline_us, &rows);
    pg_rows_destroy(rows);
    if (status == PG_OK)
        breaker_success(reader->options.breaker);
    else
        breaker_failure(reader->options.breaker, clock_mono_us());
    return status == PG_OK;
}
