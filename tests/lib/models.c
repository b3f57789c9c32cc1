/* SPDX-License-Identifier: Apache-2.0 */
/* Writing logs and reading models for tests. */
#include "tests/lib/models.h"

#include <unistd.h>

#include "common/base/mem.h"
#include "events/codec.h"
#include "readmodel/campaign_record.h"
#include "readmodel/keys.h"
#include "tests/lib/redis_kit.h"
#include "tests/lib/wait.h"

enum {
    PATIENCE_MS = 120000,
    CURRENT_MS = 120000,
    CAMPAIGN_QUANTITY = 1000000,
    DUMP_MAX = 64 * 1024 * 1024,
};

enum { SQL_APPEND, SQL_REDEEM, SQL_HEADS, SQL_COUNT };

/* One statement, so one transaction; positions are handed out under the slice's row lock. */
static const struct pg_statement statements[SQL_COUNT] = {
    [SQL_APPEND] =
        {"append",
         "WITH s AS (UPDATE slice SET head = head + cardinality($4::bytea[]),"
         "   recorded_at = greatest(recorded_at, clock_timestamp())"
         "   WHERE slice = $1::smallint RETURNING head - cardinality($4::bytea[]) AS before, recorded_at, "
         "secret)"
         " INSERT INTO event (slice, position, type, version, campaign_id, user_id, nth, recorded_at, data,"
         " holder)"
         " SELECT $1::smallint, s.before + e.n, $2::smallint, 1, $3::text, e.user_id,"
         "   CASE WHEN e.user_id IS NULL THEN NULL ELSE 1 END, s.recorded_at, e.data,"
         "   holder_of(s.secret, e.user_id, $3::text, 1)"
         " FROM s, unnest($4::bytea[], $5::text[]) WITH ORDINALITY AS e(data, user_id, n)"},
    [SQL_REDEEM] =
        {"redeem",
         "WITH c AS (SELECT position, campaign_id, user_id, row_number() OVER (ORDER BY position) AS n"
         "   FROM event WHERE slice = $1::smallint AND campaign_id = $2::text AND type = 6),"
         " s AS (UPDATE slice SET head = head + (SELECT count(*) FROM c),"
         "   recorded_at = greatest(recorded_at, clock_timestamp()) WHERE slice = $1::smallint"
         "   RETURNING head - (SELECT count(*) FROM c) AS before, recorded_at)"
         " INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id,"
         "   recorded_at, data)"
         " SELECT $1::smallint, s.before + c.n, 11, 1, c.campaign_id, c.user_id,"
         "   'c' || $1 || '-' || c.position, s.recorded_at, $3::bytea FROM s, c"},
    [SQL_HEADS] = {"heads", "SELECT head FROM slice ORDER BY slice"},
};

void models_open(struct models *models, struct stack *stack)
{
    *models = (struct models){.stack = stack};
    models->pg = pg_create(&(struct pg_options){
        .url = stack_env(stack, "DATABASE_URL"),
        .application = "test models",
        .statements = statements,
        .statements_count = SQL_COUNT,
    });
    models->redis = redis_kit_create(stack_env(stack, "REDIS_URL"));
}

void models_close(struct models *models)
{
    pg_destroy(models->pg);
    redis_destroy(models->redis);
}

/* --- the log --- */

static struct pg_rows *call_store(struct models *models, size_t statement, const struct pg_args *args)
{
    struct pg_rows *rows;
    int64_t deadline_us = clock_deadline_us(PATIENCE_MS);
    if (!pg_connected(models->pg) && pg_connect(models->pg, deadline_us) != PG_OK)
        fail_msg("%s", pg_error(models->pg));
    if (pg_call(models->pg, statement, args, deadline_us, &rows) != PG_OK)
        fail_msg("%s", pg_error(models->pg));
    return rows;
}

int16_t models_slice(const struct models *models, size_t campaign)
{
    return slice_of(span_of(models->campaigns[campaign].id));
}

/* Events of one type; `make` fills payload and user of the i-th. */
struct append {
    int type, count;
    void (*make)(const struct models *models, size_t campaign, int i, struct event *ret, struct buf *user);
    int64_t number;
};

static void encode_all(const struct models *models, size_t campaign, const struct append *what,
                       struct pg_args *args)
{
    struct buf data, user;
    buf_init(&data, EVENT_DATA_MAX);
    buf_init(&user, USER_ID_MAX);
    for (int users = 0; users < 2; users++) {
        pg_array_begin(args, users ? PG_TEXT : PG_BYTEA);
        for (int i = 0; i < what->count; i++) {
            struct event event = {.type = (enum event_type)what->type};
            buf_clear(&data), buf_clear(&user);
            what->make(models, campaign, i, &event, &user);
            event_encode(&event, &data);
            struct span none = {0};
            pg_array_bytes(args, !users ? buf_span(&data) : user.len ? buf_span(&user) : none);
        }
        pg_array_end(args);
    }
    buf_deinit(&data);
    buf_deinit(&user);
}

static void append(struct models *models, size_t campaign, int as_type, const struct append *what)
{
    struct pg_args args;
    pg_args_init(&args);
    pg_arg_i16(&args, models_slice(models, campaign));
    pg_arg_i16(&args, (int16_t)as_type);
    pg_arg_bytes(&args, span_of(models->campaigns[campaign].id));
    encode_all(models, campaign, what, &args);
    pg_rows_destroy(call_store(models, SQL_APPEND, &args));
    pg_args_deinit(&args);
}

static void make_created(const struct models *models, size_t campaign, int i, struct event *ret,
                         struct buf *user)
{
    (void)models, (void)campaign, (void)i, (void)user;
    ret->campaign_created = (struct campaign_created){
        .name = SPAN("test"),
        .discount_value = 10,
        .currency = SPAN("EUR"),
        .quantity = CAMPAIGN_QUANTITY,
        .released = CAMPAIGN_QUANTITY / 2,
        .per_user_limit = 1,
    };
}

static void make_issued(const struct models *models, size_t campaign, int i, struct event *ret,
                        struct buf *user)
{
    int64_t sequence = models->campaigns[campaign].issued + 1 + i;
    ret->coupon_issued = (struct coupon_issued){.sequence = sequence, .nth = 1};
    buf_printf(user, "%s%lld", models->users ? models->users : "user-", (long long)sequence);
}

static int64_t released_quantity;

static void make_released(const struct models *models, size_t campaign, int i, struct event *ret,
                          struct buf *user)
{
    (void)models, (void)campaign, (void)i, (void)user;
    ret->stock_released = (struct stock_released){.quantity = released_quantity};
}

static void make_plain(const struct models *models, size_t campaign, int i, struct event *ret,
                       struct buf *user)
{
    (void)models, (void)campaign, (void)i, (void)ret, (void)user;
}

size_t models_create(struct models *models)
{
    size_t campaign = models->campaigns_count++;
    assert_true(campaign < MODELS_CAMPAIGNS_MAX);
    snprintf(models->campaigns[campaign].id, sizeof models->campaigns[campaign].id, "campaign-%d-%zu",
             (int)getpid(), campaign);
    append(models, campaign, EVENT_CampaignCreated,
           &(struct append){.type = EVENT_CampaignCreated, .count = 1, .make = make_created});
    return campaign;
}

void models_issue(struct models *models, size_t campaign, int count)
{
    append(models, campaign, EVENT_CouponIssued,
           &(struct append){.type = EVENT_CouponIssued, .count = count, .make = make_issued});
    models->campaigns[campaign].issued += count;
}

void models_redeem(struct models *models, size_t campaign)
{
    struct event event = {.type = EVENT_CouponRedeemed,
                          .coupon_redeemed = {.order_id = SPAN("6f1c2d3e-4b5a-4978-8a9b-0c1d2e3f4a5b"),
                                              .order_amount = 123456,
                                              .discount_amount = 12345}};
    struct pg_args args;
    struct buf data;
    buf_init(&data, EVENT_DATA_MAX);
    event_encode(&event, &data);
    pg_args_init(&args);
    pg_arg_i16(&args, models_slice(models, campaign));
    pg_arg_bytes(&args, span_of(models->campaigns[campaign].id));
    pg_arg_bytes(&args, buf_span(&data));
    pg_rows_destroy(call_store(models, SQL_REDEEM, &args));
    pg_args_deinit(&args);
    buf_deinit(&data);
}

void models_release(struct models *models, size_t campaign, int64_t quantity)
{
    released_quantity = quantity;
    append(models, campaign, EVENT_StockReleased,
           &(struct append){.type = EVENT_StockReleased, .count = 1, .make = make_released});
}

void models_close_campaign(struct models *models, size_t campaign)
{
    append(models, campaign, EVENT_CampaignClosed,
           &(struct append){.type = EVENT_CampaignClosed, .count = 1, .make = make_plain});
}

void models_poison(struct models *models, size_t campaign)
{
    append(models, campaign, INT16_MAX,
           &(struct append){.type = EVENT_CampaignPaused, .count = 1, .make = make_plain});
}

/* --- Redis --- */

static void send_words(struct models *models, const char *const *words)
{
    int64_t deadline_us = clock_deadline_us(PATIENCE_MS);
    if (!redis_connected(models->redis) && redis_connect(models->redis, deadline_us) != REDIS_OK)
        fail_msg("redis: %s", redis_error(models->redis));
    redis_kit_send(models->redis, words);
}

/* Where Redis is killed or another becomes the primary, a connection may end between any two calls; it is
 * asked once more on a new one. */
const struct redis_reply *models_call(struct models *models, const char *const *words)
{
    const struct redis_reply *reply;
    send_words(models, words);
    if (redis_receive(models->redis, clock_deadline_us(PATIENCE_MS), &reply) == REDIS_OK)
        return reply;
    send_words(models, words);
    return redis_kit_receive(models->redis);
}

int64_t models_info(struct models *models, const char *name)
{
    int64_t value = -1;
    for (struct span rest = redis_text(MODELS_CALL(models, "INFO")); rest.ptr && rest.len > 0;) {
        struct span line = span_cut(&rest, '\n'), is = span_cut(&line, ':'), number = span_cut(&line, '\r');
        if (span_is(is, name))
            assert_true(parse_i64(number, 0, INT64_MAX, &value));
    }
    assert_true(value >= 0); /* it has that name */
    return value;
}

int64_t models_checkpoint(struct models *models, int16_t slice, const char *field)
{
    char key[48];
    int64_t value = -1;
    snprintf(key, sizeof key, "fc:{%d}", slice);
    struct span text = redis_text(MODELS_CALL(models, "HGET", key, field));
    if (text.ptr)
        assert_true(parse_i64(text, INT64_MIN, INT64_MAX, &value));
    return value;
}

int64_t models_generation(struct models *models, int16_t slice)
{
    return models_checkpoint(models, slice, "generation");
}

const char *models_key(struct models *models, int16_t slice, const char *rest)
{
    static char keys[4][256];
    static size_t turn;
    char *key = keys[turn++ % COUNT_OF(keys)];
    snprintf(key, sizeof keys[0], "fc:%lld:{%d}:%s", (long long)models_generation(models, slice), slice,
             rest);
    return key;
}

bool models_campaign(struct models *models, int16_t slice, const char *id, struct campaign_record *ret)
{
    static struct arena lists;
    char rest[128];
    snprintf(rest, sizeof rest, "c:%s", id);
    arena_deinit(&lists);
    arena_init(&lists, 1 << 20);
    struct span bytes = redis_text(MODELS_CALL(models, "GET", models_key(models, slice, rest)));
    return bytes.ptr && campaign_record_decode(span_of(id), bytes, ret) &&
           campaign_record_define(ret, &lists);
}

bool models_current(struct models *models)
{
    bool current = true;
    struct pg_rows *rows = call_store(models, SQL_HEADS, NULL);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        current = current && models_checkpoint(models, slice, "pos") == pg_i64(rows, slice, 0) &&
                  models_checkpoint(models, slice, "behind") == 0;
    pg_rows_destroy(rows);
    return current;
}

void models_await_current(struct models *models)
{
    WAIT_UNTIL(models_current(models), CURRENT_MS);
}

/* --- dumping --- */

struct lines {
    char **items;
    size_t count, capacity;
};

static void add_line(struct lines *lines, struct buf *text)
{
    if (lines->count == lines->capacity) {
        lines->capacity = lines->capacity ? 2 * lines->capacity : 256;
        lines->items = mem_realloc(lines->items, lines->capacity * sizeof *lines->items);
    }
    lines->items[lines->count++] = mem_strdup(text->data);
    buf_clear(text);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void end_lines(struct lines *lines, struct buf *out)
{
    qsort(lines->items, lines->count, sizeof *lines->items, compare_lines);
    for (size_t i = 0; i < lines->count; i++) {
        buf_append_text(out, lines->items[i]);
        buf_append_char(out, '\n');
        mem_free(lines->items[i]);
    }
    mem_free(lines->items);
}

/* SCAN may name a key twice. */
static void drop_doubles(struct lines *sorted)
{
    size_t kept = 0;
    for (size_t i = 0; i < sorted->count; i++)
        if (kept > 0 && strcmp(sorted->items[kept - 1], sorted->items[i]) == 0)
            mem_free(sorted->items[i]);
        else
            sorted->items[kept++] = sorted->items[i];
    sorted->count = kept;
}

/* What projector and readers tell each other, which comes and goes. */
static bool is_word(struct span key)
{
    (void)span_cut(&key, '}');
    return span_is(key, ":heartbeat") || span_is(key, ":hole");
}

static void collect_keys(struct models *models, struct lines *keys)
{
    char cursor[24] = "0";
    struct buf text;
    buf_init(&text, KEY_TEXT_MAX);
    do {
        const struct redis_reply *page =
            MODELS_CALL(models, "SCAN", cursor, "COUNT", "1000", "MATCH", "fc:*");
        const struct redis_reply *found = redis_at(page, 1);
        struct span next = redis_text(redis_at(page, 0));
        snprintf(cursor, sizeof cursor, "%.*s", SPAN_ARG(next));
        for (size_t i = 0; i < redis_length(found); i++) {
            if (is_word(redis_text(redis_at(found, i))))
                continue;
            buf_append_span(&text, redis_text(redis_at(found, i)));
            add_line(keys, &text);
        }
    } while (strcmp(cursor, "0") != 0);
    qsort(keys->items, keys->count, sizeof *keys->items, compare_lines);
    drop_doubles(keys);
    buf_deinit(&text);
}

/* What kind of key it is, is in the registry; here by what comes after "fc:<g>:{<slice>}:". */
static void send_read(struct models *models, const char *key)
{
    const char *rest = strstr(key, "}:");
    if (rest && (strncmp(rest, "}:c:", 4) == 0 || strncmp(rest, "}:p:", 4) == 0 ||
                 strncmp(rest, "}:h:", 4) == 0 || strncmp(rest, "}:u:", 4) == 0))
        send_words(models, (const char *[]){"GET", key, NULL});
    else if (!rest && !strchr(key, '{'))
        send_words(models, (const char *[]){"TYPE", key, NULL});
    else if (!rest)
        send_words(models, (const char *[]){"HGETALL", key, NULL});
    else if (strcmp(rest, "}:cs") == 0 || strncmp(rest, "}:r:", 4) == 0 || strncmp(rest, "}:a:", 4) == 0)
        send_words(models, (const char *[]){"ZRANGE", key, "0", "-1", "WITHSCORES", NULL});
    else
        send_words(models, (const char *[]){"HGETALL", key, NULL});
}

/* Without the generation: models of two generations are to be compared. */
static const char *without_generation(const char *key)
{
    const char *rest = strstr(key, ":{");
    return rest ? rest : key;
}

static bool compared(const char *key, struct span field)
{
    size_t len = strlen(key);
    bool root = len > 1 && key[len - 1] == '}';
    return !root || !(span_is(field, "epoch") || span_is(field, "generation") || span_is(field, "chain") ||
                      span_is(field, "chain_at"));
}

/* Some members are bytes, which are no line. */
static void put_field(struct buf *out, struct span field)
{
    if (text_has_control(field) || !utf8_valid(field))
        hex_encode(out, field.ptr, field.len);
    else
        buf_append_span(out, field);
}

static void add_content(struct lines *lines, const char *key, const struct redis_reply *reply)
{
    struct buf text;
    if (!strchr(key, '{'))
        return; /* of no slice */
    buf_init(&text, 64 * 1024);
    if (redis_text(reply).ptr) {
        buf_printf(&text, "%s = ", key);
        hex_encode(&text, redis_text(reply).ptr, redis_text(reply).len);
        add_line(lines, &text);
    }
    for (size_t i = 0; i + 1 < redis_length(reply); i += 2) {
        struct span field = redis_text(redis_at(reply, i)), value = redis_text(redis_at(reply, i + 1));
        if (!compared(key, field))
            continue;
        buf_printf(&text, "%s ", key);
        put_field(&text, field);
        buf_append_text(&text, " = ");
        hex_encode(&text, value.ptr, value.len);
        add_line(lines, &text);
    }
    assert_false(text.overflow);
    buf_deinit(&text);
}

/* The first line that differs; whole dumps are too long to be looked at. */
static void assert_same(struct span found, struct span fresh)
{
    while (found.len > 0 || fresh.len > 0) {
        struct span is = span_cut(&found, '\n'), should = span_cut(&fresh, '\n');
        if (!span_equal(is, should))
            fail_msg("the models have\n  %.*s\nand a replay makes\n  %.*s", SPAN_ARG(is), SPAN_ARG(should));
    }
}

void models_assert_equal_the_log(struct models *models)
{
    struct buf found, fresh;
    buf_init(&found, DUMP_MAX);
    buf_init(&fresh, DUMP_MAX);
    models_await_current(models);
    models_dump(models, &found);
    MODELS_CALL(models, "FLUSHALL");
    models_await_current(models);
    models_dump(models, &fresh);
    assert_true(fresh.len > 0);
    assert_same(buf_span(&found), buf_span(&fresh));
    buf_deinit(&found);
    buf_deinit(&fresh);
}

/* Those of generations that are not live any more are nobody's, and about to be dropped. */
static void drop_former(struct models *models, struct lines *keys)
{
    int64_t live[SLICE_COUNT];
    size_t kept = 0;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        live[slice] = models_generation(models, slice);
    for (size_t i = 0; i < keys->count; i++) {
        struct span rest = span_of(keys->items[i]);
        int64_t generation, slice;
        (void)span_cut(&rest, ':');
        bool of_models = parse_i64(span_cut(&rest, ':'), 1, INT64_MAX, &generation) && rest.ptr &&
                         rest.len > 2 && rest.ptr[0] == '{';
        struct span number = span_cut(&rest, '}');
        if (of_models &&
            parse_i64((struct span){number.ptr + 1, number.len - 1}, 0, SLICE_COUNT - 1, &slice) &&
            generation != live[slice])
            mem_free(keys->items[i]);
        else
            keys->items[kept++] = keys->items[i];
    }
    keys->count = kept;
}

void models_dump(struct models *models, struct buf *out)
{
    struct lines keys = {0}, lines = {0};
    collect_keys(models, &keys);
    drop_former(models, &keys);
    for (size_t i = 0; i < keys.count; i++)
        send_read(models, keys.items[i]);
    for (size_t i = 0; i < keys.count; i++) {
        add_content(&lines, without_generation(keys.items[i]), redis_kit_receive(models->redis));
        mem_free(keys.items[i]);
    }
    mem_free(keys.items);
    end_lines(&lines, out);
    assert_false(out->overflow);
}
