/* SPDX-License-Identifier: Apache-2.0 */
/* All holders of a campaign as CSV: what is in it, that it is of one position of the log whatever happens
 * meanwhile, and what readers may do to the service that read slowly, leave, or are many. */
#include "tests/lib/wait.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/crypto.h"
#include "common/base/process.h"
#include "common/base/testing.h"
#include "tests/lib/cluster.h"
#include "tests/lib/instance.h"
#include "tests/lib/json_get.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum {
    HOLDERS = 220000,
    BATCH = 2000,
    PATH_BYTES = 512,
    EXPORT_MS = 120000,
    LINE_FIELDS = 15,
    PORT_OFFSET = 7,
    EXPORT_DEADLINE_MS = 2000,
    GROWTH_MAX = 24 << 20 /* of memory, whatever sanitizers need besides excluded */
};

static struct stack *stack;
static struct api_client api;
static const char *const as_csv[] = {"Accept: text/csv", NULL};
static char crowd[80]; /* the campaign of HOLDERS holders */
static int crowd_slice;

/* --- asking --- */

static struct http_call csv_call(const char *path)
{
    return (struct http_call){
        .path = path, .token = stack_env(stack, "READ_TOKEN"), .headers = as_csv, .timeout_ms = EXPORT_MS};
}

static struct http_answer csv_of(struct http_client *client, const char *path)
{
    struct http_call call = csv_call(path);
    return api_ask(client, &call);
}

static const char *holders_path(const char *campaign, const char *query)
{
    static char path[PATH_BYTES];
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons%s", campaign, query);
    return path;
}

static void expect_header(const struct http_answer *answer, const char *name, const char *value)
{
    struct span is = http_answer_header(answer, name);
    if (!span_is(is, value))
        fail_msg("%s: %.*s, not %s", name, SPAN_ARG(is), value);
}

/* The position in Consistency-Token: "v1.<slice>.<position>". */
static int64_t position_of(const struct http_answer *answer, int *ret_slice)
{
    int64_t slice, position;
    struct span rest = http_answer_header(answer, "Consistency-Token");
    if (!span_is(span_cut(&rest, '.'), "v1"))
        fail_msg("%d without a position: %.*s", answer->status, SPAN_ARG(answer->body));
    assert_true(parse_i64(span_cut(&rest, '.'), 0, 15, &slice));
    assert_true(parse_i64(rest, 1, INT64_MAX, &position));
    *ret_slice = (int)slice;
    return position;
}

/* --- reading CSV --- */

/* The next line's fields, without quotes and doubled quotes, into `room`. False at the end. */
static bool next_line(struct span *rest, struct buf *room, struct span fields[LINE_FIELDS])
{
    size_t count = 0, at[LINE_FIELDS + 1] = {0};
    buf_clear(room);
    if (rest->len == 0)
        return false;
    for (size_t i = 0;;) {
        bool quoted = rest->ptr[i] == '"';
        for (i += quoted; i < rest->len; i++) {
            char c = rest->ptr[i];
            if (quoted && c == '"' && rest->ptr[i + 1] != '"')
                break;
            if (!quoted && (c == ',' || c == '\r'))
                break;
            i += quoted && c == '"';
            buf_append_char(room, c);
        }
        i += quoted;
        at[++count] = room->len;
        assert_true(count <= LINE_FIELDS && i < rest->len);
        if (rest->ptr[i] == ',') {
            i++;
            continue;
        }
        assert_true(rest->ptr[i] == '\r' && rest->ptr[i + 1] == '\n');
        *rest = (struct span){rest->ptr + i + 2, rest->len - i - 2};
        break;
    }
    assert_int_equal(count, LINE_FIELDS);
    for (size_t i = 0; i < count; i++)
        fields[i] = (struct span){room->data + at[i], at[i + 1] - at[i]};
    return true;
}

enum { SEQUENCE, USER, COUPON, CODE, STATUS, ISSUED_AT, EXPIRES_AT, ORDER, ORDER_AMOUNT, DISCOUNT };

static size_t lines_of(struct span text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == '\n';
    return count;
}

/* --- one small campaign --- */

static void act(const char *coupon, const char *verb, const char *body)
{
    api_expect(api_post(&api, textf("/v1/coupons/%s/%s", coupon, verb), body, NULL), 200, NULL);
}

static void give(const char *campaign, const char *user_json, char ret_coupon[40])
{
    char body[PATH_BYTES];
    snprintf(body, sizeof body, "{\"user_id\":%s}", user_json);
    struct http_answer answer =
        api_expect(api_post(&api, textf("/v1/campaigns/%s/coupons", campaign), body, NULL), 201, NULL);
    snprintf(ret_coupon, 40, "%.*s", SPAN_ARG(body_text(answer.body, "coupon_id")));
}

/* Each state, and texts that a spreadsheet or a careless reader would stumble over. */
static void it_says_what_the_list_says(void **)
{
    static const char *const users[] = {"\"kim\"",    "\"a,\\\"b\\\"\"", "\"=1+1\"", "\"+82 10\"",
                                        "\"-x\"",     "\"@home\"",       "\"'tis\"", "\"\\uff1dsum\"",
                                        "\"홍길동\"", "\" blank \""};
    static const char *const fields[] = {"kim",   "a,\"b\"",          "'=1+1",  "'+82 10", "'-x", "'@home",
                                         "''tis", "'\xEF\xBC\x9Dsum", "홍길동", " blank "};
    static const char *const statuses[] = {"redeemed", "reserved", "revoked", "issued"};
    char id[80], coupons[COUNT_OF(users)][40];
    snprintf(id, sizeof id, "%s", api_campaign(&api, 50, ""));
    for (size_t i = 0; i < COUNT_OF(users); i++)
        give(id, users[i], coupons[i]);
    act(coupons[0], "redeem", "{\"user_id\":\"kim\",\"order_id\":\"=o,1\",\"order_amount\":90000}");
    act(coupons[1], "reserve",
        "{\"user_id\":\"a,\\\"b\\\"\",\"order_id\":\"o2\",\"order_amount\":90000,\"ttl_seconds\":3600}");
    act(coupons[2], "revoke", "{\"reason\":\"twice, by mistake\"}");
    struct http_answer answer = api_expect(csv_of(api.query, holders_path(id, "")), 200, NULL);
    expect_header(&answer, "Content-Type", "text/csv; charset=utf-8; header=present");
    expect_header(&answer, "Vary", "Accept");
    expect_header(&answer, "Cache-Control", "no-store");
    struct span rest = answer.body, line[LINE_FIELDS];
    struct buf room;
    buf_init(&room, 4096);
    assert_true(span_starts(rest, SPAN("sequence,user_id,coupon_id,code,status,issued_at,expires_at,order_id,"
                                       "order_amount,discount_amount,reserved_until,redeemed_at,revoked_at,"
                                       "revoked_by,reason\r\n")));
    assert_true(next_line(&rest, &room, line));
    for (size_t i = 0; i < COUNT_OF(users); i++) {
        int64_t sequence;
        assert_true(next_line(&rest, &room, line));
        assert_true(parse_i64(line[SEQUENCE], 1, COUNT_OF(users), &sequence));
        assert_int_equal(sequence, i + 1);
        assert_span(line[USER], fields[i]);
        assert_span(line[COUPON], coupons[i]);
        assert_span(line[STATUS], statuses[i < 3 ? i : 3]);
        assert_span(line[ORDER], i == 0 ? "'=o,1" : i == 1 ? "o2" : "");
        assert_int_equal(line[DISCOUNT].len > 0, i < 2);
        assert_span(line[LINE_FIELDS - 1], i == 2 ? "twice, by mistake" : "");
        assert_span(line[LINE_FIELDS - 2], i == 2 ? "admin" : "");
    }
    assert_false(next_line(&rest, &room, line));
    buf_deinit(&room);
}

static void its_name_gives_it_again(void **)
{
    int slice;
    char id[80], coupon[40], query[64];
    snprintf(id, sizeof id, "%s", api_campaign(&api, 50, ""));
    give(id, "\"one\"", coupon);
    give(id, "\"two\"", coupon);
    struct http_answer answer = csv_of(api.query, holders_path(id, ""));
    int64_t position = position_of(&answer, &slice);
    expect_header(&answer, "Content-Disposition",
                  textf("attachment; filename=\"%s-%d-%lld.csv\"", id, slice, (long long)position));
    struct buf first;
    buf_init(&first, 1 << 20);
    buf_append_span(&first, answer.body);
    act(coupon, "revoke", "{\"reason\":\"x\"}");
    give(id, "\"three\"", coupon);
    snprintf(query, sizeof query, "?as_of=%d:%lld", slice, (long long)position);
    answer = csv_of(api.query, holders_path(id, query));
    assert_true(span_equal(answer.body, buf_span(&first)));
    snprintf(query, sizeof query, "?as_of=%d:%lld", slice, (long long)position - 1); /* before the second */
    answer = csv_of(api.query, holders_path(id, query));
    assert_int_equal(lines_of(answer.body), 2);
    api_expect(csv_of(api.query, holders_path(id, "?as_of=2020-01-01T00:00:00Z")), 404, "unknown-campaign");
    buf_deinit(&first);
}

static void what_it_cannot_give_it_refuses(void **)
{
    char id[80], query[64];
    int slice;
    snprintf(id, sizeof id, "%s", api_campaign(&api, 50, ""));
    struct http_answer answer = csv_of(api.query, holders_path(id, ""));
    assert_int_equal(lines_of(answer.body), 1); /* nobody: the names alone */
    int64_t position = position_of(&answer, &slice);
    snprintf(query, sizeof query, "?as_of=%d:%lld", slice, (long long)position + 1000000);
    answer = api_expect(csv_of(api.query, holders_path(id, query)), 400, "invalid-parameter");
    static const struct {
        const char *query, *problem;
        int status;
    } rows[] = {{"?limit=5", "invalid-parameter", 400},
                {"?cursor=x", "invalid-parameter", 400},
                {"?as_of=yesterday", "invalid-parameter", 400},
                {"?as_of=2100-01-01T00:00:00Z", "invalid-parameter", 400}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        api_expect(csv_of(api.query, holders_path(id, rows[i].query)), rows[i].status, rows[i].problem);
    api_expect(csv_of(api.query, holders_path("nobodys", "")), 404, "unknown-campaign");
    api_expect(csv_of(api.query, holders_path("Not-An-Id", "")), 400, "invalid-id");
    struct http_call call = csv_call(holders_path(id, ""));
    call.token = stack_env(stack, "ISSUE_TOKEN");
    api_expect(api_ask(api.query, &call), 403, "forbidden");
    char token[80];
    snprintf(token, sizeof token, "Consistency-Token: v1.%d.%lld", slice, (long long)position + 1000000);
    const char *const ahead[] = {"Accept: text/csv", token, NULL};
    call = csv_call(holders_path(id, ""));
    call.headers = ahead;
    api_expect(api_ask(api.query, &call), 503, "store-unavailable");
}

static void head_and_json_are_as_they_were(void **)
{
    struct http_call call = csv_call(holders_path(crowd, ""));
    call.method = "HEAD";
    struct http_answer answer = api_ask(api.query, &call);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.len, 0);
    int slice;
    assert_true(position_of(&answer, &slice) > HOLDERS);
    static const char *const both[] = {"Accept: application/json, text/csv;q=0.9", NULL};
    call = csv_call(holders_path(crowd, "?limit=1"));
    call.headers = both;
    answer = api_ask(api.query, &call);
    assert_true(span_starts(answer.body, SPAN("{\"items\":[")));
    expect_header(&answer, "Content-Type", "application/json");
    expect_header(&answer, "Vary", "Accept, Accept-Encoding");
}

/* --- the crowd --- */

static void issue_batch(struct http_client *client, size_t first, size_t count)
{
    struct buf body;
    char path[PATH_BYTES], key[64];
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons/batch", crowd);
    snprintf(key, sizeof key, "crowd-%zu", first);
    buf_init(&body, 2 << 20);
    buf_append_text(&body, "{\"user_ids\":[");
    for (size_t i = 0; i < count; i++)
        buf_printf(&body, "%s\"u%zu\"", i ? "," : "", first + i);
    buf_append_text(&body, "]}");
    api_insist(client,
               &(struct http_call){.method = "POST",
                                   .path = path,
                                   .token = stack_env(stack, "ISSUE_TOKEN"),
                                   .key = key,
                                   .body = body.data,
                                   .timeout_ms = EXPORT_MS},
               200);
    buf_deinit(&body);
}

/* Goes on issuing to the crowd, and revoking its coupons from the last one of before down. */
struct sale {
    pthread_t thread;
    atomic_bool stop;
    atomic_size_t revoked;
};

static void take_away(struct http_client *client, size_t number)
{
    char path[PATH_BYTES], key[64];
    snprintf(path, sizeof path, "/v1/coupons/c%d-%zu/revoke", crowd_slice, number);
    snprintf(key, sizeof key, "revoke-%zu", number);
    api_expect(API_ASK(client, .method = "POST", .path = path, .token = stack_env(stack, "ADMIN_TOKEN"),
                       .key = key, .body = "{\"reason\":\"x\"}", .timeout_ms = EXPORT_MS),
               200, NULL);
}

static void *sell(void *context)
{
    struct sale *sale = context;
    struct http_client *client = http_client_create(stack_env(stack, "COMMAND_URL"));
    for (size_t i = 0; !atomic_load(&sale->stop); i++) {
        issue_batch(client, HOLDERS + i * 50, 50);
        take_away(client, HOLDERS - i); /* of the crowd's coupons, whose positions begin at 2 */
        atomic_fetch_add(&sale->revoked, 1);
    }
    http_client_destroy(client);
    return NULL;
}

static int64_t hash_of(const struct buf *text)
{
    uint8_t hash[32];
    int64_t number = 0;
    crypto_sha256(buf_span(text), hash);
    for (size_t i = 0; i < 7; i++)
        number = number << 8 | hash[i];
    return number;
}

/* The same hash of what events up to a position have in a column, in the order of coupons. */
static int64_t hash_in_log(int type, const char *column, const char *order, int64_t position)
{
    return store_numberf(
        stack,
        "SELECT ('x' || left(encode(sha256(convert_to(coalesce(string_agg(%s || ' ', '' ORDER BY %s),"
        " ''), 'UTF8')), 'hex'), 14))::bit(56)::bigint FROM event WHERE slice = %d AND type = %d"
        " AND campaign_id = '%s' AND position <= %lld",
        column, order, crowd_slice, type, crowd, (long long)position);
}

/* Whether it has each holder that the log had at its position, in order, and as revoked those that were. */
static void expect_as_in_log(const struct http_answer *answer)
{
    int slice;
    int64_t position = position_of(answer, &slice);
    struct span rest = answer->body, line[LINE_FIELDS];
    struct buf room, users, revoked;
    assert_int_equal(slice, crowd_slice);
    buf_init(&room, 4096);
    buf_init(&users, 64 << 20);
    buf_init(&revoked, 64 << 20);
    assert_true(next_line(&rest, &room, line));
    while (next_line(&rest, &room, line)) {
        struct buf *lists[] = {&users, &revoked};
        bool is_revoked = span_is(line[STATUS], "revoked");
        assert_true(is_revoked || span_is(line[STATUS], "issued"));
        for (size_t i = 0; i < 1u + is_revoked; i++) {
            buf_append_span(lists[i], line[i ? COUPON : USER]);
            buf_append_char(lists[i], ' ');
        }
    }
    assert_true(hash_of(&users) == hash_in_log(6, "user_id", "position", position));
    assert_true(hash_of(&revoked) ==
                hash_in_log(15, "coupon_id", "split_part(coupon_id, '-', 2)::bigint", position));
    buf_deinit(&room);
    buf_deinit(&users);
    buf_deinit(&revoked);
}

static void it_is_of_one_position_while_issuing_goes_on(void **)
{
    struct sale sale = {.stop = false};
    struct http_answer answer;
    struct http_call call = csv_call(holders_path(crowd, ""));
    assert_int_equal(pthread_create(&sale.thread, NULL, sell, &sale), 0);
    WAIT_UNTIL(atomic_load(&sale.revoked) > 5, EXPORT_MS);
    assert_int_equal(http_client_begin(api.query, &call), HTTP_ANSWERED);
    WAIT_UNTIL(atomic_load(&sale.revoked) > 25, EXPORT_MS); /* it waits for its reader meanwhile */
    assert_int_equal(http_client_read(api.query, EXPORT_MS, &answer), HTTP_ANSWERED);
    expect_as_in_log(&answer);
    answer = csv_of(api.query, holders_path(crowd, "")); /* and as fast as it goes */
    expect_as_in_log(&answer);
    atomic_store(&sale.stop, true);
    pthread_join(sale.thread, NULL);
}

/* --- readers that are slow, or leave --- */

static struct instance *small; /* one export at once, and not for long */
static struct api_client small_api;

static void start_small(const char *const *environment)
{
    small = INSTANCE_START(stack, "query-service", "small", PORT_OFFSET, .environment = environment);
    instance_open_api(small, &small_api);
}

static void stop_small(void)
{
    api_close(&small_api);
    instance_destroy(small);
}

/* Begins one and reads no more than its beginning. Where the machine is too busy for the first page to come
 * within the deadlines of `small`, nothing has begun, and it is asked again. */
static struct http_client *begin_export(void)
{
    enum { TRIES = 30 };
    struct http_client *client = http_client_create(instance_url(small));
    struct http_call call = csv_call(holders_path(crowd, ""));
    struct http_answer answer;
    int status = 0;
    for (int i = 0; i < TRIES && status != 200; i++) {
        assert_int_equal(http_client_begin(client, &call), HTTP_ANSWERED);
        assert_int_equal(http_client_await_status(client, EXPORT_MS, &status), HTTP_ANSWERED);
        if (status == 200)
            break;
        assert_int_equal(http_client_read(client, EXPORT_MS, &answer), HTTP_ANSWERED);
        api_expect(answer, 503, "store-unavailable");
    }
    assert_int_equal(status, 200);
    assert_int_equal(reads_metric(&small_api, "coupon_exports_running"), 1);
    return client;
}

static void a_slow_reader_costs_others_nothing(void **)
{
    static const char *const one[] = {"FIRSTCOME_EXPORTS_MAX=1", NULL};
    start_small(one);
    csv_of(small_api.query, holders_path(crowd, "")); /* so that all it needs once is there */
    int64_t before = process_resident_bytes(instance_pid(small));
    struct http_client *slow = begin_export();
    struct http_answer answer =
        api_expect(csv_of(small_api.query, holders_path(crowd, "")), 503, "overloaded");
    assert_true(http_answer_header(&answer, "Retry-After").ptr != NULL);
    answer = api_get(&small_api, holders_path(crowd, "?limit=1"), NULL);
    assert_int_equal(answer.status, 200);
    assert_int_equal(http_client_read(slow, EXPORT_MS, &answer), HTTP_ANSWERED); /* whole, for all that */
    expect_as_in_log(&answer);
    WAIT_UNTIL(reads_metric(&small_api, "coupon_exports_running") == 0, EXPORT_MS);
    int64_t grown = process_resident_bytes(instance_pid(small)) - before;
    print_message("%lld KiB more for an answer of %zu KiB\n", (long long)grown >> 10, answer.body.len >> 10);
    assert_true((size_t)(grown > 0 ? grown : 0) < answer.body.len / 2);
    assert_int_equal(reads_metric(&small_api, "coupon_exports_total{end=\"complete\"}"), 2);
    assert_int_equal(reads_metric(&small_api, "coupon_exports_total{end=\"refused\"}"), 1);
    http_client_destroy(slow);
    stop_small();
}

static void its_time_ends_and_the_reader_sees_it(void **)
{
    static const char *const brief[] = {"FIRSTCOME_EXPORT_DEADLINE_MS=2000", NULL};
    struct http_answer answer;
    start_small(brief);
    struct http_client *slow = begin_export();
    WAIT_UNTIL(reads_metric(&small_api, "coupon_exports_total{end=\"broken\"}") == 1, EXPORT_MS);
    assert_int_equal(reads_metric(&small_api, "coupon_exports_running"), 0);
    assert_int_equal(http_client_read(slow, EXPORT_MS, &answer), HTTP_CLOSED);
    http_client_destroy(slow);
    stop_small();
}

static void who_leaves_makes_room(void **)
{
    static const char *const one[] = {"FIRSTCOME_EXPORTS_MAX=1", NULL};
    start_small(one);
    for (int i = 0; i < 3; i++) {
        http_client_destroy(begin_export());
        WAIT_UNTIL(reads_metric(&small_api, "coupon_exports_running") == 0, EXPORT_MS);
    }
    struct http_client *last = begin_export();
    instance_signal(small, SIGTERM); /* a service that is told to stop does not wait for who does not read */
    instance_await(small);
    http_client_destroy(last);
    stop_small();
}

/* Its connections are cut in between, or do not answer any more: a page is read again. */
static void it_lives_through_lost_connections(void **)
{
    static const char *const quick[] = {"FIRSTCOME_STORE_TIMEOUT_MS=4000", NULL};
    struct http_answer answer;
    start_small(quick);
    for (int i = 0; i < 2; i++) {
        struct http_client *slow = begin_export();
        if (i == 0)
            store_signal_backends(stack, "firstcome query export", SIGTERM);
        else
            store_freeze(stack, "firstcome query export");
        enum http_outcome outcome = http_client_read(slow, EXPORT_MS, &answer);
        store_thaw();
        assert_int_equal(outcome, HTTP_ANSWERED);
        expect_as_in_log(&answer);
        http_client_destroy(slow);
        WAIT_UNTIL(reads_metric(&small_api, "coupon_exports_running") == 0, EXPORT_MS);
    }
    stop_small();
}

static void what_cannot_be_finished_is_broken_off(void **)
{
    static const char *const quick[] = {"FIRSTCOME_STORE_TIMEOUT_MS=1000", NULL};
    struct http_answer answer;
    enum http_outcome outcome = HTTP_ANSWERED;
    start_small(quick);
    for (int i = 0; i < 5 && outcome == HTTP_ANSWERED; i++) {
        struct http_client *slow = begin_export();
        cluster_signal_all(stack, SIGSTOP); /* one connection that goes on would finish it, if slowly */
        outcome = http_client_read(slow, EXPORT_MS, &answer);
        cluster_signal_all(stack, SIGCONT);
        if (outcome == HTTP_ANSWERED) /* all of it was on its way already */
            expect_as_in_log(&answer);
        http_client_destroy(slow);
    }
    assert_int_equal(outcome, HTTP_CLOSED);
    assert_int_equal(reads_metric(&small_api, "coupon_exports_total{end=\"broken\"}"), 1);
    stop_small();
}

static int setup(void **state)
{
    setenv("FIRSTCOME_REQUEST_DEADLINE_MS", "60000", 1); /* batches of ten thousand */
    setenv("FIRSTCOME_STORE_TIMEOUT_MS", "60000", 0);
    stack = api_setup(state, &api, STACK_ALL);
    snprintf(crowd, sizeof crowd, "%s", api_campaign(&api, 10 * HOLDERS, ""));
    for (size_t i = 0; i < HOLDERS; i += BATCH)
        issue_batch(api.command, i, BATCH);
    struct http_call call = csv_call(holders_path(crowd, ""));
    call.method = "HEAD";
    struct http_answer answer = api_ask(api.query, &call);
    (void)position_of(&answer, &crowd_slice);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_says_what_the_list_says),
        cmocka_unit_test(its_name_gives_it_again),
        cmocka_unit_test(what_it_cannot_give_it_refuses),
        cmocka_unit_test(head_and_json_are_as_they_were),
        cmocka_unit_test(it_is_of_one_position_while_issuing_goes_on),
        cmocka_unit_test(a_slow_reader_costs_others_nothing),
        cmocka_unit_test(its_time_ends_and_the_reader_sees_it),
        cmocka_unit_test(who_leaves_makes_room),
        cmocka_unit_test(it_lives_through_lost_connections),
        cmocka_unit_test(what_cannot_be_finished_is_broken_off),
    };
    return cmocka_run_group_tests(tests, setup, api_teardown);
}
