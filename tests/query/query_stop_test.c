/* SPDX-License-Identifier: Apache-2.0 */
/* SIGTERM to a query service that is busy with slow loads, many times over: it ends well, and what it still
 * answers is a read's answer or a refusal. Redis is late and empty, so that every read goes all the way, to
 * PostgreSQL and back through Redis for the other services; half of them have tokens, which make them fly
 * again. */
#include "tests/lib/wait.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

#include "bench/load/http_load.h"
#include "bench/load/load_call.h"
#include "events/ids.h"
#include "tests/lib/instance.h"
#include "tests/lib/proxy.h"
#include "tests/lib/reads.h"
#include "tests/lib/store.h"

enum {
    PORT_OFFSET = 7,
    PROXY_OFFSET = 8,
    REDIS_OFFSET = 4,
    REDIS_LATE_MS = 5,
    CONNECTIONS = 64,
    STOPS = 10,
    ANSWERS = 100, /* before each stop */
    BOUND_MS = 120000,
    LOAD_MS = 120000,
};

static struct stack *stack;
static struct api_client api;
static struct proxy *proxy;
static char redis_url[512], token[64];

static int setup(void **state)
{
    stack = api_setup(state, &api, STACK_ALL);
    proxy = proxy_start(stack_port_base(stack) + PROXY_OFFSET, stack_port_base(stack) + REDIS_OFFSET);
    proxy_url(stack_env(stack, "QUERY_REDIS_URL"), stack_port_base(stack) + REDIS_OFFSET,
              stack_port_base(stack) + PROXY_OFFSET, redis_url, sizeof redis_url);
    struct http_answer answer = api_expect(api_issue(&api, api_campaign(&api, 10, ""), "kim"), 201, NULL);
    snprintf(token, sizeof token, "%.*s", SPAN_ARG(http_answer_header(&answer, "Consistency-Token")));
    stack_signal(stack, "projector", SIGSTOP);
    reads_redis(stack, "FLUSHALL", NULL);
    proxy_delay(proxy, REDIS_LATE_MS);
    return 0;
}

static int teardown(void **state)
{
    proxy_stop(proxy);
    stack_signal(stack, "projector", SIGCONT);
    return api_teardown(state);
}

/* --- readers that do not stop asking --- */

struct readers {
    struct target target;
    atomic_bool over;
    uint64_t number; /* their thread's */
    _Atomic uint64_t good, refused, other, lost;
    _Atomic int other_status;
    pthread_t thread;
};

static enum load_next readers_next(void *context, size_t idle, struct load_job *ret, struct buf *request)
{
    struct readers *readers = context;
    char path[64];
    (void)idle;
    if (readers->over)
        return LOAD_END;
    uint64_t number = readers->number++;
    snprintf(path, sizeof path, "/v1/campaigns?tag=t%llu", (unsigned long long)number / 2); /* cold */
    struct load_call_request call = {
        .method = "GET", .path = path, .token = span_of(stack_env(stack, "READ_TOKEN"))};
    if (number % 2)
        call.consistency = span_of(token);
    load_call_write(&readers->target, &call, request);
    *ret = (struct load_job){.tag = number};
    return LOAD_SEND;
}

static void readers_done(void *context, const struct load_result *result)
{
    struct readers *readers = context;
    if (result->outcome != LOAD_ANSWERED) {
        readers->lost++;
    } else if (result->response.status == 200) {
        readers->good++;
    } else if (result->response.status == 503) {
        readers->refused++;
    } else {
        readers->other++;
        readers->other_status = result->response.status;
    }
}

static void *readers_run(void *context)
{
    struct readers *readers = context;
    struct load_options options = {
        .target = &readers->target, .connections = CONNECTIONS, .timeout_ms = 10000, .body_max = 1 << 20};
    struct load_driver driver = {readers_next, readers_done, readers};
    struct load *load = load_create(&options, &driver);
    CHECK(load != NULL);
    load_run(load, clock_deadline_us(LOAD_MS));
    load_destroy(load);
    return NULL;
}

static void readers_start(struct readers *readers, const char *url)
{
    char reason[128];
    memset(readers, 0, sizeof *readers);
    assert_true(target_init(&readers->target, url, reason, sizeof reason));
    assert_int_equal(pthread_create(&readers->thread, NULL, readers_run, readers), 0);
}

static void readers_stop(struct readers *readers, const char *name)
{
    readers->over = true;
    pthread_join(readers->thread, NULL);
    print_message("%s: %llu reads answered, %llu refused, %llu lost in %d stops\n", name,
                  (unsigned long long)readers->good, (unsigned long long)readers->refused,
                  (unsigned long long)readers->lost, STOPS);
    if (readers->other)
        fail_msg("%llu other answers, for instance %d", (unsigned long long)readers->other,
                 readers->other_status);
}

static struct instance *start(const char *name, const char *drain_ms)
{
    static const char *environment[8]; /* borrowed by the instance, and there is one at a time */
    const char *const is[] = {"FIRSTCOME_CACHE_BYTES=0", "FIRSTCOME_STORE_CONNECTIONS=1",
                              "FIRSTCOME_DRAIN_GRACE_MS=0", drain_ms};
    memset(environment, 0, sizeof environment);
    memcpy(environment, is, sizeof is);
    return INSTANCE_START(stack, "query-service", name, PORT_OFFSET, .redis_url = redis_url,
                          .environment = environment);
}

/* instance_stop fails the test where the service does not end well. */
static void a_stop_concludes_what_is_under_way(void **)
{
    static struct readers readers;
    struct instance *instance = start("drained", "FIRSTCOME_DRAIN_MS=5000");
    readers_start(&readers, instance_url(instance));
    for (int i = 0; i < STOPS; i++) {
        uint64_t before = readers.good;
        WAIT_UNTIL(readers.good >= before + ANSWERS, BOUND_MS);
        instance_stop(instance);
        instance_again(instance);
    }
    readers_stop(&readers, "drained");
    instance_destroy(instance);
}

/* Whether the process has a thread of that name; false where there is no such process. */
static bool has_thread(pid_t pid, const char *name)
{
    char path[320], comm[32];
    bool found = false;
    DIR *tasks = opendir(textf("/proc/%d/task", (int)pid));
    for (struct dirent *task; tasks && !found && (task = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/comm", (int)pid, task->d_name);
        FILE *file = fopen(path, "re");
        if (file && fgets(comm, sizeof comm, file))
            found = strcspn(comm, "\n") == strlen(name) && strncmp(comm, name, strlen(name)) == 0;
        if (file)
            fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return found;
}

/* The drain is over at once, while PostgreSQL has most of the reads: connections bring more until the very
 * end, and what PostgreSQL answers is to be left in Redis by threads that have nothing else to do any more.
 */
static void a_drain_cut_short_ends_well(void **)
{
    static struct readers readers;
    struct instance *instance = start("cut-short", "FIRSTCOME_DRAIN_MS=0");
    readers_start(&readers, instance_url(instance));
    for (int i = 0; i < STOPS; i++) {
        uint64_t before = readers.good;
        WAIT_UNTIL(readers.good >= before + ANSWERS, BOUND_MS);
        assert_true(store_freeze(stack, "firstcome query") >= 1);
        instance_signal(instance, SIGTERM);
        WAIT_UNTIL(!has_thread(instance_pid(instance), "model"), BOUND_MS);
        store_thaw();
        instance_await(instance);
        instance_again(instance);
    }
    readers_stop(&readers, "cut short");
    instance_destroy(instance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_concludes_what_is_under_way),
        cmocka_unit_test(a_drain_cut_short_ends_well),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
