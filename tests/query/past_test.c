/* SPDX-License-Identifier: Apache-2.0 */
/* Time travel on a whole stack: what was answered at each step of a campaign's life is what is answered about
 * it afterwards, by time and by position, with Redis or without; and what would cost too much, or makes no
 * sense, is refused. */
#include "tests/lib/wait.h"

#include "common/base/mem.h"
#include "events/ids.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum { EVENTS_MAX = 100, MEMORIES_MAX = 32, PATH_BYTES = 512 };

static struct stack *stack;
static struct api_client api;

static int set_up(void **)
{
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1); /* what answers is the levels behind */
    setenv("FIRSTCOME_PAST_EVENTS_MAX", "100", 1);
    setenv("FIRSTCOME_REQUEST_DEADLINE_MS", "10000", 1); /* a slice's lock is held for two lock timeouts */
    stack = stack_start(STACK_ALL);
    api_open(&api, stack);
    return 0;
}

static int tear_down(void **)
{
    api_close(&api);
    stack_stop(stack);
    return 0;
}

static bool is_immutable(const struct http_answer *answer)
{
    struct span control = http_answer_header(answer, "Cache-Control");
    return memmem(control.ptr, control.len, "immutable", strlen("immutable")) != NULL;
}

/* --- a campaign's life, step by step --- */

static char mine[40], neighbour[40]; /* in one slice */
static char coupons[3][64];
static struct memory {
    char *body;
    int64_t at_us, position;
} memories[MEMORIES_MAX];
static size_t memories_count;

static struct http_answer post(const char *path, const char *body, int status)
{
    return api_expect(api_post(&api, path, body, NULL), status, NULL);
}

static void steer(const char *id, const char *verb, const char *body)
{
    (void)post(textf("/v1/campaigns/%s/%s", id, verb), body, 200);
}

static void use(int coupon, const char *verb)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/v1/coupons/%s/%s", coupons[coupon], verb);
    char body[PATH_BYTES];
    if (strcmp(verb, "revoke") == 0)
        snprintf(body, sizeof body, "{\"reason\":\"test\"}");
    else if (strcmp(verb, "redeem") == 0 || strcmp(verb, "reserve") == 0)
        snprintf(body, sizeof body, "{\"user_id\":\"user-%d\",\"order_id\":\"o\",\"order_amount\":500%s}",
                 coupon, strcmp(verb, "reserve") == 0 ? ",\"ttl_seconds\":600" : "");
    else
        snprintf(body, sizeof body, "{\"order_id\":\"o\"}");
    (void)post(path, body, 200);
}

static void issue_three(void)
{
    for (int i = 0; i < 3; i++)
        snprintf(coupons[i], sizeof coupons[i], "%s", api_coupon(&api, mine, textf("user-%d", i)));
}

static int64_t database_now_us(void)
{
    return store_number(stack, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint");
}

static struct memory recall(const char *path)
{
    struct http_answer answer = api_expect(reads_get(&api, path), 200, NULL);
    struct memory memory = {.position = body_int(answer.body, "position.position"),
                            .at_us = database_now_us(),
                            .body = mem_zalloc(answer.body.len + 1)};
    memcpy(memory.body, answer.body.ptr, answer.body.len);
    return memory;
}

static void remember(void)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/v1/campaigns/%s", mine);
    assert_true(memories_count < MEMORIES_MAX);
    memories[memories_count++] = recall(path);
    /* Not mine, but in between. */
    api_give(&api, neighbour, textf("other-%zu", memories_count));
}

static void live(void)
{
    for (int i = 0; !mine[0] || slice_of(span_of(mine)) != slice_of(span_of(neighbour)); i++) {
        snprintf(mine, sizeof mine, "mine-%d", i);
        snprintf(neighbour, sizeof neighbour, "neighbour");
    }
    api_campaign_of(&api, neighbour, 1000, "");
    api_campaign_of(&api, mine, 1000,
                    ",\"released\":200,\"tags\":[\"live\"],\"starts_at\":\"2020-01-01T00:00:00Z\"");
    remember();
    issue_three(), remember();
    api_batch(&api, mine, "many-", 0, 3 * EVENTS_MAX / 2), remember(); /* more than may be read */
    steer(mine, "pause", "{}"), remember();
    steer(mine, "resume", "{}"), remember();
    use(0, "reserve"), remember();
    use(0, "redeem"), remember();
    steer(mine, "release", "{\"quantity\":15}"), remember();
    use(1, "redeem"), remember();
    use(1, "restore"), remember();
    use(2, "revoke"), remember();
    use(1, "reserve"), remember();
    use(1, "release"), remember();
    steer(mine, "close", "{}"), remember();
}

static void expect_recalled(const char *path, const struct memory *memory, bool immutable)
{
    struct http_answer answer = api_get(&api, path, NULL);
    if (answer.status != 200 || !span_is(answer.body, memory->body))
        fail_msg("%s: %d\n%.*s\nwas\n%s", path, answer.status, SPAN_ARG(answer.body), memory->body);
    assert_true(reads_is_from(&answer, "as_of"));
    assert_int_equal(is_immutable(&answer), immutable);
}

/* By time; after its own last event; and after the neighbour's one that came next. */
static void expect_all_recalled(void)
{
    int slice = slice_of(span_of(mine));
    for (size_t i = 0; i < memories_count; i++) {
        const struct memory *memory = &memories[i];
        expect_recalled(textf("/v1/campaigns/%s?as_of=%s", mine, time_text(memory->at_us)), memory, true);
        for (int64_t more = 0; more < 2; more++) {
            expect_recalled(
                textf("/v1/campaigns/%s?as_of=%d:%lld", mine, slice, (long long)(memory->position + more)),
                memory, true);
        }
    }
}

static void what_was_is_what_was_answered(void **)
{
    live();
    expect_all_recalled();
    /* Nothing came after it: not for ever. */
    expect_recalled(textf("/v1/campaigns/%s?as_of=%s", mine, time_text(database_now_us())),
                    &memories[memories_count - 1], false);
}

static void it_needs_no_redis(void **)
{
    stack_signal(stack, "redis", SIGSTOP);
    expect_all_recalled();
    stack_signal(stack, "redis", SIGCONT);
}

/* The state is that of the moment: it was scheduled then, whatever it is now. */
static void its_status_is_that_of_the_moment(void **)
{
    const char *at = time_text(clock_wall_us() + 700 * US_PER_MS);
    api_campaign_of(&api, "soon", 1000, textf(",\"starts_at\":\"%s\"", at));
    struct memory memory = recall("/v1/campaigns/soon");
    struct http_answer answer;
    WAIT_UNTIL((answer = reads_get(&api, "/v1/campaigns/soon"),
                memmem(answer.body.ptr, answer.body.len, "\"active\"", 8) != NULL),
               60000);
    answer = api_expect(api_get(&api,
                                textf("/v1/campaigns/soon?as_of=%d:%lld", slice_of(span_of("soon")),
                                      (long long)memory.position),
                                NULL),
                        200, NULL);
    assert_non_null(memmem(answer.body.ptr, answer.body.len, "\"scheduled\"", 11));
    mem_free(memory.body);
}

static void what_is_deleted_was_there(void **)
{
    char path[PATH_BYTES];
    api_campaign_of(&api, "gone", 1000, "");
    struct memory memory = recall("/v1/campaigns/gone");
    api_expect(API_ASK(api.command, .method = "DELETE", .path = "/v1/campaigns/gone",
                       .token = stack_env(stack, "ADMIN_TOKEN")),
               204, NULL);
    int64_t deleted_us = database_now_us();
    api_expect(reads_get(&api, "/v1/campaigns/gone"), 404, "unknown-campaign");
    struct http_answer answer = api_expect(reads_at(&api, "/v1/campaigns/gone", memory.at_us), 200, NULL);
    assert_true(span_is(answer.body, memory.body));
    api_expect(reads_at(&api, "/v1/campaigns/gone", deleted_us), 404, "unknown-campaign");
    snprintf(path, sizeof path, "/v1/campaigns/gone?as_of=%d:%lld", slice_of(span_of("gone")),
             (long long)memory.position + 1);
    api_expect(api_get(&api, path, NULL), 404, "unknown-campaign");
    mem_free(memory.body);
}

/* --- what it costs --- */

static struct http_answer get_at_position(const char *id, int64_t position)
{
    return api_get(
        &api, textf("/v1/campaigns/%s?as_of=%d:%lld", id, slice_of(span_of(id)), (long long)position), NULL);
}

static void expect_issued(const char *id, int64_t position, int64_t issued, const char *status)
{
    struct http_answer answer = api_expect(get_at_position(id, position), 200, NULL);
    assert_int_equal(body_int(answer.body, "issued"), issued);
    assert_true(span_is(body_text(answer.body, "status"), status));
}

/* Coupons that were issued together cost nothing, wherever in or after them the moment is. */
static void a_crowd_costs_its_commits(void **)
{
    enum { CROWD = 5 * EVENTS_MAX };
    api_campaign_of(&api, "crowded", 1000, "");
    struct memory created = recall("/v1/campaigns/crowded");
    api_batch(&api, "crowded", "many-", 0, CROWD);
    steer("crowded", "pause", "{}");
    struct memory paused = recall("/v1/campaigns/crowded");
    steer("crowded", "resume", "{}");
    assert_int_equal(paused.position, created.position + CROWD + 1); /* or the rest says nothing */
    expect_issued("crowded", created.position, 0, "active");
    expect_issued("crowded", created.position + 1, 1, "active");
    expect_issued("crowded", created.position + CROWD / 2, CROWD / 2, "active");
    expect_issued("crowded", created.position + CROWD, CROWD, "active");
    expect_issued("crowded", paused.position, CROWD, "paused");
    expect_issued("crowded", paused.position + 1, CROWD, "active");
    mem_free(created.body);
    mem_free(paused.body);
}

static int64_t count_until(const char *id, enum event_type type, int64_t position)
{
    char sql[PATH_BYTES];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM event WHERE slice = %d AND campaign_id = '%s' AND type = %d"
             " AND position <= %lld",
             slice_of(span_of(id)), id, type, (long long)position);
    return store_number(stack, sql);
}

/* Posts that wait for the slice's lock, which the test holds, become one commit. */
static void commit_together(const char *id, struct http_client *clients[], size_t count)
{
    static const char *const busy = "coupon_store_errors_total{class=\"busy\"}";
    char sql[PATH_BYTES];
    snprintf(sql, sizeof sql, "SELECT 1 FROM slice WHERE slice = %d FOR UPDATE", slice_of(span_of(id)));
    struct pg *holder = store_hold(stack, sql);
    for (size_t i = 0; i < count; i++) {
        bool release = i % 4 == 3;
        clients[i] = api_post_begin(&api,
                                    textf("/v1/campaigns/%s/%s", i % 2 == 0 || release ? id : neighbour,
                                          release ? "release" : "coupons"),
                                    textf(release ? "{\"quantity\":1}" : "{\"user_id\":\"mixed-%zu\"}", i),
                                    api_fresh_key(), NULL);
    }
    int64_t before = api_metric(&api, busy);
    WAIT_UNTIL(api_metric(&api, busy) > before, 60000);
    store_let_go(holder);
}

/* A commit with coupons of two campaigns, and stock released between them: no run is without holes. */
static void a_mixed_commit_is_looked_into(void **)
{
    enum { POSTS = 16 };
    char id[40] = "";
    struct http_client *clients[POSTS];
    for (int i = 0; !id[0] || slice_of(span_of(id)) != slice_of(span_of(neighbour)); i++)
        snprintf(id, sizeof id, "mixed-%d", i);
    api_campaign_of(&api, id, 1000, ",\"released\":500");
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/v1/campaigns/%s", id);
    api_batch(&api, id, "many-", 0, 2 * EVENTS_MAX); /* so that not all may be read */
    struct memory before = recall(path);
    commit_together(id, clients, POSTS);
    for (size_t i = 0; i < POSTS; i++) {
        api_expect(api_post_end(clients[i]), i % 4 == 3 ? 200 : 201, NULL);
        http_client_destroy(clients[i]);
    }
    steer(id, "pause", "{}");
    struct memory last = recall(path);
    assert_int_equal(last.position, before.position + POSTS + 1);
    for (int64_t position = before.position - EVENTS_MAX; position <= last.position; position++) {
        struct http_answer answer = api_expect(get_at_position(id, position), 200, NULL);
        assert_int_equal(body_int(answer.body, "issued"), count_until(id, EVENT_CouponIssued, position));
        assert_int_equal(body_int(answer.body, "released"),
                         500 + count_until(id, EVENT_StockReleased, position));
    }
    assert_int_equal(count_until(id, EVENT_CouponIssued, last.position), 2 * EVENTS_MAX + POSTS / 2);
    mem_free(before.body);
    mem_free(last.body);
}

/* Pausing and resuming: each an event to read. The bound is exact, and the present is not bounded. */
static void too_far_is_refused(void **)
{
    api_campaign_of(&api, "restless", 1000, "");
    struct memory created = recall("/v1/campaigns/restless");
    for (int i = 0; i <= EVENTS_MAX / 2; i++) {
        steer("restless", "pause", "{}");
        steer("restless", "resume", "{}");
    }
    struct memory last = recall("/v1/campaigns/restless");
    assert_int_equal(last.position, created.position + EVENTS_MAX + 2);
    expect_issued("restless", created.position + EVENTS_MAX, 0, "active");
    struct http_answer answer =
        api_expect(get_at_position("restless", created.position + EVENTS_MAX + 1), 422, "past-too-far");
    assert_non_null(memmem(answer.body.ptr, answer.body.len, "100 events", strlen("100 events")));
    assert_null(http_answer_header(&answer, "Retry-After").ptr);
    expect_issued("restless", last.position, 0, "active");
    mem_free(created.body);
    mem_free(last.body);
}

/* --- what makes no sense --- */

static void nonsense_is_refused(void **)
{
    int slice = slice_of(span_of(mine));
    char others[PATH_BYTES], ahead[PATH_BYTES];
    snprintf(others, sizeof others, "/v1/campaigns/%s?as_of=%d:1", mine, (slice + 1) % SLICE_COUNT);
    snprintf(ahead, sizeof ahead, "/v1/campaigns/%s?as_of=%d:1000000000", mine, slice);
    const char *const bad[] = {
        others,
        ahead,
        "/v1/campaigns/neighbour?as_of=",
        "/v1/campaigns/neighbour?as_of=yesterday",
        "/v1/campaigns/neighbour?as_of=16:1",
        "/v1/campaigns/neighbour?as_of=3:0",
        "/v1/campaigns/neighbour?as_of=2099-01-01T00:00:00Z",
        "/v1/campaigns/neighbour?as_of=2026-01-01T00:00:00Z&as_of=2026-01-01T00:00:00Z",
        "/v1/rankings/campaigns?as_of=3:1",
        "/v1/rankings/campaigns?as_of=2099-01-01T00:00:00Z",
        "/v1/campaigns?as_of=2026-01-01T00:00:00Z",
        "/v1/users/somebody/coupons?as_of=2026-01-01T00:00:00Z",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct http_answer answer = api_get(&api, bad[i], NULL);
        if (answer.status != 400 || strcmp(api_problem(&answer), "invalid-parameter") != 0)
            fail_msg("%s: %d %.*s", bad[i], answer.status, SPAN_ARG(answer.body));
    }
    api_expect(reads_at(&api, "/v1/campaigns/nobody-knows-it", memories[0].at_us), 404, "unknown-campaign");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_is_what_was_answered),
        cmocka_unit_test(it_needs_no_redis),
        cmocka_unit_test(its_status_is_that_of_the_moment),
        cmocka_unit_test(what_is_deleted_was_there),
        cmocka_unit_test(a_crowd_costs_its_commits),
        cmocka_unit_test(a_mixed_commit_is_looked_into),
        cmocka_unit_test(too_far_is_refused),
        cmocka_unit_test(nonsense_is_refused),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    for (size_t i = 0; i < memories_count; i++)
        mem_free(memories[i].body);
    return failed;
}
