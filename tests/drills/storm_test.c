/* SPDX-License-Identifier: Apache-2.0 */
/* Incident 4 replayed (2,500 users, 500 coupons, 800 connections), alone and with a server killed or emptied
 * in the middle. bench/storm sends the crowd and judges every answer, log, rows and models; here it must find
 * nothing. */
#include "tests/lib/wait.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/crypto.h"
#include "tests/lib/redis_kit.h"
#include "tests/lib/store.h"

/* Bounds for waiting; nothing is measured against them. Sanitized services are an order slower. */
enum { STORM_MS = 180000, MIDDLE_MS = 60000 };

/* Large enough that a drill comes in the middle; sanitized services are that much slower. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DRILL_USERS    "16000"
#define DRILL_QUANTITY "8000"
#else
#define DRILL_USERS    "60000"
#define DRILL_QUANTITY "40000"
#endif

static struct stack *stack;

struct storm {
    pid_t pid;
    int64_t campaigns_before;
    char output[PATH_MAX];
};

static int64_t storm_campaigns(void)
{
    return store_number(stack, "SELECT count(*) FROM campaign WHERE id LIKE 'storm-%'");
}

static void start(struct storm *storm, const char *users, const char *quantity, const char *connections)
{
    char program[PATH_MAX];
    const char *const variables[] = {"COMMAND_URL", "ADMIN_TOKEN", "ISSUE_TOKEN", "DATABASE_URL",
                                     "REDIS_URL"};
    CHECK(getenv("BIN_DIR")); /* stack_start sets it */
    snprintf(program, sizeof program, "%s/storm", getenv("BIN_DIR"));
    snprintf(storm->output, sizeof storm->output, "%s/storm.out", stack_directory(stack));
    storm->campaigns_before = storm_campaigns();
    storm->pid = fork();
    assert_true(storm->pid >= 0);
    if (storm->pid > 0)
        return;
    int fd = open(storm->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (size_t i = 0; i < COUNT_OF(variables); i++)
        setenv(variables[i], stack_env(stack, variables[i]), 1);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execl(program, "storm", "--users", users, "--quantity", quantity, "--connections", connections,
          (char *)NULL);
    _exit(127);
}

static bool ended(struct storm *storm, int *ret_status)
{
    pid_t got = waitpid(storm->pid, ret_status, WNOHANG);
    assert_true(got >= 0);
    return got == storm->pid;
}

static void show_output(const struct storm *storm)
{
    char line[512];
    FILE *file = fopen(storm->output, "r");
    while (file && fgets(line, sizeof line, file))
        fputs(line, stderr);
    if (file)
        fclose(file);
}

static void expect_no_violation(struct storm *storm)
{
    int status = 0;
    WAIT_UNTIL(ended(storm, &status), STORM_MS);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        show_output(storm);
        fail_msg("the storm ended with status %#x", (unsigned)status);
    }
}

/* Coupons issued to the storm that is running, 0 before it began. */
static int64_t issued_so_far(const struct storm *storm)
{
    if (storm_campaigns() == storm->campaigns_before)
        return 0;
    return store_number(
        stack, "SELECT issued FROM campaign WHERE id LIKE 'storm-%' ORDER BY created_at DESC LIMIT 1");
}

static void reach_the_middle(const struct storm *storm)
{
    WAIT_UNTIL(issued_so_far(storm) > 0, MIDDLE_MS);
}

/* A drill that came after the last coupon would prove nothing. */
static void still_in_the_middle(const struct storm *storm)
{
    uint64_t quantity;
    assert_true(parse_u64(SPAN(DRILL_QUANTITY), INT64_MAX, &quantity));
    assert_true(issued_so_far(storm) < (int64_t)quantity);
}

/* Transactions that the command service lost in the middle, with or without a COMMIT sent. */
static int64_t lost_transactions(void)
{
    struct api_client api;
    api_open(&api, stack);
    int64_t lost = api_metric(&api, "coupon_store_errors_total{class=\"lost\"}") +
                   api_metric(&api, "coupon_store_errors_total{class=\"unknown\"}");
    api_close(&api);
    return lost;
}

static void a_storm_is_served_exactly(void **)
{
    struct storm storm;
    start(&storm, "2500", "500", "800");
    expect_no_violation(&storm);
}

static void killing_the_command_service_loses_and_doubles_nothing(void **)
{
    struct storm storm;
    start(&storm, DRILL_USERS, DRILL_QUANTITY, "400");
    reach_the_middle(&storm);
    stack_signal(stack, "command-service", SIGKILL);
    still_in_the_middle(&storm);
    stack_service(stack, "command-service", "start");
    expect_no_violation(&storm);
}

static void flushall(void)
{
    struct redis *redis = redis_kit_connect(stack_env(stack, "REDIS_URL"));
    REDIS_SEND(redis, "FLUSHALL");
    (void)redis_kit_receive(redis);
    redis_destroy(redis);
}

static void emptying_redis_is_not_noticed(void **)
{
    struct storm storm;
    start(&storm, DRILL_USERS, DRILL_QUANTITY, "400");
    reach_the_middle(&storm);
    flushall();
    still_in_the_middle(&storm);
    expect_no_violation(&storm);
}

static void killing_the_projector_is_not_noticed(void **)
{
    struct storm storm;
    start(&storm, DRILL_USERS, DRILL_QUANTITY, "400");
    reach_the_middle(&storm);
    stack_signal(stack, "projector", SIGKILL);
    still_in_the_middle(&storm);
    stack_service(stack, "projector", "start");
    expect_no_violation(&storm);
}

static void crashing_postgresql_loses_and_doubles_nothing(void **)
{
    struct storm storm;
    start(&storm, DRILL_USERS, DRILL_QUANTITY, "400");
    reach_the_middle(&storm);
    int64_t lost_before = lost_transactions();
    stack_signal(stack, "postgresql", SIGQUIT); /* "immediate": all backends die, as in a crash */
    WAIT_UNTIL(stack_pid(stack, "postgresql") == 0, MIDDLE_MS);
    stack_restart_servers(stack);
    expect_no_violation(&storm);
    assert_true(lost_transactions() >
                lost_before); /* it was in the middle; the users need not have noticed */
}

/* Cut off again and again, many a COMMIT has an outcome that nobody was told. */
static void ending_backends_loses_and_doubles_nothing(void **)
{
    enum { ROUNDS = 12 };
    struct storm storm;
    start(&storm, DRILL_USERS, DRILL_QUANTITY, "400");
    reach_the_middle(&storm);
    for (int round = 0; round < ROUNDS; round++)
        WAIT_UNTIL(store_signal_backends(stack, "firstcome command", SIGTERM) > 0, MIDDLE_MS);
    still_in_the_middle(&storm);
    expect_no_violation(&storm);
}

static int setup(void **state)
{
    crypto_setup();
    stack_default_deadlines();
    *state = stack = stack_start(STACK_ALL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_storm_is_served_exactly),
        cmocka_unit_test(killing_the_command_service_loses_and_doubles_nothing),
        cmocka_unit_test(emptying_redis_is_not_noticed),
        cmocka_unit_test(killing_the_projector_is_not_noticed),
        cmocka_unit_test(crashing_postgresql_loses_and_doubles_nothing),
        cmocka_unit_test(ending_backends_loses_and_doubles_nothing),
    };
    return cmocka_run_group_tests(tests, setup, stack_teardown);
}
