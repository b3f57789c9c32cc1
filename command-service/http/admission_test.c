/* SPDX-License-Identifier: Apache-2.0 */
/* Who is let in: each limit at the limit and one above it, in which order they are asked, and who is not
 * asked at all. */
#include "command-service/http/admission.h"

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/testing.h"

static const int64_t now_us = 1000 * (int64_t)US_PER_S;
static const struct api_key key = {.name = "shop", .index = 70};
static const struct api_key other_key = {.name = "app", .index = 71};
static const char home[16] = {[10] = (char)0xFF, [11] = (char)0xFF, [12] = 127, [15] = 1};
static const char away[16] = {[10] = (char)0xFF, [11] = (char)0xFF, [12] = 127, [15] = 2};
#define ADDRESS(bytes) ((struct span){bytes, sizeof(bytes)})

static struct gate gate;
static struct control_state control;

static int set_up(void **)
{
    gate_init(&gate, NULL, NULL);
    control_state_init(&control);
    control.known = true;
    return 0;
}

static int tear_down(void **)
{
    gate_deinit(&gate);
    return 0;
}

static void set(const char *name, const char *value)
{
    assert_int_equal(settings_set(&control.settings, span_of(name), span_of(value)), SETTINGS_OK);
}

static struct gate_visit visit_of(const char *user)
{
    return (struct gate_visit){
        .class = GATE_WRITE, .key = &key, .user = span_of(user), .address = ADDRESS(home)};
}

static enum gate_reason judge(const struct gate_visit *visit)
{
    struct gate_limit limit;
    return gate_judge(&gate, &control, visit, now_us, &limit);
}

static enum gate_reason judge_user(const char *user)
{
    struct gate_visit visit = visit_of(user);
    return judge(&visit);
}

static void nothing_is_let_in_before_anything_is_known(void **)
{
    assert_int_equal(judge_user("ann"), GATE_OPEN);
    control.known = false;
    assert_int_equal(judge_user("ann"), GATE_UNKNOWN);
}

static void a_suspended_key_writes_nothing(void **)
{
    control.suspended[1] = UINT64_C(1) << (70 - 64);
    for (enum gate_class class = GATE_CREATE; class <= GATE_CONTROL; class ++) {
        struct gate_visit visit = visit_of("ann");
        visit.class = class;
        assert_int_equal(judge(&visit), GATE_SUSPENDED);
        visit.key = &other_key;
        assert_int_equal(judge(&visit), GATE_OPEN);
    }
}

static void per_user(void **)
{
    struct gate_limit limit;
    struct gate_visit visit = visit_of("ann");
    set("rate_limit_per_user", "2");
    assert_int_equal(judge(&visit), GATE_OPEN);
    assert_int_equal(judge(&visit), GATE_OPEN);
    assert_int_equal(gate_judge(&gate, &control, &visit, now_us, &limit), GATE_USER_RATE);
    assert_string_equal(limit.policy, "user");
    assert_int_equal(limit.verdict.retry_after_us, US_PER_S / 2);
    assert_int_equal(judge_user("bob"), GATE_OPEN);
    set("rate_burst_per_user", "3");
    assert_int_equal(judge_user("cyd"), GATE_OPEN);
    assert_int_equal(judge_user("cyd"), GATE_OPEN);
    assert_int_equal(judge_user("cyd"), GATE_OPEN);
    assert_int_equal(judge_user("cyd"), GATE_USER_RATE);
    for (int i = 0; i < 100; i++)
        assert_int_equal(judge_user(NULL), GATE_OPEN); /* about nobody */
}

static void per_address(void **)
{
    struct gate_visit visit = visit_of("ann");
    set("rate_limit_per_address", "2");
    assert_int_equal(judge(&visit), GATE_OPEN);
    assert_int_equal(judge(&visit), GATE_OPEN);
    assert_int_equal(judge(&visit), GATE_ADDRESS_RATE);
    visit.class = GATE_READ;
    assert_int_equal(judge(&visit), GATE_ADDRESS_RATE);
    visit.address = ADDRESS(away);
    assert_int_equal(judge(&visit), GATE_OPEN);
}

/* Whoever has one IPv6 address has 2^64 of them. */
static void a_network_of_ipv6_is_one_address(void **)
{
    char one[16] = "\x20\x01\x0d\xb8", two[16] = "\x20\x01\x0d\xb8", far[16] = "\x20\x01\x0d\xb8";
    struct gate_visit visit = visit_of("ann");
    two[15] = two[8] = 9;
    far[7] = 9;
    set("rate_limit_per_address", "1");
    visit.address = ADDRESS(one);
    assert_int_equal(judge(&visit), GATE_OPEN);
    visit.address = ADDRESS(two);
    assert_int_equal(judge(&visit), GATE_ADDRESS_RATE);
    visit.address = ADDRESS(far);
    assert_int_equal(judge(&visit), GATE_OPEN);
}

static void per_key(void **)
{
    struct gate_visit visit = visit_of("ann");
    set("rate_limit_per_key", "2");
    assert_int_equal(judge(&visit), GATE_OPEN);
    assert_int_equal(judge(&visit), GATE_OPEN);
    assert_int_equal(judge(&visit), GATE_KEY_RATE);
    visit.key = &other_key;
    assert_int_equal(judge(&visit), GATE_OPEN);
}

static void a_refused_user_uses_up_nothing_of_the_key(void **)
{
    set("rate_limit_per_user", "1");
    set("rate_limit_per_key", "3");
    assert_int_equal(judge_user("greedy"), GATE_OPEN);
    for (int i = 0; i < 100; i++)
        assert_int_equal(judge_user("greedy"), GATE_USER_RATE);
    assert_int_equal(judge_user("ann"), GATE_OPEN);
    assert_int_equal(judge_user("bob"), GATE_OPEN);
    assert_int_equal(judge_user("cyd"), GATE_KEY_RATE);
}

static void the_disk(void **)
{
    static const enum gate_reason wanted[][4] = {
        [DISK_OK] = {GATE_OPEN, GATE_OPEN, GATE_OPEN, GATE_OPEN},
        [DISK_WARN] = {GATE_OPEN, GATE_OPEN, GATE_OPEN, GATE_OPEN},
        [DISK_REFUSE_NEW] = {GATE_DISK_CREATE, GATE_OPEN, GATE_OPEN, GATE_OPEN},
        [DISK_REFUSE_WRITES] = {GATE_DISK_WRITE, GATE_DISK_WRITE, GATE_OPEN, GATE_OPEN},
    };
    for (enum disk_verdict disk = DISK_OK; disk <= DISK_REFUSE_WRITES; disk++)
        for (enum gate_class class = GATE_CREATE; class <= GATE_CONTROL; class ++) {
            struct gate_visit visit = visit_of("ann");
            visit.class = class;
            visit.disk = disk;
            assert_int_equal(judge(&visit), wanted[disk][class]);
        }
}

static void who_steers_comes_through(void **)
{
    struct gate_visit visit = visit_of(NULL);
    visit.class = GATE_CONTROL;
    set("rate_limit_per_key", "1");
    set("rate_limit_per_address", "1");
    visit.disk = DISK_REFUSE_WRITES;
    for (int i = 0; i < 10; i++)
        assert_int_equal(judge(&visit), GATE_OPEN);
}

static void headers(void **)
{
    struct buf out;
    struct gate_limit limit = {"user", {.per_second = 4, .burst = 10}, {.limit = 10, .remaining = 0}};
    buf_init(&out, GATE_HEADER_MAX);
    gate_policy_write(&out, &limit);
    assert_string_equal(out.data, "\"user\";q=10;w=3");
    buf_clear(&out);
    gate_limit_write(&out, &limit, 1001);
    assert_string_equal(out.data, "\"user\";r=0;t=2");
    buf_clear(&out);
    limit = (struct gate_limit){
        "address", {RATE_PER_SECOND_MAX, RATE_BURST_MAX}, {.limit = RATE_BURST_MAX, .remaining = INT64_MAX}};
    gate_limit_write(&out, &limit, INT64_MAX - 1000);
    assert_false(out.overflow);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_let_in_before_anything_is_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_suspended_key_writes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(per_user, set_up, tear_down),
        cmocka_unit_test_setup_teardown(per_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_network_of_ipv6_is_one_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(per_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refused_user_uses_up_nothing_of_the_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_steers_comes_through, set_up, tear_down),
        cmocka_unit_test_setup_teardown(headers, set_up, tear_down),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
