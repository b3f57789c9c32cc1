/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a coupon after its issue, over HTTP against real servers: its life by id and by code, every
 * refusal, who may, retries, orders that race, and what time alone does. Looked at by the answers and by the
 * database. */
#include "tests/lib/wait.h"

#include "tests/lib/api.h"
#include "tests/lib/store.h"

enum { BOUND_MS = 120000, EXPIRES_IN_S = 8 };

static struct stack *stack;
static struct api_client api;

/* --- calls --- */

struct held {
    char campaign[64], id[32], code[64];
    int slice;
    int64_t position;
};

static void copy_text(char *ret, size_t size, struct span text)
{
    assert_true(text.len < size);
    snprintf(ret, size, "%.*s", SPAN_ARG(text));
}

/* A coupon of a campaign, issued to ann. */
static struct held hold_of(const char *campaign)
{
    struct held held;
    struct http_answer answer = api_expect(api_issue(&api, campaign, "ann"), 201, NULL);
    snprintf(held.campaign, sizeof held.campaign, "%s", campaign);
    copy_text(held.id, sizeof held.id, body_text(answer.body, "coupon_id"));
    copy_text(held.code, sizeof held.code, body_text(answer.body, "code"));
    held.slice = (int)body_int(answer.body, "position.slice");
    held.position = body_int(answer.body, "position.position");
    return held;
}

#define MANY ",\"per_user_limit\":100"

static struct held hold(void)
{
    return hold_of(api_campaign(&api, 100, MANY));
}

static const char *path_of(const char *coupon, const char *verb)
{
    static char path[128];
    snprintf(path, sizeof path, "/v1/coupons/%s/%s", coupon, verb);
    return path;
}

/* One body has what each of the calls wants, and nothing it does not know. */
static const char *body_of(const char *verb, const char *user, const char *order, int64_t amount)
{
    static char body[512];
    if (strcmp(verb, "revoke") == 0)
        snprintf(body, sizeof body, "{\"reason\":\"%s\"}", order);
    else if (strcmp(verb, "release") == 0 || strcmp(verb, "restore") == 0)
        snprintf(body, sizeof body, "{\"order_id\":\"%s\"}", order);
    else
        snprintf(body, sizeof body, "{\"user_id\":\"%s\",\"order_id\":\"%s\",\"order_amount\":%lld%s}", user,
                 order, (long long)amount, strcmp(verb, "reserve") == 0 ? ",\"ttl_seconds\":600" : "");
    return body;
}

/* As ann, for 5000. */
static struct http_answer act(const char *coupon, const char *verb, const char *order)
{
    return api_post(&api, path_of(coupon, verb), body_of(verb, "ann", order, 5000), NULL);
}

static void expect_act(const char *coupon, const char *verb, const char *order, int status, const char *code)
{
    struct http_answer answer = act(coupon, verb, order);
    if (answer.status != status || strcmp(api_problem(&answer), code ? code : "") != 0)
        fail_msg("%s for %s: %d %.*s", verb, order, answer.status, SPAN_ARG(answer.body));
}

/* What a query gives, written with the arguments of printf. */
#define NUMBER(...) store_numberf(stack, __VA_ARGS__)

/* The campaign's counts, and the state of the coupon's row (0: it has none). */
static void expect_stored(const struct held *held, int64_t reserved, int64_t redeemed, int64_t state)
{
    assert_int_equal(NUMBER("SELECT reserved FROM campaign WHERE id = '%s'", held->campaign), reserved);
    assert_int_equal(NUMBER("SELECT redeemed FROM campaign WHERE id = '%s'", held->campaign), redeemed);
    assert_int_equal(NUMBER("SELECT state FROM coupon WHERE slice = %d AND position = %lld", held->slice,
                            (long long)held->position),
                     state);
}

static int64_t events_of(const struct held *held, int type)
{
    return NUMBER("SELECT count(*) FROM event WHERE type = %d AND coupon_id = '%s'", type, held->id);
}

/* --- its life --- */

/* The answer is this coupon in this state; order NULL: it has none. */
static void expect_reads(const struct http_answer *answer, const struct held *held, const char *status,
                         const char *order, int64_t discount)
{
    api_expect(*answer, 200, NULL);
    assert_true(span_is(body_text(answer->body, "coupon_id"), held->id));
    assert_true(span_is(body_text(answer->body, "code"), held->code));
    assert_true(span_is(body_text(answer->body, "campaign_id"), held->campaign));
    assert_true(span_is(body_text(answer->body, "user_id"), "ann"));
    assert_true(span_is(body_text(answer->body, "status"), status));
    assert_int_equal(body_has(answer->body, "order_id"), order != NULL);
    assert_int_equal(body_has(answer->body, "reserved_until"), strcmp(status, "reserved") == 0);
    assert_int_equal(body_has(answer->body, "redeemed_at"), strcmp(status, "redeemed") == 0);
    assert_int_equal(body_has(answer->body, "revoked_at"), strcmp(status, "revoked") == 0);
    if (order) {
        assert_true(span_is(body_text(answer->body, "order_id"), order));
        assert_int_equal(body_int(answer->body, "order_amount"), 5000);
        assert_int_equal(body_int(answer->body, "discount_amount"), discount);
    }
    assert_true(span_starts(http_answer_header(answer, "Consistency-Token"), SPAN("v1.")));
    assert_null(http_answer_header(answer, "Idempotency-Replayed").ptr);
}

static void live(const struct held *held, const char *name)
{
    static const struct {
        const char *verb, *order, *status;
        int64_t reserved, redeemed, state;
    } steps[] = {
        {"reserve", "o1", "reserved", 1, 0, 2}, {"reserve", "o1", "reserved", 1, 0, 2},
        {"release", "o1", "issued", 0, 0, 1},   {"reserve", "o2", "reserved", 1, 0, 2},
        {"redeem", "o2", "redeemed", 0, 1, 3},  {"restore", "o2", "issued", 0, 0, 1},
        {"redeem", "o3", "redeemed", 0, 1, 3},  {"restore", "o3", "issued", 0, 0, 1},
        {"reserve", "o4", "reserved", 1, 0, 2}, {"revoke", "fraud", "revoked", 0, 0, 4},
    };
    expect_stored(held, 0, 0, 0); /* issuing pays for no row */
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct http_answer answer = act(name, steps[i].verb, steps[i].order);
        bool has_order = steps[i].state == 2 || steps[i].state == 3;
        expect_reads(&answer, held, steps[i].status, has_order ? steps[i].order : NULL, 500);
        expect_stored(held, steps[i].reserved, steps[i].redeemed, steps[i].state);
    }
    assert_int_equal(NUMBER("SELECT count(*) FROM event WHERE coupon_id = '%s'", held->id),
                     1 + COUNT_OF(steps));
}

static void a_coupon_lives_by_its_id(void **)
{
    struct held held = hold();
    live(&held, held.id);
}

static void a_coupon_lives_by_its_code(void **)
{
    struct held held = hold_of(api_campaign(&api, 1, ",\"code_prefix\":\"FALL26\""));
    live(&held, held.code);
    /* Whatever became of it, it counts: nothing gives stock back, nor a place under the limit per user. */
    api_expect(api_issue(&api, held.campaign, "bob"), 409, "sold-out");
    api_expect(api_issue(&api, held.campaign, "ann"), 409, "already-issued");
}

/* --- refusals --- */

/* One for each state, made by the calls themselves. */
struct states {
    struct held issued, reserved, redeemed, revoked;
};

static struct states make_states(const char *campaign)
{
    struct states states = {hold_of(campaign), hold_of(campaign), hold_of(campaign), hold_of(campaign)};
    expect_act(states.reserved.id, "reserve", "o1", 200, NULL);
    expect_act(states.redeemed.id, "redeem", "o1", 200, NULL);
    expect_act(states.revoked.id, "revoke", "fraud", 200, NULL);
    return states;
}

static int64_t events_about(const char *campaign)
{
    return NUMBER("SELECT count(*) FROM event WHERE campaign_id = '%s'", campaign);
}

static void every_refusal_has_its_code(void **)
{
    struct states in = make_states(api_campaign(&api, 10, MANY ",\"min_order_amount\":1000"));
    const struct {
        const struct held *held;
        const char *verb, *user, *order;
        int64_t amount;
        int status;
        const char *code;
    } rows[] = {
        {&in.issued, "reserve", "bob", "o2", 5000, 403, "not-holder"},
        {&in.issued, "redeem", "bob", "o2", 5000, 403, "not-holder"},
        {&in.issued, "reserve", "ann", "o2", 999, 422, "below-minimum"},
        {&in.issued, "redeem", "ann", "o2", 999, 422, "below-minimum"},
        {&in.issued, "restore", "ann", "o2", 0, 409, "not-redeemed"},
        {&in.reserved, "reserve", "ann", "o2", 5000, 409, "reserved"},
        {&in.reserved, "redeem", "ann", "o2", 5000, 409, "reserved"},
        {&in.reserved, "release", "ann", "o2", 0, 409, "reserved"},
        {&in.reserved, "restore", "ann", "o1", 0, 409, "not-redeemed"},
        {&in.redeemed, "reserve", "ann", "o1", 5000, 409, "already-redeemed"},
        {&in.redeemed, "redeem", "ann", "o1", 5000, 409, "already-redeemed"},
        {&in.redeemed, "release", "ann", "o1", 0, 409, "already-redeemed"},
        {&in.redeemed, "restore", "ann", "o2", 0, 409, "not-redeemed"},
        {&in.redeemed, "revoke", "ann", "fraud", 0, 409, "already-redeemed"},
        {&in.revoked, "reserve", "ann", "o1", 5000, 410, "revoked"},
        {&in.revoked, "redeem", "ann", "o1", 5000, 410, "revoked"},
        {&in.revoked, "release", "ann", "o1", 0, 410, "revoked"},
        {&in.revoked, "restore", "ann", "o1", 0, 410, "revoked"},
    };
    int64_t before = events_about(in.issued.campaign);
    int64_t kept = NUMBER("SELECT count(key) FROM event");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_answer answer =
            api_post(&api, path_of(rows[i].held->id, rows[i].verb),
                     body_of(rows[i].verb, rows[i].user, rows[i].order, rows[i].amount), NULL);
        if (answer.status != rows[i].status || strcmp(api_problem(&answer), rows[i].code) != 0)
            fail_msg("%zu: %s: %d %.*s", i, rows[i].verb, answer.status, SPAN_ARG(answer.body));
    }
    /* What changes nothing is accepted, and no event either. */
    expect_act(in.issued.id, "release", "o1", 200, NULL);
    expect_act(in.revoked.id, "revoke", "again", 200, NULL);
    assert_int_equal(events_about(in.issued.campaign), before);
    assert_int_equal(NUMBER("SELECT count(key) FROM event"), kept);
}

static const char *const verbs[] = {"reserve", "redeem", "release", "restore", "revoke"};

/* A name that is of no coupon is answered alike, whatever is wrong with it. */
static void unknown_names_are_all_alike(void **)
{
    struct held held = hold();
    char changed[64], of_campaign[32], later[32];
    snprintf(changed, sizeof changed, "%s", held.code);
    size_t last = strlen(changed) - 1;
    changed[last] = changed[last] == '0' ? '1' : '0';
    /* Events that are no CouponIssued, and one that is not there yet. */
    snprintf(of_campaign, sizeof of_campaign, "c%d-%lld", held.slice,
             (long long)NUMBER("SELECT first FROM campaign WHERE id = '%s'", held.campaign));
    snprintf(later, sizeof later, "c%d-999999999", held.slice);
    const char *const names[] = {changed, of_campaign, later, "c16-1",  "c0-0",
                                 "c-1-5", "nonsense",  "%00", "c3-1%2F"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        for (size_t verb = 0; verb < COUNT_OF(verbs); verb++)
            expect_act(names[i], verbs[verb], "o1", 404, "unknown-coupon");
}

/* --- retries (I4) --- */

struct kept {
    char path[128], body[256], other_body[256], key[64], answer[2048], token[64];
};

static void keep(struct kept *kept, const char *name, const char *verb, const char *order)
{
    snprintf(kept->path, sizeof kept->path, "%s", path_of(name, verb));
    snprintf(kept->body, sizeof kept->body, "%s", body_of(verb, "ann", order, 5000));
    snprintf(kept->other_body, sizeof kept->other_body, "%s", body_of(verb, "ann", "other", 5000));
    snprintf(kept->key, sizeof kept->key, "%s", api_fresh_key());
    struct http_answer answer = api_expect(api_post(&api, kept->path, kept->body, kept->key), 200, NULL);
    assert_null(http_answer_header(&answer, "Idempotency-Replayed").ptr);
    copy_text(kept->answer, sizeof kept->answer, answer.body);
    copy_text(kept->token, sizeof kept->token, http_answer_header(&answer, "Consistency-Token"));
}

static void expect_first_answer(const struct kept *kept)
{
    struct http_answer answer = api_expect(api_post(&api, kept->path, kept->body, kept->key), 200, NULL);
    assert_true(span_is(http_answer_header(&answer, "Idempotency-Replayed"), "true"));
    assert_true(span_is(http_answer_header(&answer, "Consistency-Token"), kept->token));
    if (!span_is(answer.body, kept->answer))
        fail_msg("%s: %.*s, first %s", kept->path, SPAN_ARG(answer.body), kept->answer);
    api_expect(api_post(&api, kept->path, kept->other_body, kept->key), 422, "idempotency-key-reused");
}

static void retries_get_the_first_answer_even_after_kill(void **)
{
    struct held held = hold();
    struct kept kept[5];
    keep(&kept[0], held.id, "reserve", "o1");
    keep(&kept[1], held.id, "release", "o1");
    keep(&kept[2], held.id, "redeem", "o1");
    keep(&kept[3], held.id, "restore", "o1");
    keep(&kept[4], held.id, "revoke", "fraud"); /* after which none of them would be accepted */
    int64_t events = NUMBER("SELECT count(*) FROM event WHERE coupon_id = '%s'", held.id);
    for (size_t i = 0; i < COUNT_OF(kept); i++)
        expect_first_answer(&kept[i]);
    stack_service(stack, "command-service", "kill");
    stack_service(stack, "command-service", "start");
    http_client_close(api.command);
    for (size_t i = 0; i < COUNT_OF(kept); i++)
        expect_first_answer(&kept[i]);
    snprintf(kept[0].path, sizeof kept[0].path, "%s", path_of(held.code, "reserve"));
    expect_first_answer(&kept[0]); /* by code it is the same coupon and so the same request */
    assert_int_equal(NUMBER("SELECT count(*) FROM event WHERE coupon_id = '%s'", held.id), events);
    assert_int_equal(
        NUMBER("SELECT count(*) FROM (SELECT answer FROM event UNION ALL SELECT answer FROM idempotency) a "
               "WHERE position(convert_to('%s', 'UTF8') in coalesce(answer, '')) > 0",
               held.code),
        0); /* no code is in the database */
}

/* --- races --- */

static void two_orders_race_for_a_coupon(void **)
{
    enum { ROUNDS = 20 };
    char campaign[64], path[128];
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 100, MANY));
    for (int round = 0; round < ROUNDS; round++) {
        const char *verb = round % 2 ? "redeem" : "reserve";
        struct held held = hold_of(campaign);
        struct http_client *clients[2];
        int won = 0;
        snprintf(path, sizeof path, "%s", path_of(held.id, verb));
        for (int i = 0; i < 2; i++) {
            clients[i] = api_post_begin(&api, path, body_of(verb, "ann", i ? "o2" : "o1", 5000),
                                        api_fresh_key(), NULL);
        }
        for (int i = 0; i < 2; i++) {
            struct http_answer answer = api_post_end(clients[i]);
            if (answer.status != 200)
                api_expect(answer, 409, round % 2 ? "already-redeemed" : "reserved");
            won += answer.status == 200;
            http_client_destroy(clients[i]);
        }
        assert_int_equal(won, 1);
        assert_int_equal(events_of(&held, round % 2 ? 11 : 10), 1);
    }
}

static void fifty_redeem_one_coupon(void **)
{
    enum { CLIENTS = 50 };
    struct held held = hold();
    struct http_client *clients[CLIENTS];
    int won = 0;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = api_post_begin(&api, path_of(held.id, "redeem"),
                                    body_of("redeem", "ann", textf("o%d", i), 5000), api_fresh_key(), NULL);
    }
    for (int i = 0; i < CLIENTS; i++) {
        struct http_answer answer = api_post_end(clients[i]);
        if (answer.status != 200)
            api_expect(answer, 409, "already-redeemed");
        won += answer.status == 200;
        http_client_destroy(clients[i]);
    }
    assert_int_equal(won, 1);
    assert_int_equal(events_of(&held, 11), 1);
    expect_stored(&held, 0, 1, 3);
}

/* --- time --- */

static void reserve_for_a_second(const struct held *held, const char *order)
{
    char body[128];
    snprintf(body, sizeof body,
             "{\"user_id\":\"ann\",\"order_id\":\"%s\",\"order_amount\":5000,\"ttl_seconds\":1}", order);
    api_expect(api_post(&api, path_of(held->id, "reserve"), body, NULL), 200, NULL);
}

/* By the clock that decides. */
static bool lapsed(const struct held *held)
{
    return NUMBER("SELECT count(*) FROM coupon WHERE slice = %d AND position = %lld AND (state <> 2 OR "
                  "reserved_until <= clock_timestamp())",
                  held->slice, (long long)held->position) == 1;
}

static void a_reservation_lapses_by_the_instant_and_is_noted(void **)
{
    char campaign[64];
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 10, MANY));
    struct held noted = hold_of(campaign), taken = hold_of(campaign), kept = hold_of(campaign);
    int64_t swept = api_metric(&api, "coupon_swept_total");
    reserve_for_a_second(&noted, "o1");
    reserve_for_a_second(&taken, "o1");
    expect_act(kept.id, "reserve", "o1", 200, NULL);
    assert_int_equal(
        NUMBER("SELECT reserved + (SELECT count(*) FROM event WHERE type = 13 AND coupon_id IN ('%s', '%s')) "
               "FROM campaign WHERE id = '%s'",
               noted.id, taken.id, campaign),
        3); /* a second may be over already */
    WAIT_UNTIL(lapsed(&taken), BOUND_MS);
    expect_act(taken.id, "reserve", "o2", 200, NULL); /* at once, whether or not the sweep was there */
    WAIT_UNTIL(events_of(&noted, 13) == 1, BOUND_MS);
    expect_stored(&noted, 2, 0, 1);
    expect_stored(&taken, 2, 0, 2);
    assert_int_equal(events_of(&kept, 13), 0);
    assert_true(api_metric(&api, "coupon_swept_total") > swept);
    expect_act(noted.id, "release", "o1", 200, NULL); /* a shop that cancels does not care */
    assert_int_equal(events_of(&noted, 12), 0);
    expect_act(noted.id, "redeem", "o2", 200, NULL);
}

/* A crowd that leaves its baskets at once is noted in a few transactions, not in eights. */
static void many_lapses_are_noted_together(void **)
{
    enum { CROWD = 60 };
    char campaign[64];
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, CROWD, MANY));
    for (int i = 0; i < CROWD; i++) {
        struct held held = hold_of(campaign);
        expect_act(held.id, "reserve", "o1", 200, NULL);
    }
    store_run_as(stack, "DATABASE_URL",
                 textf("UPDATE coupon SET reserved_until = clock_timestamp() WHERE campaign_id = '%s'",
                       campaign)); /* at one instant */
    WAIT_UNTIL(NUMBER("SELECT reserved FROM campaign WHERE id = '%s'", campaign) == 0, BOUND_MS);
    assert_int_equal(NUMBER("SELECT count(*) FROM event WHERE type = 13 AND campaign_id = '%s'", campaign),
                     CROWD);
    assert_true(NUMBER("SELECT count(DISTINCT recorded_at) FROM event WHERE type = 13 AND campaign_id = '%s'",
                       campaign) <= 3);
}

/* Made first and looked at last, so that nobody waits for its time. */
static struct {
    struct held issued, redeemed, reserved;
    char campaign[64];
    int64_t at_us;
} expiring;

static void make_expiring(void)
{
    expiring.at_us = clock_wall_us() + EXPIRES_IN_S * (int64_t)US_PER_S;
    const char *more = textf(MANY ",\"coupon_expires_at\":\"%s\"", time_text(expiring.at_us));
    snprintf(expiring.campaign, sizeof expiring.campaign, "%s", api_campaign(&api, 10, more));
    expiring.issued = hold_of(expiring.campaign);
    expiring.redeemed = hold_of(expiring.campaign);
    expiring.reserved = hold_of(expiring.campaign);
    expect_act(expiring.redeemed.id, "redeem", "o1", 200, NULL);
    expect_act(expiring.reserved.id, "reserve", "o1", 200, NULL); /* for ten minutes, but */
    struct http_answer answer = act(expiring.reserved.id, "reserve", "o1");
    int64_t until_us;
    assert_true(time_parse(body_text(answer.body, "reserved_until"), &until_us));
    assert_true(until_us == expiring.at_us); /* not for longer than it is valid */
}

/* What is accepted of an expired coupon says so in its answer. */
static void expect_expired_by(const char *verb, const char *id)
{
    struct http_answer answer = api_expect(act(id, verb, "o1"), 200, NULL);
    assert_true(span_is(body_text(answer.body, "status"), "expired"));
}

static void a_coupon_expires_by_the_instant(void **)
{
    WAIT_UNTIL(clock_wall_us() >= expiring.at_us, BOUND_MS);
    expect_act(expiring.issued.id, "reserve", "o2", 410, "expired");
    expect_act(expiring.issued.id, "redeem", "o2", 410, "expired");
    expect_act(expiring.reserved.id, "redeem", "o1", 410, "expired");
    WAIT_UNTIL(events_of(&expiring.reserved, 13) == 1, BOUND_MS);
    expect_act(expiring.redeemed.id, "redeem", "o2", 409, "already-redeemed");
    expect_expired_by("restore", expiring.redeemed.id); /* the order gives it back all the same */
    expect_expired_by("release", expiring.reserved.id); /* which changes nothing any more */
    expect_act(expiring.redeemed.id, "redeem", "o1", 410, "expired");
    expect_act(expiring.issued.id, "revoke", "over", 200, NULL);
    api_expect(api_issue(&api, expiring.campaign, "bob"), 410, "ended");
}

/* --- discounts --- */

static void the_currency_is_compared_where_it_is_given(void **)
{
    char path[256];
    struct held held = hold_of(api_campaign(&api, 1, "")); /* in KRW */
    snprintf(path, sizeof path, "/v1/coupons/%s/redeem", held.id);
    static const char body[] =
        "{\"user_id\":\"ann\",\"order_id\":\"o1\",\"order_amount\":5000,\"currency\":\"%s\"}";
    api_expect(api_post(&api, path, textf(body, "USD"), "currency-1"), 422, "currency-mismatch");
    api_expect(api_post(&api, path, textf(body, "KRW"), "currency-1"), 200,
               NULL); /* a refusal left nothing behind */
    api_expect(api_post(&api, path, textf(body, "USD"), "currency-1"), 422, "idempotency-key-reused");
}

static void discounts_are_whole_minor_units(void **)
{
    static const struct {
        const char *discount;
        int64_t amount, off;
    } rows[] = {
        {"{\"type\":\"percent\",\"percent\":15}", 99, 14},
        {"{\"type\":\"percent\",\"percent\":15}", 100, 15},
        {"{\"type\":\"percent\",\"percent\":33,\"max_amount\":3}", 12, 3},
        {"{\"type\":\"percent\",\"percent\":33,\"max_amount\":3}", 9, 2},
        {"{\"type\":\"percent\",\"percent\":99}", INT64_C(1000000000000), INT64_C(990000000000)},
        {"{\"type\":\"fixed\",\"amount\":500}", 499, 499},
        {"{\"type\":\"fixed\",\"amount\":500}", 501, 500},
        {"{\"type\":\"percent\",\"percent\":12.5}", 1007, 125},
        {"{\"type\":\"fixed\",\"amount\":500}", 0, 0},
        {"{\"type\":\"percent\",\"percent\":0.01}", 9999, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char body[512], id[64];
        snprintf(id, sizeof id, "discount-%zu", i);
        snprintf(body, sizeof body,
                 "{\"id\":\"%s\",\"name\":\"n\",\"discount\":%s,\"currency\":\"KRW\",\"quantity\":1}", id,
                 rows[i].discount);
        struct http_answer answer = api_expect(api_post(&api, "/v1/campaigns", body, NULL), 201, NULL);
        struct held held = hold_of(id);
        for (size_t verb = 0; verb < 2; verb++) { /* what is reserved is what is redeemed */
            answer = api_expect(api_post(&api, path_of(held.id, verbs[verb]),
                                         body_of(verbs[verb], "ann", "o1", rows[i].amount), NULL),
                                rows[i].off ? 200 : 422, rows[i].off ? NULL : "no-discount");
            if (rows[i].off == 0) /* the coupon is not used up for nothing */
                continue;
            assert_int_equal(body_int(answer.body, "discount_amount"), rows[i].off);
            assert_int_equal(body_int(answer.body, "order_amount"), rows[i].amount);
        }
    }
}

/* --- all of it --- */

/* The state rows are what the log says, of every coupon of this binary (I7). */
static void state_rows_equal_the_log(void **)
{
    static const char last_events[] =
        "WITH last AS (SELECT DISTINCT ON (slice, coupon_id) slice, campaign_id, "
        "split_part(coupon_id, '-', 2)::bigint AS of, type, position, recorded_at, data FROM event WHERE "
        "type "
        "BETWEEN 10 AND 15 ORDER BY slice, coupon_id, position DESC), folded AS (SELECT *, CASE type WHEN 10 "
        "THEN 2 WHEN 11 THEN 3 WHEN 15 THEN 4 ELSE 1 END AS state FROM last) ";
    assert_true(NUMBER("%sSELECT count(*) FROM folded", last_events) > 40);
    assert_int_equal(
        NUMBER("%sSELECT count(*) FROM folded f FULL JOIN coupon k ON k.slice = f.slice AND "
               "k.position = f.of WHERE (k.state, k.last, k.changed_at, k.campaign_id) IS DISTINCT "
               "FROM (f.state, f.position, f.recorded_at, f.campaign_id) OR position("
               "convert_to(coalesce(k.order_id, k.reason, ''), 'UTF8') in f.data) = 0",
               last_events),
        0);
    assert_int_equal(
        NUMBER("%sSELECT count(*) FROM campaign c LEFT JOIN (SELECT campaign_id, count(*) FILTER "
               "(WHERE state = 2) AS reserved, count(*) FILTER (WHERE state = 3) AS redeemed FROM "
               "folded GROUP BY 1) f ON f.campaign_id = c.id WHERE c.reserved <> "
               "coalesce(f.reserved, 0) OR c.redeemed <> coalesce(f.redeemed, 0)",
               last_events),
        0);
}

static int start(void **state)
{
    stack = api_setup(state, &api, STACK_COMMAND);
    make_expiring();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_coupon_lives_by_its_id),
        cmocka_unit_test(a_coupon_lives_by_its_code),
        cmocka_unit_test(every_refusal_has_its_code),
        cmocka_unit_test(unknown_names_are_all_alike),
        cmocka_unit_test(retries_get_the_first_answer_even_after_kill),
        cmocka_unit_test(two_orders_race_for_a_coupon),
        cmocka_unit_test(fifty_redeem_one_coupon),
        cmocka_unit_test(a_reservation_lapses_by_the_instant_and_is_noted),
        cmocka_unit_test(many_lapses_are_noted_together),
        cmocka_unit_test(the_currency_is_compared_where_it_is_given),
        cmocka_unit_test(discounts_are_whole_minor_units),
        cmocka_unit_test(a_coupon_expires_by_the_instant),
        cmocka_unit_test(state_rows_equal_the_log),
    };
    return cmocka_run_group_tests(tests, start, api_teardown);
}
