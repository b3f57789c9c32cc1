/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that answers questions about what happened, and its statements. */
#include "query-service/history/history.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/json.h"
#include "events/event_json.h"
#include "events/event_log.h"
#include "events/problems.h"
#include "query-service/history/decision.h"
#include "query-service/http/render.h"
#include "query-service/http/respond.h"
#include "query-service/pg/store_reader.h"
#include "query-service/pg/store_sql.h"

enum { QUEUE_MAX = 256, CLIENT_SPARE_MS = 200, ARENA_BYTES = 64 * 1024 };

/* The predicate of the indexes event_sNN_steered and event_sNN_audit, word for word. */
#define STEERS "e.type NOT IN (6, 10, 11, 12, 13, 14)"

enum statement {
    SQL_HEADS,
    SQL_ISSUE,
    SQL_COUPON,
    SQL_EXISTS,
    SQL_CAMPAIGN,
    SQL_AUDIT,
    SQL_MOMENT,
    SQL_COUNT
};

static const struct pg_statement statements[SQL_COUNT] = {
    [SQL_HEADS] = {"history_heads", "SELECT s.slice, s.head FROM slice s"},
    [SQL_ISSUE] = {"history_issue", "SELECT " LOG_COLUMNS " FROM event e WHERE e.slice = $1::smallint"
                                    " AND e.position = $2::bigint AND e.type = 6"},
    /* $1 slice, $2 coupon, $3 after which position, $4 how many. */
    [SQL_COUPON] = {"history_coupon", "SELECT " LOG_COLUMNS " FROM event e WHERE e.slice = $1::smallint"
                                      " AND e.coupon_id = $2::text AND e.type BETWEEN 10 AND 15"
                                      " AND e.position > $3::bigint ORDER BY e.position LIMIT $4::bigint"},
    /* Deleted ones too: what happened to them is asked for most. */
    [SQL_EXISTS] = {"history_exists",
                    "SELECT 1 FROM campaign c WHERE c.slice = $1::smallint AND c.id = $2::text"},
    [SQL_CAMPAIGN] = {"history_campaign",
                      "SELECT " LOG_COLUMNS " FROM event e WHERE e.slice = $1::smallint"
                      " AND e.campaign_id = $2::text AND " STEERS
                      " AND e.position > $3::bigint ORDER BY e.position LIMIT $4::bigint"},
    /* $1 time, $2 slice, $3 position: what the page before ended with; $4 how many; $5 slices. Newest first
     * of each slice by position, which is by time. */
    [SQL_AUDIT] = {"history_audit",
                   "SELECT " LOG_COLUMNS " FROM slice n CROSS JOIN LATERAL ("
                   "SELECT " LOG_COLUMNS " FROM event e WHERE e.slice = n.slice AND " STEERS
                   " AND (e.recorded_at, e.slice, e.position) < ($1::timestamptz, $2::smallint, $3::bigint)"
                   " ORDER BY e.position DESC LIMIT $4::bigint) AS e WHERE " IN_SLICES(
                       "n.slice",
                       "$5") " ORDER BY e.recorded_at DESC, e.slice DESC, e.position DESC LIMIT $4::bigint"},
    /* $1 slice, $2 instant -> how far the slice's log was then: halved by primary key, times do not run
       backwards. */
    [SQL_MOMENT] = {"history_moment",
                    "WITH RECURSIVE halving AS (SELECT 0::bigint AS low, s.head AS high FROM slice s"
                    " WHERE s.slice = $1::smallint UNION ALL SELECT"
                    " CASE WHEN e.recorded_at <= $2::timestamptz THEN m.middle ELSE h.low END,"
                    " CASE WHEN e.recorded_at <= $2::timestamptz THEN h.high ELSE m.middle - 1 END"
                    " FROM halving h CROSS JOIN LATERAL (SELECT (h.low + h.high + 1) / 2 AS middle) m"
                    " CROSS JOIN LATERAL (SELECT r.recorded_at FROM event r WHERE r.slice = $1::smallint"
                    " AND r.position = m.middle LIMIT 1) e WHERE h.low < h.high)"
                    " SELECT low FROM halving WHERE low = high"},
};

/* A thread's connections to one shard. */
struct asker {
    const struct shard *shard;
    unsigned wanted; /* slices of the shard that the question is about */
    struct pg *pg;
    struct pg_args args;
    struct store_reader *reader; /* for what the reads with as_of fold */
    struct breaker breaker;
    const struct code_key *code_key;
    int64_t timeout_ms;
};

/* A thread: of one shard, or of all. */
struct team {
    struct worker_pool *pool;
    struct asker askers[SHARDS_MAX];
    size_t count;
};

/* One for the questions about slices of each shard, so that a shard that is away keeps only those; and where
 * there are several, one for questions about all. */
struct history {
    const struct shards *shards;
    struct team teams[SHARDS_MAX + 1];
    size_t count;
};

/* What came of a question; the answer is in the request's reply body where it is good. */
enum outcome { OUTCOME_GOOD, OUTCOME_NO_CAMPAIGN, OUTCOME_NO_COUPON, OUTCOME_FAILED };

struct question *question_create(enum history_kind kind, int64_t now_us)
{
    static const enum query_kind kinds[] = {
        [HISTORY_COUPON] = QUERY_COUPON,       [HISTORY_CAMPAIGN] = QUERY_CAMPAIGN,
        [HISTORY_AUDIT] = QUERY_CAMPAIGNS, /* of all slices */
        [HISTORY_ORDER] = QUERY_ORDER_COUPONS, [HISTORY_DECISION] = QUERY_CAMPAIGN,
    };
    struct question *question = mem_zalloc(sizeof *question);
    question->kind = kind;
    query_init(&question->query, kinds[kind], now_us);
    return question;
}

void question_destroy(struct question *question)
{
    mem_free(question);
}

/* --- asking --- */

/* The statement, and at the same instant whether the database owns what it is asked for: what is left there
 * of a slice that has moved is not to be told. */
static enum pg_status exchange(struct asker *asker, enum statement statement, int64_t deadline_us,
                               struct pg_rows **ret)
{
    struct pg_rows *heads = NULL;
    bool of_heads = statement == SQL_HEADS;
    pg_send(asker->pg, SQL_HEADS, NULL);
    if (!of_heads)
        pg_send(asker->pg, statement, &asker->args);
    pg_sync(asker->pg);
    enum pg_status status = pg_receive(asker->pg, deadline_us, &heads);
    bool owned = status == PG_OK && !(asker->wanted & ~slices_of(heads));
    if (!of_heads && (status == PG_OK || status == PG_REFUSED)) {
        status = pg_receive(asker->pg, deadline_us, ret);
        pg_rows_destroy(heads);
    } else {
        *ret = heads;
    }
    if (status == PG_OK && !owned) {
        log_error("SLICE-ELSEWHERE",
                  "slices %s: the database does not own all of them: the shard map is another",
                  asker->shard->name);
        pg_rows_destroy(*ret);
        *ret = NULL;
        status = PG_REFUSED;
    }
    return status;
}

/* The breaker is asked here, once for each exchange, as store_reader_run asks it for its own: who is let
 * through says how it went. */
static enum pg_status call(struct asker *asker, enum statement statement, int64_t deadline_us,
                           struct pg_rows **ret)
{
    enum pg_status status = PG_OK;
    *ret = NULL;
    if (!breaker_allows(&asker->breaker, clock_mono_us()))
        return PG_LOST;
    if (!pg_connected(asker->pg))
        status = pg_connect(asker->pg, deadline_us);
    if (status == PG_OK)
        status = exchange(asker, statement, deadline_us, ret);
    if (status == PG_LOST &&
        (status = pg_connect(asker->pg, deadline_us)) == PG_OK) /* restarted since: once more */
        status = exchange(asker, statement, deadline_us, ret);
    if (status == PG_LOST || status == PG_TIMEOUT) /* what the server refused is the question's own fault */
        breaker_failure(&asker->breaker, clock_mono_us());
    else
        breaker_success(&asker->breaker);
    if (status != PG_OK)
        log_warn("HISTORY-FAILED", "statement %s: %s", statements[statement].name, pg_error(asker->pg));
    return status;
}

static void begin(struct asker *asker)
{
    pg_args_reset(&asker->args);
}

static enum read_failure asker_reaches(struct asker *asker, const struct question *question)
{
    struct pg_rows *rows;
    asker->wanted = query_slices(&question->query) & asker->shard->slices;
    begin(asker);
    if (call(asker, SQL_HEADS, question->item.deadline_us, &rows) != PG_OK)
        return READ_UNAVAILABLE;
    enum read_failure found = READ_GOOD;
    for (int row = 0; row < pg_rows_count(rows); row++) {
        int64_t slice = pg_i64(rows, row, 0);
        if (slice >= 0 && slice < SLICE_COUNT && shard_has(asker->shard, (int16_t)slice) &&
            query_at_least(&question->query, (int16_t)slice) > pg_i64(rows, row, 1))
            found = found == READ_GOOD ? READ_NOT_REACHED : found;
    }
    pg_rows_destroy(rows);
    return found;
}

/* Whether each database owns what it is asked for, and its log has reached the consistency tokens (I9); a
 * replica's may not have. */
static enum read_failure team_reaches(struct team *team, const struct question *question)
{
    enum read_failure found = READ_GOOD;
    for (size_t i = 0; found == READ_GOOD && i < team->count; i++)
        found = asker_reaches(&team->askers[i], question);
    return found;
}

/* --- lists of events --- */

static bool write_event(struct buf *out, const struct pg_rows *rows, int row, struct event *ret_last)
{
    struct arena arena;
    struct event event;
    arena_init(&arena, ARENA_BYTES);
    bool good = event_log_row(rows, row, 0, &arena, &event) == CODEC_OK;
    if (good) {
        event_write_history_json(out, &event);
        *ret_last = (struct event){
            .slice = event.slice, .position = event.position, .recorded_at_us = event.recorded_at_us};
    }
    arena_deinit(&arena);
    return good;
}

static bool is_newer(const struct pg_rows *a, int i, const struct pg_rows *b, int j)
{
    enum { SLICE = LOG_COLUMN_COUNT - 1 };
    int64_t at = pg_time(a, i, LOG_COLUMN_RECORDED_AT), other_at = pg_time(b, j, LOG_COLUMN_RECORDED_AT);
    return at != other_at ? at > other_at : pg_i64(a, i, SLICE) > pg_i64(b, j, SLICE);
}

/* Rows of one shard in their order; those of several newest first, as each has them. */
static bool write_events(struct buf *out, struct pg_rows *const *rows, size_t count, int64_t limit,
                         struct event *ret_last)
{
    int taken[SHARDS_MAX] = {0};
    bool good = true;
    for (int64_t written = 0; good && written < limit; written++) {
        size_t next = count;
        for (size_t i = 0; i < count; i++)
            if (taken[i] < pg_rows_count(rows[i]) &&
                (next == count || is_newer(rows[i], taken[i], rows[next], taken[next])))
                next = i;
        if (next == count)
            break;
        good = write_event(out, rows[next], taken[next]++, ret_last);
    }
    return good;
}

static void close_list(struct buf *out, const struct question *question, const struct event *last, bool more)
{
    struct cursor next = {.kind = CURSOR_NONE};
    json_close(out, ']');
    if (more && question->kind == HISTORY_AUDIT)
        next = (struct cursor){.kind = CURSOR_AUDIT,
                               .time_us = last->recorded_at_us,
                               .slice = last->slice,
                               .number = last->position};
    else if (more)
        next = (struct cursor){.kind = CURSOR_HISTORY, .number = last->position};
    render_cursor(out, &question->query, &next);
    json_close(out, '}');
}

/* One page; `first` is the event before the list, or NULL. Takes the rows. */
static enum outcome write_list(struct question *question, const struct pg_rows *first,
                               struct pg_rows *const *rows, size_t count)
{
    struct buf *out = http_reply_body(question->request);
    const int64_t limit = question->query.limit;
    int64_t found = 0;
    struct event last = {0};
    json_open(out, NULL, '{');
    json_open(out, "items", '[');
    bool good = (!first || write_event(out, first, 0, &last)) && write_events(out, rows, count, limit, &last);
    for (size_t i = 0; i < count; i++) {
        found += pg_rows_count(rows[i]);
        pg_rows_destroy(rows[i]);
    }
    close_list(out, question, &last, found > limit);
    return good ? OUTCOME_GOOD : OUTCOME_FAILED;
}

static enum outcome answer_list(struct asker *asker, struct question *question, enum statement statement,
                                const struct pg_rows *first)
{
    struct pg_rows *rows;
    if (call(asker, statement, question->item.deadline_us, &rows) != PG_OK)
        return OUTCOME_FAILED;
    return write_list(question, first, &rows, 1);
}

static enum outcome answer_coupon(struct asker *asker, struct question *question)
{
    const struct query *query = &question->query;
    struct pg_rows *issue;
    struct buf id;
    begin(asker);
    pg_arg_i16(&asker->args, query->coupon.slice);
    pg_arg_i64(&asker->args, query->coupon.position);
    if (call(asker, SQL_ISSUE, question->item.deadline_us, &issue) != PG_OK)
        return OUTCOME_FAILED;
    enum outcome outcome = OUTCOME_NO_COUPON;
    if (pg_rows_count(issue) == 1) {
        bool more = query->after.kind != CURSOR_NONE;
        buf_init(&id, COUPON_ID_MAX);
        coupon_id_write(&id, query->coupon);
        begin(asker);
        pg_arg_i16(&asker->args, query->coupon.slice);
        pg_arg_bytes(&asker->args, buf_span(&id));
        pg_arg_i64(&asker->args, more ? query->after.number : query->coupon.position);
        pg_arg_i64(&asker->args, query->limit + 1);
        outcome = answer_list(asker, question, SQL_COUPON, more ? NULL : issue);
        buf_deinit(&id);
    }
    pg_rows_destroy(issue);
    return outcome;
}

static void campaign_args(struct asker *asker, const struct query *query)
{
    begin(asker);
    pg_arg_i16(&asker->args, slice_of(query->campaign_id));
    pg_arg_bytes(&asker->args, query->campaign_id);
}

static enum outcome answer_campaign(struct asker *asker, struct question *question)
{
    const struct query *query = &question->query;
    struct pg_rows *rows;
    campaign_args(asker, query);
    if (call(asker, SQL_EXISTS, question->item.deadline_us, &rows) != PG_OK)
        return OUTCOME_FAILED;
    bool exists = pg_rows_count(rows) > 0;
    pg_rows_destroy(rows);
    if (!exists)
        return OUTCOME_NO_CAMPAIGN;
    campaign_args(asker, query);
    pg_arg_i64(&asker->args, query->after.kind == CURSOR_NONE ? 0 : query->after.number);
    pg_arg_i64(&asker->args, query->limit + 1);
    return answer_list(asker, question, SQL_CAMPAIGN, NULL);
}

static void audit_args(struct asker *asker, const struct question *question)
{
    const struct cursor *after = &question->query.after;
    bool first = after->kind == CURSOR_NONE;
    begin(asker);
    /* As far in the future as the type of the column goes comfortably: the year 9999. */
    pg_arg_time(&asker->args, first ? INT64_C(253402300799000000) : after->time_us);
    pg_arg_i16(&asker->args, first ? SLICE_COUNT : after->slice);
    pg_arg_i64(&asker->args, first ? INT64_MAX : after->number);
    pg_arg_i64(&asker->args, question->query.limit + 1);
    slices_arg(&asker->args, asker->shard->slices);
}

static enum outcome answer_audit(struct team *team, struct question *question)
{
    struct pg_rows *rows[SHARDS_MAX] = {NULL};
    bool read = true;
    for (size_t i = 0; read && i < team->count; i++) {
        audit_args(&team->askers[i], question);
        read = call(&team->askers[i], SQL_AUDIT, question->item.deadline_us, &rows[i]) == PG_OK;
    }
    if (read)
        return write_list(question, NULL, rows, team->count);
    for (size_t i = 0; i < team->count; i++)
        pg_rows_destroy(rows[i]);
    return OUTCOME_FAILED;
}

/* --- the decision --- */

static struct read *fold(struct asker *asker, const struct question *question, enum query_kind kind,
                         struct position at)
{
    struct read *read = read_create(kind, question->query.now_us);
    read->query.campaign_id = query_keep(&read->query, question->query.campaign_id);
    read->item.deadline_us = question->item.deadline_us;
    if (kind == QUERY_CAMPAIGN)
        read->query.past = (struct past){.kind = PAST_POSITION, .at = at};
    else
        read->query.user_id = query_keep(&read->query, question->query.user_id);
    store_reader_run(asker->reader, read);
    return read;
}

/* Where the moment is in the slice's log; position 0: before everything. */
static enum outcome find_moment(struct asker *asker, const struct question *question, struct position *ret)
{
    const struct query *query = &question->query;
    struct pg_rows *rows;
    if (query->past.kind == PAST_POSITION) {
        *ret = query->past.at;
        return OUTCOME_GOOD;
    }
    begin(asker);
    pg_arg_i16(&asker->args, slice_of(query->campaign_id));
    pg_arg_time(&asker->args, query->now_us); /* the instant that is asked for */
    if (call(asker, SQL_MOMENT, question->item.deadline_us, &rows) != PG_OK)
        return OUTCOME_FAILED;
    *ret = (struct position){slice_of(query->campaign_id), pg_rows_count(rows) ? pg_i64(rows, 0, 0) : 0};
    pg_rows_destroy(rows);
    return OUTCOME_GOOD;
}

static int64_t held_by(const struct read *read, struct position at)
{
    int64_t held = 0;
    for (size_t i = 0; i < read->answer.coupons_count; i++)
        held += read->answer.coupons[i].at.position <= at.position;
    return held;
}

/* A read that did not go well answers the request itself, and false comes back. */
static bool is_good(struct question *question, const struct read *read)
{
    if (read->failure == READ_GOOD)
        return true;
    respond_failure(question->request, read->failure);
    question->request = NULL;
    return false;
}

static enum outcome answer_decision(struct asker *asker, struct question *question)
{
    struct position at;
    struct read *campaign = NULL, *user = NULL;
    enum outcome outcome = find_moment(asker, question, &at);
    if (outcome != OUTCOME_GOOD)
        return outcome;
    user = fold(asker, question, QUERY_USER_IN_CAMPAIGN, at);
    if (at.position > 0 && is_good(question, user))
        campaign = fold(asker, question, QUERY_CAMPAIGN, at);
    bool good = question->request && (campaign ? is_good(question, campaign) : is_good(question, user));
    if (good && user->answer.outcome != ANSWER_FOUND) {
        outcome = OUTCOME_NO_CAMPAIGN; /* there is none to this day */
    } else if (good) {
        bool there = campaign && campaign->answer.outcome == ANSWER_FOUND;
        bool placed = question->query.past.kind == PAST_POSITION && campaign;
        decision_write(
            http_reply_body(question->request),
            &(struct decision_facts){.campaign_id = question->query.campaign_id,
                                     .user_id = question->query.user_id,
                                     .campaign = there ? &campaign->answer.campaigns[0] : NULL,
                                     .held = held_by(user, at),
                                     .at = at,
                                     .as_of_us = placed ? campaign->query.now_us : question->query.now_us});
    }
    read_destroy(campaign);
    read_destroy(user);
    return outcome;
}

/* --- the coupons of an order --- */

static enum outcome answer_order(struct team *team, struct question *question)
{
    const struct query *asked = &question->query;
    struct read *read = read_create(QUERY_ORDER_COUPONS, asked->now_us);
    read->query.order_id = query_keep(&read->query, asked->order_id);
    read->query.limit = asked->limit;
    read->query.after = asked->after;
    read->item.deadline_us = question->item.deadline_us;
    for (size_t i = 0; i < team->count; i++)
        store_reader_run(team->askers[i].reader, read_add_part(read));
    read_join(read);
    if (read->failure == READ_GOOD)
        store_reader_cut(read);
    if (is_good(question, read))
        render_answer(http_reply_body(question->request), &read->query, &read->answer,
                      team->askers[0].code_key);
    read_destroy(read);
    return OUTCOME_GOOD;
}

/* --- one question --- */

static enum outcome answer(struct team *team, struct question *question)
{
    struct asker *asker = &team->askers[0]; /* of the only shard, but where all are asked */
    switch (question->kind) {
    case HISTORY_COUPON:
        return answer_coupon(asker, question);
    case HISTORY_CAMPAIGN:
        return answer_campaign(asker, question);
    case HISTORY_AUDIT:
        return answer_audit(team, question);
    case HISTORY_ORDER:
        return answer_order(team, question);
    case HISTORY_DECISION:
        return answer_decision(asker, question);
    }
    UNREACHABLE("every kind has a case");
}

static void finish(struct question *question, enum outcome outcome)
{
    struct http_request *request = question->request;
    if (!request)
        return; /* answered already */
    switch (outcome) {
    case OUTCOME_GOOD:
        http_add_header(request, "Cache-Control", SPAN("no-store"));
        http_reply(request, 200);
        return;
    case OUTCOME_NO_CAMPAIGN:
        respond_problem(request, &(struct problem_detail){.problem = &problem_unknown_campaign});
        return;
    case OUTCOME_NO_COUPON:
        respond_problem(request, &(struct problem_detail){.problem = &problem_unknown_coupon});
        return;
    case OUTCOME_FAILED:
        respond_failure(request, READ_UNAVAILABLE);
        return;
    }
}

static void run(struct team *team, struct question *question)
{
    int64_t now_us = clock_mono_us();
    int64_t own_us = clock_deadline_us(team->askers[0].timeout_ms + CLIENT_SPARE_MS);
    if (own_us < question->item.deadline_us)
        question->item.deadline_us = own_us;
    enum read_failure reached =
        now_us >= question->item.deadline_us ? READ_UNAVAILABLE : team_reaches(team, question);
    if (reached != READ_GOOD)
        respond_failure(question->request, reached);
    else
        finish(question, answer(team, question));
    question_destroy(question);
}

static void work(void *state, struct work_item *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        run(state, (struct question *)items[i]);
}

/* Nobody got to it in time. */
static void expire(void *context, struct work_item *item)
{
    struct question *question = (struct question *)item;
    (void)context;
    respond_failure(question->request, READ_UNAVAILABLE);
    question_destroy(question);
}

static void asker_init(struct asker *asker, const struct shard *shard, const struct history_options *options)
{
    breaker_init(&asker->breaker);
    asker->shard = shard;
    asker->timeout_ms = options->timeout_ms;
    asker->code_key = options->code_key;
    asker->pg = pg_create(&(struct pg_options){
        .url = shard->url,
        .role = "firstcome_query",
        .application = "firstcome query history",
        .schema = SCHEMA_MIN,
        .statement_timeout_ms = options->timeout_ms,
        .lock_timeout_ms = options->timeout_ms,
        .idle_in_transaction_timeout_ms = options->timeout_ms,
        .snapshot = true,
        .statements = statements,
        .statements_count = SQL_COUNT,
    });
    pg_args_init(&asker->args);
    asker->reader =
        store_reader_create(&(struct store_reader_options){.shard = shard,
                                                           .timeout_ms = options->timeout_ms,
                                                           .past_events_max = options->past_events_max,
                                                           .breaker = &asker->breaker});
}

static void team_init(struct history *history, const struct shard *shards, size_t count,
                      const struct history_options *options)
{
    struct team *team = &history->teams[history->count++];
    void *state[] = {team};
    team->count = count;
    for (size_t i = 0; i < count; i++)
        asker_init(&team->askers[i], &shards[i], options);
    team->pool = pool_create(&(struct pool_options){.name = "history",
                                                    .threads = 1,
                                                    .items_max = QUEUE_MAX,
                                                    .batch_max = 1,
                                                    .state = state,
                                                    .work = work,
                                                    .expire = expire});
}

struct history *history_create(const struct history_options *options)
{
    struct history *history = mem_zalloc(sizeof *history);
    const struct shards *shards = options->shards;
    history->shards = shards;
    for (size_t i = 0; i < shards->count; i++)
        team_init(history, &shards->list[i], 1, options);
    if (shards->count > 1) /* where there is one, its team is that of all */
        team_init(history, shards->list, shards->count, options);
    return history;
}

void history_start(struct history *history)
{
    for (size_t i = 0; i < history->count; i++)
        pool_start(history->teams[i].pool);
}

void history_stop(struct history *history)
{
    for (size_t i = 0; i < history->count; i++)
        pool_stop(history->teams[i].pool);
}

void history_destroy(struct history *history)
{
    for (size_t i = 0; history && i < history->count; i++) {
        struct team *team = &history->teams[i];
        pool_destroy(team->pool);
        for (size_t at = 0; at < team->count; at++) {
            struct asker *asker = &team->askers[at];
            store_reader_destroy(asker->reader);
            pg_destroy(asker->pg);
            pg_args_deinit(&asker->args);
            breaker_deinit(&asker->breaker);
        }
    }
    mem_free(history);
}

static struct team *team_of(struct history *history, const struct question *question)
{
    const struct shards *shards = history->shards;
    switch (question->kind) {
    case HISTORY_COUPON:
        return &history->teams[shards->of[question->query.coupon.slice]];
    case HISTORY_CAMPAIGN:
    case HISTORY_DECISION:
        return &history->teams[shards->of[slice_of(question->query.campaign_id)]];
    case HISTORY_AUDIT:
    case HISTORY_ORDER:
        break;
    }
    return &history->teams[history->count - 1];
}

void history_submit(struct history *history, struct http_request *request, struct question *question)
{
    question->request = request;
    http_defer(request);
    if (pool_submit(team_of(history, question)->pool, &question->item))
        return;
    respond_failure(request, READ_OVERLOADED);
    question_destroy(question);
}
