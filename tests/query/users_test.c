/* SPDX-License-Identifier: Apache-2.0 */
/* What users hold, from the log through the projector to the read API, while keys vanish: every answer is the
 * log's, whoever gives it (I7); what a batch would build on and is gone is made again; and a coupon costs
 * Redis no more than it may. */
#include "common/base/mem.h"
#include "readmodel/users.h"
#include "tests/lib/models.h"
#include "tests/lib/projector.h"
#include "tests/lib/reads.h"
#include "tests/lib/wait.h"

enum {
    CAMPAIGNS = 24,
    USERS = 12,
    HELD_MAX = 400,
    ROUNDS = 8,
    LONG_MS = 120000,
    BYTES_PER_COUPON_MAX = 250,
    BYTES_PER_REDEEMED_MAX = 275,
    PATH_BYTES = 512,
};

struct user {
    char id[24];
    size_t count;
    struct {
        char coupon[32];
        int campaign;
    } held[HELD_MAX]; /* in order of issue */
};

static struct stack *stack;
static struct api_client api;
static struct models models; /* Redis and the heads of the log */
static struct user users[USERS];
static uint32_t random_state;
static int64_t heads[SLICE_COUNT]; /* of coupons issued */
static size_t from_redis, from_postgres;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

/* --- the truth --- */

static void create_campaigns(void)
{
    for (int i = 0; i < CAMPAIGNS; i++)
        api_campaign_of(&api, textf("u-%d", i), 100000, ",\"per_user_limit\":100");
}

static void find_users(void)
{
    int number = 0;
    for (size_t i = 0; i < USERS; i++)
        snprintf(users[i].id, sizeof users[i].id, "user %d", number++);
}

/* To anybody but the last one, who never gets any. */
static void issue(void)
{
    struct user *user = &users[next_random(USERS - 1)];
    int campaign = (int)next_random(CAMPAIGNS);
    char id[16];
    snprintf(id, sizeof id, "u-%d", campaign);
    struct http_answer answer = api_expect(api_issue(&api, id, user->id), 201, NULL);
    assert_true(user->count < HELD_MAX);
    snprintf(user->held[user->count].coupon, sizeof user->held->coupon, "%.*s",
             SPAN_ARG(body_text(answer.body, "coupon_id")));
    user->held[user->count++].campaign = campaign;
    struct position at;
    assert_true(coupon_id_parse(body_text(answer.body, "coupon_id"), &at));
    heads[at.slice] = at.position;
}

/* --- what the API says --- */

enum demand { AS_IT_IS, OF_ALL_THAT_WAS_ISSUED };

/* What a client would send who made every call of this test. */
static void write_tokens(char *ret, size_t size)
{
    struct buf out;
    buf_init(&out, size - 1);
    buf_append_text(&out, "Consistency-Token: ");
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        buf_append_text(&out, slice ? ", " : "");
        consistency_token_write(&out, (struct position){slice, heads[slice]});
    }
    assert_false(out.overflow);
    memcpy(ret, out.data, out.len + 1);
    buf_deinit(&out);
}

static struct json_doc *get(const char *path, enum demand demand)
{
    char tokens[PATH_BYTES];
    const char *const headers[] = {tokens, NULL};
    struct http_call call = {.path = path, .token = stack_env(stack, "READ_TOKEN")};
    if (demand == OF_ALL_THAT_WAS_ISSUED) {
        write_tokens(tokens, sizeof tokens);
        call.headers = headers;
    }
    struct http_answer answer = api_ask(api.query, &call);
    if (answer.status != 200)
        fail_msg("%s: %d %.*s", path, answer.status, SPAN_ARG(answer.body));
    if (reads_is_from(&answer, "redis"))
        from_redis++;
    else
        from_postgres++;
    return json_get_doc(answer.body);
}

static void check_list(const struct user *user, int limit, enum demand demand)
{
    char escaped[64], path[PATH_BYTES];
    size_t left = user->count;
    snprintf(escaped, sizeof escaped, "user%%20%s", user->id + 5);
    snprintf(path, sizeof path, "/v1/users/%s/coupons?limit=%d", escaped, limit);
    while (path[0]) {
        struct json_doc *doc = get(path, demand);
        size_t items = json_get_length(doc, "items");
        for (size_t i = 0; i < items; i++) {
            char at[40];
            snprintf(at, sizeof at, "items.%zu.coupon_id", i);
            assert_true(left > 0);
            if (!span_is(json_get_text(doc, at), user->held[--left].coupon))
                fail_msg("%s: %s is missing", path, user->held[left].coupon);
        }
        struct span next;
        bool more = json_as_text(json_member(json_root(doc), "next"), &next);
        assert_true(more == (left > 0));
        if (more)
            snprintf(path, sizeof path, "/v1/users/%s/coupons?limit=%d&cursor=%.*s", escaped, limit,
                     SPAN_ARG(next));
        else
            path[0] = '\0';
        json_destroy(doc);
    }
}

static void check_in_campaign(const struct user *user, int campaign, enum demand demand)
{
    size_t found = 0;
    struct json_doc *doc = get(textf("/v1/campaigns/u-%d/users/user%%20%s", campaign, user->id + 5), demand);
    for (size_t i = 0; i < user->count; i++) {
        if (user->held[i].campaign != campaign)
            continue;
        assert_true(span_is(json_get_text(doc, textf("coupon_ids.%zu", found++)), user->held[i].coupon));
    }
    assert_int_equal(json_get_length(doc, "coupon_ids"), found);
    assert_int_equal(json_get_int(doc, "issued"), (int64_t)found);
    json_destroy(doc);
}

static void check_everybody(enum demand demand)
{
    for (size_t i = 0; i < USERS; i++) {
        check_list(&users[i], 1 + (int)next_random(30), demand);
        check_in_campaign(&users[i], (int)next_random(CAMPAIGNS), demand);
    }
}

/* --- Redis --- */

static void flush_all(void)
{
    MODELS_CALL(&models, "FLUSHALL");
    models_await_current(&models);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every key of the models, sorted, so that the same seed loses the same ones. Freed by the caller. */
static size_t all_keys(char ***ret)
{
    const struct redis_reply *keys = MODELS_CALL(&models, "KEYS", "fc:*{*");
    size_t count = redis_length(keys);
    *ret = mem_alloc((count + 1) * sizeof **ret);
    for (size_t i = 0; i < count; i++) {
        struct span key = redis_text(redis_at(keys, i));
        (*ret)[i] = mem_alloc(key.len + 1);
        memcpy((*ret)[i], key.ptr, key.len);
        (*ret)[i][key.len] = '\0';
    }
    qsort(*ret, count, sizeof **ret, compare_texts);
    return count;
}

/* Loses each key with that probability. */
static void lose_keys(uint32_t percent)
{
    char **keys;
    size_t count = all_keys(&keys);
    for (size_t i = 0; i < count; i++) {
        if (next_random(100) < percent)
            MODELS_CALL(&models, "DEL", keys[i]);
        mem_free(keys[i]);
    }
    mem_free(keys);
}

/* --- keys vanish --- */

static void a_round(uint32_t percent, bool stopped)
{
    stack_signal(stack, "projector", SIGSTOP); /* or it would repair before anybody reads */
    lose_keys(percent);
    check_everybody(AS_IT_IS);
    if (!stopped)
        stack_signal(stack, "projector", SIGCONT);
    for (int i = 0; i < 30; i++) {
        issue();
        if (!stopped && i % 10 == 5)
            lose_keys(percent);
        if (i % 10 == 9)
            check_everybody(OF_ALL_THAT_WAS_ISSUED);
    }
    if (stopped)
        stack_signal(stack, "projector", SIGCONT);
    models_await_current(&models);
    check_everybody(AS_IT_IS);
}

static void whatever_vanishes_no_answer_is_wrong(void **)
{
    static const uint32_t percents[] = {3, 10, 30, 60};
    for (uint32_t i = 0; i < ROUNDS; i++) {
        random_state = 1000u + i;
        print_message("round %u\n", i);
        a_round(percents[i % COUNT_OF(percents)], i % 3 == 0);
        if (i % 4 == 3)
            flush_all(); /* what nobody asked to build on stays lost; begin the next rounds with all of it */
    }
    print_message("from Redis %zu, from PostgreSQL %zu\n", from_redis, from_postgres);
    assert_true(from_redis > 100 && from_postgres > 100);
}

static void undisturbed_redis_knows_everybody(void **)
{
    flush_all();
    from_postgres = 0;
    check_everybody(AS_IT_IS);
    for (int campaign = 0; campaign < CAMPAIGNS; campaign++)
        check_in_campaign(&users[0], campaign, AS_IT_IS);
    assert_int_equal(from_postgres, 0);
}

/* Only the user's keys of one slice, in every combination, with coupons issued there afterwards. */
static void each_subset_of_one_users_keys(void **)
{
    int16_t slice = slice_of(SPAN("u-0"));
    for (int subset = 1; subset < 8; subset++) {
        const struct user *user = &users[subset % (USERS - 1)];
        char root[24], rest[32];
        models_await_current(&models);
        snprintf(root, sizeof root, "fc:{%d}", slice);
        snprintf(rest, sizeof rest, "u:%lld",
                 (long long)users_bucket(user_hash(span_of(user->id)),
                                         models_checkpoint(&models, slice, "buckets")));
        const char *keys[] = {models_key(&models, slice, rest), models_key(&models, slice, "u:0"), root};
        for (int key = 0; key < 3; key++)
            if (subset >> key & 1)
                MODELS_CALL(&models, "DEL", keys[key]);
        for (int i = 0; i < 12; i++) {
            issue();
            check_list(user, 100, OF_ALL_THAT_WAS_ISSUED);
        }
        models_await_current(&models);
        check_everybody(AS_IT_IS);
    }
}

/* --- what vanished is made again --- */

/* A reader meets it, and that is all it takes. */
static void a_lost_bucket_is_made_again_once_it_was_missed(void **)
{
    flush_all();
    for (int broken = 0; broken < 2; broken++) {
        int16_t slice = slice_of(SPAN("u-0"));
        models_await_current(&models);
        int64_t before;
        WAIT_UNTIL((before = projector_metric(stack, "coupon_projector_restarts_total")) >= 0, LONG_MS);
        char *key = mem_strdup(models_key(&models, slice, "u:0"));
        assert_int_equal(redis_integer(MODELS_CALL(&models, "DEL", key)), 1);
        if (broken)
            MODELS_CALL(&models, "HSET", key, "another", "type");
        for (int i = 0; i < 3 && !broken;
             i++) /* where it is broken nobody writes to it, only readers meet it */
            issue();
        WAIT_UNTIL((check_everybody(OF_ALL_THAT_WAS_ISSUED),
                    projector_metric(stack, "coupon_projector_restarts_total") > before),
                   LONG_MS);
        WAIT_UNTIL((from_postgres = 0, check_everybody(OF_ALL_THAT_WAS_ISSUED), from_postgres == 0), LONG_MS);
        mem_free(key);
    }
}

/* More coupons than a bucket has room for, to be followed and to be rebuilt: buckets are split, and everybody
 * is where the reader looks. */
static void buckets_grow_with_their_coupons(void **)
{
    enum { MANY = 3000 };
    size_t campaign = models_create(&models);
    int16_t slice = models_slice(&models, campaign);
    int64_t before = models_checkpoint(&models, slice, "buckets");
    for (int i = 0; i < 10; i++)
        models_issue(&models, campaign, MANY / 10);
    models_await_current(&models);
    assert_true(models_checkpoint(&models, slice, "buckets") >= before + MANY / USERS_PER_BUCKET);
    for (int i = 1; i <= MANY; i += 97) {
        struct http_answer answer =
            api_expect(api_get(&api, textf("/v1/users/user-%d/coupons?limit=100", i), NULL), 200, NULL);
        assert_non_null(memmem(answer.body.ptr, answer.body.len, models.campaigns[campaign].id,
                               strlen(models.campaigns[campaign].id)));
    }
    models_assert_equal_the_log(&models);
}

/* --- memory --- */

/* What `count` coupons of a new campaign cost, each. */
static int64_t issue_and_weigh(int count, int64_t *ret_redeemed)
{
    enum { EACH = 1000 };
    size_t campaign = models_create(&models);
    models_await_current(&models);
    int64_t before = models_info(&models, "used_memory");
    for (int i = 0; i < count; i += EACH)
        models_issue(&models, campaign, EACH);
    models_await_current(&models);
    int64_t issued = (models_info(&models, "used_memory") - before) / count;
    models_redeem(&models, campaign);
    models_await_current(&models);
    *ret_redeemed = (models_info(&models, "used_memory") - before) / count;
    return issued;
}

/* One campaign, a new user for each coupon: hardly anything to share, and with ids of 36 bytes. So few in a
 * slice cost more than many, because most buckets of users then are keys with one entry. */
static void a_coupon_costs_what_it_may(void **)
{
    int64_t redeemed;
    models.users = "3f2b8c1e-9a4d-4e7f-8b6a-5c0d1e2";
    int64_t issued = issue_and_weigh(30000, &redeemed);
    models.users = NULL;
    print_message("%lld bytes per coupon, %lld once redeemed\n", (long long)issued, (long long)redeemed);
    assert_in_range(issued, 1, BYTES_PER_COUPON_MAX);
    assert_in_range(redeemed, issued, BYTES_PER_REDEEMED_MAX);
}

static int set_up(void **state)
{
    setenv("FIRSTCOME_CACHE_BYTES", "0", 1); /* what answers is the levels behind */
    stack = api_setup(state, &api, STACK_ALL);
    models_open(&models, stack);
    random_state = 1;
    find_users();
    create_campaigns();
    for (int i = 0; i < 600; i++)
        issue();
    models_await_current(&models);
    return 0;
}

static int tear_down(void **state)
{
    models_close(&models);
    return api_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(undisturbed_redis_knows_everybody),
        cmocka_unit_test(each_subset_of_one_users_keys),
        cmocka_unit_test(whatever_vanishes_no_answer_is_wrong),
        cmocka_unit_test(undisturbed_redis_knows_everybody),
        cmocka_unit_test(a_lost_bucket_is_made_again_once_it_was_missed),
        cmocka_unit_test(buckets_grow_with_their_coupons),
        cmocka_unit_test(a_coupon_costs_what_it_may),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
