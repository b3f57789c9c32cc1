/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and ending single service processes. The working directory is the run directory of the stack, by
 * which its cleaner knows what to end when the test program died. */
#include "tests/lib/instance.h"

#include <limits.h>

#include "bench/kit/child.h"
#include "common/base/mem.h"
#include "tests/lib/wait.h"

enum { READY_MS = 180000, END_MS = 180000, URGE_MS = 5, ADDED_MAX = 24, INSTANCE_LINE_MAX = 1024 };

/* Which values of the stack's env file a service of a kind gets. */
struct kind {
    const char *service, *database, *redis; /* redis NULL: has none */
    bool hints;                             /* whether it sends them; only the stack's own listen */
    const char *argument;                   /* NULL: none */
};

static const struct kind kinds[] = {
    {"command-service", "COMMAND_DATABASE_URL", NULL, true, NULL},
    {"query-service", "QUERY_DATABASE_URL", "QUERY_REDIS_URL", false, NULL},
    {"projector", "PROJECTOR_DATABASE_URL", "PROJECTOR_REDIS_URL", false, "run"},
};

struct instance {
    struct stack *stack;
    const struct kind *kind;
    struct instance_options options;
    char url[64], program[PATH_MAX], log[PATH_MAX];
    char lines[ADDED_MAX][INSTANCE_LINE_MAX];
    size_t lines_count;
    pid_t pid; /* 0: does not run */
};

static void add_line(struct instance *instance, const char *name, const char *value)
{
    CHECK(instance->lines_count < ADDED_MAX);
    char *line = instance->lines[instance->lines_count++];
    CHECK(snprintf(line, INSTANCE_LINE_MAX, "%s=%s", name, value) < INSTANCE_LINE_MAX);
}

/* Its own options first: of two lines for one name, getenv() finds the first. */
static void spawn(struct instance *instance)
{
    const char *environment[ADDED_MAX + 1], *argv[] = {instance->program, instance->kind->argument, NULL};
    size_t count = 0;
    for (const char *const *line = instance->options.environment; line && *line; line++) {
        CHECK(count + instance->lines_count < ADDED_MAX);
        environment[count++] = *line;
    }
    for (size_t i = 0; i < instance->lines_count; i++)
        environment[count++] = instance->lines[i];
    environment[count] = NULL;
    instance->pid = child_start(&(struct child_spec){.argv = argv,
                                                     .environment = environment,
                                                     .output_path = instance->log,
                                                     .directory = stack_directory(instance->stack)});
}

bool instance_ready(const struct instance *instance)
{
    struct http_answer answer;
    const char *path = instance->options.ready_path;
    struct http_call call = {.path = path ? path : "/readyz", .timeout_ms = 2000};
    struct http_client *client = http_client_create(instance->url);
    bool ready = http_client_call(client, &call, &answer) == HTTP_ANSWERED && answer.status == 200;
    http_client_destroy(client);
    return ready;
}

void instance_again(struct instance *instance)
{
    CHECK(instance->pid == 0);
    int64_t from_us = clock_mono_us();
    spawn(instance);
    int64_t deadline_us = clock_deadline_us(READY_MS);
    while (!instance_ready(instance)) {
        if (child_wait(instance->pid, 0) != -1 || clock_remaining_ms(deadline_us) == 0)
            fail_msg("%s-%s does not get ready", instance->options.service, instance->options.name);
        wait_moment();
    }
    wait_note("(instances start)", from_us);
}

static const struct kind *kind_of(const char *service)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (strcmp(service, kinds[i].service) == 0)
            return &kinds[i];
    fail_msg("there is no %s", service);
    return NULL;
}

static const char *redis_of(const struct stack *stack, const struct kind *kind,
                            const struct instance_options *options)
{
    const char *services = getenv("SERVICES_REDIS_URL"); /* as tools/stack does */
    if (options->redis_url)
        return options->redis_url;
    return services ? services : stack_env(stack, kind->redis);
}

/* One that does not run yet. */
static struct instance *create(struct stack *stack, const struct instance_options *options)
{
    struct instance *instance = mem_zalloc(sizeof *instance);
    const struct kind *kind = kind_of(options->service);
    instance->stack = stack;
    instance->kind = kind;
    instance->options = *options;
    CHECK(getenv("BIN_DIR")); /* stack_start sets it */
    snprintf(instance->program, sizeof instance->program, "%s/%s", getenv("BIN_DIR"), options->service);
    snprintf(instance->log, sizeof instance->log, "%s/log/%s-%s.log", stack_directory(stack),
             options->service, options->name);
    add_line(instance, "DATABASE_URL",
             options->database_url ? options->database_url : stack_env(stack, kind->database));
    if (kind->redis)
        add_line(instance, "REDIS_URL", redis_of(stack, kind, options));
    /* The stack's own listen there, and two cannot on one address; one more does without hints. */
    add_line(instance, "FIRSTCOME_BUS_URL", kind->hints ? stack_env(stack, "FIRSTCOME_BUS_URL") : "");
    add_line(instance, "FIRSTCOME_API_KEYS_FILE", stack_env(stack, "FIRSTCOME_API_KEYS_FILE"));
    add_line(instance, "FIRSTCOME_CODE_KEY_FILE", stack_env(stack, "FIRSTCOME_CODE_KEY_FILE"));
    return instance;
}

struct instance *instance_start(struct stack *stack, const struct instance_options *options)
{
    char port[16];
    struct instance *instance = create(stack, options);
    CHECK(options->port_offset >= 6 && options->port_offset < 20); /* those before are the stack's */
    snprintf(port, sizeof port, "%d", stack_port_base(stack) + options->port_offset);
    snprintf(instance->url, sizeof instance->url, "http://127.0.0.1:%s", port);
    add_line(instance, "FIRSTCOME_PORT", port);
    instance_again(instance);
    return instance;
}

void instance_signal(const struct instance *instance, int signal_number)
{
    CHECK(instance->pid > 0);
    assert_int_equal(kill(instance->pid, signal_number), 0);
}

/* False when it did not end in time. */
static bool await_end(struct instance *instance, int64_t timeout_ms, int *ret_status)
{
    *ret_status = child_wait(instance->pid, timeout_ms);
    if (*ret_status == -1)
        return false;
    instance->pid = 0;
    return true;
}

static void check_end(const struct instance *instance, int status)
{
    if (status != 0)
        fail_msg("%s-%s ended with status %#x", instance->options.service, instance->options.name,
                 (unsigned)status);
}

void instance_kill(struct instance *instance)
{
    int status;
    instance_signal(instance, SIGKILL);
    assert_true(await_end(instance, END_MS, &status));
}

void instance_stop(struct instance *instance)
{
    if (instance->pid == 0)
        return;
    instance_signal(instance, SIGTERM);
    instance_await(instance);
}

void instance_await(struct instance *instance)
{
    int status;
    assert_true(await_end(instance, END_MS, &status));
    check_end(instance, status);
}

void instance_destroy(struct instance *instance)
{
    int status = 0;
    if (!instance)
        return;
    int64_t deadline_us = clock_deadline_us(END_MS);
    while (instance->pid != 0 && !await_end(instance, URGE_MS, &status)) {
        assert_true(clock_remaining_ms(deadline_us) > 0);
        instance_signal(instance, SIGTERM);
    }
    check_end(instance, status);
    mem_free(instance);
}

const char *instance_url(const struct instance *instance)
{
    return instance->url;
}

pid_t instance_pid(const struct instance *instance)
{
    return instance->pid;
}

void instance_open_api(const struct instance *instance, struct api_client *ret)
{
    bool commands = strcmp(instance->options.service, "command-service") == 0;
    api_open(ret, instance->stack);
    struct http_client **its = commands ? &ret->command : &ret->query;
    http_client_destroy(*its);
    *its = http_client_create(instance->url);
}
