/* SPDX-License-Identifier: Apache-2.0 */
/* Limits that hold, on a real stack: rates, quotas, the kill switch in two command services at once, the disk
 * guard on a small disk, and settings that are events and survive. Exactness of the rates at a clock of the
 * test's own is in common/base/rate_limit_test.c; here a rate is so small that it must be met. */
#include "tests/lib/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/disk.h"
#include "tests/lib/instance.h"
#include "tests/lib/steer.h"
#include "tests/lib/store.h"

enum { BOUND_MS = 120000, TRIES_MAX = 200, SECOND_OFFSET = 12 };

static struct stack *stack;
static struct api_client api;
static struct steer first; /* the stack's own command service */
static char disk[64];      /* a disk of its own, 400 KiB: 1 % is a page; "" where this machine gives none */

/* --- Moves --- */

static void put(const char *name, const char *value)
{
    api_expect(steer_put(&first, name, value), 200, NULL);
}

static void put_number(const char *name, int64_t value)
{
    put(name, textf("%lld", (long long)value));
}

static int64_t setting(const char *name)
{
    return steer_setting(&first, name, "value", NULL);
}

static void expect_source(const char *name, const char *source)
{
    char text[32];
    steer_setting(&first, name, "source", text);
    assert_string_equal(text, source);
}

static struct http_answer create(int64_t quantity)
{
    static unsigned count;
    return api_create(&api, textf("limits-%u", ++count), quantity, "");
}

/* --- Rates --- */

/* `text` is `"name";q=1;w=1` or `"name";r=0;t=<seconds>`; the number behind `before`. */
static int64_t number_behind(struct span text, const char *before)
{
    int64_t number = -1;
    const char *at = memmem(text.ptr, text.len, before, strlen(before));
    if (!at)
        fail_msg("no %s in %.*s", before, SPAN_ARG(text));
    struct span rest = {at + strlen(before), (size_t)(text.ptr + text.len - at) - strlen(before)};
    assert_true(parse_i64(span_cut(&rest, ';'), 0, 100, &number));
    return number;
}

static void expect_rate_headers(const struct http_answer *answer, const char *policy)
{
    char wanted[64];
    int64_t retry_after = -1;
    snprintf(wanted, sizeof wanted, "\"%s\";q=1;w=1", policy);
    struct span found = http_answer_header(answer, "RateLimit-Policy");
    if (!span_is(found, wanted))
        fail_msg("RateLimit-Policy: %.*s", SPAN_ARG(found));
    struct span limit = http_answer_header(answer, "RateLimit");
    assert_true(parse_i64(http_answer_header(answer, "Retry-After"), 1, 3, &retry_after));
    assert_int_equal(number_behind(limit, ";r="), 0);
    assert_int_equal(number_behind(limit, ";t="), retry_after);
}

/* At one a second the first is let in, and soon one that comes too early is not: at once, unless this machine
 * pauses for a second between any two of them. */
static void expect_limited(const char *campaign, const char *policy, const char *reason)
{
    int64_t before = steer_refusals(&first, reason);
    struct http_answer answer = steer_issue(&first, "ISSUE_TOKEN", campaign, "ann");
    assert_int_not_equal(answer.status, 429);
    for (int i = 0; i < TRIES_MAX && answer.status != 429; i++)
        answer = steer_issue(&first, "ISSUE_TOKEN", campaign, "ann");
    api_expect(answer, 429, "rate-limited");
    expect_rate_headers(&answer, policy);
    assert_true(steer_refusals(&first, reason) > before);
}

static void a_user_who_comes_too_often(void **)
{
    const char *campaign = api_campaign(&api, 1000, "");
    put("rate_limit_per_user", "1");
    expect_limited(campaign, "user", "user_rate");
    api_expect(steer_issue(&first, "ISSUE_TOKEN", campaign, "bob"), 201, NULL); /* nobody else is held up */
    put("rate_limit_per_user", "null");
    for (int i = 0; i < 5; i++)
        api_expect(steer_issue(&first, "ISSUE_TOKEN", campaign, "ann"), 409, "already-issued");
}

static void an_address_that_comes_too_often(void **)
{
    const char *campaign = api_campaign(&api, 1000, "");
    put("rate_limit_per_address", "1");
    expect_limited(campaign, "address", "address_rate");
    put("rate_limit_per_address", "null"); /* steering is not held to it */
    api_expect(steer_issue(&first, "ISSUE_TOKEN", campaign, "bob"), 201, NULL);
}

static void a_key_that_comes_too_often(void **)
{
    const char *campaign = api_campaign(&api, 1000, "");
    put("rate_limit_per_key", "1");
    expect_limited(campaign, "key", "key_rate");
    api_give(&api, campaign, "bob"); /* with another key */
    put("rate_limit_per_key", "null");
}

/* --- Quotas --- */

static void campaigns_per_key_and_day(void **)
{
    put_number(
        "campaigns_per_key_per_day",
        1 + store_number(
                stack,
                "SELECT coalesce(sum(used), 0)::bigint FROM creation_quota WHERE scope = 'key:admin' AND "
                "day = (now() AT TIME ZONE 'UTC')::date"));
    api_expect(create(1), 201, NULL);
    struct http_answer answer = api_expect(create(1), 429, "quota-exceeded");
    int64_t retry_after = 0;
    assert_true(parse_i64(http_answer_header(&answer, "Retry-After"), 1, 86400 + 60, &retry_after));
    put("campaigns_per_key_per_day", "null");
    api_expect(create(1), 201, NULL);
}

static void campaigns_per_day(void **)
{
    put_number("campaigns_per_day",
               1 + store_number(stack,
                                "SELECT coalesce(sum(used), 0)::bigint FROM creation_quota WHERE scope = '*' "
                                "AND day = (now() AT TIME ZONE 'UTC')::date"));
    api_expect(create(1), 201, NULL);
    api_expect(create(1), 429, "quota-exceeded");
    put("campaigns_per_day", "null");
}

static void coupons_that_can_be_had(void **)
{
    put_number(
        "live_coupons_max",
        10 + store_number(stack,
                          "SELECT coalesce(sum(used), 0)::bigint FROM creation_quota WHERE scope = '#'"));
    api_expect(create(11), 429, "quota-exceeded");
    api_expect(create(10), 201, NULL);
    api_expect(create(1), 429, "quota-exceeded");
    put("live_coupons_max", "null");
}

/* --- Kill switch --- */

/* Another command service on the same database. */
struct second {
    struct instance *service;
    struct steer steer;
};

static struct second second_start(const char *ready_path, const char *const *environment)
{
    struct instance *service = INSTANCE_START(stack, "command-service", "second", SECOND_OFFSET,
                                              .ready_path = ready_path, .environment = environment);
    return (struct second){service, {stack, http_client_create(instance_url(service))}};
}

static void second_stop(struct second *second)
{
    http_client_destroy(second->steer.client);
    instance_destroy(second->service);
}

static bool issue_gives(const struct steer *to, const char *token, const char *campaign, int status)
{
    struct http_answer answer = steer_issue(to, token, campaign, "ann");
    return answer.status == status;
}

static void the_kill_switch_in_two_services(void **)
{
    struct second second = second_start(NULL, NULL);
    const char *campaign = api_campaign(&api, 1000, "");
    assert_true(issue_gives(&first, "ISSUE_TOKEN", campaign, 201));
    assert_true(issue_gives(&second.steer, "ISSUE_TOKEN", campaign, 409));

    steer_issuer(&first, "issue", "suspend", 200, NULL);
    api_expect(steer_issue(&first, "ISSUE_TOKEN", campaign, "ann"), 403,
               "issuer-suspended"); /* where it was asked: at once */
    int64_t asked_us = clock_mono_us();
    WAIT_UNTIL(issue_gives(&second.steer, "ISSUE_TOKEN", campaign, 403), BOUND_MS);
    print_message("the other service refused after %lld ms\n",
                  (long long)((clock_mono_us() - asked_us) / US_PER_MS));
    assert_true(issue_gives(&first, "ADMIN_TOKEN", campaign, 409)); /* that key, not the others */
    WAIT_UNTIL(api_metric(&api, "coupon_issuers_suspended") == 1, BOUND_MS);
    struct json_doc *doc = steer_settings(&second.steer);
    assert_int_equal(json_get_length(doc, "issuers"), 4);
    assert_int_equal(json_get_length(doc, "suspended"), 1);
    assert_true(span_is(json_get_text(doc, "suspended.0"), "issue"));
    assert_true(span_is(json_get_text(doc, "suspensions.0.issuer"), "issue"));
    assert_true(span_is(json_get_text(doc, "suspensions.0.by"), "admin"));
    assert_true(json_get_text(doc, "suspensions.0.since").len > 0);
    json_destroy(doc);

    steer_issuer(&second.steer, "issue", "resume", 200, NULL);
    assert_true(issue_gives(&second.steer, "ISSUE_TOKEN", campaign, 409));
    WAIT_UNTIL(issue_gives(&first, "ISSUE_TOKEN", campaign, 409), BOUND_MS);

    put("rate_limit_per_user", "77"); /* settings travel the same way */
    WAIT_UNTIL(steer_setting(&second.steer, "rate_limit_per_user", "value", NULL) == 77, BOUND_MS);
    char by[32];
    (void)steer_setting(&second.steer, "rate_limit_per_user", "by", by);
    assert_string_equal(by, "admin");
    assert_int_equal(steer_setting(&first, "rate_limit_per_user", "profiles.spike", NULL), 10);
    put("rate_limit_per_user", "null");
    second_stop(&second);
}

static void who_can_be_suspended(void **)
{
    steer_issuer(&first, "admin", "suspend", 409, "own-key");
    steer_issuer(&first, "nobody", "suspend", 404, "unknown-issuer");
    steer_issuer(&first, "nobody", "resume", 404, "unknown-issuer");
    steer_issuer(&first, "redeem", "resume", 200, NULL); /* two people press the same button */
    struct http_call call = {.method = "POST",
                             .path = "/v1/issuers/redeem/suspend",
                             .token = stack_env(stack, "ADMIN_TOKEN"),
                             .body = "{}"};
    api_expect(api_ask(api.command, &call), 400, "idempotency-key-missing");
    call.key = "k";
    call.token = stack_env(stack, "ISSUE_TOKEN");
    api_expect(api_ask(api.command, &call), 403, "forbidden");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* Nobody who hears of settings and kill switches, or issues, waits for who asks the file system. */
static void a_disk_that_hangs_freezes_nothing(void **)
{
    char hung[512], variables[3][1024];
    const char *environment[] = {variables[0], variables[1], variables[2], NULL};
    snprintf(hung, sizeof hung, "%s/hung", stack_directory(stack));
    snprintf(variables[0], sizeof variables[0], "LD_PRELOAD=%s/../lib/hung_disk.so", getenv("BIN_DIR"));
    snprintf(variables[1], sizeof variables[1], "HUNG_DISK=%s", hung);
    snprintf(variables[2], sizeof variables[2], "FIRSTCOME_DISK_PATH=/");
    const char *campaign = api_campaign(&api, 1000, "");
    struct second second = second_start(NULL, environment);
    int fd = open(hung, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    WAIT_UNTIL(access(hung, F_OK) != 0, BOUND_MS);
    api_give(&api, campaign, "ann");
    assert_true(issue_gives(&second.steer, "ISSUE_TOKEN", campaign, 409));
    steer_issuer(&first, "issue", "suspend", 200, NULL);
    WAIT_UNTIL(issue_gives(&second.steer, "ISSUE_TOKEN", campaign, 403), BOUND_MS);
    steer_issuer(&second.steer, "issue", "resume", 200, NULL);
    WAIT_UNTIL(issue_gives(&first, "ISSUE_TOKEN", campaign, 409), BOUND_MS);
    second_stop(&second);
}
#endif

/* A suspended issuer stays out while PostgreSQL is gone, and a service that never could ask lets nobody in.
 */
static void what_was_decided_holds_without_the_store(void **)
{
    const char *campaign = api_campaign(&api, 1000, "");
    steer_issuer(&first, "issue", "suspend", 200, NULL);
    stack_signal(stack, "postgresql", SIGQUIT); /* as in a crash */
    WAIT_UNTIL(stack_pid(stack, "postgresql") == 0, BOUND_MS);
    int64_t errors = api_metric(&api, "coupon_control_errors_total");
    WAIT_UNTIL(api_metric(&api, "coupon_control_errors_total") > errors + 1, BOUND_MS);
    api_expect(steer_issue(&first, "ISSUE_TOKEN", campaign, "ann"), 403, "issuer-suspended");

    struct second second = second_start("/livez", NULL);
    /* Who would be accepted is not refused by a queue that has no store, so that it comes to what is known of
     * it. */
    static const char *const patient[] = {"Prefer: respond-async", NULL};
    char path[128];
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", campaign);
    struct http_call call = {.method = "POST",
                             .path = path,
                             .token = stack_env(stack, "ISSUE_TOKEN"),
                             .key = api_fresh_key(),
                             .headers = patient,
                             .body = "{\"user_id\":\"ann\"}"};
    int64_t unknown = steer_refusals(&second.steer, "settings_unknown");
    api_expect(api_ask(second.steer.client, &call), 503, "store-unavailable");
    assert_int_equal(steer_refusals(&second.steer, "settings_unknown"), unknown + 1);

    stack_restart_servers(stack);
    WAIT_UNTIL(steer_answers(&second.steer, "/readyz") && steer_answers(&first, "/readyz"), BOUND_MS);
    api_expect(steer_issue(&second.steer, "ISSUE_TOKEN", campaign, "ann"), 403, "issuer-suspended");
    second_stop(&second);
    steer_issuer(&first, "issue", "resume", 200, NULL);
}

/* --- Settings --- */

static void expect_put(const char *name, const char *value, int status, const char *code)
{
    api_expect(steer_put(&first, name, value), status, code);
}

static void settings_have_bounds(void **)
{
    struct json_doc *doc = steer_settings(&first);
    size_t count = json_get_length(doc, "settings");
    assert_true(count > 15);
    for (size_t i = 0; i < count; i++) {
        char path[64], name[64];
        snprintf(path, sizeof path, "settings.%zu.name", i);
        snprintf(name, sizeof name, "%.*s", SPAN_ARG(json_get_text(doc, path)));
        snprintf(path, sizeof path, "settings.%zu.min", i);
        expect_put(name, textf("%lld", (long long)json_get_int(doc, path) - 1), 400, "out-of-range");
        snprintf(path, sizeof path, "settings.%zu.max", i);
        expect_put(name, textf("%lld", (long long)json_get_int(doc, path) + 1), 400, "out-of-range");
    }
    json_destroy(doc);
    expect_put("fresh_ms", "60000", 200, NULL); /* and one at its bound */
    assert_int_equal(setting("fresh_ms"), 60000);
    expect_put("fresh_ms", "null", 200, NULL);
    expect_put("fresh_ms", "\"5\"", 400, "wrong-type");
    expect_put("fresh_ms", "1.5", 400, "wrong-type");
    expect_put("fresh_ms", "{}", 400, "wrong-type");
    expect_put("fresh_ms", "99999999999999999999", 400, "out-of-range");
    expect_put("fresh_ms", "5,\"more\":1", 400, "unknown-field");
    expect_put("no_such", "5", 404, "unknown-setting");
    expect_put("profile", "5", 400, "wrong-type");
    expect_put("profile", "\"\"", 400, "invalid-value");
    expect_put("profile", "\"calm\"", 400, "invalid-value");
    assert_int_equal(setting("fresh_ms"), 1000);
}

static void a_profile_is_switched(void **)
{
    put("stale_ms", "5000");
    put("profile", "\"incident\"");
    assert_int_equal(setting("rate_limit_per_user"), 2);
    expect_source("rate_limit_per_user", "profile");
    assert_int_equal(setting("stale_ms"), 5000); /* what was set by itself stays */
    expect_source("stale_ms", "set");
    WAIT_UNTIL(api_metric(&api, "coupon_settings_profile") == 2, BOUND_MS);
    put("profile", "null");
    assert_int_equal(setting("rate_limit_per_user"), 1000);
    expect_source("rate_limit_per_user", "default");
    put("stale_ms", "null");
    assert_int_equal(setting("stale_ms"), 60000);
}

static int64_t control_events(int type)
{
    return store_numberf(
        stack, "SELECT count(*) FROM event WHERE slice = 0 AND campaign_id = '~' AND type = %d", type);
}

static void every_change_is_an_event(void **)
{
    int64_t suspended = control_events(16), resumed = control_events(17), set = control_events(18);
    put("queue_max", "123");
    put("queue_max", "null");
    steer_issuer(&first, "redeem", "suspend", 200, NULL);
    steer_issuer(&first, "redeem", "resume", 200, NULL);
    assert_int_equal(control_events(16), suspended + 1);
    assert_int_equal(control_events(17), resumed + 1);
    assert_int_equal(control_events(18), set + 2);
    assert_int_equal(store_number(stack, "SELECT count(*) FROM event WHERE type BETWEEN 16 AND 18 AND "
                                         "(slice <> 0 OR campaign_id <> '~')"),
                     0);
}

static void a_put_with_a_key_is_done_once(void **)
{
    struct http_call call = {.method = "PUT",
                             .path = "/v1/settings/queue_max",
                             .token = stack_env(stack, "ADMIN_TOKEN"),
                             .key = api_fresh_key(),
                             .body = "{\"value\":321}"};
    int64_t set = control_events(18);
    api_expect(api_ask(api.command, &call), 200, NULL);
    put("queue_max", "null");
    struct http_answer answer = api_expect(api_ask(api.command, &call), 200, NULL);
    assert_true(span_is(http_answer_header(&answer, "Idempotency-Replayed"), "true"));
    assert_int_equal(setting("queue_max"), 0); /* a replay does not do it again */
    assert_int_equal(control_events(18), set + 2);
    call.body = "{\"value\":322}";
    api_expect(api_ask(api.command, &call), 422, "idempotency-key-reused");
}

static void what_was_decided_survives_a_restart(void **)
{
    char campaign[64];
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 1000, ""));
    put("plan_halt_p95_ms", "1234");
    put("profile", "\"spike\"");
    steer_issuer(&first, "issue", "suspend", 200, NULL);
    stack_service(stack, "command-service", "kill");
    stack_service(stack, "command-service", "start");
    api_expect(steer_issue(&first, "ISSUE_TOKEN", campaign, "ann"), 403, "issuer-suspended");
    assert_int_equal(setting("plan_halt_p95_ms"), 1234);
    assert_int_equal(setting("rate_limit_per_user"), 10);
    steer_issuer(&first, "issue", "resume", 200, NULL);
    put("plan_halt_p95_ms", "null");
    put("profile", "null");
}

/* --- Disk --- */

/* Fills the small disk to exactly this percentage; it has 100 pages, so each is one of them. */
static void fill_disk(int64_t percent)
{
    char path[96];
    int64_t found = -1;
    snprintf(path, sizeof path, "%s/ballast", disk);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (off_t pages = 0; pages <= 100; pages++) {
        assert_true(disk_used_percent(disk, &found));
        if (found >= percent)
            break;
        assert_int_equal(posix_fallocate(fd, pages * 4096, 4096), 0);
    }
    close(fd);
    assert_int_equal(found, percent);
    WAIT_UNTIL(http_client_metric_micro(api.command, "coupon_disk_used_ratio") == percent * 10000, BOUND_MS);
}

static void expect_disk(const char *campaign, int create_status, int issue_status)
{
    struct http_answer answer =
        api_expect(create(1), create_status, create_status == 503 ? "store-unavailable" : NULL);
    if (create_status == 503)
        assert_true(http_answer_header(&answer, "Retry-After").ptr != NULL);
    api_expect(steer_issue(&first, "ISSUE_TOKEN", campaign, "ann"), issue_status,
               issue_status == 503 ? "store-unavailable" : NULL);
}

static void a_disk_fills_up(void **)
{
    if (!*disk) {
        print_message("no disk of its own: mounting one takes root\n");
        skip();
    }
    char campaign[64];
    snprintf(campaign, sizeof campaign, "%s", api_campaign(&api, 1000, ",\"per_user_limit\":100"));
    fill_disk(89);
    expect_disk(campaign, 201, 201);
    assert_int_equal(api_metric(&api, "coupon_disk_verdict"), DISK_WARN);
    fill_disk(90);
    expect_disk(campaign, 503, 201);
    fill_disk(94);
    expect_disk(campaign, 503, 201);
    fill_disk(95);
    expect_disk(campaign, 503, 503);
    put("queue_max", "0"); /* who steers comes through */
    put("disk_refuse_writes_percent", "97");
    WAIT_UNTIL(api_metric(&api, "coupon_disk_verdict") == DISK_REFUSE_NEW, BOUND_MS);
    expect_disk(campaign, 503, 201);
    put("disk_refuse_writes_percent", "null");
    put("queue_max", "null");
    WAIT_UNTIL(api_metric(&api, "coupon_disk_verdict") == DISK_REFUSE_WRITES, BOUND_MS);
    fill_disk(94); /* one point below: not yet */
    expect_disk(campaign, 503, 503);
    fill_disk(93);
    expect_disk(campaign, 503, 201);
    fill_disk(89);
    expect_disk(campaign, 503, 201);
    fill_disk(88);
    expect_disk(campaign, 201, 201);
    assert_int_equal(steer_refusals(&first, "disk_create"), 5);
    assert_int_equal(steer_refusals(&first, "disk_write"), 4);
}

/* --- The stack --- */

/* A small disk in a mount namespace of this program's own, which goes with its last process. */
static void make_disk(void)
{
    snprintf(disk, sizeof disk, "/tmp/firstcome-disk-XXXXXX");
    if (!mkdtemp(disk) || unshare(CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", disk, "tmpfs", 0, "size=400k,mode=0755") != 0) {
        (void)rmdir(disk);
        disk[0] = '\0';
    }
}

static int setup(void **state)
{
    make_disk();
    setenv("FIRSTCOME_DISK_PATH", disk, 1);
    stack = api_setup(state, &api, STACK_ALL);
    first = (struct steer){stack, api.command};
    return 0;
}

static int teardown(void **state)
{
    int ended = api_teardown(state);
    if (*disk) {
        (void)umount2(disk, MNT_DETACH);
        (void)rmdir(disk);
    }
    return ended;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_who_comes_too_often),
        cmocka_unit_test(an_address_that_comes_too_often),
        cmocka_unit_test(a_key_that_comes_too_often),
        cmocka_unit_test(campaigns_per_key_and_day),
        cmocka_unit_test(campaigns_per_day),
        cmocka_unit_test(coupons_that_can_be_had),
        cmocka_unit_test(the_kill_switch_in_two_services),
        cmocka_unit_test(who_can_be_suspended),
        cmocka_unit_test(settings_have_bounds),
        cmocka_unit_test(a_profile_is_switched),
        cmocka_unit_test(every_change_is_an_event),
        cmocka_unit_test(a_put_with_a_key_is_done_once),
        cmocka_unit_test(what_was_decided_survives_a_restart),
        cmocka_unit_test(a_disk_fills_up),
#if !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__) /* those want to be the first to be loaded */
        cmocka_unit_test(a_disk_that_hangs_freezes_nothing),
#endif
        cmocka_unit_test(what_was_decided_holds_without_the_store),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
